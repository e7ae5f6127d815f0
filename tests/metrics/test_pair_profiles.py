"""Profiles by hand, what they must not see, and how far noise carries them."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.metrics.pair_profiles import (
    BIN,
    N_KEPT,
    count_distinct_profiles,
    nearest_profile_distances,
    profile,
    profile_scale,
)

SPECIES = ("Si", "O")
CELL = np.array([[10.0, 0, 0], [1, 9.5, 0], [0, 2, 10.5]])
NUMBERS = np.repeat([14, 8], [20, 30])


def packed(seed):
    """Return places of atoms at random that are not too close together."""
    rng = np.random.default_rng(seed)
    pushed = push_apart(rng.random((50, 3)) @ CELL, CELL, 1.7, 1000, "corrected")
    assert pushed.separated
    return pushed.positions


@pytest.fixture(scope="module")
def reference():
    """Places and profiles of a set."""
    places = [packed(seed) for seed in range(24)]
    return places, np.array([profile(NUMBERS, x, CELL, SPECIES) for x in places])


def test_by_hand():
    """Si and O 3.0 Å apart, alone in the cell: 3.0 for one pair, over two atoms."""
    made = profile([8, 14], [[0.0, 0, 0], [3.0, 0, 0]], np.eye(3) * 40, SPECIES)
    assert made.dtype == np.float32
    silicon, mixed, oxygen = made.reshape(3, N_KEPT)
    assert not silicon.any() and not oxygen.any()
    assert mixed.sum() == pytest.approx(1.5, rel=1e-6)
    assert (mixed * (np.arange(N_KEPT) + 0.5) * BIN).sum() / mixed.sum() == pytest.approx(3.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_is_found_however_it_is_written(seed, reference):
    """Shifted, moved by lattice vectors, atoms exchanged, turned and mirrored.

    One vector of the cell is as long as the range, so that rounding decides on the images there.
    """
    places, profiles = reference
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(20), 20 + rng.permutation(30)])
    copy = places[5][order] + rng.normal(size=3) * 10 + rng.integers(-2, 3, (50, 3)) @ CELL
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    made = profile(NUMBERS, copy @ turn, CELL @ turn, SPECIES)
    assert nearest_profile_distances(made[None], profiles)[0] < 1e-5


def test_a_supercell_is_the_same_structure(reference):
    places, profiles = reference
    doubled = np.concatenate([places[0], places[0] + CELL[1]])
    cell = CELL * [[1], [2], [1]]
    made = profile(np.tile(NUMBERS, 2), doubled, cell, SPECIES)
    assert nearest_profile_distances(made[None], profiles)[0] < 1e-5


def test_noise_and_novelty(reference):
    places, profiles = reference
    rng = np.random.default_rng(3)
    means = []
    for noise in (0.01, 0.05, 0.1):
        noisy = [x + rng.normal(size=x.shape) * noise for x in places]
        made = np.array([profile(NUMBERS, x, CELL, SPECIES) for x in noisy])
        means.append(nearest_profile_distances(made, profiles).mean())
    assert means[0] < 0.15
    assert means == sorted(means)
    assert means[1] < 0.6
    new = np.array([profile(NUMBERS, packed(100 + i), CELL, SPECIES) for i in range(8)])
    assert np.median(nearest_profile_distances(new, profiles)) == pytest.approx(1, abs=0.3)
    exchanged = places[0].copy()
    exchanged[[0, 49]] = exchanged[[49, 0]]
    other = profile(NUMBERS, exchanged, CELL, SPECIES)
    assert nearest_profile_distances(other[None], profiles)[0] > 0.05


def test_twins_are_counted_once(reference):
    places, profiles = reference
    scale = profile_scale(profiles)
    assert count_distinct_profiles(profiles, 0.1, scale) == 24
    moved = profile(NUMBERS, places[3] + 1.0, CELL, SPECIES)
    assert count_distinct_profiles(np.vstack([profiles, moved]), 0.1, scale) == 24
    assert count_distinct_profiles(profiles, 1e6, scale) == 1
    assert count_distinct_profiles(profiles[:0], 0.1) == 0


def test_scale_by_hand():
    """On a line at 0, 1, 3 and 7 the nearest others are 1, 1, 2 and 4 away: the median is 1.5."""
    line = np.array([[0.0], [1], [3], [7]], dtype=np.float32)
    assert profile_scale(line) == pytest.approx(1.5)
    made = nearest_profile_distances(np.array([[5.5], [3]], dtype=np.float32), line)
    assert made == pytest.approx([1, 0])


def test_sets_without_a_scale():
    twins = np.ones((4, 3), dtype=np.float32)
    assert profile_scale(twins) is None
    assert profile_scale(twins[:1]) is None
    assert np.isnan(nearest_profile_distances(twins, twins)).all()
    assert nearest_profile_distances(twins[:0], np.eye(3, dtype=np.float32)).shape == (0,)


def test_foreign_atoms_are_refused():
    with pytest.raises(DismaiError, match="atomic number 6 is none of Si, O"):
        profile([14, 6], [[0.0, 0, 0], [3, 0, 0]], CELL, SPECIES)
