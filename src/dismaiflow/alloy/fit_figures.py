"""Figures of a fit: energies against energies, and the terms (paper, Fig. S21a and b)."""

from __future__ import annotations

import io
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from dismaiflow.alloy.fit_schemas import FittedExpansionDoc

#: Blue for what was held out, grey for what was fitted; pairs of species in these colours.
_HELD_OUT, _FITTED = "#1f5fa8", "0.72"
_PAIRS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")


def draw_fit(document: FittedExpansionDoc, path: Path) -> None:
    """Draw a fit into a PNG file.

    Parameters
    ----------
    document : FittedExpansionDoc
        The fit.
    path : Path
        File to write.

    Raises
    ------
    DismaiError
        If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.add_gridspec(2, 2, width_ratios=(1, 1.45))
    _draw_parity(figure.add_subplot(places[:, 0]), document)
    data = document.expansion
    errors = data["errors"] or {}
    colours = dict(zip(data["pair"]["1"], cycle(_PAIRS), strict=False))
    for row, (key, title) in enumerate(
        (
            ("pair", "pair terms, of which only combinations are unique"),
            ("ordering", "ordering energies V(XY) − (V(XX) + V(YY))/2, which are unique"),
        )
    ):
        panel = figure.add_subplot(places[row, 1])
        _draw_terms(panel, data[key], errors.get(key), colours)
        panel.set_title(title, fontsize=9)
    mark = "NOT DFT: " if document.rehearsal else ""
    figure.suptitle(f"{mark}{document.system}: {data['source']}", fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    write_bytes(path, stream.getvalue())


def _draw_parity(panel: Axes, document: FittedExpansionDoc) -> None:
    """Draw predicted against calculated formation energies, meV/atom."""
    energies = 1000 * np.array(document.energies)
    fit = document.expansion["fit"]
    for values, name, colour, size in (
        (document.predictions, "training", _FITTED, 22),
        (document.cv_predictions, "cross_validation", _HELD_OUT, 9),
    ):
        rmse = 1000 * fit[name]["rmse"]
        label = f"{'held out' if size < 20 else 'fitted'}: RMSE {rmse:.3g} meV/atom"
        panel.scatter(energies, 1000 * np.array(values), size, colour, lw=0, label=label)
    limits = np.array([panel.get_xlim(), panel.get_ylim()])
    both = limits[:, 0].min(), limits[:, 1].max()
    panel.plot(both, both, color="0.3", linewidth=0.8, zorder=0)
    panel.set(xlim=both, ylim=both, aspect="equal")
    panel.set_xlabel("calculated formation energy, meV/atom", fontsize=9)
    panel.set_ylabel("cluster expansion, meV/atom", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=8, loc="upper left", frameon=False)


def _draw_terms(
    panel: Axes,
    terms: dict[str, dict[str, float]],
    errors: dict[str, dict[str, float]] | None,
    colours: dict[str, str],
) -> None:
    """Draw bars by shell and pair, meV, with their errors."""
    labels = list(terms["1"])
    width = 0.85 / len(labels)
    for n, label in enumerate(labels):
        places = np.arange(1, len(terms) + 1) + (n - (len(labels) - 1) / 2) * width
        values = [1000 * shell[label] for shell in terms.values()]
        bars: dict[str, Any] = {}
        if errors is not None:
            bars = {"yerr": [1000 * shell[label] for shell in errors.values()], "ecolor": "0.25"}
        style = {"elinewidth": 0.7}
        panel.bar(places, values, width, color=colours[label], label=label, error_kw=style, **bars)
    panel.axhline(0.0, color="0.3", linewidth=0.8)
    panel.set_xlabel("shell", fontsize=8)
    panel.set_ylabel("meV", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.margins(y=0.22)  # room for the legend
    panel.legend(fontsize=7, ncols=len(labels), frameon=False)
