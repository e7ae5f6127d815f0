"""Graphs of nearest neighbours in periodic cells that differ."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dismaiflow.errors import DismaiError
from dismaiflow.models.cdvae.graph import find_graph, leads_back, measure

from .crystals import random_cell, random_crystals

#: Squared distances closer than this count as equal.
STEP = 1 / 1024


def squared_by_ase(fractions, cell, cutoff, k):
    """Squared distances from each atom to its neighbours, the k nearest, from ASE's list."""
    atoms = Atoms("H" * len(fractions), scaled_positions=fractions, cell=cell, pbc=True)
    first, lengths = neighbor_list("id", atoms, cutoff)
    rows = [np.sort(lengths[first == i]) ** 2 for i in range(len(atoms))]
    return [row[row > 1e-4][:k] for row in rows]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.floats(2.5, 9.0),
    st.floats(0.5, 5.0),
    st.integers(1, 25),
)
def test_neighbours_are_those_of_ase(seed, n_atoms, edge, cutoff, k):
    rng = np.random.default_rng(seed)
    fractions = rng.random((2, n_atoms, 3)) * 3 - 1
    cells = np.array([random_cell(rng, edge) for _ in range(2)])
    # Very skew: by many cell vectors.
    cells[1, 2] += rng.integers(-3, 4) * cells[1, 0] + rng.integers(-3, 4) * cells[1, 1]
    tensors = torch.tensor(fractions), torch.tensor(cells)
    graph = find_graph(*tensors, cutoff, k)
    distances = measure(graph, *tensors, cutoff).distances
    for structure in range(2):
        expected = squared_by_ase(fractions[structure], cells[structure], cutoff, k)
        for atom, row in enumerate(expected):
            mask = graph.mask[structure, atom]
            assert mask.sum() == len(row)
            assert not mask[len(row) :].any()
            found = distances[structure, atom][mask].numpy() ** 2
            np.testing.assert_allclose(found, row, atol=STEP * 1.01)
            # No edge twice.
            ends = torch.cat([graph.atoms[..., None], graph.shifts], -1)[structure, atom][mask]
            assert len(torch.unique(ends, dim=0)) == len(row)


def test_own_images_are_neighbours():
    # Simple cubic, edge 2: six at 2 and twelve at 2 sqrt 2 within 3, all of the atom itself.
    fractions, cells = torch.zeros(1, 1, 3), 2 * torch.eye(3)[None]
    graph = find_graph(fractions, cells, 3.0, 20)
    distances = measure(graph, fractions, cells, 3.0).distances
    expected = [2.0] * 6 + [2 * 2**0.5] * 12 + [3.0] * 2
    np.testing.assert_allclose(distances[0, 0].numpy(), expected, rtol=1e-6)
    assert graph.mask[0, 0].tolist() == [True] * 18 + [False] * 2


def test_directions_and_lengths_by_hand():
    # From atom 0 at 0.1 back across the border to atom 1 at 0.9 of 10 Å: 2 Å along -x.
    fractions = torch.tensor([[[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]])
    cells = torch.diag(torch.tensor([10.0, 8.0, 9.0]))[None]
    graph = find_graph(fractions, cells, 3.0, 2)
    edges = measure(graph, fractions, cells, 3.0)
    assert graph.atoms[0, :, 0].tolist() == [1, 0]
    assert graph.shifts[0, :, 0].tolist() == [[-1, 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(edges.units[0, :, 0], [[-1, 0, 0], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(edges.distances[0], [[2, 3], [2, 3]], atol=1e-6)
    np.testing.assert_array_equal(edges.units[0, :, 1], np.zeros((2, 3)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_ideal_lattice_keeps_its_neighbours_when_turned_and_moved(seed, k):
    # Shells of 12, 6, 24 and 12 atoms, of which k often takes a part.
    atoms = bulk("Ni", "fcc", a=3.57, cubic=True).repeat(2)
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix()
    graphs = []
    for cell, move in ((atoms.cell[:], 0.0), (atoms.cell[:] @ turn.T, rng.random(3))):
        # Rounded, as networks are given them.
        fractions = torch.tensor(atoms.get_scaled_positions() + move, dtype=torch.float32)
        graphs.append(
            find_graph(fractions[None], torch.tensor(cell[None], dtype=torch.float32), 7.0, k)
        )
    for here, there in zip(*graphs, strict=True):
        assert torch.equal(here, there)


def test_batch_is_as_one_by_one():
    crystals = random_crystals(3, n_atoms=5, edge=3.0, n=4)
    crystals.cells[2] = crystals.cells[0]
    whole = find_graph(crystals.fractions, crystals.cells, 4.0, 12)
    for place in range(4):
        here = torch.tensor([place])
        one = find_graph(crystals.fractions[here], crystals.cells[here], 4.0, 12)
        for part, alone in zip(whole.select(here), one, strict=True):
            assert torch.equal(part, alone)


def test_atoms_on_top_of_each_other_are_no_neighbours():
    fractions = torch.tensor([[[0.2, 0.2, 0.2]] * 2 + [[0.5, 0.2, 0.2]]])
    graph = find_graph(fractions, 10 * torch.eye(3)[None], 4.0, 5)
    assert graph.mask.sum(-1).tolist() == [[1, 1, 2]]
    assert graph.atoms[0, 2, :2].tolist() == [0, 1]


def test_what_is_no_crystal_has_no_neighbours():
    fractions = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0))
    cells = 4 * torch.eye(3).repeat(4, 1, 1)
    fractions[0, 1, 1] = torch.nan
    cells[1, 0, 0] = torch.inf
    cells[2, 2] = cells[2, 1]
    graph = find_graph(fractions, cells, 5.0, 4)
    # The atom that is lost has none and is none.
    assert graph.mask.flatten(2).any(-1).tolist() == [
        [True, False, True],
        [False] * 3,
        [False] * 3,
        [True] * 3,
    ]
    assert not ((graph.atoms[0] == 1) & graph.mask[0]).any()


@pytest.mark.parametrize("edges", [(0.05, 0.05, 0.05), (0.05, 9.0, 9.0), (0.05, 0.05, 9.0)])
def test_tiny_cells_do_not_take_long(edges):
    fractions = torch.rand(1, 20, 3, generator=torch.Generator().manual_seed(0)).double()
    cells = torch.diag(torch.tensor(edges, dtype=torch.float64))[None]
    begin = time.process_time()
    graph = find_graph(fractions, cells, 7.0, 20)
    assert time.process_time() - begin < 2
    assert graph.mask.all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_edges_that_lead_back_are_those_of_a_search(seed, k):
    crystals = random_crystals(seed, n_atoms=3, edge=3.0)
    graph = find_graph(crystals.fractions, crystals.cells, 4.0, k)
    found = leads_back(graph, measure(graph, crystals.fractions, crystals.cells, 4.0))
    for n, atom, slot in np.ndindex(2, 3, k):
        for other in range(k):
            there = int(graph.atoms[n, atom, slot])
            expected = (
                bool(graph.mask[n, atom, slot] and graph.mask[n, there, other])
                and int(graph.atoms[n, there, other]) == atom
                and graph.shifts[n, there, other].tolist()
                == (-graph.shifts[n, atom, slot]).tolist()
            )
            assert bool(found[n, atom, slot, other]) == expected


@pytest.mark.parametrize(("cutoff", "k"), [(0.0, 5), (4.0, 0)])
def test_useless_limits_are_refused(cutoff, k):
    with pytest.raises(DismaiError, match="positive cutoff"):
        find_graph(torch.zeros(1, 1, 3), torch.eye(3)[None], cutoff, k)
