"""Replica exchange against exact enumeration and plain runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.units import kB

from dismaiflow.alloy.diagnostics import analyse_runs
from dismaiflow.alloy.replica_exchange import (
    ExchangeSettings,
    replica_exchange,
    temperature_ladder,
)
from dismaiflow.errors import DismaiError

from .conftest import PAPER_COMPOSITION
from .test_monte_carlo import chi_square_p, enumerate_energies

if TYPE_CHECKING:
    from collections.abc import Callable

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian

SEED = np.random.SeedSequence(7)


def test_samples_the_boltzmann_distribution_at_every_temperature(
    toy: Callable[..., IntegerHamiltonian],
) -> None:
    """Energies at all three temperatures, the coldest hard to sample, as enumeration says."""
    counts = [3, 3, 2]
    hamiltonian = toy("fcc", (2, 1, 1), 3, 3)
    _, energies = enumerate_energies(hamiltonian, counts)
    spread = float(energies.std()) / kB
    ladder = (0.4 * spread, 0.7 * spread, 1.5 * spread)
    result = replica_exchange(
        hamiltonian,
        dict(zip("ABC", counts, strict=True)),
        ExchangeSettings(ladder, n_passes=400_000, snapshot_interval=40, exchange_interval=20),
        SEED,
        ladder,
    )
    levels, level = np.unique(energies.round(9), return_inverse=True)
    offset = hamiltonian.expansion.constant + 0.15 * 3 / 8 + 0.3 * 2 / 8
    for temperature in ladder:
        weights = np.exp(-(energies - energies.min()) / (kB * temperature))
        exact = np.bincount(level, weights=weights / weights.sum())
        run = result.runs[temperature]
        met = (run.energies - offset) * 8
        nearest = np.abs(met[:, None] - levels).argmin(axis=1)
        assert np.abs(met - levels[nearest]).max() < 1e-5
        observed = np.bincount(nearest, minlength=len(levels)).astype(float)
        assert chi_square_p(observed, exact) > 1e-3
        assert (
            run.energy_quanta[::500]
            == [hamiltonian.energy_quanta(o) for o in run.occupations[::500]]
        ).all()
    assert all(0.1 < share < 0.95 for share in result.exchange_acceptance)
    assert result.round_trips > 100


def test_exchange_acceptance_is_the_exact_one(toy: Callable[..., IntegerHamiltonian]) -> None:
    """Two temperatures, so far apart in passes that replicas are independent at each exchange."""
    counts = [5, 3]
    hamiltonian = toy("sc", (2, 2, 2), 2, 2)
    _, energies = enumerate_energies(hamiltonian, counts)
    low, high = (float(energies.std()) / kB * factor for factor in (0.8, 1.6))
    shares = []
    for temperature in (low, high):
        weights = np.exp(-(energies - energies.min()) / (kB * temperature))
        shares.append(weights / weights.sum())
    # Mean over both distributions of min(1, exp((1/kT_low - 1/kT_high) (E_low - E_high))).
    gain = (1 / low - 1 / high) / kB * (energies[:, None] - energies[None, :])
    exact = float(shares[0] @ np.minimum(1.0, np.exp(gain)) @ shares[1])
    settings = ExchangeSettings((low, high), 100_000, snapshot_interval=20, exchange_interval=20)
    result = replica_exchange(hamiltonian, {"A": 5, "B": 3}, settings, SEED, [low])
    # Half of the 5,000 steps try the only pair.
    error = np.sqrt(exact * (1 - exact) / 2500)
    assert abs(result.exchange_acceptance[0] - exact) < 4 * error


def test_same_seed_same_bytes(paper_hamiltonian: IntegerHamiltonian) -> None:
    """A seed fixes the exchanges, too; runs can be analysed like any others."""
    ladder = temperature_ladder(600.0, 900.0, 5)
    settings = ExchangeSettings(ladder, 300, anneal_passes=100, equilibration_passes=100)
    done: list[int] = []
    results = [
        replica_exchange(
            paper_hamiltonian,
            PAPER_COMPOSITION,
            settings,
            np.random.SeedSequence(seed),
            [600.0],
            progress=done.append,
        )
        for seed in (1, 1, 2)
    ]
    first, again, other = (r.runs[600.0] for r in results)
    assert first.occupations.tobytes() == again.occupations.tobytes()
    assert first.occupations.tobytes() != other.occupations.tobytes()
    assert results[0].exchange_acceptance == results[1].exchange_acceptance
    assert sum(done) == 3 * 300 * 5
    assert first.equilibration.start == "exchanged"
    assert (np.bincount(first.occupations[-1]) == [51, 154, 51]).all()
    report = analyse_runs([first, other])
    assert report.temperature == 600.0
    assert report.n_used == [30, 30]


def test_ladder() -> None:
    """Geometric, with exact ends."""
    ladder = temperature_ladder(100.0, 1600.0, 5)
    assert ladder == pytest.approx((100, 200, 400, 800, 1600))
    assert (ladder[0], ladder[-1]) == (100.0, 1600.0)
    for wrong in ((300.0, 300.0, 4), (0.0, 300.0, 4), (300.0, 900.0, 1)):
        with pytest.raises(DismaiError, match="a ladder needs"):
            temperature_ladder(*wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": (300.0,)}, "two or more rising"),
        ({"temperatures": (300.0, 300.0)}, "two or more rising"),
        ({"temperatures": (-1.0, 300.0)}, "two or more rising"),
        ({"exchange_interval": 3}, "multiple of the exchange interval"),
        ({"exchange_interval": 0}, "multiple of the exchange interval"),
        ({"n_passes": 5}, "no snapshot"),
        ({"anneal_passes": -1}, "negative"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    """Ladders and lengths that do not fit are named."""
    with pytest.raises(DismaiError, match=message):
        ExchangeSettings(**{"temperatures": (300.0, 400.0), **changes})


def test_only_temperatures_of_the_ladder_are_recorded(
    paper_hamiltonian: IntegerHamiltonian,
) -> None:
    """A temperature between the rungs is refused, and so is none."""
    settings = ExchangeSettings((300.0, 400.0), 100)
    for record in ([350.0], []):
        with pytest.raises(DismaiError, match="temperatures of its ladder"):
            replica_exchange(paper_hamiltonian, PAPER_COMPOSITION, settings, SEED, record)
