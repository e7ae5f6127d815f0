"""Time the training step of DiffCSP against a direct implementation; prints JSON.

    OMP_NUM_THREADS=1 python benchmarks/diffcsp_step.py [--atoms 256] [--batch 1] [--pairs 5]
        [--precision none] [--device cpu]

Both take the same steps, from the same weights and with the same noise, in turn and on one thread;
what is compared are CPU seconds (seconds on a GPU), and the peak of memory of a process that takes
one step. The direct implementation has all edges in one list, each with the channels of both its
atoms, the metric tensor and its own waves, as the published code (paper, section 4.2.2).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import platform
import resource
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dismaiflow.models.data.crystals import CrystalData
from dismaiflow.models.diffcsp.learner import NETWORK, DiffCSPLearner
from dismaiflow.models.diffcsp.network import CSPNet, time_features
from dismaiflow.models.diffcsp.settings import diffcsp_settings
from dismaiflow.models.train.learner import Place
from dismaiflow.models.train.randomness import generator

NAMES = ("ours", "direct")


class DirectNet(CSPNet):
    """The same weights, applied edge by edge."""

    def forward(
        self,
        times: torch.Tensor,
        numbers: torch.Tensor,
        fractions: torch.Tensor,
        cells: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what stands in for the noise; see `CSPNet`."""
        silu = functional.silu
        n, n_atoms = numbers.shape
        time = time_features(times, self.time_dim).repeat_interleave(n_atoms, 0)
        nodes = self.enter(torch.cat([self.species(numbers.flatten() - 1), time], 1))
        edges = torch.block_diag(*[torch.ones(n_atoms, n_atoms, device=times.device)] * n)
        i, j = edges.nonzero().T
        flat = fractions.flatten(0, 1)
        steps = 2 * math.pi * torch.arange(self.n_frequencies, device=times.device)
        phases = (((flat[j] - flat[i]) % 1)[..., None] * steps).flatten(1)
        waves = torch.cat([phases.sin(), phases.cos()], 1)
        metric = (cells @ cells.transpose(1, 2)).flatten(1)[i // n_atoms]
        for layer in self.layers:
            here = layer.norm(nodes)
            given = torch.cat([here[i], here[j], metric, waves], 1)
            messages = silu(layer.edge_out(silu(layer.edge_in(given))))
            mean = torch.zeros_like(nodes, dtype=messages.dtype).index_add(0, i, messages) / n_atoms
            out = silu(layer.node_in(torch.cat([here, mean], 1)))
            nodes = nodes + silu(layer.node_out(out))
        nodes = self.norm(nodes).view(n, n_atoms, -1)
        lattice = self.lattice(nodes.mean(1)).view(-1, 3, 3) @ cells
        return self.coordinates(nodes), lattice


def make_learner(name: str, options: argparse.Namespace) -> DiffCSPLearner:
    """Return a learner at the paper's size, of random structures at the density of the alloys."""
    rng, edge = np.random.default_rng(0), 14.4 * (options.atoms / 256) ** (1 / 3)
    fractions = rng.random((options.batch, options.atoms, 3))
    numbers = rng.choice([24, 26, 28], (options.batch, options.atoms))
    data = CrystalData(fractions, numbers, np.tile(edge * np.eye(3), (options.batch, 1, 1)))
    settings = diffcsp_settings({"mixed_precision": options.precision})
    learner = DiffCSPLearner(settings, data, None, seed=0, device=options.device)
    if name == "direct":
        learner.modules[NETWORK].__class__ = DirectNet
    return learner


def timed(learner: DiffCSPLearner, step: int, options: argparse.Namespace) -> tuple[float, float]:
    """Take a step; return its seconds and its loss."""
    on_gpu = options.device != "cpu"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    start = clock()
    losses = learner.step(torch.arange(options.batch), generator(0, "step", step), Place(step))
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - start, losses["loss"]


def peak_memory(name: str, options: argparse.Namespace, sender: Any) -> None:
    """Send the GB that a step takes above what the learner holds; runs in a process of its own."""
    torch.set_num_threads(1)
    learner = make_learner(name, options)
    if options.device == "cpu":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        timed(learner, 0, options)
        sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
    else:
        before = torch.cuda.memory_allocated()
        timed(learner, 0, options)
        sender.send((torch.cuda.max_memory_allocated() - before) / 2**30)


def memory_of(name: str, options: argparse.Namespace) -> float:
    """Return what `peak_memory` finds."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=peak_memory, args=(name, options, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return float(found)


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--precision", choices=("none", "bf16"), default="none")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)

    memory = {name: memory_of(name, options) for name in NAMES}
    learners = {name: make_learner(name, options) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    losses: dict[str, list[float]] = {name: [] for name in NAMES}
    for step in range(options.pairs + 1):
        for name in NAMES if step % 2 else NAMES[::-1]:
            took, loss = timed(learners[name], step, options)
            losses[name].append(loss)
            if step:  # the first one warms up
                seconds[name].append(took)
    ratios = [d / o for d, o in zip(seconds["direct"], seconds["ours"], strict=True)]
    apart = np.abs(np.subtract(losses["ours"], losses["direct"]))
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "device": options.device,
        "precision": options.precision,
        "atoms": options.atoms,
        "batch": options.batch,
        "pairs": options.pairs,
        "weights": sum(p.numel() for p in learners["ours"].modules[NETWORK].parameters()),
        "seconds_per_step": {name: round(median(seconds[name]), 3) for name in NAMES},
        "ratio": round(median(ratios), 3),
        "peak_memory_GB": {name: round(memory[name], 2) for name in NAMES},
        "memory_ratio": round(memory["direct"] / memory["ours"], 2),
        "difference_of_losses": {"first": float(apart[0]), "last": float(apart[-1])},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
