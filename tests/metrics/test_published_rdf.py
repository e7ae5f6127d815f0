"""The published g(r) against vasppy, and against a list of all images."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.published_rdf import RDF_EDGES, RDF_R, published_rdf
from dismaiflow.metrics.rdf import radial_distribution

vasppy = pytest.importorskip("vasppy.rdf")


def of_vasppy(positions, cell, centres=None, neighbours=None):
    """Return what the published script has vasppy compute, on a 2 x 2 x 2 supercell."""
    n = len(positions)
    structure = Structure(Lattice(cell), ["Si"] * n, positions, coords_are_cartesian=True)
    structure.make_supercell(2)
    every = np.ones(n, dtype=bool)
    # Each atom is followed by its seven copies.
    groups = [
        np.flatnonzero(np.repeat(every if group is None else group, 8)).tolist()
        for group in (centres, neighbours)
    ]
    return vasppy.RadialDistributionFunction([structure], *groups)


def agrees(positions, cell, *groups):
    theirs = of_vasppy(positions, cell, *groups)
    ours = published_rdf(positions, cell, *groups)
    np.testing.assert_array_equal(RDF_R, theirs.r)
    np.testing.assert_allclose(ours, theirs.rdf, rtol=1e-12, atol=1e-12)
    return ours


def skewed(rng, low=2.0, high=9.0):
    """Return a random cell, some far from reduced."""
    return np.diag(rng.uniform(low, high, 3)) + np.tril(rng.uniform(-6, 6, (3, 3)), -1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12))
def test_small_and_skewed_cells(seed, n):
    """Here the nearest image alone counts, so that pairs are missing on purpose."""
    rng = np.random.default_rng(seed)
    agrees(rng.uniform(-20, 20, (n, 3)), skewed(rng))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_cells_that_are_wide_along_some_axes(seed):
    rng = np.random.default_rng(seed)
    cell = skewed(rng, 8.0, 14.0)
    agrees(rng.random((20, 3)) @ cell, cell)


@pytest.mark.parametrize("a", [5.0, 5.4, 5.431, 5.44])
@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 2, 1)])
def test_crystals_with_distances_on_the_edges_of_bins(a, repeats):
    """At 5.44 Å the third and other shells lie exactly between two bins."""
    crystal = bulk("Si", "diamond", a, cubic=True) * repeats
    agrees(crystal.positions, crystal.cell.array)


def test_silicon_of_256_atoms():
    crystal = bulk("Si", "diamond", 5.44, cubic=True) * (4, 4, 2)
    crystal.rattle(0.1, seed=1)
    rdf = agrees(crystal.positions, crystal.cell.array)
    # Twice each height exceeds 20 Å: every image within 10 Å is there.
    plain = radial_distribution(crystal.positions, crystal.cell.array, 10.0, 0.02)
    np.testing.assert_allclose(rdf, plain.g, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crystal", "gas", "void", "surface", "skewed"])
def test_other_structures_of_256_atoms(kind):
    rng = np.random.default_rng(2)
    crystal = bulk("Si", "diamond", 5.44, cubic=True) * (4, 4, 2)
    cell = crystal.cell.array.copy()
    if kind == "gas":
        crystal.positions = rng.random((256, 3)) @ cell
    elif kind == "void":
        del crystal[np.linalg.norm(crystal.positions - 8, axis=1) < 5]
    elif kind == "surface":
        cell[2, 2] += 14.0
    elif kind == "skewed":
        cell[1, 0] = 30.0
    agrees(crystal.positions, cell)


def test_a_slab_with_vacuum():
    rng = np.random.default_rng(3)
    cell = np.diag([7.0, 8.0, 50.0])
    agrees(rng.random((60, 3)) @ cell * [1, 1, 0.4], cell)


def test_groups_of_atoms():
    rng = np.random.default_rng(4)
    positions, cell = rng.random((30, 3)) * 9, np.eye(3) * 9
    some, others = rng.random((2, 30)) < 0.5
    for groups in ((some, some), (some, ~some), (some, others)):
        agrees(positions, cell, *groups)


def test_by_hand():
    """One atom in a cube of 4 Å, doubled: 7 copies within 4 sqrt(3) Å, each at its nearest."""
    rdf = published_rdf([[1.0, 2.0, 3.0]], np.eye(3) * 4)
    counts = rdf * (4 / 3 * np.pi * np.diff(RDF_EDGES**3)) / 64
    filled = np.flatnonzero(counts)
    assert filled.tolist() == [200, 282, 346]  # 4, 5.657 and 6.928 Å
    # 3, 3 and 1: the plain list would have 6, 12 and 8.
    assert counts[filled] == pytest.approx([3, 3, 1])


def test_bad_structures_are_refused():
    with pytest.raises(DismaiError, match="atoms to count"):
        published_rdf(np.empty((0, 3)), np.eye(3))
    with pytest.raises(DismaiError, match="NaN"):
        published_rdf([[np.nan, 0, 0]], np.eye(3))
    with pytest.raises(DismaiError, match="no volume"):
        published_rdf([[0.0, 0, 0]], np.zeros((3, 3)))
