"""Bootstrap confidence intervals, with the random numbers of the published scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: Seed, repetitions and level of the published scripts.
SEED = 7
N_REPETITIONS = 1000
LEVEL = 0.95

#: Random numbers drawn at once; many, but no gigabytes of them.
_MOST_DRAWS = 100_000


def bootstrap_means(
    values: NDArray[np.float64], n_repetitions: int = N_REPETITIONS, seed: int = SEED
) -> NDArray[np.float64]:
    """Return the mean of each bootstrap sample, drawn with replacement and of the same size.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        One row per structure.
    n_repetitions : int
        Number of samples.
    seed : int
        Seed; the draws are those of ``Generator.choice`` with it.

    Returns
    -------
    ndarray, shape (n_repetitions, k)
        Means over the rows of each sample.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    weights = np.empty((n_repetitions, n))
    at_once = max(_MOST_DRAWS // n, 1)
    for start in range(0, n_repetitions, at_once):
        samples = weights[start : start + at_once]
        drawn = rng.integers(0, n, size=samples.shape) + n * np.arange(len(samples))[:, None]
        samples[:] = np.bincount(drawn.ravel(), minlength=samples.size).reshape(samples.shape)
    return weights @ values / n


def pivotal_interval(
    value: float, samples: NDArray[np.float64], level: float = LEVEL
) -> tuple[float, float]:
    """Return the pivotal bootstrap interval (Wasserman, All of Statistics, eq. 8.6).

    Parameters
    ----------
    value : float
        The statistic of the data.
    samples : ndarray, shape (n_repetitions,)
        The statistic of each bootstrap sample.
    level : float
        Confidence level.

    Returns
    -------
    low, high : float
        ``2 value - q_upper`` and ``2 value - q_lower``. A distance is biased upwards in the
        samples, so that its interval may lie below it.
    """
    tail = 50 * (1 - level)
    lower, upper = np.percentile(samples, [tail, 100 - tail])
    return float(2 * value - upper), float(2 * value - lower)


def mean_interval(
    values: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[float, tuple[float, float]]:
    """Return a statistic of the mean over structures, and its pivotal interval.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        One row per structure.
    statistic : callable
        Maps means of shape (m, k) to m numbers.

    Returns
    -------
    value : float
        The statistic of the mean.
    interval : tuple of float
        Its 95 % interval.
    """
    value = float(statistic(values.mean(axis=0)[None])[0])
    return value, pivotal_interval(value, statistic(bootstrap_means(values)))
