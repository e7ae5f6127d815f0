"""Profiles of pair distances, to find copies and twins among structures without a lattice.

The profile of a structure is a smoothed histogram of its pair distances for each pair of species,
per atom. It stays the same if the structure is shifted, turned, mirrored, repeated, or its atoms of
one species are exchanged, so that a copied training structure is found however it is written. It is
not complete: structures that share all these distances are one to it. A small distance thus means a
copy or nearly one; it is proof only where it is zero.

Distances between profiles are given in units of a scale: the median distance of the reference
structures from the nearest other one. 0 is an identical copy, 1 as far as structures of the
reference are from each other. Moved atoms change a profile in two ways: the pattern of this one
structure fades, and all peaks grow wider. The second would soon carry a noisy copy further away
than any independent structure. It matters least at large distances, where amorphous matter has no
sharp peaks; for that reason the range is long, the smoothing wide, and a distance r counts by r.

For 40 cells of 256 silicon atoms, quenched with the Tersoff potential, copies with normal noise on
each coordinate lie at 0.15 (0.02 Å), 0.37 (0.05 Å), 0.9 (0.1 Å) and 1.8 (0.2 Å), and each cell at
0.6 to 1.4 from the nearest other one. Beyond 1 a structure is no copy, but unlike the reference.
The crystalline parts of slabs have sharp peaks at all distances, so that noise counts for more
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.rdf import neighbour_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

#: Å. Longest distance, bin, and standard deviation of the smoothing.
RANGE, BIN, WIDTH = 10.0, 0.1, 0.2

#: Bins of the histogram, and those that are kept: none that a distance at the range reaches, so
#: that no atom enters the profile at once.
_N_BINS = round(RANGE / BIN)
N_KEPT = round((RANGE - 3 * WIDTH) / BIN) - 1


def profile(
    numbers: ArrayLike, positions: ArrayLike, cell: ArrayLike, species: Sequence[str]
) -> NDArray[np.float32]:
    """Compute the profile of one structure.

    Parameters
    ----------
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers.
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; periodic in all directions.
    species : sequence of str
        The s species of the system, in any order that is kept for all structures.

    Returns
    -------
    ndarray of float32, shape (s (s + 1) / 2 * 93,)
        One histogram for each pair of species, from the first with itself to the last with itself.

    Raises
    ------
    DismaiError
        If an atom is of another species, or as `neighbour_pairs`.
    """
    from scipy.ndimage import gaussian_filter1d  # takes long to import

    kinds = np.asarray(numbers, dtype=np.int64)
    code_of = np.full(max(int(kinds.max(initial=0)), *atomic_numbers.values()) + 1, -1)
    code_of[[atomic_numbers[name] for name in species]] = np.arange(len(species))
    codes = code_of[kinds]
    if (codes < 0).any():
        raise DismaiError(
            f"an atom of atomic number {kinds[codes < 0][0]} is none of {', '.join(species)}"
        )
    s = len(species)
    pair_of = np.zeros((s, s), dtype=np.int64)
    upper = np.triu_indices(s)
    pair_of[upper] = pair_of[upper[::-1]] = np.arange(len(upper[0]))
    first, second, between = neighbour_pairs(positions, cell, RANGE)
    table = _histograms(first, second, between, codes, pair_of, len(upper[0]))
    smooth = gaussian_filter1d(table, WIDTH / BIN, axis=1, mode="constant", truncate=3.0)
    return (smooth[:, :N_KEPT] / len(kinds)).astype(np.float32).ravel()


def profile_scale(reference: NDArray[np.float32]) -> float | None:
    """Return the median distance of structures from the nearest other one.

    Parameters
    ----------
    reference : ndarray, shape (m, k)
        Profiles.

    Returns
    -------
    float or None
        None for fewer than two structures, or if most have a twin.
    """
    if len(reference) < 2:
        return None
    distances = _distances(reference, reference)
    np.fill_diagonal(distances, np.inf)
    scale = float(np.median(distances.min(axis=1)))
    # Twins that are written differently are not quite at zero.
    return scale if scale > 1e-5 * float(np.linalg.norm(reference, axis=1).mean()) else None


def nearest_profile_distances(
    generated: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return how far each structure is from the nearest of the reference, in units of the scale.

    Parameters
    ----------
    generated, reference : ndarray, shape (n, k) and (m, k)
        Profiles over the same species.

    Returns
    -------
    ndarray, shape (n,)
        0 for a copy, 1 as for another structure of the reference; NaN if there is no scale.
    """
    scale = profile_scale(reference)
    if scale is None:
        return np.full(len(generated), np.nan)
    nearest = [
        _distances(generated[begin : begin + 256], reference).min(axis=1)
        for begin in range(0, len(generated), 256)
    ]
    return np.concatenate([np.empty(0), *nearest]) / scale


def count_distinct_profiles(
    profiles: NDArray[np.float32], tolerance: float, scale: float = 1.0
) -> int:
    """Count structures that are not twins of one before them.

    Parameters
    ----------
    profiles : ndarray, shape (n, k)
        Profiles.
    tolerance : float
        Largest distance between twins, in units of the scale.
    scale : float
        See `profile_scale`.
    """
    distances = _distances(profiles, profiles)
    distinct: list[int] = []
    for index in range(len(profiles)):
        if not (distances[index, distinct] <= tolerance * scale).any():
            distinct.append(index)
    return len(distinct)


def _distances(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return all Euclidean distances, shape (n, m)."""
    # In double precision: the squares nearly cancel for copies.
    a, b = some.astype(np.float64), others.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squares, 0.0))


@njit(cache=True, nogil=True)
def _histograms(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    between: NDArray[np.float64],
    codes: NDArray[np.int64],
    pair_of: NDArray[np.int64],
    n_pairs: int,
) -> NDArray[np.float64]:
    """Add each distance to the two bins whose middles it lies between, shape (n_pairs, _N_BINS).

    A bin would otherwise be entered at once.
    """
    table = np.zeros((n_pairs, _N_BINS))
    for k in range(len(first)):
        x, y, z = between[k, 0], between[k, 1], between[k, 2]
        r = np.sqrt(x * x + y * y + z * z)
        place = max(r / BIN - 0.5, 0.0)
        low = min(int(place), _N_BINS - 1)
        share = place - low
        # Every pair comes in both orders.
        pair = pair_of[codes[first[k]], codes[second[k]]]
        table[pair, low] += 0.5 * r * (1 - share)
        if low + 1 < _N_BINS:
            table[pair, low + 1] += 0.5 * r * share
    return table
