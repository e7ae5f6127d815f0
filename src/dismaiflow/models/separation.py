"""Smallest distances of a set, and random positions that keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.metrics.rdf import neighbour_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Pairs of species that never come as near as this (Å) count as if they did.
NO_NEARER = 4.0

#: Scales of the distances that are tried in turn, and random starts of each.
_SCALES = tuple(np.arange(1.0, 0.49, -0.05).round(2).tolist())
_STARTS = 2

#: Distances aimed at are larger by this share, as a minimum is reached from below.
_MARGIN = 0.02

#: Steps of the minimiser in one attempt.
_STEPS = 200


def closest_pairs(structures: StructureSet) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the smallest distance of each pair of species in a set, periodic images included.

    Parameters
    ----------
    structures : StructureSet
        The set.

    Returns
    -------
    species : ndarray of int64, shape (n_species,)
        Atomic numbers, rising.
    distances : ndarray, shape (n_species, n_species)
        Å, symmetric, at most `NO_NEARER`.
    """
    species, kinds = np.unique(structures.numbers, return_inverse=True)
    smallest = np.full((len(species), len(species)), NO_NEARER)
    for i in range(len(structures)):
        part = structures.slice_of(i)
        first, second, between = neighbour_pairs(
            structures.positions[part], structures.cells[i], NO_NEARER
        )
        apart = first != second
        own = kinds[part]
        lengths = np.linalg.norm(between[apart], axis=1)
        np.minimum.at(smallest, (own[first[apart]], own[second[apart]]), lengths)
    return species.astype(np.int64), smallest


def separate(
    cell: NDArray[np.float64],
    kinds: NDArray[np.int64],
    distances: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float] | None:
    """Place atoms at random so that no pair is nearer than its species allow.

    The atoms start at uniformly random places; the sum of the squared overlaps is then minimised.
    What does not come apart begins anew, after two starts with distances 5 % smaller, down to half.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Rows are vectors, Å; periodic in all directions.
    kinds : ndarray of int64, shape (n_atoms,)
        Row of each atom in `distances`.
    distances : ndarray, shape (n_species, n_species)
        Å, symmetric.
    rng : Generator
        The only source of randomness.

    Returns
    -------
    positions : ndarray, shape (n_atoms, 3)
        Cartesian, Å, inside the cell.
    scale : float
        By which the distances were shrunk; 1 if not.
    None
        Instead of both, if there is no room even at half of the distances.
    """
    from scipy.optimize import minimize  # takes long to import

    inverse = np.linalg.inv(cell)
    for scale in _SCALES:
        wanted = distances[kinds[:, None], kinds[None, :]] * scale
        for _ in range(_STARTS):
            start = rng.random((len(kinds), 3)) @ cell
            if len(kinds) < 2:
                return start, scale
            found = minimize(
                _overlap,
                start.ravel(),
                args=(cell, wanted * (1 + _MARGIN)),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": _STEPS},
            )
            fractions = np.mod(found.x.reshape(-1, 3) @ inverse, 1.0)
            places = np.where(fractions >= 1.0, 0.0, fractions) @ cell
            if _all_apart(places, cell, wanted):
                return places, scale
    return None


def _overlap(
    flat: NDArray[np.float64], cell: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return half the sum over pairs of the squared overlaps (Å^2), and its gradient (Å)."""
    places = flat.reshape(-1, 3)
    first, second, between = neighbour_pairs(places, cell, float(wanted.max()))
    lengths = np.linalg.norm(between, axis=1)
    overlaps = wanted[first, second] - lengths
    near = (overlaps > 0) & (first != second)
    first, between, overlaps, lengths = first[near], between[near], overlaps[near], lengths[near]
    gradient = np.zeros_like(places)
    # Each pair comes in both orders, and each order moves its first atom.
    np.add.at(gradient, first, between * (overlaps / np.maximum(lengths, 1e-12))[:, None])
    return 0.25 * float((overlaps**2).sum()), gradient.ravel()


def _all_apart(
    places: NDArray[np.float64], cell: NDArray[np.float64], wanted: NDArray[np.float64]
) -> bool:
    first, second, between = neighbour_pairs(places, cell, float(wanted.max()))
    apart = first != second
    short = np.linalg.norm(between, axis=1) < wanted[first, second]
    return not bool((short & apart).any())
