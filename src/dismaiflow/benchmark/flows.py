"""Flows that score structures and controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobflow import Flow, Job, Maker, OnMissing

from dismaiflow.benchmark.control_jobs import CollectControlsMaker, SampleControlMaker
from dismaiflow.benchmark.count_jobs import CountSetMaker
from dismaiflow.benchmark.jobs import CollectScoreMaker
from dismaiflow.models.baselines import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import OutputReference

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec

#: Stands for a protocol in the metadata of jobs that serve several.
NO_PROTOCOL = "none"

#: Name of the control that scores the validation set against the training set.
VALIDATION_CONTROL = "validation"


@dataclass
class ScoreAlloyMaker(Maker):
    """Score generated alloys against a reference.

    Parameters
    ----------
    name : str
        The flow name.
    count_maker : CountSetMaker
        Counts a set in chunks.
    collect_maker : CollectScoreMaker
        Compares the counts.
    """

    name: str = "score alloy"
    count_maker: CountSetMaker = field(default_factory=CountSetMaker)
    collect_maker: CollectScoreMaker = field(default_factory=CollectScoreMaker)

    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef | OutputReference,
        generated: Sequence[GeneratedSet | OutputReference],
        reference_name: str = "reference",
        model: str = "unnamed",
        controls: ControlsDoc | OutputReference | None = None,
        role: str = "generated",
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The alloy.
        protocol : ScoringProtocol
            How to align and count.
        reference : StructuresRef
            The reference set, in the store.
        generated : sequence of GeneratedSet
            The generated sets, in the store; one per separately trained model.
        reference_name, model : str
            What to call them.
        controls : ControlsDoc, optional
            Scores of the controls, to stand beside the score.
        role : {"generated", "control"}
            Whether a control has made the structures; see `CountChunkMaker`.

        Returns
        -------
        Flow
            Its output is a `ScoreDoc`.
        """
        whole = spec.self_contained()
        counted = _count(
            self.count_maker, whole, protocol, reference, reference, "reference", "reference"
        )
        jobs: list[Job] = [counted]
        counts = []
        for number, one in enumerate(generated):
            job = _count(
                self.count_maker,
                whole,
                protocol,
                one.structures,
                reference,
                role,
                f"generated {number}",
            )
            jobs.append(job)
            counts.append(job.output)
        collect = self.collect_maker.make(
            whole,
            protocol,
            reference,
            reference_name,
            counted.output,
            list(generated),
            counts,
            model,
            controls,
        )
        # Structures of a job that failed are counted as failed; the score goes on without them.
        collect.config.on_missing_references = OnMissing.NONE
        flow = Flow([*jobs, collect], output=collect.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": model, "protocol": protocol.key}, dynamic=True
        )
        return flow


@dataclass
class AlloyControlsMaker(Maker):
    """Score the controls against a reference.

    Parameters
    ----------
    name : str
        The flow name.
    n : int
        Structures drawn of each control.
    sample_maker : SampleControlMaker
        Samples a control.
    count_maker : CountSetMaker
        Counts a set in chunks.
    collect_maker : CollectControlsMaker
        Compares the counts.
    """

    name: str = "alloy controls"
    n: int = 1000
    sample_maker: SampleControlMaker = field(default_factory=SampleControlMaker)
    count_maker: CountSetMaker = field(default_factory=CountSetMaker)
    collect_maker: CollectControlsMaker = field(default_factory=CollectControlsMaker)

    def make(
        self,
        spec: SystemSpec,
        protocols: Sequence[ScoringProtocol],
        reference: StructuresRef | OutputReference,
        validation: GeneratedSet | OutputReference | None = None,
        seed: int = 0,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The alloy.
        protocols : sequence of ScoringProtocol
            Protocols to score by; the samples are the same.
        reference : StructuresRef
            The reference set, in the store; the controls draw from it.
        validation : GeneratedSet, optional
            A validation set, scored like a generated one.
        seed : int
            Seed of the samples.

        Returns
        -------
        Flow
            Its output is a dict of `ControlsDoc` by protocol key.
        """
        whole = spec.self_contained()
        jobs: list[Job | Flow] = []
        sets: dict[str, GeneratedSet | OutputReference] = {}
        for control in CONTROLS:
            sample = self.sample_maker.make(control.name, reference, self.n, seed)
            sample.name = f"{self.sample_maker.name} {control.name} {spec.name}"
            sample.update_metadata({"protocol": NO_PROTOCOL})
            jobs.append(sample)
            sets[control.name] = sample.output
        if validation is not None:
            sets[VALIDATION_CONTROL] = validation
        outputs = {}
        for protocol in protocols:
            label = f"{spec.name} {protocol.key}"
            counted = _count(
                self.count_maker,
                whole,
                protocol,
                reference,
                reference,
                "reference",
                f"reference {label}",
            )
            jobs.append(counted)
            counts = {}
            counting = []
            for name, one in sets.items():
                job = _count(
                    self.count_maker,
                    whole,
                    protocol,
                    one.structures,
                    reference,
                    "control",
                    f"{name} {label}",
                )
                counting.append(job)
                counts[name] = job.output
            collect = self.collect_maker.make(
                whole, protocol, reference, counted.output, sets, counts, self.n, seed
            )
            jobs.extend(counting)
            collect.name = f"{self.collect_maker.name} {label}"
            collect.config.on_missing_references = OnMissing.NONE
            jobs.append(collect)
            for job in (counted, *counting, collect):
                job.update_metadata({"protocol": protocol.key}, dynamic=True)
            outputs[protocol.key] = collect.output
        flow = Flow(jobs, output=outputs, name=f"{self.name} {spec.name}")
        flow.update_metadata({"system": spec.name, "model": "controls"}, dynamic=True)
        return flow


def _count(
    maker: CountSetMaker,
    spec: SystemSpec,
    protocol: ScoringProtocol,
    structures: StructuresRef | OutputReference,
    reference: StructuresRef | OutputReference,
    role: str,
    label: str,
) -> Job:
    """Make the job that counts one set."""
    job = maker.make(spec, protocol, structures, reference, role, label)
    job.name = f"{maker.name} {label}"
    return job
