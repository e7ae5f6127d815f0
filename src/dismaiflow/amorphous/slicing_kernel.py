"""Compiled loops of the slicing; `slicing` says what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Random places that are tried in a region before the next one is.
_TRIES = 200


@numba.njit(cache=True, nogil=True)
def cut(
    positions: NDArray[np.float64],
    lengths: NDArray[np.float64],
    offset: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the atoms of a periodic box that lie in a block, and where in it.

    Parameters
    ----------
    positions : ndarray, shape (n_parent, 3)
        In [0, length], Å.
    lengths : ndarray, shape (3,)
        Edges of the parent.
    offset : ndarray, shape (3,)
        Corner of the block, in [0, length].
    edges : ndarray, shape (3,)
        Edges of the block; it holds its near faces and not its far ones.

    Returns
    -------
    inside : ndarray of int64, shape (n_inside,)
        Atoms of the parent, rising.
    local : ndarray, shape (n_inside, 3)
        Their positions from the corner, in [0, edge).
    """
    inside = np.empty(len(positions), dtype=np.int64)
    n = 0
    for atom in range(len(positions)):
        within = True
        for axis in range(3):
            d = positions[atom, axis] - offset[axis]
            if d < 0:
                d += lengths[axis]
            # the sum may round up to the length, which is the corner again
            if d >= edges[axis] and d != lengths[axis]:
                within = False
                break
        if within:
            inside[n] = atom
            n += 1
    local = np.empty((n, 3))
    for place in range(n):
        for axis in range(3):
            d = positions[inside[place], axis] - offset[axis]
            if d < 0:
                d += lengths[axis]
            local[place, axis] = 0.0 if d >= edges[axis] else d
    return inside[:n].copy(), local


@numba.njit(cache=True, nogil=True)
def _region(
    place: NDArray[np.float64],
    face: int,
    edges: NDArray[np.float64],
    grid: NDArray[np.int64],
    skin: float,
) -> int:
    """Return the region of a face below which a place lies, -1 if it lies deeper than the skin.

    Face 2 k is the near one of axis k, face 2 k + 1 the far one.
    """
    axis = face // 2
    depth = place[axis] if face % 2 == 0 else edges[axis] - place[axis]
    if depth >= skin:
        return -1
    u, v = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
    i = min(int(place[u] / edges[u] * grid[0]), grid[0] - 1)
    j = min(int(place[v] / edges[v] * grid[1]), grid[1] - 1)
    return (face * grid[0] + i) * grid[1] + j


@numba.njit(cache=True, nogil=True)
def region_densities(
    positions: NDArray[np.float64],
    edges: NDArray[np.float64],
    grid: NDArray[np.int64],
    skin: float,
) -> NDArray[np.float64]:
    """Return the atoms per area below each region of the six faces, 1/Å^2.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3)
        In the block, Å.
    edges : ndarray, shape (3,)
        Of the block, Å.
    grid : ndarray of int64, shape (2,)
        Regions of a face along its two axes.
    skin : float
        Depth to which atoms count, Å.

    Returns
    -------
    ndarray, shape (6 * grid[0] * grid[1],)
        Face after face (near x, far x, near y, ...).
    """
    per_face = grid[0] * grid[1]
    densities = np.zeros(6 * per_face)
    for face in range(6):
        axis = face // 2
        area = edges[0] * edges[1] * edges[2] / edges[axis] / per_face
        for atom in range(len(positions)):
            region = _region(positions[atom], face, edges, grid, skin)
            if region >= 0:
                densities[region] += 1.0 / area
    return densities


@numba.njit(cache=True, nogil=True)
def _ranked(
    rng: np.random.Generator, densities: NDArray[np.float64], fullest: bool
) -> NDArray[np.int64]:
    """Return the regions from the emptiest (or the fullest) on, equal ones in random order."""
    order = np.arange(len(densities))
    for last in range(len(order) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    # Sums of equal terms in another order may differ in the last digit.
    keys = np.round(densities[order] * 1e9)
    by = np.argsort(-keys if fullest else keys, kind="mergesort")
    return order[by]


@numba.njit(cache=True, nogil=True)
def _nearest_squared(
    place: NDArray[np.float64], positions: NDArray[np.float64], edges: NDArray[np.float64]
) -> float:
    """Return the squared distance to the nearest of some atoms, images included."""
    nearest = np.inf
    for atom in range(len(positions)):
        square = 0.0
        for axis in range(3):
            d = abs(place[axis] - positions[atom, axis])
            d = min(d, edges[axis] - d)
            square += d * d
        nearest = min(nearest, square)
    return nearest


@numba.njit(cache=True, nogil=True)
def _drawn_in(
    rng: np.random.Generator,
    region: int,
    edges: NDArray[np.float64],
    grid: NDArray[np.int64],
    skin: float,
) -> NDArray[np.float64]:
    """Draw a place below a region."""
    face, cell = region // (grid[0] * grid[1]), region % (grid[0] * grid[1])
    axis = face // 2
    u, v = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
    place = np.empty(3)
    depth = rng.random() * skin
    place[axis] = depth if face % 2 == 0 else edges[axis] - depth
    place[u] = (cell // grid[1] + rng.random()) * edges[u] / grid[0]
    place[v] = (cell % grid[1] + rng.random()) * edges[v] / grid[1]
    for k in range(3):
        if place[k] >= edges[k]:
            place[k] = 0.0
    return place


@numba.njit(cache=True, nogil=True)
def _choose_victim(
    rng: np.random.Generator,
    positions: NDArray[np.float64],
    kinds: NDArray[np.int64],
    kind: int,
    edges: NDArray[np.float64],
    grid: NDArray[np.int64],
    skin: float,
) -> int:
    """Return an atom of a kind below the fullest region that has one; -1 if none has."""
    per_face = grid[0] * grid[1]
    found = np.empty(len(positions), dtype=np.int64)
    for region in _ranked(rng, region_densities(positions, edges, grid, skin), True):
        n = 0
        for atom in range(len(positions)):
            if kinds[atom] != kind:
                continue
            if _region(positions[atom], region // per_face, edges, grid, skin) == region:
                found[n] = atom
                n += 1
        if n > 0:
            return found[int(rng.random() * n)]
    return -1


@numba.njit(cache=True, nogil=True)
def _choose_place(
    rng: np.random.Generator,
    positions: NDArray[np.float64],
    edges: NDArray[np.float64],
    grid: NDArray[np.int64],
    skin: float,
    min_distance: float,
) -> tuple[NDArray[np.float64], float]:
    """Return a place for one more atom, and the least distance that it was allowed.

    The emptiest region comes first; where none has room, the distance is lowered by a tenth.
    """
    regions = _ranked(rng, region_densities(positions, edges, grid, skin), False)
    allowed = min_distance
    while True:
        for region in regions:
            for _ in range(_TRIES):
                place = _drawn_in(rng, region, edges, grid, skin)
                if _nearest_squared(place, positions, edges) >= allowed * allowed:
                    return place, allowed
        allowed *= 0.9


@numba.njit(cache=True, nogil=True)
def fill(
    rng: np.random.Generator,
    inside: NDArray[np.int64],
    local: NDArray[np.float64],
    kinds: NDArray[np.int64],
    edges: NDArray[np.float64],
    targets: NDArray[np.int64],
    grid: NDArray[np.int64],
    skin: float,
    min_distance: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], int, int, float, int]:
    """Remove and add atoms until a block has the right number of each kind.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws.
    inside, local : ndarray
        What `cut` returned.
    kinds : ndarray of int64, shape (n_inside,)
        Which of the targets each atom is.
    edges : ndarray, shape (3,)
        Of the block, Å.
    targets : ndarray of int64, shape (n_kinds,)
        Atoms of each kind.
    grid, skin, min_distance
        See `SliceSettings`.

    Returns
    -------
    origin : ndarray of int64, shape (n_atoms,)
        Atom of the parent, -1 for an added one.
    positions : ndarray, shape (n_atoms, 3)
        Å.
    kinds : ndarray of int64, shape (n_atoms,)
        Kinds.
    n_added, n_removed : int
        How many.
    allowed : float
        Least distance that added atoms were allowed, Å.
    lacking : int
        The kind of which no atom was found to remove, else -1; the arrays are then unfinished.
    """
    room = len(inside) + targets.sum()
    origin = np.full(room, -1, dtype=np.int64)
    positions, sorts = np.empty((room, 3)), np.empty(room, dtype=np.int64)
    n = len(inside)
    origin[:n], positions[:n], sorts[:n] = inside, local, kinds
    n_added, n_removed, allowed = 0, 0, min_distance
    for kind in range(len(targets)):
        for _ in range((sorts[:n] == kind).sum() - targets[kind]):
            victim = _choose_victim(rng, positions[:n], sorts[:n], kind, edges, grid, skin)
            if victim < 0:
                return origin[:n], positions[:n], sorts[:n], n_added, n_removed, allowed, kind
            for k in range(victim, n - 1):
                origin[k], sorts[k] = origin[k + 1], sorts[k + 1]
                positions[k] = positions[k + 1]
            n -= 1
            n_removed += 1
    for kind in range(len(targets)):
        for _ in range(targets[kind] - (sorts[:n] == kind).sum()):
            place, distance = _choose_place(rng, positions[:n], edges, grid, skin, min_distance)
            origin[n], sorts[n] = -1, kind
            positions[n] = place
            allowed = min(allowed, distance)
            n += 1
            n_added += 1
    return origin[:n], positions[:n], sorts[:n], n_added, n_removed, allowed, -1


@numba.njit(cache=True, nogil=True)
def closest_pair(positions: NDArray[np.float64], edges: NDArray[np.float64]) -> float:
    """Return the shortest distance between two atoms of a periodic block, Å; infinite for one."""
    square = np.inf
    for atom in range(len(positions) - 1):
        square = min(square, _nearest_squared(positions[atom], positions[atom + 1 :], edges))
    return np.sqrt(square)
