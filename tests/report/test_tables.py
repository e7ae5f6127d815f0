"""Tables of the terminal: the right numbers, in 80 columns, also when piped."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.report.documents import (
    CONTROLS,
    SYSTEM,
    make_bare,
    make_card,
    make_comparable,
    make_controls,
    make_score,
    make_several,
    two_protocols,
)

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.report.grid import Block, draw
from dismaiflow.report.remarks import score_remarks
from dismaiflow.report.tables import controls_table, dataset_table, score_table
from dismaiflow.report.words import metric_text, number, order_title, percent


def print_plain(renderable: object, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """Print as into a pipe and return the lines."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    Console(file=stream, width=width, highlight=False).print(renderable)
    stream.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def row(lines: list[str], name: str) -> str:
    """Return the one row of a name, runs of spaces as one."""
    found = [" ".join(line.split()) for line in lines if line.startswith(name + " ")]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0604, "0.0604"),
        (0.00949002, "0.00949"),
        (0.117, "0.117"),
        (1.0906, "1.09"),
        (0.0, "0"),
        (0.06, "0.0600"),
        (123.4, "123"),
        (49252.46, "49,252"),
        (-0.0123456, "-0.0123"),
        (None, "n/a"),
        (float("nan"), "n/a"),
        (float("inf"), "n/a"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    """Three significant digits, as in Table 3."""
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (35.8, "35.8"),
        (0.13, "0.13"),
        (0.0, "0.00"),
        (100.0, "100"),
        (9.0, "9.00"),
        (10.2, "10.2"),
        (0.004, "<0.01"),
        (99.97, "99.97"),
        (99.999, "99.99"),
        (None, "n/a"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    """As in Tables 1 to 3; only all of them is 100, and only none of them is 0.00."""
    assert percent(value) == text
    assert metric_text("percent_failed", value) == text


def test_order_title() -> None:
    """Labels of order parameters become words; others lose their underscores."""
    assert order_title("2NN_Cr-Fe") == "Cr-Fe, shell 2"
    assert order_title("order_Cr") == "order Cr"


def test_score_table() -> None:
    """The score, its controls and the published rows, apart because not comparable."""
    lines = print_plain(score_table(make_score()))
    assert lines[0] == "my-model on alloy-1500K-wide"
    assert lines[1] == "protocol published 1 (fixed); 97 of 100 structures scored"
    own = next(" ".join(line.split()) for line in lines if line.startswith("my-model  "))
    assert own == "my-model 0.0123 [0.0119, 0.0128] 61.9 [52.0, 71.0] 3.00"
    assert row(lines, "random-occupancy") == "random-occupancy 0.0277 100 0.00"
    assert row(lines, "uniform-random") == "uniform-random n/a n/a 100"
    assert row(lines, "DiffCSP") == (
        "DiffCSP 0.0338 (0.0332, 0.0342) 92.3 (89.2, 94.4) 0.00 (0.00, 0.00)"
    )
    heading = "published (not comparable: this machine has no verified copy of the published data"
    text = " ".join(" ".join(lines).split())
    assert text.index(heading) < text.index("CDVAE 0.0618")
    assert any(line.startswith("control") for line in lines)
    assert row(lines, "unreadable") == "unreadable 2 2.00 could not be parsed"


def test_controls_come_floor_first_then_by_distance() -> None:
    """Those without a value stand last."""
    lines = print_plain(score_table(make_score()))
    start = next(i for i, line in enumerate(lines) if line.startswith("control"))
    shown = [line.split()[0] for line in lines[start + 1 : start + 6]]
    assert shown == [
        "train-resample",
        "rattled",
        "validation",
        "random-occupancy",
        "uniform-random",
    ]
    assert set(shown) == set(CONTROLS)


def test_distribution_measures_beside_controls() -> None:
    """Energies are printed in meV/atom, and every measure is explained in one line."""
    lines = print_plain(score_table(make_score()))
    values = [line for line in lines if line.startswith("W1 of energy (meV)")]
    assert values[0].split()[4:8] == ["3.70", "0.0680", "0.0680", "0.0680"]
    assert "distance of the energy distributions" in values[1]


def test_several_files() -> None:
    """The mean with minimum and maximum, then each file with its interval."""
    lines = print_plain(score_table(make_several()))
    own = next(" ".join(line.split()) for line in lines if line.startswith("my-model  "))
    assert own == "my-model 0.0300 (0.0200, 0.0400) 50.0 (40.0, 60.0) 1.50 (0.00, 3.00)"
    assert row(lines, "b.extxyz") == "b.extxyz 0.0400 [0.0360, 0.0440] n/a n/a"


def test_comparable_score_stands_in_rank() -> None:
    """Among the published rows, marked, and without a block of its own."""
    lines = print_plain(score_table(make_comparable()))
    start = next(i for i, line in enumerate(lines) if line.startswith("in rank"))
    shown = [line.split("  ")[0] for line in lines[start + 1 : start + 5]]
    assert shown == ["* my-model", "DiffCSP", "CDVAE", "CryinGAN"]
    assert not any("not comparable" in line for line in lines)


def test_nothing_scored() -> None:
    """Null metrics with their reasons, no controls, no published table."""
    text = " ".join(print_plain(score_table(make_bare())))
    assert "d_cluster: no structure could be scored" in text
    assert "No controls were scored" in text
    assert "the paper has no table for this system" in text
    assert "no_lattice" in text


def test_controls_table() -> None:
    """Both protocols side by side, above Table 3."""
    lines = print_plain(controls_table({SYSTEM: two_protocols()}))
    assert row(lines, "random-occupancy") == "random-occupancy 0.0277 100 0.00 0.0277 100 0.00"
    assert row(lines, "CDVAE") == "CDVAE 0.0618 61.3 0.27"
    assert any("published" in line and "corrected" in line for line in lines)
    assert any(line.startswith("published, Table 3 (not comparable: ") for line in lines)
    assert print_plain(controls_table({})) == ["no controls were scored"]
    single = print_plain(controls_table({SYSTEM: {"corrected": make_controls("corrected")}}))
    assert row(single, "rattled") == "rattled 0.00112 0.00 0.00"


def test_controls_of_two_alignments() -> None:
    """One protocol, two columns: the alignment tells them apart."""
    fixed, rotated = make_controls(), make_controls()
    rotated.protocol = ScoringProtocol(alignment="rotated")
    lines = print_plain(controls_table({SYSTEM: {"fixed": fixed, "rotated": rotated}}))
    assert row(lines, "control") == "control fixed rotated"


def test_dataset_table() -> None:
    """Counts, agreement, effective samples and warnings; what a card lacks is n/a."""
    bare = make_card("amorphous-si")
    bare.statistics, bare.warnings, bare.protocol = {}, [], {}
    lines = print_plain(dataset_table([make_card(), bare]))
    assert row(lines, SYSTEM) == f"{SYSTEM} 1,200 300 undecided n/a 4,000 871 120 2NN_Cr-Ni"
    assert row(lines, "amorphous-si") == "amorphous-si 1,200 300 n/a n/a n/a n/a n/a n/a"
    text = " ".join(lines)
    assert "are too short to show that they agree" in text
    assert "1 Monte Carlo run did not finish" in text


def test_all_tables_fit_80_columns() -> None:
    """No line is wider, and no row is broken where names are of usual length."""
    tables = [
        score_table(make_score()),
        score_table(make_several()),
        score_table(make_comparable()),
        controls_table({SYSTEM: two_protocols()}),
        dataset_table([make_card()]),
    ]
    for renderable in tables:
        assert max(len(line) for line in print_plain(renderable, width=200)) <= 200
        lines = print_plain(renderable)
        assert max(map(len, lines)) <= 80
        # Broken rows would show as lines that begin with spaces.
        header = [line for line in lines if line.startswith(" ") and "d_cluster" not in line]
        assert [line for line in header if "published" not in line] == []


def test_ascii_only_output() -> None:
    """A pipe that knows nothing but ASCII takes every table."""
    for renderable in (
        score_table(make_score()),
        controls_table({SYSTEM: two_protocols()}),
        dataset_table([make_card()]),
    ):
        assert print_plain(renderable, encoding="ascii")


def test_brackets_in_names_are_no_markup() -> None:
    """Rich would take them for styles."""
    score = make_score()
    score.provenance.model = "m[red]1[/red]"
    score.failures = {"[bold]odd": 1}
    text = "\n".join(print_plain(score_table(score)))
    assert "m[red]1[/red]" in text
    assert "[bold]odd" in text


def test_wide_intervals_go_below_their_values() -> None:
    """Where 80 columns do not hold both."""
    cell = ("0.0618", "(0.0549, 0.0694)")
    block = Block("", ["a-name-of-eighteen"], [[cell, cell, cell]])
    lines = print_plain(draw(["d_li", "d_co", "d_sc"], [block]))
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == ["(0.0549,", "0.0694)"] * 3


def test_remarks() -> None:
    """Collapse, copies, repeats and a score no better than random occupancy are pointed out."""
    good = make_score()
    assert not [r for r in score_remarks(good) if r.level == "warning"]
    bad = make_score()
    bad.metrics["d_cluster"].value = 0.05
    bad.distribution |= {
        "spread_ratio": 0.2,
        "unique_fraction": 0.5,
        "nearest_training_median": 0.07,
    }
    warnings = [remark.text for remark in score_remarks(bad) if remark.level == "warning"]
    assert len(warnings) == 4
    for start, expected in zip(
        warnings, ("Random occupancy", "The generated set spreads", "Only", "Half"), strict=True
    ):
        assert start.startswith(expected)
    good.metrics["d_cluster"].value = 0.0095
    assert "at the floor" in score_remarks(good)[0].text
    good.floor["d_cluster"] = 2e-14
    assert "no floor" in score_remarks(good)[0].text


def test_the_floor_of_few_structures() -> None:
    """The mean of 97 structures scatters more than that of 1,000: 0.00949 x sqrt(1000 / 97)."""
    score = make_score().model_copy(update={"floor_n": 1000})
    text = " ".join(" ".join(print_plain(score_table(score))).split())
    assert "at the floor of as few as 97 (0.00949 of 1,000)" in text
    assert "drawn again score 0.0305." in text
