"""Baselines that learn nothing: a score means something only beside theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard
from dismaiflow.structures.files import write_bytes
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.base import Budget, ModelData

#: The training structures, bit for bit.
TRAIN_NAME = "train.set"


class Baseline:
    """Keeps the training structures and draws from them."""

    name = ""
    description = ""

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> None:
        """Keep the training structures in the folder.

        Raises
        ------
        DismaiError
            If there are none, or the folder cannot be written.
        """
        if len(data.train) == 0:
            raise DismaiError(f"{self.name}: there are no training structures")
        write_bytes(folder / TRAIN_NAME, data.train.to_bytes())

    def card(self) -> ModelCard:
        """Describe the baseline."""
        return ModelCard(self.name, self.description, is_control=True, settings=self._settings())

    def _settings(self) -> dict[str, Any]:
        return {}

    def _train(self, folder: Path) -> StructureSet:
        """Read what `fit` has kept."""
        path = folder / TRAIN_NAME
        try:
            return StructureSet.from_bytes(path.read_bytes())
        except FileNotFoundError:
            raise DismaiError(f"{self.name}: fit it before sampling; {path} is not there") from None
        except OSError as error:
            raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None

    def _draw(self, folder: Path, n: int, rng: np.random.Generator) -> StructureSet:
        """Draw training structures with replacement, without their names and labels."""
        train = self._train(folder)
        drawn = train.select(rng.integers(0, len(train), size=n))
        return replace(drawn, ids=tuple(map(str, range(n))), labels={})

    def _rng(self, seed: int) -> np.random.Generator:
        """Each baseline draws its own structures, so that no two agree by the draw alone."""
        return np.random.default_rng([seed, *self.name.encode()])


class TrainResample(Baseline):
    """The training set drawn again: the floor of every distance at this number of structures."""

    name = "train-resample"
    description = "training structures drawn with replacement: the floor of every distance"

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw structures."""
        return self._draw(folder, n, self._rng(seed))


class RandomOccupancy(Baseline):
    """The training sites, occupied at random."""

    name = "random-occupancy"
    description = "training structures with their species shuffled over the sites"

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw structures and shuffle their species."""
        rng = self._rng(seed)
        drawn = self._draw(folder, n, rng)
        numbers = drawn.numbers.copy()
        for i in range(n):
            part = drawn.slice_of(i)
            numbers[part] = rng.permutation(numbers[part])
        return replace(drawn, numbers=numbers)


class Rattled(Baseline):
    """Training structures with noise on every coordinate.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in Å.

    Raises
    ------
    DismaiError
        If that is no length.
    """

    name = "rattled"

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = positive(self.name, "sigma", sigma, "a length in Å")

    @property
    def description(self) -> str:  # type: ignore[override]
        """One line."""
        return f"training structures with Gaussian noise of {self.sigma:g} A on every coordinate"

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw structures and rattle them."""
        rng = self._rng(seed)
        drawn = self._draw(folder, n, rng)
        noise = rng.normal(0.0, self.sigma, drawn.positions.shape)
        return replace(drawn, positions=drawn.positions + noise)

    def _settings(self) -> dict[str, Any]:
        return {"sigma": self.sigma}


class UniformRandom(Baseline):
    """Atoms anywhere in the cell."""

    name = "uniform-random"
    description = "the training composition at uniformly random positions"

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw cells and compositions, and place the atoms anywhere."""
        rng = self._rng(seed)
        drawn = self._draw(folder, n, rng)
        fractions = rng.random(drawn.positions.shape)
        cells = np.repeat(drawn.cells, drawn.n_atoms, axis=0)
        return replace(drawn, positions=np.einsum("ni,nij->nj", fractions, cells))


#: The controls of every score, in the order in which they are shown.
CONTROLS: tuple[type[TrainResample | RandomOccupancy | Rattled | UniformRandom], ...] = (
    TrainResample,
    RandomOccupancy,
    Rattled,
    UniformRandom,
)


def positive(model: str, name: str, value: float, what: str) -> float:
    """Return a setting that must be a positive number.

    Parameters
    ----------
    model, name : str
        Of the model and of the setting.
    value : float
        What was given; text that spells a number will do.
    what : str
        What it is, for the message.

    Raises
    ------
    DismaiError
        If it is not.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (0 < number < np.inf):
        raise DismaiError(f"{model}: setting {name} is {what} above 0, got {value!r}")
    return number
