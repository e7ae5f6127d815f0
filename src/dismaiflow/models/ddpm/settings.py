"""Settings that UniMat and CrysTens share (paper, sections 4.2.3 and 4.2.4; 10.1039/d4dd00100a)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from dismaiflow.models.torch_model import Beta, TorchSettings


class ImageSettings(TorchSettings):
    """How a model that diffuses images is trained and sampled.

    Those of `TorchSettings`, and:

    Parameters
    ----------
    max_steps : int, optional
        Steps after which training ends; the epochs do not count unless this is None.
    learning_rate : float
        Of Adam.
    betas : tuple of float
        Of Adam.
    timesteps : int
        Steps of generation where `sampling_timesteps` is None. Time is continuous, so that training
        does not depend on it.
    sampling_timesteps : int, optional
        Steps of generation.
    ema_decay : float
        Most of a moving average of the weights, which samples, that is kept at each update; 0 for
        the weights themselves.
    ema_update_after, ema_update_every : int
        The average begins after so many steps, and moves at every so many.
    threshold : {"dynamic", "static", "none"}
        What is done to predicted pixels beyond -1 and 1; see `GaussianDiffusion.denoise`.
    snr_limit : float, optional
        γ of the weights min(SNR, γ) / SNR of the loss; None for a plain squared error.
    augmentation : {"none", "shuffle-region", "shuffle-all"}
        Which atoms of a species change places in the order each time a structure is shown: none;
        those of an interface's region; all (Fig. S20).
    augmentation_copies : int
        Shuffled copies that an epoch holds beside each structure; none is stored, and each is drawn
        anew in each epoch.
    lattice : {"none"}
        Cells are not generated; they are those of training.
    mixed_precision : {"none", "bf16"}
        Whether networks compute in bfloat16 where torch thinks fit.
    """

    sampling: ClassVar[frozenset[str]] = TorchSettings.sampling | {
        "timesteps",
        "sampling_timesteps",
        "threshold",
    }

    batch_size: PositiveInt = 8
    epochs: PositiveInt = 1_000_000
    max_steps: PositiveInt | None = 150_000
    validation_interval: PositiveInt | None = 750
    kept_weights: Literal["last", "smallest-validation-loss"] = "smallest-validation-loss"
    learning_rate: float = Field(1e-4, gt=0, lt=1)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    timesteps: PositiveInt = 1000
    sampling_timesteps: PositiveInt | None = 100
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    ema_update_after: int = Field(100, ge=0)
    ema_update_every: PositiveInt = 10
    threshold: Literal["dynamic", "static", "none"] = "dynamic"
    snr_limit: float | None = Field(5.0, gt=0)
    augmentation: Literal["none", "shuffle-region", "shuffle-all"] = "none"
    augmentation_copies: int = Field(0, ge=0)
    lattice: Literal["none"] = "none"
    mixed_precision: Literal["none", "bf16"] = "none"
    sample_batch_size: PositiveInt = 25

    @property
    def sampling_steps(self) -> int:
        """Steps of generation."""
        return self.sampling_timesteps or self.timesteps
