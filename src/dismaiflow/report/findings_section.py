"""The part of a score's report that only structures with free atoms have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.plots import histogram_plot
from dismaiflow.report.relaxation_table import relaxation_rows
from dismaiflow.report.structure_plots import motif_plot, two_curves
from dismaiflow.report.words import motif_text, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.benchmark.findings import (
        Findings,
        InterfaceEnergies,
        MotifShare,
        MotifTable,
    )
    from dismaiflow.benchmark.schemas import ScoreDoc

#: Curves that are drawn large; the others are panels.
_LARGE = ("rdf", "angle")

_HISTOGRAM = 280

_BAND = "Shaded: pointwise 95 % bootstrap interval of the generated mean."


def findings_section(page: Page, score: ScoreDoc) -> Html:
    """Return relaxations, energies, curves, motifs and bonds; nothing for an alloy.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    score : ScoreDoc
        The score.
    """
    found = score.findings
    parts = [
        _relaxations(page, score),
        _energies(page, found.interface_energies),
        _similarity(page, score),
        _curves(page, found),
        _motifs(page, found),
        _bonds(page, found),
        *(
            tag("p", f"Not shown: {name.replace('_', ' ')}, because {why}.", class_="hint")
            for name, why in found.missing.items()
        ),
    ]
    return join(parts)


def _relaxations(page: Page, score: ScoreDoc) -> Html:
    """Return steps and energies beside those of Tables S2 and S3."""
    found = score.findings.relaxations
    if found is None:
        return Html("")
    sides = (("generated", found.generated), ("reference", found.reference))
    rows = relaxation_rows(sides, score.system, found.potential.name)
    return join([page.heading(3, "Relaxation"), rows])


def _energies(page: Page, found: InterfaceEnergies | None) -> Html:
    if found is None:
        return Html("")
    rows: list[Sequence[object]] = [
        ["mean of the generated, J/m²", f"{number(found.mean)} ± {number(found.std)}"],
        ["lowest of the generated, J/m²", number(found.lowest)],
        ["generated at low energy, %", number(found.percent_low)],
        ["mean of the reference, J/m²", number(found.reference_mean)],
        ["reference energy, eV/atom", f"{found.reference_energy:.6f}"],
        ["fixed by", found.rule],
        ["area, Å²", number(found.area, 5)],
    ]
    parts = [page.heading(3, "Normalised interface energy")]
    if found.histogram is not None:
        plot = histogram_plot(found.histogram, "interface energy, J/m²", _HISTOGRAM, compact=False)
        parts.append(page.plot(plot, "interface energies of training and generated structures"))
    return join([*parts, table([], rows, "facts")])


def _similarity(page: Page, score: ScoreDoc) -> Html:
    if not score.similarity:
        return Html("")
    rows = []
    for name, metric in score.similarity.items():
        interval = ""
        if metric.ci95:
            interval = f"{metric.ci95[0]:.4f} to {metric.ci95[1]:.4f}"
        elif metric.min is not None and metric.max is not None:
            interval = f"({metric.min:.4f}, {metric.max:.4f})"
        value = "n/a" if metric.value is None else f"{metric.value:.4f}"
        rows.append([name.removeprefix("cos_").capitalize(), value, interval])
    head = ["mean fingerprints of", "cosine similarity", "95 % interval"]
    return join([page.heading(3, "Cosine similarity"), table(head, rows)])


def _curves(page: Page, found: Findings) -> Html:
    if not found.curves:
        return Html("")
    angles = " and bond angles" if "angle" in found.curves else ""
    parts = [page.heading(3, f"Radial distributions{angles}")]
    large = {name: curve for name, curve in found.curves.items() if name in _LARGE}
    small = {name: curve for name, curve in found.curves.items() if name not in _LARGE}
    for curve in large.values():
        parts.append(tag("h4", curve.title))
        parts.append(page.plot(two_curves(curve), f"{curve.title}, training and generated", _BAND))
    panels = []
    for curve in small.values():
        head = tag("div", tag("b", curve.title), class_="panel-head")
        plot = page.plot(two_curves(curve, compact=True), f"g(r) of {curve.title}")
        panels.append(tag("div", head, plot, class_="panel"))
    if panels:
        key = join(
            [
                tag("span", class_="key training"),
                "training set ",
                tag("span", class_="key new"),
                "generated set. Partial g(r), relative to the mean density of the whole cell.",
            ]
        )
        parts += [tag("p", key), tag("div", *panels, class_="panels")]
    return join(parts)


def _motifs(page: Page, found: Findings) -> Html:
    tables = [one for one in found.motifs if one.motifs]
    if not tables:
        return Html("")
    parts = [page.heading(3, "Most likely coordination motifs")]
    for one in tables:
        plot = motif_plot(one)
        title = f"{one.species} atoms"
        caption = "Motifs of at least 1 % of the training atoms, with 95 % bootstrap intervals."
        parts += [tag("h4", title), page.plot(plot, f"motifs of {title}", caption)]
        parts.append(_by_count(one))
    return join(parts)


def _by_count(one: MotifTable) -> Html:
    """Return motifs by the number of neighbours of one anion, in both sets."""
    if one.counted is None:
        return Html("")
    counts = sorted(
        {
            int(n)
            for share in one.motifs
            for n in (*share.reference_by_count, *share.generated_by_count)
        }
    )
    if len(counts) < 2:
        return Html("")
    rows = [
        [
            motif_text(share.motif),
            *(_count_cell(share, str(n)) for n in counts),
        ]
        for share in one.motifs
    ]
    head = ["motif", *(f"{n} {one.counted}" for n in counts)]
    note = f"Per cent of the {one.species} atoms by number of {one.counted} neighbours: generated "
    return join([table(head, rows), tag("p", note + "(training).", class_="hint")])


def _count_cell(share: MotifShare, count: str) -> str:
    """Return generated and training share; nothing where both are none."""
    ours, theirs = share.generated_by_count.get(count), share.reference_by_count.get(count)
    if not ours and not theirs:
        return ""
    return f"{number(ours or 0.0, 2)} ({number(theirs or 0.0, 2)})"


def _bonds(page: Page, found: Findings) -> Html:
    rows = [
        [
            f"{bond.centre}-{bond.neighbour}",
            number(bond.generated),
            f"{number(bond.low)} to {number(bond.high)}" if bond.low is not None else "",
            number(bond.reference),
        ]
        for bond in found.bonds
        if bond.generated is not None or bond.reference is not None
    ]
    if not rows:
        return Html("")
    head = ["bond", "generated", "95 % interval", "training"]
    note = (
        "Mean number of neighbours of an atom at its most likely coordination number; in an "
        "interface of the atoms of the region."
    )
    return join([page.heading(3, "Bonds"), table(head, rows), tag("p", note, class_="hint")])
