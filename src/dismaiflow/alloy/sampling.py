"""Independent Monte Carlo runs at a temperature, equilibrated and recorded (paper, section 4.1.1).

Two protocols. ``published`` takes the paper's sizes and, where the paper is silent, the plainest
reading: a random start, and nothing left out. ``corrected`` anneals every start from a high
temperature and waits until energy and long-range order are stationary before it records. At 300 K
the alloy of the paper has long-range order, and a start that is quenched at random may stay
disordered for longer than a whole run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.alloy.kernel import build_tables
from dismaiflow.alloy.monte_carlo import MonteCarlo, random_occupation
from dismaiflow.alloy.statistics import detect_equilibration, effective_samples
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_monomers, count_pairs
from dismaiflow.metrics.order import order_labels, warren_cowley

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian
    from dismaiflow.alloy.kernel import KernelTables

Protocol = Literal["published", "corrected"]
Start = Literal["random", "annealed"]

#: Shells whose Warren-Cowley parameters describe a snapshot (paper, Figs. S1 and S2).
N_ORDER_SHELLS = 2

#: Temperatures that an annealed start passes through.
_ANNEAL_STEPS = 100

#: Effective samples after which a stretch of equilibration can show that it is stationary.
_MIN_EFFECTIVE = 10.0

#: Snapshots recorded between two reports of progress.
_BLOCK = 250


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample at a temperature; the defaults are the paper's sizes.

    Parameters
    ----------
    temperature : float
        In K.
    n_runs : int
        Independent runs.
    n_passes : int
        Length of the production of each run. A pass is as many attempts to swap unlike atoms as
        there are sites.
    snapshot_interval : int
        Passes between two snapshots.
    protocol : {"corrected", "published"}
        ``published``: random start, everything is used. ``corrected``: production begins after
        equilibration, and what is found not to be stationary later is left out.
    start : {"annealed", "random"}, optional
        The default is ``random`` under ``published``, where nothing else is allowed, and
        ``annealed`` under ``corrected``.
    anneal_from : float
        Temperature in K at which an annealed start begins, above every ordering transition.
    anneal_passes : int
        Length of the anneal, over temperatures in geometric progression.
    equilibration_passes, max_equilibration_passes : int
        Length of the first test of stationarity at the temperature, and of all of it; the stretch
        tested is doubled as often as it fails.

    Raises
    ------
    DismaiError
        If a number is out of range, or ``published`` is asked to anneal.
    """

    temperature: float
    n_runs: int = 10
    n_passes: int = 50_000
    snapshot_interval: int = 10
    protocol: Protocol = "corrected"
    start: Start | None = None
    anneal_from: float = 1500.0
    anneal_passes: int = 1000
    equilibration_passes: int = 2000
    max_equilibration_passes: int = 32_000

    def __post_init__(self) -> None:
        for name in ("temperature", "anneal_from"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise DismaiError(f"sampling: {name} must be above 0 K, got {value}")
        for name in ("n_runs", "n_passes", "snapshot_interval", "equilibration_passes"):
            if getattr(self, name) < 1:
                raise DismaiError(f"sampling: {name} must be at least 1, got {getattr(self, name)}")
        if self.anneal_passes < 0:
            raise DismaiError(f"sampling: anneal_passes must not be below 0: {self.anneal_passes}")
        if self.n_passes < self.snapshot_interval:
            raise DismaiError(
                f"sampling: {self.n_passes} passes hold no snapshot at one in "
                f"{self.snapshot_interval}; take more passes or a shorter interval"
            )
        if self.protocol not in ("published", "corrected"):
            raise DismaiError(
                f"sampling: unknown protocol {self.protocol!r}: choose published or corrected"
            )
        if self.start not in (None, "random", "annealed"):
            raise DismaiError(f"sampling: unknown start {self.start!r}: choose random or annealed")
        if self.protocol == "published" and self.start == "annealed":
            raise DismaiError(
                "sampling: the published protocol starts at random; annealed starts need corrected"
            )

    @property
    def initial(self) -> Start:
        """The start that is used."""
        return self.start or ("random" if self.protocol == "published" else "annealed")

    @property
    def n_snapshots(self) -> int:
        """Snapshots of each run; passes beyond the last whole interval are left out."""
        return self.n_passes // self.snapshot_interval

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers and words."""
        return {**asdict(self), "start": self.initial}


@dataclass(frozen=True)
class Equilibration:
    """What happened before production.

    Parameters
    ----------
    start : str
        ``random``, ``annealed`` or ``exchanged``.
    anneal_passes : int
        Passes of the anneal.
    passes : int
        Passes at the temperature of the run.
    stationary : bool or None
        Whether energy and order were stationary in the end; None if this was not tested.
    """

    start: str
    anneal_passes: int = 0
    passes: int = 0
    stationary: bool | None = None


@dataclass(frozen=True)
class RunSamples:
    """The snapshots of one run.

    Parameters
    ----------
    settings : SamplingSettings
        How they were made.
    species : tuple of str
        Species in the order of the codes.
    occupations : ndarray of int8, shape (n_snapshots, n_sites)
        Species code of each site.
    energy_quanta : ndarray of int64, shape (n_snapshots,)
        Pair energies of the whole supercell in quanta, exact.
    energies : ndarray, shape (n_snapshots,)
        Formation energies in eV/atom, constant and monomers included.
    order : ndarray, shape (n_snapshots, n_species)
        Long-range order: see `order_parameters`.
    sro : ndarray, shape (n_snapshots, n_parameters)
        Warren-Cowley parameters of the first and second shell; NaN for an absent species.
    sro_labels : list of str
        Their names, e.g. ``1NN_Cr-Fe``.
    acceptance : float
        Share of the attempts of production that were accepted.
    equilibration : Equilibration
        What happened before.
    seed : dict
        ``entropy`` (as text: it may have 128 bits) and ``spawn_key`` of the numpy SeedSequence that
        the run used.
    """

    settings: SamplingSettings
    species: tuple[str, ...]
    occupations: NDArray[np.int8]
    energy_quanta: NDArray[np.int64]
    energies: NDArray[np.float64]
    order: NDArray[np.float64]
    sro: NDArray[np.float64]
    sro_labels: list[str]
    acceptance: float
    equilibration: Equilibration
    seed: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self.occupations)


def child_seed(seed: np.random.SeedSequence, key: int) -> np.random.SeedSequence:
    """Return the child that ``seed.spawn`` would give as number `key` to its first caller.

    Other than `spawn` this does not change the parent, so that any run of many can be made alone,
    and twice.
    """
    return np.random.SeedSequence(
        entropy=seed.entropy, spawn_key=(*seed.spawn_key, key), pool_size=seed.pool_size
    )


def order_parameters(
    occupations: NDArray[np.int8], sublattices: NDArray[np.int64], n_species: int
) -> NDArray[np.float64]:
    """Return the long-range order of each species: its largest share of a sublattice.

    Parameters
    ----------
    occupations : ndarray of int8, shape (n_snapshots, n_sites)
        Species code of each site.
    sublattices : ndarray of int, shape (n_sites,)
        Simple cubic sublattice of each site. On a simple cubic lattice there is but one, and the
        parameter is the constant concentration.
    n_species : int
        Number of species.

    Returns
    -------
    ndarray, shape (n_snapshots, n_species)
        Largest fraction of the sites of one sublattice that the species holds; the concentration
        in perfect disorder, 1 if it fills a sublattice.
    """
    member = (sublattices[:, None] == np.unique(sublattices)).astype(np.float32)
    sizes = member.sum(axis=0)
    counts = [(occupations == code).astype(np.float32) @ member for code in range(n_species)]
    return np.stack([(c / sizes).max(axis=1) for c in counts], axis=1).astype(np.float64)


def composition_counts(
    hamiltonian: IntegerHamiltonian, composition: Mapping[str, int]
) -> NDArray[np.int64]:
    """Return the atoms of each species in the order of the codes, shape (n_species,).

    Raises
    ------
    DismaiError
        If a species is unknown, a number negative, or the sum is not the number of sites.
    """
    species = hamiltonian.expansion.species
    unknown = sorted(set(composition) - set(species))
    if unknown:
        raise DismaiError(
            f"the cluster expansion knows {', '.join(species)}, not {', '.join(unknown)}"
        )
    counts = np.array([composition.get(symbol, 0) for symbol in species], dtype=np.int64)
    n_sites = hamiltonian.lattice.n_sites
    if counts.min() < 0 or counts.sum() != n_sites:
        listed = ", ".join(f"{s} {c}" for s, c in zip(species, counts, strict=True))
        raise DismaiError(
            f"the composition ({listed}) has {counts.sum()} atoms for {n_sites} sites of the "
            "supercell; make them equal"
        )
    return counts


def describe_run(
    hamiltonian: IntegerHamiltonian,
    settings: SamplingSettings,
    occupations: NDArray[np.int8],
    energy_quanta: NDArray[np.int64],
    acceptance: float,
    equilibration: Equilibration,
    seed: np.random.SeedSequence,
) -> RunSamples:
    """Add energies in eV and order parameters to recorded snapshots; see `RunSamples`."""
    expansion, lattice = hamiltonian.expansion, hamiltonian.lattice
    n_species = len(expansion.species)
    monomers = count_monomers(occupations[:1], n_species)
    pairs = count_pairs(occupations, lattice.shells(N_ORDER_SHELLS), n_species)
    offset = expansion.constant + float(monomers[0] @ expansion.monomer) / lattice.n_sites
    per_quantum = hamiltonian.quantum / lattice.n_sites
    return RunSamples(
        settings=settings,
        species=expansion.species,
        occupations=occupations,
        energy_quanta=energy_quanta,
        energies=np.asarray(offset + energy_quanta * per_quantum, dtype=np.float64),
        order=order_parameters(occupations, lattice.sublattices, n_species),
        sro=warren_cowley(monomers, pairs).reshape(len(occupations), -1),
        sro_labels=order_labels(expansion.species, N_ORDER_SHELLS),
        acceptance=acceptance,
        equilibration=equilibration,
        seed={"entropy": str(seed.entropy), "spawn_key": [int(key) for key in seed.spawn_key]},
    )


def anneal(chain: MonteCarlo, start: float, end: float, n_passes: int) -> None:
    """Cool a chain over temperatures in geometric progression.

    Parameters
    ----------
    chain : MonteCarlo
        Changed in place.
    start, end : float
        First and last temperature in K.
    n_passes : int
        Length, in equal parts at up to 100 temperatures.
    """
    n_steps = min(_ANNEAL_STEPS, n_passes)
    for temperature in np.geomspace(start, end, n_steps):
        chain.run(float(temperature), n_passes / n_steps)


def equilibrate(chain: MonteCarlo, settings: SamplingSettings) -> Equilibration:
    """Prepare a chain for production, as the settings say.

    A stretch at the temperature counts as stationary when the start that
    `detect_equilibration` finds for its energy and long-range order lies in its first half and ten
    effective samples follow. Otherwise the chain goes on and a stretch of twice the length is
    tested, up to the limit. A metastable state is stationary too: this test cannot see it, which is
    why starts are annealed and runs compared with each other.

    Parameters
    ----------
    chain : MonteCarlo
        Changed in place.
    settings : SamplingSettings
        Protocol, start, temperature and lengths.

    Returns
    -------
    Equilibration
        What was done.
    """
    if settings.protocol == "published":
        return Equilibration("random")
    annealed = 0
    if settings.initial == "annealed":
        annealed = settings.anneal_passes
        first = max(settings.anneal_from, settings.temperature)
        anneal(chain, first, settings.temperature, annealed)
    lattice = chain.hamiltonian.lattice
    n_species = len(chain.hamiltonian.expansion.species)
    interval = settings.snapshot_interval
    spent, stretch, stationary = 0, settings.equilibration_passes, False
    while not stationary and spent + stretch <= settings.max_equilibration_passes:
        n_snapshots = max(stretch // interval, 1)
        occupations, quanta = chain.record(settings.temperature, n_snapshots, interval)
        spent += n_snapshots * interval
        stretch *= 2
        order = order_parameters(occupations, lattice.sublattices, n_species)
        series = np.column_stack([quanta, order])
        kept = series[detect_equilibration(series) :]
        enough = effective_samples(kept).min() >= _MIN_EFFECTIVE
        stationary = bool(enough and 2 * len(kept) >= len(series))
    return Equilibration(settings.initial, annealed, spent, stationary)


def sample_run(
    hamiltonian: IntegerHamiltonian,
    composition: Mapping[str, int],
    settings: SamplingSettings,
    seed: np.random.SeedSequence,
    tables: KernelTables | None = None,
    progress: Callable[[int], None] | None = None,
) -> RunSamples:
    """Make one run.

    Parameters
    ----------
    hamiltonian : IntegerHamiltonian
        Energies and lattice.
    composition : mapping
        Number of atoms of each species.
    settings : SamplingSettings
        Temperature, length and protocol.
    seed : numpy.random.SeedSequence
        Seed of this run; not changed. The same seed gives the same bytes.
    tables : KernelTables, optional
        Tables of the same Hamiltonian, to share them between runs.
    progress : callable, optional
        Called with the number of production passes done since the last call.

    Returns
    -------
    RunSamples
        The snapshots of production.

    Raises
    ------
    DismaiError
        If the composition does not fit the lattice or the species.
    """
    composition_counts(hamiltonian, composition)
    start = random_occupation(
        composition, hamiltonian.expansion.species, np.random.default_rng(child_seed(seed, 0))
    )
    chain = MonteCarlo(hamiltonian, start, child_seed(seed, 1), tables)
    equilibration = equilibrate(chain, settings)
    occupations = np.empty((settings.n_snapshots, len(start)), dtype=np.int8)
    quanta = np.empty(settings.n_snapshots, dtype=np.int64)
    accepted, attempted = chain.n_accepted, chain.n_attempts
    for first in range(0, settings.n_snapshots, _BLOCK):
        block = slice(first, min(first + _BLOCK, settings.n_snapshots))
        n_snapshots = block.stop - block.start
        occupations[block], quanta[block] = chain.record(
            settings.temperature, n_snapshots, settings.snapshot_interval
        )
        if progress is not None:
            progress(n_snapshots * settings.snapshot_interval)
    acceptance = (chain.n_accepted - accepted) / (chain.n_attempts - attempted)
    return describe_run(hamiltonian, settings, occupations, quanta, acceptance, equilibration, seed)


def sample_runs(
    hamiltonian: IntegerHamiltonian,
    composition: Mapping[str, int],
    settings: SamplingSettings,
    seed: np.random.SeedSequence,
    n_threads: int = 1,
    progress: Callable[[int], None] | None = None,
    runs: Sequence[int] | None = None,
) -> list[RunSamples]:
    """Make independent runs, in threads (the inner loop does not hold the interpreter lock).

    Parameters
    ----------
    hamiltonian, composition, settings, progress
        See `sample_run`; `progress` is called from the threads.
    seed : numpy.random.SeedSequence
        Seed of all runs; run r uses ``child_seed(seed, r)``, whatever other runs are made.
    n_threads : int
        Runs made at the same time; does not change the results.
    runs : sequence of int, optional
        Numbers of the runs to make; all by default.

    Returns
    -------
    list of RunSamples
        In the order of their numbers.
    """
    tables = build_tables(hamiltonian)
    numbers = range(settings.n_runs) if runs is None else runs

    def one(number: int) -> RunSamples:
        own = child_seed(seed, number)
        return sample_run(hamiltonian, composition, settings, own, tables, progress)

    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        return list(pool.map(one, numbers))
