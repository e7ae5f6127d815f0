"""Jobs that sample and score the controls of alloys."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Maker

from dismaiflow.benchmark.collecting import collect_results
from dismaiflow.benchmark.count_jobs import alloy_in_cell, first_chunk
from dismaiflow.benchmark.jobs import build_scorer, expansion_hash
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.runs import count_reasons
from dismaiflow.benchmark.schemas import ControlsDoc, CountedChunk
from dismaiflow.jobs import dismai_job
from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.checks import sample_checked
from dismaiflow.models.registry import get_model
from dismaiflow.models.scratch import scratch_folder
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.generated import GeneratedSet, store_generated
from dismaiflow.store.structures import StructuresRef, get_structures
from dismaiflow.systems import SystemSpec


@dataclass
class SampleControlMaker(Maker):
    """Sample a baseline.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "sample control"
    chunk_size: int = 250

    @dismai_job(output_schema=GeneratedSet)
    def make(self, control: str, reference: StructuresRef, n: int, seed: int) -> GeneratedSet:
        """Sample.

        Parameters
        ----------
        control : str
            Name of a model.
        reference : StructuresRef
            The set that it is given to learn from.
        n : int
            Structures to draw.
        seed : int
            Seed.
        """
        jobstore = current_jobstore()
        model = get_model(control)
        with scratch_folder("controls") as folder:
            data = ModelData(get_structures(jobstore, reference))
            model.fit(data, folder, seed=seed, budget=Budget())
            found = sample_checked(model, folder, n, seed)
        return store_generated(
            jobstore, control, found.structures, self.chunk_size, found.indices, found.bad
        )


@dataclass
class CollectControlsMaker(Maker):
    """Score all controls against one reference.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect alloy controls"

    @dismai_job(output_schema=ControlsDoc)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        reference_counts: list[CountedChunk | None] | None,
        controls: dict[str, GeneratedSet | None],
        control_counts: dict[str, list[CountedChunk | None] | None],
        n_sampled: int,
        seed: int,
    ) -> ControlsDoc:
        """Score; parameters as for `CollectScoreMaker`, the controls by name."""
        jobstore = current_jobstore()
        alloy, _ = alloy_in_cell(spec, first_chunk(jobstore, reference).select([0]))
        scorer = build_scorer(alloy, protocol, reference_counts)
        scores: dict[str, dict[str, float | None]] = {}
        failures: dict[str, dict[str, int]] = {}
        sizes: dict[str, int] = {}
        for name, one in controls.items():
            if one is None:
                continue
            counted, failed = collect_results(
                jobstore, one, control_counts[name], 0, scorer.reference
            )
            run = scorer.score_run(counted, one.n_frames, failed)
            scores[name] = {key: metric.value for key, metric in run.metrics.items()}
            scores[name] |= run.distribution
            failures[name] = count_reasons(failed)
            sizes[name] = run.n_generated
        return ControlsDoc(
            system=spec.name,
            protocol=protocol,
            reference_hash=reference.content_hash,
            n_sampled=n_sampled,
            seed=seed,
            expansion_hash=expansion_hash(spec),
            sizes=sizes,
            scores=scores,
            failures=failures,
            missing=[name for name, one in controls.items() if one is None],
        )
