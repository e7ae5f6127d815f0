"""The part of a report that is about a study, and its figures."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maggma.stores import MemoryStore
from tests.report.documents import SYSTEM, make_score
from tests.report.study_documents import (
    SEEDS,
    WEIGHTS,
    log_rows,
    make_row,
    make_run,
    make_study,
    make_trained,
    named_parts,
    scan_parts,
)
from tests.report.test_html import HOSTILE, Reader, read

from dismaiflow.benchmark.findings import Histogram
from dismaiflow.benchmark.learning import NOT_SHOWN
from dismaiflow.report.html import report_text
from dismaiflow.report.rows import Value
from dismaiflow.report.study_plots import (
    VALIDATION,
    Level,
    Scan,
    energies_plot,
    loss_plot,
    scan_plot,
    spread,
)
from dismaiflow.report.study_section import StudyParts
from dismaiflow.report.training_curves import (
    MAX_POINTS,
    curves_of,
    curves_of_logs,
    name_trainings,
)
from dismaiflow.store.blobs import put_blob


@pytest.fixture(scope="module")
def scanned() -> Reader:
    """A page of a scan of one setting, without its scores."""
    return read(report_text(studies=[scan_parts()]))


def test_a_scan(scanned: Reader) -> None:
    """Rows, verdicts, controls, published values, samples, and every instance."""
    text = scanned.text
    for expected in (
        "Study of cryingan on lsc-lco",
        "4 variants, each trained 3 times and sampled for 100 structures per instance",
        "bond_loss_weight=0.05 shown to learn 0.0400 (0.0320, 0.0520)",
        "bond_loss_weight=0.01: not shown to learn: does not beat uniform-random; "
        "seed 13: the training failed.",
        "train-resample",
        "DiffCSP",
        "250,000",
        "one GPU",
        "294 of 300",
        "at most 1.5 Å apart",
        "4.50 %",
        "95.0 %",
        "Every trained instance (12)",
        str(2**60 + 1),
        "unreadable 1, wrong count 1",
        "critic -1.25, generator 0.500",
        "Over bond_loss_weight",
    ):
        assert expected in text, expected
    alarms = [a for _, a in scanned.elements if a.get("class") == "alarm"]
    assert len(alarms) == 3  # two rows and the lost instance
    # One distance, close pairs, low energy, mean energy, distributions, two losses.
    assert len(json.loads(scanned.scripts[0])) == 7


def test_it_stands_first() -> None:
    """Links of the overview of scores still lead to the scores."""
    parts = named_parts()
    page = read(report_text(scores=[make_score(), make_score()], studies=[parts]))
    text = page.text
    assert text.index("Study of cryingan") < text.index("Score of my-model")
    ids = {a["id"]: n for n, a in page.elements if a.get("id")}
    links = [str(a["href"])[1:] for n, a in page.elements if n == "a"][-2:]
    first = next(name for name in ids if str(name).startswith("section-"))
    assert first not in links
    assert [ids[link] for link in links] == ["h2", "h2"]


def test_models_by_name() -> None:
    """A control is called one, a row without a score is not shown to learn."""
    page = read(report_text(studies=[named_parts()]))
    assert f"comb: {NOT_SHOWN}: there is no score." in page.text
    assert "random-occupancy: a control, which learns nothing." in page.text
    assert "Dotted: published models." in page.text
    assert "low energy" not in page.text
    (figure, close) = json.loads(page.scripts[0]).values()
    assert figure["layout"]["xaxis"]["ticktext"] == ["cryingan", "comb", "random-occupancy"]
    names = [note["text"] for note in figure["layout"]["annotations"]]
    assert {"DiffCSP", "train-resample"} <= set(names)
    dashes = {shape["line"]["dash"] for shape in figure["layout"]["shapes"]}
    assert dashes == {"dash", "dot"}
    assert close["data"][-1]["y"] == [0.0]


def test_one_variant_has_no_figures() -> None:
    """Its score has them."""
    score = make_score()
    study = make_study([make_row("cryingan", score, [make_run(11)])])
    page = read(report_text(studies=[StudyParts(study, {"cryingan": score})]))
    assert json.loads(page.scripts[0]) == {}
    assert "1 variant, each trained" in page.text


def test_everything_is_escaped() -> None:
    """Labels, devices and losses come from outside, in figures too."""
    score = make_score()
    run = make_run(11, device=HOSTILE).model_copy(update={"losses": {HOSTILE: 1.0}})
    rows = [make_row(f"{HOSTILE}={i}", score, [run]) for i in range(2)]
    curves = curves_of_logs(
        {f"{HOSTILE} 0": [{"step": str(i), f"train_{HOSTILE}": "1"} for i in range(3)]}
    )
    parts = StudyParts(make_study(rows), {rows[0].label: score}, curves)
    text = report_text(studies=[parts])
    assert "alert(1)</script>" not in text
    page = read(text)
    assert "img" not in [name for name, _ in page.elements]
    plots = json.loads(page.scripts[0])
    assert len(plots) == 3
    assert not re.search(r"<(?!/?b>|br>|/?extra>)", json.dumps(plots))


@pytest.mark.parametrize(
    ("labels", "title", "places"),
    [
        ([f"weight={w}" for w in WEIGHTS], "weight", [0, 0.01, 0.05, 0.1]),
        (["epoch-000100", "epoch-002000"], "epoch", [100, 2000]),
        (["a=1e-5", "b=2"], "", [0, 1]),
        (["pool=mean", "pool=max"], "", [0, 1]),
        (["cryingan", "weight=0.1"], "", [0, 1]),
        (["a=nan", "a=1"], "", [0, 1]),
    ],
)
def test_places_of_variants(labels: list[str], title: str, places: list[float]) -> None:
    """Values of one setting and epochs are numbers, all else is names."""
    scan = Scan.from_labels(labels)
    assert (scan.title, scan.places, scan.is_number) == (title, places, bool(title))


def test_dots_and_levels() -> None:
    """Bars reach to minimum and maximum, in the order of the setting; 0 has no logarithm."""
    scan = Scan.from_labels(["x=2", "x=1", "x=3"])
    values = [Value(0.2, 0.1, 0.5), Value(0.4, 0.4, 0.4), Value(0.0)]
    levels = [Level("floor", 0.01, "control"), Level("none", None, "control")]
    plot = scan_plot(scan, values, "d", levels, logarithmic=True)
    assert plot is not None
    dots = plot.data[-1]
    assert (dots["x"], dots["y"]) == ([1, 2], [0.4, 0.2])
    assert dots["error_y"]["array"] == pytest.approx([0.0, 0.3])
    assert dots["error_y"]["arrayminus"] == pytest.approx([0.0, 0.1])
    assert [note["text"] for note in plot.layout["annotations"]] == ["floor"]
    low, high = plot.layout["yaxis"]["range"]
    assert low < -2
    assert high > math.log10(0.5)
    assert scan_plot(scan, [Value(None)] * 3, "d") is None


@given(st.lists(st.floats(0, 1), max_size=12).map(sorted))
def test_names_do_not_overlap(places: list[float]) -> None:
    """They keep their order and their distance, below the upper end."""
    moved = spread(places, 0.05)
    assert all(b - a >= 0.05 - 1e-12 for a, b in pairwise(moved))
    assert all(place <= 1 for place in moved)


def test_energies_in_different_bins() -> None:
    """All in one bin of 0.2 J/m^2 is 50 % per 0.1; of 0.05, 200 %."""
    wide = Histogram(unit="", edges=[0, 0.2, 0.4], generated=[1, 0], reference=[0, 1])
    fine = Histogram(unit="", edges=[0, 0.05, 0.1], generated=[0, 1], reference=[1, 0])
    plot = energies_plot({"a": wide, "b": fine}, {"a": "new", "b": "control"})
    assert plot is not None
    reference, a, b = plot.data
    assert reference["y"] == pytest.approx([0, 0, 50, 0])
    assert a["y"] == pytest.approx([0, 50, 0, 0])
    assert b["y"] == pytest.approx([0, 0, 200, 0])
    assert reference["fill"] == "tozeroy"
    assert energies_plot({}, {}) is None


def test_axes_of_losses() -> None:
    """Logarithmic over decades, on both sides of 0 with a spike, else linear."""

    def axis(values: list[float]) -> tuple[dict[str, object], list[float], list[float]]:
        line = ([float(i) for i in range(len(values))], values)
        plot = loss_plot({"a 0": line}, {"a 0": "new"}, "step")
        return plot.layout["yaxis"], plot.data[0]["y"], plot.data[0]["customdata"]

    assert axis([1.0, 2.0])[0].get("type") is None
    assert axis([1.0, 200.0])[0]["type"] == "log"
    assert axis([-1.0, 2.0])[1] == [-1.0, 2.0]
    layout, drawn, told = axis([5000.0, -1.0, -2.0, -1.0, 2.0])
    assert layout["ticktext"] == ["-1", "0", "1", "10", "100", "1000"]
    # asinh(5000) = ln(5000 + sqrt(5000^2 + 1))
    assert drawn[0] == pytest.approx(math.log(5000 + math.sqrt(5000**2 + 1)), abs=1e-3)
    assert told == [5000.0, -1.0, -2.0, -1.0, 2.0]


def test_validation_is_dashed() -> None:
    """It stands beside the training loss of the same name."""
    lines = {"a 0": ([1.0, 2.0], [1.0, 2.0]), f"a 0{VALIDATION}": ([1.0, 2.0], [1.0, 2.0])}
    plot = loss_plot(lines, dict.fromkeys(lines, "new"), "epoch")
    assert [trace["line"]["dash"] for trace in plot.data] == ["solid", "dash"]


def test_thinned_curves() -> None:
    """The first and the last point stay, and what is not measured is left out."""
    lines = curves_of_logs({"a 0": log_rows(0, 1000)}).lines["a 0"]
    x, y = lines["train_bond"]
    assert (len(x), x[0], x[-1]) == (MAX_POINTS, 1.0, 1000.0)
    assert y[0] == pytest.approx(2 ** (-1 / 90) + 0.001, abs=1e-5)
    assert lines["val_critic"][0] == [5.0 * i for i in range(1, 201)]


def test_a_log_of_one_epoch_goes_by_steps() -> None:
    """Also beside trainings of many epochs; what is no number has no point."""
    short = [{"row": "steps", "step": str(i), "epoch": "1", "train_loss": str(i)} for i in (5, 6)]
    short.append({"row": "epoch", "step": "7", "epoch": "1", "train_loss": "nan", "note": "x"})
    curves = curves_of_logs({"a 0": short, "b 0": log_rows(0, 4), "c 0": []})
    assert curves.unit == "step"
    assert curves.lines["a 0"] == {"train_loss": ([5.0, 6.0], [5.0, 6.0])}
    assert curves.lines["b 0"]["train_bond"][0] == [100.0, 200.0, 300.0, 400.0]
    assert "c 0" not in curves.lines


def test_curves_come_from_the_store() -> None:
    """A model that has kept no log has no curves."""
    from jobflow import JobStore

    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    text = b"row,step,epoch,seconds,train_loss\nepoch,9,1,1.0,0.5\nepoch,18,2,2.0,0.25\n"
    blobs = [put_blob(store, text[:40], "model"), put_blob(store, text[40:], "model")]
    kept = make_trained(11, {}, files={"log.csv": blobs})
    curves = curves_of(store, {"a 0": kept, "b 0": make_trained(11, {})})
    assert curves.lines == {"a 0": {"train_loss": ([1.0, 2.0], [0.5, 0.25])}}


def test_names_of_trainings() -> None:
    """By variant and instance; snapshots of one training share the name of the model."""
    score = make_score()
    runs = [make_run(seed) for seed in SEEDS]
    rows = [make_row(f"x={i}", score, runs, settings={"x": i}) for i in range(2)]
    trained = [make_trained(SEEDS[1], {"x": 1}), make_trained(SEEDS[0], {"x": 0})]
    assert name_trainings(make_study(rows), trained) == {"x=1 1": 0, "x=0 0": 1}
    shots = [make_row(f"epoch-00000{i}", score, runs, snapshot="") for i in range(2)]
    assert name_trainings(make_study(shots), [make_trained(SEEDS[2], {})]) == {"cryingan 2": 0}
    assert make_study(shots).system == SYSTEM
