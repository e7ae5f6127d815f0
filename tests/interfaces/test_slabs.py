from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.geometry import cell_to_cellpar
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.lattice_planes import group_planes, surface_vectors
from dismaiflow.interfaces.slabs import (
    best_termination,
    build_neutral_slab,
    build_slab,
    list_terminations,
)

from .crystals import (
    CHARGES,
    LCO_BASIS,
    LCO_MATRIX,
    LI2O_MATRIX,
    LSC_BASIS,
    LSC_MATRIX,
    lco,
    li2o,
    lsc,
    on_bulk_sites,
)


def formula(slab):
    return slab.atoms().get_chemical_formula()


def lengths_and_angle(slab):
    a, b, *_, gamma = cell_to_cellpar(slab.atoms().cell)
    return a, b, gamma


def assert_well_arranged(slab):
    scaled = slab.positions[:, :2] @ np.linalg.inv(slab.vectors)
    assert scaled.min() > -1e-12 and scaled.max() < 1 - 1e-10
    assert slab.positions[:, 2].min() == 0.0
    assert slab.vectors[0, 1] == 0.0 and slab.vectors[0, 0] > 0 and slab.vectors[1, 1] > 0
    assert np.all(np.diff(slab.planes) >= 0)
    keys = list(zip(slab.planes.tolist(), slab.numbers.tolist(), strict=True))
    assert keys == sorted(keys)


def test_lco_slab_of_the_paper():
    slab = build_slab("LCO", lco(), LCO_BASIS, 4, LCO_MATRIX, charges=CHARGES)
    assert len(slab) == 144 and formula(slab) == "Co36Li36O72"
    assert slab.n_planes == 4 and slab.height == pytest.approx(4.2445, abs=1e-3)
    heights = [slab.positions[slab.planes == plane, 2] for plane in range(4)]
    assert [np.ptp(z) < 1e-9 for z in heights] == [True] * 4
    assert np.diff([z.mean() for z in heights]) == pytest.approx([1.4148] * 3, abs=1e-3)
    assert lengths_and_angle(slab) == pytest.approx((12.46997, 17.19967, 75.667), abs=1e-3)
    assert np.array_equal(group_planes(slab.positions[:, 2]), slab.planes)
    assert_well_arranged(slab)


def test_slabs_are_the_same_bit_for_bit():
    first, second = (build_slab("LCO", lco(), LCO_BASIS, 4, LCO_MATRIX) for _ in range(2))
    assert first.positions.tobytes() == second.positions.tobytes()
    assert first.numbers.tobytes() == second.numbers.tobytes()


def test_the_repeat_may_be_longer_than_it_must():
    short = build_slab("LSC", lsc(), LSC_BASIS, 6, charges=CHARGES)
    long = build_slab("LSC", lsc(), [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], 6, charges=CHARGES)
    assert formula(long) == formula(short) == "Cl18Li9Sc3"
    assert long.height == pytest.approx(short.height)


@pytest.mark.parametrize(
    ("crystal", "basis", "layers", "matrix", "moved", "reach"),
    [
        # Longest bond of the first shells: Co-O 1.94 and Li-O 2.09; Li-Cl 2.65; Li-O 2.00 Å.
        (lco, LCO_BASIS, 8, [[2, 0], [0, 1]], None, 2.2),
        (lsc, LSC_BASIS, 7, LSC_MATRIX, "Cl", 3.0),
        (li2o, [[0, 0.5, 0.5], [0, -0.5, 0.5], [0.5, 0.5, 0]], 9, LI2O_MATRIX, "Li", 2.2),
        (li2o, [[0, 0.5, 0.5], [0, -0.5, 0.5], [0.5, 0.5, 0]], 9, LI2O_MATRIX, "O", 2.2),
    ],
)
def test_coordination_inside_is_that_of_the_bulk(crystal, basis, layers, matrix, moved, reach):
    structure = crystal()
    if moved is None:
        slab = build_slab("X", structure, basis, layers, matrix, charges=CHARGES)
    else:
        slab = build_neutral_slab(
            "X", structure, basis, layers, matrix, moved=moved, charges=CHARGES
        ).slab
    z = slab.positions[:, 2]
    inside = (z > reach) & (z < slab.height - reach)
    assert inside.sum() >= 10
    found = shells(slab.atoms(), reach)
    bulk = set(shells(AseAtomsAdaptor.get_atoms(structure), reach))
    assert {found[i] for i in np.flatnonzero(inside)} <= bulk
    assert min(len(found[i][1]) for i in np.flatnonzero(inside)) >= 3


def shells(atoms, reach):
    """Return element and sorted neighbours (element, distance) of each atom."""
    i, j, d = neighbor_list("ijd", atoms, reach)
    around = [[] for _ in atoms]
    for centre, other, distance in zip(i, j, d, strict=True):
        around[centre].append((int(atoms.numbers[other]), round(float(distance), 4)))
    return [
        (int(number), tuple(sorted(entry)))
        for number, entry in zip(atoms.numbers, around, strict=True)
    ]


def test_terminations_of_lsc():
    ways = list_terminations(lsc(), LSC_BASIS, 6, charges=CHARGES, matrix=LSC_MATRIX)
    assert [way.lowest for way in ways] == [("Li", "Sc"), ("Cl",)]
    assert [way.highest for way in ways] == [("Cl",), ("Li", "Sc")]
    assert [way.formula_units for way in ways] == [9, 9]
    assert all(way.stoichiometric for way in ways)
    # By hand: planes of charge -6 and +6 e, 3.008 / 2 Å apart, three such pairs on 6.391 x 11.040
    # Å^2.
    dipole = 3 * 6 * 6.398 * np.sin(np.radians(109.89)) / 4 / (6.391 * 11.040)
    assert [way.dipole for way in ways] == pytest.approx([-dipole, dipole])
    # From x = 0 to x = 0.23555.
    gap = 0.23555 * 6.398 * np.sin(np.radians(109.89))
    assert [way.gap for way in ways] == pytest.approx([gap, gap])
    odd = list_terminations(lsc(), LSC_BASIS, 7)
    assert [way.formula_units for way in odd] == [None, None]
    assert [way.dipole for way in odd] == [None, None]


def test_terminations_before_a_polar_fix_begin_with_the_moved_species():
    (way,) = list_terminations(lsc(), LSC_BASIS, 7, charges=CHARGES, moved="Cl")
    assert way.lowest == ("Cl",) and way.index == 1 and way.formula_units == 3


def test_formula_units_may_be_larger_than_the_reduced_formula():
    doubled = {"Li": 2, "Co": 2, "O": 4}
    (way,) = list_terminations(lco(), LCO_BASIS, 3, formula=doubled)
    assert way.formula_units == 1.5 and not way.stoichiometric
    with pytest.raises(DismaiError, match=r"key 'layers\.LCO' is 3.*take 2 or 4"):
        build_slab("LCO", lco(), LCO_BASIS, 3, formula=doubled)


def layered(planes, period=10.0, side=4.0):
    """Return a tetragonal crystal from (height, element) pairs."""
    return Structure(
        Lattice.tetragonal(side, period),
        [element for _, element in planes],
        [[0, 0, height / period] for height, _ in planes],
    )


CUBE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_the_widest_gap_is_cut_when_dipoles_are_equal():
    # Li | Li | Li | Li at 0, 2, 5, 7 of 10 Å: gaps of 2, 3, 2 and 3.
    crystal = layered([(0, "Li"), (2, "Li"), (5, "Li"), (7, "Li")], period=10.0)
    ways = list_terminations(crystal, CUBE, 4)
    assert [way.gap for way in ways] == pytest.approx([3, 2, 3, 2])
    assert best_termination(ways).index == 0
    assert build_slab("Li", crystal, CUBE, 4).height == pytest.approx(7)
    assert build_slab("Li", crystal, CUBE, 4, termination=1).height == pytest.approx(8)


def test_the_smaller_dipole_comes_before_the_wider_gap():
    # O between two Li: cut between the Li the slab has no dipole, though the gap is the smaller.
    crystal = layered([(1.0, "Li"), (3.0, "O"), (5.0, "Li")], period=5.5)
    slab = build_slab("Li2O", crystal, CUBE, 3, charges=CHARGES)
    assert slab.numbers.tolist() == [3, 8, 3] and slab.height == pytest.approx(4)
    # Without charges the widest gap is taken.
    assert 8 in build_slab("Li2O", crystal, CUBE, 3).numbers[[0, 2]]


def test_a_plane_that_crosses_the_cell_boundary_stays_whole():
    crystal = layered([(0.05, "Li"), (4.95, "O"), (2.5, "Cl")], period=5.0)
    slab = build_slab("X", crystal, CUBE, 2)
    assert sorted(np.bincount(slab.planes).tolist()) == [1, 2]
    assert slab.height == pytest.approx(2.55)


def test_a_negative_determinant_turns_the_slab_over():
    crystal = layered([(0, "Li"), (2, "O"), (5, "Cl")], period=9.0)
    upright = build_slab("X", crystal, CUBE, 3, [[1, 0], [1, 1]])
    over = build_slab("X", crystal, CUBE, 3, [[1, 0], [1, -1]])
    assert upright.numbers.tolist() == [3, 8, 17] and over.numbers.tolist() == [17, 8, 3]
    assert over.positions[:, 2] == pytest.approx([0, 3, 5])
    assert lengths_and_angle(over) == pytest.approx((4, 4 * 2**0.5, 45))
    assert_well_arranged(over)


def test_a_slab_turned_over_is_the_same_crystal():
    # A crystal without any symmetry: only a rotation, not a reflection, may be applied.
    crystal = Structure(
        Lattice.from_parameters(4.1, 5.2, 7.3, 80, 95, 103),
        ["Li", "O", "Cl", "Sc"],
        [[0, 0, 0], [0.31, 0.12, 0.25], [0.05, 0.44, 0.5], [0.63, 0.71, 0.75]],
    )
    slab = build_slab("X", crystal, CUBE, 4, [[0, 1], [1, 0]])
    # Seen from below, (v, u, -w) is right-handed and v lies along x.
    assert on_bulk_sites(slab, crystal, [[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    assert not on_bulk_sites(slab, crystal, CUBE)
    mirrored = replace(slab, positions=slab.positions * [1, 1, -1])
    assert not on_bulk_sites(mirrored, crystal, [[0, 1, 0], [1, 0, 0], [0, 0, -1]])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([lco, lsc, li2o]),
    st.tuples(*[st.integers(-2, 2)] * 3).filter(any),
    st.integers(1, 9),
)
def test_every_termination_lies_on_bulk_sites(crystal, miller, layers):
    structure = crystal()
    basis = surface_vectors(structure, miller)
    try:
        ways = list_terminations(structure, basis, layers, charges=CHARGES)
    except DismaiError as error:
        assert "take lower Miller indices" in str(error)
        return
    for way in ways[:3]:
        slab = build_slab("X", structure, basis, layers, termination=way.index)
        assert slab.n_planes == layers
        assert on_bulk_sites(slab, structure, basis)
        assert_well_arranged(slab)
    # One repeat holds the atoms of one primitive cell, whatever its orientation.
    atoms = {lco: 4, lsc: 10, li2o: 3}[crystal]
    assert len(build_slab("X", structure, basis, len(ways), termination=0)) == atoms


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(-4, 4)] * 4).filter(lambda m: m[0] * m[3] != m[1] * m[2]))
def test_supercells_have_the_size_of_their_determinant(entries):
    a, b, c, d = entries
    unit = build_slab("LCO", lco(), LCO_BASIS, 2)
    slab = build_slab("LCO", lco(), LCO_BASIS, 2, [[a, b], [c, d]])
    size = abs(a * d - b * c)
    assert len(slab) == size * len(unit) and slab.area == pytest.approx(size * unit.area)
    expected = np.array([[a, b], [c, d]]) @ unit.vectors
    assert slab.vectors @ slab.vectors.T == pytest.approx(expected @ expected.T)
    assert_well_arranged(slab)
    nearest = neighbor_list("d", slab.atoms(), 2.2)
    assert len(nearest) == size * len(neighbor_list("d", unit.atoms(), 2.2))


def test_too_high_indices_are_refused():
    aluminium = Structure(Lattice.cubic(4.05), ["Al"], [[0, 0, 0]])
    basis = surface_vectors(aluminium, (17, 1, 0))
    with pytest.raises(DismaiError, match=r"key 'miller\.Al'.*lower Miller indices"):
        build_slab("Al", aluminium, basis, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 7}, "key 'layers.LSC' is 7.*Li3ScCl6: take 6 or 8"),
        ({"layers": 1}, "key 'layers.LSC' is 1.*take 2"),
        ({"layers": 6, "termination": 2}, r"key 'terminations.LSC' is 2: there are 0 \(Li\+Sc "),
        ({"layers": 6, "matrix": [[1, 2], [2, 4]]}, "key 'supercell.LSC'.*parallel"),
    ],
)
def test_wrong_slabs_are_refused(arguments, message):
    formula = {"Li": 3, "Sc": 1, "Cl": 6}
    with pytest.raises(DismaiError, match=message):
        build_slab("LSC", lsc(), LSC_BASIS, formula=formula, **arguments)
