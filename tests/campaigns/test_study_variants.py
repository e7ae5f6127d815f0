"""Models of a study, controls among them."""

from __future__ import annotations

import pytest

from dismaiflow.campaigns.study_variants import equal_time_variants, model_variants
from dismaiflow.errors import DismaiError
from dismaiflow.systems.registry import get_system

SYSTEM = "alloy-1500K-wide"


def test_settings_for_all_are_for_those_that_learn() -> None:
    """A control beside them takes what names it, and is the same after any time."""
    pytest.importorskip("torch")
    settings = ["max_steps=5", "random-separated.factor=0.9", "unimat.dim=8"]
    names = "random-separated,uniform-random,unimat"
    found = model_variants(names, get_system(SYSTEM), settings=settings)
    assert [one.label for one in found] == [
        "random-separated factor=0.9",
        "uniform-random",
        "unimat max_steps=5 dim=8",
    ]
    assert [one.choice.settings for one in found[:2]] == [{"factor": 0.9}, {}]
    timed = equal_time_variants(found, 60)
    assert timed[:2] == found[:2]
    assert timed[2].label == "unimat max_steps=5 dim=8 60 s"
    assert timed[2].choice.settings["max_train_seconds"] == 60


def test_settings_of_controls_alone() -> None:
    """They are for all of them, and refused by those that have no such setting."""
    found = model_variants("random-separated", get_system(SYSTEM), settings=["factor=0.8"])
    assert found[0].choice.settings == {"factor": 0.8}
    with pytest.raises(DismaiError, match=r"model uniform-random: has no setting 'factor'"):
        model_variants("random-separated,uniform-random", get_system(SYSTEM), settings=["factor=1"])
