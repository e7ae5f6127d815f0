"""Settings of CrysTens (paper, sections 2.2 and 4.2.3; 10.1039/d4dd00100a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from dismaiflow.models.ddpm.settings import ImageSettings
from dismaiflow.models.torch_model import checked_settings

if TYPE_CHECKING:
    from collections.abc import Mapping


class CrysTensSettings(ImageSettings):
    """How CrysTens is built, trained and sampled; the defaults are the paper's.

    Those of `ImageSettings`, and the following, where pairs are of the base network and of that of
    super-resolution.

    Parameters
    ----------
    base_channels : tuple of int
        Channels of the first level of each U-Net.
    base_image_size : int
        Side of the images that the first network makes.
    channels : {4}
        Channels of the images.
    dim_mults : tuple of int
        Channels of each level, in units of the first one's; of both networks.
    num_resnet_blocks, layer_attns, layer_cross_attns : tuple of tuple
        Blocks of each level, and whether it attends to its own pixels and to the noise level.
    use_linear_attn : bool
        Whether the levels of the first network without attention have linear attention.
    attn_heads, attn_dim_head : int
        Of all attention: number of heads, and their width.
    padding : int, optional
        Empty rows of the images; by default up to the next side that 32 divides.
    lowres_noise_level : float
        Time, from 0 to 1, of the noise that is added to the images of low resolution when
        structures are generated; Imagen's default.
    species_reading : {"rounded", "ranked"}
        Whether atomic numbers are pixels rounded to integers, as published, or the composition of
        training, its heaviest atoms where the pixels are largest.
    k_means : {False}
        Coordinates are not clustered.
    """

    sampling: ClassVar[frozenset[str]] = ImageSettings.sampling | {
        "lowres_noise_level",
        "species_reading",
    }

    base_channels: tuple[PositiveInt, PositiveInt] = (64, 64)
    base_image_size: PositiveInt = 64
    channels: Literal[4] = 4
    dim_mults: tuple[PositiveInt, ...] = Field((1, 2, 4), min_length=1)
    num_resnet_blocks: tuple[tuple[PositiveInt, ...], tuple[PositiveInt, ...]] = (
        (3, 3, 3),
        (2, 4, 8),
    )
    layer_attns: tuple[tuple[bool, ...], tuple[bool, ...]] = (
        (False, True, True),
        (False, False, True),
    )
    layer_cross_attns: tuple[tuple[bool, ...], tuple[bool, ...]] = (
        (False, True, True),
        (False, False, True),
    )
    use_linear_attn: bool = True
    attn_heads: PositiveInt = 8
    attn_dim_head: PositiveInt = 64
    padding: int | None = Field(None, ge=0)
    lowres_noise_level: float = Field(0.2, ge=0, le=1)
    species_reading: Literal["rounded", "ranked"] = "rounded"
    k_means: bool = False

    @field_validator("k_means")
    @classmethod
    def _no_clusters(cls, value: bool) -> bool:
        if value:
            raise ValueError("coordinates are not clustered (paper, section 4.2.3): leave it false")
        return value

    @model_validator(mode="after")
    def _check_levels(self) -> CrysTensSettings:
        levels = len(self.dim_mults)
        for name in ("num_resnet_blocks", "layer_attns", "layer_cross_attns"):
            if any(len(one) != levels for one in getattr(self, name)):
                raise ValueError(f"{name} must name each of the {levels} levels of dim_mults")
        return self


def crystens_settings(values: Mapping[str, Any]) -> CrysTensSettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    return checked_settings(CrysTensSettings, "crystens", values)
