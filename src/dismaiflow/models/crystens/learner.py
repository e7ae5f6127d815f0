"""Training of CrysTens: both U-Nets of the cascade."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from dismaiflow.models.ddpm.diffusion import GaussianDiffusion
from dismaiflow.models.ddpm.learner import LIVE, NETWORK, ImageLearner
from dismaiflow.models.nn.unet.unet2d import UNet2d
from dismaiflow.models.train.learner import Learner, Place

if TYPE_CHECKING:
    from dismaiflow.models.crystens.settings import CrysTensSettings
    from dismaiflow.models.ddpm.images import ImageSource

#: Names of the networks whose weights sample: of small images, and of super-resolution.
BASE, SUPER = "base", "super"


def make_network(settings: CrysTensSettings, name: str) -> UNet2d:
    """Return a network, `BASE` or `SUPER`, of the size that the settings ask for."""
    is_super = name == SUPER
    return UNet2d(
        channels=settings.channels,
        dim=settings.base_channels[is_super],
        dim_mults=settings.dim_mults,
        blocks=settings.num_resnet_blocks[is_super],
        attention=settings.layer_attns[is_super],
        cross_attention=settings.layer_cross_attns[is_super],
        linear_attention=settings.use_linear_attn and not is_super,
        lowres=is_super,
        memory_efficient=is_super,
        heads=settings.attn_heads,
        head_dim=settings.attn_dim_head,
    )


def make_diffusion(settings: CrysTensSettings) -> GaussianDiffusion:
    """Return the diffusion of both networks."""
    return GaussianDiffusion(lowres_noise=settings.lowres_noise_level, snr_limit=settings.snr_limit)


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return images of another side, as Imagen does: the nearest pixels, cut at -1 and 1.

    Parameters
    ----------
    images : torch.Tensor, shape (n, channels, side_before, side_before)
        Images.
    side : int
        Their new side.
    """
    return functional.interpolate(images, size=(side, side), mode="nearest").clamp(-1.0, 1.0)


class _Small:
    """The same images at low resolution."""

    def __init__(self, source: ImageSource, side: int) -> None:
        self._source, self._side = source, side

    @property
    def n_items(self) -> int:
        return self._source.n_items

    def images(self, indices: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return resized(self._source.images(indices, rng), self._side)


class CascadeLearner(Learner):
    """Both networks while they are trained.

    The second network learns from true images of low resolution and not from what the first one
    makes. So neither depends on the other, and each step is one of both: a training that ends early
    leaves two networks that have learned for as long.

    Parameters
    ----------
    settings : CrysTensSettings
        How.
    side : int
        Of the images.
    train, val : ImageSource
        Training and validation images; the latter may be None.
    seed : int
        Of the first weights.
    device : str
        Where it computes.
    """

    def __init__(
        self,
        settings: CrysTensSettings,
        side: int,
        train: ImageSource,
        val: ImageSource | None,
        seed: int,
        device: str = "cpu",
    ) -> None:
        small = settings.base_image_size
        diffusion = make_diffusion(settings)
        self._stages = {
            BASE: ImageLearner(
                settings,
                lambda: make_network(settings, BASE),
                diffusion,
                _Small(train, small),
                None if val is None else _Small(val, small),
                seed,
                device,
            ),
            SUPER: ImageLearner(
                settings,
                lambda: make_network(settings, SUPER),
                diffusion,
                train,
                val,
                seed,
                device,
                lowres=lambda images: resized(resized(images, small), side),
            ),
        }
        names = {NETWORK: "{}", LIVE: "{}_" + LIVE}
        self.modules, self.optimizers, self.schedulers = {}, {}, {}
        for name, stage in self._stages.items():
            self.modules |= {names[k].format(name): one for k, one in stage.modules.items()}
            self.optimizers |= {f"{name}_{k}": one for k, one in stage.optimizers.items()}

    @property
    def n_items(self) -> int:
        """Training images of an epoch."""
        return self._stages[SUPER].n_items

    @property
    def judged(self) -> tuple[str, ...]:
        """The networks that sample, each judged by its own loss."""
        return (BASE, SUPER)

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Let both networks learn from one batch; see `Learner.step`."""
        return _together({name: stage.step(batch, rng, at) for name, stage in self._stages.items()})

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Return the loss of each network, and as ``loss`` their sum."""
        return _together({name: stage.validate(rng) for name, stage in self._stages.items()})


def _together(losses: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the losses of the stages by the names of their networks, and their sum."""
    found = {f"{name}_loss": one["loss"] for name, one in losses.items() if one}
    return {"loss": sum(found.values())} | found if found else {}
