"""Atoms that are too close, before anything is moved."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dismaiflow.benchmark.close_pairs import (
    count_close_pairs,
    mean_close_pairs,
    random_close_pairs,
)
from dismaiflow.structures.checks import Expectation
from dismaiflow.structures.structure_set import StructureSet


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


def test_close_pairs_of_several_sets() -> None:
    """By hand: one pair, three, none; what is no such structure is not counted."""
    like = Expectation({14: 3}, 10 * np.eye(3))
    line = np.array([[0.0, 0, 0], [1.4, 0, 0], [5.0, 5, 5]])
    heap = np.array([[0.0, 0, 0], [0.5, 0, 0], [9.9, 0, 0]])  # the last one across the face
    wide = np.array([[0.0, 0, 0], [1.6, 0, 0], [5.0, 5, 5]])
    one = StructureSet.uniform([[14] * 3] * 2, np.array([line, heap]), 10 * np.eye(3))
    nowhere = np.full((3, 3), np.nan)
    other = StructureSet.uniform([[14] * 3] * 2, np.array([wide, nowhere]), 12 * np.eye(3))
    found = mean_close_pairs([one, other], like)
    assert found is not None
    assert found.mean == pytest.approx((1 + 3 + 0) / 3)
    # Three pairs in 1000 Å^3, closer than 1.5 Å: 3 times 14.1372 / 1000.
    assert found.random == pytest.approx(3 * 14.1372e-3, rel=1e-5)
    assert mean_close_pairs([other.select([1])], like) is None
