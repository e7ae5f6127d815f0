"""Settings of CDVAE (paper, sections 2.2 and 4.2.1; 10.1039/d4dd00100a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from dismaiflow.models.torch_model import PlateauSettings, checked_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where what a structure begins with comes from.
Origin = Annotated[
    Literal["predicted", "true"],
    # What YAML makes of an unquoted true.
    BeforeValidator(lambda value: "true" if value is True else value),
]


class CDVAESettings(PlateauSettings):
    """How CDVAE is built, trained and sampled; the defaults are the paper's for interfaces.

    Those of `PlateauSettings`, the kept weights being those of the smallest validation loss, and:

    Parameters
    ----------
    latent_dim : int
        Numbers of a latent code z.
    mlp_hidden, mlp_layers : int
        Width and number of hidden layers of the networks for number, lattice and composition.
    encoder_graph : {"crystalnn", "nearest"}
        Bonds of the encoder: those that CrystalNN finds, once for each training structure, or
        the neighbours within the cutoff, as in the decoder.
    encoder_hidden, encoder_blocks, encoder_interaction, encoder_basis, encoder_output : int
        Channels of a bond, interaction blocks, channels of a triplet, of its basis and of the
        output (DimeNet++).
    encoder_output_layers, encoder_layers_before_skip, encoder_layers_after_skip : int
        Dense layers of its blocks.
    n_spherical, n_radial, envelope_exponent : int
        Spherical and radial functions of its basis, and the power of their smooth end.
    decoder_hidden : int
        Channels of atoms and bonds (GemNet-dT).
    decoder_blocks, decoder_radial : int
        Its interaction blocks, and functions of a bond's length.
    cutoff : float
        Longest bond, Å.
    n_neighbors : int
        Bonds of an atom, the shortest.
    noise_levels : int
        Levels of noise.
    sigma_begin, sigma_end : float
        Largest and smallest noise of coordinates, Å; the levels between are geometric.
    coordinate_cost, lattice_cost, number_cost, composition_cost : float
        Weights of losses.
    divergence_cost : float
        β, weight of the Kullback-Leibler divergence of the latent codes.
    lattice_scaling : {"length", "none"}
        Whether lengths are divided by the cube root of the number of atoms.
    teacher_forcing_epochs : int
        Epochs in which the decoder sees the true cell; afterwards the predicted one.
    species_denoising : bool
        Whether species are denoised with the coordinates; the paper found it harmful (Fig. S5).
    species_sigma_begin, species_sigma_end : float
        With it: largest and smallest share of the composition in the noised species.
    species_cost : float
        With it: weight of its loss.
    langevin_steps : int
        Steps of Langevin dynamics at each noise level; 6 or 7 for amorphous silicon.
    step_size : float
        ε of Langevin dynamics, Å² at the smallest noise.
    min_sigma : float
        Noise below which generation ends, Å.
    number, lattice, composition : {"predicted", "true"}
        Whether generated structures have the number of atoms, the cell and the species that are
        predicted from z, as published, or those of training structures.
    """

    sampling: ClassVar[frozenset[str]] = PlateauSettings.sampling | {
        "langevin_steps",
        "step_size",
        "min_sigma",
        "number",
        "lattice",
        "composition",
    }

    batch_size: PositiveInt = 8
    epochs: PositiveInt = 1000
    kept_weights: Literal["last", "smallest-validation-loss"] = "smallest-validation-loss"
    latent_dim: PositiveInt = 256
    mlp_hidden: PositiveInt = 256
    mlp_layers: PositiveInt = 1
    encoder_graph: Literal["crystalnn", "nearest"] = "crystalnn"
    encoder_hidden: PositiveInt = 128
    encoder_blocks: PositiveInt = 4
    encoder_interaction: PositiveInt = 64
    encoder_basis: PositiveInt = 8
    encoder_output: PositiveInt = 256
    encoder_output_layers: PositiveInt = 3
    encoder_layers_before_skip: int = Field(1, ge=0)
    encoder_layers_after_skip: int = Field(2, ge=0)
    n_spherical: PositiveInt = 7
    n_radial: PositiveInt = 6
    envelope_exponent: PositiveInt = 5
    decoder_hidden: PositiveInt = 128
    decoder_blocks: PositiveInt = 3
    decoder_radial: PositiveInt = 128
    cutoff: float = Field(7.0, gt=0)
    n_neighbors: PositiveInt = 20
    noise_levels: PositiveInt = 50
    sigma_begin: float = Field(10.0, gt=0)
    sigma_end: float = Field(0.01, gt=0)
    coordinate_cost: float = Field(10.0, gt=0)
    lattice_cost: float = Field(10.0, ge=0)
    number_cost: float = Field(1.0, ge=0)
    composition_cost: float = Field(1.0, ge=0)
    divergence_cost: float = Field(0.01, ge=0)
    lattice_scaling: Literal["length", "none"] = "length"
    teacher_forcing_epochs: int = Field(500, ge=0)
    species_denoising: bool = False
    species_sigma_begin: float = Field(5.0, gt=0)
    species_sigma_end: float = Field(0.01, gt=0)
    species_cost: float = Field(1.0, gt=0)
    langevin_steps: PositiveInt = 100
    step_size: float = Field(1e-4, gt=0)
    min_sigma: float = Field(0.0, ge=0)
    number: Origin = "predicted"
    lattice: Origin = "predicted"
    composition: Origin = "predicted"
    sample_batch_size: PositiveInt = 25

    @model_validator(mode="after")
    def _check(self) -> CDVAESettings:
        for what in ("sigma", "species_sigma"):
            if getattr(self, f"{what}_begin") < getattr(self, f"{what}_end"):
                raise ValueError(f"{what}_begin must not be smaller than {what}_end")
        if self.min_sigma > self.sigma_begin:
            raise ValueError("min_sigma must not be larger than sigma_begin")
        if self.composition == "true" and self.number != "true":
            raise ValueError("composition: true goes with number: true")
        return self


def cdvae_settings(values: Mapping[str, Any]) -> CDVAESettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    return checked_settings(CDVAESettings, "cdvae", values)
