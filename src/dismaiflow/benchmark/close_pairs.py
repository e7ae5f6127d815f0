"""Pairs of atoms that are too close, before anything is moved (Fig. S12 of the SI).

A model whose structures have more of them than atoms anywhere in the cell has collapsed, whatever
its distances say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.benchmark.findings import ClosePairs
from dismaiflow.metrics.rdf import neighbour_pairs
from dismaiflow.structures.checks import Expectation, find_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Atoms at most so far apart are too close, Å.
CLOSE_DISTANCE = 1.5


def each_close_pairs(
    structures: StructureSet, expected: Expectation, distance: float = CLOSE_DISTANCE
) -> Iterator[int | None]:
    """Yield the number of close pairs of every structure; None for one that cannot have any.

    Parameters
    ----------
    structures : StructureSet
        The structures.
    expected : Expectation
        What they must be like to be counted.
    distance : float
        Å.
    """
    for i, atoms in enumerate(structures):
        sound = find_problem(structures, i, expected) is None
        yield count_close_pairs(atoms.positions, atoms.cell.array, distance) if sound else None


def mean_close_pairs(
    sets: Iterable[StructureSet], like: Expectation, distance: float = CLOSE_DISTANCE
) -> ClosePairs | None:
    """Return how many close pairs structures have; None if none can be counted.

    Parameters
    ----------
    sets : iterable of StructureSet
        The structures, in cells of their own or not.
    like : Expectation
        What those of training are like.
    distance : float
        Å.
    """
    anywhere = Expectation(like.composition, None)
    counts = [n for one in sets for n in each_close_pairs(one, anywhere, distance) if n is not None]
    if not counts:
        return None
    return ClosePairs(
        distance=distance, mean=float(np.mean(counts)), random=random_close_pairs(like, distance)
    )


def random_close_pairs(like: Expectation, distance: float) -> float | None:
    """Return the mean number of close pairs of atoms that stand anywhere in the cell.

    Each of the N (N - 1) / 2 pairs is close with the probability (4/3) π r³ / V, which takes the
    sphere to fit into the cell.
    """
    if like.cell is None:
        return None
    n_atoms = sum(like.composition.values())
    volume = abs(float(np.linalg.det(like.cell)))
    return n_atoms * (n_atoms - 1) / 2 * 4 / 3 * math.pi * distance**3 / volume


def count_close_pairs(
    positions: NDArray[np.float64], cell: NDArray[np.float64], distance: float
) -> int:
    """Count unique pairs of atoms at most so far apart, nearest images (Fig. S12).

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3)
        Cartesian, Å.
    cell : ndarray, shape (3, 3)
        Rows are vectors, Å.
    distance : float
        Å.
    """
    first, second, _ = neighbour_pairs(positions, cell, np.nextafter(distance, np.inf))
    return len({(i, j) for i, j in zip(first.tolist(), second.tolist(), strict=True) if i < j})
