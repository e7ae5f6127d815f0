"""Layers that all atoms share, with pooling after them, differentiated by hand.

Nearly all work of a training step is done here. On a processor it is done in pieces of a few
structures, whose activations stay in its cache between one matrix product and the next; the
gradients of the weights add up in place, and nothing else is carried from piece to piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dismaiflow.models.cryingan.pooling import pool, pull, push

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.cryingan.settings import Pooling

#: Slope of all LeakyReLU below 0.
SLOPE = 0.2

#: Rows of a piece: 512 channels of them take 2 MB.
CACHED_ROWS = 1024


def linear(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, rectified: bool
) -> torch.Tensor:
    """Return ``rows @ weight.T + bias``, followed by a LeakyReLU or not; it has no gradient.

    On a processor, oneDNN is a tenth faster than what PyTorch takes for single precision, also
    with a transposed weight, and applies the LeakyReLU before a result leaves the cache.
    """
    fusable = rows.dtype == torch.float32 and rows.device.type == "cpu"
    if fusable and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:
        activation: tuple[str, list[float]] = ("leaky_relu", [SLOPE]) if rectified else ("none", [])
        fused: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, weight, bias, *activation, None
        )
        return fused
    out = functional.linear(rows, weight, bias)
    return functional.leaky_relu_(out, SLOPE) if rectified else out


def structures_per_piece(like: torch.Tensor) -> int:
    """Return how many structures of a batch (n, n_atoms, n_features) are worked on at once."""
    if like.device.type != "cpu":
        return max(1, like.shape[0])
    return max(1, CACHED_ROWS // like.shape[1])


class Piece(NamedTuple):
    """Some structures on their way through the layers.

    Attributes
    ----------
    structures : slice
        Which ones.
    rows : list of torch.Tensor, shape (n_structures x n_atoms, n_channels)
        The features, and what each layer made of them.
    """

    structures: slice
    rows: list[torch.Tensor]


class Shared(NamedTuple):
    """How the layers are pooled.

    Attributes
    ----------
    counts : tuple of int
        Atoms of each species.
    kind : {"mean", "max", "mix"}
        Of the pooling.
    """

    counts: tuple[int, ...]
    kind: Pooling

    def trace(
        self, features: torch.Tensor, parameters: Sequence[torch.Tensor]
    ) -> tuple[list[Piece], torch.Tensor]:
        """Pass features (n, n_atoms, n_features) through layers: weight, bias, weight, bias ...

        Returns
        -------
        list of Piece
            What `trace` leaves for the gradients.
        torch.Tensor, shape (n, pooled width)
            The pooled features.
        """
        size, pieces, pooled = structures_per_piece(features), [], []
        for first in range(0, len(features), size):
            structures = slice(first, first + size)
            rows = [features[structures].flatten(0, 1)]
            for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
                rows.append(linear(rows[-1], weight, bias, rectified=True))
            pieces.append(Piece(structures, rows))
            pooled.append(pool(self.atoms(rows[-1]), self.counts, self.kind))
        return pieces, torch.cat(pooled)

    def spread(self, upstream: torch.Tensor, piece: Piece) -> torch.Tensor:
        """Bring a gradient with respect to what was pooled back to the rows of a piece."""
        atoms = self.atoms(piece.rows[-1])
        return pull(upstream[piece.structures], atoms, self.counts, self.kind).flatten(0, 1)

    def atoms(self, rows: torch.Tensor) -> torch.Tensor:
        """Tell the structures of a piece apart."""
        return rows.view(-1, sum(self.counts), rows.shape[1])


class PooledLayers(torch.autograd.Function):
    """Pooled features of a batch; arguments: features, `Shared`, weight, bias, weight, bias ..."""

    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, shared: Shared, *parameters: torch.Tensor
    ) -> torch.Tensor:
        """Return what is pooled."""
        ctx.pieces, pooled = shared.trace(features, parameters)
        ctx.shared, ctx.shape = shared, features.shape
        ctx.save_for_backward(*parameters)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients that are asked for."""
        parameters = ctx.saved_tensors
        for_features, for_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[2:])
        gradients = [torch.zeros_like(p) for p in parameters] if for_weights else []
        down = upstream.new_empty(ctx.shape) if for_features else None
        for piece in ctx.pieces:
            back = ctx.shared.spread(upstream, piece)
            for i in reversed(range(len(piece.rows) - 1)):
                gate_(back, piece.rows[i + 1])
                if for_weights:
                    gradients[2 * i].addmm_(back.T, piece.rows[i])
                    gradients[2 * i + 1].add_(back.sum(0))
                if i > 0 or for_features:
                    back = linear(back, parameters[2 * i].T, None, rectified=False)
            if down is not None:
                down[piece.structures] = back.view(-1, *ctx.shape[1:])
        none: list[torch.Tensor | None] = [None] * len(parameters)
        return down, None, *(gradients or none)


class PulledGradient(torch.autograd.Function):
    """A gradient with respect to pooled features, brought back to the features themselves.

    Arguments: the gradient, `Shared`, the pieces of `Shared.trace`, the weights. The slopes of the
    LeakyReLU are constant between its kinks, so the result is linear in the gradient and in each
    weight, and does not depend on the biases.
    """

    @staticmethod
    def forward(
        ctx: Any,
        upstream: torch.Tensor,
        shared: Shared,
        pieces: list[Piece],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        """Return the gradient, (n, n_atoms, n_features)."""
        ctx.pulled, found = [], []
        for piece in pieces:
            back, gated = shared.spread(upstream, piece), []
            for weight, made in zip(reversed(weights), reversed(piece.rows[1:]), strict=True):
                gated.append(gate_(back, made))
                back = linear(back, weight.T, None, rectified=False)
            ctx.pulled.append(gated[::-1])
            found.append(shared.atoms(back))
        ctx.shared, ctx.pieces = shared, pieces
        ctx.save_for_backward(*weights)
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients with respect to the gradient and the weights."""
        weights, shared = ctx.saved_tensors, ctx.shared
        gradients = [torch.zeros_like(weight) for weight in weights]
        upstream = []
        for piece, pulled in zip(ctx.pieces, ctx.pulled, strict=True):
            forth = change[piece.structures].flatten(0, 1)
            for i, weight in enumerate(weights):
                gradients[i].addmm_(pulled[i].T, forth)
                forth = gate_(linear(forth, weight, None, rectified=False), piece.rows[i + 1])
            atoms = shared.atoms(piece.rows[-1])
            upstream.append(push(shared.atoms(forth), atoms, shared.counts, shared.kind))
        return torch.cat(upstream), None, None, *gradients


def gate_(upstream: torch.Tensor, activated: torch.Tensor) -> torch.Tensor:
    """Bring a gradient back through a LeakyReLU in place, given what that returned."""
    torch.ops.aten.leaky_relu_backward.grad_input(
        upstream, activated, SLOPE, True, grad_input=upstream
    )
    return upstream
