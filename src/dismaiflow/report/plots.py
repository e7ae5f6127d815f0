"""Figures of distributions, failures and sampling, as plain plotly dictionaries.

Colours are names with an ``@``: the page puts in those of its theme, light, dark or print. Names
that come from outside are escaped, because plotly reads labels as HTML.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from dismaiflow.report.dots import is_positive
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
from dismaiflow.report.words import order_title, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.schemas import Histogram

#: Height of a figure with one curve, in pixels.
_CURVE_HEIGHT = 300

#: How the training set and the snapshots that it was drawn from are marked.
_SERIES: tuple[dict[str, Any], ...] = (
    {"symbol": "circle", "size": 9, "color": "@new"},
    {"symbol": "triangle-up", "size": 9, "color": "@training"},
)


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
    layout = base_layout()
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
        put_legend(layout)
    return Plot(traces, layout, height)


def curve_plot(x: Sequence[float], y: Sequence[float], x_title: str, y_title: str) -> Plot:
    """Draw one curve.

    Parameters
    ----------
    x, y : sequence of float
        Its points.
    x_title, y_title : str
        What is on the axes, with its unit.
    """
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "line": {"color": "@new", "width": 2},
        "hovertemplate": "%{y:.3g} at %{x:.3g}<extra></extra>",
    }
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title(html.escape(x_title)), "rangemode": "tozero"}
    layout["yaxis"] |= {"title": axis_title(html.escape(y_title)), "rangemode": "tozero"}
    return Plot([trace], layout, _CURVE_HEIGHT)


def shares_plot(shares: Mapping[str, float], x_title: str, y_title: str) -> Plot:
    """Draw shares of a whole as bars.

    Parameters
    ----------
    shares : dict of str to float
        By the names below the bars.
    x_title, y_title : str
        What is on the axes.
    """
    values = [100 * share for share in shares.values()]
    trace = {
        "type": "bar",
        "x": list(shares),
        "y": values,
        "text": [f"{percent(value)} %" for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "@training"},
        "hoverinfo": "skip",
    }
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title(html.escape(x_title)), "type": "category"}
    layout["yaxis"] |= {
        "title": axis_title(html.escape(y_title)),
        "ticksuffix": " %",
        "range": [0, 112],
    }
    return Plot([trace], layout, _CURVE_HEIGHT)


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
    height = 34 * len(reasons) + AROUND
    layout = base_layout()
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
    traces = []
    for number, (label, values) in enumerate(series.items()):
        shift = (0.16 if number == 0 else -0.16) if len(series) > 1 else 0.0
        places = {name: shift - names.index(name) for name in values}
        traces.append(_means(label, values, places, _SERIES[number % len(_SERIES)]))
    layout = base_layout()
    layout["xaxis"] |= {
        "title": axis_title("Warren-Cowley parameter α (dimensionless)"),
        "zeroline": True,
        "zerolinecolor": "@muted",
        "nticks": 7,
    }
    layout["yaxis"] |= named_ticks([html.escape(order_title(name)) for name in names])
    put_legend(layout)
    return Plot(traces, layout, ROW * len(names) + AROUND + LEGEND_ROOM)


def _means(
    label: str,
    values: Mapping[str, Mapping[str, float]],
    places: Mapping[str, float],
    marker: dict[str, Any],
) -> dict[str, Any]:
    """Return a trace of means with standard deviations."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html.escape(label),
        "x": [value["mean"] for value in values.values()],
        "y": [places[name] for name in values],
        "error_x": {
            "type": "data",
            "array": [value["std"] for value in values.values()],
            "color": marker["color"],
            "thickness": 1.5,
            "width": 3,
        },
        "marker": marker,
        "hovertext": [
            f"{html.escape(order_title(name))}, {html.escape(label)}<br>mean {value['mean']:.4f}, "
            f"standard deviation {value['std']:.4f}"
            for name, value in values.items()
        ],
        "hoverinfo": "text",
        "showlegend": True,
    }


def autocorrelation_plot(passes: Mapping[str, float | None], interval: float | None) -> Plot | None:
    """Draw after how many passes snapshots are independent, by observable.

    Parameters
    ----------
    passes : dict of str to float
        By the name of the observable.
    interval : float or None
        Passes between snapshots, where a line stands.
    """
    kept = {name: value for name, value in passes.items() if value and is_positive(value)}
    if not kept:
        return None
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": list(kept.values()),
        "y": [-i for i in range(len(kept))],
        "marker": {"symbol": "circle", "size": 9, "color": "@new"},
        "hovertext": [f"{html.escape(order_title(n))}: {v:.1f} passes" for n, v in kept.items()],
        "hoverinfo": "text",
        "showlegend": False,
    }
    height = ROW * len(kept) + AROUND + LEGEND_ROOM
    layout = base_layout()
    put_legend(layout)
    layout["showlegend"] = False
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
