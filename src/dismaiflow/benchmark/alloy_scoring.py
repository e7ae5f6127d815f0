"""From cluster counts to the score of an alloy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts, AlloyFeatures
from dismaiflow.benchmark.runs import NOTHING_SCORED, RunScore, binned, percent_failed
from dismaiflow.benchmark.schemas import Failure, Histogram, Metric
from dismaiflow.metrics.bootstrap import mean_interval
from dismaiflow.metrics.distances import mean_wasserstein, spread_ratio
from dismaiflow.metrics.memorisation import count_distinct, nearest_distances
from dismaiflow.metrics.order import order_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


#: Names of the alloy metrics, in the paper's order (Table 3).
METRICS = ("d_cluster", "percent_with_vacancies", "percent_failed")

#: Structures whose nearest training structure is searched, spread evenly over the set.
MAX_SEARCHED = 200


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
            "percent_failed": percent_failed(len(failed), n_generated),
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
        found = {name: binned(*column) for name, column in columns.items()}
        return {name: histogram for name, histogram in found.items() if histogram is not None}

    def _distance(self, features: AlloyFeatures) -> Metric:
        """Distance of the mean fingerprints, with its bootstrap interval."""
        if len(features.fingerprints) == 0:
            return Metric(value=None, reason=NOTHING_SCORED)
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


def explain_missing(distribution: Mapping[str, float | None], n_scored: int) -> dict[str, str]:
    """Say why comparisons of distributions are null."""
    reason = "no atoms are put on the sites of the cell by this alignment or for these structures"
    if n_scored == 0:
        reason = NOTHING_SCORED
    return {name: reason for name, value in distribution.items() if value is None}


def _percent_with_vacancies(counts: AlloyCounts) -> Metric:
    """Share of the accepted structures with vacancies."""
    if len(counts) == 0:
        return Metric(value=None, reason=NOTHING_SCORED)
    vacant = (counts.n_vacancies > 0).astype(float)[:, None]
    value, interval = mean_interval(vacant, lambda means: 100 * means[:, 0])
    return Metric(value=value, ci95=interval)
