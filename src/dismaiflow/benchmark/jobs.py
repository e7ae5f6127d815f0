"""Jobs that count the clusters of alloys and score them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jobflow import Flow, JobConfig, Maker, OnMissing, Response, job

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
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.bootstrap import SEED as BOOTSTRAP_SEED
from dismaiflow.progress import report
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.structures import StructuresRef, get_chunk, put_structures
from dismaiflow.structures.checks import Expectation, check_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import JobStore
    from numpy.typing import NDArray

#: Kind under which counts are stored.
COUNTS_KIND = "alloy_counts"

#: Kind under which lists of unreadable frames are stored.
UNREADABLE_KIND = "unreadable_frames"

#: Label that tells the place of a structure in its source.
INDEX_LABEL = "index"

#: Controls are moved by so much before they are counted (Å). They stand exactly on sites, where the
#: published ``fixed`` alignment loses the first atom of each; the floor would be ten times as high.
CONTROL_SHIFT = 1e-5

_STORE = JobConfig(expose_store=True)


def first_chunk(jobstore: JobStore, reference: StructuresRef) -> StructureSet:
    """Fetch the first chunk of a reference set.

    Raises
    ------
    DismaiError
        If the set is empty.
    """
    if not reference.chunks:
        raise DismaiError("the reference holds no structures")
    return get_chunk(jobstore, reference.chunks[0])


def alloy_in_cell(spec: SystemSpec, reference: StructureSet) -> tuple[AlloySystem, Expectation]:
    """Return the alloy in the supercell of the reference, and what structures must be like."""
    expected = Expectation.of_reference(reference, f"{spec.name}: reference")
    composition = {chemical_symbols[z]: n for z, n in expected.composition.items()}
    assert expected.cell is not None
    return AlloySystem.from_spec(spec).in_cell(expected.cell, composition), expected


def expansion_hash(spec: SystemSpec) -> str:
    """Return the SHA-256 of the energies of a spec, wherever they are kept."""
    data = spec.self_contained().model_dump_json(include={"cluster_expansion", "lattice"})
    return hashlib.sha256(data.encode()).hexdigest()


@dataclass
class CountChunkMaker(Maker):
    """Count the clusters of one chunk of structures.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "count alloy clusters"

    @job(config=_STORE, output_schema=CountedChunk)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        chunk: str,
        composition: dict[str, int],
        cell: list[list[float]],
        role: str,
        total: int,
        start: int = 0,
    ) -> CountedChunk:
        """Count.

        Parameters
        ----------
        spec : SystemSpec
            The alloy.
        protocol : ScoringProtocol
            How to align and count.
        chunk : str
            Blob of the structures.
        composition : dict
            Atoms of each species that every structure must have.
        cell : list
            Cell vectors in Å that every structure must have.
        role : {"generated", "control", "reference"}
            Which side the structures are on. Controls are moved by `CONTROL_SHIFT`.
        total : int
            Structures of the whole set, for the progress.
        start : int
            Place of the first structure in the set.
        """
        task = f"scoring ({protocol.key})"
        report(task, 0, total, "structures")
        jobstore = current_jobstore()
        structures = get_chunk(jobstore, chunk)
        places = start + np.arange(len(structures))
        if role != "reference":
            # Frames that could not be read left gaps.
            places = structures.labels.get(INDEX_LABEL, places)
        vectors = np.array(cell)
        expected = Expectation({atomic_numbers[s]: n for s, n in composition.items()}, vectors)
        kept, bad = check_structures(structures, places, expected)
        alloy = AlloySystem.from_spec(spec).in_cell(vectors, composition)
        analyser = AlloyAnalyser(alloy, protocol)
        counter = analyser.count_reference if role == "reference" else analyser.count_generated
        if role == "control":
            structures = replace(structures, positions=structures.positions + CONTROL_SHIFT)
        counts = counter(structures.select(kept), places[kept])
        counts.bad.extend(bad)
        report(task, len(structures), total, "structures")
        blob = put_blob(jobstore, counts.to_bytes(), COUNTS_KIND)
        return CountedChunk(counts=blob, n_counted=len(counts), n_failed=len(counts.bad))


@dataclass
class CountSetMaker(Maker):
    """Count the clusters of a set, chunk by chunk.

    Parameters
    ----------
    name : str
        The job name.
    chunk_maker : CountChunkMaker
        Counts one chunk.
    """

    name: str = "count alloy set"
    chunk_maker: CountChunkMaker = field(default_factory=CountChunkMaker)

    @job(config=_STORE)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        structures: StructuresRef,
        reference: StructuresRef,
        role: str,
        label: str = "",
    ) -> Response[Any]:
        """Send every chunk to a job of its own.

        Parameters
        ----------
        spec, protocol, role
            See `CountChunkMaker.make`.
        structures : StructuresRef
            The set to count.
        reference : StructuresRef
            The reference set, whose first structure says what all must be like.
        label : str
            Part of the names of the jobs, which tells the sets of one flow apart.

        Returns
        -------
        Response
            Replaced by a flow whose output is a list of `CountedChunk`, None where a job failed.
        """
        maker = self.chunk_maker
        first = first_chunk(current_jobstore(), reference).select([0])
        alloy, expected = alloy_in_cell(spec, first)
        assert expected.cell is not None
        jobs = []
        start = 0
        for number, (chunk, size) in enumerate(
            zip(structures.chunks, structures.chunk_sizes, strict=True)
        ):
            made = maker.make(
                spec,
                protocol,
                chunk,
                alloy.composition,
                expected.cell.tolist(),
                role,
                structures.n_structures,
                start,
            )
            made.name = " ".join(filter(None, (maker.name, label, str(number))))
            jobs.append(made)
            start += size
        gathered = gather([made.output for made in jobs])
        gathered.name = f"gather {label}".rstrip()
        gathered.config.on_missing_references = OnMissing.NONE
        return Response(replace=Flow([*jobs, gathered], output=gathered.output))


@job
def gather(outputs: list[Any]) -> list[Any]:
    """Pass on what jobs have left, None where one failed."""
    return outputs


@dataclass
class CollectScoreMaker(Maker):
    """Compare counted structures with the counted reference.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect alloy score"

    @job(config=_STORE, output_schema=ScoreDoc)
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
            examples=_examples(jobstore, generated, generated_counts, counts, first),
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
            jobstore, structures.with_labels(structures.labels | {INDEX_LABEL: places}), chunk_size
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
    parts = [
        AlloyCounts.from_bytes(get_blob(jobstore, chunk.counts))
        for chunk in chunks or []
        if chunk is not None
    ]
    counted = AlloyCounts.concatenate(parts) if parts else like.emptied()
    unreadable: list[BadFrame] = []
    if generated.unreadable is not None:
        listed_there = json.loads(get_blob(jobstore, generated.unreadable))
        unreadable = [BadFrame(*entry) for entry in listed_there]
    failed = [
        Failure(file=file, index=bad.index, reason=bad.reason, detail=bad.detail)
        for bad in (*unreadable, *counted.bad)
    ]
    # Whatever no job has told of was lost with its job.
    told = {*counted.indices.tolist(), *(failure.index for failure in failed)}
    detail = "the job that was to count it did not finish"
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
    generated_counts: list[list[CountedChunk | None] | None],
    counts: list[AlloyCounts],
    reference: StructureSet,
) -> dict[str, Any]:
    """Pick the first scored structure and the first of the reference."""
    examples = {"reference": example(reference, 0)}
    for one, chunks, counted in zip(generated, generated_counts, counts, strict=True):
        if chunks is None or len(counted) == 0:
            continue
        wanted = int(counted.indices[0])
        for blob, finished in zip(one.structures.chunks, chunks, strict=True):
            if finished is None or finished.n_counted == 0:
                continue
            chunk = get_chunk(jobstore, blob)
            place = np.flatnonzero(chunk.labels[INDEX_LABEL] == wanted)
            if len(place):
                examples["generated"] = example(chunk, int(place[0]))
                return examples
    return examples
