"""The published count of structures that are not snapped to sites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dismaiflow.metrics.clusters import count_pairs
from dismaiflow.metrics.off_lattice import count_off_lattice, find_basis
from dismaiflow.structures.lattice import SiteLattice

ALLOY = SiteLattice("fcc", 3.6, (4, 4, 4))
INVERSE = np.linalg.inv(ALLOY.cell)


def random_codes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, 256).astype(np.int8)


def on_sites(occupation: np.ndarray) -> np.ndarray:
    return count_pairs(occupation[None], ALLOY.shells(7), 3)[0]


@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.tuples(*[st.floats(-20, 20)] * 3),
    quarter_turns=st.integers(0, 3),
)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_perfect_lattice_counts_as_on_its_sites(
    seed: int, shift: tuple[float, float, float], quarter_turns: int
) -> None:
    """Wherever it lies, however it is turned by the symmetry of the cell, in any atom order."""
    codes = random_codes(seed)
    turn = Rotation.from_euler("z", 90 * quarter_turns, degrees=True).as_matrix()
    order = np.random.default_rng(seed).permutation(256)
    positions = (ALLOY.positions @ turn.T + shift)[order]
    counted = count_off_lattice(ALLOY, 7, positions, codes[order], 3)
    assert counted is not None
    assert (counted.pairs == on_sites(codes)).all()
    assert counted.n_vacancies == 0


def test_vacancies_are_found_from_their_neighbours() -> None:
    """Three vacancies, two of them side by side, and the pairs that are left."""
    codes = random_codes(1)
    occupation = codes.copy()
    empty = [40, int(ALLOY.shells(1).neighbors[40, 0]), 200]
    occupation[empty] = -1
    there = np.flatnonzero(occupation >= 0)
    counted = count_off_lattice(ALLOY, 7, ALLOY.positions[there], codes[there], 3)
    assert counted is not None
    assert (counted.pairs == on_sites(occupation)).all()
    assert counted.n_vacancies == 3


def test_little_noise_changes_nothing() -> None:
    """The arrival point and the atom are each off by less than half of the 0.8 A."""
    rng = np.random.default_rng(2)
    codes = random_codes(2)
    positions = ALLOY.positions + np.clip(rng.normal(0, 0.03, (256, 3)), -0.08, 0.08)
    counted = count_off_lattice(ALLOY, 7, positions, codes, 3)
    assert counted is not None
    assert (counted.pairs == on_sites(codes)).all()


def test_much_noise_makes_halves_and_loses_pairs() -> None:
    """A pair that is met from one end only counts a half."""
    rng = np.random.default_rng(3)
    codes = random_codes(3)
    counted = count_off_lattice(ALLOY, 7, ALLOY.positions + rng.normal(0, 0.2, (256, 3)), codes, 3)
    assert counted is not None
    doubled = 2 * counted.pairs
    assert (doubled == doubled.round()).all()
    assert (doubled % 2 == 1).any()
    assert counted.pairs.sum() < 0.97 * 256 * 67
    assert (np.tril(counted.pairs[0], -1) == 0).all()


def test_too_few_atoms_show_no_lattice() -> None:
    assert count_off_lattice(ALLOY, 7, ALLOY.positions[:5], np.zeros(5, np.int8), 3) is None


@pytest.mark.parametrize("angle", [10.0, 33.0])
def test_axes_of_a_turned_lattice(angle: float) -> None:
    """Rows are the turned cubic axes in some order and sign, found at an atom in the middle."""
    turn = Rotation.from_rotvec(np.deg2rad(angle) * np.array([1, 2, -2]) / 3).as_matrix()
    block = SiteLattice("fcc", 3.6, (8, 8, 8)).positions - 14.4
    positions = block @ turn.T + 7.2
    positions = positions[((positions >= 0) & (positions < 14.4)).all(axis=1)]
    middle = np.argsort(np.linalg.norm(positions - 7.2, axis=1))
    axes, atom = find_basis(positions[middle], ALLOY.cell, INVERSE, 3.6)
    assert atom == 0
    assert np.abs(axes @ turn).round(9).tolist() in [
        np.eye(3)[list(p)].tolist()
        for p in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    ]
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-9)


def test_an_atom_with_a_missing_second_neighbour_shows_no_axes() -> None:
    """Without the atom at (3.6, 0, 0) that at the origin has five; the next complete one serves."""
    there = np.flatnonzero(np.abs(ALLOY.positions - [3.6, 0, 0]).max(axis=1) > 1e-9)
    assert len(there) == 255
    assert find_basis(ALLOY.positions[there], ALLOY.cell, INVERSE, 3.6)[1] == 1
