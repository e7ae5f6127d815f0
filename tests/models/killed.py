"""Trains a model for twenty steps, in a process that is killed amid the eleventh if asked to.

python -m models.killed MODEL FOLDER [kill]
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.registry import get_model
from dismaiflow.models.train import loop
from dismaiflow.structures.structure_set import StructureSet

STEPS, KILLED_IN, SEED = 20, 10, 5

#: Sizes at which twenty steps take a second.
TOYS: dict[str, dict[str, Any]] = {
    "cryingan": {
        "batch_size": 4, "max_steps": STEPS, "generator_channels": 8, "generator_widths": [8, 8],
        "critic_widths": [8, 8], "critic_head": [8], "n_neighbors": 2, "device": "cpu",
    },
    "diffcsp": {
        "batch_size": 4, "max_steps": STEPS, "layers": 1, "hidden": 8, "n_frequencies": 2,
        "time_dim": 8, "timesteps": 5, "ema_decay": 0.9, "lattice_cost": 1.0, "device": "cpu",
        "scheduler_patience": 1,
    },
}  # fmt: skip


def data() -> ModelData:
    """Return ten structures of eight atoms."""
    rng = np.random.default_rng(0)
    positions = 4 * rng.random((10, 8, 3))
    train = StructureSet.uniform([[26] * 4 + [28] * 4] * 10, positions, 4 * np.eye(3))
    return ModelData(train, train.select(range(3)))


def train(model: str, folder: Path) -> None:
    """Train in a folder."""
    folder.mkdir(exist_ok=True)
    get_model(model, TOYS[model]).fit(data(), folder, seed=SEED, budget=Budget())


def arm() -> None:
    """Let the process be killed in the eleventh step; each step leaves a checkpoint."""
    plain = loop.train

    def watched(learner: Any, plan: Any, *rest: Any) -> Any:
        step = learner.step

        def stepped(batch: Any, rng: Any, at: Any) -> Any:
            if at.step == KILLED_IN:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(batch, rng, at)

        learner.step = stepped
        return plain(learner, replace(plan, checkpoint_steps=1), *rest)

    loop.train = watched


if __name__ == "__main__":
    if sys.argv[2] == "kill":
        arm()
    for name in sys.argv[3:]:
        train(sys.argv[1], Path(name))
