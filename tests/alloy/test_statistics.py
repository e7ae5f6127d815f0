"""Statistics of correlated series against worked examples and known processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from dismaiflow.alloy.statistics import (
    AGREEMENT_R_HAT,
    autocorrelation,
    detect_equilibration,
    deviating_runs,
    effective_samples,
    late_starts,
    pooled_autocorrelation,
    pooled_inefficiency,
    split_r_hat,
    statistical_inefficiency,
)


def ar1(phi: float, n: int, m: int, seed: int) -> np.ndarray:
    """Return m stationary autoregressive series, whose g is (1 + phi) / (1 - phi) exactly."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, m)) * np.sqrt(1 - phi**2)
    noise[0] = rng.normal(size=m)
    return lfilter([1.0], [1.0, -phi], noise, axis=0)


def test_autocorrelation_by_hand() -> None:
    """1, 2, 3, 6 has mean 3 and deviations -2, -1, 0, 3 with squares that add up to 14."""
    rho = autocorrelation(np.array([1.0, 2.0, 3.0, 6.0]))
    # Lag 1: 2 + 0 + 0; lag 2: 0 - 3; lag 3: -6.
    assert rho == pytest.approx([1, 2 / 14, -3 / 14, -6 / 14])


def test_inefficiency_by_hand() -> None:
    """Sums of neighbouring lags: (1 + 2/14), then -9/14, at which the sum ends."""
    g = statistical_inefficiency(np.array([1.0, 2.0, 3.0, 6.0]))
    assert g == pytest.approx(2 * (1 + 2 / 14) - 1)


def test_pooled_autocorrelation_by_hand() -> None:
    """Two runs about a common mean of 0, and about their own means.

    Runs 1, 3 and -1, -3: squares 1 + 9 + 1 + 9, lag-1 products 3 + 3. About the own means 2 and -2
    the deviations are -1, 1 and 1, -1: squares 4, products -1 - 1.
    """
    chains = [np.array([1.0, 3.0]), np.array([-1.0, -3.0])]
    assert pooled_autocorrelation(chains) == pytest.approx([1, 6 / 20])
    assert pooled_autocorrelation(chains, own_means=True) == pytest.approx([1, -2 / 4])


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98])
def test_inefficiency_of_a_known_process(phi: float) -> None:
    """An autoregressive process, whose inefficiency is known."""
    chains = ar1(phi, 20_000, 10, seed=1)
    exact = (1 + phi) / (1 - phi)
    singly = statistical_inefficiency(chains)
    assert singly.shape == (10,)
    assert singly.mean() == pytest.approx(exact, rel=0.08)
    assert pooled_inefficiency(list(chains.T)) == pytest.approx(exact, rel=0.08)
    assert effective_samples(chains).mean() == pytest.approx(20_000 / exact, rel=0.08)


def test_standard_error_covers_the_spread_of_means() -> None:
    """The error that g gives is the spread of the means of independent series."""
    chains = ar1(0.9, 4000, 200, seed=2)
    g = statistical_inefficiency(chains)
    predicted = chains.std(axis=0) * np.sqrt(g / len(chains))
    assert np.sqrt((predicted**2).mean()) == pytest.approx(chains.mean(axis=0).std(), rel=0.15)


def test_anticorrelated_series_count_no_more_than_independent_ones() -> None:
    """Negative correlations do not raise the number of samples."""
    series = np.tile([1.0, -1.0], 50)
    assert statistical_inefficiency(series) == 1.0


@pytest.mark.parametrize("value", [0.0, 0.796875, -3e9])
def test_constant_series(value: float) -> None:
    """A constant shows no correlation, and does not disturb the series beside it."""
    constant = np.full(100, value)
    assert autocorrelation(constant).tolist() == [1.0] + [0.0] * 99
    assert statistical_inefficiency(constant) == 1.0
    assert detect_equilibration(constant) == 0
    moving = ar1(0.9, 100, 1, seed=0)[:, 0]
    both = statistical_inefficiency(np.column_stack([constant, moving]))
    assert both.tolist() == [1.0, pytest.approx(float(statistical_inefficiency(moving)))]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_shortest_series(n: int) -> None:
    """One to three values are no reason to fail."""
    assert statistical_inefficiency(np.arange(float(n))) >= 1.0
    assert detect_equilibration(np.arange(float(n))) < n


def test_equilibration_after_a_step() -> None:
    """A start far off is cut away, and no more than a tenth of the series with it."""
    series = ar1(0.8, 4000, 1, seed=3)[:, 0]
    assert detect_equilibration(series) < 400
    series[:500] += 20.0
    assert 500 <= detect_equilibration(series) < 900


def test_late_starts_cut_a_different_beginning_but_not_a_rare_event() -> None:
    """A run that orders late loses its start; one that visits a rare state early keeps it."""
    chains = [column[:, None] for column in ar1(0.5, 4000, 6, seed=4).T]
    chains[2][:1200] += 8.0
    starts = late_starts(chains)
    assert 1200 <= starts[2] < 1600
    assert starts[:2] + starts[3:] == [0] * 5
    rng = np.random.default_rng(5)
    # All runs visit a state at 4 for some 60 snapshots now and then.
    for chain in chains:
        for begin in rng.choice(65, size=12, replace=False) * 60:
            chain[begin : begin + 60] += 4.0
    chains[2][:1200] -= 8.0
    assert late_starts(chains) == [0] * 6


def test_split_r_hat_by_hand() -> None:
    """Halves 0, 2 | 2, 4 and 1, 3 | 3, 5: variances 2 each, means 1, 3, 2, 4.

    The means have variance 5/3, so R-hat is sqrt((1/2 * 2 + 5/3) / 2).
    """
    chains = [np.array([0.0, 2, 2, 4]), np.array([1.0, 3, 3, 5])]
    assert split_r_hat(chains) == pytest.approx(np.sqrt((1 + 5 / 3) / 2))
    # Of a longer run the last part counts.
    assert split_r_hat([np.array([99.0, 0, 2, 2, 4]), chains[1]]) == pytest.approx(
        np.sqrt((1 + 5 / 3) / 2)
    )


def test_split_r_hat_of_constants() -> None:
    """The same constant agrees, different ones do not, and three snapshots cannot tell."""
    same = [np.full((10, 1), 0.8)] * 3
    assert split_r_hat(same).tolist() == [1.0]
    assert split_r_hat([*same, np.full((10, 1), 0.7)]).tolist() == [np.inf]
    assert np.isnan(split_r_hat([np.zeros(3), np.zeros(3)]))


def test_split_r_hat_sees_what_it_should() -> None:
    """Agreeing runs pass; a shift of one, a drift of all, and slow runs do not."""
    chains = list(ar1(0.5, 4000, 4, seed=6).T)
    assert split_r_hat(chains) < AGREEMENT_R_HAT
    assert split_r_hat([*chains[:3], chains[3] + 1]) > AGREEMENT_R_HAT
    drift = np.linspace(0, 1, 4000)
    assert split_r_hat([chain + drift for chain in chains]) > AGREEMENT_R_HAT
    assert split_r_hat(list(ar1(0.999, 4000, 4, seed=7).T)) > AGREEMENT_R_HAT


def test_runs_that_disagree_count_by_their_number() -> None:
    """Runs stuck at different values are worth about as many samples as there are runs."""
    chains = [column + 30 * (k % 2) for k, column in enumerate(ar1(0.0, 1000, 4, seed=8).T)]
    effective = 4000 / float(pooled_inefficiency(chains))
    assert 2 < effective < 8


def test_deviating_runs_are_named() -> None:
    """The stray run is found, also when it jumps halfway and so has a large variance itself."""
    chains = [column[:, None] for column in ar1(0.9, 3000, 10, seed=9).T]
    assert not deviating_runs(chains).any()
    chains[7] = chains[7] + 3.0
    assert np.flatnonzero(deviating_runs(chains)[:, 0]).tolist() == [7]
    chains[7] = chains[7] - 3.0
    chains[4][1000:] += 10.0
    assert np.flatnonzero(deviating_runs(chains)[:, 0]).tolist() == [4]
    assert not deviating_runs(chains[4:5]).any()


def test_false_alarms_are_rare() -> None:
    """Of 200 sets of ten alike but correlated runs none is told to disagree."""
    alarms = sum(
        deviating_runs([c[:, None] for c in ar1(0.95, 1000, 10, seed=seed).T]).any()
        for seed in range(200)
    )
    assert alarms == 0


@given(
    n=st.integers(8, 60),
    seed=st.integers(0, 10**6),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_units_and_origin_do_not_matter(n: int, seed: int, scale: float, shift: float) -> None:
    """Inefficiency and R-hat have no unit, and the latter knows no order of the runs."""
    chains = list(ar1(0.6, n, 3, seed).T)
    moved = [chain * scale + shift for chain in chains]
    assert pooled_inefficiency(moved) == pytest.approx(float(pooled_inefficiency(chains)), rel=1e-6)
    assert split_r_hat(moved[::-1]) == pytest.approx(float(split_r_hat(chains)), rel=1e-6)
    assert pooled_inefficiency(chains) <= 3 * n + 1
