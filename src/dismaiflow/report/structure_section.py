"""The part of a report that is about the structures of an interface or an amorphous dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.dft_section import dft_section
from dismaiflow.report.facts import card_facts, coordination_shares, part
from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.plots import curve_plot, shares_plot
from dismaiflow.report.relaxed_plots import coordination_plot
from dismaiflow.report.search_section import search_section
from dismaiflow.report.viewer import viewers
from dismaiflow.report.words import NOTHING, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.structures.dataset import DatasetCard


def structure_section(page: Page, dataset: DatasetCard) -> Html:
    """Return the statistics of a dataset that is no alloy's; nothing for an alloy.

    Parameters
    ----------
    page : Page
        Takes figures, structures and headings.
    dataset : DatasetCard
        Its card.
    """
    if dataset.kind == "alloy":
        return Html("")
    statistics = dataset.statistics
    facts = card_facts(dataset)
    parts = [
        search_section(page, dataset),
        dft_section(page, dataset),
        lowest_part(page, statistics),
    ]
    coordination = coordination_part(page, statistics)
    parent = _parent(page, statistics)
    if facts or coordination or parent:
        parts += [page.heading(3, "Structures"), coordination, parent]
    if facts:
        hint = "Lengths in Å, areas in Å², angles in degrees."
        parts += [table([], facts, "facts"), tag("p", hint, class_="hint")]
    return join(parts)


def lowest_part(page: Page, statistics: Mapping[str, Any]) -> Html:
    """Return the structures of lowest energy in the viewer.

    Parameters
    ----------
    page : Page
        Takes structures and a heading.
    statistics : dict
        Of a card: ``lowest`` is a list of ``symbols``, ``positions`` and ``cell`` (Å) with
        ``index`` and ``interface_energy`` (J/m^2) or ``energy_per_atom`` (eV).
    """
    named = [(_name(one, place), one) for place, one in enumerate(statistics.get("lowest") or [])]
    examples = {name: (_lowest_caption(name, one), one) for name, one in named}
    if not examples:
        return Html("")
    return join([page.heading(3, "Lowest structures"), viewers(page, examples)])


def _name(one: Mapping[str, Any], place: int) -> str:
    """Name a structure; the sets of an amorphous dataset each begin at 0."""
    return f"{one.get('set', '')} structure {one.get('index', place)}".strip()


def _lowest_caption(name: str, one: Mapping[str, Any]) -> str:
    if one.get("interface_energy") is not None:
        return f"{name}: {one['interface_energy']:.3f} J/m²"
    if one.get("energy_per_atom") is not None:
        return f"{name}: {one['energy_per_atom']:.4f} eV/atom"
    return name


def coordination_part(page: Page, statistics: Mapping[str, Any]) -> Html:
    """Return how many neighbours atoms have in parent, sliced and relaxed blocks (paper, Fig. S3).

    Parameters
    ----------
    page : Page
        Takes the figures.
    statistics : dict
        Of a card: ``coordination`` holds ``cutoff`` (Å) and shares of the atoms by number of
        neighbours, by stage; and where they are known ``mean``, ``usual``, ``defects``, and the
        shares ``by_element``.
    """
    stages = coordination_shares(statistics)
    if not stages:
        return Html("")
    found = part(statistics, "coordination")
    cutoff, elements = found.get("cutoff"), part(found, "by_element")
    within = "." if cutoff is None else f" nearer than {cutoff:.3g} Å."
    plots = [
        page.plot(
            coordination_plot(shares),
            f"neighbours of {name} in parent, sliced and relaxed blocks",
            f"Shares of {name} by number of neighbours{within}",
        )
        for name, shares in (elements or {"the atoms": stages}).items()
    ]
    return join([tag("div", *plots, class_="pair"), _coordination_table(stages, found)])


def _coordination_table(stages: Mapping[str, Mapping[str, float]], found: dict[str, Any]) -> Html:
    """Return the shares in per cent, means and defects."""
    numbers = sorted({n for shares in stages.values() for n in shares}, key=int)
    means, defects, usual = (part(found, key) for key in ("mean", "defects", "usual"))
    other = f"not {next(iter(usual.values()))}" if len(usual) == 1 else "defects"
    head = ["% of the atoms with", *numbers]
    head += [other] if defects else []
    head += ["mean"] if means else []
    rows = []
    for name, shares in stages.items():
        cells = [percent(100 * shares[n]) if n in shares else "" for n in numbers]
        cells += [percent(100 * defects[name]) if name in defects else NOTHING] if defects else []
        cells += [number(means.get(name))] if means else []
        rows.append([name, *cells])
    note = ""
    if len(usual) > 1:
        kept = ", ".join(f"{symbol} {n}" for symbol, n in usual.items())
        note = f"Defects: atoms with another number of neighbours than is usual ({kept})."
    return join([table(head, rows), tag("p", note, class_="hint") if note else None])


def _parent(page: Page, statistics: Mapping[str, Any]) -> Html:
    """Return g(r) and the bonds of the parent that blocks were cut from."""
    quality = part(statistics, "parent_quality")
    rdf, bonds = quality.get("rdf") or {}, quality.get("coordination") or {}
    plots = []
    if rdf.get("r") and rdf.get("g"):
        plot = curve_plot(rdf["r"], rdf["g"], "distance, Å", "g(r)")
        caption = "Radial distribution function of the parent; 1 is the mean density."
        plots.append(page.plot(plot, "g(r) of the parent", caption))
    # With blocks beside it the coordination of the parent is drawn already.
    if bonds and not coordination_shares(statistics):
        plot = shares_plot(bonds, "bonds of an atom", "share of atoms")
        caption = f"Neighbours nearer than {quality.get('cutoff', 0):.3g} Å in the parent."
        plots.append(page.plot(plot, "coordination of the atoms of the parent", caption))
    return tag("div", *plots, class_="pair") if plots else Html("")
