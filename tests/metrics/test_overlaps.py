"""Pushing apart against a plain version of the published loop with pymatgen, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.overlaps import push_apart


def plain_loop(positions, cell, limit=1.5, most=100):
    """Return places, checks, first count and success as the published procedure defines them."""
    lattice, species = Lattice(cell), ["Si"] * len(positions)
    structure = Structure(lattice, species, positions, coords_are_cartesian=True)
    counts = []
    while len(counts) < most and (not counts or counts[-1] > 0):
        first, second = structure.get_neighbor_list(limit)[:2]
        pairs = sorted(
            {(min(p), max(p)) for p in zip(first.tolist(), second.tolist(), strict=True)}
        )
        counts.append(len(pairs))
        places = structure.cart_coords
        for low, high in pairs:
            bond = places[high] - places[low]
            places[high] = places[low] + bond * ((limit + 0.1) / np.linalg.norm(bond))
        structure = Structure(lattice, species, places, coords_are_cartesian=True)
    return structure.cart_coords, len(counts), counts[0], counts[-1] == 0


def random_structure(seed, n, per_atom=25.0):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * (n * per_atom) ** (1 / 3)
    if seed % 2:
        cell += np.tril(rng.uniform(-3, 3, (3, 3)), -1)
    return rng.uniform(-0.3, 1.3, (n, 3)) @ cell, cell


def nearest(positions, cell, limit=1.5):
    """Return the distances below a limit, of all images, by ASE."""
    atoms = Atoms(f"Si{len(positions)}", positions=positions, cell=cell, pbc=True)
    return neighbor_list("d", atoms, limit)


@pytest.mark.parametrize(("seed", "n"), [(0, 60), (1, 60), (2, 120), (3, 120), (4, 264), (7, 264)])
def test_published_equals_the_plain_loop_to_the_last_bit(seed, n):
    positions, cell = random_structure(seed, n)
    places, n_iterations, n_close, separated = plain_loop(positions, cell)
    result = push_apart(positions, cell)
    assert (result.n_iterations, result.n_close_at_start) == (n_iterations, n_close)
    assert result.separated is separated
    np.testing.assert_array_equal(result.positions, places)


def test_published_gives_up_as_the_plain_loop_does():
    """Denser than atoms with such distances can be: both fail after as many checks."""
    positions, cell = random_structure(6, 30, per_atom=2.0)
    places, n_iterations, _, separated = plain_loop(positions, cell, most=8)
    result = push_apart(positions, cell, max_iterations=8)
    assert (result.n_iterations, result.separated, separated) == (n_iterations, False, False)
    assert "after 8 checks" in result.reason
    np.testing.assert_array_equal(result.positions, places)


def test_published_takes_the_long_way_across_a_boundary():
    """Partners at 0.1 and 16.85 Å in a cell of 17.15 are 0.4 Å apart.

    The second is put 1.6 Å from the first, on the other side of it.
    """
    positions, cell = [[0.1, 0, 0], [16.85, 0, 0]], np.eye(3) * 17.15
    published = push_apart(positions, cell)
    assert published.positions[:, 0] == pytest.approx([0.1, 1.7])
    corrected = push_apart(positions, cell, protocol="corrected")
    assert corrected.positions[:, 0] == pytest.approx([0.7, 16.25])
    assert published.separated and corrected.separated


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_clean_structures_are_checked_once(protocol):
    positions, cell = np.array([[0.0, 0, 0], [1.6, 0, 0], [0, 3, -9.0]]), np.eye(3) * 12
    result = push_apart(positions, cell, protocol=protocol)
    assert (result.n_iterations, result.n_close_at_start, result.separated) == (1, 0, True)
    np.testing.assert_allclose(result.positions, positions, atol=1e-14)
    assert result.reason is None


def test_coincident_atoms():
    positions, cell = [[1.0, 2, 3], [1, 2, 3]], np.eye(3) * 10
    published = push_apart(positions, cell)
    assert not published.separated
    assert "0 and 1 at one place" in published.reason
    assert np.isfinite(published.positions).all()
    corrected = [push_apart(positions, cell, protocol="corrected") for _ in range(2)]
    assert corrected[0].separated
    assert np.linalg.norm(np.diff(corrected[0].positions, axis=0)) == pytest.approx(1.6)
    np.testing.assert_array_equal(corrected[0].positions, corrected[1].positions)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_an_atom_near_its_own_image_cannot_be_mended(protocol):
    result = push_apart([[0.0, 0, 0]], np.diag([1.2, 9, 9]), protocol=protocol)
    assert not result.separated
    assert "own image" in result.reason
    assert result.n_close_at_start == 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60), twins=st.integers(0, 3))
def test_corrected(seed, n, twins):
    positions, cell = random_structure(seed, n)
    positions[:twins] = positions[-1]
    result = push_apart(positions, cell, protocol="corrected")
    assert result.separated
    assert len(nearest(result.positions, cell, 1.5 - 1e-9)) == 0
    assert result.positions.shape == positions.shape
    np.testing.assert_allclose(result.positions.mean(0), positions.mean(0), atol=1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_corrected_leaves_others_alone(seed):
    """Pairs on a wide grid: atoms that were never close keep their places to the last bit."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4) * 6.0] * 3), axis=-1).reshape(-1, 3)
    partners = grid[:20] + rng.normal(size=(20, 3)) * 0.3
    result = push_apart(np.concatenate([grid, partners]), np.eye(3) * 24, protocol="corrected")
    assert result.separated
    np.testing.assert_array_equal(result.positions[20:64], grid[20:])


def test_corrected_does_not_depend_on_the_order_or_the_cell():
    positions, cell = random_structure(10, 80)
    result = push_apart(positions, cell, protocol="corrected")
    turned = push_apart(positions[::-1], cell, protocol="corrected")
    np.testing.assert_allclose(turned.positions[::-1], result.positions, atol=1e-9)
    shifts = np.random.default_rng(0).integers(-2, 3, (80, 3)) @ cell
    moved = push_apart(positions + shifts, cell, protocol="corrected")
    np.testing.assert_allclose(moved.positions - shifts, result.positions, atol=1e-9)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_broken_structures_fail_with_a_reason(protocol):
    assert "NaN" in push_apart([[np.nan, 0, 0]], np.eye(3), protocol=protocol).reason
    assert "no volume" in push_apart([[0.0, 0, 0]], np.zeros((3, 3)), protocol=protocol).reason
    assert push_apart(np.empty((0, 3)), np.eye(3), protocol=protocol).separated


def test_bad_settings_are_refused():
    with pytest.raises(DismaiError, match="positive"):
        push_apart([[0.0, 0, 0]], np.eye(3), max_iterations=0)
    with pytest.raises(DismaiError, match="unknown protocol"):
        push_apart([[0.0, 0, 0]], np.eye(3), protocol="gentle")
