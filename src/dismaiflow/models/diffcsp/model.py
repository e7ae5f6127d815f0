"""DiffCSP as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.models.base import ModelCard
from dismaiflow.models.data.crystals import CrystalData
from dismaiflow.models.data.template import keep_template, read_template
from dismaiflow.models.diffcsp.settings import DiffCSPSettings
from dismaiflow.models.torch_model import (
    TorchModel,
    data_facts,
    train_and_describe,
)
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelData

_NAME = "diffcsp"

_CITATION = "Jiao et al., NeurIPS 2023, arXiv:2309.04475; paper, section 4.2.2"

#: Where this implementation may give other numbers than the published one.
DEVIATIONS = (
    "the mean squared score of each noise level is integrated, not estimated from 10 000 random "
    "numbers",
    "validation draws the same noise in each epoch; the published code draws new noise",
    "where there is no validation set the training loss decides when the learning rate falls",
    "the true cell is given for as many epochs as the paper says; the published code gives it for "
    "one more",
    "cells that are denoised are turned as those of training; the published code puts all into one "
    "standard orientation",
    "the embedding has rows for 100 elements, as the original code; the paper's has as many as the "
    "heaviest element's number",
)


class DiffCSP(TorchModel[DiffCSPSettings]):
    """DiffCSP: equivariant diffusion of fractional coordinates (paper, sections 2.2 and 4.2.2).

    Parameters
    ----------
    settings : Any
        See `DiffCSPSettings`.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name = _NAME
    kind = DiffCSPSettings

    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Train, or go on with a training."""
        from dismaiflow.models.diffcsp.learner import DiffCSPLearner

        settings = self.settings
        known = CrystalData.from_structures(data.train, _NAME)
        val = None if data.val is None or not len(data.val) else data.val
        watched = None if val is None else CrystalData.from_structures(val, "diffcsp", "validation")
        learner = DiffCSPLearner(settings, known, watched, seed, device)
        facts = data_facts(_NAME, data)
        result = train_and_describe(learner, learner.n_items, settings, folder, seed, budget, facts)
        keep_template(data.train, folder)
        return result

    def _generate(
        self,
        folder: Path,
        n: int,
        seed: int,
        settings: DiffCSPSettings,
        described: Mapping[str, Any],
        device: str,
    ) -> StructureSet:
        """Generate structures with species, and unless it denoises them cells, of training ones."""
        from dismaiflow.models.diffcsp.generation import generate

        template = read_template(folder)
        return generate(folder, settings, template, n, seed, device)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name=_NAME,
            description="equivariant diffusion of fractional coordinates on a fully connected "
            "graph",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category=self.settings.category,
            deviations=list(DEVIATIONS),
            shown_to_learn="the lattice of an alloy of 32 atoms, at a small size; nothing at the "
            "paper's",
        )
