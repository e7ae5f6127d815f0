"""Small layers that the U-Nets of images and of videos share.

All of them take tensors of the shape (n, frames, height, width, channels), contiguous, an
image being a video of one frame. So what acts on one pixel is a matrix product of the last axis,
pixels are tokens without a copy, and the convolutions see PyTorch's channels-last layout.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

#: Kernels of the first convolution, whose outputs are joined.
KERNELS = (3, 7, 15)

#: Wider kernels go back some 40 times slower on CPUs if channels come last (PyTorch 2.13).
_WIDEST = 7

#: Width of a pixel block that :class:`Shrink` makes one pixel of, and :class:`Grow` the other way.
_STRIDE = 2


class FrameConv(nn.Conv2d):
    """Convolution in each frame, which keeps height and width.

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after.
    kernel : int
        Width of the kernel, odd.
    groups : int
        As in PyTorch.
    bias : bool
        Whether there is one.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(channels, out_channels, kernel, groups=groups, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved frames, shape (n, frames, height, width, out_channels)."""
        n, frames, height, width, _ = x.shape
        # In small frames the rim of the kernel meets nothing but padding, so it is cut off: at one
        # pixel, where UniMat has most of its channels, 1 of 9 products is left.
        up, left = (min(self.kernel_size[0] // 2, size - 1) for size in (height, width))
        middle = self.kernel_size[0] // 2
        kernel = self.weight[:, :, middle - up : middle + up + 1, middle - left : middle + left + 1]
        images = x.flatten(0, 1).permute(0, 3, 1, 2)
        if min(kernel.shape[2:]) > _WIDEST:
            images = images.contiguous()
        out = functional.conv2d(images, kernel, self.bias, padding=(up, left), groups=self.groups)
        return out.permute(0, 2, 3, 1).reshape(n, frames, height, width, -1)


class PastConv(nn.Conv1d):
    """Convolution over three frames, this one and the two before it, of each pixel.

    Parameters
    ----------
    channels : int
        Channels, before and after.
    groups : int
        As in PyTorch.
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__(channels, channels, 3, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved pixels, of the same shape."""
        past = self.kernel_size[0] - 1
        padded = functional.pad(x.flatten(2, 3), (0, 0, 0, 0, past, 0)).permute(0, 3, 1, 2)
        out = functional.conv2d(padded, self.weight[..., None], self.bias, groups=self.groups)
        return out.permute(0, 2, 3, 1).reshape(x.shape)


class ManyScalesConv(nn.Module):
    """The first convolution: kernels of 3, 7 and 15 pixels side by side.

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after; half of the latter come from the smallest kernel.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        shares = [out_channels // 2 ** (i + 1) for i in range(len(KERNELS) - 1)]
        shares.append(out_channels - sum(shares))
        self.convs = nn.ModuleList(
            FrameConv(channels, share, kernel)
            for share, kernel in zip(shares, KERNELS, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (n, frames, height, width, out_channels)."""
        return torch.cat([conv(x) for conv in self.convs], dim=-1)


class PixelNorm(nn.GroupNorm):
    """Group normalisation of an item, over all its frames and pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised tensor, of the same shape."""
        images = x.flatten(1, 2).permute(0, 3, 1, 2)
        return super().forward(images).permute(0, 2, 3, 1).reshape(x.shape)


class Shrink(nn.Linear):
    """Halve height and width: each block of 2 x 2 pixels becomes one.

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels * _STRIDE**2, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return shape (n, frames, height / 2, width / 2, out_channels)."""
        blocks = x.unflatten(3, (-1, _STRIDE)).unflatten(2, (-1, _STRIDE))
        return super().forward(blocks.transpose(3, 4).flatten(4))


class Grow(nn.Linear):
    """Double height and width: each pixel becomes a block of 2 x 2, with SiLU.

    The four pixels of a block begin alike, against checkerboards (arXiv:1707.02937).

    Parameters
    ----------
    channels, out_channels : int
        Channels before and after.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels * _STRIDE**2)
        one = torch.empty(out_channels, channels)
        nn.init.kaiming_uniform_(one)
        with torch.no_grad():
            self.weight.copy_(one.repeat(_STRIDE**2, 1))
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return shape (n, frames, 2 height, 2 width, out_channels)."""
        blocks = functional.silu(super().forward(x)).unflatten(4, (_STRIDE, _STRIDE, -1))
        return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


class ChannelGate(nn.Module):
    """Weigh the channels of an item by what is found in all its pixels (arXiv:1904.11492).

    Parameters
    ----------
    channels : int
        Channels, before and after.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(3, channels // 2)
        # Without a bias, unlike the published code: the softmax over pixels takes any away.
        self.score = nn.Linear(channels, 1, bias=False)
        self.inside = nn.Linear(channels, hidden)
        self.outside = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the weighed tensor, of the same shape."""
        pixels = x.flatten(1, 3)
        seen = self.score(pixels).softmax(dim=1).transpose(1, 2) @ pixels
        weights = self.outside(functional.silu(self.inside(seen))).sigmoid()
        return x * weights[:, None, None]


class Level(nn.Module):
    """What the network is told of a level of noise: a vector and a few tokens.

    Parameters
    ----------
    width : int
        Components of the vector.
    dim : int
        Components of a token.
    n_tokens : int
        Number of tokens.
    n_waves : int
        Learned frequencies, each as a sine and a cosine.
    """

    def __init__(self, width: int, dim: int, n_tokens: int = 2, n_waves: int = 8) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(n_waves))
        self.hidden = nn.Linear(2 * n_waves + 1, width)
        self.vector = nn.Linear(width, width)
        self.tokens = nn.Linear(width, n_tokens * dim)
        self._n_tokens = n_tokens

    def forward(self, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vector, shape (n, width), and the tokens, shape (n, n_tokens, dim).

        Parameters
        ----------
        level : torch.Tensor, shape (n,)
            Natural logarithm of the signal-to-noise ratio.
        """
        level = level.to(self.frequencies.dtype)
        phases = 2 * math.pi * level[:, None] * self.frequencies
        waves = torch.cat([level[:, None], phases.sin(), phases.cos()], dim=1)
        hidden = functional.silu(self.hidden(waves))
        return self.vector(hidden), self.tokens(hidden).unflatten(1, (self._n_tokens, -1))
