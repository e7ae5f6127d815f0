"""Servers with TLS, and servers that a URI names: set up by init or by hand, proved by check."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest
import yaml
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from dismaiflow.errors import DismaiError
from dismaiflow.launch.check import ready_to_submit, run_checks
from dismaiflow.launch.config import LaunchConfig, place_of, user_of
from dismaiflow.launch.init import Login, initialise
from dismaiflow.launch.mongod import find_mongod, free_port, runnable
from launch.test_check import places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.conftest import Dismai
    from dismaiflow.launch.server import PrivateServer

#: Not to be found in any message.
PASSWORD = "tea/2@four:o'clock%"


@dataclass(frozen=True)
class Encrypted:
    """A server that demands TLS and a login.

    Parameters
    ----------
    port : int
        It listens on 127.0.0.1.
    authority : Path
        Signed its certificate, which is for ``localhost``.
    other : Path
        An authority that did not.
    """

    port: int
    authority: Path
    other: Path

    @property
    def login(self) -> Login:
        """Whoever may do everything there."""
        return Login(
            "localhost",
            self.port,
            user="me",
            password=PASSWORD,
            tls=True,
            tls_ca_file=self.authority,
        )


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """Yield a server with TLS; the test is skipped where none can run."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    mongod = find_mongod()
    if mongod is None:
        pytest.skip("no mongod")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("own", "other"):
        certify(folder, name)
    server = Encrypted(free_port(), folder / "own.pem", folder / "other.pem")
    words = ["--tlsMode", "requireTLS", "--auth"]
    words += ["--tlsCertificateKeyFile", str(folder / "own.both.pem")]
    options = {"tls": True, "tlsCAFile": str(server.authority)}
    with running(runnable(mongod, folder), folder / "db", server.port, words, options) as client:
        # the first user may be made by anybody from this machine
        client.admin.command("createUser", "me", pwd=PASSWORD, roles=["root"])
        yield server


def certify(folder: Path, name: str) -> None:
    """Make a certificate for ``localhost`` that vouches for itself, and a file with its key too."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(key),
    ]
    subprocess.run(
        ["openssl", *words, "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    (folder / f"{name}.both.pem").write_text(key.read_text() + certificate.read_text())


@contextmanager
def running(
    mongod: Path, data: Path, port: int, words: list[str], options: dict[str, Any]
) -> Iterator[MongoClient[dict[str, Any]]]:
    """Run a server; yield a client that has not logged in."""
    data.mkdir()
    command = [str(mongod), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--nounixsocket", "--logpath", f"{data}.log", "--wiredTigerCacheSizeGB", "0.25"]
    process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
    try:
        with MongoClient[dict[str, Any]](
            "localhost", port, serverSelectionTimeoutMS=500, **options
        ) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.admin.command("ping")
                    break
                except PyMongoError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
            yield client
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return home


def refusal(act: Callable[[], object]) -> str:
    """Return the one line with which something is refused, without the password."""
    begin = time.monotonic()
    with pytest.raises(DismaiError) as caught:
        act()
    assert time.monotonic() - begin < 15
    line = str(caught.value)
    assert "\n" not in line
    without_password(line)
    return line


def without_password(text: str) -> None:
    """See to it that no part of the password is shown."""
    assert not re.search(r"tea|four|clock", text), text


@pytest.mark.slow
def test_init_and_check(encrypted: Encrypted, dismai: Dismai, home: Path, tmp_path: Path) -> None:
    """The command logs in, and workers do, by what it has written."""
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    words = ["launchpad", "init", "--host", "localhost", "--port", encrypted.port, "--user", "me"]
    words += ["--password-file", secret, "--tls", "--tls-ca-file", encrypted.authority]
    ran = dismai.execute(*words, cwd=tmp_path, HOME=home)
    assert ran.code == 0, ran.err
    ran = dismai.execute("launchpad", "check", cwd=tmp_path, HOME=home)
    assert ran.code == 0, ran.out + ran.err
    assert "logged in as me" in ran.out
    for command in (("launchpad", "status"), ("results", "list")):
        ran = dismai.execute(*command, cwd=tmp_path, HOME=home)
        assert ran.code == 0, ran.err
        without_password(ran.out + ran.err)


def test_what_is_written(encrypted: Encrypted, home: Path, tmp_path: Path) -> None:
    """In all three places; nothing of it without the options."""
    folder = initialise(tmp_path / "with", encrypted.login).folder
    wanted = {"tls": True, "tlsCAFile": str(encrypted.authority)}
    for given in connections(folder):
        assert wanted.items() <= given["mongoclient_kwargs"].items()
    (folder / "jobflow.yaml").unlink()
    assert initialise(folder, encrypted.login).written == ["jobflow.yaml"]


def connections(folder: Path) -> list[dict[str, Any]]:
    """Return the settings of the LaunchPad and of the two stores."""
    jobs = yaml.safe_load((folder / "my_launchpad.yaml").read_text())
    store = yaml.safe_load((folder / "jobflow.yaml").read_text())["JOB_STORE"]
    return [jobs, store["docs_store"], store["additional_stores"]["data"]]


@pytest.mark.slow
def test_wrong_options(encrypted: Encrypted, home: Path, tmp_path: Path) -> None:
    """Each is told for what it is, and nothing is written."""

    def words(**changes: Any) -> str:
        login = encrypted.login
        return refusal(lambda: initialise(tmp_path / "x", replace(login, **changes)))

    assert "if it demands TLS, set tls" in words(tls=False, tls_ca_file=None)
    assert "say --tls too" in words(tls=False)
    line = words(tls_ca_file=None)
    assert "is not trusted (self-signed certificate)" in line
    assert "--tls-ca-file" in line
    assert "is not trusted" in words(tls_ca_file=encrypted.other)
    assert "mismatch" in words(host="127.0.0.1")
    assert "let user 'me' in" in words(password="another")
    assert "No such file" in words(tls_ca_file=tmp_path / "none")
    assert "in the format PEM" in words(tls_ca_file=Path(__file__))
    assert "absolute path" in words(tls_ca_file=Path("ca.pem"))
    assert not (tmp_path / "x").exists()


def test_a_server_without_tls(login: Login, dismai: Dismai, home: Path, tmp_path: Path) -> None:
    """It cannot be asked for it; the private one has none at all."""
    line = refusal(lambda: initialise(tmp_path / "x", replace(login, tls=True, host="localhost")))
    assert "does not answer with TLS" in line
    assert "the private one has none" in dismai("launchpad", "init", "--tls", HOME=home).refusal


def test_a_file_of_the_authority_that_went_away(
    encrypted: Encrypted, home: Path, tmp_path: Path
) -> None:
    """As on a worker's machine that lacks it."""
    copy = tmp_path / "ca.pem"
    shutil.copyfile(encrypted.authority, copy)
    config = LaunchConfig(
        initialise(tmp_path / "x", replace(encrypted.login, tls_ca_file=copy)).folder
    )
    ready_to_submit(config)
    copy.unlink()
    line = refusal(lambda: ready_to_submit(config))
    assert "my_launchpad.yaml: mongoclient_kwargs.tlsCAFile" in line
    assert "No such file" in line


def by_uri(folder: Path, uri: str) -> LaunchConfig:
    """Edit the files of a configuration as docs/guide/operations.md says."""
    jobs, docs, data = connections(folder)
    for name in ("port", "username", "password", "authsource"):
        del jobs[name]
    jobs |= {"host": uri, "uri_mode": True}
    for given in (docs, data):
        for name in ("host", "port", "username", "password", "auth_source"):
            del given[name]
        given["uri"] = uri
    (folder / "my_launchpad.yaml").write_text(yaml.safe_dump(jobs))
    store = {"JOB_STORE": {"docs_store": docs, "additional_stores": {"data": data}}}
    (folder / "jobflow.yaml").write_text(yaml.safe_dump(store))
    return LaunchConfig(folder)


@pytest.mark.parametrize("tls", [pytest.param(False, marks=pytest.mark.slow), True])
def test_by_uri(
    encrypted: Encrypted,
    private: PrivateServer,
    home: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    tls: bool,
) -> None:
    """Check proves what was edited by hand, and no part of the password is in any line."""
    login = encrypted.login
    if not tls:
        port = private.credentials()["port"]
        login = replace(login, port=port, tls=False, tls_ca_file=None, host="127.0.0.1")
        with private.client("admin") as client:
            client.admin.command("createUser", "me", pwd=PASSWORD, roles=["root"])
            request.addfinalizer(lambda: drop_user(private))
    place = f"{login.host}:{login.port}"
    folder = initialise(tmp_path / "launchpad", login).folder
    uri = f"mongodb://me:{quote_plus(PASSWORD)}@{place}/?authSource=admin"
    config = by_uri(folder, uri)
    assert initialise(folder, login).kept == ["my_launchpad.yaml", "jobflow.yaml"]
    for result in run_checks(folder, blob_bytes=1000):
        assert result.state == "ok", result.line
        without_password(result.line)
        if result.name == "server":
            assert f"at {place}, logged in as me" in result.line
    passwords = {PASSWORD, quote_plus(PASSWORD)}
    assert tls or places_of(passwords, private, tmp_path) == []
    wrong = uri.replace(quote_plus(PASSWORD), "teapot")
    line = refusal(lambda: ready_to_submit(by_wrong_uri(config, uri, wrong)))
    assert f"the MongoDB server at {place} does not let user 'me' in" in line
    line = refusal(
        lambda: ready_to_submit(by_wrong_uri(config, wrong, uri.replace(place, "[::1]:1")))
    )
    assert "no MongoDB server answers at [::1]:1" in line


def drop_user(server: PrivateServer) -> None:
    with server.client("admin") as client:
        client.admin.command("dropUser", "me")


def by_wrong_uri(config: LaunchConfig, old: str, new: str) -> LaunchConfig:
    """Replace the URI in both files."""
    for name in ("my_launchpad.yaml", "jobflow.yaml"):
        path = config.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return config


@pytest.mark.parametrize("name", ["my_launchpad.yaml", "jobflow.yaml"])
@pytest.mark.parametrize("password", ["tea/four", "tea@four", "tea:four", "tea?four", "tea%four"])
def test_a_uri_with_a_password_that_is_not_escaped(
    configured: Callable[..., LaunchConfig], name: str, password: str
) -> None:
    """Pymongo would take a part of it for something else, and show it."""
    config = configured()
    files = {n: (config.folder / n).read_text() for n in ("my_launchpad.yaml", "jobflow.yaml")}
    by_uri(config.folder, f"mongodb://me:{password}@127.0.0.1:1/?authSource=admin")
    for other, text in files.items():
        if other != name:
            (config.folder / other).write_text(text)
    line = refusal(lambda: ready_to_submit(config))
    assert name in line
    assert "quote_plus" in line


@pytest.mark.parametrize(
    ("uri", "place", "user"),
    [
        ("mongodb://a:b@h:1/db?x=y", "h:1", "a"),
        ("mongodb+srv://a%40x:b@h.example.net", "h.example.net", "a@x"),
        ("mongodb://a:@h:1?x=y", "h:1", "a"),
        ("mongodb://h1:1,h2:2/?replicaSet=r", "h1:1,h2:2", None),
    ],
)
def test_place_and_user_of_a_uri(uri: str, place: str, user: str | None) -> None:
    """For messages."""
    for settings in ({"uri": uri, "host": "x"}, {"host": uri, "uri_mode": True}):
        assert place_of(settings) == place
        assert user_of(settings) == user
