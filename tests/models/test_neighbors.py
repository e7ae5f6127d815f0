"""Nearest neighbours in periodic cells."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.models.nn.neighbors import PeriodicNeighbors


def by_ase(fractions, cell, k):
    """The k shortest bonds of each atom in a neighbour list that is long enough."""
    atoms = Atoms("H" * len(fractions), scaled_positions=fractions, cell=cell, pbc=True)
    cutoff = 1.5 * (atoms.get_volume() * k / len(atoms)) ** (1 / 3)
    while True:
        first, lengths = neighbor_list("id", atoms, cutoff)
        if np.bincount(first, minlength=len(atoms)).min() >= k:
            return np.array([np.sort(lengths[first == i])[:k] for i in range(len(atoms))])
        cutoff *= 1.5


@st.composite
def cells(draw):
    """Lower triangular cells, up to very skew ones."""
    edges = [draw(st.floats(2.5, 9.0)) for _ in range(3)]
    skew = [draw(st.floats(-1.6, 1.6)) for _ in range(3)]
    cell = np.diag(edges)
    cell[1, 0], cell[2, 0], cell[2, 1] = (s * e for s, e in zip(skew, edges, strict=True))
    return cell


@settings(max_examples=60, deadline=None)
@given(cells(), st.integers(1, 20), st.integers(1, 12), st.integers(0, 10**6))
def test_distances_are_those_of_ase(cell, n_atoms, k, seed):
    fractions = np.random.default_rng(seed).random((2, n_atoms, 3)) * 3 - 1
    found = PeriodicNeighbors(cell, k).distances(torch.tensor(fractions, dtype=torch.float32))
    expected = [by_ase(one, cell, k) for one in fractions]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_lattice_of_one_atom_has_its_images_as_neighbours():
    # Simple cubic, edge 2: six at 2 and twelve at 2 sqrt 2, all images of the atom itself.
    found = PeriodicNeighbors(2 * np.eye(3), 18).distances(torch.zeros(1, 1, 3))
    expected = [2.0] * 6 + [2 * 2**0.5] * 12
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-6)


def test_sparse_and_dense_structures_in_one_batch():
    # Two atoms far apart in the second structure: beyond what the nearest images can tell.
    rng = np.random.default_rng(0)
    dense = rng.random((30, 3))
    sparse = np.full((30, 3), 0.5) + 1e-3 * rng.random((30, 3))
    sparse[0] = 0.0
    cell = np.diag([4.0, 9.0, 12.0])
    fractions = np.stack([dense, sparse])
    found = PeriodicNeighbors(cell, 4, torch.float64).distances(torch.tensor(fractions))
    expected = [by_ase(one, cell, 4) for one in fractions]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_gradient_is_that_of_finite_differences(
    skew=((5.0, 0, 0), (2.0, 4.0, 0), (1.0, -1.5, 4.5)),
):
    neighbors = PeriodicNeighbors(skew, 5, torch.float64)
    fractions = torch.rand(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fractions.requires_grad_()
    assert torch.autograd.gradcheck(neighbors.distances, fractions, eps=1e-7, atol=1e-5)


def test_coincident_atoms_are_neighbours_and_leave_gradients_finite():
    fractions = torch.tensor([[[0.1, 0.2, 0.3]] * 3 + [[0.6, 0.6, 0.6]]], requires_grad=True)
    found = PeriodicNeighbors(6 * np.eye(3), 3).distances(fractions)
    found.sum().backward()
    # Each of the three has the two others on top of it, and the fourth at 6 sqrt(0.5) Å.
    far = 6 * (0.25 + 0.16 + 0.09) ** 0.5
    np.testing.assert_allclose(found[0, :3].detach().numpy(), [[0, 0, far]] * 3, atol=2e-6)
    assert torch.isfinite(fractions.grad).all()
    assert fractions.grad[0, 3].abs().sum() > 0


def test_numbers_that_are_lost_do_not_hang():
    fractions = torch.full((2, 8, 3), torch.nan)
    assert PeriodicNeighbors(np.eye(3), 3).distances(fractions).isnan().all()
    assert PeriodicNeighbors(np.eye(3), 9).distances(fractions).isnan().all()
