"""Flows on a LaunchPad: their specs, their categories, their versions, their results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
import pytest
from jobflow import Flow, run_locally
from jobflow.core.reference import find_and_resolve_references

from benchmark.conftest import (
    MEGABYTE,
    PUBLISHED,
    generated_set,
    random_alloys,
    reference_set,
    small_alloy,
    strip,
)
from dismaiflow import __version__
from dismaiflow.benchmark.flows import AlloyControlsMaker, ScoreAlloyMaker
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.errors import DismaiError
from dismaiflow.launch.recovery import retry
from dismaiflow.launch.runs import find_run, load_run
from dismaiflow.launch.status import list_runs, run_status
from dismaiflow.launch.submit import submit
from dismaiflow.store.embedded import embedded_jobstore

from .toys import TROUBLE, numbers, plain_dispatcher, toy_flow, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fireworks import LaunchPad
    from jobflow import JobStore

    from dismaiflow.launch.config import LaunchConfig


@dataclass
class Bench:
    """A LaunchPad, the store of its workers, and a folder to work in."""

    launchpad: LaunchPad
    store: JobStore
    folder: Path

    def work(self, category: Any = "", n: int = 0, name: str = "here") -> None:
        """Be a worker until nothing is ready."""
        work(self.launchpad, self.store, self.folder, category, n, name)

    def states(self) -> dict[str, int]:
        """Count the Fireworks by state."""
        found = self.launchpad.fireworks.aggregate([{"$sortByCount": "$state"}])
        return {one["_id"]: one["count"] for one in found}


@pytest.fixture
def bench(configured: Callable[..., LaunchConfig], tmp_path: Path) -> Iterator[Bench]:
    """Return a LaunchPad with empty databases."""
    config = configured()
    store = config.jobstore()
    yield Bench(config.launchpad(), store, tmp_path / "work")
    store.close()


def score_flow(store: JobStore) -> Flow:
    """Return a score with its controls, in jobs of few structures."""
    spec = small_alloy()
    reference = reference_set(store, spec, 30, 10)
    one = generated_set(store, random_alloys(spec, 24, seed=1), 10, unreadable=(3,))
    controls = AlloyControlsMaker(n=12).make(spec, [PUBLISHED], reference)
    maker = ScoreAlloyMaker()
    maker.count_maker.structures_per_job = 10
    beside = controls.output[PUBLISHED.key]
    scored = maker.make(spec, PUBLISHED, reference, [one], controls=beside)
    return Flow([controls, scored], output=scored.output, name=scored.name)


def test_a_submitted_run_gives_the_local_result(bench: Bench, tmp_path: Path) -> None:
    """Bit for bit, with all its documents: only times differ."""
    local = embedded_jobstore(tmp_path / "local.db")
    local.connect()
    flow = score_flow(local)
    run_locally(flow, store=local, root_dir=tmp_path / "jobs", log=False, ensure_success=True)
    here = ScoreDoc.model_validate(find_and_resolve_references(flow.output, local))

    flow = score_flow(bench.store)
    submitted = submit(flow, bench.launchpad)
    bench.work("cpu")
    there = ScoreDoc.model_validate(find_and_resolve_references(flow.output, bench.store))
    assert strip(here) == strip(there)
    assert here.n_scored == 24
    assert bench.states() == {"COMPLETED": len(load_run(bench.launchpad, submitted.run_id).nodes)}

    def names(store: JobStore) -> list[tuple[str, int]]:
        return sorted((d["name"], d["index"]) for d in store.docs_store.query({}))

    assert names(local) == names(bench.store)
    assert len(names(local)) == bench.states()["COMPLETED"]


def test_specs_tell_what_they_are_and_hold_no_login(bench: Bench, login: Any) -> None:
    """Every Firework bears the metadata, dynamic ones too; none holds a store or a password."""
    submitted = submit(score_flow(bench.store), bench.launchpad, tags=["b", "a", "b"])
    bench.work("cpu")
    fireworks = list(bench.launchpad.fireworks.find({}, {"_id": 0}))
    assert len(fireworks) > submitted.n_fireworks
    for firework in fireworks:
        spec = firework["spec"]
        assert spec["run_id"] == submitted.run_id
        assert spec["dismaiflow"] == __version__
        assert spec["system"] == "alloy-small"
        sampled = firework["name"].startswith("sample control")
        assert spec["protocol"] == ("none" if sampled else PUBLISHED.key)
        assert spec["model"] in ("controls", "unnamed")
        assert spec["tags"] == ["a", "b"]
        assert spec["_category"] == "cpu"
        assert spec["_tasks"][0].get("store") is None
        assert len(bson.encode(firework)) < MEGABYTE
    for collection in bench.launchpad.db.list_collection_names():
        for document in bench.launchpad.db[collection].find():
            assert login.password.encode() not in bson.encode(document)
    for document in bench.store.docs_store.query({}):
        assert document["metadata"]["run_id"] == submitted.run_id
        assert document["metadata"]["tags"] == ["a", "b"]
    (workflow,) = bench.launchpad.workflows.find({})
    assert workflow["metadata"] == {
        "run_id": submitted.run_id,
        "dismaiflow": __version__,
        "tags": ["a", "b"],
        "systems": ["alloy-small"],
        "models": ["controls", "unnamed"],
        "protocols": ["none", PUBLISHED.key],
        "flow": "score alloy alloy-small",
    }


def test_every_job_runs_on_its_kind_of_worker(bench: Bench) -> None:
    """A cpu job sends out gpu and vasp jobs, and gathers on cpu; no worker takes another's."""
    submitted = submit(toy_flow(3), bench.launchpad)
    assert submitted.categories == ["cpu"]
    for name in ("gpu", "vasp"):
        bench.work(name, name=name)
    assert bench.states() == {"READY": 1, "WAITING": 2}
    bench.work("cpu", name="cpu")
    assert bench.states() == {"COMPLETED": 2, "READY": 6, "WAITING": 2}
    bench.work("vasp", name="vasp")
    assert bench.states() == {"COMPLETED": 5, "READY": 3, "WAITING": 2}
    bench.work("gpu", name="gpu")
    assert bench.states() == {"COMPLETED": 8, "READY": 1, "WAITING": 1}
    bench.work("cpu", name="cpu")
    assert bench.states() == {"COMPLETED": 10}
    expected = {"numbers": "cpu", "spread": "cpu", "gather": "cpu", "total": "cpu"}
    expected |= {f"double {i}": "gpu" for i in range(3)} | {f"square {i}": "vasp" for i in range(3)}
    ran = {
        bench.launchpad.fireworks.find_one({"fw_id": launch["fw_id"]})["name"]: launch["fworker"]
        for launch in bench.launchpad.launches.find({})
    }
    assert {name: worker["name"] for name, worker in ran.items()} == expected
    (document,) = bench.store.query({"output.kind": "total"})
    assert document["output"] == {"kind": "total", "sum": 2 * 3 + 1 + 4, "missing": 0}


def test_another_version_refuses_the_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a line that says what to do; what runs under the right version is not touched."""
    monkeypatch.setattr("dismaiflow.jobs.__version__", "0.0.9")
    submitted = submit(toy_flow(2), bench.launchpad)
    bench.work("cpu", n=1)
    monkeypatch.undo()
    assert bench.states() == {"COMPLETED": 1, "READY": 1, "WAITING": 1}
    bench.work("cpu")
    status = run_status(bench.launchpad, submitted.run_id, 300)
    assert status.version == "0.0.9"
    assert {failed.name for failed in status.failed} == {"spread", "total"}
    assert {failed.reason for failed in status.failed} == {
        f"this job was submitted by dismaiflow 0.0.9, but this worker has {__version__}: install "
        "0.0.9 here, or leave the run to workers that have it; then `dismai launchpad retry`"
    }
    retry(bench.launchpad, submitted.run_id, 300, bench.store)
    assert bench.states() == {"COMPLETED": 1, "READY": 1, "WAITING": 1}
    monkeypatch.setattr("dismaiflow.jobs.__version__", "0.0.9")
    bench.work()
    assert bench.states() == {"COMPLETED": 8}


def test_a_spec_that_is_too_large_is_refused(bench: Bench) -> None:
    """Before anything is inserted."""
    flow = Flow([numbers(["x" * 1_000_001])])
    with pytest.raises(DismaiError, match=r"the job 'numbers' takes 1\d{6} bytes as a spec"):
        submit(flow, bench.launchpad)
    assert bench.states() == {}


def test_nothing_is_left_of_a_submission_that_broke_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Firework without its workflow would kill the worker that takes it."""

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(bench.launchpad), "_upsert_fws", _then(fail))
    with pytest.raises(KeyboardInterrupt):
        submit(toy_flow(), bench.launchpad)
    assert bench.states() == {}


def test_jobs_of_others_run_on_cpu(bench: Bench) -> None:
    """A job that names no category gets that of the default worker, and so do those it makes."""
    submit(Flow([plain_dispatcher(3)]), bench.launchpad)
    bench.work("gpu")
    assert bench.states() == {"READY": 1}
    bench.work("cpu")
    assert bench.states() == {"COMPLETED": 3}
    assert {fw["spec"]["_category"] for fw in bench.launchpad.fireworks.find({})} == {"cpu"}


def _then(fail: Callable[..., None]) -> Callable[..., None]:
    from fireworks import LaunchPad

    insert = LaunchPad._upsert_fws

    def both(self: LaunchPad, *args: object, **options: object) -> None:
        insert(self, *args, **options)
        fail()

    return both


def test_two_runs_at_once(bench: Bench) -> None:
    """Their jobs come in turn; each has its own result and its own status."""
    first = submit(toy_flow(2), bench.launchpad, tags=["one"])
    second = submit(toy_flow(4), bench.launchpad)
    for _ in range(40):
        bench.work(n=1)
        if set(bench.states()) == {"COMPLETED"}:
            break
    sums = {
        document["metadata"]["run_id"]: document["output"]["sum"]
        for document in bench.store.query({"output.kind": "total"})
    }
    assert sums == {first.run_id: 2 + 1, second.run_id: 2 * 6 + 1 + 4 + 9}
    assert run_status(bench.launchpad, first.run_id, 300).states == {"done": 8}
    assert run_status(bench.launchpad, second.run_id, 300).states == {"done": 12}
    assert [run["run_id"] for run in list_runs(bench.launchpad)] == [second.run_id, first.run_id]
    assert find_run(bench.launchpad, "last") == second.run_id
    assert find_run(bench.launchpad, first.run_id[:8]) == first.run_id


def test_status_of_a_run_with_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps with their states, the error's last line, who waits for whom."""
    submitted = submit(toy_flow(3), bench.launchpad)
    bench.work(["cpu"])
    status = run_status(bench.launchpad, submitted.run_id, 300)
    assert status.word == "waits for a worker"
    assert status.ready_by_category == {"gpu": 3, "vasp": 3}
    assert status.seconds_left is not None
    assert status.seconds_left >= 0
    monkeypatch.setenv(TROUBLE, "1")
    bench.work(["gpu"])
    status = run_status(bench.launchpad, submitted.run_id, 300)
    assert status.word == "needs a retry"
    assert status.states == {"waiting": 2, "ready": 3, "done": 4, "failed": 1}
    assert {step.name: step.states for step in status.steps} == {
        "numbers": {"done": 1},
        "spread": {"done": 1},
        "double": {"done": 2, "failed": 1},
        "square": {"ready": 3},
        "gather": {"waiting": 1},
        "total": {"waiting": 1},
    }
    (failed,) = status.failed
    assert (failed.name, failed.reason) == (
        "double 1",
        "OSError: [Errno 28] No space left on device",
    )
    assert status.blocked == 2
    assert status.done_per_minute is not None


def test_status_of_a_paused_run(bench: Bench) -> None:
    """Not done, as long as something is left."""
    run_id = submit(toy_flow(2), bench.launchpad).run_id
    bench.work(n=1)
    (ready,) = bench.launchpad.get_fw_ids({"state": "READY"})
    bench.launchpad.pause_fw(ready)
    assert run_status(bench.launchpad, run_id, 300).word == "paused"
    bench.launchpad.resume_fw(ready)
    assert run_status(bench.launchpad, run_id, 300).word == "waits for a worker"
    bench.work()
    assert run_status(bench.launchpad, run_id, 300).word == "done"


def test_no_such_run(bench: Bench) -> None:
    """One line each."""
    with pytest.raises(DismaiError, match="there is no run on the LaunchPad"):
        find_run(bench.launchpad, "last")
    with pytest.raises(DismaiError, match="there is no run abc on the LaunchPad"):
        find_run(bench.launchpad, "abc")
    with pytest.raises(DismaiError, match="is no run id"):
        find_run(bench.launchpad, "a.*")


def test_json_of_the_metadata(bench: Bench) -> None:
    """Everything in a spec is plain JSON."""
    submit(toy_flow(), bench.launchpad)
    for firework in bench.launchpad.fireworks.find({}, {"_id": 0, "spec": 1}):
        json.dumps(firework)
