"""The U-Net that those of images and of videos are made of.

The architecture is that of the open implementation of Imagen (arXiv:2205.11487, arXiv:2210.02303)
which the paper trained (DOI 10.1039/d4dd00100a, sections 4.2.3 and 4.2.4), imagen-pytorch 1.26.2,
without the text: a network knows only the level of noise. With the paper's settings it computes the
same function of the same parameters, less those which that implementation keeps for text and never
uses then, and less one bias per channel gate that a softmax takes away:

================================  ===========  ==================  =================
network                           parameters   published, of use   published, total
================================  ===========  ==================  =================
CrysTens, base                    18 952 588   18 952 607          19 350 111
CrysTens, super-resolution        47 100 324   47 100 354          47 498 114
UniMat                            23 083 403   23 083 422          23 480 966
================================  ===========  ==================  =================

As that implementation makes them first, for text and none of them for images of low resolution, the
published ones have 19.5, 43.5 and 23.6 million.

Different are only: the drop-out of linear attention draws once for queries, keys and values, not
once for each; and the blocks in the middle have as many heads as the others, not always 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from dismaiflow.errors import DismaiError
from dismaiflow.models.nn.unet.blocks import (
    BetweenFrames,
    BlockSettings,
    Middle,
    ResidualBlock,
    Stage,
    Told,
)
from dismaiflow.models.nn.unet.layers import (
    KERNELS,
    FrameConv,
    Grow,
    Level,
    ManyScalesConv,
    Shrink,
)


class UNet(nn.Module):
    """U-Net of tensors of the shape (n, frames, height, width, channels).

    Use :class:`~dismaiflow.models.nn.unet.unet2d.UNet2d` or
    :class:`~dismaiflow.models.nn.unet.unet3d.UNet3d`, which say what the arguments are.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        dim_mults: Sequence[int],
        blocks: Sequence[int],
        attention: Sequence[bool],
        cross_attention: Sequence[bool],
        linear_attention: bool,
        lowres: bool,
        memory_efficient: bool,
        heads: int,
        head_dim: int,
        groups: int,
        dropout: float,
        frames: bool,
    ) -> None:
        super().__init__()
        _check(dim, dim_mults, blocks, attention, cross_attention, groups)
        width = dim * 4 * (2 if lowres else 1)
        settings = BlockSettings(width, dim, heads, head_dim, groups, dropout, frames)
        self.level = Level(width, dim)
        self.lowres_level = Level(width, dim) if lowres else None
        self.token_norm = nn.LayerNorm(dim)

        n_in = channels * (2 if lowres else 1)
        self.begin = ManyScalesConv(n_in, dim)
        self.begin_frames = BetweenFrames(dim, settings) if frames else nn.Identity()
        self.begin_block: ResidualBlock | None = None
        if memory_efficient:
            self.begin_block = ResidualBlock(dim, dim, settings, gate=True)

        dims = [dim, *(dim * mult for mult in dim_mults)]
        kinds = ["full" if on else "linear" if linear_attention else "none" for on in attention]
        self.memory_efficient = memory_efficient
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        self.shrinks, self.grows = nn.ModuleList(), nn.ModuleList()
        for i, (before, after) in enumerate(pairwise(dims)):
            here = after if memory_efficient else before
            at_stage = (blocks[i], kinds[i], cross_attention[i], settings)
            self.downs.append(Stage(here, 0, *at_stage))
            self.ups.append(Stage(after, here, *at_stage))
            last = i == len(dim_mults) - 1 and not memory_efficient
            self.shrinks.append(_SameSize(before, after) if last else Shrink(before, after))
            first = i == 0 and not memory_efficient
            self.grows.append(nn.Identity() if first else Grow(after, before))
        self.middle = Middle(dims[-1], settings)
        grown = dim if memory_efficient else dims[1]
        self.end_block = ResidualBlock(grown, dim, settings, gate=True)
        self.end = FrameConv(dim + (channels if lowres else 0), channels, 3)
        # Before training nothing is predicted.
        for parameter in self.end.parameters():
            nn.init.zeros_(parameter)

    @property
    def divisor(self) -> int:
        """Height and width must be multiples of this."""
        return int(2 ** sum(isinstance(shrink, Shrink) for shrink in self.shrinks))

    def _predict(
        self,
        x: torch.Tensor,
        level: torch.Tensor,
        lowres: torch.Tensor | None = None,
        lowres_level: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the prediction; `x` and `lowres` of shape (n, frames, height, width, channels)."""
        self._check_inputs(x, lowres, lowres_level)
        told = self._told(level, lowres_level)
        x = self.begin(x if lowres is None else torch.cat([x, lowres], dim=-1))
        x = self.begin_frames(x)
        if self.begin_block is not None:
            x = self.begin_block(x, told)
        skips: list[torch.Tensor] = []
        for stage, shrink in zip(self.downs, self.shrinks, strict=True):
            if self.memory_efficient:
                x = shrink(x)
            x = stage(x, told, skips)
            if not self.memory_efficient:
                x = shrink(x)
        x = self.middle(x, told)
        for stage, grow in zip(reversed(self.ups), reversed(self.grows), strict=True):
            x = grow(stage(x, told, skips))
        x = self.end_block(x, told)
        return self.end(x if lowres is None else torch.cat([x, lowres], dim=-1))

    def _told(self, level: torch.Tensor, lowres_level: torch.Tensor | None) -> Told:
        vector, tokens = self.level(level)
        if self.lowres_level is not None:
            more, more_tokens = self.lowres_level(lowres_level)
            vector, tokens = vector + more, torch.cat([tokens, more_tokens], dim=1)
        return Told(nn.functional.silu(vector), self.token_norm(tokens))

    def _check_inputs(
        self, x: torch.Tensor, lowres: torch.Tensor | None, lowres_level: torch.Tensor | None
    ) -> None:
        height, width = x.shape[2:4]
        if height % self.divisor or width % self.divisor:
            raise DismaiError(
                f"frames of {height} x {width} pixels cannot be halved often enough by this U-Net: "
                f"both sides must be multiples of {self.divisor}; change the size of the images or "
                "the number of entries of dim_mults"
            )
        given = (lowres is not None, lowres_level is not None)
        if given != (self.lowres_level is not None,) * 2:
            takes = "takes" if self.lowres_level is not None else "does not take"
            raise ValueError(f"this U-Net {takes} images of low resolution and their level")


class _SameSize(nn.Module):
    """Change channels at the last stage, where the size stays: two convolutions, summed."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.around = FrameConv(channels, out_channels, 3)
        self.here = nn.Linear(channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.around(x) + self.here(x)


def _check(
    dim: int,
    dim_mults: Sequence[int],
    blocks: Sequence[int],
    attention: Sequence[bool],
    cross_attention: Sequence[bool],
    groups: int,
) -> None:
    if not dim_mults:
        raise DismaiError("dim_mults of a U-Net is empty: give at least one size, such as [1]")
    for name, values in (
        ("blocks", blocks),
        ("attention", attention),
        ("cross_attention", cross_attention),
    ):
        if len(values) != len(dim_mults):
            raise DismaiError(
                f"{name} of a U-Net has {len(values)} entries, dim_mults has {len(dim_mults)}: "
                "give one for each size"
            )
    if dim % groups or dim < 2 ** (len(KERNELS) - 1):
        raise DismaiError(
            f"dim {dim} of a U-Net cannot be shared by {groups} groups and {len(KERNELS)} kernels: "
            f"make it a multiple of {groups}, and at least {2 ** (len(KERNELS) - 1)}"
        )
