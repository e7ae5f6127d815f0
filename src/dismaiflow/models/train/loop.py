"""The training loop that all trained models share.

It stops anywhere between two steps, by a budget, a signal or a crash, and goes on from its last
checkpoint bit for bit as if it had not.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import Budget, FitResult
from dismaiflow.models.train.best import give_best, keep_best
from dismaiflow.models.train.checkpoint import (
    CHECKPOINT_NAME,
    Means,
    State,
    check_identity,
    give_parts,
    identity_text,
    remove_leftovers,
)
from dismaiflow.models.train.curves import draw_curves
from dismaiflow.models.train.devices import choose_device, device_of, device_title, repeatable
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.log import EPOCH, LOG_NAME, STEPS, TrainingLog
from dismaiflow.models.train.plan import SMALLEST, TrainPlan
from dismaiflow.models.train.randomness import (
    epoch_order,
    generator,
    random_states,
    seeded,
    set_random_states,
)
from dismaiflow.models.train.weights import (
    INDEX_NAME,
    WEIGHTS_NAME,
    Snapshot,
    check_finite,
    epoch_name,
    load_weights,
    read_weights,
    seconds_name,
    write_index,
    write_weights,
)
from dismaiflow.progress import report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Learner", "Place", "TrainPlan", "choose_device", "load_weights", "seeded", "train"]


def train(
    learner: Learner,
    plan: TrainPlan,
    folder: Path,
    seed: int,
    budget: Budget,
    identity: dict[str, Any],
) -> FitResult:
    """Train, or go on with a training.

    Parameters
    ----------
    learner : Learner
        Networks and optimisers, as they are at the very beginning.
    plan : TrainPlan
        How long. Numbers of items, sizes of batches and the seed may not change while a training
        goes on; the rest may.
    folder : Path
        An existing folder. While it trains it holds ``checkpoint.pt``, ``log.csv`` and
        ``snapshots``; in the end ``weights.pt`` and ``curves.png`` instead of the checkpoint.
    seed : int
        Seed of all randomness of the steps.
    budget : Budget
        When it is over, or a signal comes, a checkpoint is written and the result is not finished.
        At least one step is taken in each call.
    identity : dict
        JSON values: settings and the hash of the data. A training of another identity in the
        folder is refused.

    Returns
    -------
    FitResult
        How far it came. The learner's networks are those that were kept.

    Raises
    ------
    DismaiError
        If the folder holds another training or a damaged one, a loss is not finite, or a file
        cannot be written.
    """
    facts = {"seed": seed, "n_items": plan.n_items, "batch_size": plan.batch_size}
    text = identity_text({**identity, "training": {**facts, "drop_last": plan.drop_last}})
    remove_leftovers(folder)
    if not (folder / CHECKPOINT_NAME).exists() and (folder / WEIGHTS_NAME).exists():
        return _finished_before(learner, plan, folder, text)
    device = device_of(learner.modules)
    with budget.listening(), seeded(seed), repeatable(device, plan.deterministic):
        result = _Run(learner, plan, folder, seed, text).go(budget)
    return replace(result, device=device_title(device))


def _finished_before(learner: Learner, plan: TrainPlan, folder: Path, identity: str) -> FitResult:
    """Take up the weights of a training that is complete."""
    path = folder / WEIGHTS_NAME
    found = read_weights(path)
    check_identity(found["identity"], identity, path)
    if not plan.complete(found["epoch"], found["step"], found["seconds"]):
        raise DismaiError(
            f"{path}: that training ended after {found['epoch']} epochs and cannot go on to "
            f"{plan.epochs}: train anew in another folder"
        )
    give_parts(learner.modules, found["weights"], path)
    return FitResult(True, found["step"], found["epoch"], found["seconds"], found["losses"])


class _Run:
    """A training under way."""

    def __init__(
        self, learner: Learner, plan: TrainPlan, folder: Path, seed: int, identity: str
    ) -> None:
        self._learner, self._plan, self._folder, self._seed = learner, plan, folder, seed
        self._path = folder / CHECKPOINT_NAME
        self._state = State(identity)
        if self._path.exists():
            self._resume(identity)
        state = self._state
        self._log = TrainingLog(folder / LOG_NAME, state.log_rows, state.log_columns)
        self._seconds_before, self._began = state.seconds, time.monotonic()
        self._written, self._written_step = self._began, -1
        # Trainings by steps have more epochs than they need.
        if plan.max_steps is None:
            report("training", min(state.epoch, plan.epochs), plan.epochs, "epochs")
        else:
            report("training", min(state.step, plan.max_steps), plan.max_steps, "steps")

    def _resume(self, identity: str) -> None:
        state = State.read(self._path)
        check_identity(state.identity, identity, self._path)
        state.give(self._learner, self._path)
        set_random_states(state.random)
        self._state = state
        if (self._folder / INDEX_NAME).exists():
            write_index(self._folder, [Snapshot(**one) for one in state.snapshots])

    def go(self, budget: Budget) -> FitResult:
        """Take steps until all is done or the budget is over."""
        state, plan = self._state, self._plan
        self._take_snapshots()
        order = epoch_order(self._seed, state.epoch, plan.n_items)
        while not self._complete:
            self._step(order)
            if state.position == plan.n_batches:
                self._end_epoch()
                order = epoch_order(self._seed, state.epoch, plan.n_items)
            self._take_snapshots()
            if self._checkpoint_due():
                self._checkpoint()
            if budget.over:
                break
        finished = self._complete
        if self._written_step != state.step:
            self._checkpoint()
        if finished:
            draw_curves(self._folder)
            self._finish()
        return FitResult(finished, state.step, state.epoch, state.seconds, state.losses)

    @property
    def _complete(self) -> bool:
        state = self._state
        return self._plan.complete(state.epoch, state.step, state.seconds)

    def _step(self, order: torch.Tensor) -> None:
        state, plan = self._state, self._plan
        first = state.position * plan.batch_size
        place = Place(state.step, state.epoch, state.position)
        rng = generator(self._seed, "step", state.step)
        losses = self._learner.step(order[first : first + plan.batch_size], rng, place)
        self._check(losses, f"step {state.step}")
        state.step += 1
        state.position += 1
        state.epoch_means.add(losses)
        state.row_means.add(losses)
        state.seconds = self._seconds_before + time.monotonic() - self._began
        last = state.position == plan.n_batches
        if plan.max_steps is not None:
            report("training", 1, plan.max_steps, "steps")
        elif last:
            report("training", 1, plan.epochs, "epochs")
        if last:  # the row of the epoch tells
            return
        val = self._validate() if plan.validates_step(state.step) else {}
        if val or state.position % plan.log_every == 0 or self._complete:
            self._add_row(STEPS, _named("train", state.row_means.values()) | _named("val", val))

    def _end_epoch(self) -> None:
        state, plan = self._state, self._plan
        train = state.epoch_means.values()
        due = plan.validates_epoch(state.epoch + 1) or plan.validates_step(state.step)
        val = self._validate() if due else {}
        self._learner.end_epoch(train, val)
        state.epoch, state.position, state.epoch_means = state.epoch + 1, 0, Means()
        state.seconds = self._seconds_before + time.monotonic() - self._began
        self._add_row(EPOCH, _named("train", train) | _named("val", val))

    def _validate(self) -> dict[str, float]:
        """Judge the networks, and keep them if they are the best so far."""
        state = self._state
        val = self._learner.validate(generator(self._seed, "validate"))
        self._check(val, f"the validation after step {state.step}")
        if self._plan.kept_weights == SMALLEST and "loss" in val:
            for name in self._learner.judged:
                judged = {name: self._learner.modules[name]}
                keep_best(state.best, judged, val.get(f"{name}_loss", val["loss"]), state.step)
        return val

    def _add_row(self, kind: str, losses: dict[str, float]) -> None:
        state = self._state
        place = {"step": state.step, "epoch": state.epoch, "seconds": round(state.seconds, 3)}
        self._log.add({"row": kind, **place, **losses})
        state.losses, state.row_means = losses, Means()

    def _check(self, losses: Mapping[str, float], where: str) -> None:
        """Refuse losses that are lost, before they come into a checkpoint."""
        lost = {name: loss for name, loss in losses.items() if not math.isfinite(loss)}
        if lost:
            shown = ", ".join(f"{name!r} is {loss}" for name, loss in lost.items())
            kept = f"; {self._path} is the last good state" if self._path.exists() else ""
            raise DismaiError(
                f"training: the loss {shown} at {where}: the training has diverged; lower the "
                f"learning rate and train anew in another folder{kept}"
            )

    def _take_snapshots(self) -> None:
        """Keep the weights where the plan asks for it."""
        state, plan = self._state, self._plan
        due = [seconds_name(s) for s in plan.snapshot_seconds if state.seconds >= s and state.step]
        if state.position == 0 and state.epoch in plan.snapshot_epochs:
            due.append(epoch_name(state.epoch))
        taken = {one["name"] for one in state.snapshots}
        for name in due:
            if name not in taken:
                self._write_snapshot(name)

    def _write_snapshot(self, name: str) -> None:
        state = self._state
        place = {"epoch": state.epoch, "step": state.step, "seconds": state.seconds}
        state.snapshots.append({"name": name, **place})
        listed = [Snapshot(**one) for one in state.snapshots]
        check_finite(self._learner.modules, state.step)
        self._write_weights(listed[-1])
        write_index(self._folder, listed)

    def _write_weights(self, place: Snapshot) -> None:
        write_weights(
            self._folder / place.name,
            self._learner.modules,
            identity=self._state.identity,
            place=place,
            losses=self._state.losses,
        )

    def _checkpoint_due(self) -> bool:
        plan, every = self._plan, self._plan.checkpoint_steps
        by_steps = every is not None and self._state.step % every == 0
        return by_steps or time.monotonic() - self._written >= plan.checkpoint_seconds

    def _checkpoint(self) -> None:
        """Write where the training stands."""
        state = self._state
        check_finite(self._learner.modules, state.step)
        state.take(self._learner)
        state.random = random_states()
        self._log.sync()
        state.log_rows, state.log_columns = self._log.n_rows, self._log.columns
        state.write(self._path)
        self._written, self._written_step = time.monotonic(), state.step

    def _finish(self) -> None:
        """Leave the weights; the checkpoint goes last, so that nothing is lost if this is cut."""
        state = self._state
        give_best(state.best, self._learner.modules, self._path)
        self._write_weights(Snapshot(WEIGHTS_NAME, state.epoch, state.step, state.seconds))
        self._path.unlink()


def _named(kind: str, losses: Mapping[str, float]) -> dict[str, float]:
    return {f"{kind}_{name}": float(loss) for name, loss in losses.items()}
