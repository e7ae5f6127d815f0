"""Baselines of random structures that are less absurd than atoms anywhere in the cell.

Like those of `baselines` they learn nothing. They are no controls of every score, but rows of a
study: what a model of alloys must beat is a random grid, what one of interfaces must beat is random
generation and relaxation.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.baselines import CONTROLS, Baseline, positive
from dismaiflow.models.separation import NO_NEARER, closest_pairs, separate
from dismaiflow.structures.files import write_text
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.base import Budget, ModelData
    from dismaiflow.systems import SystemSpec

#: What a baseline notes beside the training structures.
_DISTANCES_NAME = "distances.json"
_GRID_NAME = "grid.json"
_SYSTEM_NAME = "system.yaml"

#: Vectors in the plane of an interface may differ from the generator's by so much (Å).
_PLANE_TOLERANCE = 1e-3


class RandomSeparated(Baseline):
    """Random positions, no pair of atoms nearer than any of its species is in training.

    Atoms are placed anywhere; then overlaps are pushed apart. Where there is no room, the distances
    of that structure shrink by 5 % at a time, at most to half; its label ``distance_scale`` tells
    the scale, and what has no room even then is counted as missing.

    Parameters
    ----------
    factor : float
        Share of the training set's smallest distance of each pair of species.

    Raises
    ------
    DismaiError
        If the factor is no positive number.
    """

    name = "random-separated"

    def __init__(self, factor: float = 0.9) -> None:
        self.factor = positive(self.name, "factor", factor, "a number")

    @property
    def description(self) -> str:  # type: ignore[override]
        """One line."""
        return f"random positions, pairs at least {self.factor:g} of their least training distance"

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> None:
        """Keep the training structures, and the smallest distance of each pair of species.

        Raises
        ------
        DismaiError
            If there are no structures, or the folder cannot be written.
        """
        super().fit(data, folder, seed=seed, budget=budget)
        species, distances = closest_pairs(data.train)
        found = {"species": species.tolist(), "distances": distances.tolist()}
        write_text(folder / _DISTANCES_NAME, json.dumps(found))

    def sample(self, folder: Path, n: int, *, seed: int) -> ReadStructures:
        """Draw cells and compositions, and place the atoms."""
        rng = self._rng(seed)
        drawn = self._draw(folder, n, rng)
        noted = json.loads((folder / _DISTANCES_NAME).read_text("utf-8"))
        known = np.array(noted["species"])
        table = np.array(noted["distances"]) * self.factor
        positions, scales = drawn.positions.copy(), np.full(n, np.nan)
        for i in range(n):
            part = drawn.slice_of(i)
            kinds = np.searchsorted(known, drawn.numbers[part])
            placed = separate(drawn.cells[i], kinds, table, rng)
            if placed is not None:
                positions[part], scales[i] = placed
        made = np.flatnonzero(np.isfinite(scales))
        whole = replace(drawn, positions=positions, labels={"distance_scale": scales})
        return _with_missing(whole.select(made), n, made, "no room for its atoms")

    def _settings(self) -> dict[str, Any]:
        return {"factor": self.factor}


class RandomGrid(Baseline):
    """Atoms at random sites of a grid half as wide as the lattice.

    The grid of an alloy is that of spacing a/2, which holds the sites of its lattice and as many or
    more that are none: a model that has learned no more than planes scores like it. Without a
    lattice the spacing is the mean distance of nearest neighbours over the square root of two,
    which for face-centred cubic crystals is a/2 as well. The grid goes through the first atom of
    the training structure that was drawn.
    """

    name = "random-grid"
    description = "atoms at random sites of the grid of half a lattice constant"

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> None:
        """Keep the training structures and the spacing of the grid.

        Raises
        ------
        DismaiError
            If there are no structures, or the folder cannot be written.
        """
        super().fit(data, folder, seed=seed, budget=budget)
        if data.spec is not None and data.spec.kind == "alloy":
            spacing = data.spec.alloy.lattice.a / 2
        else:
            spacing = _neighbour_distance(data.train) / np.sqrt(2)
        write_text(folder / _GRID_NAME, json.dumps({"spacing": spacing}))

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet:
        """Draw cells and compositions, and place the atoms on sites, one on each."""
        rng = self._rng(seed)
        drawn = self._draw(folder, n, rng)
        spacing = json.loads((folder / _GRID_NAME).read_text("utf-8"))["spacing"]
        positions = np.empty_like(drawn.positions)
        for i in range(n):
            part = drawn.slice_of(i)
            origin, count = drawn.positions[part][:1], int(drawn.n_atoms[i])
            sites = _grid_sites(drawn.cells[i], spacing, count)
            positions[part] = origin + rng.permutation(sites)[:count] @ drawn.cells[i]
        return replace(drawn, positions=positions)


class RandomGeneration(Baseline):
    """The random structures from which the dataset of a system began.

    For an interface they come from its generator (section 4.1.3 of the paper, doi
    10.1039/d4dd00100a), for an amorphous system from `RandomSeparated`. They are not relaxed; a
    score that relaxes what was generated makes them "random generation and relaxation".
    """

    name = "random-generation"
    description = "random structures as a system's dataset begins with, to be relaxed by the score"

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> None:
        """Keep the training structures and the system.

        Raises
        ------
        DismaiError
            If the system is not given or is an alloy, or its generator makes other structures than
            those of the training set.
        """
        if data.spec is None:
            raise DismaiError(f"{self.name}: needs the system of the training structures; give it")
        if data.spec.kind == "alloy":
            raise DismaiError(
                f"{self.name}: is for interfaces and amorphous systems, and {data.spec.name} is an "
                "alloy; take random-occupancy or random-grid"
            )
        if data.spec.kind == "amorphous":
            RandomSeparated().fit(data, folder, seed=seed, budget=budget)
        else:
            super().fit(data, folder, seed=seed, budget=budget)
            self._interface_cell(data.spec, data.train)
        write_text(folder / _SYSTEM_NAME, data.spec.self_contained().to_yaml())

    def sample(self, folder: Path, n: int, *, seed: int) -> ReadStructures:
        """Make random structures; those that find no room are told as missing."""
        from dismaiflow.systems import SystemSpec

        train = self._train(folder)
        path = folder / _SYSTEM_NAME
        spec = SystemSpec.from_yaml(path.read_text("utf-8"), str(path))
        if spec.kind == "amorphous":
            return RandomSeparated().sample(folder, n, seed=seed)
        from dismaiflow.interfaces.built import built_generator

        cell = self._interface_cell(spec, train)
        own = int(self._rng(seed).integers(2**62))
        made = built_generator(spec).generate(range(n), own, n_total=n).structures
        places = made.labels["index"].astype(np.int64)
        whole = replace(made, cells=np.tile(cell, (len(made), 1, 1)), labels={})
        return _with_missing(whole, n, places, "the generator found no room for its region")

    def _interface_cell(self, spec: SystemSpec, train: StructureSet) -> NDArray[np.float64]:
        """Return the training structures' cell, which may have another vacuum than the spec's."""
        from dismaiflow.interfaces.built import built_generator

        generator = built_generator(spec)
        cell = train.cells[0]
        made = Counter({key: n for key, n in generator.composition.items() if n})
        found = Counter(train.atoms(0).get_chemical_symbols())
        if made != found:
            raise DismaiError(
                f"{self.name}: {spec.name} makes {dict(made)}, but the training structures hold "
                f"{dict(found)}; give the system that they are of"
            )
        parts = generator.parts
        host = generator.host
        heights = host.substrate.height + host.film.height + parts.region.thickness[1]
        upright = np.abs(cell[2, :2]).max() < _PLANE_TOLERANCE and cell[2, 2] > heights
        if np.abs(cell[:2] - host.cell[:2]).max() > _PLANE_TOLERANCE or not upright:
            raise DismaiError(
                f"{self.name}: the cell of the training structures, {np.round(cell, 3).tolist()}, "
                f"does not hold the slabs of {spec.name}, {np.round(host.cell, 3).tolist()}"
            )
        return cell


def _with_missing(
    made: StructureSet, n: int, places: NDArray[np.int64], why: str
) -> ReadStructures:
    """Tell of those of n structures that were not made."""
    gone = np.setdiff1d(np.arange(n), places).tolist()
    return ReadStructures(made, places, [BadFrame(i, "missing", why) for i in gone])


def _neighbour_distance(train: StructureSet) -> float:
    """Return the mean distance of nearest neighbours in the first structure, Å."""
    from dismaiflow.metrics.rdf import neighbour_pairs

    part = train.slice_of(0)
    volume = abs(np.linalg.det(train.cells[0])) / max(int(train.n_atoms[0]), 1)
    reach = NO_NEARER
    while True:
        first, _, between = neighbour_pairs(train.positions[part], train.cells[0], reach)
        if len(np.unique(first)) == train.n_atoms[0]:
            break
        reach *= 2  # each atom has its own image, at the latest
    nearest = np.full(int(train.n_atoms[0]), np.inf)
    np.minimum.at(nearest, first, np.linalg.norm(between, axis=1))
    # Never so fine that coincident atoms would ask for an endless grid.
    return float(max(nearest.mean(), 0.2 * volume ** (1 / 3)))


def _grid_sites(cell: NDArray[np.float64], spacing: float, n_atoms: int) -> NDArray[np.float64]:
    """Return the fractional sites of a grid, at least as many as atoms, shape (n_sites, 3)."""
    lengths = np.linalg.norm(cell, axis=1)
    steps = np.maximum(np.rint(lengths / spacing), 1).astype(np.int64)
    while int(np.prod(steps)) < n_atoms:
        steps[np.argmax(lengths / steps)] += 1
    axes = [np.arange(count) / count for count in steps]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


#: Names of the models that learn nothing.
CONTROL_MODELS = tuple(
    model.name for model in (*CONTROLS, RandomSeparated, RandomGrid, RandomGeneration)
)
