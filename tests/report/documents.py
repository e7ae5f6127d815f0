"""Documents to draw, small enough to read."""

from __future__ import annotations

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.benchmark.schemas import (
    ControlsDoc,
    Failure,
    Histogram,
    Metric,
    Provenance,
    ScoreDoc,
)
from dismaiflow.structures.dataset import DatasetCard

SYSTEM = "alloy-1500K-wide"
HASH = "ab" * 32
PAIRS = ("Cr-Cr", "Cr-Fe", "Cr-Ni", "Fe-Fe", "Fe-Ni", "Ni-Ni")
LABELS = [f"{shell}NN_{pair}" for shell in (1, 2) for pair in PAIRS]

CONTROLS = {
    "train-resample": (0.00949, 100.0, 0.0, 0.0036, 0.00391),
    "random-occupancy": (0.0277, 100.0, 0.0, 0.0613, 0.4375),
    "rattled": (0.00112, 0.0, 0.0, 0.0032, 0.0),
    "uniform-random": (None, None, 100.0, None, None),
    "validation": (0.00963, 100.0, 0.0, 0.0051, 0.4375),
}


def control_scores() -> dict[str, dict[str, float | None]]:
    """Return what controls score, about as on the full dataset."""
    return {
        name: {
            "d_cluster": distance,
            "percent_with_vacancies": vacancies,
            "percent_failed": failed,
            "w1_sro": order,
            "w1_energy": 6.8e-5,
            "spread_ratio": 1.0,
            "unique_fraction": 1.0,
            "nearest_training_median": near,
            "nearest_training_min": near,
        }
        for name, (distance, vacancies, failed, order, near) in CONTROLS.items()
    }


def make_controls(protocol: str = "published") -> ControlsDoc:
    """Return the controls of one protocol."""
    return ControlsDoc(
        system=SYSTEM,
        protocol=ScoringProtocol(name=protocol),
        reference_hash=HASH,
        n_sampled=1000,
        seed=1,
        scores=control_scores(),
        failures={"uniform-random": {"too_many_removed": 1000}},
        versions={"dismaiflow": "0.1.0"},
    )


def two_protocols() -> dict[str, ControlsDoc]:
    """Return the controls of both protocols, by key."""
    documents = [make_controls("published"), make_controls("corrected")]
    return {document.protocol.key: document for document in documents}


def make_score(**changes: object) -> ScoreDoc:
    """Return a score of one file with three failures, some fields replaced."""
    score = ScoreDoc(
        system=SYSTEM,
        protocol=ScoringProtocol(),
        n_generated=100,
        n_scored=97,
        failures={"unreadable": 2, "wrong_count": 1},
        failed=[
            Failure(file=0, index=4, reason="unreadable", detail="no positions"),
            Failure(file=0, index=9, reason="unreadable", detail="no positions"),
            Failure(file=0, index=11, reason="wrong_count", detail="has 255 atoms"),
        ],
        metrics={
            "d_cluster": Metric(value=0.012345, ci95=(0.0119, 0.0128)),
            "percent_with_vacancies": Metric(value=61.85567, ci95=(52.0, 71.0)),
            "percent_failed": Metric(value=3.0),
        },
        distribution={
            "w1_sro": 0.0061,
            "w1_energy": 0.0037,
            "spread_ratio": 1.1,
            "unique_fraction": 1.0,
            "nearest_training_median": 0.4,
            "nearest_training_min": 0.3,
        },
        controls=control_scores(),
        floor=control_scores()["train-resample"],
        published=compare_with_published(SYSTEM, HASH, "published"),
        per_run=[_run("a.extxyz", 0.012345)],
        histograms={name: _histogram("") for name in LABELS}
        | {"formation_energy": _histogram("meV/atom")},
        examples={"generated": _structure(), "reference": _structure()},
        provenance=Provenance(
            model="my-model",
            reference="data/train.extxyz",
            reference_hash=HASH,
            generated_files=["a.extxyz"],
            generated_hashes=["cd" * 32],
            bootstrap_seed=7,
            versions={"dismaiflow": "0.1.0"},
            created="2026-01-01T00:00:00+00:00",
        ),
    )
    return score.model_copy(update=changes)


def make_several() -> ScoreDoc:
    """Return a score of two files: means with minimum and maximum."""
    score = make_score()
    files = ["a.extxyz", "b.extxyz"]
    names = {"generated_files": files, "generated_hashes": ["cd" * 32, "ef" * 32]}
    return score.model_copy(
        update={
            "metrics": {
                "d_cluster": Metric(value=0.03, min=0.02, max=0.04),
                "percent_with_vacancies": Metric(value=50.0, min=40.0, max=60.0),
                "percent_failed": Metric(value=1.5, min=0.0, max=3.0),
            },
            "per_run": [_run("a.extxyz", 0.02), _run("b.extxyz", 0.04)],
            "provenance": score.provenance.model_copy(update=names),
        }
    )


def make_bare() -> ScoreDoc:
    """Return a score with nothing but failures: null metrics, no controls, nothing to draw."""
    reason = "no structure could be scored"
    return make_score(
        n_scored=0,
        failures={"no_lattice": 100},
        failed=[Failure(file=0, index=i, reason="no_lattice") for i in range(100)],
        metrics={
            "d_cluster": Metric(value=None, reason=reason),
            "percent_with_vacancies": Metric(value=None, reason=reason),
            "percent_failed": Metric(value=100.0),
        },
        distribution={"w1_sro": None, "spread_ratio": None},
        controls={},
        floor={},
        histograms={},
        examples={},
        per_run=[],
        published=compare_with_published("no-such-system", HASH, "published"),
    )


def make_comparable() -> ScoreDoc:
    """Return a score that stands in rank with the published ones."""
    published = compare_with_published(SYSTEM, HASH, "published")
    return make_score(published=published.model_copy(update={"comparable": True, "why_not": None}))


def make_card(system: str = SYSTEM) -> DatasetCard:
    """Return the card of a dataset, with a warning."""
    observables = [*LABELS, "energy", "order_Cr"]
    values = {
        "mean": 0.1,
        "std": 0.05,
        "standard_error": 0.001,
        "autocorrelation_passes": 120.0,
        "n_effective": 4000.0,
        "r_hat": None,
    }
    return DatasetCard(
        system=system,
        kind="alloy",
        composition={"Fe": 154, "Ni": 51, "Cr": 51},
        cell=[[14.4, 0.0, 0.0], [0.0, 14.4, 0.0], [0.0, 0.0, 14.4]],
        counts={"train": 1200, "val": 300},
        sha256={"train.extxyz": "12" * 32, "val.extxyz": "34" * 32},
        content_hashes={"train": HASH, "val": "56" * 32},
        protocol={"name": "corrected", "temperature": 1500.0, "n_runs": 10, "runs_missing": 1},
        seeds={"seed": 1},
        versions={"dismaiflow": "0.1.0"},
        created="2026-01-01T00:00:00+00:00",
        statistics={
            "sampling": {
                "snapshot_interval": 10,
                "parameters": {name: dict(values) for name in observables},
                "limiting_parameter": "2NN_Cr-Ni",
                "n_effective": 4000.4,
                "inefficiency": 12.0,
                "r_hat": None,
                "agreement": "undecided",
            },
            "selection": {"n": 1500, "n_independent": 871, "n_independent_available": 900},
            "warren_cowley": {name: {"mean": 0.1, "std": 0.02} for name in LABELS},
        },
        warnings=["the runs at 1500 K are too short to show that they agree"],
    )


def _run(name: str, distance: float) -> dict[str, object]:
    return {
        "file": name,
        "n_generated": 100,
        "n_scored": 97,
        "failures": {},
        "metrics": {"d_cluster": {"value": distance, "ci95": [0.9 * distance, 1.1 * distance]}},
        "distribution": {},
    }


def _histogram(unit: str) -> Histogram:
    return Histogram(
        unit=unit,
        edges=[0.0, 0.1, 0.2, 0.3, 0.4],
        generated=[0.0, 0.5, 0.5, 0.0],
        reference=[0.25, 0.25, 0.25, 0.25],
    )


def _structure() -> dict[str, object]:
    """Return one conventional cell of an ordered alloy."""
    return {
        "symbols": ["Fe", "Ni", "Cr", "Fe"],
        "positions": [[0.0, 0.0, 0.0], [0.0, 1.8, 1.8], [1.8, 0.0, 1.8], [1.8, 1.8, 0.0]],
        "cell": [[3.6, 0.0, 0.0], [0.0, 3.6, 0.0], [0.0, 0.0, 3.6]],
    }
