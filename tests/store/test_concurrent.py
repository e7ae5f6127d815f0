"""Several processes and threads on one file: nothing lost, nothing double, nothing half."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dismaiflow.store import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Writes documents of several pages until told to stop, and logs each key after `update` returned.
WRITER = """
import sys, time
from pathlib import Path
from dismaiflow.store import EmbeddedStore

path, name = Path(sys.argv[1]), sys.argv[2]
folder = path.parent
store = EmbeddedStore(path, key="uuid")
(folder / f"{name}.ready").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
store.connect()
with (folder / f"{name}.log").open("a", buffering=1) as log:
    n = 0
    while not (folder / "stop").exists():
        mark = f"{name} {n}"
        body = {"first": mark, "filling": [mark] * 500, "last": mark}
        store.update({"uuid": f"{name} {n}", "index": 1, **body}, key=["uuid", "index"])
        # one that all writers replace again and again, and a batch that goes in as one
        store.update({"uuid": f"shared {n % 5}", "index": 1, **body}, key=["uuid", "index"])
        if n % 10 == 0:
            store.update([{"uuid": f"{name} {n} {i}", "index": 2, **body} for i in range(3)])
        log.write(f"{n}\\n")
        n += 1
store.close()
"""


def _start(path: Path, names: str) -> list[subprocess.Popen[bytes]]:
    """Start writers that reach `connect` of a file that is not there at the same moment."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], env=env) for name in names
    ]
    while not all((path.parent / f"{name}.ready").exists() for name in names):
        assert all(writer.poll() is None for writer in writers)
        time.sleep(0.01)
    (path.parent / "go").touch()
    return writers


def _acknowledged(path: Path, name: str) -> list[int]:
    """Return what a writer logged; a line that was cut off does not count."""
    log = path.parent / f"{name}.log"
    text = log.read_text() if log.exists() else ""
    return [int(line) for line in text[: text.rfind("\n") + 1].split()]


def _check(store: EmbeddedStore) -> Iterator[str]:
    """Yield the key of each document, all of them whole."""
    for document in store.query():
        mark = document["first"]
        assert document["filling"] == [mark] * 500
        assert document["last"] == mark
        yield document["uuid"]


def test_writers_one_killed_and_a_reader(tmp_path: Path) -> None:
    """Three writers make a file and write, one is killed; a reader sees whole documents only."""
    path, names = tmp_path / "shared.db", "abc"
    writers = _start(path, names)
    reader = EmbeddedStore(path, key="uuid")
    reader.connect()
    reads, begin = 0, time.monotonic()
    while time.monotonic() < begin + 60:
        keys = list(_check(reader))
        assert len(keys) == len(set(keys))
        reads += 1
        if len(_acknowledged(path, "a")) > 50 and writers[0].poll() is None:
            writers[0].kill()  # SIGKILL, somewhere in its loop
            killed_at = time.monotonic()
            writers[0].wait()
        if writers[0].poll() is not None and time.monotonic() > killed_at + 1:
            break
    (tmp_path / "stop").touch()
    assert [writer.wait(timeout=60) for writer in writers] == [-9, 0, 0]
    assert reads > 3
    keys = list(_check(reader))
    assert len(keys) == len(set(keys))
    for name in names:
        done = _acknowledged(path, name)
        assert done == list(range(len(done)))
        assert len(done) > 20
        expected = {f"{name} {n}" for n in done}
        expected |= {f"{name} {n} {i}" for n in done if n % 10 == 0 for i in range(3)}
        assert expected <= set(keys)
        # of the batches, the one that was under way too, all three or none
        batches = [key for key in keys if key.startswith(name) and key.count(" ") == 2]
        assert len(batches) % 3 == 0
    assert {f"shared {n}" for n in range(5)} <= set(keys)
    assert reader._collection._rows("PRAGMA integrity_check") == [("ok",)]
    reader.close()


def test_threads(tmp_path: Path) -> None:
    """Threads share one store object, and others have their own, on one file."""
    shared = EmbeddedStore(tmp_path / "a.db", key="uuid")
    shared.connect()

    def work(number: int) -> int:
        store = shared if number % 2 else EmbeddedStore(tmp_path / "a.db", key="uuid")
        store.connect()
        for n in range(25):
            store.update({"uuid": f"{number} {n}", "n": n})
            store.update({"uuid": f"all {n}", "by": number})
            assert store.query_one({"uuid": f"{number} {n}"})["n"] == n
        return store.count({"uuid": {"$regex": f"^{number} "}})

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == [25] * 6
    assert shared.count() == 6 * 25 + 25
    shared.close()


def test_fork(tmp_path: Path) -> None:
    """A forked child opens the file for itself; the parent's store goes on."""
    store = EmbeddedStore(tmp_path / "a.db", key="uuid")
    store.connect()
    store.update({"uuid": "parent"})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.update({"uuid": "child"})
            status = 0 if store.count() == 2 else 2
            store.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.update({"uuid": "parent again"})
    assert sorted(store.distinct("uuid")) == ["child", "parent", "parent again"]
    store.close()
