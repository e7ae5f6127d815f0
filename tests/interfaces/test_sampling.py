from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.sampling import SamplingKind, thickness_and_shift, unit_points

from .hosts import lsc_lco_parts

KINDS = get_args(SamplingKind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_is_uniform(kind):
    points = unit_points(kind, range(1000), 3, 1000)
    assert points.shape == (1000, 3)
    assert points.min() >= 0
    assert points.max() < 1
    for column in points.T:
        assert stats.kstest(column, "uniform").pvalue > 0.01
        assert stats.chisquare(np.histogram(column, 10, (0, 1))[0]).pvalue > 0.01
    assert np.abs(np.corrcoef(points.T) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_rows_do_not_depend_on_the_chunks(kind, data):
    wanted = data.draw(st.lists(st.integers(0, 199), min_size=1, max_size=8))
    whole = unit_points(kind, range(200), 11, 200)
    assert np.array_equal(unit_points(kind, wanted, 11, 200), whole[wanted])


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_differ(kind):
    first, second = (unit_points(kind, range(20), seed, 20) for seed in (0, 1))
    assert not np.isclose(first, second).any()


def test_strata_hold_one_point_each():
    points = unit_points("stratified", range(37), 5, 37)
    for column in points.T:
        assert sorted(np.floor(column * 37).astype(int)) == list(range(37))


def test_a_scrambled_sobol_sequence_is_a_net():
    # Of the first 16 points one lies in each sixteenth, of every aligned 16 later ones too.
    points = unit_points("quasi-random", range(64), 5)
    for block in points.reshape(4, 16, 3):
        for column in block.T:
            assert sorted(np.floor(column * 16).astype(int)) == list(range(16))


def test_scaling_to_the_region():
    region = lsc_lco_parts().region.model_copy(update={"lateral_shift": (0.5, 0.0)})
    rows = thickness_and_shift(
        np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]), region
    )
    assert np.allclose(rows, [[4, 0, 0], [5, 0.25, 0], [6, 0.5, 0]])


def test_no_indices_no_points():
    assert unit_points("stratified", [], 0, 0).shape == (0, 3)


@pytest.mark.parametrize("n_total", [None, 5])
def test_stratified_needs_the_whole_number(n_total):
    with pytest.raises(DismaiError, match="number of all structures, more than 5"):
        unit_points("stratified", [5], 0, n_total)


def test_unknown_kind():
    with pytest.raises(DismaiError, match="unknown sampling 'sobol': choose one of random"):
        unit_points("sobol", [0], 0)
