"""Regions of structures that are not as they were made: relaxed, rattled, wrecked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.membership import RELAXED_RADIUS, find_regions
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems import get_system

from .hosts import lsc_lco, lsc_lco_host

OXYGEN, CHLORINE = 8, 17


@cache
def tiny():
    system = InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))
    return RandomInterfaces(system.host, system.spec.interface, system.spec.species)


@cache
def made(name):
    """Return host and structures of a system: 46 atoms, or the paper's 264 with exchanges."""
    if name == "tiny":
        return tiny().host, tiny().generate(range(12), seed=4).structures
    return lsc_lco_host(), lsc_lco().generate(range(6), seed=4, exchanges=True).structures


def truth(host, structures, index):
    """Tell the region by its height, which the labels give."""
    z = structures.positions[structures.slice_of(index), 2] - host.substrate.height
    return (z > 1e-6) & (z < structures.labels["thickness"][index] - 1e-6)


@pytest.mark.parametrize("name", ["tiny", "lsc-lco"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_rattled_moved_and_in_any_order(name, seed, data):
    host, structures = made(name)
    i = data.draw(st.integers(0, len(structures) - 1))
    part, cell = structures.slice_of(i), structures.cells[i]
    rng = np.random.default_rng(seed)
    positions = structures.positions[part]
    moved = positions + rng.normal(0, 0.2, positions.shape) + rng.random(3) @ cell
    moved = (moved @ np.linalg.inv(cell) % 1.0) @ cell
    order = rng.permutation(len(positions))
    found = find_regions(structures.numbers[part][order], moved[order], cell, host, RELAXED_RADIUS)
    assert np.array_equal(found.region, truth(host, structures, i)[order])
    # 0.2 Å along each axis: one atom in 15,000 moves by more than the radius of a site, 1 Å.
    assert found.lost <= 0.05


@pytest.mark.parametrize("index", range(3))
def test_the_film_is_found_where_chgnet_rebuilt_it(index):
    """A region of the film's own composition looked more like the film than the film did."""
    atoms = read(Path(__file__).with_name("relaxed_tiny_li2o_licl.extxyz"), index)
    # Atoms of one species stand as they were made: region first, then the slabs. The region
    # has five O, the film five.
    oxygen = np.flatnonzero(atoms.numbers == OXYGEN)
    film = oxygen[5:]
    order = np.random.default_rng(index).permutation(len(atoms))
    found = find_regions(
        atoms.numbers[order],
        atoms.positions[order],
        atoms.cell.array,
        tiny().host,
        RELAXED_RADIUS,
    )
    place = np.argsort(order)
    assert found.film[place[film]].sum() >= 4
    assert abs(found.region.sum() - 15) <= 1
    assert not found.region[place[atoms.numbers == CHLORINE]].any()
    heights = atoms.positions[order][:, 2]
    # One plane of it further down would be 1.2 Å too low.
    assert heights[found.film].mean() == pytest.approx(heights[place[film]].mean(), abs=1.0)
    assert found.lost < 3 / 8


def test_atoms_that_left_their_sites_are_still_the_slabs():
    host, structures = made("lsc-lco")
    index = 0
    part = structures.slice_of(index)
    positions = structures.positions[part].copy()
    region = truth(host, structures, index)
    top = positions[~region, 2] > host.substrate.height + 1e-6
    film = np.flatnonzero(~region)[top]
    highest = film[np.argsort(positions[film, 2])[-3:]]
    positions[highest, 2] += 1.4
    numbers, cell = structures.numbers[part], structures.cells[index]
    strict = find_regions(numbers, positions, cell, host)
    relaxed = find_regions(numbers, positions, cell, host, RELAXED_RADIUS)
    assert strict.missing_film == 3
    assert strict.region.sum() == region.sum() + 3
    assert relaxed.missing_film == 0
    assert np.array_equal(relaxed.region, region)
    # Three of 144 + 90 sites, either way.
    assert relaxed.lost == strict.lost == pytest.approx(3 / 234)


def test_the_thickness_is_told_by_atoms_on_their_sites():
    """Those that left, by up to 2 Å, would draw the plane with them."""
    host, structures = made("tiny")
    positions = structures.positions[structures.slice_of(0)].copy()
    thickness = float(structures.labels["thickness"][0])
    height = host.substrate.height + thickness
    lowest = np.flatnonzero(np.abs(positions[:, 2] - height) < 1e-6)[:2]
    positions[lowest, 2] -= 1.2
    found = find_regions(
        structures.numbers[structures.slice_of(0)],
        positions,
        structures.cells[0],
        host,
        RELAXED_RADIUS,
    )
    assert found.thickness == pytest.approx(thickness, abs=0.2)


@pytest.mark.parametrize("name", ["tiny", "lsc-lco"])
def test_random_positions_hold_no_slabs(name):
    host, structures = made(name)
    rng = np.random.default_rng(0)
    for i in range(len(structures)):
        part, cell = structures.slice_of(i), structures.cells[i]
        points = rng.random((part.stop - part.start, 3)) * [1, 1, 0.6]
        found = find_regions(structures.numbers[part], points @ cell, cell, host, RELAXED_RADIUS)
        assert found.lost > 0.5
