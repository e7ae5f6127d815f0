"""Compare the regions of interfaces with those of the training structures (paper, section 2.5).

Fingerprints are averaged over the cations of one element in the region of a structure, then over
structures; Euclidean distance and cosine similarity are those of the means (section 4.3.1, Tables 4
and S7). Intervals are 95 % pivotal ones of a bootstrap over the structures of a set, the training
mean held fixed (section 4.4). A. X. B. Yong, T. Su, E. Ertekin, DOI 10.1039/d4dd00100a.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.benchmark.region_analysis import RDF_WIDTH, RegionPlan
from dismaiflow.benchmark.region_energies import choose, energy_cut, energy_distribution, rate_sets
from dismaiflow.benchmark.region_schemas import (
    TRAINING,
    Band,
    Estimate,
    RegionBonds,
    RegionCurve,
    RegionEvaluationDoc,
    RegionMotif,
    RegionSet,
    Similarity,
)
from dismaiflow.benchmark.schemas import Metric
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.bonds import mean_bond_counts
from dismaiflow.metrics.comparison import cosine_similarity, mean_band, mean_distance
from dismaiflow.metrics.motif_distribution import LabelledSites, motif_distribution
from dismaiflow.metrics.motifs import MOTIF_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.benchmark.region_schemas import SetQuestion
    from dismaiflow.benchmark.structure_features import StructureFeatures
    from dismaiflow.metrics.motif_distribution import MotifDistribution
    from dismaiflow.potentials.base import PotentialCard
    from dismaiflow.systems import SystemSpec

    #: Features of each set by its name, the training set among them.
    Sets = Mapping[str, StructureFeatures]

#: "Motifs that appeared in > 1 % of the interface atoms in the training structures".
_THRESHOLD = float(np.nextafter(1.0, 2.0))

_DIGITS = 6

#: Reason of structures that are gone from the store.
LOST = "lost"

NO_ATOMS = "no structure has such atoms in its region"


def evaluate_regions(
    spec: SystemSpec,
    read: Mapping[str, StructureFeatures],
    asked: Mapping[str, SetQuestion],
    sources: Mapping[str, tuple[str, int]],
    card: PotentialCard | None = None,
) -> RegionEvaluationDoc:
    """Choose structures by their energy and compare their regions.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    read : dict of str to StructureFeatures
        Features of each set, the training set among them; energies as `rate_sets` wants them.
    asked : dict of str to SetQuestion
        What is asked of each set.
    sources : dict of str to (str, int)
        Content hash and number of structures of each set.
    card : PotentialCard, optional
        What computed the energies.

    Raises
    ------
    DismaiError
        If no training structure can be analysed, or energies are needed and not known.
    """
    plan = RegionPlan.from_spec(spec)
    training = read[TRAINING]
    if len(training) == 0:
        raise DismaiError(
            f"no training structure has a region that can be evaluated{_first(training, ': ')}"
        )
    cut = energy_cut(spec)
    rated = rate_sets(spec, read, card)
    chosen = {
        name: features.select(choose(rated, name, features, asked[name].choice, cut))
        for name, features in read.items()
    }
    energies = energy_distribution(rated, cut)
    missing = {} if energies else {"energies": "no energies are known: give --potential P"}
    for name, features in chosen.items():
        if len(features) == 0:
            missing[name] = "no structure of this set is left"
    return RegionEvaluationDoc(
        system=spec.name,
        centres=list(plan.centres),
        anions=list(plan.anions),
        sets={
            name: _summary(plan, asked[name], sources[name], read[name], features)
            for name, features in chosen.items()
        },
        fingerprints=compare_fingerprints(plan, chosen),
        motifs=compare_motifs(plan, chosen),
        bonds=count_bonds(plan, chosen),
        curves=compare_curves(plan, chosen),
        energies=energies,
        potential=card,
        missing=missing,
    )


def compare_fingerprints(plan: RegionPlan, sets: Sets) -> dict[str, dict[str, Similarity]]:
    """Return how far the mean fingerprints are from those of the training set (Tables 4, S7).

    Parameters
    ----------
    plan : RegionPlan
        What was looked at.
    sets : dict of str to StructureFeatures
        By name; structures without such atoms in the region do not count.

    Returns
    -------
    dict of str to dict of str to Similarity
        By cation and set.
    """
    found: dict[str, dict[str, Similarity]] = {}
    for symbol in plan.centres:
        known = _finite(sets[TRAINING], f"mean:{symbol}")
        found[symbol] = {
            name: _similarity(_finite(features, f"mean:{symbol}"), known)
            for name, features in sets.items()
            if name != TRAINING
        }
    return found


def compare_motifs(plan: RegionPlan, sets: Sets) -> dict[str, list[RegionMotif]]:
    """Return how often each motif is the most likely one, by cation (Figs. 9, S18, S33).

    Parameters as for `compare_fingerprints`. Cations without any region atoms in the training set
    are left out.
    """
    found = {}
    for symbol in plan.centres:
        sites = {name: _sites(features, symbol) for name, features in sets.items()}
        sites = {name: one for name, one in sites.items() if np.size(one.motif)}
        if TRAINING in sites:
            found[symbol] = _motif_rows(plan.anions, sites)
    return found


def count_bonds(plan: RegionPlan, sets: Sets) -> list[RegionBonds]:
    """Return how many neighbours of each anion the cations have (Fig. S19).

    Parameters as for `compare_fingerprints`. A structure counts once, however many atoms its
    region holds.
    """
    found = []
    for symbol in plan.centres:
        means = {}
        for name, features in sets.items():
            rows = _bonds_per_structure(features, symbol)
            means[name] = rows[np.isfinite(rows).all(axis=1)]
        for column, anion in enumerate(plan.anions):
            counts = {
                name: mean_estimate(rows[:, column]) for name, rows in means.items() if len(rows)
            }
            found.append(RegionBonds(centre=symbol, neighbour=anion, count=counts))
    return found


def compare_curves(plan: RegionPlan, sets: Sets) -> list[RegionCurve]:
    """Return g(r) around the cations in the region, of each pair that a set has (Fig. S34).

    Parameters as for `compare_fingerprints`.
    """
    found = []
    for centre, neighbour in plan.pairs:
        rows = {name: _finite(one, f"pair:{centre}-{neighbour}") for name, one in sets.items()}
        bands = {name: _band(values) for name, values in rows.items() if len(values)}
        if bands:
            n = len(next(iter(bands.values())).mean)
            r = (np.arange(n, dtype=float) + 0.5) * RDF_WIDTH
            found.append(RegionCurve(centre=centre, neighbour=neighbour, r=_rounded(r), sets=bands))
    return found


def count_atoms(plan: RegionPlan, features: StructureFeatures) -> dict[str, Estimate]:
    """Return how many cations the regions of a set hold."""
    if len(features) == 0:
        return {}
    return {
        symbol: mean_estimate(features.arrays[f"region:{symbol}"].sum(axis=1))
        for symbol in plan.centres
    }


def mean_estimate(values: NDArray[np.generic]) -> Estimate:
    """Average one number per structure.

    Parameters
    ----------
    values : ndarray, shape (n_structures,)
        At least one.
    """
    band = mean_band(np.asarray(values, dtype=float)[:, None])
    return _estimate(band.mean[0], band.low[0], band.high[0], len(values))


def _summary(
    plan: RegionPlan,
    asked: SetQuestion,
    source: tuple[str, int],
    read: StructureFeatures,
    chosen: StructureFeatures,
) -> RegionSet:
    """Say what became of the structures of a set."""
    content, n = source
    failures = Counter(bad.reason for bad in read.bad) + Counter(asked.unreadable)
    # One message stands for all structures of a chunk.
    gone = n - len(read) - sum(bad.reason != LOST for bad in read.bad)
    if gone > 0:
        failures[LOST] = gone
    return RegionSet(
        name=asked.name,
        content_hash=content,
        choice=asked.choice,
        n_structures=n + sum(asked.unreadable.values()),
        n_evaluated=len(chosen),
        n_other_energy=len(read) - len(chosen),
        failures=dict(failures),
        example=_first(read),
        atoms=count_atoms(plan, chosen),
        lost=float(chosen.arrays["lost"].mean()) if len(chosen) else None,
    )


def _first(read: StructureFeatures, before: str = "") -> str:
    """Quote the first structure that could not be analysed; nothing without one."""
    if not read.bad:
        return ""
    bad = read.bad[0]
    return f"{before}structure {bad.index}: {bad.detail}" if bad.index >= 0 else before + bad.detail


def _estimate(value: float, low: float, high: float, n: int) -> Estimate:
    """Leave out an interval that would say that a single structure is certain."""
    if n < 2 or not (np.isfinite(low) and np.isfinite(high)):
        return Estimate(value=float(value))
    return Estimate(value=float(value), low=float(low), high=float(high))


def _finite(features: StructureFeatures, name: str) -> NDArray[np.float64]:
    """Return the rows of a feature, shape (n, k), without those of structures that lack it."""
    if len(features) == 0:
        return np.empty((0, 0))
    rows = np.asarray(features.arrays[name], dtype=float)
    return rows[np.isfinite(rows).all(axis=1)]


def _similarity(ours: NDArray[np.float64], known: NDArray[np.float64]) -> Similarity:
    if len(ours) == 0 or len(known) == 0:
        nothing = Metric(value=None, reason=NO_ATOMS)
        return Similarity(distance=nothing, cosine=nothing)
    target = known.mean(axis=0)
    return Similarity(
        distance=_metric(*mean_distance(ours, target), len(ours)),
        cosine=_metric(*cosine_similarity(ours, target), len(ours)),
    )


def _metric(value: float, interval: tuple[float, float], n: int) -> Metric:
    if not np.isfinite(value):
        return Metric(value=None, reason="a mean fingerprint is zero")
    if n < 2:
        return Metric(value=value, reason="one structure has no interval")
    return Metric(value=value, ci95=interval)


def _sites(features: StructureFeatures, symbol: str) -> LabelledSites:
    """Return the atoms in the regions of a set."""
    if len(features) == 0:
        return LabelledSites(np.empty(0, int), np.empty(0, int), 0, np.empty((0, 0)))
    inside = features.arrays[f"region:{symbol}"]
    owner = np.nonzero(inside)[0]
    codes = features.arrays[f"codes:{symbol}"][inside]
    return LabelledSites(codes, owner, len(features), features.arrays[f"counts:{symbol}"][inside])


def _bonds_per_structure(features: StructureFeatures, symbol: str) -> NDArray[np.float64]:
    sites = _sites(features, symbol)
    return mean_bond_counts(np.asarray(sites.counts), sites.structure, sites.n_structures)


def _motif_rows(anions: tuple[str, ...], sites: Mapping[str, LabelledSites]) -> list[RegionMotif]:
    """Return the motifs of the training set, with the shares of all sets."""
    training = sites[TRAINING]
    rows: list[RegionMotif] = []
    for column, anion in enumerate(anions):
        for name, one in sites.items():
            # The training set compared with itself has its own intervals.
            table = motif_distribution(
                one, training, MOTIF_NAMES, anion=column, threshold=_THRESHOLD
            )
            if not rows:
                rows = [RegionMotif(motif=motif, share={}) for motif in table.motifs]
            for i, row in enumerate(rows):
                row.share[name] = _estimate(
                    table.generated[i], table.low[i], table.high[i], one.n_structures
                )
                row.by_count.setdefault(anion, {})[name] = _counted(table, i, one.n_structures)
    return rows


def _counted(table: MotifDistribution, i: int, n: int) -> list[Estimate]:
    """Return the shares by number of anions, up to as many as a motif of the figure can have."""
    value, low, high = table.generated_by_count[i], table.low_by_count[i], table.high_by_count[i]
    used = np.flatnonzero((value > 0) | (table.reference_by_count[i] > 0))
    most = int(used.max()) + 1 if len(used) else 0
    return [_estimate(value[k], low[k], high[k], n) for k in range(most)]


def _band(values: NDArray[np.float64]) -> Band:
    band = mean_band(values)
    if len(values) < 2:
        return Band(mean=_rounded(band.mean))
    return Band(mean=_rounded(band.mean), low=_rounded(band.low), high=_rounded(band.high))


def _rounded(values: NDArray[np.floating[Any]]) -> list[float]:
    """Return numbers for a document, short enough for it to stay small."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]
