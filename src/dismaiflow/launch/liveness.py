"""Which launches live, and which are lost.

A worker that is killed leaves its launch as RUNNING. FireWorks lets every launch ping; one that has
not done so for long is lost. To rerun a launch that lives would waste its work, so every doubt
counts for it.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.launch.runs import last_sign
from dismaiflow.launch.slurm import queued_jobs

if TYPE_CHECKING:
    from dismaiflow.launch.runs import Run

#: A launch is lost when it has missed so many pings.
MISSED_PINGS = 5

#: Parts of the command lines of processes in which Fireworks run; a shell in the folder of a
#: launch is somebody who looks.
_WORKER_COMMANDS = (b"rlaunch", b"python")


def default_lost_after() -> float:
    """Return after how many seconds without a ping a launch counts as lost.

    Five times the interval of pings of FW_config.yaml as read here; workers should use the same.
    """
    from fireworks.fw_config import PING_TIME_SECS

    return float(MISSED_PINGS * PING_TIME_SECS)


class Liveness:
    """Judges launches.

    Parameters
    ----------
    lost_after : float
        Seconds without a ping after which a launch counts as lost.
    """

    def __init__(self, lost_after: float) -> None:
        self.lost_after = timedelta(seconds=lost_after)
        self.now = datetime.now(UTC)

    def lost(self, run: Run) -> list[int]:
        """Return the Fireworks of a run whose worker or place in the queue is gone."""
        running = [n for n in run.with_state("RUNNING") if self._all_lost(run, n, "RUNNING")]
        reserved = [n for n in run.with_state("RESERVED") if self._all_lost(run, n, "RESERVED")]
        return running + reserved

    def _all_lost(self, run: Run, fw_id: int, state: str) -> bool:
        launches = run.launches_of(fw_id, state)
        judge = self._is_lost if state == "RUNNING" else self._is_gone
        return bool(launches) and all(judge(launch) for launch in launches)

    def _is_lost(self, launch: dict[str, Any]) -> bool:
        """Say whether a running launch is lost: silent, and not seen at work on this machine."""
        if launch.get("host") == socket.gethostname():
            folder = Path(str(launch.get("launch_dir"))).resolve()
            if folder in self._folders_of_workers:
                return False
        return self.silent(launch)

    def _is_gone(self, launch: dict[str, Any]) -> bool:
        """Say whether a reserved launch waits for a queue job that is no more."""
        if not self.silent(launch):
            return False
        numbers = [entry.get("reservation_id") for entry in launch.get("state_history", [])]
        known = [str(number) for number in numbers if number]
        if not known:
            return True  # the submitter died before it told
        return self._queue is not None and not self._queue.intersection(known)

    def silent(self, launch: dict[str, Any]) -> bool:
        """Say whether a launch has shown no sign of life for too long."""
        sign = last_sign(launch)
        return sign is None or self.now - sign > self.lost_after

    @cached_property
    def _folders_of_workers(self) -> set[Path]:
        """Folders in which workers of this machine work at present."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                if any(word in command for word in _WORKER_COMMANDS):
                    found.add((process / "cwd").readlink())
            except OSError:  # it has ended, or is another user's
                continue
        return found

    @cached_property
    def _queue(self) -> set[str] | None:
        return queued_jobs()
