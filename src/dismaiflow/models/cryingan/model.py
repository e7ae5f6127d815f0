"""CryinGAN as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.models.cryingan.data import FixedCellData
from dismaiflow.models.cryingan.settings import cryingan_settings
from dismaiflow.potentials.cards import installed_versions, need_modules
from dismaiflow.structures.files import write_text
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelData
    from dismaiflow.models.cryingan.settings import CryinGANSettings
    from dismaiflow.systems import SystemSpec

#: What sampling needs besides weights.
MODEL_NAME = "model.json"

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


class CryinGAN:
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

    def __init__(self, **settings: Any) -> None:
        self.settings = cryingan_settings(settings)

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> FitResult:
        """Train, or go on with a training; see `GenerativeModel.fit`.

        Raises
        ------
        DismaiError
            If torch is missing, the structures differ in composition or cell, or the folder
            belongs to another training.
        """
        need_modules("cryingan", "models", "torch", kind="model")
        from dismaiflow.models.cryingan.learner import CryinGANLearner
        from dismaiflow.models.train.loop import TrainPlan, train
        from dismaiflow.potentials.devices import choose_device

        settings = _with_translations(self.settings, data.spec)
        fixed = FixedCellData.from_structures(data.train)
        learner = CryinGANLearner(settings, fixed, seed, choose_device(settings.device))
        plan = TrainPlan(
            n_items=learner.n_items,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            max_steps=settings.max_steps,
            snapshot_epochs=settings.snapshot_epochs,
            snapshot_seconds=settings.snapshot_seconds,
        )
        identity = {
            "model": "cryingan",
            "settings": settings.identity(),
            "training_hash": data.train.content_hash,
        }
        described = identity | {
            "settings": settings.model_dump(mode="json"),
            "seed": seed,
            "numbers": fixed.numbers.tolist(),
            "order": fixed.order.tolist(),
            "cell": fixed.cell.tolist(),
            "versions": installed_versions(("dismaiflow", "torch", "numpy")),
        }
        result = train(learner, plan, folder, seed, budget, identity)
        # After the loop, which refuses a folder of another training.
        write_text(folder / MODEL_NAME, json.dumps(described, indent=1))
        return result

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Generate structures, in the atom order of the first training structure.

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
            If torch is missing, or the folder holds no trained CryinGAN.
        """
        need_modules("cryingan", "models", "torch", kind="model")
        from dismaiflow.models.cryingan.sampling import generate
        from dismaiflow.potentials.devices import choose_device

        described = _read(folder / MODEL_NAME)
        trained = cryingan_settings(described["settings"])
        order = np.array(described["order"])
        options = {"sampling_mode", "sample_batch_size"}
        settings = trained.model_copy(update=self.settings.model_dump(include=options))
        device = choose_device(self.settings.device)
        grouped = generate(folder, settings, len(order), n, seed, device)
        fractions = np.empty_like(grouped)
        fractions[:, order] = grouped
        cell = np.array(described["cell"])
        numbers = np.tile(np.array(described["numbers"], dtype=np.uint8), (n, 1))
        return StructureSet.uniform(numbers, fractions @ cell, cell)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name="cryingan",
            description="generative adversarial network of point clouds, with critics of "
            "coordinates and of bond distances",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category="cpu" if self.settings.device == "cpu" else "gpu",
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


def _read(path: Path) -> dict[str, Any]:
    """Read what a training has left beside its weights."""
    try:
        described = json.loads(path.read_text("utf-8"))
        known = {"model", "settings", "numbers", "order", "cell"} <= set(described)
    except OSError:
        raise DismaiError(
            f"{path}: cannot be read: give the folder of a trained cryingan, or train one"
        ) from None
    except (ValueError, TypeError):
        known = False
    if not known or described["model"] != "cryingan":
        raise DismaiError(f"{path}: does not describe a trained cryingan: train it anew")
    return dict(described)
