"""Tables for the terminal: 80 columns are enough, and piped they stay plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dismaiflow.report.facts import card_facts, relaxed_facts
from dismaiflow.report.grid import MARKED, Block, draw
from dismaiflow.report.remarks import metric_reasons, score_remarks
from dismaiflow.report.rows import (
    control_metrics,
    control_rows,
    controls_comparison,
    published_heading,
    published_rows,
    ranked_rows,
    run_rows,
)
from dismaiflow.report.words import (
    FLOOR_CONTROL,
    FRESH_CONTROL,
    NOTHING,
    RANDOM_CONTROL,
    measure,
    measure_text,
    metric_label,
    metric_text,
    number,
    percent,
    plural,
    reason_meaning,
    scale_control,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
    from dismaiflow.report.grid import Cell
    from dismaiflow.report.rows import Row
    from dismaiflow.structures.dataset import DatasetCard

#: Metrics that fit beside each other in 80 columns.
_METRICS_ABREAST = 3

#: Protocols whose controls fit beside each other.
_PROTOCOLS_ABREAST = 2

#: Signs for which a pipe may have no place.
_PLAIN = str.maketrans({"²": "^2", "Å": "A", "−": "-"})

_CONTROL, _PUBLISHED = "yellow", ""
_WARNING = "bold red"

#: Headers of the metrics where there is little room.
_SHORT = {"percent_with_vacancies": "w/vac", "percent_failed": "failed"}

#: Controls beside which the distribution measures are read, with their column headers.
_BESIDE = {FLOOR_CONTROL: "floor", FRESH_CONTROL: "validation"}
_SCALE_HEADERS = {RANDOM_CONTROL: "random occ.", "uniform-random": "uniform", "rattled": "rattled"}


def score_table(score: ScoreDoc) -> RenderableType:
    """Draw a score beside its controls and the published values.

    Parameters
    ----------
    score : ScoreDoc
        The score.

    Returns
    -------
    renderable
        To be printed by a console of rich, at least 80 columns wide.
    """
    parts: list[RenderableType] = [_score_title(score), Text("")]
    metrics = list(score.metrics)
    for start in range(0, len(metrics), _METRICS_ABREAST):
        shown = metrics[start : start + _METRICS_ABREAST]
        parts += [
            draw([metric_label(name) for name in shown], _score_blocks(score, shown)),
            Text(""),
        ]
    parts.append(Text(_intervals_legend(score), style="dim"))
    parts += [Text(line, style="dim") for line in metric_reasons(score)]
    if score.distribution:
        parts += [Text(""), _distribution_table(score)]
    parts += [Text(""), _failures_table(score), Text("")]
    for remark in score_remarks(score):
        style = _WARNING if remark.level == "warning" else ""
        parts.append(_item(remark.text, style))
    return Group(*parts)


def controls_table(controls: Mapping[str, Mapping[str, ControlsDoc]]) -> RenderableType:
    """Draw the controls of several systems beside the paper's values.

    Parameters
    ----------
    controls : dict of str to dict of str to ControlsDoc
        By system, then by protocol key.
    """
    parts: list[RenderableType] = []
    for system, documents in controls.items():
        for start in range(0, len(documents), _PROTOCOLS_ABREAST):
            shown = list(documents.values())[start : start + _PROTOCOLS_ABREAST]
            parts += [Text(f"{system}: controls", style="bold"), _controls_grid(shown), Text("")]
    if not parts:
        return Text("no controls were scored")
    legend = (
        "w/vac: % of the accepted structures with vacancies; failed: % of all structures. "
        "train-resample is the floor."
    )
    return Group(*parts, Text(legend, style="dim"))


def dataset_table(cards: Iterable[DatasetCard]) -> RenderableType:
    """Draw what dataset cards say of sizes and of the independence of the samples.

    Parameters
    ----------
    cards : iterable of DatasetCard
        The cards.
    """
    cards = list(cards)
    alloys = [card for card in cards if card.kind == "alloy"]
    parts: list[RenderableType] = _alloy_table(alloys) if alloys else []
    for card in cards:
        if card.kind != "alloy":
            parts += _facts_table(card)
    for card in cards:
        for warning in card_warnings(card):
            parts.append(_item(f"{card.system}: {warning}", _WARNING))
    return Group(*parts)


def _alloy_table(cards: Sequence[DatasetCard]) -> list[RenderableType]:
    """Return the table of alloy datasets and its legend."""
    headers = ["train", "val", "runs", "R-hat", "N_eff", "in set", "every", "slowest"]
    rows = [_dataset_cells(card) for card in cards]
    block = Block("", [card.system for card in cards], rows)
    legend = (
        "runs: whether the Monte Carlo runs agree; N_eff: independent snapshots in all runs; "
        "in set: independent structures in train and val together; every: passes between "
        "independent snapshots, for the slowest observable"
    )
    return [draw(headers, [block], "dataset"), Text(legend, style="dim")]


def _facts_table(card: DatasetCard) -> list[RenderableType]:
    """Return what the card of another kind of system says, a line for each fact."""
    grid = Table.grid(padding=(0, 2))
    for label, text in [("structures", _counts(card)), *relaxed_facts(card), *card_facts(card)]:
        grid.add_row(Text(label, style="dim"), Text(text.translate(_PLAIN)))
    return [Text(f"{card.system}", style="bold"), grid]


def _counts(card: DatasetCard) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in card.counts.items())


def card_warnings(card: DatasetCard) -> list[str]:
    """Return the warnings of a card, and the runs that it lacks."""
    warnings = list(dict.fromkeys(card.warnings))
    missing = card.protocol.get("runs_missing") or 0
    if missing:
        warnings.append(f"{plural(missing, 'Monte Carlo run')} did not finish and are left out")
    return warnings


def _score_title(score: ScoreDoc) -> Text:
    text = Text()
    text.append(score.provenance.model, style="bold")
    text.append(f" on {score.system}", style="bold")
    protocol = score.protocol
    text.append(
        f"\nprotocol {protocol.name} {protocol.version}{_alignment(protocol.alignment)}; "
        f"{score.n_scored:,} of {plural(score.n_generated, 'structure')} scored"
    )
    if len(score.per_run) > 1:
        text.append(f", {len(score.per_run)} files")
    return text


def _alignment(name: str | None) -> str:
    return f" ({name})" if name not in (None, "none") else ""


def _score_blocks(score: ScoreDoc, metrics: Sequence[str]) -> list[Block]:
    """Return the new score, its files, the controls and the published rows."""
    ranked = ranked_rows(score)
    names = [row.name for row in ranked]
    own = next(place for place, row in enumerate(ranked) if row.group == "score")
    heading = ""
    if score.published.comparable:
        heading = "in rank with the published models (* is the new score)"
        names[own] = f"* {names[own]}"
    blocks = [Block(heading, names, _cells(ranked, metrics), _PUBLISHED, marked=own)]
    runs = run_rows(score)
    if runs:
        names = [row.name for row in runs]
        blocks.append(Block("each file", names, _cells(runs, metrics), MARKED))
    controls = control_rows(score.controls)
    if controls:
        names = [row.name for row in controls]
        heading = "control (no model: what the numbers mean)"
        blocks.append(Block(heading, names, _cells(controls, metrics), _CONTROL))
    if not score.published.comparable and score.published.rows:
        rows = published_rows(score.published)
        names = [row.name for row in rows]
        heading = published_heading(score.published)
        blocks.append(Block(heading, names, _cells(rows, metrics), _PUBLISHED))
    return blocks


def _cells(rows: Sequence[Row], metrics: Sequence[str]) -> list[list[Cell]]:
    return [
        [
            (metric_text(name, row.get(name).value), row.get(name).interval_text(name))
            for name in metrics
        ]
        for row in rows
    ]


def _intervals_legend(score: ScoreDoc) -> str:
    parts = ["[ ] 95 % bootstrap interval", "( ) minimum and maximum over trained models"]
    if score.published.source:
        parts.append(f"published: {score.published.source}")
    if not score.published.rows and score.published.why_not:
        parts.append(score.published.why_not)
    return "; ".join(parts)


def _distribution_table(score: ScoreDoc) -> RenderableType:
    """Draw the distribution measures beside those of the controls, and explain them below."""
    scale = scale_control(score.controls)
    known = _BESIDE | ({scale[0]: _SCALE_HEADERS[scale[0]]} if scale else {})
    beside = [name for name in known if name in score.controls]
    headers = ["this set", *(known[name] for name in beside), "ideal"]
    rows = []
    for name, value in score.distribution.items():
        cells = [measure_text(name, value)]
        cells += [measure_text(name, score.controls[control].get(name)) for control in beside]
        rows.append([(text, "") for text in (*cells, measure(name).ideal)])
    labels = [measure(name).label for name in score.distribution]
    grid = draw(headers, [Block("", labels, rows)], "distributions")
    width = max(map(len, labels))
    lines = [
        Text(f"{label:{width}}  {measure(name).short}", style="dim")
        for name, label in zip(score.distribution, labels, strict=True)
    ]
    return Group(grid, Text(""), *lines)


def _failures_table(score: ScoreDoc) -> RenderableType:
    """List failures by reason, with counts that add up to the structures generated."""
    if not score.failures:
        return Text(f"no failures: all {plural(score.n_generated, 'structure')} were scored")
    rows = [
        [
            (f"{count:,}", ""),
            (percent(100 * count / score.n_generated), ""),
            (reason_meaning(reason), ""),
        ]
        for reason, count in score.failures.items()
    ]
    names = list(score.failures)
    n_failed = score.n_generated - score.n_scored
    return Group(
        draw(["count", "%", ""], [Block("", names, rows)], "failures"),
        Text(f"{n_failed:,} of {score.n_generated:,}; score.json lists them", style="dim"),
    )


def _controls_grid(documents: Sequence[ControlsDoc]) -> RenderableType:
    """Draw the controls of up to two protocols side by side, above the published values."""
    comparisons = [controls_comparison(document) for document in documents]
    metrics = control_metrics(documents[0], comparisons[0])
    # Two alignments of one protocol differ in that word only.
    alike = len({document.protocol.name for document in documents}) < len(documents)
    headers = [
        f"{'' if place else _heading(document, alike)}\n{_SHORT.get(name, name)}"
        for document in documents
        for place, name in enumerate(metrics)
    ]
    names = [row.name for row in control_rows(documents[0].scores)]
    names += [n for document in documents[1:] for n in document.scores if n not in names]
    cells = [
        [
            (metric_text(metric, document.scores.get(name, {}).get(metric)), "")
            for document in documents
            for metric in metrics
        ]
        for name in names
    ]
    blocks = [Block("", names, cells, _CONTROL)]
    published = comparisons[0]
    if published.rows:
        rows = published_rows(published)
        padding = [("", "")] * (len(metrics) * (len(documents) - 1))
        beside = f", {published.source.rpartition(', ')[2]}" if published.source else ""
        blocks.append(
            Block(
                published_heading(published, beside),
                [row.name for row in rows],
                [[(text, "") for text, _ in line] + padding for line in _cells(rows, metrics)],
                _PUBLISHED,
            )
        )
    return draw(headers, blocks, "control")


def _heading(controls: ControlsDoc, aligned: bool) -> str:
    protocol = controls.protocol
    return str(protocol.alignment if aligned else protocol.name)


def _dataset_cells(card: DatasetCard) -> list[Cell]:
    sampling: dict[str, Any] = card.statistics.get("sampling") or {}
    selection: dict[str, Any] = card.statistics.get("selection") or {}
    n_effective, inefficiency = sampling.get("n_effective"), sampling.get("inefficiency")
    interval = sampling.get("snapshot_interval")
    every = inefficiency * interval if inefficiency and interval else None
    r_hat = sampling.get("r_hat")
    texts = [
        f"{card.counts.get('train', 0):,}",
        f"{card.counts.get('val', 0):,}",
        str(sampling.get("agreement") or NOTHING),
        NOTHING if r_hat is None else f"{r_hat:.3f}",
        NOTHING if n_effective is None else f"{n_effective:,.0f}",
        NOTHING if selection.get("n_independent") is None else f"{selection['n_independent']:,}",
        number(every, 2),
        str(sampling.get("limiting_parameter") or NOTHING),
    ]
    return [(text, "") for text in texts]


def _item(text: str, style: str = "") -> Text:
    """Return one entry of a list."""
    return Text(f"- {text}", style=style)
