"""Checks of the workers: what they are configured by, what they take, and with what they work."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dismaiflow.errors import DismaiError
from dismaiflow.launch.check import LEFT_OVER_SECONDS, CheckResult, new_name, outcome
from dismaiflow.launch.config import LaunchConfig, place_of
from dismaiflow.launch.files import read_yaml, write_private
from dismaiflow.launch.keys import worker_settings
from dismaiflow.launch.mongo import explained

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore

#: Name of the trial jobs on the LaunchPad.
PROBE_NAME = "dismai launchpad check"

#: How long a worker may take for a trial job, its imports from a slow disk included [s].
_WORKER_SECONDS = 300.0

#: Begins the line in which a worker's Python says by what it is configured.
_MARK = "DISMAI-CHECK "

#: What FireWorks begins the lines of its logs with.
_LOG_STAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ ")

#: Tells lines about errors, such as ``sbatch: error: ...`` and ``ImportError: ...``.
_ERROR = re.compile(r"error:|^\w+(\.\w+)*(Error|Exception)\b", re.IGNORECASE)

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
    from other workers, and they are removed whatever happens.

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
    """
    from dismaiflow.jobs import CATEGORIES

    environment = outcome("environment", lambda: _environment(config, jobstore))
    yield environment
    settings = config.launchpad_settings()
    path, place = config.folder / "my_launchpad.yaml", place_of(settings)
    probes = _Probes(config, launchpad, jobstore)
    try:
        with explained(path, place, settings.get("username"), patience=None):
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
        with explained(path, place, settings.get("username"), patience=None):
            probes.remove()


def _environment(config: LaunchConfig, jobstore: JobStore) -> str:
    """Ask the Python of ``rlaunch`` by what a worker, started here and now, is configured."""
    command = _command("rlaunch")
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
            f"{command} would fail at its start: {_last_line(done.stderr)} (Python: {python})"
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


def _command(name: str) -> str:
    """Return the path of a command of FireWorks: what the shell finds, else our neighbour."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise DismaiError(
            f"there is no command {name}: activate the Python environment with FireWorks, or "
            "source env.sh"
        )
    return found


def _check_queue_command(path: Path) -> None:
    """Refuse a machine that cannot submit to the queue; FireWorks would not say so clearly."""
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    settings = read_yaml(path)
    commands = dict(CommonAdapter.default_q_commands.get(settings.get("_fw_q_type"), {}))
    commands |= dict(settings.get("_q_commands_override") or {})
    submit = str(commands.get("submit_cmd", "")).partition(" ")[0]
    if submit and shutil.which(submit) is None:
        raise DismaiError(
            f"there is no command {submit} here, with which {path} submits: run this where jobs "
            "are submitted"
        )


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


class _Probes:
    """Trial jobs, one for each category, from submission to removal.

    A Firework with ``_fworker`` is taken by a worker of this name only, and a worker that is told
    a number takes nothing else. So a LaunchPad in use is not disturbed.
    """

    def __init__(self, config: LaunchConfig, launchpad: LaunchPad, jobstore: JobStore) -> None:
        self._config, self._launchpad, self._jobstore = config, launchpad, jobstore
        self._name = new_name()
        self._numbers: dict[str, int] = {}
        self._uuids: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._folder: Path | None = None
        self._through = ""

    def sweep(self) -> None:
        """Remove the trial jobs that a killed check has left long ago."""
        before = datetime.now(UTC) - timedelta(seconds=LEFT_OVER_SECONDS)
        old = {"name": PROBE_NAME, "created_on": {"$lt": before.replace(tzinfo=None).isoformat()}}
        for firework in self._launchpad.fireworks.find(old, ["fw_id"]):
            self._delete(firework["fw_id"])

    def submit(self, categories: tuple[str, ...]) -> None:
        """Put the jobs on the LaunchPad."""
        from jobflow.managers.fireworks import flow_to_workflow

        from dismaiflow.launch.probe import tell_versions

        for category in categories:
            job = tell_versions()
            job.name = PROBE_NAME
            self._uuids[category] = job.uuid
            # without a store: it would be written into the job, password and all
            workflow = flow_to_workflow(job, name=PROBE_NAME)
            for firework in workflow.fws:
                firework.spec.update({"_category": category, "_fworker": self._name})
            (number,) = self._launchpad.add_wf(workflow).values()
            self._numbers[category] = number

    def shared_out(self) -> str:
        """Ask the server which worker takes which jobs."""
        from fireworks import FWorker

        several = []
        for category, own in self._numbers.items():
            path = self._config.worker_file(category)
            settings = worker_settings(path)
            # by this name the server's answer depends on category and query alone
            worker = FWorker(self._name, settings["category"], settings["query"])
            found = self._launchpad.fireworks.find(
                {**worker.query, "fw_id": {"$in": list(self._numbers.values())}}, ["fw_id"]
            )
            taken = {firework["fw_id"] for firework in found}
            if own not in taken:
                raise DismaiError(
                    f"{path}: takes no job of the category {category}: write "
                    f"`category: {category}` and `query: '{{}}'`"
                )
            others = [c for c, number in self._numbers.items() if number in taken - {own}]
            if others and isinstance(settings["category"], list):
                several.append(f"{path.name} also takes {', '.join(others)}, as it says")
            elif others:
                raise DismaiError(
                    f"{path}: takes jobs of {', '.join(others)} too: write `category: {category}`, "
                    "or, if this is meant, a list of categories"
                )
        return "; ".join(several) or f"each of {', '.join(self._numbers)} has its own worker"

    def start(self, via_queue: bool) -> None:
        """Start the workers, all at once."""
        # jobs of a queue run on other machines, which share this folder if anything
        parent = self._config.folder if via_queue else None
        self._folder = Path(tempfile.mkdtemp(prefix="check-", dir=parent))
        self._through = command = _command("qlaunch" if via_queue else "rlaunch")
        for category, number in self._numbers.items():
            folder = self._folder / category
            folder.mkdir()
            worker = self._config.worker_file(category)
            words = [command]
            if via_queue:
                _check_queue_command(self._config.queue_file(category))
                # qlaunch asks first whether the worker would find anything: by this name it does
                settings = read_yaml(worker) | {"name": self._name}
                worker = folder / "worker.yaml"
                write_private(worker, yaml.safe_dump(settings))
                words += ["-r", "-q", str(self._config.queue_file(category))]
            words += ["-w", str(worker), "singleshot", "-f", str(number)]
            with (folder / "check.log").open("w") as log:
                self._processes[category] = subprocess.Popen(
                    words, cwd=folder, stdout=log, stderr=log, text=True
                )

    def result(self, category: str, seconds: float) -> str:
        """Return what is to be said of a worker once its job is done."""
        from dismaiflow.launch.probe import versions

        process, name = self._processes[category], Path(self._through).name
        deadline = time.monotonic() + seconds
        state = "READY"
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            state = self._state(category)
            if state in ("COMPLETED", "FIZZLED") or (
                ended and state not in ("RESERVED", "RUNNING")
            ):
                break
            time.sleep(0.1 if name == "rlaunch" else 1.0)
        else:
            reason = self._log(category)
            if name == "qlaunch" and self._launchpad.host in ("localhost", "127.0.0.1"):
                reason = "workers on other machines cannot reach a server of this machine alone"
            raise DismaiError(f"the trial job did not end in {seconds:.0f} s ({state}): {reason}")
        if state == "FIZZLED":
            raise DismaiError(f"the trial job failed: {self._error(category)}")
        if state != "COMPLETED":
            raise DismaiError(f"{name} did not run the trial job: {self._log(category)}")
        document = self._jobstore.query_one({"uuid": self._uuids[category]})
        if document is None:
            raise DismaiError(
                "the trial job ran, but its result is not in this store: the worker uses another "
                "jobflow.yaml (env.sh sets JOBFLOW_CONFIG_FILE)"
            )
        here, there = versions(), document["output"]["versions"]
        host = document["output"]["host"]
        different = [
            f"{package} {mine} here, {there.get(package, 'none')} there"
            for package, mine in here.items()
            if there.get(package) != mine
        ]
        if different:
            raise DismaiError(
                f"the worker on {host} has other versions: {'; '.join(different)}: install the "
                "same in both places"
            )
        version = f"dismaiflow {here['dismaiflow']}"
        return f"{name} ran a trial job on {host}; {version} and what it uses are equal"

    def remove(self) -> None:
        """Leave nothing behind."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for number in self._numbers.values():
            self._delete(number)
        for uuid in self._uuids.values():
            self._jobstore.remove_docs({"uuid": uuid})
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _delete(self, number: int) -> None:
        """Remove a trial job from the LaunchPad, with its launches."""
        with contextlib.redirect_stdout(io.StringIO()):
            if self._launchpad.workflows.find_one({"nodes": number}, ["_id"]) is None:
                self._launchpad.delete_fws([number])
            else:
                self._launchpad.delete_wf(number)

    def _state(self, category: str) -> str:
        """Return the state of a trial job."""
        firework = self._launchpad.fireworks.find_one({"fw_id": self._numbers[category]}, ["state"])
        return str(firework["state"]) if firework else "removed by somebody"

    def _error(self, category: str) -> str:
        """Return why a trial job failed."""
        launch = self._launchpad.launches.find_one(
            {"fw_id": self._numbers[category]}, sort=[("launch_id", -1)]
        )
        if launch is None:
            # FireWorks gives up a job that it cannot read before it launches it
            found = self._launchpad.fireworks.find_one({"fw_id": self._numbers[category]})
            details = ((found or {}).get("spec") or {}).get("_exception_details") or {}
            reason = _last_line(str(details.get("_stacktrace", "")))
            return (
                "the worker could not read it, because its Python lacks dismaiflow or has another "
                f"version ({reason})"
            )
        stored = (launch.get("action") or {}).get("stored_data") or {}
        return _last_line(str((stored.get("_exception") or {}).get("_stacktrace", "")))

    def _log(self, category: str) -> str:
        """Return the last that a worker has said."""
        assert self._folder is not None
        folder = self._folder / category
        texts = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.error"))]
        with contextlib.suppress(OSError):
            texts.append((folder / "check.log").read_text("utf-8", "replace"))
        for text in texts:
            # what the queue itself says, which qlaunch quotes as bytes
            quoted = re.search(r"The error response reads: b(['\"])(.*)\1", text)
            if quoted:
                return _last_line(quoted[2].replace("\\n", "\n"))
        return next((_last_line(text) for text in texts if text.strip()), "it said nothing")


def _last_line(text: str) -> str:
    """Return the last line that says something, of those about errors if there are any."""
    lines = [_LOG_STAMP.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip(" -|^v")]
    errors = [line for line in lines if _ERROR.search(line)]
    return (errors or lines or ["it said nothing"])[-1][:300]
