"""Assignment of atoms to sites as the scripts for CryinGAN and DiffCSP do it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics.sites import (
    MAX_REMOVED,
    SITE_RADIUS,
    assign_fixed,
    assign_translated,
    nearest,
)
from dismaiflow.structures.lattice import SiteLattice

LATTICE = SiteLattice("sc", 4.0, (4, 4, 4))
ALLOY = SiteLattice("fcc", 3.6, (4, 4, 4))

#: Position of the site (1, 1, 1) of `LATTICE`, and its index.
SITE, INDEX = np.array([4.0, 4.0, 4.0]), 16 + 4 + 1


def species(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, n).astype(np.int8)


def fixed(*positions: list[float] | np.ndarray, codes: list[int] | None = None) -> np.ndarray:
    """Assign a few atoms; the first of the file is far from all sites."""
    everything = np.array([[2.0, 2.0, 2.0], *positions])
    given_codes = np.array([9, *(codes or range(len(positions)))], dtype=np.int8)
    return assign_fixed(LATTICE, everything, given_codes)


def test_limits_are_the_papers() -> None:
    """Section 4.3.3."""
    assert (SITE_RADIUS, MAX_REMOVED) == (0.8, 50)


@pytest.mark.parametrize(("distance", "expected"), [(0.79, 0), (0.8, 0), (0.801, -1)])
def test_atoms_within_the_radius_are_on_the_site(distance: float, expected: int) -> None:
    """The limit itself is within, as in pymatgen's search."""
    assert fixed(SITE + np.array([distance, 0, 0]))[INDEX] == expected
    assert fixed(SITE - np.full(3, distance / 3**0.5 * 0.9999))[INDEX] == expected


def test_the_closest_of_two_atoms_has_the_site() -> None:
    near, far = SITE + np.array([0.2, 0, 0]), SITE + np.array([0, 0.3, 0])
    assert fixed(near, far)[INDEX] == 0
    assert fixed(far, near)[INDEX] == 1


def test_of_copies_the_last_has_the_site() -> None:
    """Two atoms in one place, as `ties` of the published data have them."""
    copy = SITE + np.array([0.1, 0.1, 0.1])
    assert fixed(copy, copy)[INDEX] == 1


def test_an_atom_is_counted_once() -> None:
    assert (fixed(SITE + np.array([0.5, 0, 0])) >= 0).sum() == 1
    assert (fixed(SITE + np.array([2.0, 0, 0])) >= 0).sum() == 0


@pytest.mark.parametrize("image", [[0, 0, 0], [16, 0, 0], [0, -16, 32], [-16, -16, -16]])
def test_atoms_need_not_be_wrapped(image: list[float]) -> None:
    """The site at the origin is also reached from the other side of the cell."""
    occupation = fixed(np.array([-0.3, 0.2, 0.1]) + image)
    assert occupation[0] == 0
    assert (occupation >= 0).sum() == 1


def test_the_first_atom_on_its_site_is_lost() -> None:
    """A quirk of the published script: every perfect structure has one vacancy."""
    codes = species(256)
    lost = assign_fixed(ALLOY, ALLOY.positions, codes)
    assert np.flatnonzero(lost < 0).tolist() == [0]
    assert (lost[1:] == codes[1:]).all()
    moved = ALLOY.positions.copy()
    moved[0] += 1e-6
    assert (assign_fixed(ALLOY, moved, codes) == codes).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    sigma=st.sampled_from([1e-3, 0.1, 0.15]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_noise_and_order_of_atoms_change_nothing(seed: int, sigma: float) -> None:
    """Five standard deviations are less than the radius: all sites keep their atoms."""
    rng = np.random.default_rng(seed)
    codes = species(256, seed)
    noise = np.clip(rng.normal(0, sigma, (256, 3)), -0.45, 0.45)
    order = rng.permutation(256)
    found = assign_fixed(ALLOY, (ALLOY.positions + noise)[order], codes[order])
    assert (found == codes).all()


def test_a_shifted_lattice_is_lost_to_the_fixed_alignment() -> None:
    """Half a cell diagonal away from every site: no atom is on one."""
    shifted = LATTICE.positions + 2.0
    assert (assign_fixed(LATTICE, shifted, species(64)) == -1).all()


@given(seed=st.integers(0, 2**32 - 1), shift=st.tuples(*[st.floats(0, 14.4)] * 3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_translated_finds_a_shifted_lattice(seed: int, shift: tuple[float, float, float]) -> None:
    """All atoms are there; the occupation is that before the shift, up to a lattice vector."""
    codes = species(256, seed)
    order = np.random.default_rng(seed).permutation(256)
    found = assign_translated(ALLOY, (ALLOY.positions + shift)[order], codes[order])
    assert found is not None
    assert (found >= 0).all()
    assert (codes[ALLOY.translations] == found).all(axis=1).any()


def test_translated_follows_the_atom_nearest_the_origin() -> None:
    """That atom 0.5 A off takes the whole lattice along: all are on sites still, 0.5 A away.

    At 0.9 A, still nearer to the origin than any other, it drags the lattice away from all the rest
    and is the only one left.
    """
    codes = species(256)
    for distance, n_left in [(0.5, 256), (0.9, 1)]:
        positions = ALLOY.positions.copy()
        positions[0] += [distance, 0, 0]
        found = assign_translated(ALLOY, positions[::-1].copy(), codes[::-1].copy())
        assert found is not None
        assert (found >= 0).sum() == n_left


def test_translated_needs_an_atom_near_the_origin() -> None:
    """None within 5 A: the middle of a 16 A cell is 13.9 A away; 4.9 A will do."""
    alone = np.array([[8.0, 8.0, 8.0]])
    assert assign_translated(LATTICE, alone, np.zeros(1, np.int8)) is None
    assert assign_translated(LATTICE, np.array([[4.9, 0, 0]]), np.zeros(1, np.int8)) is not None


@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.5, 7.0))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_nearest_is_that_of_all_images(seed: int, radius: float) -> None:
    """Against a search through 27 images of every point."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(14, 16, 3))
    points = rng.uniform(-20, 20, (12, 3))
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3) @ cell
    distances = np.linalg.norm(points[:, None] + images, axis=-1).min(axis=1)
    index, distance = nearest(np.zeros(3), points, cell, np.linalg.inv(cell), radius, True)
    if distances.min() <= radius:
        assert index == distances.argmin()
        assert distance == pytest.approx(distances.min(), abs=1e-9)
    else:
        assert index == -1
