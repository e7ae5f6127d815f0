"""Jobs that count the species of a structure set, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ase.data import chemical_symbols

from dismaiflow.jobs import dismai_job, replaced_by
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.structures import StructuresRef, get_chunk


@dismai_job("cpu")
def count_species(reference: StructuresRef) -> Any:
    """Send each chunk to a job of its own, and let another gather what they leave."""
    jobs = [count_chunk(chunk) for chunk in reference.chunks]
    for number, one in enumerate(jobs):
        one.name = f"count species {number}"
    return replaced_by(jobs, [one.output for one in jobs], "gather species")


@dismai_job("cpu")
def count_chunk(chunk: str) -> dict[str, int]:
    """Count the atoms of each species in one chunk, a blob of the store."""
    structures = get_chunk(current_jobstore(), chunk)
    return dict(Counter(chemical_symbols[z] for z in structures.numbers))


@dismai_job("cpu")
def add_up(counts: list[dict[str, int] | None]) -> dict[str, Any]:
    """Add the counts of the chunks; None stands for a chunk whose job failed."""
    there = [count for count in counts if count is not None]
    total = sum((Counter(count) for count in there), Counter[str]())
    return {"kind": "species", "counts": dict(total), "n_missing": len(counts) - len(there)}
