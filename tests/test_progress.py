"""Progress is told to whoever listens, and drawn by the command."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dismaiflow.cli import console
from dismaiflow.progress import listening, report


def test_without_a_listener_nothing_happens() -> None:
    """Workers on a cluster stay silent."""
    report("sampling", 1, 10, "passes")


def test_listeners_hear_their_block_only() -> None:
    """The inner one hears what happens inside, the outer one the rest, whatever fails."""
    outer: list[tuple[object, ...]] = []
    inner: list[tuple[object, ...]] = []
    with listening(lambda *told: outer.append(told)):
        report("a", 1, 3, "units")
        with pytest.raises(ValueError, match="inside"), listening(lambda *told: inner.append(told)):
            report("b", 2, 3, "units")
            raise ValueError("inside")
        report("c", 3, 3, "units")
    report("d", 1, 1, "units")
    assert outer == [("a", 1, 3, "units"), ("c", 3, 3, "units")]
    assert inner == [("b", 2, 3, "units")]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Catch what the command draws, with a clock that advances a second with every look."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=stream, width=100))
    seconds = iter(range(1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(seconds)))
    return stream


def test_bars_show_count_and_rate(screen: io.StringIO) -> None:
    """One line per name; work that begins anew under its name makes the line longer."""
    with console.progress_bars(quiet=False):
        for _ in range(2):
            for _ in range(5):
                report("scoring", 20, 100, "structures")
        report("sampling", 5, 10, "passes")
    lines = [line.split() for line in screen.getvalue().splitlines() if line.strip()]
    assert [line[0] for line in lines] == ["scoring", "sampling"]
    assert "200/200" in lines[0]
    assert lines[0][lines[0].index("200/200") + 1 :][:2] == ["20", "structures/s"]
    assert "5/10" in lines[1]


def test_quiet_commands_draw_nothing(screen: io.StringIO) -> None:
    """What a script reads is not mixed with bars."""
    with console.progress_bars(quiet=True):
        report("scoring", 20, 100, "structures")
    assert screen.getvalue() == ""
