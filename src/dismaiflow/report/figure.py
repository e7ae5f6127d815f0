"""What all figures share: their type, layout and axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Pixels of one row of a figure with rows, of what is around them, and of a legend above.
ROW, AROUND, LEGEND_ROOM = 25, 62, 26

#: Top margin of a figure with a legend.
_LEGEND_MARGIN = 34


@dataclass(frozen=True)
class Plot:
    """One figure.

    Parameters
    ----------
    data : list of dict
        Traces.
    layout : dict
        Layout, without the height.
    height : int
        In pixels.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int

    def as_dict(self) -> dict[str, Any]:
        """Return traces and layout for the page."""
        return {"data": self.data, "layout": {**self.layout, "height": self.height}}


def axis_title(text: str, size: int = 12) -> dict[str, Any]:
    """Return the title of an axis."""
    return {"text": text, "standoff": 6, "font": {"size": size}}


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis, whose labels fit a narrow window however many decades it has."""
    decades = math.log10(high / low)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [
        (step, step * 10.0**power)
        for power in range(first, last + 1)
        for step in ((1, 2, 5) if decades < 1.3 else (1, 3))
        if low <= step * 10.0**power <= high
    ]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": [tick for _, tick in ticks],
        "ticktext": [f"{tick:.10g}" if step == 1 or decades < 2.2 else "" for step, tick in ticks],
        "tickangle": 0,
    }


def vertical_line(x: float, dash: str) -> dict[str, Any]:
    """Return a line across the figure at one place of its horizontal axis."""
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "line": {"color": "@control", "width": 1.5, "dash": dash},
    }


def put_legend(layout: dict[str, Any]) -> None:
    """Put a legend in one line above a figure."""
    layout["legend"] = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    layout["showlegend"] = True
    layout["margin"]["t"] = _LEGEND_MARGIN


def named_ticks(labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis of names from top to bottom."""
    return {
        "tickvals": [-i for i in range(len(labels))],
        "ticktext": list(labels),
        "range": [0.6 - len(labels), 0.6],
        "showgrid": False,
        "zeroline": False,
    }


def base_layout() -> dict[str, Any]:
    """Return what all figures share."""
    axis = {
        "gridcolor": "@grid",
        "linecolor": "@grid",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": 13},
        "margin": {"l": 10, "r": 14, "t": 10, "b": 44},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
        "hoverlabel": {
            "align": "left",
            "bgcolor": "@panel",
            "bordercolor": "@muted",
            "font": {"color": "@ink"},
        },
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
    }
