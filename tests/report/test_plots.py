"""Figures that plotly accepts, with every value where it belongs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.report.documents import LABELS, control_scores, make_score, make_several

from dismaiflow.report.dots import controls_plot, distance_plot, shorten
from dismaiflow.report.figure import Plot, log_axis
from dismaiflow.report.plots import (
    autocorrelation_plot,
    failures_plot,
    histogram_plot,
    order_plot,
)
from dismaiflow.report.rows import Row, Value, control_rows, published_rows, run_rows, score_row


def check(plot: Plot | None) -> Plot:
    """Have plotly check every property, with some colour in place of the theme's."""
    from plotly.graph_objects import Figure

    assert plot is not None
    Figure(_coloured(plot.as_dict()))
    return plot


def _coloured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_coloured(item) for item in value]
    return "#123456" if isinstance(value, str) and value.startswith("@") else value


def test_distance_plot() -> None:
    """One row per name and heading, values without a mark keep their row."""
    score = make_several()
    rows = [
        score_row(score),
        *run_rows(score),
        *control_rows(score.controls),
        *published_rows(score.published),
    ]
    plot = check(distance_plot(rows, "d_cluster", [0.00949, 0.0277], comparable=False))
    labels = plot.layout["yaxis"]["ticktext"]
    assert len(labels) == 1 + 1 + 2 + 1 + 5 + 1 + 3
    assert labels[0] == "my-model"
    assert "<b>published, not comparable</b>" in labels
    assert [len(trace["x"]) for trace in plot.data] == [1, 2, 4, 3]
    own = plot.data[0]
    assert own["error_x"]["array"][0] == pytest.approx(0.01)
    assert own["error_x"]["arrayminus"][0] == pytest.approx(0.01)
    assert [shape["x0"] for shape in plot.layout["shapes"]] == [0.00949, 0.0277]
    # Numbers stand at the side of every row but the headings.
    texts = [annotation["text"] for annotation in plot.layout["annotations"]]
    assert len(texts) == len(labels) - 3
    assert "n/a" in texts
    low, high = plot.layout["xaxis"]["range"]
    assert 10**low < 0.00112 < 0.0694 < 10**high


def test_distance_plot_at_the_edges() -> None:
    """Zero has no place on a logarithmic axis, nor has an interval that reaches it."""
    zero = Row("zero", "score", {"d_cluster": Value(0.0)})
    assert distance_plot([zero], "d_cluster") is None
    assert distance_plot([], "d_cluster") is None
    wide = Row("wide", "score", {"d_cluster": Value(0.01, -0.005, 0.02, is_confidence=True)})
    plot = check(distance_plot([zero, wide], "d_cluster"))
    assert plot.data[0]["x"] == [0.01]
    assert plot.data[0]["error_x"]["arrayminus"][0] < 0.01
    assert 10 ** plot.layout["xaxis"]["range"][0] > 0.001


def test_controls_plot() -> None:
    """Two protocols side by side on the rows of the controls."""
    rows = control_rows(control_scores())
    published = published_rows(make_score().published)
    plot = check(controls_plot({"one": rows, "two": rows}, published, "d_cluster", False))
    assert [trace["name"] for trace in plot.data] == ["one", "two", "the paper"]
    first, second = (trace["y"] for trace in plot.data[:2])
    assert all(0 < a - b < 1 for a, b in zip(first, second, strict=True))
    assert check(controls_plot({"one": rows}, [], "d_cluster")).data[0]["y"][0] == -1
    assert controls_plot({"one": []}, [], "d_cluster") is None


def test_histogram_plot() -> None:
    """Steps that start and end at zero, in per cent; small panels have bins joined in pairs."""
    histogram = make_score().histograms["formation_energy"]
    plot = check(histogram_plot(histogram, "energy (meV/atom)", 280, compact=False))
    training, generated = plot.data
    assert generated["x"] == [0.0, 0.0, 0.1, 0.2, 0.3, 0.4]
    assert generated["y"] == [0.0, 0.0, 50.0, 50.0, 0.0, 0.0]
    assert training["fill"] == "tozeroy"
    small = check(histogram_plot(histogram, "α", 150, compact=True))
    assert small.data[1]["x"] == [0.0, 0.0, 0.2, 0.4]
    assert small.data[1]["y"] == [0.0, 50.0, 50.0, 0.0]
    assert histogram.edges == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_failures_plot() -> None:
    """A bar per reason, with share."""
    plot = check(failures_plot({"unreadable": 2, "<odd>": 1}, 100))
    assert plot.data[0]["x"] == [2, 1]
    assert plot.data[0]["text"] == ["2 (2.00 %)", "1 (1.00 %)"]
    assert plot.layout["yaxis"]["ticktext"][1] == "&lt;odd&gt;"
    assert failures_plot({}, 100) is None


def test_dataset_plots() -> None:
    """Order parameters of set and runs, and passes with the interval between snapshots."""
    values = {name: {"mean": 0.1, "std": 0.02} for name in LABELS}
    plot = check(order_plot({"training set": values, "all snapshots in use": values}))
    assert plot.layout["yaxis"]["ticktext"][0] == "Cr-Cr, shell 1"
    assert order_plot({}) is None
    passes = check(autocorrelation_plot({"energy": 10.0, "order_Cr": None, "1NN_x": 10.0}, 10))
    assert passes.data[0]["x"] == [10.0, 10.0]
    assert passes.layout["shapes"][0]["x0"] == 10
    low, high = passes.layout["xaxis"]["range"]
    assert high - low >= 1
    assert autocorrelation_plot({"energy": None}, 10) is None


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.1), (0.001, 1.5), (1.0, 1e4), (0.5, 0.9)])
def test_log_axis(low: float, high: float) -> None:
    """Ticks lie on the axis and few enough are labelled."""
    axis = log_axis(low, high)
    assert all(low <= tick <= high for tick in axis["tickvals"])
    assert len(axis["tickvals"]) == len(axis["ticktext"])
    assert 1 <= len([text for text in axis["ticktext"] if text]) <= 6
    assert axis["range"] == [math.log10(low), math.log10(high)]


def test_shorten() -> None:
    """The middle goes, where file names differ least."""
    assert shorten("short") == "short"
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert len(shorten("x" * 100)) == 26
