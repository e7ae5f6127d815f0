"""Percentages of motifs by hand, and against a plain loop of the published procedure in pandas."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.motif_distribution import LabelledSites, motif_distribution

NAMES = [
    "tetrahedral CN_4",
    "octahedral CN_6",
    "wt CN_9",
    "sgl_bd CN_1",
    "cuboctahedral CN_12",
    "linear CN_2",
]


def sites(seed, n_structures, per_structure, weights):
    """Return sites at random; the counts of two anions."""
    rng = np.random.default_rng(seed)
    motif = rng.choice(len(NAMES), n_structures * per_structure, p=weights)
    counts = rng.integers(0, 4, (len(motif), 2))
    return LabelledSites(
        motif, np.repeat(np.arange(n_structures), per_structure), n_structures, counts
    )


def test_by_hand():
    """Four reference sites, two structures of two generated sites."""
    reference = LabelledSites([0, 1, 1, 5], [0, 0, 0, 0], 1, [[0], [2], [2], [1]])
    generated = LabelledSites([1, 0, 1, 3], [0, 0, 1, 1], 2, [[1], [0], [2], [0]])
    found = motif_distribution(generated, reference, NAMES)
    # The order of the figures; single bonds do not occur in the reference.
    assert found.motifs == ("octahedral CN_6", "tetrahedral CN_4", "linear CN_2")
    assert found.reference.tolist() == [50, 25, 25]
    assert found.generated.tolist() == [50, 25, 0]
    assert found.reference_by_count.tolist() == [[0, 0, 50], [25, 0, 0], [0, 25, 0]]
    assert found.generated_by_count.tolist() == [[0, 25, 25], [25, 0, 0], [0, 0, 0]]
    # Both structures are half octahedral, so every sample is; of the tetrahedral sites the samples
    # have 50, 25 or 0 %, each with a probability of at least a quarter.
    assert (found.low[0], found.high[0]) == (50, 50)
    assert (found.low[1], found.high[1]) == (0, 50)
    assert (found.low[2], found.high[2]) == (0, 0)


def test_equals_a_plain_loop():
    pandas = pytest.importorskip("pandas")
    reference = sites(0, 30, 6, [0.3, 0.4, 0.05, 0.005, 0.045, 0.2])
    generated = sites(1, 20, 6, [0.2, 0.2, 0.1, 0.1, 0.2, 0.2])
    found = motif_distribution(generated, reference, NAMES, anion=1)

    def table(part):
        frame = {"motif": [NAMES[code] for code in part.motif], "count": part.counts[:, 1]}
        return pandas.DataFrame(frame)

    def percent(frame, motif, count=None):
        chosen = frame["motif"] == motif
        if count is not None:
            chosen &= frame["count"] == count
        return 100 * chosen.mean()

    made, known = table(generated), table(reference)
    shares = known["motif"].value_counts(normalize=True) * 100
    assert set(found.motifs) == set(shares[shares >= 1].index)
    assert found.motifs[0] == "cuboctahedral CN_12"
    assert found.motifs[-1] == "wt CN_9"  # which the figures do not have
    rng = np.random.default_rng(7)
    samples = []
    for _ in range(1000):
        drawn = rng.choice(np.arange(20), size=20, replace=True)
        samples.append(np.concatenate([np.arange(i * 6, i * 6 + 6) for i in drawn]))
    drawn_motifs = made["motif"].to_numpy()[np.array(samples)]
    drawn_counts = made["count"].to_numpy()[np.array(samples)]
    for row, motif in enumerate(found.motifs):
        assert found.reference[row] == pytest.approx(percent(known, motif), abs=1e-10)
        value = percent(made, motif)
        boot = 100 * (drawn_motifs == motif).mean(axis=1)
        low, high = np.percentile(boot, [2.5, 97.5])
        assert found.generated[row] == pytest.approx(value, abs=1e-10)
        assert found.low[row] == pytest.approx(2 * value - high, abs=1e-10)
        assert found.high[row] == pytest.approx(2 * value - low, abs=1e-10)
        for n in range(4):
            value = percent(made, motif, n)
            boot = 100 * ((drawn_motifs == motif) & (drawn_counts == n)).mean(axis=1)
            low, high = np.percentile(boot, [2.5, 97.5])
            wanted = [percent(known, motif, n), value, 2 * value - high, 2 * value - low]
            ours = [
                found.reference_by_count[row, n],
                found.generated_by_count[row, n],
                found.low_by_count[row, n],
                found.high_by_count[row, n],
            ]
            assert ours == pytest.approx(wanted, abs=1e-10)


def test_without_counts():
    some = LabelledSites([0, 1], [0, 1], 2)
    other = LabelledSites([0, 1], [0, 1], 2, [[1], [2]])
    found = motif_distribution(other, some, NAMES)
    assert found.generated.tolist() == [50, 50]
    assert found.generated_by_count.shape == (2, 0)


def test_sites_without_a_motif_count_as_sites():
    found = motif_distribution(
        LabelledSites([0, -1], [0, 0], 1, [[1], [0]]),
        LabelledSites([0], [0], 1, [[1]]),
        NAMES,
    )
    assert found.generated.tolist() == [50]
    assert found.generated_by_count.tolist() == [[0, 50]]


def test_bad_arrays_are_refused():
    good = LabelledSites([0], [0], 1, [[1]])
    with pytest.raises(DismaiError, match="needs sites"):
        motif_distribution(LabelledSites([], [], 0), good, NAMES)
    with pytest.raises(DismaiError, match="do not belong together"):
        motif_distribution(LabelledSites([0], [1], 1), good, NAMES)
    with pytest.raises(DismaiError, match="has no name"):
        motif_distribution(LabelledSites([6], [0], 1), good, NAMES)
    with pytest.raises(DismaiError, match="no column 1"):
        motif_distribution(good, good, NAMES, anion=1)
