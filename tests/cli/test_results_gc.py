"""``dismai results`` asks the LaunchPads whose runs use a store, above all before it cleans up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from pymongo import MongoClient

from dismaiflow.store import embedded_jobstore, has_blob, inventory, put_blob
from dismaiflow.store.inventory import list_entries
from dismaiflow.store.launchpads import register_launchpad, registered_launchpads
from mongod import HOST, mongod
from store.conftest import server_jobstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobflow import JobStore
    from pymongo.database import Database

    from cli.conftest import Dismai, Ran

__all__ = ["mongod"]

pytest.importorskip("fireworks")


@pytest.fixture
def server(mongod: int) -> Iterator[MongoClient]:
    """Yield a connection to a server."""
    with MongoClient[dict](HOST, mongod) as client:
        yield client


@pytest.fixture
def launchpads(server: MongoClient) -> list[Database]:
    """Return two LaunchPads on one server."""
    found = []
    for name in ("gc_first", "gc_second"):
        server.drop_database(name)
        server[name]["fw_id_assigner"].insert_one({"next_fw_id": 1, "next_launch_id": 1})
        found.append(server[name])
    return found


def wait(launchpad: Database, blob: str) -> None:
    """Let a Firework wait that was given a blob."""
    launchpad["fireworks"].insert_one({"fw_id": 1, "state": "READY", "spec": {"given": blob}})
    launchpad["workflows"].insert_one({"nodes": [1], "state": "READY"})


def old_blob(jobstore: JobStore, payload: bytes) -> str:
    """Put a blob of three days ago into a store."""
    digest = put_blob(jobstore, payload, "test")
    data = jobstore.additional_stores["data"]
    stamp = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
    for entry in list(list_entries(data)):
        assert inventory._stamp(data, entry.blob_uuid, stamp)
    return digest


@pytest.fixture
def configure(tmp_path: Path, mongod: int) -> Callable[..., Path]:
    """Return a function that writes a configuration: a LaunchPad, and a file or a database."""

    def write(name: str, launchpad: str | None, store: Path | str, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        if launchpad is not None:
            settings = {"host": HOST, "port": mongod, "name": launchpad} | changes
            (folder / "my_launchpad.yaml").write_text(yaml.safe_dump(settings))
        if isinstance(store, str):
            where = {"host": HOST, "port": mongod, "database": store}
            docs = {"type": "MongoStore", "collection_name": "outputs", **where}
            data = {"type": "GridFSStore", "collection_name": "outputs_blobs", **where}
        else:
            kind = {"@module": "dismaiflow.store.embedded", "@class": "EmbeddedStore"}
            docs = {**kind, "path": str(store), "collection_name": "outputs"}
            data = {**kind, "path": str(store), "collection_name": "blobs"}
        spec: dict[str, object] = {"docs_store": docs, "additional_stores": {"data": data}}
        if not isinstance(store, str):
            spec |= {"@module": "jobflow.core.store", "@class": "JobStore"}
        (folder / "jobflow.yaml").write_text(yaml.safe_dump({"JOB_STORE": spec}))
        (folder / "FW_config.yaml").write_text(f"CONFIG_FILE_DIR: {folder}\n")
        return folder

    return write


def removed(ran: Ran) -> int:
    """Return how many blobs went."""
    assert ran.code == 0, ran.err
    return int(json.loads(ran.out)["n_removed"])


def refusal(ran: Ran) -> str:
    """Return the one line of a refusal, after the line that names the store."""
    lines = [line for line in ran.err.splitlines() if not line.startswith("store: ")]
    assert (ran.code, len(lines), ran.out) == (2, 1, ""), ran
    return lines[0]


def test_file_of_a_launchpad(
    dismai: Dismai, configure: Callable[..., Path], launchpads: list[Database], tmp_path: Path
) -> None:
    """A file that is named is the store of a LaunchPad all the same."""
    path = tmp_path / "store.sqlite"
    with embedded_jobstore(path) as jobstore:
        given, orphan = old_blob(jobstore, b"given"), old_blob(jobstore, b"orphan")
    wait(launchpads[0], given)
    folder = configure("one", "gc_first", path)
    (tmp_path / "link.sqlite").symlink_to(path)
    places: list[dict[str, object]] = [
        {"DISMAI_STORE_PATH": path},
        {"store": path},
        {"store": tmp_path / "link.sqlite"},
    ]
    for place in places:
        words = ("--store", place.pop("store", "local"))
        ran = dismai("results", "gc", "--json", *words, DISMAI_LAUNCHPAD_DIR=folder, **place)
        assert json.loads(ran.out)["orphans"]["test"]["n"] == 1
    words = ("results", "gc", "--remove", "--json", "--store", path)
    assert removed(dismai(*words, DISMAI_LAUNCHPAD_DIR=folder)) == 1
    with embedded_jobstore(path) as jobstore:
        assert has_blob(jobstore, given)
        assert not has_blob(jobstore, orphan)
    # a LaunchPad with another store has no say, and need not answer
    other = configure("two", "gc_first", tmp_path / "other.sqlite", port=9)
    assert removed(dismai(*words, DISMAI_LAUNCHPAD_DIR=other)) == 1


@pytest.mark.parametrize("kind", ["file", "server"])
def test_two_launchpads(
    dismai: Dismai,
    configure: Callable[..., Path],
    launchpads: list[Database],
    tmp_path: Path,
    mongod: int,
    kind: str,
) -> None:
    """What waits on one LaunchPad is safe from those who configured the other."""
    path, database = tmp_path / "store.sqlite", "gc_shared"
    launchpads[0].client.drop_database(database)
    store = embedded_jobstore(path) if kind == "file" else server_jobstore(mongod, database)
    with store as jobstore:
        for launchpad, payload in zip(launchpads, (b"first", b"second"), strict=True):
            wait(launchpad, old_blob(jobstore, payload))
            register_launchpad(jobstore, HOST, mongod, launchpad.name)
        old_blob(jobstore, b"orphan")
    folder = configure("one", "gc_first", path if kind == "file" else database)
    words = ("results", "gc", "--remove", "--json")
    ran = dismai(*words, DISMAI_LAUNCHPAD_DIR=folder)
    places = [f"{HOST}:{mongod}/{name}" for name in ("gc_first", "gc_second")]
    assert json.loads(ran.out)["launchpads"] == places
    assert removed(ran) == 1
    # without any configuration the store itself tells whom to ask
    bare = configure("bare", None, path if kind == "file" else database)
    ran = dismai(*words, "--store", bare / "jobflow.yaml")
    assert json.loads(ran.out)["launchpads"] == places
    assert (removed(ran), json.loads(ran.out)["n_kept"]) == (0, 2)


@pytest.mark.slow
def test_launchpad_gone(
    dismai: Dismai,
    configure: Callable[..., Path],
    launchpads: list[Database],
    tmp_path: Path,
    mongod: int,
) -> None:
    """A LaunchPad that cannot be read lets nothing be removed, until it is named or forgotten."""
    path = tmp_path / "store.sqlite"
    with embedded_jobstore(path) as jobstore:
        given = old_blob(jobstore, b"given")
        register_launchpad(jobstore, HOST, 9, "gone")
        register_launchpad(jobstore, HOST, mongod, "never_was")
        register_launchpad(jobstore, HOST, mongod, "gc_first")
    words = ("results", "gc", "--store", path)
    ran = dismai(*words)
    assert "1 orphans" in ran.words
    assert f"the LaunchPad {HOST}:9/gone was not asked" in ran.err
    assert f"the LaunchPad {HOST}:{mongod}/never_was was not asked" in ran.err
    said = refusal(dismai(*words, "--remove"))
    assert f"--forget-launchpad {HOST}:{mongod}/never_was" in said or f"{HOST}:9/gone" in said
    assert "holds no such" not in said
    said = refusal(dismai(*words, "--forget-launchpad", f"{HOST}:{mongod}/gc_first"))
    assert "it is there and can be read" in said
    assert f"it knows {HOST}:{mongod}/gc_first" in refusal(
        dismai(*words, "--forget-launchpad", "x:1/y")
    )
    # what a folder that is named knows more than the store
    wait(launchpads[1], given)
    folder = configure("second", "gc_second", tmp_path / "other.sqlite")
    forget = [f"--forget-launchpad={HOST}:{port}" for port in ("9/gone", f"{mongod}/never_was")]
    assert removed(dismai(*words, "--remove", "--json", "--launchpad", folder, *forget)) == 0
    with embedded_jobstore(path) as jobstore:
        (known,) = registered_launchpads(jobstore)
        assert known.place == f"{HOST}:{mongod}/gc_first"
    assert "my_launchpad.yaml: no such file" in refusal(dismai(*words, "--launchpad", tmp_path))
    assert removed(dismai(*words, "--remove", "--json")) == 1


@pytest.mark.slow
def test_configured_launchpad_gone(
    dismai: Dismai, configure: Callable[..., Path], tmp_path: Path
) -> None:
    """A configured LaunchPad that does not answer is named with its file."""
    path = tmp_path / "store.sqlite"
    with embedded_jobstore(path) as jobstore:
        old_blob(jobstore, b"given")
        register_launchpad(jobstore, HOST, 9, "gc_first")
    folder = configure("one", "gc_first", path, port=9)
    words = ("results", "gc", "--store", path)
    ran = dismai(*words, DISMAI_LAUNCHPAD_DIR=folder)
    assert "1 orphans" in ran.words
    assert "was not asked" in ran.err
    said = refusal(dismai(*words, "--remove", DISMAI_LAUNCHPAD_DIR=folder))
    assert f"nothing was removed: the LaunchPad {HOST}:9/gc_first" in said
    assert str(folder / "my_launchpad.yaml") in said
    assert "--forget" not in said
    forget = f"--forget-launchpad={HOST}:9/gc_first"
    said = refusal(dismai(*words, "--remove", forget, DISMAI_LAUNCHPAD_DIR=folder))
    assert "a configuration leads there" in said
    assert removed(dismai(*words, "--remove", "--json", forget)) == 1


def test_run_without_documents(
    dismai: Dismai, configure: Callable[..., Path], launchpads: list[Database], tmp_path: Path
) -> None:
    """A run that the LaunchPad knows and the store does not yet is said so."""
    path = tmp_path / "store.sqlite"
    with embedded_jobstore(path):
        pass
    launchpads[0]["workflows"].insert_one(
        {"nodes": [1], "metadata": {"run_id": "5c0e00000001"}, "created_on": datetime(2026, 1, 1)}
    )
    named = {"DISMAI_LAUNCHPAD_DIR": configure("one", "gc_first", path)}
    for words in (("show", "5c0e"), ("export", "5c0e00000001", "--out", tmp_path / "new")):
        said = refusal(dismai("results", *words, **named))
        assert "run 5c0e00000001 is on the LaunchPad and has left no documents yet" in said
        assert "`dismai launchpad status 5c0e00000001`" in said
    for words in (("show", "feed"), ("show", "feed-1"), ("show", "5c0e", "--store", path)):
        assert "no run, score or dataset" in refusal(dismai("results", *words, **named))
    gone = {"DISMAI_LAUNCHPAD_DIR": configure("two", "gc_first", path, port=9)}
    assert "no run, score or dataset" in refusal(dismai("results", "show", "5c0e", **gone))
    assert not (tmp_path / "new").exists()
