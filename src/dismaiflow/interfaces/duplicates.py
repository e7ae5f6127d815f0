"""Duplicates among structures: alike but for a translation, the order of atoms and small moves.

A pair is first compared by sorted periodic distances from its rarest species. Where every atom of
two structures agrees within a tolerance, no such entry differs by more than twice the tolerance, so
this filter misses nothing. What passes is confirmed by superposition.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numba
import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Sorted distances that are kept of each pair of species.
_ENTRIES = 64


def find_duplicates(structures: StructureSet, tolerance: float = 0.05) -> list[list[int]]:
    """Group structures that are the same.

    Two structures are the same if they have the same cell and composition and some translation
    brings each atom of one within the tolerance of an atom of its species of the other, once the
    mean displacement is removed. Rotations and mirrors are not looked for: the slabs fix the
    orientation. Sameness is passed on along chains.

    Parameters
    ----------
    structures : StructureSet
        Periodic structures.
    tolerance : float
        Largest displacement of an atom, Å; well below half the smallest distance of two atoms.

    Returns
    -------
    list of list of int
        Groups of at least two indices, ascending, sorted by the first.

    Raises
    ------
    DismaiError
        If the tolerance is not positive.
    """
    if not tolerance > 0:
        raise DismaiError(f"the tolerance of duplicates must be positive, got {tolerance}")
    groups = []
    for bucket in _alike(structures):
        root = _roots(structures, bucket, tolerance)
        members = defaultdict(list)
        for place, i in enumerate(bucket):
            members[int(root[place])].append(i)
        groups += [group for group in members.values() if len(group) > 1]
    return sorted(groups)


def _alike(structures: StructureSet) -> list[list[int]]:
    """Group structures of one composition and one cell (to 1e-4 Å)."""
    buckets = defaultdict(list)
    for i in range(len(structures)):
        species = np.sort(structures.numbers[structures.slice_of(i)])
        cell = np.rint(structures.cells[i] * 1e4).astype(np.int64)
        buckets[species.tobytes(), cell.tobytes()].append(i)
    return [bucket for bucket in buckets.values() if len(bucket) > 1]


def _roots(structures: StructureSet, bucket: list[int], tolerance: float) -> NDArray[np.int64]:
    """Return for each of a bucket the place of the first one that is the same."""
    cell = np.ascontiguousarray(structures.cells[bucket[0]])
    inverse = np.linalg.inv(cell)
    species, counts = np.unique(
        structures.numbers[structures.slice_of(bucket[0])], return_counts=True
    )
    # Rarest first, so that a superposition that fails does so early.
    by_count = np.argsort(counts, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts[by_count])]).astype(np.int64)
    rank = np.zeros(256, dtype=np.int64)
    rank[species[by_count]] = np.arange(len(species))
    points = np.empty((len(bucket), int(starts[-1]), 3))
    for place, i in enumerate(bucket):
        part = structures.slice_of(i)
        order = np.argsort(rank[structures.numbers[part]], kind="stable")
        points[place] = (structures.positions[part] @ inverse)[order]
    prints = np.array([_fingerprint(p, starts, cell) for p in points])
    root = np.arange(len(bucket), dtype=np.int64)
    for i in range(len(bucket) - 1):
        for j in _similar(prints, i, 2 * tolerance).tolist():
            if root[i] != root[j] and _same(points[i], points[j], starts, cell, tolerance):
                low, high = sorted((int(root[i]), int(root[j])))
                root[root == high] = low
    return root


def _fingerprint(
    points: NDArray[np.float64], starts: NDArray[np.int64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return sorted distances from the rarest species to each species, thinned out evenly."""
    entries = []
    n_rare = int(starts[1])
    for k in range(len(starts) - 1):
        distances = np.sort(_distances(points[:n_rare], points[starts[k] : starts[k + 1]], cell))
        if k == 0:
            distances = distances[n_rare:]  # without those of an atom from itself
        count = min(_ENTRIES, len(distances))
        if count:
            places = np.rint(np.linspace(0, len(distances) - 1, count)).astype(np.int64)
            entries.append(distances[places])
    return np.concatenate(entries) if entries else np.empty(0)


@numba.njit(cache=True, nogil=True)
def _distances(
    first: NDArray[np.float64], second: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return all distances between nearest images of two lists of fractional points, Å."""
    result = np.empty(len(first) * len(second))
    for i in range(len(first)):
        for j in range(len(second)):
            apart = second[j] - first[i]
            apart -= np.rint(apart)
            best = np.inf
            for a in range(-1, 2):
                for b in range(-1, 2):
                    for c in range(-1, 2):
                        square = 0.0
                        for k in range(3):
                            x = (
                                (apart[0] + a) * cell[0, k]
                                + (apart[1] + b) * cell[1, k]
                                + (apart[2] + c) * cell[2, k]
                            )
                            square += x * x
                        best = min(best, square)
            result[i * len(second) + j] = np.sqrt(best)
    return result


@numba.njit(cache=True, nogil=True)
def _similar(prints: NDArray[np.float64], first: int, limit: float) -> NDArray[np.int64]:
    """Return the later structures whose fingerprint differs by no more than a limit anywhere."""
    found = np.empty(len(prints) - first - 1, np.int64)
    count = 0
    for j in range(first + 1, len(prints)):
        alike = True
        for k in range(prints.shape[1]):
            if abs(prints[first, k] - prints[j, k]) > limit:
                alike = False
                break
        if alike:
            found[count] = j
            count += 1
    return found[:count]


@numba.njit(cache=True, nogil=True)
def _superpose(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    shift: NDArray[np.float64],
    starts: NDArray[np.int64],
    cell: NDArray[np.float64],
    reach: float,
    moves: NDArray[np.float64],
) -> bool:
    """Find a partner within reach for every atom after a shift; note the displacements, Å."""
    taken = np.zeros(len(second), np.bool_)
    apart = np.empty(3)
    vector = np.empty(3)
    for s in range(len(starts) - 1):
        for i in range(starts[s], starts[s + 1]):
            partner = -1
            best = reach * reach
            for j in range(starts[s], starts[s + 1]):
                for k in range(3):
                    apart[k] = second[j, k] - first[i, k] - shift[k]
                    apart[k] -= np.rint(apart[k])
                square = 0.0
                for k in range(3):
                    vector[k] = 0.0
                    for m in range(3):
                        vector[k] += apart[m] * cell[m, k]
                    square += vector[k] * vector[k]
                if square <= best and not taken[j]:
                    best = square
                    partner = j
                    moves[i] = vector
            if partner < 0:
                return False
            taken[partner] = True
    return True


@numba.njit(cache=True, nogil=True)
def _same(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    starts: NDArray[np.int64],
    cell: NDArray[np.float64],
    tolerance: float,
) -> bool:
    """Say whether a translation lays one structure upon the other.

    Some atom of the second must be the partner of the first atom of the first, so all are tried.
    With the displacement of that atom in the translation, others are off by twice the tolerance at
    most.
    """
    moves = np.empty((len(first), 3))
    for j in range(starts[1]):
        shift = second[j] - first[0]
        if not _superpose(first, second, shift, starts, cell, 2 * tolerance, moves):
            continue
        worst = 0.0
        mean = np.empty(3)
        for k in range(3):
            mean[k] = moves[:, k].mean()
        for i in range(len(first)):
            square = 0.0
            for k in range(3):
                square += (moves[i, k] - mean[k]) ** 2
            worst = max(worst, square)
        if worst <= tolerance * tolerance:
            return True
    return False
