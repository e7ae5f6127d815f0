"""Training and validation sets of structures that descend from each other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dismaiflow.interfaces.families import divide
from dismaiflow.interfaces.ledger import INTACT, SearchLedger
from dismaiflow.interfaces.search import SearchSettings


def ledger(roots: list[int], second: list[int] | None = None) -> SearchLedger:
    made = SearchLedger.of_indices(range(len(roots)), INTACT)
    made.columns["root"] = np.array(roots)
    made.columns["second_root"] = np.array(second or roots)
    return made


def settings(method: str = "mutation", seed: int = 0) -> SearchSettings:
    return SearchSettings(2, seed=seed, method=method)


def test_random_structures_are_divided_in_their_order() -> None:
    train, val = divide(ledger([0, 1, 2, 3, 4]), np.array([0, 2, 3, 4]), 3, settings("random"))
    assert (train.tolist(), val.tolist()) == ([0, 2, 3], [4])


def test_two_parents_join_their_families() -> None:
    """5 has a part of 0's family and of 1's: 0, 1, 3, 4 and 5 are one family; 2 is alone."""
    found = ledger([0, 1, 2, 0, 1, 0], [0, 1, 2, 0, 1, 1])
    for seed in range(5):
        train, val = divide(found, np.arange(6), 5, settings(seed=seed))
        assert {*train.tolist()} in ({0, 1, 3, 4, 5}, {2})
        assert {*train.tolist()} | {*val.tolist()} == set(range(6))


def test_a_single_family_is_divided_all_the_same() -> None:
    train, val = divide(ledger([0, 0, 0, 0]), np.arange(4), 3, settings())
    assert (train.tolist(), val.tolist()) == ([0, 1, 2], [3])


@given(
    st.lists(st.integers(0, 6), min_size=7, max_size=30),
    st.integers(0, 1000),
    st.floats(0.1, 0.9),
)
def test_no_family_stands_on_both_sides(parents: list[int], seed: int, share: float) -> None:
    roots = list(range(7)) + parents
    rows = np.arange(7, len(roots))
    n_train = max(1, min(len(rows) - 1, round(share * len(rows))))
    train, val = divide(ledger(roots), rows, n_train, settings(seed=seed))
    assert sorted([*train, *val]) == rows.tolist()
    assert len(train) and len(val)
    if len(set(parents)) > 1:
        assert not {roots[i] for i in train} & {roots[i] for i in val}
