"""Settings of UniMat (paper, sections 2.2 and 4.2.4, Table S5; 10.1039/d4dd00100a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from dismaiflow.models.ddpm.settings import ImageSettings
from dismaiflow.models.torch_model import checked_settings

if TYPE_CHECKING:
    from collections.abc import Mapping


class UniMatSettings(ImageSettings):
    """How UniMat is built, trained and sampled; the defaults are the paper's.

    Those of `ImageSettings`, and:

    Parameters
    ----------
    dim : int
        Channels of the U-Net's first level.
    dim_mults : tuple of int
        By how much channels grow at each level; each but the last halves the frames.
    num_resnet_blocks : int or tuple of int
        Residual blocks, at all levels or at each.
    layer_attns, layer_cross_attns : tuple of bool
        Whether a level has a transformer block, and cross-attention to the time.
    attn_heads, attn_dim_head : int
        Heads of the attention, and channels of each.
    channels : {3}
        x, y and z.
    frame_size : tuple of int
        Pixels of a frame, rows and columns: at least one for each species, and such that all levels
        can halve them.
    absent_value : float
        Of the pixels of other species.
    reject_wrong_species : bool
        Whether structures that show an atom of a wrong species fail, as published; otherwise all
        atoms are taken for the species that they should be.
    """

    sampling: ClassVar[frozenset[str]] = ImageSettings.sampling | {"reject_wrong_species"}

    dim: int = Field(64, ge=8, multiple_of=8)
    dim_mults: tuple[PositiveInt, ...] = Field((1, 2, 4), min_length=1)
    num_resnet_blocks: PositiveInt | tuple[PositiveInt, ...] = 3
    layer_attns: tuple[bool, ...] = (False, True, True)
    layer_cross_attns: tuple[bool, ...] = (False, True, True)
    attn_heads: PositiveInt = 8
    attn_dim_head: PositiveInt = 64
    channels: Literal[3] = 3
    frame_size: tuple[PositiveInt, PositiveInt] = (4, 4)
    absent_value: float = Field(-1.0, ge=-1, lt=0)
    reject_wrong_species: bool = True

    @model_validator(mode="after")
    def _check(self) -> UniMatSettings:
        levels = len(self.dim_mults)
        for name in ("layer_attns", "layer_cross_attns"):
            if len(getattr(self, name)) != levels:
                raise ValueError(f"{name} must have {levels} entries, as dim_mults has")
        if len(self.blocks) != levels:
            raise ValueError(f"num_resnet_blocks must be one number, or {levels}, as in dim_mults")
        if any(size % 2 ** (levels - 1) for size in self.frame_size):
            raise ValueError(
                f"frame_size must have multiples of {2 ** (levels - 1)}, which {levels} levels of "
                "dim_mults can halve"
            )
        return self

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level."""
        if isinstance(self.num_resnet_blocks, tuple):
            return self.num_resnet_blocks
        return (self.num_resnet_blocks,) * len(self.dim_mults)


def unimat_settings(values: Mapping[str, Any]) -> UniMatSettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    return checked_settings(UniMatSettings, "unimat", values)
