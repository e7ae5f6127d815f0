"""Large payloads beside the documents of a JobStore, found by the hash of their content.

Documents and job specs stay below 1 MB (design); structure sets and the like travel as blobs:
bytes in the additional store ``data`` of any JobStore (EmbeddedStore, MongoStore, GridFSStore,
MemoryStore), passed on by their SHA-256. A blob is one document::

    {"blob_uuid": sha256 of the payload, "kind": what it is, "n_bytes": length of the payload,
     "job_uuid": ..., "job_index": ... (of the job that wrote it first, or null),
     "stored_at": when it was stored or last put again, UTC,
     "data": the payload, zlib-compressed, base64 text}

Text, because a GridFSStore encodes documents as JSON; ``blob_uuid`` and ``data``, because these
are the keys by which jobflow finds what it keeps in additional stores itself. A blob that is put
again after more than an hour gets a new ``stored_at``, so that garbage collection, which takes
nothing young, cannot take what a running job relies on. (In a GridFSStore the time that counts
stands in the file's metadata.)
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Any

from maggma.stores import GridFSStore

from dismaiflow.errors import BlobError, DismaiError
from dismaiflow.store.inventory import now_stamp, renew

if TYPE_CHECKING:
    from jobflow.core.store import JobStore
    from maggma.core import Store

STORE_NAME = "data"
#: How hard zlib tries: a tenth of the time of its default level, for a quarter more bytes.
_LEVEL = 1
#: Limit on the stored form of a blob [bytes]. A MongoDB document holds 16 MiB, names included.
MAX_BLOB_BYTES = 16_000_000


def current_jobstore() -> JobStore:
    """Return the JobStore of the jobflow job that is running.

    Returns
    -------
    JobStore
        Connected. Jobs get it with ``JobConfig(expose_store=True)`` only.

    Raises
    ------
    DismaiError
        Outside a job, or in a job whose configuration does not expose the store.
    """
    from jobflow.core.state import CURRENT_JOB

    if CURRENT_JOB.store is None:
        if CURRENT_JOB.job is None:
            raise DismaiError("no jobflow job is running here: pass a JobStore")
        msg = f"job {CURRENT_JOB.job.name!r} does not see its JobStore: give it "
        raise DismaiError(msg + "`config=JobConfig(expose_store=True)`")
    store: JobStore = CURRENT_JOB.store
    return store


def data_store(jobstore: JobStore) -> Store:
    """Return the additional store that holds blobs.

    Raises
    ------
    DismaiError
        If the JobStore has none.
    """
    stores: dict[str, Store] = jobstore.additional_stores  # type: ignore[has-type]
    store = stores.get(STORE_NAME)
    if store is None:
        msg = f"the JobStore {public_name(jobstore)} has no additional store {STORE_NAME!r}: "
        raise DismaiError(msg + "add one under `additional_stores` in jobflow.yaml")
    return store


def public_name(store: Store) -> str:
    """Return the name of a store without the login that a connection string may hold."""
    return re.sub(r"//[^/@]*@", "//", str(store.name))


def put_blob(
    jobstore: JobStore, payload: bytes, kind: str, job: tuple[str | None, int | None] | None = None
) -> str:
    """Store bytes, once however often they are put.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    payload : bytes
        What to store.
    kind : str
        What it is, for those who look at the store: ``structures``, ``checkpoint``, ...
    job : (str, int), optional
        The uuid and the index of the job that made it; by default the one that is running.

    Returns
    -------
    str
        SHA-256 of the payload, 64 hexadecimal digits.

    Raises
    ------
    DismaiError
        If it is too large, or the JobStore has no additional store ``data``.
    """
    store = data_store(jobstore)
    digest = hashlib.sha256(payload).hexdigest()
    if renew(store, digest):
        return digest
    data = base64.b64encode(zlib.compress(payload, _LEVEL)).decode("ascii")
    if len(data) > MAX_BLOB_BYTES:
        msg = f"a blob of kind {kind!r} takes {len(data)} bytes compressed, more than the "
        raise DismaiError(msg + f"{MAX_BLOB_BYTES} allowed: use smaller chunks")
    write_blob(store, digest, kind, len(payload), data, job)
    return digest


def write_blob(
    store: Store,
    blob_uuid: str,
    kind: str,
    n_bytes: int,
    data: Any,
    job: tuple[str | None, int | None] | None = None,
) -> None:
    """Write one document of the ``data`` store.

    Parameters
    ----------
    store : Store
        The ``data`` store, connected.
    blob_uuid : str
        By what it will be found; a document of this name is replaced.
    kind : str
        What it is.
    n_bytes : int
        Length of the payload.
    data : Any
        What JSON can hold.
    job : (str, int), optional
        The uuid and the index of the job that made it; by default the one that is running.
    """
    from jobflow.core.state import CURRENT_JOB

    if job is None:
        running = CURRENT_JOB.job
        job = (None, None) if running is None else (running.uuid, running.index)
    document: dict[str, Any] = {
        "blob_uuid": blob_uuid,
        "kind": kind,
        "n_bytes": n_bytes,
        "job_uuid": job[0],
        "job_index": job[1],
        "stored_at": now_stamp(),
        "data": data,
    }
    if isinstance(store, GridFSStore):
        # what is not in the metadata of the file cannot be seen without reading it
        store.update(document, key="blob_uuid", additional_metadata=["kind"])
    else:
        store.update(document, key="blob_uuid")


def has_blob(jobstore: JobStore, sha256: str) -> bool:
    """Say whether a blob is there, without unpacking it.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    sha256 : str
        What `put_blob` returned.
    """
    return data_store(jobstore).count({"blob_uuid": sha256}) > 0


def get_blob(jobstore: JobStore, sha256: str) -> bytes:
    """Return the bytes of a blob.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    sha256 : str
        What `put_blob` returned.

    Raises
    ------
    DismaiError
        If it is not there, or what is there has another hash.
    """
    store = data_store(jobstore)
    document = store.query_one({"blob_uuid": sha256}, properties=["blob_uuid", "n_bytes", "data"])
    if document is None:
        msg = f"blob {sha256} is not in {public_name(store)}: run the job that makes it again, or "
        raise BlobError(msg + "use the store that it was written to")
    return unpack(document, sha256, public_name(store))


def unpack(document: dict[str, Any], sha256: str, place: str) -> bytes:
    """Return the payload of a blob's document.

    Parameters
    ----------
    document : dict
        With ``data`` and ``n_bytes``.
    sha256 : str
        The hash that it must have.
    place : str
        Where it is from, for the message.

    Raises
    ------
    DismaiError
        If it has another hash.
    """
    try:
        packed = base64.b64decode(document["data"], validate=True)
        # never unpack more than was put in
        payload = zlib.decompressobj().decompress(packed, int(document["n_bytes"]) + 1)
    except (KeyError, TypeError, ValueError, zlib.error):
        payload = b""
    if hashlib.sha256(payload).hexdigest() != sha256:
        msg = f"blob {sha256} in {place} is damaged: remove it and run the job that makes "
        raise BlobError(msg + "it again")
    return payload
