"""From cluster counts to the score of an alloy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts, AlloyFeatures
from dismaiflow.benchmark.schemas import MAX_LISTED_FAILURES, Failure, Histogram, Metric
from dismaiflow.metrics.bootstrap import mean_interval
from dismaiflow.metrics.distances import mean_wasserstein, spread_ratio
from dismaiflow.metrics.memorisation import count_distinct, nearest_distances
from dismaiflow.metrics.order import order_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Names of the alloy metrics, in the paper's order (Table 3).
METRICS = ("d_cluster", "percent_with_vacancies", "percent_failed")

#: Structures whose nearest training structure is searched, spread evenly over the set.
MAX_SEARCHED = 200

_HISTOGRAM_BINS = 40
_NOTHING_SCORED = "no structure could be scored"


@dataclass(frozen=True)
class RunScore:
    """The score of one generated file.

    Parameters
    ----------
    n_generated : int
        Structures in the file, readable or not.
    metrics : dict of str to Metric
        The paper's metrics.
    distribution : dict of str to float or None
        Comparisons of whole distributions.
    failed : list of Failure
        Structures not scored.
    """

    n_generated: int
    metrics: dict[str, Metric]
    distribution: dict[str, float | None]
    failed: list[Failure]

    @property
    def n_scored(self) -> int:
        """Structures scored."""
        return self.n_generated - len(self.failed)

    def summary(self, name: str) -> dict[str, Any]:
        """Return what ``per_run`` of a score says."""
        return {
            "file": name,
            "n_generated": self.n_generated,
            "n_scored": self.n_scored,
            "failures": count_reasons(self.failed),
            "metrics": {key: metric.model_dump() for key, metric in self.metrics.items()},
            "distribution": self.distribution,
        }


class AlloyScorer:
    """Compares generated structures with a reference, both counted.

    Parameters
    ----------
    analyser : AlloyAnalyser
        System and protocol.
    reference : AlloyCounts
        Counts of the reference set.
    """

    def __init__(self, analyser: AlloyAnalyser, reference: AlloyCounts) -> None:
        self._analyser = analyser
        self.reference = reference
        self.reference_features = analyser.features(reference)

    def score_run(
        self, counts: AlloyCounts, n_generated: int, failed: Sequence[Failure]
    ) -> RunScore:
        """Score one generated file.

        Parameters
        ----------
        counts : AlloyCounts
            Counts of its accepted structures.
        n_generated : int
            Structures in the file.
        failed : sequence of Failure
            All that were not accepted.
        """
        features = self._analyser.features(counts)
        metrics = {
            "d_cluster": self._distance(features),
            "percent_with_vacancies": _percent_with_vacancies(counts),
            "percent_failed": _percent_failed(len(failed), n_generated),
        }
        return RunScore(n_generated, metrics, self._distribution(counts, features), list(failed))

    def histograms(self, counts: AlloyCounts) -> dict[str, Histogram]:
        """Return the distributions of order parameters and energies on both sides."""
        ours, theirs = self._analyser.features(counts), self.reference_features
        # A cluster expansion may have one shell only.
        labels = order_labels(self._analyser.system.species, 2)[: ours.order.shape[1]]
        columns = {
            label: (ours.order[:, i], theirs.order[:, i], "") for i, label in enumerate(labels)
        }
        columns["formation_energy"] = (1e3 * ours.energies, 1e3 * theirs.energies, "meV/atom")
        found = {name: _histogram(*column) for name, column in columns.items()}
        return {name: histogram for name, histogram in found.items() if histogram is not None}

    def _distance(self, features: AlloyFeatures) -> Metric:
        """Distance of the mean fingerprints, with its bootstrap interval."""
        if len(features.fingerprints) == 0:
            return Metric(value=None, reason=_NOTHING_SCORED)
        target = self.reference_features.fingerprints.mean(axis=0)
        value, interval = mean_interval(
            features.fingerprints, lambda means: np.linalg.norm(means - target, axis=1)
        )
        return Metric(value=value, ci95=interval)

    def _distribution(
        self, counts: AlloyCounts, features: AlloyFeatures
    ) -> dict[str, float | None]:
        theirs = self.reference_features
        on_lattice = counts.occupations[counts.occupations[:, 0] > -2]
        nearest = self._nearest(on_lattice)
        lattice = self._analyser.system.lattice
        return {
            "w1_sro": mean_wasserstein(features.order, theirs.order),
            "w1_energy": mean_wasserstein(features.energies[:, None], theirs.energies[:, None]),
            "spread_ratio": spread_ratio(features.fingerprints, theirs.fingerprints),
            "unique_fraction": (
                count_distinct(on_lattice, lattice) / len(on_lattice) if len(on_lattice) else None
            ),
            "nearest_training_median": float(np.median(nearest)) if len(nearest) else None,
            "nearest_training_min": float(nearest.min()) if len(nearest) else None,
        }

    def _nearest(self, occupations: NDArray[np.int8]) -> NDArray[np.float64]:
        """Distances to the nearest reference structure, for a share of the set."""
        known = self.reference.occupations
        known = known[known[:, 0] > -2]
        if len(occupations) == 0 or len(known) == 0:
            return np.empty(0)
        chosen = np.linspace(0, len(occupations) - 1, min(len(occupations), MAX_SEARCHED))
        return nearest_distances(
            occupations[np.rint(chosen).astype(int)], known, self._analyser.system.lattice
        )


def combine_runs(runs: Sequence[RunScore]) -> dict[str, Metric]:
    """Average the metrics of separately trained models, with minimum and maximum.

    One run keeps its confidence intervals; for several they are null.
    """
    if len(runs) == 1:
        return runs[0].metrics
    combined = {}
    for name in METRICS:
        values = [run.metrics[name].value for run in runs]
        found = [value for value in values if value is not None]
        if not found:
            combined[name] = Metric(value=None, reason=_NOTHING_SCORED)
            continue
        reason = None
        if len(found) < len(values):
            reason = f"{len(values) - len(found)} of {len(values)} files have no such value"
        combined[name] = Metric(
            value=float(np.mean(found)), min=min(found), max=max(found), reason=reason
        )
    return combined


def combine_distributions(runs: Sequence[RunScore]) -> dict[str, float | None]:
    """Average the distribution measures of several runs."""
    combined: dict[str, float | None] = {}
    for name in runs[0].distribution:
        found = [v for run in runs if (v := run.distribution[name]) is not None]
        combined[name] = float(np.mean(found)) if found else None
    return combined


def explain_missing(distribution: Mapping[str, float | None], n_scored: int) -> dict[str, str]:
    """Say why comparisons of distributions are null."""
    reason = "no atoms are put on the sites of the cell by this alignment or for these structures"
    if n_scored == 0:
        reason = _NOTHING_SCORED
    return {name: reason for name, value in distribution.items() if value is None}


def count_reasons(failed: Sequence[Failure]) -> dict[str, int]:
    """Count failures by reason, the most frequent first."""
    return dict(Counter(failure.reason for failure in failed).most_common())


def listed(failed: Sequence[Failure]) -> list[Failure]:
    """Return the failures that a document lists one by one."""
    return list(failed[:MAX_LISTED_FAILURES])


def example(structures: StructureSet, index: int) -> dict[str, Any]:
    """Return one structure as a small dictionary for a viewer."""
    part = structures.slice_of(index)
    return {
        "symbols": [chemical_symbols[z] for z in structures.numbers[part]],
        "positions": structures.positions[part].round(3).tolist(),
        "cell": structures.cells[index].round(4).tolist(),
    }


def _percent_failed(n_failed: int, n_generated: int) -> Metric:
    """Share of the generated structures that were not scored."""
    if n_generated == 0:
        return Metric(value=None, reason="no structures were generated")
    return Metric(value=100.0 * n_failed / n_generated)


def _percent_with_vacancies(counts: AlloyCounts) -> Metric:
    """Share of the accepted structures with vacancies."""
    if len(counts) == 0:
        return Metric(value=None, reason=_NOTHING_SCORED)
    vacant = (counts.n_vacancies > 0).astype(float)[:, None]
    value, interval = mean_interval(vacant, lambda means: 100 * means[:, 0])
    return Metric(value=value, ci95=interval)


def _histogram(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], unit: str
) -> Histogram | None:
    """Bin both sides on common edges; None if a side is empty."""
    ours, theirs = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
    if len(ours) == 0 or len(theirs) == 0:
        return None
    both = np.concatenate([ours, theirs])
    low, high = float(both.min()), float(both.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    return Histogram(
        unit=unit,
        edges=edges.round(6).tolist(),
        generated=(np.histogram(ours, edges)[0] / len(ours)).round(6).tolist(),
        reference=(np.histogram(theirs, edges)[0] / len(theirs)).round(6).tolist(),
    )
