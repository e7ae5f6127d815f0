"""What the processes of the tests do; in a module of its own, so that they can import it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_started: list[object] = []


class Unreadable(Exception):  # noqa: N818
    """Is written by pickle, but cannot be read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def square(x: int) -> int:
    return x * x


def start(*args: object) -> None:
    _started.append(args)


def started(_: int) -> tuple[int, list[object]]:
    return os.getpid(), _started


def environment(name: str) -> str | None:
    return os.environ.get(name)


def modules(_: int) -> list[str]:
    return sorted(sys.modules)


def noisy(_: int) -> None:
    print("from a library")


def perish(how: str) -> str:
    """End this process in some way."""
    match how:
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit(4)
        case "segfault":
            ctypes.string_at(0)
        case "SIGKILL" | "SIGTERM":
            os.kill(os.getpid(), getattr(signal, how))
            time.sleep(10)
        case "raise":
            raise ValueError("no such atom")
        case "unreadable":
            raise Unreadable("a", "b")
        case "helper":  # inherits nothing that keeps the pipe open
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
            os._exit(5)
    return how


def perish_at_start() -> None:
    os._exit(7)


def fail_at_start() -> None:
    raise ValueError("no weights")


def sleep_long(folder: str) -> None:
    """Leave a note of this process in a folder and sleep; without one, do nothing."""
    if not folder:
        return
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)
