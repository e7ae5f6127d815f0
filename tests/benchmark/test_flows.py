"""Flows that score and sample controls, run here on both kinds of store."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import bson
import numpy as np
import pytest
from jobflow import Flow, JobStore, run_locally

from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.benchmark import control_jobs
from dismaiflow.benchmark import jobs as benchmark_jobs
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.control_jobs import SampleControlMaker
from dismaiflow.benchmark.flows import AlloyControlsMaker, ScoreAlloyMaker
from dismaiflow.benchmark.jobs import store_generated
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.models.registry import get_model
from dismaiflow.progress import listening
from dismaiflow.store.blobs import MAX_BLOB_BYTES
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

from .conftest import RanJobs, generated_set, random_alloys, reference_set, small_alloy
from .test_published_alloy import DATA, MANIFEST, inputs

PUBLISHED = ScoringProtocol(name="published")
CORRECTED = ScoringProtocol(name="corrected")
CONTROLS = ["train-resample", "random-occupancy", "rattled", "uniform-random"]

#: The limit of the design on documents and job specs (bytes of BSON).
MEGABYTE = 1_000_000

#: A function that runs a flow here and returns its output.
Run = Callable[[Flow, JobStore], Any]


def spoilt(spec: SystemSpec, n: int = 98, seed: int = 1) -> tuple[StructureSet, dict[str, int]]:
    """Return structures of which six cannot be scored, and the reasons.

    Under the fixed alignment, one whose atoms stand 1.8 A from every site shows no lattice.
    """
    atoms = list(random_alloys(spec, n, seed))
    atoms[3].positions[5, 1] = np.nan
    atoms[10].numbers[0] = 13
    del atoms[20][-1]
    atoms[30].numbers[[0, -1]] = [24, 24]
    atoms[40].set_cell(atoms[40].cell.array * 1.01)
    atoms[60].positions += [1.8, 0, 0]
    reasons = [
        "not_finite",
        "foreign_element",
        "wrong_count",
        "wrong_composition",
        "wrong_cell",
        "no_lattice",
    ]
    return StructureSet.from_atoms(atoms), dict.fromkeys(reasons, 1)


def strip(document: ScoreDoc | ControlsDoc) -> dict[str, Any]:
    """Return a document without the time it was made."""
    plain = json.loads(document.model_dump_json())
    plain.get("provenance", {}).pop("created", None)
    return plain


def check_sums(document: ScoreDoc) -> None:
    """Nothing is lost, nothing counted twice, nothing NaN."""
    assert document.n_generated == document.n_scored + sum(document.failures.values())
    assert len(document.failed) == min(sum(document.failures.values()), 1000)
    assert len({(f.file, f.index) for f in document.failed}) == len(document.failed)
    for part in document.per_run:
        assert part["n_generated"] == part["n_scored"] + sum(part["failures"].values())
    assert sum(part["n_generated"] for part in document.per_run) == document.n_generated

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in score.json")

    json.loads(document.model_dump_json(), parse_constant=refuse)


def check_sizes(store: JobStore, ran: RanJobs | None = None) -> None:
    """No document and no job spec above 1 MB, no blob above 16 MB."""
    documents = [len(bson.encode(d)) for d in store.docs_store.query({})]
    blobs = [len(bson.encode(d)) for d in store.additional_stores["data"].query({})]
    assert documents
    assert blobs
    assert max(documents) < MEGABYTE
    assert max(blobs) < MAX_BLOB_BYTES
    if ran is not None:
        assert ran.sizes
        assert max(ran.sizes.values()) < MEGABYTE, ran.sizes


def score(
    run_flow: Run,
    store: JobStore,
    spec: SystemSpec,
    *generated: Any,
    protocol: ScoringProtocol = PUBLISHED,
    n_reference: int = 30,
    chunk_size: int = 50,
    **options: Any,
) -> ScoreDoc:
    """Score generated sets against random alloys."""
    reference = reference_set(store, spec, n_reference, chunk_size)
    flow = ScoreAlloyMaker().make(spec, protocol, reference, list(generated), **options)
    document = ScoreDoc.model_validate(run_flow(flow, store))
    check_sums(document)
    return document


def test_chunks_make_no_difference(run_flow: Run, jobstore: JobStore, spec: SystemSpec) -> None:
    """Bad structures and unreadable frames included, on both stores."""
    structures, reasons = spoilt(spec)
    found = []
    for size in (50, 7):
        one = generated_set(jobstore, structures, size, unreadable=(50, 99))
        found.append(score(run_flow, jobstore, spec, one, chunk_size=size))
    assert strip(found[0]) == strip(found[1])
    document = found[0]
    assert (document.n_generated, document.n_scored) == (100, 92)
    assert document.failures == reasons | {"unreadable": 2}
    assert [(f.index, f.reason) for f in document.failed] == [
        (3, "not_finite"),
        (10, "foreign_element"),
        (20, "wrong_count"),
        (30, "wrong_composition"),
        (40, "wrong_cell"),
        (50, "unreadable"),
        (61, "no_lattice"),
        (99, "unreadable"),
    ]
    assert document.metrics["percent_failed"].value == 8
    assert document.metrics["percent_with_vacancies"].value == 0
    distance = document.metrics["d_cluster"]
    assert distance.value is not None
    assert distance.ci95 is not None
    assert 0 < distance.value < 0.1


def test_protocols_and_stores_agree_on_full_crystals(
    run_flow: Run, jobstore: JobStore, spec: SystemSpec
) -> None:
    """Without vacancies the two protocols differ by the rounding of counts only."""
    made = random_alloys(spec, 20, seed=5)
    values = []
    for protocol in (PUBLISHED, CORRECTED):
        one = generated_set(jobstore, made, 6)
        document = score(run_flow, jobstore, spec, one, protocol=protocol)
        assert document.n_scored == 20
        assert document.protocol == protocol
        values.append(document.metrics["d_cluster"].value)
    assert values[0] == pytest.approx(values[1], abs=2e-5)


@pytest.mark.parametrize("alignment", ["fixed", "translated", "rotated"])
def test_the_published_numbers_through_a_flow(
    run_flow: Run, embedded: JobStore, alignment: Any
) -> None:
    """The members of the test data in chunks of seven, to 1e-9."""
    what = MANIFEST["metrics"][alignment]
    structures = StructureSet.concatenate([inputs(s).select([i]) for s, i in what["members"]])
    reference = put_structures(embedded, inputs("reference"), 4)
    flow = ScoreAlloyMaker().make(
        get_system("alloy-300K-wide"),
        ScoringProtocol(alignment=alignment),
        reference,
        [generated_set(embedded, structures, 7)],
    )
    document = ScoreDoc.model_validate(run_flow(flow, embedded))
    check_sums(document)
    assert (document.n_generated, document.n_scored) == (what["n_strucs_ori"], what["n_accepted"])
    lines = (DATA / f"metrics_{alignment}.csv").read_text().splitlines()[1:]
    expected = [float(line.split(",")[1]) for line in lines]
    found = [
        document.metrics[name].value
        for name in ("percent_failed", "d_cluster", "percent_with_vacancies")
    ]
    assert found == pytest.approx(expected, abs=1e-9)


class BrokenAnalyser(AlloyAnalyser):
    """Fails on the chunk that holds structure 14 of a generated set."""

    def count_generated(self, structures: StructureSet, indices: Any) -> AlloyCounts:
        if 14 in indices:
            raise RuntimeError("the node went down")
        return super().count_generated(structures, indices)


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_a_failed_chunk_costs_its_structures_only(
    run_flow: Run,
    jobstore: JobStore,
    spec: SystemSpec,
    monkeypatch: pytest.MonkeyPatch,
    protocol: ScoringProtocol,
) -> None:
    """Frames 14 to 20, without the unreadable one, are lost; the others score as if alone."""
    made = random_alloys(spec, 39, seed=2)
    one = generated_set(jobstore, made, 7, unreadable=(16,))
    with monkeypatch.context() as patch:
        patch.setattr(benchmark_jobs, "AlloyAnalyser", BrokenAnalyser)
        document = score(run_flow, jobstore, spec, one, protocol=protocol)
    lost = [14, 15, 17, 18, 19, 20, 21]
    assert document.failures == {"job_failed": 7, "unreadable": 1}
    assert [f.index for f in document.failed if f.reason == "job_failed"] == lost
    assert document.n_scored == 32
    assert document.examples["generated"]["symbols"]

    places = np.setdiff1d(np.arange(40), [16])
    others = made.select(np.flatnonzero(~np.isin(places, lost)))
    alone = score(run_flow, jobstore, spec, generated_set(jobstore, others, 50), protocol=protocol)
    assert alone.n_scored == 32
    assert document.metrics["d_cluster"] == alone.metrics["d_cluster"]


def test_a_lost_blob_costs_its_structures_only(
    run_flow: Run, jobstore: JobStore, spec: SystemSpec
) -> None:
    """Structures that are no longer in the store fail with their job, the first chunk too."""
    one = generated_set(jobstore, random_alloys(spec, 20, seed=3), 7)
    gone = one.structures.chunks[0]
    jobstore.additional_stores["data"].remove_docs({"blob_uuid": gone})
    document = score(run_flow, jobstore, spec, one)
    assert document.failures == {"job_failed": 7}
    assert [f.index for f in document.failed] == list(range(7))
    assert document.n_scored == 13


def test_a_set_whose_job_failed_is_lost_whole(
    run_flow: Run, jobstore: JobStore, spec: SystemSpec
) -> None:
    """The job that was to cut it into chunks meets a damaged list; the other file is scored."""
    made = random_alloys(spec, 12, seed=4)
    sets = [generated_set(jobstore, made, 5, name=f"{i}.extxyz") for i in range(2)]
    sets[0].structures.chunk_sizes.pop()
    document = score(run_flow, jobstore, spec, *sets)
    assert document.failures == {"job_failed": 12}
    assert {f.file for f in document.failed} == {0}
    assert document.n_scored == 12
    assert document.metrics["d_cluster"].value is not None
    assert document.metrics["d_cluster"].reason == "1 of 2 files have no such value"


def failing_message(
    flow: Flow, store: JobStore, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> str:
    """Run a flow whose last job must fail, and return what the manager said of it."""
    with caplog.at_level(logging.INFO, logger="jobflow.managers.local"):
        responses = run_locally(flow, store=store, root_dir=tmp_path / "jobs", log=False)
    assert flow.job_uuids[-1] not in responses
    return caplog.records[-2].getMessage().strip().splitlines()[-1]


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return a log that hears jobflow, whatever earlier tests did to its logger."""
    logging.getLogger("jobflow").propagate = True
    logging.getLogger("jobflow.managers.local").propagate = True
    return caplog


def test_a_bad_reference_is_an_error_that_names_the_structure(
    embedded: JobStore, spec: SystemSpec, tmp_path: Any, heard: pytest.LogCaptureFixture
) -> None:
    """Its place in the set, not in its chunk."""
    atoms = list(random_alloys(spec, 12, seed=6, shift=0.0))
    atoms[9].numbers[0] = 13
    reference = put_structures(embedded, StructureSet.from_atoms(atoms), 5)
    one = generated_set(embedded, random_alloys(spec, 3, seed=7))
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, [one])
    message = failing_message(flow, embedded, tmp_path, heard)
    assert message == (
        "dismaiflow.errors.DismaiError: reference structure 9 cannot be counted: "
        "holds Al, which Cr6Fe19Ni7 does not"
    )


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("chunk", "the job that was to count reference chunk 1 did not finish"),
        ("set", "the job that was to count the reference did not finish"),
    ],
)
def test_a_lost_reference_is_an_error(
    embedded: JobStore,
    spec: SystemSpec,
    tmp_path: Any,
    heard: pytest.LogCaptureFixture,
    what: str,
    expected: str,
) -> None:
    """A score against half of the reference would be another score."""
    reference = reference_set(embedded, spec, 12, 5)
    if what == "chunk":
        embedded.additional_stores["data"].remove_docs({"blob_uuid": reference.chunks[1]})
    else:
        reference.chunk_sizes.pop()
    one = generated_set(embedded, random_alloys(spec, 3, seed=7))
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, [one])
    message = failing_message(flow, embedded, tmp_path, heard)
    assert message == f"dismaiflow.errors.DismaiError: {expected}"


def test_an_empty_reference_is_an_error(
    embedded: JobStore, spec: SystemSpec, tmp_path: Any, heard: pytest.LogCaptureFixture
) -> None:
    reference = put_structures(embedded, StructureSet.from_atoms([]), 5)
    one = generated_set(embedded, random_alloys(spec, 3, seed=7))
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, [one])
    message = failing_message(flow, embedded, tmp_path, heard)
    assert message.endswith("DismaiError: the reference holds no structures")


def test_nothing_scored(run_flow: Run, jobstore: JobStore, spec: SystemSpec) -> None:
    """Null with a reason, no crash: every structure bad, or every frame unreadable."""
    made = random_alloys(spec, 5, seed=8)
    bad = StructureSet.from_atoms(list(made))
    bad.positions[:] = np.nan
    for one in (
        generated_set(jobstore, bad, 2),
        generated_set(jobstore, StructureSet.from_atoms([]), unreadable=(0, 1, 2, 3, 4)),
    ):
        document = score(run_flow, jobstore, spec, one)
        assert (document.n_generated, document.n_scored) == (5, 0)
        for name in ("d_cluster", "percent_with_vacancies"):
            metric = document.metrics[name]
            assert (metric.value, metric.ci95) == (None, None)
            assert metric.reason == "no structure could be scored"
        assert document.metrics["percent_failed"].value == 100
        assert set(document.distribution.values()) == {None}
        assert document.histograms == {}
        assert list(document.examples) == ["reference"]


def test_several_files(run_flow: Run, jobstore: JobStore, spec: SystemSpec) -> None:
    """Mean, minimum and maximum of the files; counts summed; no interval."""
    structures, reasons = spoilt(spec)
    sets = [
        generated_set(jobstore, random_alloys(spec, 30, seed=1), 7, name="a.extxyz"),
        generated_set(jobstore, structures, 30, unreadable=(0,), name="b.extxyz"),
        generated_set(jobstore, random_alloys(spec, 10, seed=3), 50, name="c.extxyz"),
    ]
    document = score(run_flow, jobstore, spec, *sets, model="three", reference_name="random")
    alone = [score(run_flow, jobstore, spec, one) for one in sets]
    assert document.n_generated == 30 + 99 + 10
    assert document.failures == reasons | {"unreadable": 1}
    assert {f.file for f in document.failed} == {1}
    for name, metric in document.metrics.items():
        values = [one.metrics[name].value for one in alone]
        assert metric.value == pytest.approx(np.mean(values), abs=1e-15)
        assert (metric.min, metric.max) == (min(values), max(values))
        assert metric.ci95 is None
    assert document.metrics["percent_failed"].max == pytest.approx(700 / 99)
    assert [part["file"] for part in document.per_run] == ["a.extxyz", "b.extxyz", "c.extxyz"]
    for part, one in zip(document.per_run, alone, strict=True):
        assert part["metrics"]["d_cluster"]["ci95"] == list(one.metrics["d_cluster"].ci95 or ())
        assert part["distribution"] == one.distribution
    assert document.provenance.model == "three"
    assert document.provenance.reference == "random"
    assert document.provenance.generated_files == ["a.extxyz", "b.extxyz", "c.extxyz"]
    assert len(set(document.provenance.generated_hashes)) == 3


def test_names_and_metadata_of_jobs(
    run_flow: Run, embedded: JobStore, spec: SystemSpec, ran: RanJobs
) -> None:
    """Every job, those of replacements too, bears the metadata; no two have one name."""
    reference = reference_set(embedded, spec, 12, 5)
    sets = [generated_set(embedded, random_alloys(spec, 12, seed=i), 5) for i in range(2)]
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, sets)
    metadata = {"run_id": "r1", "system": spec.name, "model": "m", "protocol": PUBLISHED.key}
    flow.update_metadata(metadata, dynamic=True)
    run_flow(flow, embedded)
    # Three sets: one job each to cut them, three chunks, one to gather; one to score.
    assert len(ran.first_names) == 3 * 5 + 1
    assert len(set(ran.first_names)) == len(ran.first_names)
    assert "count alloy clusters generated 1 2" in ran.first_names
    for document in embedded.docs_store.query({}):
        assert metadata.items() <= document["metadata"].items(), document["name"]
    assert all(metadata.items() <= found.items() for found in ran.metadata)


def test_controls_stand_beside_a_score(run_flow: Run, embedded: JobStore, spec: SystemSpec) -> None:
    reference = reference_set(embedded, spec, 30)
    made = AlloyControlsMaker(n=20).make(spec, [PUBLISHED], reference)
    controls = ControlsDoc.model_validate(run_flow(made, embedded)[PUBLISHED.key])
    one = generated_set(embedded, random_alloys(spec, 10, seed=1))
    document = score(run_flow, embedded, spec, one, controls=controls)
    assert document.controls == controls.scores
    assert document.floor == controls.scores["train-resample"]
    assert score(run_flow, embedded, spec, one).floor == {}


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


def test_progress_adds_up(run_flow: Run, embedded: JobStore, spec: SystemSpec) -> None:
    """As many structures as there are, in the set's own total."""
    told: list[tuple[str, int, int, str]] = []
    one = generated_set(embedded, random_alloys(spec, 20, seed=1), 7)
    with listening(lambda *report: told.append(report)):
        score(run_flow, embedded, spec, one, n_reference=12, chunk_size=5)
    done = {total: sum(d for _, d, t, _ in told if t == total) for _, _, total, _ in told}
    assert done == {12: 12, 20: 20}


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
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, [one], controls=controls)
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


def test_gaps_of_unreadable_frames(run_flow: Run, embedded: JobStore, spec: SystemSpec) -> None:
    """A set with gaps scores as the same structures without, whichever way they are listed."""
    made = random_alloys(spec, 6, seed=1)
    frames = [BadFrame(2, "unreadable", "no number"), BadFrame(7, "unreadable", "no number")]
    places = np.array([0, 1, 3, 4, 5, 6])
    blob = store_generated(embedded, "made.extxyz", made, 4, places, frames)
    listed = generated_set(embedded, made, 4, unreadable=(2, 7))
    assert blob.structures == listed.structures
    assert blob.n_frames == listed.n_frames == 8
    first, second = (score(run_flow, embedded, spec, one) for one in (blob, listed))
    assert strip(first) == strip(second)
    assert [f.index for f in first.failed] == [2, 7]
    whole = score(run_flow, embedded, spec, store_generated(embedded, "made.extxyz", made, 4))
    assert whole.metrics["d_cluster"] == first.metrics["d_cluster"]
    assert (whole.n_generated, whole.failures) == (6, {})
