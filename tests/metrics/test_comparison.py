"""Comparisons of means against plain loops of the published formulas, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cosine, euclidean

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.bonds import mean_bond_counts
from dismaiflow.metrics.comparison import (
    cosine_similarity,
    mean_band,
    mean_distance,
    structure_means,
    weighted_means,
)


def drawn_means(values, repetitions=1000):
    """Return the means of samples drawn one by one, as the published scripts draw them."""
    rng = np.random.default_rng(7)
    places = np.arange(len(values))
    return [
        values[rng.choice(places, size=len(values), replace=True)].mean(axis=0)
        for _ in range(repetitions)
    ]


def pivot(value, samples):
    """Wasserman, eq. 8.6, with the percentiles 2.5 and 97.5."""
    low, high = np.percentile(samples, 2.5), np.percentile(samples, 97.5)
    return 2 * value - high, 2 * value - low


@pytest.fixture(scope="module")
def fingerprints():
    """Generated structures, and the mean of a reference."""
    rng = np.random.default_rng(1)
    return rng.random((23, 30)) ** 2, rng.random((40, 30)).mean(axis=0)


def test_distance_is_that_of_the_scripts(fingerprints):
    generated, target = fingerprints
    value, interval = mean_distance(generated, target)
    wanted = euclidean(target, generated.mean(axis=0))
    samples = [euclidean(target, mean) for mean in drawn_means(generated)]
    assert value == pytest.approx(wanted, abs=1e-12)
    assert interval == pytest.approx(pivot(wanted, samples), abs=1e-12)


def test_similarity_mirrors_the_distance_of_the_scripts(fingerprints):
    generated, target = fingerprints
    value, (low, high) = cosine_similarity(generated, target)
    wanted = cosine(target, generated.mean(axis=0))
    samples = [cosine(target, mean) for mean in drawn_means(generated)]
    distance_low, distance_high = pivot(wanted, samples)
    assert value == pytest.approx(1 - wanted, abs=1e-12)
    assert (low, high) == pytest.approx((1 - distance_high, 1 - distance_low), abs=1e-12)


def test_bands_are_those_of_the_scripts(fingerprints):
    generated, _ = fingerprints
    band = mean_band(generated)
    samples = np.array(drawn_means(generated))
    for column in range(generated.shape[1]):
        mean = generated[:, column].mean()
        wanted = pivot(mean, samples[:, column])
        assert band.mean[column] == pytest.approx(mean, abs=1e-12)
        assert (band.low[column], band.high[column]) == pytest.approx(wanted, abs=1e-12)


def test_all_species_together_are_those_of_the_script():
    """Species are drawn one after the other with the same seed, then combined."""
    rng = np.random.default_rng(2)
    atoms = {"Li": 72, "Co": 36, "Sc": 12}
    generated = {species: rng.random((15, 20)) for species in atoms}
    targets = {species: rng.random(20) for species in atoms}

    def combine(parts):
        return sum(parts[species] * count for species, count in atoms.items()) / 120

    target = combine(targets)
    samples = [
        euclidean(target, combine(dict(zip(atoms, means, strict=True))))
        for means in zip(*(drawn_means(generated[species]) for species in atoms), strict=True)
    ]
    wanted = euclidean(target, combine({s: rows.mean(axis=0) for s, rows in generated.items()}))
    value, interval = mean_distance(
        weighted_means(generated, atoms),
        weighted_means({s: row[None] for s, row in targets.items()}, atoms)[0],
    )
    assert value == pytest.approx(wanted, abs=1e-12)
    assert interval == pytest.approx(pivot(wanted, samples), abs=1e-12)


def test_by_hand():
    """Means (1, 1) and (1, 0) are 1 apart and at 45 degrees."""
    generated, target = np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([1.0, 0.0])
    assert mean_distance(generated, target)[0] == pytest.approx(1)
    assert cosine_similarity(generated, target)[0] == pytest.approx(np.sqrt(0.5))


def test_weights_of_missing_species():
    """The second structure has no oxygen: its mean is that of silicon alone."""
    means = {"Si": np.array([[1.0], [4.0]]), "O": np.array([[7.0], [np.nan]])}
    combined = weighted_means(means, {"Si": [1, 3], "O": [2, 0]})
    assert combined.ravel().tolist() == [5.0, 4.0]
    with pytest.raises(DismaiError, match="no atoms"):
        weighted_means(means, {"Si": 0, "O": 0})
    with pytest.raises(DismaiError, match="are of O, Si, but atoms are counted of Si"):
        weighted_means(means, {"Si": 1})


def test_means_over_structures():
    values = [[1.0, 0], [3, 2], [10, 10], [5, 5]]
    means = structure_means(values, [1, 1, 0, 2], 4)
    np.testing.assert_array_equal(means, [[10, 10], [2, 1], [5, 5], [np.nan, np.nan]])
    chosen = structure_means(values, [1, 1, 0, 2], 3, [True, False, True, True])
    np.testing.assert_array_equal(chosen, [[10, 10], [1, 0], [5, 5]])


def test_bonds_of_a_region():
    """Scandium with 2 and 0 oxygen neighbours has one bond on average; another atom is outside."""
    oxygen_chlorine = [[2, 4], [0, 5], [6, 0], [1, 1]]
    region = [True, True, False, True]
    counts = mean_bond_counts(oxygen_chlorine, [0, 0, 0, 2], 3, region)
    np.testing.assert_array_equal(counts, [[1, 4.5], [np.nan, np.nan], [1, 1]])
    assert mean_bond_counts(oxygen_chlorine, [0] * 4, 1)[0].tolist() == [2.25, 2.5]
    with pytest.raises(DismaiError, match="do not belong"):
        mean_bond_counts(oxygen_chlorine, [0], 1)


def test_bad_shapes_are_refused(fingerprints):
    generated, target = fingerprints
    with pytest.raises(DismaiError, match="needs structures"):
        mean_distance(generated[:0], target)
    with pytest.raises(DismaiError, match="needs structures"):
        mean_band(generated[:0])
    with pytest.raises(DismaiError, match="cannot be compared"):
        cosine_similarity(generated, target[:-1])
