"""Time the training step of CryinGAN against a direct implementation; prints JSON.

    OMP_NUM_THREADS=1 python benchmarks/cryingan_step.py [--system alloy] [--batch 32] [--pairs 10]
        [--search queue]

Both take the same number of cycles of five batches (five steps of the critics, one of the
generator), in turn, on one thread; what is compared are CPU seconds. The direct implementation is
written here from the paper (section 2.4, Fig. 6) and from what the published code does: 1x1
convolutions, real and generated structures one after the other, 27 periodic images, the
generator's graph built in each step, the penalty by differentiating twice. It finds neighbours one
point after the other, with a queue of the nearest (``queue``: stands for the search of PyTorch3D
that the published code calls), or by `cdist` and `topk`, which take longer (``topk``).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import nn

from dismaiflow.models.cryingan.learner import CryinGANLearner
from dismaiflow.models.cryingan.settings import cryingan_settings
from dismaiflow.models.data.fixed_cell import FixedCellData
from dismaiflow.models.train.learner import Place
from dismaiflow.models.train.randomness import generator as seeded_generator

#: Atoms of each species, cell edges (Å) and λ.
SYSTEMS: dict[str, tuple[tuple[int, ...], tuple[float, ...], float]] = {
    "alloy": ((154, 51, 51), (14.4, 14.4, 14.4), 0.1),
    "interface": ((72, 48, 24, 72, 48), (12.0, 14.0, 37.0), 0.05),
}
CYCLE, NEIGHBORS, LATENT, SLOPE = 5, 6, 64, 0.2
Pair = tuple[torch.Tensor, torch.Tensor]


def pointwise(first: int, kernel: int) -> nn.Sequential:
    """Return the convolutions of a critic."""
    sizes = ((first, 512, kernel), (512, 512, 1), (512, 256, 1))
    parts = [(nn.Conv2d(a, b, (1, k)), nn.LeakyReLU(SLOPE, inplace=True)) for a, b, k in sizes]
    return nn.Sequential(*(layer for pair in parts for layer in pair))


class DirectCritic(nn.Module):
    """A critic made of convolutions."""

    def __init__(self, counts: tuple[int, ...], kernel: int) -> None:
        super().__init__()
        self.counts = counts
        self.points = pointwise(1, kernel)
        self.pools = [nn.AvgPool2d((count, 1)) for count in counts]
        self.head = nn.Sequential(
            nn.Linear(256 * len(counts), 1000),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(1000, 200),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(200, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Judge structures, (n, 1, n_atoms, n_features)."""
        hidden, first, pooled = self.points(x), 0, []
        for count, average in zip(self.counts, self.pools, strict=True):
            pooled.append(average(hidden[:, :, first : first + count]))
            first += count
        # Channels run slowest in the published code, species in ours: the same up to the order
        # of the head's inputs; here species, so that both can share weights.
        return self.head(torch.cat(pooled, dim=2).transpose(1, 2).flatten(1))


class DirectGenerator(nn.Module):
    """The generator made of transposed convolutions."""

    def __init__(self, n_atoms: int) -> None:
        super().__init__()
        self.first = nn.Linear(LATENT, 128 * n_atoms)
        layers: list[nn.Module] = []
        for a, b, k in ((128, 256, 3), (256, 512, 1), (512, 256, 1)):
            layers += [nn.ConvTranspose2d(a, b, (1, k)), nn.BatchNorm2d(b, 0.8), nn.ReLU(True)]
        self.rest = nn.Sequential(*layers, nn.ConvTranspose2d(256, 1, (1, 1)), nn.Sigmoid())

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Generate structures, (n, 1, n_atoms, 3)."""
        hidden = torch.relu_(self.first(noise)).unflatten(1, (-1, 128))
        return self.rest(hidden.transpose(1, 2)[..., None].contiguous())


@njit
def queue_nearest(atoms: np.ndarray, images: np.ndarray, k: int) -> np.ndarray:
    """Find the k nearest images of each atom, ascending, with a heap led by the farthest."""
    index = np.empty((atoms.shape[0], atoms.shape[1], k), dtype=np.int64)
    heap, which = np.empty(k, dtype=atoms.dtype), np.empty(k, dtype=np.int64)
    for n in range(atoms.shape[0]):
        for i in range(atoms.shape[1]):
            heap[:] = np.inf
            for j in range(images.shape[1]):
                length = atoms.dtype.type(0)
                for axis in range(3):
                    apart = atoms[n, i, axis] - images[n, j, axis]
                    length += apart * apart
                if length < heap[0]:
                    place = 0
                    while 2 * place + 1 < k:  # the new one sinks below all that are farther
                        below = 2 * place + 1
                        if below + 1 < k and heap[below + 1] > heap[below]:
                            below += 1
                        if heap[below] <= length:
                            break
                        heap[place], which[place] = heap[below], which[below]
                        place = below
                    heap[place], which[place] = length, j
            index[n, i] = which[np.argsort(heap)]
    return index


def direct_distances(
    fractions: torch.Tensor, cell: torch.Tensor, search: str = "queue"
) -> torch.Tensor:
    """Return the distances to the nearest among 27 images, gradients through those found only."""
    steps = torch.cartesian_prod(*[torch.tensor([0.0, -1.0, 1.0])] * 3)
    fractions = fractions[:, 0]
    images = (fractions[:, None] + steps[:, None]).flatten(1, 2) @ cell
    atoms = fractions @ cell
    with torch.no_grad():
        if search == "queue":
            arrays = (atoms.detach().numpy(), images.detach().numpy())
            found = torch.from_numpy(queue_nearest(*arrays, NEIGHBORS + 1))
        else:
            apart = torch.cdist(atoms, images, compute_mode="donot_use_mm_for_euclid_dist")
            found = apart.topk(NEIGHBORS + 1, largest=False).indices
    chosen = images.gather(1, found.flatten(1)[..., None].expand(-1, -1, 3))
    vectors = chosen.view(*found.shape, 3) - atoms[:, :, None]
    return vectors.square().sum(-1)[:, None, :, 1:].sqrt()


class Direct:
    """The published step."""

    def __init__(
        self, learner: CryinGANLearner, cell: torch.Tensor, weight: float, search: str
    ) -> None:
        self.cell, self.weight, counts = cell, weight, learner.counts
        self.search = search
        self.generator = DirectGenerator(sum(counts))
        self.critics = (DirectCritic(counts, 3), DirectCritic(counts, NEIGHBORS))
        self._share_weights(learner)
        networks = (self.generator, *self.critics)
        self.optimizers = [torch.optim.Adam(x.parameters(), 5e-5, (0.5, 0.999)) for x in networks]

    def step(self, real: Pair, draws: dict[str, torch.Tensor], generate: bool) -> list[float]:
        """Take a step; return Wasserstein distance, both penalties and the generator's loss."""
        outputs = [critic(x) for critic, x in zip(self.critics, real, strict=True)]
        coordinates = self.generator(draws["noise"])
        fake = (coordinates, direct_distances(coordinates, self.cell, self.search))
        against = [critic(x.detach()) for critic, x in zip(self.critics, fake, strict=True)]
        for optimizer in self.optimizers[1:]:
            optimizer.zero_grad()
        distance, total, penalties = torch.zeros(()), torch.zeros(()), []
        for i, factor in enumerate((1.0, self.weight)):
            apart = outputs[i].mean() - against[i].mean()
            places = draws[f"places_{i}"][:, None, None, None]
            penalty = self._penalty(i, places * real[i] + (1 - places) * fake[i].detach())
            distance = distance + factor * apart
            total = total + factor * (10 * penalty - apart)
            penalties.append(penalty.item())
        total.backward()
        for optimizer in self.optimizers[1:]:
            optimizer.step()
        logged = [distance.item(), *penalties]
        return [*logged, self._generate(draws["second"])] if generate else logged

    def _penalty(self, i: int, between: torch.Tensor) -> torch.Tensor:
        between.requires_grad_()
        out = self.critics[i](between)
        (slope,) = torch.autograd.grad(out, between, torch.ones_like(out), create_graph=True)
        return (slope.flatten(1).norm(2, dim=1) - 1).square().mean()

    def _generate(self, noise: torch.Tensor) -> float:
        for critic in self.critics:
            critic.requires_grad_(False)
        self.optimizers[0].zero_grad()
        fake = self.generator(noise)
        loss = -self.critics[0](fake).mean()
        distances = direct_distances(fake, self.cell, self.search)
        loss = loss - self.weight * self.critics[1](distances).mean()
        loss.backward()
        self.optimizers[0].step()
        for critic in self.critics:
            critic.requires_grad_(True)
        return float(loss.item())

    def _share_weights(self, learner: CryinGANLearner) -> None:
        """Begin with the weights of ours."""
        ours = learner.generator
        target = [self.generator.first, *self.generator.rest]
        linear = [ours.first, ours.axes, *ours.layers, ours.last]
        convolutions = [x for x in target if isinstance(x, nn.Linear | nn.ConvTranspose2d)]
        with torch.no_grad():
            for mine, its in zip(linear, convolutions, strict=True):
                weight = mine.weight
                if mine is ours.axes:
                    weight = weight.view(3, -1, ours.channels).permute(2, 1, 0)[:, :, None]
                elif mine is not ours.first:
                    weight = weight.T[..., None, None]
                its.weight.copy_(weight)
                its.bias.copy_(ours.axes_bias if mine is ours.axes else mine.bias)
            for name, critic in zip(("coordinates", "bonds"), self.critics, strict=True):
                network = learner.modules[name]
                mine = [m for m in network.modules() if isinstance(m, nn.Linear)]
                its = [m for m in critic.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
                for a, b in zip(mine, its, strict=True):
                    b.weight.copy_(a.weight.view(b.weight.shape))
                    b.bias.copy_(a.bias)


def structures(counts: tuple[int, ...], edges: tuple[float, ...], n: int) -> FixedCellData:
    """Place atoms on the sites of a lattice, rattled by 0.1 Å."""
    rng, n_atoms = np.random.default_rng(0), sum(counts)
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3) / 8
    sites = grid[(8 * grid).sum(1) % 2 == 0]
    sites = np.concatenate([sites, grid[(8 * grid).sum(1) % 2 == 1]])[:n_atoms]
    order = np.array([rng.permutation(n_atoms) for _ in range(n)])
    noise = rng.normal(0, 0.1, (n, n_atoms, 3)) / np.array(edges)
    numbers = np.repeat(np.arange(1, 1 + len(counts)), counts).astype(np.uint8)
    fractions = (sites[order] + noise) % 1
    return FixedCellData(fractions, counts, numbers, np.arange(n_atoms), np.diag(edges))


def draws_of(step: int, n: int) -> dict[str, torch.Tensor]:
    """Repeat what the learner draws in a step, in its order."""
    rng = seeded_generator(0, "step", step)
    draws = {"noise": torch.randn(n, LATENT, generator=rng)}
    draws |= {f"places_{i}": torch.rand(n, generator=rng) for i in range(2)}
    return draws | {"second": torch.randn(n, LATENT, generator=rng)}


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, default="alloy")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--search", choices=("queue", "topk"), default="queue")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts, edges, weight = SYSTEMS[options.system]
    settings = cryingan_settings({"bond_loss_weight": weight, "device": "cpu"})
    data = structures(counts, edges, options.batch)
    learner = CryinGANLearner(settings, data, seed=0)
    cell = torch.tensor(data.cell, dtype=torch.float32)
    direct = Direct(learner, cell, weight, options.search)
    # Compiled before the clock runs.
    direct_distances(torch.rand(1, 1, len(data.numbers), 3), cell, options.search)
    batch = torch.arange(options.batch)
    known = learner.real(batch, torch.Generator())
    real = (known["coordinates"][:, None], known["bonds"][:, None])
    seconds: dict[str, list[float]] = {"ours": [], "direct": []}
    apart: list[float] = []
    for pair in range(options.pairs):
        steps = range(pair * CYCLE, (pair + 1) * CYCLE)
        ours: list[dict[str, float]] = []
        theirs: list[list[float]] = []
        for name in ("ours", "direct") if pair % 2 == 0 else ("direct", "ours"):
            start = time.process_time()
            for step in steps:
                position = step - steps.start
                if name == "ours":
                    rng = seeded_generator(0, "step", step)
                    ours.append(learner.step(batch, rng, Place(step, pair, position)))
                else:
                    draws = draws_of(step, options.batch)
                    theirs.append(direct.step(real, draws, generate=position == 0))
            seconds[name].append(time.process_time() - start)
        keys = ("wasserstein", "penalty_coordinates", "penalty_bonds", "generator_loss")
        mine = [[losses[key] for key in keys if key in losses] for losses in ours]
        both = np.concatenate(mine), np.concatenate(theirs)
        apart.append(float(np.abs(both[0] - both[1]).max()))
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "system": options.system,
        "batch": options.batch,
        "pairs": options.pairs,
        "search": options.search,
        "cpu_seconds_per_cycle": {k: round(median(v), 3) for k, v in seconds.items()},
        "ratio": round(
            median(d / o for d, o in zip(seconds["direct"], seconds["ours"], strict=True)), 3
        ),
        "largest_difference_of_losses": {"first_cycle": apart[0], "last_cycle": apart[-1]},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
