"""Generator of CryinGAN, and how all its networks are initialised (paper, Fig. 6)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.cryingan.normed_layers import NormedLayers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.cryingan.normed_layers import Moments


class KernelLinear(nn.Linear):
    """A linear layer that stands for a convolution whose kernel has several places.

    Glorot's rule counts the inputs and outputs of a convolution by channel and place.

    Parameters
    ----------
    inputs, outputs : int
        Of the linear layer.
    fans : int
        Inputs and outputs together, as the rule counts those of the convolution.
    bias : bool
        Whether it has one.
    """

    def __init__(self, inputs: int, outputs: int, fans: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.fans = fans


class Generator(nn.Module):
    """Turns noise into fractional coordinates.

    A linear layer makes channels for each atom; layers that all atoms share turn them into one
    number for each axis. The first of these has weights of its own for each axis, and one bias for
    all. The published code writes them as convolutions of kernel (1, 3) and (1, 1); here they are
    matrix products over rows, which hold the same numbers.

    Parameters
    ----------
    n_atoms : int
        Atoms of a structure.
    latent_dim : int
        Random numbers of a structure.
    channels : int
        Channels of each atom after the first layer.
    widths : sequence of int
        Channels of the shared layers.
    eps : float
        Added to the variance in batch normalisation.
    """

    def __init__(
        self,
        n_atoms: int,
        latent_dim: int = 64,
        channels: int = 128,
        widths: Sequence[int] = (256, 512, 256),
        eps: float = 0.8,
    ) -> None:
        super().__init__()
        self.n_atoms, self.channels, self.eps = n_atoms, channels, eps
        self.first = nn.Linear(latent_dim, n_atoms * channels)
        self.axes = KernelLinear(channels, 3 * widths[0], 3 * (channels + widths[0]), bias=False)
        self.axes_bias = nn.Parameter(torch.zeros(widths[0]))
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width, eps) for width in widths])
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Generate structures.

        Parameters
        ----------
        noise : torch.Tensor, shape (n, latent_dim)
            Standard normal numbers.

        Returns
        -------
        torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates between 0 and 1.
        """
        rows = functional.relu_(self.first(noise)).view(-1, self.channels)
        rows = functional.linear(rows, self.axes.weight, self.axes_bias.repeat(3))
        rows = rows.view(-1, len(self.axes_bias))
        shared = self._in_pieces if self.training and rows.device.type == "cpu" else self._at_once
        return torch.sigmoid(shared(rows)).view(-1, self.n_atoms, 3)

    def _at_once(self, rows: torch.Tensor) -> torch.Tensor:
        """Pass rows through the shared layers."""
        for norm, layer in zip(self.norms, (*self.layers, self.last), strict=True):
            rows = layer(functional.relu_(norm(rows)))
        return rows

    def _in_pieces(self, rows: torch.Tensor) -> torch.Tensor:
        """Do the same, in training, in pieces that fit a processor's cache."""
        parameters = [
            parameter
            for norm, layer in zip(self.norms, (*self.layers, self.last), strict=True)
            for parameter in (norm.weight, norm.bias, layer.weight, layer.bias)
        ]
        seen: list[Moments] = []
        out: torch.Tensor = NormedLayers.apply(rows, self.eps, seen, *parameters)
        for norm, moments in zip(self.norms, seen, strict=True):
            _remember(cast("nn.BatchNorm1d", norm), moments, len(rows))
        return out


@torch.no_grad()
def _remember(norm: nn.BatchNorm1d, moments: Moments, n_rows: int) -> None:
    """Update the averages with which a normalisation works outside training, as torch does."""
    assert norm.running_mean is not None  # they are None only on request
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    unbiased = moments.variance * (n_rows / max(1, n_rows - 1))
    norm.running_mean.lerp_(moments.mean, norm.momentum)
    norm.running_var.lerp_(unbiased, norm.momentum)
    norm.num_batches_tracked += 1


def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Draw the weights as the published code does: Glorot's uniform, all biases 0.

    Parameters
    ----------
    network : torch.nn.Module
        A network.
    rng : torch.Generator
        On the processor.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            fans = module.fans if isinstance(module, KernelLinear) else sum(module.weight.shape)
            bound = (6 / fans) ** 0.5
            with torch.no_grad():
                drawn = torch.rand(module.weight.shape, generator=rng, dtype=torch.float32)
                module.weight.copy_((2 * drawn - 1) * bound)
                if module.bias is not None:
                    module.bias.zero_()
