"""Figures of interface regions: energies, motifs, bonds and g(r), each set beside the training set.

They follow Figs. 8, 9, S18, S19, S33 and S34 of the paper.
"""

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
    vertical_line,
)
from dismaiflow.report.words import motif_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.region_schemas import (
        Estimate,
        RegionBonds,
        RegionCurve,
        RegionEnergies,
        RegionMotif,
    )

#: Colours of the sets, the training set first.
_COLOURS = ("training", "new", "control", "second", "sixth", "seventh")

_HEIGHT = 300

#: Pixels of one bar, and of the space between groups of bars.
_BAR, _BETWEEN = 13, 12

#: Part of a row that its bars fill.
_FILLED = 0.78

#: Least share of the region's cations for a motif and count of anions to have bars, per cent.
_LEAST_COUNTED = 1.0


def set_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each set, by name."""
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}


def region_energies_plot(energies: RegionEnergies, colours: Mapping[str, str]) -> Plot:
    """Draw the distribution of interface energies, the training set filled (Fig. 8)."""
    traces = []
    for name, one in energies.sets.items():
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines",
            "name": html.escape(name),
            "x": [energies.edges[0], *energies.edges],
            "y": [0.0, *(100 * share for share in one.shares), 0.0],
            "line": {"shape": "hv", "color": f"@{colours[name]}", "width": 2},
            "hovertemplate": f"{html.escape(name)}: %{{y:.3g}} % at %{{x:.3g}} J/m²<extra></extra>",
            "showlegend": True,
        }
        if colours[name] == _COLOURS[0]:
            trace |= {"fill": "tozeroy", "fillcolor": "@training-fill"}
        traces.append(trace)
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title("normalised interface energy, J/m²")}
    layout["yaxis"] |= {"title": axis_title("% of structures"), "rangemode": "tozero"}
    layout["shapes"] = [vertical_line(energies.cut, "dot")]
    put_legend(layout)
    return Plot(traces, layout, _HEIGHT)


def region_motifs_plot(
    centre: str, motifs: Sequence[RegionMotif], colours: Mapping[str, str]
) -> Plot | None:
    """Draw how often each motif is the most likely one in the region (Fig. S33)."""
    # The paper has the lowest coordination at the top.
    rows = [(motif_text(row.motif), row.share) for row in reversed(motifs)]
    return _bars(rows, colours, f"share of the {centre} atoms in the region", " %")


def counted_motifs_plot(
    centre: str, anion: str, motifs: Sequence[RegionMotif], colours: Mapping[str, str]
) -> Plot | None:
    """Draw the motifs by the number of an anion among the neighbours (Figs. 9 and S18).

    Rows that no set reaches one per cent in are left out.
    """
    rows = []
    for row in reversed(motifs):
        by_set = row.by_count.get(anion, {})
        for count in range(max(map(len, by_set.values()), default=0)):
            shares = {name: found[count] for name, found in by_set.items() if count < len(found)}
            if max(share.value for share in shares.values()) >= _LEAST_COUNTED:
                rows.append((f"{motif_text(row.motif)} ({count} {anion})", shares))
    return _bars(rows, colours, f"share of the {centre} atoms in the region", " %")


def bonds_plot(bonds: Sequence[RegionBonds], colours: Mapping[str, str]) -> Plot | None:
    """Draw mean numbers of neighbours (Fig. S19)."""
    rows = [(f"{row.centre}–{row.neighbour}", row.count) for row in bonds if row.count]
    return _bars(rows, colours, "bonds per atom in the region", "")


def region_curve_plot(curve: RegionCurve, colours: Mapping[str, str]) -> Plot:
    """Draw g(r) of a pair with its intervals (Fig. S34)."""
    traces: list[dict[str, Any]] = []
    for name, band in curve.sets.items():
        colour = f"@{colours[name]}"
        if band.low:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [*curve.r, *reversed(curve.r)],
                    "y": [*band.high, *reversed(band.low)],
                    "fill": "toself",
                    "fillcolor": colour,
                    "opacity": 0.25,
                    "line": {"width": 0, "color": colour},
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": html.escape(name),
                "x": curve.r,
                "y": band.mean,
                "line": {"color": colour, "width": 1.5},
                "hovertemplate": f"{html.escape(name)}: %{{y:.3g}} at %{{x:.4g}} Å<extra></extra>",
                "showlegend": True,
            }
        )
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title("distance, Å"), "rangemode": "tozero"}
    layout["yaxis"] |= {
        "title": axis_title(f"g(r) of {curve.centre}–{curve.neighbour}"),
        "rangemode": "tozero",
    }
    put_legend(layout)
    return Plot(traces, layout, _HEIGHT)


def _bars(
    rows: Sequence[tuple[str, Mapping[str, Estimate]]],
    colours: Mapping[str, str],
    title: str,
    suffix: str,
) -> Plot | None:
    """Draw one group of bars for each row, from top to bottom, a bar for each set."""
    names = [name for name in colours if any(name in values for _, values in rows)]
    if not names:
        return None
    width = _FILLED / len(names)
    traces = []
    for place, name in enumerate(names):
        shown = [(i, values[name]) for i, (_, values) in enumerate(rows) if name in values]
        offset = _FILLED / 2 - (place + 0.5) * width
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": html.escape(name),
                "x": [one.value for _, one in shown],
                "y": [offset - i for i, _ in shown],
                "width": width,
                "marker": {"color": f"@{colours[name]}"},
                "error_x": _error_bars([one for _, one in shown]),
                "hovertemplate": f"{html.escape(name)}: %{{x:.3g}}{suffix}<extra></extra>",
                "showlegend": True,
            }
        )
    layout = base_layout()
    layout["xaxis"] |= {
        "title": axis_title(html.escape(title)),
        "ticksuffix": suffix,
        "rangemode": "tozero",
    }
    layout["yaxis"] |= named_ticks([html.escape(label) for label, _ in rows])
    put_legend(layout)
    height = (_BAR * len(names) + _BETWEEN) * len(rows) + AROUND + LEGEND_ROOM
    return Plot(traces, layout, height)


def _error_bars(values: Sequence[Estimate]) -> dict[str, Any]:
    """Return intervals; none, of no length, for a single structure."""
    above = [max((one.value if one.high is None else one.high) - one.value, 0) for one in values]
    below = [max(one.value - (one.value if one.low is None else one.low), 0) for one in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": "@ink",
        "thickness": 1.2,
        "width": 3,
    }
