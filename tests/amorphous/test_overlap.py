"""Overlap of blocks in cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.amorphous.overlap import overlap, overlap_report, shared_between


def test_identical_blocks_are_one():
    found = overlap(np.tile(np.arange(10), (7, 1)), 100)
    assert found.n_effective == pytest.approx(1)
    assert found.mean_shared_fraction == pytest.approx(1)
    assert found.coverage == pytest.approx(0.7)
    assert found.covered_fraction == pytest.approx(0.1)


def test_blocks_that_share_nothing_count_in_full():
    found = overlap(np.arange(70).reshape(7, 10), 100)
    assert found.n_effective == pytest.approx(7)
    assert found.mean_shared_fraction == 0


def test_a_pair_by_hand():
    """Two blocks of four with one atom in common: counts 1,1,1,2,1,1,1; 2 * 8 / 10."""
    found = overlap(np.array([[0, 1, 2, 3], [3, 4, 5, 6]]), 8)
    assert found.n_effective == pytest.approx(1.6)
    assert found.mean_shared_fraction == pytest.approx(0.25)
    assert found.coverage == 1.0
    assert found.covered_fraction == pytest.approx(7 / 8)


def test_added_atoms_are_no_parent_atoms():
    found = overlap(np.array([[0, 1, -1], [2, 3, -1]]), 4)
    assert found.n_effective == pytest.approx(2)
    assert found.coverage == 1.0


def test_full_coverage_is_never_more_than_the_parent():
    """Every atom in three blocks: N / m = 4 independent ones at most."""
    index = np.concatenate([np.roll(np.arange(40), k).reshape(4, 10) for k in (0, 3, 7)])
    assert overlap(index, 40).n_effective == pytest.approx(4)


def test_a_single_block():
    found = overlap(np.arange(5)[None], 10)
    assert found.n_effective == 1
    assert found.mean_shared_fraction == 0


def test_between_two_sets():
    first, second = np.array([[0, 1, 2, -1]]), np.array([[2, 3, 4, -1], [4, 5, 6, 7]])
    assert shared_between(first, second, 8) == {"atoms": 1, "fraction_of_second": 1 / 6}
    report = overlap_report({"train": first, "val": second}, 8)
    assert set(report) == {"all", "train", "val", "train_and_val"}
    assert report["all"]["n_blocks"] == 3
