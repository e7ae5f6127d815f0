"""The alignment of CDVAE's script: what it accepts on lattices whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from dismaiflow.metrics.rotated_sites import assign_rotated, rotated_lattice
from dismaiflow.structures.lattice import SiteLattice

ALLOY = SiteLattice("fcc", 3.6, (4, 4, 4))


def turn(angle: float, axis: tuple[float, float, float]) -> np.ndarray:
    unit = np.array(axis) / np.linalg.norm(axis)
    return Rotation.from_rotvec(np.deg2rad(angle) * unit).as_matrix()


@pytest.mark.parametrize("repeats", [(4, 4, 4), (3, 3, 3), (5, 5, 5)])
def test_a_turned_lattice_is_a_lattice_inside_the_cell(repeats: tuple[int, int, int]) -> None:
    """Its distances are those of the lattice, its sites as many as fit up to the surface."""
    lattice = SiteLattice("fcc", 3.6, repeats)
    sites = rotated_lattice(lattice, turn(25, (1, -1, 3)).T)
    edge = lattice.cell[0, 0]
    assert ((sites >= -1e-9) & (sites <= edge + 1e-9)).all()
    assert abs(len(sites) - lattice.n_sites) < 0.08 * lattice.n_sites
    squares = pdist(sites) ** 2 / (0.5 * 3.6**2)
    assert squares == pytest.approx(squares.round(), abs=1e-9)
    assert squares.min() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("n", [3, 4])
def test_a_perfect_lattice_loses_nothing(n: int) -> None:
    lattice = SiteLattice("fcc", 3.6, (n, n, n))
    found = assign_rotated(lattice, lattice.positions + np.array([0.4, 1.1, 2.2]))
    assert found is not None
    assert found.n_removed == 0
    assert sorted(found.atoms.tolist()) == list(range(lattice.n_sites))


def test_a_quarter_turn_loses_nothing() -> None:
    positions = ALLOY.positions @ turn(90, (0, 0, 1)).T + 0.3
    found = assign_rotated(ALLOY, positions)
    assert found is not None
    assert found.n_removed == 0


@pytest.mark.parametrize(("n_moved", "n_removed"), [(1, 1), (50, 50), (60, 60)])
def test_atoms_on_taken_sites_are_removed(n_moved: int, n_removed: int) -> None:
    """Of atoms 0.1 A beside each other one is left. More than 50 are for the analyser to reject."""
    positions = ALLOY.positions.copy()
    order = np.random.default_rng(n_moved).permutation(256)
    positions[order[:n_moved]] = positions[order[-n_moved:]] + 0.05
    found = assign_rotated(ALLOY, positions)
    assert found is not None
    assert found.n_removed == n_removed
    assert len(found.atoms) == 256 - n_removed


def test_atoms_between_the_sites_are_removed() -> None:
    """In octahedral holes, 1.8 A from the nearest sites and a lattice vector from other holes."""
    positions = ALLOY.positions.copy()
    chosen = np.random.default_rng(8).permutation(256)[:12]
    positions[chosen] += [1.8, 0, 0]
    found = assign_rotated(ALLOY, positions)
    assert found is not None
    assert found.n_removed == 12
    assert not set(chosen) & set(found.atoms.tolist())


def test_a_crop_of_a_turned_lattice_is_accepted() -> None:
    """More atoms than sites may be accepted; the number removed is then negative."""
    block = (SiteLattice("fcc", 3.6, (12, 12, 12)).positions - 21.6) @ turn(20, (1, 2, 3)).T
    inside = ((block >= -7.2) & (block < 7.2)).all(axis=1)
    positions = block[inside] + 7.2
    found = assign_rotated(ALLOY, positions)
    assert found is not None
    # Atoms at opposite faces come closer than 0.8 A through the boundary, and one of them goes.
    assert len(positions) - 15 < len(found.atoms) <= len(positions)
    assert found.n_removed == 256 - len(found.atoms)


def test_no_lattice_no_sites() -> None:
    assert assign_rotated(ALLOY, ALLOY.positions[:5]) is None
