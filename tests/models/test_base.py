"""Budgets: time, and signals by which queues announce the end."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dismaiflow.models.base import Budget


def test_without_a_limit_it_is_never_over() -> None:
    budget = Budget()
    assert not budget.over
    assert budget.left is None


def test_time_that_is_used_up() -> None:
    budget = Budget(0.0)
    assert budget.over
    assert budget.left is not None
    assert budget.left <= 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_it_and_the_handler_is_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Budget(1e6).listening() as budget:
        assert not budget.over
        os.kill(os.getpid(), number)
        assert budget.over
        assert budget.told_by == number.name
    assert signal.getsignal(number) is before


def test_in_a_thread_nothing_listens() -> None:
    """Python allows handlers in the main thread only."""
    seen = []

    def work() -> None:
        with Budget().listening() as budget:
            seen.append(budget.over)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
