"""Layers of GemNet (arXiv:2106.08903), whose outputs vary about as much as their inputs.

Where a layer multiplies by functions of distances or adds up neighbours, the published code divides
by factors that were fitted to structures of catalysts. Here they follow from the initial weights,
the number of neighbours and the density of solids: see `Scales`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.cdvae.basis import envelope

#: Root mean square of a sigmoid linear unit is about this for normal inputs; GemNet's constant.
_SILU = 0.6

#: Atoms per Å^3 of a typical solid: silicon has 0.05, steel 0.085.
_DENSITY = 0.07


class Scales(NamedTuple):
    """Constants that keep variances.

    Functions of one distance, seen through layers with initial weights, have the variance
    sqrt(pi) e^2 / n_radial of their Gaussians, with e the envelope. Sums add it up for each
    neighbour, and sums over angles moreover for each order, with Y_l0^2 being 1 / (4 pi) on
    average. With 50 neighbours within 6 Å this gives 17.6, 2.5 and 8.9, where 13 to 19, 0.9 to 1.6
    and 7 to 8 were fitted: sums over neighbours grow faster where these are alike.

    Attributes
    ----------
    product : float
        After a product with functions of distance.
    total : float
        After such a product and a sum over neighbours.
    triplets : float
        After a sum over neighbours of functions of distance and angle.
    """

    product: float
    total: float
    triplets: float

    @classmethod
    def of(cls, n_radial: int, cutoff: float, exponent: int, n_neighbors: int) -> Scales:
        """Work them out.

        Parameters
        ----------
        n_radial : int
            Gaussians up to the cutoff.
        cutoff : float
            In Å.
        exponent : int
            Of the envelope.
        n_neighbors : int
            Neighbours of an atom.
        """
        farthest = (3 * n_neighbors / (4 * math.pi * _DENSITY)) ** (1 / 3)
        # At equal steps of the volume up to the farthest neighbour.
        volumes = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
        x = volumes ** (1 / 3) * min(farthest / cutoff, 1.0)
        squared = float(envelope(x, exponent).square().mean())
        product = math.sqrt(n_radial / (math.sqrt(math.pi) * squared))
        triplets = product * math.sqrt(4 * math.pi / max(n_neighbors - 1, 1))
        return cls(product, product / math.sqrt(n_neighbors), triplets)


def standardized_(weight: torch.Tensor, dims: tuple[int, ...]) -> None:
    """Fill weights with orthogonal ones of mean 0 and variance 1 / fan-in: GemNet's beginning.

    Parameters
    ----------
    weight : torch.Tensor
        Changed.
    dims : tuple of int
        Axes of the inputs.
    """
    nn.init.orthogonal_(weight)
    inputs = math.prod(weight.shape[dim] for dim in dims)
    with torch.no_grad():
        variance, mean = torch.var_mean(weight, dim=dims, keepdim=True)
        weight.sub_(mean).div_((variance + 1e-6).sqrt() * math.sqrt(inputs))


def plain(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer without constants."""
    layer = nn.Linear(n_in, n_out, bias=False)
    standardized_(layer.weight, (1,))
    return layer


class Dense(nn.Module):
    """A layer without constants, and an activation that keeps the variance.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = plain(n_in, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return n_out channels; 0 for 0."""
        return functional.silu(self.linear(x)) / _SILU


class Residual(nn.Module):
    """Two layers, and what they were given.

    Parameters
    ----------
    hidden : int
        Channels.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Dense(hidden, hidden), Dense(hidden, hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return as many channels."""
        return merged(x, self.layers(x))


def merged(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the sum of two, with the variance of one."""
    return (first + second) * math.sqrt(0.5)


def stack(n_in: int, n_out: int, residuals: int) -> nn.Sequential:
    """Return a layer and residual ones.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    residuals : int
        Residual layers.
    """
    return nn.Sequential(Dense(n_in, n_out), *(Residual(n_out) for _ in range(residuals)))


class AngularBasis(nn.Module):
    """Weights of triplets, as far as they do not depend on the block.

    Parameters
    ----------
    n_spherical, n_radial, out : int
        Functions of angle, of distance, and how many sums of their products.
    """

    def __init__(self, n_spherical: int, n_radial: int, out: int) -> None:
        super().__init__()
        self.shape = (out, n_spherical)
        # As a tensor of three axes, so that it begins as published.
        weight = torch.empty(n_spherical, n_radial, out)
        standardized_(weight, (0, 1))
        self.weight = nn.Parameter(weight.permute(2, 0, 1).flatten(0, 1).contiguous())

    def forward(self, radial: torch.Tensor) -> torch.Tensor:
        """Return weights, shape (..., out, n_spherical), of functions of distance."""
        return functional.linear(radial, self.weight).unflatten(-1, self.shape)


class Bilinear(nn.Module):
    """Sum over the other edges of an atom, each weighted by its angle: GemNet's efficient layer.

    Parameters
    ----------
    n_in, basis, n_out : int
        Channels of an edge before, weights of a triplet, and channels of an edge after.
    """

    def __init__(self, n_in: int, basis: int, n_out: int) -> None:
        super().__init__()
        weight = torch.empty(n_in, basis, n_out)
        standardized_(weight, (0, 1))
        self.weight = nn.Parameter(weight.permute(2, 1, 0).flatten(1).contiguous())

    def forward(
        self, x: torch.Tensor, weights: torch.Tensor, angular: torch.Tensor
    ) -> torch.Tensor:
        """Return sums, shape (n, n_atoms, k, n_out).

        Parameters
        ----------
        x : torch.Tensor, shape (n, n_atoms, k, n_in)
            Channels of the edges of an atom.
        weights : torch.Tensor, shape (n, n_atoms, k, basis, n_spherical)
            Of the edge to which others add, by its length.
        angular : torch.Tensor, shape (n, n_atoms, k * n_spherical, k)
            Functions of the angle between that edge and others.
        """
        # Summed over the neighbours first: nothing has channels for each triplet.
        by_order = (angular @ x.to(angular.dtype)).unflatten(2, (x.shape[2], -1))
        return functional.linear((weights @ by_order.to(weights.dtype)).flatten(-2), self.weight)
