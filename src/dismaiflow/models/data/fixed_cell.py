"""Training structures of one composition in one cell, as fractional coordinates by species."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.data.finite import check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: By how much cells may differ that count as the same, Å.
_SAME_CELL = 1e-4

#: Coordinates that are no further below 1 than this lie on the cell's face, at 0: rounding in a
#: file must not send a lattice site to the other side.
FACE = 1e-6


@dataclass(frozen=True, eq=False)
class FixedCellData:
    """Structures that differ in the places of their atoms only.

    Parameters
    ----------
    fractions : ndarray, shape (n_structures, n_atoms, 3)
        Fractional coordinates from 0 to below 1, atoms grouped by species. Species follow each
        other as they first appear in the first structure, and the atoms of each keep the order
        that they have in their structure.
    counts : tuple of int
        Atoms of each species.
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers in the order of the first structure.
    order : ndarray of int64, shape (n_atoms,)
        Which atom of the first structure each grouped atom is.
    cell : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    """

    fractions: NDArray[np.float64]
    counts: tuple[int, ...]
    numbers: NDArray[np.uint8]
    order: NDArray[np.int64]
    cell: NDArray[np.float64]

    @classmethod
    def from_structures(cls, structures: StructureSet, model: str) -> FixedCellData:
        """Group the atoms of training structures.

        Parameters
        ----------
        structures : StructureSet
            The structures.
        model : str
            Who asks, for messages.

        Raises
        ------
        DismaiError
            If they do not share composition and cell, are not periodic in all directions, or hold a
            coordinate that is not finite.
        """
        if len(structures) == 0:
            raise DismaiError(f"{model}: there are no training structures")
        check_finite(structures, model)
        _check_alike(structures, model)
        n = len(structures)
        numbers = structures.numbers.reshape(n, -1)
        species, first, counts = np.unique(numbers[0], return_index=True, return_counts=True)
        appearance = np.argsort(first)
        rank = np.zeros(256, dtype=np.int64)
        rank[species[appearance]] = np.arange(len(species))
        order = np.argsort(rank[numbers], axis=1, kind="stable")
        positions = structures.positions.reshape(n, -1, 3)
        fractions = positions @ np.linalg.inv(structures.cells)
        grouped = np.take_along_axis(fractions, order[:, :, None], axis=1)
        return cls(
            fractions=np.maximum(grouped - np.floor(grouped + FACE), 0.0),
            counts=tuple(counts[appearance].tolist()),
            numbers=numbers[0],
            order=order[0],
            cell=structures.cells[0],
        )


def _check_alike(structures: StructureSet, model: str) -> None:
    """Refuse structures that differ in more than the places of their atoms."""
    if not structures.pbc.all():
        index = int(np.argmin(structures.pbc.all(axis=1)))
        raise DismaiError(
            f"{model}: training structure {index} is not periodic in all directions, which the "
            "bond distances presuppose: set pbc, with enough vacuum in the cell"
        )
    for index in range(len(structures)):
        if structures.formula(index) != structures.formula(0):
            raise DismaiError(
                f"{model}: training structure {index} is {structures.formula(index)}, structure 0 "
                f"is {structures.formula(0)}: the model needs one composition for all"
            )
    apart = np.abs(structures.cells - structures.cells[0]).max(axis=(1, 2))
    worst = int(np.argmax(apart))
    if apart[worst] > _SAME_CELL:
        raise DismaiError(
            f"{model}: the cell of training structure {worst} differs from that of structure 0 by "
            f"{apart[worst]:.3g} Å: the model needs one cell for all"
        )
