"""U-Nets of images and of videos, conditioned on the level of noise: for CrysTens and UniMat."""

from __future__ import annotations

from dismaiflow.models.nn.unet.unet2d import UNet2d
from dismaiflow.models.nn.unet.unet3d import UNet3d

__all__ = ["UNet2d", "UNet3d"]
