"""Mutual exchanges of ions between the region and the top plane of the substrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.systems.fields import split_pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


#: How the labels begin that count exchanges.
EXCHANGED = "exchanged_"


def pair_numbers(pair: str) -> tuple[int, int]:
    """Return the atomic numbers of a pair ``A-B``."""
    first, second = split_pair(pair)
    return atomic_numbers[first], atomic_numbers[second]


def label_of(pair: str) -> str:
    """Return the label under which the exchanges of a pair are counted."""
    return EXCHANGED + pair.replace("-", "_")


def exchange(
    numbers: NDArray[np.uint8],
    in_region: NDArray[np.bool_],
    in_layer: NDArray[np.bool_],
    limits: Mapping[str, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Swap species between the region and the layer; positions stay.

    For each pair A-B a count is drawn, every number from 0 to its limit with the same probability
    (section 4.5 of the paper: "up to"), and as many A of the region trade places with B of the
    layer, all choices alike. No atom is exchanged twice: what one pair has taken is not there for
    the next. Where fewer atoms are left than were drawn, all that are left are exchanged.

    Parameters
    ----------
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers.
    in_region, in_layer : ndarray of bool, shape (n_atoms,)
        Which atoms form the region, and the top plane of the substrate.
    limits : mapping of str to int
        By pair ``A-B``, A in the region and B in the layer: most exchanges. Pairs are taken in
        this order.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers afterwards.
    counts : dict of str to int
        Exchanges of each pair.
    """
    swapped = numbers.copy()
    untouched = np.ones(len(numbers), dtype=bool)
    counts = {}
    for pair, limit in limits.items():
        first, second = pair_numbers(pair)
        own = np.flatnonzero(untouched & in_region & (numbers == first))
        theirs = np.flatnonzero(untouched & in_layer & (numbers == second))
        count = min(int(rng.integers(limit, endpoint=True)), len(own), len(theirs))
        here = rng.choice(own, count, replace=False)
        there = rng.choice(theirs, count, replace=False)
        swapped[here], swapped[there] = second, first
        untouched[here] = untouched[there] = False
        counts[pair] = count
    return swapped, counts
