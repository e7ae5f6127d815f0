"""DFT and training on a LaunchPad: each job on its kind of worker, a killed one, and sizes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import bson
import pytest
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from benchmark.conftest import MEGABYTE
from campaigns.test_dft import training_set, two_engines
from dismaiflow.benchmark.structure_flows import StructureControlsMaker
from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, RelaxRandomMaker
from dismaiflow.campaigns.rehearsal import RehearsalMaker, RehearsalPlan, rehearsal_spec
from dismaiflow.campaigns.relaxed import ScoreControlsMaker
from dismaiflow.launch.recovery import retry
from dismaiflow.launch.submit import submit
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.frames import FramesDoc
from dismaiflow.store.gc import collect_garbage
from dismaiflow.systems import get_system
from potentials.wilful import NOTES, PAUSE, notes

from .test_commands import RLAUNCH, environment, status
from .test_gc import age
from .test_recovery import again
from .test_relaxation import check_documents, wait_for
from .test_sizes import largest
from .test_submit import Bench, bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobflow import Flow, JobStore

    from cli.conftest import Dismai
    from dismaiflow.launch.config import LaunchConfig

__all__ = ["again", "bench"]

SYSTEM = "tiny-li2o-licl"

#: Loose limits and a small network, with which this seed comes to its end.
PLAN = RehearsalPlan(
    n_without=4,
    n_with=1,
    region_steps=2,
    fmax=1.5,
    interval=3,
    training={"model": {"units": 16}, "lr": 0.005, "batch_size": 2, "epochs": 4},
    n_low=2,
    max_structures=8,
    relaxation_fmax=2.0,
    relaxation_steps=60,
    n_scored=2,
)


def frames_here(flow: Flow, folder: Path) -> FramesDoc:
    """Return the training set that a flow makes in this process."""
    folder.mkdir()
    store = embedded_jobstore(folder / "store.sqlite")
    store.connect()
    with closing(store):
        run_locally(
            flow, store=store, root_dir=folder, log=False, ensure_success=True, create_folders=True
        )
        return FramesDoc.model_validate(find_and_resolve_references(flow.output, store))


def frames_there(store: JobStore, run_id: str) -> FramesDoc:
    """Return the training set of a run."""
    (found,) = store.query({"output.kind": "frames", "metadata.run_id": run_id}, load=True)
    return FramesDoc.model_validate(found["output"])


def kind_of_worker(name: str) -> str:
    """Return where a job belongs, by its name."""
    if "region relax" in name or "interface relax" in name or name.startswith("engine relax"):
        return "vasp"
    return "gpu" if name.startswith("train potential") else "cpu"


def check_workers(launchpad: Any, run_id: str) -> dict[str, int]:
    """All jobs of a run have their category, and ran on a worker of it; count them."""
    ran: dict[str, int] = {}
    for firework in launchpad.fireworks.find({"spec.run_id": run_id}):
        category = firework["spec"]["_category"]
        assert category == kind_of_worker(firework["name"]), firework["name"]
        assert len(bson.encode(firework)) < MEGABYTE
        launched = {"launch_id": {"$in": firework["launches"]}}
        workers = {one["fworker"]["name"] for one in launchpad.launches.find(launched)}
        assert workers <= {f"dismai-{category}"}, firework["name"]
        ran[category] = ran.get(category, 0) + 1
    return ran


@pytest.mark.slow
def test_a_training_set_of_which_the_worker_dies(
    bench: Bench, again: Callable[[], Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in a relaxation, retry: the same frames. What is cleaned up meanwhile is not missed.

    Relaxations are chains of an engine's jobs in the category vasp.
    """
    spec = get_system(SYSTEM)
    maker = training_set(two_engines(steps=8))
    here = frames_here(maker.make(spec, 1, 3, 1), tmp_path / "here")
    log = tmp_path / "notes"
    monkeypatch.setenv(NOTES, str(log))
    run_id = submit(maker.make(spec, 1, 3, 1), bench.launchpad, (), bench.store).run_id
    bench.work("cpu", name="dismai-cpu")
    # Three dispatchers have sent out chains; structures are in specs alone, by reference.
    assert bench.states() == {"COMPLETED": 3, "READY": 4, "WAITING": 4 + 3 + 1}

    def clean() -> None:
        age(bench.store)
        found = collect_garbage(bench.store, remove=True, launchpads=[bench.launchpad.db])
        # The lists by which whole sets are found; the jobs know the chunks.
        assert set(found.by_kind()) <= {"manifest"}

    clean()
    monkeypatch.setenv(PAUSE, "0.2")
    doomed = multiprocessing.get_context("fork").Process(
        target=lambda: again().work("vasp", name="dismai-vasp")
    )
    doomed.start()
    wait_for(log, 3)
    assert doomed.pid is not None
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.join(60)
    monkeypatch.setenv(PAUSE, "0")
    assert bench.states()["RUNNING"] == 1
    retry(bench.launchpad, run_id, 0, bench.store, lock_patience=0.3)
    before = len(notes(log))
    bench.work("vasp", name="dismai-vasp")
    clean()
    bench.work("cpu", name="dismai-cpu")
    assert set(bench.states()) == {"COMPLETED"}
    # Eight stages, one of them twice; what was finished is not done again.
    assert len(notes(log)) == 9
    assert before == 3
    assert check_workers(bench.launchpad, run_id) == {"cpu": 3 + 3 + 1, "vasp": 8}
    there = frames_there(bench.store, run_id)
    assert there.card.content_hashes == here.card.content_hashes
    assert there.card.runs == here.card.runs
    sizes = largest(bench)
    sizes.pop("blob")
    assert max(sizes.values()) < MEGABYTE


def worker(dismai: Dismai, config: LaunchConfig, folder: Path, category: str) -> Any:
    """Start a worker that waits for jobs of a category until it is stopped."""
    folder.mkdir()
    words = [str(RLAUNCH), "-w", str(config.worker_file(category)), "rapidfire"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*words, "--nlaunches", "infinite", "--sleep", "1"],
            cwd=folder,
            env=environment(
                dismai, OMP_NUM_THREADS=1, DISMAI_PROCESSES=1, DISMAI_SCRATCH_DIR=folder / "scratch"
            ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def ended(launchpad: Any, run_id: str) -> bool:
    """Say whether nothing of a run is left to do, or something has failed."""
    (workflow,) = launchpad.workflows.find({"metadata.run_id": run_id})
    return workflow["state"] in ("COMPLETED", "FIZZLED")


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that workers do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the workers do not come to it"
        time.sleep(0.5)


@pytest.mark.slow
def test_a_rehearsal_with_three_workers(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path
) -> None:
    """The stand-in for VASP on one, training on another, the rest on the third; one is killed."""
    pytest.importorskip("matgl")
    pytest.importorskip("atomate2")
    from dismaiflow.dft.makers import Rehearsal, TwoStageRelaxMaker

    spec = get_system(SYSTEM)
    controls = StructureControlsMaker(n=4, n_relaxed=1)
    maker = RehearsalMaker(
        potential="toy", plan=PLAN, controls_maker=ScoreControlsMaker(controls_maker=controls)
    )
    launchpad = config.launchpad()
    with closing(config.jobstore()) as store:
        run_id = submit(maker.make(spec, 0), launchpad, ["trial"], store).run_id
        workers = {
            name: worker(dismai, config, tmp_path / name, name) for name in ("cpu", "gpu", "vasp")
        }
        try:
            doomed = {"name": {"$regex": "^interface relax"}, "state": "RUNNING"}
            wait_until(lambda: launchpad.fireworks.count_documents(doomed) > 0, 180)
            os.kill(workers["vasp"].pid, signal.SIGKILL)
            workers["vasp"].wait()
            time.sleep(2)
            retried = dismai("launchpad", "retry", run_id, "--lost-after", 1)
            assert retried.code == 0, retried.err
            assert "interface relax" in retried.words
            workers["vasp"] = worker(dismai, config, tmp_path / "vasp again", "vasp")
            wait_until(lambda: ended(launchpad, run_id), 900)
        finally:
            for process in workers.values():
                process.terminate()
                process.wait()
        assert status(dismai, run_id)["is"] == "done"
        ran = check_workers(launchpad, run_id)
        # Two stages of five structures, and the second of what the search has found.
        assert ran["vasp"] >= 11
        assert ran["gpu"] == 1
        there = frames_there(store, run_id)
    check_documents(config)
    # VASP's files lie in the folders of its workers.
    listed = dismai("results", "list", "relaxations", "--run", run_id, "--limit", 0, "--json")
    relaxations = json.loads(listed.out)
    assert len(relaxations) >= ran["vasp"]
    assert all(f"{tmp_path}/vasp" in row["folder"] for row in relaxations)

    small = rehearsal_spec(spec, PLAN)
    stages = TwoStageRelaxMaker.from_spec(small, rehearsal=Rehearsal("toy"))
    sent = DFTTrainingSetMaker(
        runs_per_job=7, relax_random_maker=RelaxRandomMaker(relax_maker=stages)
    )
    here = frames_here(sent.make(small, 0, PLAN.n_without, PLAN.n_with), tmp_path / "here")
    assert there.card.content_hashes == here.card.content_hashes

    (row,) = json.loads(dismai("results", "list", "potentials", "--run", run_id, "--json").out)
    assert row["rehearsal"]
    assert row["errors_on"] == "test"
    done = dismai("results", "export", run_id, "--out", tmp_path / "exported")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "exported").iterdir()} >= {
        "frames", "potential", "rehearsal.json",
    }  # fmt: skip
