from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.geometry import cellpar_to_cell
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.integrity import (
    IntegrityFacts,
    IntegrityLimits,
    RelaxedChecks,
    _widest_gap,
    fact_labels,
)
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.relaxation import RelaxationSettings, relax
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

from .hosts import lsc_lco, lsc_lco_host

# Of the published cell: 144 and 90 sites, slabs 4.24448 and 8.96098 Å high, c = 33.21 Å.
TOP, FILM_HEIGHT, C = 4.24448, 8.96098, 33.21


@pytest.fixture(scope="module")
def checks():
    return RelaxedChecks(lsc_lco_host())


@pytest.fixture(scope="module")
def one():
    return lsc_lco().generate([0], seed=4).structures


@pytest.fixture(scope="module")
def tiny():
    system = InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))
    return RandomInterfaces(system.host, system.spec.interface, system.spec.species)


def parts_of(structures):
    """Tell substrate, region and film by height."""
    z = structures.positions[:, 2] - TOP
    thickness = structures.labels["thickness"][0]
    return z < 1e-4, (z > 1e-4) & (z < thickness - 1e-4), z > thickness - 1e-4


def moved(structures, positions):
    return replace(structures, positions=positions)


def reason(checks, structures):
    problem = checks.check(structures)[0]
    return None if problem is None else problem.reason


def test_as_made_all_is_there(checks):
    structures = lsc_lco().generate(range(20), seed=4).structures
    assert checks.check(structures) == [None] * 20
    labels = fact_labels(checks.measure(structures))
    assert list(labels) == [field.name for field in fields(IntegrityFacts)]
    assert not labels["lost_in_all"].any()
    thickness = structures.labels["thickness"]
    assert labels["relaxed_thickness"] == pytest.approx(thickness, abs=1e-6)
    assert labels["vacuum"] == pytest.approx(C - TOP - FILM_HEIGHT - thickness, abs=1e-4)


def test_exchanged_ions_are_where_they_may_be(checks):
    structures = lsc_lco().generate(range(20), seed=4, exchanges=True).structures
    assert checks.check(structures) == [None] * 20
    labels = fact_labels(checks.measure(structures))
    assert not labels["lost_in_all"].any()
    exchanged = sum(structures.labels[f"exchanged_{p}"] for p in ("Sc_Co", "Li_Co", "Cl_O"))
    assert (labels["depth_substrate"] < 1e-6).all() and exchanged.max() > 3
    assert labels["depth_film"] == pytest.approx(0, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.floats(-0.03, 0.03),
    st.booleans(),
)
def test_slabs_may_move_stretch_and_tremble(seed, slide, stretch, wrapped):
    structures = lsc_lco().generate([1], seed=4).structures
    rng = np.random.default_rng(seed)
    _, region, film = parts_of(structures)
    positions = structures.positions + rng.uniform(-0.35, 0.35, structures.positions.shape)
    low = structures.positions[film, 2].min()
    positions[film, :2] += slide[:2]
    positions[film, 2] += stretch * (structures.positions[film, 2] - low)
    positions[region] += rng.normal(0, 0.5, (region.sum(), 3))
    positions += [0, 0, slide[2] * 5]
    if wrapped:
        cell = structures.cells[0]
        positions = (positions @ np.linalg.inv(cell) % 1.0) @ cell
    facts = RelaxedChecks(lsc_lco_host()).measure(moved(structures, positions))[0]
    assert facts.lost_in_all == 0
    # Means of 90 and 144 atoms, and the stretch that is fitted to them.
    assert facts.relaxed_thickness == pytest.approx(structures.labels["thickness"][0], abs=0.2)


def test_a_high_film_that_is_strained_keeps_its_sites(one):
    """At 9 % its ends would lie 0.4 Å off the sites of a film that is only shifted."""
    limits = IntegrityLimits(site_radius=0.2)
    _, _, film = parts_of(one)
    positions = one.positions.copy()
    positions[film, 2] += 0.09 * (positions[film, 2] - positions[film, 2].min())
    narrow = RelaxedChecks(lsc_lco_host(), limits)
    assert narrow.measure(moved(one, positions))[0].lost_film == 0


def test_like_ions_may_trade_places(one, checks):
    substrate, _, film = parts_of(one)
    positions = one.positions.copy()
    first = np.flatnonzero(substrate & (one.numbers == 3))[:6]
    second = np.flatnonzero(film & (one.numbers == 3))[:6]
    positions[[*first, *second]] = positions[[*second, *first]]
    facts = checks.measure(moved(one, positions))[0]
    assert facts.lost_in_all == 0


def test_sites_that_are_left_are_counted(one, checks):
    substrate, _, film = parts_of(one)
    positions = one.positions.copy()
    oxygen = np.flatnonzero(substrate & (one.numbers == 8))[:10]
    chlorine = np.flatnonzero(film & (one.numbers == 17))[:9]
    positions[[*oxygen, *chlorine]] += [0, 0, 1.2]
    facts = checks.measure(moved(one, positions))[0]
    assert facts.lost_substrate == pytest.approx(10 / 144)
    assert facts.lost_film == pytest.approx(9 / 90)
    assert facts.lost_in_all == pytest.approx(19 / 234)


@pytest.mark.parametrize(("which", "name"), [(0, "the substrate"), (2, "the film")])
def test_a_molten_slab_is_lost(one, checks, which, name):
    slab = parts_of(one)[which]
    rng = np.random.default_rng(0)
    low, high = one.positions[slab].min(axis=0), one.positions[slab].max(axis=0)
    positions = one.positions.copy()
    positions[slab] = rng.uniform(low, high, (slab.sum(), 3))
    problem = checks.check(moved(one, positions))[0]
    assert problem.reason == "slab_lost"
    assert name in problem.detail


def test_a_foreign_ion_deep_in_a_slab(one, checks):
    substrate, region, film = parts_of(one)
    positions = one.positions.copy()
    top = one.positions[substrate, 2].max()
    chlorine = np.flatnonzero(region & (one.numbers == 17))[0]
    positions[chlorine, 2] = top - 1.9
    assert reason(checks, moved(one, positions)) is None
    positions[chlorine, 2] = top - 2.5
    facts = checks.measure(moved(one, positions))[0]
    assert facts.depth_substrate == pytest.approx(2.5, abs=1e-6)
    assert reason(checks, moved(one, positions)) == "mixed"

    positions = one.positions.copy()
    cobalt = np.flatnonzero(substrate & (one.numbers == 27))[0]
    positions[cobalt, 2] = one.positions[film, 2].min() + 4
    facts = checks.measure(moved(one, positions))[0]
    assert facts.depth_film == pytest.approx(4, abs=0.01)
    assert "film" in checks.check(moved(one, positions))[0].detail


def test_an_ion_in_the_vacuum_is_detached(one, checks):
    positions = one.positions.copy()
    lithium = np.flatnonzero(one.numbers == 3)[0]
    highest = positions[np.argmax(positions[:, 2])].copy()
    positions[lithium] = highest + np.array([0, 0, 6.0])
    facts = checks.measure(moved(one, positions))[0]
    assert (facts.n_apart, facts.slabs_apart) == (1, 0)
    assert 5.5 < facts.gap <= 6.0 + 1e-9
    assert reason(checks, moved(one, positions)) == "detached"


def test_slabs_that_came_apart_are_delaminated(one, checks):
    _, _, film = parts_of(one)
    positions = one.positions.copy()
    positions[film, 2] += 5.5
    facts = checks.measure(moved(one, positions))[0]
    assert facts.slabs_apart == 1
    assert facts.n_apart == film.sum() == 90
    assert reason(checks, moved(one, positions)) == "delaminated"


def test_no_room_left_in_the_vacuum(one, checks):
    cells = one.cells.copy()
    # A third of the 20.00 Å that the slabs leave is 6.67 Å.
    top = one.positions[:, 2].max()
    cells[:, 2, 2] = top + 6.8
    assert reason(checks, replace(one, cells=cells)) is None
    cells[:, 2, 2] = top + 6.5
    assert reason(checks, replace(one, cells=cells)) == "vacuum_closed"


@pytest.mark.parametrize("thickness", [0.5, -2.0])
def test_slabs_that_ran_into_each_other(one, checks, thickness):
    _, _, film = parts_of(one)
    positions = one.positions.copy()
    positions[film, 2] += thickness - one.labels["thickness"][0]
    facts = checks.measure(moved(one, positions))[0]
    assert facts.relaxed_thickness == pytest.approx(thickness, abs=1e-6)
    assert reason(checks, moved(one, positions)) == "region_closed"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_positions_that_are_none(one, checks, value):
    positions = one.positions.copy()
    positions[3, 1] = value
    assert reason(checks, moved(one, positions)) == "not_finite"
    assert np.isnan(fact_labels(checks.measure(moved(one, positions)))["vacuum"]).all()


def test_another_composition_is_refused(one, checks):
    with pytest.raises(ValueError, match="cannot cover"):
        checks.check(replace(one, numbers=np.full_like(one.numbers, 3)))


def test_the_order_of_the_spec_holds(tiny):
    """Without the order, the atoms of the region would be taken for those of a slab."""
    turned = ("rest", "region", "top-substrate-layer")
    maker = replace(tiny, parts=tiny.parts._replace(atom_order=turned))
    structures = maker.generate(range(10), seed=0).structures
    checks = RelaxedChecks(tiny.host, atom_order=turned)
    assert checks.check(structures) == [None] * 10
    homes = checks._homes(structures.numbers[:46].astype(np.int64))
    sites = np.concatenate([tiny.host.substrate.numbers, tiny.host.film.numbers])
    assert sorted(homes[homes >= 0]) == list(range(31))
    assert (sites[homes[homes >= 0]] == structures.numbers[:46][homes >= 0]).all()
    heights = structures.positions[:46, 2][homes < 0]
    top, thickness = tiny.host.substrate.height, structures.labels["thickness"][0]
    assert (heights > top).all() and (heights < top + thickness).all()


def test_structures_that_chgnet_relaxed_are_kept(tiny):
    """Two whose films are rebuilt most among 24, 3 and 15 with the lowest energies too."""
    path = Path(__file__).with_name("relaxed_tiny_li2o_licl.extxyz")
    structures = StructureSet.from_atoms(read(path, ":"))
    checks = RelaxedChecks(tiny.host)
    assert checks.check(structures) == [None] * 3
    facts = checks.measure(structures)
    assert all(fact.lost_substrate < 0.2 for fact in facts)
    strict = RelaxedChecks(tiny.host, IntegrityLimits(lost_thin=0.5))
    assert [p.reason if p else None for p in strict.check(structures)] == [
        "slab_lost",
        None,
        "slab_lost",
    ]


@pytest.mark.parametrize("sigma", [1.8, 2.2])
def test_a_wrong_potential_leaves_wrecks(tiny, sigma):
    """One that binds all pairs alike packs the ions as densely as it can."""
    structures = tiny.generate([0], seed=0).structures
    calculator = LennardJones(sigma=sigma, epsilon=0.2, rc=2.5 * sigma)
    limits = RelaxationSettings(optimizer="lbfgs", fmax=0.3, max_steps=80)
    end = relax(structures.atoms(0), calculator, limits).positions
    problem = RelaxedChecks(tiny.host).check(moved(structures, end))[0]
    assert problem is not None
    assert problem.reason in ("slab_lost", "region_closed")


def test_random_positions_are_wrecks(tiny):
    structures = tiny.generate(range(40), seed=0).structures
    rng = np.random.default_rng(0)
    heights = structures.positions[:, 2]
    positions = rng.random((len(heights), 3)) @ structures.cells[0]
    positions[:, 2] = rng.permutation(heights)
    assert None not in RelaxedChecks(tiny.host).check(moved(structures, positions))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 25), st.floats(50, 130))
def test_the_gap_is_that_of_a_spanning_tree(seed, n, gamma):
    rng = np.random.default_rng(seed)
    cell = np.asarray(cellpar_to_cell([6.0, 7.0, 30.0, 90, 90, gamma]))
    points = rng.random((n, 3)) * [1, 1, 0.4]
    distances = Atoms(f"H{n}", scaled_positions=points, cell=cell, pbc=True).get_all_distances(True)
    tree = minimum_spanning_tree(distances)
    gap, beyond = _widest_gap(points, cell)
    assert gap == pytest.approx(tree.data.max())
    cut = tree.copy()
    cut.data[np.argmax(cut.data)] = 0
    cut.eliminate_zeros()
    groups = connected_components(cut, directed=False)[1]
    assert np.unique(groups[beyond]).size == np.unique(groups[~beyond]).size == 1
