"""Relaxed datasets of interfaces and amorphous systems, together with the scores of controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jobflow import Flow, Job, Maker, Response

from dismaiflow.benchmark.flows import VALIDATION_CONTROL
from dismaiflow.benchmark.held_out import HIGH_CONTROL, held_out
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ControlsDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan, StructureControlsMaker
from dismaiflow.campaigns.amorphous import AmorphousDatasetMaker
from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
from dismaiflow.jobs import dismai_job, ended_by
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import get_structures
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.store.structures import StructuresRef

ProtocolName = Literal["published", "corrected"]

#: By what the controls of a dataset are scored when it is made: the default of scores.
DEFAULT_PROTOCOLS: tuple[ProtocolName, ...] = ("published",)


@dataclass
class ScoreControlsMaker(Maker):
    """Score the controls of a dataset that an earlier job has left.

    Parameters
    ----------
    name : str
        The job name.
    controls_maker : StructureControlsMaker
        Scores the controls.
    """

    name: str = "score controls"
    controls_maker: StructureControlsMaker = field(default_factory=StructureControlsMaker)

    @dismai_job(output_schema=ControlsDoc)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        dataset: DatasetDoc,
        potential: PotentialRef,
        seed: int = 0,
    ) -> Response[Any]:
        """Score; its sets are taken as relaxed with this potential, controls are relaxed with it.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        protocol : ScoringProtocol
            By which.
        dataset : DatasetDoc
            The dataset; ``val`` and ``high`` are scored too.
        potential : PotentialRef
            What relaxed it.
        seed : int
            Seed of the samples.
        """
        jobstore = current_jobstore()
        document = DatasetDoc.model_validate(dataset)
        plan = RelaxationPlan(potential=potential, reference=False)
        chunk_size = self.controls_maker.sample_maker.chunk_size
        parts = held_out(
            {name: ref.n_structures for name, ref in document.sets.items()},
            plan,
            self.controls_maker.n_relaxed,
        )
        kept = {}
        for control, part in parts.items():
            structures = get_structures(jobstore, document.sets[part.name])
            chosen = structures.select(np.arange(part.n))
            kept[control] = store_generated(jobstore, control, chosen, chunk_size)
        jobs = self.controls_maker.jobs(
            spec,
            protocol,
            document.sets["train"],
            kept.get(VALIDATION_CONTROL),
            plan,
            seed=seed,
            high=kept.get(HIGH_CONTROL),
        )
        return ended_by(jobs[:-1], jobs[-1])


@dataclass
class RelaxedBenchmarkMaker(Maker):
    """Make a relaxed dataset and score the controls on it.

    Parameters
    ----------
    name : str
        The flow name.
    interface_maker : InterfaceDatasetMaker
        Makes interfaces.
    amorphous_maker : AmorphousDatasetMaker
        Makes amorphous systems.
    controls_maker : ScoreControlsMaker
        Scores the controls.
    protocols : sequence of {"published", "corrected"}
        By which; none leaves them out.
    """

    name: str = "relaxed dataset"
    interface_maker: InterfaceDatasetMaker = field(default_factory=InterfaceDatasetMaker)
    amorphous_maker: AmorphousDatasetMaker = field(default_factory=AmorphousDatasetMaker)
    controls_maker: ScoreControlsMaker = field(default_factory=ScoreControlsMaker)
    protocols: Sequence[ProtocolName] = DEFAULT_PROTOCOLS

    def make(
        self,
        spec: SystemSpec,
        potential: PotentialRef,
        seed: int = 0,
        n_structures: int | None = None,
        parent: StructuresRef | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec, potential, seed, n_structures
            See `InterfaceDatasetMaker.make` and `AmorphousDatasetMaker.make`.
        parent : StructuresRef, optional
            Of an amorphous system: a parent in the store.

        Returns
        -------
        Flow
            Its output has ``dataset`` (`DatasetDoc`) and ``controls`` (`ControlsDoc` by protocol
            key).
        """
        if spec.kind == "interface":
            dataset = self.interface_maker.make(spec, potential, seed, n_structures)
        else:
            dataset = self.amorphous_maker.make(spec, potential, seed, n_structures, parent)
        parts: list[Job | Flow] = [dataset]
        controls = {}
        whole = spec.self_contained()
        for name in self.protocols:
            protocol = ScoringProtocol.for_kind(spec.kind, name)
            scored = self.controls_maker.make(whole, protocol, dataset.output, potential, seed)
            scored.name = f"{self.controls_maker.name} {spec.name} {protocol.key}"
            scored.update_metadata(
                {"system": spec.name, "model": "controls", "protocol": protocol.key}, dynamic=True
            )
            parts.append(scored)
            controls[protocol.key] = scored.output
        output = {"dataset": dataset.output, "controls": controls}
        return Flow(parts, output=output, name=dataset.name)
