"""The inner loops that fill a region: points against the atoms that are there.

Points are given by in-plane fractions and height in Å; the region is periodic in the plane alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bins along a vector into which atoms are sorted, at most.
_MAX_BINS = 64


@numba.njit(cache=True, nogil=True, inline="always")
def _closer(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    vectors: NDArray[np.float64],
    images: NDArray[np.int64],
    limit: float,
) -> bool:
    """Say whether two points (in-plane fractions, height) come closer than a limit.

    The nearest image along each vector is among the ``2 * images + 1`` around the rounded one.
    """
    square = limit * limit
    dz = first[2] - second[2]
    if dz * dz >= square:
        return False
    da = first[0] - second[0]
    db = first[1] - second[1]
    da -= np.rint(da)
    db -= np.rint(db)
    for i in range(-images[0], images[0] + 1):
        for j in range(-images[1], images[1] + 1):
            x = (da + i) * vectors[0, 0] + (db + j) * vectors[1, 0]
            y = (da + i) * vectors[0, 1] + (db + j) * vectors[1, 1]
            if x * x + y * y + dz * dz < square:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _widths(vectors: NDArray[np.float64]) -> tuple[float, float]:
    """Return the widths of the cell across a and across b, Å."""
    area = abs(vectors[0, 0] * vectors[1, 1] - vectors[0, 1] * vectors[1, 0])
    across_a = area / np.hypot(vectors[1, 0], vectors[1, 1])
    across_b = area / np.hypot(vectors[0, 0], vectors[0, 1])
    return across_a, across_b


@numba.njit(cache=True, nogil=True)
def _images(vectors: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Return how many images beside the rounded one can lie within reach, along a and b.

    In a cell at least twice as wide as the reach it is none.
    """
    images = np.zeros(2, np.int64)
    across = _widths(vectors)
    for k in range(2):
        images[k] = max(0, int(np.ceil(reach / across[k] - 0.5)))
    return images


@numba.njit(cache=True, nogil=True)
def clash(
    vectors: NDArray[np.float64],
    fixed: NDArray[np.float64],
    codes: NDArray[np.int64],
    n_substrate: int,
    limits: NDArray[np.float64],
) -> bool:
    """Say whether an atom of the film is too close to one of the substrate."""
    images = _images(vectors, limits.max())
    for i in range(n_substrate):
        for j in range(n_substrate, len(fixed)):
            if _closer(fixed[i], fixed[j], vectors, images, limits[codes[i], codes[j]]):
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _link(
    atom: int,
    point: NDArray[np.float64],
    head: NDArray[np.int64],
    after: NDArray[np.int64],
) -> None:
    """Put an atom into the list of its in-plane bin."""
    i = int((point[0] - np.floor(point[0])) * head.shape[0]) % head.shape[0]
    j = int((point[1] - np.floor(point[1])) * head.shape[1]) % head.shape[1]
    after[atom] = head[i, j]
    head[i, j] = atom


@numba.njit(cache=True, nogil=True)
def _is_free(
    point: NDArray[np.float64],
    code: int,
    points: NDArray[np.float64],
    codes: NDArray[np.int64],
    head: NDArray[np.int64],
    after: NDArray[np.int64],
    vectors: NDArray[np.float64],
    images: NDArray[np.int64],
    limits: NDArray[np.float64],
) -> bool:
    """Say whether a point keeps its distance from all atoms in the bins around it."""
    n_a, n_b = head.shape
    first_a = int(point[0] * n_a) - 1 if n_a > 2 else 0
    first_b = int(point[1] * n_b) - 1 if n_b > 2 else 0
    for i in range(first_a, first_a + min(n_a, 3)):
        for j in range(first_b, first_b + min(n_b, 3)):
            other = head[i % n_a, j % n_b]
            while other >= 0:
                limit = limits[code, codes[other]]
                if _closer(point, points[other], vectors, images, limit):
                    return False
                other = after[other]
    return True


@numba.njit(cache=True, nogil=True)
def fill_region(
    rng: np.random.Generator,
    vectors: NDArray[np.float64],
    thickness: float,
    fixed: NDArray[np.float64],
    fixed_codes: NDArray[np.int64],
    placed_codes: NDArray[np.int64],
    limits: NDArray[np.float64],
    max_tries: int,
    max_restarts: int,
    positions: NDArray[np.float64],
) -> bool:
    """Place atoms one by one, from scratch a number of times; say whether all found a place.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    vectors : ndarray, shape (2, 2)
        In-plane vectors, Å.
    thickness : float
        Height of the region, Å.
    fixed : ndarray, shape (n_fixed, 3)
        Atoms that are there: in-plane fractions, height in Å.
    fixed_codes, placed_codes : ndarray of int64
        Their species, and those of the atoms to place, in the order of placement.
    limits : ndarray, shape (n_species, n_species)
        Smallest distances, Å.
    max_tries, max_restarts : int
        Positions per atom; beginnings.
    positions : ndarray, shape (n_placed, 3)
        Filled as `fixed`.
    """
    n_fixed, n_placed = len(fixed), len(placed_codes)
    reach = limits.max()
    images = _images(vectors, reach)
    across_a, across_b = _widths(vectors)
    # No bin is narrower than the reach, so that a point feels only its own and those around it.
    n_a = max(1, int(min(across_a / reach, _MAX_BINS)))
    n_b = max(1, int(min(across_b / reach, _MAX_BINS)))
    empty = np.full((n_a, n_b), -1, np.int64)
    points = np.empty((n_fixed + n_placed, 3))
    points[:n_fixed] = fixed
    codes = np.concatenate((fixed_codes, placed_codes))
    after = np.full(n_fixed + n_placed, -1, np.int64)
    for atom in range(n_fixed):
        _link(atom, points[atom], empty, after)
    for _ in range(max_restarts):
        head = empty.copy()
        n_done = n_fixed
        while n_done < n_fixed + n_placed:
            point = points[n_done]
            found = False
            for _ in range(max_tries):
                point[0] = rng.random()
                point[1] = rng.random()
                point[2] = rng.random() * thickness
                if _is_free(
                    point, codes[n_done], points, codes, head, after, vectors, images, limits
                ):
                    found = True
                    break
            if not found:
                break
            _link(n_done, point, head, after)
            n_done += 1
        if n_done == n_fixed + n_placed:
            positions[:] = points[n_fixed:]
            return True
    return False
