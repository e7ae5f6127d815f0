"""A run moves from a file to a server and back, whole, and keeps its hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jobflow import run_locally

from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore, get_blob, put_blob, transfer
from dismaiflow.store.inventory import find_entry, list_entries
from dismaiflow.store.results import ResultsStore
from dismaiflow.store.structures import Manifest, manifest_name, put_structures, read_manifest
from dismaiflow.store.transfer import copy_run
from store.conftest import server_jobstore
from store.documents import dataset_output, job_document, put, score_document
from store.test_gc import big
from store.test_structures import make_set

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobflow import JobStore

RUN = {"run_id": "run000000001", "system": "s"}


@pytest.fixture(params=["to server", "to file"])
def stores(
    request: pytest.FixtureRequest, tmp_path: Path, mongod: int
) -> Iterator[tuple[JobStore, JobStore]]:
    """Yield a store to copy from and one to copy to."""
    database = f"transfer_{request.param[3:]}"
    file, server = embedded_jobstore(tmp_path / "run.db"), server_jobstore(mongod, database)
    with file, server:
        for part in (server.docs_store, server.additional_stores["data"]):
            part.remove_docs({})
        yield (file, server) if request.param == "to server" else (server, file)


def fill(store: JobStore) -> dict[str, str]:
    """Put a run and another one into a store; return blobs by what they are."""
    reference = put_structures(store, make_set(0), 3)
    generated = put_structures(store, make_set(1), 4)
    counts = put_blob(store, b"counts" * 1000, "alloy_counts", ("job", 1))
    other = put_blob(store, b"other", "alloy_counts")
    score = score_document("s1", metadata=RUN)
    score["output"]["provenance"] |= {
        "reference_hash": reference.content_hash,
        "generated_hashes": [generated.content_hash],
    }
    sets = {"train": reference.model_dump()}
    put(
        store,
        score,
        job_document("d1", dataset_output(sets=sets), metadata=RUN),
        job_document("c1", [{"counts": counts}], metadata=RUN),
        job_document("c1", None, index=2, metadata=RUN),
        job_document("o1", {"counts": other}, metadata={"run_id": "another"}),
    )
    return {"counts": counts, "other": other, "generated": generated.content_hash}


def test_copy(stores: tuple[JobStore, JobStore]) -> None:
    """All of the run arrives, nothing else, and once."""
    source, target = stores
    blobs = fill(source)
    done = copy_run(source, target, "run000000001")
    assert (done.n_documents, done.new_documents) == (4, 4)
    # 3 + 2 chunks and the counts
    assert (done.n_blobs, done.new_blobs) == (6, 6)
    data = target.additional_stores["data"]
    assert len(list(list_entries(data))) == 8  # two manifests more
    assert get_blob(target, blobs["counts"]) == b"counts" * 1000
    assert find_entry(data, blobs["counts"]).kind == "alloy_counts"
    assert data.count({"job_uuid": "job"}) == 1
    assert find_entry(data, blobs["other"]) is None
    assert target.count() == 4
    for document in source.query({"metadata.run_id": "run000000001"}):
        found = target.query_one({"uuid": document["uuid"], "index": document["index"]})
        assert found == document
    with ResultsStore(source) as before, ResultsStore(target) as after:
        assert after.scores() == before.scores(run_id="run000000001")
        assert after.datasets() == before.datasets()
        assert after.runs() == before.runs(run_id="run000000001")
        structures = after.structures(blobs["generated"][:12])
        assert structures.content_hash == blobs["generated"]
    again = copy_run(source, target, "run000000001")
    assert (again.n_documents, again.new_documents, again.n_blobs, again.new_blobs) == (4, 0, 6, 0)
    # a document that was written anew is copied again, and there once
    put(source, score_document("s1", value=0.5, metadata=RUN, completed_at="1999"))
    assert copy_run(source, target, "run000000001").new_documents == 1
    assert target.count() == 4
    assert target.query_one({"uuid": "s1"})["completed_at"] == "1999"
    # and back, where all of it is already
    back = copy_run(target, source, "run000000001")
    assert (back.new_documents, back.new_blobs) == (0, 0)


def test_attached(stores: tuple[JobStore, JobStore]) -> None:
    """What belongs to a set comes along, and belongs to it there."""
    source, target = stores
    blob = put_blob(source, b"frames", "unreadable_frames")
    reference = put_structures(source, make_set(1), 4, attached=[blob])
    put(source, job_document("s", {"set": reference.content_hash}, metadata=RUN))
    assert copy_run(source, target, "run000000001").new_blobs == 3
    assert get_blob(target, blob) == b"frames"
    assert read_manifest(target, manifest_name(reference, [blob])) == Manifest(reference, [blob])


def test_interrupted(stores: tuple[JobStore, JobStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that stops halfway leaves no document without its blobs, and goes on."""
    source, target = stores
    fill(source)
    number = 0
    write = transfer.write_blob

    def stop(*words: object) -> None:
        nonlocal number
        number += 1
        if number == 4:
            raise KeyboardInterrupt
        write(*words)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transfer, "write_blob", stop)
        copy_run(source, target, "run000000001")
    assert target.count() == 0
    done = copy_run(source, target, "run000000001")
    assert (done.n_blobs, done.new_blobs, done.new_documents) == (6, 3, 4)


def test_damaged(stores: tuple[JobStore, JobStore]) -> None:
    """A blob that is not what its hash says is not passed on."""
    source, target = stores
    blobs = fill(source)
    document = source.additional_stores["data"].query_one({"blob_uuid": blobs["other"]})
    document.pop("_id", None)
    broken = document | {"blob_uuid": blobs["counts"]}
    source.additional_stores["data"].update(broken, key="blob_uuid")
    with pytest.raises(DismaiError, match=f"{blobs['counts']}.*damaged"):
        copy_run(source, target, "run000000001")
    assert target.count() == 0


def test_no_such_run(stores: tuple[JobStore, JobStore]) -> None:
    """A run that is not there is said so."""
    with pytest.raises(DismaiError, match="no such run"):
        copy_run(*stores, "run")


def test_what_jobflow_puts_there(stores: tuple[JobStore, JobStore]) -> None:
    """Blobs of jobflow itself come along."""
    source, target = stores
    made = big()
    made.metadata = {"run_id": "r"}
    run_locally(made, store=source, log=False, ensure_success=True)
    source.connect()
    assert copy_run(source, target, "r").new_blobs == 1
    assert target.get_output(made.uuid, load=True) == {"numbers": [1, 2, 3]}
    assert copy_run(source, target, "r").new_blobs == 0
