"""Documents of the campaigns room."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.store.frames import FramesRef
from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions
from dismaiflow.structures.frames import FrameLabel


class DFTSummary(BaseModel):
    """What DFT did with structures that a potential had relaxed.

    Parameters
    ----------
    by_status : dict of str to int
        How its relaxations ended.
    labels : list of FrameLabel
        Where its numbers come from.
    frames : list of FramesRef
        Ionic steps, by which the potential may be trained further.
    """

    by_status: dict[str, int] = Field(default_factory=dict)
    labels: list[FrameLabel] = Field(default_factory=list)
    frames: list[FramesRef] = Field(default_factory=list)

    @classmethod
    def joined(cls, parts: list[DFTSummary]) -> DFTSummary | None:
        """Add up; None without any."""
        if not parts:
            return None
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part.by_status)
        labels = {label.hash: label for part in parts for label in part.labels}
        return cls(
            by_status=dict(counts.most_common()),
            labels=list(labels.values()),
            frames=[one for part in parts for one in part.frames],
        )


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
    dft : DFTSummary, optional
        What DFT did after the potential.
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
    dft: DFTSummary | None = None
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
    dft : DFTSummary, optional
        What DFT did after the potential, so far.
    """

    ledger: str | None = None
    structures: StructuresRef | None = None
    rounds: list[dict[str, int]] = Field(default_factory=list)
    history: list[dict[str, Any]] = Field(default_factory=list)
    duplicates: list[int] = Field(default_factory=list)
    failed_jobs: int = 0
    dft: DFTSummary | None = None
