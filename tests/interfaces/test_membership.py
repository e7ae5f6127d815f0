from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.membership import find_regions
from dismaiflow.interfaces.slab import Host

from .hosts import lsc_lco, lsc_lco_host, small_host, small_interfaces


@pytest.fixture(scope="module")
def structures():
    return lsc_lco().generate(range(30), seed=2, exchanges=True).structures


def truth(structures, index):
    """Tell the parts by their height, which the labels give."""
    z = structures.positions[structures.slice_of(index), 2] - lsc_lco_host().substrate.height
    thickness = structures.labels["thickness"][index]
    region = (z > 1e-6) & (z < thickness - 1e-6)
    return region, z <= 1e-6, np.abs(z) <= 1e-6, z >= thickness - 1e-6


def assert_found(structures, index, positions, order=slice(None), numbers=None):
    codes = structures.numbers[structures.slice_of(index)] if numbers is None else numbers
    found = find_regions(codes[order], positions[order], structures.cells[index], lsc_lco_host())
    for mask, expected in zip(
        (found.region, found.substrate, found.top_layer, found.film),
        truth(structures, index),
        strict=True,
    ):
        assert np.array_equal(mask, expected[order])
    return found


def test_as_made(structures):
    for i in range(len(structures)):
        found = assert_found(structures, i, structures.positions[structures.slice_of(i)])
        assert found.thickness == pytest.approx(structures.labels["thickness"][i], abs=1e-6)
        assert found.missing_substrate == found.missing_film == 0
        assert found.foreign_substrate == found.foreign_film == found.outside == 0
        assert found.displacement < 1e-6
        pairs = ("exchanged_Sc_Co", "exchanged_Li_Co", "exchanged_Cl_O")
        assert found.exchanged == sum(structures.labels[name][i] for name in pairs)
        # Slabs 4.24448 and 8.96098 Å high in a cell of 33.21 Å.
        gap = 33.21 - 4.24448 - 8.96098 - found.thickness
        assert found.vacuum == pytest.approx(gap, abs=1e-4)


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_permuted_translated_and_rattled(structures, noise):
    for i in range(len(structures)):
        rng = np.random.default_rng(i)
        cell = structures.cells[i]
        positions = structures.positions[structures.slice_of(i)]
        moved = positions + rng.normal(0, noise, positions.shape) + rng.random(3) @ cell
        wrapped = (moved @ np.linalg.inv(cell) % 1.0) @ cell
        found = assert_found(structures, i, wrapped, rng.permutation(len(positions)))
        # The mean of 9 atoms of the film's lowest plane and 36 of the top plane below.
        error = noise * np.sqrt(1 / 9 + 1 / 36)
        assert abs(found.thickness - structures.labels["thickness"][i]) < 4 * error


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 29), st.integers(0, 2**32))
def test_relaxed_slabs(index, seed):
    # Every atom somewhere in a sphere of 0.5 Å, the planes beside the region shifted as a whole.
    structures = lsc_lco().generate([index], seed=2).structures
    rng = np.random.default_rng(seed)
    positions = structures.positions.copy()
    moves = rng.normal(size=positions.shape)
    moves *= (0.4 * rng.random(len(moves)) ** (1 / 3) / np.linalg.norm(moves, axis=1))[:, None]
    _, _, top, _ = truth(structures, 0)
    moves[top, 2] += 0.1
    assert_found(structures, 0, positions + moves)


def test_the_shift_is_that_of_the_film():
    # The film has translations that map it onto itself; so has the substrate. One of the
    # combinations leads from the shift found to the one made.
    structures = lsc_lco().generate(range(5), seed=2).structures
    host = lsc_lco_host()
    for i in range(5):
        positions = structures.positions[structures.slice_of(i)]
        found = assert_found(structures, i, positions)
        film = host.film.atoms()
        film.positions[:, :2] += np.array(found.shift) @ host.film.vectors
        film.positions[:, 2] += host.substrate.height + found.thickness
        own = Atoms(structures.numbers[structures.slice_of(i)], positions)[found.film]
        # Whatever translation of the substrate was taken, it is a whole number of its cells:
        # thirds of the cell vectors here.
        best = np.inf
        for a in range(9):
            for b in range(9):
                moved = film.positions.copy()
                moved[:, :2] += np.array([a, b]) / 9 @ host.film.vectors
                best = min(best, farthest(moved, own.positions, host.film.vectors))
        assert best < 1e-4


def farthest(first, second, vectors):
    apart = first[:, None, :] - second
    fractions = apart[:, :, :2] @ np.linalg.inv(vectors)
    apart[:, :, :2] = (fractions - np.rint(fractions)) @ vectors
    return np.linalg.norm(apart, axis=-1).min(axis=1).max()


def test_another_height_and_orientation_of_the_cell(structures):
    # c longer by 5 Å, everything turned about z by 40 degrees.
    positions, cell = structures.positions[structures.slice_of(0)], structures.cells[0].copy()
    cell[2, 2] += 5
    angle = np.radians(40)
    turn = np.array(
        [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    numbers = structures.numbers[structures.slice_of(0)]
    found = find_regions(numbers, positions @ turn, cell @ turn, lsc_lco_host())
    assert np.array_equal(found.region, truth(structures, 0)[0])
    assert found.thickness == pytest.approx(structures.labels["thickness"][0], abs=1e-6)


def test_a_small_cell():
    # 4.1 Å wide, slabs of two planes; the film has all its neighbours through images.
    host = small_host()
    structures = small_interfaces().generate(range(20), seed=3).structures
    for i in range(20):
        part = structures.slice_of(i)
        positions = structures.positions[part] + (0.3, 1.7, -4.0)
        found = find_regions(structures.numbers[part], positions, structures.cells[i], host)
        # The two planes of MgO are 2.05 Å apart.
        z = structures.positions[part][:, 2] - 2.05
        inside = (z > 1e-6) & (z < structures.labels["thickness"][i] - 1e-6)
        assert np.array_equal(found.region, inside)
        assert found.missing_film == found.missing_substrate == found.foreign_film == 0


@pytest.mark.parametrize("lift", [0.0, 9.0, 17.0, 25.0])
def test_two_slabs_of_one_phase(lift):
    host = small_host()
    twins = Host(host.substrate, host.substrate, host.cell)
    parts = small_interfaces().parts
    generator = RandomInterfaces(twins, parts, ("Li", "Mg", "O", "F"))
    structures = generator.generate(range(10), seed=3).structures
    for i in range(10):
        part = structures.slice_of(i)
        positions = structures.positions[part] + (0.3, 1.7, lift)
        found = find_regions(structures.numbers[part], positions, structures.cells[i], twins)
        # The atoms of LiF are the region.
        assert np.array_equal(found.region, np.isin(structures.numbers[part], (3, 9)))
        # The two planes of MgO are 2.05 Å apart.
        assert np.array_equal(found.substrate, structures.positions[part, 2] < 2.06)
        assert found.thickness == pytest.approx(structures.labels["thickness"][i], abs=1e-6)


def test_an_atom_missing_from_a_slab(structures):
    positions = structures.positions[structures.slice_of(0)].copy()
    region, _, _, film = truth(structures, 0)
    gone = np.flatnonzero(film)[40]
    positions[gone, 2] = 30.0
    numbers = structures.numbers[structures.slice_of(0)]
    found = find_regions(numbers, positions, structures.cells[0], lsc_lco_host())
    assert (found.missing_film, found.missing_substrate) == (1, 0)
    assert found.region[gone]
    assert found.region.sum() == region.sum() + 1
    assert found.outside == 1


def test_another_species_in_a_slab():
    structures = lsc_lco().generate([0], seed=2).structures
    numbers = structures.numbers.copy()
    _, substrate, top, film = truth(structures, 0)
    deep_oxygen = np.flatnonzero(substrate & ~top & (numbers == 8))[0]
    film_lithium = np.flatnonzero(film & (numbers == 3))[0]
    numbers[[deep_oxygen, film_lithium]] = 3, 8
    found = assert_found(structures, 0, structures.positions, numbers=numbers)
    assert (found.foreign_substrate, found.foreign_film, found.exchanged) == (1, 1, 0)


def test_too_few_atoms(structures):
    with pytest.raises(ValueError, match="200 atoms cannot cover the 234 sites"):
        find_regions(
            structures.numbers[:200],
            structures.positions[:200],
            structures.cells[0],
            lsc_lco_host(),
        )
