"""Losses of the trained instances of a study, from the logs that they have kept."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.models.train.log import COLUMNS, EPOCH, LOG_NAME, read_log
from dismaiflow.store.stored_files import get_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobflow import JobStore

    from dismaiflow.campaigns.study_schemas import StudyDoc
    from dismaiflow.models.schemas import TrainedModelDoc

#: Points of a line; a screen does not show more.
MAX_POINTS = 300

#: Abscissa and ordinate.
Line = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Curves:
    """Losses of several trainings.

    Parameters
    ----------
    unit : {"epoch", "step"}
        What the abscissa counts.
    lines : dict of str to dict of str to (list of float, list of float)
        By training, then by the column of its log, such as ``train_critic``: at most `MAX_POINTS`
        points each.
    """

    unit: str = EPOCH
    lines: dict[str, dict[str, Line]] = field(default_factory=dict)


def curves_of(jobstore: JobStore, trained: Mapping[str, TrainedModelDoc]) -> Curves:
    """Read the losses of trained models from their logs in a store.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    trained : mapping of str to TrainedModelDoc
        By what to call them. Models that have kept no ``log.csv`` are left out.

    Raises
    ------
    DismaiError
        If a log is missing from the store, or cannot be read.
    """
    logs = {}
    for label, document in trained.items():
        if LOG_NAME not in document.files:
            continue
        with tempfile.TemporaryDirectory() as name:
            get_folder(jobstore, {LOG_NAME: document.files[LOG_NAME]}, Path(name))
            logs[label] = read_log(Path(name) / LOG_NAME)
    return curves_of_logs(logs)


def curves_of_logs(logs: Mapping[str, Sequence[Mapping[str, str]]]) -> Curves:
    """Take the losses from the rows of logs: by epoch if each has two at least, else by step.

    Parameters
    ----------
    logs : mapping
        Rows of the logs (`read_log`) by what to call them.
    """
    by_epoch = {k: [r for r in rows if r.get("row") == EPOCH] for k, rows in logs.items()}
    unit = EPOCH if all(len(rows) > 1 for rows in by_epoch.values()) else "step"
    found = {
        label: _lines(rows, unit) for label, rows in (by_epoch if unit == EPOCH else logs).items()
    }
    return Curves(unit, {label: lines for label, lines in found.items() if lines})


def name_trainings(study: StudyDoc, trained: Sequence[TrainedModelDoc]) -> dict[str, int]:
    """Name the trainings of a study by variant and instance.

    Rows that differ in nothing but the snapshot share their trainings, which then have the name of
    the model.

    Returns
    -------
    dict of str to int
        Place in `trained` by name.
    """
    names: dict[str, int] = {}
    for place, document in enumerate(trained):
        rows = [
            row.label
            for row in study.rows
            if row.settings == document.choice.settings
            and row.model in (document.model, document.card.get("name"))
            and document.seed in {run.seed for run in row.runs}
        ]
        label = rows[0] if len(rows) == 1 else document.model
        number = study.seeds.index(document.seed) if document.seed in study.seeds else place
        name = f"{label} {number}"
        names[name if name not in names else f"{name} ({place})"] = place
    return names


def _lines(rows: Sequence[Mapping[str, str]], unit: str) -> dict[str, Line]:
    columns = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    found = {}
    for column in columns:
        read = [(_number(row.get(unit)), _number(row.get(column))) for row in rows]
        points = [(x, y) for x, y in read if x is not None and y is not None]
        if len(points) > 1:
            x, y = zip(*_thinned(points), strict=True)
            found[column] = (list(x), list(y))
    return found


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the first, the last, and others at equal distances."""
    if len(points) <= MAX_POINTS:
        return list(points)
    step = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(i * step)] for i in range(MAX_POINTS)]


def _number(text: str | None) -> float | None:
    """Read a number; logs of other programs may hold anything."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
