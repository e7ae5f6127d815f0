"""What a generated structure must have in common with the reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula

from dismaiflow.errors import DismaiError
from dismaiflow.structures.read import BadFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Cell vectors may differ from the reference's by so much (Å).
CELL_TOLERANCE = 1e-3

#: Volume below which a cell is none (Å^3).
SMALLEST_VOLUME = 1e-6

#: Lengths beyond this (Å) are no better than infinite: as floats they leave no place for the eight
#: decimals of a file, and their squares may overflow.
LARGEST_LENGTH = 1e7


#: Reasons that models give, too, for what they cannot make a structure of.
NOT_FINITE, WRONG_COMPOSITION = "not_finite", "wrong_composition"


@dataclass(frozen=True)
class Expectation:
    """What every structure of a set must be like.

    Parameters
    ----------
    composition : dict of int to int
        Number of atoms by atomic number.
    cell : ndarray, shape (3, 3), optional
        Cell vectors in Å; None if every structure may keep its own.
    """

    composition: dict[int, int]
    cell: NDArray[np.float64] | None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, for the input of a job."""
        return {
            "composition": {chemical_symbols[z]: n for z, n in self.composition.items()},
            "cell": None if self.cell is None else self.cell.tolist(),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Expectation:
        """Read what `plain` returned."""
        cell = None if data["cell"] is None else np.array(data["cell"], dtype=float)
        return cls({atomic_numbers[s]: n for s, n in data["composition"].items()}, cell)

    @property
    def formula(self) -> str:
        """Hill formula."""
        return _formula(self.composition)

    @classmethod
    def of_reference(cls, reference: StructureSet, source: str) -> Expectation:
        """Read composition and cell from a reference set.

        Raises
        ------
        DismaiError
            If the set is empty, or its structures differ in composition or cell or hold
            non-finite numbers.
        """
        if len(reference) == 0:
            raise DismaiError(f"{source}: the reference holds no structures")
        composition = dict(Counter(reference.numbers[reference.slice_of(0)].tolist()))
        expected = cls(composition, reference.cells[0])
        for index in range(len(reference)):
            problem = find_problem(reference, index, expected)
            if problem is not None:
                raise DismaiError(
                    f"{source}: reference structure {index} is unlike the first: {problem[1]}"
                )
        return expected


def find_problem(
    structures: StructureSet, index: int, expected: Expectation
) -> tuple[str, str] | None:
    """Return the first reason why a structure does not fit, with one line for a person.

    Reasons are ``not_finite``, ``foreign_element``, ``wrong_count``, ``wrong_composition`` and
    ``wrong_cell``.
    """
    part = structures.slice_of(index)
    cell = structures.cells[index]
    if not (_bounded(structures.positions[part]) and _bounded(cell)):
        return NOT_FINITE, "a coordinate or cell length is NaN, infinite or beyond 1e7 A"
    if expected.cell is None and abs(np.linalg.det(cell)) < SMALLEST_VOLUME:
        return "wrong_cell", "has a cell without volume"
    found = Counter(structures.numbers[part].tolist())
    foreign = sorted(set(found) - set(expected.composition))
    if foreign:
        names = ", ".join(chemical_symbols[z] for z in foreign)
        return "foreign_element", f"holds {names}, which {expected.formula} does not"
    n_found, n_expected = sum(found.values()), sum(expected.composition.values())
    if n_found != n_expected:
        return "wrong_count", f"has {n_found} atoms instead of {n_expected}"
    if dict(found) != expected.composition:
        return WRONG_COMPOSITION, f"is {_formula(found)} instead of {expected.formula}"
    if expected.cell is not None and np.abs(cell - expected.cell).max() > CELL_TOLERANCE:
        lengths = np.linalg.norm(cell, axis=1)
        wanted = np.linalg.norm(expected.cell, axis=1)
        return "wrong_cell", (
            f"has cell lengths {_numbers(lengths)} A where the reference has {_numbers(wanted)} A, "
            "or other angles"
        )
    return None


def check_structures(
    structures: StructureSet, indices: NDArray[np.int64], expected: Expectation
) -> tuple[NDArray[np.int64], list[BadFrame]]:
    """Sort structures into those that fit and those that do not.

    Parameters
    ----------
    structures : StructureSet
        What was read.
    indices : ndarray of int64, shape (n_structures,)
        Place of each in its source.
    expected : Expectation
        What they must be like.

    Returns
    -------
    kept : ndarray of int64
        Positions in `structures` of those that fit.
    bad : list of BadFrame
        The others, with their places in the source.
    """
    kept, bad = [], []
    for i, index in enumerate(indices.tolist()):
        problem = find_problem(structures, i, expected)
        if problem is None:
            kept.append(i)
        else:
            bad.append(BadFrame(index, *problem))
    return np.array(kept, dtype=np.int64), bad


def _bounded(lengths: NDArray[np.float64]) -> bool:
    """Say whether all lengths are numbers within bounds; NaN is not."""
    return bool((np.abs(lengths) <= LARGEST_LENGTH).all())


def _formula(composition: dict[int, int] | Counter[int]) -> str:
    counts = {chemical_symbols[z]: n for z, n in composition.items()}
    return str(Formula.from_dict(counts).format("hill"))


def _numbers(values: NDArray[np.float64]) -> str:
    return "x".join(f"{value:.4g}" for value in values)
