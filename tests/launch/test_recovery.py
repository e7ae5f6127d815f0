"""Whatever happens to workers, `retry` leads a run to the result that it would have had."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import monitoring

from dismaiflow.errors import DismaiError
from dismaiflow.launch import surgery
from dismaiflow.launch.recovery import Retried, retry
from dismaiflow.launch.runs import load_run
from dismaiflow.launch.submit import submit

from .test_submit import Bench, bench, score_flow
from .toys import TROUBLE, toy_flow

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bench"]

#: Commands that change a database.
_WRITES = {"insert", "update", "delete", "findAndModify"}

#: Seconds without a ping after which a launch is lost, for workers that are surely dead.
_NOW = 0.01

#: The toy flow of three numbers: its result, and the documents that it leaves.
RESULT = {"kind": "total", "sum": 2 * 3 + 1 + 4, "missing": 0}
NAMES = sorted(
    ["numbers", "spread", "gather", "total"]
    + [f"{what} {i}" for what in ("double", "square") for i in range(3)]
)


class _Dies(monitoring.CommandListener):
    """Ends this process before its n-th write reaches the server, as SIGKILL would."""

    def __init__(self, n: int) -> None:
        self.left = n

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in _WRITES:
            if self.left == 0:
                os._exit(9)
            self.left -= 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


def _work_until_dead(bench: Bench, make: Callable[[], Bench], n_writes: int) -> None:
    """Be a worker that takes one Firework and dies at a write; in a forked process."""
    monitoring.register(_Dies(n_writes))
    own = make()
    own.folder = bench.folder
    own.work(n=1)
    os._exit(0)


def die_at(bench: Bench, make: Callable[[], Bench], n_writes: int) -> bool:
    """Let a worker die at a write; say whether it got so far."""
    process = multiprocessing.get_context("fork").Process(
        target=_work_until_dead, args=(bench, make, n_writes)
    )
    process.start()
    process.join(60)
    assert process.exitcode in (0, 9), process.exitcode
    return process.exitcode == 9


def mend(bench: Bench, run_id: str) -> Retried:
    """Retry as if all silent workers were dead and nobody held a lock."""
    return retry(bench.launchpad, run_id, _NOW, bench.store, lock_patience=0.3)


def check_finished(bench: Bench, run_id: str) -> None:
    """The right result, every document once, nothing half done on the LaunchPad."""
    (document,) = bench.store.query({"output.kind": "total", "metadata.run_id": run_id})
    assert document["output"] == RESULT
    documents = list(bench.store.docs_store.query({"metadata.run_id": run_id}))
    assert sorted(d["name"] for d in documents) == NAMES
    assert len({(d["uuid"], d["index"]) for d in documents}) == len(NAMES)
    check_whole(bench, run_id)


def check_whole(bench: Bench, run_id: str) -> None:
    """All done, no lock, no Firework outside the workflow, no state in two minds."""
    run = load_run(bench.launchpad, run_id)
    assert set(run.fireworks) == set(run.workflow["nodes"])
    assert {run.state(n) for n in run.nodes} == {"COMPLETED"}
    assert set(run.workflow["fw_states"].values()) == {"COMPLETED"}
    assert run.workflow["state"] == "COMPLETED"
    assert "locked" not in run.workflow
    assert {len(run.launches_of(n, "COMPLETED")) for n in run.nodes} == {1}


@pytest.fixture
def again(bench: Bench) -> Callable[[], Bench]:
    """Return a function that connects anew, for a forked process."""
    settings = bench.launchpad.to_dict()

    def connect() -> Bench:
        from fireworks import LaunchPad
        from jobflow import JobStore

        store = JobStore.from_dict(bench.store.as_dict())
        store.connect()
        return Bench(LaunchPad(**settings), store, bench.folder)

    return connect


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(1, id="dispatcher", marks=pytest.mark.slow),
        pytest.param(4, id="chunk", marks=pytest.mark.slow),
        pytest.param(8, id="gatherer", marks=pytest.mark.slow),
    ],
)
def test_a_worker_dies_at_each_of_its_writes(
    bench: Bench, again: Callable[[], Bench], before: int
) -> None:
    """While it sends out jobs, while it does one, while it gathers: each time the run is mended."""
    n_writes, died = 0, True
    while died:
        submitted = submit(toy_flow(3), bench.launchpad)
        bench.work(n=before)
        died = die_at(bench, again, n_writes)
        mend(bench, submitted.run_id)
        bench.work()
        check_finished(bench, submitted.run_id)
        n_writes += 1
    assert n_writes > 8
    assert bench.states() == {"COMPLETED": 10 * n_writes}


def test_what_lives_is_left_alone(bench: Bench) -> None:
    """A job that pings, a job that is done, a lock that is in use."""
    submitted = submit(toy_flow(3), bench.launchpad)
    bench.work(n=4)
    from fireworks import FWorker

    taken, launch_id = bench.launchpad.checkout_fw(FWorker(name="alive"), "/nowhere")
    before = list(bench.launchpad.fireworks.find({}).sort("fw_id"))
    done = retry(bench.launchpad, submitted.run_id, 60, bench.store)
    assert done == Retried(submitted.run_id)
    assert list(bench.launchpad.fireworks.find({}).sort("fw_id")) == before
    # Silent for longer than a worker may be, it is lost; one ping, and it lives.
    bench.launchpad.ping_launch(launch_id)
    assert retry(bench.launchpad, submitted.run_id, 60, bench.store).lost == []
    done = mend(bench, submitted.run_id)
    assert done.lost == [f"{taken.name} (fw_id {taken.fw_id})"]
    bench.work()
    check_finished(bench, submitted.run_id)


def test_a_worker_of_this_machine_that_is_seen_is_not_lost(bench: Bench) -> None:
    """However long it has been silent: this process works in that folder."""
    submitted = submit(toy_flow(3), bench.launchpad)
    from fireworks import FWorker

    bench.launchpad.checkout_fw(FWorker(name="busy"), os.getcwd())  # noqa: PTH109
    assert mend(bench, submitted.run_id) == Retried(submitted.run_id)


def test_a_failed_job_runs_again_and_what_went_on_without_it_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total is there without it, and whole after the retry; the other jobs ran once."""
    submitted = submit(toy_flow(3), bench.launchpad)
    monkeypatch.setenv(TROUBLE, "1")
    bench.work()
    (document,) = bench.store.query({"output.kind": "total"})
    assert document["output"] == {"kind": "total", "sum": 2 * 2 + 1 + 4, "missing": 1}
    monkeypatch.delenv(TROUBLE)
    done = mend(bench, submitted.run_id)
    (told,) = done.rerun
    assert told.endswith("OSError: [Errno 28] No space left on device")
    assert done.rewound == 2
    bench.work()
    check_finished(bench, submitted.run_id)
    # ten jobs; the failed one, the gatherer and the total twice
    assert bench.launchpad.launches.count_documents({}) == 13


def test_a_failed_input_of_a_dispatcher(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the dispatcher had sent out for the wrong input is undone, its documents too."""
    from jobflow import Flow, OnMissing

    from .toys import double, numbers, spread, total

    first, second = double(1), numbers(2)
    middle = spread([first.output, 5])
    middle.config.on_missing_references = OnMissing.NONE
    last = total(middle.output)
    flow = Flow([first, second, middle, last], output=last.output)
    submitted = submit(flow, bench.launchpad)
    monkeypatch.setenv(TROUBLE, "1")
    bench.work()
    monkeypatch.delenv(TROUBLE)
    # the dispatcher saw None, whose double and square fail
    run = load_run(bench.launchpad, submitted.run_id)
    names = {run.fireworks[n]["name"] for n in run.with_state("FIZZLED")}
    assert names == {"double", "double 0", "square 0"}
    done = mend(bench, submitted.run_id)
    assert len(done.rerun) == 1
    assert done.rewound == 2
    assert set(bench.states()) == {"COMPLETED", "READY", "WAITING"}
    assert len(load_run(bench.launchpad, submitted.run_id).nodes) == 4
    bench.work()
    check_whole(bench, submitted.run_id)
    (document,) = bench.store.query({"output.kind": "total"})
    assert document["output"] == {"kind": "total", "sum": 2 * (2 + 5) + 4 + 25, "missing": 0}
    # double, numbers, spread, its two doubles and two squares, gather, total
    assert bench.store.docs_store.count() == 9


def test_nothing_is_undone_while_something_after_it_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total runs on without a failed job: the retry waits for it, and says so."""
    from fireworks import FWorker

    submitted = submit(toy_flow(3), bench.launchpad)
    monkeypatch.setenv(TROUBLE, "1")
    bench.work(n=9)
    monkeypatch.delenv(TROUBLE)
    bench.launchpad.checkout_fw(FWorker(name="alive"), "/nowhere")
    done = retry(bench.launchpad, submitted.run_id, 60, bench.store)
    assert done.rerun == []
    (left,) = done.left
    assert left.startswith("double 1 ")
    mend(bench, submitted.run_id)
    bench.work()
    check_finished(bench, submitted.run_id)


def test_retrying_twice_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second retry finds nothing to mend."""
    submitted = submit(toy_flow(3), bench.launchpad)
    monkeypatch.setenv(TROUBLE, "all")
    bench.work()
    monkeypatch.delenv(TROUBLE)
    assert len(mend(bench, submitted.run_id).rerun) == 3
    assert mend(bench, submitted.run_id) == Retried(submitted.run_id)
    bench.work()
    check_finished(bench, submitted.run_id)
    assert mend(bench, submitted.run_id) == Retried(submitted.run_id)


def test_what_waits_for_nothing_is_woken(bench: Bench) -> None:
    """As after `lpad` commands, or a worker of an older FireWorks, that stopped half-way."""
    submitted = submit(toy_flow(3), bench.launchpad)
    bench.work(n=1)
    (ready,) = bench.launchpad.get_fw_ids({"state": "READY"})
    bench.launchpad.fireworks.update_one({"fw_id": ready}, {"$set": {"state": "WAITING"}})
    bench.launchpad.workflows.update_one({}, {"$set": {f"fw_states.{ready}": "WAITING"}})
    assert mend(bench, submitted.run_id) == Retried(submitted.run_id)
    assert bench.launchpad.get_fw_ids({"state": "READY"}) == [ready]
    bench.work()
    check_finished(bench, submitted.run_id)


@pytest.mark.parametrize("name", ["double 1", "gather", "total"])
def test_a_document_that_its_server_has_lost(bench: Bench, name: str) -> None:
    """A job that is done without it runs again, with what came after."""
    submitted = submit(toy_flow(3), bench.launchpad)
    bench.work()
    bench.store.docs_store.remove_docs({"name": name})
    (told,) = mend(bench, submitted.run_id).rerun
    assert told.startswith(f"{name} (fw_id ")
    assert told.endswith("): it was done, but its document is not in the store")
    bench.work()
    check_finished(bench, submitted.run_id)
    assert mend(bench, submitted.run_id) == Retried(submitted.run_id)


def test_the_store_of_others(bench: Bench) -> None:
    """A store without one document of the run is not that of its workers: nothing is undone."""
    submitted = submit(toy_flow(3), bench.launchpad)
    bench.work()
    bench.store.docs_store.remove_docs({})
    with pytest.raises(DismaiError, match=r"10 jobs are done, but .* holds no document of any"):
        mend(bench, submitted.run_id)
    assert bench.states() == {"COMPLETED": 10}


def test_jobs_that_cannot_be_imported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the module; once it is there the run goes on."""
    submitted = submit(toy_flow(3), bench.launchpad)
    monkeypatch.setenv(TROUBLE, "all")
    bench.work()
    monkeypatch.delenv(TROUBLE)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "launch.toys", None)
        with pytest.raises(DismaiError, match=r"its jobs come from launch\.toys, which cannot"):
            mend(bench, submitted.run_id)
    assert "locked" not in load_run(bench.launchpad, submitted.run_id).workflow
    mend(bench, submitted.run_id)
    bench.work()
    check_finished(bench, submitted.run_id)


def test_another_run_is_not_touched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failures, its locks and its lost jobs stay."""
    mine, other = (submit(toy_flow(3), bench.launchpad).run_id for _ in range(2))
    monkeypatch.setenv(TROUBLE, "1")
    bench.work()
    monkeypatch.delenv(TROUBLE)
    query: Any = {"spec.run_id": other}
    before = list(bench.launchpad.fireworks.find(query))
    mend(bench, mine)
    bench.work()
    check_finished(bench, mine)
    assert list(bench.launchpad.fireworks.find(query)) == before


def test_a_lock_that_is_in_use_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never taken while the workflow changes; in the end the retry gives up."""
    run_id = submit(toy_flow(3), bench.launchpad).run_id
    times = iter(range(1000))
    monkeypatch.setattr(surgery.time, "sleep", lambda _: _touch(bench, next(times)))
    monkeypatch.setattr(surgery, "_BUSY_SECONDS", 0.5)
    bench.launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    with pytest.raises(DismaiError, match="its workers change it all the time; try again later"):
        retry(bench.launchpad, run_id, 60, lock_patience=0.2)


def _touch(bench: Bench, value: int) -> None:
    bench.launchpad.workflows.update_one({}, {"$set": {"updated_on": value}})


def test_only_one_takes_a_lock_over_and_each_frees_its_own(bench: Bench) -> None:
    """Two see the same dead lock; the second waits for the first, who shows that it lives."""
    run_id = submit(toy_flow(3), bench.launchpad).run_id
    bench.launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    first, second = (surgery.Lock(bench.launchpad, run_id) for _ in range(2))
    assert first.acquire(0.2) is True
    waiting = threading.Thread(target=second.acquire, args=(2.0,))
    waiting.start()
    for _ in range(13):
        time.sleep(0.2)
        first.stamp()
    assert waiting.is_alive()
    second.release()  # which it does not have
    assert _lock(bench) == first.token
    # FireWorks writes its own word into the lock of whoever lets it work
    bench.launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    first.stamp()
    assert _lock(bench) == first.token
    first.release()
    waiting.join(10)
    assert _lock(bench) == second.token
    first.release()
    assert _lock(bench) == second.token


def _lock(bench: Bench) -> Any:
    return bench.launchpad.workflows.find_one({})["locked"]


@pytest.mark.parametrize("n_writes", range(6))
def test_a_submitter_dies_at_each_of_its_writes(
    bench: Bench, again: Callable[[], Bench], n_writes: int
) -> None:
    """Nothing that is left harms a worker, and what is whole can be started."""

    def submit_and_die() -> None:
        monitoring.register(_Dies(n_writes))
        submit(toy_flow(3), again().launchpad)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=submit_and_die)
    process.start()
    process.join(60)
    bench.work()
    other = submit(toy_flow(3), bench.launchpad).run_id
    bench.work()
    check_finished(bench, other)
    whole = bench.launchpad.workflows.find_one({"metadata.run_id": {"$ne": other}})
    if whole is None:
        assert process.exitcode == 9
        return
    run_id = whole["metadata"]["run_id"]
    mend(bench, run_id)
    bench.work()
    check_finished(bench, run_id)


@pytest.mark.slow
def test_a_submitted_score_with_deaths(bench: Bench, again: Callable[[], Bench]) -> None:
    """A real flow: its workers die at some of their writes, the result is that of a quiet run."""
    from jobflow.core.reference import find_and_resolve_references

    from benchmark.conftest import strip
    from dismaiflow.benchmark.schemas import ScoreDoc

    found = []
    for deaths in ((), (3, 9, 14, 6, 11, 2)):
        flow = score_flow(bench.store)
        submitted = submit(flow, bench.launchpad)
        for at in deaths:
            bench.work(n=2)
            die_at(bench, again, at)
            mend(bench, submitted.run_id)
        bench.work()
        check_whole(bench, submitted.run_id)
        document = find_and_resolve_references(flow.output, bench.store)
        found.append(strip(ScoreDoc.model_validate(document)))
    assert found[0] == found[1]
