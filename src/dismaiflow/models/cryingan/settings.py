"""Settings of CryinGAN (paper, sections 2.4 and 4.2.5; 10.1039/d4dd00100a)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from dismaiflow.models.torch_model import TorchSettings, checked_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

Pooling = Literal["mean", "max", "mix"]
_Share = Annotated[float, Field(ge=0, lt=1)]


class CryinGANSettings(TorchSettings):
    """How CryinGAN is built and trained; the defaults are the paper's for the interface.

    Those of `TorchSettings`, and:

    Parameters
    ----------
    learning_rate : float
        Of all Adam optimisers.
    betas : tuple of float
        Of all Adam optimisers; (0.5, 0.999) in the published code.
    latent_dim : int
        Random numbers from which a structure is made.
    generator_channels : int
        Channels per atom after the generator's first layer.
    generator_widths : tuple of int
        Channels of the layers after it; the first of them has weights of its own for x, y and z.
    batch_norm_eps : float
        Added to the variance in the generator's batch normalisations. The published code has 0.8
        here, where momentum may have been meant.
    critic_widths, critic_head : tuple of int
        Channels of a critic's layers before and after pooling.
    critic_outputs : int
        Outputs of a critic, whose mean enters the Wasserstein distance; 10 in the published code.
    penalty_of : {"sum", "mean"}
        Whose gradient the penalty draws to norm 1: that of the sum of the outputs (published
        code), which lets their mean have a slope of one tenth, or that of their mean (equation 2).
    generator_interval : int
        The generator learns at every so manieth batch of an epoch, beginning with the first.
    gradient_penalty_weight : float
        µ of equation 2.
    bond_loss_weight : float
        λ of equations 3 and 5; 0 leaves out the critic of the bond distances.
    n_neighbors : int
        Bond distances of each atom.
    variant : {"cryingan", "comb"}
        Two critics, or one that sees coordinates and bond distances (CryinGAN-comb, Fig. S29).
    coordinate_pooling, bond_pooling : {"mean", "max", "mix"}
        How each critic pools the atoms of a species (CryinGAN-max, CryinGAN-mix, Fig. S31).
    critic : {"pointnet", "cgcnn"}
        Point clouds, or one crystal graph network instead of both critics (section 4.2.5).
    cgcnn_features, cgcnn_convolutions, cgcnn_hidden, cgcnn_neighbors : int
        Its size; the defaults are those of the published CGCNN.
    cgcnn_radius, cgcnn_step : float
        Last centre and spacing of the Gaussians that expand its bond distances, Å.
    augmentation : {"none", "lattice-translations"}
        Whether structures are translated by steps of a lattice in the cell.
    translations : tuple of int, optional
        Steps along each cell vector; by default the supercell of the system's alloy.
    epoch_counts_translations : bool
        Whether an epoch holds each structure in all translations, as the paper counts them, or
        each structure once, in a random one.
    sampling_mode : {"eval", "train"}
        Whether generation normalises by the averages of the training (published) or by the batch.
    """

    sampling: ClassVar[frozenset[str]] = TorchSettings.sampling | {"sampling_mode"}

    batch_size: PositiveInt = 32
    epochs: PositiveInt = 100_000
    learning_rate: float = Field(5e-5, gt=0, lt=1)
    betas: tuple[_Share, _Share] = (0.5, 0.999)
    latent_dim: PositiveInt = 64
    generator_channels: PositiveInt = 128
    generator_widths: tuple[PositiveInt, ...] = Field((256, 512, 256), min_length=1)
    batch_norm_eps: float = Field(0.8, gt=0)
    critic_widths: tuple[PositiveInt, ...] = Field((512, 512, 256), min_length=1)
    critic_head: tuple[PositiveInt, ...] = (1000, 200)
    critic_outputs: PositiveInt = 10
    penalty_of: Literal["sum", "mean"] = "sum"
    generator_interval: PositiveInt = 5
    gradient_penalty_weight: float = Field(10.0, ge=0)
    bond_loss_weight: float = Field(0.05, ge=0)
    n_neighbors: PositiveInt = 6
    variant: Literal["cryingan", "comb"] = "cryingan"
    coordinate_pooling: Pooling = "mean"
    bond_pooling: Pooling = "mean"
    critic: Literal["pointnet", "cgcnn"] = "pointnet"
    cgcnn_features: PositiveInt = 64
    cgcnn_convolutions: PositiveInt = 3
    cgcnn_hidden: PositiveInt = 128
    cgcnn_neighbors: PositiveInt = 12
    cgcnn_radius: float = Field(8.0, gt=0)
    cgcnn_step: float = Field(0.2, gt=0)
    augmentation: Literal["none", "lattice-translations"] = "none"
    translations: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    epoch_counts_translations: bool = True
    sampling_mode: Literal["eval", "train"] = "eval"

    @model_validator(mode="after")
    def _check(self) -> CryinGANSettings:
        if self.critic == "cgcnn" and self.variant == "comb":
            raise ValueError("variant comb combines point cloud critics: use critic pointnet")
        return self

    @property
    def n_translations(self) -> int:
        """Translated copies of each structure, itself included."""
        if self.augmentation == "none":
            return 1
        return math.prod(self.translations or ())


def cryingan_settings(values: Mapping[str, Any]) -> CryinGANSettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    return checked_settings(CryinGANSettings, "cryingan", values)
