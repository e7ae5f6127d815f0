"""Which coordination motifs are most likely, in percent of the sites (paper, section 4.4).

The published scripts (``get_most_likely_*_OP.py``) count the sites by most likely motif, keep those
of at least 1 % in the training structures (the paper says more than 1 %), and divide each by the
number of neighbours of one anion. Their bootstrap draws structures and counts the sites of those
drawn; here each structure is counted once, and the counts are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.bootstrap import N_REPETITIONS, SEED, bootstrap_means
from dismaiflow.metrics.comparison import pivotal_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

#: Motifs from the bottom to the top of the paper's figures.
FIGURE_ORDER = (
    "cuboctahedral CN_12",
    "hexagonal bipyramidal CN_8",
    "body-centered cubic CN_8",
    "pentagonal bipyramidal CN_7",
    "hexagonal pyramidal CN_7",
    "pentagonal pyramidal CN_6",
    "octahedral CN_6",
    "hexagonal planar CN_6",
    "trigonal bipyramidal CN_5",
    "square pyramidal CN_5",
    "pentagonal planar CN_5",
    "trigonal pyramidal CN_4",
    "see-saw-like CN_4",
    "rectangular see-saw-like CN_4",
    "tetrahedral CN_4",
    "square co-planar CN_4",
    "T-shaped CN_3",
    "trigonal non-coplanar CN_3",
    "trigonal planar CN_3",
    "linear CN_2",
    "bent 150 degrees CN_2",
    "bent 120 degrees CN_2",
    "water-like CN_2",
    "L-shaped CN_2",
    "sgl_bd CN_1",
)


@dataclass(frozen=True, eq=False)
class LabelledSites:
    """Sites of many structures, with their most likely motif.

    Parameters
    ----------
    motif : array-like of int, shape (n_sites,)
        Motif of each site, an index into the names; negative for none, which counts as a site.
    structure : array-like of int, shape (n_sites,)
        Structure of each site, from 0.
    n_structures : int
        Structures in all, those without sites included.
    counts : array-like of int, shape (n_sites, n_anions), optional
        Neighbours of each anion at the most likely coordination number.
    """

    motif: ArrayLike
    structure: ArrayLike
    n_structures: int
    counts: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class MotifDistribution:
    """Percentages of the sites, with 95 % pivotal intervals of the generated ones.

    Parameters
    ----------
    motifs : tuple of str
        The k motifs, in the order of the figures.
    reference, generated, low, high : ndarray, shape (k,)
        Percent of the sites that have each motif; bounds of the generated ones.
    reference_by_count, generated_by_count, low_by_count, high_by_count : ndarray, shape (k, c)
        The same for sites with 0 to c - 1 neighbours of the anion; without counts c is 0.
    """

    motifs: tuple[str, ...]
    reference: NDArray[np.float64]
    generated: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    reference_by_count: NDArray[np.float64]
    generated_by_count: NDArray[np.float64]
    low_by_count: NDArray[np.float64]
    high_by_count: NDArray[np.float64]


def motif_distribution(
    generated: LabelledSites,
    reference: LabelledSites,
    names: Sequence[str],
    anion: int = 0,
    threshold: float = 1.0,
    n_repetitions: int = N_REPETITIONS,
    seed: int = SEED,
) -> MotifDistribution:
    """Compare the most likely motifs of generated and reference structures.

    Parameters
    ----------
    generated, reference : LabelledSites
        Sites of one species, such as all scandium atoms of the interface region.
    names : sequence of str
        Name of each motif.
    anion : int
        Column of the counts that subdivides the motifs.
    threshold : float
        Least percentage in the reference of a motif that is kept.
    n_repetitions, seed : int
        Of the bootstrap; those of the published scripts by default.

    Raises
    ------
    DismaiError
        If one side has no sites, or an array does not fit the others.
    """
    sides = [_Tables.of(side, len(names), anion) for side in (generated, reference)]
    # Without counts on one side there is nothing to compare those of the other with.
    n_counts = 0 if any(s.count is None for s in sides) else max(s.n_counts for s in sides)
    made, known = (side.per_structure(n_counts) for side in sides)
    n_motifs = len(names)
    percent = _percent(known.sum(axis=0))
    kept = np.array(
        [code for code in _in_figure_order(names) if percent[code] >= threshold], dtype=np.int64
    )
    # The columns: one per motif, then one per motif and count of the anion.
    subdivided = n_motifs + (kept[:, None] * n_counts + np.arange(n_counts)).ravel()
    columns = np.concatenate([kept, subdivided])
    value = _percent(made.sum(axis=0))[columns]
    wanted = made[:, np.concatenate([columns, [-1]])]
    low, high = pivotal_bounds(value, _percent(bootstrap_means(wanted, n_repetitions, seed)))
    k = len(kept)
    by_motif = [part[:k] for part in (percent[columns], value, low, high)]
    by_count = [part[k:].reshape(k, n_counts) for part in (percent[columns], value, low, high)]
    return MotifDistribution(tuple(names[code] for code in kept), *by_motif, *by_count)


@dataclass(frozen=True, eq=False)
class _Tables:
    """Checked arrays of one side."""

    motif: NDArray[np.int64]
    structure: NDArray[np.int64]
    count: NDArray[np.int64] | None
    n_structures: int
    n_motifs: int

    @classmethod
    def of(cls, sites: LabelledSites, n_motifs: int, anion: int) -> _Tables:
        motif = np.asarray(sites.motif, dtype=np.int64)
        structure = np.asarray(sites.structure, dtype=np.int64)
        if len(motif) == 0:
            raise DismaiError("a distribution of motifs needs sites")
        if len(structure) != len(motif) or structure.max() >= sites.n_structures:
            raise DismaiError(
                f"{len(motif)} motifs, {len(structure)} structure indices and "
                f"{sites.n_structures} structures do not belong together"
            )
        if motif.max() >= n_motifs:
            raise DismaiError(f"motif {motif.max()} has no name: only {n_motifs} have")
        count = None
        if sites.counts is not None:
            table = np.asarray(sites.counts, dtype=np.int64)
            if table.ndim != 2 or len(table) != len(motif) or not 0 <= anion < table.shape[1]:
                raise DismaiError(
                    f"counts of shape {table.shape} have no column {anion} for {len(motif)} sites"
                )
            count = table[:, anion]
        return cls(motif, structure, count, sites.n_structures, n_motifs)

    @property
    def n_counts(self) -> int:
        """How many different numbers of anions may occur."""
        return 0 if self.count is None else int(self.count.max()) + 1

    def per_structure(self, n_counts: int) -> NDArray[np.float64]:
        """Count the sites of each structure.

        The columns are the motifs, then each motif by number of anions, then all sites.
        """
        n_columns = self.n_motifs * (1 + n_counts) + 1
        cells = [self.structure * n_columns + n_columns - 1]
        known = self.motif >= 0
        begin, motif = self.structure[known] * n_columns, self.motif[known]
        cells.append(begin + motif)
        if self.count is not None and n_counts > 0:
            cells.append(begin + self.n_motifs + motif * n_counts + self.count[known])
        flat = np.bincount(np.concatenate(cells), minlength=self.n_structures * n_columns)
        return flat.reshape(self.n_structures, n_columns).astype(float)


def _percent(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by the last column, the number of sites; it is dropped."""
    share: NDArray[np.float64] = counts[..., :-1] / counts[..., -1:]
    return share * 100


def _in_figure_order(names: Sequence[str]) -> list[int]:
    """Return the codes in the order of the figures; unknown motifs come last, as with pandas."""
    place = {name: index for index, name in enumerate(FIGURE_ORDER)}
    return sorted(range(len(names)), key=lambda code: place.get(names[code], len(place)))
