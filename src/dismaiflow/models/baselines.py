"""Baselines that learn nothing: a score means something only beside theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard

if TYPE_CHECKING:
    from dismaiflow.structures.structure_set import StructureSet


class _Baseline:
    """Keeps the training structures and draws from them."""

    name = ""
    description = ""

    def __init__(self) -> None:
        self._train: StructureSet | None = None

    def fit(self, train: StructureSet, seed: int) -> None:
        """Keep the training structures."""
        if len(train) == 0:
            raise DismaiError(f"{self.name}: there are no training structures")
        self._train = train

    def card(self) -> ModelCard:
        """Describe the baseline."""
        return ModelCard(self.name, self.description, is_control=True)

    def _draw(self, n: int, rng: np.random.Generator) -> StructureSet:
        """Draw training structures with replacement, without their names and labels."""
        if self._train is None:
            raise DismaiError(f"{self.name}: fit it before sampling")
        drawn = self._train.select(rng.integers(0, len(self._train), size=n))
        return replace(drawn, ids=tuple(map(str, range(n))), labels={})

    def _rng(self, seed: int) -> np.random.Generator:
        """Each baseline draws its own structures, so that no two agree by the draw alone."""
        return np.random.default_rng([seed, *self.name.encode()])


class TrainResample(_Baseline):
    """The training set drawn again: the floor of every distance at this number of structures."""

    name = "train-resample"
    description = "training structures drawn with replacement: the floor of every distance"

    def sample(self, n: int, seed: int) -> StructureSet:
        """Draw structures."""
        return self._draw(n, self._rng(seed))


class RandomOccupancy(_Baseline):
    """The training sites, occupied at random."""

    name = "random-occupancy"
    description = "training structures with their species shuffled over the sites"

    def sample(self, n: int, seed: int) -> StructureSet:
        """Draw structures and shuffle their species."""
        rng = self._rng(seed)
        drawn = self._draw(n, rng)
        numbers = drawn.numbers.copy()
        for i in range(n):
            part = drawn.slice_of(i)
            numbers[part] = rng.permutation(numbers[part])
        return replace(drawn, numbers=numbers)


class Rattled(_Baseline):
    """Training structures with noise on every coordinate.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in Å.
    """

    name = "rattled"
    description = "training structures with Gaussian noise of 0.1 A on every coordinate"

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.sigma = sigma

    def sample(self, n: int, seed: int) -> StructureSet:
        """Draw structures and rattle them."""
        rng = self._rng(seed)
        drawn = self._draw(n, rng)
        noise = rng.normal(0.0, self.sigma, drawn.positions.shape)
        return replace(drawn, positions=drawn.positions + noise)

    def card(self) -> ModelCard:
        """Describe the baseline."""
        return replace(super().card(), settings={"sigma": self.sigma})


class UniformRandom(_Baseline):
    """Atoms anywhere in the cell."""

    name = "uniform-random"
    description = "the training composition at uniformly random positions"

    def sample(self, n: int, seed: int) -> StructureSet:
        """Draw cells and compositions, and place the atoms anywhere."""
        rng = self._rng(seed)
        drawn = self._draw(n, rng)
        fractions = rng.random(drawn.positions.shape)
        cells = np.repeat(drawn.cells, drawn.n_atoms, axis=0)
        return replace(drawn, positions=np.einsum("ni,nij->nj", fractions, cells))


#: The controls of every score, in the order in which they are shown.
CONTROLS: tuple[type[_Baseline], ...] = (TrainResample, RandomOccupancy, Rattled, UniformRandom)
