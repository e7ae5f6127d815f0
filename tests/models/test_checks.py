"""Generated sets against what was asked for: every structure is sound or counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.models.checks import as_read, validate_generated
from dismaiflow.structures.checks import Expectation
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet

CELL = 3.6 * np.eye(3)
GOOD = StructureSet.uniform([[26, 28]], [[[0, 0, 0], [1.8, 1.8, 0]]], CELL)
EXPECTED = Expectation({26: 1, 28: 1}, CELL)

#: One structure of each kind of failure.
WRONG = {
    "not_finite": StructureSet.uniform([[26, 28]], [[[0, 0, 0], [np.nan, 0, 0]]], CELL),
    "foreign_element": StructureSet.uniform([[26, 29]], GOOD.positions[None], CELL),
    "wrong_count": StructureSet.uniform([[26, 28, 28]], np.zeros((1, 3, 3)), CELL),
    "wrong_composition": StructureSet.uniform([[26, 26]], GOOD.positions[None], CELL),
    "wrong_cell": StructureSet.uniform([[26, 28]], GOOD.positions[None], 1.01 * CELL),
}


@given(
    kinds=st.lists(st.sampled_from(["good", "unreadable", *WRONG]), max_size=12),
    missing=st.integers(0, 3),
)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_all_are_counted_once(kinds: list[str], missing: int) -> None:
    """Sound ones and failures by reason are all that were asked for."""
    readable = [i for i, kind in enumerate(kinds) if kind != "unreadable"]
    sampled = ReadStructures(
        StructureSet.concatenate([WRONG.get(kinds[i], GOOD) for i in readable]),
        np.array(readable, dtype=np.int64),
        [BadFrame(i, k, "no number") for i, k in enumerate(kinds) if k == "unreadable"],
    )
    n = len(kinds) + missing
    found = validate_generated(sampled, n, EXPECTED)
    expected = Counter(kind for kind in kinds if kind != "good")
    if missing:
        expected["missing"] = missing
    assert found.reasons == dict(expected)
    assert found.first.keys() == found.reasons.keys()
    assert found.n_asked == n
    assert found.n_sound == kinds.count("good") == n - sum(found.reasons.values())


def test_a_plain_set_has_its_frames_in_order() -> None:
    found = as_read(GOOD.select([0, 0]), 4)
    assert (found.n_frames, len(found.structures)) == (4, 2)
    assert found.indices.tolist() == [0, 1]
    assert [(bad.index, bad.reason) for bad in found.bad] == [(2, "missing"), (3, "missing")]
    assert found.bad[0].detail == "2 of 4 structures were generated"


def test_what_nobody_asked_for_is_left_out() -> None:
    found = as_read(GOOD.select([0, 0, 0]), 2)
    assert (found.n_frames, len(found.structures), found.bad) == (2, 2, [])
