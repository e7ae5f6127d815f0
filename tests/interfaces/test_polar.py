from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ase.geometry import cell_to_cellpar
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces import polar
from dismaiflow.interfaces.lattice_planes import surface_vectors
from dismaiflow.interfaces.polar import dipole
from dismaiflow.interfaces.slab import Slab
from dismaiflow.interfaces.slabs import build_neutral_slab, build_slab

from .crystals import (
    CHARGES,
    LCO_BASIS,
    LI2O_MATRIX,
    LSC_BASIS,
    LSC_MATRIX,
    lco,
    li2o,
    lsc,
    on_bulk_sites,
)

CUBE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def plane_charges(slab, charges):
    """Add up the charges of each plane."""
    each = np.array([charges[symbol] for symbol in slab.atoms().get_chemical_symbols()])
    return np.bincount(slab.planes, weights=each)


def with_charges(slab, vacuum=15.0):
    structure = AseAtomsAdaptor.get_structure(slab.atoms(vacuum))
    structure.add_oxidation_state_by_element(CHARGES)
    return structure


def test_dipole_and_plane_charges_by_hand():
    slab = Slab(
        "X",
        np.array([3, 3, 8, 17, 3], dtype=np.uint8),
        np.array([[0, 0, 0], [1, 1, 0], [0, 1, 1.5], [1, 0, 3.5], [0, 0, 4.0]]),
        np.array([[4.0, 0.0], [0.0, 5.0]]),
        np.array([0, 0, 1, 2, 3]),
    )
    assert plane_charges(slab, CHARGES).tolist() == [2, -2, -1, 1]
    # About 2 Å: 2 * -2 + -2 * -0.5 + -1 * 1.5 + 1 * 2.
    assert dipole(slab, CHARGES) == pytest.approx(-2.5)
    with pytest.raises(DismaiError, match="key 'oxidation_states' lacks Cl, O of X"):
        dipole(slab, {"Li": 1})


def test_lsc_slab_of_the_paper():
    move = build_neutral_slab(
        "LSC", lsc(), LSC_BASIS, 7, LSC_MATRIX, moved="Cl", charges=CHARGES, fraction=0.5
    )
    slab = move.slab
    assert len(slab) == 90 and slab.atoms().get_chemical_formula() == "Cl54Li27Sc9"
    assert slab.n_planes == 7
    # From x = 0.25528 of the first plane to x = 0.24472 + 1.5 of the last: the outermost Cl moved.
    height = (1.5 + 0.24472 - (0.5 - 0.24472)) * 6.398 * np.sin(np.radians(109.89))
    assert slab.height == pytest.approx(height)
    a, b, *_, gamma = cell_to_cellpar(slab.atoms().cell)
    assert (a, b, gamma) == pytest.approx((12.756, 16.890, 79.25), abs=5e-3)
    assert plane_charges(slab, CHARGES) == pytest.approx([-9, 18, -18, 18, -18, 18, -9])
    assert abs(dipole(slab, CHARGES)) < 1e-10
    assert (move.n_moved, move.n_sites, move.n_choices) == (3, 6, 20)
    assert move.exhaustive and not move.in_supercell
    # Measured with an implementation of its own, notes of the project: -227.5 and -222.1 eV.
    assert move.energy == pytest.approx(-227.5, abs=0.05)
    assert move.next_energy == pytest.approx(-222.1, abs=0.06)
    unit = build_neutral_slab("LSC", lsc(), LSC_BASIS, 7, moved="Cl", charges=CHARGES).slab
    group = SpacegroupAnalyzer(with_charges(unit), 0.01).get_space_group_symbol()
    assert group == "P2/m"
    assert on_bulk_sites(unit, lsc(), LSC_BASIS)


def test_energies_of_choices_are_those_of_the_finished_slabs():
    move = build_neutral_slab("LSC", lsc(), LSC_BASIS, 7, moved="Cl", charges=CHARGES)
    # The cell of the ranking is a little higher than that of the finished slab.
    direct = EwaldSummation(with_charges(move.slab)).total_energy
    assert move.energy == pytest.approx(direct, abs=1e-3)
    energies = []
    whole = build_slab("LSC", lsc(), LSC_BASIS, 6, charges=CHARGES, termination=1)
    step = np.array([*(-0.5 * 3 * 6.398 * np.cos(np.radians(109.89)), 3 * 0.5 * 11.040), 0])
    step[2] = 1.5 * 6.398 * np.sin(np.radians(109.89))
    sites = np.flatnonzero(whole.planes == 0)
    assert len(sites) == 6
    for chosen in combinations(sites, 3):
        atoms = whole.atoms(15 + 3)
        atoms.positions[list(chosen)] += step
        structure = AseAtomsAdaptor.get_structure(atoms)
        structure.add_oxidation_state_by_element(CHARGES)
        energies.append(EwaldSummation(structure).total_energy)
    assert min(energies) == pytest.approx(move.energy, abs=0.01)
    assert sorted(np.round(energies, 2))[1] == pytest.approx(move.next_energy, abs=0.02)


@pytest.mark.parametrize(
    ("moved", "in_supercell", "n_sites", "n_choices"), [("Li", False, 2, 2), ("O", True, 10, 252)]
)
def test_both_terminations_of_li2o_lose_their_dipole(moved, in_supercell, n_sites, n_choices):
    basis = surface_vectors(li2o(), (1, 0, 0))
    move = build_neutral_slab(
        "Li2O", li2o(), basis, 9, LI2O_MATRIX, moved=moved, charges=CHARGES, fraction=0.5
    )
    slab = move.slab
    # Table S4: 9 layers, 120 atoms.
    assert len(slab) == 120 and slab.n_planes == 9
    assert slab.atoms().get_chemical_formula() == "Li80O40"
    assert abs(dipole(slab, CHARGES)) < 1e-10
    assert slab.height == pytest.approx(2 * 4.61)
    assert (move.in_supercell, move.n_sites, move.n_choices) == (in_supercell, n_sites, n_choices)
    ends = {"Li": (10, 10), "O": (5, 5)}[moved]
    assert tuple(np.bincount(slab.planes)[[0, -1]]) == ends
    lengths = cell_to_cellpar(slab.atoms().cell)[[0, 1, 5]]
    # |u| = 4.61 / sqrt(2): (1, 2) and (-4, 2) in a square cell.
    side = 4.61 / np.sqrt(2)
    assert lengths == pytest.approx([side * 5**0.5, side * 20**0.5, 90])


def test_the_search_by_exchanges_finds_the_best_choice(monkeypatch):
    basis = surface_vectors(li2o(), (1, 0, 0))
    arguments = ("Li2O", li2o(), basis, 9, LI2O_MATRIX)
    ranked = build_neutral_slab(*arguments, moved="O", charges=CHARGES)
    monkeypatch.setattr(polar, "MAX_CHOICES", 10)
    first = build_neutral_slab(*arguments, moved="O", charges=CHARGES, seed=3)
    again = build_neutral_slab(*arguments, moved="O", charges=CHARGES, seed=3)
    assert ranked.exhaustive and not first.exhaustive
    assert first.energy == pytest.approx(ranked.energy, abs=1e-4)
    assert first.slab.positions.tobytes() == again.slab.positions.tobytes()
    assert abs(dipole(first.slab, CHARGES)) < 1e-10


def test_the_slab_may_be_turned_over():
    matrix = [[LSC_MATRIX[0][1], LSC_MATRIX[0][0]], [LSC_MATRIX[1][1], LSC_MATRIX[1][0]]]
    move = build_neutral_slab("LSC", lsc(), LSC_BASIS, 7, matrix, moved="Cl", charges=CHARGES)
    assert len(move.slab) == 90 and abs(dipole(move.slab, CHARGES)) < 1e-10
    assert move.energy == pytest.approx(-227.5, abs=0.05)


@st.composite
def polar_crystals(draw):
    """Draw a crystal of planes: `ions` cations at the bottom, their counter-ions above.

    With the anions at a height of share * period, the share of the cations that must be moved is
    by hand: -mu / (q0 h) = (n q0 share period) / (q0 n period) = share.
    """
    ions = draw(st.integers(2, 6))
    n_moved = draw(st.integers(1, ions - 1))
    period = draw(st.floats(4.0, 8.0))
    gamma = draw(st.floats(70.0, 110.0))
    side = draw(st.floats(6.0, 9.0))
    tilt = draw(st.floats(80.0, 100.0))
    lattice = Lattice.from_parameters(side, 1.3 * side, period, tilt, tilt, gamma)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    places = rng.permutation(9)
    sites, species = [], []
    for i in range(ions):
        at = np.array(divmod(int(places[i]), 3)) / 3 + rng.uniform(0, 0.1, 2)
        sites.append([*at, 0.0])
        species.append("Li")
        at = np.array(divmod(int(rng.permutation(9)[0]), 3)) / 3 + 0.3 * i / ions
        sites.append([*at, n_moved / ions])
        species.append("Cl")
    return Structure(lattice, species, sites), ions, n_moved


@settings(max_examples=40, deadline=None)
@given(polar_crystals(), st.integers(1, 3))
def test_any_polar_slab_loses_its_dipole(crystal, repeats):
    structure, ions, n_moved = crystal
    before = build_slab("X", structure, CUBE, 2 * repeats, charges=CHARGES, termination=0)
    move = build_neutral_slab(
        "X", structure, CUBE, 2 * repeats + 1, moved="Li", charges=CHARGES, termination=0
    )
    after = move.slab
    assert abs(dipole(before, CHARGES)) > 0.1
    assert abs(dipole(after, CHARGES)) < 1e-9
    assert move.fraction == pytest.approx(n_moved / ions) and move.n_moved == n_moved
    assert sorted(after.numbers) == sorted(before.numbers)
    assert np.array_equal(after.vectors, before.vectors)
    assert after.n_planes == before.n_planes + 1
    assert on_bulk_sites(after, structure, CUBE)
    assert np.bincount(after.planes)[[0, -1]].tolist() == [ions - n_moved, n_moved]


def test_the_plane_of_which_a_share_can_be_moved_is_taken():
    # Li at 0 and 1 Å, O at 1.5, of 6.
    lattice = Lattice.tetragonal(4, 6)
    crystal = Structure(lattice, ["Li", "Li", "O"], [[0, 0, 0], [0, 0, 1 / 6], [0.5, 0.5, 0.25]])
    # Cut below the lower Li: mu = 1 - 2 * 1.5 = -2 per repeat, a share of 1/3. Cut below the
    # upper: z = 0, O at 0.5, Li at 5: mu = 5 - 1 = 4, negative. So the lower one, in threes.
    move = build_neutral_slab("X", crystal, CUBE, 4, [[3, 0], [0, 1]], moved="Li", charges=CHARGES)
    assert move.fraction == pytest.approx(1 / 3) and move.in_supercell
    assert (move.n_moved, move.n_sites) == (1, 3)
    assert abs(dipole(move.slab, CHARGES)) < 1e-10


@pytest.mark.parametrize(
    ("crystal", "layers", "arguments", "message"),
    [
        ("lsc", 8, {}, "key 'layers.lsc' is 8.*whole repeats of 2: take 7 or 9"),
        ("lsc", 1, {}, "key 'layers.lsc' is 1.*: take 3"),
        ("lsc", 7, {"fraction": 0.25}, "key 'polar_fix.fraction' is 0.25.*0.5 of the Cl plane"),
        ("lsc", 7, {"moved": "O"}, "key 'polar_fix.species' is O.*one of Li, Cl, Sc"),
        ("lsc", 7, {"moved": "Sc"}, "key 'polar_fix.species'.*it would be 1"),
        ("lsc", 7, {"termination": 0}, r"key 'terminations.lsc' is 0: there are 1 \(Cl below\)"),
        ("lsc", 7, {"charges": {**CHARGES, "Sc": 2}}, r"key 'oxidation_states'.*charge -3 e"),
        ("lsc", 7, {"charges": {"Li": 1, "Sc": 3}}, "key 'oxidation_states' lacks Cl of lsc"),
        ("lco", 5, {"moved": "O"}, "key 'polar_fix': the slab of lco has no dipole"),
        (
            "li2o",
            9,
            {"moved": "O"},
            "whole number: take a matrix in 'supercell.li2o'.*multiple of 2",
        ),
    ],
)
def test_wrong_fixes_are_refused(crystal, layers, arguments, message):
    structure = {"lsc": lsc, "lco": lco, "li2o": li2o}[crystal]()
    basis = {"lsc": LSC_BASIS, "lco": LCO_BASIS, "li2o": surface_vectors(li2o(), (1, 0, 0))}
    with pytest.raises(DismaiError, match=message):
        build_neutral_slab(
            crystal,
            structure,
            basis[crystal],
            layers,
            **{"moved": "Cl", "charges": CHARGES, **arguments},
        )


def test_coordinates_of_three_digits_will_do():
    """Files round; the share of ions comes out whole all the same, and little dipole is left."""
    exact = lsc()
    rounded = Structure(exact.lattice, exact.species, np.round(exact.frac_coords, 3))
    move = build_neutral_slab(
        "LSC", rounded, LSC_BASIS, 7, LSC_MATRIX, moved="Cl", charges=CHARGES, fraction=0.5
    )
    assert (move.n_moved, move.n_sites) == (3, 6)
    assert move.slab.atoms().get_chemical_formula() == "Cl54Li27Sc9"
    assert abs(dipole(move.slab, CHARGES)) / move.slab.area < 0.01
