"""A store knows the LaunchPads that submit to it, and no login of theirs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore, MongoStore

from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.launchpads import (
    forget_launchpad,
    launchpad_at,
    register_launchpad,
    registered_launchpads,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_registry(jobstore: JobStore) -> None:
    """Each is noted once, and can be forgotten."""
    assert registered_launchpads(jobstore) == []
    for _ in range(2):
        register_launchpad(jobstore, "db.example", 27017, "one")
        register_launchpad(jobstore, "db.example", 27017, "two")
    register_launchpad(jobstore, "127.0.0.1", 27018, "one")
    found = registered_launchpads(jobstore)
    places = ["127.0.0.1:27018/one", "db.example:27017/one", "db.example:27017/two"]
    assert [known.place for known in found] == places
    assert [known.server for known in found[1:]] == ["db.example:27017"] * 2
    assert not any(known.is_elsewhere for known in found)
    forget_launchpad(jobstore, found[1])
    assert [known.place for known in registered_launchpads(jobstore)] == [places[0], places[2]]
    assert jobstore.docs_store.count() == 0


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("mongodb://anna:gehe%40im@a.example:1,b.example:2/x?authSource=admin", None),
        ("mongodb+srv://anna:geheim@cluster.example", "cluster.example"),
        ("mongodb://anna:ge@he/im@host.example:5", "host.example:5"),
        ("anna:geheim@host.example", "host.example"),
    ],
)
def test_no_login(tmp_path: Path, uri: str, server: str | None) -> None:
    """Of a connection string the servers are kept, nothing else."""
    with embedded_jobstore(tmp_path / "run.db") as jobstore:
        register_launchpad(jobstore, uri, None, "pad")
        (found,) = registered_launchpads(jobstore)
    assert found.place == f"{server or 'a.example:1,b.example:2'}/pad"
    for word in (b"anna", b"gehe", b"authSource"):
        assert all(word not in file.read_bytes() for file in tmp_path.iterdir())


def test_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with one store do not take each other's LaunchPads for their own."""
    shared = JobStore(MongoStore("d", "outputs", host="db.example", username="u", password="p"))
    mine = launchpad_at(shared, "127.0.0.1", 27017, "pad")
    assert mine.place == f"{socket.gethostname()}:27017/pad"
    assert mine.server == "127.0.0.1:27017"
    assert not mine.is_elsewhere
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert mine.is_elsewhere
    for local in (MongoStore("d", "outputs"), MongoStore("d", "outputs", host="127.0.0.1")):
        assert launchpad_at(JobStore(local), "127.0.0.1", 1, "pad").machine is None


def test_other_stores() -> None:
    """A store in memory has nothing to be noted in; unknown kinds of stores are refused."""
    with JobStore(MemoryStore()) as jobstore:
        register_launchpad(jobstore, "db.example", 27017, "one")
        assert registered_launchpads(jobstore) == []

    class Foreign(MongoStore):
        """Somebody's own."""

    with pytest.raises(DismaiError, match="Foreign"):
        registered_launchpads(JobStore(Foreign("d", "outputs")))
