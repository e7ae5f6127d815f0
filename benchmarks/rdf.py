"""Time the published g(r) against vasppy on the same structures, side by side; prints JSON.

    python benchmarks/rdf.py [--structures 20] [--atoms 256]

The structures are silicon at random places of amorphous density, pushed apart. vasppy gets the
2 x 2 x 2 supercell ready made, which the published script makes too: its time stands apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version

import numpy as np
from pymatgen.core import Lattice, Structure
from vasppy.rdf import RadialDistributionFunction

from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.metrics.published_rdf import published_rdf

#: Atoms per Å^3 of amorphous silicon.
DENSITY = 0.049


def random_structures(n_structures: int, n_atoms: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return places of each structure, and their cell."""
    rng = np.random.default_rng(0)
    cell = np.eye(3) * (n_atoms / DENSITY) ** (1 / 3)
    return [
        push_apart(rng.random((n_atoms, 3)) @ cell, cell, 2.0, 1000, "corrected").positions
        for _ in range(n_structures)
    ], cell


def main() -> None:
    """Parse, time, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--atoms", type=int, default=256)
    options = parser.parse_args()
    places, cell = random_structures(options.structures, options.atoms)
    start = time.perf_counter()
    published_rdf(places[0], cell)
    first_call = time.perf_counter() - start
    # CPU time, as other work may share the machine; one structure after the other, each by both.
    spent = dict.fromkeys(("ours", "supercell", "vasppy"), 0.0)
    largest = 0.0
    for positions in places:
        marks = [time.process_time()]
        ours = published_rdf(positions, cell)
        marks.append(time.process_time())
        symbols = ["Si"] * len(positions)
        structure = Structure(Lattice(cell), symbols, positions, coords_are_cartesian=True)
        structure.make_supercell(2)
        marks.append(time.process_time())
        every = list(range(len(structure)))
        theirs = RadialDistributionFunction([structure], every, every)
        marks.append(time.process_time())
        for name, seconds in zip(spent, np.diff(marks), strict=True):
            spent[name] += float(seconds)
        largest = max(largest, float(np.abs(ours - theirs.rdf).max()))
    whole = spent["supercell"] + spent["vasppy"]
    report = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numba", "numpy", "pymatgen", "vasppy")},
        "structures": options.structures,
        "atoms": options.atoms,
        "first_call_s": round(first_call, 2),
        "ours_per_cpu_s": round(options.structures / spent["ours"], 1),
        "vasppy_per_cpu_s": round(options.structures / spent["vasppy"], 2),
        "vasppy_with_supercell_per_cpu_s": round(options.structures / whole, 2),
        "ratio": round(spent["vasppy"] / spent["ours"], 1),
        "ratio_with_supercell": round(whole / spent["ours"], 1),
        "largest_difference": largest,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
