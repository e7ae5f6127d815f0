"""The U-Net of images, for CrysTens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dismaiflow.models.nn.unet.network import UNet


class UNet2d(UNet):
    """U-Net of square or other images, which knows the level of noise alone.

    The defaults are those of the first network of CrysTens (DOI 10.1039/d4dd00100a, section 4.2.3)
    but for its linear attention.

    Parameters
    ----------
    channels : int
        Of the images.
    dim : int
        Channels of the network at full size; a multiple of `groups`.
    dim_mults : sequence of int
        For each size: channels after it, in units of `dim`. Each size but the first is half of the
        one before.
    blocks : sequence of int
        For each size: residual blocks on the way down, and on the way up, besides the first.
    attention : sequence of bool
        For each size: whether all pixels attend to each other.
    cross_attention : sequence of bool
        For each size: whether pixels attend to the tokens of the level of noise.
    linear_attention : bool
        Whether pixels attend to each other by linear attention where `attention` is off.
    lowres : bool
        Whether the network also gets an image of low resolution, brought to the full size.
    memory_efficient : bool
        Whether sizes are halved before the blocks of a size, the first one too, not after them.
    heads, head_dim : int
        Of each attention: number of heads, and their width.
    groups : int
        Groups of channels that are normalised together.
    dropout : float
        In linear attention: share of the channels that are left out in training, drawn from
        PyTorch's own random numbers; one draw for queries, keys and values.

    Raises
    ------
    DismaiError
        If the settings do not fit to each other.
    """

    def __init__(
        self,
        channels: int = 4,
        dim: int = 64,
        dim_mults: Sequence[int] = (1, 2, 4),
        blocks: Sequence[int] = (3, 3, 3),
        attention: Sequence[bool] = (False, True, True),
        cross_attention: Sequence[bool] = (False, True, True),
        linear_attention: bool = False,
        lowres: bool = False,
        memory_efficient: bool = False,
        heads: int = 8,
        head_dim: int = 64,
        groups: int = 8,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(
            channels,
            dim,
            dim_mults,
            blocks,
            attention,
            cross_attention,
            linear_attention=linear_attention,
            lowres=lowres,
            memory_efficient=memory_efficient,
            heads=heads,
            head_dim=head_dim,
            groups=groups,
            dropout=dropout,
            frames=False,
        )

    def forward(
        self,
        x: torch.Tensor,
        level: torch.Tensor,
        lowres: torch.Tensor | None = None,
        lowres_level: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the prediction for each pixel, of the shape of `x`.

        Parameters
        ----------
        x : torch.Tensor, shape (n, channels, height, width)
            Noisy images.
        level : torch.Tensor, shape (n,)
            Natural logarithm of their signal-to-noise ratio.
        lowres : torch.Tensor, shape (n, channels, height, width), optional
            Images of low resolution, brought to this size; if, and only if, the network takes them.
        lowres_level : torch.Tensor, shape (n,), optional
            The same logarithm of these.

        Raises
        ------
        DismaiError
            If height or width cannot be halved as often as the network does.
        ValueError
            If `lowres` or its level is missing, or not taken.
        """
        if lowres is not None:
            lowres = _to_pixels(lowres)
        out = self._predict(_to_pixels(x), level, lowres, lowres_level)
        return out[:, 0].movedim(-1, 1).contiguous()


def _to_pixels(images: torch.Tensor) -> torch.Tensor:
    return images.movedim(1, -1).unsqueeze(1).contiguous()
