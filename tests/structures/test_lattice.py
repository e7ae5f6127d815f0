"""Lattices and shells against textbook numbers and ASE's neighbour list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import SiteLattice

#: Neighbours in the first shells and squared radii in units of a**2 (any crystallography textbook).
SHELLS = {
    "sc": ([6, 12, 8, 6, 24, 24, 12], [1, 2, 3, 4, 5, 6, 8]),
    "bcc": ([8, 6, 12, 24, 8, 6, 24], [0.75, 1, 2, 2.75, 3, 4, 4.75]),
    "fcc": ([12, 6, 24, 12, 24, 8, 48], [0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
}

lattices = st.builds(
    SiteLattice,
    st.sampled_from(["sc", "bcc", "fcc"]),
    st.sampled_from([2.5, 3.6, 4.123]),
    st.tuples(*[st.integers(1, 4)] * 3),
)


@pytest.mark.parametrize("kind", list(SHELLS))
def test_shells_of_the_textbook(kind: str) -> None:
    """Coordination numbers and radii of the first seven shells."""
    numbers, squares = SHELLS[kind]
    shells = SiteLattice(kind, 3.6, (4, 4, 4)).shells(7)
    assert np.bincount(shells.shell_of).tolist() == numbers
    assert shells.multiplicities.tolist() == [n // 2 for n in numbers]
    assert shells.distances == pytest.approx(3.6 * np.sqrt(squares), abs=1e-12)
    assert shells.n_shells == 7


@pytest.mark.parametrize("kind", list(SHELLS))
def test_sites_are_those_of_ase(kind: str) -> None:
    """The sites are a cubic cell of ASE, repeated, in any order."""
    lattice = SiteLattice(kind, 3.6, (2, 3, 1))
    atoms = bulk("Fe", kind, a=3.6, cubic=True) * (2, 3, 1)
    assert lattice.n_sites == len(atoms)
    assert lattice.cell == pytest.approx(np.asarray(atoms.cell))
    ours = sorted(map(tuple, lattice.positions.round(6).tolist()))
    theirs = sorted(map(tuple, atoms.get_positions(wrap=True).round(6).tolist()))
    assert ours == theirs


@given(lattice=lattices)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_neighbors_are_those_of_ase(lattice: SiteLattice) -> None:
    """Every pair appears with the multiplicity of ASE's list, self-images included."""
    shells = lattice.shells(4)
    atoms = Atoms(
        numbers=np.ones(lattice.n_sites), positions=lattice.positions, cell=lattice.cell, pbc=True
    )
    i, j, d = neighbor_list("ijd", atoms, float(shells.distances[-1]) + 1e-3)
    shell = np.searchsorted(shells.distances, d - 1e-3)
    expected = np.zeros((4, lattice.n_sites, lattice.n_sites), dtype=int)
    np.add.at(expected, (shell, i, j), 1)
    found = np.zeros_like(expected)
    for k, s in enumerate(shells.shell_of):
        np.add.at(found[s], (np.arange(lattice.n_sites), shells.neighbors[:, k]), 1)
    assert (found == expected).all()


@given(lattice=lattices)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_translations_are_permutations_that_keep_displacements(lattice: SiteLattice) -> None:
    """Each row moves all sites by the same lattice vector."""
    translations = lattice.translations
    n = lattice.n_sites
    assert (np.sort(translations, axis=1) == np.arange(n)).all()
    assert (translations[0] == np.arange(n)).all()
    edge = np.diag(lattice.cell)
    for row in translations[:: max(n // 5, 1)]:
        step = (lattice.positions[row] - lattice.positions) / edge
        off = step - step[0]
        assert off == pytest.approx(np.rint(off), abs=1e-9)


def test_shell_vectors_come_in_opposite_pairs() -> None:
    """Each vector and its opposite are there, and lead to the listed neighbour."""
    lattice = SiteLattice("bcc", 2.9, (3, 2, 4))
    shells = lattice.shells(3)
    vectors = {tuple(v) for v in shells.vectors.round(9).tolist()}
    assert vectors == {tuple(-x + 0.0 for x in v) for v in vectors}
    reached = lattice.positions[:, None, :] + shells.vectors[None, :, :]
    gap = (reached - lattice.positions[shells.neighbors]) / np.diag(lattice.cell)
    assert gap == pytest.approx(np.rint(gap), abs=1e-9)


def test_sublattices_of_fcc_have_no_nearest_neighbors_among_them() -> None:
    """The four simple cubic sublattices: first shells lead out of them, second shells stay."""
    lattice = SiteLattice("fcc", 3.6, (2, 2, 3))
    shells = lattice.shells(2)
    same = lattice.sublattices[shells.neighbors] == lattice.sublattices[:, None]
    assert not same[:, shells.shell_of == 0].any()
    assert same[:, shells.shell_of == 1].all()
    assert np.bincount(lattice.sublattices).tolist() == [12] * 4


def test_site_at_wraps_and_knows_holes() -> None:
    """Coordinates wrap around the cell; half steps between sites hold none."""
    lattice = SiteLattice("fcc", 3.6, (2, 2, 2))
    assert lattice.site_at(np.array([[4, 0, 0], [-4, 8, 0], [1, 0, 0]])).tolist() == [0, 0, -1]
    assert (lattice.site_at(lattice.half_steps) == np.arange(32)).all()


@pytest.mark.parametrize(
    ("kind", "a", "repeats", "message"),
    [
        ("hcp", 3.0, (1, 1, 1), "unknown lattice 'hcp'"),
        ("fcc", 0.0, (1, 1, 1), "a > 0"),
        ("fcc", 3.6, (2, 0, 2), "three repeats"),
        ("fcc", 3.6, (2, 2), "three repeats"),
    ],
)
def test_wrong_lattices_are_refused(
    kind: str, a: float, repeats: tuple[int, ...], message: str
) -> None:
    """What cannot be built is said in one line."""
    with pytest.raises(DismaiError, match=message):
        SiteLattice(kind, a, repeats)  # type: ignore[arg-type]
