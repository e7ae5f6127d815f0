"""Structures to score: stand-ins for what a generative model writes."""

import tempfile
from pathlib import Path

import ase
import ase.io
import numpy as np

from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.checks import as_read
from dismaiflow.models.registry import get_model
from dismaiflow.structures.dataset import open_dataset

train = open_dataset(Path("data/alloy-1500K-wide")).read("train")
rng = np.random.default_rng(0)


def sample(name: str, n: int, seed: int) -> list[ase.Atoms]:
    """Draw structures from one of the package's baselines."""
    model = get_model(name)
    with tempfile.TemporaryDirectory() as folder:
        model.fit(ModelData(train), Path(folder), seed=0, budget=Budget())
        return list(as_read(model.sample(Path(folder), n, seed=seed), n).structures)


# Three "trained models": sites occupied at random, noise of 0.15 Å, now and then an atom that sits
# on its neighbour's site.
for run in (1, 2, 3):
    frames = sample("random-occupancy", 1000, seed=run)
    for atoms in frames:
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        if rng.random() < 0.4:
            i = rng.integers(len(atoms))
            j = np.argsort(atoms.get_distances(i, range(len(atoms)), mic=True))[1]
            atoms.positions[i] = atoms.positions[j] + rng.normal(0, 0.2, 3)
    ase.io.write(f"gen{run}.extxyz", frames)

# Copies of training structures, each moved as a whole.
frames = sample("rattled", 200, seed=4)
for atoms in frames:
    atoms.positions += rng.uniform(-1, 1, 3)
ase.io.write("shifted.extxyz", frames)

# A hundred, three of them broken.
frames = sample("rattled", 100, seed=5)
frames[10].positions[0, 0] = np.nan
frames[20].symbols[7] = "Cu"
del frames[30][5]
ase.io.write("broken.extxyz", frames)
