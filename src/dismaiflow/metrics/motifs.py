"""Local environments of atoms: fingerprints of motifs, and the most likely motif.

A fingerprint holds, for each coordination number up to 24, its likelihood, that likelihood times
each order parameter of the number, and the fractions of chosen species among the neighbours
(A. X. B. Yong, T. Su, E. Ertekin, DisMaI-Bench, section 3). With the settings of the benchmark it
has 61 entries without, and 109 with two chosen species.

References
----------
N. E. R. Zimmermann, A. Jain, RSC Adv. 10 (2020) 6063, DOI 10.1039/C9RA07755C.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.crystal_nn import ION_MOTIF_SETTINGS, MOTIF_SETTINGS, NeighbourFinder
from dismaiflow.metrics.order_parameters import (
    LARGEST_COORDINATION,
    LARGEST_MOTIF,
    MOTIFS,
    motif_tables,
    neighbour_angles,
    order_parameter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.metrics.voronoi import VoronoiCells

#: Names of the motifs, by their code.
MOTIF_NAMES: tuple[str, ...] = tuple(motif.label for motif in MOTIFS)


@dataclass(frozen=True)
class SiteMotifs:
    """Environments of the chosen atoms of one structure.

    Parameters
    ----------
    sites : ndarray of int64, shape (n_sites,)
        Atoms whose species are centres, by rising index.
    fingerprints : ndarray, shape (n_sites, n_features)
        In the order of `MotifAnalyser.feature_labels`.
    coordination : ndarray of int8, shape (n_sites,)
        Most likely coordination number of 1 to 24, the lowest of equally likely ones, also if 0
        is more likely; 0 for an atom that has no neighbours at all.
    motif : ndarray of int16, shape (n_sites,)
        Place in `MOTIF_NAMES` of the highest order parameter of that number; -1 where it has none.
    counts : ndarray of int8, shape (n_sites, n_appended)
        Neighbours of each appended species in that environment.
    """

    sites: NDArray[np.int64]
    fingerprints: NDArray[np.float64]
    coordination: NDArray[np.int8]
    motif: NDArray[np.int16]
    counts: NDArray[np.int8]


class MotifAnalyser:
    """Makes fingerprints of structures of one system.

    With oxidation states the neighbours of an atom are those of opposite or no charge, and radii
    follow the charges; without, every atom may be a neighbour and radii are covalent.

    Parameters
    ----------
    species : sequence of str
        All element symbols that structures may hold.
    centres : sequence of str
        Those whose environments are analysed.
    oxidation_states : mapping of str to float, optional
        Of every species.
    appended : sequence of str
        Species whose fractions among the neighbours are appended.

    Raises
    ------
    DismaiError
        If a symbol is unknown, or an oxidation state or a radius is missing.
    """

    def __init__(
        self,
        species: Sequence[str],
        centres: Sequence[str],
        oxidation_states: Mapping[str, float] | None,
        appended: Sequence[str] = (),
    ) -> None:
        settings = MOTIF_SETTINGS if oxidation_states is None else ION_MOTIF_SETTINGS
        self._finder = NeighbourFinder(species, settings, oxidation_states)
        for symbol in (*centres, *appended):
            if symbol not in self._finder.species:
                raise DismaiError(f"{symbol} is none of {', '.join(self._finder.species)}")
        if not centres:
            raise DismaiError("no species whose environments are to be analysed")
        self.centres, self.appended = tuple(centres), tuple(appended)
        codes = {symbol: code for code, symbol in enumerate(self._finder.species)}
        self._centres = np.array([codes[symbol] for symbol in centres], dtype=np.int64)
        self._appended = np.full(len(codes), -1, dtype=np.int64)
        for place, symbol in enumerate(appended):
            self._appended[codes[symbol]] = place
        self._tables = motif_tables()
        self.feature_labels = feature_labels(appended)

    def analyse(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        cells: VoronoiCells | None = None,
    ) -> SiteMotifs:
        """Analyse one structure, periodic in all directions.

        Parameters
        ----------
        numbers : array-like of int, shape (n_atoms,)
            Atomic numbers.
        positions : array-like, shape (n_atoms, 3)
            Å.
        cell : array-like, shape (3, 3)
            Rows are vectors, Å.
        cells : VoronoiCells, optional
            Of this structure, if they are known already, e.g. because its bond angles are wanted
            too.

        Raises
        ------
        DismaiError
            If a number is not finite, the cell has no volume, a species is unknown, there is no
            centre, or a Voronoi cell cannot be built.
        """
        codes = self._finder.codes(numbers)
        sites = np.flatnonzero(np.isin(codes, self._centres))
        if len(sites) == 0:
            raise DismaiError(f"the structure holds no {' or '.join(self.centres)}")
        found = self._finder.find(numbers, positions, cell, sites, cells)
        coordinations, kinds, parameters = self._tables
        fingerprints, coordination, motif, counts = _fingerprints(
            found.starts,
            self._appended[codes[found.atoms]],
            found.vectors,
            found.likelihoods,
            len(self.appended),
            coordinations,
            kinds,
            parameters,
        )
        return SiteMotifs(sites, fingerprints, coordination, motif, counts)


def feature_labels(appended: Sequence[str] = ()) -> list[str]:
    """Name the entries of a fingerprint, e.g. ``wt CN_4`` and ``Cl fraction coord num 4``."""
    numbers = range(1, LARGEST_COORDINATION + 1)
    labels = []
    for n in numbers:
        labels.append(f"wt CN_{n}")
        labels += [motif.label for motif in MOTIFS if motif.coordination == n]
    return labels + [f"{symbol} fraction coord num {n}" for n in numbers for symbol in appended]


@njit(cache=True, nogil=True)
def _fingerprints(
    starts: NDArray[np.int64],
    groups: NDArray[np.int64],
    vectors: NDArray[np.float64],
    likelihoods: NDArray[np.float64],
    n_groups: int,
    coordinations: NDArray[np.int64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int16], NDArray[np.int8]]:
    """Return fingerprints, most likely coordinations, motifs and counts of all sites."""
    n_sites, n_motifs = len(starts) - 1, len(kinds)
    first = LARGEST_COORDINATION + n_motifs
    out = np.zeros((n_sites, first + LARGEST_COORDINATION * n_groups))
    best_number = np.zeros(n_sites, dtype=np.int8)
    best_motif = np.full(n_sites, -1, dtype=np.int16)
    counts = np.zeros((n_sites, n_groups), dtype=np.int8)
    units = np.empty((LARGEST_MOTIF, 3))
    polar = np.empty((LARGEST_MOTIF, LARGEST_MOTIF))
    azimuth = np.empty((LARGEST_MOTIF, LARGEST_MOTIF, LARGEST_MOTIF))
    for site in range(n_sites):
        begin = starts[site]
        n = min(starts[site + 1] - begin, LARGEST_COORDINATION)
        for k in range(min(n, LARGEST_MOTIF)):
            x, y, z = vectors[begin + k, 0], vectors[begin + k, 1], vectors[begin + k, 2]
            length = sqrt(x * x + y * y + z * z)
            units[k, 0], units[k, 1], units[k, 2] = x / length, y / length, z / length
        neighbour_angles(units, min(n, LARGEST_MOTIF), polar, azimuth)
        most = 0.0
        column, motif = 0, 0
        among = np.zeros(n_groups, dtype=np.int64)
        for number in range(1, LARGEST_COORDINATION + 1):
            likelihood = likelihoods[begin + number - 1] if number <= n else 0.0
            if number <= n and groups[begin + number - 1] >= 0:
                among[groups[begin + number - 1]] += 1
            out[site, column] = likelihood
            column += 1
            if likelihood != 0:
                for group in range(n_groups):
                    out[site, first + (number - 1) * n_groups + group] = among[group] / number
            likeliest = likelihood > most
            if likeliest:
                most, best_number[site], best_motif[site] = likelihood, number, -1
                for group in range(n_groups):
                    counts[site, group] = among[group]
            highest = -np.inf
            while motif < n_motifs and coordinations[motif] == number:
                if likelihood != 0:
                    value = likelihood * order_parameter(
                        kinds[motif], parameters[motif], number, units, polar, azimuth
                    )
                    out[site, column] = value
                    if likeliest and value > highest:
                        highest, best_motif[site] = value, motif
                column += 1
                motif += 1
    return out, best_number, best_motif, counts
