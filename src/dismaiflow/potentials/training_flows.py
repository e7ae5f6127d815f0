"""Flows of several trainings: the sweep of Table S6, and committees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker, OnMissing

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY, NO_COPIES
from dismaiflow.potentials.training.settings import training_settings
from dismaiflow.potentials.training.sweep import SWEEP_HOURS, TABLE_S6, sweep_settings
from dismaiflow.potentials.training_jobs import (
    CollectCommitteeMaker,
    CollectSweepMaker,
    TrainPotentialMaker,
    settings_dict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import Job

    from dismaiflow.jobs import Category
    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.store.frames import FramesRef


@dataclass
class PotentialSweepMaker(Maker):
    """Train models with several learning rates and batch sizes for the same time.

    Parameters
    ----------
    name : str
        The flow name.
    pairs : sequence of (float, int)
        Learning rates and batch sizes; those of Table S6 of the paper's SI.
    hours : float
        Training time of each.
    category : {"gpu", "cpu"}
        Kind of worker that trains.
    train_maker : TrainPotentialMaker
        Trains one; its settings are shared.
    collect_maker : CollectSweepMaker
        Makes the table and chooses.
    """

    name: str = "training sweep"
    pairs: Sequence[tuple[float, int]] = TABLE_S6
    hours: float = SWEEP_HOURS
    category: Category = "gpu"
    train_maker: TrainPotentialMaker = field(default_factory=TrainPotentialMaker)
    collect_maker: CollectSweepMaker = field(default_factory=CollectSweepMaker)

    def make(
        self,
        system: str,
        sets: dict[str, FramesRef],
        split: dict[str, Any] | None = None,
        elements: list[str] | None = None,
        start: PotentialRef | None = None,
    ) -> Flow:
        """Return the flow; its output is a `SweepDoc`. Parameters as in `TrainPotentialMaker`."""
        shared = training_settings(self.train_maker.settings)
        pairs = [(float(lr), int(size)) for lr, size in self.pairs]
        jobs = {}
        for name, chosen in sweep_settings(shared, pairs, self.hours).items():
            maker = replace(
                self.train_maker,
                settings=settings_dict(chosen),
                name=f"{self.train_maker.name} {name}",
            )
            jobs[name] = maker.make(system, sets, split, elements, start)
        models: dict[str, Any] = {name: job.output for name, job in jobs.items()}
        last = self.collect_maker.make(system, models)
        return _gathered(list(jobs.values()), last, self.category, self.name)


@dataclass
class PotentialCommitteeMaker(Maker):
    """Train potentials that differ by their first weights, and by what they saw if asked for.

    Parameters
    ----------
    name : str
        The flow name.
    n_members : int
        Potentials.
    resample : bool
        Whether each learns relaxations drawn with replacement from the training set.
    category : {"gpu", "cpu"}
        Kind of worker that trains.
    train_maker : TrainPotentialMaker
        Trains one; its seed is that of the first.
    collect_maker : CollectCommitteeMaker
        Puts them together.
    """

    name: str = "committee"
    n_members: int = 4
    resample: bool = False
    category: Category = "gpu"
    train_maker: TrainPotentialMaker = field(default_factory=TrainPotentialMaker)
    collect_maker: CollectCommitteeMaker = field(default_factory=CollectCommitteeMaker)

    def make(
        self,
        system: str,
        sets: dict[str, FramesRef],
        split: dict[str, Any] | None = None,
        elements: list[str] | None = None,
        starts: list[PotentialRef] | None = None,
    ) -> Flow:
        """Return the flow; its output is a `CommitteeDoc`.

        Parameters
        ----------
        system, sets, split, elements
            See `TrainPotentialMaker.make`.
        starts : list of PotentialRef, optional
            Members of an earlier committee, each of which is fine-tuned.

        Raises
        ------
        DismaiError
            If there are fewer than two members, or not as many starts.
        """
        if self.n_members < 2 or (starts is not None and len(starts) != self.n_members):
            raise DismaiError(
                "a committee needs two members at least, and a start for each or for none"
            )
        shared = training_settings(self.train_maker.settings)
        jobs = []
        for number in range(self.n_members):
            seed = shared.seed + number
            chosen = shared.model_copy(update={"seed": seed})
            maker = replace(
                self.train_maker,
                settings=settings_dict(chosen),
                name=f"{self.train_maker.name} {number}",
            )
            start = starts[number] if starts else None
            drawn = seed if self.resample else None
            jobs.append(maker.make(system, sets, split, elements, start, drawn))
        last = self.collect_maker.make(system, [job.output for job in jobs])
        return _gathered(jobs, last, self.category, self.name)


def _gathered(jobs: list[Job], last: Job, category: Category, name: str) -> Flow:
    """Return a flow of trainings and the job that does without those that fail."""
    for job in jobs:
        job.config.manager_config = {CATEGORY_KEY: category}
    last.config.on_missing_references = OnMissing.NONE
    last.config.manager_config |= NO_COPIES
    return Flow([*jobs, last], output=last.output, name=name)
