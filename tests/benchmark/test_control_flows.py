"""Flows of controls and datasets, and how large documents and job specs become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jobflow import JobStore

from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.benchmark import control_jobs
from dismaiflow.benchmark.control_jobs import SampleControlMaker
from dismaiflow.benchmark.count_jobs import CountSetMaker
from dismaiflow.benchmark.flows import AlloyControlsMaker, ScoreAlloyMaker
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.models.registry import get_model
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import get_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

from .conftest import (
    CORRECTED,
    PUBLISHED,
    RanJobs,
    Run,
    check_sizes,
    check_sums,
    generated_set,
    random_alloys,
    reference_set,
    small_alloy,
    strip,
)

CONTROLS = ["train-resample", "random-occupancy", "rattled", "uniform-random"]


def test_controls(run_flow: Run, jobstore: JobStore, spec: SystemSpec) -> None:
    """Scored by both protocols on the same samples; the same seed gives the same, in any chunks."""
    reference = reference_set(jobstore, spec, 30, 11)
    validation = generated_set(jobstore, random_alloys(spec, 8, seed=98), 3, name="validation")
    results = []
    for size, seed in ((250, 0), (7, 0), (7, 1)):
        maker = AlloyControlsMaker(n=25, sample_maker=SampleControlMaker(chunk_size=size))
        flow = maker.make(spec, [PUBLISHED, CORRECTED], reference, validation, seed)
        found = run_flow(flow, jobstore)
        results.append({key: ControlsDoc.model_validate(found[key]) for key in found})
    assert list(results[0]) == ["published-1-fixed", "corrected-1-registered"]
    for key, document in results[0].items():
        assert list(document.scores) == [*CONTROLS, "validation"]
        assert (document.n_sampled, document.seed) == (25, 0)
        assert document.protocol.key == key
        assert document.reference_hash == reference.content_hash
        assert strip(document) == strip(results[1][key])
        assert document.scores != results[2][key].scores
        assert document.scores["validation"] == results[2][key].scores["validation"]
        floor = document.scores["train-resample"]
        # Not so without care: the fixed alignment loses the first atom of a crystal on its sites.
        assert floor["nearest_training_median"] == 0
        assert floor["percent_with_vacancies"] == 0
        assert floor["d_cluster"] < document.scores["random-occupancy"]["d_cluster"]
        assert document.failures["train-resample"] == {}
    # Uniformly random atoms leave no site with all its neighbours along the axes.
    random = results[0]["published-1-fixed"]
    assert random.failures["uniform-random"] == {"no_lattice": 25}
    assert random.scores["uniform-random"]["d_cluster"] is None
    assert random.scores["uniform-random"]["percent_failed"] == 100


def test_a_control_that_fails_is_left_out(
    run_flow: Run, jobstore: JobStore, spec: SystemSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> Any:
        if name == "rattled":
            raise RuntimeError("no luck")
        return get_model(name)

    monkeypatch.setattr(control_jobs, "get_model", broken)
    reference = reference_set(jobstore, spec, 10)
    flow = AlloyControlsMaker(n=5).make(spec, [PUBLISHED], reference)
    document = ControlsDoc.model_validate(run_flow(flow, jobstore)[PUBLISHED.key])
    assert list(document.scores) == ["train-resample", "random-occupancy", "uniform-random"]


def test_benchmark_of_two_datasets(run_flow: Run, jobstore: JobStore, ran: RanJobs) -> None:
    """Datasets from shared runs, controls and validation on each, in one flow."""
    specs = [small_alloy("small-a"), small_alloy("small-b"), small_alloy("small-c", 900)]
    maker = AlloyBenchmarkMaker(
        dataset_maker=AlloyDatasetMaker(
            protocol="published", n_runs=2, n_passes=100, snapshot_interval=5
        ),
        controls_maker=AlloyControlsMaker(n=12, sample_maker=SampleControlMaker(chunk_size=5)),
    )
    flow = maker.make(specs, seed=4, n_structures=20)
    flow.update_metadata({"run_id": "r2"}, dynamic=True)
    output = run_flow(flow, jobstore)
    assert list(output["datasets"]) == list(output["controls"]) == [s.name for s in specs]
    for spec in specs:
        document = output["datasets"][spec.name]
        assert document.sets["train"].n_structures == 16
        train = get_structures(jobstore, document.sets["train"])
        assert train.formula(0) == "Cr6Fe19Ni7"
        for protocol in (PUBLISHED, CORRECTED):
            controls = output["controls"][spec.name][protocol.key]
            assert list(controls.scores) == [*CONTROLS, "validation"]
            assert controls.system == spec.name
            assert controls.reference_hash == train.content_hash
            assert controls.scores["validation"]["percent_failed"] == 0
    assert len(set(ran.first_names)) == len(ran.first_names)
    assert sum(name.startswith("alloy run") for name in ran.names) == 4
    check_sizes(jobstore, ran)
    for document in jobstore.docs_store.query({}):
        assert document["metadata"]["run_id"] == "r2"


def test_sizes_at_full_size(run_flow: Run, embedded: JobStore, ran: RanJobs) -> None:
    """1,000 structures of 256 atoms against 1,200, controls beside them: all below 1 MB."""
    spec = get_system("alloy-1500K-wide")
    reference = reference_set(embedded, spec, 1200)
    made = random_alloys(spec, 1000, seed=2)
    one = generated_set(embedded, made)
    scores = {f"control-{i}": dict.fromkeys("abcdefghi", 1.234567891234) for i in range(20)}
    controls = ControlsDoc(
        system=spec.name,
        protocol=PUBLISHED,
        reference_hash=reference.content_hash,
        n_sampled=1000,
        seed=0,
        scores=scores,
        failures={},
    )
    maker = ScoreAlloyMaker(count_maker=CountSetMaker(structures_per_job=50))
    flow = maker.make(spec, PUBLISHED, reference, [one], controls=controls)
    document = ScoreDoc.model_validate(run_flow(flow, embedded))
    assert document.n_scored == 1000
    assert sum(name.startswith("count alloy clusters generated 0") for name in ran.names) == 20
    check_sizes(embedded, ran)


def test_sizes_where_everything_fails(
    run_flow: Run, embedded: JobStore, spec: SystemSpec, ran: RanJobs
) -> None:
    """Three files of 5,000 frames, none of which can be read, with the longest messages."""
    reference = reference_set(embedded, spec, 5)
    nothing = StructureSet.from_atoms([])
    frames = [BadFrame(i, "unreadable", f"{i}: {'x' * 200}") for i in range(5000)]
    sets = [
        store_generated(embedded, f"{number}.extxyz", nothing, 50, nothing_at, frames)
        for number, nothing_at in enumerate([np.empty(0, dtype=np.int64)] * 3)
    ]
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, sets)
    document = ScoreDoc.model_validate(run_flow(flow, embedded))
    check_sums(document)
    assert document.failures == {"unreadable": 15000}
    assert document.failed[0].detail == frames[0].detail
    check_sizes(embedded, ran)
