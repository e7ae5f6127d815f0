"""Training of CryinGAN: one step of its critics, and now and then one of its generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch

from dismaiflow.models.cryingan.augmentation import lattice_translations, translate
from dismaiflow.models.cryingan.critics import PointCritic
from dismaiflow.models.cryingan.graph_critic import GraphCritic
from dismaiflow.models.cryingan.losses import critic_loss, generator_loss
from dismaiflow.models.cryingan.networks import Generator, initialise
from dismaiflow.models.nn.neighbors import PeriodicNeighbors
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.randomness import generator as seeded_generator

if TYPE_CHECKING:
    from dismaiflow.models.cryingan.critics import Critic, Inputs
    from dismaiflow.models.cryingan.settings import CryinGANSettings
    from dismaiflow.models.data.fixed_cell import FixedCellData

_Feature = Literal["coordinates", "bonds"]


@dataclass(frozen=True)
class _Judge:
    """A critic, what it sees, and the weight of its loss."""

    network: torch.nn.Module
    features: tuple[_Feature, ...]
    weight: float
    n_outputs: int

    @property
    def critic(self) -> Critic:
        return cast("Critic", self.network)


def make_generator(settings: CryinGANSettings, n_atoms: int) -> Generator:
    """Return a generator of the size that the settings ask for."""
    return Generator(
        n_atoms,
        settings.latent_dim,
        settings.generator_channels,
        settings.generator_widths,
        settings.batch_norm_eps,
    )


class CryinGANLearner(Learner):
    """CryinGAN while it is trained.

    Parameters
    ----------
    settings : CryinGANSettings
        How.
    data : FixedCellData
        Training structures.
    seed : int
        Of the first weights.
    device : str
        Where it computes.
    dtype : torch.dtype
        Precision; single in training.
    """

    def __init__(
        self,
        settings: CryinGANSettings,
        data: FixedCellData,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.settings, self.counts = settings, data.counts
        self._device, self._dtype = device, dtype
        # In fractional coordinates where both are joined, so that they are alike (Suppl. Note 2).
        space = np.eye(3) if settings.variant == "comb" else data.cell
        self._neighbors = PeriodicNeighbors(space, settings.n_neighbors, dtype, device)
        self._cell = data.cell
        self.generator = make_generator(settings, sum(data.counts))
        self.judges = self._make_judges()
        self.modules = {"generator": self.generator} | {
            name: judge.network for name, judge in self.judges.items()
        }
        self.schedulers = {}
        self.optimizers = {}
        for name, module in self.modules.items():
            initialise(module, seeded_generator(seed, "weights", name))
            module.to(device=device, dtype=dtype).train()
            self.optimizers[name] = torch.optim.Adam(
                module.parameters(), settings.learning_rate, settings.betas, fused=True
            )
        self._fractions = torch.tensor(data.fractions, dtype=torch.float64)
        moves = (settings.translations if settings.augmentation != "none" else None) or (1, 1, 1)
        self._translations = lattice_translations(moves)
        # Translations leave bond distances as they are.
        self._bonds = self._all_bonds() if self._sees("bonds") else None

    @property
    def n_items(self) -> int:
        """Training items of an epoch: structures, times translations if the epoch counts these."""
        return len(self._fractions) * self._moves_per_structure

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Train the critics, and the generator if it is its turn; see `Learner.step`."""
        losses = self._train_critics(batch, rng)
        if at.position % self.settings.generator_interval == 0:
            losses["generator_loss"] = self._train_generator(len(batch), rng)
        values = torch.stack(list(losses.values())).tolist()
        return dict(zip(losses, values, strict=True))

    def real(self, batch: torch.Tensor, rng: torch.Generator) -> dict[_Feature, torch.Tensor]:
        """Return the features of training items, translated."""
        structures, moves = batch // self._moves_per_structure, batch % self._moves_per_structure
        if self._moves_per_structure < len(self._translations):
            moves = torch.randint(len(self._translations), batch.shape, generator=rng)
        moved = translate(self._fractions[structures], self._translations[moves])
        found: dict[_Feature, torch.Tensor] = {"coordinates": moved.to(self._device, self._dtype)}
        if self._bonds is not None:
            found["bonds"] = self._bonds[structures.to(self._device)]
        return found

    def fake(self, n: int, rng: torch.Generator) -> dict[_Feature, torch.Tensor]:
        """Return the features of generated structures."""
        noise = torch.randn(n, self.settings.latent_dim, generator=rng)
        fractions = self.generator(noise.to(self._device, self._dtype))
        found: dict[_Feature, torch.Tensor] = {"coordinates": fractions}
        if self._sees("bonds"):
            found["bonds"] = self._neighbors.distances(fractions)
        return found

    def _train_critics(self, batch: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
        """Take one step of all critics; return their losses by name."""
        settings = self.settings
        real = self.real(batch, rng)
        with torch.no_grad():  # the critics' losses do not reach the generator
            fake = self.fake(len(batch), rng)
        sums: dict[str, torch.Tensor] = {}
        for name, judge in self.judges.items():
            places = torch.rand(len(batch), generator=rng).to(self._device, self._dtype)
            scale = 1.0 if settings.penalty_of == "sum" else 1 / judge.n_outputs
            inputs = (_chosen(real, judge), _chosen(fake, judge))
            parts = critic_loss(judge.critic, *inputs, places, scale)
            loss = judge.weight * parts.total(settings.gradient_penalty_weight)
            self.optimizers[name].zero_grad(set_to_none=True)
            loss.backward()
            distance = parts.wasserstein.detach()
            for key, value in (
                ("critic_loss", loss.detach()),
                ("wasserstein", judge.weight * distance),
                (f"wasserstein_{name}", distance),
                (f"penalty_{name}", parts.penalty.detach()),
            ):
                sums[key] = sums[key] + value if key in sums else value
            self.optimizers[name].step()
        return sums

    def _train_generator(self, n: int, rng: torch.Generator) -> torch.Tensor:
        """Take one step of the generator with new noise; return its loss."""
        fake = self.fake(n, rng)
        total = torch.zeros((), device=self._device, dtype=self._dtype)
        for judge in self.judges.values():
            # The gradients of the critics' weights would be as much work again.
            judge.network.requires_grad_(False)
            total = total + judge.weight * generator_loss(judge.critic, _chosen(fake, judge))
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        for judge in self.judges.values():
            judge.network.requires_grad_(True)
        return total.detach()

    def _make_judges(self) -> dict[str, _Judge]:
        """Return the critics of the variant."""
        settings = self.settings
        if settings.critic == "cgcnn":
            graph = GraphCritic(
                self.counts,
                PeriodicNeighbors(self._cell, settings.cgcnn_neighbors, self._dtype, self._device),
                settings.cgcnn_features,
                settings.cgcnn_convolutions,
                settings.cgcnn_hidden,
                settings.cgcnn_radius,
                settings.cgcnn_step,
            )
            return {"graph": _Judge(graph, ("coordinates",), 1.0, 1)}
        if settings.variant == "comb":
            return {"combined": self._point_judge(("coordinates", "bonds"), 1.0)}
        judges = {"coordinates": self._point_judge(("coordinates",), 1.0)}
        if settings.bond_loss_weight > 0:
            judges["bonds"] = self._point_judge(("bonds",), settings.bond_loss_weight)
        return judges

    def _point_judge(self, features: tuple[_Feature, ...], weight: float) -> _Judge:
        settings = self.settings
        columns = {"coordinates": 3, "bonds": settings.n_neighbors}
        pooling = {"coordinates": settings.coordinate_pooling, "bonds": settings.bond_pooling}
        network = PointCritic(
            [columns[name] for name in features],
            self.counts,
            [pooling[name] for name in features],
            settings.critic_widths,
            settings.critic_head,
            settings.critic_outputs,
        )
        return _Judge(network, features, weight, settings.critic_outputs)

    def _all_bonds(self) -> torch.Tensor:
        """Return the bond distances of all training structures."""
        parts = self._fractions.split(self.settings.batch_size)
        return torch.cat(
            [self._neighbors.distances(part.to(self._device, self._dtype)) for part in parts]
        )

    def _sees(self, feature: _Feature) -> bool:
        """Whether any critic sees this kind of feature."""
        return any(feature in judge.features for judge in self.judges.values())

    @property
    def _moves_per_structure(self) -> int:
        """Items of an epoch that each structure stands for."""
        return self.settings.n_translations if self.settings.epoch_counts_translations else 1


def _chosen(features: dict[_Feature, torch.Tensor], judge: _Judge) -> Inputs:
    """Return what a critic sees of structures."""
    return [features[name] for name in judge.features]
