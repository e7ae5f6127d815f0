"""Repairing a run: what failed or was lost runs again, what lives and what is done does not.

Killed workers, a database that goes away and full disks leave a workflow in states from which
FireWorks does not recover by itself: launches that run for ever, locks that nobody holds,
Fireworks that no workflow knows, ends that were never entered. `retry` mends them all; see the
operations page of the documentation.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.launch import surgery
from dismaiflow.launch.liveness import Liveness
from dismaiflow.launch.runs import Run, error_line, last_sign, load_run, moment
from dismaiflow.store.blobs import public_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fireworks import LaunchPad
    from jobflow import JobStore

    from dismaiflow.launch.surgery import Lock

#: Seconds after which a lock under which nothing changes counts as left behind.
LOCK_PATIENCE = 30.0

#: Seconds after which a Firework that a worker was just taking counts as dropped. It takes
#: milliseconds.
_CHECKOUT_SECONDS = 60.0


@dataclass
class Retried:
    """What a retry did.

    Parameters
    ----------
    run_id : str
        The run.
    lock_freed : bool
        Whether a lock was left behind by a worker that died.
    orphans : int
        Fireworks deleted that their maker had not entered into the workflow.
    settled : list of str
        Jobs that were done but not entered as such.
    lost : list of str
        Jobs whose worker is gone.
    rerun : list of str
        Jobs that run again, with the reason; the lost ones among them.
    rewound : int
        Later jobs that had gone on without the failed ones and are done again.
    left : list of str
        What could not be rerun now, because something after it runs.
    running : list of str
        What runs, as far as can be told, with its last sign of life.
    """

    run_id: str
    lock_freed: bool = False
    orphans: int = 0
    settled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    rerun: list[str] = field(default_factory=list)
    rewound: int = 0
    left: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list, compare=False)


def retry(
    launchpad: LaunchPad,
    run_id: str,
    lost_after: float,
    jobstore: JobStore | None = None,
    lock_patience: float = LOCK_PATIENCE,
) -> Retried:
    """Rerun what failed or was lost.

    Parameters
    ----------
    launchpad : LaunchPad
        Where the run is.
    run_id : str
        Its whole id.
    lost_after : float
        Seconds without a sign of life after which a running job counts as lost.
    jobstore : JobStore, optional
        That of the workers, connected. Jobs that are done but have left no document in it run
        again; documents of jobs that are undone are removed from it.
    lock_patience : float
        Seconds after which a lock under which nothing changes counts as left behind.

    Raises
    ------
    DismaiError
        If the run is not there, is too busy, or has left nothing at all in this store.
    """
    done = Retried(run_id)
    with (
        surgery.held(launchpad, run_id, lock_patience) as (lock, done.lock_freed),
        _jobs_can_be_read(run_id),
    ):
        _mend(launchpad, lock, run_id, lost_after, done)
        run = load_run(launchpad, run_id)
        for fw_id in _without_document(run, jobstore):
            surgery.set_state(launchpad, run, fw_id, "FIZZLED")
        lost = Liveness(lost_after).lost(run)
        done.lost = [_name(run, n) for n in lost]
        for fw_id in lost:
            _give_up(launchpad, run, fw_id)
        done.running = [_sign(run, n) for n in run.with_state("RUNNING")]
        _rerun_failed(launchpad, lock, run_id, jobstore, done)
        _wake(launchpad, lock, run_id)
    return done


@contextmanager
def _jobs_can_be_read(run_id: str) -> Iterator[None]:
    """Say what is missing where FireWorks cannot load a job; what was done so far stays good."""
    try:
        yield
    except ImportError as error:
        raise DismaiError(
            f"run {run_id}: its jobs come from {error.name or 'a module'}, which cannot be "
            "imported here: install it or put it on PYTHONPATH, then retry again"
        ) from error


def _mend(launchpad: LaunchPad, lock: Lock, run_id: str, lost_after: float, done: Retried) -> None:
    """Bring a half-written workflow into a state that FireWorks could have written."""
    run = load_run(launchpad, run_id)
    done.orphans = surgery.drop_orphans(launchpad, run)
    for fw_id in run.with_state("RESERVED"):
        _free_checkout(launchpad, lock, run, fw_id, min(lost_after, _CHECKOUT_SECONDS))
    for fw_id in run.nodes:
        if _settle(launchpad, lock, run, fw_id):
            done.settled.append(_name(run, fw_id))
            run = load_run(launchpad, run_id)


def _free_checkout(launchpad: LaunchPad, lock: Lock, run: Run, fw_id: int, seconds: float) -> None:
    """Free a Firework whose worker died between taking it and saying so."""
    if run.launches_of(fw_id, "RESERVED", "RUNNING"):
        return
    taken = moment(run.fireworks[fw_id].get("updated_on"))
    if taken is None or (datetime.now(UTC) - taken).total_seconds() > seconds:
        known = run.fireworks[fw_id].get("launches", [])
        launchpad.launches.delete_many(
            {
                "fw_id": fw_id,
                "launch_id": {"$nin": known},
                "state": {"$in": ["RESERVED", "RUNNING"]},
            }
        )
        surgery.reset(launchpad, run, [fw_id])
        surgery.refresh(launchpad, lock, [fw_id])


def _settle(launchpad: LaunchPad, lock: Lock, run: Run, fw_id: int) -> bool:
    """Enter the end of a launch that was written, but into one place only."""
    state = run.state(fw_id)
    entered = run.workflow["fw_states"].get(str(fw_id))
    if run.launches_of(fw_id, "COMPLETED"):
        if state == entered == "COMPLETED":
            return False
        if surgery.all_made(run, fw_id) and surgery.made_by(run, fw_id):
            surgery.set_state(launchpad, run, fw_id, "COMPLETED")
        else:
            surgery.set_state(launchpad, run, fw_id, "RUNNING")
            surgery.refresh(launchpad, lock, [fw_id])
        return True
    ended = run.launches_of(fw_id, "FIZZLED") and not run.launches_of(fw_id, "RUNNING", "RESERVED")
    if ended and not state == entered == "FIZZLED":
        surgery.set_state(launchpad, run, fw_id, "FIZZLED")
        return True
    return False


def _without_document(run: Run, jobstore: JobStore | None) -> list[int]:
    """Return the jobs that are done, but whose result is gone.

    A server that dies loses what it had not written to its journal, while the worker lives on and
    calls the job done. What a dispatcher leaves itself is empty, so it is not missed where the job
    that took its place is done.

    Raises
    ------
    DismaiError
        If the store holds no document of the run: it is hardly that of its workers.
    """
    if jobstore is None:
        return []
    done = {key: n for n in run.with_state("COMPLETED") if (key := run.job_key(n))}
    uuids = list({uuid for uuid, _ in done})
    found = jobstore.docs_store.query({"uuid": {"$in": uuids}}, properties=["uuid", "index"])
    there = {(str(one["uuid"]), int(one["index"])) for one in found}
    if done and not there:
        raise DismaiError(
            f"run {run.run_id}: {len(done)} jobs are done, but {public_name(jobstore.docs_store)} "
            "holds no document of any: name the store of its workers in jobflow.yaml"
        )
    last = dict(sorted(done))  # the highest index of each uuid
    return [n for key, n in done.items() if key not in there and last[key[0]] == key[1]]


def _give_up(launchpad: LaunchPad, run: Run, fw_id: int) -> None:
    """Declare the launches of a Firework failed."""
    numbers = [one["launch_id"] for one in run.launches_of(fw_id, "RUNNING", "RESERVED")]
    launchpad.launches.update_many(
        {"launch_id": {"$in": numbers}, "state": {"$in": ["RUNNING", "RESERVED"]}},
        {"$set": {"state": "FIZZLED"}},
    )
    surgery.set_state(launchpad, run, fw_id, "FIZZLED")


def _rerun_failed(
    launchpad: LaunchPad, lock: Lock, run_id: str, jobstore: JobStore | None, done: Retried
) -> None:
    """Rerun every failed Firework; the first in the graph first, as it resets those after it."""
    while True:
        run = load_run(launchpad, run_id)
        failed = [n for n in run.with_state("FIZZLED") if _name(run, n) not in done.left]
        after = set().union(*(run.descendants(n) for n in failed)) if failed else set()
        first = [n for n in failed if n not in after]
        if not first:
            return
        told = {n: f"{_name(run, n)}: {error_line(run, n)}" for n in first}
        plans = [_Plan.of(run, n) for n in first]
        can = [plan for plan in plans if plan.is_quiet(launchpad, run)]
        _carry_out(launchpad, lock, run, can, jobstore)
        done.rewound += len(set().union(*(plan.later for plan in can)))
        done.rerun += [told[plan.fw_id] for plan in can]
        done.left += [_name(run, plan.fw_id) for plan in plans if plan not in can]


@dataclass(frozen=True)
class _Plan:
    """What must be undone before a failed Firework can run again.

    Parameters
    ----------
    fw_id : int
        The failed one.
    later : frozenset of int
        What went on without it, and waits again.
    made : frozenset of int
        What these and it have made, and make again.
    """

    fw_id: int
    later: frozenset[int]
    made: frozenset[int]

    @classmethod
    def of(cls, run: Run, fw_id: int) -> _Plan:
        """Return the plan for a failed Firework."""
        after = run.descendants(fw_id)
        ran = {n for n in after if n in run.fireworks and run.state(n) != "WAITING"}
        made = surgery.made_by(run, fw_id).union(*(surgery.made_by(run, n) for n in ran))
        return cls(fw_id, frozenset(ran - made), frozenset(made))

    def is_quiet(self, launchpad: LaunchPad, run: Run) -> bool:
        """Say whether nothing of this runs; what was ready to is taken back."""
        touched = self.later | self.made
        if any(run.state(n) in ("RUNNING", "RESERVED") for n in touched):
            return False
        ready = [n for n in touched if run.state(n) == "READY"]
        return all(surgery.take_back(launchpad, run, n) for n in ready)


def _carry_out(
    launchpad: LaunchPad, lock: Lock, run: Run, plans: list[_Plan], jobstore: JobStore | None
) -> None:
    """Undo what went on without failed Fireworks, and let these run again."""
    made = set().union(*(plan.made for plan in plans))
    later = set().union(*(plan.later for plan in plans)) - made
    undone = [key for n in made if (key := run.job_key(n))]
    surgery.remove(launchpad, run, made)
    surgery.reset(launchpad, run, sorted(later))
    _forget(jobstore, undone)
    again = [plan.fw_id for plan in plans]
    surgery.reset(launchpad, run, again)
    surgery.refresh(launchpad, lock, again)


def _forget(jobstore: JobStore | None, keys: list[tuple[str, int]]) -> None:
    """Remove the documents of jobs that are undone: others take their place."""
    if jobstore is not None:
        for uuid, index in keys:
            jobstore.docs_store.remove_docs({"uuid": uuid, "index": index})


def _wake(launchpad: LaunchPad, lock: Lock, run_id: str) -> None:
    """Let FireWorks look again at what waits although nothing is before it."""
    run = load_run(launchpad, run_id)
    asleep = []
    for fw_id in run.with_state("WAITING"):
        good = {"COMPLETED"}
        if run.fireworks[fw_id]["spec"].get("_allow_fizzled_parents"):
            good.add("FIZZLED")
        if all(run.state(parent) in good for parent in run.parents[fw_id]):
            asleep.append(fw_id)
    surgery.refresh(launchpad, lock, asleep)


def _sign(run: Run, fw_id: int) -> str:
    """Tell how long ago a running Firework gave a sign of life."""
    signs = [sign for one in run.launches_of(fw_id, "RUNNING") if (sign := last_sign(one))]
    if not signs:
        return _name(run, fw_id)
    seconds = (datetime.now(UTC) - max(signs)).total_seconds()
    return f"{_name(run, fw_id)}, last sign of life {seconds:.0f} s ago"


def _name(run: Run, fw_id: int) -> str:
    """Return what people call a Firework."""
    return f"{run.fireworks[fw_id]['name']} (fw_id {fw_id})"
