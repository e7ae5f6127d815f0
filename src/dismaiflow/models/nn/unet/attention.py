"""Attention of the U-Nets: between pixels, of pixels to the level of noise, between frames.

Queries and keys are brought to unit length, and scaled by learned factors and by 8; each attention
can also look at a learned key that belongs to nothing, and each result is normalised.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.nn.unet.layers import FrameConv

#: What the products of queries and keys of unit length are multiplied with.
_SCALE = 8.0


class _Attention(nn.Module):
    """What the kinds of attention have in common: norms, queries, the empty key, the way out."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.norm = nn.LayerNorm(dim, bias=False)
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.empty = nn.Parameter(torch.randn(2, head_dim))
        self.query_scale = nn.Parameter(torch.ones(head_dim))
        self.key_scale = nn.Parameter(torch.ones(head_dim))
        self.out = nn.Linear(heads * head_dim, dim, bias=False)
        self.out_norm = nn.LayerNorm(dim, bias=False)

    def _attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        queries = functional.normalize(queries, dim=-1) * self.query_scale
        keys = functional.normalize(keys, dim=-1) * self.key_scale
        return functional.scaled_dot_product_attention(queries, keys, values, bias, scale=_SCALE)


class SelfAttention(_Attention):
    """Attention between tokens, with keys and values that all heads share (arXiv:1911.02150).

    Parameters
    ----------
    dim : int
        Channels of a token.
    heads, head_dim : int
        Number of heads, and their width.
    context_dim : int, optional
        Channels of further tokens that are looked at; None: there are none.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int | None = None) -> None:
        super().__init__(dim, heads, head_dim)
        self.key_value = nn.Linear(dim, 2 * head_dim, bias=False)
        self.context: nn.Module | None = None
        if context_dim is not None:
            self.context = nn.Sequential(
                nn.LayerNorm(context_dim), nn.Linear(context_dim, 2 * head_dim)
            )

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what the tokens find, of the shape of `x`.

        Parameters
        ----------
        x : torch.Tensor, shape (n, ..., dim)
            The tokens: of an item, all that there are.
        context : torch.Tensor, shape (n, n_context, context_dim), optional
            Further tokens to look at.
        bias : torch.Tensor, shape (n_tokens, heads, 1 + n_tokens), optional
            Added to the products of queries and keys; of these the empty one is the first.
        """
        here = self.norm(x.flatten(1, -2))
        n, n_tokens, _ = here.shape
        seen = [self.empty.flatten().expand(n, 1, -1), self.key_value(here)]
        if self.context is not None and context is not None:
            seen.append(self.context(context))
        keys, values = torch.cat(seen, dim=1)[:, None].chunk(2, dim=-1)
        # Since the heads share keys, they are nothing but more queries of one head.
        queries = self.query(here).reshape(n, 1, n_tokens * self.heads, self.head_dim)
        if bias is not None:
            bias = bias.flatten(0, 1)
        found = self._attend(queries, keys, values, bias)
        return self.out_norm(self.out(found.reshape(n, n_tokens, -1))).view_as(x)


class CrossAttention(_Attention):
    """Attention of pixels to the tokens of the level of noise.

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    context_dim : int
        Channels of a token.
    heads, head_dim : int
        Number of heads, and their width.
    """

    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__(dim, heads, head_dim)
        self.key_value = nn.Linear(context_dim, 2 * heads * head_dim, bias=False)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return what the pixels find, of the shape of `x`.

        Parameters
        ----------
        x : torch.Tensor, shape (n, frames, height, width, dim)
            The pixels.
        context : torch.Tensor, shape (n, n_tokens, context_dim)
            The tokens.
        """
        n, heads = len(x), (self.heads, self.head_dim)
        queries = self.query(self.norm(x.flatten(1, 3))).unflatten(2, heads).transpose(1, 2)
        told = self.key_value(context).unflatten(2, (2, *heads)).permute(2, 0, 3, 1, 4)
        empty = self.empty[:, None, None, None].expand(2, n, self.heads, 1, -1)
        keys, values = torch.cat([empty, told], dim=3).unbind()
        found = self._attend(queries, keys, values).transpose(1, 2).flatten(2)
        return self.out_norm(self.out(found)).view_as(x)


class LinearAttention(nn.Module):
    """Attention between pixels whose cost grows with their number alone (arXiv:1812.01243).

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    heads, head_dim : int
        Number of heads, and their width.
    context_dim : int
        Channels of the tokens that are looked at too.
    dropout : float
        Share of the channels that are left out in training.
    """

    def __init__(
        self, dim: int, heads: int, head_dim: int, context_dim: int, dropout: float
    ) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads, self.head_dim = heads, head_dim
        self.norm = nn.LayerNorm(dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        # Queries, keys and values at once: of each pixel, then of its surroundings.
        self.project = nn.Linear(dim, 3 * inner, bias=False)
        self.surroundings = FrameConv(3 * inner, 3 * inner, 3, groups=3 * inner, bias=False)
        self.context = nn.Sequential(
            nn.LayerNorm(context_dim), nn.Linear(context_dim, 2 * inner, bias=False)
        )
        self.out = nn.Linear(inner, dim, bias=False)
        self.out_norm = nn.LayerNorm(dim, bias=False)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return what the pixels find, of the shape of `x`; arguments as of the cross attention."""
        projected = self.surroundings(self.project(self.dropout(self.norm(x))))
        parts = projected.flatten(1, 3).unflatten(2, (3, self.heads, self.head_dim))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        told = self.context(context).unflatten(2, (2, self.heads, self.head_dim))
        more_keys, more_values = told.permute(2, 0, 3, 1, 4)
        keys = torch.cat([keys, more_keys], dim=2).softmax(dim=2)
        values = torch.cat([values, more_values], dim=2)
        queries = queries.softmax(dim=3) * self.head_dim**-0.5
        found = queries @ (keys.transpose(2, 3) @ values)
        found = functional.silu(found.transpose(1, 2).flatten(2))
        return self.out_norm(self.out(found)).view_as(x)


class FrameAttention(nn.Module):
    """Attention of each pixel to itself in this frame and those before it.

    A small network gives each head a bias for each distance in frames. The result begins as zero.

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    heads, head_dim : int
        Number of heads, and their width.
    """

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, head_dim)
        nn.init.zeros_(self.attention.out_norm.weight)
        self.empty_bias = nn.Parameter(torch.randn(heads))
        self.distance_bias = nn.Sequential(
            nn.Linear(1, dim),
            nn.LayerNorm(dim, bias=False),
            nn.SiLU(),
            nn.Linear(dim, dim),
            nn.LayerNorm(dim, bias=False),
            nn.SiLU(),
            nn.Linear(dim, heads),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the pixels find, shape (n, frames, height, width, dim)."""
        n, frames, height, width, _ = x.shape
        tracks = x.permute(0, 2, 3, 1, 4).flatten(0, 2)
        found = self.attention(tracks, bias=self._bias(frames))
        return found.unflatten(0, (n, height, width)).permute(0, 3, 1, 2, 4)

    def _bias(self, frames: int) -> torch.Tensor:
        number = torch.arange(frames, device=self.empty_bias.device)
        by_distance = self.distance_bias(number[:, None].to(self.empty_bias.dtype))
        back = number[:, None] - number
        bias = by_distance[back.clamp(min=0)].masked_fill(back[..., None] < 0, -torch.inf)
        empty = self.empty_bias.expand(frames, 1, -1)
        return torch.cat([empty, bias], dim=1).transpose(1, 2)
