"""The score of one generated file, and of several: what is the same for every kind of system."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from dismaiflow.benchmark.schemas import MAX_LISTED_FAILURES, Failure, Histogram, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.structures.structure_set import StructureSet

#: Why a metric or a comparison has no value where no structure was scored.
NOTHING_SCORED = "no structure could be scored"

#: The control that is the floor: the reference drawn again.
FLOOR = "train-resample"

_HISTOGRAM_BINS = 40


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
    similarity : dict of str to Metric
        Cosine similarities of the mean fingerprints, where there are any.
    """

    n_generated: int
    metrics: dict[str, Metric]
    distribution: dict[str, float | None]
    failed: list[Failure]
    similarity: dict[str, Metric] = field(default_factory=dict)

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


def combine_runs(runs: Sequence[RunScore]) -> dict[str, Metric]:
    """Average the metrics of separately trained models, with minimum and maximum.

    One run keeps its confidence intervals; for several they are null.
    """
    return combine_metrics([run.metrics for run in runs])


def combine_metrics(runs: Sequence[dict[str, Metric]]) -> dict[str, Metric]:
    """Average metrics by their names, as `combine_runs` does."""
    if len(runs) == 1:
        return runs[0]
    combined = {}
    for name in runs[0]:
        values = [run[name].value for run in runs]
        found = [value for value in values if value is not None]
        if not found:
            combined[name] = Metric(value=None, reason=NOTHING_SCORED)
            continue
        reason = None
        if len(found) < len(values):
            reason = f"{len(values) - len(found)} of {len(values)} files have no such value"
        combined[name] = Metric(
            value=float(np.mean(found)), min=min(found), max=max(found), reason=reason
        )
    return combined


def common_fields(
    runs: Sequence[RunScore], names: Sequence[str], controls: ControlsDoc | None
) -> dict[str, Any]:
    """Return the fields of a `ScoreDoc` that are the same for every kind of system.

    Parameters
    ----------
    runs : sequence of RunScore
        The score of each generated file.
    names : sequence of str
        Names of the files.
    controls : ControlsDoc, optional
        Scores of the controls against the same reference.
    """
    failed = [failure for run in runs for failure in run.failed]
    scores = controls.scores if controls else {}
    return {
        "n_generated": sum(run.n_generated for run in runs),
        "n_scored": sum(run.n_scored for run in runs),
        "failures": count_reasons(failed),
        "failed": listed(failed),
        "metrics": combine_runs(runs),
        "distribution": combine_distributions(runs),
        "controls": scores,
        "floor": scores.get(FLOOR, {}),
        "floor_n": controls.n_sampled if controls else None,
        "per_run": [run.summary(name) for run, name in zip(runs, names, strict=True)],
    }


def combine_distributions(runs: Sequence[RunScore]) -> dict[str, float | None]:
    """Average the distribution measures of several runs."""
    combined: dict[str, float | None] = {}
    for name in runs[0].distribution:
        found = [v for run in runs if (v := run.distribution[name]) is not None]
        combined[name] = float(np.mean(found)) if found else None
    return combined


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


def percent_failed(n_failed: int, n_generated: int) -> Metric:
    """Share of the generated structures that were not scored."""
    if n_generated == 0:
        return Metric(value=None, reason="no structures were generated")
    return Metric(value=100.0 * n_failed / n_generated)


def binned(ours: NDArray[np.float64], theirs: NDArray[np.float64], unit: str) -> Histogram | None:
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
