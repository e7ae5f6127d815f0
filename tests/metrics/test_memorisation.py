"""Distance to the nearest training structure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics.memorisation import count_distinct, nearest_distances
from dismaiflow.structures.lattice import SiteLattice

ALLOY = SiteLattice("fcc", 3.6, (4, 4, 4))
SMALL = SiteLattice("fcc", 3.6, (2, 2, 2))


def occupations(lattice: SiteLattice, n: int, seed: int, n_species: int = 3) -> np.ndarray:
    """Return random occupations, shape (n, n_sites)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_species, (n, lattice.n_sites)).astype(np.int8)


@given(seed=st.integers(0, 2**32 - 1), translation=st.integers(0, 255))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_translated_copy_is_no_news(seed: int, translation: int) -> None:
    known = occupations(ALLOY, 5, seed)
    copy = known[3][ALLOY.translations[translation]]
    assert nearest_distances(copy[None], known, ALLOY).tolist() == [0.0]


def test_one_swapped_pair_is_two_sites() -> None:
    """Two of 256 sites differ, wherever the copy was moved."""
    known = occupations(ALLOY, 4, seed=1)
    copy = known[2].copy()
    i, j = np.flatnonzero(copy == 0)[0], np.flatnonzero(copy == 2)[0]
    copy[[i, j]] = copy[[j, i]]
    moved = copy[ALLOY.translations[77]]
    assert nearest_distances(np.array([copy, moved]), known, ALLOY).tolist() == [2 / 256] * 2


def test_a_vacancy_is_a_difference() -> None:
    known = occupations(ALLOY, 3, seed=2)
    holed = known[1].copy()
    holed[[5, 90, 200]] = -1
    assert nearest_distances(holed[None], known, ALLOY).tolist() == [3 / 256]
    assert nearest_distances(known[1][None], holed[None], ALLOY).tolist() == [3 / 256]
    assert nearest_distances(holed[None], holed[None], ALLOY).tolist() == [0.0]


def test_by_hand_on_four_sites() -> None:
    """ABBB against BABB is one translation away; against AABB one site of four differs."""
    lattice = SiteLattice("sc", 2.5, (4, 1, 1))
    a = np.array([[0, 1, 1, 1]], dtype=np.int8)
    assert nearest_distances(a, np.array([[1, 0, 1, 1]], np.int8), lattice).tolist() == [0.0]
    assert nearest_distances(a, np.array([[1, 0, 0, 1]], np.int8), lattice).tolist() == [0.25]
    # ABAB shares at most three sites with ABBB and none of its translations more.
    assert nearest_distances(a, np.array([[0, 1, 0, 1]], np.int8), lattice).tolist() == [0.25]
    # Nothing in common at all.
    assert nearest_distances(a, np.array([[2, 2, 2, 2]], np.int8), lattice).tolist() == [1.0]


@given(seed=st.integers(0, 2**32 - 1), n_species=st.integers(1, 6))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_agrees_with_a_plain_search(seed: int, n_species: int) -> None:
    """Any number of species and vacancies, on more sites than fill whole words."""
    lattice = SiteLattice("sc", 2.5, (3, 5, 5))
    rng = np.random.default_rng(seed)
    ours = rng.integers(-1, n_species, (3, 75)).astype(np.int8)
    theirs = rng.integers(-1, max(1, n_species - 2), (4, 75)).astype(np.int8)
    plain = [
        min((one[t] != other).mean() for t in lattice.translations for other in theirs)
        for one in ours
    ]
    assert nearest_distances(ours, theirs, lattice) == pytest.approx(plain, abs=1e-15)


def test_moved_copies_are_not_distinct() -> None:
    known = occupations(SMALL, 3, seed=4)
    twins = np.concatenate([known, known[:1][:, SMALL.translations[9]]])
    assert nearest_distances(twins, twins, SMALL).tolist() == [0.0] * 4
    assert count_distinct(twins, SMALL) == 3
    vacant = known[:1].copy()
    vacant[0, 5] = -1
    assert count_distinct(np.concatenate([known, vacant]), SMALL) == 4


def test_nothing_to_compare() -> None:
    known = occupations(SMALL, 2, seed=5)
    assert nearest_distances(known[:0], known, SMALL).shape == (0,)
    assert np.isnan(nearest_distances(known, known[:0], SMALL)).all()
