"""Blobs are stored once, come back whole or not at all, in whatever store jobflow uses."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import bson
import pytest
from jobflow import CURRENT_JOB, Flow, JobConfig, JobStore, job, run_locally
from maggma.stores import GridFSStore, MemoryStore, MongoStore

from dismaiflow.errors import DismaiError
from dismaiflow.store import (
    MAX_BLOB_BYTES,
    blobs,
    current_jobstore,
    embedded_jobstore,
    get_blob,
    has_blob,
    put_blob,
)
from mongod import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAYLOAD = bytes(range(256)) * 40
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


@pytest.fixture(params=["embedded", "memory", "mongo", "gridfs", "gridfs compressed"])
def jobstore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """Yield a connected, empty JobStore with each kind of additional store."""
    if request.param == "embedded":
        store = embedded_jobstore(tmp_path / "run.db")
    elif request.param == "memory":
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore("blobs")})
    else:
        where = {"host": HOST, "port": request.getfixturevalue("mongod")}
        database = request.param.replace(" ", "_")
        if request.param == "mongo":
            data = MongoStore(database, "blobs", **where)
        else:
            compression = "compressed" in request.param
            data = GridFSStore(database, "blobs", compression=compression, **where)
        store = JobStore(MongoStore(database, "outputs", **where), additional_stores={"data": data})
    store.connect()
    if request.param != "memory":
        for part in (store.docs_store, store.additional_stores["data"]):
            part.remove_docs({})
    yield store
    store.close()


def _replace_data(jobstore: JobStore, data: object) -> None:
    """Damage the blob of PAYLOAD."""
    document = {"blob_uuid": SHA256, "n_bytes": len(PAYLOAD), "data": data}
    jobstore.additional_stores["data"].update(document, key="blob_uuid")


def test_put_and_get(jobstore: JobStore) -> None:
    """Bytes come back; the same bytes are stored once."""
    assert not has_blob(jobstore, SHA256)
    for _ in range(2):
        assert put_blob(jobstore, PAYLOAD, "test") == SHA256
    assert has_blob(jobstore, SHA256)
    assert get_blob(jobstore, SHA256) == PAYLOAD
    empty = put_blob(jobstore, b"", "nothing")
    assert get_blob(jobstore, empty) == b""
    store = jobstore.additional_stores["data"]
    assert store.count() == 2
    document = store.query_one({"blob_uuid": SHA256}, properties=["blob_uuid", "data", "kind"])
    assert zlib.decompress(base64.b64decode(document["data"])) == PAYLOAD


def test_document(tmp_path: Path) -> None:
    """The document has the keys by which jobflow and people find it."""
    with embedded_jobstore(tmp_path / "run.db") as jobstore:
        put_blob(jobstore, PAYLOAD, "test")
        document = jobstore.additional_stores["data"].query_one(properties={"_id": 0, "data": 0})
    stored_at = datetime.fromisoformat(document.pop("stored_at"))
    assert timedelta(0) <= datetime.now(UTC) - stored_at < timedelta(minutes=1)
    assert document == {
        "blob_uuid": SHA256,
        "kind": "test",
        "n_bytes": len(PAYLOAD),
        "job_uuid": None,
        "job_index": None,
    }


def test_missing_and_damaged(jobstore: JobStore) -> None:
    """What is not there, or not what it was, is an error that names the hash."""
    with pytest.raises(DismaiError, match=SHA256):
        get_blob(jobstore, SHA256)
    packed = zlib.compress(PAYLOAD)
    for data in (
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(packed[:-20]).decode(),
        base64.b64encode(zlib.compress(PAYLOAD[::-1])).decode(),
        base64.b64encode(zlib.compress(PAYLOAD + b"more")).decode(),
        17,
    ):
        _replace_data(jobstore, data)
        with pytest.raises(DismaiError, match=f"{SHA256}.*damaged"):
            get_blob(jobstore, SHA256)
    _replace_data(jobstore, base64.b64encode(packed).decode())
    assert get_blob(jobstore, SHA256) == PAYLOAD


def test_limit(jobstore: JobStore) -> None:
    """The largest blob allowed goes into every store; one byte more goes into none."""
    assert MAX_BLOB_BYTES == 16_000_000
    # incompressible: zlib adds 5 bytes a 16 kB block and 6, base64 a third
    payload = random.Random(1).randbytes(11_990_000)
    digest = put_blob(jobstore, payload, "random")
    assert get_blob(jobstore, digest) == payload
    with pytest.raises(DismaiError, match=r"'random'.*smaller chunks"):
        put_blob(jobstore, payload + payload[:20_000], "random")
    assert jobstore.additional_stores["data"].count() == 1


def test_limit_fits_a_document() -> None:
    """A blob at the limit is a document that a server takes."""
    document = {"blob_uuid": SHA256, "kind": "x" * 100, "n_bytes": 2**62, "job_uuid": SHA256}
    document |= {"job_index": 1, "_id": bson.ObjectId(), "data": "x" * MAX_BLOB_BYTES}
    assert len(bson.encode(document)) < 16 * 1024 * 1024


def test_no_data_store() -> None:
    """A JobStore without the additional store says which one it lacks."""
    with (
        JobStore(MemoryStore()) as jobstore,
        pytest.raises(DismaiError, match="additional store 'data'"),
    ):
        put_blob(jobstore, b"x", "test")


@job
def _write(text: str) -> str:
    return put_blob(current_jobstore(), text.encode(), "text")


@job
def _read(digest: str) -> str:
    return get_blob(current_jobstore(), digest).decode()


def test_in_jobs(jobstore: JobStore) -> None:
    """Jobs pass blobs by their hash; the blob remembers the job that wrote it."""
    write = _write("passed by reference")
    read = _read(write.output)
    for each in (write, read):
        each.update_config(JobConfig(expose_store=True))
    run_locally(Flow([write, read]), store=jobstore, log=False, ensure_success=True)
    jobstore.connect()
    assert jobstore.get_output(read.uuid) == "passed by reference"
    store = jobstore.additional_stores["data"]
    assert store.count({"job_uuid": write.uuid, "job_index": 1}) == 1


def test_current_jobstore_outside_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside a job, and in a job that does not see its store, the error says what to do."""
    CURRENT_JOB.reset()
    with pytest.raises(DismaiError, match="no jobflow job"):
        current_jobstore()
    with embedded_jobstore(tmp_path / "run.db") as store:
        monkeypatch.setattr(CURRENT_JOB, "job", _write("x"))
        with pytest.raises(DismaiError, match="expose_store=True"):
            current_jobstore()
        monkeypatch.setattr(CURRENT_JOB, "store", store)
        assert blobs.current_jobstore() is store
