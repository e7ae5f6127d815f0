"""Critics: networks that tell real structures from generated ones (paper, Figs. 5, 6; SI, S29)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.cryingan.networks import KernelLinear
from dismaiflow.models.cryingan.pooling import pooled_width
from dismaiflow.models.cryingan.shared_layers import SLOPE, PooledLayers, PulledGradient, Shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.cryingan.settings import Pooling

#: What a critic sees of a batch of structures: one tensor for each kind of feature.
Inputs = list[torch.Tensor]


class Critic(Protocol):
    """What the losses need of a critic."""

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        """Return the outputs for a batch, shape (n, n_outputs)."""
        ...

    def both(self, real: Inputs, fake: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs for real and generated structures."""
        ...

    def input_gradients(self, inputs: Inputs) -> Inputs:
        """Return the gradient of the sum of the outputs, itself differentiable by the weights."""
        ...


def _gate(upstream: torch.Tensor, activated: torch.Tensor) -> torch.Tensor:
    """Bring a gradient back through a LeakyReLU, given what that returned."""
    back: torch.Tensor = torch.ops.aten.leaky_relu_backward(upstream, activated, SLOPE, True)
    return back


class Rectified(nn.Module):
    """Linear layers, each followed by a LeakyReLU, over rows.

    Parameters
    ----------
    widths : sequence of int
        Channels before and after each layer.
    kernel : bool
        Whether the first layer stands for a convolution over all columns of a row, as the critics
        begin; that matters for its first weights only.
    """

    def __init__(self, widths: Sequence[int], kernel: bool = False) -> None:
        super().__init__()
        layers: list[nn.Linear] = [nn.Linear(a, b) for a, b in pairwise(widths)]
        if kernel:
            inputs, outputs = widths[:2]
            layers[0] = KernelLinear(inputs, outputs, inputs * (1 + outputs))
        self.layers = nn.ModuleList(layers)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the last layer makes of the rows."""
        for layer in self.layers:
            rows = functional.leaky_relu_(layer(rows), SLOPE)
        return rows

    def activations(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return what each layer makes of the rows; without gradient, for `pull`."""
        found = []
        for layer in self.layers:
            rows = functional.leaky_relu_(layer(rows), SLOPE)
            found.append(rows)
        return found

    def pull(self, upstream: torch.Tensor, activations: list[torch.Tensor]) -> torch.Tensor:
        """Bring a gradient with respect to the last layer back to the rows.

        The slopes of the LeakyReLU are constant between its kinks, so this is a product of
        matrices, and a loss of it needs only first derivatives.
        """
        for layer, activated in zip(reversed(self.layers), reversed(activations), strict=True):
            weight = cast("torch.Tensor", layer.weight)
            upstream = _gate(upstream, activated) @ weight
        return upstream


class PointCritic(nn.Module):
    """A critic after PointNet: shared layers for each atom, pooling by species, a head.

    With several kinds of features, each has layers of its own, and what they pool to is joined
    before the head: with coordinates and bond distances this is CryinGAN-comb.

    Parameters
    ----------
    n_features : sequence of int
        Columns of each kind of features: 3 coordinates, 6 bond distances.
    counts : sequence of int
        Atoms of each species.
    pooling : sequence of {"mean", "max", "mix"}
        Of each kind.
    widths, head : sequence of int
        Channels of the layers before and after pooling.
    n_outputs : int
        Outputs.
    """

    def __init__(
        self,
        n_features: Sequence[int],
        counts: Sequence[int],
        pooling: Sequence[Pooling],
        widths: Sequence[int] = (512, 512, 256),
        head: Sequence[int] = (1000, 200),
        n_outputs: int = 10,
    ) -> None:
        super().__init__()
        self._shared = [Shared(tuple(counts), kind) for kind in pooling]
        branches = [Rectified((n, *widths), kernel=True) for n in n_features]
        self._branches = tuple(branches)
        self.branches = nn.ModuleList(branches)
        self.pooled = [pooled_width(widths[-1], len(counts), kind) for kind in pooling]
        self.head = Rectified((sum(self.pooled), *head))
        self.last = nn.Linear((sum(self.pooled), *head)[-1], n_outputs)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return the outputs for a batch, shape (n, n_outputs).

        Parameters
        ----------
        inputs : list of torch.Tensor, shape (n, n_atoms, n_features)
            Atoms grouped by species.
        """
        pooled = [
            PooledLayers.apply(part, shared, *branch.parameters())
            for branch, shared, part in zip(self.branches, self._shared, inputs, strict=True)
        ]
        outputs: torch.Tensor = self.last(self.head(torch.cat(pooled, dim=1)))
        return outputs

    def both(self, real: Inputs, fake: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs for real and generated structures, in one pass."""
        outputs = self([torch.cat(pair) for pair in zip(real, fake, strict=True)])
        first, second = outputs.split([len(real[0]), len(fake[0])])
        return first, second

    def input_gradients(self, inputs: Inputs) -> Inputs:
        """Return the gradient of the sum of the outputs with respect to the inputs.

        It is worked out by hand rather than by differentiating twice, which would carry zeros
        through all layers once more.
        """
        with torch.no_grad():
            traces = [
                shared.trace(part, list(branch.parameters()))
                for branch, shared, part in zip(self.branches, self._shared, inputs, strict=True)
            ]
            head = self.head.activations(torch.cat([pooled for _, pooled in traces], dim=1))
        upstream = self.last.weight.sum(0).expand(len(inputs[0]), -1)
        back = self.head.pull(upstream, head).split(self.pooled, dim=1)
        return [
            PulledGradient.apply(
                back[i], self._shared[i], traces[i][0], *[x.weight for x in branch.layers]
            )
            for i, branch in enumerate(self._branches)
        ]
