"""The spider chart of ranks, as Fig. 10 of the paper (Digital Discovery 2024, 3, 1889)."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from dismaiflow.benchmark.published import MODELS
from dismaiflow.benchmark.ranks import RULE
from dismaiflow.report.dots import shorten
from dismaiflow.report.figure import Plot, base_layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.ranks import Rank

#: With fewer spokes all lines would lie on one another.
_SPOKES = 3

#: Height of the figure, in pixels.
_HEIGHT = 520

#: Part of a ring that is left free in the centre, so that models of the last rank stay apart, and
#: around the outermost ring, so that its marks are not cut.
_HUB, _RIM = 1.0, 0.35

#: Where the numbers of the rings stand, degrees: between the first two spokes of six.
_SCALE_ANGLE = 60

#: Symbols grow from one model to the next, so that those on one place stay visible.
_PUBLISHED: tuple[dict[str, Any], ...] = (
    {"color": "@published", "symbol": "circle", "dash": "solid"},
    {"color": "@control", "symbol": "square-open", "dash": "dash"},
    {"color": "@second", "symbol": "diamond-open", "dash": "dot"},
    {"color": "@failed", "symbol": "triangle-up-open", "dash": "dashdot"},
    {"color": "@training", "symbol": "circle-open", "dash": "longdash"},
)
_SMALLEST, _LARGER = 6, 4
_NEW_SYMBOLS = ("star", "hexagram", "cross", "x")


def spider_plot(ranks: Mapping[str, Sequence[Rank]]) -> Plot | None:
    """Draw the ranks of models over datasets, the best on the outermost ring.

    Parameters
    ----------
    ranks : dict of str to sequence of Rank
        By the name of the dataset. A model that lacks some datasets has marks on the others, and
        lines only between neighbours.

    Returns
    -------
    Plot or None
        None without any rank, or with fewer than three spokes.
    """
    systems = list(ranks)
    models = dict.fromkeys((r.model, r.new) for found in ranks.values() for r in found)
    if not models or len(systems) < _SPOKES:
        return None
    last = max(rank.rank for found in ranks.values() for rank in found)
    traces = []
    # Each published model has its colour on every chart; the new ones come last, above them.
    order = {name: number for number, name in enumerate(MODELS)}
    ordered = sorted(models, key=lambda model: (model[1], order.get(model[0], len(order))))
    for number, (name, new) in enumerate(ordered):
        place = {s: r.rank for s, found in ranks.items() for r in found if _is(r, name, new)}
        traces.append(_trace(name, [place.get(s) for s in systems], systems, _style(number, new)))
    layout = base_layout()
    del layout["xaxis"], layout["yaxis"]
    layout["polar"] = {
        "bgcolor": "rgba(0,0,0,0)",
        "radialaxis": {
            "range": [last + _HUB, 1 - _RIM],
            "tickvals": list(range(1, last + 1)),
            "angle": _SCALE_ANGLE,
            "tickangle": _SCALE_ANGLE,
            "showline": False,
            "ticks": "",
            "gridcolor": "@grid",
            "tickfont": {"size": 11, "color": "@muted"},
        },
        "angularaxis": {
            "type": "category",
            "categoryarray": systems,
            "direction": "clockwise",
            "rotation": 90,
            "gridcolor": "@grid",
            "showline": False,
            "ticks": "",
        },
    }
    layout["margin"] = {"l": 60, "r": 60, "t": 30, "b": 70}
    layout["legend"] = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.1}
    layout["showlegend"] = True
    return Plot(traces, layout, _HEIGHT)


def spider_caption(ranks: Mapping[str, Sequence[Rank]]) -> str:
    """Say what the chart shows, where its ranks come from, and what a new model lacks."""
    last = max((rank.rank for found in ranks.values() for rank in found), default=0)
    text = (
        f"Rank on each dataset: 1, the best, on the outermost ring, {last} on the innermost. The "
        "paper prints no ranks; these are derived from its Tables 1 to 3 (Digital Discovery 2024, "
        f"3, 1889): {RULE}."
    )
    for name in dict.fromkeys(r.model for found in ranks.values() for r in found if r.new):
        shown = [s for s, found in ranks.items() if any(_is(r, name, True) for r in found)]
        if len(shown) < len(ranks):
            text += f" {name} has a comparable score on {', '.join(shown)} only."
    return text


def _is(rank: Rank, name: str, new: bool) -> bool:
    return (rank.model, rank.new) == (name, new)


def _style(number: int, new: bool) -> dict[str, Any]:
    if new:
        symbol = _NEW_SYMBOLS[number % len(_NEW_SYMBOLS)]
        return {"color": "@new", "symbol": symbol, "dash": "solid", "size": 13, "width": 3}
    cycle, place = divmod(number, len(_PUBLISHED))
    style = _PUBLISHED[place]
    if cycle:  # the colours come again, with other symbols
        style = style | {"symbol": _NEW_SYMBOLS[place % len(_NEW_SYMBOLS)]}
    return style | {"size": _SMALLEST + _LARGER * (number % len(_PUBLISHED)), "width": 2}


def _trace(
    name: str, places: Sequence[int | None], systems: Sequence[str], style: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the closed line of one model, broken where it has no rank."""
    label = html.escape(name)
    return {
        "type": "scatterpolar",
        "mode": "lines+markers",
        "name": html.escape(shorten(name)),
        "r": [*places, places[0]],
        "theta": [*systems, systems[0]],
        "connectgaps": False,
        "line": {"color": style["color"], "width": style["width"], "dash": style["dash"]},
        "marker": {
            "color": style["color"],
            "symbol": style["symbol"],
            "size": style["size"],
            "line": {"width": 2, "color": style["color"]},
        },
        "hovertext": [
            f"<b>{label}</b><br>{html.escape(system)}: rank {place}"
            for system, place in zip([*systems, systems[0]], [*places, places[0]], strict=True)
        ],
        "hoverinfo": "text",
        "cliponaxis": False,
        "showlegend": True,
    }
