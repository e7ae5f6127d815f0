"""Relaxations of many structures by one Maker: sent out, and collected into a table and frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import Atoms
from jobflow import Flow, Job, Maker

from dismaiflow.campaigns.dft_schemas import RunRow, RunsDoc, put_rows
from dismaiflow.dft.schemas import RunDoc, StoredStructure
from dismaiflow.jobs import dismai_job
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.frames import get_frames, put_frames
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.frames import LabelledFrames
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from dismaiflow.store.structures import StructuresRef

#: Status of a run whose job failed: there is no VASP, no disk, no worker.
JOB_FAILED = "job_failed"


class RelaxationMaker(Protocol):
    """Any Maker of a job, or of a flow, whose output is a `RunDoc`: VASP or another engine."""

    name: str

    def make(self, structure: Structure | StoredStructure, prev_dir: Any = None) -> Job | Flow:
        """Relax one structure."""
        ...


@dataclass
class CollectRunsMaker(Maker):
    """Gather relaxations into one document.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "collect runs"
    chunk_size: int = 50

    @dismai_job(output_schema=RunsDoc)
    def make(self, system: str, parents: list[str], runs: list[RunDoc | None]) -> RunsDoc:
        """Gather.

        Parameters
        ----------
        system : str
            Name of the system.
        parents : list of str
            Names of the structures.
        runs : list of RunDoc
            What their relaxations have left, None where a job failed.
        """
        jobstore = current_jobstore()
        rows: list[RunRow] = []
        last: list[Atoms] = []
        frames: list[LabelledFrames] = []
        for parent, run in zip(parents, runs, strict=True):
            if run is None:
                reason = "its job failed: `dismai launchpad status` or the log tells why"
                rows.append(RunRow(parent=parent, status=JOB_FAILED, reason=reason))
                continue
            done = RunDoc.model_validate(run)
            row = RunRow.model_validate(
                done.model_dump(include=set(RunRow.model_fields) - {"place"})
            )
            if done.structure is not None:
                row.place = len(last)
                last.append(_plain_atoms(done.structure, len(rows)))
            if done.frames is not None:
                frames.append(get_frames(jobstore, done.frames))
            rows.append(row)
        joined = LabelledFrames.concatenate(frames)
        return RunsDoc(
            system=system,
            n_runs=len(rows),
            by_status=dict(Counter(row.status for row in rows).most_common()),
            rows=put_rows(jobstore, rows),
            structures=put_structures(jobstore, _set_of(last), self.chunk_size) if last else None,
            frames=put_frames(jobstore, joined) if len(joined) else None,
            labels=list(joined.labels),
        )


def _plain_atoms(structure: Structure, row: int) -> Atoms:
    return Atoms(
        numbers=[site.specie.Z for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=True,
        info={INDEX_LABEL: row},
    )


def _set_of(images: list[Atoms]) -> StructureSet:
    rows = np.array([atoms.info[INDEX_LABEL] for atoms in images], dtype=np.int64)
    return StructureSet.from_atoms(images).with_labels({INDEX_LABEL: rows})


def places_of(reference: StructuresRef) -> list[tuple[str, int]]:
    """Return the chunk of each structure of a set, and its place in it."""
    return [
        (chunk, place)
        for chunk, size in zip(reference.chunks, reference.chunk_sizes, strict=True)
        for place in range(size)
    ]


def relax_each(
    maker: RelaxationMaker, structures: Sequence[StoredStructure]
) -> tuple[list[Job | Flow], list[Any]]:
    """Return a relaxation for each structure, named after it, and their outputs."""
    parts: list[Job | Flow] = []
    for one in structures:
        part = maker.make(one)
        if not part.name.endswith(one.parent):
            part.append_name(f" {one.parent}", dynamic=False)
        parts.append(part)
    return parts, [part.output for part in parts]
