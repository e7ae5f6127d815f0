"""The part of a report that is about the structures of an interface or an amorphous dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.facts import card_facts
from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.plots import curve_plot, shares_plot

if TYPE_CHECKING:
    from dismaiflow.structures.dataset import DatasetCard


def structure_section(page: Page, dataset: DatasetCard) -> Html:
    """Return the statistics of a dataset that is no alloy's; nothing for an alloy.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    dataset : DatasetCard
        Its card.
    """
    facts = card_facts(dataset)
    if not facts:
        return Html("")
    return join(
        [
            page.heading(3, "Structures"),
            _parent(page, dataset.statistics.get("parent_quality") or {}),
            table([], facts, "facts"),
            tag("p", "Lengths in Å, areas in Å², angles in degrees.", class_="hint"),
        ]
    )


def _parent(page: Page, quality: dict[str, Any]) -> Html:
    """Return g(r) and the bonds of the parent that blocks were cut from."""
    rdf, bonds = quality.get("rdf") or {}, quality.get("coordination") or {}
    plots = []
    if rdf.get("r") and rdf.get("g"):
        plot = curve_plot(rdf["r"], rdf["g"], "distance, Å", "g(r)")
        caption = "Radial distribution function; 1 is the mean density."
        plots.append(page.plot(plot, "g(r) of the parent", caption))
    if bonds:
        plot = shares_plot(bonds, "bonds of an atom", "share of atoms")
        caption = f"Neighbours nearer than {quality.get('cutoff', 0):.3g} Å."
        plots.append(page.plot(plot, "coordination of the atoms of the parent", caption))
    return tag("div", *plots, class_="pair") if plots else Html("")
