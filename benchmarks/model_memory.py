"""Compute what the training of each model of the paper takes in memory at its size; prints JSON.

    OMP_NUM_THREADS=2 python benchmarks/model_memory.py [--models cdvae ...] [--system lsc-lco]
        [--batches 1 2] [--steps 2] [--device cpu]

Each model is trained for some steps at the paper's settings, on random structures of the system's
size with atoms that keep apart, with the smaller batches named by `--batches`, each in a process of
its own. Every tensor that lives is counted (weights, gradients, moments of the optimiser, averages,
activations), so that the peak does not depend on the allocator. It grows linearly with the batch:
what the paper's batch size takes is extrapolated. With `--device cuda` nothing is extrapolated: the
paper's batch is trained, and peak and seconds of a step are measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.presets import preset, preset_models
from dismaiflow.models.registry import get_model
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

GIGABYTE = 1e9

#: What must not be exceeded, GB.
LIMIT = 40.0


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all tensors that live, each storage once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it returns."""
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf.untyped_storage())
        return found

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self._known and self._known[key][0]() is storage:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            if self._known.pop(key, None):
                self.now -= size

        self._known[key] = (weakref.ref(storage, gone), size)
        self.now += size
        self.peak = max(self.peak, self.now)


def random_data(spec: SystemSpec, n: int) -> ModelData:
    """Return structures of the system's composition and cell, with atoms near places of a grid."""
    rng = np.random.default_rng(0)
    cell = np.asarray(spec.cell_vectors)
    numbers = [atomic_numbers[s] for s, count in spec.composition.items() for _ in range(count)]
    spacing = (abs(np.linalg.det(cell)) / len(numbers)) ** (1 / 3)
    steps = np.ceil(np.linalg.norm(cell, axis=1) / spacing).astype(int)
    grid = np.stack(np.meshgrid(*map(np.arange, steps), indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = np.stack([rng.permutation(len(grid))[: len(numbers)] for _ in range(n)])
    positions = (grid[chosen] + rng.uniform(0.3, 0.7, (n, len(numbers), 3))) / steps @ cell
    return ModelData(StructureSet.uniform([numbers] * n, positions, cell), spec=spec)


def train(name: str, system: str, batch: int, steps: int, device: str) -> dict[str, float]:
    """Train for some steps and return the peak in bytes, and the seconds of a step."""
    spec = get_system(system)
    changed = {"batch_size": batch, "max_steps": steps, "device": device}
    # Bonds by CrystalNN take minutes for structures of random atoms, and no memory that counts.
    bonds = {"encoder_graph": "nearest"} if name == "cdvae" else {}
    settings = preset(name, spec).settings | changed | bonds
    data = random_data(spec, batch)
    tracked = LiveTensors()
    with tempfile.TemporaryDirectory() as folder:
        model = get_model(name, settings)
        began = time.perf_counter()
        if device == "cpu":
            with tracked:
                done = model.fit(data, Path(folder), seed=0, budget=Budget())
        else:
            done = model.fit(data, Path(folder), seed=0, budget=Budget())
            tracked.peak = torch.cuda.max_memory_allocated()
        spent = time.perf_counter() - began
    assert done is not None
    return {"peak": tracked.peak, "seconds_per_step": spent / done.step}


def measured(*words: Any) -> dict[str, float]:
    """Train in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(train, words)


def memory(name: str, system: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the memory of a model at the paper's batch size."""
    paper = preset(name, get_system(system)).settings["batch_size"]
    if asked.device != "cpu":
        found = measured(name, system, paper, asked.steps, asked.device)
        peak = found["peak"] / GIGABYTE
        seconds = found["seconds_per_step"]
        return {"batch": paper, "peak_gb": peak, "seconds_per_step": seconds, "fits": peak < LIMIT}
    peaks = {n: measured(name, system, n, asked.steps, "cpu")["peak"] for n in asked.batches}
    (few, small), (many, large) = min(peaks.items()), max(peaks.items())
    slope = (large - small) / (many - few)
    peak = (small + slope * (paper - few)) / GIGABYTE
    return {
        "batch": paper,
        "measured_gb": {str(n): round(value / GIGABYTE, 4) for n, value in peaks.items()},
        "per_structure_gb": round(slope / GIGABYTE, 4),
        "peak_gb": round(peak, 3),
        "fits": peak < LIMIT,
    }


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(preset_models()))
    parser.add_argument("--system", default="lsc-lco")
    parser.add_argument("--batches", nargs=2, type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    found = {name: memory(name, asked.system, asked) for name in asked.models}
    facts = {"system": asked.system, "device": asked.device, "limit_gb": LIMIT}
    versions = {"torch": torch.__version__, "machine": platform.machine()}
    print(json.dumps(facts | versions | {"models": found}, indent=1))


if __name__ == "__main__":
    main()
