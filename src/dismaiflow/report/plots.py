"""Figures as plain plotly dictionaries, which the page draws.

Colours are names with an ``@``: the page puts in those of its theme, light, dark or print. Names
that come from outside are escaped, because plotly reads labels as HTML.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dismaiflow.report.figure import (
    LEGEND,
    Plot,
    axis_title,
    base_layout,
    log_axis,
    named_ticks,
    side_text,
    vertical_line,
)
from dismaiflow.report.rows import Row, Value
from dismaiflow.report.words import metric_label, metric_text, order_title, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.schemas import Histogram

#: Pixels of one row of a dot plot or bar chart, and of what is around the rows.
_ROW, _AROUND = 25, 62

#: Pixels of a legend above it.
_LEGEND_ROOM = 26

#: Longer labels are cut; the hover text has all of it.
_LABEL = 26

_MARKERS: dict[str, dict[str, Any]] = {
    "score": {"symbol": "circle", "size": 12, "color": "@new"},
    "run": {"symbol": "circle-open", "size": 9, "color": "@new", "line": {"width": 2}},
    "control": {"symbol": "diamond-open", "size": 10, "color": "@control", "line": {"width": 2}},
    "published": {"symbol": "square", "size": 9, "color": "@published"},
}
#: Published values that stand apart.
_HOLLOW = {"symbol": "square-open", "size": 8, "color": "@published", "line": {"width": 2}}
#: Controls by a second protocol.
_SECOND = {"symbol": "triangle-up", "size": 9, "color": "@second"}

_HEADINGS = {
    "score": "this score",
    "run": "each file",
    "control": "controls",
    "published": "published",
}
_NOT_COMPARABLE = "published, not comparable"


@dataclass
class _Lines:
    """Rows of a dot plot, from top to bottom."""

    labels: list[str] = field(default_factory=list)

    def add(self, label: str, heading: bool = False) -> int:
        """Add a row and return its height, which falls from 0."""
        text = html.escape(shorten(label))
        self.labels.append(f"<b>{text}</b>" if heading else text)
        return 1 - len(self.labels)


def shorten(text: str, length: int = _LABEL) -> str:
    """Cut a long label in the middle, where file names differ least."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[: length - 1 - half]}…{text[-half:]}"


def distance_plot(
    rows: Sequence[Row],
    metric: str,
    reference_lines: Sequence[float | None] = (),
    comparable: bool = True,
) -> Plot | None:
    """Draw scores, controls and published values of one metric on a logarithmic axis.

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
    lines, traces, texts = _Lines(), [], []
    markers = _MARKERS if comparable else _MARKERS | {"published": _HOLLOW}
    groups = list(dict.fromkeys(row.group for row in rows))
    drawn: list[Value] = []
    for group in groups:
        members = [row for row in rows if row.group == group]
        if group != "score":
            apart = group == "published" and not comparable
            lines.add(_NOT_COMPARABLE if apart else _HEADINGS[group], heading=True)
        places = [lines.add(row.name) for row in members]
        values = [row.get(metric) for row in members]
        texts += [
            side_text(metric_text(metric, value.value), y)
            for value, y in zip(values, places, strict=True)
        ]
        kept = [i for i, value in enumerate(values) if _is_positive(value.value)]
        drawn += [values[i] for i in kept]
        hover = [
            f"<b>{html.escape(members[i].name)}</b><br>{metric} {values[i].text(metric)}"
            for i in kept
        ]
        traces.append(
            _dots([values[i] for i in kept], [places[i] for i in kept], hover, markers[group])
        )
    if not drawn:
        return None
    layout = _dot_layout(lines.labels, drawn, reference_lines, metric)
    layout["annotations"] = texts
    layout["margin"]["r"] = 62
    return Plot(traces, layout, _ROW * len(lines.labels) + _AROUND)


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
    """
    lines, traces = _Lines(), []
    names = list(dict.fromkeys(row.name for rows in by_protocol.values() for row in rows))
    lines.add(_HEADINGS["control"], heading=True)
    places = {name: lines.add(name) for name in names}
    drawn: list[Value] = []
    for number, (protocol, rows) in enumerate(by_protocol.items()):
        kept = [row for row in rows if _is_positive(row.get(metric).value)]
        values = [row.get(metric) for row in kept]
        drawn += values
        hover = [
            f"<b>{html.escape(row.name)}</b>, {html.escape(protocol)}<br>"
            f"{metric} {row.get(metric).text(metric)}"
            for row in kept
        ]
        marker = _MARKERS["control"] if number == 0 else _SECOND
        shift = 0.17 * (len(by_protocol) - 1 - 2 * number)
        trace = _dots(values, [places[row.name] + shift for row in kept], hover, marker)
        traces.append({**trace, "name": html.escape(protocol), "showlegend": True})
    if published:
        lines.add(_HEADINGS["published"] if comparable else _NOT_COMPARABLE, heading=True)
        heights = [lines.add(row.name) for row in published]
        values = [row.get(metric) for row in published]
        drawn += values
        hover = [
            f"<b>{html.escape(row.name)}</b><br>{metric} {row.get(metric).text(metric)}"
            for row in published
        ]
        trace = _dots(values, heights, hover, _MARKERS["published"] if comparable else _HOLLOW)
        traces.append({**trace, "name": "the paper", "showlegend": True})
    if not drawn:
        return None
    layout = _dot_layout(lines.labels, drawn, (), metric)
    layout["showlegend"] = True
    layout["legend"] = dict(LEGEND)
    layout["margin"]["t"] = 34
    return Plot(traces, layout, _ROW * len(lines.labels) + _AROUND + _LEGEND_ROOM)


def histogram_plot(histogram: Histogram, x_title: str, height: int, compact: bool) -> Plot:
    """Draw a distribution in the training set, filled, and in the generated set, as a line.

    Parameters
    ----------
    histogram : Histogram
        Shares of the structures by bin.
    x_title : str
        What is on the horizontal axis, with its unit.
    height : int
        Pixels.
    compact : bool
        Whether it is one of many small panels, which have no legend and little text.
    """
    traces = []
    histogram = _coarser(histogram) if compact else histogram
    for shares, name, style in (
        (histogram.reference, "training", {"fill": "tozeroy", "fillcolor": "@training-fill"}),
        (histogram.generated, "generated", {}),
    ):
        colour = "@training" if name == "training" else "@new"
        edges = histogram.edges
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                # One step up at the first edge, one down at the last.
                "x": [edges[0], *edges],
                "y": [0.0, *(round(100 * share, 4) for share in shares), 0.0],
                "line": {"shape": "hv", "color": colour, "width": 1 if style else 2},
                "hovertemplate": f"{name}: %{{y:.2f}} % at %{{x:.4g}}<extra></extra>",
                "showlegend": not compact,
                **style,
            }
        )
    size = 10 if compact else 12
    layout = base_layout(height)
    layout["xaxis"] |= {
        "title": axis_title(html.escape(x_title), size),
        "nticks": 5,
        "tickfont": {"size": size},
    }
    layout["yaxis"] |= {
        "ticksuffix": "%" if compact else " %",
        "rangemode": "tozero",
        "nticks": 4 if compact else 6,
        "tickfont": {"size": size},
    }
    layout["margin"] = {"l": 36, "r": 8, "t": 6, "b": 36} if compact else layout["margin"]
    if not compact:
        layout["yaxis"]["title"] = axis_title("share of structures")
        layout["legend"] = dict(LEGEND)
        layout["showlegend"] = True
        layout["margin"]["t"] = 34
    return Plot(traces, layout, height)


def failures_plot(failures: Mapping[str, int], n_generated: int) -> Plot | None:
    """Draw failed structures by reason."""
    if not failures:
        return None
    reasons, counts = list(failures), list(failures.values())
    labels = [f"{n:,} ({percent(100 * n / max(n_generated, 1))} %)" for n in counts]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": counts,
        "y": [-i for i in range(len(reasons))],
        "text": labels,
        "textposition": "auto",
        "cliponaxis": False,
        "marker": {"color": "@failed"},
        "width": 0.6,
        "hovertext": [f"{html.escape(r)}: {t}" for r, t in zip(reasons, labels, strict=True)],
        "hoverinfo": "text",
        "showlegend": False,
    }
    height = 34 * len(reasons) + _AROUND
    layout = base_layout(height)
    layout["xaxis"] |= {
        "title": axis_title("structures"),
        "rangemode": "tozero",
        "nticks": 6,
        "tickformat": ",d",
    }
    layout["yaxis"] |= named_ticks([html.escape(reason) for reason in reasons])
    layout["margin"]["r"] = 24
    return Plot([trace], layout, height)


def order_plot(series: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Plot | None:
    """Draw mean and standard deviation of order parameters.

    Parameters
    ----------
    series : dict
        By what the values are of: ``mean`` and ``std`` by the name of the parameter.
    """
    names = list(dict.fromkeys(name for values in series.values() for name in values))
    if not names:
        return None
    markers = ({"symbol": "circle", "size": 9, "color": "@new"}, {**_SECOND, "color": "@training"})
    traces = []
    for number, (label, values) in enumerate(series.items()):
        shift = 0.16 if len(series) > 1 else 0.0
        kept = [name for name in names if name in values]
        means = [values[name]["mean"] for name in kept]
        deviations = [values[name]["std"] for name in kept]
        marker = markers[number % len(markers)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": html.escape(label),
                "x": means,
                "y": [-names.index(name) + (shift if number == 0 else -shift) for name in kept],
                "error_x": {
                    "type": "data",
                    "array": deviations,
                    "color": marker["color"],
                    "thickness": 1.5,
                    "width": 3,
                },
                "marker": marker,
                "hovertext": [
                    f"{order_title(name)}, {html.escape(label)}<br>mean {mean:.4f}, standard "
                    f"deviation {deviation:.4f}"
                    for name, mean, deviation in zip(kept, means, deviations, strict=True)
                ],
                "hoverinfo": "text",
                "showlegend": True,
            }
        )
    height = _ROW * len(names) + _AROUND + _LEGEND_ROOM
    layout = base_layout(height)
    layout["xaxis"] |= {
        "title": axis_title("Warren-Cowley parameter α (dimensionless)"),
        "zeroline": True,
        "zerolinecolor": "@muted",
        "nticks": 7,
    }
    layout["yaxis"] |= named_ticks([order_title(name) for name in names])
    layout["legend"] = dict(LEGEND)
    layout["showlegend"] = True
    layout["margin"]["t"] = 34
    return Plot(traces, layout, height)


def autocorrelation_plot(passes: Mapping[str, float | None], interval: float | None) -> Plot | None:
    """Draw after how many passes snapshots are independent, by observable.

    Parameters
    ----------
    passes : dict of str to float
        By the name of the observable.
    interval : float or None
        Passes between snapshots, where a line stands.
    """
    kept = {name: value for name, value in passes.items() if value and _is_positive(value)}
    if not kept:
        return None
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": list(kept.values()),
        "y": [-i for i in range(len(kept))],
        "marker": {"symbol": "circle", "size": 9, "color": "@new"},
        "hovertext": [f"{order_title(n)}: {v:.1f} passes" for n, v in kept.items()],
        "hoverinfo": "text",
        "showlegend": False,
    }
    height = _ROW * len(kept) + _AROUND + _LEGEND_ROOM
    layout = base_layout(height)
    layout["margin"]["t"] = 34
    positions = [*kept.values(), *([interval] if interval else [])]
    low = min(positions) / 1.5
    # At least a decade, so that equal values do not look different.
    layout["xaxis"] |= log_axis(low, max(max(positions) * 1.5, 10 * low))
    layout["xaxis"]["title"] = axis_title("passes until independent (log scale)")
    layout["yaxis"] |= named_ticks([html.escape(order_title(name)) for name in kept])
    if interval:
        layout["shapes"] = [vertical_line(float(interval), "dot")]
    return Plot([trace], layout, height)


def _coarser(histogram: Histogram) -> Histogram:
    """Join pairs of bins: order parameters come in steps, between which fine bins are empty."""
    if len(histogram.generated) % 2:
        return histogram
    joined = {
        side: [a + b for a, b in zip(shares[::2], shares[1::2], strict=True)]
        for side, shares in (
            ("generated", histogram.generated),
            ("reference", histogram.reference),
        )
    }
    return histogram.model_copy(update={"edges": histogram.edges[::2], **joined})


def _is_positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _dots(
    values: Sequence[Value], places: Sequence[float], hover: Sequence[str], marker: dict[str, Any]
) -> dict[str, Any]:
    """Return marks with their intervals."""
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
            "array": [h - a for h, a in zip(high, x, strict=True)],
            "arrayminus": [a - b for a, b in zip(x, low, strict=True)],
            "color": marker["color"],
            "thickness": 2,
            "width": 4,
        },
        "marker": marker,
        "hovertext": list(hover),
        "hoverinfo": "text",
        "showlegend": False,
    }


def _dot_layout(
    labels: Sequence[str],
    values: Sequence[Value],
    reference_lines: Sequence[float | None],
    metric: str,
) -> dict[str, Any]:
    """Return the layout of a dot plot with a logarithmic axis."""
    ends = [end for v in values for end in (v.value, v.low, v.high) if _is_positive(end)]
    lines = [line for line in reference_lines if _is_positive(line)]
    positions = [float(x) for x in (*ends, *lines) if x is not None]
    # An interval that reaches almost 0 must not stretch the axis over many decades.
    least = min(float(v.value) for v in values if v.value) / 3
    layout = base_layout(_ROW * len(labels) + _AROUND)
    layout["xaxis"] |= log_axis(max(min(positions), least) / 1.4, max(positions) * 1.4)
    title = f"{html.escape(metric_label(metric))}, dimensionless (log scale)"
    layout["xaxis"]["title"] = axis_title(title)
    layout["yaxis"] |= named_ticks(labels)
    layout["shapes"] = [
        vertical_line(line, "dot" if number == 0 else "dash")
        for number, line in enumerate(reference_lines)
        if line is not None and _is_positive(line)
    ]
    return layout
