"""Copying a run from one JobStore to another: from a laptop's file to a server, or back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.progress import report
from dismaiflow.store.blobs import data_store, public_name, unpack, write_blob
from dismaiflow.store.inventory import find_entry, list_entries, renew
from dismaiflow.store.reading import (
    batches,
    ensure_document_indexes,
    read_fields,
    references_in_texts,
)
from dismaiflow.store.structures import MANIFEST_PREFIX, put_manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import JobStore

#: Documents copied at a time.
_AT_ONCE = 50


@dataclass
class Copied:
    """What a copy did.

    Parameters
    ----------
    n_documents, n_blobs : int
        What the run has.
    new_documents, new_blobs : int
        What the target lacked.
    n_bytes : int
        Bytes of the new blobs in the source.
    """

    n_documents: int = 0
    n_blobs: int = 0
    new_documents: int = 0
    new_blobs: int = 0
    n_bytes: int = 0


def copy_run(source: JobStore, target: JobStore, run_id: str) -> Copied:
    """Copy the documents of a run, with all that they refer to.

    Blobs go first and documents last, so that a copy that was interrupted leaves no document
    without its blobs. Run it again and it goes on with what is missing. Every blob is checked
    against its hash, and every structure set stays findable by its content hash.

    Parameters
    ----------
    source, target : JobStore
        Connected.
    run_id : str
        The run.

    Raises
    ------
    DismaiError
        If there is no such run, or a blob is damaged.
    """
    wanted = read_fields(source.docs_store, ("uuid", "index"), "metadata.run_id", [run_id])
    keys = sorted((uuid, index) for uuid, index in wanted)
    if not keys:
        raise DismaiError(f"run {run_id}: the store has no such run")
    ensure_document_indexes(target.docs_store)
    data_store(target).ensure_index("blob_uuid")
    done = Copied(n_documents=len(keys))
    references: set[str] = set()
    for documents in _documents(source, keys, run_id):
        references |= references_in_texts(str(document) for document in documents)
    manifests, of_sets = _manifests(source, references)
    blobs = sorted(references | of_sets)
    for blob in blobs:
        _copy_blob(source, target, blob, done)
        report("copying blobs", 1, len(blobs), "blobs")
    for name in manifests:
        manifest = read_manifest(source, name)
        if manifest is not None:
            put_manifest(target, manifest.reference, manifest.attached)
    for documents in _documents(source, keys, run_id):
        _copy_documents(target, documents, done)
    return done


def _documents(
    store: JobStore, keys: list[tuple[str, int]], run_id: str
) -> Iterator[list[dict[str, Any]]]:
    """Yield the documents of a run, some at a time."""
    uuids = sorted({uuid for uuid, _ in keys})
    for some in batches(uuids, _AT_ONCE):
        found = store.docs_store.query({"uuid": {"$in": some}})
        yield [d for d in found if (d.get("metadata") or {}).get("run_id") == run_id]


def _manifests(store: JobStore, references: set[str]) -> tuple[list[str], set[str]]:
    """Return the manifests of sets whose content hash is spoken of, and their blobs."""
    names, blobs = [], set()
    for reference in references:
        for entry in list_entries(data_store(store), f"{MANIFEST_PREFIX}{reference}"):
            manifest = read_manifest(store, entry.blob_uuid)
            if manifest is not None:
                names.append(entry.blob_uuid)
                blobs.update(manifest.blobs)
    return sorted(names), blobs


def _copy_blob(source: JobStore, target: JobStore, blob: str, done: Copied) -> None:
    """Copy a blob unless it is there already; nothing happens if the source has none such."""
    from_store, to_store = data_store(source), data_store(target)
    entry = find_entry(from_store, blob)
    if entry is None:
        return
    done.n_blobs += 1
    if renew(to_store, blob):
        return
    document = from_store.query_one({"blob_uuid": blob})
    if document is None:
        return
    done.new_blobs += 1
    done.n_bytes += entry.n_bytes
    if len(blob) == 64:
        unpack(document, blob, public_name(from_store))
        job = (document.get("job_uuid"), document.get("job_index"))
        kind, n_bytes = document.get("kind") or "unknown", document["n_bytes"]
        write_blob(to_store, blob, kind, n_bytes, document["data"], job)
    else:
        # what jobflow itself has put there bears a uuid, and has no hash to be checked by
        document.pop("_id", None)
        to_store.update(document, key="blob_uuid")


def _copy_documents(target: JobStore, documents: list[dict[str, Any]], done: Copied) -> None:
    """Copy documents that are not there in the same state."""
    fields = ("_id", "uuid", "index", "completed_at")
    uuids = [document["uuid"] for document in documents]
    there = {
        (uuid, index): (place, completed)
        for place, uuid, index, completed in read_fields(target.docs_store, fields, "uuid", uuids)
    }
    new = []
    for document in documents:
        place, completed = there.get((document["uuid"], document["index"]), (None, None))
        if place is None:
            new.append(document)  # with its _id, which tells when it was first stored
        elif completed != document.get("completed_at"):
            new.append(document | {"_id": place})
    if new:
        target.docs_store.update(new, key=["uuid", "index"])
    done.new_documents += len(new)
