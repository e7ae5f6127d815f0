"""Speed of the Monte Carlo kernel beside icet, on the same Hamiltonian; prints JSON.

Both codes do canonical Metropolis swaps on the 256-site alloy of the paper, one core, in turns, and
are timed in CPU seconds of this process. icet gets effective interactions fitted to the energies of
our integer Hamiltonian; the largest error of the fit is part of the output. What is counted are
attempts to swap two atoms of unlike species. Ours draws no others. A trial step of icet's canonical
ensemble does not either (it draws a site, then a second one among all sites of other species), so a
trial step is an attempt; it weighs the pairs of species a little differently, which shifts the
acceptance but not the distribution that is sampled.

    python benchmarks/alloy_monte_carlo.py [--rounds 5] [--icet-trials 30000] [--our-passes 40000]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.alloy.monte_carlo import MonteCarlo, random_occupation
from dismaiflow.alloy.statistics import statistical_inefficiency
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COMPOSITION = {"Fe": 154, "Ni": 51, "Cr": 51}
TEMPERATURES = (300.0, 1500.0)

#: Length in Å between the seventh and the eighth shell of the fcc lattice with a = 3.6 Å.
CUTOFF = 6.8


def paper_hamiltonian() -> IntegerHamiltonian:
    """Return the published cluster expansion on the 256 sites of the paper."""
    path = files("dismaiflow.systems") / "library" / "fe_ni_cr_eci.json"
    expansion = ClusterExpansion.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return IntegerHamiltonian(expansion, SiteLattice("fcc", 3.6, (4, 4, 4)))


def formation_energy(hamiltonian: IntegerHamiltonian, codes: NDArray[np.integer]) -> float:
    """Return the energy of a configuration in eV/atom, by the quanta that the kernel uses."""
    expansion = hamiltonian.expansion
    share = np.bincount(codes, minlength=len(expansion.species)) / len(codes)
    pairs = hamiltonian.energy_quanta(codes) * hamiltonian.quantum / len(codes)
    return float(expansion.constant + share @ expansion.monomer + pairs)


def mean_with_error(series: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean of a correlated series and its standard error."""
    inefficiency = float(statistical_inefficiency(series))
    return float(series.mean()), float(series.std() * np.sqrt(inefficiency / len(series)))


def our_mean_energy(chain: MonteCarlo, temperature: float, n_passes: int) -> tuple[float, float]:
    """Return the mean energy in eV/atom and its error, from one value a pass."""
    _, quanta = chain.record(temperature, n_passes, 1)
    pairs = quanta * chain.hamiltonian.quantum / chain.hamiltonian.lattice.n_sites
    offset = formation_energy(chain.hamiltonian, chain.current_occupation) - pairs[-1]
    return mean_with_error(pairs + offset)


class IcetPeer:
    """The same Hamiltonian in icet.

    Attributes
    ----------
    max_error : float
        Largest difference of the energies, eV/atom, over random configurations of all compositions;
        a third of them were not part of the fit.
    """

    def __init__(self, hamiltonian: IntegerHamiltonian, n_fit: int = 60) -> None:
        from icet import ClusterExpansion as IcetExpansion
        from icet import ClusterSpace
        from mchammer.calculators import ClusterExpansionCalculator

        logging.getLogger("icet").setLevel(logging.ERROR)
        from ase.build import bulk

        self.hamiltonian = hamiltonian
        species = list(hamiltonian.expansion.species)
        lattice = hamiltonian.lattice
        space = ClusterSpace(bulk("Fe", "fcc", a=lattice.a), [CUTOFF], species)
        rng = np.random.default_rng(0)
        rows, energies = [], []
        for _ in range(n_fit + n_fit // 2):
            share = rng.dirichlet(np.ones(len(species)))
            codes = rng.choice(len(species), size=lattice.n_sites, p=share)
            rows.append(space.get_cluster_vector(self.atoms(codes)))
            energies.append(formation_energy(hamiltonian, codes))
        matrix, target = np.array(rows), np.array(energies)
        parameters = np.linalg.lstsq(matrix[:n_fit], target[:n_fit], rcond=None)[0]
        self.max_error = float(np.abs(matrix @ parameters - target).max())
        self._calculator = ClusterExpansionCalculator(
            self.atoms(np.zeros(lattice.n_sites, dtype=int)), IcetExpansion(space, parameters)
        )

    def atoms(self, codes: NDArray[np.integer]) -> Any:
        """Return a configuration as ASE Atoms."""
        from ase import Atoms

        lattice, species = self.hamiltonian.lattice, self.hamiltonian.expansion.species
        symbols = [species[code] for code in codes]
        return Atoms(symbols, positions=lattice.positions, cell=lattice.cell, pbc=True)

    def ensemble(
        self, codes: NDArray[np.integer], temperature: float, seed: int, write: int
    ) -> Any:
        """Return a canonical ensemble that notes the energy every `write` trial steps."""
        from mchammer.ensembles import CanonicalEnsemble

        return CanonicalEnsemble(
            self.atoms(codes),
            self._calculator,
            temperature,
            random_seed=seed,
            ensemble_data_write_interval=write,
            trajectory_write_interval=10**9,
        )

    def mean_energy(
        self, temperature: float, n_trials: int, n_equilibration: int, seed: int
    ) -> tuple[float, float]:
        """Return the mean energy in eV/atom and its error, from one value a pass."""
        n_sites = self.hamiltonian.lattice.n_sites
        start = random_occupation(
            COMPOSITION, self.hamiltonian.expansion.species, np.random.default_rng(seed)
        )
        ensemble = self.ensemble(start, temperature, seed, n_sites)
        ensemble.run(n_equilibration)
        ensemble.run(n_trials)
        potential = ensemble.data_container.get("potential")
        first = n_equilibration // n_sites + 1
        return mean_with_error(np.asarray(potential[first:]) / n_sites)


def rates(seconds: list[float], n_attempts: int) -> dict[str, Any]:
    """Return attempts per CPU second: best, median, and each round."""
    each = [n_attempts / s for s in seconds]
    return {
        "best": max(each),
        "median": statistics.median(each),
        "rounds": each,
        "attempts_per_round": n_attempts,
    }


def cpu_seconds(work: Callable[..., object], *arguments: float) -> float:
    """Return the CPU time of a call."""
    begin = time.process_time()
    work(*arguments)
    return time.process_time() - begin


def machine() -> dict[str, Any]:
    """Describe where this ran."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    load = os.getloadavg() if hasattr(os, "getloadavg") else (float("nan"),) * 3
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "load_average": list(load),
        "system": f"{platform.system()} {platform.machine()}",
    }


def compare(rounds: int, icet_trials: int, our_passes: int) -> dict[str, Any]:
    """Time both codes in turns, and compare their mean energies at 1500 K."""
    hamiltonian = paper_hamiltonian()
    n_sites = hamiltonian.lattice.n_sites
    peer = IcetPeer(hamiltonian)
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "numba", "llvmlite", "icet", "ase")},
        },
        "unit": "attempts to swap unlike atoms per CPU second",
        "fit_max_error_ev_per_atom": peer.max_error,
        "ours": {},
        "icet": {},
        "ratios": {},
    }
    for temperature in TEMPERATURES:
        start = random_occupation(
            COMPOSITION, hamiltonian.expansion.species, np.random.default_rng(1)
        )
        chain = MonteCarlo(hamiltonian, start, np.random.SeedSequence(1))
        # Both begin from the same equilibrated configuration; this compiles the kernel, too.
        for step in np.geomspace(1500.0, temperature, 100):
            chain.run(float(step), 20)
        chain.record(temperature, 200, 10)
        ensemble = peer.ensemble(chain.current_occupation, temperature, 1, 10**9)
        ensemble.run(500)
        ours, theirs = [], []
        accepted, attempted = chain.n_accepted, chain.n_attempts
        for _ in range(rounds):
            ours.append(cpu_seconds(chain.run, temperature, our_passes))
            theirs.append(cpu_seconds(ensemble.run, icet_trials))
        assert chain.energy_quanta == hamiltonian.energy_quanta(chain.current_occupation)
        key = f"{temperature:g}"
        result["ours"][key] = rates(ours, our_passes * n_sites)
        share = (chain.n_accepted - accepted) / (chain.n_attempts - attempted)
        result["ours"][key]["acceptance"] = share
        result["icet"][key] = rates(theirs, icet_trials)
        result["ratios"][key] = {
            kind: result["ours"][key][kind] / result["icet"][key][kind]
            for kind in ("best", "median")
        }
        print(f"{key} K: {result['ratios'][key]}", file=sys.stderr)

    mean, error = our_mean_energy(chain, 1500.0, 20_000)
    their_mean, their_error = peer.mean_energy(1500.0, 120_000, 20_000, seed=2)
    combined = float(np.hypot(error, their_error))
    result["mean_energy_1500K_ev_per_atom"] = {
        "ours": {"mean": mean, "standard_error": error},
        "icet": {"mean": their_mean, "standard_error": their_error},
        "difference_in_combined_errors": abs(mean - their_mean) / combined,
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--icet-trials", type=int, default=30_000, help="trial steps a round")
    parser.add_argument("--our-passes", type=int, default=40_000, help="passes a round")
    arguments = parser.parse_args()
    result = compare(arguments.rounds, arguments.icet_trials, arguments.our_passes)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
