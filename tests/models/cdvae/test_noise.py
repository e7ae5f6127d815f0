"""Noise of CDVAE: levels, cells by their parameters, nearest images, and the losses."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.geometry import cell_to_cellpar, cellpar_to_cell  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pymatgen.core import Lattice  # noqa: E402

from dismaiflow.models.cdvae.noise import (  # noqa: E402
    cell_parameters,
    cells_of,
    geometric_levels,
    moved,
    nearest_difference,
    noised_species,
    score_loss,
    species_loss,
)

#: Lengths and angles of cells that exist, obtuse, acute and right.
CELLS = [
    (3.6, 3.6, 3.6, 90, 90, 90),
    (3.0, 4.0, 5.0, 90, 90, 120),
    (8.1, 9.2, 30.3, 75, 82, 66),
    (5.0, 6.0, 7.0, 100, 95, 110),
]


def test_levels_are_the_published_ones() -> None:
    """Typed from the published configuration: 50 levels from 10 to 0.01."""
    expected = np.exp(np.linspace(np.log(10), np.log(0.01), 50))
    np.testing.assert_allclose(geometric_levels(10, 0.01, 50), expected, rtol=1e-6)
    assert geometric_levels(3.0, 0.01, 1).tolist() == [3.0]


def test_cells_are_those_of_other_programs() -> None:
    """Parameters of ASE and pymatgen; the orientation is that of pymatgen."""
    found = cells_of(torch.tensor(CELLS, dtype=torch.float64))
    for cell, parameters in zip(found.numpy(), CELLS, strict=True):
        np.testing.assert_allclose(cell_to_cellpar(cell), parameters, atol=1e-9)
        np.testing.assert_allclose(cell, Lattice.from_parameters(*parameters).matrix, atol=1e-9)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = torch.tensor(np.array([cellpar_to_cell(each) @ turn for each in CELLS]))
    np.testing.assert_allclose(cell_parameters(turned), CELLS, atol=1e-9)


@given(
    st.lists(st.floats(2, 30), min_size=3, max_size=3),
    st.lists(st.floats(62, 118), min_size=3, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_cells_and_parameters_round_trip(lengths: list[float], angles: list[float]) -> None:
    parameters = torch.tensor([[*lengths, *angles]], dtype=torch.float64)
    torch.testing.assert_close(cell_parameters(cells_of(parameters)), parameters)


def test_the_way_leads_to_the_nearest_image() -> None:
    """Against all images within three cells, one atom at a time."""
    rng = np.random.default_rng(1)
    cells = np.array([cellpar_to_cell(each) for each in CELLS])
    target, start = rng.random((2, len(CELLS), 6, 3))
    found = nearest_difference(*map(torch.tensor, (target, start, cells)))
    images = np.array(list(product(range(-3, 4), repeat=3)))
    for s, a in product(range(len(CELLS)), range(6)):
        ways = (target[s, a] + images - start[s, a]) @ cells[s]
        nearest = ways[np.linalg.norm(ways, axis=1).argmin()]
        np.testing.assert_allclose(found[s, a], nearest, atol=1e-12)


def test_atoms_move_by_cartesian_steps() -> None:
    """Worked by hand: 1 Å along x in a cell of 4 Å, from 0.9, ends at 0.15."""
    cell = torch.tensor([[[4.0, 0, 0], [0, 5, 0], [0, 0, 6]]])
    fractions, step = torch.tensor([[[0.9, 0.5, 0.0]]]), torch.tensor([[[1.0, 0, -0.6]]])
    torch.testing.assert_close(moved(fractions, step, cell), torch.tensor([[[0.15, 0.5, 0.9]]]))


def test_the_loss_is_that_of_the_paper() -> None:
    """0.5 σ² |way/σ² - found/σ|², worked by hand for two structures of one atom."""
    way = torch.tensor([[[0.3, 0, 0.4]], [[2.0, 0, 0]]])
    found = torch.tensor([[[0.0, 1.0, 0.0]], [[0.5, 0, 0]]])
    sigmas = torch.tensor([0.5, 2.0])
    # Structure 0: way/σ² = (1.2, 0, 1.6), found/σ = (0, 2, 0): 0.5 * 0.25 * (1.44 + 4 + 2.56) = 1.
    # Structure 1: 0.5 * 4 * (0.5 - 0.25)² = 0.125.
    assert score_loss(found, way, sigmas).item() == pytest.approx((1 + 0.125) / 2)


def test_the_loss_is_smallest_at_the_score() -> None:
    """One atom, whose only place is known, in a large cell, at any noise.

    There the score of the noised atom is (place - atom) / σ², and the best answer is σ times that;
    any other is worse, by half its squared distance.
    """
    rng = torch.Generator().manual_seed(0)
    cell = 100 * torch.eye(3).expand(64, 3, 3)
    place, sigmas = torch.full((64, 1, 3), 0.5), geometric_levels(1.0, 0.01, 64)
    noisy = moved(place, sigmas[:, None, None] * torch.randn(64, 1, 3, generator=rng), cell)
    way = nearest_difference(place, noisy, cell)
    best = ((place - noisy) * 100 / sigmas[:, None, None]).requires_grad_()
    loss = score_loss(best, way, sigmas)
    assert loss.item() < 1e-6
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max() < 1e-4
    for _ in range(5):
        other = 0.1 * torch.randn(best.shape, generator=rng)
        worse = 0.5 * other.square().sum(-1).mean()
        assert score_loss(best + other, way, sigmas).item() == pytest.approx(worse.item(), rel=0.02)


def test_the_best_answer_is_the_mean_score_of_many_places() -> None:
    """Two places: the best function of the noisy atom is the score of the mixture, on a line.

    The loss is compared for the exact score of the mixture, for the way to the nearer place and for
    shares of the exact score; it must be smallest at the exact one.
    """
    rng, sigma, n = torch.Generator().manual_seed(0), 1.0, 20000
    places = torch.zeros((n, 1, 3))
    places[:, 0, 0] = 2.0 * torch.randint(0, 2, (n,), generator=rng) - 1.0
    noisy = places + sigma * torch.randn((n, 1, 3), generator=rng)
    weights = torch.softmax(torch.stack([noisy[..., 0], -noisy[..., 0]]) / sigma**2, dim=0)
    mean = torch.zeros_like(noisy)
    mean[..., 0] = weights[0] - weights[1]
    exact = (mean - noisy) / sigma
    nearer = (torch.sign(noisy) * torch.tensor([1.0, 0, 0]) - noisy) / sigma
    level = torch.full((n,), sigma)

    def loss(found: torch.Tensor) -> float:
        return score_loss(found, places - noisy, level).item()

    others = [0.9 * exact, 1.1 * exact, nearer, exact + 0.1]
    assert loss(exact) < min(map(loss, others))


def test_noised_species_are_drawn_from_their_weights() -> None:
    """True species has weight 1, the composition σ: with σ = 3, (0.5, 0.25, 0.25), true first:

    weights 2.5, 0.75, 0.75 of 4.
    """
    numbers, shares = torch.ones((1, 40000), dtype=torch.int64), torch.tensor([[0.5, 0.25, 0.25]])
    draws = torch.rand((1, 40000), generator=torch.Generator().manual_seed(0))
    found = noised_species(numbers, shares, torch.tensor([3.0]), draws)
    counts = torch.bincount(found[0], minlength=4)
    np.testing.assert_allclose(counts / 40000, [0, 0.625, 0.1875, 0.1875], atol=0.01)
    quiet = noised_species(numbers, shares, torch.tensor([0.0]), draws)
    assert torch.equal(quiet, numbers)


def test_loss_of_species() -> None:
    """Equal logits of three: ln 3, over the noise; mean of the two structures."""
    logits, numbers = torch.zeros((2, 4, 3)), torch.tensor([[1, 2, 3, 1], [3, 3, 2, 1]])
    found = species_loss(logits, numbers, torch.tensor([0.5, 2.0]))
    assert found.item() == pytest.approx(np.log(3) * (2 + 0.5) / 2)
