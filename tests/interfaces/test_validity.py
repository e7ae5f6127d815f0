from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.interfaces.validity import InterfaceChecks, check_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

from .hosts import lsc_lco, lsc_lco_host, lsc_lco_parts


@pytest.fixture(scope="module")
def one():
    return lsc_lco().generate([0], seed=4).structures


def checks(**options):
    return InterfaceChecks(lsc_lco_host(), lsc_lco_parts(), lsc_lco().composition, **options)


def reasons(structures, **options):
    return [problem.reason for problem in checks(**options).check(structures)[0]]


def parts_of(structures):
    """Tell region, top plane and film by height."""
    z = structures.positions[:, 2] - 4.244475
    thickness = structures.labels["thickness"][0]
    region = (z > 1e-6) & (z < thickness - 1e-6)
    return region, np.abs(z) < 1e-6, z > thickness - 1e-6


def changed(structures, positions):
    return replace(structures, positions=positions)


def test_random_interfaces_are_valid():
    structures = lsc_lco().generate(range(60), seed=4).structures
    assert checks().check(structures) == [[]] * 60


def test_exchanges_are_valid_where_they_are_allowed():
    structures = lsc_lco().generate(range(30), seed=4, exchanges=True).structures
    assert checks(exchanges=True).check(structures) == [[]] * 30
    kinds = ("exchanged_Sc_Co", "exchanged_Li_Co", "exchanged_Cl_O")
    total = sum(structures.labels[name] for name in kinds)
    refused = [bool(problems) for problems in checks().check(structures)]
    assert refused == (total > 0).tolist()


def test_two_exchanged_ions_may_be_as_near_as_their_partners():
    """Two O of the layer that trade for Cl of the region leave two Cl as near as O may be."""
    system = InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))
    maker = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    structures = maker.generate(range(100), seed=1, exchanges=True).structures
    assert structures.labels["exchanged_O_Cl"].max() > 1
    assert check_structures(structures, system) == [[]] * 100


def test_a_scale_that_was_lowered_is_the_one_that_holds():
    parts = lsc_lco_parts()
    minima = parts.region.min_distances.model_copy(update={"scale": 0.9})
    placement = parts.region.placement.model_copy(update={"max_tries": 300, "max_restarts": 1})
    region = parts.region.model_copy(update={"min_distances": minima, "placement": placement})
    parts = parts._replace(region=region)
    generator = RandomInterfaces(lsc_lco_host(), parts, tuple(lsc_lco().composition))
    structures = generator.generate(range(8), seed=0).structures
    assert structures.labels["distance_scale"].min() < 0.9
    check = InterfaceChecks(lsc_lco_host(), parts, generator.composition)
    assert check.check(structures) == [[]] * 8
    unlabelled = check.check(structures.with_labels({}))
    assert any(p.reason == "too_close" for problems in unlabelled for p in problems)


def test_composition_and_cell_come_first(one):
    numbers = one.numbers.copy()
    numbers[0] = 27
    assert reasons(replace(one, numbers=numbers)) == ["wrong_composition"]
    numbers[0] = 92
    assert reasons(replace(one, numbers=numbers)) == ["foreign_element"]
    assert reasons(StructureSet.from_atoms([one.atoms(0)[:-1]])) == ["wrong_count"]
    assert reasons(replace(one, cells=one.cells * 1.01)) == ["wrong_cell"]
    assert reasons(changed(one, one.positions * np.nan)) == ["not_finite"]


def test_an_atom_torn_from_a_slab(one):
    positions = one.positions.copy()
    _, _, film = parts_of(one)
    positions[np.flatnonzero(film)[50], 2] = 25.0
    found = reasons(changed(one, positions))
    assert found[:3] == ["slab_not_intact", "wrong_region_count", "atoms_outside_region"]


def test_species_that_trade_places_in_a_slab(one):
    positions = one.positions.copy()
    _, _, film = parts_of(one)
    sc, cl = (np.flatnonzero(film & (one.numbers == z))[-1] for z in (21, 17))
    positions[[sc, cl]] = positions[[cl, sc]]
    problems = checks(distances=False).check(changed(one, positions))[0]
    assert [p.detail for p in problems] == ["the film has 0 empty sites and 2 with another species"]


def test_a_displaced_atom_of_a_slab(one):
    positions = one.positions.copy()
    positions[np.flatnonzero(parts_of(one)[2])[50]] += (0.2, 0, 0)
    moved = changed(one, positions)
    assert reasons(moved) == ["slab_not_intact"]
    assert reasons(moved, site_tolerance=0.3) == []


def test_a_film_that_was_lifted(one):
    positions = one.positions.copy()
    positions[parts_of(one)[2], 2] += 3.0
    lifted = changed(one, positions)
    assert reasons(lifted) == ["wrong_thickness", "little_vacuum"]
    assert reasons(lifted, thickness=False, slack=5.0) == []


def test_a_pair_too_close(one):
    region, top, _ = parts_of(one)
    positions = one.positions.copy()
    # A Cl 1.5 Å above a Co; 0.75 (1.81 + 0.545) = 1.766 Å is the least.
    cl = np.flatnonzero(region & (one.numbers == 17))[0]
    co = np.flatnonzero(top & (one.numbers == 27))[0]
    positions[cl] = positions[co] + (0, 0, 1.5)
    others = np.linalg.norm(positions[region] - positions[cl], axis=1) < 2.0
    positions[np.flatnonzero(region)[others & (np.flatnonzero(region) != cl)], 2] += 1.0
    problems = checks().check(changed(one, positions))[0]
    assert [p.reason for p in problems] == ["too_close"]
    assert reasons(changed(one, positions), distances=False) == []


def test_lines_for_people():
    system = InterfaceSystem.from_spec(get_system("lsc-lco"))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    structures = generator.generate(range(3), seed=0, exchanges=True).structures
    assert check_structures(structures, system) == [[], [], []]
    lines = check_structures(structures.with_labels({}), system)
    assert any(
        "of the top plane of the substrate are exchanged" in line
        for found in lines
        for line in found
    )
