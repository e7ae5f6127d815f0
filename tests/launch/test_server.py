"""The private server: starts, stops, survives, and says in one line why it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from dismaiflow.errors import DismaiError
from dismaiflow.launch import server as module
from dismaiflow.launch.server import HOST, MIN_FREE_BYTES, PrivateServer, find_mongod
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cli.conftest import Dismai

pytestmark = pytest.mark.skipif(find_mongod() is None, reason="no mongod")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateServer]:
    """Yield a server that was never started; it is stopped in the end."""
    it = PrivateServer(tmp_path / "mongod")
    yield it
    it.stop()


def refusal(act: Callable[[], object]) -> str:
    """Return the one line with which something is refused."""
    with pytest.raises(DismaiError) as caught:
        act()
    line = str(caught.value)
    assert "\n" not in line
    return line


def kill(server: PrivateServer) -> None:
    """Kill the process of a server as a crash would."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while server.pid() is not None:
        time.sleep(0.01)


def test_up_down_up(server: PrivateServer) -> None:
    """The second start goes on with the same data, port and passwords."""
    assert not server.is_set_up()
    assert server.start()
    assert not PrivateServer(server.folder).start()
    known = server.credentials()
    with server.client() as client:
        client["dismai"]["kept"].insert_one({"_id": 1})
    assert server.stop()
    assert server.pid() is None
    assert not server.stop()
    again = PrivateServer(server.folder)
    assert again.start()
    assert again.credentials() == known
    with again.client() as client:
        assert client["dismai"]["kept"].find_one() == {"_id": 1}


def test_a_killed_server_recovers(server: PrivateServer) -> None:
    """What was acknowledged is there; the lock that it left is no hindrance."""
    server.start()
    with server.client() as client:
        store = client["dismai"].get_collection("kept")
        for number in range(20):
            store.insert_one({"_id": number})
        client.admin.command("ping")
        store.with_options().database.command(
            "insert", "kept", documents=[{"_id": 99}], writeConcern={"j": True}
        )
    kill(server)
    assert (server.data / "mongod.lock").read_text().strip()
    assert server.start()
    with server.client() as client:
        assert client["dismai"]["kept"].count_documents({}) == 21


def test_rights(server: PrivateServer) -> None:
    """Three users with their rights, nobody else; files for the owner alone."""
    server.start()
    port = server.credentials()["port"]
    with MongoClient(HOST, port) as nobody, pytest.raises(OperationFailure):
        nobody["dismai"]["x"].find_one()
    with server.client("dismai") as client:
        for name in ("dismai", "dismai_launchpad"):
            client[name]["x"].insert_one({"_id": 1})
        with pytest.raises(OperationFailure):
            client["other"]["x"].find_one()
        with pytest.raises(OperationFailure):
            client["admin"].command("usersInfo")
    with server.client("reader") as client:
        assert client["dismai"]["x"].find_one() == {"_id": 1}
        with pytest.raises(OperationFailure):
            client["dismai"]["x"].insert_one({"_id": 2})
    passwords = {server.credentials(user)["password"] for user in module.ROLES}
    assert len(passwords) == 3
    assert min(map(len, passwords)) >= 32
    assert server.credentials_file.stat().st_mode & 0o777 == 0o600
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert server.data.stat().st_mode & 0o777 == 0o700


def test_it_listens_on_this_machine_only(server: PrivateServer) -> None:
    """By its own word."""
    server.start()
    with server.client("admin") as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
    assert options["net"]["bindIp"] == HOST
    assert options["security"]["authorization"] == "enabled"


def test_another_process_of_the_same_number_is_left_alone(server: PrivateServer) -> None:
    """After a crash the number in the lock file may be somebody else's."""
    server.start()
    server.stop()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        (server.data / "mongod.lock").write_text(f"{bystander.pid}\n")
        assert server.pid() is None
        assert not server.stop()
        assert server.start()
        assert server.pid() not in (None, bystander.pid)
        assert bystander.poll() is None
        bystander.kill()


def test_a_start_that_was_cut_off_is_completed(server: PrivateServer) -> None:
    """Users that were not made yet are made at the next start."""
    server.start()
    with server.client("admin") as client:
        client.admin.command("dropUser", "dismai")
    assert not server.start()
    with server.client() as client:
        client["dismai"].list_collection_names()
    with server.client("admin") as client:
        client.admin.command("dropAllUsersFromDatabase")
    server.stop()
    server.start()
    with server.client() as client:
        client["dismai"].list_collection_names()


def test_started_twice_at_once(dismai: Dismai, tmp_path: Path) -> None:
    """One of the two starts it, the other finds it running."""
    words = ("launchpad", "up", "--data", tmp_path / "mongod")
    both = [dismai.popen(*words, cwd=tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    server = PrivateServer(tmp_path / "mongod")
    try:
        assert [process.returncode for process in both] == [0, 0], said
        assert sorted("running already" in out for out, _ in said) == [False, True]
    finally:
        server.stop()


def test_a_taken_port(server: PrivateServer) -> None:
    """One line; another port can be chosen and is kept."""
    server.start()
    server.stop()
    port = server.credentials()["port"]
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        line = refusal(PrivateServer(server.folder).start)
        assert f"port {port}" in line
        assert "--port" in line
        new = module.free_port()
        assert PrivateServer(server.folder, new).start()
    assert server.credentials()["port"] == new
    assert not PrivateServer(server.folder).start()


def test_lost_and_wrong_passwords(server: PrivateServer) -> None:
    """One line, and the data are not touched."""
    server.start()
    server.stop()
    kept = server.credentials_file.read_text()
    server.credentials_file.unlink()
    assert "restore a copy" in refusal(server.start)
    server.credentials_file.write_text("{")
    assert "damaged" in refusal(server.start)
    wrong = json.loads(kept)
    wrong["users"]["admin"] = "not the password"
    server.credentials_file.write_text(json.dumps(wrong))
    line = refusal(PrivateServer(server.folder).start)
    assert "does not take the passwords" in line
    assert "not the password" not in line
    assert server.pid() is None
    server.credentials_file.write_text(kept)
    assert PrivateServer(server.folder).start()


def test_no_mongod(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says where to get one."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = refusal(server.start)
    assert "dismaiflow[server]" in line
    assert "--host" in line
    assert not server.folder.exists()


def test_no_folder(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(PrivateServer(tmp_path / "file" / "mongod").start)


def test_a_full_disk(tmp_path: Path) -> None:
    """Refused before the server would end itself."""
    with mounted(tmp_path / "disk", "64m") as disk:
        line = refusal(PrivateServer(disk / "mongod").start)
        assert "disk is full" in line
        assert f"{MIN_FREE_BYTES / 1e6:.0f} MB" in line
        assert not (disk / "mongod" / "db").exists()


def test_a_broken_mongod_says_its_reason(
    server: PrivateServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it writes before it has a log, too."""
    fake = tmp_path / "bin" / "mongod"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\necho 'error while loading shared libraries: libx.so' >&2; exit 127\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    assert "lacks a library" in refusal(server.start)


def test_a_packaged_mongod_without_its_run_bit(tmp_path: Path) -> None:
    """It gets one."""
    binary = tmp_path / "mongod"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o644)
    assert os.access(module.runnable(binary, tmp_path), os.X_OK)


def test_the_commands_say_what_they_did(dismai: Dismai, tmp_path: Path) -> None:
    """Each one with the next command."""
    data = ("--data", tmp_path / "mongod")
    assert "no private MongoDB server was running" in dismai("launchpad", "down", *data).words
    up = dismai("launchpad", "up", *data).words
    assert "MongoDB serves this machine at 127.0.0.1:" in up
    assert f"next: dismai launchpad init --data {tmp_path / 'mongod'}" in up
    assert "was running already" in dismai("launchpad", "up", *data).words
    down = dismai("launchpad", "down", *data).words
    assert "MongoDB has stopped; its data stay" in down
    for user in module.ROLES:
        password = PrivateServer(tmp_path / "mongod").credentials(user)["password"]
        assert password not in up + down
