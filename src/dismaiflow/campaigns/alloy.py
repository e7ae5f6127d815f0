"""Alloy datasets together with the scores of their controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobflow import Flow, Job, Maker

from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.benchmark.flows import NO_PROTOCOL, AlloyControlsMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.jobs import dismai_job
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.generated import GeneratedSet, store_generated
from dismaiflow.store.structures import StructuresRef, get_structures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.systems import SystemSpec

#: By what the controls of a dataset are scored when it is made: the defaults of both protocols.
DEFAULT_PROTOCOLS = (ScoringProtocol(name="published"), ScoringProtocol(name="corrected"))


@dismai_job(output_schema=GeneratedSet)
def as_generated(name: str, structures: StructuresRef, chunk_size: int) -> GeneratedSet:
    """Treat a stored set as if a model had generated it."""
    jobstore = current_jobstore()
    return store_generated(jobstore, name, get_structures(jobstore, structures), chunk_size)


@dataclass
class AlloyBenchmarkMaker(Maker):
    """Make alloy datasets and score the controls on each.

    Parameters
    ----------
    name : str
        The flow name.
    dataset_maker : AlloyDatasetMaker
        Makes the datasets.
    controls_maker : AlloyControlsMaker
        Scores the controls.
    protocols : sequence of ScoringProtocol
        Protocols by which they are scored.
    """

    name: str = "alloy benchmark"
    dataset_maker: AlloyDatasetMaker = field(default_factory=AlloyDatasetMaker)
    controls_maker: AlloyControlsMaker = field(default_factory=AlloyControlsMaker)
    protocols: Sequence[ScoringProtocol] = DEFAULT_PROTOCOLS

    def make(
        self, specs: Sequence[SystemSpec], seed: int = 0, n_structures: int | None = None
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        specs, seed, n_structures
            See `AlloyDatasetMaker.make`.

        Returns
        -------
        Flow
            Its output has ``datasets`` (`DatasetDoc` by system) and ``controls`` (by system, a dict
            of `ControlsDoc` by protocol key; empty where there are no protocols).
        """
        datasets = self.dataset_maker.make(specs, seed, n_structures)
        parts: list[Job | Flow] = [datasets]
        controls: dict[str, object] = {spec.name: {} for spec in specs}
        for spec in specs if self.protocols else ():
            document = datasets.output[spec.name]
            chunk_size = self.controls_maker.sample_maker.chunk_size
            validation = as_generated("validation", document.sets["val"], chunk_size)
            validation.name = f"validation {spec.name}"
            validation.update_metadata(
                {"system": spec.name, "model": "controls", "protocol": NO_PROTOCOL}
            )
            scored = self.controls_maker.make(
                spec, self.protocols, document.sets["train"], validation.output, seed
            )
            parts.append(Flow([validation, scored], output=scored.output, name=scored.name))
            controls[spec.name] = scored.output
        return Flow(
            parts, output={"datasets": datasets.output, "controls": controls}, name=self.name
        )
