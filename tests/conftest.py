"""What holds for all tests."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

# Before any library reads it. With a thread for each core, the processes of a run wait for each
# other: twice the time. And sums in threads have other last bits on other machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is no fault of the code: no test asserts a time.
# The same examples each time: a rare one should stop no other work. New ones on demand, with
# --hypothesis-profile=search.
settings.register_profile("dismaiflow", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("dismaiflow")


#: Seconds after which no test is begun any more; no limit where it is not set.
LIMIT_VARIABLE = "TESTS_BEGIN_WITHIN"

_BEGAN = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip what a limited run has no time for: a signal would end trainings, which would fail."""
    limit = os.environ.get(LIMIT_VARIABLE)
    if limit and time.monotonic() - _BEGAN > float(limit):
        pytest.skip(f"not begun within {limit} s")


@pytest.fixture(autouse=True)
def same_folder() -> Iterator[None]:
    """Go back to the folder of the start: jobs and programs leave others, which are removed."""
    here = os.getcwd()  # noqa: PTH109
    yield
    os.chdir(here)
