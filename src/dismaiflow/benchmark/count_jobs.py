"""Jobs that count the clusters of alloys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jobflow import Maker, Response

from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import CountedChunk
from dismaiflow.errors import BlobError, DismaiError
from dismaiflow.jobs import dismai_job, replaced_by
from dismaiflow.progress import report
from dismaiflow.store.blobs import current_jobstore, put_blob
from dismaiflow.store.structures import StructuresRef, get_chunk
from dismaiflow.structures.checks import Expectation, check_structures
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from jobflow import JobStore

#: Kind under which counts are stored.
COUNTS_KIND = "alloy_counts"

#: Controls are moved by so much before they are counted (Å). They stand exactly on sites, where the
#: published ``fixed`` alignment loses the first atom of each; the floor would be ten times as high.
CONTROL_SHIFT = 1e-5


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


@dataclass
class CountChunkMaker(Maker):
    """Count the clusters of some chunks of a set.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "count alloy clusters"

    @dismai_job(output_schema=CountedChunk)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        chunks: list[str],
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
        chunks : list of str
            Blobs of the structures.
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
        vectors = np.array(cell)
        alloy = AlloySystem.from_spec(spec).in_cell(vectors, composition)
        analyser = AlloyAnalyser(alloy, protocol)
        expected = Expectation({atomic_numbers[s]: n for s, n in composition.items()}, vectors)
        return _count_chunks(analyser, expected, chunks, role, total, start)


@dataclass
class CountSetMaker(Maker):
    """Count the clusters of a set, in jobs of several chunks.

    Parameters
    ----------
    name : str
        The job name.
    structures_per_job : int
        Structures that one job counts. To count one takes milliseconds, to start a job tens of
        them: jobs of one chunk each would mostly wait for the LaunchPad. A set that fits into one
        job is counted at once.
    chunk_maker : CountChunkMaker
        Counts some chunks.
    """

    name: str = "count alloy set"
    structures_per_job: int = 1500
    chunk_maker: CountChunkMaker = field(default_factory=CountChunkMaker)

    @dismai_job()
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        structures: StructuresRef,
        reference: StructuresRef,
        role: str,
        label: str = "",
    ) -> list[CountedChunk] | Response[Any]:
        """Count a small set; send the chunks of a larger one to jobs of their own.

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
        list of CountedChunk, or Response
            Replaced, where the set is cut, by jobs with such an output, None where one failed.
        """
        first = first_chunk(current_jobstore(), reference).select([0])
        alloy, expected = alloy_in_cell(spec, first)
        total = structures.n_structures
        groups = list(structures.groups(self.structures_per_job))
        if len(groups) == 1:
            analyser = AlloyAnalyser(alloy, protocol)
            return [_count_chunks(analyser, expected, groups[0][1], role, total, 0)]
        assert expected.cell is not None
        cell = expected.cell.tolist()
        jobs = []
        for number, (start, chunks) in enumerate(groups):
            made = self.chunk_maker.make(
                spec, protocol, chunks, alloy.composition, cell, role, total, start
            )
            made.name = " ".join(filter(None, (self.chunk_maker.name, label, str(number))))
            jobs.append(made)
        return replaced_by(jobs, [made.output for made in jobs], f"gather {label}".rstrip())


def _count_chunks(
    analyser: AlloyAnalyser,
    expected: Expectation,
    chunks: list[str],
    role: str,
    total: int,
    start: int,
) -> CountedChunk:
    """Count chunk after chunk and store what was counted; parameters as of the job."""
    task = f"scoring ({analyser.protocol.key})"
    report(task, 0, total, "structures")
    jobstore = current_jobstore()
    parts = [_count_structures(analyser, expected, StructureSet.from_atoms([]), role, start)]
    lost = []
    for chunk in chunks:
        try:
            structures = get_chunk(jobstore, chunk)
        except BlobError as error:
            # Half of a reference is another reference; generated structures can be spared.
            if role == "reference":
                raise
            lost.append(str(error))
            continue
        parts.append(_count_structures(analyser, expected, structures, role, start))
        start += len(structures)
        report(task, len(structures), total, "structures")
    counts = AlloyCounts.concatenate(parts)
    blob = put_blob(jobstore, counts.to_bytes(), COUNTS_KIND)
    return CountedChunk(counts=blob, n_counted=len(counts), n_failed=len(counts.bad), lost=lost)


def _count_structures(
    analyser: AlloyAnalyser, expected: Expectation, structures: StructureSet, role: str, start: int
) -> AlloyCounts:
    """Count the structures of a chunk, those that cannot be counted among the bad."""
    places = start + np.arange(len(structures))
    if role != "reference":
        # Frames that could not be read left gaps.
        places = structures.labels.get(INDEX_LABEL, places)
    kept, bad = check_structures(structures, places, expected)
    if role == "control":
        structures = replace(structures, positions=structures.positions + CONTROL_SHIFT)
    count = analyser.count_reference if role == "reference" else analyser.count_generated
    counts = count(structures.select(kept), places[kept])
    counts.bad.extend(bad)
    return counts
