"""CDVAE as a generative model of the package; torch is imported when it works."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dismaiflow.models.base import FitResult, ModelCard
from dismaiflow.models.cdvae.settings import CDVAESettings
from dismaiflow.models.data.crystals import CrystalData
from dismaiflow.models.data.template import keep_template, read_template
from dismaiflow.models.torch_model import (
    TorchModel,
    data_facts,
    train_and_describe,
)
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dismaiflow.models.base import Budget, ModelData
    from dismaiflow.models.cdvae.data import Bonds

_NAME = "cdvae"

_CITATION = "Xie et al., ICLR 2022, arXiv:2110.06197; paper, section 4.2.1"

#: Where this implementation may give other numbers than the published one.
DEVIATIONS = (
    "validation draws the same noise each time, after each epoch; the published code draws new "
    "noise, after each fifth",
    "where there is no validation set the training loss decides when the learning rate falls",
    "the true cell is given for as many epochs as the settings say; the published code gives it "
    "for one more",
    "lattices are standardised in double precision; the published code has single precision, whose "
    "rounding of an angle is as large as the spread that it adds to a cell common to all",
    "generated cells are turned as those of training; the published code puts all into one "
    "standard orientation",
    "the decoder's graph keeps the nearest neighbours of every atom, and an edge without "
    "counterpart receives nothing from its other end; the published code keeps the edges to atoms "
    "of higher number and turns them round, so that its result depends on the order of atoms",
    "scale factors of the decoder follow from formulas; the published ones were fitted to other "
    "structures",
    "the energy that the published decoder computes and nothing uses is left out (467,456 weights)",
    "triplets of the encoder leave out the way back alone; the published code leaves out all that "
    "end at the atom where they began, also at another image of it",
    "a number of atoms of zero is never predicted",
    "atoms of generated structures are grouped by species in the order of training structures; the "
    "published code sorts them by electronegativity",
)


class CDVAE(TorchModel[CDVAESettings]):
    """CDVAE: variational autoencoder with a denoising decoder (paper, sections 2.2 and 4.2.1).

    Parameters
    ----------
    settings : Any
        See `CDVAESettings`.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name = _NAME
    kind = CDVAESettings
    described = ("sizes",)

    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Train, or go on with a training."""
        from dismaiflow.models.cdvae.learner import CDVAELearner, Sizes

        settings = self.settings
        known = CrystalData.from_structures(data.train, _NAME)
        val = None if data.val is None or not len(data.val) else data.val
        watched = None
        if val is not None:
            watched = CrystalData.from_structures(val, _NAME, "validation")
            Sizes.of(known).check(watched)  # before the long search for bonds
        train_bonds = self._bonds(known, folder, budget, "training set")
        val_bonds = None
        if train_bonds is not None and watched is not None:
            val_bonds = self._bonds(watched, folder, budget, "validation set")
        if train_bonds is None or (watched is not None and val_bonds is None):
            return FitResult(finished=False)
        learner = CDVAELearner(
            settings,
            (known, train_bonds),
            None if watched is None or val_bonds is None else (watched, val_bonds),
            seed,
            device,
        )
        facts = data_facts(_NAME, data)
        more = {"sizes": asdict(Sizes.of(known))}
        result = train_and_describe(
            learner, learner.n_items, settings, folder, seed, budget, facts, more
        )
        keep_template(data.train, folder)
        return result

    def _bonds(self, known: CrystalData, folder: Path, budget: Budget, what: str) -> Bonds | None:
        """Return the bonds that the encoder sees; None if there was no time to find them."""
        from dismaiflow.models.cdvae.data import Bonds, find_crystalnn

        if self.settings.encoder_graph == "nearest":
            return Bonds.nearest(known, self.settings.cutoff, self.settings.n_neighbors)
        path = folder / f"bonds-{what.split(maxsplit=1)[0]}.npz"
        return find_crystalnn(known, path, budget, what)

    def _generate(
        self,
        folder: Path,
        n: int,
        seed: int,
        settings: CDVAESettings,
        described: Mapping[str, Any],
        device: str,
    ) -> StructureSet:
        """Generate structures from latent codes."""
        from dismaiflow.models.cdvae.generation import generate
        from dismaiflow.models.cdvae.learner import Sizes

        template = read_template(folder)
        return generate(folder, settings, Sizes(**described["sizes"]), template, n, seed, device)

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name=_NAME,
            description="variational autoencoder whose decoder denoises coordinates on a graph",
            settings=self.settings.model_dump(mode="json"),
            citation=_CITATION,
            licence="MIT",
            category=self.settings.category,
            deviations=list(DEVIATIONS),
            shown_to_learn="the sites of a perovskite of 5 atoms, at a small size; nothing at the "
            "paper's",
        )
