"""Stores to test: the embedded one, and a MongoStore on a real server to compare it with."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from jobflow import JobStore
from maggma.stores import GridFSStore, MongoStore

from dismaiflow.store import EmbeddedStore, embedded_jobstore
from mongod import HOST, mongod
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["mongod"]

_numbers = itertools.count()


@pytest.fixture(params=["embedded", "mongo"])
def make_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., MongoStore]]:
    """Return a maker of connected, empty stores of one kind; the test runs once for each kind."""
    made: list[MongoStore] = []
    port = request.getfixturevalue("mongod") if request.param == "mongo" else 0

    def make(**kwargs: Any) -> MongoStore:
        name = f"c{next(_numbers)}"
        if port:
            store = MongoStore("tests", name, host=HOST, port=port, **kwargs)
        else:
            store = EmbeddedStore(tmp_path / "store.db", name, **kwargs)
        store.connect()
        made.append(store)
        return store

    yield make
    for store in made:
        if store._coll is not None:
            store.close()


@pytest.fixture
def store(make_store: Callable[..., MongoStore]) -> MongoStore:
    """Return an empty store with the key of a JobStore."""
    return make_store(key="uuid")


@pytest.fixture(params=["embedded", "mongo"])
def jobstore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """Yield a connected, empty JobStore: in one file, or on a server with blobs in GridFS."""
    if request.param == "embedded":
        store = embedded_jobstore(tmp_path / "run.db")
    else:
        port = request.getfixturevalue("mongod")
        store = server_jobstore(port, f"jobs{next(_numbers)}")
    with store:
        yield store


def server_jobstore(port: int, database: str, **login: Any) -> JobStore:
    """Return a JobStore on a server, as the templates of the package set one up."""
    where = {"host": HOST, "port": port, **login}
    data = GridFSStore(database, "outputs_blobs", **where)
    return JobStore(MongoStore(database, "outputs", **where), additional_stores={"data": data})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 4 MB."""
    with mounted(tmp_path / "disk", "4m") as folder:
        yield folder
