"""Sets of structures that were generated, together with what of them could not be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from dismaiflow.store.blobs import get_blob, put_blob
from dismaiflow.store.structures import StructuresRef, get_structures, put_structures
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import INDEX_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Kind under which lists of unreadable frames are stored.
UNREADABLE_KIND = "unreadable_frames"


class GeneratedSet(BaseModel):
    """Structures to be scored, in the store.

    Parameters
    ----------
    name : str
        Name of their source, for people.
    structures : StructuresRef
        Those that could be read; the label ``index`` tells their place in the source.
    n_frames : int
        Frames in the source, readable or not.
    unreadable : str, optional
        Blob that lists those that could not be read; no number of them makes a document too large.
    """

    name: str
    structures: StructuresRef
    n_frames: int
    unreadable: str | None = None


def store_generated(
    jobstore: Any,
    name: str,
    structures: StructureSet,
    chunk_size: int,
    indices: NDArray[np.int64] | None = None,
    unreadable: Sequence[BadFrame] = (),
) -> GeneratedSet:
    """Put structures to be scored into the store, with their places as labels.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    name : str
        Name of their source.
    structures : StructureSet
        Those that could be read, or were sampled.
    chunk_size : int
        Structures that one job counts.
    indices : ndarray of int64, shape (n_structures,), optional
        Place of each in the source; by default there were no others.
    unreadable : sequence of BadFrame
        The others.
    """
    places = np.arange(len(structures)) if indices is None else indices
    blob = None
    if unreadable:
        frames = [[bad.index, bad.reason, bad.detail] for bad in unreadable]
        blob = put_blob(jobstore, json.dumps(frames).encode(), UNREADABLE_KIND)
    return GeneratedSet(
        name=name,
        structures=put_structures(
            jobstore,
            structures.with_labels(structures.labels | {INDEX_LABEL: places}),
            chunk_size,
            attached=[blob] if blob else [],
        ),
        n_frames=len(structures) + len(unreadable),
        unreadable=blob,
    )


def fetch_generated(jobstore: Any, generated: GeneratedSet) -> ReadStructures:
    """Fetch a set and all that could not be read.

    Raises
    ------
    DismaiError
        If a part of it is missing from the store.
    """
    structures = get_structures(jobstore, generated.structures)
    # A set without structures has no chunk that would bear labels.
    places = np.asarray(structures.labels.get(INDEX_LABEL, []), dtype=np.int64)
    return ReadStructures(structures, places, unreadable(jobstore, generated))


def unreadable(jobstore: Any, generated: GeneratedSet) -> list[BadFrame]:
    """Return the frames of a set that could not be read."""
    if generated.unreadable is None:
        return []
    return [BadFrame(*entry) for entry in json.loads(get_blob(jobstore, generated.unreadable))]
