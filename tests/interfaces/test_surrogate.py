from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.sampling import thickness_and_shift
from dismaiflow.interfaces.surrogate import (
    Surrogate,
    SurrogateSettings,
    equivalent_shifts,
    unit_points_of,
)
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems.registry import get_system

from .hosts import lsc_lco_host, lsc_lco_parts, small_host


def landscape(points, period=1):
    """Low where the film is displaced by half a period along b, and at a thickness of 0.3."""
    return np.cos(2 * np.pi * period * points[:, 2]) + 3 * (points[:, 0] - 0.3) ** 2


def drawn(n, noise=0.5, period=1, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.random((n, 3))
    return points, landscape(points, period) + rng.normal(0, noise, n)


def test_proposals_lie_where_energies_are_low():
    points, energies = drawn(120)
    proposed = Surrogate(points, energies).propose(range(120, 320), seed=4)
    assert proposed.shape == (200, 3)
    assert ((proposed >= 0) & (proposed < 1)).all()
    # At random it would be 3 (1/12 + 0.04) = 0.37 on average; a quarter still is at random.
    assert landscape(proposed).mean() < -0.3
    shares = stats.kstest(proposed[:, 1], "uniform")
    assert shares.pvalue > 0.01  # a tells nothing


def test_an_energy_that_depends_on_chance_alone():
    points = np.random.default_rng(1).random((150, 3))
    energies = np.random.default_rng(2).normal(0, 1, 150)
    proposed = Surrogate(points, energies).propose(range(300), seed=0)
    for column in proposed.T:
        assert np.abs(np.histogram(column, 4, (0, 1))[0] / 75 - 1).max() < 0.5


def test_failures_are_avoided():
    points, energies = drawn(200, noise=1.0)
    energies[points[:, 0] > 0.7] = np.nan
    model = Surrogate(points, energies)
    proposed = model.propose(range(200), seed=0)
    # A quarter is uniform, of which 30 % lie there: 7.5 %.
    assert (proposed[:, 0] > 0.75).mean() < 0.12
    success = model.predict([[0.95, 0.5, 0.5], [0.2, 0.5, 0.5]]).success
    assert success[0] < 0.3
    assert success[1] > 0.9


def test_the_process_is_that_of_scikit_learn():
    gaussian = pytest.importorskip("sklearn.gaussian_process")
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.random(40), np.full(40, 0.2), np.full(40, 0.7)])
    energies = -206 + np.sin(6 * points[:, 0]) + rng.normal(0, 0.1, 40)
    model = Surrogate(points, energies)
    wanted = np.column_stack([np.linspace(0, 1, 9), np.full(9, 0.2), np.full(9, 0.7)])
    mean, std, _ = model.predict(wanted)

    scales = model._scales
    kernel = kernels.ConstantKernel(scales.signal) * kernels.RBF(scales.thickness)
    other = gaussian.GaussianProcessRegressor(kernel, alpha=1 - scales.signal, optimizer=None)
    spread = energies.std()
    other.fit(points[:, :1], (energies - energies.mean()) / spread)
    expected, width = other.predict(wanted[:, :1], return_std=True)
    assert np.allclose(mean, energies.mean() + spread * expected, atol=1e-5)
    assert np.allclose(std, spread * width, atol=1e-5)
    # Of the scales tried, these are the most likely under that program, too.
    best = other.log_marginal_likelihood()
    for thickness in (0.2, 0.5, 1.5):
        for signal in (0.02, 0.1, 0.3, 0.6, 0.9):
            kernel = kernels.ConstantKernel(signal) * kernels.RBF(thickness)
            peer = gaussian.GaussianProcessRegressor(kernel, alpha=1 - signal, optimizer=None)
            peer.fit(points[:, :1], (energies - energies.mean()) / spread)
            assert peer.log_marginal_likelihood() <= best + 1e-6


def test_shifts_are_periodic_and_the_thickness_is_not():
    model = Surrogate(*drawn(60))
    ends = model.predict([[0.5, 0.0, 0.3], [0.5, 1.0, 0.3], [0.5, 0.4, 0.0], [0.5, 0.4, 1.0]]).mean
    assert ends[0] == pytest.approx(ends[1])
    assert ends[2] == pytest.approx(ends[3])
    low, high = model.predict([[0.0, 0.4, 0.5], [1.0, 0.4, 0.5]]).mean
    # 3 (0.49 - 0.09) apart.
    assert high - low == pytest.approx(1.2, abs=0.8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(1, 1), (2, 1), (3, 9), (1, 5)]))
def test_the_covariance_of_any_points_is_one(seed, cells):
    grid = np.array(
        [(i / cells[0], j / cells[1]) for i in range(cells[0]) for j in range(cells[1])]
    )
    rng = np.random.default_rng(seed)
    points = rng.random((20, 3))
    model = Surrogate(points, np.zeros(20), translations=grid)
    scales = rng.uniform(0.2, 2, 2)
    matrix = model._kernel(points, points, *scales)
    assert np.allclose(np.diag(matrix), 1)
    assert np.allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    moved = points + np.pad(grid[rng.integers(len(grid), size=20)], ((0, 0), (1, 0)))
    assert np.allclose(model._kernel(points, moved, *scales), matrix)


def test_what_makes_no_difference_is_learned_once():
    points, energies = drawn(60, period=9)
    host = lsc_lco_host()
    told = Surrogate(points, energies, translations=equivalent_shifts(host))
    plain = Surrogate(points, energies)
    indices = range(100, 300)
    # Nine wells along b are seen as one.
    assert landscape(told.propose(indices, 1), 9).mean() < -0.2
    assert landscape(plain.propose(indices, 1), 9).mean() > 0.1


def test_translations_of_rocksalt_slabs():
    # Both have a centred square net of like ions.
    shifts = equivalent_shifts(small_host())
    assert sorted(map(tuple, shifts.round(6).tolist())) == [(0.0, 0.0), (0.5, 0.5)]


def test_translations_of_the_published_cell():
    # det M of Table S4: 9 cells of LiCoO2 and 3 of Li3ScCl6, of which each half of the moved Cl
    # keeps all. Together a third of a and a ninth of b.
    shifts = equivalent_shifts(lsc_lco_host()) * [3, 9]
    assert len(shifts) == 27
    assert np.abs(shifts - np.rint(shifts)).max() < 1e-3


def test_a_polar_fix_that_breaks_the_period():
    # Four cells of LiCl; the Li moved in Li2O keep the five of its supercell.
    host = InterfaceSystem.from_spec(get_system("tiny-li2o-licl")).host
    shifts = equivalent_shifts(host)
    assert len(shifts) == 20
    assert (shifts[0] == 0).all()


def test_proposals_depend_on_nothing_but_seed_index_and_energies():
    points, energies = drawn(40)
    energies[::7] = np.nan
    whole = Surrogate(points, energies).propose(range(10, 20), seed=2)
    model = Surrogate(points, energies)
    parts = [model.propose(i, seed=2) for i in (range(17, 20), range(10, 17))]
    assert np.array_equal(whole, np.concatenate(parts[::-1]))
    order = np.random.default_rng(0).permutation(40)
    assert np.array_equal(
        Surrogate(points[order], energies[order]).propose(range(10, 20), 2), whole
    )
    assert not np.array_equal(model.propose(range(10, 20), seed=3), whole)
    assert model.propose([], seed=2).shape == (0, 3)


def test_little_is_known_at_first():
    points, energies = drawn(9)
    early = Surrogate(points, energies)
    assert not early.learned
    uniform = Surrogate(*drawn(50), settings=SurrogateSettings(exploration=1.0))
    assert uniform.learned
    assert np.array_equal(early.propose(range(5), 0), uniform.propose(range(5), 0))


def test_all_energies_alike():
    points = np.random.default_rng(0).random((20, 3))
    model = Surrogate(points, np.full(20, -206.0))
    assert np.allclose(model.predict(points).mean, -206.0)
    assert np.isfinite(model.propose(range(5), 0)).all()


def test_one_absurd_energy_does_not_hide_the_others():
    points, energies = drawn(120)
    energies[3] = 1e6
    proposed = Surrogate(points, energies).propose(range(100), 0)
    assert landscape(proposed).mean() < -0.2


def test_points_of_a_region_and_back():
    region = lsc_lco_parts().region.model_copy(update={"lateral_shift": (0.5, 1.0)})
    points = np.random.default_rng(0).random((30, 3))
    thickness, a, b = thickness_and_shift(points, region).T
    labels = {"thickness": thickness, "shift_a": a, "shift_b": b}
    assert np.allclose(unit_points_of(labels, region), points)
    # 4 to 6 Å; beyond that the nearer end, and 0 where there is but one thickness.
    labels = {"thickness": [3.0, 7.0, 5.0], "shift_a": [0.0] * 3, "shift_b": [0.25] * 3}
    expected = [[0, 0, 0.25], [1, 0, 0.25], [0.5, 0, 0.25]]
    assert unit_points_of(labels, region).tolist() == expected
    single = region.model_copy(update={"thickness": (5.0, 5.0)})
    assert (unit_points_of(labels, single)[:, 0] == 0).all()


def test_points_and_energies_that_do_not_fit():
    with pytest.raises(DismaiError, match="3 energies need as many finite points"):
        Surrogate(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(DismaiError, match="none of the energies is finite"):
        Surrogate(np.zeros((2, 3)), np.full(2, np.nan)).predict(np.zeros((1, 3)))


@pytest.mark.parametrize("values", [{"exploration": 1.5}, {"candidates": 0}, {"caution": 0.0}])
def test_settings_out_of_range(values):
    with pytest.raises(DismaiError, match="surrogate: "):
        SurrogateSettings(**values)
