"""Jobs that score alloys from their clusters."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker

from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.alloy_scoring import (
    AlloyScorer,
    RunScore,
    combine_distributions,
    combine_runs,
    count_reasons,
    example,
    explain_missing,
    listed,
)
from dismaiflow.benchmark.count_jobs import INDEX_LABEL, alloy_in_cell, first_chunk
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.benchmark.schemas import (
    ControlsDoc,
    CountedChunk,
    Failure,
    GeneratedSet,
    Provenance,
    ScoreDoc,
)
from dismaiflow.errors import BlobError, DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.metrics.bootstrap import SEED as BOOTSTRAP_SEED
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.structures import StructuresRef, get_chunk, put_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Kind under which lists of unreadable frames are stored.
UNREADABLE_KIND = "unreadable_frames"


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
            counted, failed = collect_counts(jobstore, one, chunks, file, scorer.reference)
            counts.append(counted)
            runs.append(scorer.score_run(counted, one.n_frames, failed))
        failed = [failure for run in runs for failure in run.failed]
        all_counts = AlloyCounts.concatenate(counts)
        scores = controls.scores if controls else {}
        distribution = combine_distributions(runs)
        n_scored = sum(run.n_scored for run in runs)
        names = [one.name for one in generated]
        return ScoreDoc(
            system=spec.name,
            protocol=protocol,
            n_generated=sum(run.n_generated for run in runs),
            n_scored=n_scored,
            failures=count_reasons(failed),
            failed=listed(failed),
            metrics=combine_runs(runs),
            distribution=distribution,
            distribution_reasons=explain_missing(distribution, n_scored),
            controls=scores,
            floor=scores.get("train-resample", {}),
            published=compare_with_published(spec.name, reference.content_hash, protocol.name),
            per_run=[run.summary(name) for run, name in zip(runs, names, strict=True)],
            histograms=scorer.histograms(all_counts),
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


def store_generated(
    jobstore: Any,
    name: str,
    structures: StructureSet,
    chunk_size: int,
    indices: NDArray[np.int64] | None = None,
    unreadable: Sequence[BadFrame] = (),
) -> GeneratedSet:
    """Put structures to be scored into the store, with their places as labels.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    name : str
        Name of their source.
    structures : StructureSet
        Those that could be read, or were sampled.
    chunk_size : int
        Structures that one job counts.
    indices : ndarray of int64, shape (n_structures,), optional
        Place of each in the source; by default there were no others.
    unreadable : sequence of BadFrame
        The others.
    """
    places = np.arange(len(structures)) if indices is None else indices
    blob = None
    if unreadable:
        frames = [[bad.index, bad.reason, bad.detail] for bad in unreadable]
        blob = put_blob(jobstore, json.dumps(frames).encode(), UNREADABLE_KIND)
    return GeneratedSet(
        name=name,
        structures=put_structures(
            jobstore,
            structures.with_labels(structures.labels | {INDEX_LABEL: places}),
            chunk_size,
            attached=[blob] if blob else [],
        ),
        n_frames=len(structures) + len(unreadable),
        unreadable=blob,
    )


def collect_counts(
    jobstore: Any,
    generated: GeneratedSet,
    chunks: list[CountedChunk | None] | None,
    file: int,
    like: AlloyCounts,
) -> tuple[AlloyCounts, list[Failure]]:
    """Fetch the counts of a set and list everything in it that was not counted."""
    done = [chunk for chunk in chunks or [] if chunk is not None]
    parts = [AlloyCounts.from_bytes(get_blob(jobstore, chunk.counts)) for chunk in done]
    counted = AlloyCounts.concatenate(parts) if parts else like.emptied()
    unreadable: list[BadFrame] = []
    if generated.unreadable is not None:
        listed_there = json.loads(get_blob(jobstore, generated.unreadable))
        unreadable = [BadFrame(*entry) for entry in listed_there]
    failed = [
        Failure(file=file, index=bad.index, reason=bad.reason, detail=bad.detail)
        for bad in (*unreadable, *counted.bad)
    ]
    # Whatever no job has told of was lost with its job, or before.
    told = {*counted.indices.tolist(), *(failure.index for failure in failed)}
    gone = [message for chunk in done for message in chunk.lost]
    detail = gone[0] if gone else "the job that was to count it did not finish"
    failed.extend(
        Failure(file=file, index=i, reason="job_failed", detail=detail)
        for i in range(generated.n_frames)
        if i not in told
    )
    return counted, sorted(failed, key=lambda failure: failure.index)


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
        if len(counted) == 0:
            continue
        wanted = int(counted.indices[0])
        for blob in one.structures.chunks:
            try:
                chunk = get_chunk(jobstore, blob)
            except BlobError:  # its structures are among the failed
                continue
            place = np.flatnonzero(chunk.labels[INDEX_LABEL] == wanted)
            if len(place):
                return examples | {"generated": example(chunk, int(place[0]))}
    return examples
