"""Parents: large disordered structures in a right-angled box, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.structures.checks import LARGEST_LENGTH
from dismaiflow.structures.read import read_structures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.systems import SystemSpec

#: Å by which a cell may miss a right angle.
_RIGHT_ANGLE = 1e-6

#: Å. Atoms nearer than this are one atom written twice.
_SAME_PLACE = 0.01


@dataclass(frozen=True)
class ParentBox:
    """A periodic structure in a right-angled box along the axes.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n_atoms,)
        Atomic numbers.
    positions : ndarray, shape (n_atoms, 3)
        Å; they need not lie inside the box.
    lengths : ndarray, shape (3,)
        Edges, Å.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def cell(self) -> NDArray[np.float64]:
        """The cell, rows are vectors, Å, shape (3, 3)."""
        return np.diag(self.lengths)

    @classmethod
    def of(cls, structures: StructureSet, source: str, elements: Iterable[str] = ()) -> ParentBox:
        """Check a parent.

        Parameters
        ----------
        structures : StructureSet
            One structure.
        source : str
            What to call it in errors.
        elements : iterable of str, optional
            Elements that it must hold, and no others.

        Raises
        ------
        DismaiError
            If there is not exactly one structure, a number is not finite, the cell is not
            right-angled along the axes, a direction is not periodic, the elements differ, or two
            atoms are at one place.
        """
        if len(structures) != 1:
            raise DismaiError(f"{source}: holds {len(structures)} structures: a parent is one")
        cell, positions = structures.cells[0], structures.positions
        if len(positions) == 0:
            raise DismaiError(f"{source}: holds no atoms")
        if not (np.abs(positions) <= LARGEST_LENGTH).all():
            raise DismaiError(
                f"{source}: a coordinate of the parent is NaN, infinite or beyond 1e7 Å"
            )
        lengths = np.diagonal(cell).copy()
        if not (np.abs(cell - np.diag(lengths)) < _RIGHT_ANGLE).all() or not (lengths > 0).all():
            raise DismaiError(
                f"{source}: the cell of a parent must be a box along x, y and z: blocks are cut "
                "along the axes; make it orthorhombic"
            )
        if not structures.pbc.all():
            raise DismaiError(
                f'{source}: a parent must be periodic in all directions: set pbc="T T T"'
            )
        found = {chemical_symbols[z] for z in np.unique(structures.numbers)}
        wanted = set(elements) or found
        if found != wanted:
            raise DismaiError(
                f"{source}: the parent holds {', '.join(sorted(found))}, but key 'composition' "
                f"has {', '.join(sorted(wanted))}: take another parent or mend composition"
            )
        _check_places(positions, lengths, source)
        return cls(structures.numbers.astype(np.int64), positions, lengths)

    def structure_set(self) -> StructureSet:
        """Return it as a set of one structure, all atoms inside the box, to eight decimals."""
        lengths = np.round(self.lengths, 8)
        places = np.round(np.mod(self.positions, self.lengths), 8)
        places[places >= lengths] = 0.0
        return StructureSet.uniform([self.numbers], [places], np.diag(lengths))


def _check_places(
    positions: NDArray[np.float64], lengths: NDArray[np.float64], source: str
) -> None:
    """Refuse two atoms at one place."""
    from scipy.spatial import cKDTree

    places = np.mod(positions, lengths)
    places[places >= lengths] = 0.0
    pairs = cKDTree(places, boxsize=lengths).query_pairs(_SAME_PLACE, output_type="ndarray")
    if len(pairs):
        i, j = sorted(pairs[0].tolist())
        raise DismaiError(
            f"{source}: atoms {i} and {j} (from 0) are at the same place: remove one of them"
        )


def parent_path(spec: SystemSpec) -> Path | None:
    """Return the file of the parent that a spec names, beside its YAML; None if it names none.

    Raises
    ------
    DismaiError
        If the file is missing, or the spec was not read from a file.
    """
    name = spec.amorphous.parent.file
    if name is None:
        return None
    origin = spec.origin or spec.name
    if spec.path is None:
        raise DismaiError(
            f"{origin}: key 'parent.file' is sought beside the YAML, and this spec comes from "
            "none: give the parent itself"
        )
    path = spec.path.parent / name
    if not path.is_file():
        raise DismaiError(
            f"{origin}: key 'parent.file': no file {path}: put it beside the YAML, or remove the "
            "key to make a parent by melt-quench"
        )
    return path


def read_parent(path: Path, spec: SystemSpec) -> StructureSet:
    """Read and check a parent.

    Parameters
    ----------
    path : Path
        An extxyz, CIF or POSCAR file with one structure.
    spec : SystemSpec
        The system it is for.

    Returns
    -------
    StructureSet
        One structure.

    Raises
    ------
    DismaiError
        If it cannot be read, or is no parent for this system.
    """
    found = read_structures(path)
    if found.bad:
        raise DismaiError(f"{path}: frame {found.bad[0].index}: {found.bad[0].detail}")
    return ParentBox.of(found.structures, str(path), spec.composition).structure_set()


def kind_counts(composition: dict[str, int], numbers: NDArray[np.int64]) -> list[int]:
    """Return how many atoms of each element of a composition there are, in its order."""
    return [int((numbers == atomic_numbers[symbol]).sum()) for symbol in composition]
