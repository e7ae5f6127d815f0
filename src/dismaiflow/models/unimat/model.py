"""UniMat as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.models.base import ModelCard
from dismaiflow.models.ddpm.structures import known_structures
from dismaiflow.models.torch_model import (
    TorchModel,
    data_facts,
    train_and_describe,
)
from dismaiflow.models.unimat.settings import UniMatSettings
from dismaiflow.structures.checks import WRONG_COMPOSITION
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.base import Budget, FitResult, ModelData

_NAME = "unimat"

_CITATION = (
    "Yang et al., arXiv:2311.09235; Ho et al., arXiv:2204.03458 (3D U-Net); paper, section 4.2.4"
)

#: Where this implementation may give other numbers than the published one.
DEVIATIONS = (
    "shuffled copies are drawn anew at each step, within each species; the published dataset holds "
    "49 of each structure",
    "which pixel a species has is our choice: the authors' map came with their data",
    "validation draws the same noise each time; the published code draws new noise",
    "the noise level is computed in double precision, and bounded where single precision ends",
    "batches are cut anew in each epoch, whose last one may be smaller",
)


class UniMat(TorchModel[UniMatSettings]):
    """UniMat: diffusion of videos, a frame for each atom (paper, sections 2.2 and 4.2.4).

    Parameters
    ----------
    settings : Any
        See `UniMatSettings`.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name = _NAME
    kind = UniMatSettings
    described = ("video", "numbers", "order", "cell")

    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Train, or go on with a training."""
        from dismaiflow.models.ddpm.images import image_sources
        from dismaiflow.models.ddpm.learner import ImageLearner
        from dismaiflow.models.unimat.generation import make_diffusion, make_network
        from dismaiflow.models.unimat.representation import Video

        settings = self.settings
        known, watched = known_structures(data, _NAME)
        video = Video.of_training(known.fractions, known.counts, settings)
        train, val = image_sources(data, known, watched, video.encode, settings, _NAME)
        learner = ImageLearner(
            settings,
            lambda: make_network(settings),
            make_diffusion(settings),
            train,
            val,
            seed,
            device,
        )
        facts = data_facts(_NAME, data)
        more = {
            "video": asdict(video),
            "numbers": known.numbers.tolist(),
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
        settings: UniMatSettings,
        described: Mapping[str, Any],
        device: str,
    ) -> ReadStructures:
        """Generate structures in the cell and the order of the first training structure.

        Those with an atom of a wrong species are told as failed, unless the settings say otherwise.
        """
        from dismaiflow.models.unimat.generation import generate
        from dismaiflow.models.unimat.representation import Video

        video = Video.from_plain(described["video"])
        grouped, wrong = generate(folder, settings, video, n, seed, device)
        if not settings.reject_wrong_species:
            wrong[:] = False
        fractions = np.empty_like(grouped)
        fractions[:, described["order"]] = grouped
        cell = np.array(described["cell"])
        return sorted_out(fractions @ cell, np.array(described["numbers"]), cell, wrong)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name=_NAME,
            description="diffusion of videos, a frame for each atom, with a 3D U-Net",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category=self.settings.category,
            deviations=list(DEVIATIONS),
            shown_to_learn="the sites of a crystal of 8 atoms, at a small size; nothing at the "
            "paper's",
        )


def sorted_out(
    positions: NDArray[np.float64],
    numbers: NDArray[np.integer[Any]],
    cell: NDArray[np.float64],
    wrong: NDArray[np.bool_],
) -> ReadStructures:
    """Return structures, and tell which of them have atoms of a wrong species.

    Parameters
    ----------
    positions : ndarray, shape (n, n_atoms, 3)
        Å.
    numbers : ndarray, shape (n_atoms,)
        Atomic numbers that they should have.
    cell : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    wrong : ndarray of bool, shape (n, n_atoms)
        Atoms of a wrong species, in any order.
    """
    n_wrong = wrong.sum(axis=1)
    indices = np.flatnonzero(n_wrong == 0)
    listed = np.tile(numbers.astype(np.uint8), (len(indices), 1))
    bad = [
        BadFrame(
            int(index),
            WRONG_COMPOSITION,
            f"{n_wrong[index]} of {wrong.shape[1]} atoms are of another species",
        )
        for index in np.flatnonzero(n_wrong)
    ]
    structures = StructureSet.uniform(listed, positions[indices], cell)
    return ReadStructures(structures, indices.astype(np.int64), bad)
