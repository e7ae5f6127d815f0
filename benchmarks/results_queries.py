"""Time questions to the results store; prints JSON.

    python benchmarks/results_queries.py [--n 10000] [--others 4] [--stores embedded mongo]

Synthetic scores of the size of real ones (30 kB: 13 histograms, two structures), each with some
small documents beside it as the counting of its chunks leaves them, on the embedded store and on a
private MongoDB server (found as the tests find it). All figures are seconds of wall time of a
process that has just opened the store, except `first_build`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import bson
import numpy as np
from jobflow import JobStore
from maggma.stores import GridFSStore, MongoStore

from dismaiflow.store import embedded_jobstore
from dismaiflow.store.results import ResultsStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from mongod import HOST, run_mongod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Rounds, of which the median counts.
ROUNDS = 5

SYSTEMS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")
ALIGNMENTS = ("fixed", "translated", "rotated")
START = datetime(2026, 1, 1, tzinfo=UTC)


def score_document(number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Make the document of a job that has scored: a score every 20 minutes, of 50 models."""
    made = START + timedelta(minutes=20 * number)
    system, alignment = SYSTEMS[number % 4], ALIGNMENTS[number % 3]
    share = partial(rng.random, 25)
    histogram = {"unit": "", "edges": np.linspace(-1, 1, 26).tolist()}
    structure = {
        "symbols": ["Fe"] * 154 + ["Ni"] * 51 + ["Cr"] * 51,
        "positions": np.round(rng.random((256, 3)) * 14.4, 4).tolist(),
        "cell": (np.eye(3) * 14.4).tolist(),
    }
    value = float(rng.random())
    model = f"model-{number % 50}"
    output = {
        "kind": "score",
        "system": system,
        "protocol": {"name": "published", "version": 1, "alignment": alignment},
        "n_generated": 1000,
        "n_scored": 990,
        "failures": {"too_many_removed": 10},
        "failed": [
            {"file": 0, "index": i, "reason": "too_many_removed", "detail": ""} for i in range(10)
        ],
        "metrics": {
            "d_cluster": {"value": value, "ci95": [0.9 * value, 1.1 * value]},
            "percent_with_vacancies": {"value": 100 * value, "ci95": [0.0, 100.0]},
            "percent_failed": {"value": 1.0, "ci95": None},
        },
        "distribution": {"w1_sro": 0.01, "w1_energy": 0.002, "unique_fraction": 1.0},
        "distribution_reasons": {},
        "controls": {f"control-{i}": {"d_cluster": 0.01, "w1_sro": 0.1} for i in range(5)},
        "floor": {"d_cluster": 0.001},
        "published": {"comparable": False, "why_not": "another reference", "rows": []},
        "per_run": [],
        "histograms": {
            f"h{i}": histogram | {"generated": share().tolist(), "reference": share().tolist()}
            for i in range(13)
        },
        "examples": {"generated": structure, "reference": structure},
        "provenance": {
            "model": model,
            "reference": "train.extxyz",
            "reference_hash": "ab" * 32,
            "generated_files": ["gen.extxyz"],
            "generated_hashes": [uuid.uuid4().hex * 2],
            "bootstrap_seed": 7,
            "versions": {"dismaiflow": "0.1.0", "numpy": "2.4.0"},
            "created": made.isoformat(timespec="seconds"),
        },
    }
    protocol = f"published-1-{alignment}"
    return document(number, made, output, system=system, model=model, protocol=protocol)


def document(number: int, made: datetime, output: Any, **metadata: str) -> dict[str, Any]:
    """Make the document of a job; ten scores make a run."""
    tags = ["tenth"] if number % 10 == 0 else []
    return {
        "uuid": str(uuid.uuid4()),
        "index": 1,
        "output": output,
        "completed_at": made.replace(tzinfo=None).isoformat(),
        "metadata": {"run_id": f"{number // 10:012x}", "tags": tags, **metadata},
        "hosts": [],
        "name": "some job",
    }


def documents(n: int, others: int) -> Iterator[list[dict[str, Any]]]:
    """Yield documents, some at a time."""
    rng = np.random.default_rng(7)
    batch: list[dict[str, Any]] = []
    for number in range(n):
        batch.append(score_document(number, rng))
        counted = {"counts": uuid.uuid4().hex * 2, "n_counted": 50, "n_failed": 0}
        small = (counted, [counted] * 20)
        batch += [document(number, START, small[i % 2]) for i in range(others)]
        if len(batch) >= 500 or number == n - 1:
            yield batch
            batch = []


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(make: Callable[[], JobStore], n: int, others: int) -> dict[str, Any]:
    """Fill a store, build its collections and ask questions."""
    with make() as store:
        store.ensure_index("uuid")  # as `dismai launchpad init` does
        filling = seconds(lambda: [store.docs_store.update(d) for d in documents(n, others)])
    with make() as store:
        first = seconds(lambda: ResultsStore(store).build())

    def ask(question: Callable[[ResultsStore], Any], expected: int) -> float:
        def once() -> None:
            with make() as store, ResultsStore(store) as results:
                found = len(question(results))
                assert found == expected, (found, expected)

        return round(median(seconds(once) for _ in range(ROUNDS)), 3)

    fourth = len(range(1, n, 4))
    pair = sum(i % 4 == 1 and i % 3 == 0 and i % 50 == 3 for i in range(n))
    day = sum(timedelta(minutes=20 * i) < timedelta(days=1) for i in range(n))
    with make() as store, ResultsStore(store) as results:
        newest = seconds(lambda: store.docs_store.update(next(documents(1, 0))))
        incremental = seconds(lambda: results.scores(limit=1))
        store.remove_docs({"uuid": results.scores(system=SYSTEMS[0], until="2026-01-01")[-1].uuid})
    n_now = n  # one came, one went
    asked = {
        "by_system_model_protocol": ask(
            lambda r: r.scores(system=SYSTEMS[1], model="model-3", protocol="published-1-fixed"),
            pair,
        ),
        "by_system": ask(lambda r: r.scores(system=SYSTEMS[1]), fourth),
        "by_day": ask(lambda r: r.scores(since="2026-01-01", until="2026-01-01"), day),
        "by_metric_raw": ask(
            lambda r: r.query("scores", {"metrics.d_cluster": {"$lt": 2.0}}, limit=100), 100
        ),
        "by_tag_printed_as_json": ask(
            lambda r: [row.model_dump_json() for row in r.scores(tag="tenth")], len(range(0, n, 10))
        ),
        "all_scores": ask(lambda r: r.scores(), n_now),
        "models": ask(lambda r: r.models(system=SYSTEMS[1]), 25),
        "runs": ask(lambda r: r.runs(limit=20), 20),
    }
    return {
        "filling": round(filling, 1),
        "first_build": round(first, 1),
        "one_document_more": round(newest + incremental, 3),
        "questions": asked,
    }


@contextmanager
def stores(name: str) -> Iterator[Callable[[], JobStore]]:
    """Yield a function that opens a store."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "embedded":
            yield lambda: embedded_jobstore(Path(folder) / "store.sqlite")
            return
        with run_mongod(Path(folder)) as port:
            where = {"host": HOST, "port": port}
            yield lambda: JobStore(
                MongoStore("bench", "outputs", **where),
                additional_stores={"data": GridFSStore("bench", "outputs_blobs", **where)},
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="scores")
    parser.add_argument("--others", type=int, default=4, help="further documents of each score")
    parser.add_argument("--stores", nargs="+", default=["embedded", "mongo"])
    options = parser.parse_args()
    size = len(bson.encode(score_document(0, np.random.default_rng(0))))
    result: dict[str, Any] = {
        "what": "seconds",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "versions": {name: version(name) for name in ("dismaiflow", "maggma", "pymongo")},
        "n_scores": options.n,
        "n_documents": options.n * (1 + options.others),
        "score_bytes": size,
    }
    for name in options.stores:
        with stores(name) as make:
            result[name] = measure(make, options.n, options.others)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
