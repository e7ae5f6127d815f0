"""Small datasets for CrysTens."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.structures.structure_set import StructureSet

#: Sizes at which a step takes hundredths of a second.
SMALL = {
    "batch_size": 4,
    "max_steps": 3,
    "base_channels": [8, 8],
    "base_image_size": 8,
    "dim_mults": [1, 2],
    "num_resnet_blocks": [[1, 1], [1, 1]],
    "layer_attns": [[False, True], [False, False]],
    "layer_cross_attns": [[False, True], [False, False]],
    "attn_heads": 1,
    "attn_dim_head": 8,
    "sampling_timesteps": 3,
    "validation_interval": 2,
    "ema_update_after": 0,
    "ema_update_every": 1,
    "species_reading": "ranked",
    "device": "cpu",
}

CELL = np.array([[6.0, 0.0, 0.0], [2.5, 5.5, 0.0], [-1.0, 2.0, 6.5]])


@pytest.fixture(autouse=True)
def _one_thread():
    pytest.importorskip("torch").set_num_threads(1)


def interfaces(n: int, seed: int = 0) -> StructureSet:
    """Return random structures of Li4 Cl4, each with its species in an order of its own."""
    rng = np.random.default_rng(seed)
    numbers = np.array([rng.permutation([3] * 4 + [17] * 4) for _ in range(n)])
    return StructureSet.uniform(numbers, rng.random((n, 8, 3)) @ CELL, CELL)


def silicon(n: int, seed: int = 0) -> StructureSet:
    """Return random structures of eight silicon atoms, which can be read as nothing else."""
    rng = np.random.default_rng(seed)
    return StructureSet.uniform([[14] * 8] * n, rng.random((n, 8, 3)) @ CELL, CELL)
