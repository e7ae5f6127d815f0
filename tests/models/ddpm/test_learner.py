"""Training and generation of images, with a tiny network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dismaiflow.models.ddpm.diffusion import GaussianDiffusion  # noqa: E402
from dismaiflow.models.ddpm.generation import generate_images  # noqa: E402
from dismaiflow.models.ddpm.images import StructureImages  # noqa: E402
from dismaiflow.models.ddpm.learner import (  # noqa: E402
    LIVE,
    NETWORK,
    ImageLearner,
    kept_share,
)
from dismaiflow.models.ddpm.settings import ImageSettings  # noqa: E402
from dismaiflow.models.train.learner import Place  # noqa: E402
from dismaiflow.models.train.randomness import generator, seeded  # noqa: E402


class Tiny(nn.Module):
    """Predicts noise from a pixel, the level, and the pixel of a small image if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.1), nn.SiLU(), nn.Linear(16, 1))

    def forward(self, x: Any, level: Any, lowres: Any = None, lowres_level: Any = None) -> Any:
        levels = level.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x) / 10
        small = torch.zeros_like(x) if lowres is None else lowres
        return self.mix(torch.stack([x, levels, small], -1))[..., 0]


class Pictures:
    """Images of one value each."""

    def __init__(self, values: list[float]) -> None:
        self.values = torch.tensor(values)

    @property
    def n_items(self) -> int:
        return len(self.values)

    def images(self, indices: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return self.values[indices][:, None, None, None].expand(-1, 1, 4, 4)


def learner(lowres: Any = None, **changes: Any) -> ImageLearner:
    settings = ImageSettings(**({"learning_rate": 0.02, "device": "cpu"} | changes))
    pictures = Pictures([0.5, 0.5, 0.6, 0.4])
    return ImageLearner(settings, Tiny, GaussianDiffusion(), pictures, pictures, 0, lowres=lowres)


def weights(network: Any) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in network.parameters()]).clone()


def test_defaults_are_those_of_the_paper_and_of_the_library() -> None:
    """Section 4.2.4; imagen-pytorch 1.26.2 and ema-pytorch."""
    found = ImageSettings()
    assert (found.learning_rate, found.betas, found.batch_size) == (1e-4, (0.9, 0.99), 8)
    assert (found.max_steps, found.timesteps, found.sampling_steps) == (150_000, 1000, 100)
    assert (found.ema_decay, found.ema_update_after, found.ema_update_every) == (0.9999, 100, 10)
    assert (found.threshold, found.snr_limit) == ("dynamic", 5)
    assert found.model_copy(update={"sampling_timesteps": None}).sampling_steps == 1000


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.7}, {"ema_update_after": 7}])
def test_the_average_is_that_of_ema_pytorch(changes: dict[str, Any]) -> None:
    """Its rule as a program with a state, for one number that learns."""
    settings = ImageSettings(**changes)
    average = expected = 0.0
    began = False
    for step in range(400):
        live = float(np.sin(step))
        kept = kept_share(settings, step)
        if kept is not None:
            average = kept * average + (1 - kept) * live
        if step % 10 == 0:
            if step <= settings.ema_update_after:
                expected = live
            else:
                if not began:
                    expected, began = live, True
                since = step + 1 - settings.ema_update_after - 1
                decay = min(1 - (1 + since) ** (-2 / 3), settings.ema_decay)
                expected -= (expected - live) * (1 - decay)
        assert average == pytest.approx(expected)


def test_it_learns_and_its_average_samples() -> None:
    """Images of about 0.5; an untrained network makes none of them."""
    one = learner(ema_decay=0.9, sampling_timesteps=20, sample_batch_size=64)
    first = one.validate(generator(9))["loss"]

    def made() -> torch.Tensor:
        network = one.modules[NETWORK].eval()
        return generate_images(GaussianDiffusion(), network, (1, 4, 4), one.settings, 64, 0, "cpu")

    before = (made() - 0.5).square().mean().sqrt().item()
    with seeded(0):  # of the dropout
        for step in range(150):
            batch = torch.randint(0, 4, (8,), generator=generator(0, step))
            one.step(batch, generator(1, step), Place(step, 0, step))
    after = (made() - 0.5).square().mean().sqrt().item()
    assert one.validate(generator(9))["loss"] < 0.5 * first
    assert after < 0.5 * before
    assert after < 0.25
    assert not torch.equal(weights(one.modules[NETWORK]), weights(one.modules[LIVE]))
    assert not any(p.requires_grad for p in one.modules[NETWORK].parameters())


def test_validation_changes_nothing() -> None:
    """The same noise, no dropout, and training goes on with it."""
    one = learner()
    before = weights(one.modules[LIVE])
    losses = [one.validate(generator(3))["loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(before, weights(one.modules[LIVE]))
    assert one.modules[LIVE].training


def test_without_validation_set_or_average() -> None:
    settings = ImageSettings(ema_decay=0, device="cpu")
    one = ImageLearner(settings, Tiny, GaussianDiffusion(), Pictures([0.5]), None, 0)
    assert one.validate(generator(0)) == {}
    assert set(one.modules) == {NETWORK}
    before = weights(one.modules[NETWORK])
    one.step(torch.tensor([0]), generator(0), Place(0, 0, 0))
    assert not torch.equal(before, weights(one.modules[NETWORK]))


def test_the_second_network_sees_small_images() -> None:
    """What `lowres` makes of the images; steps follow from the generator alone."""
    seen = []

    def lowres(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.mean((2, 3), keepdim=True).expand_as(images)

    torch.manual_seed(0)
    losses = [
        learner(lowres).step(torch.tensor([0, 2]), generator(4), Place(0, 0, 0))["loss"]
        for _ in range(2)
    ]
    assert seen[0][1].unique().item() == pytest.approx(0.6)
    assert losses[0] != learner().step(torch.tensor([0, 2]), generator(4), Place(0, 0, 0))["loss"]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_how_many_at_once_does_not_matter(size: int) -> None:
    """Nor in how many parts."""
    settings = ImageSettings(sampling_timesteps=3, sample_batch_size=size)
    network, diffusion = Tiny().eval(), GaussianDiffusion()
    torch.manual_seed(0)
    parts = [
        generate_images(diffusion, network, (1, 2, 2), settings, n, 7, "cpu", first=first)
        for n, first in ((4, 0), (1, 4))
    ]
    whole = generate_images(diffusion, network, (1, 2, 2), settings, 5, 7, "cpu")
    torch.testing.assert_close(torch.cat(parts), whole)
    assert len({tuple(image.flatten().tolist()) for image in whole}) == 5
    other = generate_images(diffusion, network, (1, 2, 2), settings, 5, 7, "cpu", stage="second")
    assert not torch.allclose(other, whole)


def test_equal_atoms_change_places_on_the_fly() -> None:
    """Atoms 1 and 2 do, atom 0 does not; an epoch is as long as if copies were stored."""
    fractions = np.arange(2 * 3 * 3).reshape(2, 3, 3).astype(float)
    source = StructureImages(fractions, lambda shown: shown, [np.array([1, 2])], copies=49)
    assert source.n_items == 100
    found = source.images(torch.arange(100), generator(0)).numpy()
    orders = set()
    for index, shown in enumerate(found):
        own = fractions[index // 50]
        np.testing.assert_array_equal(shown[0], own[0])
        orders.add(tuple(shown[1:, 0] - own[0, 0]))
    assert orders == {(3.0, 6.0), (6.0, 3.0)}
    again = source.images(torch.arange(100), generator(0)).numpy()
    np.testing.assert_array_equal(found, again)


def test_without_augmentation_structures_stay() -> None:
    fractions = np.random.default_rng(0).random((3, 4, 3))
    source = StructureImages(fractions, lambda shown: shown)
    assert source.n_items == 3
    np.testing.assert_array_equal(source.images(torch.arange(3), generator(0)), fractions)
