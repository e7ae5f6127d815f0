"""What parts of a search enter into its ledger, and what is known when they are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.campaigns.schemas import DFTSummary, SearchPartDoc, SearchState
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.exchanges import EXCHANGED
from dismaiflow.interfaces.integrity import RelaxedChecks
from dismaiflow.interfaces.ledger import INTACT, SearchLedger
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.structures import StructuresRef, get_structures, put_manifest
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet

if TYPE_CHECKING:
    from jobflow import JobStore
    from numpy.typing import NDArray

    from dismaiflow.interfaces.system import InterfaceSystem
    from dismaiflow.potentials.table import RelaxationTable

#: Kind under which ledgers are stored.
LEDGER_KIND = "search_ledger"

#: Labels of starting structures that relaxed ones keep.
KEPT_LABELS = ("thickness", "shift_a", "shift_b", "distance_scale")


@dataclass(frozen=True, eq=False)
class FoundSoFar:
    """All that a search has found."""

    ledger: SearchLedger
    structures: StructureSet
    reference: StructuresRef | None
    failed_jobs: int
    dft: DFTSummary | None = None

    @classmethod
    def gather(
        cls,
        jobstore: JobStore,
        state: SearchState,
        ranges: list[tuple[int, int]],
        parts: list[SearchPartDoc | None],
    ) -> FoundSoFar:
        """Join what was there before and what the parts of a round have left."""
        ledgers, sets, references = [], [], []
        if state.ledger is not None and state.structures is not None:
            ledgers.append(SearchLedger.from_bytes(get_blob(jobstore, state.ledger)))
            references.append(state.structures)
        n_failed = 0
        summaries = [state.dft] if state.dft is not None else []
        for (first, last), part in zip(ranges, parts, strict=True):
            if part is None:
                n_failed += 1
                text = f"the job of structures {first} to {last - 1} failed"
                ledgers.append(SearchLedger.of_indices(range(first, last), detail=text))
                continue
            done = SearchPartDoc.model_validate(part)
            ledgers.append(SearchLedger.from_bytes(get_blob(jobstore, done.ledger)))
            references.append(done.structures)
            if done.dft is not None:
                summaries.append(done.dft)
        if parts and n_failed == len(parts):
            raise DismaiError(
                f"all {n_failed} jobs of a round of the search failed: see their errors, mend the "
                "cause, then `dismai launchpad retry`, or run the command again"
            )
        sets = [get_structures(jobstore, one) for one in references]
        structures = StructureSet.concatenate(sets)
        joined = None
        if references:
            joined = StructuresRef(
                content_hash=structures.content_hash,
                n_structures=len(structures),
                chunks=[chunk for one in references for chunk in one.chunks],
                chunk_sizes=[n for one in references for n in one.chunk_sizes],
            )
            put_manifest(jobstore, joined)
        ledger = SearchLedger.concatenate(ledgers)
        dft = DFTSummary.joined(summaries)
        return cls(ledger, structures, joined, state.failed_jobs + n_failed, dft)


def labelled_like(relaxed: StructureSet, starts: StructureSet) -> StructureSet:
    """Give relaxed structures the labels of those that they started from."""
    rows = np.searchsorted(starts.labels[INDEX_LABEL], relaxed.labels[INDEX_LABEL])
    kept = {
        name: values[rows]
        for name, values in starts.labels.items()
        if name in KEPT_LABELS or name.startswith(EXCHANGED)
    }
    return relaxed.with_labels(relaxed.labels | kept)


def enter_relaxations(ledger: SearchLedger, table: RelaxationTable) -> None:
    """Enter what became of relaxations."""
    numbers = table.numbers
    columns: dict[str, NDArray[Any]] = {
        "initial_energy": numbers["initial_energy"],
        "energy": numbers["final_energy"],
        "n_steps": numbers["n_steps"],
        "n_force_calls": numbers["n_force_calls"],
    }
    ledger.fill(numbers[INDEX_LABEL], columns)
    for index, status, detail in zip(
        numbers[INDEX_LABEL].tolist(), table.statuses, table.details, strict=True
    ):
        ledger.mark(index, INTACT if status == "converged" else status, detail)


def enter_checks(ledger: SearchLedger, relaxed: StructureSet, system: InterfaceSystem) -> None:
    """Enter whether relaxed structures are interfaces still, and how thick their region is."""
    checks = RelaxedChecks(system.host, atom_order=system.spec.interface.atom_order)
    indices = relaxed.labels[INDEX_LABEL].astype(np.int64)
    facts = checks.measure(relaxed)
    thickness = np.array([one.relaxed_thickness for one in facts], dtype=float)
    ledger.fill(indices, {"relaxed_thickness": thickness})
    for index, one in zip(indices.tolist(), facts, strict=True):
        problem = checks.problem(one)
        if problem is not None:
            ledger.mark(index, problem.reason, problem.detail)
