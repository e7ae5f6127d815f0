"""What holds for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is no fault of the code: no test asserts a time.
settings.register_profile("dismaiflow", deadline=None)
settings.load_profile("dismaiflow")


@pytest.fixture(autouse=True)
def same_folder() -> Iterator[None]:
    """Go back to the folder of the start: jobs and programs leave others, which are removed."""
    here = os.getcwd()  # noqa: PTH109
    yield
    os.chdir(here)
