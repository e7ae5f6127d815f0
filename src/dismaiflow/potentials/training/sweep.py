"""The sweep over learning rates and batch sizes of Table S6 (SI of the paper)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import BaseModel

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.training.evaluation import Errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.potentials.training.card import TrainedCard
    from dismaiflow.potentials.training.settings import TrainingSettings

#: Learning rates and batch sizes of Table S6.
TABLE_S6: tuple[tuple[float, int], ...] = ((0.001, 4), (0.0005, 4), (0.001, 2), (0.001, 6))

#: Hours that each model of the paper was trained (section 4.6).
SWEEP_HOURS = 24.0

#: Epochs that no model reaches in its time: the time decides.
_ENDLESS = 1_000_000


class SweepRow(BaseModel):
    """One row of the table: a model, at the epoch with its smallest loss on the validation set.

    Parameters
    ----------
    lr, batch_size : float, int
        What was varied.
    name : str
        Of its folder or job.
    errors : Errors
        Mean absolute errors on the validation set.
    loss : float
        Their sum, MAE_E + MAE_F + 0.1 MAE_S.
    best_epoch, epochs : int
        That epoch, and all.
    seconds : float
        Time of training.
    """

    lr: float
    batch_size: int
    name: str
    errors: Errors
    loss: float
    best_epoch: int
    epochs: int
    seconds: float


def sweep_settings(
    settings: TrainingSettings,
    pairs: Sequence[tuple[float, int]] = TABLE_S6,
    hours: float = SWEEP_HOURS,
) -> dict[str, TrainingSettings]:
    """Return the settings of each model of a sweep, by its name.

    Parameters
    ----------
    settings : TrainingSettings
        What they share; its epochs count only if they decay the learning rate.
    pairs : sequence of (float, int)
        Learning rates and batch sizes.
    hours : float
        Training time of each.

    Raises
    ------
    DismaiError
        If there is no pair, one comes twice, or there is no time to train.
    """
    if not pairs or len(set(pairs)) < len(pairs):
        raise DismaiError("a sweep needs pairs of learning rate and batch size, each once")
    if not 0 < hours < math.inf:
        raise DismaiError(f"a sweep compares trained models: give hours above 0, not {hours:g}")
    epochs = _ENDLESS if settings.schedule == "constant" else settings.epochs
    shared = settings.model_copy(update={"hours": hours, "epochs": epochs})
    return {
        f"lr{lr:g}-batch{size}": shared.model_copy(update={"lr": lr, "batch_size": size})
        for lr, size in pairs
    }


def sweep_row(name: str, card: TrainedCard) -> SweepRow:
    """Return the row of a trained model."""
    return SweepRow(
        lr=card.settings["lr"],
        batch_size=card.settings["batch_size"],
        name=name,
        errors=card.errors["val"],
        loss=card.errors["val"].loss,
        best_epoch=card.best_epoch,
        epochs=card.epochs,
        seconds=card.seconds,
    )


def best_row(rows: Sequence[SweepRow]) -> SweepRow:
    """Return the row with the smallest loss, as the paper chose its model."""
    return min(rows, key=lambda row: row.loss)
