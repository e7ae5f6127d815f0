"""What studies say of generated structures before they are scored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dismaiflow.campaigns.study_jobs import count_close_pairs, random_close_pairs
from dismaiflow.structures.checks import Expectation


def test_close_pairs_of_atoms_anywhere_by_hand() -> None:
    """Three atoms in 1000 Å^3, closer than 1 Å: 3 pairs times 4.18879 / 1000."""
    like = Expectation({26: 2, 28: 1}, 10 * np.eye(3))
    assert random_close_pairs(like, 1.0) == pytest.approx(3 * 4.18879e-3, rel=1e-5)
    assert random_close_pairs(Expectation({26: 2}, None), 1.0) is None


def test_close_pairs_of_atoms_anywhere_by_counting() -> None:
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [1.0, 1.0, 10.0]])
    rng = np.random.default_rng(0)
    counts = [count_close_pairs(rng.random((40, 3)) @ cell, cell, 1.5) for _ in range(200)]
    expected = random_close_pairs(Expectation({14: 40}, cell), 1.5)
    assert expected is not None
    # Counts of pairs are nearly independent: five standard errors.
    assert abs(np.mean(counts) - expected) < 5 * math.sqrt(expected / len(counts))
