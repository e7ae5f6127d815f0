"""Training structures of one number of atoms, in cells of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.data.finite import check_finite
from dismaiflow.structures.checks import SMALLEST_VOLUME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Highest atomic number that has an embedding.
_HEAVIEST = 100


@dataclass(frozen=True, eq=False)
class CrystalData:
    """Structures of one number of atoms; compositions and cells may differ.

    Parameters
    ----------
    fractions : ndarray, shape (n, n_atoms, 3)
        Fractional coordinates in [0, 1).
    numbers : ndarray of int64, shape (n, n_atoms)
        Atomic numbers.
    cells : ndarray, shape (n, 3, 3)
        Cell vectors as rows, Å.
    """

    fractions: NDArray[np.float64]
    numbers: NDArray[np.int64]
    cells: NDArray[np.float64]

    @classmethod
    def from_structures(
        cls, structures: StructureSet, model: str, what: str = "training"
    ) -> CrystalData:
        """Take over structures.

        Parameters
        ----------
        structures : StructureSet
            The structures.
        model, what : str
            Who asks, and what they are for, for messages.

        Raises
        ------
        DismaiError
            If there are none, their numbers of atoms differ, or one cannot be used.
        """
        if not len(structures):
            raise DismaiError(f"{model}: the {what} set holds no structures")
        counts = sorted(set(structures.n_atoms.tolist()))
        if len(counts) > 1 or counts[0] == 0:
            listed = ", ".join(map(str, counts))
            raise DismaiError(
                f"{model}: the {what} set holds structures of {listed} atoms; all must have the "
                "same number"
            )
        n, n_atoms = len(structures), counts[0]
        check_finite(structures, model, what)
        volumes = np.abs(np.linalg.det(structures.cells))
        if volumes.min() < SMALLEST_VOLUME:
            raise DismaiError(
                f"{model}: the cell of {what} structure {volumes.argmin()} has no "
                "volume: mend the dataset"
            )
        numbers = structures.numbers.reshape(n, n_atoms).astype(np.int64)
        if numbers.max() > _HEAVIEST:
            raise DismaiError(
                f"{model}: the {what} set holds element {numbers.max()}; 100 is the last"
            )
        places = structures.positions.reshape(n, n_atoms, 3)
        fractions = places @ np.linalg.inv(structures.cells)
        return cls(fractions % 1.0, numbers, structures.cells.copy())

    def __len__(self) -> int:
        return len(self.fractions)


def turned_like(cells: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn cells, and mirror those that need it, to lie as others do (Kabsch).

    Networks know a cell by its metric tensor alone, so that those they make come in any
    orientation and handedness.

    Parameters
    ----------
    cells, wanted : ndarray, shape (n, 3, 3)
        Cell vectors as rows, Å. Those that are not finite stay as they are.
    """
    turned = cells.copy()
    good = np.isfinite(cells).all((1, 2))
    left, _, right = np.linalg.svd(np.swapaxes(cells[good], 1, 2) @ wanted[good])
    turned[good] = cells[good] @ (left @ right)
    return turned
