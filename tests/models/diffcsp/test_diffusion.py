"""Noise: wrapped normal scores, levels, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dismaiflow.models.diffcsp.diffusion import (  # noqa: E402
    NoiseLevels,
    mean_squared_score,
    minus_wrapped_score,
)
from dismaiflow.models.diffcsp.sampler import Crystals, Sampler  # noqa: E402


@given(st.floats(-1.7, 1.7), st.floats(0.01, 0.6))
def test_scores_are_derivatives_of_the_log_density(shift: float, sigma: float) -> None:
    """Against automatic differentiation of a plain sum over forty images."""
    x = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    images = torch.arange(-20, 21, dtype=torch.float64)
    density = torch.logsumexp(-((x + images) ** 2) / (2 * sigma**2), 0)
    (slope,) = torch.autograd.grad(density, x)
    found = minus_wrapped_score(x.detach(), torch.tensor(sigma, dtype=torch.float64))
    # Half a period away the two nearest images pull in opposite ways, and rounding decides.
    assert float(found) == pytest.approx(-float(slope), rel=1e-8, abs=1e-8 / sigma**2)


def test_narrow_and_wide_distributions() -> None:
    """A narrow one is normal: x/σ^2, mean square 1/σ^2. A wide one is uniform: nothing."""
    x = torch.tensor([0.01, -0.02], dtype=torch.float64)
    found = minus_wrapped_score(x, torch.full((2,), 0.02, dtype=torch.float64))
    assert found.tolist() == pytest.approx([25.0, -50.0], rel=1e-9)
    norms = mean_squared_score(torch.tensor([0.005, 0.02, 2.0], dtype=torch.float64))
    assert norms[:2].tolist() == pytest.approx([40_000.0, 2_500.0], rel=1e-3)
    assert float(norms[2]) < 1e-9


def test_mean_squared_score_against_random_numbers() -> None:
    """As the published code finds it."""
    rng = np.random.default_rng(0)
    sigma = 0.3
    x = sigma * rng.normal(size=200_000)
    images = np.arange(-10, 11)
    weights = np.exp(-((x[:, None] + images) ** 2) / (2 * sigma**2))
    score = ((x[:, None] + images) / sigma**2 * weights).sum(1) / weights.sum(1)
    found = float(mean_squared_score(torch.tensor([sigma], dtype=torch.float64)))
    assert found == pytest.approx((score**2).mean(), rel=0.02)


def test_levels() -> None:
    levels = NoiseLevels.build(1000, 0.005, 0.1)
    assert levels.timesteps == 1000
    assert float(levels.sigmas[0]) == 0
    assert levels.sigmas[[1, 1000]].tolist() == pytest.approx([0.005, 0.1], rel=1e-5)
    ratios = levels.sigmas[2:] / levels.sigmas[1:-1]
    assert float(ratios.max() - ratios.min()) < 1e-5
    # Nichol and Dhariwal: cos^2((t/T + s)/(1 + s) π/2) over its value at 0.
    at = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert float(levels.kept[500]) == pytest.approx(at / start, rel=1e-2)
    assert levels.nearest(0.1) == 1000


class Exact(torch.nn.Module):
    """Knows the score of one point: what a perfectly trained network would say."""

    def __init__(self, point: torch.Tensor, levels: NoiseLevels) -> None:
        super().__init__()
        self.point, self.levels = point, levels

    def forward(self, times, numbers, fractions, cells):
        sigma = self.levels.sigmas[times][:, None, None].expand_as(fractions)
        norm = self.levels.norms[times][:, None, None].sqrt()
        found = minus_wrapped_score(fractions - self.point, sigma) / norm
        # Cells are normal around twice the unit.
        kept = self.levels.kept[times][:, None, None]
        target = 2 * torch.eye(3)
        return found, (cells - kept.sqrt() * target) / (1 - kept).sqrt()


@pytest.mark.parametrize("keeps_cell", [True, False])
def test_the_way_back_with_an_exact_score(keeps_cell: bool) -> None:
    """From uniform noise to the point; cells stay, or become what they are to be."""
    levels = NoiseLevels.build(200, 0.005, 0.5)
    point = torch.tensor([[0.02, 0.5, 0.98], [0.3, 0.3, 0.7]])
    sampler = Sampler(Exact(point, levels), levels, 1e-5, 1, keeps_cell)
    rng = torch.Generator().manual_seed(0)
    cells = torch.randn((8, 3, 3), generator=rng)
    start = Crystals(torch.rand((8, 2, 3), generator=rng), torch.ones(8, 2).long(), cells)
    found = sampler.run(start, rng)
    apart = found.fractions - point
    assert float((apart - apart.round()).abs().max()) < 0.02
    wanted = cells if keeps_cell else 2 * torch.eye(3).expand(8, 3, 3)
    assert float((found.cells - wanted).abs().max()) < 0.2
