"""The part of a report that is about how structures were found: yield, energies, relaxations."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dismaiflow.report.facts import (
    ending_label,
    endings,
    part,
    potential_of,
    relaxation_facts,
    search_facts,
)
from dismaiflow.report.markup import Html, Page, details, join, table, tag
from dismaiflow.report.pieces import card
from dismaiflow.report.relaxed_plots import endings_plot, energy_plot, progress_plot
from dismaiflow.report.words import NOTHING, number, percent, plural, reason_meaning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.structures.dataset import DatasetCard

#: How a structure of a dataset can end. What is not here is a reason for failure of scores too.
_MEANINGS = {
    "low": "relaxed, and its energy is below the cut: these make the dataset",
    "high": "relaxed, but its energy is above the cut",
    "converged": "relaxed: these make the dataset",
    "duplicate": "the same as one that was found before",
    "implausible_energy": "an energy far below all others: a hole of the potential",
    "lost": "the job that relaxes it did not finish",
    "dft_not_converged": "DFT ran out of steps, or its handlers gave up",
    "dft_walltime": "DFT was stopped before its walltime",
    "dft_exploded": "energies or forces of DFT became absurd",
    "dft_failed": "the run of DFT left nothing that can be read",
    "dft_job_failed": "the job that runs DFT did not finish",
    "slab_lost": "a slab has lost too many of its sites",
    "mixed": "an ion of the other phase lies deep in a slab",
    "detached": "atoms lie apart from all others",
    "delaminated": "the slabs have come apart",
    "region_closed": "hardly anything is left of the region between the slabs",
    "vacuum_closed": "there is no vacuum left between the free surfaces",
}

#: Facts that the headline numbers and the figures show already.
_SHOWN = ("tried", "ended", "low, but not needed", "stopped by", "rounds", "force calls")


def relaxed_cards(dataset: DatasetCard) -> list[Html]:
    """Return the headline numbers of a relaxed dataset; none for another.

    Parameters
    ----------
    dataset : DatasetCard
        Its card.
    """
    statistics = dataset.statistics
    search = part(statistics, "search")
    members = []
    if search.get("n_tried") is not None:
        members.append(_tried_card(search))
        members.append(_yield_card(search, endings(statistics)))
    reference = part(statistics, "reference_energy")
    if reference.get("value") is not None:
        below = ["eV/atom", *([str(reference["rule"])] if reference.get("rule") else [])]
        members.append(card("reference energy", f"{reference['value']:.4f}", below))
    energy = part(statistics, "energy_per_atom")
    if energy.get("mean") is not None:
        ends = f"eV/atom, {number(energy.get('min'), 4)} to {number(energy.get('max'), 4)}"
        members.append(card("mean energy", f"{energy['mean']:.4f}", [ends]))
    members += _defects_card(part(statistics, "coordination"))
    potential = potential_of(dataset)
    if potential:
        below = [*_calls(statistics), f"hash {str(potential.get('hash'))[:12]}"]
        members.append(card("potential", potential.get("name", NOTHING), below))
    return members


def _tried_card(search: Mapping[str, Any]) -> Html:
    below = [f"stopped by {search['stopped_by']}"] if search.get("stopped_by") else []
    if search.get("rounds"):
        below.append(plural(len(search["rounds"]), "round"))
    return card("tried", f"{search['n_tried']:,}", below)


def _yield_card(search: Mapping[str, Any], ended: Mapping[str, int]) -> Html:
    below = [f"{ended.get('low', 0):,} of {search['n_tried']:,} are low in energy"]
    if search.get("n_surplus"):
        below.append(f"{search['n_surplus']:,} more than were needed")
    share = search.get("yield_percent")
    return card("yield", NOTHING if share is None else f"{percent(share)} %", below)


def _defects_card(coordination: Mapping[str, Any]) -> list[Html]:
    """Return the share of atoms with an unusual number of neighbours, if it is known."""
    shares = {k: f"{percent(100 * n)} %" for k, n in part(coordination, "defects").items()}
    if "relaxed" not in shares:
        return []
    usual = list(part(coordination, "usual").values())
    below = [f"atoms without {usual[0]} neighbours"] if len(usual) == 1 else []
    below += [f"{name}: {text}" for name, text in shares.items() if name != "relaxed"]
    return [card("defects", shares["relaxed"], below)]


def _calls(statistics: Mapping[str, Any]) -> list[str]:
    """Say how often forces were computed."""
    relaxation = part(statistics, "relaxation")
    calls = part(statistics, "search").get("n_force_calls") or relaxation.get("force_calls")
    return [f"{int(calls):,} force calls"] if calls else []


def search_section(page: Page, dataset: DatasetCard) -> Html:
    """Return how the structures of a dataset were found and relaxed; nothing where none were.

    Parameters
    ----------
    page : Page
        Takes figures and headings.
    dataset : DatasetCard
        Its card.
    """
    statistics = dataset.statistics
    ended, energy = endings(statistics), part(statistics, "interface_energy")
    lines = [
        line
        for line in (*search_facts(statistics), *relaxation_facts(statistics))
        if line[0] not in _SHOWN
    ]
    if not (ended or energy or lines):
        return Html("")
    rounds = part(statistics, "search").get("rounds") or []
    beside = join([_endings(page, ended), _progress(page, rounds)])
    drawn = [_energies(page, energy, statistics), tag("div", beside) if beside else ""]
    return join(
        [
            page.heading(3, "Interface energies" if energy else "Relaxation"),
            tag("div", *drawn, class_="pair"),
            _energy_table(energy),
            table([], lines, "facts") if lines else None,
            details("What the ends mean", _endings_table(ended)) if ended else None,
            _reference(part(statistics, "reference_energy")),
        ]
    )


def _energies(page: Page, energy: Mapping[str, Any], statistics: Mapping[str, Any]) -> Html:
    caption = "Of all structures that relaxed well."
    value = part(statistics, "reference_energy").get("value")
    if value is not None:
        caption += f" 0 is the reference energy of {value:.5g} eV/atom."
    if energy.get("cut") is not None:
        caption += f" Dashed: the cut at {energy['cut']:.3g} J/m², up to which energies are low."
    description = "distribution of the normalised interface energies"
    return page.plot(energy_plot(energy), description, caption)


def _endings(page: Page, ended: Mapping[str, int]) -> Html:
    total = plural(sum(ended.values()), "structure")
    return page.plot(
        endings_plot(ended), "how all structures ended", f"How all {total} that were tried ended."
    )


def _progress(page: Page, rounds: Sequence[Mapping[str, Any]]) -> Html:
    caption = "Structures of low energy after each round."
    if any(after.get("low", 0) < before.get("low", 0) for before, after in pairwise(rounds)):
        caption += " Where they become fewer, the reference energy has moved."
    description = "structures of low energy against structures tried"
    return page.plot(progress_plot(rounds), description, caption)


def _energy_table(energy: Mapping[str, Any]) -> Html:
    """Return number and range of low and high energies."""
    rows = [
        [f"{name} energy", f"{found['n']:,}", *(number(found.get(key)) for key in _RANGE)]
        for name in ("low", "high")
        if (found := part(energy, name)).get("n")
    ]
    if not rows:
        return Html("")
    return table(["J/m²", "structures", *_RANGE], rows)


_RANGE = ("min", "mean", "max")


def _endings_table(ended: Mapping[str, int]) -> Html:
    total = sum(ended.values())
    rows = [
        [
            ending_label(name),
            f"{n:,}",
            f"{percent(100 * n / total)} %",
            _MEANINGS.get(name) or reason_meaning(name),
        ]
        for name, n in ended.items()
    ]
    return table(["", "structures", "share", ""], rows)


def _reference(reference: Mapping[str, Any]) -> Html:
    """Return how the reference energy moved while structures of lower energy were found."""
    history = reference.get("history") or []
    if len(history) < 2:
        return Html("")
    rows = [[f"{one.get('after', 0):,}", number(one.get("value"), 6)] for one in history]
    head = ["structures tried", "reference energy (eV/atom)"]
    return details("How the reference energy moved", table(head, rows))
