"""A small CrysTens denoises held-out structures, through images and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.crystens.learner import (  # noqa: E402
    BASE,
    SUPER,
    make_diffusion,
    make_network,
    resized,
)
from dismaiflow.models.crystens.model import CrysTens  # noqa: E402
from dismaiflow.models.crystens.reconstruction import reconstruct  # noqa: E402
from dismaiflow.models.crystens.representation import Layout  # noqa: E402
from dismaiflow.models.crystens.settings import CrysTensSettings  # noqa: E402
from dismaiflow.models.data.fixed_cell import FixedCellData  # noqa: E402
from dismaiflow.models.presets import preset  # noqa: E402
from dismaiflow.models.train.randomness import generator  # noqa: E402
from dismaiflow.models.train.weights import load_weights  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402
from dismaiflow.systems import get_system  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

#: Li4 Cl4 in a cube, Å, on sites that follow no lattice; thermal motion and rattling per axis.
SIDE, N_ATOMS, MOTION, RATTLED = 8.0, 8, 0.05, 0.3

#: Time from which images are denoised, and steps.
START, STEPS = 0.4, 10

#: Of training; images of 20 pixels a side.
CHANGES = {
    "max_steps": 1500, "base_image_size": 10, "padding": 1, "kept_weights": "last",
    "ema_decay": 0.99, "ema_update_after": 0, "ema_update_every": 1,
}  # fmt: skip


def structures(n: int, seed: int) -> StructureSet:
    """Return structures near one random one."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) / 3 + 0.1
    sites = grid[rng.permutation(27)[:N_ATOMS]] + 0.06 * rng.normal(size=(N_ATOMS, 3))
    moved = np.random.default_rng(seed).normal(size=(n, N_ATOMS, 3))
    numbers = [[3] * (N_ATOMS // 2) + [17] * (N_ATOMS // 2)] * n
    return StructureSet.uniform(numbers, SIDE * (sites % 1) + MOTION * moved, SIDE * np.eye(3))


def fractions(given: StructureSet) -> torch.Tensor:
    return torch.tensor(given.positions.reshape(-1, N_ATOMS, 3) / SIDE)


def error(found: torch.Tensor, true: torch.Tensor) -> float:
    """Return the root mean square distance of atoms from where they belong, Å."""
    between = found - true
    return SIDE * float((between - between.round()).square().sum(-1).mean().sqrt())


def denoised(
    settings: CrysTensSettings, networks: dict[str, Any], layout: Layout, given: torch.Tensor
) -> torch.Tensor:
    """Return what the cascade makes of structures, with noise added from which it begins."""
    diffusion, lowres = make_diffusion(settings), None
    full = layout.encode(given.float())
    for name, images in ((BASE, resized(full, settings.base_image_size)), (SUPER, full)):
        times, rng = torch.full((len(given),), START), generator(0, name)
        noisy = diffusion.noised(images, times, torch.randn(images.shape, generator=rng))
        made = diffusion.denoise(
            networks[name].eval(), noisy, rng, STEPS, START, lowres=lowres, threshold="static"
        )
        lowres = resized(made, layout.side)
    return reconstruct(layout, made).fractions


@pytest.mark.slow
def test_it_denoises_structures_that_it_has_not_seen(tmp_path: Path) -> None:
    """Rattled by 0.3 Å per axis; untrained networks leave them worse than they are."""
    small = preset("crystens", get_system("amorphous-si"), "small").settings
    model = CrysTens(**(small | CHANGES))
    train, clean = structures(32, 1), fractions(structures(16, 2))
    layout = Layout.of(FixedCellData.from_structures(train, "crystens"), model.settings.padding)
    noise = torch.tensor(np.random.default_rng(3).normal(size=clean.shape))
    rattled = clean + RATTLED / SIDE * noise
    torch.manual_seed(0)
    networks = {name: make_network(model.settings, name) for name in (BASE, SUPER)}
    untrained = error(denoised(model.settings, networks, layout, rattled), clean)
    model.fit(ModelData(train), tmp_path, seed=0, budget=Budget())
    load_weights(tmp_path, networks)
    trained = error(denoised(model.settings, networks, layout, rattled), clean)
    assert error(rattled, clean) == pytest.approx(RATTLED * 3**0.5, rel=0.1)
    assert untrained > error(rattled, clean)
    assert trained < 0.7 * error(rattled, clean)
