"""How far a structure is from the nearest of a set, site by site.

Two occupied lattices differ by the share of sites that hold different species, at the lattice
translation that makes it smallest: a copied training structure has distance 0 wherever it was
moved. Rotations are not searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.lattice import SiteLattice


@intrinsic
def _count_bits(typingctx: Any, value: Any) -> Any:
    """Count the bits of a word in one machine instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


def _planes(occupations: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack species codes into bit planes, shape (..., n_planes, n_words)."""
    codes = (occupations + 1).astype(np.uint8)
    n_planes = max(1, int(codes.max(initial=1)).bit_length())
    n_words = -(-occupations.shape[-1] // 64)
    bits = np.zeros((*occupations.shape[:-1], n_planes, 64 * n_words), dtype=np.uint8)
    for plane in range(n_planes):
        bits[..., plane, : occupations.shape[-1]] = (codes >> plane) & 1
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)


@numba.njit(cache=True, nogil=True)
def _fewest_differences(moved: NDArray[np.uint64], others: NDArray[np.uint64]) -> np.int64:
    """Return the smallest number of sites in which any of both sides differ."""
    best = np.int64(2**62)
    n_planes, n_words = others.shape[1], others.shape[2]
    for m in range(others.shape[0]):
        for t in range(moved.shape[0]):
            count = np.int64(0)
            for w in range(n_words):
                different = np.uint64(0)
                for p in range(n_planes):
                    different |= moved[t, p, w] ^ others[m, p, w]
                count += np.int64(_count_bits(different))
            best = min(best, count)
    return best


def count_distinct(occupations: NDArray[np.int8], lattice: SiteLattice) -> int:
    """Count structures that no lattice translation turns into each other.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n, n_sites)
        Structures, -1 for vacancies.
    lattice : SiteLattice
        Gives the translations.
    """
    # Of all translations of a structure the first in byte order stands for it.
    moved = ((row[lattice.translations] + 2).tobytes() for row in occupations)
    n = lattice.n_sites
    return len({min(m[i : i + n] for i in range(0, len(m), n)) for m in moved})


def nearest_distances(
    occupations: NDArray[np.int8],
    others: NDArray[np.int8],
    lattice: SiteLattice,
) -> NDArray[np.float64]:
    """Return the distance of every structure to the nearest of a set.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n, n_sites)
        Structures to place, -1 for vacancies.
    others : ndarray of int8, shape (m, n_sites)
        The set to search.
    lattice : SiteLattice
        Gives the translations.

    Returns
    -------
    ndarray, shape (n,)
        Share of the sites that differ, from 0 to 1.
    """
    if len(occupations) == 0 or len(others) == 0:
        return np.full(len(occupations), np.nan)
    # One code plane more than either side alone needs may be needed by the other.
    n = len(occupations)
    planes = _planes(np.concatenate([occupations, others]))
    packed_others = np.ascontiguousarray(planes[n:])
    n_planes = planes.shape[1]
    distances = np.empty(n)
    for i in range(n):
        moved = _planes(occupations[i][lattice.translations])
        if moved.shape[1] < n_planes:
            missing = np.zeros((len(moved), n_planes - moved.shape[1], moved.shape[2]), np.uint64)
            moved = np.concatenate([moved, missing], axis=1)
        fewest = _fewest_differences(np.ascontiguousarray(moved), packed_others)
        distances[i] = fewest / lattice.n_sites
    return distances
