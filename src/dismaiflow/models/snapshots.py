"""Weights of earlier epochs, which stand in for the last ones."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.models.schemas import TrainedModelDoc

#: Weights that a model samples with, and the folder of those of earlier epochs.
WEIGHTS_NAME = "weights.pt"
SNAPSHOTS = "snapshots"


def weights_files(document: TrainedModelDoc, snapshot: str | None) -> dict[str, str]:
    """Return which file stands at which place for a model to be sampled.

    Parameters
    ----------
    document : TrainedModelDoc
        The model.
    snapshot : str, optional
        Weights of an earlier epoch, such as ``epoch-000100``.

    Returns
    -------
    dict of str to str
        Names of files by their place in the folder to be sampled.

    Raises
    ------
    DismaiError
        If it has no such snapshot.
    """
    kept = {PurePosixPath(f).stem: f for f in document.files if f.startswith(f"{SNAPSHOTS}/")}
    found = {name: name for name in document.files if name not in kept.values()}
    if snapshot is None:
        return found
    if snapshot not in kept:
        there = ", ".join(name for name, file in kept.items() if file.endswith(".pt"))
        raise DismaiError(
            f"model {document.model}: has no weights {snapshot!r}, only "
            f"{there or 'the last ones'}; name snapshots in its settings before the training"
        )
    return found | {WEIGHTS_NAME: kept[snapshot]}
