"""Active learning: label by DFT what the potentials of a committee disagree on.

Beyond the paper, whose training structures were random (section 4.5). After H. S. Seung et al.,
COLT 1992, 287, doi 10.1145/130385.130417, and E. V. Podryabinkin and A. V. Shapeev, Comput. Mater.
Sci. 140, 171 (2017), doi 10.1016/j.commatsci.2017.08.031.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Flow, Job, Maker, OnMissing, Response

from dismaiflow.campaigns.active_schemas import (
    ActiveLearningDoc,
    ActiveRound,
    ActiveState,
    Spread,
)
from dismaiflow.campaigns.dft_runs import CollectRunsMaker, places_of, relax_each
from dismaiflow.campaigns.dft_schemas import RunsDoc
from dismaiflow.campaigns.dft_stage import second_stage
from dismaiflow.dft.schemas import StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.jobs import NO_COPIES, dismai_job, ended_by
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.potentials.store import fetch_potential
from dismaiflow.potentials.training.committee import Disagreement, committee_disagreements
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker
from dismaiflow.potentials.training_jobs import CommitteeDoc
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.frames import FramesRef, get_frames, put_frames
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.frames import LabelledFrames
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.campaigns.dft_runs import RelaxationMaker
    from dismaiflow.potentials.base import Potential

#: Index of the first held-out random structure; training sets and datasets begin at 0.
WATCH_FROM = 10_000_000

#: Index of the first structure of the pools.
POOL_FROM = 20_000_000

#: Between the name of a round's job and its number.
_AT = " round "


@dataclass
class ExtendFramesMaker(Maker):
    """Add the frames of new relaxations to a training set.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "extend training set"

    @dismai_job(output_schema=ActiveState)
    def make(self, state: ActiveState, runs: RunsDoc | None) -> ActiveState:
        """Add; validation and test sets stay as they are, so that errors can be compared.

        Raises
        ------
        DismaiError
            If there are no new frames.
        """
        jobstore = current_jobstore()
        before = ActiveState.model_validate(state)
        done = RunsDoc.model_validate(runs) if runs is not None else None
        if done is None or done.frames is None:
            ended = done.by_status if done is not None else "their job failed"
            raise DismaiError(f"none of the structures could be labelled: {ended}")
        train = LabelledFrames.concatenate(
            [get_frames(jobstore, ref) for ref in (before.sets["train"], done.frames)]
        )
        return before.model_copy(
            update={
                "sets": {**before.sets, "train": put_frames(jobstore, train)},
                "n_labelled": before.n_labelled + done.n_runs,
                "by_status": done.by_status,
            }
        )


@dataclass
class ActiveRoundMaker(Maker):
    """Judge a committee, and go on with what it disagrees on most, or end.

    Parameters
    ----------
    name : str
        The job name.
    n_pool : int
        Random structures of a round from which some are picked.
    n_picked : int
        How many are labelled.
    n_watch : int
        Held-out random structures on which the disagreement is followed.
    max_labelled : int
        Budget: structures that are labelled in all.
    force_error : float, optional
        Mean absolute error of forces on the test set at which it is good enough, eV/Å.
    pool_steps : int
        Steps for which the first member relaxes a random structure before it is judged: what a
        potential must know are the structures that it leads to, not heaps of overlapping atoms.
    committee_maker : PotentialCommitteeMaker
        Trains the members further.
    relax_maker : RelaxationMaker, optional
        Labels a structure; by default the second stage by VASP, whose ionic steps are taken too.
    collect_maker : CollectRunsMaker
        Gathers the runs.
    extend_maker : ExtendFramesMaker
        Adds their frames.
    """

    name: str = "judge committee"
    n_pool: int = 100
    n_picked: int = 10
    n_watch: int = 20
    max_labelled: int = 50
    force_error: float | None = None
    pool_steps: int = 50
    committee_maker: PotentialCommitteeMaker = field(default_factory=PotentialCommitteeMaker)
    relax_maker: RelaxationMaker | None = None
    collect_maker: CollectRunsMaker = field(default_factory=CollectRunsMaker)
    extend_maker: ExtendFramesMaker = field(default_factory=ExtendFramesMaker)

    @dismai_job(output_schema=ActiveLearningDoc)
    def make(
        self, spec: SystemSpec, seed: int, state: ActiveState, committee: CommitteeDoc
    ) -> ActiveLearningDoc | Response[Any]:
        """Judge.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        seed : int
            Seed of the random structures.
        state : ActiveState
            What the rounds before have left.
        committee : CommitteeDoc
            The potentials of this round.
        """
        jobstore = current_jobstore()
        known, voters = ActiveState.model_validate(state), CommitteeDoc.model_validate(committee)
        members = [fetch_potential(jobstore, one) for one in voters.members]
        number = len(known.rounds)
        if known.watch is None:
            watched = self._random(spec, seed, WATCH_FROM, self.n_watch, members[0])
            known.watch = put_structures(jobstore, watched)
        watched = get_structures(jobstore, known.watch)
        tests = [card.errors["test"] for card in voters.cards if "test" in card.errors]
        row = ActiveRound(
            n_frames=known.sets["train"].n_frames,
            n_labelled=known.n_labelled,
            test_energy=float(np.mean([one.energy for one in tests])) if tests else None,
            test_force=float(np.mean([one.force for one in tests])) if tests else None,
            watched=spread(committee_disagreements(members, list(watched))),
            by_status=known.by_status,
        )
        known.rounds.append(row)
        stopped_by = self._end(row)
        if stopped_by:
            return ActiveLearningDoc(
                system=spec.name,
                rounds=known.rounds,
                stopped_by=stopped_by,
                committee=voters,
                sets=known.sets,
                settings=self._plain(),
            )
        first = POOL_FROM + number * self.n_pool
        pool = self._random(spec, seed, first, self.n_pool, members[0])
        chosen = self._pick(row, pool, committee_disagreements(members, list(pool)))
        return self._label(spec, seed, known, voters, pool.select(chosen))

    def _random(
        self, spec: SystemSpec, seed: int, first: int, n: int, member: Potential
    ) -> StructureSet:
        """Return random structures after some steps of relaxation by a member."""
        made = built_generator(spec).generate(range(first, first + n), seed, exchanges=False)
        if not self.pool_steps:
            return made.structures
        settings = RelaxationSettings(optimizer="fire", max_steps=self.pool_steps)
        processes = load_settings().PROCESSES or None
        moved = relax_set(made.structures, member, settings, n_processes=processes)
        # Where it fell into a hole of the potential, the start is what there is.
        good = [one.status in ("converged", "not_converged") for one in moved]
        positions = [
            one.positions if well else made.structures.positions[made.structures.slice_of(i)]
            for i, (one, well) in enumerate(zip(moved, good, strict=True))
        ]
        return replace(made.structures, positions=np.concatenate(positions))

    def _end(self, row: ActiveRound) -> str:
        """Say why it ends here; nothing if it does not."""
        wanted = self.force_error
        if wanted is not None and row.test_force is not None and row.test_force <= wanted:
            return f"the error of forces, {row.test_force:.3g} eV/Å"
        if row.n_labelled >= self.max_labelled:
            return f"the budget of {self.max_labelled} structures"
        return ""

    def _pick(self, row: ActiveRound, pool: StructureSet, found: list[Disagreement]) -> list[int]:
        """Choose the structures of largest disagreement, and note what was chosen."""
        forces = np.array([one.force for one in found])
        finite = np.flatnonzero(np.isfinite(forces))
        if not len(finite):
            raise DismaiError("the committee gives no finite forces for any structure of the pool")
        n = min(self.n_picked, self.max_labelled - row.n_labelled)
        chosen = finite[np.argsort(-forces[finite], kind="stable")][:n].tolist()
        row.picked = [f"pool-{pool.ids[i]}" for i in chosen]
        row.picked_from = spread(found)
        row.picked_spread = spread([found[i] for i in chosen])
        return chosen

    def _label(
        self,
        spec: SystemSpec,
        seed: int,
        state: ActiveState,
        committee: CommitteeDoc,
        chosen: StructureSet,
    ) -> Response[Any]:
        """Send structures to the engine, then train the members further, then judge again."""
        names = state.rounds[-1].picked
        reference = put_structures(current_jobstore(), chosen)
        wanted = [
            StoredStructure(blob=blob, place=place, parent=name)
            for (blob, place), name in zip(places_of(reference), names, strict=True)
        ]
        jobs, outputs = relax_each(self.relax_maker or second_stage(spec), wanted)
        number = len(state.rounds)
        collect = self.collect_maker.make(spec.name, names, outputs)
        collect.name = f"{self.collect_maker.name}{_AT}{number}"
        extended = self.extend_maker.make(state, collect.output)
        extended.name = f"{self.extend_maker.name}{_AT}{number}"
        for one in (collect, extended):
            one.config.on_missing_references = OnMissing.NONE
            one.config.manager_config |= NO_COPIES
        trained = self.committee_maker.make(
            spec.name, extended.output.sets, elements=list(spec.species), starts=committee.members
        )
        trained.append_name(f"{_AT}{number}", dynamic=False)
        judge: Job = self.make(spec, seed, extended.output, trained.output)
        judge.name = f"{self.name.partition(_AT)[0]}{_AT}{number}"
        return ended_by([*jobs, collect, extended, trained], judge)

    def _plain(self) -> dict[str, Any]:
        """Return what was asked for, for the document."""
        kept = ("n_pool", "n_picked", "n_watch", "max_labelled", "force_error", "pool_steps")
        return {name: getattr(self, name) for name in kept} | {
            "training": asdict(self.committee_maker.train_maker)["settings"]
        }


def spread(found: Sequence[Disagreement]) -> Spread:
    """Return the means over all structures for which a committee gives finite numbers."""
    finite = [one for one in found if np.isfinite(one.force)]
    means = {
        name: float(np.mean([getattr(one, name) for one in finite])) if finite else 0.0
        for name in ("force", "mean_force", "energy")
    }
    return Spread(n=len(finite), **means)


@dataclass
class ActiveLearningMaker(Maker):
    """Train a committee, label what it disagrees on, fine-tune, until error or budget is met.

    Parameters
    ----------
    name : str
        The flow name.
    committee_maker : PotentialCommitteeMaker
        Trains the first committee from scratch.
    round_maker : ActiveRoundMaker
        Judges, picks, labels; its own ``committee_maker`` trains the members further.
    """

    name: str = "active learning"
    committee_maker: PotentialCommitteeMaker = field(default_factory=PotentialCommitteeMaker)
    round_maker: ActiveRoundMaker = field(default_factory=ActiveRoundMaker)

    def make(
        self,
        spec: SystemSpec,
        sets: dict[str, FramesRef],
        seed: int = 0,
        committee: CommitteeDoc | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        sets : dict of str to FramesRef
            Frames to begin with: ``train``, ``val`` and, for the error, ``test``.
        seed : int
            Seed of the random structures.
        committee : CommitteeDoc, optional
            One that was trained already.

        Returns
        -------
        Flow
            Its output is an `ActiveLearningDoc`.

        Raises
        ------
        DismaiError
            If the system is no interface, or the numbers make no sense.
        """
        whole = InterfaceSystem.from_spec(spec).spec
        judge_maker = self.round_maker
        n_members = len(committee.members) if committee else self.committee_maker.n_members
        further = judge_maker.committee_maker.n_members
        if n_members != further:
            raise DismaiError(
                f"the committee has {n_members} members, but {further} are to be trained further: "
                "give both Makers the same n_members"
            )
        if min(judge_maker.n_pool, judge_maker.n_picked, judge_maker.n_watch) < 1:
            raise DismaiError("pool, picks and held-out structures are one at least each")
        if judge_maker.relax_maker is None:
            # Here already, so that powerups on the flow reach the engine.
            judge_maker = replace(judge_maker, relax_maker=second_stage(whole))
        before: list[Job | Flow] = []
        voters: Any = committee
        if voters is None:
            first = self.committee_maker.make(spec.name, sets, elements=list(whole.species))
            before, voters = [first], first.output
        judge = judge_maker.make(whole, seed, ActiveState(sets=sets), voters)
        judge.name = f"{judge_maker.name}{_AT}0"
        flow = Flow([*before, judge], output=judge.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "m3gnet", "protocol": "corrected"}, dynamic=True
        )
        return flow
