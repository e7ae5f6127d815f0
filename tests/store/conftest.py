"""Stores to test: the embedded one, and a MongoStore on a real server to compare it with."""

from __future__ import annotations

import itertools
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from maggma.stores import MongoStore

from dismaiflow.store import EmbeddedStore
from mongod import HOST, mongod

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 4 MB; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode or not folder.is_mount():
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
