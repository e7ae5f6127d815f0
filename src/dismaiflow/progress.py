"""Progress of long work, told to whoever shows it.

Science and jobs call `report`; the command installs a listener that draws bars. Without one nothing
happens, so that workers on a cluster stay silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Takes the name of the task, the units done since the last call, the total and the unit.
Listener = Callable[[str, int, int, str], None]

_listener: ContextVar[Listener | None] = ContextVar("dismai_progress", default=None)


def report(task: str, done: int, total: int, unit: str) -> None:
    """Tell that ``done`` more of ``total`` units of a task are finished."""
    listener = _listener.get()
    if listener is not None:
        listener(task, done, total, unit)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send all reports of the block to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
