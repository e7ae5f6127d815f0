"""What all commands share: printing, progress bars and errors."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
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

#: The largest seed that documents can hold.
MAX_SEED = 2**63 - 1

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


@dataclass
class _Bar:
    """One line: all work of one name, and the part of it from which the rate is known."""

    number: TaskID
    total: int
    completed: int = 0
    timed: int = 0
    seconds: float = 0.0
    last: float = 0.0


class _Bars:
    """Draws one bar per name of a task, with its rate.

    A task that begins anew under its old name, as the scoring of one set after the other, makes
    its bar longer.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, _Bar] = {}

    def __call__(self, task: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        bar = self._bars.get(task)
        if bar is None:
            bar = _Bar(self._progress.add_task(task, total=total, rate=""), total)
            self._bars[task] = bar
        elif bar.completed < bar.total:
            bar.timed += done
            bar.seconds += now - bar.last
        else:
            # How long its first part took is not known: other tasks came between.
            bar.total += total
        bar.completed += done
        bar.last = now
        self._progress.update(bar.number, total=bar.total, completed=bar.completed)
        if bar.seconds > _REDRAW:
            self._progress.update(bar.number, rate=_pace(bar.timed / bar.seconds, unit))


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


def _pace(per_second: float, unit: str) -> str:
    """Return so many a second, or the seconds of each."""
    if per_second >= 1:
        return f"{per_second:,.0f} {unit}/s"
    return f"{1 / per_second:,.0f} s/{unit.removesuffix('s')}" if per_second > 0 else ""


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
