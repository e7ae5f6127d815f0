"""What generated structures must have in common with the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from dismaiflow.errors import DismaiError
from dismaiflow.structures.checks import (
    CELL_TOLERANCE,
    Expectation,
    check_structures,
    find_problem,
)
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms


def good() -> Atoms:
    """Return a cell of an ordered alloy."""
    atoms = bulk("Fe", "fcc", a=3.6, cubic=True) * (2, 1, 1)
    atoms.symbols[:3] = "Ni"
    return atoms


def expectation() -> Expectation:
    """Return what a set of it is like."""
    return Expectation.of_reference(StructureSet.from_atoms([good(), good()]), "ref.extxyz")


def _nan(atoms: Atoms) -> None:
    atoms.positions[2, 0] = np.nan


def _infinite_cell(atoms: Atoms) -> None:
    atoms.cell[0, 0] = np.inf


def _far_away(atoms: Atoms) -> None:
    atoms.positions[2, 0] = -1e300


def _foreign(atoms: Atoms) -> None:
    atoms.symbols[1] = "Al"


def _too_few(atoms: Atoms) -> None:
    del atoms[0]


def _none_left(atoms: Atoms) -> None:
    del atoms[:]


def _swapped_count(atoms: Atoms) -> None:
    atoms.symbols[4] = "Ni"


def _longer(atoms: Atoms) -> None:
    atoms.cell[0, 0] += 3 * CELL_TOLERANCE


def _sheared(atoms: Atoms) -> None:
    atoms.cell[0, 1] += 0.5


BROKEN: list[tuple[Callable[[Atoms], None], str, str]] = [
    (_nan, "not_finite", "NaN"),
    (_infinite_cell, "not_finite", "infinite"),
    (_far_away, "not_finite", "beyond 1e7 A"),
    (_foreign, "foreign_element", "holds Al, which Fe5Ni3 does not"),
    (_too_few, "wrong_count", "has 7 atoms instead of 8"),
    (_none_left, "wrong_count", "has 0 atoms instead of 8"),
    (_swapped_count, "wrong_composition", "is Fe4Ni4 instead of Fe5Ni3"),
    (_longer, "wrong_cell", "has cell lengths 7.203x3.6x3.6 A where the reference has 7.2x"),
    (_sheared, "wrong_cell", "other angles"),
]


@pytest.mark.parametrize(("spoil", "reason", "detail"), BROKEN)
def test_reasons(spoil: Callable[[Atoms], None], reason: str, detail: str) -> None:
    """Each kind of misfit has its reason, and a line that says what is wrong."""
    atoms = good()
    spoil(atoms)
    problem = find_problem(StructureSet.from_atoms([good(), atoms]), 1, expectation())
    assert problem is not None
    assert problem[0] == reason
    assert detail in problem[1]


def test_what_fits_is_kept_wherever_its_atoms_are() -> None:
    """Order of the atoms, their places, and small changes of the cell do not matter."""
    moved = good()[::-1]
    moved.positions += 100.0
    moved.cell[0, 0] += CELL_TOLERANCE / 2
    assert find_problem(StructureSet.from_atoms([moved]), 0, expectation()) is None


def test_own_cells_are_allowed_where_none_is_expected() -> None:
    """With no cell to match, every structure keeps its own."""
    atoms = good()
    atoms.set_cell(2 * atoms.cell)
    free = Expectation(expectation().composition, None)
    assert find_problem(StructureSet.from_atoms([atoms]), 0, free) is None


def test_sorting_keeps_the_places_in_the_source() -> None:
    """Positions of the good and places of the bad, in their order."""
    bad, few = good(), good()
    _nan(bad)
    _too_few(few)
    found = StructureSet.from_atoms([good(), bad, good(), few])
    kept, failed = check_structures(found, np.array([0, 3, 4, 9]), expectation())
    assert kept.tolist() == [0, 2]
    assert [(b.index, b.reason) for b in failed] == [(3, "not_finite"), (9, "wrong_count")]


@pytest.mark.parametrize("spoil", [case[0] for case in BROKEN])
def test_references_must_be_alike(spoil: Callable[[Atoms], None]) -> None:
    """A reference with one structure unlike the first is refused, and named."""
    atoms = good()
    spoil(atoms)
    with pytest.raises(DismaiError, match=r"ref\.extxyz: reference structure 2 is unlike the f"):
        Expectation.of_reference(StructureSet.from_atoms([good(), good(), atoms]), "ref.extxyz")


def test_references_must_be_finite_from_the_first() -> None:
    """The first structure, by which the others are judged, is judged too."""
    atoms = good()
    _nan(atoms)
    with pytest.raises(DismaiError, match="NaN"):
        Expectation.of_reference(StructureSet.from_atoms([atoms]), "ref.extxyz")


def test_references_must_hold_something() -> None:
    """An empty set is no reference."""
    with pytest.raises(DismaiError, match="holds no structures"):
        Expectation.of_reference(StructureSet.from_atoms([]), "ref.extxyz")
