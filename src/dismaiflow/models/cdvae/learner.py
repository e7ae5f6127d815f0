"""Training of CDVAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from dismaiflow.errors import DismaiError
from dismaiflow.models.cdvae.decoder import Decoder
from dismaiflow.models.cdvae.encoder import Encoder
from dismaiflow.models.cdvae.heads import Heads, composition_loss, divergence
from dismaiflow.models.cdvae.noise import (
    cell_parameters,
    cells_of,
    geometric_levels,
    moved,
    nearest_difference,
    noised_species,
    score_loss,
    species_loss,
)
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.randomness import seeded
from dismaiflow.models.train.steps import adam_on_plateaus, descend, mean_losses

if TYPE_CHECKING:
    from dismaiflow.models.cdvae.data import Bonds
    from dismaiflow.models.cdvae.graph import PaddedGraph
    from dismaiflow.models.cdvae.settings import CDVAESettings
    from dismaiflow.models.data.crystals import CrystalData

#: Names of the networks; the encoder does not sample.
ENCODER, HEADS, DECODER = "encoder", "heads", "decoder"


@dataclass(frozen=True)
class Sizes:
    """What the sizes of the networks depend on besides the settings.

    Parameters
    ----------
    n_atoms : int
        Atoms of a structure.
    heaviest : int
        Largest atomic number.
    """

    n_atoms: int
    heaviest: int

    @classmethod
    def of(cls, data: CrystalData) -> Sizes:
        """Return those that training structures ask for."""
        return cls(data.numbers.shape[1], int(data.numbers.max()))

    def check(self, data: CrystalData) -> None:
        """Refuse validation structures that do not fit.

        Raises
        ------
        DismaiError
            If they have another number of atoms, or a heavier element.
        """
        found = Sizes.of(data)
        if found.n_atoms != self.n_atoms:
            raise DismaiError(
                f"cdvae: the validation set has structures of {found.n_atoms} atoms, the training "
                f"set of {self.n_atoms}: give a validation set of the same system"
            )
        if found.heaviest > self.heaviest:
            raise DismaiError(
                f"cdvae: the validation set holds element {found.heaviest}, which the training set "
                "does not: give a validation set of the same system"
            )


def make_heads(settings: CDVAESettings, sizes: Sizes) -> Heads:
    """Return the networks for number, lattice and composition."""
    return Heads(
        settings.latent_dim,
        settings.mlp_hidden,
        settings.mlp_layers,
        sizes.n_atoms,
        sizes.heaviest,
        settings.lattice_scaling == "length",
    )


def make_encoder(settings: CDVAESettings) -> Encoder:
    """Return the network that encodes structures."""
    return Encoder(
        settings.latent_dim,
        settings.encoder_hidden,
        settings.encoder_blocks,
        settings.encoder_interaction,
        settings.encoder_basis,
        settings.encoder_output,
        settings.encoder_output_layers,
        settings.encoder_layers_before_skip,
        settings.encoder_layers_after_skip,
        settings.n_spherical,
        settings.n_radial,
        settings.cutoff,
        settings.envelope_exponent,
    )


def make_decoder(settings: CDVAESettings, sizes: Sizes) -> Decoder:
    """Return the network that tells where atoms should go."""
    return Decoder(
        settings.latent_dim,
        settings.decoder_hidden,
        settings.decoder_blocks,
        n_radial=settings.decoder_radial,
        cutoff=settings.cutoff,
        n_neighbors=settings.n_neighbors,
        species_denoising=settings.species_denoising,
        n_species=sizes.heaviest,
    )


class CDVAELearner(Learner):
    """CDVAE while it is trained.

    Parameters
    ----------
    settings : CDVAESettings
        How.
    train : tuple of CrystalData and Bonds
        Training structures.
    val : tuple of CrystalData and Bonds, optional
        Validation structures, see `Sizes.check`; their loss decides when the learning rate falls,
        as published.
    seed : int
        Of the first weights.
    device : str
        Where it computes.
    """

    def __init__(
        self,
        settings: CDVAESettings,
        train: tuple[CrystalData, Bonds],
        val: tuple[CrystalData, Bonds] | None,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.settings, self._device = settings, device
        sizes = Sizes.of(train[0])
        with seeded(seed):
            self._encoder = make_encoder(settings)
            self._heads = make_heads(settings, sizes)
            self._decoder = make_decoder(settings, sizes)
        cells = torch.tensor(train[0].cells)
        self._heads.learn_scale(cells, sizes.n_atoms)
        self._train = _Tensors(*train, self._heads)
        self._val = None if val is None else _Tensors(*val, self._heads)
        modules = {ENCODER: self._encoder, HEADS: self._heads, DECODER: self._decoder}
        self.modules = {name: module.to(device) for name, module in modules.items()}
        self._sigmas = geometric_levels(
            settings.sigma_begin, settings.sigma_end, settings.noise_levels
        )
        self._species_sigmas = geometric_levels(
            settings.species_sigma_begin, settings.species_sigma_end, settings.noise_levels
        )
        parameters = [each for module in modules.values() for each in module.parameters()]
        self.optimizers, self.schedulers = adam_on_plateaus(parameters, settings)

    @property
    def n_items(self) -> int:
        """Training structures."""
        return len(self._train.fractions)

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Learn from one batch; see `Learner.step`."""
        settings = self.settings
        losses = self._losses(self._train, batch, rng, at.epoch < settings.teacher_forcing_epochs)
        losses["loss"] = self._denoising(losses) + (
            settings.lattice_cost * losses["lattice_loss"]
            + settings.number_cost * losses["number_loss"]
            + settings.composition_cost * losses["composition_loss"]
            + settings.divergence_cost * losses["divergence"]
        )
        descend(losses["loss"], self.optimizers["adam"], settings.gradient_clip)
        return {name: loss.item() for name, loss in losses.items()}

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Return the losses of the validation set, each structure at one noise level.

        As published, cells are the predicted ones from the first epoch on, and ``loss`` is that of
        denoising alone.
        """
        if self._val is None:
            return {}
        val = self._val

        def losses(part: torch.Tensor) -> dict[str, torch.Tensor]:
            found = self._losses(val, part, rng, forced=False)
            return found | {"loss": self._denoising(found)}

        return mean_losses(len(val.fractions), self.settings.batch_size, losses)

    def end_epoch(self, train: dict[str, float], val: dict[str, float]) -> None:
        """Lower the learning rate where the validation loss falls no more."""
        if val or self._val is None:
            self.schedulers["plateau"].step((val or train)["loss"])

    def _denoising(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted losses of what the decoder does."""
        loss = self.settings.coordinate_cost * losses["coordinate_loss"]
        if self.settings.species_denoising:
            loss = loss + self.settings.species_cost * losses["species_loss"]
        return loss

    def _losses(
        self, known: _Tensors, batch: torch.Tensor, rng: torch.Generator, forced: bool
    ) -> dict[str, torch.Tensor]:
        """Return the losses of a batch.

        Noise is drawn on the processor, so that all devices see the same.
        """
        settings, device = self.settings, self._device
        fractions, numbers, cells, lattice, graph = known.batch(batch, device)
        n, n_atoms = numbers.shape
        draws = torch.randn((n, settings.latent_dim), generator=rng).to(device)
        sigmas = self._drawn(self._sigmas, n, rng)
        noise = torch.randn(fractions.shape, generator=rng).to(device)
        encoded = self._encoder(fractions, numbers, cells, graph)
        mean, log_variance, z = self._heads.latent(encoded, draws)
        found_lattice, composition = self._heads.lattice(z), self._heads.composition(z)
        counts = torch.full((n,), n_atoms, device=device)
        losses = {
            "lattice_loss": functional.mse_loss(found_lattice, lattice),
            "number_loss": functional.cross_entropy(self._heads.number(z), counts),
            "composition_loss": composition_loss(composition, numbers),
            "divergence": divergence(mean, log_variance),
        }
        # As published, denoising teaches the predicted lattice, and not the composition.
        given = cells if forced else self._heads.cells(found_lattice, n_atoms)
        shown = numbers
        if settings.species_denoising:
            species_sigmas = self._drawn(self._species_sigmas, n, rng)
            uniform = torch.rand(numbers.shape, generator=rng).to(device)
            shares = composition.detach().softmax(-1)
            shown = noised_species(numbers, shares, species_sigmas, uniform)
        noisy = moved(fractions, sigmas[:, None, None] * noise, given)
        found, logits = self._decoder(z, noisy, shown, given)
        way = nearest_difference(fractions, noisy, cells)
        losses["coordinate_loss"] = score_loss(found, way, sigmas)
        if settings.species_denoising:
            losses["species_loss"] = species_loss(logits, numbers, species_sigmas)
        return losses

    def _drawn(self, levels: torch.Tensor, n: int, rng: torch.Generator) -> torch.Tensor:
        """Draw a noise level for each structure."""
        return levels[torch.randint(0, len(levels), (n,), generator=rng)].to(self._device)


class _Tensors:
    """Structures as tensors on the processor.

    Their cells are turned as those that are predicted, so that ways in both can be compared.
    """

    def __init__(self, data: CrystalData, bonds: Bonds, heads: Heads) -> None:
        cells = torch.tensor(data.cells)
        self.fractions = torch.tensor(data.fractions, dtype=torch.float32)
        self.numbers = torch.tensor(data.numbers)
        self.cells = cells_of(cell_parameters(cells)).float()
        self.lattice = heads.standardised(cells, data.numbers.shape[1])
        self.bonds = bonds

    def batch(
        self, places: torch.Tensor, device: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, PaddedGraph]:
        """Return fractions, numbers, cells, standardised lattices and bonds of some."""
        parts = (self.fractions, self.numbers, self.cells, self.lattice)
        fractions, numbers, cells, lattice = (part[places].to(device) for part in parts)
        return fractions, numbers, cells, lattice, self.bonds.batch(places, device)
