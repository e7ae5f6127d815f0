"""DFT after the potential: the second stage of relaxation, for what a search has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Job, Maker, OnMissing, Response

from dismaiflow.campaigns.dft_runs import CollectRunsMaker, places_of, relax_each
from dismaiflow.campaigns.dft_schemas import RunRow, RunsDoc, get_rows
from dismaiflow.campaigns.schemas import DFTSummary, SearchPartDoc
from dismaiflow.campaigns.search_ledger import LEDGER_KIND, enter_checks
from dismaiflow.dft.schemas import StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_system
from dismaiflow.interfaces.ledger import SearchLedger
from dismaiflow.jobs import NO_COPIES, dismai_job, ended_by
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.campaigns.dft_runs import RelaxationMaker

#: Before the status of a run in the ledger, so that it is not taken for that of the potential.
_BY_DFT = "dft_"

_CONVERGED = "converged"


@dataclass
class EnterRunsMaker(Maker):
    """Enter what DFT did into the ledger of a part of a search.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "enter DFT"
    chunk_size: int = 50

    @dismai_job(output_schema=SearchPartDoc)
    def make(
        self, spec: SystemSpec, part: SearchPartDoc, indices: list[int], runs: RunsDoc
    ) -> SearchPartDoc:
        """Enter.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        part : SearchPartDoc
            What the potential relaxed.
        indices : list of int
            Index of the structure of each run.
        runs : RunsDoc
            The runs.
        """
        jobstore = current_jobstore()
        before, done = SearchPartDoc.model_validate(part), RunsDoc.model_validate(runs)
        ledger = SearchLedger.from_bytes(get_blob(jobstore, before.ledger))
        rows = get_rows(jobstore, done.rows)
        _enter_rows(ledger, indices, rows)
        relaxed = get_structures(jobstore, before.structures)
        good = [i for i, row in enumerate(rows) if row.status == _CONVERGED]
        if done.structures is not None and good:
            last = get_structures(jobstore, done.structures)
            relaxed = _replaced(relaxed, last, rows, indices, good)
            kept = np.isin(relaxed.labels[INDEX_LABEL], [indices[i] for i in good])
            enter_checks(ledger, relaxed.select(np.flatnonzero(kept)), built_system(spec))
        return before.model_copy(
            update={
                "structures": put_structures(jobstore, relaxed, self.chunk_size),
                "ledger": put_blob(jobstore, ledger.to_bytes(), LEDGER_KIND),
                "by_status": ledger.counts(),
                "dft": DFTSummary(
                    by_status=done.by_status,
                    labels=done.labels,
                    frames=[done.frames] if done.frames is not None else [],
                ),
            }
        )


def _enter_rows(ledger: SearchLedger, indices: list[int], rows: list[RunRow]) -> None:
    """Put energies of DFT in the place of those of the potential, which are kept beside."""
    places = np.asarray(indices, dtype=np.int64)
    at = np.searchsorted(ledger.columns["index"], places)
    ledger.fill(places, {"potential_energy": ledger.columns["energy"][at].copy()})
    columns: dict[str, Any] = {
        "energy": [_number(row.energy) for row in rows],
        "first_energy": [_number(row.initial_energy) for row in rows],
        # As VASP counts: one where the minimum of the potential is one of DFT.
        "n_dft_steps": [row.n_steps for row in rows],
    }
    ledger.fill(places, {name: np.asarray(values) for name, values in columns.items()})
    for index, row in zip(indices, rows, strict=True):
        if row.status != _CONVERGED:
            ledger.mark(index, f"{_BY_DFT}{row.status}", row.reason)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _replaced(
    relaxed: StructureSet,
    last: StructureSet,
    rows: list[RunRow],
    indices: list[int],
    good: list[int],
) -> StructureSet:
    """Put the structures that DFT relaxed in the place of those it started from."""
    positions = relaxed.positions.copy()
    energies = np.asarray(relaxed.labels["energy"], dtype=float).copy()
    place = {int(index): i for i, index in enumerate(relaxed.labels[INDEX_LABEL])}
    for run in good:
        row = rows[run]
        assert row.place is not None and row.energy is not None, "a converged run has both"
        mine = place[indices[run]]
        positions[relaxed.slice_of(mine)] = last.positions[last.slice_of(row.place)]
        energies[mine] = row.energy
    return StructureSet(
        relaxed.numbers,
        positions,
        relaxed.cells,
        relaxed.pbc,
        relaxed.offsets,
        relaxed.ids,
        relaxed.labels | {"energy": energies},
    )


@dataclass
class DFTStageMaker(Maker):
    """Relax by DFT what a potential has relaxed: stage 2 alone (paper, section 4.5).

    Parameters
    ----------
    name : str
        The job name.
    relax_maker : RelaxationMaker, optional
        Relaxes one structure, all its atoms; by default VASP, as the system's spec says.
    collect_maker : CollectRunsMaker
        Gathers the runs.
    enter_maker : EnterRunsMaker
        Enters them into the ledger.
    """

    name: str = "relax by DFT"
    relax_maker: RelaxationMaker | None = None
    collect_maker: CollectRunsMaker = field(default_factory=CollectRunsMaker)
    enter_maker: EnterRunsMaker = field(default_factory=EnterRunsMaker)

    def after(self, spec: SystemSpec, part: Job) -> Job:
        """Return the job that goes on where a part of a search ends."""
        job: Job = self.make(spec, part.output)
        which = part.name.rpartition(" ")[2]
        job.name = f"{self.name} {spec.name} {which}"
        # Where the part failed there is nothing to relax; the search goes on without it.
        job.config.on_missing_references = OnMissing.NONE
        job.config.manager_config |= NO_COPIES
        return job

    @dismai_job(output_schema=SearchPartDoc)
    def make(self, spec: SystemSpec, part: SearchPartDoc | None) -> SearchPartDoc | Response[Any]:
        """Send the intact structures of a part to DFT.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        part : SearchPartDoc
            What the potential relaxed.

        Raises
        ------
        DismaiError
            If the part failed.
        """
        if part is None:
            raise DismaiError("the job that was to relax these structures failed")
        jobstore = current_jobstore()
        before = SearchPartDoc.model_validate(part)
        ledger = SearchLedger.from_bytes(get_blob(jobstore, before.ledger))
        indices = ledger.columns["index"][ledger.intact].tolist()
        if not indices:
            return before
        jobs, outputs = relax_each(
            self.relax_maker or second_stage(spec), _chosen(jobstore, before, indices)
        )
        collect = self.collect_maker.make(spec.name, [name_of(index) for index in indices], outputs)
        which = f"{before.first}-{before.last - 1}"
        collect.name = f"{self.collect_maker.name} {which}"
        enter = self.enter_maker.make(spec, before, indices, collect.output)
        enter.name = f"{self.enter_maker.name} {which}"
        collect.config.on_missing_references = OnMissing.NONE
        collect.config.manager_config |= NO_COPIES
        return ended_by([*jobs, collect], enter)


def second_stage(spec: SystemSpec) -> RelaxationMaker:
    """Return the relaxation by VASP with which a system's spec says that it ends."""
    from dismaiflow.dft.makers import MAKERS
    from dismaiflow.dft.settings_table import last_stage

    return MAKERS[last_stage(spec)].from_spec(spec)


def _chosen(jobstore: JobStore, part: SearchPartDoc, indices: list[int]) -> list[StoredStructure]:
    """Return where structures of a part lie, by their indices."""
    there = get_structures(jobstore, part.structures).labels[INDEX_LABEL].tolist()
    rows = {index: row for row, index in enumerate(there)}
    places = places_of(part.structures)
    return [
        StoredStructure(blob=blob, place=place, parent=name_of(index))
        for index, (blob, place) in ((index, places[rows[index]]) for index in indices)
    ]


def name_of(index: int) -> str:
    """Return the name that frames of a random structure bear."""
    return f"random-{index:06d}"
