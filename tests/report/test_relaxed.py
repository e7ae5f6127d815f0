"""What is told and drawn of relaxed interfaces and amorphous blocks, from their cards alone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.report.documents import make_card
from tests.report.relaxed_documents import (
    POTENTIAL_HASH,
    RELAXATION,
    amorphous_card,
    interface_card,
    structure,
)
from tests.report.test_html import HOSTILE, read
from tests.report.test_plots import check
from tests.report.test_tables import print_plain, row

from dismaiflow.report.facts import card_facts, endings, relaxed_facts, setting_groups
from dismaiflow.report.html import report_text
from dismaiflow.report.relaxed_plots import (
    coordination_plot,
    endings_plot,
    energy_plot,
    progress_plot,
)
from dismaiflow.report.tables import dataset_table


def plots_of(*cards: Any) -> list[dict[str, Any]]:
    """Return the figures of a page."""
    return list(json.loads(read(report_text(datasets=cards)).scripts[0]).values())


def test_lines_of_an_interface() -> None:
    """Yield, ends, energies and relaxation, a line each; the geometry apart from them."""
    assert relaxed_facts(interface_card()) == [
        ("potential", "chgnet (chgnet, hash 9f9f9f9f9f9f)"),
        ("tried", "48 structures, 45.8 % of them low in energy"),
        ("ended", "low 22, high 21, not converged 3, detached 2"),
        ("low, but not needed", "2"),
        ("stopped by", "the number of structures"),
        ("search", "random"),
        ("rounds", "2"),
        ("force calls", "9,876"),
        ("reference energy", "-3.9876 eV/atom, the lowest structure stands at -0.4 J/m²"),
        ("cut", "0 J/m^2"),
        ("low energy", "22: mean -0.210, -0.400 to -0.00200 J/m^2"),
        ("high energy", "21: mean 0.350, 0.0100 to 0.900 J/m^2"),
        ("steps", "mean 71.5, standard deviation 20.2"),
        ("force calls of each", "mean 206"),
        ("energy fell by", "mean 341 meV/atom, standard deviation 55.0"),
        ("duplicates", "1 left out"),
    ]
    labels = [label for label, _ in card_facts(interface_card())]
    assert labels == [
        "slabs: LiCl",
        "slabs: Li2O",
        "region atoms",
        "thickness: random",
        "thickness: relaxed",
    ]


def test_lines_of_an_amorphous_set() -> None:
    """Coordination of the three stages, and how blocks ended."""
    lines = dict(relaxed_facts(amorphous_card()))
    assert lines["ended"] == "converged 19, not converged 1"
    assert lines["kept"] == "19"
    assert lines["energy"] == "mean -4.1200, -4.1500 to -4.0800 eV/atom"
    assert lines["neighbours, sliced (%)"] == "2: 5.00, 3: 15.0, 4: 70.0, 5: 10.0"


def test_no_lines_where_nothing_was_relaxed() -> None:
    """An alloy, and a random set whose card has no search."""
    assert relaxed_facts(make_card()) == []
    raw = interface_card()
    raw.protocol.pop("relaxation")
    raw.statistics = {"thickness": {"min": 4.0, "mean": 5.0, "max": 6.0}}
    assert relaxed_facts(raw) == []
    assert card_facts(raw) == [("thickness", "min 4, mean 5, max 6")]


def test_good_ends_stand_first() -> None:
    """Ends that did not happen are left out, reasons stay in the order of the card."""
    found = {"exploded": 5, "detached": 0, "high": 1, "low": 2, "mixed": 7}
    assert list(endings({"search": {"ended": found}})) == ["low", "high", "exploded", "mixed"]
    assert endings({"relaxation": {"ended": {"converged": 3}}}) == {"converged": 3}
    assert endings({}) == {}


def test_settings_in_groups() -> None:
    """Small parts stay on one line, the card of a potential becomes lines of their own."""
    values = {"name": "corrected", "exchanges": None, "search": {"method": "random"}}
    groups = dict(setting_groups({**values, "relaxation": RELAXATION}))
    assert groups[""] == [
        ("name", "corrected"),
        ("exchanges", "none"),
        ("search", "method random"),
    ]
    lines = dict(groups["relaxation"])
    assert lines["potential: hash"] == POTENTIAL_HASH
    assert lines["potential: weights: chgnet.pth"] == "7a" * 32
    assert lines["settings: max steps"] == "1,000"
    assert lines["push"] == "min distance 1.5"
    assert "potential: elements" not in lines


def test_energies_are_stacked_and_cut() -> None:
    """Bars at the middle of their bins, and a line where low energies end."""
    energy = interface_card().statistics["interface_energy"]
    plot = check(energy_plot(energy))
    low, high = plot.data
    assert low["x"] == pytest.approx([-0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9])
    assert (sum(low["y"]), sum(high["y"])) == (22, 21)
    assert plot.layout["barmode"] == "stack"
    assert [line["x0"] for line in plot.layout["shapes"]] == [0.0]
    assert energy_plot({}) is None
    assert energy_plot({"histogram": {"edges": [0.0]}}) is None


def test_ends_as_bars() -> None:
    """What is kept has the colour of the dataset, failures that of failures."""
    plot = check(endings_plot({"low": 3, "high": 1, "exploded": 4}))
    (bars,) = plot.data
    assert bars["marker"]["color"] == ["@new", "@training", "@failed"]
    assert bars["text"] == ["3 (37.5 %)", "1 (12.5 %)", "4 (50.0 %)"]
    assert endings_plot({}) is None


def test_progress_needs_two_rounds() -> None:
    """Counts are of all rounds so far; a fall is explained."""
    plot = check(progress_plot([{"tried": 24, "low": 12}, {"tried": 48, "low": 9}]))
    assert plot.data[0]["x"] == [0, 24, 48]
    assert plot.data[0]["y"] == [0, 12, 9]
    assert progress_plot([{"tried": 24, "low": 12}]) is None
    card = interface_card()
    assert "has moved" not in read(report_text(datasets=[card])).text
    card.statistics["search"]["rounds"] = [{"tried": 24, "low": 12}, {"tried": 48, "low": 9}]
    assert "Where they become fewer, the reference energy has moved" in report_text(datasets=[card])


def test_stages_side_by_side() -> None:
    """Numbers of neighbours in order, 10 after 9; what no bar could show is left out."""
    plot = check(
        coordination_plot({"parent": {"9": 0.4, "10": 0.6}, "relaxed": {"2": 1e-4, "10": 1.0}})
    )
    assert [trace["x"] for trace in plot.data] == [["9", "10"]] * 2
    assert plot.data[1]["y"] == [0.0, 100.0]
    assert coordination_plot({}) is None


def test_page_of_an_interface() -> None:
    """Headline numbers, figures, the lowest structures and readable settings."""
    page = read(report_text(datasets=[interface_card()]))
    for expected in (
        "random structures, relaxed and filtered",
        "structures 20 train: 16 val: 4 high: 21 more",
        "tried 48 stopped by the number of structures 2 rounds",
        "45.8 %",
        "22 of 48 are low in energy",
        "-3.9876",
        "9,876 force calls",
        "force calls of each mean 206",
        "Dashed: the cut at 0 J/m²",
        "low energy 22 -0.400 -0.210 -0.00200",
        "How all 48 structures that were tried ended.",
        "atoms lie apart from all others",
        "forces are left after the last step",
        "structure 40: -0.400 J/m²",
        "potential: hash " + POTENTIAL_HASH,
        "structures tried reference energy (eV/atom) 24 -3.98000 48 -3.98765",
        "2 structures were left out because atoms detached",
    ):
        assert expected in page.text, expected
    assert "{" not in page.text
    assert len(json.loads(page.scripts[0])) == 3
    assert len(json.loads(page.scripts[1])) == 3


def test_page_of_an_amorphous_set() -> None:
    """Coordination with its cutoff, defects, g(r) of the parent, the lowest block."""
    page = read(report_text(datasets=[amorphous_card()]))
    for expected in (
        "defects 14.0 % atoms without 4 neighbours parent: 6.00 % sliced: 30.0 %",
        "neighbours nearer than 2.85 Å",
        "sliced 5.00 15.0 70.0 10.0 30.0 3.85",
        "structure 4: -4.1500 eV/atom",
        "3,200 force calls",
        "steps mean 62.0, standard deviation 8.00",
    ):
        assert expected in page.text, expected
    # Ends, coordination, g(r); that of the parent alone would be drawn twice.
    assert len(json.loads(page.scripts[0])) == 3


def test_several_elements_have_figures_of_their_own() -> None:
    """Oxygen has two neighbours, silicon four; together they would tell nothing."""
    shares = {"parent": {"2": 0.6, "4": 0.4}, "relaxed": {"2": 0.6, "4": 0.4}}
    coordination = {
        "cutoff": 2.0,
        **shares,
        "usual": {"Si": 4, "O": 2},
        "defects": {"parent": 0.0, "relaxed": 0.0},
        "by_element": {
            "Si": {"parent": {"4": 1.0}, "relaxed": {"4": 1.0}},
            "O": {"parent": {"2": 1.0}, "relaxed": {"2": 1.0}},
        },
    }
    card = amorphous_card(coordination=coordination)
    page = read(report_text(datasets=[card]))
    assert "Shares of Si by number" in page.text
    assert "than is usual (Si 4, O 2)" in page.text
    assert len(json.loads(page.scripts[0])) == 4


def test_structures_of_two_sets_keep_apart() -> None:
    """Training and validation structures may have the same index."""
    both = [structure(0, energy_per_atom=-1.0) | {"set": name} for name in ("train", "val")]
    page = read(report_text(datasets=[amorphous_card(lowest=both)]))
    assert "train structure 0: -1.0000 eV/atom" in page.text
    assert len(json.loads(page.scripts[1])) == 2


@pytest.mark.parametrize("kept", [["search"], ["interface_energy"], ["relaxation"], ["lowest"], []])
def test_cards_that_lack_most(kept: list[str]) -> None:
    """Whatever is not there is not told, and nothing fails."""
    for card in (interface_card(), amorphous_card()):
        card.statistics = {k: v for k, v in card.statistics.items() if k in kept}
        card.statistics |= {"search": {"n_tried": 0, "rounds": []}} if not kept else {}
        card.protocol = {}
        assert "nan" not in read(report_text(datasets=[card])).text.lower().split()
        assert print_plain(dataset_table([card]))


def test_numbers_that_are_not_there() -> None:
    """None and NaN are shown as missing."""
    card = interface_card(reference_energy={"value": None, "rule": "none yet", "history": []})
    card.statistics["search"]["yield_percent"] = None
    card.statistics["interface_energy"]["low"] = {"n": 0}
    card.statistics["relaxation"]["steps_mean"] = float("nan")
    page = read(report_text(datasets=[card]))
    assert "steps mean n/a" in page.text
    assert "low energy 0" not in page.text
    assert "NaN" not in page.scripts[0]


def test_everything_is_escaped() -> None:
    """Names on a card become no elements, on the page and in plotly's labels."""
    card = interface_card()
    card.statistics["search"] |= {"stopped_by": HOSTILE, "ended": {HOSTILE: 1, "low": 2}}
    card.statistics["reference_energy"]["rule"] = HOSTILE
    card.protocol["relaxation"] = {"potential": {"name": HOSTILE, "hash": HOSTILE, "x": {}}}
    blocks = amorphous_card()
    blocks.statistics["coordination"][HOSTILE] = {"4": 1.0}
    text = report_text(datasets=[card, blocks])
    assert "alert(1)</script>" not in text
    page = read(text)
    assert "img" not in [name for name, _ in page.elements]
    assert not re.search(r"<(?!/?extra>)", page.scripts[0].encode().decode("unicode_escape"))


def test_tables_of_the_terminal() -> None:
    """80 columns, and a pipe that knows nothing but ASCII."""
    cards = [interface_card(), amorphous_card()]
    lines = print_plain(dataset_table(cards), encoding="ascii")
    assert max(map(len, lines)) <= 80
    assert row(lines, "tried") == "tried 48 structures, 45.8 % of them low in energy"
    assert row(lines, "neighbours, parent (%)").endswith(" 3: 3.00, 4: 94.0, 5: 3.00")
    assert "stands at -0.4 J/m^2" in " ".join(" ".join(lines).split())
