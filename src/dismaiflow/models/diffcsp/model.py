"""DiffCSP as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.models.diffcsp.data import CrystalData
from dismaiflow.models.diffcsp.settings import diffcsp_settings
from dismaiflow.potentials.cards import installed_versions, need_modules
from dismaiflow.structures.files import write_bytes, write_text
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelData

#: What sampling needs besides weights: settings, and the training structures' cells and species.
MODEL_NAME, TEMPLATE_NAME = "model.json", "template.set"

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
        need_modules("diffcsp", "models", "torch", kind="model")
        from dismaiflow.models.diffcsp.learner import DiffCSPLearner
        from dismaiflow.models.train.loop import TrainPlan, train
        from dismaiflow.potentials.devices import choose_device

        settings = self.settings
        known = CrystalData.from_structures(data.train)
        val = None if data.val is None or not len(data.val) else data.val
        watched = None if val is None else CrystalData.from_structures(val, "validation set")
        learner = DiffCSPLearner(settings, known, watched, seed, choose_device(settings.device))
        plan = TrainPlan(
            n_items=learner.n_items,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            max_steps=settings.max_steps,
            snapshot_epochs=settings.snapshot_epochs,
            snapshot_seconds=settings.snapshot_seconds,
        )
        identity = {
            "model": "diffcsp",
            "settings": settings.identity(),
            "training_hash": data.train.content_hash,
            "validation_hash": None if val is None else val.content_hash,
        }
        described = identity | {
            "settings": settings.model_dump(mode="json"),
            "seed": seed,
            "versions": installed_versions(("dismaiflow", "torch", "numpy")),
        }
        result = train(learner, plan, folder, seed, budget, identity)
        # After the loop, which refuses a folder of another training.
        write_text(folder / MODEL_NAME, json.dumps(described, indent=1))
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
        need_modules("diffcsp", "models", "torch", kind="model")
        from dismaiflow.models.diffcsp.generation import generate
        from dismaiflow.potentials.devices import choose_device

        trained = diffcsp_settings(_read(folder / MODEL_NAME)["settings"])
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
            name="diffcsp",
            description="equivariant diffusion of fractional coordinates on a fully connected "
            "graph",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category="cpu" if self.settings.device == "cpu" else "gpu",
            deviations=list(DEVIATIONS),
            shown_to_learn="the lattice of an alloy of 32 atoms, at a small size; nothing at the "
            "paper's",
        )


def _read(path: Path) -> dict[str, Any]:
    """Read what a training has left beside its weights."""
    try:
        described = json.loads(path.read_text("utf-8"))
        known = described["model"] == "diffcsp" and "settings" in described
    except OSError:
        raise DismaiError(
            f"{path}: cannot be read: give the folder of a trained diffcsp, or train one"
        ) from None
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise DismaiError(f"{path}: does not describe a trained diffcsp: train it anew")
    return dict(described)
