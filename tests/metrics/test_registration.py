"""The corrected alignment: a known crystal, moved, turned and spoilt, must come back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.spatial.transform import Rotation

from dismaiflow.metrics.clusters import count_pairs
from dismaiflow.metrics.memorisation import nearest_distances
from dismaiflow.metrics.registration import find_orientation, register
from dismaiflow.structures.lattice import SiteLattice

ALLOY = SiteLattice("fcc", 3.6, (4, 4, 4))
SHELLS = ALLOY.shells(7)

#: The 48 symmetries of the cube, improper ones included.
CUBE = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def random_codes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, n).astype(np.int8)


def on_sites(lattice: SiteLattice, occupation: np.ndarray) -> np.ndarray:
    return count_pairs(occupation[None], lattice.shells(7), 3)[0]


def turn(angle: float, axis: tuple[float, float, float]) -> np.ndarray:
    unit = np.array(axis) / np.linalg.norm(axis)
    return Rotation.from_rotvec(np.deg2rad(angle) * unit).as_matrix()


def crop(
    lattice: SiteLattice, rotation: np.ndarray, shift: tuple[float, float, float]
) -> np.ndarray:
    """Fill the cell of a lattice with a turned and moved piece of an endless one."""
    n = 3 * max(lattice.repeats)
    endless = SiteLattice(lattice.kind, lattice.a, (n, n, n)).positions - n * lattice.a / 2
    edges = np.diag(lattice.cell)
    positions = endless @ rotation.T + shift + edges / 2
    return positions[((positions >= 0) & (positions < edges)).all(axis=1)]


def open_pairs(positions: np.ndarray, codes: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Count the pairs of a block without periodic boundaries by their distances."""
    distances = squareform(pdist(positions))
    counts = np.zeros((len(radii), 3, 3), dtype=np.int64)
    for shell, radius in enumerate(radii):
        i, j = np.nonzero(np.triu(np.abs(distances - radius) < 1e-3, 1))
        low, high = np.minimum(codes[i], codes[j]), np.maximum(codes[i], codes[j])
        np.add.at(counts[shell], (low, high), 1)
    return counts


def test_a_perfect_crystal_where_it_belongs() -> None:
    codes = random_codes(256, 1)
    found = register(ALLOY, ALLOY.positions, codes)
    assert found.occupation is not None
    assert (found.occupation == codes).all()
    assert (found.n_removed, found.rotation) == (0, 0.0)
    assert found.rms == pytest.approx(0, abs=1e-9)
    assert (found.pairs(SHELLS, 3.6, 3) == on_sites(ALLOY, codes)).all()


@given(
    kind=st.sampled_from(["sc", "bcc", "fcc"]),
    repeats=st.tuples(*[st.integers(2, 4)] * 3),
    shift=st.tuples(*[st.floats(-30, 30)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_translation_changes_nothing(
    kind: str,
    repeats: tuple[int, int, int],
    shift: tuple[float, float, float],
    seed: int,
) -> None:
    """Any lattice and supercell, wrapped or not, any order of the atoms."""
    lattice = SiteLattice(kind, 3.6, repeats)
    codes = random_codes(lattice.n_sites, seed)
    order = np.random.default_rng(seed).permutation(lattice.n_sites)
    found = register(lattice, (lattice.positions + shift)[order], codes[order])
    assert found.n_removed == 0
    assert found.rms == pytest.approx(0, abs=1e-6)
    assert (found.pairs(lattice.shells(7), 3.6, 3) == on_sites(lattice, codes)).all()
    assert found.occupation is not None
    assert nearest_distances(found.occupation[None], codes[None], lattice).tolist() == [0.0]


@pytest.mark.parametrize("operation", range(48))
def test_symmetry_of_the_cube_changes_nothing(operation: int) -> None:
    """All rotations and reflections that map the cell onto itself, about a point off the sites."""
    codes = random_codes(256, 2)
    positions = (ALLOY.positions - 0.7) @ CUBE[operation].T + [3.0, 0.4, -8.0]
    found = register(ALLOY, positions, codes)
    assert (found.n_removed, found.rotation) == (0, 0.0)
    assert (found.pairs(SHELLS, 3.6, 3) == on_sites(ALLOY, codes)).all()


@pytest.mark.parametrize("sigma", [0.05, 0.15])
def test_noise_changes_nothing(sigma: float) -> None:
    """Up to five standard deviations within 0.8 A; the distance from the sites is the noise."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        codes = random_codes(256, int(rng.integers(1000)))
        noise = np.clip(rng.normal(0, sigma, (256, 3)), -0.45, 0.45)
        found = register(ALLOY, ALLOY.positions + rng.uniform(0, 14.4, 3) + noise, codes)
        assert found.n_removed == 0
        assert found.rms == pytest.approx(sigma * 3**0.5, rel=0.1)
        assert (found.pairs(SHELLS, 3.6, 3) == on_sites(ALLOY, codes)).all()


def test_much_noise_is_not_taken_for_a_rotation() -> None:
    """At 0.3 A, where 6 % of the atoms leave their sites, the crystal still stands straight.

    |d| > 0.8 A has the probability of chi-square (3) > 7.11: 0.068, 17.5 of 256 atoms.
    """
    rng = np.random.default_rng(4)
    removed = []
    for _ in range(20):
        positions = ALLOY.positions + rng.uniform(0, 14.4, 3) + rng.normal(0, 0.3, (256, 3))
        found = register(ALLOY, positions, random_codes(256, 4))
        assert found.occupation is not None
        assert found.rotation == 0.0
        removed.append(found.n_removed)
    assert np.mean(removed) == pytest.approx(17.5, abs=3)


def test_translation_is_that_of_all_atoms() -> None:
    """One atom 0.7 A off moves the fit by 0.7/256 A; no atom is lost for its sake."""
    codes = random_codes(256, 5)
    positions = ALLOY.positions + np.array([0.1, 0.2, 0.3])
    positions[0, 0] += 0.7
    found = register(ALLOY, positions, codes)
    assert found.n_removed == 0
    # The sum of squares about the mean of one 0.7 and 255 zeros is 0.49 x 255/256.
    assert found.rms == pytest.approx((0.49 * 255 / 256 / 256) ** 0.5, abs=1e-9)


@pytest.mark.parametrize("n_vacancies", [1, 10, 50])
def test_missing_atoms_leave_vacancies(n_vacancies: int) -> None:
    codes = random_codes(256, 6)
    occupation = codes.copy()
    occupation[np.random.default_rng(n_vacancies).permutation(256)[:n_vacancies]] = -1
    there = np.flatnonzero(occupation >= 0)
    found = register(ALLOY, ALLOY.positions[there] + np.array([1.0, 2.0, 3.0]), codes[there])
    assert found.n_removed == 0
    assert found.occupation is not None
    assert (found.occupation < 0).sum() == n_vacancies
    assert (found.pairs(SHELLS, 3.6, 3) == on_sites(ALLOY, occupation)).all()


@pytest.mark.parametrize("n_moved", [1, 30, 60])
def test_the_closer_atom_keeps_the_site(n_moved: int) -> None:
    """Atoms put 0.3 A beside others are removed, and their old sites are vacant."""
    codes = random_codes(256, 7)
    order = np.random.default_rng(n_moved).permutation(256)
    moved, owners = order[:n_moved], order[-n_moved:]
    positions = ALLOY.positions.copy()
    positions[moved] = positions[owners] + [0.3, 0, 0]
    occupation = codes.copy()
    occupation[moved] = -1
    found = register(ALLOY, positions, codes)
    assert found.n_removed == n_moved
    assert found.occupation is not None
    assert (found.occupation == occupation).all()


@pytest.mark.parametrize("first", [0, 1])
def test_of_coincident_atoms_the_order_does_not_decide(first: int) -> None:
    """Exact copies of another species: the lower code stays, whichever comes first."""
    codes = np.full(256, 2, dtype=np.int8)
    positions = ALLOY.positions + np.array([0.111, 0.222, 0.333])
    pair = [10, 100]
    positions[pair[1]] = positions[pair[0]]
    codes[pair[first]], codes[pair[1 - first]] = 0, 1
    found = register(ALLOY, positions, codes)
    assert found.n_removed == 1
    assert found.occupation is not None
    assert np.bincount(found.occupation[found.occupation >= 0]).tolist() == [1, 0, 254]


def test_atoms_between_the_sites_are_removed() -> None:
    """In octahedral holes, 1.8 A from the sites."""
    positions = ALLOY.positions.copy()
    chosen = np.random.default_rng(8).permutation(256)[:20]
    positions[chosen] += [1.8, 0, 0]
    found = register(ALLOY, positions + 5.0, random_codes(256, 8))
    assert found.n_removed == 20


def test_random_positions_fail() -> None:
    """No motion of the lattice puts even half of the atoms on sites of their own."""
    rng = np.random.default_rng(9)
    for _ in range(3):
        found = register(ALLOY, rng.uniform(0, 14.4, (256, 3)), random_codes(256, 9))
        assert found.n_removed > 128


@pytest.mark.parametrize(
    ("angle", "axis"),
    [(5, (1, 2, 3)), (12, (1, 0, 0)), (20, (1, 1, 1)), (30, (-1, 4, 2)), (45, (0, 0, 1))],
)
@pytest.mark.parametrize("kind", ["fcc", "bcc"])
def test_a_turned_crop_comes_back_whole(
    kind: str, angle: float, axis: tuple[float, float, float]
) -> None:
    """Every atom on its site; the pairs are those of the block, counted by distance."""
    lattice = SiteLattice(kind, 3.6, (4, 4, 4))
    radii = lattice.shells(7).distances
    for seed in range(3):
        shift = np.random.default_rng(seed).uniform(0, 3.6, 3)
        positions = crop(lattice, turn(angle, axis), shift)
        codes = random_codes(len(positions), seed)
        found = register(lattice, positions, codes)
        assert found.n_removed == 0
        assert found.rotation == pytest.approx(angle, abs=1e-4)
        assert found.rms == pytest.approx(0, abs=1e-6)
        assert found.block is not None
        pairs = found.pairs(lattice.shells(7), 3.6, 3)
        assert (pairs == open_pairs(positions, codes, radii)).all()


@pytest.mark.parametrize("sigma", [0.05, 0.15])
def test_a_turned_crop_with_noise_comes_back_whole(sigma: float) -> None:
    """Also the atoms that noise carried over the boundary, wrapped to the other side."""
    rng = np.random.default_rng(10)
    for angle in (8.0, 25.0, 40.0):
        rotation = turn(angle, (1, -2, 0.5))
        perfect = crop(ALLOY, rotation, tuple(rng.uniform(0, 3.6, 3)))
        codes = random_codes(len(perfect), 10)
        noise = np.clip(rng.normal(0, sigma, perfect.shape), -0.45, 0.45)
        wrapped = (perfect + noise) % 14.4
        assert (np.abs(wrapped - perfect) > 7).any()
        found = register(ALLOY, wrapped, codes)
        assert found.rms == pytest.approx(sigma * 3**0.5, rel=0.15)
        assert found.rotation == pytest.approx(angle, abs=0.5)
        assert found.n_removed <= 1
        # At 0.15 A one of the atoms may be taken for one across the boundary.
        expected = open_pairs(perfect, codes, SHELLS.distances)
        difference = np.abs(found.pairs(SHELLS, 3.6, 3) - expected).sum()
        assert difference <= (0 if sigma < 0.1 else 2 * 134)


@pytest.mark.parametrize("kind", ["sc", "bcc", "fcc"])
def test_a_turned_crop_with_much_noise_keeps_its_orientation(kind: str) -> None:
    """At 0.3 A per axis 6.8 % of the atoms leave their sites (see above), and no more are lost.

    Of n atoms 0.068 n, give or take (0.068 x 0.932 n)**0.5.
    """
    lattice = SiteLattice(kind, 3.6, (4, 4, 4))
    rng = np.random.default_rng(15)
    removed = []
    for angle in (7.0, 15.0, 23.0, 31.0, 39.0):
        perfect = crop(lattice, turn(angle, tuple(rng.normal(size=3))), tuple(rng.uniform(0, 3, 3)))
        positions = (perfect + rng.normal(0, 0.3, perfect.shape)) % 14.4
        found = register(lattice, positions, random_codes(len(positions), 15))
        assert found.rotation == pytest.approx(angle, abs=2)
        n = len(positions)
        removed.append((found.n_removed - 0.068 * n) / (0.068 * 0.932 * n) ** 0.5)
    assert np.abs(removed).max() < 4


@given(
    seed=st.integers(0, 2**32 - 1),
    angle=st.floats(0, 60),
    sigma=st.sampled_from([0.0, 0.1, 0.25]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_order_of_the_atoms_changes_nothing(seed: int, angle: float, sigma: float) -> None:
    """Straight or turned, with noise and with copies of other atoms."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    positions = crop(ALLOY, turn(angle, tuple(axis)), tuple(rng.uniform(0, 3.6, 3)))
    positions += rng.normal(0, sigma, positions.shape)
    positions[:3] = positions[-3:]
    codes = random_codes(len(positions), seed)
    order = rng.permutation(len(positions))
    first, second = (register(ALLOY, positions[o], codes[o]) for o in (slice(None), order))
    assert first.n_removed == second.n_removed
    assert (first.block is None) == (second.block is None)
    assert (first.pairs(SHELLS, 3.6, 3) == second.pairs(SHELLS, 3.6, 3)).all()


def test_a_supercell_with_unlike_edges() -> None:
    lattice = SiteLattice("fcc", 3.6, (3, 4, 5))
    positions = crop(lattice, turn(17, (1, 1, -2)), (0.3, 0.2, 0.1))
    codes = random_codes(len(positions), 12)
    found = register(lattice, positions, codes)
    assert found.n_removed == 0
    assert found.rotation == pytest.approx(17, abs=1e-4)


def test_a_shorter_spacing_is_still_on_lattice() -> None:
    """a = 3.54 A in a turned crop: 14.4 x 3**0.5 / 2 x 0.06 / 3.6 = 0.21 A off at the most."""
    shorter = SiteLattice("fcc", 3.54, (4, 4, 4))
    positions = crop(shorter, turn(15, (1, 2, 0)), (0.0, 0.0, 0.0))
    found = register(ALLOY, positions, random_codes(len(positions), 13))
    assert found.n_removed == 0


def test_orientation_is_the_equivalent_closest_to_the_cell() -> None:
    """80 degrees about z are 10 degrees the other way, up to the symmetry of the cube."""
    positions = crop(ALLOY, turn(80, (0, 0, 1)), (0.0, 0.0, 0.0))
    axes = find_orientation(ALLOY, positions)
    assert axes is not None
    assert axes == pytest.approx(turn(-10, (0, 0, 1)).T, abs=1e-6)
    assert register(ALLOY, positions, random_codes(len(positions), 14)).rotation == pytest.approx(
        10, abs=1e-4
    )


def test_no_surroundings_no_orientation() -> None:
    assert find_orientation(ALLOY, ALLOY.positions[:4]) is None
