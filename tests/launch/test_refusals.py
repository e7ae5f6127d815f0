"""What is wrong is told in one clear line, within seconds, before any work starts."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.launch.check import ready_to_submit, run_checks
from dismaiflow.launch.config import LaunchConfig, load_config
from dismaiflow.launch.files import read_yaml
from dismaiflow.launch.init import Login, initialise
from dismaiflow.launch.server import PrivateServer
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Dismai

#: A dead server is told of within so many seconds.
SECONDS = 5.0


def refusal(config: LaunchConfig) -> str:
    """Return the line with which submitting is refused; it holds no password, and came soon."""
    begin = time.monotonic()
    with pytest.raises(DismaiError) as caught:
        ready_to_submit(config)
    assert time.monotonic() - begin < SECONDS
    line = str(caught.value)
    assert "\n" not in line
    assert "Traceback" not in line
    for path in config.folder.glob("*.yaml"):
        for password in re.findall(r'password: "(.+)"', path.read_text()):
            assert password not in line
    return line


def replaced(config: LaunchConfig, name: str, pattern: str, new: str) -> None:
    """Change a file as a user's slip would."""
    path = config.folder / name
    text, count = re.subn(pattern, new, path.read_text(), flags=re.MULTILINE)
    assert count
    path.write_text(text)


def test_all_is_well(configured: Callable[..., LaunchConfig]) -> None:
    """And it takes less than a second."""
    config = configured()
    ready_to_submit(config)
    begin = time.monotonic()
    ready_to_submit(config)
    assert time.monotonic() - begin < 10
    assert config.launchpad().db.list_collection_names()
    assert config.launchpad().db["dismai_check"].count_documents({}) == 0
    assert config.jobstore().count() == 0


def slip(name: str, pattern: str, new: str, *words: str) -> Any:
    return pytest.param(name, pattern, new, words, id=f"{name}:{words[0]}")


@pytest.mark.parametrize(
    ("name", "pattern", "new", "words"),
    [
        slip("my_launchpad.yaml", "^password: .*", "password: wrong", "let user 'admin' in"),
        slip("jobflow.yaml", "password: .*", "password: wrong", "let user 'admin' in"),
        slip("my_launchpad.yaml", "^username: .*", "username: who", "let user 'who' in"),
        slip("my_launchpad.yaml", "^port: .*", "port: 1", "answers at 127.0.0.1:1:"),
        slip("jobflow.yaml", "port: .*", "port: 1", "answers at 127.0.0.1:1:"),
        slip("my_launchpad.yaml", "^port: .*", "port: x", "port must be a number"),
        slip("my_launchpad.yaml", "^username:", "usename:", "'usename'", "did you mean username?"),
        slip("my_launchpad.yaml", "^name:", "nme:", "'nme'", "did you mean name?"),
        slip("my_launchpad.yaml", "^name: .*", "name: fresh", "'fresh'", "dismai launchpad init"),
        slip("jobflow.yaml", "^JOB_STORE:", "JOB_STOR:", "'JOB_STOR'", "did you mean JOB_STORE?"),
        slip("jobflow.yaml", "^JOB_STORE:", "job_store:", "did you mean JOB_STORE?"),
        slip(
            "jobflow.yaml",
            "additional_stores:",
            "additional_store:",
            "did you mean additional_stores?",
        ),
        slip("jobflow.yaml", "docs_store:", "doc_store:", "did you mean docs_store?"),
        slip(
            "jobflow.yaml",
            "collection_name: outputs$",
            "colection_name: x",
            "did you mean collection_name?",
        ),
        slip("jobflow.yaml", "MongoStore", "MongStore", "did you mean MongoStore?"),
        slip("jobflow.yaml", "type: GridFSStore", "kind: GridFSStore", "name the type"),
        slip("jobflow.yaml", "^    data:", "    dat:", "lacks the additional store `data`"),
        slip(
            "jobflow.yaml", "(?s)^  additional_stores:.*", "", "lacks the additional store `data`"
        ),
        slip("jobflow.yaml", "(?s).*", "# nothing\n", "NAME: value"),
        slip("jobflow.yaml", "(?s)^JOB_STORE.*", "UID_TYPE: uuid4\n", "JOB_STORE is missing"),
        slip("jobflow.yaml", "password: .*", 'password: "open', "not valid YAML at line"),
        slip("FW_config.yaml", "^PING_TIME_SECS", "PING_TIME_SEC", "did you mean PING_TIME_SECS?"),
        slip("FW_config.yaml", "^RUN_EXP.*", "RUN_EXPIRATION_SECS: 60", "several times"),
        slip(
            "FW_config.yaml",
            "^CONFIG_FILE_DIR: .*",
            "CONFIG_FILE_DIR: .",
            "CONFIG_FILE_DIR must be",
        ),
        slip("my_fworker.yaml", "^category:", "categories:", "did you mean category?"),
        slip("my_fworker_gpu.yaml", "^query: .*", "query: {}", "query must be JSON"),
        slip("my_qadapter.yaml", "^walltime:", "wall_time:", "did you mean walltime?"),
        slip("my_qadapter.yaml", "SLURM$", "SLURMM", "did you mean SLURM?"),
    ],
)
def test_slips(
    configured: Callable[..., LaunchConfig],
    name: str,
    pattern: str,
    new: str,
    words: tuple[str, ...],
) -> None:
    """Each in its file, with the way out."""
    config = configured()
    replaced(config, name, pattern, new)
    line = refusal(config)
    for word in words:
        assert word in line
    assert name in line or "init" in line


@pytest.mark.parametrize("name", ["my_launchpad.yaml", "jobflow.yaml", "my_fworker_vasp.yaml"])
def test_a_missing_file(configured: Callable[..., LaunchConfig], name: str) -> None:
    """Without jobflow.yaml jobs would complete and their results vanish."""
    config = configured()
    (config.folder / name).unlink()
    line = refusal(config)
    assert name in line
    assert "dismai launchpad init" in line


def test_a_port_at_which_something_else_listens(configured: Callable[..., LaunchConfig]) -> None:
    """It takes the connection and says nothing."""
    config = configured()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        replaced(config, "my_launchpad.yaml", "^port: .*", f"port: {port}")
        assert f"no MongoDB server answers at 127.0.0.1:{port}" in refusal(config)


def test_a_user_who_may_only_read(
    private: PrivateServer, config: LaunchConfig, tmp_path: Path
) -> None:
    """Told before anything is written."""
    known = private.credentials("reader")
    login = Login(known["host"], known["port"], user="reader", password=known["password"])
    folder = initialise(tmp_path / "reader", login, link=False).folder
    line = refusal(load_config(folder))
    assert "user 'reader'" in line
    assert "readWrite" in line


@pytest.mark.slow
def test_a_full_disk_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told while the server still lives, and why it does not where it has ended itself."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with mounted(tmp_path / "home" / ".dismai", "800m") as disk:
        server = PrivateServer(disk / "mongod")
        server.start()
        try:
            known = server.credentials()
            login = Login(known["host"], known["port"], user="dismai", password=known["password"])
            config = LaunchConfig(initialise(disk / "launchpad", login).folder)
            ready_to_submit(config)
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                for _ in range(300):
                    file.write(bytes(1_000_000))
            line = refusal(config)
            assert "the disk of the MongoDB server" in line
            assert "is full" in line
            with ballast.open("ab") as file:
                _fill(file)
            with pytest.raises(DismaiError):
                _write_until_it_ends(config)
            while server.pid() is not None:
                time.sleep(0.05)
            line = refusal(config)
            assert "does not run because its disk is full" in line
            assert "disk is full" in _refused(server.start)
            ballast.unlink()
            assert server.start()
            ready_to_submit(config)
        finally:
            server.stop()


def _fill(file: Any) -> None:
    """Write until nothing fits."""
    block = bytes(1_000_000)
    try:
        while True:
            file.write(block)
            file.flush()
    except OSError:
        pass


def _write_until_it_ends(config: LaunchConfig) -> None:
    """Write to the server as a run does that somebody else's files overtake."""
    from dismaiflow.launch.mongo import explained

    launchpad = config.launchpad()
    with explained(config.folder, "127.0.0.1", patience=20):
        for _ in range(1000):
            launchpad.db["junk"].insert_one({"x": bytes(1_000_000)})


def _refused(act: Callable[[], object]) -> str:
    with pytest.raises(DismaiError) as caught:
        act()
    return str(caught.value)


def test_the_command_stops_at_the_first_fault(
    dismai: Dismai, configured: Callable[..., LaunchConfig]
) -> None:
    """What depends on it is skipped; exit code 2."""
    config = configured()
    replaced(config, "my_launchpad.yaml", "^password: .*", "password: wrong")
    ran = dismai("launchpad", "check", config.folder)
    assert ran.code == 2
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ok", "ok", "FAILED"]
    assert "my_launchpad.yaml" in lines[2]
    assert all(line.startswith("skipped") for line in lines[3:-1])


def test_rights_of_files(configured: Callable[..., LaunchConfig]) -> None:
    """A file that others can read is told, with the command that mends it."""
    config = configured()
    (config.folder / "jobflow.yaml").chmod(0o644)
    checks = run_checks(config.folder)
    first = next(checks)
    checks.close()
    assert first.state == "failed"
    assert f"chmod 0600 {config.folder / 'jobflow.yaml'}" in first.line


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("_MIN_SERVER", (99, 0), "99.0 is the oldest"),
        ("_MAX_CLOCK_SECONDS", -1.0, "clocks"),
    ],
)
def test_an_old_server_and_a_wrong_clock(
    configured: Callable[..., LaunchConfig],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
    words: str,
) -> None:
    """Both would show much later, and not as what they are."""
    config = configured()
    monkeypatch.setattr(f"dismaiflow.launch.check.{name}", value)
    assert words in refusal(config)


def test_a_missing_index(configured: Callable[..., LaunchConfig]) -> None:
    """Told, and init makes it."""
    config = configured()
    config.jobstore().docs_store._collection.drop_indexes()
    checks = run_checks(config.folder, blob_bytes=1000)
    lines = {result.name: result for result, _ in zip(checks, range(6), strict=False)}
    checks.close()
    assert "dismai launchpad init" in lines["indexes"].line
    assert lines["indexes"].state == "failed"


def test_unconfigured(dismai: Dismai, tmp_path: Path) -> None:
    """The next step is named."""
    with pytest.raises(DismaiError, match="dismai launchpad init"):
        load_config(tmp_path)
    ran = dismai("launchpad", "check", HOME=tmp_path)
    assert ran.code == 2
    assert "dismai launchpad init" in ran.out


def test_yaml_errors_do_not_quote_the_file(tmp_path: Path) -> None:
    """The line with the error may be the one with the password."""
    path = tmp_path / "x.yaml"
    path.write_text('user: me\npassword: "hunter2\n')
    with pytest.raises(DismaiError) as caught:
        read_yaml(path)
    assert "hunter2" not in str(caught.value)
    assert "line" in str(caught.value)
