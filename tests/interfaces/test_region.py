from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.region import (
    RegionFiller,
    distance_matrix,
    placement_order,
    placement_report,
)
from dismaiflow.systems.interface_blocks import MinDistances, Placement, Region

from .hosts import lsc_lco_host, lsc_lco_parts, small_host

LSC_FORMULA_UNITS = {"Li": 9, "Sc": 3, "Cl": 18}

# Smallest distances of the lsc-lco spec before scaling, in Å: distances of pairs of cations, and
# sums of Shannon's radii (Li 0.76, Sc 0.745, Co 0.545, Cl 1.81, O 1.40) worked by hand.
LSC_LCO_DISTANCES = {
    ("Li", "Li"): 3.0,
    ("Li", "Sc"): 3.2,
    ("Sc", "Sc"): 3.7,
    ("Co", "Li"): 2.85,
    ("Co", "Sc"): 3.2,
    ("Co", "Co"): 2.83,
    ("Cl", "Li"): 2.57,
    ("Cl", "Sc"): 2.555,
    ("Cl", "Co"): 2.355,
    ("Cl", "Cl"): 3.62,
    ("Cl", "O"): 3.21,
    ("Li", "O"): 2.16,
    ("O", "Sc"): 2.145,
    ("Co", "O"): 1.945,
    ("O", "O"): 2.80,
}


def small_region(scale=0.75, **changes):
    radii = {"Mg": 0.72, "O": 1.40, "Li": 0.76, "F": 1.33}
    values = {
        "phase": "LiF",
        "formula_units": 1,
        "thickness": (3.0, 5.0),
        "min_distances": MinDistances(scale=scale, radii=radii),
    }
    return Region(**(values | changes))


def closest_excess(host, filler, placed, thickness, shift, table, scale):
    """Return by how much the closest pair exceeds its limit, by ASE's minimum images."""
    substrate, film = host.substrate.atoms(), host.film.atoms()
    film.positions[:, :2] += np.array(shift) @ host.film.vectors
    film.positions[:, 2] += host.substrate.height + thickness
    region = Atoms(filler.placed_numbers, placed.positions)
    region.positions[:, 2] += host.substrate.height
    atoms = region + substrate + film
    atoms.set_cell(host.cell)
    atoms.pbc = (True, True, False)
    distances = atoms.get_all_distances(mic=True)
    symbols = atoms.get_chemical_symbols()
    excess = np.inf
    for i in range(len(region)):
        for j in range(len(atoms)):
            if i != j:
                limit = scale * table[tuple(sorted((symbols[i], symbols[j])))]
                excess = min(excess, distances[i, j] - limit)
    return excess


@pytest.mark.parametrize("thickness", [4.0, 5.0, 6.0])
def test_minimum_distances_hold_by_brute_force(thickness):
    host, region = lsc_lco_host(), lsc_lco_parts().region
    filler = RegionFiller(host, region, LSC_FORMULA_UNITS)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shift = tuple(rng.random(2))
        placed = filler.fill(thickness, shift, rng)
        assert placed.scale == 0.75
        excess = closest_excess(host, filler, placed, thickness, shift, LSC_LCO_DISTANCES, 0.75)
        assert excess >= -1e-9
        assert placed.positions[:, 2].min() >= 0
        assert placed.positions[:, 2].max() <= thickness


@settings(max_examples=25, deadline=None)
@given(
    st.floats(3.0, 6.0),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(0, 2**32),
    st.floats(0.5, 0.9),
)
def test_images_count_in_a_cell_smaller_than_twice_the_reach(thickness, shift, seed, scale):
    # 4.1 Å wide: an atom may feel another through two images at once.
    host = small_host()
    filler = RegionFiller(host, small_region(scale), {"Li": 1, "F": 1})
    placed = filler.fill(thickness, shift, np.random.default_rng(seed))
    if placed.positions is None:
        return
    radii = {"Mg": 0.72, "O": 1.40, "Li": 0.76, "F": 1.33}
    table = {
        tuple(sorted((a, b))): radii[a] + radii[b]
        for a, b in [*combinations(radii, 2), *((s, s) for s in radii)]
    }
    excess = closest_excess(host, filler, placed, thickness, shift, table, placed.scale)
    assert excess >= -1e-9


def test_centres_are_uniform_in_the_volume():
    # Distances of almost nothing: every point of the region is free.
    host = lsc_lco_host()
    region = lsc_lco_parts().region.model_copy(
        update={"min_distances": MinDistances(scale=1e-6, radii=lsc_lco_radii())}
    )
    filler = RegionFiller(host, region, {"Cl": 3000})
    placed = filler.fill(5.0, (0.3, 0.6), np.random.default_rng(4))
    fractions = placed.positions[:, :2] @ np.linalg.inv(host.substrate.vectors)
    for values in (fractions[:, 0], fractions[:, 1], placed.positions[:, 2] / 5.0):
        assert stats.kstest(values, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(fractions.T)[0, 1]) < 0.06


def lsc_lco_radii():
    return {"Li": 0.76, "Sc": 0.745, "Co": 0.545, "Cl": 1.81, "O": 1.40}


def test_anions_are_placed_first_unless_the_spec_says_otherwise():
    region = lsc_lco_parts().region
    by_radius = region.model_copy(update={"placement": Placement()})
    assert placement_order(LSC_FORMULA_UNITS, by_radius) == ["Cl", "Li", "Sc"]
    assert placement_order(LSC_FORMULA_UNITS, region) == ["Cl", "Sc", "Li"]
    partial = region.model_copy(update={"placement": Placement(order=("Li",))})
    assert placement_order(LSC_FORMULA_UNITS, partial) == ["Li", "Cl", "Sc"]
    numbers = RegionFiller(lsc_lco_host(), region, LSC_FORMULA_UNITS).placed_numbers
    assert numbers.tolist() == [17] * 18 + [21] * 3 + [3] * 9


def test_distances_shrink_step_by_step_where_there_is_no_room():
    host = lsc_lco_host()
    minima = MinDistances(
        scale=0.90,
        radii=lsc_lco_radii(),
        pairs=lsc_lco_parts().region.min_distances.pairs,
    )
    placement = Placement(max_tries=500, max_restarts=2, scale_step=0.02)
    region = lsc_lco_parts().region.model_copy(
        update={"min_distances": minima, "placement": placement}
    )
    filler = RegionFiller(host, region, LSC_FORMULA_UNITS)
    placed = filler.fill(4.0, (0.0, 0.0), np.random.default_rng(0))
    assert 0.6 <= placed.scale < 0.90
    steps = (0.90 - placed.scale) / 0.02
    assert steps == pytest.approx(round(steps))
    excess = closest_excess(host, filler, placed, 4.0, (0.0, 0.0), LSC_LCO_DISTANCES, placed.scale)
    assert excess >= -1e-9


def test_a_region_without_room_gives_nothing():
    region = small_region(1.0, placement=Placement(max_tries=50, max_restarts=1))
    filler = RegionFiller(small_host(), region, {"Li": 20, "F": 20})
    assert filler.fill(3.0, (0.0, 0.0), np.random.default_rng(0)).positions is None


def test_slabs_that_touch_are_no_structure():
    # Slabs 0.5 Å apart: cations face anions at no scale down to two thirds.
    filler = RegionFiller(small_host(), small_region(), {"Li": 0, "F": 0})
    assert filler.fill(0.5, (0.0, 0.0), np.random.default_rng(0)).positions is None
    assert filler.fill(4.0, (0.0, 0.0), np.random.default_rng(0)).scale == 0.75


def test_a_missing_radius_names_the_key():
    with pytest.raises(DismaiError, match=r"region\.min_distances\.radii' has no Co"):
        distance_matrix(("Li", "Co"), MinDistances(radii={"Li": 0.76}))


def test_a_cell_shorter_than_a_distance_is_refused():
    minima = MinDistances(scale=1.0, radii={"Mg": 0.72, "O": 1.40, "Li": 0.76, "F": 2.2})
    with pytest.raises(DismaiError, match=r"4\.10 Å is shorter than .* 4\.40 Å"):
        RegionFiller(small_host(), small_region(min_distances=minima), {"F": 1})


def test_report_of_thin_middle_and_thick_region():
    region = lsc_lco_parts().region
    rows = placement_report(lsc_lco_host(), region, LSC_FORMULA_UNITS, n_tries=12)
    assert [row.thickness for row in rows] == [4.0, 5.0, 6.0]
    assert all(row.success_rate == 1.0 and row.n_tries == 12 for row in rows)
    assert rows[2].mean_scale == rows[2].lowest_scale == 0.75
    # 207.80 Å^2 times 4 Å for 30 atoms.
    assert rows[0].volume_per_atom == pytest.approx(27.71, abs=0.01)


def test_report_of_a_region_that_holds_nothing():
    region = small_region(1.0, placement=Placement(max_tries=20, max_restarts=1))
    rows = placement_report(small_host(), region, {"Li": 20, "F": 20}, n_tries=2)
    assert [row.success_rate for row in rows] == [0, 0, 0]
    assert rows[0].mean_scale is None
    assert rows[0].lowest_scale is None
