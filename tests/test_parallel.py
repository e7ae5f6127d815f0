"""Processes may die, fail, or be left alone; the work goes on or ends, but never hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import parallel_tasks as tasks
from dismaiflow.errors import DismaiError
from dismaiflow.parallel import LostTask, available_cores, run_parallel


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for(condition, seconds: float = 10.0):
    """Return what a condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return value


@pytest.mark.parametrize("n_processes", [1, 3])
def test_every_task_is_done_once(n_processes: int) -> None:
    """Whatever the order in which they finish."""
    results = list(run_parallel(tasks.square, iter(range(7)), n_processes))
    assert sorted(results) == [(i, i * i) for i in range(7)]


def test_no_tasks_need_no_process() -> None:
    assert list(run_parallel(tasks.square, [], 4)) == []


def test_one_process_is_this_one_unless_asked() -> None:
    """The initializer ran once in either."""
    (_, (here, _)), *_ = run_parallel(tasks.started, [0], 1)
    results = dict(run_parallel(tasks.started, [0, 1], 1, tasks.start, ("a", 2), isolate=True))
    assert here == os.getpid()
    assert results[0] == results[1]
    assert results[0][0] != os.getpid()
    assert results[0][1] == [("a", 2)]


def test_processes_have_one_thread_and_no_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Numerical libraries read these variables when they are loaded; output belongs to commands."""
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HOME"]
    results = dict(run_parallel(tasks.environment, names, 1, isolate=True))
    assert list(results.values()) == ["1", "1", "1", os.environ.get("HOME")]
    list(run_parallel(tasks.noisy, [0], 1, isolate=True))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "from a library\n")


def test_processes_start_without_numerical_libraries() -> None:
    """They load what the function needs, not what the started script loaded."""
    (_, loaded), *_ = run_parallel(tasks.modules, [0], 1, isolate=True)
    assert not {"numpy", "ase", "pytest"} & set(loaded)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit", "exit code 3"),
        ("sys.exit", "exit code 4"),
        ("segfault", "SIGSEGV"),
        ("helper", "exit code 5"),
    ],
)
def test_a_task_that_kills_its_process_is_lost_alone(how: str, reason: str) -> None:
    """The tasks before and after it are done, with as many processes as before."""
    begin = time.monotonic()
    results = dict(run_parallel(tasks.perish, ["a", how, "b", how, "c"], 1, isolate=True))
    assert [results[i] for i in (0, 2, 4)] == ["a", "b", "c"]
    assert all(isinstance(results[i], LostTask) for i in (1, 3))
    assert reason in results[1].reason
    assert time.monotonic() - begin < 5


def test_memory_is_named_for_a_killed_process() -> None:
    """The kernel ends processes by SIGKILL when memory is full."""
    results = dict(run_parallel(tasks.perish, ["SIGKILL", "a"], 2))
    assert results[1] == "a"
    assert "SIGKILL, perhaps because the memory was full" in results[0].reason


def test_a_process_that_was_told_to_end_is_no_lost_task() -> None:
    """A batch system that ends a job sends SIGTERM; the task is not to blame."""
    with pytest.raises(DismaiError, match="told to end from outside"):
        list(run_parallel(tasks.perish, ["SIGTERM", "a"], 1, isolate=True))


def test_exceptions_arrive_with_their_traceback() -> None:
    """So do those that cannot be sent as they are."""
    with pytest.raises(ValueError, match="no such atom") as caught:
        list(run_parallel(tasks.perish, ["a", "raise"], 2))
    assert "in perish" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Unreadable: ab"):
        list(run_parallel(tasks.perish, ["unreadable"], 1, isolate=True))
    with pytest.raises(ValueError, match="no such atom"):
        list(run_parallel(tasks.perish, ["raise"], 1))


def test_processes_that_cannot_start_end_the_work() -> None:
    """Not a lost task each."""
    with pytest.raises(DismaiError, match=r"before they begin their work: .* exit code 7"):
        list(run_parallel(tasks.square, range(9), 2, tasks.perish_at_start))
    with pytest.raises(ValueError, match="no weights"):
        list(run_parallel(tasks.square, range(9), 2, tasks.fail_at_start))
    with pytest.raises(DismaiError, match="at least one process, got 0"):
        run_parallel(tasks.square, range(9), 0)


def test_a_function_of_the_started_script_is_explained(tmp_path: Path) -> None:
    """The script is not imported again, so that it needs no guard."""
    script = tmp_path / "script.py"
    script.write_text(
        "from dismaiflow.parallel import run_parallel\n"
        "def double(x): return 2 * x\n"
        "print(dict(run_parallel(abs, [-1, -2], 2)))\n"
        "dict(run_parallel(double, [1], 2))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "{0: 1, 1: 2}" in done.stdout or "{1: 2, 0: 1}" in done.stdout
    assert "DismaiError: another process cannot find a function" in done.stderr


def test_a_closed_generator_ends_its_processes(tmp_path: Path) -> None:
    """In the middle of a task, and without waiting for it."""
    work = run_parallel(tasks.sleep_long, ["", str(tmp_path)], 2)
    assert next(work) == (0, None)
    (note,) = wait_for(lambda: list(tmp_path.iterdir()))
    begin = time.monotonic()
    work.close()
    assert not alive(int(note.name))
    assert time.monotonic() - begin < 5


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL leaves no time to tell the processes."""
    code = (
        "import parallel_tasks as t; from dismaiflow.parallel import run_parallel; "
        f"list(run_parallel(t.sleep_long, [{str(tmp_path)!r}] * 2, 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert all(alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_cores_are_those_of_the_affinity() -> None:
    """A batch system may lend fewer than the machine has."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from dismaiflow.parallel import available_cores; print(available_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
