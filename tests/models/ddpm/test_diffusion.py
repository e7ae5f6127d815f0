"""The diffusion against closed forms: schedules, posterior, Gaussian data."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dismaiflow.models.ddpm.diffusion import (  # noqa: E402
    GaussianDiffusion,
    limited,
    sample_noise,
)
from dismaiflow.models.train.randomness import generator  # noqa: E402

few = settings(max_examples=20, deadline=None)
times_of_day = st.floats(0.001, 0.98)


def signal(schedule: str, time: float) -> float:
    """Share of the signal's variance, from the papers' formulas for it."""
    if schedule == "cosine":
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return math.exp(-(1e-4 + 10 * time**2))


class OfGaussianData:
    """The best prediction of the noise of independent normal pixels, in closed form."""

    def __init__(self, mean: float, spread: float) -> None:
        self.mean, self.spread = mean, spread

    def __call__(self, noisy: Any, level: Any) -> Any:
        kept = torch.sigmoid(level.double()).reshape(-1, *[1] * (noisy.ndim - 1))
        offset = noisy - kept.sqrt() * self.mean
        return (1 - kept).sqrt() * offset / (kept * self.spread**2 + 1 - kept)


@few
@given(schedule=st.sampled_from(["cosine", "linear"]), time=times_of_day)
def test_schedules(schedule: Any, time: float) -> None:
    diffusion = GaussianDiffusion(schedule)
    level = diffusion.log_snr(torch.tensor([time], dtype=torch.float64)).item()
    kept = signal(schedule, time)
    assert level == pytest.approx(math.log(kept / (1 - kept)), rel=1e-6, abs=1e-6)


def test_the_ends_are_those_of_single_precision() -> None:
    """cos(π/2) is 4.371139e-8 there; its square is what is left of the signal."""
    diffusion = GaussianDiffusion()
    ends = diffusion.log_snr(torch.tensor([0.0, 1.0]))
    assert ends[1].item() == pytest.approx(2 * math.log(4.371139e-8), rel=1e-4)
    assert ends[0].item() == pytest.approx(-2 * math.log(math.tan(0.008 / 1.008 * math.pi / 2)))


@few
@given(schedule=st.sampled_from(["cosine", "linear"]), time=st.floats(0, 1))
def test_what_has_unit_variance_keeps_it(schedule: Any, time: float) -> None:
    diffusion, one = GaussianDiffusion(schedule), torch.ones(1, 2, 3, dtype=torch.float64)
    at = torch.tensor([time])
    clean = diffusion.noised(one, at, torch.zeros_like(one))
    noise = diffusion.noised(torch.zeros_like(one), at, one)
    torch.testing.assert_close(clean**2 + noise**2, one)


@few
@given(schedule=st.sampled_from(["cosine", "linear"]), time=times_of_day)
def test_a_known_noise_can_be_taken_away(schedule: Any, time: float) -> None:
    diffusion, rng = GaussianDiffusion(schedule), generator(0)
    clean, noise = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=rng)
    at = torch.tensor([time, time / 2])
    noisy = diffusion.noised(clean, at, noise)
    torch.testing.assert_close(diffusion.clean_estimate(noisy, at, noise), clean)


@few
@given(
    schedule=st.sampled_from(["cosine", "linear"]),
    time=st.floats(0.1, 0.98),
    step=st.floats(0.01, 0.1),
)
def test_the_posterior_is_that_of_ddpm(schedule: Any, time: float, step: float) -> None:
    """Ho et al., arXiv:2006.11239, equations 6 and 7, in their variables."""
    rng = np.random.default_rng(0)
    clean, noisy = rng.normal(size=(2, 1, 3, 2))
    whole, before = signal(schedule, time), signal(schedule, time - step)
    beta = 1 - whole / before
    mean = math.sqrt(before) * beta / (1 - whole) * clean
    mean += math.sqrt(1 - beta) * (1 - before) / (1 - whole) * noisy
    variance = (1 - before) / (1 - whole) * beta
    found = GaussianDiffusion(schedule).posterior(
        torch.tensor(clean),
        torch.tensor(noisy),
        torch.tensor([time], dtype=torch.float64),
        torch.tensor([time - step], dtype=torch.float64),
    )
    np.testing.assert_allclose(found[0].numpy(), mean, rtol=1e-6, atol=1e-9)
    assert found[1].item() == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_gaussian_data_come_back(schedule: Any) -> None:
    """With the exact prediction, pixels of mean 0.3 and deviation 0.5 are generated."""
    found = GaussianDiffusion(schedule).sample(
        OfGaussianData(0.3, 0.5), (200, 1, 10, 10), generator(1), 1000, threshold="none"
    )
    assert found.mean().item() == pytest.approx(0.3, abs=0.01)
    assert found.std().item() == pytest.approx(0.5, abs=0.01)
    # Independent: the mean of a hundred is narrower by ten.
    assert found.mean((1, 2, 3)).std().item() == pytest.approx(0.05, rel=0.2)


def test_few_steps_narrow_gaussian_data_as_they_must() -> None:
    """Each of ten steps as the textbook has it; then the distribution is known at each time."""
    mean, spread, times = 0.3, 0.5, np.linspace(0.9, 0, 11)
    at, variance = 0.0, 1.0
    for here, there in itertools.pairwise(signal("cosine", time) for time in times):
        slope = spread**2 * math.sqrt(here) / (here * spread**2 + 1 - here)
        of_clean = math.sqrt(there) * (1 - here / there) / (1 - here)
        of_noisy = math.sqrt(here / there) * (1 - there) / (1 - here)
        at = of_clean * (mean + slope * (at - math.sqrt(here) * mean)) + of_noisy * at
        variance *= (of_clean * slope + of_noisy) ** 2
        variance += (1 - there) / (1 - here) * (1 - here / there) * (there < signal("cosine", 0))
    noisy = torch.randn(200_000, 1, generator=generator(0))
    found = GaussianDiffusion().denoise(
        OfGaussianData(mean, spread), noisy, generator(1), 10, 0.9, threshold="none"
    )
    assert found.mean().item() == pytest.approx(at, abs=0.005)
    assert found.std().item() == pytest.approx(math.sqrt(variance), rel=0.005)
    assert abs(math.sqrt(variance) - spread) > 0.05


@pytest.mark.parametrize("limit", [None, 5.0])
def test_the_loss_of_the_best_prediction(limit: float | None) -> None:
    """Its mean is an integral over time; that of any other is larger."""
    grid = (np.arange(100_000) + 0.5) / 100_000
    kept = np.cos((grid + 0.008) / 1.008 * np.pi / 2) ** 2
    errors = kept * 0.25 / (kept * 0.25 + 1 - kept)
    if limit is not None:
        errors *= np.minimum(kept / (1 - kept), limit) / (kept / (1 - kept))
    diffusion, best = GaussianDiffusion(snr_limit=limit), OfGaussianData(0.3, 0.5)
    rng = generator(2)
    clean = 0.3 + 0.5 * torch.randn(50_000, 1, 4, generator=rng)
    found = diffusion.loss(best, clean, rng).item()
    assert found == pytest.approx(errors.mean(), rel=0.02)
    for other in (OfGaussianData(0.0, 0.5), OfGaussianData(0.3, 0.3), OfGaussianData(0.3, 0.8)):
        assert diffusion.loss(other, clean, generator(2)).item() > found


class Listener:
    """A network that predicts nothing and keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __call__(self, noisy: Any, *told: Any) -> Any:
        self.heard.append(told)
        return torch.zeros_like(noisy)


def test_a_cascade_is_told_the_noise_of_its_small_image() -> None:
    """Linear schedule; one time for a batch in training, 0.2 in generation."""
    diffusion, network = GaussianDiffusion(), Listener()
    small = torch.full((6, 1, 40, 40), 0.5)
    diffusion.loss(network, torch.zeros(6, 1, 40, 40), generator(0), small)
    diffusion.sample(network, (6, 1, 40, 40), generator(0), 2, lowres=small)
    (levels, noisy, level), (_, given, known), again = network.heard
    assert levels.unique().numel() == 6
    assert level.unique().numel() == 1
    kept = torch.sigmoid(level[0]).item()
    assert noisy.mean().item() == pytest.approx(0.5 * math.sqrt(kept), abs=0.05)
    assert noisy.std().item() == pytest.approx(math.sqrt(1 - kept), rel=0.05)
    kept = signal("linear", 0.2)
    assert known.numpy() == pytest.approx(math.log(kept / (1 - kept)), rel=1e-5)
    assert given.std().item() == pytest.approx(math.sqrt(1 - kept), rel=0.05)
    assert again[1] is given  # one noise for all steps


def test_times_of_generation_are_equally_apart() -> None:
    """From the first time to the last before 0."""
    network = Listener()
    GaussianDiffusion().sample(network, (1, 1, 2), generator(0), 4)
    levels = [told[0].item() for told in network.heard]
    kept = [signal("cosine", time) for time in (1, 0.75, 0.5, 0.25)]
    expected = [math.log(share / (1 - share)) for share in kept[1:]]
    assert levels == pytest.approx([-33.8915, *expected], rel=1e-4)


@few
@given(seed=st.integers(0, 1000), size=st.floats(0.1, 10))
def test_limits_of_predicted_images(seed: int, size: float) -> None:
    images = size * np.random.default_rng(seed).normal(size=(2, 2, 3, 4))
    given_ = torch.tensor(images)
    assert torch.equal(limited(given_, "none"), given_)
    np.testing.assert_array_equal(limited(given_, "static").numpy(), np.clip(images, -1, 1))
    for image, found in zip(images, limited(given_, "dynamic").numpy(), strict=True):
        bound = max(1.0, np.quantile(np.abs(image), 0.95))
        np.testing.assert_allclose(found, np.clip(image, -bound, bound) / bound)


def test_noise_on_the_way() -> None:
    """Without it the way is the same whatever the generator; the last step adds none."""
    diffusion, best = GaussianDiffusion(), OfGaussianData(0.0, 0.5)
    noisy = torch.randn(2, 1, 3, generator=generator(0))
    quiet = [diffusion.denoise(best, noisy, generator(i), 3, 0.5, noise=False) for i in (0, 1)]
    assert torch.equal(*quiet)
    loud = [diffusion.denoise(best, noisy, generator(i), 3, 0.5) for i in (0, 1)]
    assert not torch.equal(*loud)
    single = [diffusion.denoise(best, noisy, generator(i), 1, 0.5) for i in (0, 1)]
    assert torch.equal(*single)


def test_each_image_has_its_own_noise() -> None:
    both = sample_noise((2, 3, 4), [generator(0), generator(1)])
    torch.testing.assert_close(both[1], sample_noise((1, 3, 4), generator(1))[0])
