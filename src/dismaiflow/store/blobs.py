"""Large payloads beside the documents of a JobStore, found by the hash of their content.

Documents and job specs stay below 1 MB (design); structure sets and the like travel as blobs:
bytes in the additional store ``data`` of any JobStore (EmbeddedStore, MongoStore, GridFSStore,
MemoryStore), passed on by their SHA-256. A blob is one document::

    {"blob_uuid": sha256 of the payload, "kind": what it is, "n_bytes": length of the payload,
     "job_uuid": ..., "job_index": ... (of the job that wrote it first, or null),
     "data": the payload, zlib-compressed, base64 text}

Text, because a GridFSStore encodes documents as JSON; ``blob_uuid`` and ``data``, because these
are the keys by which jobflow finds what it keeps in additional stores itself.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow.core.store import JobStore
    from maggma.core import Store

STORE_NAME = "data"
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


def _data_store(jobstore: JobStore) -> Store:
    """Return the additional store that holds blobs."""
    stores: dict[str, Store] = jobstore.additional_stores  # type: ignore[has-type]
    store = stores.get(STORE_NAME)
    if store is None:
        msg = f"the JobStore {jobstore.name} has no additional store {STORE_NAME!r}: "
        raise DismaiError(msg + "add one under `additional_stores` in jobflow.yaml")
    return store


def put_blob(jobstore: JobStore, payload: bytes, kind: str) -> str:
    """Store bytes, once however often they are put.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    payload : bytes
        What to store.
    kind : str
        What it is, for those who look at the store: ``structures``, ``checkpoint``, ...

    Returns
    -------
    str
        SHA-256 of the payload, 64 hexadecimal digits.

    Raises
    ------
    DismaiError
        If it is too large, or the JobStore has no additional store ``data``.
    """
    from jobflow.core.state import CURRENT_JOB

    store = _data_store(jobstore)
    digest = hashlib.sha256(payload).hexdigest()
    if has_blob(jobstore, digest):
        return digest
    data = base64.b64encode(zlib.compress(payload)).decode("ascii")
    if len(data) > MAX_BLOB_BYTES:
        msg = f"a blob of kind {kind!r} takes {len(data)} bytes compressed, more than the "
        raise DismaiError(msg + f"{MAX_BLOB_BYTES} allowed: use smaller chunks")
    job = CURRENT_JOB.job
    document: dict[str, Any] = {
        "blob_uuid": digest,
        "kind": kind,
        "n_bytes": len(payload),
        "job_uuid": None if job is None else job.uuid,
        "job_index": None if job is None else job.index,
        "data": data,
    }
    store.update(document, key="blob_uuid")
    return digest


def has_blob(jobstore: JobStore, sha256: str) -> bool:
    """Say whether a blob is there, without unpacking it.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    sha256 : str
        What `put_blob` returned.
    """
    return _data_store(jobstore).count({"blob_uuid": sha256}) > 0


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
    store = _data_store(jobstore)
    document = store.query_one({"blob_uuid": sha256}, properties=["blob_uuid", "n_bytes", "data"])
    if document is None:
        msg = f"blob {sha256} is not in {store.name}: run the job that makes it again, or "
        raise DismaiError(msg + "use the store that it was written to")
    try:
        packed = base64.b64decode(document["data"], validate=True)
        # never unpack more than was put in
        payload = zlib.decompressobj().decompress(packed, int(document["n_bytes"]) + 1)
    except (KeyError, TypeError, ValueError, zlib.error):
        payload = b""
    if hashlib.sha256(payload).hexdigest() != sha256:
        msg = f"blob {sha256} in {store.name} is damaged: remove it and run the job that makes "
        raise DismaiError(msg + "it again")
    return payload
