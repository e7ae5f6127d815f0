"""A small generative model of alloys, as an example of the model protocol.

It learns how many atoms of each species every simple cubic sublattice of a structure holds, and
forgets everything else: long-range order is kept, short-range order within it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.models.base import ModelCard
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.base import Budget, ModelData


@dataclass
class SublatticeModel:
    """Fills the sublattices of a random training structure anew.

    Parameters
    ----------
    a : float
        Edge of the conventional cell in Å.
    sigma : float
        Standard deviation of the noise on every coordinate in Å.
    """

    a: float = 3.6
    sigma: float = 0.05

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> None:
        """Note the species of every training structure, sorted within each sublattice."""
        train = data.train
        shape = (len(train), train.n_atoms[0])
        sites, cell = train.positions[train.slice_of(0)], train.cells[0]
        groups = self._sublattices(train.positions).reshape(shape)
        order = np.lexsort((train.numbers.reshape(shape), groups))
        numbers = np.take_along_axis(train.numbers.reshape(shape), order, axis=1)
        np.savez(folder / "sublattices.npz", sites=sites, cell=cell, numbers=numbers)

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw a training structure and shuffle the atoms within each sublattice."""
        known = np.load(folder / "sublattices.npz")
        sites, rng = known["sites"], np.random.default_rng(seed)
        groups = self._sublattices(sites)
        numbers = np.empty((n, len(sites)), dtype=np.uint8)
        for row in numbers:
            drawn = known["numbers"][rng.integers(len(known["numbers"]))]
            # Random keys within each sublattice: its species in random order.
            row[np.argsort(groups, kind="stable")] = drawn[
                np.lexsort((rng.random(len(sites)), np.sort(groups)))
            ]
        positions = sites + rng.normal(0.0, self.sigma, (n, *sites.shape))
        return StructureSet.uniform(numbers, positions, known["cell"])

    def card(self) -> ModelCard:
        """Describe the model."""
        return ModelCard(
            name="sublattice",
            description="species shuffled within the sublattices of a training structure",
            settings={"a": self.a, "sigma": self.sigma},
        )

    def _sublattices(self, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number the sublattice of each position by which coordinates are odd in units of a/2."""
        odd = np.rint(2 * positions / self.a).astype(np.int64) % 2
        return odd @ np.array([1, 2, 4])
