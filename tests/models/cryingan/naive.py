"""CryinGAN written a second time, from the paper's definitions alone, as slowly as it reads.

Atoms one species after the other; convolutions as the paper draws them (Fig. 6); the penalty of
equation 2 by differentiating twice; all 125 images of the cell.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import nn
from torch.nn import functional


def distances(fractions: torch.Tensor, cell: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k nearest distances of each atom of one structure, among 125 images."""
    n = len(fractions)
    steps = torch.tensor(list(product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=3)), dtype=cell.dtype)
    found = []
    for i in range(n):
        vectors = (fractions[None] + steps[:, None] - fractions[i]) @ cell
        lengths = (vectors**2).sum(-1)
        others = torch.ones_like(lengths, dtype=torch.bool)
        others[len(steps) // 2, i] = False
        found.append(lengths[others].sort().values[:k].sqrt())
    return torch.stack(found)


def critic(
    layers: list[list[tuple[torch.Tensor, torch.Tensor]]],
    head: list[tuple[torch.Tensor, torch.Tensor]],
    inputs: list[torch.Tensor],
    counts: tuple[int, ...],
    pooling: list[str],
) -> torch.Tensor:
    """Judge structures: one-dimensional convolutions, pooling by species, a head."""
    pooled = []
    for parts, features, kind in zip(layers, inputs, pooling, strict=True):
        hidden = features.transpose(1, 2)  # channels, then atoms
        for weight, bias in parts:
            hidden = functional.leaky_relu(functional.conv1d(hidden, weight[..., None], bias), 0.2)
        first, means, maxima = 0, [], []
        for count in counts:
            of_species = hidden[:, :, first : first + count]
            means.append(functional.avg_pool1d(of_species, count)[..., 0])
            maxima.append(functional.max_pool1d(of_species, count)[..., 0])
            first += count
        pooled += {"mean": means, "max": maxima, "mix": means + maxima}[kind]
    out = torch.cat(pooled, dim=1)
    for weight, bias in head[:-1]:
        out = functional.leaky_relu(out @ weight.T + bias, 0.2)
    return out @ head[-1][0].T + head[-1][1]


def critic_parts(network: nn.Module) -> tuple[list, list]:
    """Return the weights of a critic of ours, for `critic`."""
    branches = [[(x.weight, x.bias) for x in branch.layers] for branch in network.branches]
    head = [(x.weight, x.bias) for x in (*network.head.layers, network.last)]
    return branches, head


def loss(judge, real, fake, places, mu: float = 10.0) -> torch.Tensor:
    """Return equation 2 for a critic that is a function of its inputs."""
    between = [
        (places[:, None, None] * a + (1 - places[:, None, None]) * b).detach().requires_grad_()
        for a, b in zip(real, fake, strict=True)
    ]
    slopes = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
    norm = sum((slope**2).sum((1, 2)) for slope in slopes) ** 0.5
    return judge(fake).mean() - judge(real).mean() + mu * ((norm - 1) ** 2).mean()


def generate(network: nn.Module, noise: torch.Tensor) -> torch.Tensor:
    """Generate structures with the weights of a generator of ours, by transposed convolutions.

    Batches are normalised over structures, atoms and axes, with 0.8 added to the variance.
    """
    n_atoms, channels = network.n_atoms, network.channels
    hidden = functional.relu(noise @ network.first.weight.T + network.first.bias)
    hidden = hidden.reshape(len(noise), n_atoms, channels).transpose(1, 2)[..., None]
    kernel = network.axes.weight.reshape(3, -1, channels).permute(2, 1, 0)[:, :, None]
    hidden = functional.conv_transpose2d(hidden, kernel, network.axes_bias)
    linear = [None, *network.layers]
    for layer, norm in zip(linear, network.norms, strict=True):
        if layer is not None:
            hidden = functional.conv_transpose2d(
                hidden, layer.weight.T[..., None, None], layer.bias
            )
        mean = hidden.mean((0, 2, 3), keepdim=True)
        variance = ((hidden - mean) ** 2).mean((0, 2, 3), keepdim=True)
        hidden = (hidden - mean) / (variance + 0.8) ** 0.5
        hidden = hidden * norm.weight[:, None, None] + norm.bias[:, None, None]
        hidden = functional.relu(hidden)
    last = network.last
    out = functional.conv_transpose2d(hidden, last.weight.T[..., None, None], last.bias)
    return torch.sigmoid(out)[:, 0]
