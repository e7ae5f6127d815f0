"""Blocks of the U-Nets, and the stages that are built of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.nn.unet.attention import (
    CrossAttention,
    FrameAttention,
    LinearAttention,
    SelfAttention,
)
from dismaiflow.models.nn.unet.layers import ChannelGate, FrameConv, PastConv, PixelNorm

#: Skip connections are multiplied with this, so that sums keep their size.
_SKIP_SCALE = 2**-0.5


@dataclass(frozen=True)
class Told:
    """What the blocks are told of the level of noise.

    Attributes
    ----------
    vector : torch.Tensor, shape (n, width)
        After the SiLU that each block would begin with.
    tokens : torch.Tensor, shape (n, n_tokens, dim)
        Normalised.
    """

    vector: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a network have in common.

    Attributes
    ----------
    width : int
        Components of the vector of the level of noise.
    token_dim : int
        Components of its tokens.
    heads, head_dim : int
        Of each attention: number of heads, and their width.
    groups : int
        Groups of channels that are normalised together.
    dropout : float
        In linear attention: share of the channels that are left out in training.
    frames : bool
        Whether there are frames, for convolutions and attention between them.
    """

    width: int
    token_dim: int
    heads: int
    head_dim: int
    groups: int
    dropout: float
    frames: bool


class NormConv(nn.Module):
    """Normalise, scale and shift, SiLU, convolve.

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after.
    settings : BlockSettings
        Of the network.
    """

    def __init__(self, channels: int, out_channels: int, settings: BlockSettings) -> None:
        super().__init__()
        self.norm = PixelNorm(settings.groups, channels)
        self.conv = FrameConv(channels, out_channels, 3)
        self.past: PastConv | None = None
        if settings.frames:
            # Frames do not see each other by this before training.
            self.past = PastConv(out_channels)
            nn.init.dirac_(self.past.weight)
            self.past.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: torch.Tensor, scale_shift: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the features, shape (n, frames, height, width, out_channels)."""
        x = self.norm(x)
        if scale_shift is not None:
            scale, shift = scale_shift
            x = torch.addcmul(shift, x, scale + 1)
        x = self.conv(functional.silu(x))
        return x if self.past is None else self.past(x)


class ResidualBlock(nn.Module):
    """Two convolutions with the level of noise between them, and a way around.

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after.
    settings : BlockSettings
        Of the network.
    cross : bool
        Whether pixels attend to the tokens of the level between the convolutions.
    gate : bool
        Whether channels are weighed at the end.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        settings: BlockSettings,
        cross: bool = False,
        gate: bool = False,
    ) -> None:
        super().__init__()
        self.level = nn.Linear(settings.width, 2 * out_channels)
        self.first = NormConv(channels, out_channels, settings)
        self.second = NormConv(out_channels, out_channels, settings)
        self.cross: CrossAttention | None = None
        if cross:
            self.cross = CrossAttention(
                out_channels, settings.token_dim, settings.heads, settings.head_dim
            )
        self.gate = ChannelGate(out_channels) if gate else nn.Identity()
        self.around: nn.Module = nn.Identity()
        if channels != out_channels:
            self.around = nn.Linear(channels, out_channels)

    def forward(self, x: torch.Tensor, told: Told) -> torch.Tensor:
        """Return the features, shape (n, frames, height, width, out_channels)."""
        scale, shift = self.level(told.vector)[:, None, None, None].chunk(2, dim=-1)
        inner = self.first(x)
        if self.cross is not None:
            inner = inner + self.cross(inner, told.tokens)
        inner = self.gate(self.second(inner, (scale, shift)))
        return inner + self.around(x)


class FeedForward(nn.Module):
    """Add to each pixel what two layers make of it; with frames, half of it comes one frame late.

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    frames : bool
        Whether there are frames.
    """

    def __init__(self, dim: int, frames: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)
        self.inside = nn.Linear(dim, 2 * dim, bias=False)
        self.inner_norm = nn.LayerNorm(2 * dim, bias=False)
        self.outside = nn.Linear(2 * dim, dim, bias=False)
        self._frames = frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the new features, of the same shape."""
        inner = functional.gelu(self.inside(self.norm(x)))
        if self._frames:
            now, late = inner.chunk(2, dim=-1)
            late = functional.pad(late[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
            inner = torch.cat([now, late], dim=-1)
        return x + self.outside(self.inner_norm(inner))


class AttentionBlock(nn.Module):
    """Attention between all pixels of all frames, and to the level, then each pixel by itself.

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    settings : BlockSettings
        Of the network.
    linear : bool
        Whether the attention is the linear one.
    """

    def __init__(self, dim: int, settings: BlockSettings, linear: bool) -> None:
        super().__init__()
        heads, token_dim = (settings.heads, settings.head_dim), settings.token_dim
        self.attention: LinearAttention | SelfAttention
        if linear:
            self.attention = LinearAttention(dim, *heads, token_dim, settings.dropout)
        else:
            self.attention = SelfAttention(dim, *heads, token_dim)
        self.feed = FeedForward(dim, settings.frames)

    def forward(self, x: torch.Tensor, told: Told) -> torch.Tensor:
        """Return the features, of the same shape."""
        return self.feed(x + self.attention(x, told.tokens))


class BetweenFrames(nn.Module):
    """Each pixel and its past: a convolution, which tells of the order too, then attention.

    Parameters
    ----------
    dim : int
        Channels of a pixel.
    settings : BlockSettings
        Of the network.
    """

    def __init__(self, dim: int, settings: BlockSettings) -> None:
        super().__init__()
        self.order = PastConv(dim, groups=dim)
        self.attention = FrameAttention(dim, settings.heads, settings.head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, of the same shape."""
        x = x + self.order(x)
        return x + self.attention(x)


class Stage(nn.Module):
    """What a network does at one size, on the way down or up.

    Parameters
    ----------
    dim : int
        Channels.
    skip : int
        Channels of the skip connections that each block takes in: 0 on the way down.
    n_blocks : int
        Gated blocks after the first block.
    attention : {"full", "linear", "none"}
        Between pixels, after the blocks.
    cross : bool
        Whether pixels attend to the tokens of the level in the first block.
    settings : BlockSettings
        Of the network.
    """

    def __init__(
        self,
        dim: int,
        skip: int,
        n_blocks: int,
        attention: str,
        cross: bool,
        settings: BlockSettings,
    ) -> None:
        super().__init__()
        self._takes = skip > 0
        self.first = ResidualBlock(dim + skip, dim, settings, cross=cross)
        self.blocks = nn.ModuleList(
            ResidualBlock(dim + skip, dim, settings, gate=True) for _ in range(n_blocks)
        )
        self.attention: AttentionBlock | None = None
        if attention != "none":
            self.attention = AttentionBlock(dim, settings, linear=attention == "linear")
        self.frames = BetweenFrames(dim, settings) if settings.frames else nn.Identity()

    def forward(self, x: torch.Tensor, told: Told, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return the features, of the same shape.

        Parameters
        ----------
        x : torch.Tensor, shape (n, frames, height, width, dim)
            The pixels.
        told : Told
            Of the level of noise.
        skips : list of torch.Tensor
            Skip connections. On the way down each block but the first adds what it returns, and
            the whole stage too; on the way up each block takes one away, the last one first.
        """
        for i, block in enumerate((self.first, *self.blocks)):
            if self._takes:
                x = torch.cat([x, skips.pop() * _SKIP_SCALE], dim=-1)
            x = block(x, told)
            if i > 0 and not self._takes:
                skips.append(x)
        if self.attention is not None:
            x = self.attention(x, told)
        x = self.frames(x)
        if not self._takes:
            skips.append(x)
        return x


class Middle(nn.Module):
    """What a network does at its smallest size.

    Parameters
    ----------
    dim : int
        Channels.
    settings : BlockSettings
        Of the network.
    """

    def __init__(self, dim: int, settings: BlockSettings) -> None:
        super().__init__()
        self.first = ResidualBlock(dim, dim, settings, cross=True)
        self.attention = SelfAttention(dim, settings.heads, settings.head_dim)
        # As published: a part of its own after the attention, one for images and one for videos.
        self.after: nn.Module
        if settings.frames:
            self.after = BetweenFrames(dim, settings)
        else:
            self.after = FeedForward(dim, frames=False)
        self.last = ResidualBlock(dim, dim, settings, cross=True)

    def forward(self, x: torch.Tensor, told: Told) -> torch.Tensor:
        """Return the features, of the same shape."""
        x = self.first(x, told)
        x = x + self.attention(x)
        return self.last(self.after(x), told)
