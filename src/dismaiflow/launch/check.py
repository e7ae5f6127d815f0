"""Checks of a LaunchPad configuration, from its files to its workers, each in one line."""

from __future__ import annotations

import base64
import os
import stat
import sys
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.launch.config import LaunchConfig, load_config, place_of, user_of
from dismaiflow.launch.files import PRIVATE_FILE, PRIVATE_FOLDER
from dismaiflow.launch.indexes import (
    missing_launchpad_indexes,
    missing_store_indexes,
    mongo_collection,
)
from dismaiflow.launch.init import NAMES
from dismaiflow.launch.keys import check_keys
from dismaiflow.launch.mongo import explained
from dismaiflow.launch.server import MIN_FREE_BYTES
from dismaiflow.store.blobs import data_store

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore

#: Oldest MongoDB that pymongo and the queries work with.
_MIN_SERVER = (4, 4)

#: A clock that is further off makes nonsense of signs of life and of dates [s].
_MAX_CLOCK_SECONDS = 30.0

#: Size of the blob that is written and read back [bytes].
_BLOB_BYTES = 60_000_000

#: Trial documents are known by this beginning of their uuid; the time of birth follows.
_PREFIX = "dismai-check-"

#: Trial documents that an interrupted check has left are removed after so long [s].
LEFT_OVER_SECONDS = 3600.0


@dataclass(frozen=True)
class CheckResult:
    """What one check has found.

    Parameters
    ----------
    name : str
        What was checked.
    state : str
        ``ok``, ``failed`` or ``skipped``.
    line : str
        What is so, or what is wrong and how to mend it.
    """

    name: str
    state: str
    line: str


#: A blob that fits into a document of MongoDB, its names included [bytes].
_DOCUMENT_BYTES = 12_000_000


@dataclass
class Checked:
    """A configuration under examination, with what earlier checks have connected to."""

    config: LaunchConfig
    blob_bytes: int = _BLOB_BYTES
    _launchpad: LaunchPad | None = field(default=None, repr=False)
    _jobstore: JobStore | None = field(default=None, repr=False)

    @property
    def launchpad(self) -> LaunchPad:
        """The LaunchPad, connected."""
        if self._launchpad is None:
            self._launchpad = self.config.launchpad()
        return self._launchpad

    @property
    def jobstore(self) -> JobStore:
        """The JobStore, connected."""
        if self._jobstore is None:
            self._jobstore = self.config.jobstore()
        return self._jobstore


def ready_to_submit(config: LaunchConfig) -> None:
    """Refuse a configuration with which submitting would fail, before any work starts.

    Takes less than a second, and at most a few for a server that is dead.

    Parameters
    ----------
    config : LaunchConfig
        Where the flow is to go.

    Raises
    ------
    DismaiError
        One line: a file, a misspelt key, the server, the login, its disk, a right, the store.
    """
    check_keys(config, thorough=False)
    checked = Checked(config)
    for check in (_server, _disk, _rights):
        check(checked)


def run_checks(
    folder: Path | None = None,
    *,
    via_queue: bool = False,
    queue_timeout: float = 600.0,
    blob_bytes: int = _BLOB_BYTES,
) -> Generator[CheckResult, None, None]:
    """Check everything, one after the other.

    What is written for a trial is removed again, also when the caller stops early.

    Parameters
    ----------
    folder : Path, optional
        The configuration; by default that of the settings.
    via_queue : bool
        Run the trial jobs through ``qlaunch``.
    queue_timeout : float
        How long they may wait in the queue [s].
    blob_bytes : int
        Size of the trial blob [bytes].

    Yields
    ------
    CheckResult
        As soon as it is known. Once a check has failed, those that need it are skipped.
    """
    from dismaiflow.launch.workers import check_workers

    try:
        checked = Checked(load_config(folder), blob_bytes)
    except DismaiError as error:
        yield CheckResult("files", "failed", str(error))
        return
    checks: list[tuple[str, Callable[[Checked], str]]] = [
        ("files", _files),
        ("settings", _keys),
        ("server", _server),
        ("disk", _disk),
        ("rights", _rights),
        ("indexes", _indexes),
        ("store", _round_trip),
    ]
    fatal = False
    for name, check in checks:
        if fatal:
            yield CheckResult(name, "skipped", f"{name}: mend the above first")
            continue
        result = outcome(name, lambda check=check: check(checked))  # type: ignore[misc]
        yield result
        # files with wrong rights and missing indexes can be lived with
        fatal = result.state == "failed" and name not in ("files", "indexes")
    if fatal:
        yield CheckResult("workers", "skipped", "workers: mend the above first")
        return
    yield from check_workers(
        checked.config, checked.launchpad, checked.jobstore, via_queue, queue_timeout
    )


def outcome(name: str, check: Callable[[], str]) -> CheckResult:
    """Return how a check ends."""
    try:
        return CheckResult(name, "ok", f"{name}: {check()}")
    except DismaiError as error:
        return CheckResult(name, "failed", f"{name}: {error}")


def _files(checked: Checked) -> str:
    """Look for the files, and for who can read them."""
    folder = checked.config.folder
    for name in NAMES:
        checked.config.file(name)
    for path, wanted in [(folder, PRIVATE_FOLDER), *((folder / n, PRIVATE_FILE) for n in NAMES)]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & ~wanted:
            raise DismaiError(
                f"{path} can be read or changed by others (rights {mode:04o}) and leads to a "
                f"password: run `chmod {wanted:04o} {path}`"
            )
    return f"{len(NAMES)} files in {folder}, for you alone"


def _keys(checked: Checked) -> str:
    """Read every file strictly."""
    check_keys(checked.config)
    return "all files are valid, without unknown words"


def _server(checked: Checked) -> str:
    """Try server and login; look at version and clock."""
    settings = checked.config.launchpad_settings()
    place, path = place_of(settings), checked.config.folder / "my_launchpad.yaml"
    client = checked.launchpad.connection
    with explained(path, place, user_of(settings)):
        before = time.time()
        hello = client.admin.command("hello")
        now = (before + time.time()) / 2
        version = client.server_info()["version"]
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_SERVER:
        wanted = ".".join(map(str, _MIN_SERVER))
        raise DismaiError(f"the server at {place} is MongoDB {version}: {wanted} is the oldest")
    off = abs(hello["localTime"].replace(tzinfo=UTC).timestamp() - now)
    if off > _MAX_CLOCK_SECONDS:
        raise DismaiError(
            f"the clocks of this machine and of the server at {place} differ by {off:.0f} s: set "
            "them (NTP), or living jobs look lost"
        )
    _ = checked.jobstore
    user = user_of(settings)
    return f"MongoDB {version} at {place}, " + (f"logged in as {user}" if user else "without login")


def _disk(checked: Checked) -> str:
    """Look for room on the server."""
    settings = checked.config.launchpad_settings()
    databases = {place_of(settings): checked.launchpad.db}
    for store in (checked.jobstore.docs_store, data_store(checked.jobstore)):
        collection = mongo_collection(store)
        if collection is not None:
            databases.setdefault(place_of(vars(store)), collection.database)
    free = []
    for place, database in databases.items():
        with explained(checked.config.folder, place, user_of(settings)):
            stats = database.command("dbStats")
        if "fsTotalSize" not in stats:  # a hosted server does not tell
            continue
        free.append(stats["fsTotalSize"] - stats["fsUsedSize"])
        if free[-1] < MIN_FREE_BYTES:
            raise DismaiError(
                f"the disk of the MongoDB server at {place} is full ({free[-1] / 1e6:.0f} MB are "
                f"free, it needs {MIN_FREE_BYTES / 1e6:.0f} MB): free some space there"
            )
    return f"{min(free) / 1e9:.1f} GB free on the server" if free else "the server does not tell"


def _rights(checked: Checked) -> str:
    """Try whether the user may write and remove in both databases."""
    settings = checked.config.launchpad_settings()
    path = checked.config.folder / "my_launchpad.yaml"
    name = new_name()
    with explained(path, place_of(settings), user_of(settings)):
        collection = checked.launchpad.db["dismai_check"]
        collection.insert_one({"_id": name})
        collection.delete_one({"_id": name})
    path, store = checked.config.folder / "jobflow.yaml", checked.jobstore.docs_store
    with explained(path, place_of(vars(store)), user_of(vars(store))):
        store.update({"uuid": name, "index": 1, "output": None}, key=["uuid", "index"])
        store.remove_docs({"uuid": name})
    return "may write and remove in both databases"


def _indexes(checked: Checked) -> str:
    """Look for the indexes."""
    settings = checked.config.launchpad_settings()
    with explained(checked.config.folder, place_of(settings), user_of(settings)):
        missing = missing_launchpad_indexes(checked.launchpad)
        missing += missing_store_indexes(checked.jobstore)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DismaiError(f"no index of {missing[0]}{more}: run `dismai launchpad init`")
    return "all there"


def _round_trip(checked: Checked) -> str:
    """Try whether a document and a large blob come back as they went in."""
    path, jobstore = checked.config.folder / "jobflow.yaml", checked.jobstore
    store = jobstore.docs_store
    name = new_name()
    begin = time.monotonic()
    with explained(path, place_of(vars(store)), user_of(vars(store)), patience=None):
        _sweep(jobstore)
        size = min(checked.blob_bytes, _largest_blob(jobstore))
        blob = base64.b64encode(os.urandom(size * 3 // 4)).decode()
        document = {
            "uuid": name,
            "index": 1,
            "output": {"blob": blob, "n": 1},
            "completed_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
            "metadata": {},
        }
        try:
            jobstore.update(document, save={"data": ["blob"]})
            bare = jobstore.query_one({"uuid": name})
            back = jobstore.query_one({"uuid": name}, load=True)
        finally:
            _remove(jobstore, name)
    if bare is None or back is None or "blob_uuid" not in str(bare["output"]["blob"])[:1000]:
        raise DismaiError(f"{path}: a document that was written cannot be found again")
    if back["output"] != {"blob": blob, "n": 1}:
        raise DismaiError(f"{path}: a blob of {len(blob) / 1e6:.0f} MB came back changed")
    seconds = time.monotonic() - begin
    return f"a document and a blob of {len(blob) / 1e6:.0f} MB came back in {seconds:.1f} s"


def _largest_blob(jobstore: JobStore) -> int:
    """Return how large a trial blob may be: plain documents end at 16 MB, GridFS does not [bytes].

    This package's own blobs stay below that.
    """
    from maggma.stores import MongoStore

    return _DOCUMENT_BYTES if isinstance(data_store(jobstore), MongoStore) else sys.maxsize


def new_name() -> str:
    """Return a uuid for something that is tried out and removed."""
    return f"{_PREFIX}{int(time.time())}-{uuid.uuid4().hex[:12]}"


def _sweep(jobstore: JobStore) -> None:
    """Remove what a killed check has left long ago."""
    pattern = {"$regex": f"^{_PREFIX}"}
    names = set(jobstore.docs_store.distinct("uuid", {"uuid": pattern}))
    names |= set(data_store(jobstore).distinct("job_uuid", {"job_uuid": pattern}))
    for name in names:
        born = str(name).removeprefix(_PREFIX).partition("-")[0]
        if born.isdecimal() and time.time() - int(born) > LEFT_OVER_SECONDS:
            _remove(jobstore, str(name))


def _remove(jobstore: JobStore, name: str) -> None:
    """Remove a trial document and its blob."""
    with suppress(DismaiError):
        data_store(jobstore).remove_docs({"job_uuid": name})
    jobstore.docs_store.remove_docs({"uuid": name})
