"""Changes to a workflow on the LaunchPad that FireWorks itself does not offer.

All of them need the workflow's lock. They are ordered so that whoever is killed between two steps
leaves what the next `dismai launchpad retry` mends.
"""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from dismaiflow.errors import DismaiError
from dismaiflow.launch.runs import JobKey, Run, job_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fireworks import LaunchPad

#: Seconds to wait at most for the lock of a workflow that others are using.
_BUSY_SECONDS = 300.0


class Lock:
    """The lock of a run's workflow, with a token by which its holder knows it again.

    FireWorks only looks whether a lock is there, and writes ``True``.

    Parameters
    ----------
    launchpad : LaunchPad
        Where it is.
    run_id : str
        Which run.
    """

    def __init__(self, launchpad: LaunchPad, run_id: str) -> None:
        self.workflows = launchpad.workflows
        self.run_id = run_id
        self.query: dict[str, Any] = {"metadata.run_id": run_id}
        self.token = f"retry {uuid.uuid4().hex}"

    def acquire(self, patience: float) -> bool:
        """Wait for the lock, or take it over; see `held`.

        Returns
        -------
        bool
            Whether it was taken over.
        """
        started = since = time.monotonic()
        seen: Any = None
        while not self._take({"locked": {"$exists": False}}):
            current = self.workflows.find_one(self.query, {"_id": 0, "updated_on": 1, "locked": 1})
            if current is None:
                raise DismaiError(f"there is no workflow of run {self.run_id} on the LaunchPad")
            now = time.monotonic()
            if current != seen:
                seen, since = current, now
            # Nobody else can take over the same: it is no longer what was seen then.
            if now - since > patience and "locked" in current and self._take(current):
                return True
            if now - started > _BUSY_SECONDS:
                raise DismaiError(
                    f"run {self.run_id}: its workers change it all the time; try again later"
                )
            time.sleep(0.1)
        return False

    def _take(self, state: dict[str, Any]) -> bool:
        mine = {"$set": {"locked": self.token}}
        return self.workflows.find_one_and_update(self.query | state, mine) is not None

    def stamp(self) -> None:
        """Show that the holder lives, and that the lock is its own after FireWorks wrote it."""
        held_ = self.query | {"locked": {"$in": [self.token, True]}}
        now = datetime.now(UTC)
        self.workflows.update_one(held_, {"$set": {"locked": self.token, "updated_on": now}})

    def release(self) -> None:
        """Give it back, unless somebody else has it by now."""
        mine = self.query | {"locked": self.token}
        self.workflows.update_one(mine, {"$unset": {"locked": True}})


@contextmanager
def held(launchpad: LaunchPad, run_id: str, patience: float) -> Iterator[tuple[Lock, bool]]:
    """Hold the lock of a run's workflow for the block.

    Parameters
    ----------
    launchpad : LaunchPad
        Where it is.
    run_id : str
        Which run.
    patience : float
        Seconds. A worker that is killed while it holds the lock leaves it for ever; one that is
        held for so long while nothing changes is taken over.

    Yields
    ------
    Lock, bool
        The lock, and whether it was taken over.

    Raises
    ------
    DismaiError
        If the workflow is not there, or others use it all the time.
    """
    lock = Lock(launchpad, run_id)
    taken_over = lock.acquire(patience)
    try:
        yield lock, taken_over
    finally:
        lock.release()


def refresh(launchpad: LaunchPad, lock: Lock, fw_ids: Sequence[int]) -> None:
    """Let FireWorks work out the states of Fireworks of one workflow, and of what follows them."""
    if fw_ids:
        lock.stamp()
        workflow = launchpad.get_wf_by_fw_id_lzyfw(fw_ids[0])
        updated: set[int] = set()
        for fw_id in fw_ids:
            updated |= set(workflow.refresh(fw_id))
        launchpad._update_wf(workflow, updated)
        lock.stamp()


def drop_orphans(launchpad: LaunchPad, run: Run) -> int:
    """Delete Fireworks that no workflow knows: their maker was killed between two writes.

    They look ready, and kill every worker that takes one. Their maker makes them again.
    """
    orphans = sorted(set(run.fireworks) - set(run.workflow["nodes"]))
    _delete(launchpad, run, orphans)
    return len(orphans)


def _delete(launchpad: LaunchPad, run: Run, fw_ids: Iterable[int]) -> None:
    """Delete Fireworks and their launches."""
    gone = list(fw_ids)
    launchpad.launches.delete_many({"fw_id": {"$in": gone}})
    launchpad.fireworks.delete_many({"fw_id": {"$in": gone}})
    for fw_id in gone:
        run.fireworks.pop(fw_id, None)


def made_by(run: Run, fw_id: int) -> set[int]:
    """Return the Fireworks that the job of a Firework has made, and those that these have made.

    For a submitted job these are all that can be reached from it without passing a submitted one.
    For others they are told by the action of its launch, and by jobflow's rule that the last job of
    a replacement has the same uuid and a higher index.
    """
    if run.is_submitted(fw_id):
        return _reachable(run, fw_id, {n for n in run.nodes if not run.is_submitted(n)})
    keys = _keys_made(run, fw_id)
    found = {n for n in run.nodes if run.job_key(n) in keys}
    own = run.job_key(fw_id)
    after = run.descendants(fw_id)
    for node in after & set(run.nodes):
        key = run.job_key(node)
        if own and key and key[0] == own[0] and key[1] > own[1]:
            found |= {node} | {n for n in after if node in run.descendants(n)}
    return found.union(*(made_by(run, n) for n in found if n != fw_id)) if found else found


def _reachable(run: Run, start: int, allowed: set[int]) -> set[int]:
    """Return what can be reached from a Firework through some others only."""
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for child in run.children.get(waiting.pop(), []):
            if child in allowed and child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _keys_made(run: Run, fw_id: int) -> set[JobKey]:
    """Return the jobs that the completed launches of a Firework have made."""
    keys = set()
    for launch in run.launches_of(fw_id, "COMPLETED"):
        action = launch.get("action") or {}
        for workflow in [*(action.get("detours") or []), *(action.get("additions") or [])]:
            keys |= {key for fw in workflow.get("fws", []) if (key := job_key(fw))}
    return keys


def all_made(run: Run, fw_id: int) -> bool:
    """Say whether everything that a Firework's launch has made is in the workflow."""
    return _keys_made(run, fw_id) <= {key for n in run.nodes if (key := run.job_key(n))}


def remove(launchpad: LaunchPad, run: Run, fw_ids: set[int]) -> None:
    """Take Fireworks out of the workflow and delete them."""
    if not fw_ids:
        return
    old = run.workflow
    links = {
        parent: [child for child in children if child not in fw_ids]
        for parent, children in old["links"].items()
        if int(parent) not in fw_ids
    }
    parents: dict[str, list[int]] = {}
    for parent, children in links.items():
        for child in children:
            parents.setdefault(str(child), []).append(int(parent))
    new = {
        "links": links,
        "parent_links": parents,
        "nodes": [n for n in old["nodes"] if n not in fw_ids],
        "fw_states": {k: v for k, v in old["fw_states"].items() if int(k) not in fw_ids},
    }
    launchpad.workflows.update_one({"metadata.run_id": run.run_id}, {"$set": new})
    _delete(launchpad, run, sorted(fw_ids))


def take_back(launchpad: LaunchPad, run: Run, fw_id: int) -> bool:
    """Let a Firework that is ready wait again, unless a worker has just taken it."""
    found = launchpad.fireworks.find_one_and_update(
        {"fw_id": fw_id, "state": "READY"}, {"$set": {"state": "WAITING"}}
    )
    if found is not None:
        reset(launchpad, run, [fw_id])
    return found is not None


def reset(launchpad: LaunchPad, run: Run, fw_ids: Sequence[int]) -> None:
    """Let Fireworks wait as if they had never run; their launches are archived."""
    if not fw_ids:
        return
    changes = []
    for fw_id in fw_ids:
        firework = run.fireworks[fw_id]
        new: dict[str, Any] = {"state": "WAITING", "launches": []}
        if firework["spec"].get("_allow_fizzled_parents"):
            new["spec._fizzled_parents"] = []  # see `dismaiflow.jobs.NO_COPIES`
        archived = {"archived_launches": {"$each": firework.get("launches", [])}}
        changes.append(
            UpdateOne(
                {"fw_id": fw_id},
                {
                    "$set": new,
                    "$addToSet": archived,
                    "$unset": {"spec._exception_details": ""},
                },
            )
        )
    launchpad.fireworks.bulk_write(changes)
    _enter(launchpad, run, fw_ids, "WAITING")


def set_state(launchpad: LaunchPad, run: Run, fw_id: int, state: str) -> None:
    """Enter a state for a Firework, in its own document and in the workflow's."""
    launchpad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": state}})
    _enter(launchpad, run, [fw_id], state)


def _enter(launchpad: LaunchPad, run: Run, fw_ids: Sequence[int], state: str) -> None:
    states = {f"fw_states.{fw_id}": state for fw_id in fw_ids}
    launchpad.workflows.update_one({"metadata.run_id": run.run_id}, {"$set": states})
    for fw_id in fw_ids:
        run.fireworks[fw_id]["state"] = state
