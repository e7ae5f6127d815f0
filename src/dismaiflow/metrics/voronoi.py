"""Voronoi cells of the atoms of a periodic structure: faces, solid angles and areas.

The cell of an atom is built from its neighbours within a cutoff, as pymatgen's ``VoronoiNN`` does:
if it is not bounded, the cutoff is doubled until it is, up to the longest diagonal of the
structure. Next to a vacuum a cell may thus be bounded by atoms on one side only, and is larger
than the true cell; it is kept so, because the published fingerprints are made with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics._dual_hull import BROKEN, OPEN, cell_faces
from dismaiflow.metrics.periodic import checked_structure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Å. Cutoff of the first search for neighbours; that of CrystalNN.
SEARCH_CUTOFF = 7.0

#: Å. Atoms nearer than this have no cells that could be told apart.
_COINCIDENT = 1e-4

#: Å. A neighbour that much beyond the cutoff still counts, as in pymatgen.
_EDGE = 1e-8

#: More images of one atom within the search cutoff than any solid has.
_MAX_IMAGES = 100_000

#: What `_cells` may say apart from "all went well".
_WELL, _FAILED, _TOGETHER = 0, -BROKEN, 2


@dataclass(frozen=True)
class VoronoiCells:
    """Faces of the Voronoi cells of some atoms, one after the other.

    Parameters
    ----------
    sites : ndarray of int64, shape (n_sites,)
        The atoms whose cells these are.
    starts : ndarray of int64, shape (n_sites + 1,)
        The faces of cell k are those from ``starts[k]`` to ``starts[k + 1]``, by rising distance.
    atoms : ndarray of int64, shape (n_faces,)
        Atom beyond each face.
    images : ndarray of int64, shape (n_faces, 3)
        Which image of it, in cell vectors from its position as given.
    vectors : ndarray, shape (n_faces, 3)
        To that image, Å.
    solid_angles, areas : ndarray, shape (n_faces,)
        sr and Å^2.
    cutoff : float
        Å; of the first search.
    """

    sites: NDArray[np.int64]
    starts: NDArray[np.int64]
    atoms: NDArray[np.int64]
    images: NDArray[np.int64]
    vectors: NDArray[np.float64]
    solid_angles: NDArray[np.float64]
    areas: NDArray[np.float64]
    cutoff: float


def voronoi_cells(
    positions: ArrayLike,
    cell: ArrayLike,
    sites: ArrayLike | None = None,
    cutoff: float = SEARCH_CUTOFF,
) -> VoronoiCells:
    """Build the Voronoi cells of a structure that is periodic in all directions.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å; they need not lie inside the cell.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; any shape and size.
    sites : array-like of int, shape (n_sites,), optional
        Atoms whose cells are built; all by default.
    cutoff : float
        Range of the first search for neighbours, Å.

    Raises
    ------
    DismaiError
        If there are no atoms, a number is not finite, the cell has no volume, two atoms lie at one
        place, or a cell cannot be built.
    """
    places, vectors = checked_structure(positions, cell, "Voronoi cells")
    chosen = np.arange(len(places)) if sites is None else np.asarray(sites, dtype=np.int64)
    inverse = np.linalg.inv(vectors)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    if np.prod(2 * cutoff / heights + 1) > _MAX_IMAGES:
        raise DismaiError("the cell is too thin or too skewed to build Voronoi cells")
    fractional = places @ inverse
    origin = np.floor(fractional)
    signs = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    longest = float(np.linalg.norm(signs @ vectors, axis=1).max()) + 0.01
    starts = np.zeros(len(chosen) + 1, dtype=np.int64)
    room, total = 24 * len(chosen) + 64, 0
    while True:
        atoms, images = np.empty(room, dtype=np.int64), np.empty((room, 3), dtype=np.int64)
        between, numbers = np.empty((room, 3)), np.empty((room, 2))
        status, where, total = _cells(
            chosen,
            fractional - origin,
            vectors,
            heights,
            float(cutoff),
            longest,
            starts,
            atoms,
            images,
            between,
            numbers,
        )
        if total <= room:
            break
        room = total
    if status == _TOGETHER:
        raise DismaiError(f"another atom lies within {_COINCIDENT} Å of atom {where}")
    if status == _FAILED:
        raise DismaiError(f"the Voronoi cell of atom {where} cannot be built")
    atoms, angles, areas = atoms[:total], numbers[:total, 0], numbers[:total, 1]
    # The search took all atoms into the cell; images are counted from where they were given.
    centre = np.repeat(chosen, np.diff(starts))
    moved = images[:total] + (origin[centre] - origin[atoms]).astype(np.int64)
    return VoronoiCells(chosen, starts, atoms, moved, between[:total], angles, areas, float(cutoff))


@njit(cache=True, nogil=True)
def _gather(
    i: int,
    fractional: NDArray[np.float64],
    cell: NDArray[np.float64],
    heights: NDArray[np.float64],
    radius: float,
    atoms: NDArray[np.int64],
    images: NDArray[np.int64],
    vectors: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> int:
    """Write all images within a radius of atom i; return how many there are.

    The arrays are filled as far as they reach.
    """
    n, limit = 0, (radius + _EDGE) ** 2
    rx, ry = (radius + _EDGE) / heights[0], (radius + _EDGE) / heights[1]
    rz = (radius + _EDGE) / heights[2]
    for j in range(len(fractional)):
        fx = fractional[j, 0] - fractional[i, 0]
        fy = fractional[j, 1] - fractional[i, 1]
        fz = fractional[j, 2] - fractional[i, 2]
        for x in range(int(np.ceil(-fx - rx)), int(np.floor(-fx + rx)) + 1):
            for y in range(int(np.ceil(-fy - ry)), int(np.floor(-fy + ry)) + 1):
                for z in range(int(np.ceil(-fz - rz)), int(np.floor(-fz + rz)) + 1):
                    a, b, c = fx + x, fy + y, fz + z
                    vx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
                    vy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
                    vz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
                    square = vx * vx + vy * vy + vz * vz
                    if square > limit or (j == i and x == 0 and y == 0 and z == 0):
                        continue
                    if n < len(atoms):
                        atoms[n], squares[n] = j, square
                        images[n, 0], images[n, 1], images[n, 2] = x, y, z
                        vectors[n, 0], vectors[n, 1], vectors[n, 2] = vx, vy, vz
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _sorted_neighbours(
    i: int,
    fractional: NDArray[np.float64],
    cell: NDArray[np.float64],
    heights: NDArray[np.float64],
    radius: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return atoms, images, vectors and distances of the neighbours by rising distance."""
    room = 256
    while True:
        found, shifts = np.empty(room, dtype=np.int64), np.empty((room, 3), dtype=np.int64)
        between, squares = np.empty((room, 3)), np.empty(room)
        n = _gather(i, fractional, cell, heights, radius, found, shifts, between, squares)
        if n <= room:
            break
        room = n
    order = np.argsort(squares[:n])
    atoms, images = np.empty(n, dtype=np.int64), np.empty((n, 3), dtype=np.int64)
    vectors, distances = np.empty((n, 3)), np.empty(n)
    for k in range(n):
        atoms[k], distances[k] = found[order[k]], np.sqrt(squares[order[k]])
        for axis in range(3):
            images[k, axis], vectors[k, axis] = shifts[order[k], axis], between[order[k], axis]
    return atoms, images, vectors, distances


@njit(cache=True, nogil=True)
def _one_cell(
    i: int,
    fractional: NDArray[np.float64],
    cell: NDArray[np.float64],
    heights: NDArray[np.float64],
    cutoff: float,
    longest: float,
) -> tuple[
    int,
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Build the cell of atom i; return the number of faces or why there is none, and the faces.

    Neighbours are added shell by shell: a cell that no atom beyond the shell can reach is the same
    as with all neighbours within the cutoff.
    """
    radius = cutoff
    while True:
        atoms, images, vectors, distances = _sorted_neighbours(i, fractional, cell, heights, radius)
        n = len(atoms)
        faces, angles, areas = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
        n_faces, reach = OPEN, np.inf
        if n > 0 and distances[0] >= _COINCIDENT:
            n_faces, reach = cell_faces(vectors, distances, n, faces, angles, areas)
        elif n > 0:
            n_faces = -_TOGETHER
        if n_faces == OPEN and radius >= cutoff:
            if cutoff >= longest:
                n_faces = BROKEN
            cutoff = min(2 * cutoff, longest + 0.001)
        # A cell that is bounded by the atoms within the cutoff is kept, whatever lies beyond.
        if n_faces < 0 or (n_faces > 0 and (radius >= cutoff or reach <= radius)):
            return n_faces, atoms, images, vectors, faces, angles, areas
        radius = min(cutoff, reach if n_faces > 0 else 1.25 * radius)


@njit(cache=True, nogil=True)
def _cells(
    sites: NDArray[np.int64],
    fractional: NDArray[np.float64],
    cell: NDArray[np.float64],
    heights: NDArray[np.float64],
    cutoff: float,
    longest: float,
    starts: NDArray[np.int64],
    all_atoms: NDArray[np.int64],
    all_images: NDArray[np.int64],
    all_vectors: NDArray[np.float64],
    numbers: NDArray[np.float64],
) -> tuple[int, int, int]:
    """Fill the cells of all sites; return what went wrong, at which atom, and how many faces.

    The arrays are filled as far as they reach.
    """
    total = 0
    for k in range(len(sites)):
        n_faces, atoms, images, vectors, faces, angles, areas = _one_cell(
            sites[k], fractional, cell, heights, cutoff, longest
        )
        if n_faces <= 0:
            return -n_faces, sites[k], 0
        for f in range(n_faces):
            if total < len(all_atoms):
                all_atoms[total] = atoms[faces[f]]
                for axis in range(3):
                    all_images[total, axis] = images[faces[f], axis]
                    all_vectors[total, axis] = vectors[faces[f], axis]
                numbers[total, 0], numbers[total, 1] = angles[f], areas[f]
            total += 1
        starts[k + 1] = total
    return _WELL, -1, total
