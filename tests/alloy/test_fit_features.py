"""Features of cells of any shape: worked by hand, against distances, and as properties."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.alloy.fit_features import FeatureSpace
from dismaiflow.alloy.fit_linear import rank_of
from dismaiflow.alloy.lattice_cell import LatticeCell, OffLatticeError, check_on_lattice
from dismaiflow.alloy.training_cells import (
    TrainingCells,
    formation_energies,
    training_cells,
)
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_pairs
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: L1_0: sheets of A and B along z, two atoms, and the primitive cell of one.
TETRAGONAL = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]])
L1_0 = LatticeCell("fcc", TETRAGONAL, np.array([[0, 0, 0], [0, 1, 1]]))
ONE = LatticeCell("fcc", np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), np.zeros((1, 3), int))

AB = FeatureSpace(("A", "B"), n_shells=2, n_spin_shells=2, spin="pair")


def test_l1_0_by_hand() -> None:
    """Each atom has 12 first neighbours, 8 of them unlike, and 6 second ones, all like.

    Per atom that is 4 AB pairs, 1 AA and 1 BB; then 1.5 AA and 1.5 BB. With moments 2 on A and -1
    on B the products are 4, -2 and 1.
    """
    row = AB.row(L1_0, np.array([0, 1]), np.array([2.0, -1.0]))
    assert AB.names[:5] == ("monomer A", "monomer B", "pair 1 A-A", "pair 1 A-B", "pair 1 B-B")
    assert row[AB.monomers].tolist() == [0.5, 0.5]
    assert row[AB.pairs].tolist() == [1, 4, 1, 1.5, 0, 1.5]
    assert row[AB.spins].tolist() == [4, -8, 1, 6, 0, 1.5]
    by_shell = FeatureSpace(("A", "B"), n_shells=2, n_spin_shells=2)
    summed = by_shell.row(L1_0, np.array([0, 1]), np.array([2.0, -1.0]))[by_shell.spins]
    assert summed.tolist() == [-3, 7.5]


def test_an_atom_that_is_its_own_neighbour() -> None:
    """One atom of fcc: 6, 3, 12, 6, 12, 4 and 24 pairs with its own images."""
    space = FeatureSpace(("A", "B"))
    row = space.row(ONE, np.array([1]), np.array([3.0]))
    assert row[space.pairs].reshape(7, 3)[:, 2].tolist() == [6, 3, 12, 6, 12, 4, 24]
    assert row[space.pairs].reshape(7, 3)[:, :2].sum() == 0
    assert row[space.spins].tolist() == [54, 27, 108]


def test_alternating_sheets_by_hand() -> None:
    """One species with sheets of alternate sign: 4 of 12 first neighbours are parallel, 8 not."""
    space = FeatureSpace(("A", "B"))
    row = space.row(L1_0, np.array([0, 0]), np.array([1.0, -1.0]))
    assert row[space.spins][:2].tolist() == [-2, 3]


def brute_spins(cell: LatticeCell, moments: NDArray[np.float64], radius: float) -> float:
    """Sum products over pairs at a distance (half steps), from images of the cell, per atom."""
    total = 0.0
    for image in product(range(-4, 5), repeat=3):
        shift = np.array(image) @ cell.cell
        away = cell.sites[None] + shift - cell.sites[:, None]
        near = np.abs((away**2).sum(axis=-1) - radius**2) < 1e-9
        total += float((near * np.outer(moments, moments)).sum())
    return total / 2 / cell.n_sites


def test_spins_equal_a_count_from_distances() -> None:
    """In cells of several shapes, drawn with a seed."""
    cells = training_cells("fcc", 3.6, ["A", "B"], 12, sizes=(5, 6), seed=3)
    space = FeatureSpace(("A", "B"))
    for one in cells.cells:
        row = space.row(one.cell, one.occupation, one.moments)
        wanted = [brute_spins(one.cell, one.moments, r) for r in (2**0.5, 2.0, 6**0.5)]
        assert row[space.spins] == pytest.approx(wanted, abs=1e-9)


def test_a_supercell_has_the_counts_of_the_monte_carlo() -> None:
    """And the same features as its primitive cell."""
    lattice = SiteLattice("fcc", 3.6, (2, 2, 3))
    space = FeatureSpace(("Cr", "Fe", "Ni"), spin="none")
    codes = np.random.default_rng(1).integers(0, 3, lattice.n_sites).astype(np.int8)
    row = space.row(LatticeCell.of_supercell(lattice), codes)
    counts = count_pairs(codes, lattice.shells(7), 3)[0] / lattice.n_sites
    upper = np.triu_indices(3)
    assert row[space.pairs] == pytest.approx(counts[:, upper[0], upper[1]].ravel(), abs=1e-12)


@given(seed=st.integers(0, 10_000), spin=st.sampled_from(["shell", "pair"]))
@settings(max_examples=10, deadline=None)
def test_features_do_not_depend_on_the_choice_of_cell(seed: int, spin: str) -> None:
    """Nor on the order or images of the sites, nor on a flip of all moments; rules of sums hold."""
    rng = np.random.default_rng(seed)
    space = FeatureSpace(("A", "B", "C"), spin=spin)  # type: ignore[arg-type]
    one = training_cells("fcc", 3.6, ["A", "B", "C"], 13, sizes=(6,), seed=seed).cells[-1]
    row = space.row(one.cell, one.occupation, one.moments)
    order = rng.permutation(one.cell.n_sites)
    shifts = rng.integers(-2, 3, (one.cell.n_sites, 3)) @ one.cell.cell
    other = LatticeCell(
        "fcc",
        np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ one.cell.cell,
        (one.cell.sites + shifts)[order] + np.array([1, 0, 1]),
    )
    again = space.row(other, one.occupation[order], -one.moments[order])
    assert again == pytest.approx(row, abs=1e-9)
    pairs = row[space.pairs].reshape(7, 6)
    for shell, neighbours in enumerate((12, 6, 24, 12, 24, 8, 48)):
        for code, (like, unlike) in enumerate(((0, (1, 2)), (3, (1, 4)), (5, (2, 4)))):
            summed = 2 * pairs[shell, like] + pairs[shell, list(unlike)].sum()
            assert summed == pytest.approx(neighbours * row[code], abs=1e-9)


def test_rank_is_what_the_rules_of_sums_allow() -> None:
    """24: the constant, two fractions, unlike pairs of three kinds in seven shells. Then spin."""
    cells = training_cells("fcc", 3.6, ["Fe", "Ni", "Cr"], 150, seed=0)
    space = FeatureSpace(cells.species)
    rows = np.array([space.row(one.cell, one.occupation, one.moments) for one in cells.cells])
    assert rank_of(rows[:, : space.pairs.stop]) == 24
    assert rank_of(rows) == 27 == space.most_rank


def relaxed(cell: LatticeCell, strain: NDArray[np.float64], moves: NDArray[np.float64]):
    vectors = cell.cell * 1.75 @ (np.eye(3) + strain)
    return vectors, cell.fractional @ vectors + moves


def test_relaxed_cells_keep_their_place_or_are_refused() -> None:
    """Small strains, shifts and displacements pass; a hop and a Bain path to bcc do not."""
    cells = training_cells("fcc", 3.6, ["A", "B"], 20, sizes=(12,), seed=5)
    cell = cells.cells[-1].cell
    rng = np.random.default_rng(0)
    strain = rng.normal(scale=0.01, size=(3, 3))
    moves = rng.uniform(-0.1, 0.1, (12, 3))
    vectors, positions = relaxed(cell, strain, moves + 7.7)
    moved = check_on_lattice(cell, vectors, positions + np.array([1, -2, 0]) @ vectors)
    assert moved == pytest.approx(np.linalg.norm(moves - moves.mean(axis=0), axis=1).max())
    hop = moves.copy()
    hop[3] += [0.9, 0.0, 0.0]
    with pytest.raises(OffLatticeError, match="atom 3 moved") as caught:
        check_on_lattice(cell, *relaxed(cell, strain, hop))
    assert caught.value.reason == "left_site"
    # fcc becomes bcc where c/a falls to 0.707: half way there is 0.84.
    for ratio, passes in ((0.9, True), (0.8, False), (0.5**0.5, False)):
        bain = relaxed(cell, np.diag([0.0, 0.0, ratio - 1]), 0 * moves)
        if passes:
            check_on_lattice(cell, *bain)
            continue
        with pytest.raises(OffLatticeError) as caught:
            check_on_lattice(cell, *bain)
        assert caught.value.reason == "cell_distorted"


def test_a_structure_from_elsewhere_is_put_onto_the_lattice() -> None:
    """Its features are those of the cell it was made from; a bcc one is refused."""
    cells = training_cells("fcc", 3.6, ["A", "B"], 20, sizes=(12,), seed=5)
    space, one = FeatureSpace(cells.species, spin="none"), cells.cells[-1]
    rng = np.random.default_rng(0)
    strain, moves = rng.normal(scale=0.005, size=(3, 3)), rng.uniform(-0.1, 0.1, (12, 3))
    vectors, positions = relaxed(one.cell, strain, moves)
    found = LatticeCell.of_structure("fcc", vectors, positions)
    assert space.row(found, one.occupation) == pytest.approx(space.row(one.cell, one.occupation))
    with pytest.raises(OffLatticeError):
        LatticeCell.of_structure("fcc", 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]])


def test_training_cells() -> None:
    """Seeded, distinct, pure elements first, one parent for all moments, whole in bytes."""
    cells = training_cells("fcc", 3.6, ["Fe", "Ni", "Cr"], 90, seed=4)
    assert cells.species == ("Cr", "Fe", "Ni")
    fractions = cells.fractions()
    for code in range(3):
        assert (fractions[:12, code] == 1.0).any()
    names = [one.name for one in cells.cells]
    assert len(names) == len(set(names)) == 90
    space = FeatureSpace(cells.species)
    parents = {}
    for one in cells.cells:
        assert np.ptp(one.occupation) == 0 or np.all(np.diff(one.occupation) >= 0)
        key = tuple(space.row(one.cell, one.occupation)[: space.pairs.stop].round(8))
        parents.setdefault(one.parent, key)
        assert parents[one.parent] == key
    mixed = [key for name, key in parents.items() if not name.startswith("pure")]
    assert len(set(mixed)) == len(mixed)
    assert {p for p in parents if p.startswith("pure")} == {"pure-Cr", "pure-Fe", "pure-Ni"}
    layered = cells.cells[names.index("pure-Fe-2-layered")]
    assert sorted(layered.moments) == [-2.5, 2.5]
    atoms = cells.atoms(names.index("pure-Fe-2-layered"))
    assert atoms.get_volume() == pytest.approx(2 * 3.6**3 / 4)
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(3.6 / 2**0.5)
    again = TrainingCells.from_bytes(cells.to_bytes())
    assert [one.name for one in again.cells] == names
    assert again.cells[50].moments.tolist() == cells.cells[50].moments.tolist()
    fewer = training_cells("fcc", 3.6, ["Cr", "Fe", "Ni"], 40, seed=4)
    assert [one.name for one in fewer.cells] == names[:40]
    other = training_cells("fcc", 3.6, ["Cr", "Fe", "Ni"], 40, seed=5)
    assert fewer.to_bytes() != other.to_bytes()


def test_formation_energies_by_hand() -> None:
    """The lower of two energies of an element is its reference; one that lacks is named."""
    fractions = np.array([[1, 0], [1, 0], [0, 1], [0.25, 0.75]])
    energies = np.array([-9.0, -9.5, -8.0, -8.5])
    # -8.5 + 0.25 * 9.5 + 0.75 * 8.0 = -0.125
    found = formation_energies(energies, fractions, ("Cr", "Fe"))
    assert found.tolist() == [0.5, 0.0, 0.0, -0.125]
    with pytest.raises(DismaiError, match="pure Fe"):
        formation_energies(energies[:2], fractions[:2], ("Cr", "Fe"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureSpace(("B", "A")), "alphabetical"),
        (lambda: FeatureSpace(("A", "B"), n_shells=0), "at least one shell"),
        (lambda: FeatureSpace(("A", "B"), spin="up"), "choose none, shell or pair"),  # type: ignore[arg-type]
        (lambda: AB.row(L1_0, np.array([0, 2])), "codes from 0 to 1"),
        (lambda: AB.row(L1_0, np.array([0, 1]), np.ones(3)), "as many moments"),
        (lambda: LatticeCell("fcc", np.eye(3, dtype=int), ONE.sites), "no cell vectors"),
        (lambda: LatticeCell("fcc", L1_0.cell, np.zeros((2, 3), int)), "coincide"),
        (lambda: LatticeCell("hcp", L1_0.cell, L1_0.sites), "unknown lattice"),
        (lambda: training_cells("hcp", 3.6, ["A", "B"], 9), "lattice 'hcp'"),
        (lambda: training_cells("fcc", 3.6, ["A", "B"], 3), "n of at least 4"),
        (lambda: training_cells("fcc", 3.6, ["A", "B"], 500, sizes=(2,)), "no more than"),
    ],
)  # fmt: skip
def test_wrong_input_is_named_in_one_line(make, message: str) -> None:
    with pytest.raises(DismaiError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
