"""Random structures that are less absurd than atoms anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.models import separation
from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.random_structures import RandomGeneration, RandomGrid, RandomSeparated
from dismaiflow.structures.read import ReadStructures
from dismaiflow.systems import get_system

from .test_baselines import COMPOSITION, LATTICE, training

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.structures.structure_set import StructureSet


def distances(structures: StructureSet, i: int) -> np.ndarray:
    """Return the distances of all pairs by nearest image, with ASE."""
    atoms = structures.atoms(i)
    return atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]


def test_separated_atoms_are_as_far_apart_as_they_say(tmp_path: Path) -> None:
    """Neighbours of the lattice are 2.546 Å apart, each pair of species among them."""
    model = RandomSeparated(0.7)
    model.fit(ModelData(training()), tmp_path, seed=0, budget=Budget())
    found = model.sample(tmp_path, 6, seed=1)
    assert isinstance(found, ReadStructures)
    assert found.n_frames == 6
    scales = found.structures.labels["distance_scale"]
    for i, scale in enumerate(scales):
        assert distances(found.structures, i).min() >= 0.7 * 3.6 / 2**0.5 * scale - 1e-9
    again = model.sample(tmp_path, 6, seed=1)
    assert isinstance(again, ReadStructures)
    assert again.structures.content_hash == found.structures.content_hash


def test_what_has_no_room_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spheres cannot be packed twice as densely."""
    monkeypatch.setattr(separation, "_SCALES", (1.0, 0.5))  # of many between
    model = RandomSeparated(3.0)
    model.fit(ModelData(training()), tmp_path, seed=0, budget=Budget())
    found = model.sample(tmp_path, 1, seed=1)
    assert isinstance(found, ReadStructures)
    assert [bad.reason for bad in found.bad] == ["missing"] * found.n_frames == ["missing"]


def test_a_grid_of_half_the_lattice_constant(tmp_path: Path) -> None:
    """Each atom on a site of its own, and half of them on sites of the lattice, in the mean."""
    model = RandomGrid()
    spec = get_system("alloy-1500K-wide")
    model.fit(ModelData(training(), spec=spec), tmp_path, seed=0, budget=Budget())
    found = model.sample(tmp_path, 50, seed=2)
    steps = found.positions.reshape(50, 32, 3) / 1.8
    sites = np.rint(steps).astype(int) % 4
    assert np.abs(steps - np.rint(steps)).max() < 1e-9
    assert all(len({tuple(site) for site in one}) == 32 for one in sites)
    share = (sites.sum(-1) % 2 == 0).mean()
    assert share == pytest.approx(0.5, abs=5 * 0.5 / 1600**0.5)
    for i in range(50):
        numbers = found.numbers[found.slice_of(i)]
        assert {z: int((numbers == z).sum()) for z in COMPOSITION} == COMPOSITION
    assert (found.cells == LATTICE.cell).all()


def test_random_generation_of_the_small_interface(tmp_path: Path) -> None:
    """As the generator makes them, another one for another seed."""
    from dismaiflow.interfaces.built import built_generator

    spec = get_system("tiny-li2o-licl")
    train = built_generator(spec).generate(range(4), 0).structures
    model = RandomGeneration()
    model.fit(ModelData(train, spec=spec), tmp_path, seed=0, budget=Budget())
    made = [model.sample(tmp_path, 3, seed=seed).structures for seed in (1, 1, 2)]
    assert made[0].content_hash == made[1].content_hash != made[2].content_hash
    assert (made[0].n_atoms == train.n_atoms[0]).all()
    assert np.abs(made[0].cells - train.cells[:3]).max() < 1e-9


def test_random_generation_needs_its_system(tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match="needs the system"):
        RandomGeneration().fit(ModelData(training()), tmp_path, seed=0, budget=Budget())
    alloy = ModelData(training(), spec=get_system("alloy-1500K-wide"))
    with pytest.raises(DismaiError, match="is an alloy"):
        RandomGeneration().fit(alloy, tmp_path, seed=0, budget=Budget())
