"""Jobs that score alloys from their clusters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from jobflow import Maker

from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.alloy_scoring import AlloyScorer, explain_missing
from dismaiflow.benchmark.collecting import collect_results, find_example
from dismaiflow.benchmark.count_jobs import alloy_in_cell, first_chunk
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.benchmark.runs import (
    RunScore,
    common_fields,
    example,
)
from dismaiflow.benchmark.schemas import ControlsDoc, CountedChunk, Provenance, ScoreDoc
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.metrics.bootstrap import SEED as BOOTSTRAP_SEED
from dismaiflow.store.blobs import current_jobstore, get_blob
from dismaiflow.store.generated import GeneratedSet
from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec


def expansion_hash(spec: SystemSpec) -> str:
    """Return the SHA-256 of the energies of a spec, wherever they are kept."""
    data = spec.self_contained().model_dump_json(include={"cluster_expansion", "lattice"})
    return hashlib.sha256(data.encode()).hexdigest()


@dataclass
class CollectScoreMaker(Maker):
    """Compare counted structures with the counted reference.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect alloy score"

    @dismai_job(output_schema=ScoreDoc)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        reference_name: str,
        reference_counts: list[CountedChunk | None] | None,
        generated: list[GeneratedSet],
        generated_counts: list[list[CountedChunk | None] | None],
        model: str,
        controls: ControlsDoc | None = None,
    ) -> ScoreDoc:
        """Score.

        Parameters
        ----------
        spec, protocol
            System and protocol.
        reference : StructuresRef
            The reference set.
        reference_name : str
            What the user called it.
        reference_counts : list of CountedChunk
            Its counts.
        generated : list of GeneratedSet
            The generated files.
        generated_counts : list of list of CountedChunk
            Their counts; None where a job failed, which costs its structures but not the rest.
        model : str
            Name of the model or of the files.
        controls : ControlsDoc, optional
            Scores of the controls against the same reference.
        """
        jobstore = current_jobstore()
        first = first_chunk(jobstore, reference)
        alloy, _ = alloy_in_cell(spec, first.select([0]))
        scorer = build_scorer(alloy, protocol, reference_counts)
        runs: list[RunScore] = []
        counts: list[AlloyCounts] = []
        for file, (one, chunks) in enumerate(zip(generated, generated_counts, strict=True)):
            counted, failed = collect_results(jobstore, one, chunks, file, scorer.reference)
            counts.append(counted)
            runs.append(scorer.score_run(counted, one.n_frames, failed))
        names = [one.name for one in generated]
        common = common_fields(runs, names, controls)
        return ScoreDoc(
            **common,
            system=spec.name,
            protocol=protocol,
            distribution_reasons=explain_missing(common["distribution"], common["n_scored"]),
            published=compare_with_published(spec.name, reference.content_hash, protocol.name),
            histograms=scorer.histograms(AlloyCounts.concatenate(counts)),
            examples=_examples(jobstore, generated, counts, first),
            provenance=Provenance(
                model=model,
                reference=reference_name,
                reference_hash=reference.content_hash,
                generated_files=names,
                generated_hashes=[one.structures.content_hash for one in generated],
                bootstrap_seed=BOOTSTRAP_SEED,
            ),
        )


def build_scorer(
    alloy: AlloySystem, protocol: ScoringProtocol, chunks: list[CountedChunk | None] | None
) -> AlloyScorer:
    """Build a scorer from the counts of the reference, all of which must be there."""
    jobstore = current_jobstore()
    if chunks is None:
        raise DismaiError("the job that was to count the reference did not finish")
    parts = []
    for number, chunk in enumerate(chunks):
        if chunk is None:
            raise DismaiError(f"the job that was to count reference chunk {number} did not finish")
        parts.append(AlloyCounts.from_bytes(get_blob(jobstore, chunk.counts)))
    counts = AlloyCounts.concatenate(parts)
    if counts.bad:
        raise DismaiError(
            f"reference structure {counts.bad[0].index} cannot be counted: {counts.bad[0].detail}"
        )
    return AlloyScorer(AlloyAnalyser(alloy, protocol), counts)


def _examples(
    jobstore: Any,
    generated: list[GeneratedSet],
    counts: list[AlloyCounts],
    reference: StructureSet,
) -> dict[str, Any]:
    """Pick the first scored structure and the first of the reference."""
    examples = {"reference": example(reference, 0)}
    for one, counted in zip(generated, counts, strict=True):
        index = int(counted.indices[0]) if len(counted) else None
        found = find_example(jobstore, one.structures, index)
        if found is not None:
            return examples | {"generated": found}
    return examples
