"""What CDVAE predicts from latent codes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase.geometry import cellpar_to_cell  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dismaiflow.models.cdvae.heads import (  # noqa: E402
    Heads,
    composition_loss,
    divergence,
    make_mlp,
    sample_composition,
)
from dismaiflow.models.cdvae.noise import cell_parameters  # noqa: E402


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sizes_are_those_of_the_paper() -> None:
    """Latent codes of 256, one hidden layer of 256; an alloy of 256 atoms up to nickel, 28.

    Worked by hand: two maps 256² + 256 each; three networks 256² + 256 and 257 (257 + 6 + 28).
    """
    heads = Heads(256, 256, 1, 256, 28)
    n = sum(each.numel() for each in heads.parameters())
    assert n == 5 * (256**2 + 256) + 257 * (257 + 6 + 28)
    z = torch.zeros((3, 256))
    shapes = [tuple(part(z).shape) for part in (heads.number, heads.lattice, heads.composition)]
    assert shapes == [(3, 257), (3, 6), (3, 28)]
    assert [part.shape for part in heads.latent(z, z)] == [(3, 256)] * 3
    assert [type(each).__name__ for each in make_mlp(2, 3, 2, 4)] == [
        "Linear", "ReLU", "Linear", "ReLU", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize("scales", [True, False])
def test_lattices_round_trip(scales: bool) -> None:
    """Standardised lattices have mean 0 and deviation 1, and give their cells back."""
    spread = np.random.default_rng(0).normal(size=(50, 6)) * [0.3, 0.3, 0.3, 4, 4, 4]
    parameters = np.array([8.0, 9.0, 10.0, 90, 80, 100]) + spread
    cells = torch.tensor(np.array([cellpar_to_cell(each) for each in parameters]))
    heads = Heads(4, 4, 1, 27, 3, scales)
    heads.learn_scale(cells, 27)
    # 27 atoms: lengths are divided by 3.
    assert heads.mean[0].item() == pytest.approx(parameters[:, 0].mean() / (3 if scales else 1))
    lattice = heads.standardised(cells, 27)
    torch.testing.assert_close(lattice.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(lattice.std(0, correction=0), torch.ones(6), atol=1e-3, rtol=0)
    found = cell_parameters(heads.cells(lattice, 27))
    np.testing.assert_allclose(found, parameters, atol=1e-3)


def test_a_cell_common_to_all_is_kept() -> None:
    """Whatever an untrained network says, it is the training cell to 1e-3 Å, as scoring asks."""
    cells = torch.tensor(cellpar_to_cell([14.4, 15.1, 40.2, 90, 90, 120])).expand(9, 3, 3)
    heads = Heads(4, 4, 1, 264, 27)
    heads.learn_scale(cells, 264)
    torch.testing.assert_close(heads.standardised(cells, 264), torch.zeros((9, 6)))
    found = cell_parameters(heads.cells(torch.randn((5, 6), generator=rng()), 264))
    expected = cell_parameters(cells[:5]).float()
    torch.testing.assert_close(found[:, :3], expected[:, :3], atol=5e-4, rtol=0)
    torch.testing.assert_close(found[:, 3:], expected[:, 3:], atol=5e-4, rtol=0)


def test_latent_codes_are_drawn_around_their_mean() -> None:
    heads = Heads(3, 4, 1, 2, 2)
    encoded, draws = torch.randn((2, 3), generator=rng()), torch.tensor([[1.0, 0, -2]] * 2)
    mean, log_variance, z = heads.latent(encoded, draws)
    torch.testing.assert_close(z, mean + draws * log_variance.exp().sqrt())


def test_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn((2, 5, 7), generator=rng())
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros(7), torch.ones(7))
    expected = torch.distributions.kl_divergence(ours, standard).sum(-1).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_loss_of_the_composition() -> None:
    """Mean over atoms of minus the logarithm of the share of their species."""
    shares, numbers = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[1, 1, 2, 3]])
    expected = -np.log([0.5, 0.5, 0.3, 0.2]).mean()
    assert composition_loss(shares.log(), numbers).item() == pytest.approx(expected)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any), st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_sharp_compositions_are_met_exactly(counts: list[int], seed: int) -> None:
    n_atoms = sum(counts)
    shares = torch.tensor(counts, dtype=torch.float32) / n_atoms
    found = sample_composition(shares, n_atoms, rng(seed))
    assert torch.bincount(found, minlength=len(counts) + 1)[1:].tolist() == counts


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 60), st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_other_compositions_are_met_within_rounding(
    weights: list[float], n_atoms: int, seed: int
) -> None:
    """There are as many atoms as asked for; none that rounds to 0.5 atoms above its share."""
    shares = torch.tensor(weights) / sum(weights)
    found = sample_composition(shares, n_atoms, rng(seed))
    assert found.shape == (n_atoms,)
    counts = torch.bincount(found, minlength=len(weights) + 1)[1:]
    assert counts.sum() == n_atoms
    short = (shares * n_atoms - counts).clamp(min=0)
    # Rounding alone is off by half an atom of each species, and so is what makes up for it.
    assert short.sum() <= 0.5 * len(weights) + 1e-3


def test_what_rounding_leaves_over_is_drawn() -> None:
    """0.4, 0.4, 0.2 of one atom round to none: the atom is drawn from the shares."""
    shares = torch.tensor([0.4, 0.4, 0.2])
    found = torch.cat([sample_composition(shares, 1, rng(seed)) for seed in range(2000)])
    np.testing.assert_allclose(torch.bincount(found)[1:] / 2000, shares, atol=0.04)
    # 0.25 and 0.75 of two atoms round to 0 and 2, as published: halves go to the even number.
    halves = torch.tensor([0.25, 0.75])
    assert sample_composition(halves, 2, rng()).tolist() == [2, 2]
