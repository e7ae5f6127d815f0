"""What nothing refers to is found and removed; nothing else ever is."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobflow import JobStore, job, run_locally
from maggma.stores import MemoryStore
from pymongo import MongoClient

from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore, get_blob, has_blob, inventory, put_blob
from dismaiflow.store.gc import collect_garbage
from dismaiflow.store.inventory import find_entry, list_entries, list_remains
from dismaiflow.store.structures import (
    find_structures,
    get_structures,
    manifest_name,
    put_structures,
)
from mongod import HOST
from store.conftest import server_jobstore
from store.documents import job_document, put, score_output
from store.test_structures import make_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database


def age(jobstore: JobStore, hours: float) -> None:
    """Make all blobs so old."""
    stamp = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    data = jobstore.additional_stores["data"]
    for entry in list(list_entries(data)):
        assert inventory._stamp(data, entry.blob_uuid, stamp)


def test_orphans(jobstore: JobStore) -> None:
    """Orphans are counted by kind, and removed only when asked."""
    used, orphan = put_blob(jobstore, b"used", "counts"), put_blob(jobstore, b"orphan", "counts")
    other = put_blob(jobstore, b"other", "run")
    put(jobstore, job_document("a", {"deep": [{"counts": used}]}))
    assert collect_garbage(jobstore, remove=True).removed == []
    age(jobstore, 25)
    found = collect_garbage(jobstore)
    assert (found.n_kept, found.n_young, found.removed) == (1, 0, [])
    sizes = {entry.blob_uuid: entry.n_bytes for entry in found.orphans}
    assert set(sizes) == {orphan, other}
    assert found.by_kind() == {
        "counts": {"n": 1, "n_bytes": sizes[orphan]},
        "run": {"n": 1, "n_bytes": sizes[other]},
    }
    assert all(50 < size < 1000 for size in sizes.values())
    assert has_blob(jobstore, orphan)
    found = collect_garbage(jobstore, remove=True, in_use=[other])
    assert [entry.blob_uuid for entry in found.removed] == [orphan]
    assert not has_blob(jobstore, orphan)
    assert get_blob(jobstore, used) == b"used"
    assert get_blob(jobstore, other) == b"other"
    assert collect_garbage(jobstore, older_than=26).n_young == 1
    with pytest.raises(DismaiError, match="older-than"):
        collect_garbage(jobstore, older_than=-1)


def test_structures(jobstore: JobStore) -> None:
    """Sets whose content hash a document speaks of are kept whole; others go as a whole."""
    sets = [put_structures(jobstore, make_set(seed), 3) for seed in range(3)]
    output = score_output()
    output["provenance"]["generated_hashes"] = [sets[0].content_hash]
    put(jobstore, job_document("a", output), job_document("b", {"set": sets[1].model_dump()}))
    age(jobstore, 48)
    found = collect_garbage(jobstore, remove=True)
    gone = {manifest_name(sets[2]), *sets[2].chunks}
    assert {entry.blob_uuid for entry in found.removed} == gone
    assert found.removed[0].kind == "manifest"
    for kept in sets[:2]:
        assert len(get_structures(jobstore, kept)) == 7
        assert find_entry(jobstore.additional_stores["data"], manifest_name(kept))
    # a young manifest holds its chunks, however old they are
    fresh = put_structures(jobstore, make_set(9), 3)
    age(jobstore, 48)
    data = jobstore.additional_stores["data"]
    inventory._stamp(data, manifest_name(fresh), inventory.now_stamp())
    assert collect_garbage(jobstore, remove=True).removed == []


def test_attached(jobstore: JobStore) -> None:
    """What belongs to a set is kept with it, though no document speaks of it, and goes with it."""
    attached = [put_blob(jobstore, name, "unreadable_frames") for name in (b"one", b"two")]
    sets = [put_structures(jobstore, make_set(0), 3, attached=[blob]) for blob in attached]
    other = put_blob(jobstore, b"three", "unreadable_frames")
    assert sets[0] == sets[1] == put_structures(jobstore, make_set(0), 3)
    assert find_structures(jobstore, sets[0].content_hash) == sets[0]
    output = score_output()
    output["provenance"]["generated_hashes"] = [sets[0].content_hash]
    put(jobstore, job_document("a", output))
    age(jobstore, 48)
    found = collect_garbage(jobstore, remove=True)
    assert [entry.blob_uuid for entry in found.removed] == [other]
    jobstore.docs_store.remove_docs({})
    assert len(collect_garbage(jobstore, remove=True).removed) == 3 + 3 + 2  # chunks, manifests


def test_renewed_meanwhile(jobstore: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that a job puts again between listing and removing stays."""
    digest = put_blob(jobstore, b"payload", "test")
    age(jobstore, 48)
    from dismaiflow.store import gc

    def race(store: object, entry: object) -> bool:
        put_blob(jobstore, b"payload", "test")
        return inventory.remove_entry(store, entry)

    monkeypatch.setattr(gc, "remove_entry", race)
    found = collect_garbage(jobstore, remove=True)
    assert (len(found.orphans), found.removed) == (1, [])
    assert get_blob(jobstore, digest) == b"payload"


@pytest.fixture
def launchpad(mongod: int) -> Iterator[Database]:
    """Yield the database of a LaunchPad."""
    with MongoClient[dict](HOST, mongod) as client:
        client.drop_database("launchpad")
        yield client["launchpad"]


class Workflows:
    """Puts workflows on a LaunchPad, last changed so many hours ago."""

    def __init__(self, launchpad: Database) -> None:
        self.launchpad = launchpad
        self.n = 0

    def add(self, *fireworks: tuple[str, str], hours: float = 100, as_text: bool = False) -> int:
        """Add one of Fireworks with a state and a blob each; return the id of the last."""
        first = self.n + 1
        for state, blob in fireworks:
            self.n += 1
            task = {"_fw_name": "JobFirework", "job": {"function_args": [{"chunk": blob}]}}
            firework = {"fw_id": self.n, "state": state, "spec": {"_tasks": [task]}}
            self.launchpad["fireworks"].insert_one(firework)
        changed = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)
        workflow = {
            "nodes": list(range(first, self.n + 1)),
            "state": fireworks[-1][0],
            "updated_on": changed.isoformat() if as_text else changed,
        }
        self.launchpad["workflows"].insert_one(workflow)
        return self.n


def test_unfinished_fireworks(jobstore: JobStore, launchpad: Database) -> None:
    """What a Firework that has not finished was given is in use, in whatever state it is."""
    blobs = {
        state: put_blob(jobstore, state.encode(), "test")
        for state in ("WAITING", "FIZZLED", "RUNNING", "PAUSED", "COMPLETED", "ARCHIVED")
    }
    workflows = Workflows(launchpad)
    for state, blob in blobs.items():
        workflows.add((state, blob))
    one = put_structures(jobstore, make_set(4), 3)
    workflows.add(("READY", one.content_hash))
    age(jobstore, 48)
    found = collect_garbage(jobstore, remove=True, launchpads=[launchpad])
    gone = {entry.blob_uuid for entry in found.removed}
    assert gone == {blobs["COMPLETED"], blobs["ARCHIVED"]}
    assert len(get_structures(jobstore, one)) == 7


def test_what_retry_needs(jobstore: JobStore, launchpad: Database) -> None:
    """Of a workflow that is not done every Firework counts: retry may rewind completed ones."""
    names = ("rewound", "failed", "done", "touched", "text", "made")
    blobs = {name: put_blob(jobstore, name.encode(), "test") for name in names}
    workflows = Workflows(launchpad)
    fw_id = workflows.add(("COMPLETED", blobs["rewound"]), ("FIZZLED", blobs["failed"]))
    action = {"detours": [{"fws": [{"spec": {"_tasks": [{"job": blobs["made"]}]}}]}]}
    launchpad["launches"].insert_one({"launch_id": 1, "fw_id": fw_id, "action": action})
    workflows.add(("COMPLETED", blobs["done"]))
    workflows.add(("COMPLETED", blobs["touched"]), hours=20)
    workflows.add(("COMPLETED", blobs["text"]), hours=20, as_text=True)
    age(jobstore, 48)
    found = collect_garbage(jobstore, 2, remove=True, launchpads=[launchpad])
    assert {entry.blob_uuid for entry in found.removed} == {blobs["done"]}
    # whoever asks for greater care gets it for workflows too
    assert len(collect_garbage(jobstore, 24, launchpads=[launchpad]).orphans) == 0
    launchpad["workflows"].update_many({}, {"$set": {"updated_on": datetime(2020, 1, 1)}})
    found = collect_garbage(jobstore, 2, launchpads=[launchpad])
    assert {entry.blob_uuid for entry in found.orphans} == {blobs["touched"], blobs["text"]}


def test_several_launchpads(jobstore: JobStore, launchpad: Database) -> None:
    """The runs of every LaunchPad count."""
    mine, theirs = put_blob(jobstore, b"mine", "test"), put_blob(jobstore, b"theirs", "test")
    other = launchpad.client["launchpad_of_others"]
    for name in ("fireworks", "workflows"):
        other.drop_collection(name)
    Workflows(launchpad).add(("READY", mine))
    Workflows(other).add(("READY", theirs))
    age(jobstore, 48)
    assert collect_garbage(jobstore, remove=True, launchpads=[launchpad, other]).removed == []
    found = collect_garbage(jobstore, launchpads=[launchpad])
    assert {entry.blob_uuid for entry in found.orphans} == {theirs}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_job_ends_meanwhile(
    jobstore: JobStore, launchpad: Database, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A job that ends and makes another while documents are read is seen as the one or other."""
    from dismaiflow.store import gc

    given = put_blob(jobstore, b"given", "test")
    made = put_blob(jobstore, b"made", "test")
    workflows = Workflows(launchpad)
    workflows.add(("RUNNING", given))
    age(jobstore, 48)
    read = gc.references_in

    def end() -> None:
        launchpad["fireworks"].delete_many({})
        launchpad["workflows"].delete_many({})
        put(jobstore, job_document("a", {"told": given}))
        workflows.add(("READY", made))

    def reading(store: object) -> set[str]:
        if moment == "before":
            end()
        found = read(store)
        if moment == "after":
            end()
        return found

    monkeypatch.setattr(gc, "references_in", reading)
    assert collect_garbage(jobstore, remove=True, launchpads=[launchpad]).removed == []


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_while_removing(mongod: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a removal leaves in GridFS is found again, once it is old enough."""
    with server_jobstore(mongod, "gc_killed") as jobstore:
        data = jobstore.additional_stores["data"]
        data.remove_docs({})
        data._chunks_collection.delete_many({})
        used = put_blob(jobstore, b"used", "test")
        put(jobstore, job_document("a", used))
        put_blob(jobstore, random.Random(1).randbytes(400_000), "test")  # of three chunks
        age(jobstore, 48)
        chunks = type(data._chunks_collection)

        def die(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(chunks, "delete_many", die)
            collect_garbage(jobstore, remove=True)
        assert data.count() == 1
        assert data._chunks_collection.count_documents({}) == 4
        # chunks tell when they were written; these could be of a blob that is being written
        found = collect_garbage(jobstore, remove=True)
        assert (found.n_kept, found.n_young, found.orphans) == (1, 1, [])
        found = collect_garbage(jobstore, older_than=0, remove=True)
        assert [(one.kind, one.n_bytes > 400_000) for one in found.removed] == [("remains", True)]
        assert data._chunks_collection.count_documents({}) == 1
        assert get_blob(jobstore, used) == b"used"
        assert list(list_remains(data)) == []


@job(data=True)
def big() -> dict[str, list[int]]:
    """Leave something in the data store, as other packages do."""
    return {"numbers": [1, 2, 3]}


def test_what_jobflow_puts_there(jobstore: JobStore) -> None:
    """Blobs of jobflow itself are kept while their documents are there."""
    made = big()
    run_locally(made, store=jobstore, log=False, ensure_success=True)
    jobstore.connect()
    data = jobstore.additional_stores["data"]
    data.update({"blob_uuid": "named otherwise", "data": 1}, key="blob_uuid")
    age(jobstore, 48)
    assert collect_garbage(jobstore, remove=True).removed == []
    assert jobstore.get_output(made.uuid, load=True) == {"numbers": [1, 2, 3]}
    jobstore.docs_store.remove_docs({})
    found = collect_garbage(jobstore, remove=True)
    assert len(found.removed) == 1
    assert data.count() == 1  # what bears a name that documents are not searched for


def test_memory() -> None:
    """A store in memory is cleaned too."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore("blobs")})
    with store:
        used, orphan = put_blob(store, b"used", "x"), put_blob(store, b"orphan", "x")
        put(store, job_document("a", used))
        age(store, 48)
        found = collect_garbage(store, remove=True)
        assert [entry.blob_uuid for entry in found.removed] == [orphan]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_any_store(
    tmp_path_factory: pytest.TempPathFactory, blobs: list[tuple[bool, bool]]
) -> None:
    """Exactly what is both old and unused goes."""
    with embedded_jobstore(tmp_path_factory.mktemp("gc") / "run.db") as jobstore:
        old = [put_blob(jobstore, bytes([i]), "x") for i, (is_old, _) in enumerate(blobs) if is_old]
        age(jobstore, 30)
        names = [put_blob(jobstore, bytes([i]), "x") for i in range(len(blobs))]
        age_again = {name for name in names if name in old}
        data = jobstore.additional_stores["data"]
        for name in age_again:
            inventory._stamp(data, name, "2020-01-01T00:00:00+00:00")
        used = [name for name, (_, is_used) in zip(names, blobs, strict=True) if is_used]
        put(jobstore, job_document("a", used))
        removed = {entry.blob_uuid for entry in collect_garbage(jobstore, remove=True).removed}
        assert removed == age_again - set(used)
        assert {name for name in names if has_blob(jobstore, name)} == set(names) - removed
