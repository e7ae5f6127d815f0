"""Trains each model twice for twenty steps: once in a process that is killed amid the eleventh.

python -m models.killed FOLDER
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dismaiflow.models.base import Budget, GenerativeModel, ModelData
from dismaiflow.models.command import CommandModel
from dismaiflow.models.registry import get_model
from dismaiflow.models.train import loop
from dismaiflow.structures.structure_set import StructureSet

STEPS, KILLED_IN, SEED = 20, 10, 5

#: Sizes at which twenty steps take a second.
TOYS: dict[str, dict[str, Any]] = {
    "cryingan": {
        "batch_size": 4, "max_steps": STEPS, "generator_channels": 8, "generator_widths": [8, 8],
        "critic_widths": [8, 8], "critic_head": [8], "n_neighbors": 2, "device": "cpu",
        "augmentation": "lattice-translations", "translations": [2, 1, 1],
    },
    "diffcsp": {
        "batch_size": 4, "max_steps": STEPS, "layers": 1, "hidden": 8, "n_frequencies": 2,
        "time_dim": 8, "timesteps": 5, "ema_decay": 0.9, "lattice_cost": 1.0, "device": "cpu",
        "scheduler_patience": 1,
    },
    "unimat": {
        "batch_size": 4, "max_steps": STEPS, "dim": 8, "dim_mults": [1], "num_resnet_blocks": 1,
        "layer_attns": [True], "layer_cross_attns": [True], "attn_heads": 2,
        "attn_dim_head": 8, "frame_size": [2, 2], "ema_decay": 0.9, "ema_update_after": 2,
        "ema_update_every": 3, "augmentation": "shuffle-all", "augmentation_copies": 2,
        "validation_interval": 4, "sampling_timesteps": 5, "reject_wrong_species": False,
        "device": "cpu",
    },
    "cdvae": {
        "batch_size": 4, "max_steps": STEPS, "latent_dim": 4, "mlp_hidden": 8,
        "encoder_graph": "nearest", "encoder_hidden": 8, "encoder_blocks": 1,
        "encoder_interaction": 4, "encoder_basis": 2, "encoder_output": 8,
        "encoder_output_layers": 1, "n_spherical": 2, "n_radial": 2, "decoder_hidden": 8,
        "decoder_blocks": 1, "decoder_radial": 4, "cutoff": 4.0, "n_neighbors": 6,
        "noise_levels": 4, "langevin_steps": 2, "scheduler_patience": 1,
        "teacher_forcing_epochs": 3, "species_denoising": True, "device": "cpu",
    },
    "crystens": {
        "batch_size": 4, "max_steps": STEPS, "base_channels": [8, 8], "base_image_size": 8,
        "dim_mults": [1], "num_resnet_blocks": [[1], [1]], "layer_attns": [[True], [False]],
        "layer_cross_attns": [[True], [True]], "attn_heads": 2, "attn_dim_head": 8,
        "padding": 13, "ema_decay": 0.9, "ema_update_after": 2, "ema_update_every": 3,
        "validation_interval": 4, "sampling_timesteps": 3, "species_reading": "ranked",
        "device": "cpu",
    },
}  # fmt: skip


#: The name by which a model in another program is asked for.
COMMAND = "command"


def make(model: str) -> GenerativeModel:
    """Return a model of `TOYS`, or the one in another program."""
    if model != COMMAND:
        return get_model(model, TOYS[model])
    walker = [sys.executable, str(Path(__file__).with_name("walker.py"))]
    return CommandModel(
        {
            "name": "walker",
            "train": [*walker, "train", "{folder}", "{seed}", "{max_seconds}"],
            "generate": [*walker, "generate", "{folder}", "{n}", "{seed}", "{out}"],
        }
    )


def data() -> ModelData:
    """Return ten structures of eight atoms."""
    rng = np.random.default_rng(0)
    positions = 4 * rng.random((10, 8, 3))
    train = StructureSet.uniform([[26] * 4 + [28] * 4] * 10, positions, 4 * np.eye(3))
    return ModelData(train, train.select(range(3)))


def leave_out(folder: Path) -> None:
    """Draw nothing."""


def train(model: str, folder: Path) -> None:
    """Train in a folder."""
    folder.mkdir(exist_ok=True)
    loop.draw_curves = leave_out  # takes longer than the steps
    make(model).fit(data(), folder, seed=SEED, budget=Budget())


def arm() -> None:
    """Let the process be killed in the eleventh step; each step leaves a checkpoint."""
    os.environ["WALKER"] = "kill"
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


def kill(model: str, folder: Path) -> int:
    """Train in a process of its own that is killed, and return the signal that ended it.

    It is a fork, so that the libraries are imported once.
    """
    child = os.fork()
    if not child:
        arm()
        train(model, folder)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    places = {name: Path(sys.argv[1]) / name for name in [*TOYS, COMMAND]}
    # All forks come first: torch does not allow them once it has computed gradients on a GPU.
    for name, place in places.items():
        place.mkdir()
        assert kill(name, place / "parts") == signal.SIGKILL
        assert (place / "parts" / "checkpoint.pt").is_file() or name == COMMAND
        assert not (place / "parts" / "weights.pt").exists()
    for name, place in places.items():
        train(name, place / "parts")
        train(name, place / "whole")
