"""Work spread over processes, of which any may die without taking the rest along."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Libraries that would each start as many threads as there are cores.
ONE_THREAD = dict.fromkeys(
    (
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)

#: Seconds that a process has to end by itself, so that what it started ends too.
GRACE = 10.0

#: Processes may die so often in a row before their first task; then all of them would.
_MAX_FAILED_STARTS = 3

#: Seconds between looks at processes that died while another held their pipe open.
_LOOK = 1.0

#: Whoever kills a whole job by SIGKILL has reached this process too by then, seconds.
_KILLED_PAUSE = 0.5

_TERMINATED = 128 + signal.SIGTERM

#: From the parent: no more tasks. From the child: ready for the first.
_NONE = pickle.dumps(None)

_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from dismaiflow.parallel import serve; serve(int(sys.argv[1]))"
)


@dataclass(frozen=True)
class LostTask:
    """A task whose process died.

    Parameters
    ----------
    reason : str
        How the process ended.
    """

    reason: str


@dataclass(frozen=True)
class _Failure:
    """An exception on its way to the parent."""

    error: Exception
    where: str


@contextlib.contextmanager
def one_thread(unless_told: bool = False) -> Iterator[None]:
    """Let PyTorch compute in one thread, where it is loaded.

    The last bits of sums depend on the number of threads, and threads of several processes on the
    same cores wait for each other.

    Parameters
    ----------
    unless_told : bool
        Leave it at ``OMP_NUM_THREADS`` where that is set.
    """
    torch = sys.modules.get("torch")
    if torch is None or (unless_told and os.environ.get("OMP_NUM_THREADS")):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_parallel(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    n_processes: int,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    *,
    isolate: bool = False,
) -> Generator[tuple[int, Result | LostTask], None, None]:
    """Apply a function to tasks in several processes.

    The processes are new interpreters in which numerical libraries have one thread each. They do
    not import the script that was started, so that it needs no ``__main__`` guard, and end when
    this generator is closed or this process dies, however it dies.

    Parameters
    ----------
    function : callable
        Takes a task and returns its result. All three can be pickled, and lie in modules.
    tasks : iterable
        Drawn one by one as processes become free.
    n_processes : int
        At most so many. One alone is this process, with its threads.
    initializer : callable, optional
        Called in each process before its first task.
    initargs : tuple
        Its arguments.
    isolate : bool
        Start a process even for ``n_processes=1``.

    Yields
    ------
    index : int
        Of the task, as they finish.
    result : object or LostTask
        What the function returned; `LostTask` if the process died of this task.

    Raises
    ------
    DismaiError
        If processes cannot be started, or were told to end from outside (SIGTERM, SIGINT, SIGHUP).
    Exception
        What the function or the initializer raises, with the other traceback as a note; the other
        tasks are given up. A function whose failures are results has to return them.
    """
    if n_processes < 1:
        raise DismaiError(f"work needs at least one process, got {n_processes}")
    if n_processes == 1 and not isolate:
        return _run_here(function, tasks, initializer, initargs)
    setup = pickle.dumps((function, initializer, initargs))
    return _Pool[Task, Result](setup, tasks, n_processes).run()


def _run_here(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> Generator[tuple[int, Result | LostTask], None, None]:
    if initializer is not None:
        initializer(*initargs)
    for index, task in enumerate(tasks):
        yield index, function(task)


class _Worker:
    """A process and the pipe to it."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self.task: tuple[int, Any] | None = None
        self.is_ready = False
        command = [sys.executable, "-c", _CHILD, str(theirs.fileno()), json.dumps(sys.path)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what libraries print is no output of ours
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD},
            )
        except OSError as error:
            self.connection.close()
            raise DismaiError(
                f"a further process cannot be started ({error.strerror or error}): use fewer "
                "processes"
            ) from error
        finally:
            theirs.close()

    def send(self, data: bytes) -> None:
        # That it died is seen when its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(data)

    def give(self, task: tuple[int, Any]) -> None:
        self.send(pickle.dumps(task))
        self.task = task

    def receive(self) -> bytes | None:
        """Return a message that is there; None if the process has died."""
        try:
            return self.connection.recv_bytes() if self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def end(self) -> int:
        """Return the exit code, after some time by force."""
        self.connection.close()
        try:
            return self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class _Pool(Generic[Task, Result]):
    """The processes of one call."""

    def __init__(self, setup: bytes, tasks: Iterable[Task], n_processes: int) -> None:
        self._setup = setup
        self._tasks: Iterator[tuple[int, Task]] = enumerate(tasks)
        self._again: deque[tuple[int, Task]] = deque()
        self._n_processes = n_processes
        self._busy: list[_Worker] = []
        self._ending: list[_Worker] = []
        self._failed_starts = 0

    def run(self) -> Generator[tuple[int, Result | LostTask], None, None]:
        try:
            self._start()
            while self._busy:
                ready = wait([worker.connection for worker in self._busy], _LOOK)
                for worker in list(self._busy):
                    if worker.connection in ready or worker.process.poll() is not None:
                        yield from self._hear(worker)
        finally:
            for worker in self._busy:
                worker.connection.close()  # all at once, so that they end together
            for worker in self._busy + self._ending:
                worker.end()

    def _next_task(self) -> tuple[int, Task] | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _start(self) -> None:
        """Start processes until all tasks are given or there are enough."""
        new = []
        while len(self._busy) < self._n_processes and (task := self._next_task()) is not None:
            worker = _Worker()
            self._busy.append(worker)
            new.append((worker, task))
        for worker, task in new:  # none waits for another to read its setup
            worker.send(self._setup)
            worker.give(task)

    def _hear(self, worker: _Worker) -> Iterator[tuple[int, Result | LostTask]]:
        """Take a message or the death of a process; yield the result it brings, if any."""
        data = worker.receive()
        if data is None:
            yield from self._bury(worker)
            return
        message = pickle.loads(data)
        if isinstance(message, _Failure):
            message.error.add_note(f"In another process:\n{message.where}")
            raise message.error
        if message is None:
            worker.is_ready = True
            self._failed_starts = 0
            return
        task = self._next_task()  # before the result is dealt with, so that no process waits
        if task is not None:
            worker.give(task)
        else:
            worker.send(_NONE)
            self._busy.remove(worker)
            self._ending.append(worker)
        yield message

    def _bury(self, worker: _Worker) -> Iterator[tuple[int, LostTask]]:
        self._busy.remove(worker)
        code = worker.end()
        if code in (_TERMINATED, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
            raise DismaiError("a process of this work was told to end from outside: start it again")
        if code == -signal.SIGKILL:
            time.sleep(_KILLED_PAUSE)
        assert worker.task is not None
        if worker.is_ready:
            self._start()
            yield worker.task[0], LostTask(_describe(code))
            return
        self._failed_starts += 1
        if self._failed_starts == _MAX_FAILED_STARTS:
            raise DismaiError(f"processes end before they begin their work: {_describe(code)}")
        self._again.append(worker.task)
        self._start()


def _describe(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps because the memory was full" if code == -signal.SIGKILL else ""
    return f"its process ended with {name}{hint}"


def serve(descriptor: int) -> None:
    """Work on the tasks that come through a pipe; what the processes of `run_parallel` do.

    Parameters
    ----------
    descriptor : int
        Of the open pipe.
    """
    # What this process starts must not keep the pipe open.
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    # Ctrl-C goes to the parent too, which ends this process; functions, because those it starts
    # would inherit SIG_IGN.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _work(connection, inbox)


def _listen(connection: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Pass messages on; end the process when the parent is gone."""
    try:
        message = b""
        while message != _NONE:
            message = connection.recv_bytes()
            inbox.put(message)
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(_TERMINATED)


def _work(connection: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    try:
        function, initializer, initargs = _read(inbox.get())
        if initializer is not None:
            initializer(*initargs)
    except Exception as error:  # noqa: BLE001
        connection.send_bytes(_failure(error))
        return
    connection.send_bytes(_NONE)
    while (message := inbox.get()) != _NONE:
        connection.send_bytes(_answer(function, message))


def _read(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except AttributeError as error:
        raise DismaiError(
            f"another process cannot find a function or class ({error}): put it into a module, "
            "because those of the started script are not there; or use one process"
        ) from error


def _answer(function: Callable[[Any], Any], message: bytes) -> bytes:
    try:
        index, task = _read(message)
        return pickle.dumps((index, function(task)))
    except Exception as error:  # noqa: BLE001
        return _failure(error)


def _failure(error: Exception) -> bytes:
    where = traceback.format_exc()
    try:
        data = pickle.dumps(_Failure(error, where))
        pickle.loads(data)  # some exceptions are written, but cannot be read
    except Exception:  # noqa: BLE001
        return pickle.dumps(_Failure(RuntimeError(f"{type(error).__name__}: {error}"), where))
    return data
