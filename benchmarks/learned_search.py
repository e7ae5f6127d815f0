"""Learned search against pure random search at equal numbers of force calls.

    python benchmarks/learned_search.py [--force-calls N] [--seeds N] [--methods M ...] [--out DIR]

Each search is a run of `InterfaceDatasetMaker` on the small interface with CHGNet, relaxed by
L-BFGS to 0.1 eV/Å, which takes fewer calls than the conjugate gradient of the paper. Searches of
one seed begin with the same pilot set. Energies are above the lowest structure of all searches; a
structure is low up to 0.4 J/m^2 of it. Runs are kept in DIR and not done again. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import run_locally

from dismaiflow.campaigns.interface_search import SearchMaker
from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
from dismaiflow.interfaces.duplicates import find_duplicates
from dismaiflow.interfaces.energy import JOULES_PER_EV, M2_PER_A2, interface_area
from dismaiflow.interfaces.ledger import SearchLedger
from dismaiflow.interfaces.rating import Rater
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.structures import StructuresRef, get_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system
from dismaiflow.systems.blocks import EnergyFilter

METHODS = ("random", "mutation", "surrogate")
PILOT, PER_JOB = 8, 4

#: J/m^2 above the lowest up to which a structure is low.
WINDOW = 0.4


def small_system() -> SystemSpec:
    spec = get_system("tiny-li2o-licl").model_dump()
    spec["dataset"]["relaxation"] |= {"optimizer": "lbfgs", "fmax": 0.1}
    return SystemSpec.from_dict(spec)


def search(method: Any, seed: int, calls: int, folder: Path) -> tuple[SearchLedger, StructureSet]:
    """Run one search, or read what an earlier run has left."""
    done = folder / f"{method}-{seed}-{calls}.done"
    if not done.exists():
        for left in folder.glob(f"{method}-{seed}-{calls}.sqlite*"):
            left.unlink()
    store = embedded_jobstore(folder / f"{method}-{seed}-{calls}.sqlite")
    store.connect()
    if not done.exists():
        spec = small_system()
        potential = put_potential(store, "chgnet", open_potential("chgnet", spec.species))
        maker = InterfaceDatasetMaker(
            method=method,
            n_pilot=PILOT,
            max_structures=10_000,
            max_force_calls=calls,
            search_maker=SearchMaker(structures_per_job=PER_JOB),
        )
        flow = maker.make(spec, potential, seed, 10_000)
        with tempfile.TemporaryDirectory() as work:
            run_locally(flow, store=store, root_dir=work, log=False, ensure_success=True)
        done.touch()
    parts = [
        document["output"]
        for document in store.query({"output.kind": "interface_search_part"}, load=True)
    ]
    ledger = SearchLedger.concatenate(
        [SearchLedger.from_bytes(get_blob(store, part["ledger"])) for part in parts]
    )
    sets = [get_structures(store, StructuresRef(**part["structures"])) for part in parts]
    structures = StructureSet.concatenate(sets)
    store.close()
    return ledger, structures


def distinct(structures: StructureSet, indices: np.ndarray) -> int:
    """Count structures that differ by more than 0.3 Å in some atom."""
    rows = np.flatnonzero(np.isin(structures.labels["index"], indices))
    groups = find_duplicates(structures.select(rows), 0.3)
    return len(rows) - sum(len(group) - 1 for group in groups)


def fit(ledger: SearchLedger, rater: Rater) -> np.ndarray:
    """Tell which structures are rated."""
    return ledger.intact & ~rater.implausible(ledger)


def measure(
    found: tuple[SearchLedger, StructureSet], calls: int, lowest: float, rater: Rater
) -> dict[str, Any]:
    """Count what a search had found when its calls were spent."""
    ledger, structures = found
    spent = np.cumsum(ledger.columns["n_force_calls"])
    inside = spent <= calls
    good = fit(ledger, rater) & inside
    energies = (ledger.columns["energy"] - lowest) * JOULES_PER_EV / M2_PER_A2 / rater.area
    low = good & (energies <= WINDOW)
    return {
        "structures": int(inside.sum()),
        "rated": int(good.sum()),
        "low": int(low.sum()),
        "distinct_low": distinct(structures, ledger.columns["index"][low]),
        "families_of_low": len(set(ledger.columns["root"][low].tolist())),
        "lowest": float(energies[good].min()),
        "mean": float(energies[good].mean()),
        "mean_after_pilot": float(energies[good][PILOT:].mean()),
        "calls_per_structure": float(ledger.columns["n_force_calls"][inside].mean()),
        "energies": np.round(energies[good], 4).tolist(),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over the seeds."""
    names = [name for name in runs[0] if name != "energies"]
    return {
        name: {
            "mean": round(float(np.mean([run[name] for run in runs])), 4),
            "std": round(float(np.std([run[name] for run in runs], ddof=min(1, len(runs) - 1))), 4),
        }
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force-calls", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("learned_search"))
    words = parser.parse_args()
    words.out = words.out.resolve()  # jobs run in folders of their own
    words.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DISMAI_SCRATCH_DIR", str(words.out / "scratch"))
    found: dict[str, list[tuple[SearchLedger, StructureSet]]] = {m: [] for m in words.methods}
    for seed in range(words.seeds):
        for method in words.methods:
            found[method].append(search(method, seed, words.force_calls, words.out))
            print(f"{method}, seed {seed}: done", file=sys.stderr, flush=True)
    ledgers = [ledger for runs in found.values() for ledger, _ in runs]
    spec = small_system()
    area = interface_area(InterfaceSystem.from_spec(spec).host.cell)
    rater = Rater(sum(spec.composition.values()), area, EnergyFilter(window=WINDOW))
    lowest = min(float(one.columns["energy"][fit(one, rater)].min()) for one in ledgers)
    runs = {
        method: [measure(one, words.force_calls, lowest, rater) for one in pairs]
        for method, pairs in found.items()
    }
    facts = {"force_calls": words.force_calls, "seeds": words.seeds, "pilot": PILOT}
    facts |= {"lowest_eV": lowest, "window": WINDOW, "unit": "J/m^2 above the lowest of all"}
    result = {m: {"summary": summary(each), "runs": each} for m, each in runs.items()}
    print(json.dumps({"benchmark": "learned search", **facts, "methods": result}, indent=1))


if __name__ == "__main__":
    main()
