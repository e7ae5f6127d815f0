"""Statistics of correlated series: autocorrelation, equilibration, agreement between runs.

Snapshots of a Markov chain are not independent. A *statistical inefficiency* g says how many
successive ones carry the information of one independent sample: the standard error of a mean over
n snapshots is ``std * sqrt(g / n)``, and ``n / g`` is their effective number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Largest split R-hat at which runs are said to agree (Vehtari et al., doi 10.1214/20-BA1221; the
#: 1.1 of the first paper, doi 10.1214/ss/1177011136, misses slow chains). Runs that agree have
#: about ``1 + 1 / (2 m)`` for m effective samples in half a run: 1.01 also asks for some 50.
AGREEMENT_R_HAT = 1.01

#: Standard errors by which the mean of a run may lie off before the run is called stray.
DEVIATION_LIMIT = 5.0

#: Standard errors between the start of a run and its rest from which on the start is left out. It
#: guards against a cut that was itself chosen to make a difference: of 270 annealed runs of the
#: paper's alloy at 300 K one lost 62 of 5,000 snapshots by it; late ordering lies at hundreds.
LATE_START_LIMIT = 10.0

#: Parts of a series, from its start, that `detect_equilibration` tries to leave out.
_DISCARDED = np.concatenate([[0.0], np.geomspace(0.005, 0.95, 24)])

#: Standard deviation, relative to the largest value, below which a series counts as constant.
_CONSTANT = 1e-10


def is_constant(series: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which series do not vary beyond rounding.

    Parameters
    ----------
    series : ndarray, shape (n, ...)
        Values in order of time along the first axis.

    Returns
    -------
    ndarray of bool, shape (...)
        True where the series is constant.
    """
    return np.asarray(np.ptp(series, axis=0) <= _CONSTANT * np.abs(series).max(axis=0))


def _covariance_sums(centred: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """Return the sums of products at lags 0 to n_lags - 1, shape (n_lags, ...)."""
    from scipy.fft import irfft, next_fast_len, rfft  # takes long to import

    n = len(centred)
    # Zeros behind the series keep its end from meeting its beginning.
    length = next_fast_len(2 * n, real=True)
    spectrum = rfft(centred, length, axis=0)
    power = spectrum.real**2 + spectrum.imag**2
    sums = np.zeros((n_lags, *centred.shape[1:]))
    sums[:n] = irfft(power, length, axis=0)[:n]
    return sums


def autocorrelation(series: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the normalised autocorrelation functions of series.

    Parameters
    ----------
    series : ndarray, shape (n, ...)
        Values in order of time along the first axis.

    Returns
    -------
    ndarray, shape (n, ...)
        Correlation at the lags 0 to n - 1, from sums over n - lag products divided by n. A constant
        series has 1 at lag 0 and 0 elsewhere.
    """
    return pooled_autocorrelation([series])


def pooled_autocorrelation(
    chains: Sequence[NDArray[np.floating]], own_means: bool = False
) -> NDArray[np.float64]:
    """Return the autocorrelation functions of runs of the same quantities, from all runs together.

    A slow event that a run meets once or never makes estimates from single runs very uncertain, and
    their average too optimistic.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_i, ...)
        Runs; they may differ in length.
    own_means : bool
        Measure deviations from the mean of each run. By default they are measured from the mean of
        all, so that runs which disagree look correlated without end: their number, not their
        length, then counts.

    Returns
    -------
    ndarray, shape (n, ...)
        Correlation at the lags 0 to n - 1, n being the length of the longest run. A constant has 1
        at lag 0 and 0 elsewhere.
    """
    values = [np.asarray(chain, dtype=float) for chain in chains]
    n_lags = max(len(x) for x in values)
    everything = np.concatenate(values)
    centre = everything.mean(axis=0)
    total = np.zeros((n_lags, *centre.shape))
    for x in values:
        total += _covariance_sums(x - (x.mean(axis=0) if own_means else centre), n_lags)
    spread = np.abs(everything).max(axis=0) * _CONSTANT
    constant = total[0] <= len(everything) * spread**2
    rho = total / np.where(constant, 1.0, total[0])
    rho[:, constant] = 0.0
    rho[0] = 1.0
    return rho


def _inefficiency(rho: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum autocorrelation functions by the rule of `statistical_inefficiency`."""
    n_pairs = len(rho) // 2
    if n_pairs == 0:
        return np.ones(rho.shape[1:])
    pairs = rho[: 2 * n_pairs].reshape(n_pairs, 2, *rho.shape[1:]).sum(axis=1)
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    monotone = np.minimum.accumulate(pairs, axis=0)
    g = 2 * np.where(positive, monotone, 0.0).sum(axis=0) - 1
    return np.maximum(g, 1.0)


def statistical_inefficiency(series: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the statistical inefficiency ``g = 1 + 2 sum_t rho(t)`` of series.

    The sum is cut by Geyer's initial monotone sequence (C. J. Geyer, Stat. Sci. 7, 473 (1992),
    doi 10.1214/ss/1177011137): sums of two neighbouring lags are positive and fall for a reversible
    chain such as Metropolis, so the first sum below zero marks where noise begins, and a sum above
    an earlier one is lowered to it.

    Parameters
    ----------
    series : ndarray, shape (n, ...)
        Values in order of time along the first axis.

    Returns
    -------
    ndarray, shape (...)
        Inefficiencies in snapshots, at least 1. A constant series has 1: it shows no correlation,
        which does not prove that there is none.
    """
    return _inefficiency(autocorrelation(series))


def pooled_inefficiency(
    chains: Sequence[NDArray[np.floating]], own_means: bool = False
) -> NDArray[np.float64]:
    """Return the statistical inefficiency of runs of the same quantities, from all together.

    Parameters
    ----------
    chains, own_means
        See `pooled_autocorrelation`; the sum is cut as in `statistical_inefficiency`.

    Returns
    -------
    ndarray, shape (...)
        Inefficiencies in snapshots, at least 1.
    """
    return _inefficiency(pooled_autocorrelation(chains, own_means))


def effective_samples(series: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how many independent samples would fix the mean as well as each series does.

    Parameters
    ----------
    series : ndarray, shape (n, ...)
        Values in order of time along the first axis.

    Returns
    -------
    ndarray, shape (...)
        ``n / g``.
    """
    return len(series) / statistical_inefficiency(series)


def detect_equilibration(series: NDArray[np.floating]) -> int:
    """Find from where on series are stationary.

    The start is put where the rest of the series holds the largest effective number of samples
    (J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016), doi 10.1021/acs.jctc.5b00784). With
    several series it is the series with the fewest effective samples that counts. Tried are 25
    starts, the first of them 0, the others in geometric progression up to 95 % of the length.

    Parameters
    ----------
    series : ndarray, shape (n,) or (n, n_series)
        Values in order of time along the first axis. Constant series do not count.

    Returns
    -------
    int
        Index of the first snapshot to keep; 0 if all series are constant.
    """
    x = np.asarray(series, dtype=float).reshape(len(series), -1)
    x = x[:, ~is_constant(x)]
    if x.shape[1] == 0:
        return 0
    starts = np.unique((_DISCARDED * len(x)).astype(int))
    counts = [effective_samples(x[start:]).min() for start in starts]
    return int(starts[int(np.argmax(counts))])


def split_r_hat(chains: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the potential scale reduction of runs, each split into halves.

    The variance of the pooled samples, with the spread of the means of the half runs, over the mean
    variance within half runs, under a square root (A. Gelman and D. B. Rubin, Stat. Sci. 7, 457
    (1992), doi 10.1214/ss/1177011136; A. Gelman et al., Bayesian Data Analysis, 3rd ed., 11.4).
    Splitting also shows a drift that all runs have in common. For what value counts as agreement
    see `AGREEMENT_R_HAT`.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_i, ...)
        Runs of the same quantities. Of runs of different lengths the last part of the shortest
        length is used, and an odd snapshot at the beginning is left out.

    Returns
    -------
    ndarray, shape (...)
        R-hat, 1 for perfect agreement; 1 also for quantities that are the same constant in all
        halves, infinity for constants that differ, NaN with fewer than four snapshots.
    """
    half = min(len(chain) for chain in chains) // 2
    if half < 2:
        return np.full(np.shape(chains[0])[1:], np.nan)
    parts = [np.asarray(chain, dtype=float)[len(chain) - 2 * half :] for chain in chains]
    halves = np.stack([piece for part in parts for piece in (part[:half], part[half:])])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    means = halves.mean(axis=1)
    between = means.var(axis=0, ddof=1)
    rounding = (_CONSTANT * np.abs(means).max(axis=0)) ** 2
    frozen = within <= rounding
    ratio = (half - 1) / half + between / np.where(frozen, 1.0, within)
    r_hat = np.sqrt(np.where(frozen, np.where(between <= rounding, 1.0, np.inf), ratio))
    return np.asarray(r_hat)


def deviating_runs(
    chains: Sequence[NDArray[np.floating]], limit: float = DEVIATION_LIMIT
) -> NDArray[np.bool_]:
    """Tell which runs have a mean that the others do not share.

    The mean of each run is compared with the median of the means, which a minority of stray runs
    cannot move far. Variance and autocorrelation within runs are averaged over the runs, so that a
    run which jumps once does not excuse itself by its large variance. The error of the median is
    taken as that of a mean times sqrt(pi / 2), its value for a normal distribution.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_i, ...)
        Runs of the same quantities.
    limit : float
        Number of combined standard errors from which on a run deviates.

    Returns
    -------
    ndarray of bool, shape (n_runs, ...)
        True where a run deviates; never with one run.
    """
    values = [np.asarray(chain, dtype=float) for chain in chains]
    means = np.array([x.mean(axis=0) for x in values])
    if len(values) < 2:
        return np.zeros(means.shape, dtype=bool)
    lengths = np.array([len(x) for x in values], dtype=float)
    within = sum(x.var(axis=0) * len(x) for x in values) / lengths.sum()
    squared = within * pooled_inefficiency(values, own_means=True)
    shares = (1 / lengths).reshape(-1, *[1] * (means.ndim - 1))
    combined = np.sqrt(squared * (shares + np.pi / 2 * shares.mean() / len(values)))
    centre = np.median(means, axis=0)
    # Rounding of the means of equal constants is no deviation.
    return np.asarray(np.abs(means - centre) > limit * combined + _CONSTANT * np.abs(centre))


def late_starts(
    chains: Sequence[NDArray[np.floating]], limit: float = LATE_START_LIMIT
) -> list[int]:
    """Find from where on each of several runs is stationary.

    `detect_equilibration` alone likes to cut behind a rare event that belongs to equilibrium, which
    would bias what is left. So its start counts only if, in some quantity, the mean before it lies
    many standard errors from the mean after it. Variance times inefficiency for this is the upper
    quartile over the second halves of the runs: a typical value that knows rare events, but not one
    run that is still on its way.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_i, n_series)
        Runs of the same quantities.
    limit : float
        Number of combined standard errors.

    Returns
    -------
    list of int
        First snapshot of each run that belongs to its stationary part.
    """
    values = [np.asarray(chain, dtype=float) for chain in chains]
    halves = [x[len(x) // 2 :] for x in values]
    spreads = [x.var(axis=0) * statistical_inefficiency(x) for x in halves]
    typical = np.quantile(spreads, 0.75, axis=0, method="lower")
    starts = []
    for x in values:
        start = detect_equilibration(x)
        before, after = x[:start], x[start:]
        if start > 0:
            combined = np.sqrt(typical * (1 / len(before) + 1 / len(after)))
            shift = np.abs(before.mean(axis=0) - after.mean(axis=0))
            if not (shift > limit * combined + _CONSTANT * np.abs(x).max(axis=0)).any():
                start = 0
        starts.append(start)
    return starts
