"""The part of a report, and the table of the terminal, that are about interface regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.grid import Block, draw
from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.pieces import remark_list
from dismaiflow.report.region_plots import (
    bonds_plot,
    counted_motifs_plot,
    region_curve_plot,
    region_energies_plot,
    region_motifs_plot,
    set_colours,
)
from dismaiflow.report.region_rows import (
    PUBLISHED_NOTE,
    estimate_text,
    interval_text,
    set_facts,
    similarity_rows,
)
from dismaiflow.report.remarks import Remark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from dismaiflow.benchmark.region_schemas import RegionEvaluationDoc

_INTERVALS = "Brackets and bars: 95 % bootstrap intervals over structures."


def region_section(page: Page, document: RegionEvaluationDoc) -> Html:
    """Return everything about one evaluation of regions (paper, section 2.5).

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    document : RegionEvaluationDoc
        The evaluation.
    """
    colours = set_colours(list(document.sets))
    return tag(
        "section",
        page.heading(2, f"Regions of {document.system}"),
        _summary(document),
        _remarks(document),
        _sets(document),
        _energies(page, document, colours),
        _fingerprints(page, document),
        _motifs(page, document, colours),
        _bonds(page, document, colours),
        _curves(page, document, colours),
        class_="block",
    )


def _summary(document: RegionEvaluationDoc) -> Html:
    centres, anions = (" and ".join(names) for names in (document.centres, document.anions))
    text = (
        f"{centres} in the disordered region of each structure, with {anions} as neighbours; the "
        "region is found in each structure from its geometry."
    )
    return tag("p", text, class_="lead")


def _remarks(document: RegionEvaluationDoc) -> Html:
    found = [Remark(f"{name}: {text}.", "warning") for name, text in document.missing.items()]
    for name, one in document.sets.items():
        if one.failures:
            n = sum(one.failures.values())
            found.append(
                Remark(
                    f"{name}: {n} of {one.n_structures} structures could not be evaluated.",
                    "warning",
                    f"({one.example})" if one.example else "",
                )
            )
    return remark_list(found)


def _sets(document: RegionEvaluationDoc) -> Html:
    facts = [set_facts(name, one) for name, one in document.sets.items()]
    return table(list(facts[0]), [list(one.values()) for one in facts])


def _energies(page: Page, document: RegionEvaluationDoc, colours: Mapping[str, str]) -> Html:
    energies = document.energies
    if energies is None:
        return Html("")
    rows = [
        [name, f"{one.n:,}", f"{one.mean:.3f}", f"{one.percent_low:.1f}"]
        for name, one in energies.sets.items()
    ]
    note = f"At or below {energies.cut:g} J/m² the energy is low; {energies.rule}."
    return join(
        [
            page.heading(3, "Interface energies"),
            page.plot(
                region_energies_plot(energies, colours),
                "distributions of the interface energy",
                "All structures with a known energy, those left out below included (Fig. 8).",
            ),
            table(["set", "structures", "mean, J/m²", "% low"], rows),
            tag("p", note, class_="hint"),
        ]
    )


def _fingerprints(page: Page, document: RegionEvaluationDoc) -> Html:
    parts = [page.heading(3, "Mean fingerprints beside those of the training set")]
    has_published = False
    for centre in document.centres:
        rows = []
        for row in similarity_rows(document, centre):
            has_published |= row.is_published
            cells = [
                join([value, tag("span", f" {interval}", class_="interval")])
                for value, interval in (row.distance, row.cosine)
            ]
            rows.append([row.name, *cells])
        if rows:
            parts.append(table([centre, "Euclidean distance", "cosine similarity"], rows))
    note = f"{_INTERVALS} {PUBLISHED_NOTE}" if has_published else _INTERVALS
    return join([*parts, tag("p", note, class_="hint")])


def _motifs(page: Page, document: RegionEvaluationDoc, colours: Mapping[str, str]) -> Html:
    parts = []
    for centre, motifs in document.motifs.items():
        if not motifs:
            continue
        parts.append(page.heading(3, f"Coordination motifs of {centre}"))
        caption = f"Motifs that more than 1 % of the training set's {centre} have. {_INTERVALS}"
        plot = region_motifs_plot(centre, motifs, colours)
        parts.append(page.plot(plot, f"most likely motifs of {centre}", caption))
        for anion in document.anions:
            plot = counted_motifs_plot(centre, anion, motifs, colours)
            parts.append(
                page.plot(
                    plot,
                    f"motifs of {centre} by number of {anion}",
                    f"The same by the number of {anion} among the neighbours; rows below 1 % in "
                    "all sets are left out.",
                )
            )
    return join(parts)


def _bonds(page: Page, document: RegionEvaluationDoc, colours: Mapping[str, str]) -> Html:
    plot = bonds_plot(document.bonds, colours)
    if plot is None:
        return Html("")
    caption = f"Neighbours at the most likely coordination number. {_INTERVALS}"
    figure = page.plot(plot, "bonds of the cations in the region", caption)
    names = list(document.sets)
    rows = [
        [f"{row.centre}–{row.neighbour}"]
        + [
            f"{estimate_text(row.count[name])} {interval_text(row.count[name])}"
            if name in row.count
            else ""
            for name in names
        ]
        for row in document.bonds
    ]
    return join([page.heading(3, "Bonds"), figure, table(["bonds per atom", *names], rows)])


def _curves(page: Page, document: RegionEvaluationDoc, colours: Mapping[str, str]) -> Html:
    if not document.curves:
        return Html("")
    plots = [
        page.plot(
            region_curve_plot(curve, colours),
            f"g(r) of {curve.neighbour} around {curve.centre} in the region",
        )
        for curve in document.curves
    ]
    note = (
        "The second species is counted in the whole structure, its mean density over the whole "
        "cell, vacuum included."
    )
    return join(
        [
            page.heading(3, "Radial distribution functions"),
            tag("div", *plots, class_="pair"),
            tag("p", note, class_="hint"),
        ]
    )


def region_table(document: RegionEvaluationDoc) -> RenderableType:
    """Draw an evaluation for the terminal: sets, Tables 4 and S7, bonds.

    Parameters
    ----------
    document : RegionEvaluationDoc
        The evaluation.

    Returns
    -------
    renderable
        To be printed by a console of rich, at least 80 columns wide.
    """
    from rich.console import Group
    from rich.text import Text

    centres = ", ".join(document.centres)
    parts: list[RenderableType] = [
        Text(f"{document.system}: {centres} in the region", style="bold"),
        Text(""),
    ]
    for name, one in document.sets.items():
        facts = set_facts(name, one)
        failed = f"; failed: {facts['failed']}" if one.failures else ""
        parts.append(
            Text(
                f"{facts['set']} ({facts['chosen']}): {facts['evaluated']} evaluated, "
                f"{facts['in a region']} in a region{failed}"
            )
        )
    parts.append(Text(""))
    blocks = []
    for centre in document.centres:
        for published, heading in ((False, centre), (True, f"{centre}, published")):
            rows = [r for r in similarity_rows(document, centre) if r.is_published == published]
            if rows:
                cells = [[row.distance, row.cosine] for row in rows]
                blocks.append(Block(heading, [row.name for row in rows], cells))
    parts += [draw(["distance", "cosine"], blocks), Text("")]
    names = list(document.sets)
    bonds = [
        [
            (estimate_text(row.count[name]), interval_text(row.count[name]))
            if name in row.count
            else ("", "")
            for name in names
        ]
        for row in document.bonds
    ]
    labels = [f"{row.centre}-{row.neighbour}" for row in document.bonds]
    parts += [draw(names, [Block("bonds per atom", labels, bonds)]), Text("")]
    parts += [Text(f"- {name}: {text}", style="yellow") for name, text in document.missing.items()]
    return Group(*parts)
