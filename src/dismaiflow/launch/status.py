"""How a run on the LaunchPad is getting on."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dismaiflow.launch.liveness import Liveness
from dismaiflow.launch.runs import Run, error_line, last_sign, load_run, moment

if TYPE_CHECKING:
    from fireworks import LaunchPad

#: States in the order in which they are shown, with the words for them.
STATES = {
    "WAITING": "waiting",
    "READY": "ready",
    "RESERVED": "queued",
    "RUNNING": "running",
    "COMPLETED": "done",
    "FIZZLED": "failed",
    "PAUSED": "paused",
    "DEFUSED": "defused",
}

#: States in which work is left.
_OPEN = ("WAITING", "READY", "RESERVED", "RUNNING")


@dataclass
class StepStatus:
    """The jobs of one kind.

    Parameters
    ----------
    name : str
        What they do.
    states : dict of str to int
        Their number by state (words of `STATES`).
    mean_seconds : float or None
        How long those that are done took on average.
    """

    name: str
    states: dict[str, int]
    mean_seconds: float | None


@dataclass
class FailedJob:
    """A job that failed."""

    fw_id: int
    name: str
    reason: str


@dataclass
class RunStatus:
    """How a run is getting on.

    Parameters
    ----------
    run_id, flow, version : str
        What it is, and the version of the package that it needs.
    submitted : datetime
        When (UTC).
    states : dict of str to int
        Jobs by state (words of `STATES`).
    steps : list of StepStatus
        The same by kind of job.
    failed : list of FailedJob
        What failed, and why.
    lost : list of str
        Jobs whose worker gave no sign of life for too long.
    blocked : int
        Jobs that wait for failed ones.
    ready_by_category : dict of str to int
        Jobs that wait for a worker, by its category.
    workers : list of str
        Names of the workers that run something now.
    last_sign_seconds : float or None
        Seconds since the quietest running job gave a sign of life.
    done_per_minute : float or None
        Jobs that were done per minute, from the first to the last that was.
    seconds_left : float or None
        Estimate: time of the open jobs at the pace of those done, shared among the workers that
        run now. Jobs that open ones will make are not known yet.
    """

    run_id: str
    flow: str
    version: str
    submitted: datetime
    states: dict[str, int]
    steps: list[StepStatus]
    failed: list[FailedJob] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    blocked: int = 0
    ready_by_category: dict[str, int] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)
    last_sign_seconds: float | None = None
    done_per_minute: float | None = None
    seconds_left: float | None = None

    @property
    def word(self) -> str:
        """Say in a few words how it stands."""
        if self.failed or self.lost:
            return "needs a retry"
        if self.states.get("running"):
            return "running"
        if self.states.get("ready") or self.states.get("queued"):
            return "waits for a worker"
        for state in ("paused", "defused"):
            if self.states.get(state):
                return state
        # what waits although nothing is before it was left so by somebody who died
        return "needs a retry" if self.states.get("waiting") else "done"


def run_status(launchpad: LaunchPad, run_id: str, lost_after: float) -> RunStatus:
    """Look at a run.

    Parameters
    ----------
    launchpad : LaunchPad
        Where it is.
    run_id : str
        Its whole id.
    lost_after : float
        Seconds without a sign of life after which a running job counts as lost.
    """
    run = load_run(launchpad, run_id)
    lost = Liveness(lost_after).lost(run)
    failed = run.with_state("FIZZLED")
    stopped = {n for fw_id in (*failed, *lost) for n in run.descendants(fw_id)}
    seconds = _seconds(run)
    metadata = run.workflow["metadata"]
    return RunStatus(
        run_id=run_id,
        flow=str(metadata.get("flow", run.workflow["name"])),
        version=str(metadata.get("dismaiflow", "unknown")),
        submitted=moment(run.workflow["created_on"]) or datetime.now(UTC),
        states=_count(run, run.nodes),
        steps=_steps(run, seconds),
        failed=[
            FailedJob(n, str(run.fireworks[n]["name"]), error_line(run, n)) for n in sorted(failed)
        ],
        lost=[f"{run.fireworks[n]['name']} (fw_id {n})" for n in sorted(lost)],
        blocked=sum(run.state(n) == "WAITING" for n in stopped if n in run.fireworks),
        ready_by_category=dict(
            Counter(str(run.fireworks[n]["spec"].get("_category", "any")) for n in _ready(run))
        ),
        workers=_workers(run, lost),
        last_sign_seconds=_silence(run, lost),
        done_per_minute=_pace(run),
        seconds_left=_left(run, seconds, len(_workers(run, lost))),
    )


def list_runs(launchpad: LaunchPad, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest runs of a LaunchPad: id, flow, date, systems, jobs by state."""
    query = {"metadata.run_id": {"$exists": True}}
    found = launchpad.workflows.find(query).sort("created_on", -1).limit(limit)
    return [
        {
            "run_id": workflow["metadata"]["run_id"],
            "flow": workflow["metadata"].get("flow", workflow["name"]),
            "systems": workflow["metadata"].get("systems", []),
            "tags": workflow["metadata"].get("tags", []),
            "submitted": moment(workflow["created_on"]),
            "states": _words(Counter(workflow["fw_states"].values())),
        }
        for workflow in found
    ]


def _words(states: Counter[str]) -> dict[str, int]:
    return {word: states[state] for state, word in STATES.items() if states[state]}


def _count(run: Run, fw_ids: list[int]) -> dict[str, int]:
    return _words(Counter(run.state(n) for n in fw_ids))


def _ready(run: Run) -> list[int]:
    return run.with_state("READY")


def _steps(run: Run, seconds: dict[str, list[float]]) -> list[StepStatus]:
    """Group the jobs by kind, in the order in which they run."""
    depths = run.depths()
    groups: dict[str, list[int]] = defaultdict(list)
    for fw_id in sorted(run.nodes, key=lambda n: (depths.get(n, 0), n)):
        groups[run.kind(fw_id)].append(fw_id)
    return [
        StepStatus(
            _shared_words([str(run.fireworks[n]["name"]) for n in nodes]) or kind,
            _count(run, nodes),
            fmean(seconds[kind]) if seconds[kind] else None,
        )
        for kind, nodes in groups.items()
    ]


def _shared_words(names: list[str]) -> str:
    """Return the words with which all names begin."""
    split = [name.split() for name in names]
    shared = takewhile(lambda words: len(set(words)) == 1, zip(*split, strict=False))
    return " ".join(words[0] for words in shared)


def _seconds(run: Run) -> dict[str, list[float]]:
    """Return the running times of the completed launches by kind of job."""
    found: dict[str, list[float]] = defaultdict(list)
    for fw_id in run.with_state("COMPLETED"):
        for launch in run.launches_of(fw_id, "COMPLETED"):
            start, end = moment(launch.get("time_start")), moment(launch.get("time_end"))
            if start and end:
                found[run.kind(fw_id)].append((end - start).total_seconds())
    return found


def _running(run: Run, lost: list[int]) -> list[dict[str, Any]]:
    nodes = [n for n in run.with_state("RUNNING") if n not in lost]
    return [launch for n in nodes for launch in run.launches_of(n, "RUNNING")]


def _workers(run: Run, lost: list[int]) -> list[str]:
    """Name the workers: their name, machine and folder tell them apart, a name is shown."""
    return sorted(
        f"{launch.get('fworker', {}).get('name', '?')} on {launch.get('host', '?')}"
        for launch in _running(run, lost)
    )


def _silence(run: Run, lost: list[int]) -> float | None:
    now = datetime.now(UTC)
    signs = [sign for launch in _running(run, lost) if (sign := last_sign(launch))]
    return max(((now - sign).total_seconds() for sign in signs), default=None)


def _pace(run: Run) -> float | None:
    """Return jobs done per minute."""
    launches = [
        launch for n in run.with_state("COMPLETED") for launch in run.launches_of(n, "COMPLETED")
    ]
    starts = [start for launch in launches if (start := moment(launch.get("time_start")))]
    ends = [end for launch in launches if (end := moment(launch.get("time_end")))]
    if not starts or not ends or max(ends) <= min(starts):
        return None
    return 60 * len(ends) / (max(ends) - min(starts)).total_seconds()


def _left(run: Run, seconds: dict[str, list[float]], n_workers: int) -> float | None:
    """Estimate the time until the open jobs are done."""
    known = [value for values in seconds.values() for value in values]
    nodes = run.with_state(*_OPEN)
    if not known or not nodes:
        return None
    usual = fmean(known)
    means = {step: fmean(values) for step, values in seconds.items() if values}
    return sum(means.get(run.kind(n), usual) for n in nodes) / max(1, n_workers)
