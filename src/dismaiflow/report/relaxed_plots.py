"""Figures of relaxed datasets: energies, how structures ended, progress, coordination."""

from __future__ import annotations

import html
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dismaiflow.report.figure import (
    AROUND,
    Plot,
    axis_title,
    base_layout,
    named_ticks,
    put_legend,
    vertical_line,
)
from dismaiflow.report.words import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEIGHT, _LOW_HEIGHT = 340, 210

#: Pixels of a bar with a name.
_BAR = 34

#: Colours by the names that a card gives; all other ends are failures.
_ENDS = {"low": "@new", "converged": "@new", "high": "@training", "duplicate": "@training"}
_STAGES = {"parent": "@training", "sliced": "@control", "relaxed": "@new"}
_OTHER = "@second"

#: About so many ticks on an axis of energies.
_TICKS = 7

#: Shares below this are not drawn: such bars would be thinner than the axis.
_SEEN = 5e-4


def energy_plot(energy: Mapping[str, Any]) -> Plot | None:
    """Draw how many structures have which interface energy, and where low ends.

    Parameters
    ----------
    energy : dict
        ``histogram`` with ``edges`` (n + 1), ``low`` and ``high`` (n), and ``cut``; J/m^2.
    """
    histogram = energy.get("histogram") or {}
    edges = histogram.get("edges") or []
    if len(edges) < 2:
        return None
    widths = [right - left for left, right in pairwise(edges)]
    ranges = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
    traces = [
        {
            "type": "bar",
            "name": label,
            "x": [left + width / 2 for left, width in zip(edges, widths, strict=False)],
            "y": histogram.get(key) or [],
            "width": widths,
            "marker": {"color": colour, "line": {"color": "@paper", "width": 1}},
            "customdata": ranges,
            "hovertemplate": f"%{{y}} {label}, %{{customdata}} J/m²<extra></extra>",
            "showlegend": True,
        }
        for key, label, colour in (
            ("low", "low energy", "@new"),
            ("high", "high energy", "@training"),
        )
    ]
    layout = base_layout()
    layout |= {"barmode": "stack", "bargap": 0}
    # Ticks at the edges of bins; plotly would put them at the middles.
    step = widths[0] * max(1, round(len(widths) / _TICKS))
    layout["xaxis"] |= {
        "title": axis_title("normalised interface energy, J/m²"),
        "tickmode": "linear",
        "tick0": energy.get("cut") or 0.0,
        "dtick": step,
        "tickformat": ".2~f",
    }
    layout["yaxis"] |= {
        "title": axis_title("structures"),
        "rangemode": "tozero",
        "tickformat": ",d",
        "nticks": 6,
    }
    put_legend(layout)
    # Stacked bars are listed upside down otherwise.
    layout["legend"]["traceorder"] = "normal"
    cut = energy.get("cut")
    if cut is not None:
        layout["shapes"] = [vertical_line(float(cut), "dash") | {"layer": "above"}]
    return Plot(traces, layout, _HEIGHT)


def endings_plot(ended: Mapping[str, int]) -> Plot | None:
    """Draw how all structures that were tried ended, those that are kept at the top.

    Parameters
    ----------
    ended : dict of str to int
        Structures by how they ended.
    """
    if not ended:
        return None
    names, total = list(ended), max(sum(ended.values()), 1)
    labels = [f"{n:,} ({percent(100 * n / total)} %)" for n in ended.values()]
    words = [html.escape(name.replace("_", " ")) for name in names]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(ended.values()),
        "y": [-i for i in range(len(names))],
        "text": labels,
        "textposition": "auto",
        "cliponaxis": False,
        "marker": {"color": [_ENDS.get(name, "@failed") for name in names]},
        "width": 0.6,
        "hovertext": [f"{word}: {label}" for word, label in zip(words, labels, strict=True)],
        "hoverinfo": "text",
    }
    layout = base_layout()
    layout["xaxis"] |= {
        "title": axis_title("structures"),
        "rangemode": "tozero",
        "nticks": 6,
        "tickformat": ",d",
    }
    layout["yaxis"] |= named_ticks(words)
    layout["margin"]["r"] = 24
    return Plot([trace], layout, _BAR * len(names) + AROUND)


def progress_plot(rounds: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Draw how many structures of low energy were known among how many tried, round by round.

    Parameters
    ----------
    rounds : sequence of dict
        ``tried`` and ``low`` after each round, of all rounds up to it. Fewer than two are no line.
    """
    if len(rounds) < 2:
        return None
    tried = [0, *(int(one.get("tried") or 0) for one in rounds)]
    low = [0, *(int(one.get("low") or 0) for one in rounds)]
    texts = ["before the first round"] + [
        f"after round {i}: {n:,} of {m:,}"
        for i, (n, m) in enumerate(zip(low[1:], tried[1:], strict=True), 1)
    ]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": tried,
        "y": low,
        "line": {"color": "@new", "width": 2},
        "marker": {"color": "@new", "size": 7},
        "hovertext": texts,
        "hoverinfo": "text",
    }
    layout = base_layout()
    for axis, title in (("xaxis", "structures tried"), ("yaxis", "of low energy")):
        layout[axis] |= {
            "title": axis_title(title),
            "rangemode": "tozero",
            "tickformat": ",d",
            "nticks": 6,
        }
    return Plot([trace], layout, _LOW_HEIGHT)


def coordination_plot(stages: Mapping[str, Mapping[str, float]]) -> Plot | None:
    """Draw the shares of the atoms by their number of neighbours, stages side by side.

    Parameters
    ----------
    stages : dict of str to dict of str to float
        Shares (0 to 1) by number of neighbours, by stage.
    """
    numbers = sorted(
        {int(n) for shares in stages.values() for n, share in shares.items() if share >= _SEEN}
    )
    if not numbers:
        return None
    traces = [
        {
            "type": "bar",
            "name": html.escape(name),
            "x": [str(n) for n in numbers],
            "y": [100 * shares.get(str(n), 0.0) for n in numbers],
            "marker": {"color": _STAGES.get(name, _OTHER)},
            "hovertemplate": f"{html.escape(name)}, %{{x}} neighbours: %{{y:.3g}} %<extra></extra>",
            "showlegend": True,
        }
        for name, shares in stages.items()
    ]
    layout = base_layout()
    layout |= {"barmode": "group", "bargap": 0.25}
    layout["xaxis"] |= {"title": axis_title("neighbours of an atom"), "type": "category"}
    layout["yaxis"] |= {
        "title": axis_title("share of atoms"),
        "ticksuffix": " %",
        "rangemode": "tozero",
    }
    put_legend(layout)
    return Plot(traces, layout, _HEIGHT)
