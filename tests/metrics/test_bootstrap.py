"""Bootstrap intervals by hand and against plain resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics import bootstrap
from dismaiflow.metrics.bootstrap import bootstrap_means, mean_interval, pivotal_interval


def test_settings_are_the_papers() -> None:
    """Section 4.4: 95 % pivotal intervals from 1000 samples; the seed is the scripts'."""
    assert (bootstrap.LEVEL, bootstrap.N_REPETITIONS, bootstrap.SEED) == (0.95, 1000, 7)


def test_pivotal_interval_by_hand() -> None:
    """Samples 0, 0.001, ..., 1 have their 2.5 and 97.5 % quantiles at 0.025 and 0.975.

    Around 0.4 the pivotal interval is 2 x 0.4 - 0.975 = -0.175 to 2 x 0.4 - 0.025 = 0.775: the
    quantiles swap sides. At 80 %: 0.8 - 0.9 to 0.8 - 0.1.
    """
    samples = np.arange(1001) / 1000
    assert pivotal_interval(0.4, samples) == pytest.approx((-0.175, 0.775), abs=1e-12)
    assert pivotal_interval(0.4, samples, level=0.8) == pytest.approx((-0.1, 0.7), abs=1e-12)


def test_interval_may_lie_below_a_biased_value() -> None:
    """Samples that all exceed the value, as distances do, give an interval below it."""
    low, high = pivotal_interval(1.0, np.array([1.2, 1.3, 1.4]))
    assert high < 1.0
    assert low < high


def test_means_are_those_of_plain_resampling() -> None:
    """Row by row, with the draws of ``Generator.choice``."""
    values = np.random.default_rng(3).normal(size=(30, 4))
    rng = np.random.default_rng(7)
    plain = np.array([values[rng.choice(30, size=30)].mean(axis=0) for _ in range(50)])
    assert bootstrap_means(values, n_repetitions=50) == pytest.approx(plain, abs=1e-14)


def test_seed_decides() -> None:
    values = np.random.default_rng(3).normal(size=(30, 1))
    assert (bootstrap_means(values, 20, seed=1) == bootstrap_means(values, 20, seed=1)).all()
    assert (bootstrap_means(values, 20, seed=1) != bootstrap_means(values, 20, seed=2)).any()


def test_width_is_that_of_the_standard_error() -> None:
    """For the mean of many numbers the interval is about +- 1.96 standard errors."""
    values = np.random.default_rng(5).normal(2.0, 1.0, size=(1000, 1))
    value, (low, high) = mean_interval(values, lambda means: means[:, 0])
    error = values.std() / np.sqrt(1000)
    assert value == pytest.approx(values.mean(), abs=1e-15)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)
    assert low < 2.0 < high


def test_one_structure_has_no_spread() -> None:
    value, interval = mean_interval(np.array([[3.0, 4.0]]), lambda m: np.linalg.norm(m, axis=1))
    assert value == 5.0
    assert interval == (5.0, 5.0)


def test_statistic_is_of_the_mean_not_the_mean_of_statistics() -> None:
    """Two opposite vectors: the norm of their mean is 0, the mean of their norms 1."""
    value, _ = mean_interval(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), lambda m: np.linalg.norm(m, axis=1)
    )
    assert value == 0.0


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40),
    shift=st.floats(-1e3, 1e3),
    scale=st.floats(0.1, 10),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_interval_of_a_mean_moves_with_the_data(
    values: list[float], shift: float, scale: float
) -> None:
    """Moved and stretched data have a moved and stretched interval."""
    data = np.array(values)[:, None]
    value, (low, high) = mean_interval(data, lambda m: m[:, 0])
    moved, (lower, upper) = mean_interval(scale * data + shift, lambda m: m[:, 0])
    tolerance = 1e-9 * (1 + scale * 1e3 + abs(shift))
    assert moved == pytest.approx(scale * value + shift, abs=tolerance)
    assert (lower, upper) == pytest.approx(
        (scale * low + shift, scale * high + shift), abs=tolerance
    )
