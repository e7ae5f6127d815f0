"""Flows that relax and score structures with free atoms, and their controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Job, Maker, OnMissing
from pydantic import BaseModel

from dismaiflow.benchmark.control_jobs import SampleControlMaker
from dismaiflow.benchmark.feature_jobs import AnalyseSetMaker
from dismaiflow.benchmark.held_out import HIGH_CONTROL
from dismaiflow.benchmark.structure_jobs import (
    VALIDATION_CONTROL,
    CollectStructureControlsMaker,
    CollectStructureScoreMaker,
)
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.jobs import RelaxSetMaker
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.potentials.treatment import RelaxationRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import OutputReference

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec

#: Names of the controls that are sampled: with a potential, and for structures taken as they are.
RELAXED_CONTROLS = ("rattled",)
UNRELAXED_CONTROLS = ("rattled", "uniform-random")

#: Says of a score that it does not belong to Tables 1 and 2.
OWN_CELLS_MARK = "each generated structure kept a cell of its own, as those of Table S1"


@dataclass
class KnownReference:
    """What an earlier score or job has left of a reference.

    Parameters
    ----------
    relaxed : RelaxedDoc or OutputReference, optional
        The reference after it was relaxed.
    analysed : AnalysedSet or OutputReference, optional
        Its features.
    """

    relaxed: Any = None
    analysed: Any = None


class RelaxationPlan(BaseModel):
    """What a potential is to do for a score.

    Parameters
    ----------
    potential : PotentialRef
        The potential.
    generated, reference : bool
        Whether the atoms of that side are moved. A side that is not keeps its structures, and
        its energies are computed where they lie.
    """

    potential: PotentialRef
    generated: bool = True
    reference: bool = True


def relaxation_request(
    spec: SystemSpec, protocol: ScoringProtocol, *, move: bool = True, push: bool = True
) -> RelaxationRequest:
    """Return what a spec and a protocol ask of a relaxation.

    Parameters
    ----------
    spec : SystemSpec
        The system; its ``dataset.relaxation`` has optimiser and limits.
    protocol : ScoringProtocol
        By which.
    move : bool
        Whether atoms are moved; otherwise only energies are computed.
    push : bool
        Whether atoms that are too close are pushed apart before.
    """
    block = spec.dataset.relaxation
    assert block is not None, "only alloys have no relaxation block"
    try:
        settings = RelaxationSettings.from_block(block, protocol.name)
    except DismaiError as error:
        raise DismaiError(f"{spec.origin or spec.name}: {error}") from None
    if not move:
        return RelaxationRequest.single_point(settings)
    return RelaxationRequest(
        settings, push=protocol.name if push else None, push_distance=block.min_distance
    )


@dataclass
class PrepareReferenceMaker(Maker):
    """Relax and analyse a reference, for scores and controls alike.

    Parameters
    ----------
    name : str
        The flow name.
    relax_maker : RelaxSetMaker
        Relaxes it.
    analyse_maker : AnalyseSetMaker
        Analyses it.
    """

    name: str = "prepare reference"
    relax_maker: RelaxSetMaker = field(default_factory=RelaxSetMaker)
    analyse_maker: AnalyseSetMaker = field(default_factory=AnalyseSetMaker)

    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        relaxation: RelaxationPlan | None = None,
        known: KnownReference | None = None,
    ) -> Flow:
        """Build the flow; arguments as for `ScoreStructuresMaker.make`.

        Returns
        -------
        Flow
            Its output has the arguments of `KnownReference`.
        """
        steps = _Steps(self.relax_maker, self.analyse_maker, spec.self_contained(), protocol)
        ready = steps.reference(reference, relaxation, known)
        output = {"relaxed": ready.relaxed, "analysed": ready.analysed}
        flow = Flow([*steps.jobs], output=output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "none", "protocol": protocol.key}, dynamic=True
        )
        return flow


@dataclass
class ScoreStructuresMaker(Maker):
    """Score generated interfaces or amorphous structures against a reference.

    Parameters
    ----------
    name : str
        The flow name.
    relax_maker : RelaxSetMaker
        Post-processes and relaxes a set.
    analyse_maker : AnalyseSetMaker
        Analyses a set.
    collect_maker : CollectStructureScoreMaker
        Compares.
    """

    name: str = "score"
    relax_maker: RelaxSetMaker = field(default_factory=RelaxSetMaker)
    analyse_maker: AnalyseSetMaker = field(default_factory=AnalyseSetMaker)
    collect_maker: CollectStructureScoreMaker = field(default_factory=CollectStructureScoreMaker)

    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef | OutputReference,
        generated: Sequence[GeneratedSet | OutputReference],
        reference_name: str = "reference",
        model: str = "unnamed",
        controls: ControlsDoc | OutputReference | None = None,
        relaxation: RelaxationPlan | None = None,
        known: KnownReference | None = None,
        own_cells: bool = False,
        marks: Sequence[str] = (),
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        protocol : ScoringProtocol
            By which.
        reference : StructuresRef
            The reference set, in the store.
        generated : sequence of GeneratedSet
            The generated sets, in the store; one per separately trained model.
        reference_name, model : str
            What to call them.
        controls : ControlsDoc, optional
            Scores of the controls, to stand beside the score.
        relaxation : RelaxationPlan, optional
            What a potential does; without one structures are taken as they are.
        known : KnownReference, optional
            What is known of the reference from an earlier score.
        own_cells : bool
            Whether each generated structure keeps a cell of its own (Table S1).
        marks : sequence of str
            What a reader must know before comparing the score.

        Returns
        -------
        Flow
            Its output is a `ScoreDoc`.
        """
        steps = _Steps(self.relax_maker, self.analyse_maker, spec.self_contained(), protocol)
        ready = steps.reference(reference, relaxation, known)
        relaxed: list[Any] = []
        analysed: list[Any] = []
        for number, one in enumerate(generated):
            label = f"generated {number}"
            structures = one.structures
            if relaxation is not None:
                job = steps.relax(
                    structures, reference, relaxation, relaxation.generated, label, own_cells
                )
                relaxed.append(job.output)
                structures = job.output.structures
            found = steps.analyse(structures, reference, "generated", label, own_cells)
            analysed.append(found.output)
        collect = self.collect_maker.make(
            steps.spec,
            protocol,
            reference,
            reference_name,
            ready.relaxed,
            ready.analysed,
            list(generated),
            relaxed if relaxation is not None else None,
            analysed,
            model,
            controls,
            [*marks, *([OWN_CELLS_MARK] if own_cells else [])],
        )
        # Structures of a job that failed are counted as failed; the score goes on without them.
        collect.config.on_missing_references = OnMissing.NONE
        flow = Flow([*steps.jobs, collect], output=collect.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": model, "protocol": protocol.key}, dynamic=True
        )
        return flow


@dataclass
class StructureControlsMaker(Maker):
    """Score the controls of interfaces and amorphous systems against a reference.

    The floor is drawn from the features of the reference and costs nothing; other controls are
    relaxed as generated structures are, where these are.

    Parameters
    ----------
    name : str
        The flow name.
    n : int
        Structures drawn of each control that is not relaxed.
    n_relaxed : int
        Structures drawn of a control that is; 0 leaves these out.
    sample_maker : SampleControlMaker
        Samples a control.
    relax_maker : RelaxSetMaker
        Post-processes and relaxes a set.
    analyse_maker : AnalyseSetMaker
        Analyses a set.
    collect_maker : CollectStructureControlsMaker
        Compares.
    """

    name: str = "controls"
    n: int = 1000
    n_relaxed: int = 10
    sample_maker: SampleControlMaker = field(default_factory=SampleControlMaker)
    relax_maker: RelaxSetMaker = field(default_factory=RelaxSetMaker)
    analyse_maker: AnalyseSetMaker = field(default_factory=AnalyseSetMaker)
    collect_maker: CollectStructureControlsMaker = field(
        default_factory=CollectStructureControlsMaker
    )

    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        validation: GeneratedSet | None = None,
        relaxation: RelaxationPlan | None = None,
        known: KnownReference | None = None,
        seed: int = 0,
        high: GeneratedSet | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec, protocol, reference, relaxation, known
            As for `ScoreStructuresMaker.make`. Controls are moved where generated structures are.
        validation : GeneratedSet, optional
            A validation set, scored like a generated one; relaxed if the reference is.
        seed : int
            Seed of the samples.
        high : GeneratedSet, optional
            Structures of the same search above the cut of the energy (section 2.5), likewise.

        Returns
        -------
        Flow
            Its output is a `ControlsDoc`.
        """
        jobs = self.jobs(spec, protocol, reference, validation, relaxation, known, seed, high)
        flow = Flow([*jobs], output=jobs[-1].output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "controls", "protocol": protocol.key}, dynamic=True
        )
        return flow

    def jobs(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        validation: GeneratedSet | None = None,
        relaxation: RelaxationPlan | None = None,
        known: KnownReference | None = None,
        seed: int = 0,
        high: GeneratedSet | None = None,
    ) -> list[Job]:
        """Return the jobs of the flow that `make` builds, that with the scores as the last."""
        steps = _Steps(self.relax_maker, self.analyse_maker, spec.self_contained(), protocol)
        ready = steps.reference(reference, relaxation, known)
        sets: dict[str, Any] = {}
        relaxed: dict[str, Any] = {}
        analysed: dict[str, Any] = {}
        move = relaxation is not None and relaxation.generated
        n = self.n_relaxed if move else min(self.n, reference.n_structures)
        for name in (RELAXED_CONTROLS if move else UNRELAXED_CONTROLS) if n else ():
            job = self.sample_maker.make(name, reference, n, seed)
            job.name = f"{self.sample_maker.name} {name} {spec.name}"
            steps.jobs.append(job)
            sets[name] = job.output
        given = {VALIDATION_CONTROL: validation, HIGH_CONTROL: high}
        sets |= {name: one for name, one in given.items() if one is not None}
        for name, one in sets.items():
            structures = one.structures
            if relaxation is not None:
                moved = relaxation.reference if name in given else move
                job = steps.relax(structures, reference, relaxation, moved, name)
                relaxed[name] = job.output
                structures = job.output.structures
            analysed[name] = steps.analyse(structures, reference, "control", name).output
        collect = self.collect_maker.make(
            steps.spec,
            protocol,
            reference,
            ready.relaxed,
            ready.analysed,
            sets,
            relaxed if relaxation is not None else None,
            analysed,
            self.n,
            seed,
            potential_key(spec, protocol, relaxation),
            self.n_relaxed,
        )
        collect.name = f"{self.collect_maker.name} {spec.name}"
        collect.config.on_missing_references = OnMissing.NONE
        return [*steps.jobs, collect]


def potential_key(
    spec: SystemSpec, protocol: ScoringProtocol, relaxation: RelaxationPlan | None
) -> str:
    """Return one word for how structures are relaxed, by which controls are found again."""
    if relaxation is None:
        return ""
    move = relaxation_request(spec, protocol, move=relaxation.generated).hash
    return f"{relaxation.potential.card.hash}-{move}-{relaxation.reference}"


@dataclass
class _Steps:
    """Makes the jobs of a flow and collects them."""

    relax_maker: RelaxSetMaker
    analyse_maker: AnalyseSetMaker
    spec: SystemSpec
    protocol: ScoringProtocol
    jobs: list[Job] = field(default_factory=list)

    def reference(
        self, reference: Any, relaxation: RelaxationPlan | None, known: KnownReference | None
    ) -> KnownReference:
        """Relax and analyse the reference, as far as that is not known."""
        relaxed: Any = known.relaxed if known else None
        analysed: Any = known.analysed if known else None
        structures = reference
        if relaxation is not None and relaxed is None:
            move = relaxation.reference
            job = self.relax(reference, reference, relaxation, move, "reference")
            relaxed = job.output
        if relaxed is not None:
            structures = relaxed.structures
        if analysed is None:
            analysed = self.analyse(structures, reference, "reference", "reference").output
        return KnownReference(relaxed, analysed)

    def relax(
        self,
        structures: Any,
        reference: Any,
        relaxation: RelaxationPlan,
        move: bool,
        label: str,
        own_cells: bool = False,
    ) -> Job:
        request = relaxation_request(self.spec, self.protocol, move=move)
        job: Job = self.relax_maker.make(
            self.spec.name,
            structures,
            relaxation.potential,
            request.plain(),
            reference,
            own_cells,
            label,
        )
        job.name = f"{self.relax_maker.name} {label}"
        self.jobs.append(job)
        return job

    def analyse(
        self, structures: Any, reference: Any, role: str, label: str, own_cells: bool = False
    ) -> Job:
        job: Job = self.analyse_maker.make(
            self.spec, self.protocol, structures, reference, role, own_cells, label
        )
        job.name = f"{self.analyse_maker.name} {label}"
        self.jobs.append(job)
        return job
