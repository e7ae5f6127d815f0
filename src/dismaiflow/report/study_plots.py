"""Figures of studies: metrics over a setting, energies by variant, losses of the trainings."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from dismaiflow.report.dots import is_positive, shorten
from dismaiflow.report.figure import Plot, axis_title, base_layout, log_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.findings import Histogram
    from dismaiflow.report.rows import Value
    from dismaiflow.report.training_curves import Line

_HEIGHT = 300

#: Pixels for the names of lines at the right, and of one of them.
_NAMES, _NAME_HEIGHT = 112, 13

#: Characters of a name there, and of a variant below an axis.
_NAME_LENGTH, _TICK_LENGTH = 17, 17

#: Settings whose largest value is so many times the smallest stand on a logarithmic axis.
_WIDE_SCAN = 30.0

#: The same for quantities that need no logarithm, and for losses.
_WIDE, _WIDE_LOSS = 50.0, 10.0

#: A loss of both signs gets a logarithm on both sides if its largest value is so many times a
#: typical one: the first steps of an adversarial training would hide all others.
_SPIKE = 30.0

#: At most so many decades are labelled on such an axis.
_DECADES = 3

#: Energies are shared out over so many J/m^2, because each score has bins of its own.
ENERGY_STEP = 0.1

#: Colours of the variants, in their order.
COLOURS = ("new", "control", "second", "failed", "published", "sixth", "seventh")

_SETTING = re.compile(r"(?P<key>.+)=(?P<value>[^=]+)")
_EPOCH = re.compile(r"epoch-(?P<value>\d+)")


def variant_colour(place: int) -> str:
    """Return the name of the colour of a variant."""
    return COLOURS[place % len(COLOURS)]


@dataclass(frozen=True)
class Scan:
    """Where the variants of a study stand beside each other.

    Parameters
    ----------
    title : str
        What differs between them.
    labels : list of str
        The variants.
    places : list of float
        The value of the setting, the epoch, or simply 0, 1, 2...
    is_number : bool
        Whether the places are values.
    """

    title: str
    labels: list[str]
    places: list[float]
    is_number: bool

    @classmethod
    def from_labels(cls, labels: Sequence[str]) -> Scan:
        """Read the values of a setting (``key=number``) or epochs from the labels."""
        for pattern in (_SETTING, _EPOCH):
            found = [match for label in labels if (match := pattern.fullmatch(label))]
            keys = {match.groupdict().get("key", "epoch") for match in found}
            values = [_as_number(match["value"]) for match in found]
            known = [value for value in values if value is not None]
            if len(known) == len(labels) and len(keys) == 1:
                return cls(keys.pop(), list(labels), known, True)
        return cls("", list(labels), [float(i) for i in range(len(labels))], False)

    def axis(self) -> dict[str, Any]:
        """Return the horizontal axis."""
        low, high = min(self.places), max(self.places)
        title = axis_title(html.escape(self.title))
        if not self.is_number:
            names = [html.escape(shorten(label, _TICK_LENGTH)) for label in self.labels]
            return {
                "tickvals": self.places,
                "ticktext": names,
                "ticklabeloverflow": "allow",
                "range": [low - 0.5, high + 0.5],
                "showgrid": False,
            }
        if low > 0 and high / low >= _WIDE_SCAN:
            return {**log_axis(low / 1.5, high * 1.5), "title": title}
        room = 0.07 * (high - low) or 1.0
        return {"title": title, "range": [low - room, high + room], "nticks": 6}


@dataclass(frozen=True)
class Level:
    """A value that the variants are compared with.

    Parameters
    ----------
    name : str
        Of what.
    value : float or None
        The value.
    group : {"control", "published"}
        Controls are dashed, published rows dotted.
    """

    name: str
    value: float | None
    group: Literal["control", "published"]


def scan_plot(
    scan: Scan,
    values: Sequence[Value],
    title: str,
    levels: Sequence[Level] = (),
    instances: Sequence[Sequence[float | None]] = (),
    logarithmic: bool | None = None,
) -> Plot | None:
    """Draw one quantity of all variants.

    Parameters
    ----------
    scan : Scan
        Where they stand.
    values : sequence of Value
        Of each variant: a dot with a bar from the lower to the upper end.
    title : str
        What it is, with its unit.
    levels : sequence of Level
        Drawn across.
    instances : sequence of sequence of float, optional
        Of each variant: values of the trained instances, drawn as small circles.
    logarithmic : bool, optional
        Whether the axis is; by default if the values are positive and far apart.

    Returns
    -------
    Plot or None
        None if no variant has a value that can be drawn.
    """
    ends = [v for value in values for v in (value.value, value.low, value.high)]
    ends += [v for group in instances for v in group]
    known = [v for v in ends if v is not None and math.isfinite(v)]
    if logarithmic is None:
        logarithmic = bool(known) and min(known) > 0 and max(known) / min(known) > _WIDE
    usable = is_positive if logarithmic else _is_finite
    if not any(usable(value.value) for value in values):
        return None
    drawn = [level for level in levels if usable(level.value)]
    shown = [v for v in known if usable(v)] + [x.value for x in drawn if x.value is not None]
    layout = base_layout()
    layout["xaxis"] |= scan.axis()
    axis = _value_axis(shown, logarithmic)
    layout["yaxis"] |= axis | {"title": axis_title(html.escape(title))}
    traces = [_dots(scan, values, usable, title)]
    if instances:
        traces.insert(0, _instances(scan, instances, usable))
    if drawn:
        layout["margin"]["r"] = _NAMES
        layout["shapes"] = [_across(level) for level in drawn]
        layout["annotations"] = _names(drawn, axis["range"], logarithmic)
    return Plot(traces, layout, _HEIGHT)


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _value_axis(shown: Sequence[float], logarithmic: bool) -> dict[str, Any]:
    """Return a vertical axis on which all values lie."""
    low, high = min(shown), max(shown)
    if logarithmic:
        return log_axis(low / 1.4, high * 1.4)
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.08 * (high - low) or 1.0
    return {"range": [low - room if low < 0 else low, high + room if high > 0 else high]}


def _dots(scan: Scan, values: Sequence[Value], usable: Any, title: str) -> dict[str, Any]:
    kept = [
        (x, value, label)
        for x, value, label in zip(scan.places, values, scan.labels, strict=True)
        if usable(value.value)
    ]
    if scan.is_number:
        kept.sort(key=lambda item: item[0])
    y = [value.value or 0.0 for _, value, _ in kept]
    low = [v.low if usable(v.low) else a for (_, v, _), a in zip(kept, y, strict=True)]
    high = [v.high if usable(v.high) else a for (_, v, _), a in zip(kept, y, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers" if scan.is_number else "markers",
        "x": [x for x, _, _ in kept],
        "y": y,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "visible": any(v.low is not None and v.high is not None for _, v, _ in kept),
            "array": [max((b or 0.0) - a, 0.0) for b, a in zip(high, y, strict=True)],
            "arrayminus": [max(a - (b or 0.0), 0.0) for b, a in zip(low, y, strict=True)],
            "color": "@new",
            "thickness": 2,
            "width": 4,
        },
        "line": {"color": "@new", "width": 1},
        "marker": {"symbol": "circle", "size": 10, "color": "@new"},
        "hovertext": [
            f"<b>{html.escape(label)}</b><br>{html.escape(title)}: {_hover(value)}"
            for _, value, label in kept
        ],
        "hoverinfo": "text",
        "showlegend": False,
    }


def _hover(value: Value) -> str:
    text = f"{value.value:.3g}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({value.low:.3g}, {value.high:.3g})"


def _instances(
    scan: Scan, instances: Sequence[Sequence[float | None]], usable: Any
) -> dict[str, Any]:
    points = [
        (x, value)
        for x, group in zip(scan.places, instances, strict=True)
        for value in group
        if usable(value)
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for x, _ in points],
        "y": [value for _, value in points],
        "marker": {"symbol": "circle-open", "size": 7, "color": "@muted"},
        "hovertemplate": "one instance: %{y:.3g}<extra></extra>",
        "showlegend": False,
    }


def _across(level: Level) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": level.value,
        "y1": level.value,
        "layer": "below",
        "line": {
            "color": f"@{level.group}",
            "width": 1.5,
            "dash": "dash" if level.group == "control" else "dot",
        },
    }


def _names(levels: Sequence[Level], ends: Sequence[float], logarithmic: bool) -> list[Any]:
    """Name the lines at the right, none on top of another."""
    ordered = sorted(levels, key=lambda level: level.value or 0.0)
    values = [level.value or 0.0 for level in ordered]
    scaled = [math.log10(value) for value in values] if logarithmic else values
    low, high = ends
    # Pixels between the margins of `base_layout`.
    room = _NAME_HEIGHT / (_HEIGHT - 54)
    places = spread([(value - low) / (high - low) for value in scaled], room)
    return [
        {
            "text": html.escape(shorten(level.name, _NAME_LENGTH)),
            "xref": "paper",
            "x": 1,
            "xanchor": "left",
            "xshift": 4,
            "yref": "paper",
            "y": place,
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": 10, "color": f"@{level.group}"},
        }
        for level, place in zip(ordered, places, strict=True)
    ]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move ascending places between 0 and 1 apart, as little as a sweep up and one down allow."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap) if found else place)
    limit = 1.0
    for i in reversed(range(len(found))):
        found[i] = min(found[i], limit)
        limit = found[i] - gap
    return found


def energies_plot(histograms: Mapping[str, Histogram], colours: Mapping[str, str]) -> Plot | None:
    """Draw interface energies: outlines of the variants, the reference filled (Fig. 7).

    Parameters
    ----------
    histograms : mapping of str to Histogram
        By variant. The bins of each are its own, so shares are drawn per `ENERGY_STEP` J/m^2.
    colours : mapping of str to str
        Names of the colours by variant.
    """
    if not histograms:
        return None
    first = next(iter(histograms.values()))
    filled = {"fill": "tozeroy", "fillcolor": "@training-fill"}
    traces = [_outline(first.edges, first.reference, "reference", "training", 1) | filled]
    for label, histogram in histograms.items():
        traces.append(_outline(histogram.edges, histogram.generated, label, colours[label], 2))
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title("normalised interface energy, J/m²"), "nticks": 8}
    layout["yaxis"] |= {
        "title": axis_title(f"% of structures per {ENERGY_STEP:g} J/m²"),
        "rangemode": "tozero",
    }
    return Plot(traces, layout, _HEIGHT + 40)


def _outline(
    edges: Sequence[float], shares: Sequence[float], name: str, colour: str, width: int
) -> dict[str, Any]:
    heights = [
        100 * share * ENERGY_STEP / (right - left) if right > left else 0.0
        for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [edges[0], *edges],
        "y": [0.0, *(float(f"{height:.4g}") for height in heights), 0.0],
        "line": {"shape": "hv", "color": f"@{colour}", "width": width},
        "hovertemplate": f"{html.escape(name)}: %{{y:.3g}} % at %{{x:.3g}} J/m²<extra></extra>",
        "showlegend": False,
    }


def loss_plot(lines: Mapping[str, Line], colours: Mapping[str, str], unit: str) -> Plot:
    """Draw one loss of all trainings.

    Parameters
    ----------
    lines : mapping of str to (list of float, list of float)
        Points by the name of the training; names that end in ``, validation`` are dashed.
    colours : mapping of str to str
        Names of the colours by the same names.
    unit : str
        What the abscissa counts.
    """
    axis, moved = _loss_axis([y for _, values in lines.values() for y in values])
    traces = []
    for name, (x, y) in lines.items():
        dash = "dash" if name.endswith(VALIDATION) else "solid"
        label = html.escape(name)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": [float(f"{moved(value):.5g}") for value in y],
                "customdata": [float(f"{value:.4g}") for value in y],
                "line": {"color": f"@{colours[name]}", "width": 1.5, "dash": dash},
                "hovertemplate": f"{label}: %{{customdata}} at %{{x}}<extra></extra>",
                "showlegend": False,
            }
        )
    layout = base_layout()
    layout["xaxis"] |= {"title": axis_title(unit), "rangemode": "tozero", "nticks": 6}
    layout["yaxis"] |= axis
    return Plot(traces, layout, _HEIGHT - 60)


#: Ends the names of validation losses.
VALIDATION = ", validation"


def _loss_axis(values: Sequence[float]) -> tuple[dict[str, Any], Any]:
    """Return an axis for losses, and what moves a loss onto it."""
    low, high = min(values), max(values)
    if low > 0:
        if high / low <= _WIDE_LOSS:
            return {"nticks": 6}, float
        room = (high / low) ** 0.05
        return log_axis(low / room, high * room), float
    largest = max(abs(low), abs(high))
    typical = median([abs(value) for value in values if value] or [1.0])
    if largest <= _SPIKE * typical:
        return {"nticks": 6}, float
    return _both_signs(low, high, 10.0 ** math.floor(math.log10(typical)))


def _both_signs(low: float, high: float, unit: float) -> tuple[dict[str, Any], Any]:
    """Return an axis that is linear up to a unit and logarithmic beyond, on both sides of 0."""

    def moved(value: float) -> float:
        return math.asinh(value / unit)

    decades = math.floor(math.log10(max(abs(low), abs(high)) / unit))
    step = max(1, math.ceil(decades / _DECADES))
    sizes = [unit * 10.0**power for power in range(0, decades + 1, step)]
    ticks = [t for t in (*(-s for s in reversed(sizes)), 0.0, *sizes) if low <= t <= high]
    room = 0.05 * (moved(high) - moved(low))
    axis = {
        "range": [moved(low) - room, moved(high) + room],
        "tickvals": [moved(tick) for tick in ticks],
        "ticktext": [f"{tick:.6g}" for tick in ticks],
    }
    return axis, moved
