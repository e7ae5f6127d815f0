"""Radial distribution functions against an ideal gas, crystals by hand, and ASE."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.rdf import neighbour_pairs, partial_distribution, radial_distribution

#: Shells of diamond by hand: squared distance in units of a^2/16, and atoms in it.
DIAMOND = [(3, 4), (8, 12), (11, 12), (16, 6), (19, 12)]


def test_an_ideal_gas_has_one_everywhere():
    rng = np.random.default_rng(1)
    n, edge = 20_000, 60.0
    rdf = radial_distribution(rng.random((n, 3)) * edge, np.eye(3) * edge, 10.0, 0.5)
    # Standard error of a shell: 1 over the root of its pairs.
    pairs = n * rdf.counts / 2
    assert (np.abs(rdf.g - 1) < 4 / np.sqrt(pairs)).all()


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 3, 2), (5, 5, 5)])
def test_shells_of_diamond(repeats):
    """Places and counts by hand; also in a cell smaller than the range."""
    a = 5.431
    crystal = bulk("Si", "diamond", a, cubic=True) * repeats
    rdf = radial_distribution(crystal.positions, crystal.cell.array, 6.0, 0.02)
    filled = np.flatnonzero(rdf.counts)
    wanted = [(a * np.sqrt(square) / 4, count) for square, count in DIAMOND]
    assert [int(place / 0.02) for place, _ in wanted] == filled.tolist()
    assert rdf.counts[filled] == pytest.approx([count for _, count in wanted])
    # 4 neighbours in the shell from 2.34 to 2.36 Å, 8 atoms in a^3:
    # 4 / (1.387965 Å^3 * 8 / 160.1918 Å^3)
    assert rdf.g[filled[0]] == pytest.approx(57.7073, abs=1e-3)


def test_peak_and_minimum_of_diamond():
    crystal = bulk("Si", "diamond", 5.431, cubic=True) * (3, 3, 3)
    rdf = radial_distribution(crystal.positions, crystal.cell.array, 6.0, 0.05)
    assert rdf.first_peak() == pytest.approx(2.352, abs=0.03)
    # Middle of the gap between 2.35 and 3.84 Å.
    assert rdf.first_minimum() == pytest.approx(3.1, abs=0.05)


def test_partial_functions_of_rock_salt():
    salt = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 2)
    sodium = salt.numbers == 11
    args = (salt.positions, salt.cell.array, 4.5, 0.1)
    unlike = radial_distribution(*args, centres=sodium, neighbours=~sodium)
    like = radial_distribution(*args, centres=sodium, neighbours=sodium)
    # Nearest unlike ions 2.82 Å apart, six of them; like ones 5.64 / sqrt(2) = 3.988 Å, twelve.
    assert np.flatnonzero(unlike.counts).tolist() == [28]
    assert unlike.counts[28] == 6
    assert np.flatnonzero(like.counts).tolist() == [39]
    assert like.counts[39] == 12


def test_pairs_are_those_of_ase():
    """In a skewed cell with atoms outside it, beyond half the cell."""
    rng = np.random.default_rng(3)
    cell = np.array([[6.0, 0, 0], [2.5, 5.0, 0], [-1.0, 1.5, 7.0]])
    atoms = Atoms("Si9", positions=rng.normal(scale=9.0, size=(9, 3)), cell=cell, pbc=True)
    i, j, vectors = neighbour_pairs(atoms.positions, cell, 8.0)
    theirs_i, theirs_j, theirs_vectors = neighbor_list("ijD", atoms, 8.0)
    ours = np.column_stack([i, j, vectors])
    theirs = np.column_stack([theirs_i, theirs_j, theirs_vectors])
    order = [np.lexsort(np.round(rows, 6).T) for rows in (ours, theirs)]
    assert len(ours) == len(theirs) > 500
    np.testing.assert_allclose(ours[order[0]], theirs[order[1]], atol=1e-9)
    assert (np.diff(i) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 12),
    cutoff=st.floats(0.5, 9.0),
    edges=st.tuples(*[st.floats(2.0, 12.0)] * 3),
)
def test_counts_are_those_of_ase(seed, n, cutoff, edges):
    rng = np.random.default_rng(seed)
    cell = np.diag(edges) + np.tril(rng.uniform(-1, 1, (3, 3)), -1)
    atoms = Atoms(f"Si{n}", positions=rng.uniform(-20, 20, (n, 3)), cell=cell, pbc=True)
    near, far = (len(neighbor_list("i", atoms, cutoff + step)) for step in (-1e-9, 1e-9))
    assume(near == far)  # a pair at the cutoff may count or not
    i, _, _ = neighbour_pairs(atoms.positions, cell, cutoff)
    wanted = np.bincount(neighbor_list("i", atoms, cutoff), minlength=n)
    assert np.bincount(i, minlength=n).tolist() == wanted.tolist()


def test_histogram_is_that_of_the_pairs():
    rng = np.random.default_rng(5)
    cell = np.array([[11.0, 0, 0], [3.0, 9.0, 0], [0.0, 2.0, 10.0]])
    places = rng.random((150, 3)) @ cell
    rdf = radial_distribution(places, cell, 7.0, 0.25)
    distances = neighbor_list("d", Atoms("Si150", positions=places, cell=cell, pbc=True), 7.0)
    wanted, _ = np.histogram(distances, rdf.edges)
    assert (rdf.counts * 150).tolist() == pytest.approx(wanted.tolist())


def test_nothing_to_see():
    rdf = radial_distribution([[0.0, 0, 0]], np.eye(3) * 50, 5.0, 0.1)
    assert rdf.first_peak() is None
    assert rdf.first_minimum() is None
    assert (rdf.g == 0).all()


@pytest.mark.parametrize(
    ("positions", "cell", "message"),
    [
        ([[np.nan, 0, 0]], np.eye(3), "NaN"),
        ([[0.0, 0, 0]], np.zeros((3, 3)), "no volume"),
        (np.empty((0, 3)), np.eye(3), "without atoms"),
        ([[0.0, 0, 0]], np.diag([1.0, np.inf, 1.0]), "NaN or infinite"),
    ],
)
def test_bad_structures_are_refused(positions, cell, message):
    with pytest.raises(DismaiError, match=message):
        radial_distribution(positions, cell)


def test_bad_ranges_are_refused():
    with pytest.raises(DismaiError, match="shells"):
        radial_distribution([[0.0, 0, 0]], np.eye(3), 1.0, 0.0)
    with pytest.raises(DismaiError, match="atoms to count"):
        radial_distribution([[0.0, 0, 0]], np.eye(3), 1.0, 0.1, neighbours=[False])


def test_partial_function_of_a_region():
    """Six chlorine atoms at 2.82 Å around each of the chosen sodium atoms, in the slab or not."""
    salt = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 2)
    args = (salt.numbers, salt.positions, salt.cell.array, (11, 17))
    region = salt.positions[:, 2] < 1.0
    free = partial_distribution(*args, region=region, r_max=4.0, bin_width=0.1)
    assert free.counts[28] == 6
    # 32 chlorine atoms in (11.28 Å)^3; the shell from 2.8 to 2.9 Å holds 10.2081 Å^3.
    assert free.g[28] == pytest.approx(6 / (10.2081 * 32 / 11.28**3), rel=1e-5)
    # Two of the six lie above and below the layer.
    within = partial_distribution(*args, region=region, both_within=True, r_max=4.0, bin_width=0.1)
    assert within.counts[28] == 4
    with pytest.raises(DismaiError, match="atoms to count"):
        partial_distribution(salt.numbers, salt.positions, salt.cell.array, (11, 8))


def test_a_volume_sets_the_density():
    salt = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    salt.cell[2, 2] *= 3  # a slab with twice its thickness of vacuum
    args = (salt.positions, salt.cell.array, 4.0, 0.1)
    dense = radial_distribution(*args, volume=5.64**3)
    np.testing.assert_allclose(dense.g * 3, radial_distribution(*args).g)
    with pytest.raises(DismaiError, match="volume above 0"):
        radial_distribution(*args, volume=0.0)
