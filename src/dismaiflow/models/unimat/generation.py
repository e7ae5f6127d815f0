"""UniMat's network, and generation with a trained one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.models.ddpm.diffusion import GaussianDiffusion
from dismaiflow.models.ddpm.generation import generate_images
from dismaiflow.models.ddpm.learner import NETWORK
from dismaiflow.models.nn.unet.unet3d import UNet3d
from dismaiflow.models.train.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dismaiflow.models.unimat.representation import Video
    from dismaiflow.models.unimat.settings import UniMatSettings


def make_network(settings: UniMatSettings) -> UNet3d:
    """Return a network of the size that the settings ask for."""
    return UNet3d(
        channels=settings.channels,
        dim=settings.dim,
        dim_mults=settings.dim_mults,
        blocks=settings.blocks,
        attention=settings.layer_attns,
        cross_attention=settings.layer_cross_attns,
        heads=settings.attn_heads,
        head_dim=settings.attn_dim_head,
    )


def make_diffusion(settings: UniMatSettings) -> GaussianDiffusion:
    """Return the diffusion of a network without a cascade."""
    return GaussianDiffusion("cosine", snr_limit=settings.snr_limit)


def generate(
    folder: Path, settings: UniMatSettings, video: Video, n: int, seed: int, device: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Generate structures.

    Parameters
    ----------
    folder : Path
        With the weights.
    settings : UniMatSettings
        Size of the network, and how it is sampled.
    video : Video
        How structures are read back.
    n, seed : int
        How many, and of all noise.
    device : str
        Where to compute.

    Returns
    -------
    fractions : ndarray, shape (n, n_atoms, 3)
        Fractional coordinates, atoms grouped by species.
    wrong : ndarray of bool, shape (n, n_atoms)
        Atoms of a wrong species.

    Raises
    ------
    DismaiError
        If the weights are missing or do not fit.
    """
    network = make_network(settings)
    load_weights(folder, {NETWORK: network}, device=device)
    diffusion = make_diffusion(settings)
    videos = generate_images(
        diffusion, network.eval(), video.shape, settings, n, seed, device, stage="videos"
    )
    return video.decode(videos)
