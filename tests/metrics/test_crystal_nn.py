"""Voronoi cells by hand and against pymatgen; neighbours and weights against CrystalNN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.local_env import CrystalNN, VoronoiNN

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.crystal_nn import (
    ANGLE_SETTINGS,
    ION_MOTIF_SETTINGS,
    MOTIF_SETTINGS,
    NeighbourFinder,
    NeighbourSettings,
)
from dismaiflow.metrics.voronoi import voronoi_cells

from .environments import (
    IONS,
    LSC_LCO,
    crystals,
    interfaces,
    ionic,
    moved,
    silicon,
    silicons,
    slab,
    structure_of,
)


def cells_of(atoms, sites=None, **kwargs):
    return voronoi_cells(atoms.positions, atoms.cell.array, sites, **kwargs)


def reference_faces(structure, site, cutoff=7.0):
    """Solid angle and area of each face by atom and image, from pymatgen."""
    finder = VoronoiNN(cutoff=cutoff, compute_adj_neighbors=False)
    return {
        (one["site_index"], *map(int, one["image"])): (
            one["poly_info"]["solid_angle"],
            one["poly_info"]["area"],
        )
        for one in finder.get_nn_info(structure, site)
    }


def keys_of(found, part):
    """Atom and image of each face or neighbour."""
    return [tuple(map(int, key)) for key in np.column_stack([found.atoms, found.images])[part]]


def check_faces(atoms, sites, tolerance=1e-11):
    cells = cells_of(atoms, sites)
    structure = structure_of(atoms)
    for k, site in enumerate(sites):
        part = slice(cells.starts[k], cells.starts[k + 1])
        numbers = np.column_stack([cells.solid_angles[part], cells.areas[part]]).tolist()
        ours = dict(zip(keys_of(cells, part), numbers, strict=True))
        theirs = reference_faces(structure, int(site))
        for key in ours.keys() | theirs.keys():
            # A face without extent may be found by one of the two only.
            mine, other = ours.get(key, (0.0, 0.0)), theirs.get(key, (0.0, 0.0))
            assert mine[0] == pytest.approx(other[0], abs=tolerance)
            if other[0] > 1e-6:
                assert mine[1] == pytest.approx(other[1], rel=1e-6)


@pytest.mark.parametrize(
    ("crystal", "faces"),
    [
        # Cube of edge a; rhombic dodecahedron: 12 rhombi with diagonals a/2 and a/sqrt(2);
        # truncated octahedron with edges of a/sqrt(8): 8 hexagons and 6 squares.
        (bulk("Po", "sc", 3.0), [9.0] * 6),
        (bulk("Cu", "fcc", 4.0), [4.0**2 / np.sqrt(32)] * 12),
        (
            bulk("Fe", "bcc", 4.0),
            [1.5 * np.sqrt(3) * 4.0**2 / 8] * 8 + [4.0**2 / 8] * 6,
        ),
    ],
)
def test_polyhedra_by_hand(crystal, faces):
    for repeats in ((1, 1, 1), (3, 2, 2)):
        cells = cells_of(crystal * repeats)
        for k in range(len(cells.sites)):
            part = slice(cells.starts[k], cells.starts[k + 1])
            areas = cells.areas[part]
            assert sorted(areas) == pytest.approx(sorted(faces), abs=1e-9)
            assert cells.solid_angles[part].sum() == pytest.approx(4 * np.pi)
    if len(faces) == 6:
        assert cells.solid_angles == pytest.approx(4 * np.pi / 6)


def test_faces_are_those_of_pymatgen():
    for name, atoms in silicons().items():
        check_faces(atoms, np.arange(0, len(atoms), 23 if name != "flat surface" else 9))
    for atoms in crystals().values():
        check_faces(atoms, np.arange(0, len(atoms), 7))
        check_faces(moved(atoms, 1e-6), np.arange(0, len(atoms), 7), 1e-8)
    for seed in range(3):
        atoms = ionic(11, seed)
        check_faces(atoms, np.arange(0, 11, 2))


def test_the_cell_of_an_atom_alone_reaches_its_images():
    """The search widens until the cell is closed; 9 x 14 x 20 Å by hand."""
    cells = cells_of(Atoms("Si", cell=[9, 14, 20], pbc=True))
    assert sorted(cells.areas) == pytest.approx(sorted([14 * 20.0, 9 * 20.0, 9 * 14.0] * 2))
    vectors = np.abs(cells.vectors).sum(axis=1)
    assert sorted(vectors) == pytest.approx([9, 9, 14, 14, 20, 20])


def test_an_atom_in_a_shell_has_a_face_for_each_atom_of_it():
    """By hand: all are equally far, so none hides another."""
    directions = np.random.default_rng(0).standard_normal((150, 3))
    shell = 4 * directions / np.linalg.norm(directions, axis=1)[:, None]
    atoms = Atoms("Si151", [(0, 0, 0), *shell], cell=[30, 30, 30], pbc=True)
    cells = cells_of(atoms, [0])
    assert sorted(cells.atoms) == list(range(1, 151))
    assert cells.solid_angles.sum() == pytest.approx(4 * np.pi)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 14))
def test_cells_fill_space_and_do_not_depend_on_the_frame(seed, n):
    rng = np.random.default_rng(seed)
    cell = 4.5 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
    places = rng.random((n, 3)) @ cell
    cells = voronoi_cells(places, cell)
    distances = np.linalg.norm(cells.vectors, axis=1)
    volume = (cells.areas * distances).sum() / 6
    assert volume == pytest.approx(np.linalg.det(cell), rel=1e-9)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    shift = rng.integers(-2, 3, (n, 3))
    other = voronoi_cells((places + shift @ cell + rng.random(3)) @ turn, cell @ turn)
    assert np.array_equal(other.starts, cells.starts)
    assert np.array_equal(other.atoms, cells.atoms)
    assert other.solid_angles == pytest.approx(cells.solid_angles, abs=1e-9)
    # The image is counted from the place as given.
    centre = np.repeat(cells.sites, np.diff(cells.starts))
    assert np.array_equal(other.images, cells.images + shift[centre] - shift[cells.atoms])


def reference_neighbours(structure, site, settings):
    """Weights by atom and image, and the likelihoods of CrystalNN."""
    finder = CrystalNN(
        cation_anion=settings.cation_anion,
        distance_cutoffs=settings.distance_cutoffs,
        x_diff_weight=settings.x_diff_weight,
        porous_adjustment=settings.porous_adjustment,
        search_cutoff=settings.search_cutoff,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = finder.get_nn_data(structure, site)
    weights = {
        (one["site_index"], *map(int, one["image"])): one["weight"] for one in data.all_nninfo
    }
    return weights, data.cn_weights


def check_neighbours(atoms, sites, chosen, oxidation_states=None):
    species = sorted(set(atoms.get_chemical_symbols()))
    finder = NeighbourFinder(species, chosen, oxidation_states)
    found = finder.find(atoms.numbers, atoms.positions, atoms.cell.array, sites)
    structure = structure_of(atoms, oxidation_states)
    for k, site in enumerate(sites):
        part = slice(found.starts[k], found.starts[k + 1])
        weights, likelihoods = reference_neighbours(structure, int(site), chosen)
        ours = dict(zip(keys_of(found, part), found.weights[part], strict=True))
        assert ours == pytest.approx(weights, abs=1e-12)
        ours = found.coordination_weights(k)
        for number in ours.keys() | likelihoods.keys():
            assert ours.get(number, 0) == pytest.approx(likelihoods.get(number, 0), abs=1e-12)


@pytest.mark.parametrize(
    "chosen",
    [
        MOTIF_SETTINGS,
        ION_MOTIF_SETTINGS,
        ANGLE_SETTINGS,
        NeighbourSettings(distance_cutoffs=(0.2, 0.6), x_diff_weight=1.5, search_cutoff=5.0),
    ],
)
def test_neighbours_are_those_of_crystal_nn(chosen):
    for atoms, states in [
        *((ionic(12, seed, 5.5), IONS) for seed in range(2)),
        (interfaces()["displaced 0"], LSC_LCO),
    ]:
        check_neighbours(atoms, np.arange(0, len(atoms), max(len(atoms) // 8, 1)), chosen, states)
    if not chosen.cation_anion:
        warm = slab(moved(silicon((2, 2, 1)), 0.2), 5.0)
        check_neighbours(warm, np.arange(0, 32, 8), chosen)


def test_radii_follow_the_charge():
    """Charges with and without a radius, between two radii, and none; also a noble gas."""
    states = {"Fe": 2.667, "O": -2, "C": 1, "N": -0.5, "Xe": 0, "Al": 2, "H": 1}
    rng = np.random.default_rng(4)
    symbols = list(states) * 2
    atoms = Atoms(symbols, rng.random((14, 3)) * 6, cell=[6, 6, 6], pbc=True)
    check_neighbours(atoms, range(14), MOTIF_SETTINGS, states)
    check_neighbours(atoms, range(14), MOTIF_SETTINGS)
    check_neighbours(atoms, range(14), ION_MOTIF_SETTINGS, states)


def test_an_atom_whose_faces_are_all_shared_with_its_like_has_no_neighbours():
    """By hand: the middle one of 27 cations is hidden from the anion. pymatgen stops there."""
    cell = np.diag([8.0, 8.0, 14.0])
    places = bulk("Cu", "sc", 2.0, cubic=True) * (4, 4, 5)
    atoms = Atoms(["Mg"] * 80 + ["O"], [*places.positions, (0, 0, 11)], cell=cell, pbc=True)
    hidden = int(np.argmin(np.linalg.norm(atoms.positions - (4, 4, 4), axis=1)))
    finder = NeighbourFinder(["Mg", "O"], ION_MOTIF_SETTINGS, {"Mg": 2, "O": -2})
    found = finder.find(atoms.numbers, atoms.positions, cell, [hidden])
    assert len(found.atoms) == 0
    assert found.coordination_weights(0) == {0: 1.0}
    with pytest.raises(ValueError, match="empty"):
        structure = structure_of(atoms, {"Mg": 2, "O": -2})
        reference_neighbours(structure, hidden, ION_MOTIF_SETTINGS)


def finder():
    return NeighbourFinder(["Mg", "O"], ION_MOTIF_SETTINGS, {"Mg": 2, "O": -2})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [[0, 0, np.nan], [2, 0, 0]]}, "NaN"),
        ({"cell": np.zeros((3, 3))}, "no volume"),
        ({"cell": np.diag([5.0, 5.0, 1e-3])}, "thin"),
        ({"positions": [[0, 0, 0], [5, 0, 1e-6]]}, "another atom"),
        ({"numbers": [12, 26]}, "atomic number 26"),
        ({"numbers": [12, 12]}, "same sign"),
        ({"numbers": [12, 8, 8]}, "do not fit"),
        ({"cells": voronoi_cells(np.zeros((1, 3)), np.eye(3) * 5)}, "do not hold"),
        ({"cells": voronoi_cells(np.zeros((1, 3)), np.eye(3) * 5, cutoff=6.0)}, "6.0"),
    ],
)
def test_wrong_structures_are_refused(change, message):
    good = {"numbers": [12, 8], "positions": [[0, 0, 0], [2, 0, 0]], "cell": np.eye(3) * 5}
    with pytest.raises(DismaiError, match=message):
        finder().find(**(good | change))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["Mg", "Q"], MOTIF_SETTINGS), "Q"),
        (([], MOTIF_SETTINGS), "none given"),
        ((["Mg", "O"], ION_MOTIF_SETTINGS), "oxidation states"),
        ((["Mg", "O"], MOTIF_SETTINGS, {"Mg": 2}), "no oxidation state of O"),
    ],
)
def test_wrong_species_are_refused(arguments, message):
    with pytest.raises(DismaiError, match=message):
        NeighbourFinder(*arguments)
