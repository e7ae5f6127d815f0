"""Which atom of a structure stands on which site of a lattice.

An atom is on a site if it is within 0.8 Å of it, and a site holds one atom (paper, section 4.3.3).
The published scripts differ in where they put the lattice; `assign_fixed` and `assign_translated`
do what the scripts for CryinGAN and DiffCSP do. Both snap the atoms to the sites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.lattice import SiteLattice

#: Largest distance of an atom from its site, Å (paper, section 4.3.3).
SITE_RADIUS = 0.8

#: Atoms that a structure may lose before it counts as failed (paper, section 4.3.3).
MAX_REMOVED = 50

#: Tolerance of pymatgen's neighbour search: it takes an atom closer than this (Å) for the point
#: itself if it has the point's index, and adds it (Å²) to squares of radii from 1 Å on.
SEARCH_TOLERANCE = 1e-8

#: How far DiffCSP's script looks for the atom to anchor the lattice to, Å.
ANCHOR_RADIUS = 5.0


@numba.njit(cache=True, nogil=True)
def nearest(
    point: NDArray[np.float64],
    points: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    radius: float,
    skip_first: bool,
) -> tuple[int, float]:
    """Find the point closest to another one under periodic boundaries.

    Parameters
    ----------
    point : ndarray, shape (3,)
        Where to look, Å.
    points : ndarray, shape (n, 3)
        Where to find, Å.
    cell, inverse : ndarray, shape (3, 3)
        Cell vectors as rows, and the inverse matrix. The radius must be below half the smallest
        height of the cell.
    radius : float
        How far to look, Å.
    skip_first : bool
        Pass over the first of `points` if it coincides with `point`, as the published scripts do
        (see `SEARCH_TOLERANCE`).

    Returns
    -------
    index : int
        The closest point, the last of several in one place; -1 if there is none.
    distance : float
        Its distance in Å.
    """
    best = -1
    best_square = radius**2
    difference = np.empty(3)
    for k in range(points.shape[0]):
        for x in range(3):
            difference[x] = points[k, x] - point[x]
        square = minimum_image_square(difference, cell, inverse)
        # Written so that a distance that is no number is none that is near.
        if not square <= best_square:
            continue
        if skip_first and k == 0 and square <= SEARCH_TOLERANCE**2:
            continue
        best = k
        best_square = square
    return best, np.sqrt(best_square)


@numba.njit(cache=True, nogil=True, inline="always")
def minimum_image_square(
    difference: NDArray[np.float64], cell: NDArray[np.float64], inverse: NDArray[np.float64]
) -> float:
    """Return the square of the shortest periodic image of a vector, in Å²."""
    u = np.rint(
        difference[0] * inverse[0, 0]
        + difference[1] * inverse[1, 0]
        + difference[2] * inverse[2, 0]
    )
    v = np.rint(
        difference[0] * inverse[0, 1]
        + difference[1] * inverse[1, 1]
        + difference[2] * inverse[2, 1]
    )
    w = np.rint(
        difference[0] * inverse[0, 2]
        + difference[1] * inverse[1, 2]
        + difference[2] * inverse[2, 2]
    )
    square = 0.0
    for x in range(3):
        component = difference[x] - u * cell[0, x] - v * cell[1, x] - w * cell[2, x]
        square += component * component
    return square


@numba.njit(cache=True, nogil=True)
def _occupy(
    sites: NDArray[np.float64],
    positions: NDArray[np.float64],
    codes: NDArray[np.int8],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    radius: float,
    skip_first: bool,
) -> NDArray[np.int8]:
    """Give every site its closest atom, shape (n_sites,): -1 for a vacancy."""
    occupation = np.full(sites.shape[0], -1, np.int8)
    for i in range(sites.shape[0]):
        atom, _ = nearest(sites[i], positions, cell, inverse, radius, skip_first)
        if atom >= 0:
            occupation[i] = codes[atom]
    return occupation


def assign_fixed(
    lattice: SiteLattice, positions: NDArray[np.float64], codes: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Assign atoms to the lattice where it stands (CryinGAN's script).

    Parameters
    ----------
    lattice : SiteLattice
        The sites.
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å.
    codes : ndarray of int8, shape (n_atoms,)
        Species codes.

    Returns
    -------
    ndarray of int8, shape (n_sites,)
        Species code of each site, -1 for a vacancy. The script loses the first atom of the file if
        it stands exactly on a site, through a quirk of pymatgen's neighbour search, and so does
        this.
    """
    inverse = lattice.inverse_cell
    return _occupy(lattice.positions, positions, codes, lattice.cell, inverse, SITE_RADIUS, True)


def assign_translated(
    lattice: SiteLattice, positions: NDArray[np.float64], codes: NDArray[np.int8]
) -> NDArray[np.int8] | None:
    """Assign atoms to the lattice moved onto the atom nearest the origin (DiffCSP's script).

    Parameters and returns are those of `assign_fixed`; None if no atom is within 5 Å of the origin,
    where the script stops.
    """
    inverse = lattice.inverse_cell
    # The script's origin has fractional coordinates of 1e-6.
    origin = np.full(3, 1e-6) @ lattice.cell
    anchor, _ = nearest(origin, positions, lattice.cell, inverse, ANCHOR_RADIUS, True)
    if anchor < 0:
        return None
    sites = lattice.positions + (positions[anchor] - origin)
    return _occupy(sites, positions, codes, lattice.cell, inverse, SITE_RADIUS, True)
