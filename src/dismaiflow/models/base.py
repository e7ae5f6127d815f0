"""What a generative model must be able to do to be trained, sampled and scored."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dismaiflow.structures.read import ReadStructures
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec

#: Signals by which queues tell a job that it is to end.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class ModelCard:
    """What a model says of itself.

    Parameters
    ----------
    name : str
        Name under which its scores are listed.
    description : str
        One line.
    is_control : bool
        Whether it is a baseline that learns nothing.
    settings : dict
        Its settings, JSON-able.
    citation : str
        Where it is published.
    licence : str
        Of the code, and of weights if there are any.
    category : {"cpu", "gpu"}
        Kind of worker that trains and samples it.
    deviations : list of str
        Where it differs from what is published, a line each.
    shown_to_learn : str
        Where a trained instance was seen to beat its controls in generation; empty as long as that
        was not seen.
    """

    name: str
    description: str
    is_control: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    category: str = "cpu"
    deviations: list[str] = field(default_factory=list)
    shown_to_learn: str = ""


@dataclass(frozen=True, eq=False)
class ModelData:
    """What a model learns from.

    Parameters
    ----------
    train : StructureSet
        Training structures.
    val : StructureSet, optional
        Validation structures.
    spec : SystemSpec, optional
        Their system.
    """

    train: StructureSet
    val: StructureSet | None = None
    spec: SystemSpec | None = None


@dataclass
class Budget:
    """How long a training may go on.

    Parameters
    ----------
    max_seconds : float, optional
        Seconds from now.
    """

    max_seconds: float | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)
    _told: str = field(default="", repr=False)

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without a limit."""
        return None if self.max_seconds is None else self.max_seconds - self.spent

    @property
    def over(self) -> bool:
        """Whether the time is used up, or a signal asked to stop."""
        return bool(self._told) or (self.max_seconds is not None and self.spent >= self.max_seconds)

    @property
    def told_by(self) -> str:
        """Name of the signal that asked to stop, if one did."""
        return self._told

    def stop(self, told_by: str) -> None:
        """End it now."""
        self._told = told_by

    @contextmanager
    def listening(self) -> Iterator[Budget]:
        """Let SIGTERM and SIGUSR1, by which queues announce the end, end the budget."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread may listen to signals
            return
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda told, _: self.stop(signal.Signals(told).name))
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class FitResult:
    """How far a training came.

    Parameters
    ----------
    finished : bool
        Whether it is complete; if not, `GenerativeModel.fit` goes on when it is called again with
        the same folder.
    step, epoch : int
        Steps of the optimiser and complete epochs, from the very beginning.
    seconds : float
        Time spent on them, from the very beginning.
    losses : dict of str to float
        The last ones.
    device : str
        What it was trained on, such as ``cpu`` or the name of a GPU.
    """

    finished: bool = True
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    device: str = ""


@runtime_checkable
class GenerativeModel(Protocol):
    """A generative model of structures.

    A model is a class whose instances are made with their settings as keyword arguments, all with
    defaults. All that a trained instance knows is in its folder, which may be sampled in another
    process or on another machine. A model may name in ``sampling_settings``, a frozenset, those of
    its settings that only sampling reads: studies then compare them without training again. It is
    found by an entry point of the group ``dismaiflow.models``,
    as ``module:Class``, or as a YAML file with two command lines (`CommandModel`).
    """

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> FitResult | None:
        """Learn from training structures, and leave in the folder what sampling needs.

        Parameters
        ----------
        data : ModelData
            Training structures, and what else is known.
        folder : Path
            An existing folder, empty at first. After an unfinished training it holds what that has
            left, and the training goes on from there.
        seed : int
            Seed of all randomness.
        budget : Budget
            A long training looks at ``budget.over`` after each step; when it is, it writes its
            checkpoint and returns an unfinished result.

        Returns
        -------
        FitResult, optional
            How far it came; None for a model that is finished at once.
        """
        ...

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet | ReadStructures:
        """Generate structures.

        Parameters
        ----------
        folder : Path
            A folder that `fit` has finished.
        n : int
            How many.
        seed : int
            Seed of all randomness; the same seed gives the same structures.

        Returns
        -------
        StructureSet or ReadStructures
            The structures; the latter also tells which could not be read.
        """
        ...

    def card(self) -> ModelCard:
        """Describe the model."""
        ...
