from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dismaiflow.interfaces.exchanges import exchange, label_of

LI, OX, CL, SC, CO = 3, 8, 17, 21, 27
LIMITS = {"Sc-Co": 3, "Li-Co": 3, "Cl-O": 6}

# The region of lsc-lco, its top LiCoO2 plane, and some of the rest.
NUMBERS = np.array(
    [LI] * 9
    + [SC] * 3
    + [CL] * 18
    + [LI] * 9
    + [CO] * 9
    + [OX] * 18
    + [LI] * 4
    + [CO] * 4
    + [OX] * 8,
    dtype=np.uint8,
)
REGION = np.arange(len(NUMBERS)) < 30
LAYER = (np.arange(len(NUMBERS)) >= 30) & (np.arange(len(NUMBERS)) < 66)


def test_each_kind_occurs_with_its_frequency():
    drawn = [
        exchange(NUMBERS, REGION, LAYER, LIMITS, np.random.default_rng(i))[1] for i in range(1000)
    ]
    for pair, limit in LIMITS.items():
        counts = np.bincount([counts[pair] for counts in drawn], minlength=limit + 1)
        assert len(counts) == limit + 1
        assert stats.chisquare(counts).pvalue > 0.01
    # The kinds are drawn independently of each other.
    table = np.zeros((4, 7))
    np.add.at(table, ([c["Sc-Co"] for c in drawn], [c["Cl-O"] for c in drawn]), 1)
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_each_atom_is_as_likely_as_its_like():
    touched = np.zeros(len(NUMBERS))
    for i in range(1000):
        touched += exchange(NUMBERS, REGION, LAYER, LIMITS, np.random.default_rng(i))[0] != NUMBERS
    for own in (REGION & (NUMBERS == LI), REGION & (NUMBERS == CL), LAYER & (NUMBERS == OX)):
        # On average 1.5 of 9, 3 of 18 and 3 of 18 a structure.
        assert touched[own].sum() / 1000 == pytest.approx(3 if own.sum() == 18 else 1.5, rel=0.1)
        assert stats.chisquare(touched[own]).pvalue > 0.01
    assert not touched[LAYER & (NUMBERS == LI)].any()
    assert not touched[~REGION & ~LAYER].any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.dictionaries(st.sampled_from(list(LIMITS)), st.integers(0, 12), min_size=1),
)
def test_composition_and_counts(seed, limits):
    after, counts = exchange(NUMBERS, REGION, LAYER, limits, np.random.default_rng(seed))
    assert Counter(after.tolist()) == Counter(NUMBERS.tolist())
    assert set(counts) == set(limits)
    assert all(counts[pair] <= limit for pair, limit in limits.items())
    # Every exchange changes one atom here and one there, so none was touched twice.
    total = sum(counts.values())
    assert (after != NUMBERS)[REGION].sum() == total
    assert (after != NUMBERS)[LAYER].sum() == total
    assert (after[LAYER] == SC).sum() == counts.get("Sc-Co", 0)
    assert (after[LAYER] == LI).sum() == 9 + counts.get("Li-Co", 0)
    assert (after[LAYER] == CL).sum() == counts.get("Cl-O", 0)


def test_what_is_not_there_is_not_exchanged():
    # Two Co in the layer: the first pair may take both, the second gets what is left.
    numbers = np.array([SC] * 4 + [LI] * 4 + [CO] * 2, dtype=np.uint8)
    region = np.arange(10) < 8
    seen = set()
    for seed in range(200):
        _, counts = exchange(
            numbers, region, ~region, {"Sc-Co": 4, "Li-Co": 4}, np.random.default_rng(seed)
        )
        seen.add((counts["Sc-Co"], counts["Li-Co"]))
    assert seen == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)}


def test_a_chain_of_pairs_touches_no_atom_twice():
    # What has become Co in the region is not exchanged on for O.
    numbers = np.array([SC] * 3 + [CO] * 3 + [OX] * 3, dtype=np.uint8)
    region = np.arange(9) < 3
    for seed in range(50):
        after, counts = exchange(
            numbers, region, ~region, {"Sc-Co": 3, "Co-O": 3}, np.random.default_rng(seed)
        )
        assert counts["Co-O"] == 0
        assert (after != numbers).sum() == 2 * counts["Sc-Co"]


def test_same_seed_same_exchange():
    first, second = (
        exchange(NUMBERS, REGION, LAYER, LIMITS, np.random.default_rng(7))[0] for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_label():
    assert label_of("Sc-Co") == "exchanged_Sc_Co"
