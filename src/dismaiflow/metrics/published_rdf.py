"""The radial distribution function of the published silicon metric.

It is what vasppy's ``RadialDistributionFunction`` gives for a 2 x 2 x 2 supercell (paper, section
4.3.2; B. J. Morgan, vasppy, github.com/bjmorgan/vasppy): every pair of atoms of the supercell is
counted once, at its shortest distance. Where twice a height of the cell is below 20 Å, further
images within 10 Å are therefore missing and g(r) falls below that of an endless crystal;
`dismaiflow.metrics.rdf.radial_distribution` counts them all. Where it is not, both agree.

Every arithmetic step is taken in the order of pymatgen, so that a distance on the edge between two
bins falls on the same side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.periodic import checked_structure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

N_BINS, R_MAX = 500, 10.0

#: Edges of the bins, Å, and their middles.
RDF_EDGES: NDArray[np.float64] = np.linspace(0.0, R_MAX, N_BINS + 1)
RDF_R: NDArray[np.float64] = RDF_EDGES[:-1] + R_MAX / N_BINS / 2

#: Fractional places of the eight copies, in the order of pymatgen.
_COPIES = np.array([[i, j, k] for i in (0, 0.5) for j in (0, 0.5) for k in (0, 0.5)])


def published_rdf(
    positions: ArrayLike,
    cell: ArrayLike,
    centres: ArrayLike | None = None,
    neighbours: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Compute g(r) from 0 to 10 Å in bins of 0.02 Å as the published scripts do.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å; they need not lie inside the cell.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; periodic in all directions, of any shape.
    centres, neighbours : array-like of bool, shape (n_atoms,), optional
        Atoms between which distances are taken, all by default. The published script gives the
        silicon atoms for both.

    Returns
    -------
    ndarray, shape (500,)
        At `RDF_R`. The density is that of the centres over the whole cell, vacuum included, so
        that g(r) of a slab does not tend to 1.

    Raises
    ------
    DismaiError
        If there are no atoms to count, a number is not finite, or the cell has no volume.
    """
    every = np.ones(np.size(positions) // 3, dtype=bool)
    around = every if centres is None else np.asarray(centres, dtype=bool)
    counted = every if neighbours is None else np.asarray(neighbours, dtype=bool)
    if not (around.any() and counted.any()):
        raise DismaiError("g(r) needs atoms to count around, and atoms to count")
    places, vectors = checked_structure(positions, cell, "radial distributions")
    fractional, reduced = _supercell(places, vectors)
    inside = fractional - np.floor(fractional)
    heights = 1 / np.linalg.norm(np.linalg.inv(reduced), axis=0)
    longest = int(np.argmax(heights))
    order = np.argsort(inside[:, longest], kind="stable")
    inside = inside[order]
    histogram = _histogram(
        np.ascontiguousarray(inside.T),
        np.ascontiguousarray(_combined(inside, reduced).T),
        reduced,
        # In fractions of the height; a hair more, so that rounding leaves out no pair.
        R_MAX / heights * (1 + 1e-9),
        longest,
        np.repeat(around, len(_COPIES))[order],
        np.repeat(counted, len(_COPIES))[order],
        bool((around == counted).all()),
        RDF_EDGES,
    )
    shells = 4 / 3 * np.pi * np.diff(RDF_EDGES**3)
    volume = abs(np.linalg.det(vectors))
    pairs = float(around.sum()) * float(counted.sum()) * len(_COPIES)
    g: NDArray[np.float64] = histogram * volume / (shells * pairs)
    return g


def _supercell(
    places: NDArray[np.float64], vectors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the atoms of the 2 x 2 x 2 supercell in fractions of its reduced cell, and that."""
    from pymatgen.core import Lattice

    home = multiply_rows(multiply_rows(places, np.linalg.inv(vectors)), vectors)
    doubled = 2 * vectors
    copies = (home[:, None, :] + _COPIES @ doubled).reshape(-1, 3)
    fractional = np.mod(multiply_rows(copies, np.linalg.inv(doubled)), 1)
    lattice = Lattice(doubled)
    return lattice.get_lll_frac_coords(fractional), np.asarray(lattice.lll_matrix)


def multiply_rows(rows: NDArray[np.float64], matrix: ArrayLike) -> NDArray[np.float64]:
    """Multiply row by row, shape (n, 3): pymatgen does, and one product may round otherwise."""
    product: NDArray[np.float64] = np.matmul(rows[:, None, :], matrix)[:, 0, :]
    return product


def _combined(weights: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum cell vectors with weights one after the other."""
    total = weights[:, :1] * cell[0]
    total += weights[:, 1:2] * cell[1]
    total += weights[:, 2:] * cell[2]
    return total


@njit(cache=True, nogil=True)
def _histogram(
    fractional: NDArray[np.float64],
    cartesian: NDArray[np.float64],
    cell: NDArray[np.float64],
    reach: NDArray[np.float64],
    longest: int,
    around: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    alike: bool,
    edges: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Count ordered pairs by their shortest distance among the 27 nearest images.

    Places have shape (3, n_atoms); the atoms are sorted by the fractional one on the longest axis.
    ``reach`` is the range in fractions of each axis.
    """
    n_atoms = cartesian.shape[1]
    along = fractional[longest]
    window = min(reach[longest], 0.5)
    wide = reach.max() < 0.5
    squares = np.empty(n_atoms)
    limit = edges[-1] * edges[-1] * (1 + 1e-12)
    histogram = np.zeros(len(edges) - 1, dtype=np.int64)
    for i in range(n_atoms):
        if not alike and around[i] and counted[i]:
            histogram[0] += 1  # vasppy leaves out an atom and itself only if the groups are alike
        near = np.searchsorted(along, along[i] + window, side="right")
        far = max(np.searchsorted(along, along[i] + (1 - window)), near)
        for first, last in ((i + 1, near), (far, n_atoms)):
            if wide:
                _squares_on_the_nearer_side(i, first, last, fractional, cartesian, cell, squares)
            else:
                _squares_of_all_images(i, first, last, cartesian, cell, squares)
            for j in range(first, last):
                if squares[j] <= limit:
                    r = np.sqrt(squares[j])
                    times = np.int64(around[i] and counted[j]) + np.int64(around[j] and counted[i])
                    if r <= edges[-1]:
                        histogram[_bin_of(r, edges)] += times
    return histogram


@njit(cache=True, nogil=True)
def _squares_on_the_nearer_side(
    i: int,
    first: int,
    last: int,
    fractional: NDArray[np.float64],
    cartesian: NDArray[np.float64],
    cell: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Write squared distances from i to the only images that can be within the range.

    That is so in a cell whose heights are all above twice the range. The loop has no branches, so
    that the compiler can take several atoms at once.
    """
    fx, fy, fz = fractional[0], fractional[1], fractional[2]
    px, py, pz = cartesian[0], cartesian[1], cartesian[2]
    for j in range(first, last):
        a, b, c = -np.rint(fx[j] - fx[i]), -np.rint(fy[j] - fy[i]), -np.rint(fz[j] - fz[i])
        dx = (px[j] - px[i]) + (a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0])
        dy = (py[j] - py[i]) + (a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1])
        dz = (pz[j] - pz[i]) + (a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2])
        squares[j] = dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
def _squares_of_all_images(
    i: int,
    first: int,
    last: int,
    cartesian: NDArray[np.float64],
    cell: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Write squared distances from i to the nearest of 27 images, in a cell of any width."""
    px, py, pz = cartesian[0], cartesian[1], cartesian[2]
    squares[first:last] = np.inf
    for a in range(-1, 2):
        for b in range(-1, 2):
            for c in range(-1, 2):
                sx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
                sy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
                sz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
                for j in range(first, last):
                    dx, dy, dz = (px[j] - px[i]) + sx, (py[j] - py[i]) + sy, (pz[j] - pz[i]) + sz
                    squares[j] = min(squares[j], dx * dx + dy * dy + dz * dz)


@njit(cache=True, nogil=True)
def _bin_of(r: float, edges: NDArray[np.float64]) -> int:
    """Return the bin whose lower edge r reaches; the last one includes its upper edge."""
    n_bins = len(edges) - 1
    index = min(int(r * (n_bins / edges[-1])), n_bins - 1)
    if r < edges[index]:
        return index - 1
    if index < n_bins - 1 and r >= edges[index + 1]:
        return index + 1
    return index
