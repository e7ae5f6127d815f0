"""Small jobs of every category, and a worker in this process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jobflow
from jobflow import Flow, OnMissing, Response, job

from dismaiflow.jobs import dismai_job, replaced_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fireworks import LaunchPad
    from jobflow import JobStore

#: A file in the folder of a launch whose presence makes `double` fail.
TROUBLE = "DISMAI_TEST_TROUBLE"


@dismai_job("cpu")
def numbers(n: int) -> list[int]:
    """Return the first numbers."""
    return list(range(n))


@dismai_job("gpu")
def double(number: int) -> int:
    """Return twice a number, unless the environment says that it fails."""
    if os.environ.get(TROUBLE) in (str(number), "all"):
        raise OSError(28, "No space left on device")
    return 2 * number


@dismai_job("vasp")
def square(number: int) -> int:
    """Return the square of a number."""
    return number * number


@dismai_job("cpu")
def spread(values: list[int]) -> Any:
    """Send each number to a job that doubles and one that squares it."""
    doubles = [double(v) for v in values]
    squares = [square(v) for v in values]
    for i, (two, four) in enumerate(zip(doubles, squares, strict=True)):
        two.name, four.name = f"double {i}", f"square {i}"
    return replaced_by([*doubles, *squares], [j.output for j in (*doubles, *squares)], "gather")


@dismai_job("cpu")
def total(values: list[int | None] | None) -> dict[str, Any]:
    """Add what is there, and say how much is missing."""
    there = [v for v in values or [] if v is not None]
    return {
        "kind": "total",
        "sum": sum(there),
        "missing": -1 if values is None else len(values) - len(there),
    }


@job
def plain(number: int) -> int:
    """Return a number; a job as others write them."""
    return number


@job
def plain_dispatcher(number: int) -> Any:
    """Be replaced by a flow of such jobs, in jobflow's own way."""
    made = plain(number)
    return Response(replace=Flow([made], output=made.output))


def toy_flow(n: int = 3) -> Flow:
    """Return numbers -> spread (to 2 n jobs) -> total, which does without those that fail."""
    first = numbers(n)
    middle = spread(first.output)
    last = total(middle.output)
    last.config.on_missing_references = OnMissing.NONE
    flow = Flow([first, middle, last], output=last.output, name="toy")
    flow.update_metadata({"system": "none", "model": "toy", "protocol": "none"}, dynamic=True)
    return flow


@contextmanager
def using(store: JobStore) -> Iterator[None]:
    """Let jobs that run in this process use a store."""
    before = jobflow.SETTINGS.JOB_STORE
    jobflow.SETTINGS.JOB_STORE = store
    try:
        yield
    finally:
        jobflow.SETTINGS.JOB_STORE = before


def work(
    launchpad: LaunchPad,
    store: JobStore,
    folder: Path,
    category: str | list[str] = "",
    n: int = 0,
    name: str = "here",
) -> None:
    """Run Fireworks in this process until none is ready, or so many."""
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire

    folder.mkdir(exist_ok=True)
    before = os.getcwd()  # noqa: PTH109
    with using(store):
        try:
            rapidfire(
                launchpad,
                FWorker(name=name, category=category),
                m_dir=str(folder),
                nlaunches=n,
                sleep_time=0,
                strm_lvl="CRITICAL",
            )
        finally:
            os.chdir(before)
