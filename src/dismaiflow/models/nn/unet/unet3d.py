"""The U-Net of videos, for UniMat."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dismaiflow.models.nn.unet.network import UNet


class UNet3d(UNet):
    """U-Net of videos, which knows the level of noise alone.

    Convolutions act frame by frame, then on each pixel and its past; normalisation and the
    attention between pixels see all frames of a video at once. The defaults are those of UniMat
    (DOI 10.1039/d4dd00100a, section 4.2.4, and Table S5 of its supplementary information).

    Parameters
    ----------
    channels : int
        Of the videos.
    dim, dim_mults, blocks, attention, cross_attention, linear_attention, heads, head_dim, groups, \
dropout
        As of :class:`~dismaiflow.models.nn.unet.unet2d.UNet2d`. The number of frames is not halved.

    Raises
    ------
    DismaiError
        If the settings do not fit to each other.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 64,
        dim_mults: Sequence[int] = (1, 2, 4),
        blocks: Sequence[int] = (3, 3, 3),
        attention: Sequence[bool] = (False, True, True),
        cross_attention: Sequence[bool] = (False, True, True),
        linear_attention: bool = False,
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
            lowres=False,
            memory_efficient=False,
            heads=heads,
            head_dim=head_dim,
            groups=groups,
            dropout=dropout,
            frames=True,
        )

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Return the prediction for each pixel, of the shape of `x`.

        Parameters
        ----------
        x : torch.Tensor, shape (n, channels, frames, height, width)
            Noisy videos.
        level : torch.Tensor, shape (n,)
            Natural logarithm of their signal-to-noise ratio.

        Raises
        ------
        DismaiError
            If height or width cannot be halved as often as the network does.
        """
        out = self._predict(x.movedim(1, -1).contiguous(), level)
        return out.movedim(-1, 1).contiguous()
