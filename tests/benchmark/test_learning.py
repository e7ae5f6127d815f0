"""Whether a model is shown to have learned, case by case."""

from __future__ import annotations

import pytest

from dismaiflow.benchmark.learning import NOT_SHOWN, learning_verdict
from dismaiflow.benchmark.schemas import Metric

#: Controls of an alloy by the published protocol: noise has a distance and does not fail.
CONTROLS: dict[str, dict[str, float | None]] = {
    "train-resample": {"d_cluster": 0.01, "percent_failed": 0.0},
    "random-occupancy": {"d_cluster": 0.03, "percent_failed": 0.0},
    "uniform-random": {"d_cluster": 0.1, "percent_failed": 2.0},
    "random-grid": {"d_cluster": 0.08, "percent_failed": 2.0},
    "validation": {"d_cluster": 0.01, "percent_failed": 0.0},
}


def alloy(distance: Metric | float | None, failed: float = 0.0) -> dict[str, Metric | float | None]:
    """Return the metrics of a score."""
    return {"d_cluster": distance, "percent_failed": failed}


@pytest.mark.parametrize(
    ("metrics", "shown", "knowing"),
    [
        # between random occupancy and what has seen no positions
        (alloy(0.05), True, [False, False]),
        # below random occupancy too
        (alloy(0.02), True, [False, True]),
        # below the noise, not below the grid; and as good as the grid
        (alloy(0.09), False, [False, False]),
        (alloy(0.08), False, [False, False]),
        # the distance is small, but more fail than of the noise; as many may fail
        (alloy(0.02, failed=2.1), False, [False, False]),
        (alloy(0.02, failed=2.0), True, [False, False]),
        # the interval reaches the control; the worst of three trained models does
        (alloy(Metric(value=0.07, ci95=(0.06, 0.079))), True, [False, False]),
        (alloy(Metric(value=0.07, ci95=(0.06, 0.081))), False, [False, False]),
        (alloy(Metric(value=0.07, min=0.06, max=0.09)), False, [False, False]),
        # the interval of a biased statistic lies below the value, which counts then
        (alloy(Metric(value=0.09, ci95=(0.06, 0.07))), False, [False, False]),
        # a single structure: its interval has no width
        (alloy(Metric(value=0.02, ci95=(0.02, 0.02))), False, [False, False]),
        # nothing could be scored
        (alloy(None, failed=100.0), False, [False, False]),
        ({"percent_failed": 0.0}, False, [False, False]),
    ],
)
def test_an_alloy(
    metrics: dict[str, Metric | float | None], shown: bool, knowing: list[bool]
) -> None:
    """The controls that have seen no positions decide; the others are told apart."""
    verdict = learning_verdict(metrics, CONTROLS, "alloy")
    assert verdict.shown is shown
    assert verdict.text.startswith("shown to learn" if shown else NOT_SHOWN)
    assert set(verdict.against) == {"uniform-random", "random-grid"}
    assert verdict.knowing == dict(
        zip(("train-resample", "random-occupancy"), knowing, strict=True)
    )


def test_every_distance_counts() -> None:
    """One distance that is not below that of the control is enough."""
    controls: dict[str, dict[str, float | None]] = {
        "uniform-random": {"d_rdf": 5.0, "d_angle": 0.1, "percent_failed": 0.0}
    }
    good = {"d_rdf": 1.0, "d_angle": 0.05, "percent_failed": 0.0}
    assert learning_verdict(good, controls, "amorphous").shown
    verdict = learning_verdict(good | {"d_angle": 0.2}, controls, "amorphous")
    assert not verdict.shown
    assert verdict.against == {"uniform-random": False}
    assert "does not beat uniform-random" in verdict.text


@pytest.mark.parametrize(("failed", "shown"), [(49.0, True), (51.0, False), (100.0, False)])
def test_a_control_that_fails_whole(failed: float, shown: bool) -> None:
    """Beaten by what has distances and fails less; a model of which most fails beats nothing."""
    controls: dict[str, dict[str, float | None]] = {
        "uniform-random": {"d_cluster": None, "percent_failed": 100.0}
    }
    assert learning_verdict(alloy(0.5, failed), controls, "alloy").shown is shown


def test_without_controls() -> None:
    """Nothing is shown where nothing stands beside it, and an alloy lacks random occupancy."""
    verdict = learning_verdict(alloy(0.001), {"validation": CONTROLS["validation"]}, "alloy")
    assert (verdict.shown, verdict.against, verdict.knowing) == (False, {}, {})
    assert "no control that has seen no positions" in verdict.text
    assert "random-occupancy was not scored" in verdict.text


def test_a_model_whose_atoms_have_collapsed() -> None:
    """Its distances are small, and more pairs are too close than of atoms anywhere."""
    shown = learning_verdict(alloy(0.05), CONTROLS, "alloy", close_pairs=(9.0, 10.0))
    assert shown.shown
    crowded = learning_verdict(alloy(0.05), CONTROLS, "alloy", close_pairs=(75.9, 9.7))
    assert not crowded.shown
    assert crowded.text.startswith(NOT_SHOWN)
    assert "75.9" in crowded.text
    assert "9.7" in crowded.text
    # What it does to the other controls is said all the same.
    assert "random-occupancy" in crowded.text


def test_structures_that_were_scored_as_generated() -> None:
    """Without relaxation collapsed structures do not fail: their close pairs have to be known."""
    metrics: dict[str, Metric | float | None] = {"d_all": 0.1, "percent_failed": 0.0}
    controls = {"uniform-random": {"d_all": 0.5, "percent_failed": 0.0}}
    assert learning_verdict(metrics, controls, "interface").shown
    unknown = learning_verdict(metrics, controls, "interface", as_generated=True)
    assert not unknown.shown
    assert "scored as generated" in unknown.text
    known = learning_verdict(metrics, controls, "interface", (1.0, 2.0), as_generated=True)
    assert known.shown
