from __future__ import annotations

from math import gcd, sqrt

import numpy as np
import pytest
from ase.build import fcc111, fcc211, hcp0001
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.surface import SlabGenerator

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.lattice_planes import (
    check_surface_vectors,
    group_planes,
    lattice_translations,
    surface_vectors,
)

from .crystals import LCO_BASIS, LSC_BASIS, lco, li2o, lsc

CENTRINGS = {
    "P": [[0, 0, 0]],
    "I": [[0, 0, 0], [1 / 2, 1 / 2, 1 / 2]],
    "C": [[0, 0, 0], [1 / 2, 1 / 2, 0]],
    "F": [[0, 0, 0], [0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
    "R": [[0, 0, 0], [2 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 2 / 3]],
}


def lattice_points(lattice, centring, element="Cu"):
    return Structure(lattice, [element] * len(CENTRINGS[centring]), CENTRINGS[centring])


def area_and_spacing(structure, miller):
    u, v, w = surface_vectors(structure, miller) @ structure.lattice.matrix
    normal = np.cross(u, v)
    return np.linalg.norm(normal), w @ normal / np.linalg.norm(normal)


def test_planes_are_told_apart_by_gaps():
    heights = [3.0, 0.0, 0.2, 0.4, 3.1, 1.0]
    # 0, 0.2 and 0.4 hang together although 0 and 0.4 lie 0.4 apart.
    assert group_planes(heights).tolist() == [2, 0, 0, 0, 2, 1]
    assert group_planes(heights, gap=0.15).tolist() == [4, 0, 1, 2, 4, 3]
    assert group_planes([0.0, 0.25]).tolist() == [0, 0]
    assert group_planes([]).tolist() == []


@pytest.mark.parametrize(
    ("centring", "miller", "area", "spacing"),
    [
        # By hand, cubic lattices with a = 4.
        ("P", (1, 0, 0), 16, 4),
        ("P", (1, 1, 0), 16 * sqrt(2), 4 / sqrt(2)),
        ("P", (1, 1, 1), 16 * sqrt(3), 4 / sqrt(3)),
        ("F", (1, 0, 0), 8, 2),
        ("F", (1, 1, 0), 8 * sqrt(2), sqrt(2)),
        ("F", (1, 1, 1), 4 * sqrt(3), 4 / sqrt(3)),
        ("I", (1, 0, 0), 16, 2),
        ("I", (1, 1, 0), 8 * sqrt(2), 2 * sqrt(2)),
        ("I", (1, 1, 1), 16 * sqrt(3), 2 / sqrt(3)),
    ],
)
def test_cubic_surfaces_have_the_areas_and_spacings_of_textbooks(centring, miller, area, spacing):
    structure = lattice_points(Lattice.cubic(4.0), centring)
    assert area_and_spacing(structure, miller) == pytest.approx((area, spacing))


def test_areas_agree_with_ase():
    copper = lattice_points(Lattice.cubic(3.61), "F")
    for miller, slab in [
        ((1, 1, 1), fcc111("Cu", (1, 1, 1), a=3.61, vacuum=5)),
        ((2, 1, 1), fcc211("Cu", (3, 1, 1), a=3.61, vacuum=5)),
    ]:
        area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
        assert area_and_spacing(copper, miller)[0] == pytest.approx(area)
    magnesium = lattice_points(Lattice.hexagonal(3.21, 5.21), "P")
    slab = hcp0001("Mg", (1, 1, 2), a=3.21, c=5.21, vacuum=5)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    assert area_and_spacing(magnesium, (0, 0, 1)) == pytest.approx((area, 5.21))


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (0, 0, 1)])
@pytest.mark.parametrize("crystal", [lco, lsc, li2o])
def test_areas_agree_with_pymatgen(crystal, miller):
    structure = crystal()
    generator = SlabGenerator(structure, miller, 12, 12, primitive=True, lll_reduce=False)
    area = min(slab.surface_area for slab in generator.get_slabs())
    ours, spacing = area_and_spacing(structure, miller)
    assert ours == pytest.approx(area, rel=1e-4)
    # The planes of a centred lattice lie whole parts of the distance d(hkl) of the cell apart.
    ratio = structure.lattice.d_hkl(miller) / spacing
    assert ratio == pytest.approx(round(ratio)) and round(ratio) in (1, 2, 3)


def test_lco_and_lsc_get_the_vectors_of_the_notes():
    # The same cells as by hand; for LSC seen from the other side of the crystal.
    assert surface_vectors(lco(), (1, 1, 0)) == pytest.approx(np.array(LCO_BASIS))
    u, v, w = surface_vectors(lsc(), (1, 0, 0))
    assert u.tolist() == [0, 0, 1] and v.tolist() == [0, -1, 0] and w.tolist() == [0.5, 0.5, 0]


def test_translations_of_centred_crystals_are_exact():
    assert lattice_translations(lsc()).tolist() == [[0, 0, 0], [0.5, 0.5, 0]]
    assert lattice_translations(lco()).tolist() == [
        [0, 0, 0],
        [1 / 3, 2 / 3, 2 / 3],
        [2 / 3, 1 / 3, 1 / 3],
    ]
    assert len(lattice_translations(li2o())) == 4
    supercell = lattice_points(Lattice.cubic(4.0), "F") * (2, 1, 3)
    assert len(lattice_translations(supercell)) == 24


lattices = st.builds(
    Lattice.from_parameters,
    *[st.floats(2.5, 9.0)] * 3,
    *[st.floats(65.0, 110.0)] * 3,
)
indices = st.tuples(*[st.integers(-4, 4)] * 3).filter(any)


@settings(max_examples=150, deadline=None)
@given(lattices, st.sampled_from(sorted(CENTRINGS)), indices)
def test_any_surface_cell_is_primitive_reduced_and_right_handed(lattice, centring, miller):
    assume(lattice.volume > 5)
    structure = lattice_points(lattice, centring)
    k = len(structure)
    basis = surface_vectors(structure, miller)
    u, v, w = basis @ lattice.matrix

    whole = np.rint(basis * k).astype(int)
    assert np.abs(basis * k - whole).max() < 1e-12
    assert (whole[:2] @ np.array(miller)).tolist() == [0, 0]
    assert whole[2] @ np.array(miller) > 0
    assert np.linalg.det([u, v, w]) == pytest.approx(lattice.volume / k)
    normal = np.array(miller) @ lattice.reciprocal_lattice.matrix
    assert np.cross(u, v) @ normal == pytest.approx(
        np.linalg.norm(np.cross(u, v)) * np.linalg.norm(normal)
    )
    assert np.linalg.norm(u) <= np.linalg.norm(v) * (1 + 1e-5)
    assert 2 * abs(u @ v) <= u @ u * (1 + 1e-4)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            assert np.linalg.norm(w) <= np.linalg.norm(w + i * u + j * v) * (1 + 1e-5)
    # Each row is a lattice vector: it moves the lattice points onto themselves.
    assert np.array_equal(check_surface_vectors(structure, miller, basis, "X"), basis)
    divisor = gcd(*miller)
    assert np.array_equal(basis, surface_vectors(structure, [m // divisor for m in miller]))


def test_rounded_vectors_of_a_user_become_exact():
    rounded = [[1, -1, 0], [0.3333, -0.3333, -0.3333], [1, 0, 0]]
    exact = check_surface_vectors(lco(), (1, 1, 0), rounded, "LCO")
    assert exact.tolist() == [[1, -1, 0], [1 / 3, -1 / 3, -1 / 3], [1, 0, 0]]
    # The normal may point against hkl, and w may be more than one step.
    assert np.array_equal(check_surface_vectors(lsc(), (1, 0, 0), LSC_BASIS, "LSC"), LSC_BASIS)
    check_surface_vectors(lsc(), (1, 0, 0), [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], "LSC")


@pytest.mark.parametrize(
    ("crystal", "miller", "vectors", "words"),
    [
        (lco, (1, 1, 0), [[1, -1, 0], [1 / 3, -1 / 3, 1 / 3], [1, 0, 0]], "v = [1/3, -1/3, 1/3]"),
        (lsc, (1, 0, 0), [[0, 0, 1], [0, 1, 0], [0.5, 0.5, 0]], "left-handed"),
        (lsc, (1, 0, 0), [[0, 0, 0.51], [0, 1, 0], [-0.5, 0.5, 0]], "no lattice vector"),
        (lsc, (1, 0, 0), [[1, 0, 1], [0, 1, 0], [-0.5, 0.5, 0]], "u out of the plane (1 0 0)"),
        (lsc, (1, 0, 0), [[0, 0, 1], [0, 1, 0], [0, 1, 1]], "w must leave"),
        (lsc, (1, 0, 0), [[0, 0, 1], [0, 0, 2], [-0.5, 0.5, 0]], "parallel"),
        (lsc, (1, 0, 0), [[0, 0, 1], [0, 1, 0]], "three rows"),
    ],
)
def test_wrong_vectors_are_refused_with_the_right_ones(crystal, miller, vectors, words):
    phase = crystal.__name__.upper()
    with pytest.raises(DismaiError) as caught:
        check_surface_vectors(crystal(), miller, vectors, phase)
    message = str(caught.value)
    assert message.startswith(f"key 'surface_vectors.{phase}'")
    assert words in message and "\n" not in message
    right = {"LCO": "[1, -1, 0], [1/3, -1/3, -1/3]", "LSC": "[0, 0, 1], [0, -1, 0], [1/2, 1/2, 0]"}
    assert right[phase] in message


def test_miller_indices_of_no_plane_are_refused():
    with pytest.raises(DismaiError, match=r"key 'miller\.LCO' is \(0 0 0\)"):
        surface_vectors(lco(), (0, 0, 0), "LCO")
