"""Speed of random interfaces of lsc-lco on one core; prints JSON.

    python benchmarks/random_interfaces.py [--n 1000] [--rounds 3] [--raffle 2]

Timed is the whole way from a seed to a StructureSet: thickness and displacement, filling of the
region, exchanges, order of the atoms, positions rounded. Building the slabs and compiling are timed
apart. Figures are CPU seconds of this process. The checks of the structures (parts found by
geometry, distances) and the search for duplicates are timed too.

The peer is RAFFLE, which fills a host by void, random walk, growth and minimum placement guided by
distributions. It needs structures to learn from, here some of ours; with ``random`` placement alone
it does what we do, with distances of its own. It runs in a process of its own, because its Fortran
part may stop Python, and is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.interfaces.duplicates import find_duplicates
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.region import placement_report
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.interfaces.validity import check_structures
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM = "lsc-lco"

#: Longest wait for the peer, seconds.
PEER_LIMIT = 600.0


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that some work takes in this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def rates(generator: RandomInterfaces, n: int, rounds: int, **options: Any) -> dict[str, Any]:
    """Return structures per second over some rounds, each with its own seed."""
    seconds = [
        cpu_seconds(lambda seed=seed: generator.generate(range(n), seed, **options))
        for seed in range(rounds)
    ]
    each = [n / s for s in seconds]
    return {"best": max(each), "median": statistics.median(each), "rounds": each}


def ours(n: int, rounds: int) -> dict[str, Any]:
    """Time our generator, its checks and the search for duplicates."""
    build = time.process_time()
    system = InterfaceSystem.from_spec(get_system(SYSTEM))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    build = time.process_time() - build
    first = cpu_seconds(lambda: generator.generate([0], 0, exchanges=True))
    result: dict[str, Any] = {
        "slabs_seconds": build,
        "first_structure_seconds": first,
        "structures_per_second": {
            "random": rates(generator, n, rounds),
            "with_exchanges": rates(generator, n, rounds, exchanges=True),
            "stratified": rates(generator, n, rounds, sampling="stratified"),
        },
    }
    for row in placement_report(system.host, system.spec.interface.region, system.region_counts):
        key = f"{row.thickness:g}"
        result.setdefault("fills_per_second_by_thickness", {})[key] = 1 / row.seconds
    made = generator.generate(range(n), 0)
    check_structures(made.structures.select([0]), system)
    find_duplicates(made.structures.select([0, 0]))
    seconds = cpu_seconds(lambda: check_structures(made.structures, system))
    result["checks_per_second"] = n / seconds
    result["duplicates_seconds"] = cpu_seconds(lambda: find_duplicates(made.structures))
    result["report"] = {"n_made": made.report.n_made, "n_lowered": made.report.n_lowered}
    return result


def run_raffle(n: int) -> None:
    """Make structures with RAFFLE and print their CPU seconds; in a process of its own."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from raffle.generator import raffle_generator

    system = InterfaceSystem.from_spec(get_system(SYSTEM))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    known = list(generator.generate(range(4), 1).structures)
    for atoms in known:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    host, thickness = system.host, 5.0
    low, c = host.substrate.height, host.cell[2, 2]
    film = host.film.atoms()
    film.positions[:, 2] += low + thickness
    slabs = Atoms(host.substrate.atoms() + film, cell=host.cell, pbc=True)
    peer = raffle_generator()
    peer.distributions.set_element_energies(dict.fromkeys(system.spec.species, 0.0))
    peer.distributions.create(known)
    peer.set_host(slabs)
    peer.set_grid(grid_spacing=0.5)
    peer.set_bounds([[0, 0, low / c], [1, 1, (low + thickness) / c]])
    for name, ratios in {
        "default": None,
        "random": {"void": 0.0, "rand": 1.0, "walk": 0.0, "grow": 0.0, "min": 0.0},
    }.items():
        options = {} if ratios is None else {"method_ratio": ratios}
        begin = time.process_time()
        found = peer.generate(
            num_structures=n, stoichiometry=dict(system.region_counts), seed=1, **options
        )
        seconds = time.process_time() - begin
        distances = [region_minimum(atoms, len(slabs)) for atoms in found]
        line = {"seconds": seconds, "n_made": len(found), "closest_pair_angstrom": min(distances)}
        print(f"{name} {json.dumps(line)}", flush=True)


def region_minimum(atoms: Any, n_slabs: int) -> float:
    """Return the closest distance of an atom that was placed to any other, Å.

    The peer sorts atoms by species; of the closest distances those of the region are the smallest.
    """
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    return float(np.sort(distances.min(axis=1))[: len(atoms) - n_slabs].min())


def peer(n: int) -> dict[str, Any]:
    """Time RAFFLE, if it is installed and asked for."""
    if n < 1 or find_spec("raffle") is None:
        return {"skipped": "raffle is not installed" if n else "not asked for"}
    command = [sys.executable, __file__, "--run-raffle", str(n)]
    threads = {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PEER_LIMIT,
            env=os.environ | threads,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {PEER_LIMIT:.0f} s"}
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        name, _, values = line.partition(" {")
        if name in ("default", "random") and values:
            found[name] = json.loads("{" + values)
            found[name]["structures_per_second"] = found[name]["n_made"] / found[name]["seconds"]
    return found or {"failed": done.stderr.strip().splitlines()[-1:]}


def versions() -> dict[str, str]:
    """Return the versions of what was timed."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "scipy", "ase", "raffle"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1000, help="structures a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--raffle", type=int, default=0, help="structures of the peer")
    parser.add_argument("--run-raffle", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_raffle:
        run_raffle(arguments.run_raffle)
        return
    result = {
        "machine": {
            "cores": os.cpu_count(),
            "load_average": list(os.getloadavg()),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": versions(),
        "system": SYSTEM,
        "ours": ours(arguments.n, arguments.rounds),
        "raffle": peer(arguments.raffle),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
