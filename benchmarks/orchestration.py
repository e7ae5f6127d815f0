"""Time what a LaunchPad costs on top of the work itself; prints JSON.

    python benchmarks/orchestration.py [--system NAME] [--n 1500] [--n-passes 50000] [--rounds 1]

The flow makes one alloy dataset of the paper's size and scores its controls by both protocols. It
runs here (embedded store) and on a private MongoDB server with passwords, worked off by one
FireWorks worker in this process. Orchestration is the part of the worker's wall time that is spent
outside of the functions of the jobs: FireWorks, jobflow, documents. What the functions spend on
blobs, their inputs and results, stands beside it; a run without any LaunchPad has to keep them too.
`chunks of 50` is the same with one job for each 50 structures to be counted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import jobflow
import jobflow.core.job as jobflow_job
from jobflow import run_locally

import dismaiflow.jobs
from dismaiflow.benchmark.count_jobs import CountSetMaker
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.launch.config import LaunchConfig
from dismaiflow.launch.init import Login, initialise
from dismaiflow.launch.server import PrivateServer
from dismaiflow.launch.submit import submit
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobflow import Flow


#: Structures that a job counts by default.
PER_JOB = CountSetMaker().structures_per_job


@dataclass
class Clock:
    """Wall seconds inside jobs, inside their functions, and of these on blobs."""

    jobs: float = 0.0
    functions: float = 0.0
    blobs: float = 0.0
    started: float = 0.0
    inside: bool = False

    def wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function that adds its time to one of the sums."""

        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                if name != "blobs" or self.inside:
                    spent = time.perf_counter() - start
                    setattr(self, name, getattr(self, name) + spent)

        return timed


@contextmanager
def measured() -> Iterator[Clock]:
    """Time the jobs that run in the block."""
    clock = Clock()
    run, check = jobflow_job.Job.run, dismaiflow.jobs.check_version
    returned = jobflow_job.Response.from_job_returns

    def begin() -> None:
        check()
        clock.started, clock.inside = time.perf_counter(), True

    def end(*args: Any, **options: Any) -> Any:
        clock.functions += time.perf_counter() - clock.started
        clock.inside = False
        return returned(*args, **options)

    jobflow_job.Job.run = clock.wrapped(run, "jobs")
    dismaiflow.jobs.check_version = begin
    jobflow_job.Response.from_job_returns = end
    users = [
        (module, name, getattr(module, name))
        for module in list(sys.modules.values())
        for name in ("put_blob", "get_blob")
        if getattr(module, "__name__", "").startswith("dismaiflow.") and hasattr(module, name)
    ]
    for module, name, function in users:
        setattr(module, name, clock.wrapped(function, "blobs"))
    try:
        yield clock
    finally:
        jobflow_job.Job.run = run
        dismaiflow.jobs.check_version = check
        jobflow_job.Response.from_job_returns = returned
        for module, name, function in users:
            setattr(module, name, function)


def build(options: argparse.Namespace, per_job: int, small: bool = False) -> Flow:
    """Return the flow."""
    maker = AlloyBenchmarkMaker()
    maker.dataset_maker.n_passes = 300 if small else options.n_passes
    maker.controls_maker.n = 50 if small else options.n_control
    maker.controls_maker.count_maker.structures_per_job = per_job
    return maker.make([get_system(options.system)], seed=1, n_structures=60 if small else options.n)


def run_here(options: argparse.Namespace, folder: Path, small: bool = False) -> float:
    """Return the wall seconds of a local run."""
    folder.mkdir()
    store = embedded_jobstore(folder / "store.db")
    start = time.perf_counter()
    flow = build(options, PER_JOB, small)
    run_locally(flow, store=store, root_dir=folder, log=False, ensure_success=True)
    store.close()
    return time.perf_counter() - start


def run_there(
    options: argparse.Namespace, config: LaunchConfig, folder: Path, per_job: int
) -> dict[str, Any]:
    """Return the costs of a run by one worker."""
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire

    folder.mkdir()
    launchpad, store = config.launchpad(), config.jobstore()
    jobflow.SETTINGS.JOB_STORE = store
    start = time.perf_counter()
    submitted = submit(build(options, per_job), launchpad)
    submitting = time.perf_counter() - start
    before = Path.cwd()
    with measured() as clock, contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        rapidfire(launchpad, FWorker(category="cpu"), m_dir=str(folder), sleep_time=0)
        wall = time.perf_counter() - start
    os.chdir(before)
    query = {"spec.run_id": submitted.run_id}
    n = launchpad.fireworks.count_documents(query)
    done = launchpad.fireworks.count_documents(query | {"state": "COMPLETED"})
    assert n == done, f"{n - done} jobs did not complete"
    orchestration = wall - clock.functions
    return {
        "jobs": n,
        "submit_s": submitting,
        "wall_s": wall,
        "fireworks_s": wall - clock.jobs,
        "jobflow_and_documents_s": clock.jobs - clock.functions,
        "orchestration_s": orchestration,
        "orchestration_share": orchestration / wall,
        "blobs_s": clock.blobs,
        "blobs_share": clock.blobs / wall,
        "fireworks_ms_per_job": 1000 * (wall - clock.jobs) / n,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="alloy-1500K-wide")
    parser.add_argument("--n", type=int, default=1500)
    parser.add_argument("--n-passes", type=int, default=50_000)
    parser.add_argument("--n-control", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="dismai-bench-") as name:
        folder = Path(name)
        run_here(options, folder / "compile", small=True)
        server = PrivateServer(folder / "mongod")
        server.start()
        try:
            known = server.credentials("dismai")
            login = Login(known["host"], known["port"], user="dismai", password=known["password"])
            initialise(folder / "config", replace(login), link=False)
            config = LaunchConfig(folder / "config")
            for number in range(options.rounds):
                rounds.append(
                    {
                        "here_wall_s": run_here(options, folder / f"here_{number}"),
                        "default": run_there(options, config, folder / f"there_{number}", PER_JOB),
                        "chunks of 50": run_there(options, config, folder / f"cut_{number}", 50),
                    }
                )
        finally:
            server.stop()
    names = ("dismaiflow", "fireworks", "jobflow", "maggma", "pymongo")
    result = {
        "what": f"{options.n} structures of {options.system}, controls of {options.n_control}",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "versions": {name: version(name) for name in names},
        "rounds": rounds,
        "orchestration_share": median(one["default"]["orchestration_share"] for one in rounds),
        "there_over_here": median(one["default"]["wall_s"] / one["here_wall_s"] for one in rounds),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
