"""The check that all metrics of periodic structures begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Volume below which a cell is none, Å^3.
_SMALLEST_VOLUME = 1e-9


def checked_structure(
    positions: ArrayLike, cell: ArrayLike, purpose: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions and cell of a structure as arrays.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å.
    purpose : str
        What is to be computed, in the plural, for the message.

    Returns
    -------
    positions : ndarray, shape (n_atoms, 3)
        Å.
    cell : ndarray, shape (3, 3)
        Å.

    Raises
    ------
    DismaiError
        If there are no atoms, a number is not finite, or the cell has no volume.
    """
    places = np.asarray(positions, dtype=float).reshape(-1, 3)
    vectors = np.asarray(cell, dtype=float)
    if len(places) == 0:
        raise DismaiError(f"a structure without atoms has no {purpose}")
    if not (np.isfinite(places).all() and np.isfinite(vectors).all()):
        raise DismaiError("a coordinate or cell length is NaN or infinite")
    if vectors.shape != (3, 3) or abs(np.linalg.det(vectors)) < _SMALLEST_VOLUME:
        raise DismaiError(f"the cell has no volume: {purpose} need a periodic cell")
    return places, vectors
