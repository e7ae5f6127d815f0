"""Generation with a trained CryinGAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dismaiflow.models.cryingan.learner import make_generator
from dismaiflow.models.train.randomness import generator as seeded_generator
from dismaiflow.models.train.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.cryingan.settings import CryinGANSettings


def generate(
    folder: Path, settings: CryinGANSettings, n_atoms: int, n: int, seed: int, device: str
) -> NDArray[np.float64]:
    """Generate fractional coordinates.

    Parameters
    ----------
    folder : Path
        With the weights.
    settings : CryinGANSettings
        Size of the generator, and how it is sampled.
    n_atoms, n : int
        Atoms of a structure, and structures.
    seed : int
        Of the noise.
    device : str
        Where to compute.

    Returns
    -------
    ndarray, shape (n, n_atoms, 3)
        Atoms grouped by species.

    Raises
    ------
    DismaiError
        If the weights are missing or do not fit.
    """
    network = make_generator(settings, n_atoms)
    load_weights(folder, {"generator": network}, device=device)
    network.train(settings.sampling_mode == "train")
    # All noise at once: how it is cut into chunks must not change the structures.
    noise = torch.randn(n, settings.latent_dim, generator=seeded_generator(seed, "sample"))
    fractions = np.empty((n, n_atoms, 3))
    with torch.inference_mode():
        for first in range(0, n, settings.sample_batch_size):
            part = slice(first, first + settings.sample_batch_size)
            fractions[part] = network(noise[part].to(device)).cpu().numpy()
    return fractions
