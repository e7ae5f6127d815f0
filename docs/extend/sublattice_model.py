"""A small generative model of alloys, as an example of the model protocol.

It learns how many atoms of each species every simple cubic sublattice of a structure holds, and
forgets everything else: long-range order is kept, short-range order within it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.models.base import ModelCard
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    _contents: list[dict[int, NDArray[np.uint8]]] = field(default_factory=list, init=False)

    def fit(self, train: StructureSet, seed: int) -> None:
        """Note the species on each sublattice of every training structure."""
        first = train.slice_of(0)
        self._sites, self._cell = train.positions[first], train.cells[0]
        self._contents = []
        for i in range(len(train)):
            part = train.slice_of(i)
            numbers, groups = train.numbers[part], self._sublattices(train.positions[part])
            self._contents.append({int(g): numbers[groups == g] for g in np.unique(groups)})

    def sample(self, n: int, seed: int) -> StructureSet:
        """Draw a training structure and shuffle the atoms within each sublattice."""
        rng = np.random.default_rng(seed)
        groups = self._sublattices(self._sites)
        numbers = np.empty((n, len(self._sites)), dtype=np.uint8)
        for row in numbers:
            drawn = self._contents[rng.integers(len(self._contents))]
            for group, species in drawn.items():
                row[groups == group] = rng.permutation(species)
        positions = self._sites + rng.normal(0.0, self.sigma, (n, *self._sites.shape))
        return StructureSet.uniform(numbers, positions, self._cell)

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
