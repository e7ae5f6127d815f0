"""The search for nearest neighbours on a processor, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def nearest(  # pragma: no cover - compiled
    fractions: NDArray[np.floating], lower: NDArray[np.floating], k: int
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Find the k nearest atoms of each atom, of each only its nearest image.

    One pass for each atom, over numbers that fill a few KB, instead of one pass for each operation
    over those of all pairs.

    Parameters
    ----------
    fractions : ndarray, shape (n_structures, 3, n_atoms)
        Fractional coordinates; along each axis they follow each other in memory.
    lower : ndarray, shape (3, 3)
        Cell vectors as rows, in Å; lower triangular.
    k : int
        Neighbours, fewer than atoms.

    Returns
    -------
    ndarray, shape (n_structures, n_atoms, k)
        Squared distances, ascending; not a number where coordinates are not.
    ndarray of int64, shape (n_structures, n_atoms, k)
        Which atoms they belong to; 0 where coordinates are not numbers.
    """
    n, _, n_atoms = fractions.shape
    squared = np.full((n, n_atoms, k), np.nan, dtype=fractions.dtype)
    index = np.zeros((n, n_atoms, k), dtype=np.int64)
    row = np.empty(n_atoms, dtype=fractions.dtype)
    for structure in range(n):
        a, b, c = fractions[structure]
        for atom in range(n_atoms):
            for j in range(n_atoms):
                u, v, w = a[j] - a[atom], b[j] - b[atom], c[j] - c[atom]
                u, v, w = u - np.rint(u), v - np.rint(v), w - np.rint(w)
                x = u * lower[0, 0] + v * lower[1, 0] + w * lower[2, 0]
                y = v * lower[1, 1] + w * lower[2, 1]
                z = w * lower[2, 2]
                row[j] = x * x + y * y + z * z
            found, which = squared[structure, atom], index[structure, atom]
            filled = 0
            for j in range(n_atoms):
                if j == atom or np.isnan(row[j]) or (filled == k and not row[j] < found[k - 1]):
                    continue
                place = min(filled, k - 1)
                while place > 0 and found[place - 1] > row[j]:
                    found[place], which[place] = found[place - 1], which[place - 1]
                    place -= 1
                found[place], which[place] = row[j], j
                filled = min(filled + 1, k)
    return squared, index
