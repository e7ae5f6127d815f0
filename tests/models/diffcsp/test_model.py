"""DiffCSP learns to remove noise, with and without cells; refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.build import bulk  # noqa: E402

from dismaiflow.errors import DismaiError  # noqa: E402
from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.data.crystals import CrystalData, turned_like  # noqa: E402
from dismaiflow.models.diffcsp.learner import NETWORK, DiffCSPLearner  # noqa: E402
from dismaiflow.models.diffcsp.model import DiffCSP  # noqa: E402
from dismaiflow.models.diffcsp.sampler import Crystals, Sampler  # noqa: E402
from dismaiflow.models.diffcsp.settings import diffcsp_settings  # noqa: E402
from dismaiflow.models.train.learner import Place  # noqa: E402
from dismaiflow.models.train.randomness import generator  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

TOY: dict[str, Any] = {
    "batch_size": 16, "layers": 2, "hidden": 48, "n_frequencies": 6, "time_dim": 32,
    "timesteps": 50, "learning_rate": 3e-3, "device": "cpu",
}  # fmt: skip


def crystals(n: int, seed: int) -> CrystalData:
    """Return fcc alloys of 32 atoms, species shuffled, atoms permuted, structures translated."""
    cell = bulk("Fe", "fcc", a=3.6, cubic=True) * (2, 2, 2)
    rng, base = np.random.default_rng(seed), cell.get_scaled_positions()
    fractions = [base[rng.permutation(32)] + rng.random(3) for _ in range(n)]
    numbers = [rng.permutation([26] * 16 + [28] * 8 + [24] * 8) for _ in range(n)]
    return CrystalData(np.array(fractions) % 1, np.array(numbers), np.array([cell.cell.array] * n))


def as_set(data: CrystalData) -> StructureSet:
    positions = data.fractions @ data.cells
    return StructureSet.uniform(data.numbers.astype(np.uint8), positions, data.cells[0])


def error(fractions: torch.Tensor, clean: torch.Tensor, cell: torch.Tensor) -> float:
    """Return the root mean square distance from where atoms were, but for a common translation."""
    apart = fractions - clean
    apart = apart - apart.round()
    apart = (apart - apart.mean(1, keepdim=True)) @ cell
    return float(apart.square().sum(-1).mean().sqrt())


@pytest.mark.slow
def test_it_learns_to_remove_noise() -> None:
    """Held-out structures, 0.36 Å per axis; at most 0.85 of the error is left after 150 steps."""
    torch.set_num_threads(1)
    learner = DiffCSPLearner(diffcsp_settings(TOY), crystals(64, 0), None, seed=0)
    test = crystals(16, 1)
    clean, cell = torch.tensor(test.fractions).float(), torch.tensor(test.cells[0]).float()
    noisy = (clean + 0.05 * torch.randn(clean.shape, generator=generator(0, "test"))) % 1
    given = Crystals(noisy, torch.tensor(test.numbers), cell.expand(16, 3, 3))

    def left() -> float:
        levels = learner._levels
        sampler = Sampler(learner.modules[NETWORK], levels, 1e-5)
        found = sampler.run(given, generator(0), start=levels.nearest(0.05), noise=False)
        return error(found.fractions, clean, cell) / error(noisy, clean, cell)

    assert left() > 1
    for step in range(150):
        batch = torch.randint(0, 64, (16,), generator=generator(0, "batch", step))
        learner.step(batch, generator(0, "step", step), Place(step, 0, step))
    assert left() <= 0.85


def test_teacher_forcing_leaves_the_cell_out() -> None:
    """The true cell is given and its loss is not used until those epochs are over (Table S1)."""
    settings = diffcsp_settings(TOY | {"lattice_cost": 1.0, "teacher_forcing_epochs": 2})
    learner = DiffCSPLearner(settings, crystals(8, 0), crystals(3, 1), seed=0)
    before = learner.modules[NETWORK].lattice.weight.detach().clone()
    batch = torch.arange(8)
    forced = learner.step(batch, generator(0, "a"), Place(0, 1, 0))
    assert set(forced) == {"loss", "coordinate_loss"}
    assert torch.equal(before, learner.modules[NETWORK].lattice.weight)
    # Validation and the learning rate follow: the cell's loss means nothing yet.
    assert set(learner.validate(generator(0, "v"))) == {"loss", "coordinate_loss"}
    learner.end_epoch(forced, {})
    assert learner.schedulers["plateau"].best == forced["coordinate_loss"]
    free = learner.step(batch, generator(0, "b"), Place(1, 2, 0))
    assert "lattice_loss" in learner.validate(generator(0, "v"))
    assert free["loss"] == pytest.approx(free["coordinate_loss"] + free["lattice_loss"], rel=1e-6)
    assert not torch.equal(before, learner.modules[NETWORK].lattice.weight)


@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_from_training_to_structures(tmp_path: Path, cost: float) -> None:
    """Its cells are those of training, or its own; the same seed gives the same structures."""
    data = crystals(6, 0)
    few = {"layers": 1, "hidden": 8, "timesteps": 4, "lattice_cost": cost, "max_steps": 3}
    model = DiffCSP(**(TOY | few | {"batch_size": 4, "epochs": 9}))
    given = ModelData(as_set(data), as_set(crystals(2, 5)))
    result = model.fit(given, tmp_path, seed=1, budget=Budget())
    assert (result.finished, result.step, result.device) == (True, 3, "cpu")
    assert "val_loss" in (tmp_path / "log.csv").read_text().splitlines()[0]
    made = [model.sample(tmp_path, 5, seed=seed) for seed in (3, 3, 4)]
    assert made[0].content_hash == made[1].content_hash != made[2].content_hash
    assert sorted(made[0].atoms(0).numbers) == sorted(data.numbers[0])
    own = np.abs(made[0].cells - data.cells[0]).max() > 1e-6
    assert own == (cost > 0)


def test_mixed_precision_gives_nearly_the_same() -> None:
    """bfloat16 has eight bits."""
    losses, weights = [], []
    for precision in ("none", "bf16"):
        settings = diffcsp_settings(TOY | {"mixed_precision": precision})
        learner = DiffCSPLearner(settings, crystals(16, 0), None, seed=0)
        losses.append(learner.step(torch.arange(16), generator(0), Place(0, 0, 0))["loss"])
        weights.append(learner.modules[NETWORK].coordinates.weight)
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert losses[1] != losses[0]
    assert weights[1].dtype == torch.float32
    assert bool(weights[1].isfinite().all())


@pytest.mark.parametrize("mirror", [1, -1])
def test_denoised_cells_lie_as_those_of_training(mirror: int) -> None:
    """A skew cell, turned by a rotation or a reflection, comes back."""
    rng = np.random.default_rng(0)
    cells = 5 * np.eye(3) + rng.random((4, 3, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(4, 3, 3)))
    turn[:, 0] *= mirror * np.linalg.det(turn)[:, None]
    assert np.linalg.det(turn) == pytest.approx(mirror)
    np.testing.assert_allclose(turned_like(cells @ turn, cells), cells, atol=1e-12)


def test_an_average_of_the_weights_samples() -> None:
    """With a decay of 0.5, one step moves it half of the way."""
    learner = DiffCSPLearner(diffcsp_settings(TOY | {"ema_decay": 0.5}), crystals(16, 0), None, 0)
    start = learner.modules[NETWORK].norm.weight.clone()
    learner.step(torch.arange(16), generator(0), Place(0, 0, 0))
    end = learner.modules["live"].norm.weight
    torch.testing.assert_close(learner.modules[NETWORK].norm.weight, (start + end) / 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma_end": 0.001}, "sigma_end must be larger"),
        ({"teacher_forcing_epochs": 5}, "lattice_cost above 0"),
        ({"hiden": 5}, "hidden"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DismaiError, match=said):
        DiffCSP(**settings)


def test_structures_of_different_sizes_are_refused() -> None:
    small = StructureSet.uniform([[26]], np.zeros((1, 1, 3)), np.eye(3))
    both = StructureSet.concatenate([as_set(crystals(1, 0)), small])
    with pytest.raises(DismaiError, match="structures of 1, 32 atoms"):
        CrystalData.from_structures(both, "diffcsp")
