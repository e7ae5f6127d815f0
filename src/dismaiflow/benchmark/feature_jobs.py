"""Jobs that analyse structures with free atoms."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker, Response

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import AnalysedSet, CountedChunk
from dismaiflow.benchmark.structure_analysis import StructureAnalyser, analysis_hash
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.errors import BlobError, DismaiError
from dismaiflow.jobs import dismai_job, ended_by
from dismaiflow.parallel import LostTask, available_cores, run_parallel
from dismaiflow.potentials.jobs import expected_like
from dismaiflow.progress import report
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import current_jobstore, put_blob
from dismaiflow.store.structures import StructuresRef, read_chunks
from dismaiflow.structures.checks import Expectation, check_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    #: What is given to all tasks, some structures as bytes, and their places.
    AnalysisTask = tuple[Any, bytes, NDArray[np.int64]]

#: Kind under which features are stored.
FEATURES_KIND = "structure_features"

#: Structures whose features make one blob: some 25 kB each.
_IN_A_BLOB = 200

#: Structures of one task of a process, and the fewest for which processes are started.
_AT_ONCE, _WORTH_PROCESSES = 10, 40


@dataclass
class AnalysePartMaker(Maker):
    """Analyse some chunks of a set.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "analyse"

    @dismai_job()
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        chunks: list[str],
        expected: dict[str, Any],
        role: str,
        total: int,
        start: int = 0,
    ) -> list[CountedChunk]:
        """Analyse.

        Parameters
        ----------
        spec : SystemSpec
            The system, self-contained.
        protocol : ScoringProtocol
            By which.
        chunks : list of str
            Blobs of the structures.
        expected : dict
            `Expectation.plain` of what every structure must be like.
        role : {"generated", "control", "reference"}
            Which side the structures are on.
        total : int
            Structures of the whole set, for the progress.
        start : int
            Place of the first structure in the set.
        """
        return _analyse_chunks(spec, protocol, chunks, expected, role, total, start)


@dataclass
class CollectAnalysedMaker(Maker):
    """Put the analysed parts of a set together.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect analysed"

    @dismai_job(output_schema=AnalysedSet)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        structures: StructuresRef,
        parts: list[list[CountedChunk] | None],
    ) -> AnalysedSet:
        """Collect; parts are None where a job failed."""
        return _analysed(spec, protocol, structures, parts)


@dataclass
class AnalyseSetMaker(Maker):
    """Analyse a set, in jobs of several chunks.

    Parameters
    ----------
    name : str
        The job name.
    structures_per_job : int
        Structures that one job analyses, at once on all cores that it may use. A set that fits
        into one job is analysed at once.
    part_maker : AnalysePartMaker
        Analyses some chunks.
    collect_maker : CollectAnalysedMaker
        Puts the parts together.
    """

    name: str = "analyse set"
    structures_per_job: int = 1500
    part_maker: AnalysePartMaker = field(default_factory=AnalysePartMaker)
    collect_maker: CollectAnalysedMaker = field(default_factory=CollectAnalysedMaker)

    @dismai_job(output_schema=AnalysedSet)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        structures: StructuresRef,
        reference: StructuresRef,
        role: str,
        own_cells: bool = False,
        label: str = "",
    ) -> AnalysedSet | Response[Any]:
        """Analyse a small set; send the chunks of a larger one to jobs of their own.

        Parameters
        ----------
        spec, protocol, role
            See `AnalysePartMaker.make`.
        structures : StructuresRef
            The set to analyse.
        reference : StructuresRef
            The reference set, whose first structure says what all must be like.
        own_cells : bool
            Whether each structure may have a cell of its own.
        label : str
            Part of the names of the jobs, which tells the sets of one flow apart.
        """
        total = structures.n_structures
        expected = expected_like(current_jobstore(), reference, own_cells)
        groups = list(structures.groups(self.structures_per_job))
        if len(groups) < 2:
            chunks = groups[0][1] if groups else []
            found = _analyse_chunks(spec, protocol, chunks, expected, role, total, 0)
            return _analysed(spec, protocol, structures, [found])
        jobs = []
        for number, (start, chunks) in enumerate(groups):
            made = self.part_maker.make(spec, protocol, chunks, expected, role, total, start)
            made.name = " ".join(filter(None, (self.part_maker.name, label, str(number))))
            jobs.append(made)
        last = self.collect_maker.make(spec, protocol, structures, [made.output for made in jobs])
        last.name = f"{self.collect_maker.name} {label}".rstrip()
        return ended_by(jobs, last)


def _analysed(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    structures: StructuresRef,
    parts: list[list[CountedChunk] | None],
) -> AnalysedSet:
    pieces: list[CountedChunk | None] = []
    for part in parts:
        pieces.extend([None] if part is None else part)
    return AnalysedSet(
        system=spec.name,
        input_hash=structures.content_hash,
        analysis_hash=analysis_hash(spec, protocol),
        n_structures=structures.n_structures,
        parts=pieces,
    )


def _analyse_chunks(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    chunks: list[str],
    expected: dict[str, Any],
    role: str,
    total: int,
    start: int,
) -> list[CountedChunk]:
    """Analyse chunks and store what was found, in pieces that a blob holds."""
    jobstore = current_jobstore()
    is_reference = role == "reference"
    whole, indices, lost = read_chunks(jobstore, chunks, start, labelled=not is_reference)
    if lost and is_reference:
        # Half of a reference is another reference; generated structures can be spared.
        raise BlobError(lost[0])
    kept, bad = check_structures(whole, indices, Expectation.from_plain(expected))
    features = analyse_structures(
        whole.select(kept), indices[kept], spec, protocol, f"analysing {role}", total
    )
    features.bad.extend(bad)
    return store_features(jobstore, features, lost)


def store_features(
    jobstore: Any, features: StructureFeatures, lost: Sequence[str] = ()
) -> list[CountedChunk]:
    """Store features in pieces that a blob holds.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    features : StructureFeatures
        Features; what is bad goes with the first piece.
    lost : sequence of str
        Why structures could not be read.
    """
    pieces = []
    for first in range(0, max(len(features), 1), _IN_A_BLOB):
        chosen = np.arange(first, min(first + _IN_A_BLOB, len(features)))
        piece = features.select(chosen)
        if first == 0:
            piece.bad.extend(features.bad)
        blob = put_blob(jobstore, piece.to_bytes(), FEATURES_KIND)
        told = list(lost) if first == 0 else []
        pieces.append(
            CountedChunk(counts=blob, n_counted=len(piece), n_failed=len(piece.bad), lost=told)
        )
    return pieces


def analyse_structures(
    structures: StructureSet,
    indices: NDArray[np.int64],
    spec: SystemSpec,
    protocol: ScoringProtocol,
    task: str = "analysing",
    total: int | None = None,
) -> StructureFeatures:
    """Analyse structures on all cores that may be used.

    Parameters
    ----------
    structures : StructureSet
        Whole and sound.
    indices : ndarray of int64, shape (n_structures,)
        Their places in the source.
    spec, protocol
        By which.
    task, total
        For the progress.

    Returns
    -------
    StructureFeatures
        Structures that cannot be analysed are among its ``bad``.
    """
    given = (spec.to_yaml(), protocol)
    return analyse_in_processes(_analyse_task, given, structures, indices, task, total)


def analyse_in_processes(
    function: Callable[[AnalysisTask], bytes],
    given: Any,
    structures: StructureSet,
    indices: NDArray[np.int64],
    task: str,
    total: int | None = None,
) -> StructureFeatures:
    """Let a function analyse structures, a few at a time, on all cores that may be used.

    Parameters
    ----------
    function : callable
        Of a module; takes ``given``, some structures as bytes and their places, and returns
        `StructureFeatures` as bytes (see `analyse_each`).
    given : object
        What it needs to know; can be pickled.
    structures, indices, task, total
        As for `analyse_structures`.
    """
    n = len(structures)
    n_total = n if total is None else total
    report(task, 0, n_total, "structures")
    starts = range(0, n, _AT_ONCE)
    tasks: list[AnalysisTask] = []
    for first in starts:
        chosen = np.arange(first, min(first + _AT_ONCE, n))
        tasks.append((given, structures.select(chosen).to_bytes(), indices[chosen]))
    cores = load_settings().PROCESSES or available_cores()
    n_processes = min(cores, len(tasks)) if n >= _WORTH_PROCESSES else 1
    parts = [StructureFeatures.from_rows([], [])]
    for number, found in run_parallel(function, tasks, max(n_processes, 1)):
        if isinstance(found, LostTask):
            size = len(tasks[number][2])
            reason = found.reason
            lost = [BadFrame(int(i), "analysis_failed", reason) for i in tasks[number][2]]
            parts.append(StructureFeatures.from_rows([], lost))
        else:
            part = StructureFeatures.from_bytes(found)
            size = len(part) + len(part.bad)
            parts.append(part)
        report(task, size, n_total, "structures")
    return StructureFeatures.concatenate(parts)


def analyse_each(
    analyse: Callable[..., dict[str, NDArray[Any]]], data: bytes, indices: NDArray[np.int64]
) -> bytes:
    """Analyse the structures of a task one by one; what cannot be analysed is among the bad.

    Parameters
    ----------
    analyse : callable
        Takes atomic numbers, positions (Å) and cell (Å) of a structure and returns its features.
    data : bytes
        Of a `StructureSet`.
    indices : ndarray of int64
        Places of its structures.

    Returns
    -------
    bytes
        Of `StructureFeatures`.
    """
    structures = StructureSet.from_bytes(data)
    rows, bad = [], []
    for i, place in enumerate(indices.tolist()):
        part = structures.slice_of(i)
        try:
            found = analyse(
                structures.numbers[part], structures.positions[part], structures.cells[i]
            )
        except DismaiError as error:
            bad.append(BadFrame(place, "analysis_failed", str(error)))
            continue
        rows.append((place, found))
    return StructureFeatures.from_rows(rows, bad).to_bytes()


def _analyse_task(task: AnalysisTask) -> bytes:
    """Analyse some structures in a process."""
    given, data, indices = task
    return analyse_each(_analyser(*given).analyse, data, indices)


@lru_cache(maxsize=4)
def _analyser(yaml: str, protocol: ScoringProtocol) -> StructureAnalyser:
    """Build an analyser once in a process."""
    spec = SystemSpec.from_yaml(yaml)
    host = None
    if spec.kind == "interface":
        from dismaiflow.interfaces.system import InterfaceSystem

        # An interface that cannot be built here has no region to be found, and all else.
        try:
            host = InterfaceSystem.from_spec(spec).host
        except DismaiError:
            host = None
    return StructureAnalyser(spec, protocol, host)
