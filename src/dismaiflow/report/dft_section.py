"""The part of a report that is about DFT after a potential (Table 5 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.facts import part
from dismaiflow.report.markup import Html, Page, join, table, tag
from dismaiflow.report.words import NOTHING, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.structures.dataset import DatasetCard

#: Quantities of the table and what they are called.
_COLUMNS = {
    "n_steps": "DFT steps",
    "m_opt": "|ΔE M-opt| (meV/atom)",
    "d_opt": "|ΔE D-opt| (meV/atom)",
}

_GROUPS = {"low": "low energy", "high": "high energy", "all": "all"}

#: Table 5 of the paper, mean and standard deviation: Li3ScCl6|LiCoO2, its own M3GNet and VASP.
PAPER = {
    "low": {"n_steps": (17.6, 25.7), "m_opt": (3.14, 3.41), "d_opt": (2.15, 1.42)},
    "high": {"n_steps": (56.1, 51.8), "m_opt": (11.0, 15.3), "d_opt": (4.75, 4.51)},
    "all": {"n_steps": (31.7, 41.8), "m_opt": (6.03, 10.4), "d_opt": (3.10, 3.21)},
}


def dft_section(page: Page, dataset: DatasetCard) -> Html:
    """Return how near to convergence in DFT the potential has brought structures, if it is known.

    Parameters
    ----------
    page : Page
        Takes the heading.
    dataset : DatasetCard
        Its card.
    """
    check = part(dataset.statistics, "dft_check")
    if not check:
        return Html("")
    rows = [
        [name, f"{found['n']:,}", *(_spread(part(found, key)) for key in _COLUMNS)]
        for group, name in _GROUPS.items()
        if (found := part(check, group)).get("n")
    ]
    if dataset.system == "lsc-lco":
        rows += [
            [f"paper, {_GROUPS[group]}", NOTHING, *(f"{m:g} ± {s:g}" for m, s in values.values())]
            for group, values in PAPER.items()
        ]
    labels = [str(label["engine"]) for label in part(dataset.protocol, "dft").get("labels", [])]
    text = (
        "Structures at the minimum of the potential (M-opt) were relaxed further by "
        f"{', '.join(labels) or 'DFT'} (D-opt). Mean and standard deviation of the ionic steps "
        "that this took, and of the absolute differences between the energy by the potential at "
        "M-opt and the energies by DFT at M-opt and at D-opt (Table 5 of the paper)."
    )
    return join(
        [
            page.heading(3, "How near the potential comes to DFT"),
            tag("p", text),
            table(["", "structures", *_COLUMNS.values()], rows),
        ]
    )


def _spread(found: Mapping[str, Any]) -> str:
    if not found:
        return NOTHING
    return f"{number(found.get('mean'))} ± {number(found.get('std'))}"
