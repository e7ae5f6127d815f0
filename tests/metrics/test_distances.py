"""Distances between distributions, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics.distances import mean_wasserstein, spread_ratio


def column(*values: float) -> np.ndarray:
    """Return numbers as one column."""
    return np.array(values, dtype=float)[:, None]


def test_wasserstein_by_hand() -> None:
    """Sorted partners: |0-1|, |1-3| and |2-5| average to 2, whatever the order of the input."""
    assert mean_wasserstein(column(2, 0, 1), column(1, 5, 3)) == pytest.approx(2.0, abs=1e-14)


def test_wasserstein_of_sets_of_unlike_size() -> None:
    """Half of the mass at 0 goes to 0 and half to 1: 0.5."""
    assert mean_wasserstein(column(0), column(0, 1)) == pytest.approx(0.5, abs=1e-14)


def test_wasserstein_sees_what_the_mean_does_not() -> None:
    """Collapse on the mean: both means are 0, but each end moves by 1."""
    assert mean_wasserstein(column(0, 0), column(-1, 1)) == pytest.approx(1.0, abs=1e-14)


def test_columns_are_averaged_and_nan_left_out() -> None:
    """First column 1, second 3 from the finite entries."""
    ours = np.array([[0.0, 0.0], [0.0, np.nan]])
    theirs = np.array([[1.0, 3.0], [1.0, 3.0], [1.0, np.nan]])
    assert mean_wasserstein(ours, theirs) == pytest.approx(2.0, abs=1e-14)


@pytest.mark.parametrize("empty", [np.empty((0, 1)), column(np.nan, np.nan)])
def test_nothing_to_compare_is_none(empty: np.ndarray) -> None:
    assert mean_wasserstein(empty, column(1, 2)) is None
    assert mean_wasserstein(column(1, 2), empty) is None


@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=20),
    shift=st.floats(-5, 5),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_wasserstein_of_a_shift_is_the_shift(values: list[float], shift: float) -> None:
    found = mean_wasserstein(column(*values), column(*values) + shift)
    assert found == pytest.approx(abs(shift), abs=1e-9)


def test_spread_by_hand() -> None:
    """Variances (n - 1): 2 + 0 = 2 against 8 + 0 = 8, roots in the ratio 1/2."""
    ours = np.array([[1.0, 7.0], [3.0, 7.0]])
    theirs = np.array([[0.0, 1.0], [4.0, 1.0]])
    assert spread_ratio(ours, theirs) == pytest.approx(0.5, abs=1e-14)


def test_collapse_has_no_spread() -> None:
    same = np.tile([0.2, 0.8], (5, 1))
    assert spread_ratio(same, np.array([[0.0, 1.0], [1.0, 0.0]])) == 0.0


def test_spread_needs_two_structures_and_a_reference_that_varies() -> None:
    several, one = column(1, 2, 3), column(1)
    assert spread_ratio(one, several) is None
    assert spread_ratio(several, one) is None
    assert spread_ratio(several, column(2, 2)) is None
