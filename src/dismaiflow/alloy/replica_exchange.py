"""Replica exchange: Monte Carlo at many temperatures at once, which trade configurations.

A replica that is stuck at a low temperature may climb the ladder, change there, and come back
(R. H. Swendsen and J.-S. Wang, Phys. Rev. Lett. 57, 2607 (1986), doi 10.1103/PhysRevLett.57.2607;
K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996), doi 10.1143/JPSJ.65.1604).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase.units import kB

from dismaiflow.alloy.kernel import build_tables
from dismaiflow.alloy.monte_carlo import MonteCarlo, random_occupation
from dismaiflow.alloy.sampling import (
    Equilibration,
    RunSamples,
    SamplingSettings,
    anneal,
    child_seed,
    composition_counts,
    describe_run,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian
    from dismaiflow.alloy.kernel import KernelTables


def temperature_ladder(lowest: float, highest: float, n_temperatures: int) -> tuple[float, ...]:
    """Return temperatures in geometric progression.

    Parameters
    ----------
    lowest, highest : float
        Ends in K.
    n_temperatures : int
        How many, the ends included.

    Raises
    ------
    DismaiError
        If the ends are not in order above 0 K, or there are fewer than two temperatures.
    """
    if not (0 < lowest < highest < math.inf) or n_temperatures < 2:
        raise DismaiError(
            f"a ladder needs 0 < lowest < highest and at least two temperatures, got {lowest} K, "
            f"{highest} K and {n_temperatures}"
        )
    ladder = np.geomspace(lowest, highest, n_temperatures)
    ladder[[0, -1]] = lowest, highest
    return tuple(float(t) for t in ladder)


@dataclass(frozen=True)
class ExchangeSettings:
    """How to exchange replicas.

    Parameters
    ----------
    temperatures : tuple of float
        The ladder in K, rising. Neighbours should lie so close that a good part of the exchanges
        is accepted; the highest should be above the ordering transition.
    n_passes : int
        Length of production at each temperature, in passes.
    snapshot_interval : int
        Passes between two snapshots.
    exchange_interval : int
        Passes between attempts to exchange; a divisor of the snapshot interval.
    anneal_passes : int
        Length of the anneal of each replica from the highest temperature to its first one.
    equilibration_passes : int
        Passes with exchanges at each temperature before production.

    Raises
    ------
    DismaiError
        If the ladder does not rise, or the lengths do not fit.
    """

    temperatures: tuple[float, ...]
    n_passes: int = 50_000
    snapshot_interval: int = 10
    exchange_interval: int = 10
    anneal_passes: int = 1000
    equilibration_passes: int = 2000

    def __post_init__(self) -> None:
        ladder = self.temperatures
        if (
            len(ladder) < 2
            or not all(low < high for low, high in pairwise(ladder))
            or ladder[0] <= 0
            or ladder[-1] == math.inf
        ):
            raise DismaiError(f"replica exchange needs two or more rising temperatures: {ladder}")
        if self.exchange_interval < 1 or self.snapshot_interval % self.exchange_interval:
            raise DismaiError(
                f"replica exchange: the snapshot interval ({self.snapshot_interval} passes) must "
                f"be a multiple of the exchange interval ({self.exchange_interval})"
            )
        if self.n_passes < self.snapshot_interval:
            raise DismaiError(
                f"replica exchange: {self.n_passes} passes hold no snapshot at one in "
                f"{self.snapshot_interval}"
            )
        if min(self.anneal_passes, self.equilibration_passes) < 0:
            raise DismaiError("replica exchange: numbers of passes must not be negative")


@dataclass(frozen=True)
class ExchangeResult:
    """What an exchange simulation gave.

    Parameters
    ----------
    runs : dict
        `RunSamples` by recorded temperature. Those of one simulation are not independent of each
        other; for runs to compare, make several simulations with different seeds.
    exchange_acceptance : list of float
        Accepted share of the exchanges between neighbouring temperatures, from the lowest pair.
    round_trips : int
        How often, in production, replicas went from the lowest temperature to the highest and back.
    """

    runs: dict[float, RunSamples]
    exchange_acceptance: list[float]
    round_trips: int


class _Ladder:
    """Replicas on a ladder; the temperatures move, the replicas keep their random numbers."""

    def __init__(
        self, chains: list[MonteCarlo], temperatures: Sequence[float], rng: np.random.Generator
    ) -> None:
        self.chains = chains
        self.temperatures = temperatures
        self.at = list(range(len(chains)))
        self._rng = rng
        quantum = chains[0].hamiltonian.quantum
        self._betas = [quantum / (kB * t) for t in temperatures]
        self._odd = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        n = len(self.chains)
        self.tried = [0] * (n - 1)
        self.accepted = [0] * (n - 1)
        self.attempts = [0] * n
        self.swaps = [0] * n
        self.round_trips = 0
        # Whether each replica has been at the top since it was last at the bottom.
        self._turned: dict[int, bool] = {}

    def step(self, n_passes: int) -> None:
        """Run every replica, then try to exchange every second pair of neighbours."""
        for level, (replica, temperature) in enumerate(
            zip(self.at, self.temperatures, strict=True)
        ):
            chain = self.chains[replica]
            before = chain.n_attempts
            self.swaps[level] += chain.run(temperature, n_passes)
            self.attempts[level] += chain.n_attempts - before
        draws = self._rng.random(len(self.at))
        for low in range(self._odd, len(self.at) - 1, 2):
            here, there = self.chains[self.at[low]], self.chains[self.at[low + 1]]
            energy = here.energy_quanta - there.energy_quanta
            exponent = (self._betas[low] - self._betas[low + 1]) * energy
            self.tried[low] += 1
            if exponent >= 0 or draws[low] < math.exp(exponent):
                self.at[low], self.at[low + 1] = self.at[low + 1], self.at[low]
                self.accepted[low] += 1
        self._odd = 1 - self._odd
        self._watch()

    def _watch(self) -> None:
        bottom, top = self.at[0], self.at[-1]
        if self._turned.get(bottom):
            self.round_trips += 1
        self._turned[bottom] = False
        if top in self._turned:
            self._turned[top] = True


def replica_exchange(
    hamiltonian: IntegerHamiltonian,
    composition: Mapping[str, int],
    settings: ExchangeSettings,
    seed: np.random.SeedSequence,
    record: Sequence[float],
    tables: KernelTables | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExchangeResult:
    """Make one simulation with exchanges.

    Parameters
    ----------
    hamiltonian : IntegerHamiltonian
        Energies and lattice.
    composition : mapping
        Number of atoms of each species.
    settings : ExchangeSettings
        Ladder and lengths.
    seed : numpy.random.SeedSequence
        Seed of the simulation; not changed. The same seed gives the same bytes.
    record : sequence of float
        Temperatures of the ladder whose snapshots are kept.
    tables : KernelTables, optional
        Tables of the same Hamiltonian, to share them between simulations.
    progress : callable, optional
        Called with the number of production passes done since the last call, those of all
        temperatures together.

    Returns
    -------
    ExchangeResult
        Runs at the recorded temperatures, and how well the exchange worked.

    Raises
    ------
    DismaiError
        If the composition does not fit, or a recorded temperature is not on the ladder.
    """
    composition_counts(hamiltonian, composition)
    ladder = settings.temperatures
    missing = sorted(set(record) - set(ladder))
    if missing or not record:
        raise DismaiError(
            f"replica exchange can record temperatures of its ladder ({ladder}), asked for "
            f"{list(record)}"
        )
    tables = build_tables(hamiltonian) if tables is None else tables
    species = hamiltonian.expansion.species
    starts = np.random.default_rng(child_seed(seed, 0))
    chains = []
    for number, temperature in enumerate(ladder):
        occupation = random_occupation(composition, species, starts)
        chains.append(MonteCarlo(hamiltonian, occupation, child_seed(seed, number + 2), tables))
        anneal(chains[-1], ladder[-1], temperature, settings.anneal_passes)
    replicas = _Ladder(chains, ladder, np.random.default_rng(child_seed(seed, 1)))
    for _ in range(settings.equilibration_passes // settings.exchange_interval):
        replicas.step(settings.exchange_interval)
    replicas.reset()

    n_snapshots = settings.n_passes // settings.snapshot_interval
    levels = [ladder.index(t) for t in record]
    n_sites = hamiltonian.lattice.n_sites
    occupations = np.empty((len(levels), n_snapshots, n_sites), dtype=np.int8)
    quanta = np.empty((len(levels), n_snapshots), dtype=np.int64)
    for snapshot in range(n_snapshots):
        for _ in range(settings.snapshot_interval // settings.exchange_interval):
            replicas.step(settings.exchange_interval)
        for kept, level in enumerate(levels):
            chain = chains[replicas.at[level]]
            occupations[kept, snapshot] = chain.current_occupation
            quanta[kept, snapshot] = chain.energy_quanta
        if progress is not None:
            progress(settings.snapshot_interval * len(ladder))
    equilibration = Equilibration(
        "exchanged", settings.anneal_passes, settings.equilibration_passes
    )
    runs = {}
    for kept, level in enumerate(levels):
        described = SamplingSettings(
            ladder[level],
            n_passes=settings.n_passes,
            snapshot_interval=settings.snapshot_interval,
            anneal_from=ladder[-1],
            anneal_passes=settings.anneal_passes,
            equilibration_passes=max(settings.equilibration_passes, 1),
        )
        acceptance = replicas.swaps[level] / replicas.attempts[level]
        runs[ladder[level]] = describe_run(
            hamiltonian, described, occupations[kept], quanta[kept], acceptance, equilibration, seed
        )
    shares = [
        a / t if t else math.nan for a, t in zip(replicas.accepted, replicas.tried, strict=True)
    ]
    return ExchangeResult(runs, shares, replicas.round_trips)
