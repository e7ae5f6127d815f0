"""Pictures of a training: errors by epoch (as Fig. S27 of the paper's SI), and parity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dismaiflow.potentials.training.checkpoint import Row
    from dismaiflow.potentials.training.evaluation import Predictions

#: Quantities of a history, with the title of their axis.
_PANELS = {
    "energy": "MAE of energy (eV/atom)",
    "force": "MAE of forces (eV/Å)",
    "stress": "MAE of stress (GPa)",
    "loss": "loss",
}

#: What the two lines of a panel are.
_LINES = {"train": "training", "val": "validation"}
_LOSS_LINES = {"train": "training: eq. 7 (mean squares)", "val": "validation: L of Table S6"}

#: Width and height of a panel with its labels, and what of it lies around the axes, inches.
_PANEL_SIZE = (3.4, 3.1)
_RIGHT, _BELOW, _ABOVE = 0.15, 0.55, 0.35

#: Points of a parity panel; more only make the file larger.
_MOST_POINTS = 20_000


def panels(n_panels: int, left: float = 0.9, per_row: int = 4) -> Any:
    """Return a figure and its panels in rows, drawn without a screen.

    Parameters
    ----------
    n_panels : int
        Number of panels.
    left : float
        Room for the labels on the left of each panel, inches. Matplotlib's own layouts would draw
        everything twice to find it.
    per_row : int
        Panels of a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(n_panels, per_row)
    n_rows = -(-n_panels // n_columns)
    width, height = _PANEL_SIZE[0] * n_columns, _PANEL_SIZE[1] * n_rows
    between, above = left + _RIGHT, _BELOW + _ABOVE
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=left / width,
        right=1 - _RIGHT / width,
        bottom=_BELOW / height,
        top=1 - _ABOVE / height,
        wspace=between / (_PANEL_SIZE[0] - between),
        hspace=above / (_PANEL_SIZE[1] - above),
    )
    places = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for unused in places[n_panels:]:
        unused.remove()
    return figure, places[:n_panels]


def draw_curves(path: Path, history: Sequence[Row]) -> None:
    """Draw errors of training and validation by epoch.

    The loss of the training set is that of the steps (eq. 7), that of the validation set the sum
    of mean absolute errors by which the epoch was chosen.
    """
    figure, places = panels(len(_PANELS))
    for panel, (name, title) in zip(places, _PANELS.items(), strict=True):
        for kind, label in (_LOSS_LINES if name == "loss" else _LINES).items():
            points = [(row["epoch"], row.get(f"{kind}_{name}")) for row in history]
            drawn = [(x, y) for x, y in points if x is not None and y is not None and y > 0]
            if drawn:
                panel.plot(*zip(*drawn, strict=True), label=label, marker=".", linewidth=1)
                panel.set_yscale("log")
        panel.set(xlabel="epoch", title=title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.title.set_fontsize("medium")
        if name in ("energy", "loss"):
            panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def draw_parity(path: Path, truth: Predictions, found: Predictions, name: str) -> None:
    """Draw predictions of one set against its labels.

    Parameters
    ----------
    path : Path
        The picture.
    truth, found : Predictions
        Labels, and what the potential says.
    name : str
        Of the set.
    """
    parts = [
        ("energy (eV/atom)", truth.energies, found.energies),
        ("force (eV/Å)", truth.forces, found.forces),
        ("stress (GPa)", truth.stresses, found.stresses),
    ]
    figure, places = panels(len(parts), left=0.95)
    for panel, (title, labels, values) in zip(places, parts, strict=True):
        x, y = labels.ravel(), values.ravel()
        there = np.isfinite(x) & np.isfinite(y)
        x, y = x[there], y[there]
        chosen = np.linspace(0, max(len(x) - 1, 0), min(len(x), _MOST_POINTS)).astype(np.int64)
        panel.plot(x[chosen], y[chosen], ".", markersize=3, alpha=0.5)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            panel.plot(ends, ends, "k-", linewidth=0.7)
        panel.set(xlabel=f"label, {title}", ylabel=f"potential, {title}", title=name)
    figure.savefig(path, dpi=120)
