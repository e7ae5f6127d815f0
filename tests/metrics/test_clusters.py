"""Cluster counts and fingerprints against counts by hand and by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.metrics.clusters import (
    count_monomers,
    count_pairs,
    fingerprint,
    fingerprint_labels,
    per_atom,
    unordered,
)
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from numpy.typing import NDArray

A, B, EMPTY = 0, 1, -1

#: One conventional fcc cell with B at the corner: L1_2, A3B. A site of an fcc crystal has 12, 6, 24
#: and 12 neighbours in its first four shells. In a cell of one, the shells of whole lattice vectors
#: (2nd and 4th) lead to the site's own images; the 12 and 24 vectors of the 1st and 3rd lead in
#: equal parts to the three other sites.
#:
#: 1st: B has 12 A. Each of three A has 4 B and 8 A: 24 ordered A-A, 12 unordered. Sum 24 = 4 x 6.
#: 2nd: B meets itself 6 times, 3 pairs; three A, 9 pairs. Sum 12 = 4 x 3.
#: 3rd: B has 24 A; each A has 8 B and 16 A: 24 pairs A-A. Sum 48 = 4 x 12.
#: 4th: as the 2nd with 12 vectors. Sum 24 = 4 x 6.
L12 = np.array([[B, A, A, A]], dtype=np.int8)
L12_PAIRS = [[[12, 12], [0, 0]], [[9, 0], [0, 3]], [[24, 24], [0, 0]], [[18, 0], [0, 6]]]

#: A simple cubic cell of 2x2x2, site 4x + 2y + z. The vacancy is at the corner 000, A at its three
#: neighbours 001, 010, 100 and at 111, B at 011, 101, 110.
#:
#: 1st shell: the 12 edges of the cube, each twice, because the cell repeats. Three edges end at the
#: vacancy; the nine others join A and B: 18 pairs A-B of 24.
#: 2nd shell: the 12 diagonals of faces, each four times. Among 000, 011, 101, 110: three end at the
#: vacancy, three join B and B; among 001, 010, 100, 111: six join A and A. So 24 A-A, 12 B-B of 48.
WITH_VACANCY = np.array([[EMPTY, A, A, B, A, B, B, A]], dtype=np.int8)
VACANCY_PAIRS = [[[0, 18], [0, 0]], [[24, 0], [0, 12]]]


def by_distance(lattice: SiteLattice, occupation: NDArray[np.int8], n_shells: int) -> np.ndarray:
    """Count pairs of two species from distances between a cell and its images alone."""
    radii = lattice.shells(n_shells).distances
    sites = lattice.positions
    reach = [int(radii[-1] / edge) + 1 for edge in np.diag(lattice.cell)]
    ranges = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
    images = np.stack(ranges, axis=-1).reshape(-1, 3) @ lattice.cell
    vectors = sites[None, :, None] + images[None, None] - sites[:, None, None]
    distances = np.linalg.norm(vectors, axis=-1)
    directed = np.zeros((n_shells, 2, 2), dtype=np.int64)
    for shell, radius in enumerate(radii):
        i, j, _ = np.nonzero(np.abs(distances - radius) < 1e-6)
        there = (occupation[i] >= 0) & (occupation[j] >= 0)
        np.add.at(directed[shell], (occupation[i][there], occupation[j][there]), 1)
    # An unordered pair of unlike species is met as A-B and as B-A, a like one twice as itself.
    halves = np.zeros_like(directed)
    halves[:, 0, 1] = directed[:, 0, 1]
    halves[:, [0, 1], [0, 1]] = directed[:, [0, 1], [0, 1]] // 2
    return halves


def test_pairs_of_one_fcc_cell_by_hand() -> None:
    shells = SiteLattice("fcc", 3.6, (1, 1, 1)).shells(4)
    assert count_pairs(L12, shells, 2).tolist() == [L12_PAIRS]
    assert count_monomers(L12, 2).tolist() == [[3, 1]]


def test_pairs_with_a_vacancy_by_hand() -> None:
    shells = SiteLattice("sc", 2.5, (2, 2, 2)).shells(2)
    assert count_pairs(WITH_VACANCY, shells, 2).tolist() == [VACANCY_PAIRS]
    assert count_monomers(WITH_VACANCY, 2).tolist() == [[4, 3]]


@given(
    kind=st.sampled_from(["sc", "bcc", "fcc"]),
    repeats=st.tuples(*[st.integers(1, 3)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_pairs_are_those_of_the_distances(
    kind: str, repeats: tuple[int, int, int], seed: int
) -> None:
    """In every small cell, vacancies and self-images included."""
    lattice = SiteLattice(kind, 3.0, repeats)
    rng = np.random.default_rng(seed)
    occupation = rng.integers(-1, 2, lattice.n_sites).astype(np.int8)
    counted = count_pairs(occupation, lattice.shells(4), 2)[0]
    assert (counted == by_distance(lattice, occupation, 4)).all()


def test_unordered_halves_like_pairs_only() -> None:
    directed = np.array([[[8, 4], [4, 6]]])
    assert unordered(directed).tolist() == [[[4, 4], [0, 3]]]


def test_a_full_lattice_has_as_many_pairs_as_the_multiplicities_say() -> None:
    lattice = SiteLattice("fcc", 3.6, (2, 3, 4))
    shells = lattice.shells(7)
    occupation = np.random.default_rng(1).integers(0, 3, (5, lattice.n_sites)).astype(np.int8)
    total = count_pairs(occupation, shells, 3).sum(axis=(2, 3))
    assert (total == lattice.n_sites * np.array([6, 3, 12, 6, 12, 4, 24])).all()


def test_an_empty_lattice_has_no_counts() -> None:
    lattice = SiteLattice("sc", 2.5, (2, 2, 2))
    nothing = np.full((1, 8), EMPTY, dtype=np.int8)
    monomers, pairs = count_monomers(nothing, 2), count_pairs(nothing, lattice.shells(1), 2)
    assert (monomers.sum(), pairs.sum()) == (0, 0)
    for convention in ("published", "corrected"):
        assert (fingerprint(monomers, pairs, np.array([3]), convention) == 0).all()


def test_counts_per_remaining_atom() -> None:
    # Four A and three B remain of eight sites: 4/7, 3/7 and 18/7 pairs A-B per atom.
    fractions, pairs = per_atom(np.array([4, 3]), np.array([[[0, 18], [0, 0]]]))
    assert fractions == pytest.approx([4 / 7, 3 / 7], abs=1e-15)
    assert pairs[0, 0, 1] == pytest.approx(18 / 7, abs=1e-15)
    fractions, pairs = per_atom(np.array([4, 3]), np.array([[[0, 18], [0, 0]]]), decimals=5)
    assert fractions.tolist() == [0.57143, 0.42857]
    assert pairs[0, 0, 1] == 2.57143


def test_published_fingerprint_with_a_vacancy() -> None:
    """Counts per remaining atom, rounded to five decimals, over the pairs per site of the shell.

    Monomers 4/7 = 0.57143 and 3/7 = 0.42857.
    1st shell, 3 pairs per site: A-B 18/7 = 2.57143, over 3.
    2nd shell, 6 pairs per site: A-A 24/7 = 3.42857 and B-B 12/7 = 1.71429, over 6.
    """
    found = fingerprint(
        np.array([[4, 3]]), np.array([VACANCY_PAIRS]), np.array([3, 6]), "published"
    )[0]
    expected = [0.57143, 0.42857, 0, 2.57143 / 3, 0, 3.42857 / 6, 0, 1.71429 / 6]
    assert found == pytest.approx(expected, abs=1e-15)
    # Six of seven bonds are left: the vacancy lowers the sum of each shell to 6/7.
    assert found[2:5].sum() == pytest.approx(6 / 7, abs=1e-5)
    assert found[5:].sum() == pytest.approx(6 / 7, abs=1e-5)


def test_corrected_fingerprint_with_a_vacancy() -> None:
    """Probabilities given two occupied sites: 18 of 18; 24 and 12 of 36."""
    found = fingerprint(
        np.array([[4, 3]]), np.array([VACANCY_PAIRS]), np.array([3, 6]), "corrected"
    )[0]
    assert found == pytest.approx([4 / 7, 3 / 7, 0, 1, 0, 2 / 3, 0, 1 / 3], abs=1e-15)


@pytest.mark.parametrize("convention", ["published", "corrected"])
def test_conventions_agree_without_vacancies(convention: str) -> None:
    """On L1_2 both give 12/24 and 12/24; 9/12 and 3/12; and so on, without a need to round."""
    multiplicities = np.array([6, 3, 12, 6])
    found = fingerprint(np.array([[3, 1]]), np.array([L12_PAIRS]), multiplicities, convention)[0]
    expected = [0.75, 0.25, 0.5, 0.5, 0, 0.75, 0, 0.25, 0.5, 0.5, 0, 0.75, 0, 0.25]
    assert found == pytest.approx(expected, abs=1e-15)


@given(seed=st.integers(0, 2**32 - 1), n_vacancies=st.integers(0, 50))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_sums_of_the_fingerprint(seed: int, n_vacancies: int) -> None:
    """Corrected shells add up to one; published ones to one minus what vacancies take."""
    lattice = SiteLattice("fcc", 3.6, (4, 4, 4))
    shells = lattice.shells(7)
    rng = np.random.default_rng(seed)
    occupation = rng.integers(0, 3, 256).astype(np.int8)
    occupation[rng.permutation(256)[:n_vacancies]] = EMPTY
    monomers, pairs = count_monomers(occupation, 3), count_pairs(occupation, shells, 3)
    m = shells.multiplicities
    corrected = fingerprint(monomers, pairs, m, "corrected")[0, 3:].reshape(7, 6).sum(axis=1)
    published = fingerprint(monomers, pairs, m, "published")[0, 3:].reshape(7, 6).sum(axis=1)
    assert corrected == pytest.approx(np.ones(7), abs=1e-12)
    full = pairs[0].sum(axis=(1, 2)) / ((256 - n_vacancies) * m)
    assert published == pytest.approx(full, abs=6 * 0.5e-5)
    if n_vacancies == 0:
        assert published == pytest.approx(np.ones(7), abs=6 * 0.5e-5)
    else:
        assert (published < 1).all()


def test_the_papers_fingerprint_has_45_named_components() -> None:
    """Three monomers and seven shells of six unordered pairs."""
    labels = fingerprint_labels(("Cr", "Fe", "Ni"), 7)
    assert len(labels) == 45
    assert labels[:9] == [
        "0NN_Cr",
        "0NN_Fe",
        "0NN_Ni",
        "1NN_Cr-Cr",
        "1NN_Cr-Fe",
        "1NN_Cr-Ni",
        "1NN_Fe-Fe",
        "1NN_Fe-Ni",
        "1NN_Ni-Ni",
    ]
    assert labels[-1] == "7NN_Ni-Ni"
