"""Small systems for CryinGAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dismaiflow.structures.structure_set import StructureSet

#: Sizes at which a step takes milliseconds.
SMALL = {
    "batch_size": 6,
    "latent_dim": 8,
    "generator_channels": 6,
    "generator_widths": [12, 10, 8],
    "critic_widths": [12, 10, 8],
    "critic_head": [14, 9],
    "n_neighbors": 3,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def skew_cell():
    return np.array([[6.0, 0.0, 0.0], [2.5, 5.5, 0.0], [-1.0, 2.0, 6.5]])


@pytest.fixture
def structures(skew_cell):
    """Twelve random structures of Fe4 Ni3 Cr2, their species in an order of their own."""
    rng = np.random.default_rng(3)
    numbers = np.array([rng.permutation([26] * 4 + [28] * 3 + [24] * 2) for _ in range(12)])
    return StructureSet.uniform(numbers, rng.random((12, 9, 3)) @ skew_cell, skew_cell)
