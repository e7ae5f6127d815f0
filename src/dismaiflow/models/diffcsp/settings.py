"""Settings of DiffCSP (paper, sections 2.2 and 4.2.2; 10.1039/d4dd00100a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from dismaiflow.models.torch_model import PlateauSettings, checked_settings

if TYPE_CHECKING:
    from collections.abc import Mapping


class DiffCSPSettings(PlateauSettings):
    """How DiffCSP is built, trained and sampled; the defaults are the paper's for interfaces.

    Those of `PlateauSettings`, and:

    Parameters
    ----------
    layers, hidden : int
        Message-passing layers, and channels of an atom.
    n_frequencies : int
        Plane waves per direction in which a fractional difference is expanded.
    time_dim : int
        Channels of the time step.
    timesteps : int
        T, noise levels.
    sigma_begin, sigma_end : float
        Smallest and largest noise of fractional coordinates, σ_1 and σ_T.
    coordinate_cost, lattice_cost : float
        Weights of the two losses; a lattice cost of 0 keeps the training structures' cells.
    teacher_forcing_epochs : int
        With lattice denoising: epochs in which the true cell is given and its loss left out
        (Table S1 of the SI).
    step_size : float
        γ of the corrector.
    corrector_steps : int
        Corrector steps at each noise level; 1 as published.
    ema_decay : float
        Of a moving average of the weights that samples; 0 for the weights themselves (published).
    mixed_precision : {"none", "bf16"}
        Whether the network computes in bfloat16 where torch thinks fit.
    """

    sampling: ClassVar[frozenset[str]] = PlateauSettings.sampling | {"step_size", "corrector_steps"}

    batch_size: PositiveInt = 4
    epochs: PositiveInt = 1000
    layers: PositiveInt = 4
    hidden: PositiveInt = 256
    n_frequencies: PositiveInt = 128
    time_dim: int = Field(256, ge=4, multiple_of=2)
    timesteps: PositiveInt = 1000
    sigma_begin: float = Field(0.005, gt=0)
    sigma_end: float = Field(0.1, gt=0)
    coordinate_cost: float = Field(1.0, gt=0)
    lattice_cost: float = Field(0.0, ge=0)
    teacher_forcing_epochs: int = Field(0, ge=0)
    step_size: float = Field(1e-5, gt=0)
    corrector_steps: int = Field(1, ge=0)
    ema_decay: float = Field(0.0, ge=0, lt=1)
    mixed_precision: Literal["none", "bf16"] = "none"
    sample_batch_size: PositiveInt = 16

    @model_validator(mode="after")
    def _check(self) -> DiffCSPSettings:
        if self.sigma_end <= self.sigma_begin:
            raise ValueError("sigma_end must be larger than sigma_begin")
        if self.teacher_forcing_epochs and not self.lattice_cost:
            raise ValueError("teacher_forcing_epochs go with a lattice_cost above 0")
        return self


def diffcsp_settings(values: Mapping[str, Any]) -> DiffCSPSettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    return checked_settings(DiffCSPSettings, "diffcsp", values)
