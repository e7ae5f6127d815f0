"""Active learning: label by DFT what the potentials of a committee disagree on.

Beyond the paper, whose training structures were random (section 4.5). After H. S. Seung et al.,
COLT 1992, 287, doi 10.1145/130385.130417, and E. V. Podryabinkin and A. V. Shapeev, Comput. Mater.
Sci. 140, 171 (2017), doi 10.1016/j.commatsci.2017.08.031.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import CURRENT_JOB, Flow, Job, Maker, OnMissing, Response

from dismaiflow.campaigns.active_pool import (
    POOL_FROM,
    WATCH_FROM,
    PickKind,
    pick,
    pick_any,
    pool_names,
    random_structures,
    spread,
)
from dismaiflow.campaigns.active_schemas import ActiveLearningDoc, ActiveRound, ActiveState
from dismaiflow.campaigns.dft_runs import JOB_FAILED, CollectRunsMaker, places_of, relax_each
from dismaiflow.campaigns.dft_schemas import RunsDoc
from dismaiflow.campaigns.dft_stage import second_stage
from dismaiflow.dft.schemas import StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.jobs import CATEGORY_KEY, NO_COPIES, dismai_job, ended_by
from dismaiflow.potentials.store import fetch_potential
from dismaiflow.potentials.training.committee import committee_disagreements
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker
from dismaiflow.potentials.training_jobs import CommitteeDoc
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.frames import FramesRef, get_frames, put_frames
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.frames import LabelledFrames
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from dismaiflow.campaigns.dft_runs import RelaxationMaker
    from dismaiflow.potentials.base import Potential
    from dismaiflow.structures.structure_set import StructureSet


#: Share of the new relaxations by which epochs are chosen.
_VALIDATION_SHARE = 0.2


@dataclass
class ActiveRoundMaker(Maker):
    """Judge a committee, and go on with what it disagrees on most, or end.

    Whatever goes wrong in a round (no structure could be labelled, no committee trained) ends it
    with what the rounds before have left.

    Parameters
    ----------
    name : str
        Name of the Maker.
    judge_name, grow_name : str
        Names of the jobs that judge, and that add new frames to the training set.
    n_pool : int
        Random structures of a round from which some are picked.
    n_picked : int
        How many are labelled.
    n_watch : int
        Held-out random structures on which the disagreement is followed.
    max_labelled : int
        Budget: structures that are labelled in all, failed ones included.
    force_error : float, optional
        Mean absolute error of forces on the test set at which it is good enough, eV/Å.
    pool_steps : int
        Steps for which the first member relaxes a random structure before it is judged: what a
        potential must know are the structures that it leads to, not heaps of overlapping atoms.
    picks : {"disagreement", "random"}
        What is labelled; ``random`` is the control.
    device : str
        On which structures are moved and judged: ``cpu``, or ``cuda`` on a worker of category gpu.
    committee_maker : PotentialCommitteeMaker
        Trains the members further.
    relax_maker : RelaxationMaker, optional
        Labels a structure; by default the second stage by VASP, whose ionic steps are taken too.
    collect_maker : CollectRunsMaker
        Gathers the runs.
    """

    # jobflow gives a running Maker the name of its job, so what names jobs is kept apart.
    name: str = "active round"
    judge_name: str = "judge committee"
    grow_name: str = "grow training set"
    n_pool: int = 100
    n_picked: int = 10
    n_watch: int = 20
    max_labelled: int = 50
    force_error: float | None = None
    pool_steps: int = 50
    picks: PickKind = "disagreement"
    device: str = "cpu"
    committee_maker: PotentialCommitteeMaker = field(default_factory=PotentialCommitteeMaker)
    relax_maker: RelaxationMaker | None = None
    collect_maker: CollectRunsMaker = field(default_factory=CollectRunsMaker)

    def judge(self, spec: SystemSpec, seed: int, state: ActiveState, committee: Any) -> Job:
        """Return the job that judges, named by its round. Parameters as for `make`."""
        job: Job = self.make(spec, seed, state, committee)
        job.name = f"{self.judge_name} round {len(state.rounds)}"
        if self.device != "cpu":
            job.config.manager_config = {CATEGORY_KEY: "gpu"}
        return job

    @dismai_job(output_schema=ActiveLearningDoc)
    def make(
        self, spec: SystemSpec, seed: int, state: ActiveState, committee: CommitteeDoc | None
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
        committee : CommitteeDoc or None
            The potentials of this round; None where they could not be trained.

        Raises
        ------
        DismaiError
            If there is no committee at all, or its members cannot be compared.
        """
        known = ActiveState.model_validate(state)
        number = len(known.rounds)
        if committee is None:
            return self._ended(spec, known, f"round {number}: no committee could be trained")
        jobstore = current_jobstore()
        voters = CommitteeDoc.model_validate(committee)
        known.committee = voters
        members = [fetch_potential(jobstore, one) for one in voters.members]
        if known.watch is None:
            watched = self._random(spec, seed, WATCH_FROM, self.n_watch, members[0])
            known.watch = put_structures(jobstore, watched)
        watched = get_structures(jobstore, known.watch)
        row = _row(known, voters)
        row.watched = spread(committee_disagreements(members, list(watched), self.device))
        known.rounds.append(row)
        reason = self._enough(row)
        if reason:
            return self._ended(spec, known, reason, complete=True)
        first = POOL_FROM + number * self.n_pool
        pool = self._random(spec, seed, first, self.n_pool, members[0])
        chosen = self._pick(seed, known, pool, members)
        if not len(chosen):
            return self._ended(spec, known, f"round {number + 1}: no structure of the pool is fit")
        return self._label(spec, seed, known, chosen)

    def _random(
        self, spec: SystemSpec, seed: int, first: int, n: int, member: Potential
    ) -> StructureSet:
        folder = load_settings().SCRATCH_DIR / "relaxations"
        journal = folder / f"{CURRENT_JOB.job.uuid}-{first}.journal"
        wanted = range(first, first + n)
        return random_structures(
            spec, seed, wanted, member, self.pool_steps, self.device, journal=journal
        )

    def _enough(self, row: ActiveRound) -> str:
        """Say why it ends here; nothing if it does not."""
        wanted = self.force_error
        if wanted is not None and row.test_force is not None and row.test_force <= wanted:
            return f"the error of forces, {row.test_force:.3g} eV/Å"
        if row.n_labelled >= self.max_labelled:
            return f"the budget of {self.max_labelled} structures"
        return ""

    def _pick(
        self, seed: int, state: ActiveState, pool: StructureSet, members: list[Potential]
    ) -> StructureSet:
        """Choose what is labelled next, and note what was chosen."""
        row = state.rounds[-1]
        found = committee_disagreements(members, list(pool), self.device)
        names = pool_names(seed, pool)
        taken = set(get_frames(current_jobstore(), state.sets["train"]).parents)
        n = min(self.n_picked, self.max_labelled - row.n_labelled)
        choose = pick if self.picks == "disagreement" else pick_any
        chosen = choose(found, names, taken, n)
        row.picked = [names[i] for i in chosen]
        row.picked_from = spread(found)
        row.picked_spread = spread([found[i] for i in chosen])
        return pool.select(chosen)

    def _label(
        self, spec: SystemSpec, seed: int, state: ActiveState, chosen: StructureSet
    ) -> Response[Any]:
        """Send structures to the engine, then see what has come of it."""
        number, names = len(state.rounds), state.rounds[-1].picked
        reference = put_structures(current_jobstore(), chosen)
        wanted = [
            StoredStructure(blob=blob, place=place, parent=name)
            for (blob, place), name in zip(places_of(reference), names, strict=True)
        ]
        jobs, outputs = relax_each(self.relax_maker or second_stage(spec), wanted)
        collect = self.collect_maker.make(spec.name, names, outputs)
        collect.name = f"{self.collect_maker.name} round {number}"
        collect.config.on_missing_references = OnMissing.NONE
        collect.config.manager_config |= NO_COPIES
        grow = self.grow(spec, seed, state, collect.output)
        grow.name = f"{self.grow_name} round {number}"
        return ended_by([*jobs, collect], grow)

    @dismai_job(output_schema=ActiveLearningDoc)
    def grow(
        self, spec: SystemSpec, seed: int, state: ActiveState, runs: RunsDoc | None
    ) -> ActiveLearningDoc | Response[Any]:
        """Add the frames of new relaxations to the frames, and train the members further.

        One relaxation in five, where there are two at least, goes to the validation set: the epoch
        whose weights are kept should be chosen by structures of the new kind too. The test set
        stays as it is, so that errors can be compared.

        Parameters
        ----------
        spec, seed, state
            As for `make`.
        runs : RunsDoc or None
            The relaxations of the structures that were picked; None where nothing is known of them.
        """
        known = ActiveState.model_validate(state)
        assert known.committee is not None, "who picked is known"
        number, row = len(known.rounds), known.rounds[-1]
        known.n_labelled += len(row.picked)
        done = RunsDoc.model_validate(runs) if runs is not None else None
        row.by_status = done.by_status if done is not None else {JOB_FAILED: len(row.picked)}
        jobstore = current_jobstore()
        if done is not None and done.frames is not None:
            sets = {name: get_frames(jobstore, known.sets[name]) for name in ("train", "val")}
            grown = self._grown(row, sets, get_frames(jobstore, done.frames))
            new = {name: put_frames(jobstore, part) for name, part in grown.items()}
            known.sets = {**known.sets, **new}
        if not row.n_new:
            return self._ended(spec, known, _nothing_new(number, row))
        # A member whose training failed is missing from here on.
        further = replace(self.committee_maker, n_members=len(known.committee.members))
        trained = further.make(
            spec.name, known.sets, elements=list(spec.species), starts=known.committee.members
        )
        trained.append_name(f" round {number}", dynamic=False)
        return ended_by([trained], self.judge(spec, seed, known, trained.output))

    def _grown(
        self, row: ActiveRound, sets: dict[str, LabelledFrames], new: LabelledFrames
    ) -> dict[str, LabelledFrames]:
        """Add frames of the settings that the training set knows; training refuses others."""
        known = {label.hash for label in sets["train"].labels}
        fit = [
            i
            for i in range(len(new))
            if self.committee_maker.train_maker.allow_mixed or new.label(i).hash in known
        ]
        row.n_new, row.n_left_out = len(fit), len(new) - len(fit)
        added = new.select(fit)
        parents = list(dict.fromkeys(added.parents))
        # Those that were picked last, of which the committee was least unsure.
        n_val = max(1, round(_VALIDATION_SHARE * len(parents))) if len(parents) > 1 else 0
        to_val = np.isin(added.parents, parents[len(parents) - n_val :])
        return {
            name: LabelledFrames.concatenate([sets[name], added.select(np.flatnonzero(mask))])
            for name, mask in (("train", ~to_val), ("val", to_val))
        }

    def _ended(
        self, spec: SystemSpec, state: ActiveState, reason: str, complete: bool = False
    ) -> ActiveLearningDoc:
        if state.committee is None:
            raise DismaiError(reason)
        kept = ("n_pool", "n_picked", "n_watch", "max_labelled", "force_error", "pool_steps")
        settings = {name: getattr(self, name) for name in (*kept, "picks")}
        return ActiveLearningDoc(
            system=spec.name,
            rounds=state.rounds,
            stopped_by=reason,
            complete=complete,
            n_labelled=state.n_labelled,
            committee=state.committee,
            sets=state.sets,
            watch=state.watch,
            settings=settings | {"training": self.committee_maker.train_maker.settings},
        )


def _row(state: ActiveState, committee: CommitteeDoc) -> ActiveRound:
    """Return what is known of a committee before it is asked."""
    tests = [card.errors["test"] for card in committee.cards if "test" in card.errors]
    return ActiveRound(
        n_frames=state.sets["train"].n_frames,
        n_members=len(committee.members),
        n_labelled=state.n_labelled,
        test_energy=float(np.mean([one.energy for one in tests])) if tests else None,
        test_force=float(np.mean([one.force for one in tests])) if tests else None,
        watched=spread([]),
    )


def _nothing_new(number: int, row: ActiveRound) -> str:
    """Say why the training set does not grow."""
    ended = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in row.by_status.items())
    if row.n_left_out:
        return (
            f"round {number}: all {row.n_left_out} new frames come from other settings than the "
            f"training set's (allow_mixed takes them); runs: {ended}"
        )
    return f"round {number}: none of the structures could be labelled; runs: {ended}"


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
        self._check(sets, committee)
        judge_maker = self.round_maker
        if judge_maker.relax_maker is None:
            # Here already, so that powerups on the flow reach the engine.
            judge_maker = replace(judge_maker, relax_maker=second_stage(whole))
        before: list[Job | Flow] = []
        voters: Any = committee
        if voters is None:
            first = self.committee_maker.make(spec.name, sets, elements=list(whole.species))
            before, voters = [first], first.output
        judge = judge_maker.judge(whole, seed, ActiveState(sets=sets), voters)
        flow = Flow([*before, judge], output=judge.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "m3gnet", "protocol": "corrected"}, dynamic=True
        )
        return flow

    def _check(self, sets: dict[str, FramesRef], committee: CommitteeDoc | None) -> None:
        """Refuse what could only fail after hours of training."""
        asked = self.round_maker
        n_members = len(committee.members) if committee else self.committee_maker.n_members
        further = asked.committee_maker.n_members
        if n_members < 2:
            raise DismaiError("a committee needs two members at least: one cannot disagree")
        if n_members != further:
            raise DismaiError(
                f"the committee has {n_members} members, but {further} are to be trained further: "
                "give both Makers the same n_members"
            )
        if min(asked.n_pool, asked.n_picked, asked.n_watch) < 1:
            raise DismaiError("pool, picks and held-out structures are one at least each")
        if asked.n_picked > asked.n_pool:
            raise DismaiError(
                f"{asked.n_picked} structures cannot be picked from a pool of {asked.n_pool}"
            )
        if min(asked.max_labelled, asked.pool_steps) < 0:
            raise DismaiError("budget and steps of the pool are 0 at least")
        missing = [name for name in ("train", "val") if name not in sets]
        if missing:
            raise DismaiError(f"active learning begins with frames in the set {missing[0]}")
        if asked.force_error is not None and "test" not in sets:
            raise DismaiError("an error to be met needs frames in the set test")
