"""Time fingerprints of local environments next to matminer; prints JSON.

    python benchmarks/motifs.py [--structures 20] [--every 8]

Random Li3ScCl6-LiCoO2 interfaces of 264 atoms, displaced as by a relaxation and as generated, of
which the 120 cations are analysed; and silicon of 256 atoms. matminer analyses every so manieth
site of the first structures, on the same core in the same run, and its time is scaled up.
Compilation is timed apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.metrics.motifs import MotifAnalyser
from dismaiflow.systems.registry import get_system

if TYPE_CHECKING:
    from ase import Atoms

#: Å. Displacements along each axis.
INTERFACE_WIDTH, SILICON_WIDTH = 0.15, 0.25

#: Structures that matminer sees.
PEER_STRUCTURES = 2

OXIDATION_STATES = {"Li": 1, "Sc": 3, "Co": 3, "Cl": -1, "O": -2}


def displaced(atoms: Atoms, width: float, rng: np.random.Generator) -> Atoms:
    """Return a copy whose atoms are displaced."""
    out = atoms.copy()
    out.positions += width * rng.standard_normal(out.positions.shape)
    return out


def interfaces(n: int, width: float = INTERFACE_WIDTH) -> list[Atoms]:
    """Generate interfaces of the built-in system and displace their atoms."""
    system = InterfaceSystem.from_spec(get_system("lsc-lco"))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    structures = generator.generate(range(n), seed=0).structures
    rng = np.random.default_rng(0)
    return [displaced(structures.atoms(k), width, rng) for k in range(n)]


def silicon(n: int) -> list[Atoms]:
    """Displace the atoms of crystalline silicon."""
    rng, crystal = np.random.default_rng(1), bulk("Si", cubic=True) * (4, 4, 2)
    return [displaced(crystal, SILICON_WIDTH, rng) for _ in range(n)]


def peer(
    structures: list[Atoms], analyser: MotifAnalyser, states: dict[str, int] | None, every: int
) -> dict[str, Any]:
    """Time matminer on some sites, and compare the features."""
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint
    from pymatgen.io.ase import AseAtomsAdaptor

    featurizer = CrystalNNFingerprint.from_preset("ops", cation_anion=states is not None)
    seconds, n_timed, n_sites, largest = 0.0, 0, 0, 0.0
    for atoms in structures:
        result = analyser.analyse(atoms.numbers, atoms.positions, atoms.cell.array)
        structure = AseAtomsAdaptor.get_structure(atoms)
        if states:
            structure.add_oxidation_state_by_element(states)
        n_sites += len(result.sites)
        for k in range(0, len(result.sites), every):
            start = time.process_time()
            features = featurizer.featurize(structure, int(result.sites[k]))
            seconds += time.process_time() - start
            n_timed += 1
            difference = np.abs(result.fingerprints[k, : len(features)] - features)
            largest = max(largest, float(difference.max()))
    per_structure = seconds / n_timed * n_sites / len(structures)
    return {
        "sites_timed": n_timed,
        "structures_per_s": round(1 / per_structure, 4),
        "largest_difference": largest,
    }


def compare(
    structures: list[Atoms], analyser: MotifAnalyser, states: dict[str, int] | None, every: int
) -> dict[str, Any]:
    """Time both on the same structures."""
    start = time.perf_counter()
    analyser.analyse(structures[0].numbers, structures[0].positions, structures[0].cell.array)
    first = time.perf_counter() - start
    start = time.process_time()
    n_sites = 0
    for atoms in structures:
        result = analyser.analyse(atoms.numbers, atoms.positions, atoms.cell.array)
        n_sites += len(result.sites)
    rate = len(structures) / (time.process_time() - start)
    other = peer(structures[:PEER_STRUCTURES], analyser, states, every)
    return {
        "atoms": len(structures[0]),
        "sites": n_sites // len(structures),
        "first_call_s": round(first, 2),
        "structures_per_s": round(rate, 2),
        "matminer": other,
        "times_faster": round(rate / other["structures_per_s"], 1),
    }


def main() -> None:
    """Parse, time, print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--every", type=int, default=8)
    options = parser.parse_args()
    ionic = MotifAnalyser(
        list(OXIDATION_STATES), ["Li", "Sc", "Co"], OXIDATION_STATES, appended=("Cl", "O")
    )
    covalent = MotifAnalyser(["Si"], ["Si"], None)
    report = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("numba", "numpy", "scipy", "pymatgen", "matminer")
        },
        "interface_displaced": compare(
            interfaces(options.structures), ionic, OXIDATION_STATES, options.every
        ),
        "interface_as_generated": compare(
            interfaces(options.structures, 0.0), ionic, OXIDATION_STATES, options.every
        ),
        "silicon": compare(silicon(options.structures), covalent, None, options.every),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
