from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.duplicates import find_duplicates
from dismaiflow.structures.structure_set import StructureSet

from .hosts import lsc_lco


@pytest.fixture(scope="module")
def thousand():
    return lsc_lco().generate(range(1000), seed=5, exchanges=True).structures


def disguised(atoms, rng, noise):
    """Return the same structure: translated in the plane, permuted, wrapped, a little rattled."""
    cell = atoms.cell.array
    moved = atoms.positions + np.array([*rng.random(2), 0]) @ cell
    moved += rng.normal(0, noise, moved.shape)
    copy = Atoms(atoms.numbers, moved, cell=cell, pbc=True)
    copy.wrap()
    return copy[rng.permutation(len(copy))]


def test_no_false_ones_among_a_thousand(thousand):
    assert find_duplicates(thousand) == []


def test_planted_ones_are_found(thousand):
    rng = np.random.default_rng(0)
    copies = [disguised(thousand.atoms(i), rng, 0.005) for i in (3, 77, 500, 500)]
    found = find_duplicates(StructureSet.concatenate([thousand, StructureSet.from_atoms(copies)]))
    assert found == [[3, 1000], [77, 1001], [500, 1002, 1003]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 999))
def test_translation_and_order_do_not_matter(thousand, seed, index):
    rng = np.random.default_rng(seed)
    pair = [thousand.atoms(index), disguised(thousand.atoms(index), rng, 0.0)]
    assert find_duplicates(StructureSet.from_atoms(pair), 1e-4) == [[0, 1]]


def test_one_atom_moved_makes_another_structure(thousand):
    atoms = thousand.atoms(0)
    copies = [atoms.copy() for _ in range(2)]
    copies[0].positions[2] += (0.04, 0, 0)
    copies[1].positions[2] += (0.2, 0, 0)
    assert find_duplicates(StructureSet.from_atoms([atoms, *copies]), 0.05) == [[0, 1]]


def test_an_exchange_makes_another_structure(thousand):
    atoms = thousand.atoms(0)
    swapped = atoms.copy()
    swapped.positions[[0, 100]] = atoms.positions[[100, 0]]
    assert atoms.numbers[0] != atoms.numbers[100]
    assert find_duplicates(StructureSet.from_atoms([atoms, swapped])) == []


def test_a_mirror_image_is_another_structure(thousand):
    atoms = thousand.atoms(0)
    turned = atoms.copy()
    turned.positions = -atoms.positions
    turned.wrap()
    assert find_duplicates(StructureSet.from_atoms([atoms, turned])) == []


def test_other_cells_and_compositions_are_apart():
    atoms = Atoms("LiF", [(0, 0, 0), (2, 0, 0)], cell=[4, 4, 4], pbc=True)
    wider = Atoms("LiF", [(0, 0, 0), (2, 0, 0)], cell=[4, 4, 5], pbc=True)
    other = Atoms("LiCl", [(0, 0, 0), (2, 0, 0)], cell=[4, 4, 4], pbc=True)
    structures = StructureSet.from_atoms([atoms, wider, other, atoms, other])
    assert find_duplicates(structures) == [[0, 3], [2, 4]]


def test_one_species_all_alike():
    # 64 atoms of one species: every atom may be the partner of the first.
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*3 * [np.arange(4.0)]), axis=-1).reshape(-1, 3) * 2.5
    first = Atoms("Si64", grid + rng.uniform(-0.5, 0.5, grid.shape), cell=3 * [10.0], pbc=True)
    second = Atoms("Si64", grid + rng.uniform(-0.5, 0.5, grid.shape), cell=3 * [10.0], pbc=True)
    copies = [disguised(first, rng, 0.002) for _ in range(3)]
    found = find_duplicates(StructureSet.from_atoms([first, second, *copies]))
    assert found == [[0, 2, 3, 4]]


def test_tolerance_must_be_positive(thousand):
    with pytest.raises(DismaiError, match="tolerance of duplicates must be positive, got 0"):
        find_duplicates(thousand, 0)


def test_no_structures():
    assert find_duplicates(StructureSet.from_atoms([])) == []
