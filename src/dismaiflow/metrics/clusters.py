"""Counts of monomers and pairs on a lattice, and the cluster fingerprint of an alloy.

The fingerprint has one component per species and one per shell and unordered pair of species: 45
for three species and seven shells (paper, section 4.3.3).
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Literal

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.structures.lattice import ShellNeighbors

#: Decimals to which the published scripts round counts per atom.
PUBLISHED_COUNT_DECIMALS = 5

Convention = Literal["published", "corrected"]


@numba.njit(cache=True, nogil=True)
def _count_directed(
    occupations: NDArray[np.int8],
    neighbors: NDArray[np.int32],
    shell_of: NDArray[np.int64],
    n_shells: int,
    n_species: int,
) -> NDArray[np.int64]:
    """Count ordered pairs of occupied sites, shape (n, n_shells, n_species, n_species)."""
    n, n_sites = occupations.shape
    counts = np.zeros((n, n_shells, n_species, n_species), np.int64)
    for m in range(n):
        for i in range(n_sites):
            a = occupations[m, i]
            if a < 0:
                continue
            for k in range(neighbors.shape[1]):
                b = occupations[m, neighbors[i, k]]
                if b >= 0:
                    counts[m, shell_of[k], a, b] += 1
    return counts


def unordered(directed: NDArray[np.integer]) -> NDArray[np.int64]:
    """Turn counts of ordered pairs into counts of unordered ones.

    Parameters
    ----------
    directed : ndarray of int, shape (..., n_species, n_species)
        Every pair met from both its ends.

    Returns
    -------
    ndarray of int64, same shape
        Unordered pairs in the upper triangle, zeros below.
    """
    like = np.eye(directed.shape[-1], dtype=bool)
    return np.where(like, directed // 2, np.triu(directed)).astype(np.int64)


def count_pairs(
    occupations: NDArray[np.int8], shells: ShellNeighbors, n_species: int
) -> NDArray[np.int64]:
    """Count the pairs of each kind in each shell.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n_structures, n_sites)
        Species code of each site, -1 for a vacancy.
    shells : ShellNeighbors
        Neighbours of the sites.
    n_species : int
        Number of species.

    Returns
    -------
    ndarray of int64, shape (n_structures, n_shells, n_species, n_species)
        Unordered pairs in the upper triangle.
    """
    directed = _count_directed(
        np.ascontiguousarray(np.atleast_2d(occupations)),
        shells.neighbors,
        shells.shell_of,
        shells.n_shells,
        n_species,
    )
    return unordered(directed)


def count_monomers(occupations: NDArray[np.int8], n_species: int) -> NDArray[np.int64]:
    """Count the atoms of each species.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n_structures, n_sites)
        Species code of each site, -1 for a vacancy.
    n_species : int
        Number of species.

    Returns
    -------
    ndarray of int64, shape (n_structures, n_species)
        Atoms of each species.
    """
    codes = np.arange(n_species)
    return (np.atleast_2d(occupations)[:, :, None] == codes).sum(axis=1)


def per_atom(
    monomers: NDArray[np.int64], pairs: NDArray[np.number], decimals: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide counts by the number of atoms that are there.

    Parameters
    ----------
    monomers : ndarray of int, shape (..., n_species)
        Atoms of each species.
    pairs : ndarray, shape (..., n_shells, n_species, n_species)
        Unordered pairs in the upper triangle; halves occur off lattice.
    decimals : int, optional
        Round to so many decimals, as the published scripts do.

    Returns
    -------
    fractions : ndarray, shape (..., n_species)
        Fraction of the atoms of each species.
    pairs_per_atom : ndarray, shape (..., n_shells, n_species, n_species)
        Pairs per atom.
    """
    n_atoms = np.maximum(monomers.sum(axis=-1), 1)
    fractions = monomers / n_atoms[..., None]
    pairs_per_atom = pairs / n_atoms[..., None, None, None]
    if decimals is not None:
        fractions, pairs_per_atom = fractions.round(decimals), pairs_per_atom.round(decimals)
    return fractions, pairs_per_atom


def fingerprint(
    monomers: NDArray[np.int64],
    pairs: NDArray[np.number],
    multiplicities: NDArray[np.int64],
    convention: Convention,
) -> NDArray[np.float64]:
    """Return the cluster fingerprint of each structure.

    ``published`` divides the counts per remaining atom, rounded to five decimals, by the pairs per
    site of the full lattice, so that vacancies lower the sum of a shell below one. ``corrected`` is
    what the paper says: the conditional probability of each pair given two occupied sites; each
    shell, and the monomers, add up to one.

    Parameters
    ----------
    monomers : ndarray of int, shape (..., n_species)
        Atoms of each species.
    pairs : ndarray, shape (..., n_shells, n_species, n_species)
        Unordered pairs in the upper triangle; halves occur off lattice.
    multiplicities : ndarray of int, shape (n_shells,)
        Pairs per site in each shell.
    convention : {"published", "corrected"}
        Which of the two.

    Returns
    -------
    ndarray, shape (..., n_species + n_shells * n_species * (n_species + 1) / 2)
        Monomers, then the pairs shell by shell, each in alphabetical order of the species codes.
    """
    rows, columns = np.triu_indices(monomers.shape[-1])
    if convention == "published":
        fractions, values = per_atom(monomers, pairs, PUBLISHED_COUNT_DECIMALS)
        values = values / multiplicities[:, None, None]
    else:
        fractions, _ = per_atom(monomers, pairs)
        values = pairs / np.maximum(pairs.sum(axis=(-1, -2), keepdims=True), 1)
    flat = values[..., rows, columns]
    merged = flat.reshape(*flat.shape[:-2], flat.shape[-2] * flat.shape[-1])
    return np.concatenate([fractions, merged], axis=-1)


def fingerprint_labels(species: Sequence[str], n_shells: int) -> list[str]:
    """Name the components of the fingerprint, e.g. ``0NN_Cr`` and ``3NN_Cr-Fe``."""
    pairs = [f"{a}-{b}" for a, b in combinations_with_replacement(species, 2)]
    return [f"0NN_{s}" for s in species] + [
        f"{shell}NN_{pair}" for shell in range(1, n_shells + 1) for pair in pairs
    ]
