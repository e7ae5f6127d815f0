"""Job documents to query, as jobflow writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobflow import JobStore

REFERENCE = "ab" * 32
GENERATED = "cd" * 32


def job_document(uuid: str, output: Any, **changes: Any) -> dict[str, Any]:
    """Return the document of a job."""
    document = {
        "uuid": uuid,
        "index": 1,
        "output": output,
        "completed_at": "2026-03-01T12:00:00.000001",
        "metadata": {"run_id": "run000000001", "system": "alloy-300K-wide", "tags": ["first"]},
        "hosts": [],
        "name": "some job",
    }
    return document | changes


def score_output(**changes: Any) -> dict[str, Any]:
    """Return a score as a job leaves it."""
    output = {
        "kind": "score",
        "system": "alloy-300K-wide",
        "protocol": {"name": "published", "version": 1, "alignment": "fixed"},
        "n_generated": 100,
        "n_scored": 97,
        "failures": {"unreadable": 2, "wrong_count": 1},
        "failed": [],
        "metrics": {
            "d_cluster": {"value": 0.0125, "ci95": [0.012, 0.013], "min": None, "max": None},
            "percent_failed": {"value": 3.0, "ci95": None, "min": None, "max": None},
        },
        "distribution": {"w1_sro": 0.25},
        "floor": {"d_cluster": 0.001},
        "published": {"comparable": False, "why_not": "another reference", "rows": []},
        "provenance": {
            "model": "gen",
            "reference": "train.extxyz",
            "reference_hash": REFERENCE,
            "generated_files": ["gen.extxyz"],
            "generated_hashes": [GENERATED],
            "bootstrap_seed": 7,
            "versions": {"dismaiflow": "0.1.0"},
            "created": "2026-03-01T10:00:00+00:00",
        },
    }
    return output | changes


def score_document(
    uuid: str,
    model: str = "gen",
    created: str = "2026-03-01T10:00:00+00:00",
    value: float | None = 0.0125,
    system: str = "alloy-300K-wide",
    protocol: tuple[str, int, str] = ("published", 1, "fixed"),
    **changes: Any,
) -> dict[str, Any]:
    """Return the document of a job that has scored."""
    output = score_output(
        system=system, protocol=dict(zip(("name", "version", "alignment"), protocol, strict=True))
    )
    output["metrics"]["d_cluster"]["value"] = value
    output["provenance"] |= {"model": model, "created": created}
    return job_document(uuid, output, **changes)


def dataset_output(**changes: Any) -> dict[str, Any]:
    """Return a dataset as a job leaves it."""
    output = {
        "kind": "dataset",
        "system": "alloy-300K-wide",
        "card": {
            "system": "alloy-300K-wide",
            "kind": "alloy",
            "composition": {"Fe": 154, "Ni": 51, "Cr": 51},
            "cell": [[14.4, 0.0, 0.0], [0.0, 14.4, 0.0], [0.0, 0.0, 14.4]],
            "counts": {"train": 32, "val": 8},
            "content_hashes": {"train": REFERENCE, "val": "ef" * 32},
            "protocol": {"name": "corrected"},
            "seeds": {"seed": 5},
            "statistics": {"sampling": {"agreement": "agree", "n_effective": 20.5}},
            "warnings": ["short"],
            "created": "2026-02-28T23:30:00+00:00",
            "versions": {"dismaiflow": "0.1.0"},
        },
        "sets": {},
    }
    return output | changes


def put(jobstore: JobStore, *documents: dict[str, Any]) -> None:
    """Write documents as jobflow does."""
    jobstore.update(list(documents))
