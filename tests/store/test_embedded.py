"""The embedded store keeps what it was given, serves jobflow, and fails clearly."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pytest
from jobflow import Flow, JobConfig, JobStore, OnMissing, Response, job, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from monty.serialization import dumpfn

from dismaiflow.errors import DismaiError
from dismaiflow.store import EmbeddedStore, embedded_jobstore
from dismaiflow.store.collection import _from_json, _to_json

DAY = datetime(2024, 1, 2, 3, 4, 5, 678000)


def test_as_dict_pickle_and_equality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of every kind name the same file, from whatever folder."""
    monkeypatch.chdir(tmp_path)
    store = EmbeddedStore("a.db", "outputs", key="uuid", last_updated_field="when")
    assert not Path("a.db").exists()
    text = json.dumps(store, cls=MontyEncoder)
    monkeypatch.chdir("/")
    copies = [
        EmbeddedStore.from_dict(store.as_dict()),
        json.loads(text, cls=MontyDecoder),
        pickle.loads(pickle.dumps(store)),
    ]
    with store:
        store.update({"uuid": "a"})
        pickle.loads(pickle.dumps(store))
        for copy in copies:
            assert copy == store
            assert hash(copy) == hash(store)
            assert copy.path == str(tmp_path / "a.db")
            assert (copy.key, copy.last_updated_field) == ("uuid", "when")
            with copy:
                assert copy.count() == 1
    assert store != EmbeddedStore(tmp_path / "a.db", "other")
    assert store != "store"
    assert store.name == f"embedded://{tmp_path}/a.db/outputs"
    store.close()


def test_named_in_a_jobflow_yaml(tmp_path: Path) -> None:
    """The store is found by jobflow in its configuration, whichever package is imported first."""
    config = tmp_path / "jobflow.yaml"
    spec = {"@module": "dismaiflow.store.embedded", "@class": "EmbeddedStore"}
    path = str(tmp_path / "run.db")
    stores = {
        "@module": "jobflow.core.store",
        "@class": "JobStore",
        "docs_store": {**spec, "path": path, "collection_name": "outputs"},
        "additional_stores": {"data": {**spec, "path": path, "collection_name": "blobs"}},
    }
    dumpfn({"JOB_STORE": stores}, config)
    script = (
        "import {}\nimport jobflow\nfrom jobflow.managers.local import run_locally\n"
        "job = jobflow.job(abs)(-3)\nrun_locally(job, log=False, ensure_success=True)\n"
        "store = jobflow.SETTINGS.JOB_STORE\n"
        "print(type(store.docs_store).__name__, store.get_output(job.uuid), store.count())"
    )
    env = os.environ | {
        "JOBFLOW_CONFIG_FILE": str(config),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    for number, first in enumerate(("jobflow", "dismaiflow.store")):
        run = subprocess.run(
            [sys.executable, "-c", script.format(first)],
            capture_output=True, text=True, env=env, check=False,
        )  # fmt: skip
        assert run.stdout == f"EmbeddedStore 3 {number + 1}\n", run.stderr


def test_documents_are_readable_json(tmp_path: Path) -> None:
    """The encoding is neosqlite's, and inverts itself."""
    document = {"_id": bson.ObjectId(), "t": DAY, "b": b"\x00\xff", "x": [math.inf, 1.5], "y": {}}
    text = _to_json(document)
    assert json.loads(text, parse_constant=pytest.fail)["t"] == {"$date": DAY.isoformat()}
    assert _from_json(text) == document
    assert _from_json(_to_json({"b": bson.Binary(b"x", 4)})) == {"b": bson.Binary(b"x", 4)}
    for lookalike in (
        {"$date": 1},
        {"$date": "soon"},
        {"$numberDouble": "x"},
        {"__neosqlite_objectid__": True},
        {"__neosqlite_binary__": 1, "data": 1},
    ):
        assert _from_json(_to_json({"x": lookalike})) == {"x": lookalike}
    with EmbeddedStore(tmp_path / "a.db") as store:
        store._collection.insert_one({"n": 1, "t": DAY})  # by neosqlite itself
        found = store.query_one({"t": DAY})
        assert isinstance(found["_id"], bson.ObjectId)
        store.update(found | {"n": 2}, key="_id")
        assert store._collection._raw.find_one({})["n"] == 2
        assert store.count() == 1


def test_wrong_paths(tmp_path: Path) -> None:
    """A path that cannot hold a store ends in one line that names it and the mend."""
    text = tmp_path / "text.db"
    text.write_text("this is not a database, but long enough to be looked at " * 20)
    torn = tmp_path / "torn.db"
    with EmbeddedStore(torn, key="uuid") as store:
        store.update([{"uuid": str(n), "x": "x" * 1000} for n in range(100)])
    torn.write_bytes(torn.read_bytes()[:20000])
    for path, said in [
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "a.db", "folder does not exist"),
        (text, "not a store"),
        (torn, "damaged"),
    ]:
        with (
            pytest.raises(DismaiError, match=said) as error,
            EmbeddedStore(path, key="uuid") as store,
        ):
            list(store.query())
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(DismaiError, match="letters, digits"):
        EmbeddedStore(tmp_path / "a.db", 'x"; drop table')


def test_full_and_read_only_disk(small_disk: Path) -> None:
    """A full disk is one clear error; what was stored before stays, and work can go on."""
    path, filler = small_disk / "a.db", small_disk / "filler"
    filler.write_bytes(bytes(1_500_000))
    stored = []
    with EmbeddedStore(path, key="uuid") as store:
        with pytest.raises(DismaiError, match="disk is full") as error:
            for number in range(1000):
                store.update({"uuid": str(number), "x": "x" * 50_000})
                stored.append(str(number))
        assert str(path) in str(error.value)
        assert 10 < len(stored) < 100
        assert sorted(store.distinct("uuid")) == sorted(stored)
        # several documents in one call: all or none
        with pytest.raises(DismaiError, match="disk is full"):
            store.update([{"uuid": f"more {n}", "x": "x" * 50_000} for n in range(20)])
        assert store.count() == len(stored)
        filler.unlink()
        store.update({"uuid": "after", "x": "x" * 50_000})
    with EmbeddedStore(path, key="uuid") as store:
        assert sorted(store.distinct("uuid")) == sorted([*stored, "after"])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with (
        pytest.raises(DismaiError, match=r"cannot be (written|opened)") as error,
        EmbeddedStore(path, key="uuid") as store,
    ):
        store.update({"uuid": "x"})
    assert str(path) in str(error.value)


# ---------------------------------------------------------------- jobflow


@job
def _numbers(n: int) -> list[int]:
    return list(range(n))


@job
def _square(x: int) -> int:
    return x * x


@job
def _fan_out(numbers: list[int]) -> Response:
    jobs = [_square(x) for x in numbers]
    return Response(replace=Flow(jobs, output=[j.output for j in jobs]))


@job
def _detour(x: int) -> Response:
    return Response(output=x, detour=_square(x + 1))


@job
def _addition(x: int) -> Response:
    return Response(output={"x": x}, addition=_square(x + 2))


@job
def _fails() -> None:
    raise RuntimeError


@job
def _collect(parts: list[Any]) -> dict[str, Any]:
    return {"parts": parts}


@job(data="array")
def _big() -> dict[str, Any]:
    return {"array": np.arange(100_000) * 0.5, "note": "kept apart"}


def _run(store: JobStore) -> dict[str, Any]:
    """Run a flow with everything that jobflow does with a store; return outputs by job name."""
    numbers, bad, big = _numbers(5), _fails(), _big()
    fan = _fan_out(numbers.output)
    turns = [_detour(3), _addition(4)]
    parts = [fan.output, bad.output, big.output["note"], turns[0].output, turns[1].output["x"]]
    collect = _collect(parts)
    collect.config = JobConfig(on_missing_references=OnMissing.NONE)
    flow = Flow([numbers, fan, bad, big, *turns, collect])
    run_locally(flow, store=store, log=False)
    return {j.name: j.uuid for j in flow.jobs if j.name != "_fails"}


def _outputs(store: JobStore, uuids: dict[str, str]) -> dict[str, Any]:
    """Return the outputs, read back and resolved."""
    return {name: store.get_output(uuid, load=True) for name, uuid in uuids.items()}


def test_flows_run_as_on_a_memory_store(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Replace, detour, addition, a missing input and big data; the same after reopening."""
    memory = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    expected = _outputs(memory, _run(memory))
    assert expected["_fan_out"] == [0, 1, 4, 9, 16]
    assert expected["_collect"] == {"parts": [[0, 1, 4, 9, 16], None, "kept apart", 3, 4]}
    assert expected["_big"]["array"][-1] == 49999.5
    store = embedded_jobstore(tmp_path / "run.db")
    uuids = _run(store)
    assert _outputs(store, uuids) == expected
    assert store.count() == memory.count() == 14
    squares = [sorted(d["output"] for d in s.query({"name": "_square"})) for s in (store, memory)]
    assert squares[0] == squares[1] == [0, 1, 4, 9, 16, 16, 36]
    store.close()
    with embedded_jobstore(tmp_path / "run.db") as again:
        assert _outputs(again, uuids) == expected
        fan = uuids["_fan_out"]
        assert [d["index"] for d in again.query({"uuid": fan}, sort={"index": 1})] == [1, 2]
        (blob,) = again.additional_stores["data"].query({"job_uuid": uuids["_big"]})
        assert len(blob["data"]) == 100_000
        text = max(again.query(), key=lambda d: len(bson.encode(d)))
        assert len(bson.encode(text)) < 10_000
