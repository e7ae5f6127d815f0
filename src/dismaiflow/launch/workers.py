"""Checks of the workers: what they are configured by, what they take, and with what they work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.launch.check import CheckResult, outcome
from dismaiflow.launch.config import LaunchConfig, place_of, user_of
from dismaiflow.launch.mongo import explained
from dismaiflow.launch.trials import TrialJobs, find_command, last_line

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore

#: How long a worker may take for a trial job, its imports from a slow disk included [s].
_WORKER_SECONDS = 300.0

#: Begins the line in which a worker's Python says by what it is configured.
_MARK = "DISMAI-CHECK "

# Run by the worker's own Python, which may lack this package.
_WHAT_A_WORKER_SEES = """
import json
import fireworks.fw_config as fw
from monty.serialization import loadfn
from jobflow import SETTINGS
def told(store):
    names = ("host", "port", "database", "collection_name", "path", "uri")
    seen = {name: getattr(store, name, None) for name in names}
    if seen["uri"]:
        seen["uri"] = str(seen["uri"]).rpartition("@")[2]
    return {"type": type(store).__name__, **{k: v for k, v in seen.items() if v is not None}}
launchpad = loadfn(fw.LAUNCHPAD_LOC) if fw.LAUNCHPAD_LOC else {"host": "localhost"}
if launchpad.get("uri_mode"):
    launchpad["host"] = str(launchpad["host"]).rpartition("@")[2]
job_store = SETTINGS.JOB_STORE
try:
    import dismaiflow.launch.probe
    error = None
except Exception as problem:
    error = f"{type(problem).__name__}: {problem}"
print("DISMAI-CHECK " + json.dumps({
    "launchpad_file": fw.LAUNCHPAD_LOC,
    "launchpad": {key: launchpad.get(key) for key in ("host", "port", "name")},
    "docs": told(job_store.docs_store),
    "data": told(dict(job_store.additional_stores).get("data")),
    "error": error,
}))
"""


def check_workers(
    config: LaunchConfig,
    launchpad: LaunchPad,
    jobstore: JobStore,
    via_queue: bool,
    queue_timeout: float,
) -> Generator[CheckResult, None, None]:
    """Check that workers use this configuration, share the categories, and have our versions.

    Trial jobs are put on the LaunchPad and run. No other worker can take them, they take nothing
    from other workers, and they are removed whatever happens, out of the queue as well.

    Parameters
    ----------
    config : LaunchConfig
        What workers should use.
    launchpad, jobstore
        Its connections.
    via_queue : bool
        Run the trial jobs through ``qlaunch``.
    queue_timeout : float
        How long they may wait in the queue [s].

    Yields
    ------
    CheckResult
        ``environment``, ``categories`` and one for each category.

    Raises
    ------
    DismaiError
        If the check was interrupted and a queue job could not be cancelled.
    """
    from dismaiflow.jobs import CATEGORIES

    environment = outcome("environment", lambda: _environment(config, jobstore))
    yield environment
    settings = config.launchpad_settings()
    path, place = config.folder / "my_launchpad.yaml", place_of(settings)
    probes = TrialJobs(config, launchpad, jobstore)
    try:
        with explained(path, place, user_of(settings), patience=None):
            probes.sweep()
            probes.submit(CATEGORIES)
        yield outcome("categories", probes.shared_out)
        names = [f"worker {category}" for category in CATEGORIES]
        if environment.state == "failed":
            for name in names:
                yield CheckResult(name, "skipped", f"{name}: mend the environment first")
            return
        probes.start(via_queue)
        for name, category in zip(names, CATEGORIES, strict=True):
            seconds = queue_timeout if via_queue else _WORKER_SECONDS
            yield outcome(name, lambda c=category, s=seconds: probes.result(c, s))  # type: ignore[misc]
    except DismaiError as error:
        yield CheckResult("workers", "failed", f"workers: {error}")
    finally:
        with explained(path, place, user_of(settings), patience=None):
            probes.remove()


def _environment(config: LaunchConfig, jobstore: JobStore) -> str:
    """Ask the Python of ``rlaunch`` by what a worker, started here and now, is configured."""
    command = find_command("rlaunch")
    python = _python_of(command)
    try:
        done = subprocess.run(
            [python, "-c", _WHAT_A_WORKER_SEES],
            capture_output=True,
            text=True,
            timeout=_WORKER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DismaiError(f"{python}, the Python of {command}, cannot be run: {error}") from error
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise DismaiError(
            f"{command} would fail at its start: {last_line(done.stderr)} (Python: {python})"
        )
    seen = json.loads(lines[-1].removeprefix(_MARK))
    if seen["error"]:
        raise DismaiError(
            f"{python}, the Python of {command}, cannot load dismaiflow ({seen['error']}): install "
            "the same version there"
        )
    source = f"`source {shlex.quote(str(config.folder / 'env.sh'))}`"

    settings = config.launchpad_settings()
    wanted = {key: settings.get(key) for key in ("host", "port", "name")}
    if settings.get("uri_mode"):
        wanted["host"] = str(wanted["host"]).rpartition("@")[2]
    if seen["launchpad"] != wanted:
        raise DismaiError(
            f"a plain rlaunch here takes its LaunchPad from {seen['launchpad_file'] or 'nowhere'}, "
            f"not from {config.folder}: {_what_wins_for_fireworks(source)}"
        )
    ours = _stores(jobstore)
    for part in ("docs", "data"):
        if seen[part] == ours[part]:
            continue
        if seen[part]["type"] == "MemoryStore":
            raise DismaiError(
                "a plain rlaunch here keeps results in memory and loses them: "
                f"{_what_wins_for_jobflow(source)}"
            )
        raise DismaiError(
            f"a plain rlaunch here keeps results in another store than {config.folder} says: "
            f"{_what_wins_for_jobflow(source)}"
        )
    found = "a plain rlaunch" if shutil.which("rlaunch") else f"{command} (not on PATH: {source})"
    return f"{found} uses this LaunchPad and this store"


def _what_wins_for_fireworks(source: str) -> str:
    """Say which file FireWorks takes and what to do."""
    here, home = Path("FW_config.yaml").absolute(), Path.home() / ".fireworks" / "FW_config.yaml"
    if here.exists():
        return f"{here} wins, because it is in this folder: work elsewhere, or move it away"
    if home.exists():
        return f"{home} wins over FW_CONFIG_FILE: mend CONFIG_FILE_DIR in it, or move it away"
    named = os.environ.get("FW_CONFIG_FILE")
    if named is None:
        return f"FW_CONFIG_FILE is not set: {source}"
    missing = "" if Path(named).exists() else ", which is not there"
    return f"FW_CONFIG_FILE names {named}{missing}: {source}"


def _what_wins_for_jobflow(source: str) -> str:
    """Say which file jobflow takes and what to do."""
    for name in os.environ:
        if name.upper().startswith("JOBFLOW_JOB_STORE"):
            return f"the variable {name} wins: unset it"
    named = os.environ.get("JOBFLOW_CONFIG_FILE")
    if named is None:
        home = Path.home() / ".jobflow.yaml"
        if home.exists():
            return f"JOBFLOW_CONFIG_FILE is not set and {home} counts: {source}"
        return f"JOBFLOW_CONFIG_FILE is not set and there is no {home}: {source}"
    missing = "" if Path(named).exists() else ", which is not there"
    return f"JOBFLOW_CONFIG_FILE names {named}{missing}: {source}"


def _stores(jobstore: JobStore) -> dict[str, Any]:
    """Return what `_WHAT_A_WORKER_SEES` tells, of this JobStore."""
    from dismaiflow.store.blobs import data_store

    def told(store: Any) -> dict[str, Any]:
        names = ("host", "port", "database", "collection_name", "path", "uri")
        seen = {name: getattr(store, name, None) for name in names}
        if seen["uri"]:
            seen["uri"] = str(seen["uri"]).rpartition("@")[2]
        told = {"type": type(store).__name__}
        return told | {name: value for name, value in seen.items() if value is not None}

    return {"docs": told(jobstore.docs_store), "data": told(data_store(jobstore))}


def _python_of(command: str) -> str:
    """Return the Python that runs a command, as its first line says."""
    try:
        with Path(command).open("rb") as file:
            first = file.readline(1000).decode("utf-8", "replace")
    except OSError:
        first = ""
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    if words and "python" in Path(words[0]).name:
        return words[0]
    return sys.executable
