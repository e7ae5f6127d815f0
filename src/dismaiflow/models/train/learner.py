"""What a model brings to the training loop: networks, optimisers, and one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch


@dataclass(frozen=True)
class Place:
    """Where a training stands before a step.

    Parameters
    ----------
    step : int
        Steps that were taken, from the very beginning: 0 at the first one.
    epoch : int
        Epochs that are complete: 0 throughout the first one.
    position : int
        Batches of this epoch that were taken.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0


class Learner(ABC):
    """A model while it is trained.

    The loop saves and restores all that is named here, so that a training that was cut into parts
    is bit for bit the one that was not. A learner keeps nothing else that its numbers depend on,
    or hands it over in `extra_state`.

    Attributes
    ----------
    modules : dict of str to torch.nn.Module
        Networks, already on their device. Their weights are what snapshots and ``weights.pt``
        hold.
    optimizers : dict of str to torch.optim.Optimizer
        Optimisers; the learner steps them.
    schedulers : dict of str to Any
        Schedules of learning rates, or anything else with ``state_dict`` and ``load_state_dict``.
    """

    modules: dict[str, torch.nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    schedulers: dict[str, Any]

    @property
    def judged(self) -> Collection[str]:
        """Networks on which the validation says something at this time; all by default."""
        return self.modules

    @abstractmethod
    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        """Learn from one batch.

        Parameters
        ----------
        batch : torch.Tensor
            Indices into the training items, int64, on the processor.
        rng : torch.Generator
            A generator on the processor, freshly seeded by seed and step: draw with it there, then
            move to the device, so that all devices see the same numbers.
        at : Place
            Where the training stands.

        Returns
        -------
        dict of str to float
            Losses by name. A loss that is not known at each step (a generator that learns at every
            fifth) is left out at the others; its mean is over those where it is known.
        """

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Judge the networks at the end of an epoch.

        Parameters
        ----------
        rng : torch.Generator
            A generator on the processor, seeded by the seed alone: each epoch is judged with the
            same noise.

        Returns
        -------
        dict of str to float
            Losses by name; empty for a learner that has no validation. ``loss`` is that by which
            the best weights are told, of a network that has one ``NAME_loss``, its own.
        """
        return {}

    def end_epoch(  # noqa: B027  # most learners have no schedules
        self, train: dict[str, float], val: dict[str, float]
    ) -> None:
        """Step schedules.

        Parameters
        ----------
        train : dict of str to float
            Means of the losses over the steps of the epoch.
        val : dict of str to float
            What `validate` returned; empty if this epoch was not validated.
        """

    def extra_state(self) -> dict[str, Any]:
        """Return what else the numbers depend on.

        Returns
        -------
        dict
            Of tensors, numbers, strings, and lists, tuples and dictionaries of these.
        """
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:  # noqa: B027  # as `extra_state`
        """Take over what `extra_state` returned; tensors are on the processor."""
