"""CDVAE generates a crystal from noise, at a size that a processor trains in minutes."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.cdvae.model import CDVAE  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: The published range of noise, and small networks.
SETTINGS: dict[str, Any] = {
    "batch_size": 16, "epochs": 10**6, "max_steps": 1800, "latent_dim": 8, "mlp_hidden": 16,
    "encoder_graph": "nearest", "encoder_hidden": 8, "encoder_blocks": 1,
    "encoder_interaction": 4, "encoder_basis": 2, "encoder_output": 8,
    "encoder_output_layers": 1, "n_spherical": 2, "n_radial": 2, "decoder_hidden": 48,
    "decoder_blocks": 2, "decoder_radial": 32, "cutoff": 5.0, "n_neighbors": 20,
    "learning_rate": 2e-3, "langevin_steps": 20, "number": "true", "composition": "true",
    "device": "cpu",
}  # fmt: skip

#: Perovskite, SrTiO3: fractional coordinates and atomic numbers; edge in Å.
SITES = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
NUMBERS, EDGE = (38, 22, 8, 8, 8), 4.0


def from_sites(positions: NDArray[np.float64]) -> float:
    """Return the distance (root of the mean square, Å) of five atoms from the crystal's sites.

    But for a common translation, and with the oxygen atoms in whichever order fits best.
    """
    found = positions / EDGE
    errors = []
    for order in permutations(range(2, 5)):
        apart = found - SITES[[0, 1, *order]]
        apart -= apart[0]
        apart -= np.round(apart)
        apart -= apart.mean(0)
        errors.append(np.sqrt(((EDGE * apart) ** 2).sum(-1).mean()))
    return float(min(errors))


@pytest.mark.slow
def test_it_generates_a_crystal_from_noise(tmp_path: Path) -> None:
    """Lattice and places, from latent codes alone; number and composition are given.

    It learns from 64 structures, each moved as a whole, with 0.04 Å of noise on each coordinate.
    Atoms anywhere are 1 Å from the sites; these were 0.04 to 0.07 Å.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    shifts, noise = rng.random((64, 1, 3)), 0.01 * rng.normal(size=(64, 5, 3))
    cell = EDGE * np.eye(3)
    train = StructureSet.uniform([NUMBERS] * 64, ((SITES + shifts + noise) % 1) @ cell, cell)
    model = CDVAE(**SETTINGS)
    model.fit(ModelData(train), tmp_path, seed=0, budget=Budget())
    made = model.sample(tmp_path, 12, seed=0)
    assert isinstance(made, StructureSet)
    assert np.abs(made.cells - cell).max() < 0.1
    assert all(tuple(one.numbers) == NUMBERS for one in made)
    errors = [from_sites(one.positions) for one in made]
    anywhere = [from_sites(EDGE * rng.random((5, 3))) for _ in range(12)]
    print(np.round(errors, 3), np.round(anywhere, 2))
    assert np.median(errors) < 0.1 * np.median(anywhere)
