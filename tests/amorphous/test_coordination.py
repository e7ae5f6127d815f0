"""Numbers of neighbours: crystals that can be counted by hand, and ASE's neighbour list."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.amorphous.coordination import coordination_statistics, neighbour_counts
from dismaiflow.errors import DismaiError
from dismaiflow.structures.structure_set import StructureSet

CUTOFF = 2.85


def diamond(*lacking: int):
    """Return 64 atoms of silicon, less some that are no neighbours of each other."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(2)
    del atoms[list(lacking)]
    return atoms


def as_set(*structures):
    return StructureSet.from_atoms(structures)


def test_a_vacancy_leaves_four_atoms_with_three_neighbours():
    stages = {"parent": as_set(diamond()), "sliced": as_set(diamond(0), diamond())}
    found = coordination_statistics(stages, CUTOFF)
    assert found["cutoff"] == CUTOFF
    assert found["parent"] == {"4": 1.0}
    assert found["sliced"] == pytest.approx({"3": 4 / 127, "4": 123 / 127})
    assert found["usual"] == {"Si": 4}
    assert found["defects"] == pytest.approx({"parent": 0.0, "sliced": 4 / 127})
    assert found["mean"] == pytest.approx({"parent": 4.0, "sliced": (4 * 127 - 4) / 127})
    assert "by_element" not in found


def test_silicon_is_to_have_four_whatever_its_parent_has():
    dense = bulk("Si", "fcc", a=3.8, cubic=True)
    found = coordination_statistics({"parent": as_set(dense)}, CUTOFF)
    assert found["parent"] == {"12": 1.0}
    assert found["defects"] == {"parent": 1.0}


def test_several_elements_are_told_apart():
    # Fluorite: a cation has 8 anions at a sqrt(3)/4 = 2.366 Å, an anion 4 cations; anions are
    # a/2 = 2.73 Å apart.
    fluorite = bulk("CaF2", "fluorite", a=5.463, cubic=True)
    lacking = fluorite.copy()
    del lacking[next(atom.index for atom in fluorite if atom.symbol == "F")]
    stages = {"parent": as_set(fluorite), "relaxed": as_set(lacking)}
    found = coordination_statistics(stages, 2.5)
    assert found["parent"] == pytest.approx({"4": 2 / 3, "8": 1 / 3})
    assert found["usual"] == {"F": 4, "Ca": 8}
    assert found["by_element"]["Ca"]["parent"] == {"8": 1.0}
    assert found["by_element"]["F"]["relaxed"] == {"4": 1.0}
    # one anion less is four cations with seven neighbours, which are all of the cell
    assert found["by_element"]["Ca"]["relaxed"] == {"7": 1.0}
    assert found["defects"] == pytest.approx({"parent": 0.0, "relaxed": 4 / 11})


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), edge=st.floats(3.0, 9.0))
def test_counts_are_those_of_ase(seed, n, edge):
    rng = np.random.default_rng(seed)
    crystals = []
    for _ in range(2):
        atoms = bulk("Si", "sc", a=edge).repeat((1, 1, n))
        atoms.rattle(0.3, rng=rng)
        crystals.append(atoms)
    wanted = [
        np.bincount(neighbor_list("i", atoms, CUTOFF), minlength=len(atoms)) for atoms in crystals
    ]
    assert neighbour_counts(as_set(*crystals), CUTOFF).tolist() == np.concatenate(wanted).tolist()


def test_senseless_requests_are_refused():
    with pytest.raises(DismaiError, match="cutoff"):
        neighbour_counts(as_set(diamond()), 0.0)
    with pytest.raises(DismaiError, match="no relaxed structures"):
        coordination_statistics({"parent": as_set(diamond()), "relaxed": as_set()}, CUTOFF)
    assert len(neighbour_counts(as_set(), CUTOFF)) == 0
