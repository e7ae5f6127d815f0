"""Linear layers on normalised rows, differentiated by hand in pieces: the bulk of the generator.

A batch normalisation looks at all rows before it changes any, and passes over memory cost about
half as much as the matrix products. Here each piece of rows is normalised, rectified and multiplied
while it is in a processor's cache, and its mean and variance are taken as it comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from dismaiflow.models.cryingan.shared_layers import linear

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Rows of a piece: 512 channels of them take 1 MB.
CACHED_ROWS = 512


class Moments(NamedTuple):
    """Mean and variance of each channel over a batch.

    Attributes
    ----------
    mean, variance : torch.Tensor, shape (n_channels,)
        The variance is the mean squared deviation.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def of(cls, pieces: Sequence[torch.Tensor]) -> Moments:
        """Take those of rows that lie in pieces."""
        return cls.joined([cls.of_piece(piece) for piece in pieces], [len(p) for p in pieces])

    @classmethod
    def of_piece(cls, rows: torch.Tensor) -> Moments:
        """Take those of rows that lie together."""
        # As `torch.var_mean`, but forty times faster along the columns of a matrix.
        return cls(*torch.ops.aten.batch_norm_update_stats(rows, None, None, 0.0))

    @classmethod
    def joined(cls, parts: Sequence[Moments], sizes: Sequence[int]) -> Moments:
        """Join those of pieces."""
        means = torch.stack([part.mean for part in parts])
        share = means.new_tensor(sizes)[:, None] / sum(sizes)
        mean = (share * means).sum(0)
        within = torch.stack([part.variance for part in parts])
        return cls(mean, (share * (within + (means - mean).square())).sum(0))


class _Layer(NamedTuple):
    """A normalisation of known moments, a ReLU and a linear layer."""

    mean: torch.Tensor
    inverse: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, moments: Moments, eps: float, parameters: Sequence[torch.Tensor]) -> _Layer:
        gain, offset, weight, bias = parameters
        inverse = (moments.variance + eps).rsqrt()
        scale = gain * inverse
        return cls(moments.mean, inverse, scale, offset - moments.mean * scale, weight, bias)

    def rectified(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, rows, self.scale).relu_()

    def gradients(
        self, pieces: list[torch.Tensor], upstream: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the gradients with respect to the rows, and to the four parameters."""
        gain, offset = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        weight, bias = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        down = []
        for rows, above in zip(pieces, upstream, strict=True):
            # Made again rather than kept: cheaper than to fetch them from memory.
            rectified = self.rectified(rows)
            weight.addmm_(above.T, rectified)
            bias += above.sum(0)
            back = linear(above, self.weight.T, None, rectified=False)
            torch.ops.aten.threshold_backward.grad_input(back, rectified, 0, grad_input=back)
            offset += back.sum(0)
            gain += torch.sub(rows, self.mean, out=rectified).mul_(back).sum(0)
            down.append(back)
        gain *= self.inverse
        n_rows = sum(len(rows) for rows in pieces)
        # What the mean and the variance of the batch pass on is the same for all rows, or
        # proportional to them.
        slope = -self.scale * self.inverse * gain / n_rows
        level = -self.scale * offset / n_rows - slope * self.mean
        for rows, back in zip(pieces, down, strict=True):
            back.mul_(self.scale).addcmul_(rows, slope).add_(level)
        return down, [gain, offset, weight, bias]


class NormedLayers(torch.autograd.Function):
    """Normalise, rectify, multiply, again and again.

    Arguments: rows (n_rows, n_channels); what is added to variances; an empty list, to which the
    moments of each normalisation are added; gain, offset, weight and bias of each layer.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        eps: float,
        seen: list[Moments],
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        """Return what the last layer makes of the rows."""
        pieces = list(rows.split(CACHED_ROWS))
        sizes = [len(piece) for piece in pieces]
        moments = Moments.of(pieces)
        layers, made = [], []
        for i in range(0, len(parameters), 4):
            layers.append(_Layer.of(moments, eps, parameters[i : i + 4]))
            seen.append(moments)
            made.append(pieces)
            pieces, parts = [], []
            for piece in made[-1]:
                out = linear(layers[-1].rectified(piece), *layers[-1][-2:], rectified=False)
                pieces.append(out)
                parts.append(Moments.of_piece(out))
            moments = Moments.joined(parts, sizes)
        ctx.layers, ctx.made = layers, made
        return torch.cat(pieces)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients with respect to rows and parameters."""
        back = list(upstream.split(CACHED_ROWS))
        gradients: list[torch.Tensor] = []
        for layer, pieces in zip(reversed(ctx.layers), reversed(ctx.made), strict=True):
            back, found = layer.gradients(pieces, back)
            gradients = found + gradients
        return torch.cat(back), None, None, *gradients
