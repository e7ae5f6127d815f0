"""CrysTens as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.models.crystens.settings import CrysTensSettings
from dismaiflow.models.ddpm.structures import known_structures
from dismaiflow.models.torch_model import (
    TorchModel,
    data_facts,
    train_and_describe,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from dismaiflow.models.base import Budget, FitResult, ModelData
    from dismaiflow.structures.read import ReadStructures

_NAME = "crystens"

_CITATION = (
    "Alverson et al., Digital Discovery 3, 62 (2024); Saharia et al., arXiv:2205.11487 (Imagen); "
    "paper, section 4.2.3"
)

#: Where this implementation may give other numbers than the published one.
DEVIATIONS = (
    "the padding of the images is assumed: up to the next side that 32 divides, 288 for 256 to 264 "
    "atoms",
    "atomic numbers are pixels of their own values; the published code has a table of elements "
    "that came with the authors' data",
    "both networks learn at each step; the published code trains one after the other, each for as "
    "many steps",
    "shuffled copies are drawn anew at each step, within each species; the published dataset holds "
    "49 of each structure",
    "a structure fails when the elements read from its image are not the composition; the "
    "published code reports how many are right, 100 % in the paper, and takes the true ones",
    "validation draws the same noise each time; the published code draws new noise",
    "the noise level is computed in double precision, and bounded where single precision ends",
)


class CrysTens(TorchModel[CrysTensSettings]):
    """CrysTens: a cascade of image diffusion models (paper, sections 2.2 and 4.2.3).

    Parameters
    ----------
    settings : Any
        See `CrysTensSettings`.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name = _NAME
    kind = CrysTensSettings
    described = ("layout", "order", "cell")

    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Train, or go on with a training."""
        from dismaiflow.models.crystens.learner import CascadeLearner
        from dismaiflow.models.crystens.representation import Layout
        from dismaiflow.models.ddpm.images import image_sources

        settings = self.settings
        known, watched = known_structures(data, _NAME)
        layout = Layout.of(known, settings.padding)
        _check_sides(settings, layout.side, layout.n_atoms)

        def encode(fractions: torch.Tensor) -> torch.Tensor:
            return layout.encode(fractions.float())

        train, val = image_sources(data, known, watched, encode, settings, _NAME)
        learner = CascadeLearner(settings, layout.side, train, val, seed, device)
        facts = data_facts(_NAME, data)
        more = {
            "layout": layout.to_json(),
            "order": known.order.tolist(),
            "cell": known.cell.tolist(),
        }
        return train_and_describe(
            learner, learner.n_items, settings, folder, seed, budget, facts, more
        )

    def _generate(
        self,
        folder: Path,
        n: int,
        seed: int,
        settings: CrysTensSettings,
        described: Mapping[str, Any],
        device: str,
    ) -> ReadStructures:
        """Generate structures in the cell and the order of the first training structure.

        They have the species that their images tell, and the published statistics of the images as
        labels (`Reconstructed`); those of another composition are told as failed.
        """
        from dismaiflow.models.crystens.generation import generate
        from dismaiflow.models.crystens.representation import Layout

        layout = Layout.from_json(described["layout"])
        cell, order = np.array(described["cell"]), np.array(described["order"])
        return generate(folder, settings, layout, cell, order, n, seed, device)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name=_NAME,
            description="diffusion of images of pair distances and differences, in two resolutions",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category=self.settings.category,
            deviations=list(DEVIATIONS),
        )


def _check_sides(settings: CrysTensSettings, side: int, n_atoms: int) -> None:
    """Refuse images that the networks cannot work on."""
    base = settings.base_image_size
    if base >= side:
        raise DismaiError(
            f"crystens: base_image_size {base} must be smaller than the images of {n_atoms} atoms, "
            f"{side} a side: choose a smaller one, or a larger padding"
        )
    # The second network halves at each level, the first one at all but its last.
    for name, pixels, halvings in (
        ("base_image_size", base, len(settings.dim_mults) - 1),
        ("padding", side, len(settings.dim_mults)),
    ):
        if pixels % 2**halvings:
            raise DismaiError(
                f"crystens: {name} makes images of {pixels} a side, which {2**halvings} must "
                "divide: choose another"
            )
