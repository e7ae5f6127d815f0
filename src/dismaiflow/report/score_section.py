"""The part of a report that is about one score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.dots import distance_plot
from dismaiflow.report.findings_section import findings_section
from dismaiflow.report.markup import Html, Page, code, details, group_row, join, table, tag
from dismaiflow.report.pieces import card, cards, remark_list, value_row
from dismaiflow.report.plots import failures_plot, histogram_plot
from dismaiflow.report.remarks import floor_text, metric_reasons, score_remarks
from dismaiflow.report.rows import (
    control_rows,
    distance_metrics,
    published_heading,
    published_rows,
    ranked_rows,
    run_rows,
    score_row,
)
from dismaiflow.report.viewer import viewers
from dismaiflow.report.words import (
    FLOOR_CONTROL,
    FRESH_CONTROL,
    alignment_meaning,
    measure,
    measure_text,
    metric_label,
    metric_meaning,
    metric_text,
    number,
    order_title,
    percent,
    plural,
    reason_meaning,
    scale_control,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.benchmark.schemas import Histogram, ScoreDoc

#: Failed structures that the page lists.
MAX_FAILED = 50

_PANEL, _WIDE = 150, 280

#: Metrics whose intervals fit beside their values.
_ABREAST = 4


def score_section(page: Page, score: ScoreDoc) -> Html:
    """Return everything about one score.

    Parameters
    ----------
    page : Page
        Takes figures, structures and headings.
    score : ScoreDoc
        The score.
    """
    model = score.provenance.model
    parts = [
        page.heading(2, f"Score of {model} on {score.system}"),
        _summary(score),
        metric_cards(score),
        remark_list(score_remarks(score)),
        _comparison(page, score),
        findings_section(page, score),
        _distributions(page, score),
        _failures(page, score),
        _structures(page, score),
        _provenance(page, score),
    ]
    return tag("section", *parts, class_="block")


def metric_cards(score: ScoreDoc) -> Html:
    """Return the headline numbers with their intervals, floor and scale."""
    own = score_row(score)
    members = []
    for name in score.metrics:
        value = own.get(name)
        below = []
        if value.interval_text(name):
            ends = f"{metric_text(name, value.low)} to {metric_text(name, value.high)}"
            several = f"min and max of {len(score.per_run)} models: {ends}"
            below.append(f"95 % interval: {ends}" if value.is_confidence else several)
        if value.reason:
            below.append(value.reason)
        below += [f"{label}: {text}" for label, text in floor_text(name, score.controls)]
        members.append(card(metric_label(name), metric_text(name, value.value), below))
    return cards(*members)


def _summary(score: ScoreDoc) -> Html:
    protocol = score.protocol
    text = (
        f"{score.n_scored:,} of {plural(score.n_generated, 'generated structure')} scored by the "
        f"protocol {protocol.name} (version {protocol.version})"
    )
    if alignment_meaning(protocol.alignment):
        text += f", alignment {protocol.alignment}: {alignment_meaning(protocol.alignment)}"
    if len(score.per_run) > 1:
        text += f". The values are means over {len(score.per_run)} files"
    return tag("p", f"{text}.", class_="lead")


def _comparison(page: Page, score: ScoreDoc) -> Html:
    """Return dot plots and the table of score, files, controls and published rows."""
    published, controls = published_rows(score.published), control_rows(score.controls)
    rows = [score_row(score), *run_rows(score), *controls, *published]
    paper = " and the paper" if score.published.rows else ""
    parts = [page.heading(3, f"Beside controls{paper}")]
    for metric in distance_metrics(score.metrics):
        scale = scale_control(score.controls)
        shown = (FLOOR_CONTROL, scale[0] if scale else "")
        lines = [score.controls.get(name, {}).get(metric) for name in shown]
        plot = distance_plot(rows, metric, lines, score.published.comparable)
        caption = f"{metric_meaning(metric)} Smaller is better."
        if scale and any(line is not None for line in lines):
            caption += f" Vertical lines: the floor (dotted) and {scale[1]} (dashed)."
        parts.append(page.plot(plot, f"{metric} of score, controls and published models", caption))
    parts.append(comparison_table(score))
    return join(parts)


def comparison_table(score: ScoreDoc) -> Html:
    """Return the table of score, files, controls and published rows."""
    metrics = list(score.metrics)
    columns = len(metrics) + 1
    body: list[Sequence[object] | Html] = []
    if score.published.comparable:
        body.append(group_row("in rank with the published models", columns))
    body += [value_row(row, metrics, row.group) for row in ranked_rows(score)]
    runs, controls = run_rows(score), control_rows(score.controls)
    if runs:
        body.append(group_row("each file", columns))
        body += [value_row(row, metrics, "run") for row in runs]
    body.append(group_row("controls: no model, they show what the numbers mean", columns))
    body += [value_row(row, metrics, "control") for row in controls]
    if not controls:
        body.append(group_row("none were scored", columns, "empty"))
    if score.published.rows and not score.published.comparable:
        body.append(group_row(published_heading(score.published), columns))
        body += [value_row(row, metrics, "published") for row in published_rows(score.published)]
    notes = ["[ ] 95 % bootstrap interval; ( ) minimum and maximum over trained models."]
    if score.published.source:
        notes.append(f"Published: {score.published.source}.")
    if not score.published.rows and score.published.why_not:
        notes.append(f"No published rows: {score.published.why_not}.")
    notes += [f"{line}." for line in metric_reasons(score)]
    head = ["", *(metric_label(name) for name in metrics)]
    return join(
        [table(head, body, _table_class(metrics)), tag("p", " ".join(notes), class_="hint")]
    )


def _table_class(metrics: Sequence[str]) -> str:
    """Return the class of a table of values; in one of many metrics intervals have own lines."""
    return "values" if len(metrics) <= _ABREAST else "values many"


def _distributions(page: Page, score: ScoreDoc) -> Html:
    """Return the histograms and the distribution measures."""
    parts = [page.heading(3, "Distributions")]
    order = {k: h for k, h in score.histograms.items() if "NN_" in k}
    others = {k: h for k, h in score.histograms.items() if k not in order}
    if score.histograms:
        key = join(
            [
                tag("span", class_="key training"),
                "training set ",
                tag("span", class_="key new"),
                "generated set",
                ", all files together" if len(score.per_run) > 1 else "",
                ". Vertical axes: share of the structures in each bin.",
            ]
        )
        parts.append(tag("p", key))
    else:
        why = "no energies are known" if score.n_scored else "one of the two sets is empty"
        parts.append(tag("p", f"There are no histograms: {why}."))
    shells = dict.fromkeys(label.partition("NN_")[0] for label in order)
    for shell in shells:
        members = {k: h for k, h in order.items() if k.startswith(f"{shell}NN_")}
        title = f"Warren-Cowley parameters α, neighbour shell {shell}"
        parts += [tag("h4", title), _panels(page, members)]
    for name, histogram in others.items():
        title = order_title(name).capitalize()
        parts.append(tag("h4", title))
        unit = f" ({histogram.unit})" if histogram.unit else ""
        plot = histogram_plot(histogram, f"{title.lower()}{unit}", _WIDE, compact=False)
        parts.append(page.plot(plot, f"{title} of training and generated structures"))
    if score.distribution:
        parts += [tag("h4", "Measures of whole distributions"), _measures(score)]
    return join(parts)


def _panels(page: Page, members: dict[str, Histogram]) -> Html:
    """Return small histograms in a grid, each with its Wasserstein distance."""
    panels = []
    for label, histogram in members.items():
        pair = label.partition("NN_")[2]
        distance = number(binned_wasserstein(histogram), 2)
        head = tag("div", tag("b", pair), tag("span", f"W1 {distance}"), class_="panel-head")
        plot = histogram_plot(histogram, "α", _PANEL, compact=True)
        description = f"{order_title(label)} of training and generated structures"
        panels.append(tag("div", head, page.plot(plot, description), class_="panel"))
    return tag("div", *panels, class_="panels")


def binned_wasserstein(histogram: Histogram) -> float:
    """Return the Wasserstein distance of two binned distributions, in the unit of the edges."""
    total, ours, theirs = 0.0, 0.0, 0.0
    edges = histogram.edges
    for i, (a, b) in enumerate(zip(histogram.generated, histogram.reference, strict=True)):
        ours, theirs = ours + a, theirs + b
        total += abs(ours - theirs) * (edges[i + 1] - edges[i])
    return total


def _measures(score: ScoreDoc) -> Html:
    scale = scale_control(score.controls)
    names = {FLOOR_CONTROL: "floor", FRESH_CONTROL: "validation"}
    names |= dict([scale] if scale else [])
    beside = [name for name in names if name in score.controls]
    rows = []
    for name, value in score.distribution.items():
        known = measure(name)
        title = tag("span", known.meaning, class_="about") if known.meaning else None
        rows.append(
            [
                join([known.label, title]),
                tag("b", measure_text(name, value)),
                *(measure_text(name, score.controls[control].get(name)) for control in beside),
                known.ideal,
            ]
        )
    head = ["", "this set", *(names[name] for name in beside), "ideal"]
    note = "Beyond the paper: averages hide mode collapse and copying, these do not."
    if len(score.per_run) > 1:
        note += " Of several files, means."
    return join([table(head, rows, "measures"), tag("p", note, class_="hint")])


def _failures(page: Page, score: ScoreDoc) -> Html:
    parts = [page.heading(3, "Failures")]
    if not score.failures:
        return join(
            [*parts, tag("p", f"None: all {plural(score.n_generated, 'structure')} were scored.")]
        )
    n_failed = score.n_generated - score.n_scored
    text = f"{n_failed:,} of {plural(score.n_generated, 'structure')} could not be scored."
    parts.append(tag("p", text))
    plot = failures_plot(score.failures, score.n_generated)
    parts.append(page.plot(plot, "failed structures by reason"))
    rows = [
        [
            reason,
            f"{count:,}",
            f"{percent(100 * count / max(score.n_generated, 1))} %",
            reason_meaning(reason),
        ]
        for reason, count in score.failures.items()
    ]
    parts.append(table(["reason", "structures", "share", ""], rows))
    listed = score.failed[:MAX_FAILED]
    names = score.provenance.generated_files
    lines = [
        [
            f"{one.index:,}",
            names[one.file] if one.file < len(names) else one.file,
            one.reason,
            one.detail,
        ]
        for one in listed
    ]
    if lines:
        title = (
            f"The first {len(listed)} of {n_failed:,}" if n_failed > len(listed) else "All of them"
        )
        head = ["index", "file", "reason", "detail"]
        parts.append(details(title, table(head, lines)))
    return join(parts)


def _structures(page: Page, score: ScoreDoc) -> Html:
    shown = {}
    if "generated" in score.examples:
        shown["generated"] = ("generated: the first that was scored", score.examples["generated"])
    if "relaxed" in score.examples:
        shown["relaxed"] = ("the same after relaxation", score.examples["relaxed"])
    if "reference" in score.examples:
        shown["reference"] = ("training: the first, as it was given", score.examples["reference"])
    if not shown:
        return Html("")
    return join([page.heading(3, "Structures"), viewers(page, shown)])


def _provenance(page: Page, score: ScoreDoc) -> Html:
    found = score.provenance
    protocol = score.protocol
    rows: list[Sequence[object]] = [
        ["system", score.system],
        ["model", found.model],
        [
            "protocol",
            f"{protocol.name}, version {protocol.version}"
            + (
                f", alignment {protocol.alignment}" if alignment_meaning(protocol.alignment) else ""
            ),
        ],
        ["reference", found.reference],
        ["reference, content hash", code(found.reference_hash)],
        *_potential_rows(score),
        ["bootstrap seed", found.bootstrap_seed],
        ["scored", found.created],
        ["versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())],
    ]
    runs = dict(enumerate(score.per_run))
    files = [
        [
            name,
            f"{runs.get(i, {}).get('n_generated', ''):,}" if i in runs else "",
            f"{runs.get(i, {}).get('n_scored', ''):,}" if i in runs else "",
            code(found.generated_hashes[i]) if i < len(found.generated_hashes) else "",
        ]
        for i, name in enumerate(found.generated_files)
    ]
    head = ["generated file", "structures", "scored", "content hash"]
    return join([page.heading(3, "Provenance"), table([], rows, "facts"), table(head, files)])


def _potential_rows(score: ScoreDoc) -> list[Sequence[object]]:
    """Return what relaxed the structures."""
    card = score.provenance.potential
    if card is None:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    rows: list[Sequence[object]] = [
        ["potential", f"{card.name} ({versions})" if versions else card.name],
        ["potential, hash", code(card.hash)],
    ]
    if score.provenance.relaxed_reference_hash:
        rows.append(["reference, relaxed again", code(score.provenance.relaxed_reference_hash)])
    return rows
