"""Generation with a trained CrysTens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dismaiflow.models.crystens.learner import (
    BASE,
    SUPER,
    make_diffusion,
    make_network,
    resized,
)
from dismaiflow.models.crystens.reconstruction import reconstruct
from dismaiflow.models.ddpm.generation import generate_images
from dismaiflow.models.train.weights import load_weights
from dismaiflow.structures.checks import NOT_FINITE, WRONG_COMPOSITION
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.crystens.reconstruction import Reconstructed
    from dismaiflow.models.crystens.representation import Layout
    from dismaiflow.models.crystens.settings import CrysTensSettings


def generate(
    folder: Path,
    settings: CrysTensSettings,
    layout: Layout,
    cell: NDArray[np.float64],
    order: NDArray[np.int64],
    n: int,
    seed: int,
    device: str,
) -> ReadStructures:
    """Generate structures from noise.

    Parameters
    ----------
    folder : Path
        With the weights.
    settings : CrysTensSettings
        Of the training.
    layout : Layout
        Of the training images.
    cell : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    order : ndarray of int64, shape (n_atoms,)
        Place in a structure of the atom of each row of the images.
    n, seed : int
        How many, and of all noise.
    device : str
        Where to compute.

    Returns
    -------
    ReadStructures
        Those whose composition is right, with their `Reconstructed.statistics` as labels, and the
        others as frames that could not be read.

    Raises
    ------
    DismaiError
        If the weights are missing or do not fit.
    """
    networks = {name: make_network(settings, name) for name in (BASE, SUPER)}
    load_weights(folder, networks, device=device)
    diffusion, side = make_diffusion(settings), layout.side
    found = []
    # In parts: a thousand images of full size are 1.3 GB.
    for first in range(0, n, settings.sample_batch_size):
        lowres, part = None, min(settings.sample_batch_size, n - first)
        for name, pixels in ((BASE, settings.base_image_size), (SUPER, side)):
            shape, network = (settings.channels, pixels, pixels), networks[name].eval()
            images = generate_images(
                diffusion, network, shape, settings, part, seed, device,
                lowres=lowres, first=first, stage=name,
            )  # fmt: skip
            lowres = resized(images, side)
        found.append(reconstruct(layout, images, settings.species_reading))
    return as_structures(found, layout, cell, order)


def as_structures(
    parts: Sequence[Reconstructed],
    layout: Layout,
    cell: NDArray[np.float64],
    order: NDArray[np.int64],
) -> ReadStructures:
    """Return what was read from images as structures; see `generate`."""
    fractions = torch.cat([part.fractions for part in parts]).numpy()
    numbers = torch.cat([part.numbers for part in parts])
    finite = np.isfinite(fractions).all((1, 2))
    right = (numbers.sort(1).values == layout.numbers.sort().values).all(1).numpy()
    wrong = (numbers != layout.numbers).sum(1).tolist()
    places = np.flatnonzero(finite & right)
    bad = []
    for index in np.flatnonzero(~(finite & right)).tolist():
        if finite[index]:
            detail = f"{wrong[index]} of {layout.n_atoms} atoms are read as another element"
            bad.append(BadFrame(index, WRONG_COMPOSITION, detail))
        else:
            bad.append(BadFrame(index, NOT_FINITE, "the image has pixels that are not finite"))
    back = np.argsort(order)
    labels = {
        name: torch.cat([part.statistics[name] for part in parts]).numpy()[places]
        for name in parts[0].statistics
    }
    made = StructureSet.uniform(
        numbers.numpy()[places][:, back], (fractions[places] @ cell)[:, back], cell, labels
    )
    return ReadStructures(made, places, bad)
