"""CryinGAN as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.models.cryingan.settings import CryinGANSettings
from dismaiflow.models.data.fixed_cell import FixedCellData
from dismaiflow.models.torch_model import (
    TorchModel,
    train_and_describe,
)
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelData
    from dismaiflow.systems import SystemSpec

_NAME = "cryingan"

_CITATION = "Yong, Su and Ertekin, Digital Discovery 3, 1889 (2024), doi 10.1039/d4dd00100a"

#: Where this implementation may give other numbers than the published one.
DEVIATIONS = (
    "kept from the published code: batch_norm_eps 0.8, 10 outputs per critic with their mean in "
    "the loss and the gradient of their sum in the penalty, generation in evaluation mode; each "
    "is a setting",
    "the published code multiplies the learning rate by 0.95 after every 100 000 epochs, which no "
    "training of the paper reaches; here it is constant",
    "translations are made when an item is drawn, not stored: the same items in an epoch",
    "neighbours are found by minimum image, with more images where needed, instead of among 27 "
    "images; an atom never is its own neighbour, also where others lie on top of it",
    "a coordinate within a millionth of 1 counts as 0",
    "CryinGAN-mix joins mean and maximum side by side; the paper does not print the widths",
    "CryinGAN-comb's penalty is on coordinates and bond distances interpolated by one number; "
    "the paper does not say how",
    "the CGCNN critic learns a vector for each species instead of passing fixed properties through "
    "a linear layer, and takes 12 neighbours at any distance; its penalty is on the coordinates",
)


class CryinGAN(TorchModel[CryinGANSettings]):
    """CryinGAN: a generative adversarial network of point clouds (paper, section 2.4).

    A generator makes fractional coordinates from noise; two critics, one of coordinates and one
    of bond distances, tell them from those of the training structures (WGAN-GP). For systems of
    one composition in one cell.

    Parameters
    ----------
    settings : Any
        See `CryinGANSettings`.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name = _NAME
    kind = CryinGANSettings
    described = ("numbers", "order", "cell")

    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Train, or go on with a training."""
        from dismaiflow.models.cryingan.learner import CryinGANLearner

        settings = _with_translations(self.settings, data.spec)
        fixed = FixedCellData.from_structures(data.train, "cryingan")
        learner = CryinGANLearner(settings, fixed, seed, device)
        return train_and_describe(
            learner,
            learner.n_items,
            settings,
            folder,
            seed,
            budget,
            {"model": _NAME, "training_hash": data.train.content_hash},
            {
                "numbers": fixed.numbers.tolist(),
                "order": fixed.order.tolist(),
                "cell": fixed.cell.tolist(),
            },
        )

    def _generate(
        self,
        folder: Path,
        n: int,
        seed: int,
        settings: CryinGANSettings,
        described: Mapping[str, Any],
        device: str,
    ) -> StructureSet:
        """Generate structures, in the atom order of the first training structure."""
        from dismaiflow.models.cryingan.sampling import generate

        order = np.array(described["order"])
        grouped = generate(folder, settings, len(order), n, seed, device)
        fractions = np.empty_like(grouped)
        fractions[:, order] = grouped
        cell = np.array(described["cell"])
        numbers = np.tile(np.array(described["numbers"], dtype=np.uint8), (n, 1))
        return StructureSet.uniform(numbers, fractions @ cell, cell)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name=_NAME,
            description="generative adversarial network of point clouds, with critics of "
            "coordinates and of bond distances",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category=self.settings.category,
            deviations=list(DEVIATIONS),
        )


def _with_translations(settings: CryinGANSettings, spec: SystemSpec | None) -> CryinGANSettings:
    """Return settings with the translations of an alloy's supercell, if none are given.

    Raises
    ------
    DismaiError
        If they do not map the lattice onto itself, or there is no alloy that would tell them.
    """
    if settings.augmentation == "none":
        return settings
    supercell = spec.lattice.supercell if spec is not None and spec.lattice is not None else None
    if settings.translations is None:
        if supercell is None:
            raise DismaiError(
                "cryingan: augmentation by lattice-translations needs the setting translations, "
                "steps along each cell vector, for anything but an alloy"
            )
        return settings.model_copy(update={"translations": tuple(supercell)})
    if supercell is not None and any(
        n % steps for n, steps in zip(supercell, settings.translations, strict=True)
    ):
        raise DismaiError(
            f"cryingan: translations {list(settings.translations)} are no steps of the lattice: "
            f"set translations to its supercell, {list(supercell)}"
        )
    return settings
