"""Bond angles at the atoms of a structure, and their histogram.

The bonds of an atom are those of its most likely environment by the geometry alone
(A. X. B. Yong, T. Su, E. Ertekin, DisMaI-Bench, section 3).
"""

from __future__ import annotations

from dataclasses import replace
from math import acos, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.crystal_nn import ANGLE_SETTINGS, NeighbourFinder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.metrics.voronoi import VoronoiCells

#: Edges of the histogram, degrees.
ANGLE_EDGES: NDArray[np.float64] = np.arange(361, dtype=np.float64) * 0.5


class AngleAnalyser:
    """Finds the bond angles of structures of one system.

    Parameters
    ----------
    species : sequence of str
        All element symbols that structures may hold.
    oxidation_states : mapping of str to float, optional
        Of every species; with it only atoms of opposite or no charge are bonded.

    Raises
    ------
    DismaiError
        If a symbol is unknown or an oxidation state is missing.
    """

    def __init__(
        self, species: Sequence[str], oxidation_states: Mapping[str, float] | None = None
    ) -> None:
        settings = replace(ANGLE_SETTINGS, cation_anion=oxidation_states is not None)
        self._finder = NeighbourFinder(species, settings, oxidation_states)

    def analyse(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        cells: VoronoiCells | None = None,
    ) -> NDArray[np.float64]:
        """Return all bond angles of a structure that is periodic in all directions.

        Parameters
        ----------
        numbers : array-like of int, shape (n_atoms,)
            Atomic numbers.
        positions : array-like, shape (n_atoms, 3)
            Å.
        cell : array-like, shape (3, 3)
            Rows are vectors, Å.
        cells : VoronoiCells, optional
            Of this structure, if they are known already.

        Returns
        -------
        ndarray, shape (n_angles,)
            Degrees; atom by atom, then pairs of bonds by falling weight, first with second, first
            with third and so on. Empty if no atom has two bonds.

        Raises
        ------
        DismaiError
            If a number is not finite, the cell has no volume, a species is unknown, or a Voronoi
            cell cannot be built.
        """
        found = self._finder.find(numbers, positions, cell, None, cells)
        return _angles(found.starts, found.vectors, found.likelihoods, found.bare)


def angle_histogram(angles: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of the angles in each interval between `ANGLE_EDGES`, shape (360,).

    An interval holds its upper edge and not its lower one, except that 0 counts in the first. All
    are 0 if there are no angles.

    Parameters
    ----------
    angles : array-like
        Degrees.

    Raises
    ------
    DismaiError
        If one is not between 0 and 180.
    """
    values = np.asarray(angles, dtype=float).ravel()
    if not ((values >= 0) & (values <= ANGLE_EDGES[-1])).all():
        raise DismaiError("a bond angle is not between 0 and 180 degrees")
    places = np.maximum(np.searchsorted(ANGLE_EDGES, values, side="left") - 1, 0)
    counts = np.bincount(places, minlength=len(ANGLE_EDGES) - 1)
    return counts / max(len(values), 1)


@njit(cache=True, nogil=True)
def _angles(
    starts: NDArray[np.int64],
    vectors: NDArray[np.float64],
    likelihoods: NDArray[np.float64],
    bare: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the angles between the bonds of the most likely environment of each atom."""
    bonds = np.zeros(len(starts) - 1, dtype=np.int64)
    total = 0
    for site in range(len(bonds)):
        most = 0.0
        for place in range(starts[site], starts[site + 1]):
            if likelihoods[place] > most:
                most, bonds[site] = likelihoods[place], place - starts[site] + 1
        if bare[site] > most:
            bonds[site] = 0
        total += bonds[site] * (bonds[site] - 1) // 2
    out = np.empty(total)
    n = 0
    for site in range(len(bonds)):
        for a in range(starts[site], starts[site] + bonds[site]):
            ux, uy, uz = vectors[a, 0], vectors[a, 1], vectors[a, 2]
            first = sqrt(ux * ux + uy * uy + uz * uz)
            for b in range(a + 1, starts[site] + bonds[site]):
                vx, vy, vz = vectors[b, 0], vectors[b, 1], vectors[b, 2]
                second = sqrt(vx * vx + vy * vy + vz * vz)
                cosine = (ux * vx + uy * vy + uz * vz) / (first * second)
                out[n] = acos(max(-1.0, min(cosine, 1.0))) * 180 / np.pi
                n += 1
    return out
