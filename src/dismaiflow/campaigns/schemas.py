"""Documents of the campaigns room."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions


class SearchPartDoc(BaseModel):
    """A part of a search for low-energy interfaces; structures and rows are in the ``data`` store.

    Parameters
    ----------
    system : str
        Name of the system.
    first, last : int
        Indices of the first structure and of the one after the last.
    structures : StructuresRef
        Those that relaxed, with the labels ``index``, ``energy`` (eV) and others.
    ledger : str
        Blob of a `dismaiflow.interfaces.ledger.SearchLedger`, one row for each structure.
    n_force_calls : int
        Evaluations of the potential.
    by_status : dict of str to int
        How the structures ended.
    potential_hash : str
        Hash of the card of the potential.
    """

    kind: str = "interface_search_part"
    system: str
    first: int
    last: int
    structures: StructuresRef
    ledger: str
    n_force_calls: int
    by_status: dict[str, int]
    potential_hash: str
    versions: dict[str, str] = Field(default_factory=package_versions)


class SearchState(BaseModel):
    """What a search hands from one round to the next.

    Parameters
    ----------
    ledger : str, optional
        Blob of all rows so far.
    structures : StructuresRef, optional
        All structures that relaxed so far.
    rounds : list of dict
        ``tried`` and ``low`` after each round.
    history : list of dict
        Fields of `dismaiflow.interfaces.search.ReferenceEnergy`.
    duplicates : list of int
        Indices of structures that are the same as an earlier one.
    failed_jobs : int
        Jobs that failed.
    """

    ledger: str | None = None
    structures: StructuresRef | None = None
    rounds: list[dict[str, int]] = Field(default_factory=list)
    history: list[dict[str, Any]] = Field(default_factory=list)
    duplicates: list[int] = Field(default_factory=list)
    failed_jobs: int = 0
