"""Trainings on a LaunchPad, out of time, told to stop, killed: they come to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import SMALL, Dismai
from dismaiflow.systems import new_system_yaml

from .test_commands import RLAUNCH, environment, finish, rlaunch, status, submitted

if TYPE_CHECKING:
    from dismaiflow.launch.config import LaunchConfig

#: Models at toy size.
TOYS: dict[str, tuple[str, ...]] = {
    "cryingan": ("--size", "small"),
    "diffcsp": ("--size", "small"),
    "cdvae": ("--size", "small"),
    "crystens": ("--size", "small"),
    "unimat": ("--size", "small"),
}


#: Steps of a training that is stopped and killed: ten seconds at least.
STEPS = {"cryingan": 400, "diffcsp": 150, "cdvae": 100, "crystens": 30, "unimat": 80}

#: Seconds that a job may train.
LIMIT = 8


@pytest.fixture(scope="module")
def data(dismai: Dismai, config: LaunchConfig) -> Path:
    """Return a dataset of a small alloy in the folder of systems, without controls."""
    folder = dismai.home / ".dismai" / "systems"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(new_system_yaml("alloy", "tiny"))
    made = dismai("dataset", "tiny", "--out", dismai.root / "toys", *SMALL, "--no-controls")
    assert made.code == 0, made.err
    return dismai.root / "toys" / "tiny"


def trained(dismai: Dismai, run_id: str) -> dict[str, Any]:
    """Return the document of a finished training."""
    asked = json.dumps({"output.kind": "trained_model", "metadata.run_id": run_id})
    ran = dismai("results", "query", "outputs", asked)
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)
    return dict(found["output"])


def words(model: str, data: Path, steps: int) -> tuple[object, ...]:
    return (
        "train",
        model,
        data,
        *TOYS[model],
        "--set",
        f"max_steps={steps}",
        "--set",
        "device=cpu",
    )


def weights(dismai: Dismai, run_id: str, folder: Path) -> dict[str, Any]:
    """Return the trained weights by network and name."""
    import torch

    ran = dismai("results", "export", run_id, "--out", folder)
    assert ran.code == 0, ran.err
    (path,) = folder.rglob("weights.pt")
    found = torch.load(path, weights_only=True)["weights"]
    return {f"{n}.{key}": one for n, state in found.items() for key, one in state.items()}


@pytest.mark.slow
@pytest.mark.parametrize("model", list(TOYS))
def test_stopped_and_killed(dismai: Dismai, data: Path, tmp_path: Path, model: str) -> None:
    """SIGTERM, then SIGKILL, then a retry: the weights of a training without them, bit for bit."""
    pytest.importorskip("torch")
    steps = STEPS[model]
    worker = {"DISMAI_SCRATCH_DIR": tmp_path / "scratch", "OMP_NUM_THREADS": 1}
    whole = submitted(dismai, *words(model, data, steps))
    finish(rlaunch(dismai, tmp_path / "whole", **worker))
    run_id = submitted(dismai, *words(model, data, steps))
    first = one_job(dismai, tmp_path / "first", **worker)
    wait_for_steps(tmp_path / "scratch" / "models", 0)
    first.send_signal(signal.SIGTERM)
    finish(first)
    second = one_job(dismai, tmp_path / "second", **worker)
    wait_for_steps(tmp_path / "scratch" / "models", 1)
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    retried = dismai("launchpad", "retry", run_id, "--lost-after", 1)
    assert retried.code == 0, retried.err
    assert "train" in retried.words
    finish(rlaunch(dismai, tmp_path / "third", **worker))
    assert status(dismai, run_id)["is"] == "done"
    document = trained(dismai, run_id)
    assert document["n_launches"] == 2
    assert document["step"] == steps
    one, other = (weights(dismai, run, tmp_path / run) for run in (run_id, whole))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.equal(other[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("model", list(TOYS))
def test_a_limit_of_seconds(dismai: Dismai, data: Path, tmp_path: Path, model: str) -> None:
    """Each job ends in time and puts the training into the queue again, until it is done."""
    pytest.importorskip("torch")
    worker = {"DISMAI_SCRATCH_DIR": tmp_path / "scratch", "OMP_NUM_THREADS": 1}
    # Where the trial was slow, and the training is not, it still takes two jobs.
    steps = 4 * steps_in(dismai, data, tmp_path, model, worker)
    run_id = submitted(dismai, *words(model, data, steps), "--max-seconds", LIMIT)
    finish(rlaunch(dismai, tmp_path / "worker", **worker), seconds=550)
    document = trained(dismai, run_id)
    assert document["step"] == steps
    assert document["n_launches"] >= 2
    assert document["seconds"] > LIMIT


def steps_in(dismai: Dismai, data: Path, tmp_path: Path, model: str, worker: dict[str, Any]) -> int:
    """Return the steps that take about as long here as a job may train."""
    steps = STEPS[model] // 2
    run_id = submitted(dismai, *words(model, data, steps))
    finish(rlaunch(dismai, tmp_path / "trial", **worker))
    return max(10, round(LIMIT * steps / trained(dismai, run_id)["seconds"]))


def one_job(dismai: Dismai, folder: Path, **more: object) -> subprocess.Popen[str]:
    """Start one job, as a queue does."""
    folder.mkdir()
    return subprocess.Popen(
        [str(RLAUNCH), "singleshot"],
        cwd=folder,
        env=environment(dismai, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_steps(folder: Path, launch: int, seconds: float = 300) -> None:
    """Wait until so manieth launch of a training has written something of its own."""
    end = time.monotonic() + seconds
    while not any(has_begun(one, launch) for one in folder.glob("*")):
        assert time.monotonic() < end, list(folder.rglob("*"))
        time.sleep(0.02)
    time.sleep(0.3)


def has_begun(folder: Path, launch: int) -> bool:
    """Whether a launch has come further than to unpack what the one before has left."""
    mark, log = folder / ".launch.json", folder / "log.csv"
    try:
        known = json.loads(mark.read_text())["n_launches"]
        return bool(known == launch and log.stat().st_mtime_ns > mark.stat().st_mtime_ns)
    except (OSError, ValueError):
        return False
