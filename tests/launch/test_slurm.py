"""Flows in the jobs of a real SLURM: `qlaunch` runs them, `retry` mends what SLURM has ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import SMALL, Dismai, Ran
from dismaiflow.launch.config import LaunchConfig
from dismaiflow.launch.server import PrivateServer, find_mongod
from dismaiflow.launch.submit import submit
from dismaiflow.systems import new_system_yaml

from .slurm import Slurm, missing, run_slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_mongod() is None, reason="no mongod"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

#: What a dataset's card tells of the moment and the machine, and not of the data.
_PASSING = {"created", "seconds"}

#: Seconds of silence after which a job counts as lost here, and seconds between two pings.
_LOST_AFTER, _PING = 12, 2


@dataclass(frozen=True)
class Site:
    """A user's home with a LaunchPad, on the login node of a cluster."""

    dismai: Dismai
    config: LaunchConfig
    slurm: Slurm
    spec: Path

    def run(self, *words: object, folder: Path) -> Ran:
        """Run `dismai` as people do."""
        ran = self.dismai.execute(*words, cwd=folder, **self.slurm.environment)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def json(self, *words: object, folder: Path) -> Any:
        """Run `dismai` and return what it prints for scripts."""
        return json.loads(self.run(*words, "--json", folder=folder).out)

    def qlaunch(self, *words: str, folder: Path) -> None:
        """Run `qlaunch` until it ends."""
        folder.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DISMAI_")}
        done = subprocess.run(
            [Path(sys.executable).with_name("qlaunch"), *words],
            cwd=folder,
            env=environment | self.slurm.environment | {"HOME": str(self.dismai.home)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "Traceback" not in said, said

    def settle(self) -> None:
        """Wait until the queue is empty."""
        self.slurm.wait(lambda: not self.slurm.jobs(), "the queue does not become empty", 300)


def edit(path: Path, **values: str) -> None:
    """Change settings of a file as its user would, with an editor."""
    text = path.read_text()
    for name, value in values.items():
        text, n = re.subn(rf"(?m)^{name}:.*$", f"{name}: {value}", text)
        assert n == 1, (path, name)
    path.write_text(text)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """Yield a cluster of two cores."""
    with run_slurm(cpus=2) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, slurm: Slurm) -> Iterator[Site]:
    """Yield a fresh home after `up` and `init`; only the time between two pings is shorter."""
    dismai = Dismai(tmp_path_factory.mktemp("site"))
    spec = dismai.root / "tiny.yaml"
    spec.write_text(new_system_yaml("alloy", "tiny"))
    config = LaunchConfig(dismai.home / ".dismai" / "launchpad")
    it = Site(dismai, config, slurm, spec)
    try:
        it.run("launchpad", "up", folder=dismai.root)
        it.run("launchpad", "init", folder=dismai.root)
        edit(config.file("FW_config.yaml"), PING_TIME_SECS=str(_PING))
        yield it
    finally:
        slurm.empty()
        PrivateServer(dismai.home / ".dismai" / "mongod").stop()


def lasting(value: Any) -> Any:
    """Return a document without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in _PASSING}
    return [lasting(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def here(site: Site) -> Path:
    """Return the dataset of the small alloy, made here without LaunchPad and queue."""
    site.run("dataset", site.spec, *SMALL, "--out", "here", folder=site.dismai.root)
    return site.dismai.root / "here" / "tiny"


def test_a_dataset_in_one_queue_job_for_each_job(site: Site, here: Path, tmp_path: Path) -> None:
    """`qlaunch -r rapidfire` with the template as it is: structures and controls as made here."""
    told = site.json("dataset", site.spec, *SMALL, "--submit", folder=tmp_path)
    assert told["categories"] == ["cpu"]
    site.qlaunch("-r", "rapidfire", folder=tmp_path / "work")
    site.settle()
    status = site.json("launchpad", "status", told["run_id"], folder=tmp_path)
    assert status["is"] == "done", status
    numbers = [path.stem for path in (tmp_path / "work").rglob("*.out")]
    assert len(numbers) == status["states"]["done"] >= told["fireworks"]
    site.run("results", "export", told["run_id"], "--out", "there", folder=tmp_path)
    for name in ("train.extxyz", "val.extxyz"):
        assert (tmp_path / "there" / "tiny" / name).read_bytes() == (here / name).read_bytes()
    cards = [json.loads((d / "dataset.json").read_text()) for d in (here, tmp_path / "there/tiny")]
    assert lasting(cards[0]) == lasting(cards[1])
    assert cards[0]["controls"]


def test_a_score_in_few_queue_jobs(site: Site, here: Path, tmp_path: Path) -> None:
    """Queue jobs that go on until nothing is left: `score.json` as made here."""
    words = ("score", site.spec, here / "val.extxyz", "--reference", here, "--protocol")
    site.run(*words, "corrected", "--out", "here", folder=tmp_path)
    run_id = site.json(*words, "corrected", "--submit", folder=tmp_path)["run_id"]
    adapter = tmp_path / "adapter.yaml"
    adapter.write_text(site.config.queue_file("cpu").read_text())
    (line,) = re.findall(r"(?m)^rocket_launch: (.*)$", adapter.read_text())
    edit(adapter, rocket_launch=line.replace("singleshot", "rapidfire --timeout 300"))
    site.qlaunch("-q", str(adapter), "singleshot", folder=tmp_path / "work")
    site.settle()
    status = site.json("launchpad", "status", run_id, folder=tmp_path)
    assert status["is"] == "done", status
    assert len(list((tmp_path / "work").glob("*.out"))) == 1
    site.run("results", "export", run_id, "--out", "there", folder=tmp_path)
    scores = [json.loads((tmp_path / d / "score.json").read_text()) for d in ("here", "there")]
    assert lasting(scores[0]) == lasting(scores[1])
    assert scores[0]["n_scored"] > 0


def test_check_through_the_queue(site: Site, tmp_path: Path) -> None:
    """A queue that cannot give what a template asks for is told; once it is mended all is well."""
    words = ("launchpad", "check", "--via-queue", "--queue-timeout", 90)
    ran = site.dismai.execute(*words, cwd=tmp_path, **site.slurm.environment)
    assert ran.code == 2
    said = {line.split(":")[0].split(maxsplit=1)[1]: line for line in ran.out.splitlines()[:-1]}
    assert said["worker cpu"].startswith("ok")
    # this cluster has neither a GPU nor 16 cores
    assert said["worker gpu"].startswith("FAILED"), ran.out
    assert "sbatch: error: Invalid generic resource" in said["worker gpu"], ran.out
    assert said["worker vasp"].startswith("FAILED"), ran.out
    assert "did not end in 90 s (RESERVED)" in said["worker vasp"], ran.out
    assert re.search(r"its queue job \d+ was PENDING \(\w+\) and is cancelled", said["worker vasp"])
    site.slurm.wait(lambda: not site.slurm.jobs(), "a trial job is left in the queue")
    edit(site.config.queue_file("gpu"), gres="null", cpus_per_task="1")
    edit(site.config.queue_file("vasp"), ntasks="1")
    checks = site.json("launchpad", "check", "--via-queue", folder=tmp_path)
    assert checks["ok"], checks
    lines = {check["name"]: check["line"] for check in checks["checks"]}
    assert "qlaunch ran a trial job" in lines["worker vasp"]
    site.settle()


def waiting_flow(signal: Path, names: tuple[str, ...]) -> Any:
    """Return jobs that go on until a file is there."""
    from jobflow import Flow, job

    jobs = []
    for name in names:
        # a function of Python's own, so that workers need no module of the tests
        command = ["bash", "-c", f"until [ -e '{signal}' ]; do sleep 0.2; done"]
        one = job(subprocess.check_call)(command)
        one.name = name
        one.update_config({"manager_config": {"_category": "cpu"}})
        jobs.append(one)
    return Flow(jobs, name="waiting")


def test_what_slurm_has_ended_runs_again(site: Site, tmp_path: Path) -> None:
    """A job that was cancelled as it ran, and one in the queue; a third, which lives, is let be."""
    launchpad, jobstore = site.config.launchpad(), site.config.jobstore()
    names = ("cancelled", "alive", "queued")
    run_id = submit(waiting_flow(tmp_path / "go", names), launchpad).run_id
    found = launchpad.fireworks.find({"spec.run_id": run_id}, ["name", "fw_id"])
    fw_ids = {one["name"]: one["fw_id"] for one in found}

    def of(kind: str, name: str) -> dict[str, Any]:
        return getattr(launchpad, kind).find_one({"fw_id": fw_ids[name]}, sort=[("launch_id", -1)])

    def states() -> dict[str, str]:
        return {name: of("fireworks", name)["state"] for name in names}

    def status() -> dict[str, Any]:
        words = ("launchpad", "status", run_id, "--lost-after", _LOST_AFTER)
        return site.json(*words, folder=tmp_path)

    def queue_job(name: str) -> str:
        history = of("launches", name)["state_history"]
        (number,) = {e["reservation_id"] for e in history if e.get("reservation_id")}
        return str(number)

    for name in ("cancelled", "alive"):
        site.qlaunch("-r", "singleshot", "-f", str(fw_ids[name]), folder=tmp_path / name)
    site.slurm.wait(lambda: list(states().values())[:2] == ["RUNNING"] * 2, "they do not start")
    # the two cores are taken
    site.qlaunch("-r", "singleshot", "-f", str(fw_ids["queued"]), folder=tmp_path / "queue")
    assert site.slurm.jobs()[queue_job("queued")] == "PENDING"

    seconds = 1.5 * _LOST_AFTER
    with pytest.raises(TimeoutError):
        site.slurm.wait(lambda: status()["lost"], "", seconds)
    now = status()
    assert now["states"] == {"queued": 1, "running": 2}
    assert now["last_sign_seconds"] < _LOST_AFTER
    retry = ("launchpad", "retry", run_id, "--lost-after", _LOST_AFTER)
    assert site.run(*retry, folder=tmp_path).words.startswith("nothing to mend")

    # the one in the queue first, or it would take the place of the other
    site.slurm.cancel(queue_job("queued"))
    site.slurm.cancel(queue_job("cancelled"))
    assert states() == {"cancelled": "RUNNING", "alive": "RUNNING", "queued": "RESERVED"}
    site.slurm.wait(lambda: len(status()["lost"]) == 2, "they are not missed")
    before = of("launches", "alive")["launch_id"]
    done = site.json(*retry, folder=tmp_path)
    assert sorted(line.split()[0] for line in done["lost"]) == ["cancelled", "queued"]
    assert states() == {"cancelled": "READY", "alive": "RUNNING", "queued": "READY"}

    (tmp_path / "go").touch()
    site.qlaunch("-r", "rapidfire", folder=tmp_path / "again")
    site.settle()
    assert set(states().values()) == {"COMPLETED"}
    assert of("launches", "alive")["launch_id"] == before
    documents = list(jobstore.query({"metadata.run_id": run_id}, ["name", "output"]))
    assert sorted(d["name"] for d in documents) == sorted(names)
    jobstore.close()
