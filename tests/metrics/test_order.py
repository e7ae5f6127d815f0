"""Warren-Cowley parameters of ordered crystals, of random ones, and with vacancies."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics.clusters import count_monomers, count_pairs
from dismaiflow.metrics.order import order_labels, warren_cowley
from dismaiflow.structures.lattice import SiteLattice

A, B, EMPTY = 0, 1, -1
CONVENTIONS = ["published", "corrected"]


def parameters(
    lattice: SiteLattice,
    occupations: np.ndarray,
    n_shells: int,
    convention: str,
    n_species: int = 2,
) -> np.ndarray:
    """Return the parameters of whole occupations, shape (n, n_shells, n_pairs)."""
    occupations = np.atleast_2d(occupations).astype(np.int8)
    pairs = count_pairs(occupations, lattice.shells(n_shells), n_species)
    return warren_cowley(count_monomers(occupations, n_species), pairs, convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_checkerboard(convention: str) -> None:
    """Every first neighbour is unlike, every second one like.

    Half of all ordered pairs of the first shell are A-B: alpha = 1 - 0.5 / (0.5 x 0.5) = -1, and
    A-A and B-B do not occur: alpha = 1. In the second shell it is the other way round.
    """
    lattice = SiteLattice("sc", 2.5, (2, 2, 2))
    occupation = lattice.half_steps.sum(axis=1) // 2 % 2
    found = parameters(lattice, occupation, 3, convention)[0]
    expected = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 2, 2), (3, 4, 2)])
def test_perfect_l12(repeats: tuple[int, int, int]) -> None:
    """A3B: no B has a B beside it, and all second neighbours are like.

    1st shell: A-B has 1/4 of the ordered pairs: 1 - (1/4)/(3/16) = -1/3; A-A 1/2: 1 - (1/2)/(9/16)
    = 1/9; B-B none: 1. 2nd shell: A-A 3/4: 1 - (3/4)/(9/16) = -1/3; B-B 1/4: 1 - (1/4)/(1/16) = -3.
    """
    lattice = SiteLattice("fcc", 3.6, repeats)
    occupation = np.where(lattice.sublattices == 0, B, A)
    expected = np.array([[1 / 9, -1 / 3, 1], [-1 / 3, 1, -3]])
    assert parameters(lattice, occupation, 2, "corrected")[0] == pytest.approx(expected, abs=1e-12)
    assert parameters(lattice, occupation, 2, "published")[0] == pytest.approx(expected, abs=1e-12)


def test_random_occupation_averaged_over_all() -> None:
    """All 28 ways to put two B on eight sites: what chance leaves is of the order 1/N.

    An ordered pair of different sites holds A-B with probability 6/8 x 2/7, so the mean of alpha is
    1 - (12/56) / (12/64) = -1/7. B-B: 1 - (2/8 x 1/7) / (1/16) = 3/7. A-A: 1 - (6/8 x 5/7) / (9/16)
    = 1/21. The first shell of this cell holds no self-images.
    """
    lattice = SiteLattice("sc", 2.5, (2, 2, 2))
    occupations = np.zeros((28, 8), dtype=np.int8)
    for row, sites in enumerate(combinations(range(8), 2)):
        occupations[row, list(sites)] = B
    mean = parameters(lattice, occupations, 1, "corrected").mean(axis=0)[0]
    assert mean == pytest.approx([1 / 21, -1 / 7, 3 / 7], abs=1e-12)


def test_large_random_alloy_shows_no_order() -> None:
    """Four standard errors around zero in a crystal of 4,000 sites.

    A shell of z neighbours has N z / 2 pairs, so alpha of a pair scatters by less than about
    1 / (c_A c_B sqrt(N z / 2)) < 0.2.
    """
    lattice = SiteLattice("fcc", 3.6, (10, 10, 10))
    rng = np.random.default_rng(11)
    species = np.repeat([0, 1, 2], [800, 2400, 800])
    occupations = np.array([rng.permutation(species) for _ in range(20)])
    found = parameters(lattice, occupations, 7, "corrected", n_species=3)
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(20)
    # The finite-size shift is -1/(N-1) for unlike pairs and at most (1/c - 1)/(N-1) for like ones.
    assert (np.abs(mean) < 4 * error + 4 / 3999).all()
    assert (np.abs(mean) < 0.02).all()


def test_worked_example_with_a_vacancy() -> None:
    """The cell of test_clusters: four A, three B and a vacancy on a simple cubic cell of 2x2x2.

    Pairs: 18 A-B in the first shell; 24 A-A and 12 B-B in the second. c_A = 4/7, c_B = 3/7.

    corrected, eq. 1. 1st shell: A-B holds half of the ordered pairs, 1 - 0.5 / (12/49) = -25/24.
    2nd: A-A 24/36, 1 - (2/3) / (16/49) = -25/24; B-B 12/36, 1 - (1/3) / (9/49) = -22/27.

    published, from rounded counts per atom. 1st shell: beside an A there are only B, p = 1, and
    likewise beside a B: 1 - (1/c_B + 1/c_A) / 2 = 1 - (7/3 + 7/4) / 2 = -25/24, as above.
    2nd: beside an A only A: 1 - 1/c_A = -3/4; beside a B only B: 1 - 1/c_B = -4/3. These differ
    from eq. 1, because the vacancy takes bonds from B only.
    """
    lattice = SiteLattice("sc", 2.5, (2, 2, 2))
    occupation = np.array([EMPTY, A, A, B, A, B, B, A])
    corrected = parameters(lattice, occupation, 2, "corrected")[0]
    expected = np.array([[1, -25 / 24, 1], [-25 / 24, 1, -22 / 27]])
    assert corrected == pytest.approx(expected, abs=1e-12)
    published = parameters(lattice, occupation, 2, "published")[0]
    unlike = 1 - (1 / 0.42857 + 1 / 0.57143) / 2
    rounded = np.array([[1, unlike, 1], [1 - 1 / 0.57143, 1, 1 - 1 / 0.42857]])
    assert published == pytest.approx(rounded, abs=1e-12)
    exact = np.array([[1, -25 / 24, 1], [-3 / 4, 1, -4 / 3]])
    assert published == pytest.approx(exact, abs=2e-5)


def test_published_unlike_pairs_are_the_mean_of_two_directions() -> None:
    """Counts typed in, as vacancies leave them: 10 A-A, 12 A-B, no B-B among five A and three B.

    Ordered: A-A 20, A-B 12 each way. B beside an A: 12/32, over c_B = 3/8: 1. A beside a B: 12/12,
    over c_A = 5/8: 8/5. Their mean is 1.3, alpha = -0.3. By eq. 1: 12/44 / (15/64) = 64/55,
    alpha = -9/55. Per atom, 10/8 and 12/8 need no rounding.
    """
    monomers, pairs = np.array([5, 3]), np.array([[[10, 12], [0, 0]]])
    published = warren_cowley(monomers, pairs, "published")[0]
    # A beside an A: 20/32 over 5/8 is one. B beside a B does not occur.
    assert published == pytest.approx([0, -0.3, 1], abs=1e-12)
    corrected = warren_cowley(monomers, pairs, "corrected")[0]
    # A-A: 20/44 / (25/64) = 64/55.
    assert corrected == pytest.approx([-9 / 55, -9 / 55, 1], abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_conventions_agree_on_a_full_lattice(seed: int) -> None:
    """Up to the rounding of counts per atom to five decimals, and weighted by c_A c_B to zero."""
    lattice = SiteLattice("fcc", 3.6, (4, 4, 4))
    rng = np.random.default_rng(seed)
    occupation = rng.permutation(np.repeat([0, 1, 2], [51, 154, 51]))
    published = parameters(lattice, occupation, 7, "published", n_species=3)[0]
    corrected = parameters(lattice, occupation, 7, "corrected", n_species=3)[0]
    assert published == pytest.approx(corrected, abs=5e-4)
    # The probabilities of all ordered pairs add up to one.
    c = np.array([51, 154, 51]) / 256
    rows, columns = np.triu_indices(3)
    weights = c[rows] * c[columns] * np.where(rows == columns, 1, 2)
    assert corrected @ weights == pytest.approx(np.zeros(7), abs=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_absent_species_has_no_parameter(convention: str) -> None:
    lattice = SiteLattice("sc", 2.5, (3, 3, 3))
    found = parameters(lattice, np.zeros(27), 1, convention)[0, 0]
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found[1:]).all()


def test_labels_follow_the_order_of_the_array() -> None:
    assert order_labels(("Cr", "Fe", "Ni"), 2) == [
        *(f"1NN_{p}" for p in ("Cr-Cr", "Cr-Fe", "Cr-Ni", "Fe-Fe", "Fe-Ni", "Ni-Ni")),
        *(f"2NN_{p}" for p in ("Cr-Cr", "Cr-Fe", "Cr-Ni", "Fe-Fe", "Fe-Ni", "Ni-Ni")),
    ]
