"""A tiny adversarial learner, and a program that trains it and is killed."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dismaiflow.models.base import Budget
from dismaiflow.models.train import loop
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.loop import TrainPlan, seeded, train

SEED = 3
IDENTITY = {"settings": {"learning_rate": 0.01}, "dataset": "abc"}


class Adversaries(Learner):
    """A generator that learns at every third step, and a critic; each source of noise is used."""

    def __init__(self) -> None:
        with seeded(SEED):
            self.items = torch.randn(7, 2) + 3
            critic = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))
            self.modules = {"generator": nn.Linear(2, 2), "critic": critic}
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=0.01)
            for name, module in self.modules.items()
        }
        self.schedulers = {
            "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimizers["critic"], patience=0
            )
        }
        self.average = 0.0
        self.seen: list[tuple[Place, list[int], dict[str, float]]] = []

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        generator, critic = self.modules.values()
        jitter = float(np.random.normal()) + random.random()
        fake = generator(torch.randn(len(batch), 2, generator=rng)) + 0.01 * jitter
        loss = critic(fake.detach()).mean() - critic(self.items[batch]).mean()
        losses = {"critic": self._learn("critic", loss)}
        if at.step % 3 == 2:
            losses["generator"] = self._learn("generator", -critic(fake).mean())
        self.average = 0.9 * self.average + 0.1 * losses["critic"]
        self.seen.append((at, batch.tolist(), losses))
        return losses

    def _learn(self, name: str, loss: torch.Tensor) -> float:
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()
        return loss.item()

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        with torch.no_grad():
            drawn = self.modules["generator"](torch.randn(5, 2, generator=rng))
        return {"distance": float((drawn.mean(0) - 3).norm()) + self.average}

    def end_epoch(self, train: dict[str, float], val: dict[str, float]) -> None:
        if val:
            self.schedulers["plateau"].step(val["distance"])

    def extra_state(self) -> dict[str, float]:
        return {"average": self.average}

    def load_extra_state(self, state: dict[str, float]) -> None:
        self.average = state["average"]


def plan(**changes: object) -> TrainPlan:
    """Twenty steps: five epochs of three batches, the last one of one item, and five more."""
    settings = {"n_items": 7, "batch_size": 3, "epochs": 99, "max_steps": 20, "log_every": 2}
    return TrainPlan(**{**settings, **changes})


class Killed(Adversaries):
    """Kills its own process, without any warning, in the midst of a step."""

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        if at.step == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(batch, rng, at)


def main(folder: Path, when: str) -> None:
    """Train with a checkpoint at step 10; die in step 13, or while the next one is written."""
    if when == "step":
        train(Killed(), plan(checkpoint_steps=10), folder, SEED, Budget(), IDENTITY)
    fsync, n_calls = os.fsync, 0

    def die_at_fifth(number: int) -> None:
        # The log, the checkpoint and its folder are brought to the disk at step 10.
        nonlocal n_calls
        n_calls += 1
        if n_calls == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(number)

    os.fsync = die_at_fifth
    loop.train(Adversaries(), plan(checkpoint_steps=10), folder, SEED, Budget(), IDENTITY)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
