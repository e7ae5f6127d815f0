"""Jobs that push atoms apart and relax structures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker, Response

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY, dismai_job, ended_by
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.store import PotentialRef, fetch_potential
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.potentials.treatment import (
    RelaxationRequest,
    Workplace,
    treat_structures,
)
from dismaiflow.progress import report
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.structures import (
    StructuresRef,
    get_chunk,
    get_structures,
    put_manifest,
    put_structures,
    read_chunks,
)
from dismaiflow.structures.checks import Expectation
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    pass

#: Kind under which tables of relaxations are stored.
TABLE_KIND = "relaxation_table"

#: Kind of the document of a part, which is not to be taken for that of its whole set.
PART_KIND = "relaxation_part"


@dataclass
class RelaxPartMaker(Maker):
    """Relax some chunks of a set.

    A job that is killed begins again at the structure it was on: what is finished is written to a
    journal under the setting SCRATCH_DIR.

    Parameters
    ----------
    name : str
        The job name.
    device : str
        ``cpu``, or ``cuda`` to relax many structures at once on a GPU.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "relax"
    device: str = "cpu"
    chunk_size: int = 50

    @dismai_job(output_schema=RelaxedDoc)
    def make(
        self,
        system: str,
        input_hash: str,
        chunks: list[str],
        start: int,
        total: int,
        potential: PotentialRef,
        request: dict[str, Any],
        expected: dict[str, Any] | None = None,
    ) -> RelaxedDoc:
        """Relax.

        Parameters
        ----------
        system : str
            Name of the system.
        input_hash : str
            Content hash of the whole set.
        chunks : list of str
            Blobs of the structures.
        start : int
            Place of the first structure in the set.
        total : int
            Structures of the whole set, for the progress.
        potential : PotentialRef
            What relaxes.
        request : dict
            `RelaxationRequest.plain`.
        expected : dict, optional
            `Expectation.plain` of what every structure must be like.
        """
        like = None if expected is None else Expectation.from_plain(expected)
        asked = RelaxationRequest.of(request)
        jobstore = current_jobstore()
        whole, indices, lost = read_chunks(jobstore, chunks, start)
        if len(whole) == 0:
            raise DismaiError(lost[0] if lost else "there are no structures to relax")
        task = f"relaxing ({potential.card.name})"
        report(task, 0, total, "structures")
        relaxed, table = treat_structures(
            whole,
            indices,
            like,
            asked,
            fetch_potential(jobstore, potential),
            Workplace.of_settings(self.device),
            lambda n: report(task, n, total, "structures"),
        )
        return RelaxedDoc(
            kind=PART_KIND,
            system=system,
            input_hash=input_hash,
            settings=asked.plain(),
            settings_hash=asked.hash,
            potential=potential.card,
            structures=put_structures(jobstore, relaxed, self.chunk_size),
            table=put_blob(jobstore, table.to_bytes(), TABLE_KIND),
            n_structures=len(whole),
            by_status=table.counts(),
            lost=lost,
        )


@dataclass
class CollectRelaxedMaker(Maker):
    """Put the relaxed parts of a set together.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect relaxed"

    @dismai_job(output_schema=RelaxedDoc)
    def make(
        self,
        system: str,
        input_hash: str,
        total: int,
        potential: PotentialRef,
        request: dict[str, Any],
        parts: list[RelaxedDoc | None],
    ) -> RelaxedDoc:
        """Collect; parameters as for `RelaxPartMaker.make`, the parts None where a job failed."""
        jobstore = current_jobstore()
        done = [RelaxedDoc.model_validate(part) for part in parts if part is not None]
        tables = [RelaxationTable.from_bytes(get_blob(jobstore, d.table)) for d in done]
        table = RelaxationTable.concatenate(tables)
        sets = [get_structures(jobstore, d.structures) for d in done]
        lost = [message for d in done for message in d.lost]
        if len(done) < len(parts):
            lost.append(f"{len(parts) - len(done)} of {len(parts)} jobs that relax did not finish")
        chunks = [c for d in done for c in d.structures.chunks]
        reference = StructuresRef(
            content_hash=StructureSet.concatenate(sets).content_hash,
            n_structures=sum(d.structures.n_structures for d in done),
            chunks=chunks,
            chunk_sizes=[n for d in done for n in d.structures.chunk_sizes],
        )
        put_manifest(jobstore, reference)
        asked = RelaxationRequest.of(request)
        return RelaxedDoc(
            system=system,
            input_hash=input_hash,
            settings=asked.plain(),
            settings_hash=asked.hash,
            potential=potential.card,
            structures=reference,
            table=put_blob(jobstore, table.to_bytes(), TABLE_KIND),
            n_structures=total,
            by_status=table.counts(),
            lost=lost,
        )


@dataclass
class RelaxSetMaker(Maker):
    """Relax a set, in jobs of several chunks.

    Parameters
    ----------
    name : str
        The job name.
    structures_per_job : int
        Structures that one job relaxes, at once on all cores that it may use.
    part_maker : RelaxPartMaker
        Relaxes some chunks.
    collect_maker : CollectRelaxedMaker
        Puts the parts together.
    """

    name: str = "relax set"
    structures_per_job: int = 50
    part_maker: RelaxPartMaker = field(default_factory=RelaxPartMaker)
    collect_maker: CollectRelaxedMaker = field(default_factory=CollectRelaxedMaker)

    @dismai_job(output_schema=RelaxedDoc)
    def make(
        self,
        system: str,
        structures: StructuresRef,
        potential: PotentialRef,
        request: dict[str, Any],
        like: StructuresRef | None = None,
        own_cells: bool = False,
        label: str = "",
    ) -> RelaxedDoc | Response[Any]:
        """Send the chunks of a set to jobs of their own.

        Parameters
        ----------
        system, potential, request
            See `RelaxPartMaker.make`.
        structures : StructuresRef
            The set.
        like : StructuresRef, optional
            A set to whose first structure all must be alike in composition and cell.
        own_cells : bool
            Whether each may have a cell of its own.
        label : str
            Part of the names of the jobs, which tells the sets of one flow apart.
        """
        jobs = []
        expected = expected_like(current_jobstore(), like, own_cells) if like else None
        total, content = structures.n_structures, structures.content_hash
        for number, (start, chunks) in enumerate(structures.groups(self.structures_per_job)):
            made = self.part_maker.make(
                system, content, chunks, start, total, potential, request, expected
            )
            made.name = " ".join(filter(None, (self.part_maker.name, label, str(number))))
            if self.part_maker.device != "cpu":
                made.config.manager_config = {CATEGORY_KEY: "gpu"}
            jobs.append(made)
        last = self.collect_maker.make(
            system, content, total, potential, request, [made.output for made in jobs]
        )
        last.name = f"{self.collect_maker.name} {label}".rstrip()
        return ended_by(jobs, last)


def expected_like(
    jobstore: Any, reference: StructuresRef, own_cells: bool = False
) -> dict[str, Any]:
    """Return what structures must be like to be compared with a reference, as plain data.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    reference : StructuresRef
        The reference; its first structure decides.
    own_cells : bool
        Whether each structure may have a cell of its own.

    Raises
    ------
    DismaiError
        If the set is empty.
    """
    if not reference.chunks:
        raise DismaiError("the reference holds no structures")
    first = get_chunk(jobstore, reference.chunks[0]).select(np.array([0]))
    expected = Expectation.of_reference(first, "reference")
    return replace(expected, cell=None if own_cells else expected.cell).plain()
