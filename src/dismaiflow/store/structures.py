"""Structure sets in a store, by reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from dismaiflow.store.blobs import get_blob, put_blob
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from jobflow import JobStore

#: Kind under which the blobs are stored.
STRUCTURES_KIND = "structures"


class StructuresRef(BaseModel):
    """A structure set in the ``data`` store, small enough for any document or job input.

    Parameters
    ----------
    content_hash : str
        Hash of the whole set (`StructureSet.content_hash`).
    n_structures : int
        Structures in it.
    chunks : list of str
        SHA-256 of its chunks, in order.
    chunk_sizes : list of int
        Structures in each chunk.
    """

    content_hash: str
    n_structures: int
    chunks: list[str]
    chunk_sizes: list[int]


def put_structures(
    jobstore: JobStore, structures: StructureSet, chunk_size: int = 50
) -> StructuresRef:
    """Store a set in chunks; the same content is stored once.

    Raises
    ------
    DismaiError
        If a chunk is too large for the store.
    """
    chunks = structures.chunks(chunk_size)
    return StructuresRef(
        content_hash=structures.content_hash,
        n_structures=len(structures),
        chunks=[put_blob(jobstore, chunk.to_bytes(), STRUCTURES_KIND) for chunk in chunks],
        chunk_sizes=[len(chunk) for chunk in chunks],
    )


def get_structures(jobstore: JobStore, reference: StructuresRef) -> StructureSet:
    """Fetch a whole set.

    Raises
    ------
    DismaiError
        If a chunk is missing or damaged.
    """
    return StructureSet.concatenate([get_chunk(jobstore, sha256) for sha256 in reference.chunks])


def get_chunk(jobstore: JobStore, sha256: str) -> StructureSet:
    """Fetch one chunk."""
    return StructureSet.from_bytes(get_blob(jobstore, sha256))
