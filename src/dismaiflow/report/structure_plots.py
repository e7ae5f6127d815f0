"""Figures of structures with free atoms: curves and motifs, generated beside training."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from dismaiflow.report.figure import (
    AROUND,
    LEGEND_ROOM,
    Plot,
    axis_title,
    base_layout,
    named_ticks,
    put_legend,
)
from dismaiflow.report.words import motif_text

if TYPE_CHECKING:
    from dismaiflow.benchmark.findings import Curve, MotifTable

_HEIGHT, _PANEL_HEIGHT = 320, 220

#: Pixels of a motif, which has two bars.
_MOTIF_ROW = 34


def two_curves(curve: Curve, compact: bool = False) -> Plot:
    """Draw the mean curve of the training set and of the generated set with its band.

    Parameters
    ----------
    curve : Curve
        Both.
    compact : bool
        Whether it is one of many small panels, which have no legend.
    """
    traces: list[dict[str, Any]] = []
    if curve.low:
        band = {
            "type": "scatter",
            "mode": "lines",
            "x": [*curve.x, *reversed(curve.x)],
            "y": [*curve.high, *reversed(curve.low)],
            "fill": "toself",
            "fillcolor": "@new-fill",
            "line": {"width": 0, "color": "@new-fill"},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        traces.append(band)
    for name, values, colour in (
        ("training", curve.reference, "@training"),
        ("generated", curve.generated, "@new"),
    ):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": curve.x,
                "y": values,
                "line": {"color": colour, "width": 2.5 if name == "training" else 1.5},
                "hovertemplate": f"{name}: %{{y:.3g}} at %{{x:.4g}}<extra></extra>",
                "showlegend": not compact,
            }
        )
    size = 10 if compact else 12
    layout = base_layout()
    layout["xaxis"] |= {
        "title": axis_title(html.escape(curve.x_label), size),
        "tickfont": {"size": size},
        "rangemode": "tozero",
    }
    layout["yaxis"] |= {
        "title": axis_title(html.escape(curve.y_label), size),
        "tickfont": {"size": size},
        "rangemode": "tozero",
    }
    if not compact:
        put_legend(layout)
    return Plot(traces, layout, _PANEL_HEIGHT if compact else _HEIGHT)


def motif_plot(table: MotifTable) -> Plot | None:
    """Draw how often each motif is the most likely one, in both sets, with intervals."""
    if not table.motifs:
        return None
    names = [motif_text(share.motif) for share in table.motifs]
    traces = []
    for name, shift, colour in (("training", 0.18, "@training"), ("generated", -0.18, "@new")):
        trace: dict[str, Any] = {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [
                share.reference if name == "training" else share.generated for share in table.motifs
            ],
            "y": [shift - i for i in range(len(names))],
            "width": 0.34,
            "marker": {"color": colour},
            "hovertemplate": f"{name}: %{{x:.3g}} %<extra></extra>",
            "showlegend": True,
        }
        if name == "generated":
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": [max(share.high - share.generated, 0.0) for share in table.motifs],
                "arrayminus": [max(share.generated - share.low, 0.0) for share in table.motifs],
                "color": "@ink",
                "thickness": 1.2,
                "width": 3,
            }
        traces.append(trace)
    layout = base_layout()
    layout["xaxis"] |= {
        "title": axis_title(f"share of the {html.escape(table.species)} atoms"),
        "ticksuffix": " %",
        "rangemode": "tozero",
    }
    layout["yaxis"] |= named_ticks([html.escape(name) for name in names])
    put_legend(layout)
    return Plot(traces, layout, _MOTIF_ROW * len(names) + AROUND + LEGEND_ROOM)
