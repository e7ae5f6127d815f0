"""Training of DiffCSP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from dismaiflow.models.diffcsp.diffusion import NoiseLevels, minus_wrapped_score
from dismaiflow.models.diffcsp.network import CSPNet
from dismaiflow.models.train.averages import averaged_copy, move_average
from dismaiflow.models.train.devices import mixed_precision
from dismaiflow.models.train.learner import Learner, Place
from dismaiflow.models.train.randomness import seeded
from dismaiflow.models.train.steps import adam_on_plateaus, descend, mean_losses

if TYPE_CHECKING:
    from dismaiflow.models.data.crystals import CrystalData
    from dismaiflow.models.diffcsp.settings import DiffCSPSettings

#: Name of the network whose weights sample.
NETWORK = "network"


def make_network(settings: DiffCSPSettings) -> CSPNet:
    """Return a network of the size that the settings ask for."""
    return CSPNet(settings.hidden, settings.layers, settings.n_frequencies, settings.time_dim)


class DiffCSPLearner(Learner):
    """DiffCSP while it is trained.

    Parameters
    ----------
    settings : DiffCSPSettings
        How.
    data : CrystalData
        Training structures.
    val : CrystalData, optional
        Validation structures; their loss decides when the learning rate falls, as published.
    seed : int
        Of the first weights.
    device : str
        Where it computes.
    """

    def __init__(
        self,
        settings: DiffCSPSettings,
        data: CrystalData,
        val: CrystalData | None,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self.settings, self._device = settings, device
        # Of the last step; an epoch is validated right after one, so that no checkpoint needs it.
        self._epoch = 0
        self._train, self._val = _Tensors(data), None if val is None else _Tensors(val)
        self._levels = NoiseLevels.build(
            settings.timesteps, settings.sigma_begin, settings.sigma_end
        ).to(device)
        with seeded(seed):
            self._live = make_network(settings).to(device)
        self.modules = {NETWORK: self._live}
        if settings.ema_decay:
            # What samples is the average; the network that learns is kept beside it.
            self.modules = {NETWORK: averaged_copy(self._live), "live": self._live}
        self.optimizers, self.schedulers = adam_on_plateaus(self._live.parameters(), settings)

    @property
    def n_items(self) -> int:
        """Training structures."""
        return len(self._train.fractions)

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Learn from one batch; see `Learner.step`."""
        self._epoch = at.epoch
        losses = self._losses(self._live, self._train, batch, rng)
        descend(losses["loss"], self.optimizers["adam"], self.settings.gradient_clip)
        if self.settings.ema_decay:
            move_average(self.modules[NETWORK], self._live, self.settings.ema_decay)
        return {name: loss.item() for name, loss in losses.items()}

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Return the losses of the validation set, each structure at one noise level.

        True cells are given in the epochs in which training has them, too: as published.
        """
        if self._val is None:
            return {}
        network, val = self.modules[NETWORK], self._val
        return mean_losses(
            len(val.fractions),
            self.settings.batch_size,
            lambda part: self._losses(network, val, part, rng),
        )

    def end_epoch(self, train: dict[str, float], val: dict[str, float]) -> None:
        """Lower the learning rate where the loss of the coordinates falls no more."""
        self.schedulers["plateau"].step((val or train)["coordinate_loss"])

    def _losses(
        self,
        network: Any,
        data: _Tensors,
        batch: torch.Tensor,
        rng: torch.Generator,
    ) -> dict[str, torch.Tensor]:
        """Return the losses of a batch.

        Noise is drawn on the processor, so that all devices see the same.
        """
        settings, levels = self.settings, self._levels
        fractions, numbers, cells = data.batch(batch, self._device)
        n = len(batch)
        times = torch.randint(1, levels.timesteps + 1, (n,), generator=rng).to(self._device)
        shifts = torch.randn(fractions.shape, generator=rng).to(self._device)
        noise = torch.randn((n, 3, 3), generator=rng).to(self._device)
        sigmas = levels.sigmas[times][:, None, None]
        shifts = shifts * sigmas
        noisy = (fractions + shifts) % 1.0
        forced = self._epoch < settings.teacher_forcing_epochs
        denoises_cell = settings.lattice_cost > 0 and not forced
        given = cells
        if denoises_cell:
            kept = levels.kept[times][:, None, None]
            given = kept.sqrt() * cells + (1 - kept).sqrt() * noise
        with mixed_precision(self._device, settings.mixed_precision):
            found, found_cell = network(times, numbers, noisy, given)
        target = minus_wrapped_score(shifts, sigmas.expand_as(shifts))
        target = target / levels.norms[times].sqrt()[:, None, None]
        losses = {"coordinate_loss": functional.mse_loss(found.float(), target)}
        losses["loss"] = settings.coordinate_cost * losses["coordinate_loss"]
        if denoises_cell:
            losses["lattice_loss"] = functional.mse_loss(found_cell.float(), noise)
            losses["loss"] = losses["loss"] + settings.lattice_cost * losses["lattice_loss"]
        return losses


class _Tensors:
    """Structures as tensors on the processor."""

    def __init__(self, data: CrystalData) -> None:
        self.fractions = torch.tensor(data.fractions, dtype=torch.float32)
        self.numbers = torch.tensor(data.numbers)
        self.cells = torch.tensor(data.cells, dtype=torch.float32)

    def batch(
        self, places: torch.Tensor, device: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return fractional coordinates, atomic numbers and cells of some, on a device."""
        parts = (self.fractions[places], self.numbers[places], self.cells[places])
        fractions, numbers, cells = (part.to(device) for part in parts)
        return fractions, numbers, cells
