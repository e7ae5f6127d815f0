"""Learning curves: losses by epoch or step, from the log of a training."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from dismaiflow.models.train.log import COLUMNS, EPOCH, LOG_NAME, read_log
from dismaiflow.potentials.training.plots import panels
from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CURVES_NAME = "curves.png"

#: Points of a curve; more only make the file larger.
_MOST_POINTS = 2000

_LABELS = {"train": "training", "val": "validation"}

Point = tuple[int, float]


def draw_curves(folder: Path) -> None:
    """Draw ``curves.png`` from ``log.csv``: one panel for each loss.

    By epoch if there are two epochs at least, else by step. A folder whose log has no rows gets no
    picture.

    Raises
    ------
    DismaiError
        If a file cannot be read or written.
    """
    rows = read_log(folder / LOG_NAME)
    epochs = [row for row in rows if row["row"] == EPOCH]
    unit, rows = ("epoch", epochs) if len(epochs) > 1 else ("step", rows)
    columns = [name for name in (rows[0] if rows else ()) if name not in COLUMNS]
    losses = list(dict.fromkeys(name.partition("_")[2] for name in columns))
    if not losses:
        return
    figure, places = panels(len(losses))
    for panel, loss in zip(places, losses, strict=True):
        curves = {kind: _points(rows, unit, f"{kind}_{loss}") for kind in _LABELS}
        drawn = {kind: points for kind, points in curves.items() if points}
        for kind, points in drawn.items():
            panel.plot(*zip(*points, strict=True), label=_LABELS[kind], linewidth=1)
        # A critic's loss may have any sign.
        if all(y > 0 for points in drawn.values() for _, y in points):
            panel.set_yscale("log")
        panel.set(xlabel=unit, title=loss)
        panel.legend(fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png")
    write_bytes(folder / CURVES_NAME, stream.getvalue())


def _points(rows: Sequence[dict[str, str]], unit: str, column: str) -> list[Point]:
    points = [(int(row[unit]), float(row[column])) for row in rows if row.get(column)]
    return points[:: -(-len(points) // _MOST_POINTS) or 1]
