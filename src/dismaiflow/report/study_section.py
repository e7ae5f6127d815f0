"""The part of a report that is about one study: its rows, variants and trainings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dismaiflow.benchmark.learning import LEARNING_RULE, NOT_SHOWN
from dismaiflow.report.markup import Html, Page, code, details, group_row, join, table, tag
from dismaiflow.report.pieces import remark_list, value_cells, value_row
from dismaiflow.report.relaxation_table import relaxation_rows
from dismaiflow.report.remarks import Remark
from dismaiflow.report.rows import (
    Row,
    Value,
    control_rows,
    distance_metrics,
    published_heading,
    published_rows,
)
from dismaiflow.report.study_plots import (
    VALIDATION,
    Level,
    Scan,
    energies_plot,
    loss_plot,
    scan_plot,
    variant_colour,
)
from dismaiflow.report.study_ranks import study_ranks
from dismaiflow.report.study_tables import (
    aligned,
    controls_heading,
    duration,
    leading_score,
    spent,
)
from dismaiflow.report.training_curves import Curves
from dismaiflow.report.words import (
    NOTHING,
    metric_label,
    metric_meaning,
    number,
    percent,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.campaigns.study_schemas import SeedRun, StudyDoc, StudyRow
    from dismaiflow.report.training_curves import Line

_SCAN_NOTE = "Dots: mean over the trained instances; bars: minimum and maximum. Dashed: controls."


@dataclass(frozen=True)
class StudyParts:
    """What a page shows of a study.

    Parameters
    ----------
    study : StudyDoc
        The study.
    scores : mapping of str to ScoreDoc
        The scores behind its rows, by label.
    curves : Curves
        Losses of its trainings, named ``LABEL NUMBER`` (`name_trainings`).
    """

    study: StudyDoc
    scores: Mapping[str, ScoreDoc] = field(default_factory=dict)
    curves: Curves = field(default_factory=Curves)


def study_section(page: Page, parts: StudyParts) -> Html:
    """Return everything about one study that is not about one score.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    parts : StudyParts
        The study, its scores and losses.
    """
    study = parts.study
    models = ", ".join(dict.fromkeys(row.model for row in study.rows))
    return tag(
        "section",
        page.heading(2, f"Study of {models} on {study.system}"),
        _summary(study),
        remark_list(map(_verdict_remark, study.rows)),
        _metrics_table(study, parts.scores),
        _sampled_table(study),
        _relaxations(page, parts),
        study_ranks(page, study.rows),
        _instances(study),
        _variants(page, parts),
        _energies(page, parts),
        _trainings(page, parts),
        class_="block",
    )


def _summary(study: StudyDoc) -> Html:
    text = (
        f"{plural(len(study.rows), 'variant')}, each trained "
        f"{plural(len(study.seeds), 'time')} and sampled for "
        f"{plural(study.n, 'structure')} per instance; scored by {study.protocol}, training set "
    )
    return tag("p", text, code(study.dataset_hash[:12]), ".", class_="lead")


def _verdict(row: StudyRow) -> str:
    """Return the verdict on a row in a word or two."""
    if row.is_control:
        return "control"
    return "shown to learn" if row.learning.get("shown") else NOT_SHOWN


def _verdict_remark(row: StudyRow) -> Remark:
    lost = [f"seed {run.seed}: {run.lost}" for run in row.runs if run.lost]
    said = row.learning.get("text") or f"{NOT_SHOWN}: there is no score"
    text = "a control, which learns nothing" if row.is_control else said
    stands_out = bool(lost) or _verdict(row) == NOT_SHOWN
    ends = f"; {', '.join(lost)}" if lost else ""
    return Remark(f"{row.label}: {text}{ends}.", "warning" if stands_out else "plain")


def _name(row: StudyRow) -> Html:
    verdict = _verdict(row)
    word = tag("strong", verdict, class_="alarm") if verdict == NOT_SHOWN else verdict
    return tag("th", row.label, tag("span", word, class_="verdict"), scope="row")


def _class(row: StudyRow) -> str:
    return "control" if row.is_control else "score"


def _values(row: StudyRow) -> Row:
    values = {name: Value.from_metric(metric) for name, metric in row.metrics.items()}
    return Row(row.label, "score", values)


def _metrics_table(study: StudyDoc, scores: Mapping[str, ScoreDoc]) -> Html:
    """Return the rows beside controls and published values, as in the paper's tables."""
    metrics = list(dict.fromkeys(name for row in study.rows for name in row.metrics))
    columns = len(metrics) + 1
    body: list[Sequence[object] | Html] = [
        tag("tr", _name(row), *value_cells(_values(row), metrics), class_=_class(row))
        for row in study.rows
    ]
    score = leading_score(study, scores)
    notes = ["( ) minimum and maximum over the trained instances; [ ] 95 % bootstrap interval."]
    if score is not None:
        controls, published = control_rows(score.controls), published_rows(score.published)
        if controls:
            body.append(group_row(controls_heading(study, score), columns))
            body += [value_row(row, metrics, "control") for row in controls]
        if published:
            body.append(group_row(published_heading(score.published), columns))
            body += [value_row(row, metrics, "published") for row in published]
            notes.append(f"Published: {score.published.source}.")
    notes.append(f"{LEARNING_RULE[0].upper()}{LEARNING_RULE[1:]}.")
    head = ["", *(metric_label(name) for name in metrics)]
    many = "values many" if len(metrics) > 3 else "values"
    return join([table(head, body, many), tag("p", " ".join(notes), class_="hint")])


def _sampled_table(study: StudyDoc) -> Html:
    """Return what each variant took, and what came of its samples; no column without a value."""
    head = [
        "steps",
        "spent",
        "device",
        "aligned",
        "scored",
        "close pairs",
        "unconverged",
        "low energy",
        "energy, J/m²",
    ]
    cells = [_sampled(row) for row in study.rows]
    kept = [i for i in range(len(head)) if any(row[i] != NOTHING for row in cells)]
    rows = [[row.label, *(cells[place][i] for i in kept)] for place, row in enumerate(study.rows)]
    notes = []
    if any(row.seconds for row in study.rows):
        notes.append("Steps: of one instance. Spent: on training all instances of a row together.")
    seen = [tuple(run.seconds for run in row.runs) for row in study.rows if row.seconds]
    if len(set(seen)) < len(seen):
        notes.append("Rows with the same cost share their trainings.")
    if any(row.snapshot for row in study.rows):
        notes.append(
            "Weights of earlier epochs: steps and what was spent are those of the whole training."
        )
    near = {run.check.close_distance for row in study.rows for run in row.runs if run.check}
    if near:
        notes.append(
            f"Close pairs: mean number of pairs of atoms at most {min(near):g} Å apart in a "
            "generated structure, before anything is moved (Fig. S12)."
        )
    if any(row.interface_energy is not None for row in study.rows):
        notes.append("Energy: mean normalised interface energy of the relaxed structures.")
    return join(
        [
            tag("h4", "Trainings and samples"),
            table(["", *(head[i] for i in kept)], rows),
            tag("p", " ".join(notes), class_="hint"),
        ]
    )


def _relaxations(page: Page, parts: StudyParts) -> Html:
    """Return how the structures of several models relaxed; that of one is in its score."""
    rows = parts.study.rows
    known = [s.findings.relaxations for s in parts.scores.values() if s.findings.relaxations]
    if len(rows) < 2 or not known:
        return Html("")
    named = ((row.label, row.relaxation) for row in rows)
    table_ = relaxation_rows(named, parts.study.system, known[0].potential.name)
    return join([page.heading(3, "Relaxation"), table_])


def _sampled(row: StudyRow) -> list[str]:
    steps = [run.step for run in row.runs if not run.lost]
    devices = list(dict.fromkeys(run.device for run in row.runs if run.device))
    return [
        f"{max(steps):,}" if any(steps) else NOTHING,
        spent(row),
        ", ".join(devices) or NOTHING,
        aligned(row.protocol) or NOTHING,
        f"{row.n_scored:,} of {row.n_generated:,}",
        number(row.close_pairs),
        _percent(row.percent_unconverged),
        _percent(row.percent_low),
        number(row.interface_energy),
    ]


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{percent(value)} %"


def _instances(study: StudyDoc) -> Html:
    """Return every trained instance, folded away."""
    rows = [
        [f"{row.label} {i}", *_instance(run)]
        for row in study.rows
        for i, run in enumerate(row.runs)
    ]
    head = [
        "instance",
        "seed",
        "steps",
        "epochs",
        "time",
        "jobs",
        "device",
        "close pairs",
        "not fit to be scored",
        "last losses",
    ]
    return details(f"Every trained instance ({len(rows)})", table(head, rows, "instances"))


def _instance(run: SeedRun) -> list[object]:
    if run.lost:
        lost = tag("strong", run.lost, class_="alarm")
        return [str(run.seed), *([NOTHING] * 7), lost]
    check = run.check
    reasons = check.reasons if check is not None else {}
    failed = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in reasons.items())
    losses = ", ".join(f"{name} {number(value)}" for name, value in run.losses.items())
    return [
        str(run.seed),
        f"{run.step:,}" if run.step else NOTHING,
        f"{run.epoch:,}" if run.epoch else NOTHING,
        duration(run.seconds) if run.seconds else NOTHING,
        str(run.n_launches),
        run.device or NOTHING,
        number(check.close_pairs if check is not None else None),
        failed or ("none" if check is not None else NOTHING),
        losses or NOTHING,
    ]


def _variants(page: Page, parts: StudyParts) -> Html:
    """Return figures of metrics and samples over what differs; nothing for one variant."""
    rows = parts.study.rows
    if len(rows) < 2:
        return Html("")
    scan = Scan.from_labels([row.label for row in rows])
    figures = []
    metrics = dict.fromkeys(name for row in rows for name in distance_metrics(row.metrics))
    for metric in metrics:
        values = [_values(row).get(metric) for row in rows]
        levels = _levels(leading_score(parts.study, parts.scores), metric)
        plot = scan_plot(scan, values, metric_label(metric), levels, logarithmic=True)
        figures.append(page.plot(plot, f"{metric} of the variants", metric_meaning(metric)))
    figures += _sample_figures(page, scan, rows, parts.scores)
    note = _SCAN_NOTE
    if any(score.published.comparable for score in parts.scores.values()):
        note += " Dotted: published models."
    return join(
        [
            page.heading(3, f"Over {scan.title}" if scan.is_number else "Variants"),
            tag("p", note, class_="hint"),
            tag("div", *figures, class_="pair"),
        ]
    )


def _levels(score: ScoreDoc | None, metric: str) -> list[Level]:
    """Return the controls, and the published rows where they may be compared."""
    if score is None:
        return []
    found = [
        Level(row.name, row.get(metric).value, "control") for row in control_rows(score.controls)
    ]
    if score.published.comparable:
        found += [
            Level(row.name, row.get(metric).value, "published")
            for row in published_rows(score.published)
        ]
    return found


def _sample_figures(
    page: Page, scan: Scan, rows: Sequence[StudyRow], scores: Mapping[str, ScoreDoc]
) -> list[Html]:
    """Return figures of close pairs, low energies and mean interface energies, as far as known."""
    instances = [[run.check.close_pairs for run in row.runs if run.check] for row in rows]
    close = [_over(row.close_pairs, group) for row, group in zip(rows, instances, strict=True)]
    low = [Value(row.percent_low) for row in rows]
    energies = [_energy(row, scores.get(row.label)) for row in rows]
    title = "mean interface energy, J/m²"
    return [
        page.plot(
            scan_plot(scan, close, "close pairs per structure", instances=instances),
            "close pairs of the variants",
            "Pairs of atoms that are too close, before anything is moved (Fig. S12); circles: "
            "each instance.",
        ),
        page.plot(
            scan_plot(scan, low, "structures of low energy, %", logarithmic=False),
            "share of low energy of the variants",
            "Relaxed structures at or below the cut of the dataset, all instances together.",
        ),
        page.plot(
            scan_plot(scan, energies, title, logarithmic=False),
            "mean interface energies of the variants",
            "Relaxed structures of all instances; bars: standard deviation.",
        ),
    ]


def _over(value: float | None, found: Sequence[float | None]) -> Value:
    known = [one for one in found if one is not None]
    return Value(value, min(known), max(known)) if len(known) > 1 else Value(value)


def _energy(row: StudyRow, score: ScoreDoc | None) -> Value:
    found = score.findings.interface_energies if score is not None else None
    if row.interface_energy is None or found is None or found.std is None:
        return Value(row.interface_energy)
    return Value(
        row.interface_energy, row.interface_energy - found.std, row.interface_energy + found.std
    )


def _energies(page: Page, parts: StudyParts) -> Html:
    """Return the interface energies of all variants in one figure; one has it in its score."""
    histograms = {
        label: score.findings.interface_energies.histogram
        for label, score in parts.scores.items()
        if score.findings.interface_energies is not None
        and score.findings.interface_energies.histogram is not None
    }
    if len(histograms) < 2:
        return Html("")
    colours = {label: variant_colour(i) for i, label in enumerate(histograms)}
    plot = energies_plot(histograms, colours)
    filled = tag("span", tag("span", class_="key training"), "reference", class_="entry")
    return join(
        [
            page.heading(3, "Interface energies"),
            tag("p", filled, _key(colours), class_="hint"),
            page.plot(plot, "interface energies of the variants and of the reference"),
        ]
    )


def _key(colours: Mapping[str, str]) -> Html:
    strokes = {
        label: tag("span", class_="stroke", style=f"border-color:var(--{colour})")
        for label, colour in colours.items()
    }
    return join(tag("span", stroke, label, class_="entry") for label, stroke in strokes.items())


def _trainings(page: Page, parts: StudyParts) -> Html:
    """Return the losses of all trainings: a figure for each, colours by variant."""
    curves = parts.curves
    if not curves.lines:
        return Html("")
    variants = dict.fromkeys(name.rpartition(" ")[0] for name in curves.lines)
    colours = {label: variant_colour(i) for i, label in enumerate(variants)}
    figures = []
    for loss, members in _by_loss(curves.lines).items():
        own = {name: colours[name.removesuffix(VALIDATION).rpartition(" ")[0]] for name in members}
        plot = page.plot(loss_plot(members, own, curves.unit), f"{loss} of the trainings")
        figures.append(tag("div", tag("h4", loss.replace("_", " ")), plot))
    note = join(
        [
            tag("p", _key(colours), class_="hint"),
            tag("p", "Every instance has a line; dashed: validation.", class_="hint"),
        ]
    )
    return join([page.heading(3, "Training"), note, tag("div", *figures, class_="pair")])


def _by_loss(lines: Mapping[str, Mapping[str, Line]]) -> dict[str, dict[str, Line]]:
    """Put training and validation values of one loss together."""
    found: dict[str, dict[str, Line]] = {}
    for training, columns in lines.items():
        for column, line in columns.items():
            kind, _, loss = column.partition("_")
            known = kind in ("train", "val") and loss
            name = training + (VALIDATION if known and kind == "val" else "")
            found.setdefault(loss if known else column, {})[name] = line
    return found
