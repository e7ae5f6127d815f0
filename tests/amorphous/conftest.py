"""Parents for the tests of slicing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dismaiflow.amorphous.parent import ParentBox

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def gas() -> Callable[..., ParentBox]:
    """Return a function that makes atoms at random places, of a-Si's density."""

    def make(n: int = 3000, seed: int = 0, shape=(1.0, 1.0, 1.0), oxygen: float = 0) -> ParentBox:
        rng = np.random.default_rng(seed)
        edge = (n / 0.049 / np.prod(shape)) ** (1 / 3)
        lengths = edge * np.array(shape)
        numbers = np.where(rng.random(n) < oxygen, 8, 14)
        return ParentBox(numbers, rng.random((n, 3)) * lengths, lengths)

    return make
