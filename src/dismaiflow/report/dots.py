"""Dot plots of distances: scores, controls and published values on a logarithmic axis."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from dismaiflow.report.figure import (
    AROUND,
    LEGEND_ROOM,
    ROW,
    Plot,
    axis_title,
    base_layout,
    log_axis,
    named_ticks,
    put_legend,
    vertical_line,
)
from dismaiflow.report.rows import Row, Value
from dismaiflow.report.words import metric_label, metric_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Longer labels are cut; the hover text has all of it.
_LABEL = 26

#: Pixels of the numbers at the right.
_NUMBERS = 74

_MARKERS: dict[str, dict[str, Any]] = {
    "score": {"symbol": "circle", "size": 12, "color": "@new"},
    "run": {"symbol": "circle-open", "size": 9, "color": "@new", "line": {"width": 2}},
    "control": {"symbol": "diamond-open", "size": 10, "color": "@control", "line": {"width": 2}},
    "published": {"symbol": "square", "size": 9, "color": "@published"},
}
#: Controls by a second protocol, and published values that stand apart.
_SECOND = {"symbol": "triangle-up", "size": 9, "color": "@second"}
_HOLLOW = {"symbol": "square-open", "size": 8, "color": "@published", "line": {"width": 2}}

_HEADINGS = {
    "score": "this score",
    "run": "each file",
    "control": "controls",
    "published": "published",
}
_NOT_COMPARABLE = "published, not comparable"

#: Half the distance of marks that share a row.
_SHIFT = 0.17


def distance_plot(
    rows: Sequence[Row],
    metric: str,
    reference_lines: Sequence[float | None] = (),
    comparable: bool = True,
) -> Plot | None:
    """Draw one metric of a score, its controls and the published models.

    Parameters
    ----------
    rows : sequence of Row
        From top to bottom; those of one group stand together under its heading.
    metric : str
        What is drawn. Values of 0 and missing ones keep their row and have no mark.
    reference_lines : sequence of float or None
        Where vertical lines stand: the first dotted, further ones dashed.
    comparable : bool
        Whether the published values may be compared with the score; otherwise they are hollow.

    Returns
    -------
    Plot or None
        None if no row has a value above 0.
    """
    dots = _Dots(metric, comparable)
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        if group != "score":
            dots.add_heading(group)
        places = [dots.add_label(row.name) for row in members]
        dots.add_marks(members, places, dots.marker(group))
        for row, place in zip(members, places, strict=True):
            dots.add_number(row, place)
    if not dots.values:
        return None
    layout = dots.layout(reference_lines)
    layout["margin"]["r"] = _NUMBERS
    return Plot(dots.traces, layout, ROW * len(dots.labels) + AROUND)


def controls_plot(
    by_protocol: Mapping[str, Sequence[Row]],
    published: Sequence[Row],
    metric: str,
    comparable: bool = True,
) -> Plot | None:
    """Draw the controls of a dataset by one or more protocols above the published values.

    Parameters
    ----------
    by_protocol : dict of str to sequence of Row
        Controls by the name of the protocol.
    published : sequence of Row
        The paper's rows.
    metric : str
        What is drawn.
    comparable : bool
        Whether the published values may be compared with the controls; otherwise they are hollow.

    Returns
    -------
    Plot or None
        None if no row has a value above 0.
    """
    dots = _Dots(metric, comparable)
    dots.add_heading("control")
    names = dict.fromkeys(row.name for rows in by_protocol.values() for row in rows)
    places = {name: dots.add_label(name) for name in names}
    for number, (protocol, rows) in enumerate(by_protocol.items()):
        marker = dots.marker("control") if number == 0 else _SECOND
        shift = _SHIFT * (len(by_protocol) - 1 - 2 * number)
        dots.add_marks(rows, [places[row.name] + shift for row in rows], marker, protocol)
    if published:
        dots.add_heading("published")
        heights = [dots.add_label(row.name) for row in published]
        dots.add_marks(published, heights, dots.marker("published"), "the paper")
    if not dots.values:
        return None
    layout = dots.layout(())
    put_legend(layout)
    return Plot(dots.traces, layout, ROW * len(dots.labels) + AROUND + LEGEND_ROOM)


def shorten(text: str, length: int = _LABEL) -> str:
    """Cut a long label in the middle, where file names differ least."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[: length - 1 - half]}…{text[-half:]}"


class _Dots:
    """Rows and marks of a dot plot, from top to bottom."""

    def __init__(self, metric: str, comparable: bool) -> None:
        self._metric = metric
        self._comparable = comparable
        self.labels: list[str] = []
        self.traces: list[dict[str, Any]] = []
        self.values: list[Value] = []
        self._numbers: list[dict[str, Any]] = []

    def marker(self, group: str) -> dict[str, Any]:
        """Return how a group is marked."""
        apart = group == "published" and not self._comparable
        return _HOLLOW if apart else _MARKERS[group]

    def add_heading(self, group: str) -> None:
        """Add a row with the name of a group."""
        apart = group == "published" and not self._comparable
        self.labels.append(f"<b>{_NOT_COMPARABLE if apart else _HEADINGS[group]}</b>")

    def add_label(self, name: str) -> float:
        """Add a row and return its height, which falls from 0."""
        self.labels.append(html.escape(shorten(name)))
        return 1.0 - len(self.labels)

    def add_number(self, row: Row, place: float) -> None:
        """Print the value of a row at the right."""
        self._numbers.append(
            {
                "text": metric_text(self._metric, row.get(self._metric).value),
                "xref": "paper",
                "x": 1,
                "xanchor": "left",
                "xshift": 6,
                "yref": "y",
                "y": place,
                "showarrow": False,
                "font": {"size": 12, "color": "@ink"},
            }
        )

    def add_marks(
        self,
        rows: Sequence[Row],
        places: Sequence[float],
        marker: dict[str, Any],
        legend: str | None = None,
    ) -> None:
        """Mark the values of rows that a logarithmic axis can show, with their intervals."""
        metric = self._metric
        kept = [
            (row, place)
            for row, place in zip(rows, places, strict=True)
            if is_positive(row.get(metric).value)
        ]
        values = [row.get(metric) for row, _ in kept]
        self.values += values
        trace = _marks(values, [place for _, place in kept], marker)
        beside = f", {html.escape(legend)}" if legend else ""
        trace["hovertext"] = [
            f"<b>{html.escape(row.name)}</b>{beside}<br>"
            f"{html.escape(metric)} {row.get(metric).text(metric)}"
            for row, _ in kept
        ]
        if legend:
            trace |= {"name": html.escape(legend), "showlegend": True}
        self.traces.append(trace)

    def layout(self, reference_lines: Sequence[float | None]) -> dict[str, Any]:
        """Return the layout, with an axis on which all values and lines lie."""
        lines = [line for line in reference_lines if line is not None and is_positive(line)]
        ends = [end for v in self.values for end in (v.value, v.low, v.high)]
        shown = [end for end in ends if end is not None and is_positive(end)]
        # An interval that reaches almost 0 must not stretch the axis over many decades.
        least = min(v.value for v in self.values if v.value is not None) / 3
        layout = base_layout()
        low = max(min(shown + lines), least) / 1.4
        layout["xaxis"] |= log_axis(low, max(shown + lines) * 1.4)
        title = f"{html.escape(metric_label(self._metric))}, dimensionless (log scale)"
        layout["xaxis"]["title"] = axis_title(title)
        layout["yaxis"] |= named_ticks(self.labels)
        layout["shapes"] = [
            vertical_line(line, "dash" if number else "dot") for number, line in enumerate(lines)
        ]
        layout["annotations"] = self._numbers
        return layout


def is_positive(value: float | None) -> bool:
    """Tell whether a value has a place on a logarithmic axis."""
    return value is not None and math.isfinite(value) and value > 0


def _marks(
    values: Sequence[Value], places: Sequence[float], marker: dict[str, Any]
) -> dict[str, Any]:
    """Return a trace of marks with intervals."""
    x = [value.value or 0.0 for value in values]
    # A pivotal interval may reach 0, which a logarithmic axis cannot show.
    low = [max(v.low, 0.02 * a) if v.low is not None else a for v, a in zip(values, x, strict=True)]
    high = [v.high if v.high is not None else a for v, a in zip(values, x, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": list(places),
        "error_x": {
            "type": "data",
            "symmetric": False,
            # Intervals of no length would be drawn as strokes through the marks.
            "visible": any(v.low is not None and v.high is not None for v in values),
            "array": [h - a for h, a in zip(high, x, strict=True)],
            "arrayminus": [a - b for a, b in zip(x, low, strict=True)],
            "color": marker["color"],
            "thickness": 2,
            "width": 4,
        },
        "marker": marker,
        "hoverinfo": "text",
        "showlegend": False,
    }
