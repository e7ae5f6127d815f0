"""Relax the same interfaces one by one and in batches; prints JSON.

    python benchmarks/batched_relaxation.py [SYSTEM] [--n 6] [--potential chgnet] [--device cpu]

Both ways run the same optimiser. Batches add numbers in another order, and a conjugate gradient
takes small differences to other minima; so the end states are compared by energy and by d_all, and
beside these stands the floor: d_all of the end states drawn again with replacement. Times are of
the whole relaxation, on one core where the device is the CPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from typing import Any

import numpy as np

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.structure_analysis import AnalysisPlan, StructureAnalyser
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_scoring import StructureScorer
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.lockstep import relax_batched
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import RelaxationResult, RelaxationSettings
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

#: Times that the floor is drawn.
N_FLOOR = 200


def analysed(
    spec: SystemSpec, structures: StructureSet, results: list[RelaxationResult]
) -> StructureFeatures:
    """Return the features of the end states."""
    analyser = StructureAnalyser(spec, ScoringProtocol.for_kind(spec.kind, "corrected"))
    rows = []
    for i, result in enumerate(results):
        part = structures.slice_of(i)
        found = analyser.analyse(structures.numbers[part], result.positions, structures.cells[i])
        rows.append((i, found))
    return StructureFeatures.from_rows(rows, [])


def compare(
    spec: SystemSpec,
    structures: StructureSet,
    one: list[RelaxationResult],
    batch: list[RelaxationResult],
) -> dict[str, Any]:
    """Return the differences of the end states, and the floor."""
    here, there = analysed(spec, structures, one), analysed(spec, structures, batch)
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), ("d_all",), spec.composition, here)
    ours, theirs = (scorer.vectors(f, "d_all") for f in (there, here))
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(theirs), size=(N_FLOOR, len(theirs)))
    floor = np.linalg.norm(theirs[drawn].mean(axis=1) - theirs.mean(axis=0), axis=1)
    n_atoms = structures.n_atoms
    energies = np.array([[r.final_energy for r in results] for results in (one, batch)], float)
    moved = [
        float(np.linalg.norm(a.positions - b.positions, axis=1).max())
        for a, b in zip(one, batch, strict=True)
    ]
    return {
        "end_energy_difference_meV_per_atom": {
            "mean_abs": float(1e3 * np.abs((energies[1] - energies[0]) / n_atoms).mean()),
            "max_abs": float(1e3 * np.abs((energies[1] - energies[0]) / n_atoms).max()),
        },
        "largest_displacement_A": [round(value, 4) for value in moved],
        "d_all_between": float(np.linalg.norm(ours.mean(axis=0) - theirs.mean(axis=0))),
        "floor_d_all": {"median": float(np.median(floor)), "n": len(theirs)},
        "statuses": {
            name: sorted(result.status for result in results)
            for name, results in (("one_by_one", one), ("batched", batch))
        },
        "steps": {
            name: [result.n_steps for result in results]
            for name, results in (("one_by_one", one), ("batched", batch))
        },
    }


def main() -> None:
    """Parse, relax both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="?", default="tiny-li2o-licl")
    parser.add_argument("--n", type=int, default=6)
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-steps", type=int, default=1000)
    options = parser.parse_args()

    system = InterfaceSystem.from_spec(get_system(options.system))
    spec = system.spec
    generator = RandomInterfaces(system.host, spec.interface, spec.species)
    structures = generator.generate(range(options.n), seed=0, n_total=options.n).structures
    potential = open_potential(options.potential, spec.species)
    settings = replace(RelaxationSettings(), max_steps=options.max_steps)

    start = time.perf_counter()
    one = relax_set(structures, potential, settings, n_processes=1)
    serial = time.perf_counter() - start
    evaluator = potential.evaluator(options.device)
    if evaluator is None:
        raise SystemExit(f"{options.potential} cannot compute batches")
    start = time.perf_counter()
    found = dict(relax_batched(list(structures), evaluator, settings))
    batched = time.perf_counter() - start
    batch = [found[i] for i in range(options.n)]
    report = {
        "machine": platform.machine(),
        "system": spec.name,
        "n_atoms": int(structures.n_atoms[0]),
        "potential": potential.card.name,
        "versions": potential.card.versions,
        "device": options.device,
        "n": options.n,
        "seconds": {"one_by_one": round(serial, 1), "batched": round(batched, 1)},
        "speed_up": round(serial / batched, 2),
        **compare(spec, structures, one, batch),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
