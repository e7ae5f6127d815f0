"""Sets of structures: order, hashes, pieces and bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.structures.structure_set import HASH_RESOLUTION, StructureSet


def mixed() -> StructureSet:
    """Return three structures that differ in everything, with labels."""
    atoms = [
        bulk("Fe", "fcc", a=3.6, cubic=True),
        Atoms("NiCr", positions=[[0, 0, 0], [1.0, 2.0, 3.0]], cell=[4, 5, 6], pbc=[1, 0, 1]),
        bulk("NaCl", "rocksalt", a=5.6),
    ]
    found = StructureSet.from_atoms(atoms, ["a", "b", "c"])
    return found.with_labels({"run": np.array([3, 1, 2]), "energy": np.array([0.5, -1.0, 2.0])})


def test_structures_come_back_as_they_went_in() -> None:
    """Species, positions, cells, boundaries, names and labels."""
    found = mixed()
    assert len(found) == 3
    assert found.ids == ("a", "b", "c")
    assert found.n_atoms.tolist() == [4, 2, 2]
    assert [found.formula(i) for i in range(3)] == ["Fe4", "CrNi", "ClNa"]
    second = list(found)[1]
    assert second.get_chemical_symbols() == ["Ni", "Cr"]
    assert second.positions.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert second.cell.lengths().tolist() == [4, 5, 6]
    assert second.pbc.tolist() == [True, False, True]
    assert second.info == {"run": 1, "energy": -1.0}


def test_uniform_sets_are_those_of_atoms() -> None:
    """Arrays of one cell and one number of atoms give the same set as ASE's objects."""
    cell = bulk("Fe", "fcc", a=3.6, cubic=True)
    positions = np.array([cell.positions, cell.positions + 0.1])
    numbers = [[26, 28, 26, 28], [28, 28, 26, 26]]
    made = StructureSet.uniform(numbers, positions, cell.cell.array, {"run": np.array([0, 1])})
    atoms = [
        Atoms(numbers=n, positions=p, cell=cell.cell, pbc=True)
        for n, p in zip(numbers, positions, strict=True)
    ]
    assert made.content_hash == StructureSet.from_atoms(atoms).content_hash
    assert made.ids == ("0", "1")
    assert made.atoms(1).info == {"run": 1}


def test_arrays_that_do_not_fit_are_refused() -> None:
    """A set cannot be built from arrays of different lengths."""
    with pytest.raises(ValueError, match="do not fit together"):
        replace(mixed(), ids=("a",))
    with pytest.raises(ValueError, match="do not fit together"):
        mixed().with_labels({"run": np.array([1])})


def test_select_keeps_order_and_repeats() -> None:
    """Any order, repeats and boolean masks, labels and names included."""
    found = mixed().select([2, 0, 2])
    assert found.ids == ("c", "a", "c")
    assert found.n_atoms.tolist() == [2, 4, 2]
    assert found.labels["run"].tolist() == [2, 3, 2]
    assert found.atoms(0) == found.atoms(2) == mixed().atoms(2)
    assert mixed().select(np.array([False, True, False])).ids == ("b",)
    assert len(mixed().select([])) == 0


@given(st.lists(st.integers(0, 2), max_size=7), st.integers(1, 4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_chunks_join_to_the_whole(indices: list[int], size: int) -> None:
    """Cutting and joining changes nothing."""
    whole = mixed().select(indices)
    chunks = whole.chunks(size)
    assert all(0 < len(chunk) <= size for chunk in chunks)
    joined = StructureSet.concatenate(chunks)
    assert joined.content_hash == whole.content_hash
    assert joined.ids == whole.ids
    if chunks:
        assert joined.to_bytes() == whole.to_bytes()


def test_joining_keeps_the_labels_that_all_have() -> None:
    """A label that one part lacks is dropped."""
    bare = mixed().with_labels({"run": np.array([7, 8, 9])})
    joined = StructureSet.concatenate([mixed(), bare])
    assert {key: values.tolist() for key, values in joined.labels.items()} == {
        "run": [3, 1, 2, 7, 8, 9]
    }


def test_chunks_of_nothing_are_refused() -> None:
    """A chunk size below one is a wrong setting."""
    with pytest.raises(DismaiError, match="chunk size 0"):
        mixed().chunks(0)


def test_bytes_keep_everything() -> None:
    """Names, labels, types, and numbers that no file format keeps."""
    whole = mixed()
    odd = replace(whole, positions=np.where(whole.positions == 0, np.nan, whole.positions / 3))
    back = StructureSet.from_bytes(odd.to_bytes())
    assert back.to_bytes() == odd.to_bytes()
    assert back.ids == odd.ids
    assert np.array_equal(back.positions, odd.positions, equal_nan=True)
    assert back.labels["run"].dtype == odd.labels["run"].dtype
    assert len(StructureSet.from_bytes(StructureSet.from_atoms([]).to_bytes())) == 0


@pytest.mark.parametrize("data", [b"", b"nonsense", mixed().to_bytes()[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes of another kind, or cut off."""
    with pytest.raises(DismaiError, match="not whole"):
        StructureSet.from_bytes(data)


def test_hash_is_of_the_content() -> None:
    """Whatever a structure is counts; its name and labels do not."""
    whole = mixed()
    same = replace(whole, ids=("x", "y", "z"), labels={})
    assert same.content_hash == whole.content_hash

    def shifted(by: float) -> StructureSet:
        positions = whole.positions.copy()
        positions[3, 1] += by
        return replace(whole, positions=positions)

    assert shifted(HASH_RESOLUTION / 10).content_hash == whole.content_hash
    others = [
        shifted(2 * HASH_RESOLUTION),
        shifted(np.nan),
        shifted(1e300),
        replace(whole, numbers=whole.numbers[::-1]),
        replace(whole, cells=whole.cells * 1.001),
        replace(whole, pbc=~whole.pbc),
        whole.select([0, 1]),
        whole.select([1, 0, 2]),
    ]
    hashes = {other.content_hash for other in others}
    assert whole.content_hash not in hashes
    # A coordinate that is no number hashes like one that is out of all bounds.
    assert len(hashes) == len(others) - 1
