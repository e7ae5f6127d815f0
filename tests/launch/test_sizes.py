"""How large everything becomes on a real server, at the size of the paper's datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
import pytest
from jobflow.core.reference import find_and_resolve_references

from benchmark.conftest import MEGABYTE, PUBLISHED, generated_set, random_alloys, reference_set
from dismaiflow.benchmark import count_jobs
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser
from dismaiflow.benchmark.flows import ScoreAlloyMaker
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.launch.recovery import retry
from dismaiflow.launch.submit import submit
from dismaiflow.store.blobs import MAX_BLOB_BYTES
from dismaiflow.systems import get_system

from .test_submit import Bench, bench

if TYPE_CHECKING:
    from jobflow import Flow

__all__ = ["bench"]

#: Structures of 256 atoms: as many as in a dataset of the paper.
N = 1500


def paper_size_flow(bench: Bench) -> Flow:
    """Return a score of 1,500 structures against 1,200, in one job for each 50."""
    spec = get_system("alloy-1500K-wide")
    reference = reference_set(bench.store, spec, 1200)
    one = generated_set(bench.store, random_alloys(spec, N, seed=5))
    maker = ScoreAlloyMaker()
    maker.count_maker.structures_per_job = 50
    return maker.make(spec, PUBLISHED, reference, [one])


def largest(bench: Bench) -> dict[str, int]:
    """Return the size of the largest document of each collection, and of the largest blob."""
    found = {}
    # the fixture keeps LaunchPad and results in two databases of one server
    results = bench.store.docs_store._collection.database
    for database in (bench.launchpad.db, results):
        for name in database.list_collection_names():
            if name.endswith(".chunks"):
                continue  # what GridFS cuts blobs into: 255 kB each
            sizes = [len(bson.encode(document)) for document in database[name].find()]
            found[f"{database.name}.{name}"] = max(sizes, default=0)
            if name.endswith(".files"):
                lengths = [document["length"] for document in database[name].find()]
                found["blob"] = max([found.get("blob", 0), *lengths])
    return found


def check(sizes: dict[str, int]) -> None:
    """Nothing exceeds the limits of the design."""
    blob = sizes.pop("blob")
    assert 10_000 < blob < MAX_BLOB_BYTES
    assert len(sizes) > 5
    for name, size in sizes.items():
        assert size < MEGABYTE, name


@pytest.mark.slow
def test_sizes_of_a_run_of_the_papers_size(bench: Bench) -> None:
    """1,500 structures, 60 jobs."""
    flow = paper_size_flow(bench)
    submit(flow, bench.launchpad)
    bench.work("cpu")
    document = ScoreDoc.model_validate(find_and_resolve_references(flow.output, bench.store))
    assert document.n_scored == N
    assert bench.states() == {"COMPLETED": 2 + 30 + 24 + 2 + 1}
    check(largest(bench))


@pytest.mark.slow
def test_sizes_where_every_chunk_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of a failed parent gets into a spec; the score is there, whole after a retry."""

    def fail(*_: Any) -> None:
        raise RuntimeError("no" * 200)

    flow = paper_size_flow(bench)
    submitted = submit(flow, bench.launchpad)
    with monkeypatch.context() as patch:
        patch.setattr(count_jobs.AlloyAnalyser, "count_generated", fail)
        bench.work("cpu")
    document = ScoreDoc.model_validate(find_and_resolve_references(flow.output, bench.store))
    assert document.failures == {"job_failed": N}
    sizes = largest(bench)
    check(sizes)
    assert max(len(bson.encode(fw)) for fw in bench.launchpad.fireworks.find({})) < 50_000
    assert AlloyAnalyser.count_generated is not fail
    assert len(retry(bench.launchpad, submitted.run_id, 300, bench.store).rerun) == 30
    bench.work("cpu")
    document = ScoreDoc.model_validate(find_and_resolve_references(flow.output, bench.store))
    assert document.n_scored == N
    check(largest(bench))
