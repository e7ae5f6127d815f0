"""From the features of structures with free atoms to their score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.benchmark.runs import NOTHING_SCORED, RunScore, binned, percent_failed
from dismaiflow.benchmark.schemas import Histogram, Metric
from dismaiflow.metrics.comparison import cosine_similarity, mean_distance, weighted_means
from dismaiflow.metrics.distances import mean_wasserstein, spread_ratio
from dismaiflow.metrics.pair_profiles import (
    count_distinct_profiles,
    nearest_profile_distances,
    profile_scale,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.benchmark.schemas import Failure
    from dismaiflow.benchmark.structure_analysis import AnalysisPlan
    from dismaiflow.benchmark.structure_features import StructureFeatures

#: Structures whose nearest training structure is searched, spread evenly over the set.
MAX_SEARCHED = 200

#: Nearer than this, in units of the typical distance within the reference, two structures are one.
SAME_STRUCTURE = 0.05

#: Metrics over all sites whose motifs are looked at, in interfaces and amorphous systems.
ALL_SITES = ("d_all", "d_motif")

#: Features behind the metrics of distributions.
CURVES = {"d_rdf": "rdf", "d_angle": "angle"}

_NO_SPREAD = "the structures of the reference do not differ"
_NO_ENERGY = "not all energies are known: score with --potential"


class StructureScorer:
    """Compares generated structures with a reference, both analysed.

    Parameters
    ----------
    plan : AnalysisPlan
        What was computed.
    metrics : sequence of str
        Names of the metrics of the system.
    composition : dict of str to int
        Atoms of each element in a structure; the counts weight the motifs of all sites.
    reference : StructureFeatures
        Features of the reference.
    reference_energies : dict of int to float
        Energy of reference structures by their place, eV per atom.
    """

    def __init__(
        self,
        plan: AnalysisPlan,
        metrics: Sequence[str],
        composition: Mapping[str, int],
        reference: StructureFeatures,
        reference_energies: Mapping[int, float] | None = None,
    ) -> None:
        self.plan = plan
        self.metrics = tuple(metrics)
        self._counts = {symbol: composition[symbol] for symbol in plan.centres}
        self._by_name = {f"d_{symbol.lower()}": symbol for symbol in plan.centres}
        self.reference = reference
        self.reference_energies = dict(reference_energies or {})

    def score_run(
        self,
        features: StructureFeatures,
        n_generated: int,
        failed: Sequence[Failure],
        energies: Mapping[int, float] | None = None,
    ) -> RunScore:
        """Score one generated file.

        Parameters
        ----------
        features : StructureFeatures
            Of its structures that could be analysed.
        n_generated : int
            Structures in the file.
        failed : sequence of Failure
            All the others.
        energies : dict of int to float
            Energy of structures by their place, eV per atom.
        """
        metrics, similarity = {}, {}
        for name in self.metrics:
            if name == "percent_failed":
                metrics[name] = percent_failed(len(failed), n_generated)
                continue
            ours, theirs = self.vectors(features, name), self.vectors(self.reference, name)
            metrics[name] = _distance(ours, theirs)
            if name not in CURVES:
                similarity[name.replace("d_", "cos_", 1)] = _similarity(ours, theirs)
        return RunScore(
            n_generated,
            metrics,
            self._distribution(features, energies or {}),
            list(failed),
            similarity,
        )

    def vectors(self, features: StructureFeatures, metric: str) -> NDArray[np.float64]:
        """Return what a metric compares: one vector per structure, shape (n, k)."""
        if metric in CURVES:
            return _rows(features, CURVES[metric])
        if metric in ALL_SITES:
            return self._all_sites(features)
        return _rows(features, f"motif:{self._by_name[metric]}")

    def _all_sites(self, features: StructureFeatures) -> NDArray[np.float64]:
        """Mean fingerprint of all sites of each structure (paper, section 4.3)."""
        means = {symbol: _rows(features, f"motif:{symbol}") for symbol in self.plan.centres}
        return weighted_means(means, self._counts)

    def histograms(self, energies: Sequence[float]) -> dict[str, Histogram]:
        """Return the energy distributions of both sides, eV/atom; nothing if one is unknown."""
        theirs = np.array(list(self.reference_energies.values()), dtype=float)
        found = binned(np.array(energies, dtype=float), theirs, "eV/atom")
        return {} if found is None else {"energy": found}

    def _distribution(
        self, features: StructureFeatures, energies: Mapping[int, float]
    ) -> dict[str, float | None]:
        ours, theirs = self._all_sites(features), self._all_sites(self.reference)
        known = np.array([energies.get(int(i), np.nan) for i in features.indices])
        other = np.array(list(self.reference_energies.values()), dtype=float)
        profiles = _rows(features, "profile").astype(np.float32)
        nearest = self._nearest(profiles)
        distinct = None
        if len(profiles):
            distinct = count_distinct_profiles(profiles, SAME_STRUCTURE, self._typical())
        return {
            "w1_motif": mean_wasserstein(ours, theirs) if len(ours) else None,
            "w1_energy": mean_wasserstein(known[:, None], other[:, None]),
            "spread_ratio": spread_ratio(ours, theirs),
            "unique_fraction": None if distinct is None else distinct / len(profiles),
            "nearest_profile_median": float(np.median(nearest)) if len(nearest) else None,
            "nearest_profile_min": float(nearest.min()) if len(nearest) else None,
        }

    def _nearest(self, profiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances to the nearest reference structure, for a share of the set."""
        known = _rows(self.reference, "profile").astype(np.float32)
        if len(profiles) == 0 or len(known) < 2:
            return np.empty(0)
        chosen = np.linspace(0, len(profiles) - 1, min(len(profiles), MAX_SEARCHED))
        found = nearest_profile_distances(profiles[np.rint(chosen).astype(int)], known)
        return found[np.isfinite(found)]

    def _typical(self) -> float:
        """Median distance of reference structures from their nearest; 1 if there is none."""
        known = _rows(self.reference, "profile").astype(np.float32)
        return (profile_scale(known) if len(known) > 1 else None) or 1.0


def explain_missing(distribution: Mapping[str, float | None], n_scored: int) -> dict[str, str]:
    """Say why comparisons of distributions are null."""
    reasons = dict.fromkeys(distribution, _NO_SPREAD)
    reasons["w1_energy"] = _NO_ENERGY
    if n_scored == 0:
        reasons = dict.fromkeys(distribution, NOTHING_SCORED)
    return {name: reasons[name] for name, value in distribution.items() if value is None}


def _rows(features: StructureFeatures, name: str) -> NDArray[np.float64]:
    """Return a feature of all structures; an empty table where there are none."""
    if name not in features.arrays:
        return np.empty((0, 0))
    return np.asarray(features.arrays[name], dtype=float)


def _distance(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Metric:
    """Distance of the means, with its bootstrap interval."""
    if len(ours) == 0:
        return Metric(value=None, reason=NOTHING_SCORED)
    value, interval = mean_distance(ours, theirs.mean(axis=0))
    return _with_interval(value, interval, len(ours))


def _similarity(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Metric:
    """Cosine similarity of the means, with its bootstrap interval."""
    if len(ours) == 0:
        return Metric(value=None, reason=NOTHING_SCORED)
    value, interval = cosine_similarity(ours, theirs.mean(axis=0))
    if not np.isfinite(value):
        return Metric(value=None, reason="a mean fingerprint is zero")
    return _with_interval(value, interval, len(ours))


def _with_interval(value: float, interval: tuple[float, float], n: int) -> Metric:
    """Leave out the interval of a single structure, which would say that it is certain."""
    if n < 2:
        return Metric(value=value, reason="one structure has no interval")
    return Metric(value=value, ci95=interval)
