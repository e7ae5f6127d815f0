"""Documents of campaigns that run DFT, or another engine, on many structures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, TypeAdapter

from dismaiflow.store.blobs import get_blob, put_blob
from dismaiflow.store.frames import FramesRef
from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions
from dismaiflow.structures.frames import FrameLabel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import JobStore

#: Kind under which the rows of runs are stored.
ROWS_KIND = "dft_rows"


class RunRow(BaseModel):
    """What a table keeps of one relaxation; its keys are those of `dismaiflow.dft.schemas.RunDoc`.

    ``place`` is the place of its last structure in the set of the runs, None without one.
    """

    parent: str
    status: str
    reason: str = ""
    n_steps: int = 0
    n_restarts: int = 0
    n_continuations: int = 0
    corrections: list[str] = Field(default_factory=list)
    energy: float | None = None
    initial_energy: float | None = None
    max_force: float | None = None
    n_frames: int = 0
    n_unconverged_steps: int = 0
    n_absurd_steps: int = 0
    dir_name: str = ""
    place: int | None = None


class RunsDoc(BaseModel):
    """Relaxations of several structures; rows, structures and frames are in the ``data`` store.

    Parameters
    ----------
    system : str
        Name of the system.
    n_runs : int
        Structures that were to be relaxed.
    by_status : dict of str to int
        How many ended how.
    rows : str
        Blob of a list of `RunRow`, in the order of the structures.
    structures : StructuresRef, optional
        Last structures, with the label ``index``: the row of each.
    frames : FramesRef, optional
        The ionic steps that were taken, of all runs.
    labels : list of FrameLabel
        Where the numbers come from.
    """

    kind: str = "dft_runs"
    system: str
    n_runs: int
    by_status: dict[str, int]
    rows: str
    structures: StructuresRef | None = None
    frames: FramesRef | None = None
    labels: list[FrameLabel] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=package_versions)


_ROWS = TypeAdapter(list[RunRow])


def put_rows(jobstore: JobStore, rows: Sequence[RunRow]) -> str:
    """Store the rows of runs, and return their blob."""
    plain = [row.model_dump(mode="json") for row in rows]
    return put_blob(jobstore, json.dumps(plain, separators=(",", ":")).encode(), ROWS_KIND)


def get_rows(jobstore: JobStore, blob: str) -> list[RunRow]:
    """Fetch the rows of runs."""
    return _ROWS.validate_json(get_blob(jobstore, blob))
