"""DiffCSP as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.models.diffcsp.data import CrystalData
from dismaiflow.models.diffcsp.settings import diffcsp_settings
from dismaiflow.models.torch_model import read_described, train_and_describe
from dismaiflow.potentials.cards import need_modules
from dismaiflow.structures.files import write_bytes
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelData

_NAME = "diffcsp"

#: Training structures, whose cells and species sampling needs.
TEMPLATE_NAME = "template.set"

#: Training structures of which cells and species are kept.
_N_TEMPLATES = 256

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


class DiffCSP:
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

    def __init__(self, **settings: Any) -> None:
        self.settings = diffcsp_settings(settings)

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> FitResult:
        """Train, or go on with a training; see `GenerativeModel.fit`.

        Raises
        ------
        DismaiError
            If torch is missing, the structures cannot be learned, or the folder belongs to another
            training.
        """
        need_modules(_NAME, "models", "torch", kind="model")
        from dismaiflow.models.diffcsp.learner import DiffCSPLearner
        from dismaiflow.potentials.devices import choose_device

        settings = self.settings
        known = CrystalData.from_structures(data.train)
        val = None if data.val is None or not len(data.val) else data.val
        watched = None if val is None else CrystalData.from_structures(val, "validation set")
        learner = DiffCSPLearner(settings, known, watched, seed, choose_device(settings.device))
        facts = {
            "model": _NAME,
            "training_hash": data.train.content_hash,
            "validation_hash": None if val is None else val.content_hash,
        }
        result = train_and_describe(learner, learner.n_items, settings, folder, seed, budget, facts)
        kept = data.train.select(np.arange(min(len(data.train), _N_TEMPLATES)))
        write_bytes(folder / TEMPLATE_NAME, kept.to_bytes())
        return result

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Generate structures with species, and unless it denoises them cells, of training ones.

        Parameters
        ----------
        folder : Path
            A folder that `fit` has finished.
        n : int
            How many.
        seed : int
            Seed of all randomness; the same seed gives the same structures.

        Raises
        ------
        DismaiError
            If torch is missing, or the folder holds no trained DiffCSP.
        """
        need_modules(_NAME, "models", "torch", kind="model")
        from dismaiflow.models.diffcsp.generation import generate
        from dismaiflow.potentials.devices import choose_device

        trained = diffcsp_settings(read_described(folder, _NAME)["settings"])
        options = {"step_size", "corrector_steps", "sample_batch_size"}
        settings = trained.model_copy(update=self.settings.model_dump(include=options))
        path = folder / TEMPLATE_NAME
        try:
            template = StructureSet.from_bytes(path.read_bytes())
        except OSError:
            raise DismaiError(f"{path}: is missing; copy the whole folder") from None
        device = choose_device(self.settings.device)
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
