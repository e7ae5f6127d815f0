"""The parts of a report that are about a dataset and about controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.dots import controls_plot
from dismaiflow.report.facts import dataset_size, is_hash, setting_groups
from dismaiflow.report.markup import Html, Page, code, details, group_row, join, table, tag
from dismaiflow.report.pieces import card, cards, remark_list, row_name, value_cells, value_row
from dismaiflow.report.plots import autocorrelation_plot, order_plot
from dismaiflow.report.remarks import Remark, controls_remarks
from dismaiflow.report.rows import (
    Row,
    control_metrics,
    control_rows,
    controls_comparison,
    distance_metrics,
    published_heading,
    published_rows,
)
from dismaiflow.report.search_section import relaxed_cards
from dismaiflow.report.structure_section import structure_section
from dismaiflow.report.tables import card_warnings
from dismaiflow.report.words import (
    NOTHING,
    measure,
    measure_text,
    metric_label,
    metric_meaning,
    number,
    order_title,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.structures.dataset import DatasetCard

#: Names of settings that are not plain from their keys.
_SETTINGS = {
    "name": "protocol",
    "temperature": "temperature (K)",
    "n_runs": "runs",
    "n_passes": "passes per run",
    "snapshot_interval": "passes between snapshots",
    "anneal_from": "annealed from (K)",
    "energy_quantum_ev": "energy quantum (eV)",
}


def dataset_section(page: Page, dataset: DatasetCard, controls: Mapping[str, ControlsDoc]) -> Html:
    """Return everything about one dataset.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    dataset : DatasetCard
        Its card.
    controls : dict of str to ControlsDoc
        Scores of its controls by protocol key.
    """
    parts = [
        page.heading(2, f"Dataset {dataset.system}"),
        _summary(dataset),
        remark_list([Remark(text, "warning") for text in card_warnings(dataset)]),
        _cards(dataset),
        _sampling(page, dataset),
        structure_section(page, dataset),
        _controls(page, dataset, controls),
        _provenance(page, dataset),
    ]
    return tag("section", *parts, class_="block")


def _controls(page: Page, dataset: DatasetCard, controls: Mapping[str, ControlsDoc]) -> Html:
    """Return the controls; nothing for a kind of system that has none so far."""
    if dataset.kind != "alloy" and not dataset.controls:
        return Html("")
    return controls_part(page, controls, unreadable=bool(dataset.controls))


def controls_section(page: Page, system: str, controls: Mapping[str, ControlsDoc]) -> Html:
    """Return the controls of a system whose dataset is not in the report."""
    heading = page.heading(2, f"Controls of {system}")
    return tag("section", heading, controls_part(page, controls), class_="block")


def controls_part(
    page: Page, controls: Mapping[str, ControlsDoc], unreadable: bool = False
) -> Html:
    """Return the controls by all protocols, beside the paper's values.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    controls : dict of str to ControlsDoc
        By protocol key.
    unreadable : bool
        Whether there are some that this version cannot read, if `controls` is empty.
    """
    parts = [page.heading(3, "Controls")]
    if not controls:
        text = "No controls were scored."
        if unreadable:
            text = "The controls on the card come from another version and cannot be read."
        return join([*parts, tag("p", text)])
    documents = list(controls.values())
    parts.append(remark_list(controls_remarks(documents)))
    published = controls_comparison(documents[0])
    metrics = control_metrics(documents[0], published)
    for metric in distance_metrics(metrics):
        rows = {key: control_rows(document.scores) for key, document in controls.items()}
        plot = controls_plot(rows, published_rows(published), metric, published.comparable)
        caption = f"{metric_meaning(metric)} Smaller is better."
        parts.append(page.plot(plot, f"{metric} of controls and published models", caption))
    parts.append(_controls_table(controls, metrics))
    return join(parts)


def _controls_table(controls: Mapping[str, ControlsDoc], metrics: Sequence[str]) -> Html:
    """Return the controls with one group of columns per protocol, and the paper's values."""
    documents = list(controls.values())
    by_name = [{row.name: row for row in control_rows(d.scores)} for d in documents]
    names = list(dict.fromkeys(name for rows in by_name for name in rows))
    columns = len(metrics) * len(documents) + 1
    body: list[Sequence[object] | Html] = []
    for name in names:
        found = [rows.get(name, Row(name, "control")) for rows in by_name]
        cells = [cell for row in found for cell in value_cells(row, metrics)]
        sizes = [d.sizes[name] for d in documents if name in d.sizes]
        body.append(tag("tr", row_name(found[0], sizes[:1]), *cells, class_="control"))
    published = controls_comparison(documents[0])
    if published.rows:
        body.append(group_row(published_heading(published), columns))
        body += [value_row(row, metrics, "published") for row in published_rows(published)]
    groups = [tag("th", key, colspan=len(metrics), scope="colgroup") for key in controls]
    labels = [tag("th", metric_label(name), scope="col") for _ in documents for name in metrics]
    head = tag("thead", tag("tr", tag("th"), *groups), tag("tr", tag("th"), *labels))
    notes = []
    if not documents[0].sizes:
        notes = [f"{plural(documents[0].n_sampled, 'structure')} of each control."]
    if published.source:
        notes.append(f"Published: {published.source}; ( ) minimum and maximum over trained models.")
    return join(
        [
            table(head, body, "values"),
            tag("p", " ".join(notes), class_="hint"),
            details("Distribution measures of the controls", _measures(controls, metrics)),
        ]
    )


def _measures(controls: Mapping[str, ControlsDoc], metrics: Sequence[str]) -> Html:
    """Return the distribution measures of the controls."""
    scored = [values for document in controls.values() for values in document.scores.values()]
    names = list(dict.fromkeys(name for values in scored for name in values if name not in metrics))
    body: list[Sequence[object] | Html] = []
    for key, document in controls.items():
        body.append(group_row(key, len(names) + 1))
        body += [
            [name, *(measure_text(measured, values.get(measured)) for measured in names)]
            for name, values in document.scores.items()
        ]
    meanings = [f"{measure(n).label}: {measure(n).meaning}" for n in names if measure(n).meaning]
    return join(
        [
            table(["", *(measure(name).label for name in names)], body),
            tag("p", " ".join(meanings), class_="hint"),
        ]
    )


def _summary(dataset: DatasetCard) -> Html:
    composition = " ".join(f"{symbol}{n}" for symbol, n in dataset.composition.items())
    text = f"{sum(dataset.composition.values()):,} atoms ({composition}), cell {_cell(dataset)}"
    temperature = dataset.protocol.get("temperature")
    if temperature is not None:
        text += f", sampled at {temperature:g} K"
    name = dataset.protocol.get("name") or dataset.protocol.get("protocol")
    if name:
        text += f" by the {name} protocol"
    stage = dataset.protocol.get("stage")
    if stage:
        text += f": {stage}"
    return tag("p", f"{text}.", class_="lead")


def _cell(dataset: DatasetCard) -> str:
    cell = dataset.cell
    off = [abs(cell[i][j]) for i in range(3) for j in range(3) if i != j]
    if max(off) < 1e-9:
        return " × ".join(f"{cell[i][i]:.6g}" for i in range(3)) + " Å"
    return "; ".join(", ".join(f"{x:.5g}" for x in vector) for vector in cell) + " Å"


def _cards(dataset: DatasetCard) -> Html:
    sets = [
        f"{name}: {n:,}{' more' if name == 'high' else ''}" for name, n in dataset.counts.items()
    ]
    members = [card("structures", f"{dataset_size(dataset):,}", sets)]
    members += relaxed_cards(dataset)
    sampling: dict[str, Any] = dataset.statistics.get("sampling") or {}
    selection: dict[str, Any] = dataset.statistics.get("selection") or {}
    if selection.get("n_independent") is not None:
        available = selection.get("n_independent_available")
        below = [f"of {selection.get('n', NOTHING):,} drawn"]
        if available is not None:
            below.append(f"{available:,} were to be had")
        members.append(card("independent in the set", f"{selection['n_independent']:,}", below))
    if sampling.get("n_effective") is not None:
        below = [
            f"for {order_title(str(sampling.get('limiting_parameter')))}, the slowest observable",
            f"one in {number(sampling.get('inefficiency'))} snapshots",
        ]
        members.append(card("independent in all runs", f"{sampling['n_effective']:,.0f}", below))
    if sampling.get("agreement"):
        r_hat = sampling.get("r_hat")
        text = f"largest split R-hat: {NOTHING if r_hat is None else format(r_hat, '.4f')}"
        members.append(
            card("Monte Carlo runs", sampling["agreement"], [text, "at most 1.01 is agreement"])
        )
    return cards(*members)


def _sampling(page: Page, dataset: DatasetCard) -> Html:
    """Return order parameters, autocorrelation and a table of all observables."""
    sampling: dict[str, Any] = dataset.statistics.get("sampling") or {}
    parameters: dict[str, dict[str, float]] = sampling.get("parameters") or {}
    training = dataset.statistics.get("warren_cowley") or {}
    if not parameters and not training:
        return Html("")
    order = {name: values for name, values in parameters.items() if "NN_" in name}
    series = {"training set": training, "all snapshots in use": order}
    plots = [
        page.plot(
            order_plot({label: values for label, values in series.items() if values}),
            "Warren-Cowley parameters of the training set and of the snapshots",
            "Mean and standard deviation of the order parameters.",
        ),
        page.plot(
            autocorrelation_plot(
                {n: v.get("autocorrelation_passes") for n, v in parameters.items()},
                sampling.get("snapshot_interval"),
            ),
            "passes between independent snapshots, by observable",
            "So many passes apart, snapshots count as independent. Dotted: passes between "
            "snapshots, below which nothing can be told.",
        ),
    ]
    parts = [page.heading(3, "Sampling"), tag("div", *plots, class_="pair")]
    if parameters:
        parts.append(details("All observables", _parameters(parameters)))
    return join(parts)


def _parameters(parameters: Mapping[str, Mapping[str, float]]) -> Html:
    rows = [
        [
            order_title(name),
            *(_plain(values.get(key), ".4f") for key in ("mean", "std")),
            number(values.get("standard_error"), 2),
            number(values.get("autocorrelation_passes")),
            _plain(values.get("n_effective"), ",.0f"),
            _plain(values.get("r_hat"), ".4f"),
        ]
        for name, values in parameters.items()
    ]
    head = ["", "mean", "std", "error of mean", "passes until independent", "N_eff", "R-hat"]
    note = "energy: formation energy in eV/atom. order: largest share of a species on one of the "
    note += "four simple cubic sublattices. All others: Warren-Cowley parameters."
    return join([table(head, rows), tag("p", note, class_="hint")])


def _plain(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _provenance(page: Page, dataset: DatasetCard) -> Html:
    settings = {**dataset.protocol, **dataset.seeds}
    if settings.get("protocol") == settings.get("name"):
        settings.pop("protocol", None)
    groups = dict(setting_groups(settings))
    rows = [[_SETTINGS.get(key, key.replace("_", " ")), text] for key, text in groups.pop("", [])]
    rows.append(["made", dataset.created])
    versions = ", ".join(f"{name} {version}" for name, version in dataset.versions.items())
    rows.append(["versions", versions])
    lines: list[Sequence[object] | Html] = [*rows]
    for heading, group in groups.items():
        lines.append(group_row(heading, 2))
        lines += [[label, code(text) if is_hash(text) else text] for label, text in group]
    files = [
        [
            f"{name}.extxyz",
            f"{n:,}",
            code(dataset.sha256.get(f"{name}.extxyz", NOTHING)),
            code(dataset.content_hashes.get(name, NOTHING)),
        ]
        for name, n in dataset.counts.items()
    ]
    head = ["file", "structures", "SHA-256", "content hash"]
    return join([page.heading(3, "Provenance"), table([], lines, "facts"), table(head, files)])
