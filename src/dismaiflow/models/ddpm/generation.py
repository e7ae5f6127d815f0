"""Generation of images with trained networks, each from randomness of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dismaiflow.models.train.randomness import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.ddpm.diffusion import Denoiser, GaussianDiffusion
    from dismaiflow.models.ddpm.settings import ImageSettings


def generate_images(
    diffusion: GaussianDiffusion,
    network: Denoiser,
    shape: Sequence[int],
    settings: ImageSettings,
    n: int,
    seed: int,
    device: str,
    *,
    lowres: torch.Tensor | None = None,
    first: int = 0,
    stage: str = "images",
) -> torch.Tensor:
    """Generate images in batches.

    Each image has its own noise, so that but for rounding it does not depend on how many are
    generated with it.

    Parameters
    ----------
    diffusion : GaussianDiffusion
        The way back from noise.
    network : Denoiser
        Trained, on the device, in evaluation mode.
    shape : sequence of int
        Of one image: channels, and the rest.
    settings : ImageSettings
        Steps, threshold, and how many at once.
    n, seed : int
        How many, and of all noise.
    device : str
        Where to compute.
    lowres : torch.Tensor, shape (n, ...), optional
        Images of low resolution, blown up to full size.
    first : int
        Number of the first image, for those who generate in parts.
    stage : str
        Name of the network within a cascade; each draws noise of its own.

    Returns
    -------
    torch.Tensor, shape (n, *shape)
        On the processor.
    """
    made = []
    for start in range(0, n, settings.sample_batch_size):
        end = min(start + settings.sample_batch_size, n)
        rngs = [generator(seed, "sample", stage, first + i) for i in range(start, end)]
        given = None if lowres is None else lowres[start:end].to(device)
        images = diffusion.sample(
            network,
            (end - start, *shape),
            rngs,
            settings.sampling_steps,
            given,
            settings.threshold,
            device,
            task=f"generate {stage} {first + end} of {first + n}",
        )
        made.append(images.cpu())
    return torch.cat(made)
