"""Time bond angles of silicon next to pymatgen; prints JSON.

    python benchmarks/angles.py [--structures 20] [--sites 48]

Structures of 256 atoms from a warm crystal to a liquid. pymatgen finds the bonds of the first atoms
of the first structures, on the same core in the same run, and its time is scaled up. Compilation is
timed apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from importlib.metadata import version
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk

from dismaiflow.metrics.angles import AngleAnalyser, angle_histogram
from dismaiflow.metrics.motifs import MotifAnalyser
from dismaiflow.metrics.voronoi import voronoi_cells

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

#: Å. Displacements along each axis of the structures, in turn.
WIDTHS = (0.1, 0.25, 0.6)

#: Structures that pymatgen sees.
PEER_STRUCTURES = 3


def structures(n: int) -> list[Atoms]:
    """Displace the atoms of crystalline silicon, more and less."""
    rng, out = np.random.default_rng(0), []
    for k in range(n):
        atoms = bulk("Si", cubic=True) * (4, 4, 2)
        atoms.positions += WIDTHS[k % len(WIDTHS)] * rng.standard_normal(atoms.positions.shape)
        out.append(atoms)
    return out


def between(bonds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles between each two bonds, degrees."""
    units = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    cosines = [float(u @ v) for u, v in combinations(units, 2)]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def peer(chosen: list[Atoms], analyser: AngleAnalyser, n_sites: int) -> dict[str, Any]:
    """Time pymatgen on the first atoms, and compare the angles at these."""
    from pymatgen.analysis.local_env import CrystalNN
    from pymatgen.io.ase import AseAtomsAdaptor

    finder = CrystalNN(distance_cutoffs=None, x_diff_weight=0, porous_adjustment=False)
    seconds, largest = 0.0, 0.0
    for atoms in chosen:
        structure = AseAtomsAdaptor.get_structure(atoms)
        ours = analyser.analyse(atoms.numbers, atoms.positions, atoms.cell.array)
        theirs = []
        start = time.process_time()
        for site in range(n_sites):
            found = finder.get_nn_info(structure, site)
            bonds = np.array([one["site"].coords for one in found]).reshape(-1, 3)
            theirs.append(between(bonds - structure[site].coords))
        seconds += time.process_time() - start
        angles = np.concatenate(theirs)
        largest = max(largest, float(np.abs(ours[: len(angles)] - angles).max()))
    return {
        "sites_timed": n_sites * len(chosen),
        "structures_per_s": round(n_sites * len(chosen) / seconds / len(chosen[0]), 4),
        "largest_difference_degrees": largest,
    }


def rate(call: Any, chosen: list[Atoms]) -> float:
    """Return how many structures a second of CPU time serves."""
    start = time.process_time()
    for atoms in chosen:
        call(atoms)
    return len(chosen) / (time.process_time() - start)


def main() -> None:
    """Parse, time, print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--sites", type=int, default=48)
    options = parser.parse_args()
    chosen = structures(options.structures)
    analyser, motifs = AngleAnalyser(["Si"]), MotifAnalyser(["Si"], ["Si"], None)

    def alone(atoms: Atoms) -> None:
        angle_histogram(analyser.analyse(atoms.numbers, atoms.positions, atoms.cell.array))

    def with_motifs(atoms: Atoms) -> None:
        arguments = atoms.numbers, atoms.positions, atoms.cell.array
        cells = voronoi_cells(atoms.positions, atoms.cell.array)
        motifs.analyse(*arguments, cells=cells)
        angle_histogram(analyser.analyse(*arguments, cells=cells))

    start = time.perf_counter()
    with_motifs(chosen[0])
    first = time.perf_counter() - start
    ours, other = rate(alone, chosen), peer(chosen[:PEER_STRUCTURES], analyser, options.sites)
    report = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numba", "numpy", "scipy", "pymatgen")},
        "atoms": len(chosen[0]),
        "first_call_s": round(first, 2),
        "structures_per_s": round(ours, 2),
        "with_motifs_per_s": round(rate(with_motifs, chosen), 2),
        "pymatgen": other,
        "times_faster": round(ours / other["structures_per_s"], 1),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
