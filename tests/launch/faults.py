"""Real workers, and what can happen to them: at random seeded moments."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    import random

    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.launch.server import PrivateServer

RLAUNCH = Path(sys.executable).with_name("rlaunch")

#: How the names of jobs begin that work on chunks of structures.
CHUNK_JOBS = "count alloy"

#: Seconds after which a fault that could not be brought about is given up.
_PATIENCE = 20.0


@dataclass
class Worker:
    """A worker in a process of its own, in a folder of its own.

    Parameters
    ----------
    name : str
        Told to the LaunchPad.
    config : LaunchConfig
        What it works for.
    folder : Path
        Where it works; a small disk, for faults of that kind.
    environment : dict
        Its environment variables.
    category : str
        What it takes.
    """

    name: str
    config: LaunchConfig
    folder: Path
    environment: dict[str, str]
    category: str = "cpu"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.alive:
            return
        for old in self.folder.glob("launcher_*"):
            shutil.rmtree(old, ignore_errors=True)
        file = self.config.folder / f"worker_{self.name}.yaml"
        file.write_text(f"name: {self.name}\ncategory: {self.category}\nquery: '{{}}'\nenv: {{}}\n")
        command = [RLAUNCH, "-w", file, "rapidfire", "--nlaunches", "infinite", "--sleep", "1"]
        with (self.config.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it as the out-of-memory killer would, with its children."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def fill_disk(self) -> None:
        """Leave no room for a file in its folder."""
        with contextlib.suppress(OSError):
            for n in range(100_000):
                (self.folder / f"full_{n}").touch(exist_ok=False)

    def free_disk(self) -> None:
        """Undo that."""
        for path in self.folder.glob("full_*"):
            path.unlink()


@dataclass
class Trouble:
    """Brings faults about.

    Parameters
    ----------
    server : PrivateServer
        Which is stopped and started.
    config : LaunchConfig
        Of the workers.
    workers : list of Worker
        Which are killed, and whose disks fill.
    random : random.Random
        Chooses.
    """

    server: PrivateServer
    config: LaunchConfig
    workers: list[Worker]
    random: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def strike(self) -> None:
        """Bring one fault about, after a while."""
        time.sleep(self.random.uniform(0, 2))
        kinds = {"killed": 14, "mongod stopped": 2, "mongod killed": 2, "disk full": 3}
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        {
            "killed": self._kill_worker,
            "mongod stopped": self._stop_server,
            "mongod killed": self._kill_server,
            "disk full": self._fill_disk,
        }[kind]()

    def _kill_worker(self) -> None:
        """Kill a worker while it holds a job, a chunk of structures wherever one is held."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            held = self._held()
            chunks = {name: job for name, job in held.items() if job.startswith(CHUNK_JOBS)}
            held = chunks or held
            if held:
                name = self.random.choice(sorted(held))
                time.sleep(self.random.uniform(0, 0.08))
                worker = next(w for w in self.workers if w.name == name)
                worker.kill()
                holding = self._held().get(name)
                self.counts["killed holding a job" if holding else "killed between jobs"] += 1
                if holding and holding.startswith(CHUNK_JOBS):
                    self.counts["of these, a chunk"] += 1
                worker.start()
                return
            time.sleep(0.02)

    def _held(self) -> dict[str, str]:
        """Return the job that each worker holds."""
        launchpad = self.config.launchpad()
        running = launchpad.launches.find(
            {"state": "RUNNING", "fworker.name": {"$in": [w.name for w in self.workers]}},
            {"fw_id": 1, "fworker.name": 1},
        )
        found = {}
        for launch in running:
            one = launchpad.fireworks.find_one(
                {"fw_id": launch["fw_id"], "state": "RUNNING", "launches": launch.get("launch_id")},
                {"name": 1},
            ) or launchpad.fireworks.find_one(
                {"fw_id": launch["fw_id"], "state": "RUNNING"}, {"name": 1}
            )
            worker = next(w for w in self.workers if w.name == launch["fworker"]["name"])
            if one is not None and worker.process is not None:
                found[worker.name] = str(one["name"])
        return found

    def _stop_server(self) -> None:
        self.server.stop()
        self._start_server("mongod stopped")

    def _kill_server(self) -> None:
        pid = self.server.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        self._start_server("mongod killed")

    def _start_server(self, kind: str) -> None:
        time.sleep(self.random.uniform(0, 2))
        self.server.start()
        self.counts[kind] += 1

    def _fill_disk(self) -> None:
        """Fill the disk of a worker until it has died of that."""
        worker = self.random.choice([w for w in self.workers if w.alive] or self.workers)
        worker.fill_disk()
        deadline = time.monotonic() + _PATIENCE
        while worker.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        if not worker.alive:
            self.counts["disk full"] += 1
        worker.kill()
        worker.free_disk()
        worker.start()

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(n for kind, n in self.counts.items() if not kind.startswith("of these"))


def patiently(function: object, *args: object) -> object:
    """Call something that needs the server, again while it is away."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return function(*args)  # type: ignore[operator]
        except (PyMongoError, DismaiError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
