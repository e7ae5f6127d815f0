"""Training of a network that denoises images: UniMat's, and each of CrysTens's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dismaiflow.models.train.averages import averaged_copy, move_average
from dismaiflow.models.train.devices import mixed_precision
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.randomness import seeded
from dismaiflow.models.train.steps import descend, mean_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from dismaiflow.models.ddpm.diffusion import GaussianDiffusion
    from dismaiflow.models.ddpm.images import ImageSource
    from dismaiflow.models.ddpm.settings import ImageSettings

#: Names of the network whose weights sample, and of the one that learns where they differ.
NETWORK, LIVE = "network", "live"


class ImageLearner(Learner):
    """A network that denoises images while it is trained.

    Parameters
    ----------
    settings : ImageSettings
        How.
    make_network : callable
        Returns the network; its first weights follow from the seed.
    diffusion : GaussianDiffusion
        Noise and loss.
    train, val : ImageSource
        Training and validation images; the latter may be None.
    seed : int
        Of the first weights.
    device : str
        Where it computes.
    lowres : callable, optional
        For the second network of a cascade: returns the images of low resolution, blown up to full
        size, of images on the device.
    """

    def __init__(
        self,
        settings: ImageSettings,
        make_network: Callable[[], torch.nn.Module],
        diffusion: GaussianDiffusion,
        train: ImageSource,
        val: ImageSource | None,
        seed: int,
        device: str = "cpu",
        lowres: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.settings, self._diffusion, self._device = settings, diffusion, device
        self._train, self._val, self._lowres = train, val, lowres
        with seeded(seed):
            self._live = make_network().to(device)
        self.modules = {NETWORK: self._live}
        if settings.ema_decay:
            self.modules = {NETWORK: averaged_copy(self._live), LIVE: self._live}
        self.optimizers = {
            "adam": torch.optim.Adam(
                self._live.parameters(), settings.learning_rate, betas=settings.betas
            )
        }
        self.schedulers = {}

    @property
    def n_items(self) -> int:
        """Training images of an epoch."""
        return self._train.n_items

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Learn from one batch; see `Learner.step`."""
        loss = self._loss(self._train, batch, rng)
        descend(loss, self.optimizers["adam"])
        if self.settings.ema_decay:
            kept = kept_share(self.settings, at.step)
            if kept is not None:
                move_average(self.modules[NETWORK], self._live, kept)
        return {"loss": loss.item()}

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Return the loss of the validation set, each image at one time.

        As published it is that of the network that learns, not of its average.
        """
        if self._val is None:
            return {}
        val = self._val
        self._live.eval()
        losses = mean_losses(
            val.n_items,
            self.settings.batch_size,
            lambda part: {"loss": self._loss(val, part, rng)},
        )
        self._live.train()
        return losses

    def _loss(
        self, source: ImageSource, indices: torch.Tensor, rng: torch.Generator
    ) -> torch.Tensor:
        images = source.images(indices, rng).to(self._device)
        lowres = None if self._lowres is None else self._lowres(images)
        with mixed_precision(self._device, self.settings.mixed_precision):
            return self._diffusion.loss(self._live, images, rng, lowres)


def kept_share(settings: ImageSettings, step: int) -> float | None:
    """Return how much of the average is kept after a step; None if it does not move.

    The published trainer has the defaults of ema-pytorch: the average is the weights themselves
    at first; then more and more is kept, up to a limit.

    Parameters
    ----------
    settings : ImageSettings
        When, and the limit.
    step : int
        0 for the first one.
    """
    after, every = settings.ema_update_after, settings.ema_update_every
    if step % every:
        return None
    if step - every <= after:  # the first update after that still takes the weights over
        return 0.0
    return min(1 - (1 + step - after) ** (-2 / 3), settings.ema_decay)
