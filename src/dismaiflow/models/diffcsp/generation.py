"""Generation with a trained DiffCSP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dismaiflow.models.data.crystals import CrystalData, turned_like
from dismaiflow.models.diffcsp.diffusion import NoiseLevels
from dismaiflow.models.diffcsp.learner import NETWORK, make_network
from dismaiflow.models.diffcsp.sampler import Crystals, Sampler
from dismaiflow.models.train.randomness import generator as seeded_generator
from dismaiflow.models.train.weights import load_weights
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.diffcsp.settings import DiffCSPSettings


def make_sampler(folder: Path, settings: DiffCSPSettings, device: str) -> Sampler:
    """Return what samples the weights in a folder.

    Raises
    ------
    DismaiError
        If the weights are missing or do not fit.
    """
    network = make_network(settings)
    load_weights(folder, {NETWORK: network}, device=device)
    levels = NoiseLevels.build(settings.timesteps, settings.sigma_begin, settings.sigma_end)
    return Sampler(
        network.eval(),
        levels.to(device),
        settings.step_size,
        settings.corrector_steps,
        keeps_cell=settings.lattice_cost == 0,
    )


def generate(
    folder: Path,
    settings: DiffCSPSettings,
    template: StructureSet,
    n: int,
    seed: int,
    device: str,
) -> StructureSet:
    """Generate structures from uniform noise.

    Parameters
    ----------
    folder : Path
        With the weights.
    settings : DiffCSPSettings
        Of the training.
    template : StructureSet
        Structures of which species and cells are drawn.
    n : int
        How many.
    seed : int
        Of all noise.
    device : str
        Where to compute.
    """
    sampler = make_sampler(folder, settings, device)
    known = CrystalData.from_structures(template, "diffcsp", "template")
    rng = seeded_generator(seed, "sample")
    drawn = torch.randint(len(known), (n,), generator=rng).numpy()
    made = []
    for start in range(0, n, settings.sample_batch_size):
        part = drawn[start : start + settings.sample_batch_size]
        shape = (len(part), known.fractions.shape[1], 3)
        # A generator for each batch: their number must not change what one of them draws.
        own = seeded_generator(seed, "sample", start)
        cells = torch.tensor(known.cells[part], dtype=torch.float32)
        if not sampler.keeps_cell:
            cells = torch.randn(cells.shape, generator=own)
        crystals = Crystals(
            torch.rand(shape, generator=own).to(device),
            torch.tensor(known.numbers[part]).to(device),
            cells.to(device),
        )
        found = sampler.run(crystals, own, task=f"generate {start + len(part)} of {n}")
        vectors = known.cells[part]
        if not sampler.keeps_cell:
            vectors = turned_like(found.cells.cpu().double().numpy(), vectors)
        made.append((found.fractions.cpu().double().numpy(), known.numbers[part], vectors))
    fractions, numbers, vectors = (np.concatenate(parts) for parts in zip(*made, strict=True))
    flat = [len(numbers) * numbers.shape[1]]
    return StructureSet(
        numbers=numbers.reshape(flat).astype(np.uint8),
        positions=(fractions @ vectors).reshape(-1, 3),
        cells=vectors,
        pbc=np.ones((n, 3), dtype=bool),
        offsets=np.arange(n + 1, dtype=np.int64) * numbers.shape[1],
        ids=tuple(map(str, range(n))),
    )
