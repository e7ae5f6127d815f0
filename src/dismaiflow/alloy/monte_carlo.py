"""Canonical Monte Carlo runs of one configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import kB

from dismaiflow.alloy.kernel import (
    KernelTables,
    acceptance_thresholds,
    build_tables,
    initial_fields,
    pair_types,
    record_snapshots,
    run_attempts,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian


def random_occupation(
    composition: Mapping[str, int], species: tuple[str, ...], rng: np.random.Generator
) -> NDArray[np.int8]:
    """Place a composition at random on the sites.

    Parameters
    ----------
    composition : mapping
        Number of atoms of each species.
    species : tuple of str
        Species in the order of the integer codes.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int8, shape (n_sites,)
        Species code of each site.

    Raises
    ------
    DismaiError
        If the composition names a species that has no code.
    """
    unknown = sorted(set(composition) - set(species))
    if unknown:
        raise DismaiError(
            f"the cluster expansion knows {', '.join(species)}, not {', '.join(unknown)}"
        )
    codes = np.repeat(np.arange(len(species)), [composition.get(s, 0) for s in species])
    return rng.permutation(codes).astype(np.int8)


@dataclass
class MonteCarlo:
    """One Markov chain: swaps of unlike atoms at a temperature.

    A *pass* is as many attempts as there are sites; an *attempt* picks two atoms of unlike species,
    every such pair with the same probability, and swaps them by the Metropolis rule (paper, section
    4.1.1, with Kawasaki dynamics). Swaps of like atoms change nothing and are never drawn.

    Parameters
    ----------
    hamiltonian : IntegerHamiltonian
        Lattice and energies.
    occupation : ndarray of int, shape (n_sites,)
        Species code of each site at the start.
    seed : numpy.random.SeedSequence
        Seed of the chain.
    tables : KernelTables, optional
        Tables of the same Hamiltonian, to share them between chains.

    Raises
    ------
    DismaiError
        If the occupation does not fit the lattice or the species.
    """

    hamiltonian: IntegerHamiltonian
    occupation: NDArray[np.integer]
    seed: np.random.SeedSequence
    tables: KernelTables | None = None
    n_attempts: int = field(default=0, init=False)
    n_accepted: int = field(default=0, init=False)
    energy_quanta: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        n_species = len(self.hamiltonian.expansion.species)
        n_sites = self.hamiltonian.lattice.n_sites
        codes = np.asarray(self.occupation)
        shape_fits = codes.shape == (n_sites,)
        if not shape_fits or codes.min() < 0 or codes.max() >= n_species:
            found = f"{codes.min()} to {codes.max()}" if codes.size else "none"
            raise DismaiError(
                f"an occupation needs {n_sites} species codes from 0 to {n_species - 1}, got shape "
                f"{codes.shape} with values {found}"
            )
        if self.tables is None:
            self.tables = build_tables(self.hamiltonian)
        self._state = self.seed.generate_state(4, np.uint64)
        self.set_occupation(codes)

    def set_occupation(self, occupation: NDArray[np.integer]) -> None:
        """Continue from another configuration, with the same random numbers."""
        codes = np.asarray(occupation)
        assert self.tables is not None
        n_species = len(self.hamiltonian.expansion.species)
        counts = np.bincount(codes, minlength=n_species)
        ordered = codes[self.tables.order]
        self._site_of = np.argsort(ordered, kind="stable").astype(np.int32)
        self._slot_species = np.repeat(np.arange(n_species, dtype=np.int8), counts)
        self._start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._fields = initial_fields(self.hamiltonian, self.tables, ordered)
        self.energy_quanta = self.hamiltonian.energy_quanta(codes)
        types = pair_types(n_species)
        weights = np.array([counts[a] * counts[b] for a, b in types], dtype=float)
        if weights.sum() == 0:
            raise DismaiError("Monte Carlo swaps need at least two species in the composition")
        limits = np.rint(np.cumsum(weights) / weights.sum() * 2.0**32)
        # Types without atoms come to a share of zero; the last type takes what rounding left.
        limits[np.flatnonzero(weights)[-1] :] = 2.0**32
        self._limit = limits.astype(np.uint64)
        self._types = np.array(types, dtype=np.int64).T.copy()

    @property
    def current_occupation(self) -> NDArray[np.int8]:
        """Species code of each site now, shape (n_sites,)."""
        occupation = np.empty(len(self._site_of), dtype=np.int8)
        assert self.tables is not None
        occupation[self.tables.order[self._site_of]] = self._slot_species
        return occupation

    @property
    def energy(self) -> float:
        """Energy of the pairs per site now, in eV."""
        return self.energy_quanta * self.hamiltonian.quantum / self.hamiltonian.lattice.n_sites

    def run(self, temperature: float, n_passes: float) -> int:
        """Run at a temperature.

        Parameters
        ----------
        temperature : float
            In K.
        n_passes : float
            Length; fractions of a pass are rounded to whole attempts.

        Returns
        -------
        int
            Number of accepted swaps.

        Raises
        ------
        DismaiError
            If the temperature is not a positive number.
        """
        n_attempts = round(n_passes * self.hamiltonian.lattice.n_sites)
        energy, n_accepted = run_attempts(n_attempts, *self._arguments(temperature))
        self.energy_quanta += int(energy)
        self.n_attempts += n_attempts
        self.n_accepted += int(n_accepted)
        return int(n_accepted)

    def record(
        self, temperature: float, n_snapshots: int, interval: int
    ) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """Run at a temperature and keep a snapshot after every ``interval`` passes.

        Parameters
        ----------
        temperature : float
            In K.
        n_snapshots : int
            Number of snapshots.
        interval : int
            Passes before each of them.

        Returns
        -------
        occupations : ndarray of int8, shape (n_snapshots, n_sites)
            Species code of each site.
        energies : ndarray of int64, shape (n_snapshots,)
            Energies of the pairs in quanta.

        Raises
        ------
        DismaiError
            If the temperature is not a positive number.
        """
        assert self.tables is not None
        n_sites = self.hamiltonian.lattice.n_sites
        occupations = np.empty((n_snapshots, n_sites), dtype=np.int8)
        energies = np.empty(n_snapshots, dtype=np.int64)
        energy, n_accepted = record_snapshots(
            occupations,
            energies,
            interval * n_sites,
            self.energy_quanta,
            self.tables.order,
            self._slot_species,
            *self._arguments(temperature),
        )
        self.energy_quanta = int(energy)
        self.n_attempts += n_snapshots * interval * n_sites
        self.n_accepted += int(n_accepted)
        return occupations, energies

    def _arguments(self, temperature: float) -> tuple[Any, ...]:
        """Collect what the inner loop reads and changes."""
        if not (np.isfinite(temperature) and temperature > 0):
            raise DismaiError(f"a Monte Carlo temperature must be above 0 K, got {temperature}")
        assert self.tables is not None
        tables = self.tables
        beta = 1.0 / (kB * temperature)
        accept, reject = acceptance_thresholds(beta, self.hamiltonian.quantum)
        return (
            self._site_of,
            self._start,
            self._fields,
            self._state,
            self._types[0],
            self._types[1],
            self._limit,
            tables.piece_of,
            tables.place,
            tables.offset,
            tables.shift,
            tables.correction,
            tables.neighbors,
            tables.neighbor_shift,
            tables.width,
            accept,
            reject,
            beta * self.hamiltonian.quantum,
        )
