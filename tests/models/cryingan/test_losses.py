"""Networks and losses of CryinGAN beside a naive implementation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.models.cryingan import naive

from dismaiflow.models.cryingan.critics import PointCritic
from dismaiflow.models.cryingan.graph_critic import GraphCritic
from dismaiflow.models.cryingan.losses import critic_loss, generator_loss
from dismaiflow.models.cryingan.networks import Generator, initialise
from dismaiflow.models.nn.neighbors import PeriodicNeighbors

COUNTS = (4, 3, 2)
N, BATCH = sum(COUNTS), 5


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def drawn(rng, *shape):
    return torch.rand(*shape, dtype=torch.float64, generator=rng)


def make_critic(rng, columns, pooling):
    network = PointCritic(columns, COUNTS, pooling, (7, 6, 5), (8, 4), 3)
    initialise(network, rng)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):  # begin at 0, where they would hide mistakes
            torch.nn.init.uniform_(parameter, -0.3, 0.3, generator=rng)
    return network.double()


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("counts", "expected"),
    # Worked by hand from Fig. 6. Generator: 64 x 128 N + 128 N, then 3 x 128 x 256 + 256,
    # 256 x 512 + 512, 512 x 256 + 256, 256 + 1, and 2 (256 + 512 + 256) for the normalisation.
    # Critic: F x 512 + 512, 512 x 512 + 512, 512 x 256 + 256, 256 S x 1000 + 1000,
    # 1000 x 200 + 200, 200 x 10 + 10.
    [
        ((154, 51, 51), (2_493_697, 1_367_242, 1_368_778)),
        ((72, 48, 24, 72, 48), (2_560_257, 1_879_242, 1_880_778)),
    ],
)
def test_sizes_are_those_of_the_paper(counts, expected):
    found = (
        n_parameters(Generator(sum(counts))),
        n_parameters(PointCritic([3], counts, ["mean"])),
        n_parameters(PointCritic([6], counts, ["mean"])),
    )
    assert found == expected


def test_first_weights_have_the_bounds_of_the_published_convolutions():
    rng = torch.Generator().manual_seed(0)
    generator, critic = Generator(16), PointCritic([3], (16,), ["mean"])
    initialise(generator, rng)
    initialise(critic, rng)
    published = {
        generator.first: torch.nn.Linear(64, 16 * 128),
        generator.axes: torch.nn.ConvTranspose2d(128, 256, (1, 3)),
        generator.last: torch.nn.ConvTranspose2d(256, 1, (1, 1)),
        critic.branches[0].layers[0]: torch.nn.Conv2d(1, 512, (1, 3)),
        critic.branches[0].layers[1]: torch.nn.Conv2d(512, 512, (1, 1)),
    }
    for ours, layer in published.items():
        torch.nn.init.xavier_uniform_(layer.weight)
        for weights in (ours.weight, layer.weight):
            # Uniform up to b: the standard deviation is b / sqrt 3.
            assert weights.abs().max().item() == pytest.approx(
                3**0.5 * layer.weight.std().item(), rel=0.08
            )
        assert ours.bias is None or not ours.bias.any()


@pytest.mark.parametrize(
    ("columns", "pooling"),
    [
        ([3], ["mean"]),
        ([4], ["max"]),
        ([4], ["mix"]),
        ([3, 4], ["mean", "mean"]),
        ([3, 4], ["mix", "max"]),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1 / 3])
def test_critic_loss_and_its_gradients(rng, columns, pooling, scale):
    network = make_critic(rng, columns, pooling)
    real, fake = ([drawn(rng, BATCH, N, c) for c in columns] for _ in range(2))
    places = drawn(rng, BATCH)
    branches, head = naive.critic_parts(network)

    def judge(inputs):
        return naive.critic(branches, head, inputs, COUNTS, pooling)

    parts = critic_loss(network, real, fake, places, scale)
    ours = torch.autograd.grad(parts.total(10.0), list(network.parameters()), allow_unused=True)
    # The gradient of the mean of three outputs is that of their sum with a third of the weights.
    if scale != 1.0:
        thirds = [*head[:-1], (head[-1][0] * scale, head[-1][1] * scale)]
        wasserstein = naive.loss(judge, real, fake, places, mu=0.0)
        with_sum = naive.loss(
            lambda x: naive.critic(branches, thirds, x, COUNTS, pooling), real, fake, places
        )
        bare = naive.loss(
            lambda x: naive.critic(branches, thirds, x, COUNTS, pooling), real, fake, places, 0.0
        )
        expected = wasserstein + with_sum - bare
    else:
        expected = naive.loss(judge, real, fake, places)
    theirs = torch.autograd.grad(expected, list(network.parameters()), allow_unused=True)
    assert parts.total(10.0).item() == pytest.approx(expected.item(), rel=1e-10)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)
    assert any(gradient.abs().max() > 1e-3 for gradient in ours)


def test_single_precision_agrees_to_a_millionth(rng):
    network = make_critic(rng, [3], ["mean"])
    real, fake, places = [drawn(rng, BATCH, N, 3)], [drawn(rng, BATCH, N, 3)], drawn(rng, BATCH)
    branches, head = naive.critic_parts(network)
    expected = naive.loss(
        lambda x: naive.critic(branches, head, x, COUNTS, ["mean"]), real, fake, places
    ).item()
    found = critic_loss(network.float(), [real[0].float()], [fake[0].float()], places.float())
    assert found.total(10.0).item() == pytest.approx(expected, rel=1e-6)


def test_generator_and_its_loss(rng, skew_cell):
    generator = Generator(N, 4, 6, (7, 8, 5))
    initialise(generator, rng)
    generator.axes_bias.data.uniform_(-0.3, 0.3, generator=rng)
    generator.double()
    critics = [make_critic(rng, [3], ["mean"]), make_critic(rng, [4], ["mean"])]
    noise = torch.randn(BATCH, 4, dtype=torch.float64, generator=rng)
    cell = torch.tensor(skew_cell)

    made = generator(noise)
    bonds = PeriodicNeighbors(skew_cell, 4, torch.float64).distances(made)
    loss = generator_loss(critics[0], [made]) + 0.1 * generator_loss(critics[1], [bonds])
    ours = torch.autograd.grad(loss, list(generator.parameters()))

    other = naive.generate(generator, noise)
    lengths = torch.stack([naive.distances(one, cell, 4) for one in other])
    outputs = [
        naive.critic(*naive.critic_parts(critic), [x], COUNTS, ["mean"]).mean()
        for critic, x in zip(critics, (other, lengths), strict=True)
    ]
    expected = -outputs[0] - 0.1 * outputs[1]
    theirs = torch.autograd.grad(expected, list(generator.parameters()))
    torch.testing.assert_close(made, other, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-7, atol=1e-11)


def test_generator_keeps_the_averages_of_its_training_as_torch_does(rng):
    """In pieces (training, processor) and by torch's own batch normalisation."""
    ours = Generator(200, 4, 6, (7, 8, 5))  # 3000 rows: pieces of 512, the last one shorter
    initialise(ours, rng)
    ours.double()
    theirs = copy.deepcopy(ours)
    theirs._in_pieces = theirs._at_once
    noise = torch.randn(BATCH, 4, dtype=torch.float64, generator=rng)
    for generator in (ours, theirs):
        generator(noise).square().sum().backward()
    for mine, its in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("pooling", ["mean", "max", "mix"])
def test_critics_do_not_see_the_order_within_a_species(rng, pooling):
    network = make_critic(rng, [3], [pooling])
    points = drawn(rng, BATCH, N, 3)
    within = torch.tensor([2, 0, 3, 1, 6, 5, 4, 8, 7])
    across = torch.tensor([4, 1, 2, 3, 0, 5, 6, 7, 8])
    torch.testing.assert_close(network([points]), network([points[:, within]]))
    assert (network([points]) - network([points[:, across]])).abs().max() > 1e-4


def test_graph_critic_sees_neither_order_within_a_species_nor_translations(rng, skew_cell):
    neighbors = PeriodicNeighbors(skew_cell, 5, torch.float64)
    network = GraphCritic(COUNTS, neighbors, 6, 2, 5)
    initialise(network, rng)
    network.double()
    points = drawn(rng, BATCH, N, 3)
    expected = network([points])
    within = torch.tensor([2, 0, 3, 1, 6, 5, 4, 8, 7])
    torch.testing.assert_close(network([points[:, within]]), expected)
    torch.testing.assert_close(network([(points + 0.3) % 1]), expected)
    # The norm of a gradient along a translation of all atoms is therefore 0.
    (gradient,) = network.input_gradients([points])
    np.testing.assert_allclose(gradient.sum(1).detach().numpy(), 0, atol=1e-9)
    assert gradient.abs().max() > 1e-6
