"""Separated atoms, and what random structures are where cells and systems are unusual."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from dismaiflow.errors import DismaiError
from dismaiflow.models import separation
from dismaiflow.models.base import Budget, GenerativeModel, ModelData
from dismaiflow.models.baselines import CONTROLS
from dismaiflow.models.random_structures import RandomGeneration, RandomGrid
from dismaiflow.models.registry import get_model
from dismaiflow.models.separation import closest_pairs, separate
from dismaiflow.structures.checks import Expectation, check_structures
from dismaiflow.structures.lattice import SiteLattice
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FCC = SiteLattice("fcc", 3.6, (2, 2, 2))


def fitted(
    model: GenerativeModel, folder: Path, train: StructureSet, spec: SystemSpec | None = None
) -> Path:
    model.fit(ModelData(train, spec=spec), folder, seed=0, budget=Budget())
    return folder


def alloys(n: int = 5) -> StructureSet:
    """Return random occupancies of 32 sites, as alloys of the paper but smaller."""
    rng = np.random.default_rng(0)
    species = np.repeat([24, 26, 28], [6, 19, 7])
    numbers = [rng.permutation(species) for _ in range(n)]
    return StructureSet.uniform(numbers, np.tile(FCC.positions, (n, 1, 1)), FCC.cell)


def distances(positions: NDArray[Any], cell: NDArray[Any]) -> NDArray[np.float64]:
    """Return the distance of each pair from all images within two cells, the naive way."""
    shifts = np.array(list(product(range(-2, 3), repeat=3))) @ cell
    between = positions[None, :, None] - positions[:, None, None] + shifts
    return np.linalg.norm(between, axis=-1).min(axis=2)


def test_the_others_are_registered_and_run_in_no_score() -> None:
    for name in ("random-separated", "random-grid", "random-generation"):
        card = get_model(name).card()
        assert (card.name, card.is_control) == (name, True)
        assert name not in [kind.name for kind in CONTROLS]
    assert get_model("random-separated", {"factor": 0.5}).card().settings == {"factor": 0.5}
    for factor in (0, -1, float("nan"), "wide"):
        with pytest.raises(DismaiError, match=r"^random-separated: setting factor is a number "):
            get_model("random-separated", {"factor": factor})


def test_closest_pairs_by_hand() -> None:
    """Three atoms on a line in a cell of 10 A; the last is nearest to the first's image."""
    places = [[[0, 0, 0], [2, 0, 0], [8.5, 0, 0]], [[0, 0, 0], [2.5, 0, 0], [6, 0, 0]]]
    train = StructureSet.uniform([[3, 8, 17]] * 2, places, 10 * np.eye(3))
    species, found = closest_pairs(train)
    assert species.tolist() == [3, 8, 17]
    # Li-O 2.0 and 2.5; Li-Cl 1.5 and 4.0; O-Cl 3.5 in both; like pairs only as images, 10 A away.
    assert found == pytest.approx(np.array([[4, 2, 1.5], [2, 4, 3.5], [1.5, 3.5, 4]]))


def test_the_gradient_of_the_overlap_is_its_derivative() -> None:
    rng = np.random.default_rng(1)
    cell = np.array([[5.0, 0, 0], [1, 5, 0], [0, 0.5, 6]])
    flat = (rng.random((8, 3)) @ cell).ravel()
    wanted = np.full((8, 8), 2.4)
    energy, _ = separation._overlap(flat, cell, wanted)
    apart = distances(flat.reshape(-1, 3), cell)[np.triu_indices(8, 1)]
    assert energy == pytest.approx(0.5 * (np.clip(2.4 - apart, 0, None) ** 2).sum())
    error = check_grad(
        lambda x: separation._overlap(x, cell, wanted)[0],
        lambda x: separation._overlap(x, cell, wanted)[1],
        flat,
    )
    assert error < 1e-5


@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(2, 20),
    skew=st.floats(-0.6, 0.6),
    unlike=st.floats(1.0, 2.2),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_no_pair_is_nearer_than_its_species_allow(
    seed: int, n_atoms: int, skew: float, unlike: float
) -> None:
    """In skewed cells too, and each pair of species by its own distance."""
    cell = 7.0 * np.array([[1, 0, 0], [skew, 1, 0], [0, skew, 1]])
    kinds = np.arange(n_atoms) % 2
    table = np.array([[1.8, unlike], [unlike, 1.4]])
    found = separate(cell, kinds, table, np.random.default_rng(seed))
    assert found is not None
    places, scale = found
    apart = distances(places, cell)
    for i, j in combinations(range(n_atoms), 2):
        assert apart[i, j] >= scale * table[kinds[i], kinds[j]] - 1e-9
    # Spheres of 1.1 A at most fill 33 % of the cell: there is always room.
    assert scale == 1
    fractions = places @ np.linalg.inv(cell)
    assert ((fractions > -1e-9) & (fractions < 1 + 1e-9)).all()


def test_where_there_is_no_room_it_ends() -> None:
    """Eight spheres in a cell that takes one: distances shrink to half, and then it is told."""
    few = separate(np.eye(3) * 3, np.zeros(8, int), np.array([[5.0]]), np.random.default_rng(0))
    assert few is None
    # 1.5 A is what a cubic grid of two atoms along each edge allows, 0.6 of what is asked for;
    # a denser packing gives somewhat more.
    shrunk = separate(np.eye(3) * 3, np.zeros(8, int), np.array([[2.5]]), np.random.default_rng(0))
    assert shrunk is not None
    assert 0.5 <= shrunk[1] <= 0.75
    assert distances(shrunk[0], np.eye(3) * 3)[np.triu_indices(8, 1)].min() >= 2.5 * shrunk[1]


def test_the_grid_without_a_system_is_that_of_the_lattice(tmp_path: Path) -> None:
    """Nearest neighbours of a fcc crystal are a / sqrt(2) apart; it may lie anywhere."""
    train = alloys(1)
    moved = StructureSet.uniform(train.numbers[None], train.positions[None] + 0.3, FCC.cell)
    model = RandomGrid()
    fitted(model, tmp_path, moved)
    found = model.sample(tmp_path, 3, seed=1)
    steps = (found.positions - 0.3) / 1.8
    assert np.abs(steps - np.rint(steps)).max() < 1e-9


def test_random_interfaces(tmp_path: Path) -> None:
    """Those of the generator, in the cell of the training set, which has a vacuum of its own."""
    from dismaiflow.interfaces.built import built_generator

    spec = get_system("tiny-li2o-licl")
    train = built_generator(spec).generate(range(3), seed=5).structures
    wider = train.cells + np.diag([0, 0, 2.0])
    train = StructureSet.uniform(
        train.numbers.reshape(3, -1), train.positions.reshape(3, -1, 3), wider[0]
    )
    model = RandomGeneration()
    fitted(model, tmp_path, train, spec)
    found, other = (model.sample(tmp_path, 4, seed=seed) for seed in (1, 2))
    assert found.n_frames == 4
    assert found.structures.content_hash != other.structures.content_hash
    again = model.sample(tmp_path, 4, seed=1)
    assert found.structures.content_hash == again.structures.content_hash
    expected = Expectation.of_reference(train, "train")
    assert check_structures(found.structures, found.indices, expected)[1] == []
    known = {train.select([i]).content_hash for i in range(3)}
    assert not known & {found.structures.select([i]).content_hash for i in range(4)}


def test_random_generation_of_other_kinds(tmp_path: Path) -> None:
    """Amorphous systems have separated atoms; an alloy, or no system, is refused."""
    rng = np.random.default_rng(0)
    silicon = StructureSet.uniform([[14] * 8], rng.random((1, 8, 3)) * 5.4, 5.4 * np.eye(3))
    spec = get_system("amorphous-si")
    model = RandomGeneration()
    fitted(model, tmp_path, silicon, spec)
    found = model.sample(tmp_path, 2, seed=0)
    assert Counter(found.structures.numbers.tolist()) == {14: 16}
    with pytest.raises(DismaiError, match=r"^random-generation: needs the system"):
        fitted(model, tmp_path, silicon)
    with pytest.raises(DismaiError, match=r"is an alloy; take random-occupancy or random-grid$"):
        fitted(model, tmp_path, alloys(), get_system("alloy-300K-wide"))
    with pytest.raises(DismaiError, match="but the training structures hold"):
        fitted(model, tmp_path, alloys(), get_system("tiny-li2o-licl"))
