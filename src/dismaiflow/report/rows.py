"""Scores, controls and published values as rows of one kind, which tables and plots share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dismaiflow.report.words import FLOOR_CONTROL, NOTHING, metric_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dismaiflow.benchmark.published import PublishedComparison
    from dismaiflow.benchmark.schemas import ControlsDoc, Metric, ScoreDoc

Group = Literal["score", "run", "control", "published"]

#: The metric by which rows are ranked, the first that a system has.
_PRIMARY = ("d_cluster", "d_all", "d_motif")


@dataclass(frozen=True)
class Value:
    """One value with its interval.

    Parameters
    ----------
    value : float or None
        The value.
    low, high : float or None
        Ends of the interval.
    is_confidence : bool
        Whether that is a 95 % confidence interval, or the minimum and maximum over models.
    reason : str or None
        Why there is no value, or what is missing in it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    is_confidence: bool = False
    reason: str | None = None

    @classmethod
    def from_metric(cls, metric: Metric) -> Value:
        """Take a metric of a score."""
        if metric.ci95 is not None:
            return cls(metric.value, *metric.ci95, is_confidence=True, reason=metric.reason)
        return cls(metric.value, metric.min, metric.max, reason=metric.reason)

    def interval_text(self, metric: str) -> str:
        """Print the interval: [low, high] of confidence, (min, max) of models, or nothing."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        ends = f"{metric_text(metric, self.low)}, {metric_text(metric, self.high)}"
        return f"[{ends}]" if self.is_confidence else f"({ends})"

    def text(self, metric: str) -> str:
        """Print value and interval."""
        return f"{metric_text(metric, self.value)} {self.interval_text(metric)}".rstrip()


@dataclass(frozen=True)
class Row:
    """Values of one model, control or file.

    Parameters
    ----------
    name : str
        Its name.
    group : {"score", "run", "control", "published"}
        What it is.
    values : dict of str to Value
        By metric.
    """

    name: str
    group: Group
    values: dict[str, Value] = field(default_factory=dict)

    def get(self, metric: str) -> Value:
        """Return the value of a metric, an empty one if the row has none."""
        return self.values.get(metric, Value(None))


def primary_metric(metrics: Iterable[str]) -> str | None:
    """Return the metric by which rows are ranked."""
    known = list(metrics)
    return next((name for name in _PRIMARY if name in known), known[0] if known else None)


def distance_metrics(metrics: Iterable[str]) -> list[str]:
    """Return the metrics that are distances, which are drawn."""
    return [name for name in metrics if name.startswith("d_")]


def score_row(score: ScoreDoc) -> Row:
    """Return the new score."""
    values = {name: Value.from_metric(metric) for name, metric in score.metrics.items()}
    return Row(score.provenance.model, "score", values)


def run_rows(score: ScoreDoc) -> list[Row]:
    """Return the files of a score that has several; none for a single one."""
    if len(score.per_run) < 2:
        return []
    return [
        Row(
            str(run.get("file", number)),
            "run",
            {name: _plain_value(entry) for name, entry in run.get("metrics", {}).items()},
        )
        for number, run in enumerate(score.per_run)
    ]


def control_rows(scores: Mapping[str, Mapping[str, float | None]]) -> list[Row]:
    """Return the controls, the floor first and then by their distance."""
    rows = [
        Row(name, "control", {key: Value(value) for key, value in values.items()})
        for name, values in scores.items()
    ]
    metrics = {key for row in rows for key in row.values}
    primary = primary_metric(sorted(metrics))
    floor = [row for row in rows if row.name == FLOOR_CONTROL]
    others = [row for row in rows if row.name != FLOOR_CONTROL]
    return floor + by_value(others, primary)


def published_rows(published: PublishedComparison) -> list[Row]:
    """Return the rows of the paper's table."""
    return [
        Row(
            row.model,
            "published",
            {
                name: Value(numbers["value"], numbers.get("min"), numbers.get("max"))
                for name, numbers in row.metrics.items()
            },
        )
        for row in published.rows
    ]


def ranked_rows(score: ScoreDoc) -> list[Row]:
    """Return the new score, among the published rows where it is comparable, the best first."""
    own = score_row(score)
    if not score.published.comparable:
        return [own]
    return by_value([own, *published_rows(score.published)], primary_metric(score.metrics))


def by_value(rows: list[Row], metric: str | None) -> list[Row]:
    """Sort rows by a metric, those without a value last."""

    def key(row: Row) -> tuple[bool, float]:
        value = row.get(metric).value if metric else None
        return value is None, value or 0.0

    return sorted(rows, key=key)


def published_heading(published: PublishedComparison, beside: str = "") -> str:
    """Head the published block; what cannot be compared says why."""
    if published.comparable:
        return f"published{beside}"
    return f"published{beside} (not comparable: {published.why_not or NOTHING})"


def controls_comparison(document: ControlsDoc) -> PublishedComparison:
    """Return the published rows beside the controls of one protocol."""
    from dismaiflow.benchmark.published import compare_with_published

    return compare_with_published(
        document.system, document.reference_hash, document.protocol.name, document.potential
    )


def control_metrics(document: ControlsDoc, published: PublishedComparison) -> list[str]:
    """Return the paper's metrics among the values of controls, in the paper's order."""
    if published.rows:
        return list(published.rows[0].metrics)
    names = {name for values in document.scores.values() for name in values}
    return sorted(name for name in names if name.startswith(("d_", "percent_")))


def _plain_value(entry: dict[str, Any]) -> Value:
    """Take a metric of ``per_run``, which is a plain dict."""
    interval = entry.get("ci95")
    low, high = interval if interval else (None, None)
    return Value(
        entry.get("value"), low, high, is_confidence=bool(interval), reason=entry.get("reason")
    )
