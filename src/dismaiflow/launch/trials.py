"""Trial jobs, with which a check asks workers and queues whether they work."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from dismaiflow.errors import DismaiError
from dismaiflow.launch.check import LEFT_OVER_SECONDS, new_name
from dismaiflow.launch.config import LaunchConfig
from dismaiflow.launch.files import read_yaml, write_private
from dismaiflow.launch.keys import worker_settings
from dismaiflow.launch.slurm import GONE, cancel, queue_state

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore

#: Name of the trial jobs on the LaunchPad.
PROBE_NAME = "dismai launchpad check"

#: States of a trial job that is through.
_ENDED = ("COMPLETED", "FIZZLED")

#: Hosts that mean something else on each machine.
_LOOPBACK = ("localhost", "127.0.0.1")

#: How long ``qlaunch`` may take to say under which number it has submitted [s].
_SUBMIT_SECONDS = 30.0

#: In the log of ``qlaunch``: the number of what it has submitted.
_SUBMITTED = re.compile(r"\bjob_id is (\S+)")

#: What FireWorks begins the lines of its logs with.
_LOG_STAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ ")

#: Tells lines about errors, such as ``sbatch: error: ...`` and ``ImportError: ...``.
_ERROR = re.compile(r"error:|^\w+(\.\w+)*(Error|Exception)\b", re.IGNORECASE)


class TrialJobs:
    """One for each category, from submission to removal.

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
        # queue jobs that were cancelled, or of which the user was told
        self._told: set[str] = set()
        self._name_of_command = ""
        self._begin = 0.0

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
        self._name_of_command = "qlaunch" if via_queue else "rlaunch"
        command = find_command(self._name_of_command)
        self._begin = time.monotonic()
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
                    words,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    text=True,
                    # Control-C must not come between the queue's answer and its being written down
                    start_new_session=via_queue,
                )

    def result(self, category: str, seconds: float) -> str:
        """Return what is to be said of a worker once its job is done."""
        from dismaiflow.launch.probe import versions

        process, name = self._processes[category], self._name_of_command
        while True:
            ended = process.poll() is not None
            state = self._state(category)
            if state in _ENDED or (ended and state not in ("RESERVED", "RUNNING")):
                break
            if time.monotonic() > self._begin + seconds:
                reason = self._end_in_queue(category) or self._log(category)
                raise DismaiError(
                    f"the trial job did not end in {seconds:.0f} s ({self._state(category)}): "
                    f"{reason}"
                )
            time.sleep(0.1 if name == "rlaunch" else 1.0)
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
        """Leave nothing behind, in the queue neither.

        Raises
        ------
        DismaiError
            If a queue job of which no result has told could not be cancelled.
        """
        left = []
        for category, process in self._processes.items():
            _end(process, _SUBMIT_SECONDS if self._name_of_command == "qlaunch" else 0.0)
            if self._state(category) in _ENDED:
                continue
            for job in self._queue_jobs(category) - self._told:
                problem = self._cancel(category, job)
                if problem:
                    left.append(f"queue job {job} {problem}")
        for number in self._numbers.values():
            self._delete(number)
        for uuid in self._uuids.values():
            self._jobstore.remove_docs({"uuid": uuid})
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if left:
            raise DismaiError("; ".join(left))

    def _end_in_queue(self, category: str) -> str:
        """Cancel the queue job of a trial job and say how it was; nothing where there is none."""
        if self._name_of_command == "qlaunch":
            _end(self._processes[category], _SUBMIT_SECONDS)
        state, lines = self._state(category), []
        for number in sorted(self._queue_jobs(category)):
            was = queue_state(number) if self._is_slurm(category) else "in another queue than SLURM"
            if was == GONE:
                lines.append(f"its queue job {number} is {GONE}: {self._log(category)}")
                self._told.add(number)
                continue
            problem = self._cancel(category, number)
            line = f"its queue job {number} was {was} and {problem or 'is cancelled'}"
            if was == "RUNNING" and state == "RESERVED" and self._launchpad.host in _LOOPBACK:
                line += "; a worker on another machine cannot reach a server of this machine alone"
            lines.append(line)
        return "; ".join(lines)

    def _cancel(self, category: str, number: str) -> str | None:
        """Cancel a queue job; return what is to be done where that is not possible."""
        self._told.add(number)
        if not self._is_slurm(category):
            return "is not cancelled: do so where jobs are submitted"
        problem = cancel(number)
        if problem is None:
            return None
        return f"is not cancelled ({problem}): run `scancel {number}` where jobs are submitted"

    def _queue_jobs(self, category: str) -> set[str]:
        """Return the numbers of the queue jobs of a trial job, which are none for ``rlaunch``."""
        found = set()
        launches = self._launchpad.launches.find(
            {"fw_id": self._numbers[category]}, ["state_history.reservation_id"]
        )
        for launch in launches:
            found |= {str(entry.get("reservation_id")) for entry in launch["state_history"]}
        assert self._folder is not None
        # what was submitted a moment ago may stand in the log only
        with contextlib.suppress(OSError):
            text = (self._folder / category / "check.log").read_text("utf-8", "replace")
            found |= set(_SUBMITTED.findall(text))
        return found - {"None"}

    def _is_slurm(self, category: str) -> bool:
        """Say whether the queue of a category is one that can be asked."""
        return read_yaml(self._config.queue_file(category)).get("_fw_q_type") == "SLURM"

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
            reason = last_line(str(details.get("_stacktrace", "")))
            return (
                "the worker could not read it, because its Python lacks dismaiflow or has another "
                f"version ({reason})"
            )
        stored = (launch.get("action") or {}).get("stored_data") or {}
        return last_line(str((stored.get("_exception") or {}).get("_stacktrace", "")))

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
                return last_line(quoted[2].replace("\\n", "\n"))
        return next((last_line(text) for text in texts if text.strip()), "it said nothing")


def _end(process: subprocess.Popen[str], patience: float) -> None:
    """End a process, at once or after some time [s] in which it may end by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def find_command(name: str) -> str:
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


def last_line(text: str) -> str:
    """Return the last line that says something, of those about errors if there are any."""
    lines = [_LOG_STAMP.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip(" -|^v")]
    errors = [line for line in lines if _ERROR.search(line)]
    return (errors or lines or ["it said nothing"])[-1][:300]
