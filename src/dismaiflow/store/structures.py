"""Structure sets in a store, by reference.

Every set leaves a *manifest* beside its chunks: a blob of kind ``manifest`` whose ``blob_uuid`` is
``set-<content hash>-<16 digits of the hash of its chunk list>`` and whose ``data`` are the keys of
a `StructuresRef`, and ``attached``, if there are any: other blobs that belong to the set, such as
the list of those frames of its source that could not be read. By it a set is found by the beginning
of its content hash, whether a document speaks of its chunks or not, and all that belongs to it is
kept as long as a document speaks of its content hash. Sets of equal content that were cut
differently, or that bear other labels or attachments, have manifests of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from dismaiflow.errors import BlobError, DismaiError
from dismaiflow.store.blobs import data_store, get_blob, has_blob, put_blob, write_blob
from dismaiflow.store.inventory import list_entries, renew
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobflow import JobStore
    from numpy.typing import NDArray

#: Kind under which the blobs are stored.
STRUCTURES_KIND = "structures"

#: Kind of the manifests, and what their names begin with.
MANIFEST_KIND = "manifest"
MANIFEST_PREFIX = "set-"

_HASH_BEGINNING = re.compile(r"[0-9a-f]{1,64}")


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

    def groups(self, size: int) -> Iterator[tuple[int, list[str]]]:
        """Yield groups of whole chunks that hold at most ``size`` structures, or one chunk.

        Yields
        ------
        start : int
            Place of the first structure of the group in the set.
        chunks : list of str
            Its chunks.
        """
        start = filled = 0
        group: list[str] = []
        for chunk, length in zip(self.chunks, self.chunk_sizes, strict=True):
            if group and filled + length > size:
                yield start, group
                start, filled, group = start + filled, 0, []
            group.append(chunk)
            filled += length
        if group:
            yield start, group


@dataclass(frozen=True)
class Manifest:
    """What the store notes of a structure set.

    Parameters
    ----------
    reference : StructuresRef
        The set.
    attached : list of str
        Further blobs that belong to it.
    """

    reference: StructuresRef
    attached: list[str]

    @property
    def blobs(self) -> list[str]:
        """All blobs of the set."""
        return [*self.reference.chunks, *self.attached]


def put_structures(
    jobstore: JobStore,
    structures: StructureSet,
    chunk_size: int = 50,
    attached: Sequence[str] = (),
) -> StructuresRef:
    """Store a set in chunks, and its manifest; the same content is stored once.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    structures : StructureSet
        The set.
    chunk_size : int
        Structures in a chunk.
    attached : sequence of str
        Blobs in the store that belong to the set and are to be kept as long as it is.

    Raises
    ------
    DismaiError
        If a chunk is too large for the store.
    """
    chunks = structures.chunks(chunk_size)
    reference = StructuresRef(
        content_hash=structures.content_hash,
        n_structures=len(structures),
        chunks=[put_blob(jobstore, chunk.to_bytes(), STRUCTURES_KIND) for chunk in chunks],
        chunk_sizes=[len(chunk) for chunk in chunks],
    )
    put_manifest(jobstore, reference, attached)
    return reference


def manifest_name(reference: StructuresRef, attached: Sequence[str] = ()) -> str:
    """Return the ``blob_uuid`` of the manifest of a set."""
    chunks = hashlib.sha256(" ".join([*reference.chunks, *attached]).encode()).hexdigest()
    return f"{MANIFEST_PREFIX}{reference.content_hash}-{chunks[:16]}"


def put_manifest(jobstore: JobStore, reference: StructuresRef, attached: Sequence[str] = ()) -> str:
    """Store the manifest of a set whose blobs are there, and return its name."""
    store, name = data_store(jobstore), manifest_name(reference, attached)
    if not renew(store, name):
        data: dict[str, Any] = reference.model_dump()
        if attached:
            data["attached"] = list(attached)
        write_blob(store, name, MANIFEST_KIND, len(json.dumps(data)), data)
    return name


def find_structures(jobstore: JobStore, beginning: str) -> StructuresRef:
    """Find a set by the beginning of its content hash.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    beginning : str
        Hexadecimal digits, as few as tell it from the others.

    Raises
    ------
    DismaiError
        If no set begins like this, or several do, or these are no hexadecimal digits.
    """
    digits = beginning.strip().lower()
    if not _HASH_BEGINNING.fullmatch(digits):
        raise DismaiError(f"store:{beginning}: give the beginning of a content hash, digits 0-9a-f")
    found = list(_known_references(jobstore, digits))
    hashes = sorted({reference.content_hash for reference in found})
    if not hashes:
        raise DismaiError(
            f"store:{beginning}: no structure set in the store has a content hash that begins like "
            "this (`dismai results list datasets` and dataset.json show them)"
        )
    if len(hashes) > 1:
        raise DismaiError(
            f"store:{beginning}: {len(hashes)} sets begin like this; give more digits"
        )
    whole = (ref for ref in found if all(has_blob(jobstore, chunk) for chunk in ref.chunks))
    return next(whole, found[0])


def read_manifest(jobstore: JobStore, name: str) -> Manifest | None:
    """Read a manifest by its ``blob_uuid``; None if it has gone."""
    found = data_store(jobstore).query_one({"blob_uuid": name}, properties=["blob_uuid", "data"])
    if found is None:
        return None
    return Manifest(StructuresRef.model_validate(found["data"]), found["data"].get("attached", []))


def _known_references(jobstore: JobStore, digits: str) -> Iterator[StructuresRef]:
    """Yield references to sets whose hash begins with these digits."""
    names = [e.blob_uuid for e in list_entries(data_store(jobstore), MANIFEST_PREFIX + digits)]
    # one name of each of two hashes already shows that the digits do not tell them apart
    if len({name.rpartition("-")[0] for name in names}) > 1:
        first = {name.rpartition("-")[0]: name for name in names}
        names = list(first.values())
    manifests = (read_manifest(jobstore, name) for name in names)
    yield from (manifest.reference for manifest in manifests if manifest is not None)
    if names:
        return
    # datasets of versions that left no manifests
    for document in jobstore.query({"output.kind": "dataset"}, properties=["output.sets"]):
        for reference in (document["output"].get("sets") or {}).values():
            if reference["content_hash"].startswith(digits):
                yield StructuresRef.model_validate(reference)


def get_structures(jobstore: JobStore, reference: StructuresRef) -> StructureSet:
    """Fetch a whole set.

    Raises
    ------
    DismaiError
        If a chunk is missing or damaged.
    """
    return StructureSet.concatenate([get_chunk(jobstore, sha256) for sha256 in reference.chunks])


def read_chunks(
    jobstore: JobStore, chunks: Sequence[str], start: int = 0, labelled: bool = True
) -> tuple[StructureSet, NDArray[np.int64], list[str]]:
    """Fetch as many chunks as can be had, with the places of their structures in the source.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    chunks : sequence of str
        The chunks.
    start : int
        Place of the first structure, where no label tells it.
    labelled : bool
        Whether labels tell the places: frames that could not be read left gaps.

    Returns
    -------
    structures : StructureSet
        Those that are there.
    places : ndarray of int64, shape (n_structures,)
        Their places.
    lost : list of str
        Why chunks are missing.
    """
    parts, places, lost = [], [np.empty(0, dtype=np.int64)], []
    for sha256 in chunks:
        try:
            part = get_chunk(jobstore, sha256)
        except BlobError as error:
            lost.append(str(error))
            continue
        after = start + np.arange(len(part))
        parts.append(part)
        places.append(part.labels.get(INDEX_LABEL, after) if labelled else after)
        start += len(part)
    return StructureSet.concatenate(parts), np.concatenate(places).astype(np.int64), lost


def get_chunk(jobstore: JobStore, sha256: str) -> StructureSet:
    """Fetch one chunk."""
    return StructureSet.from_bytes(get_blob(jobstore, sha256))
