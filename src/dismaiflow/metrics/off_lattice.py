"""Cluster counts of structures whose atoms are not snapped to sites, as the published scripts make.

The scripts find the orientation of the lattice from the neighbours of one atom, step from every
atom along every shell vector, and take the atom nearest to where they arrive. For a structure
on a perfect lattice this equals a count on the sites; for a noisy one it does not, not even from
both ends of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from dismaiflow.metrics.sites import SEARCH_TOLERANCE, SITE_RADIUS, minimum_image_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.lattice import SiteLattice

#: The scripts look for second neighbours within a ± 0.4 Å ...
BASIS_MARGIN = 0.4

#: ... and take the first two whose angle is within this of a right one (rad).
BASIS_ANGLE = 0.0175

#: They round the fractional coordinates of the points they step to.
FRACTION_DECIMALS = 3

#: They add this to Cartesian coordinates to keep pymatgen from overlooking an atom, Å.
NUDGE = 1e-6

#: They look so far around a vacant first-neighbour point before they count a vacancy, Å.
VACANCY_RADIUS = 1.2


@dataclass(frozen=True)
class OffLatticeCounts:
    """What the published counting script finds in one structure.

    Parameters
    ----------
    pairs : ndarray, shape (n_shells, n_species, n_species)
        Unordered pairs in the upper triangle: half of what was met from both ends, so that halves
        occur.
    n_vacancies : int
        Its estimate of the vacancies.
    """

    pairs: NDArray[np.float64]
    n_vacancies: int


@numba.njit(cache=True, nogil=True, inline="always")
def _times(
    vector: NDArray[np.float64], matrix: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Multiply a row vector by a 3x3 matrix without a call to BLAS."""
    for x in range(3):
        out[x] = vector[0] * matrix[0, x] + vector[1] * matrix[1, x] + vector[2] * matrix[2, x]


@numba.njit(cache=True, nogil=True)
def _second_neighbors(
    center: int,
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    low: float,
    high: float,
) -> tuple[NDArray[np.float64], int]:
    """Vectors to the neighbours at distances in [low, high], in order of their index."""
    found = np.empty((6, 3))
    n_found = 0
    difference = np.empty(3)
    fraction = np.empty(3)
    image = np.empty(3)
    for k in range(positions.shape[0]):
        if k == center:
            continue
        for x in range(3):
            difference[x] = positions[k, x] - positions[center, x]
        _times(difference, inverse, fraction)
        for x in range(3):
            fraction[x] = np.rint(fraction[x])
        _times(fraction, cell, image)
        square = 0.0
        for x in range(3):
            difference[x] -= image[x]
            square += difference[x] * difference[x]
        if low <= np.sqrt(square) <= high:
            if n_found == 6:
                return found, 7
            found[n_found] = difference
            n_found += 1
    return found, n_found


@numba.njit(cache=True, nogil=True)
def find_basis(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    a: float,
) -> tuple[NDArray[np.float64], int]:
    """Find the axes of a rotated cubic lattice from the second neighbours of one atom.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å; the first atom that serves is taken.
    cell, inverse : ndarray, shape (3, 3)
        Cell vectors as rows in Å, and the inverse matrix.
    a : float
        Lattice parameter in Å, the distance of second neighbours.

    Returns
    -------
    axes : ndarray, shape (3, 3)
        Unit vectors as rows; the third is the cross product of the others and shorter than one
        where they are not quite perpendicular.
    atom : int
        The atom they were found at, -1 if there is none.
    """
    axes = np.zeros((3, 3))
    for center in range(positions.shape[0]):
        vectors, n_found = _second_neighbors(
            center, positions, cell, inverse, a - BASIS_MARGIN, a + BASIS_MARGIN + SEARCH_TOLERANCE
        )
        if n_found != 6:
            continue
        lengths = np.sqrt((vectors**2).sum(axis=1))
        order = np.argsort(np.abs(lengths - a))
        first = vectors[order[0]] / lengths[order[0]]
        for k in range(1, 6):
            second = vectors[order[k]] / lengths[order[k]]
            cosine = min(1.0, max(-1.0, (first * second).sum()))
            if abs(np.arccos(cosine) - np.pi / 2) <= BASIS_ANGLE:
                axes[0] = first
                axes[1] = second
                axes[2] = np.cross(first, second)
                return axes, center
    return axes, -1


@numba.njit(cache=True, nogil=True)
def _boxes(
    positions: NDArray[np.float64], inverse: NDArray[np.float64], n_boxes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List in every box of the cell the atoms of it and of the 26 boxes around it.

    Returns
    -------
    first : ndarray of int64, shape n_boxes
        First entry of each box, -1 if it has none.
    atom, following : ndarray of int64, shape (27 * n_atoms,)
        Atom of each entry, and the next entry of its box; atoms come in ascending order.
    """
    first = np.full((n_boxes[0], n_boxes[1], n_boxes[2]), -1, np.int64)
    atom = np.empty(27 * positions.shape[0], np.int64)
    following = np.empty(27 * positions.shape[0], np.int64)
    fraction = np.empty(3)
    box = np.empty(3, np.int64)
    n = 0
    for k in range(positions.shape[0] - 1, -1, -1):
        _times(positions[k], inverse, fraction)
        for x in range(3):
            box[x] = int(np.floor((fraction[x] - np.floor(fraction[x])) * n_boxes[x]))
        for step in range(27):
            u = (box[0] + step // 9 - 1) % n_boxes[0]
            v = (box[1] + step // 3 % 3 - 1) % n_boxes[1]
            w = (box[2] + step % 3 - 1) % n_boxes[2]
            atom[n] = k
            following[n] = first[u, v, w]
            first[u, v, w] = n
            n += 1
    return first, atom, following


@numba.njit(cache=True, nogil=True)
def _arrive(
    point: NDArray[np.float64],
    fraction: NDArray[np.float64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    first: NDArray[np.int64],
    atom: NDArray[np.int64],
    following: NDArray[np.int64],
) -> int:
    """Find the atom nearest to a point of the cell, within the radius of a site, or -1.

    Of atoms in one place the last is taken, as `nearest` does.
    """
    best = -1
    best_square = SITE_RADIUS**2
    n_boxes = first.shape
    entry = first[
        int(fraction[0] * n_boxes[0]), int(fraction[1] * n_boxes[1]), int(fraction[2] * n_boxes[2])
    ]
    difference = np.empty(3)
    while entry >= 0:
        for x in range(3):
            difference[x] = positions[atom[entry], x] - point[x]
        square = minimum_image_square(difference, cell, inverse)
        if square <= best_square:
            best_square = square
            best = atom[entry]
        entry = following[entry]
    return best


@numba.njit(cache=True, nogil=True)
def _round_into_cell(
    point: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    fraction: NDArray[np.float64],
) -> None:
    """Wrap a point into the cell at the resolution of the scripts, and nudge it, in place.

    `fraction` receives its fractional coordinates, without the nudge.
    """
    _times(point, inverse, fraction)
    scale = 10.0**FRACTION_DECIMALS
    for x in range(3):
        rounded = np.rint(fraction[x] * scale) / scale
        fraction[x] = rounded - np.floor(rounded)
    _times(fraction, cell, point)
    for x in range(3):
        point[x] += NUDGE


@numba.njit(cache=True, nogil=True)
def _count(
    positions: NDArray[np.float64],
    codes: NDArray[np.int8],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    vectors: NDArray[np.float64],
    shell_of: NDArray[np.int64],
    n_shells: int,
    n_species: int,
    n_boxes: NDArray[np.int64],
) -> tuple[NDArray[np.int64], bool]:
    """Count ordered pairs, and whether any first neighbour is missing."""
    first, atom, following = _boxes(positions, inverse, n_boxes)
    counts = np.zeros((n_shells, n_species, n_species), np.int64)
    missing = False
    point = np.empty(3)
    fraction = np.empty(3)
    for i in range(positions.shape[0]):
        for k in range(vectors.shape[0]):
            for x in range(3):
                point[x] = positions[i, x] + vectors[k, x]
            _round_into_cell(point, cell, inverse, fraction)
            j = _arrive(point, fraction, positions, cell, inverse, first, atom, following)
            if j >= 0:
                counts[shell_of[k], codes[i], codes[j]] += 1
            elif shell_of[k] == 0:
                missing = True
    return counts, missing


@numba.njit(cache=True, nogil=True)
def _count_vacancies(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    vectors: NDArray[np.float64],
) -> int:
    """Fill every vacant first-neighbour point with a mock atom and count these."""
    filled = np.empty(((1 + vectors.shape[0]) * positions.shape[0], 3))
    n = positions.shape[0]
    filled[:n] = positions
    limit = VACANCY_RADIUS**2 + SEARCH_TOLERANCE
    fraction = np.empty(3)
    for i in range(positions.shape[0]):
        for k in range(vectors.shape[0]):
            point = positions[i] + vectors[k]
            _round_into_cell(point, cell, inverse, fraction)
            vacant = True
            for m in range(n):
                if minimum_image_square(filled[m] - point, cell, inverse) < limit:
                    vacant = False
                    break
            if vacant:
                filled[n] = point
                n += 1
    return n - positions.shape[0]


def count_off_lattice(
    lattice: SiteLattice,
    n_shells: int,
    positions: NDArray[np.float64],
    codes: NDArray[np.int8],
    n_species: int,
) -> OffLatticeCounts | None:
    """Count the pairs of a structure as the published counting script does.

    Parameters
    ----------
    lattice : SiteLattice
        Lattice parameter, cell and shells.
    n_shells : int
        Number of shells to count.
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å, in the order in which the script would read them: the first atom with
        a usable surrounding fixes the orientation.
    codes : ndarray of int8, shape (n_atoms,)
        Species codes.
    n_species : int
        Number of species.

    Returns
    -------
    OffLatticeCounts or None
        None if no atom shows the orientation of the lattice, where the script stops.
    """
    cell = lattice.cell
    inverse = lattice.inverse_cell
    axes, atom = find_basis(positions, cell, inverse, lattice.a)
    if atom < 0:
        return None
    shells = lattice.shells(n_shells)
    # The scripts round shell vectors to 0.001 Å before the rotation, and restore lengths after.
    ideal = shells.vectors.round(3)
    turned = ideal @ axes
    turned *= (np.linalg.norm(ideal, axis=1) / np.linalg.norm(turned, axis=1))[:, None]
    heights = 1 / np.linalg.norm(inverse, axis=0)
    n_boxes = np.maximum(heights // (SITE_RADIUS + 0.01), 3).astype(np.int64)
    counts, missing = _count(
        positions, codes, cell, inverse, turned, shells.shell_of, n_shells, n_species, n_boxes
    )
    n_vacancies = 0
    if missing:
        n_vacancies = int(_count_vacancies(positions, cell, inverse, turned[shells.shell_of == 0]))
    both_ends = counts + counts.transpose(0, 2, 1)
    pairs = np.triu(both_ends / 2)
    like = np.arange(n_species)
    pairs[:, like, like] /= 2
    return OffLatticeCounts(pairs, n_vacancies)
