"""What all commands share: printing, progress bars and errors."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dismaiflow.errors import DismaiError
from dismaiflow.progress import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

#: Where results go.
out = Console(highlight=False)

#: Where everything else goes, so that results can be piped.
err = Console(stderr=True, highlight=False)

#: Seconds between two redraws of a bar; also the pace of lines where there is no terminal.
_REDRAW = 0.2


def fail(message: str) -> None:
    """Print one clear line for a wrong input and end with exit code 2."""
    # Not through rich, which would wrap the line and read brackets as markup.
    sys.stderr.write(f"dismai: {' '.join(message.split())}\n")
    raise SystemExit(2)


def print_json(document: Any) -> None:
    """Print a document as JSON."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


class _Bars:
    """Draws one bar per task, with its rate."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __call__(self, task: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if task not in self._tasks or self._progress.tasks[self._tasks[task]].finished:
            self._tasks[task] = self._progress.add_task(task, total=total, rate="")
            self._started[task] = now
        number = self._tasks[task]
        self._progress.update(number, advance=done)
        elapsed = now - self._started[task]
        completed = self._progress.tasks[number].completed
        if elapsed > _REDRAW:
            self._progress.update(number, rate=f"{completed / elapsed:,.0f} {unit}/s")


@contextmanager
def progress_bars(quiet: bool) -> Iterator[None]:
    """Show the progress of everything that reports any in the block."""
    if quiet:
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=err, refresh_per_second=1 / _REDRAW)
    with progress, listening(_Bars(progress)):
        yield


def one_of(option: str, word: str, allowed: tuple[str, ...]) -> Any:
    """Return a word if it is allowed.

    Raises
    ------
    DismaiError
        If it is not; names the allowed ones.
    """
    if word not in allowed:
        raise DismaiError(f"{option} {word}: choose {' or '.join(allowed)}")
    return word
