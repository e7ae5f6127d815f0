"""UniMat removes noise, and generates what its controls do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.baselines import Rattled  # noqa: E402
from dismaiflow.models.ddpm.images import StructureImages  # noqa: E402
from dismaiflow.models.ddpm.learner import NETWORK, ImageLearner  # noqa: E402
from dismaiflow.models.train.learner import Place  # noqa: E402
from dismaiflow.models.train.randomness import generator, seeded  # noqa: E402
from dismaiflow.models.unimat.generation import make_diffusion, make_network  # noqa: E402
from dismaiflow.models.unimat.model import UniMat  # noqa: E402
from dismaiflow.models.unimat.representation import Video  # noqa: E402
from dismaiflow.models.unimat.settings import unimat_settings  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Cubic rock salt of lithium and chlorine, Å.
EDGE = 5.1

#: Its four sites of lithium, and of chlorine.
SITES = np.array(
    [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [2, 2, 2], [2, 0, 0], [0, 2, 0], [0, 0, 2]]
) / 4 + 0.25  # fmt: skip
NUMBERS = [3] * 4 + [17] * 4

TOY: dict[str, Any] = {
    "dim": 16, "dim_mults": [1], "num_resnet_blocks": 1, "layer_attns": [False],
    "layer_cross_attns": [False], "frame_size": [1, 2], "batch_size": 8, "snr_limit": None,
    "learning_rate": 5e-3, "ema_decay": 0.0, "device": "cpu",
}  # fmt: skip

#: A little larger, with attention and a level of half the pixels.
LARGER = TOY | {
    "dim_mults": [1, 2], "layer_attns": [False, True], "layer_cross_attns": [False, True],
    "attn_heads": 4, "attn_dim_head": 16, "frame_size": [2, 2], "learning_rate": 2e-3,
    "ema_decay": 0.95, "ema_update_after": 20, "max_steps": 1200, "sampling_timesteps": 50,
}  # fmt: skip


def rattled(n: int, seed: int) -> NDArray[np.float64]:
    """Return fractional coordinates, 0.1 Å off the sites along each axis."""
    return SITES + np.random.default_rng(seed).normal(0, 0.1 / EDGE, (n, 8, 3))


def as_set(fractions: NDArray[np.float64]) -> StructureSet:
    return StructureSet.uniform([NUMBERS] * len(fractions), fractions * EDGE, EDGE * np.eye(3))


def distance(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return the root mean square distance of atoms from where they should be, Å."""
    apart = found - wanted
    return float(EDGE * np.sqrt(((apart - np.round(apart)) ** 2).sum(-1).mean()))


def noisy_videos(video: Video, fractions: NDArray[np.float64], off: float) -> tuple[Any, float]:
    """Return videos of atoms that are so far off along each axis, Å, and the time of it."""
    diffusion, grid = make_diffusion(unimat_settings(TOY)), torch.linspace(0, 1, 1001)
    ratio = torch.exp(-diffusion.log_snr(grid) / 2)  # of noise to signal
    time = float(grid[(ratio - off / (EDGE * float(np.mean(video.span)))).abs().argmin()])
    clean = video.encode(torch.tensor(fractions))
    noise = torch.randn(clean.shape, generator=generator(0, "noise"))
    return diffusion.noised(clean, torch.full((len(clean),), time), noise), time


@pytest.mark.slow
def test_it_learns_to_denoise_a_structure() -> None:
    """Atoms are 0.7 Å off along each axis; 120 steps leave at most 0.7 of it."""
    torch.set_num_threads(1)
    settings, one = unimat_settings(TOY), rattled(1, 0)
    video = Video.of_training(one, (4, 4), settings)
    diffusion, source = make_diffusion(settings), StructureImages(one, video.encode)
    learner = ImageLearner(settings, lambda: make_network(settings), diffusion, source, None, 0)
    noisy, time = noisy_videos(video, one.repeat(16, 0), off=0.7)

    def left() -> float:
        network = learner.modules[NETWORK].eval()
        found = diffusion.denoise(network, noisy, generator(0), 10, time, noise=False)
        network.train()
        return distance(video.decode(found)[0], one)

    signal = torch.sigmoid(diffusion.log_snr(torch.tensor(time))).sqrt()
    control, untrained = distance(video.decode(noisy / signal)[0], one), left()
    assert control == pytest.approx(0.7 * 3**0.5, rel=0.1)
    with seeded(0):
        for step in range(120):
            if step == 80:  # large steps end anywhere, other processors elsewhere
                learner.optimizers["adam"].param_groups[0]["lr"] /= 6
            batch = torch.zeros(8, dtype=torch.int64)
            learner.step(batch, generator(0, step), Place(step, step, 0))
    trained = left()
    print(f"left: {trained:.3f} Å; untrained {untrained:.3f}; rattled {control:.3f}")
    assert trained <= 0.7 * min(control, untrained)


@pytest.mark.slow
def test_it_generates_a_crystal_from_noise(tmp_path: Path) -> None:
    """Structures from scratch lie nearer to the sites than those of training rattled by 0.3 Å."""
    torch.set_num_threads(1)
    data = ModelData(as_set(rattled(64, 0)))
    apart = {}
    for name, steps in (("untrained", 1), ("trained", 1200)):
        folder = tmp_path / name
        folder.mkdir()
        lenient = {"max_steps": steps, "reject_wrong_species": steps > 1}
        model = UniMat(**(LARGER | lenient))
        model.fit(data, folder, seed=0, budget=Budget())
        found = model.sample(folder, 32, seed=0)
        apart[name] = distance(found.structures.positions.reshape(-1, 8, 3) / EDGE, SITES)
    rattle = Rattled(sigma=0.3)
    rattle.fit(data, tmp_path, seed=0, budget=Budget())
    control = rattle.sample(tmp_path, 32, seed=0)
    apart["rattled"] = distance(control.positions.reshape(-1, 8, 3) / EDGE, SITES)
    print(len(found.bad), apart)
    assert len(found.bad) <= 2
    assert apart["trained"] < 0.8 * apart["rattled"]
    assert apart["trained"] < 0.3 * apart["untrained"]


@pytest.mark.slow
def test_it_denoises_held_out_structures() -> None:
    """0.36 Å off along each axis; what is left is hardly more than what no site can tell."""
    torch.set_num_threads(1)
    settings = unimat_settings(LARGER)
    train, held_out = rattled(64, 0), rattled(32, 1)
    video = Video.of_training(train, (4, 4), settings)
    diffusion, source = make_diffusion(settings), StructureImages(train, video.encode)
    learner = ImageLearner(settings, lambda: make_network(settings), diffusion, source, None, 0)
    noisy, time = noisy_videos(video, held_out, off=0.36)
    with seeded(0):
        for step in range(800):
            batch = torch.randint(0, 64, (8,), generator=generator(0, "batch", step))
            learner.step(batch, generator(0, step), Place(step, 0, step))
    network = learner.modules[NETWORK].eval()
    found = video.decode(diffusion.denoise(network, noisy, generator(0), 10, time, noise=False))[0]
    left = distance(found, held_out)
    print(f"left: {left:.3f} Å of {0.36 * 3**0.5:.3f}; sites {distance(SITES, held_out):.3f}")
    assert left < 0.5 * 0.36 * 3**0.5
