"""A run as the LaunchPad sees it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from fireworks import LaunchPad

#: What is read of a Firework: not the job itself, which is large.
_FIREWORK_FIELDS = {
    "fw_id": 1,
    "name": 1,
    "state": 1,
    "updated_on": 1,
    "launches": 1,
    "spec._category": 1,
    "spec._allow_fizzled_parents": 1,
    "spec.submitted": 1,
    "spec._exception_details": 1,
    "spec._tasks.job.uuid": 1,
    "spec._tasks.job.index": 1,
    "spec._tasks.job.function.@bound.@class": 1,
    "spec._tasks.job.function.@bound.@module": 1,
    "spec._tasks.job.function.@callable": 1,
    "spec._tasks.job.function.@module": 1,
}

#: What is read of a launch; of its action only what it made and how it failed.
_LAUNCH_FIELDS = {
    "launch_id": 1,
    "fw_id": 1,
    "state": 1,
    "host": 1,
    "launch_dir": 1,
    "fworker.name": 1,
    "state_history": 1,
    "time_start": 1,
    "time_end": 1,
    "action.stored_data._exception._stacktrace": 1,
    "action.detours.fws.spec._tasks.job.uuid": 1,
    "action.detours.fws.spec._tasks.job.index": 1,
    "action.additions.fws.spec._tasks.job.uuid": 1,
    "action.additions.fws.spec._tasks.job.index": 1,
}

#: What jobflow ends with where it cannot import the function of a job: it is left as a dict.
_NOT_IMPORTED = "TypeError: 'dict' object is not callable"

JobKey = tuple[str, int]


@dataclass
class Run:
    """All that the LaunchPad knows of a run.

    Parameters
    ----------
    run_id : str
        Its id.
    workflow : dict
        Its document in ``workflows``.
    fireworks : dict of int to dict
        Documents of ``fireworks`` by fw_id, without the jobs.
    launches : dict of int to dict
        Documents of ``launches`` by launch_id; those not archived.
    """

    run_id: str
    workflow: dict[str, Any]
    fireworks: dict[int, dict[str, Any]]
    launches: dict[int, dict[str, Any]]
    children: dict[int, list[int]] = field(init=False)
    parents: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.children = {int(k): list(v) for k, v in self.workflow["links"].items()}
        self.parents = defaultdict(list)
        for parent, children in self.children.items():
            for child in children:
                self.parents[child].append(parent)

    @property
    def nodes(self) -> list[int]:
        """Ids of the Fireworks that belong to the workflow and exist."""
        return [n for n in self.workflow["nodes"] if n in self.fireworks]

    def state(self, fw_id: int) -> str:
        """Return the state of a Firework."""
        return str(self.fireworks[fw_id]["state"])

    def with_state(self, *states: str) -> list[int]:
        """Return the Fireworks in some states."""
        return [n for n in self.nodes if self.state(n) in states]

    def launches_of(self, fw_id: int, *states: str) -> list[dict[str, Any]]:
        """Return the launches of a Firework in some states, the last one last."""
        found = (self.launches.get(n) for n in self.fireworks[fw_id].get("launches", []))
        return [one for one in found if one and (not states or one["state"] in states)]

    def descendants(self, fw_id: int) -> set[int]:
        """Return all that comes after a Firework."""
        found: set[int] = set()
        waiting = list(self.children.get(fw_id, []))
        while waiting:
            child = waiting.pop()
            if child not in found:
                found.add(child)
                waiting.extend(self.children.get(child, []))
        return found

    def is_submitted(self, fw_id: int) -> bool:
        """Say whether a Firework was submitted, rather than made by a job."""
        return bool(self.fireworks[fw_id]["spec"].get("submitted"))

    def job_key(self, fw_id: int) -> JobKey | None:
        """Return uuid and index of the job of a Firework."""
        return job_key(self.fireworks[fw_id])

    def kind(self, fw_id: int) -> str:
        """Return what a Firework's job is: the class of its Maker, or its function."""
        for task in self.fireworks[fw_id]["spec"].get("_tasks", []):
            function = task.get("job", {}).get("function", {})
            found = function.get("@bound", {}).get("@class") or function.get("@callable")
            if found:
                return str(found)
        return str(self.fireworks[fw_id]["name"])

    def depths(self) -> dict[int, int]:
        """Return how many jobs come before each, along the longest way."""
        found: dict[int, int] = {}
        waiting = [n for n in self.nodes if not self.parents[n]]
        missing = {n: len(self.parents[n]) for n in self.nodes}
        while waiting:
            node = waiting.pop()
            found[node] = 1 + max((found[p] for p in self.parents[node]), default=-1)
            for child in self.children.get(node, []):
                missing[child] -= 1
                if missing[child] == 0:
                    waiting.append(child)
        return found


def job_key(firework: dict[str, Any]) -> JobKey | None:
    """Return uuid and index of the job in a Firework's document, None where it has none."""
    for task in firework["spec"].get("_tasks", []):
        job = task.get("job", {})
        if "uuid" in job:
            return str(job["uuid"]), int(job.get("index", 1))
    return None


def find_run(launchpad: LaunchPad, run_id: str) -> str:
    """Return the whole id of a run.

    Parameters
    ----------
    launchpad : LaunchPad
        Where to look.
    run_id : str
        The id or its beginning; ``last`` for the newest run.

    Raises
    ------
    DismaiError
        If there is none, or several begin like this.
    """
    if run_id == "last":
        query: dict[str, Any] = {"metadata.run_id": {"$exists": True}}
    else:
        if not run_id.isalnum():
            raise DismaiError(f"{run_id!r} is no run id: those have 12 of the digits 0-9 and a-f")
        query = {"metadata.run_id": {"$regex": f"^{run_id}"}}
    newest_first = launchpad.workflows.find(query, {"metadata.run_id": 1}).sort("created_on", -1)
    found = list(dict.fromkeys(str(w["metadata"]["run_id"]) for w in newest_first))
    if not found:
        what = "no run" if run_id == "last" else f"no run {run_id}"
        raise DismaiError(
            f"there is {what} on the LaunchPad {launchpad.name} at {launchpad.host}: "
            "`dismai launchpad status` lists those that are"
        )
    if run_id != "last" and len(found) > 1:
        raise DismaiError(f"{len(found)} runs begin with {run_id}: {', '.join(found[:5])}")
    return found[0]


def load_run(launchpad: LaunchPad, run_id: str) -> Run:
    """Read a run.

    Raises
    ------
    DismaiError
        If its workflow is not there.
    """
    workflow = launchpad.workflows.find_one({"metadata.run_id": run_id})
    if workflow is None:
        raise DismaiError(f"there is no workflow of run {run_id} on the LaunchPad")
    documents = launchpad.fireworks.find({"spec.run_id": run_id}, _FIREWORK_FIELDS)
    fireworks = {int(one["fw_id"]): one for one in documents}
    wanted = [n for one in fireworks.values() for n in one.get("launches", [])]
    launches = launchpad.launches.find({"launch_id": {"$in": wanted}}, _LAUNCH_FIELDS)
    return Run(run_id, workflow, fireworks, {int(one["launch_id"]): one for one in launches})


def moment(value: Any) -> datetime | None:
    """Return a time of FireWorks, which keeps some as text, as an aware datetime."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def last_sign(launch: dict[str, Any]) -> datetime | None:
    """Return when a launch last showed that it lives: FireWorks lets it ping."""
    signs = [
        moment(entry.get("updated_on") or entry.get("created_on"))
        for entry in launch.get("state_history", [])
        if entry.get("state") == launch["state"]
    ]
    return max((sign for sign in signs if sign), default=None)


def _module(firework: dict[str, Any]) -> str:
    """Return the module that a Firework's job comes from."""
    for task in firework["spec"].get("_tasks", []):
        function = task.get("job", {}).get("function", {})
        found = function.get("@bound", {}).get("@module") or function.get("@module")
        if found:
            return str(found)
    return "what the job needs"


def error_line(run: Run, fw_id: int) -> str:
    """Return the last line of the error that ended a Firework."""
    traces = [
        launch.get("action", {}).get("stored_data", {}).get("_exception", {}).get("_stacktrace")
        for launch in run.launches_of(fw_id, "FIZZLED")
        if launch.get("action")
    ]
    details = run.fireworks[fw_id]["spec"].get("_exception_details") or {}
    traces.append(details.get("_stacktrace"))
    for trace in reversed([trace for trace in traces if trace]):
        line = str(trace).strip().splitlines()[-1]
        if line == _NOT_IMPORTED:
            return (
                f"its worker could not import {_module(run.fireworks[fw_id])}: install there what "
                "the submitter has, in the same version"
            )
        return line.removeprefix("dismaiflow.errors.DismaiError: ")
    if run.launches_of(fw_id, "COMPLETED"):
        return "it was done, but its document is not in the store"
    return "it was lost: its worker gave no sign of life any more"
