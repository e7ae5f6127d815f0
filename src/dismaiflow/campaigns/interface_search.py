"""Jobs that search for interfaces of low energy, round by round."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jobflow import Maker, Response

from dismaiflow.campaigns.dft_stage import DFTStageMaker
from dismaiflow.campaigns.interface_cards import SearchResult, interface_dataset
from dismaiflow.campaigns.schemas import SearchPartDoc, SearchState
from dismaiflow.campaigns.search_ledger import (
    KEPT_LABELS,
    LEDGER_KIND,
    FoundSoFar,
    enter_checks,
    enter_relaxations,
    labelled_like,
)
from dismaiflow.interfaces.built import built_generator, built_system
from dismaiflow.interfaces.duplicates import find_duplicates
from dismaiflow.interfaces.energy import interface_area
from dismaiflow.interfaces.ledger import SearchLedger
from dismaiflow.interfaces.proposals import propose_structures
from dismaiflow.interfaces.rating import LOW, Rater
from dismaiflow.interfaces.search import (
    Decision,
    ReferenceEnergy,
    SearchSettings,
    decide,
)
from dismaiflow.jobs import CATEGORY_KEY, dismai_job, ended_by
from dismaiflow.potentials.store import PotentialRef, fetch_potential
from dismaiflow.potentials.treatment import RelaxationRequest, Workplace, treat_structures
from dismaiflow.progress import report
from dismaiflow.store.blobs import current_jobstore, put_blob
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import (
    StructuresRef,
    get_structures,
    put_structures,
)
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet
from dismaiflow.systems import SystemSpec
from dismaiflow.systems.blocks import EnergyFilter

if TYPE_CHECKING:
    from dismaiflow.interfaces.system import InterfaceSystem

#: Status of a structure for which the region had no room.
NO_ROOM = "no_room"

#: Between the name of a judge and the number of structures that it judges.
_AT = " at "

#: Labels of structures of a search by mutation, which tell where they come from.
_DESCENT = ("parent", "root", "second_root", "operator")

#: Jobs of a round, at most: each takes about 10 kB of the launch that sends them.
_MOST_JOBS = 60

#: Å. Two relaxed structures are the same if no atom differs by more: what is left where forces
#: are below 0.05 eV/Å.
_SAME = 0.1


@dataclass
class SearchPartMaker(Maker):
    """Make, relax and check some structures of a search.

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

    name: str = "search"
    device: str = "cpu"
    chunk_size: int = 50

    @dismai_job(output_schema=SearchPartDoc)
    def make(
        self,
        spec: SystemSpec,
        draw: dict[str, Any],
        first: int,
        last: int,
        total: int,
        potential: PotentialRef,
        request: dict[str, Any],
        starts: StructuresRef | None = None,
        unplaced: dict[str, str] | None = None,
    ) -> SearchPartDoc:
        """Make, relax, check.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        draw : dict
            ``seed``, ``n_total`` and ``sampling`` of `RandomInterfaces.generate`.
        first, last : int
            Index of the first structure, and of the one after the last.
        total : int
            Structures of the whole round, for the progress.
        potential : PotentialRef
            What relaxes.
        request : dict
            `RelaxationRequest.plain`.
        starts : StructuresRef, optional
            Structures to start from, with their labels; random ones by default.
        unplaced : dict of str to str, optional
            With them: why others could not be made, by index.
        """
        jobstore = current_jobstore()
        system = built_system(spec)
        ledger = SearchLedger.of_indices(range(first, last), NO_ROOM)
        if starts is None:
            made = built_generator(spec).generate(range(first, last), exchanges=None, **draw)
            structures = made.structures
            for failure in made.report.failures:
                ledger.mark(failure.index, NO_ROOM, failure.reason)
        else:
            structures = get_structures(jobstore, starts)
            for index, reason in (unplaced or {}).items():
                ledger.mark(int(index), NO_ROOM, reason)
        indices = structures.labels[INDEX_LABEL].astype(np.int64)
        known = [name for name in (*KEPT_LABELS, *_DESCENT) if name in structures.labels]
        ledger.fill(indices, {name: structures.labels[name] for name in known})
        task = f"relaxing {spec.name} ({potential.card.name})"
        report(task, last - first - len(structures), total, "structures")
        asked = RelaxationRequest.of(request)
        relaxed, table = treat_structures(
            structures,
            indices,
            None,
            asked,
            fetch_potential(jobstore, potential),
            Workplace.of_settings(self.device),
            lambda n: report(task, n, total, "structures"),
        )
        relaxed = labelled_like(relaxed, structures)
        enter_relaxations(ledger, table)
        enter_checks(ledger, relaxed, system)
        return SearchPartDoc(
            system=spec.name,
            first=first,
            last=last,
            structures=put_structures(jobstore, relaxed, self.chunk_size),
            ledger=put_blob(jobstore, ledger.to_bytes(), LEDGER_KIND),
            n_force_calls=ledger.n_force_calls,
            by_status=ledger.counts(),
            potential_hash=potential.card.hash,
        )


@dataclass
class SearchMaker(Maker):
    """Judge what a search has found so far, and go on or end it with a dataset.

    Parameters
    ----------
    name : str
        The job name.
    structures_per_job : int
        Structures that one job relaxes, at once on all cores that it may use; more where a round
        would have more than 60 jobs, which is as many as one document of a LaunchPad holds well.
    part_maker : SearchPartMaker
        Makes, relaxes and checks some structures.
    dft_maker : DFTStageMaker, optional
        Relaxes further by DFT what the potential has relaxed; energies are then those of DFT.
    """

    name: str = "judge search"
    structures_per_job: int = 50
    part_maker: SearchPartMaker = field(default_factory=SearchPartMaker)
    dft_maker: DFTStageMaker | None = None

    @dismai_job(output_schema=DatasetDoc)
    def make(
        self,
        spec: SystemSpec,
        settings: dict[str, Any],
        potential: PotentialRef,
        request: dict[str, Any],
        protocol: Literal["corrected", "published"] = "corrected",
        state: SearchState | None = None,
        ranges: list[tuple[int, int]] | None = None,
        parts: list[SearchPartDoc | None] | None = None,
    ) -> DatasetDoc | Response[Any]:
        """Judge.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        settings : dict
            Fields of `SearchSettings`.
        potential, request
            See `SearchPartMaker.make`.
        protocol : {"corrected", "published"}
            For the card.
        state : SearchState, optional
            What the rounds before have left; by default the search begins.
        ranges : list of (int, int)
            First index of each part of the last round, and the one after its last.
        parts : list of SearchPartDoc
            What these parts have left, None where a job failed.

        Raises
        ------
        DismaiError
            If all jobs of a round failed, or the search ends with fewer than two structures.
        """
        jobstore = current_jobstore()
        potential = PotentialRef.model_validate(potential)
        asked = SearchSettings(**settings)
        system = built_system(spec)
        before = SearchState.model_validate(state or {})
        found = FoundSoFar.gather(jobstore, before, ranges or [], parts or [])
        rater = _rater(spec, system)
        history = tuple(ReferenceEnergy(**entry) for entry in before.history)
        decision = decide(found.ledger, rater, asked, history, before.duplicates)
        duplicates = list(before.duplicates)
        if decision.stopped_by:
            same = _duplicates(found.structures, decision)
            if same and asked.drop_duplicates:
                duplicates = sorted({*duplicates, *same})
                decision = decide(found.ledger, rater, asked, decision.history, duplicates)
        n_low = len(decision.rating.rows(LOW))
        rounds = [*before.rounds]
        if len(found.ledger):
            rounds.append({"tried": len(found.ledger), "low": n_low})
        if decision.stopped_by:
            result = SearchResult(
                spec=spec,
                system=system,
                settings=asked,
                potential=potential.card,
                request=RelaxationRequest.of(request),
                protocol=protocol,
                ledger=found.ledger,
                structures=found.structures,
                decision=decision,
                rounds=rounds,
                failed_jobs=found.failed_jobs,
                n_duplicates=len(duplicates),
                dft=found.dft,
            )
            ledger = put_blob(jobstore, found.ledger.to_bytes(), LEDGER_KIND)
            return interface_dataset(jobstore, result, ledger, self.part_maker.chunk_size)
        after = SearchState(
            ledger=put_blob(jobstore, found.ledger.to_bytes(), LEDGER_KIND),
            structures=found.reference,
            rounds=rounds,
            history=[asdict(entry) for entry in decision.history],
            duplicates=duplicates,
            failed_jobs=found.failed_jobs,
            dft=found.dft,
        )
        return self._next_round(spec, asked, potential, request, protocol, after, found, decision)

    def _next_round(
        self,
        spec: SystemSpec,
        asked: SearchSettings,
        potential: PotentialRef,
        request: dict[str, Any],
        protocol: Literal["corrected", "published"],
        state: SearchState,
        found: FoundSoFar,
        decision: Decision,
    ) -> Response[Any]:
        """Send the structures of the next round to jobs, and another judge after them."""
        tried = len(found.ledger)
        last = tried + decision.n_next
        draw = {"seed": asked.seed, "n_total": last, "sampling": asked.sampling}
        rater = _rater(spec, built_system(spec))
        learned = asked.method != "random" and tried > 0
        jobs, ranges = [], []
        per_job = max(self.structures_per_job, math.ceil(decision.n_next / _MOST_JOBS))
        for first in range(tried, last, per_job):
            after = min(first + per_job, last)
            given, unplaced = None, None
            if learned:
                proposed = propose_structures(
                    built_generator(spec),
                    built_system(spec),
                    asked,
                    found.ledger,
                    found.structures,
                    found.ledger.intact & ~rater.implausible(found.ledger),
                    range(first, after),
                )
                given = put_structures(
                    current_jobstore(), proposed.structures, self.part_maker.chunk_size
                )
                unplaced = {str(one.index): one.reason for one in proposed.report.failures}
            part = self.part_maker.make(
                spec, draw, first, after, last - tried, potential, request, given, unplaced
            )
            which = f"{first}" if after == first + 1 else f"{first}-{after - 1}"
            part.name = f"{self.part_maker.name} {spec.name} {which}"
            if self.part_maker.device != "cpu":
                part.config.manager_config = {CATEGORY_KEY: "gpu"}
            jobs.append(part)
            ranges.append((first, after))
        outputs = [part.output for part in jobs]
        if self.dft_maker is not None:
            further = [self.dft_maker.after(spec, part) for part in jobs]
            jobs, outputs = [*jobs, *further], [part.output for part in further]
        judge = self.make(
            spec, asked.as_dict(), potential, request, protocol, state, ranges, outputs
        )
        # The name of a job becomes that of its Maker.
        judge.name = f"{self.name.partition(_AT)[0]}{_AT}{last}"
        return ended_by(jobs, judge)


def _rater(spec: SystemSpec, system: InterfaceSystem) -> Rater:
    n_atoms = sum(spec.composition.values())
    area = interface_area(system.host.cell)
    return Rater(n_atoms, area, spec.dataset.energy_filter or EnergyFilter())


def _duplicates(structures: StructureSet, decision: Decision) -> list[int]:
    """Return the indices of structures of low energy that are the same as an earlier one."""
    low = decision.rating.rows(LOW)  # rows of the ledger are indices, which begin at 0
    rows = np.flatnonzero(np.isin(structures.labels[INDEX_LABEL], low)) if len(low) else low
    chosen = structures.select(rows)
    indices = chosen.labels[INDEX_LABEL] if len(low) else low
    return [int(indices[i]) for group in find_duplicates(chosen, _SAME) for i in group[1:]]
