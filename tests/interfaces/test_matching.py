"""Common supercells: the paper's, and properties of the strain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.bulk import bulk_structure
from dismaiflow.interfaces.lattice_planes import surface_vectors
from dismaiflow.interfaces.matching import find_matches, in_plane, match_supercells, mismatch
from dismaiflow.systems import get_system
from dismaiflow.systems.interface_blocks import Matching

#: Mean mismatches of Table S4, %.
TABLE_S4 = {
    "lsc-lco": 2.17,
    "li2o-licl-100-li": 0.545,
    "li2o-licl-100-o": 0.545,
    "li2o-li-110": 3.00,
    "li2o-licl-110": 2.13,
    "li2o-mgs-110": 2.17,
}


def surfaces(name):
    """u, v of substrate and film from the bulk cells and Miller indices alone."""
    parts = get_system(name).interface
    found = []
    for phase in (parts.substrate, parts.film):
        crystal = bulk_structure(parts.bulk[phase], phase)
        basis = surface_vectors(crystal, parts.miller[phase])
        found.append((basis @ crystal.lattice.matrix)[:2])
    return found


def rectangle(a, b):
    return np.diag([float(a), float(b)])


def test_zsl_finds_the_cell_of_the_paper_from_the_bulk_cells_alone():
    parts = get_system("lsc-lco").interface
    matches = find_matches(*surfaces("lsc-lco"), parts.matching)
    assert len(matches) == 1
    match = matches[0]
    assert match.lengths[0] == pytest.approx([12.46997, 17.19967], abs=0.01)
    assert match.gamma == pytest.approx(75.667, abs=0.01)
    # Li3ScCl6 by hand from a = 6.398, b = 11.040, c = 6.391: u = c, v = b, A = u + v, B = -2 u + v.
    film = [np.hypot(6.391, 11.040), np.hypot(2 * 6.391, 11.040)]
    assert match.lengths[1] == pytest.approx(film)
    by_hand = [film[0] / 12.46997 - 1, film[1] / 17.19967 - 1]
    assert match.mismatches == pytest.approx(by_hand, abs=1e-6)
    assert match.mean_mismatch == pytest.approx(2.05, abs=0.01)
    # What the mean hides.
    assert match.angle_change == pytest.approx(75.667 - 79.249, abs=0.01)
    assert match.principal_strains == pytest.approx([-0.046, 0.029], abs=1e-3)
    assert match.area_change == pytest.approx(-0.018, abs=1e-3)


def test_narrow_angles_say_how_near_the_nearest_match_is():
    tight = Matching(max_area=230, max_angle_tol=0.03)
    with pytest.raises(DismaiError) as caught:
        find_matches(*surfaces("lsc-lco"), tight)
    line = str(caught.value)
    assert line.startswith("key 'matching': no common supercell of up to 230 Å^2")
    assert "the nearest, of 207.8 Å^2, has a mean mismatch of 2.05 %" in line
    needed = float(line.split("max_angle_tol to ")[1].split(",")[0].split()[0])
    found = find_matches(*surfaces("lsc-lco"), Matching(max_area=230, max_angle_tol=needed))
    assert found
    with pytest.raises(DismaiError, match="nor within much wider ones: raise max_area"):
        find_matches(rectangle(3, 3), rectangle(4, 4), Matching(max_area=12))


@pytest.mark.parametrize("name", TABLE_S4)
def test_mean_mismatches_are_those_of_table_s4(name):
    parts = get_system(name).interface
    matrices = [parts.supercell[phase] for phase in (parts.substrate, parts.film)]
    match = match_supercells(*surfaces(name), *matrices)
    assert match.mean_mismatch == pytest.approx(TABLE_S4[name], abs=0.5)


def test_the_printed_matrix_of_lithium_cannot_be_right():
    substrate, film = surfaces("li2o-li-110")
    assert np.linalg.norm(substrate, axis=1) == pytest.approx([4.6466 / 2**0.5, 4.6466])
    printed = match_supercells(substrate, film, [[1, 0], [0, 3]], [[1, 0], [0, 3]])
    # By hand: 3.437 / 3.2856 - 1 = 4.61 %, 3 x 3.437 / (3 x 4.6466) - 1 = -26.03 %.
    assert printed.mean_mismatch == pytest.approx(15.32, abs=0.01)
    mended = match_supercells(substrate, film, [[1, 0], [0, 3]], [[1, 0], [0, 4]])
    assert mended.mean_mismatch == pytest.approx(2.99, abs=0.01)


@pytest.mark.parametrize("name", sorted(set(TABLE_S4) - {"lsc-lco"}))
def test_zsl_contains_the_binary_cells_of_table_s4(name):
    parts = get_system(name).interface
    substrate, film = surfaces(name)
    matrices = [parts.supercell[phase] for phase in (parts.substrate, parts.film)]
    table = match_supercells(substrate, film, *matrices)
    wide = Matching(max_area=125, max_area_ratio_tol=0.1, max_length_tol=0.06, max_angle_tol=0.06)
    same = [
        match
        for match in find_matches(substrate, film, wide)
        if match.area == pytest.approx(table.area)
        and match.principal_strains == pytest.approx(table.principal_strains, abs=1e-6)
    ]
    assert len(same) >= 1


def test_matches_are_sorted_right_handed_reduced_and_different():
    wide = Matching(max_area=200, max_area_ratio_tol=0.1, max_length_tol=0.06, max_angle_tol=0.06)
    substrate, film = (in_plane(s) for s in surfaces("li2o-licl-110"))
    matches = find_matches(substrate, film, wide)
    order = [(round(m.area, 2), round(float(np.linalg.norm(m.strain)), 4)) for m in matches]
    assert order == sorted(order)
    keys = [tuple(np.round([*m.lengths.ravel(), *m.angles], 2)) for m in matches]
    assert len(set(keys)) == len(keys)
    for match in matches:
        assert np.linalg.det(match.substrate_supercell) > 0.5
        assert np.linalg.det(match.film_supercell) > 0.5
        a, b = match.substrate
        assert a @ a <= b @ b * (1 + 1e-3)
        assert abs(a @ b) <= 0.5 * (a @ a) * (1 + 1e-3)
        for cell, matrix, unit in (
            (match.substrate, match.substrate_supercell, substrate),
            (match.film, match.film_supercell, film),
        ):
            whole = matrix @ unit
            assert cell @ cell.T == pytest.approx(whole @ whole.T)
        assert np.abs(match.lengths[0] / match.lengths[1] - 1).max() < 0.06 + 1e-9


def test_a_mirror_image_is_no_match():
    # Seen from below, an oblique lattice is another one: only the film that turns the same way
    # can be laid on the substrate without strain.
    oblique = np.array([[3.0, 0.0], [0.7, 4.0]])
    mirrored = np.array([[3.0, 0.0], [-0.7, 4.0]])
    tight = Matching(max_area=13, max_area_ratio_tol=0.01, max_length_tol=0.01, max_angle_tol=0.01)
    assert find_matches(oblique, oblique, tight)[0].strain == pytest.approx(np.zeros((2, 2)))
    with pytest.raises(DismaiError, match="no common supercell"):
        find_matches(oblique, mirrored, tight)


def test_mismatch_of_table_s4_is_film_over_substrate():
    assert mismatch([[4, 0], [0, 5]], [[5, 0], [0, 4]]) == pytest.approx([0.25, -0.2])


lengths = st.floats(2.0, 12.0)
angles = st.floats(50.0, 130.0)


def cell(a, b, gamma):
    g = np.radians(gamma)
    return np.array([[a, 0.0], [b * np.cos(g), b * np.sin(g)]])


@given(lengths, lengths, angles, st.floats(-0.08, 0.08), st.floats(-0.08, 0.08), angles, angles)
@settings(max_examples=60, deadline=None)
def test_the_strain_tensor_is_the_stretch_whatever_the_rotation(a, b, gamma, p, q, axis, turn):
    """Strain a lattice along known axes, turn it, and find the strain again."""
    film = cell(a, b, gamma)
    c, s = np.cos(np.radians(axis)), np.sin(np.radians(axis))
    axes = np.array([[c, s], [-s, c]])
    stretch = axes.T @ np.diag([1 + p, 1 + q]) @ axes
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    substrate = film @ stretch @ np.array([[c, s], [-s, c]])
    one = [[1, 0], [0, 1]]
    match = match_supercells(substrate, film, one, one)
    assert match.strain == pytest.approx(stretch - np.eye(2), abs=1e-9)
    assert match.principal_strains == pytest.approx(sorted([p, q]), abs=1e-9)
    assert match.area_change == pytest.approx((1 + p) * (1 + q) - 1)
    assert match.film @ match.deformation == pytest.approx(match.substrate)
