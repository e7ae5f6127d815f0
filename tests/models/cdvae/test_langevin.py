"""Annealed Langevin dynamics with scores that are known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.build import bulk  # noqa: E402

from dismaiflow.models.cdvae.langevin import Crystals, Langevin  # noqa: E402
from dismaiflow.models.cdvae.noise import geometric_levels, nearest_difference  # noqa: E402

CELL = torch.tensor([[4.0, 0, 0], [1.0, 4.5, 0], [0, 0.5, 5.0]])


def normal_from(seed: int) -> Any:
    rng = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=rng)


def begin(n: int, n_atoms: int, seed: int, cell: torch.Tensor = CELL) -> Crystals:
    rng = torch.Generator().manual_seed(seed)
    numbers = torch.ones((n, n_atoms), dtype=torch.int64)
    fractions = torch.rand((n, n_atoms, 3), generator=rng)
    return Crystals(torch.zeros((n, 1)), fractions, numbers, cell.expand(n, 3, 3))


class Around:
    """The exact score of atoms that lie around sites: σ times it, with the noise told."""

    def __init__(self, sites: torch.Tensor, spread: float) -> None:
        self.sites, self.spread = sites, spread

    def __call__(
        self, z: Any, fractions: torch.Tensor, numbers: Any, cells: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        way = nearest_difference(self.sites.expand_as(fractions), fractions, cells)
        return way / self.spread, None


@pytest.mark.parametrize("steps", [1, 6])
def test_atoms_come_to_their_sites(steps: int) -> None:
    """From anywhere, with the score of each noise level: way / σ; at the end within 0.05 Å.

    The network is not told the noise, so the exact score of all levels at once is that which it
    learns: times σ, the way over σ. Here a new one is made for each level.
    """
    sites = torch.tensor(bulk("Fe", "fcc", a=3.6, cubic=True).get_scaled_positions()).float()
    sigmas = geometric_levels(10.0, 0.01, 10)
    cell = 3.6 * torch.eye(3)
    now, normal = begin(5, 4, 0, cell), normal_from(1)
    before = nearest_difference(sites.expand(5, 4, 3), now.fractions, now.cells).norm(dim=-1)
    for sigma in sigmas.tolist():
        # A schedule of this level and the last, of which the last takes no step.
        pair = torch.tensor([sigma, 0.01])
        one = Langevin(Around(sites, sigma), pair, steps, min_sigma=0.99 * sigma)
        now = one.run(now, normal)
    after = nearest_difference(sites.expand(5, 4, 3), now.fractions, now.cells).norm(dim=-1)
    assert before.mean() > 0.5
    assert after.max() < 0.05


def test_at_one_level_atoms_spread_as_the_distribution_says() -> None:
    """Small steps at the exact score of normal distributions of width s around sites sample them:

    the deviation along each axis is s; a step size of 0.02 s² makes it larger by 1 % of its square.
    """
    spread = 0.2
    sites = torch.tensor([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
    n, size = 500, 0.02 * spread**2
    start = begin(n, 2, 0)
    given = Crystals(start.z, sites.expand(n, 2, 3), start.numbers, start.cells)
    # One level of noise 1: found / σ is the score as it stands, way / s².
    langevin = Langevin(Around(sites, spread**2), torch.tensor([1.0]), 300, size)
    found = langevin.run(given, normal_from(2))
    away = nearest_difference(found.fractions, sites.expand(n, 2, 3), given.cells)
    # 3000 numbers: the deviation is known to 1.3 %.
    assert away.std().item() == pytest.approx(spread, rel=0.05)
    assert away.mean(dim=(0, 1)).abs().max() < 0.03


def test_a_step_is_that_of_the_algorithm() -> None:
    """x + ε (σ/σ_L)² s/σ + sqrt(2 ε) (σ/σ_L) noise, worked with numpy."""
    given, noise = (
        begin(2, 3, 0),
        torch.randn((2, 3, 3), generator=torch.Generator().manual_seed(5)),
    )
    vectors = torch.randn((2, 3, 3), generator=torch.Generator().manual_seed(6))
    langevin = Langevin(lambda *_: (vectors, None), torch.tensor([0.5, 0.1]), 1, 2e-3, 0.2)
    found = langevin.run(given, lambda _: noise)
    size = 2e-3 * (0.5 / 0.1) ** 2
    places = given.fractions.numpy() @ CELL.numpy()
    places = places + size * vectors.numpy() / 0.5 + np.sqrt(2 * size) * noise.numpy()
    expected = places @ np.linalg.inv(CELL.numpy()) % 1
    np.testing.assert_allclose(found.fractions, expected, atol=1e-5)


def test_steps_and_levels_are_those_asked_for() -> None:
    """6 steps at each of the levels between begin and min_sigma; noise is drawn for each."""
    calls: list[int] = []

    def decoder(z: Any, fractions: torch.Tensor, *_: Any) -> tuple[torch.Tensor, None]:
        calls.append(1)
        return torch.zeros_like(fractions), None

    sigmas = torch.tensor([10.0, 1.0, 0.3, 0.1, 0.01])
    Langevin(decoder, sigmas, 6, min_sigma=0.05).run(begin(1, 2, 0), normal_from(0), begin=1.0)
    assert len(calls) == 6 * 3


def test_species_become_the_most_likely_ones() -> None:
    logits = torch.tensor([[[0.0, 1.0, 0.5], [2.0, 0.0, 0.0]]])

    def decoder(z: Any, fractions: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(fractions), logits

    for changes, expected in ((True, [2, 1]), (False, [1, 1])):
        langevin = Langevin(decoder, torch.tensor([0.1]), 1, changes_species=changes)
        found = langevin.run(begin(1, 2, 0), normal_from(0))
        assert found.numbers[0].tolist() == expected
