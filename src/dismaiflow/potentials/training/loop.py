"""The training loop: epochs, each ended by a checkpoint.

A loop of our own around the potential of matgl, and not the trainer of Lightning: it holds all that
decides the numbers (order of the frames, learning rate, weights, optimiser) in one state that is
written at the end of each epoch, so that a training that was cut into parts is bit for bit the one
that was not.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.model_card import start_hash
from dismaiflow.potentials.training.checkpoint import CHECKPOINT_NAME, Row, TrainingState
from dismaiflow.potentials.training.data import GraphFrames
from dismaiflow.potentials.training.evaluation import Predictions, predict
from dismaiflow.potentials.training.network import choose_device, new_network, saved_network
from dismaiflow.progress import report

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.potentials.training.data import GraphBatch, TrainingData
    from dismaiflow.potentials.training.settings import TrainingSettings

#: An epoch may take so many times as long as the longest one before.
_MARGIN = 1.1


@dataclass(frozen=True)
class TrainedRun:
    """A training, finished or not.

    Parameters
    ----------
    finished : bool
        Whether there is nothing left to do; otherwise its walltime came first.
    state : TrainingState
        Where it stands.
    potential : matgl.apps.pes.Potential
        With the weights of the best epoch, on the processor.
    """

    finished: bool
    state: TrainingState
    potential: Any


def epoch_order(seed: int, epoch: int, n_frames: int) -> NDArray[np.int64]:
    """Return the order of the frames in an epoch, a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(n_frames)


def known_state(
    data: TrainingData, settings: TrainingSettings, path: Path, start: Path | None
) -> TrainingState:
    """Return where a training stands by its checkpoint; one without weights if there is none.

    Raises
    ------
    DismaiError
        If the checkpoint is damaged or one of other data or settings, or the start has no card.
    """
    identity = settings.identity(data.hash, start_hash(start) if start else None)
    if not path.exists():
        return TrainingState(identity)
    state = TrainingState.read(path)
    if state.identity != identity:
        raise DismaiError(
            f"{path}: belongs to a training with other frames, settings or starting weights: "
            "repeat the command as it was (only --epochs, --hours and the device may change), "
            "or choose another folder"
        )
    return state


def train(
    data: TrainingData,
    settings: TrainingSettings,
    folder: Path,
    start: Path | None = None,
    device: str = "auto",
    max_seconds: float | None = None,
) -> TrainedRun:
    """Train a potential, or go on with a training.

    Parameters
    ----------
    data : TrainingData
        Frames.
    settings : TrainingSettings
        How.
    folder : Path
        Where ``checkpoint.pt`` is kept; a training that is there already goes on.
    start : Path, optional
        Folder of the potential that is fine-tuned, with its card.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    max_seconds : float, optional
        Time that this call may take: no epoch begins that would, by the longest one so far, not
        end in it. One epoch is always done.

    Returns
    -------
    TrainedRun
        Whether it is finished, and how it stands.

    Raises
    ------
    DismaiError
        If the checkpoint is one of other data or settings, or a file cannot be written.
    """
    began = time.monotonic()
    loop = _Loop(data, settings, folder / CHECKPOINT_NAME, start, choose_device(device))
    longest, n_done = 0.0, 0
    while not loop.finished:
        used = time.monotonic() - began
        if max_seconds is not None and n_done and used + _MARGIN * longest > max_seconds:
            break
        longest = max(longest, loop.epoch())
        n_done += 1
        report("training", 1, loop.total, "epochs")
    return TrainedRun(loop.finished, loop.state, loop.best())


class _Loop:
    """A potential, its optimiser and its frames, and where they stand."""

    def __init__(
        self,
        data: TrainingData,
        settings: TrainingSettings,
        path: Path,
        start: Path | None,
        device: str,
    ) -> None:
        self._settings, self._path, self._device = settings, path, device
        state = known_state(data, settings, path, start)
        if start is None:
            self._potential = new_network(data, settings)
        else:
            self._potential = saved_network(start, data, settings)
        self._potential.to(device)
        self._train, self._val = (
            GraphFrames(data.sets[name], self._potential.model, device) for name in ("train", "val")
        )
        self._optimizer = _optimizer(self._potential, settings)
        self.state = state
        if not state.weights:
            self._validated({"epoch": 0, "seconds": 0.0})
            if self.state.diverged:
                raise DismaiError(
                    "the potential gives numbers that are not finite for the validation set before "
                    "any training: do atoms lie on top of each other?"
                )
            return
        self._potential.load_state_dict(state.weights)
        self._optimizer.load_state_dict(state.optimizer)
        report("training", state.epoch, self.total, "epochs")

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done, the time is used up, or the loss was lost."""
        hours = self._settings.hours
        used_up = hours is not None and self.state.seconds >= hours * 3600
        return self.state.epoch >= self._settings.epochs or used_up or self.state.diverged

    @property
    def total(self) -> int:
        """Epochs that are wanted; those that are done if fewer are wanted now than before."""
        return max(self._settings.epochs, self.state.epoch)

    def epoch(self) -> float:
        """Do one epoch and write the checkpoint; return the seconds that it took."""
        began = time.monotonic()
        state = self.state
        row = self._steps(state.epoch + 1)
        state.epoch += 1
        if row is None:
            state.diverged = True
        else:
            row["seconds"] = time.monotonic() - began
            self._validated(row)
        seconds = time.monotonic() - began
        state.seconds += seconds
        state.optimizer = copy.deepcopy(self._optimizer.state_dict())
        state.write(self._path)
        return seconds

    def best(self) -> Any:
        """Return the potential with the weights of the best epoch."""
        self._potential.load_state_dict(self.state.best_weights)
        return self._potential.to("cpu").eval().requires_grad_(False)

    def _steps(self, epoch: int) -> Row | None:
        """Take the steps of an epoch; return its row of the history, None if the loss is lost."""
        settings = self._settings
        lr = settings.lr_at(epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        order = epoch_order(settings.seed, epoch, len(self._train)).tolist()
        self._potential.train()
        sums, sizes = np.zeros(4), np.zeros(4)
        for first in range(0, len(order), settings.batch_size):
            batch = self._train.batch(order[first : first + settings.batch_size])
            found, n = self._step(batch)
            if not np.isfinite(found[0]):
                return None
            sums += found * n
            sizes += n
        mean = sums / np.maximum(sizes, 1)
        return {
            "epoch": epoch,
            "lr": lr,
            "train_loss": float(mean[0]),
            "train_energy": float(mean[1]),
            "train_force": float(mean[2]),
            "train_stress": float(mean[3]) if sizes[3] else None,
        }

    def _step(self, batch: GraphBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take one step; return loss and mean absolute errors, and the numbers behind each."""
        import torch

        self._optimizer.zero_grad(set_to_none=True)
        energies, forces, stresses = batch.predict(self._potential)
        # Frames without stresses take no part in their term.
        there = torch.isfinite(batch.stresses)
        errors = (
            energies - batch.energies,
            forces - batch.forces,
            stresses[there] - batch.stresses[there],
        )
        settings = self._settings
        weights = (settings.energy_weight, settings.force_weight, settings.stress_weight)
        loss = sum(
            weight * error.square().mean()
            for weight, error in zip(weights, errors, strict=True)
            if weight and error.numel()
        )
        loss.backward()
        self._optimizer.step()
        means = [e.detach().abs().mean().item() if e.numel() else 0.0 for e in errors]
        n = np.array([len(energies), *(e.numel() for e in errors)], dtype=np.float64)
        return np.array([loss.item(), *means]), n

    def _validated(self, row: Row) -> None:
        """Judge the weights on the validation set, and keep them if they are the best."""
        state = self.state
        found = predict(self._potential, self._val, self._settings.batch_size)
        errors = found.errors(Predictions.labelled(self._val.frames))
        row |= {
            "val_energy": errors.energy,
            "val_force": errors.force,
            "val_stress": errors.stress,
            "val_loss": errors.loss,
        }
        if not np.isfinite(errors.loss):
            state.diverged = True
            return
        state.history.append(row)
        state.weights = _on_cpu(self._potential)
        if errors.loss < state.best_loss:
            state.best_loss, state.best_epoch = errors.loss, int(row["epoch"] or 0)
            state.best_weights = state.weights


def _optimizer(potential: Any, settings: TrainingSettings) -> Any:
    import torch

    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[settings.optimizer](potential.parameters(), lr=settings.lr)


def _on_cpu(potential: Any) -> dict[str, Any]:
    """Return a copy of all weights."""
    return {k: v.detach().cpu().clone() for k, v in potential.state_dict().items()}
