"""Time the slicing of a large parent; prints JSON.

    python benchmarks/slicing.py [--atoms 100000] [--blocks 1500] [--block-atoms 256]

The parent is synthetic: atoms at random places, which is harder than a solid, because more atoms
must be added or removed. Compilation is timed apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version

import numpy as np

from dismaiflow.amorphous.overlap import overlap_report
from dismaiflow.amorphous.parent import ParentBox
from dismaiflow.amorphous.slicing import SliceSettings, sliced_sets

#: Atoms per Å^3 of amorphous silicon.
DENSITY = 0.049


def random_parent(n_atoms: int) -> ParentBox:
    """Place atoms at random in a cube of the density of amorphous silicon."""
    edge = (n_atoms / DENSITY) ** (1 / 3)
    places = np.random.default_rng(0).random((n_atoms, 3)) * edge
    return ParentBox(np.full(n_atoms, 14), places, np.full(3, edge))


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=100_000)
    parser.add_argument("--blocks", type=int, default=1500)
    parser.add_argument("--block-atoms", type=int, default=256)
    options = parser.parse_args()
    parent = random_parent(options.atoms)
    n_train = round(0.8 * options.blocks)
    counts = {"train": n_train, "val": options.blocks - n_train}
    composition, settings = {"Si": options.block_atoms}, SliceSettings(2.35, 1.76)
    seed = np.random.SeedSequence(0)
    start = time.perf_counter()
    sliced_sets(parent, composition, {"train": 1, "val": 1}, settings, "random", 0.8, seed)
    report = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numba": version("numba"),
        "parent_atoms": options.atoms,
        "blocks": options.blocks,
        "block_atoms": options.block_atoms,
        "first_call_s": round(time.perf_counter() - start, 2),
    }
    for split in ("random", "disjoint"):
        start, cpu = time.perf_counter(), time.process_time()
        sets = sliced_sets(parent, composition, counts, settings, split, 0.8, seed)
        report[split] = {
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "all_of_the_right_size": all(
                bool((part.structures.n_atoms == options.block_atoms).all())
                for part in sets.values()
            ),
            "overlap": overlap_report(
                {name: part.parent_index for name, part in sets.items()}, options.atoms
            ),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
