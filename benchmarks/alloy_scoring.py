"""Time the scoring of alloys against its peers, side by side; prints JSON.

    python benchmarks/alloy_scoring.py [--n 200] [--scripts CHECKOUT --python INTERPRETER]

Peers are a direct count with pymatgen's neighbour list, as one would write it with the library, and
the published scripts, if a checkout of ertekin-research-group/Dismai-Bench (MIT) and an interpreter
that can run them are named. All figures are CPU seconds; ratios are to ours on the same structures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.io.ase import AseAtomsAdaptor

from dismaiflow.alloy.monte_carlo import random_occupation
from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser
from dismaiflow.benchmark.alloy_scoring import AlloyScorer
from dismaiflow.benchmark.protocol import PUBLISHED_ALIGNMENTS, ScoringProtocol
from dismaiflow.structures.dataset import extxyz_text
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from dismaiflow.structures.structure_set import StructureSet

#: Rounds, of which the median counts; ours and the library's alternate.
ROUNDS = 3


def random_structures(alloy: AlloySystem, n: int, sigma: float) -> StructureSet:
    """Make random occupancies, with Gaussian noise of sigma (Å) on the positions."""
    rng = np.random.default_rng(7)
    occupations = np.array(
        [random_occupation(alloy.composition, alloy.species, rng) for _ in range(n)]
    )
    perfect = alloy.structures(occupations)
    noisy = perfect.positions + rng.normal(0, sigma, perfect.positions.shape)
    return type(perfect).uniform(
        perfect.numbers.reshape(n, -1), noisy.reshape(n, -1, 3), alloy.lattice.cell
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that some work takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def count_with_pymatgen(alloy: AlloySystem, structures: StructureSet) -> list[Counter[object]]:
    """Count pairs by shell with one neighbour list per structure."""
    distances = alloy.lattice.shells(alloy.expansion.n_shells).distances
    limits = (distances[1:] + distances[:-1]) / 2
    counts = []
    for atoms in structures:
        found = AseAtomsAdaptor.get_structure(atoms)
        centres, points, _, lengths = found.get_neighbor_list(float(distances[-1]) + 0.12)
        symbols = np.array([site.specie.symbol for site in found])
        kinds = np.char.add(symbols[centres], symbols[points])
        shells = np.searchsorted(limits, lengths).tolist()
        counts.append(Counter(zip(shells, kinds.tolist(), strict=True)))
    return counts


def scripts_seconds(checkout: Path, python: str, structures: StructureSet) -> float:
    """Return the CPU seconds of the published counting script, imports included."""
    utils = checkout / "benchmark" / "alloy" / "cluster_counts" / "utils"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "gen_clean.extxyz").write_text(extxyz_text(structures))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [
                *(python, str(utils / "main.py"), "--split_batches", "False"),
                *("--data_path", "gen_clean.extxyz", "--lat_in", str(utils / "POSCAR_fcc_unit")),
            ],
            cwd=folder,
            # Spinning BLAS threads would count as work of the scripts.
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="structures for ours and the library")
    parser.add_argument("--scripts", type=Path, help="checkout of Dismai-Bench")
    parser.add_argument("--python", default="python3", help="interpreter for the scripts")
    parser.add_argument("--n-scripts", type=int, default=4, help="structures for the scripts")
    options = parser.parse_args()

    alloy = AlloySystem.from_spec(get_system("alloy-1500K-wide"))
    perfect = random_structures(alloy, options.n, 0.0)
    noisy = random_structures(alloy, options.n, 0.1)
    protocols = [ScoringProtocol(alignment=a) for a in PUBLISHED_ALIGNMENTS]
    protocols.append(ScoringProtocol(name="corrected"))
    places = np.arange(options.n)

    ours: dict[str, float] = {}
    for protocol in protocols:
        analyser = AlloyAnalyser(alloy, protocol)
        analyser.count_generated(noisy.select([0]), places[:1])  # compile
        work = partial(analyser.count_generated, noisy, places)
        rounds = [cpu_seconds(work) for _ in range(ROUNDS)]
        ours[protocol.key] = float(np.median(rounds)) / options.n

    analyser = AlloyAnalyser(alloy, protocols[0])
    reference = analyser.count_reference(perfect)
    here, library = [], []
    for _ in range(ROUNDS):
        here.append(cpu_seconds(lambda: analyser.count_reference(perfect)) / options.n)
        library.append(cpu_seconds(lambda: count_with_pymatgen(alloy, perfect)) / options.n)
    scorer = AlloyScorer(analyser, reference)
    bootstrap = cpu_seconds(lambda: scorer.score_run(reference, options.n, []))

    result = {
        "what": "CPU seconds per structure of 256 atoms",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "versions": {name: version(name) for name in ("dismaiflow", "numba", "numpy", "pymatgen")},
        "n": options.n,
        "ours_noisy_by_protocol": ours,
        "ours_perfect_count": float(np.median(here)),
        "pymatgen_neighbor_list_count": float(np.median(library)),
        "ratio_pymatgen_to_ours": float(np.median(np.array(library) / np.array(here))),
        "score_with_bootstrap_cpu_s": bootstrap,
    }
    if options.scripts is not None:
        few = perfect.select(np.arange(options.n_scripts))
        seconds = scripts_seconds(options.scripts, options.python, few) / options.n_scripts
        result["published_scripts_count"] = seconds
        result["ratio_published_to_ours"] = seconds / float(np.median(here))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
