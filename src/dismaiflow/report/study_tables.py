"""A study on the terminal: its rows beside the paper's and the controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from dismaiflow.benchmark.learning import LEARNING_RULE, NOT_SHOWN
from dismaiflow.report.grid import Block, draw
from dismaiflow.report.rows import Row, Value, control_rows, published_heading, published_rows
from dismaiflow.report.words import NOTHING, metric_label, metric_text, number, percent, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.campaigns.study_schemas import StudyDoc, StudyRow
    from dismaiflow.report.grid import Cell

#: Metrics that fit beside each other in 80 columns.
_ABREAST = 3

_CONTROL, _WARNING = "yellow", "bold red"

#: Seconds from which a time is given in minutes, and in hours.
_MINUTES, _HOURS = 120.0, 7200.0


def study_table(study: StudyDoc, scores: Mapping[str, ScoreDoc]) -> RenderableType:
    """Draw the rows of a study beside the published values and the controls.

    Parameters
    ----------
    study : StudyDoc
        The study.
    scores : mapping of str to ScoreDoc
        The scores behind its rows, by label.

    Returns
    -------
    renderable
        To be printed by a console of rich, at least 80 columns wide.
    """
    seeds = plural(len(study.seeds), "trained instance")
    title = f"{study.system}, {study.protocol}: {seeds}, {study.n} structures each"
    parts: list[RenderableType] = [Text(title, style="bold"), Text("")]
    first = leading_score(study, scores)
    metrics = list(dict.fromkeys(name for row in study.rows for name in row.metrics))
    for start in range(0, len(metrics), _ABREAST):
        shown = metrics[start : start + _ABREAST]
        parts.append(draw([metric_label(name) for name in shown], _blocks(study, first, shown)))
        parts.append(Text(""))
    legend = "mean (minimum, maximum) over the trained instances"
    parts += [Text(legend, style="dim"), Text(""), _trainings(study), Text("")]
    for row in study.rows:
        parts.append(_verdict(row))
    return Group(*parts)


def leading_score(study: StudyDoc, scores: Mapping[str, ScoreDoc]) -> ScoreDoc | None:
    """Return the score whose controls stand for all: one by the protocol of the study, if any."""
    own = (score for score in scores.values() if score.protocol.key == study.protocol)
    return next(own, next(iter(scores.values()), None))


def controls_heading(study: StudyDoc, score: ScoreDoc) -> str:
    """Head the controls of a score, with their alignment if the rows have several."""
    several = len({row.protocol for row in study.rows if row.protocol}) > 1
    return f"controls, {aligned(score.protocol.key)}" if several else "controls"


def _blocks(study: StudyDoc, score: ScoreDoc | None, metrics: Sequence[str]) -> list[Block]:
    own = [Row(row.label, "score", _values(row)) for row in study.rows]
    blocks = [_block("this study", own, metrics, marked=0 if len(own) == 1 else None)]
    if score is None:
        return blocks
    published = published_rows(score.published)
    if published:
        heading = published_heading(score.published)
        blocks.append(_block(heading, published, metrics))
    controls = control_rows(score.controls)
    if controls:
        blocks.append(_block(controls_heading(study, score), controls, metrics, _CONTROL))
    return blocks


def _values(row: StudyRow) -> dict[str, Value]:
    return {name: Value.from_metric(metric) for name, metric in row.metrics.items()}


def _block(
    heading: str,
    rows: Sequence[Row],
    metrics: Sequence[str],
    style: str = "",
    marked: int | None = None,
) -> Block:
    cells: list[list[Cell]] = [
        [
            (metric_text(name, row.get(name).value), row.get(name).interval_text(name))
            for name in metrics
        ]
        for row in rows
    ]
    return Block(heading, [row.name for row in rows], cells, style, marked)


def _trainings(study: StudyDoc) -> RenderableType:
    """Say what was spent, and what came out before it was scored."""
    headers = ["steps", "spent", "aligned", "scored", "close pairs", "unconverged", "low energy"]
    kept = [
        name
        for i, name in enumerate(headers)
        if any(_facts(r)[i][0] != NOTHING for r in study.rows)
    ]
    cells = [
        [fact for name, fact in zip(headers, _facts(row), strict=True) if name in kept]
        for row in study.rows
    ]
    return draw(kept, [Block("", [row.label for row in study.rows], cells)])


def _facts(row: StudyRow) -> list[Cell]:
    steps = [run.step for run in row.runs if not run.lost]
    return [
        (f"{max(steps):,}" if any(steps) else NOTHING, ""),
        (spent(row), ""),
        (aligned(row.protocol) or NOTHING, ""),
        (f"{row.n_scored:,} of {row.n_generated:,}", ""),
        (number(row.close_pairs, 3) if row.close_pairs is not None else NOTHING, ""),
        (
            f"{percent(row.percent_unconverged)} %"
            if row.percent_unconverged is not None
            else NOTHING,
            "",
        ),
        (f"{percent(row.percent_low)} %" if row.percent_low is not None else NOTHING, ""),
    ]


def spent(row: StudyRow) -> str:
    """Print what the trainings of a row have cost together: GPU-hours, or time on processors."""
    if not row.seconds:
        return NOTHING
    if row.is_on_gpu:
        return f"{number(row.seconds / 3600)} GPU-h"
    return f"{duration(row.seconds)} CPU"


def aligned(protocol: str) -> str:
    """Return the alignment in the key of a protocol; empty where there is none."""
    return "".join(protocol.split("-")[2:])


def duration(seconds: float) -> str:
    """Print a time in the unit that suits it."""
    if seconds < _MINUTES:
        return f"{seconds:.0f} s"
    if seconds < _HOURS:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _verdict(row: StudyRow) -> Text:
    """Say of a row whether its model is shown to have learned, and what is missing."""
    lost = [f"seed {run.seed}: {run.lost}" for run in row.runs if run.lost]
    said = row.learning.get("text") or f"{NOT_SHOWN}: there is no score"
    text = f"- {row.label}: {said}"
    if lost:
        text += f"; {', '.join(lost)}"
    shown = row.is_control or row.learning.get("shown")
    return Text(text, style="" if shown and not lost else _WARNING)


#: For captions of tables that name the verdict.
VERDICT_RULE = LEARNING_RULE
