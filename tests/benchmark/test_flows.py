"""Flows that score, run here on both kinds of store."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, run_locally

from dismaiflow.benchmark import count_jobs
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.count_jobs import CountSetMaker
from dismaiflow.benchmark.flows import AlloyControlsMaker, ScoreAlloyMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.progress import listening
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

from .conftest import (
    CORRECTED,
    PUBLISHED,
    RanJobs,
    Run,
    check_sums,
    generated_set,
    random_alloys,
    reference_set,
    strip,
)
from .test_published_alloy import DATA, MANIFEST, inputs


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


def cut_into_jobs(structures: int) -> ScoreAlloyMaker:
    """Return a Maker whose jobs count so many structures each."""
    return ScoreAlloyMaker(count_maker=CountSetMaker(structures_per_job=structures))


def score(
    run_flow: Run,
    store: JobStore,
    spec: SystemSpec,
    *generated: Any,
    protocol: ScoringProtocol = PUBLISHED,
    n_reference: int = 30,
    chunk_size: int = 50,
    per_job: int = 1500,
    **options: Any,
) -> ScoreDoc:
    """Score generated sets against random alloys."""
    reference = reference_set(store, spec, n_reference, chunk_size)
    flow = cut_into_jobs(per_job).make(spec, protocol, reference, list(generated), **options)
    document = ScoreDoc.model_validate(run_flow(flow, store))
    check_sums(document)
    return document


def test_chunks_make_no_difference(run_flow: Run, jobstore: JobStore, spec: SystemSpec) -> None:
    """Bad structures and unreadable frames included, on both stores."""
    structures, reasons = spoilt(spec)
    found = []
    for size in (50, 7):
        one = generated_set(jobstore, structures, size, unreadable=(50, 99))
        found.append(score(run_flow, jobstore, spec, one, chunk_size=size, per_job=2 * size))
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
        patch.setattr(count_jobs, "AlloyAnalyser", BrokenAnalyser)
        document = score(run_flow, jobstore, spec, one, protocol=protocol, per_job=7)
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
    """Structures that are no longer in the store fail, the first chunk too; so it says."""
    one = generated_set(jobstore, random_alloys(spec, 20, seed=3), 7)
    gone = one.structures.chunks[0]
    jobstore.additional_stores["data"].remove_docs({"blob_uuid": gone})
    document = score(run_flow, jobstore, spec, one)
    assert document.failures == {"job_failed": 7}
    assert [f.index for f in document.failed] == list(range(7))
    assert document.failed[0].detail.startswith(f"blob {gone} is not in ")
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
    flow = cut_into_jobs(5).make(spec, PUBLISHED, reference, [one])
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
    flow = cut_into_jobs(5).make(spec, PUBLISHED, reference, sets)
    metadata = {"run_id": "r1", "system": spec.name, "model": "m", "protocol": PUBLISHED.key}
    flow.update_metadata(metadata, dynamic=True)
    run_flow(flow, embedded)
    # Three sets: one job each to cut them, which later gathers, and three chunks; one to score.
    assert len(ran.first_names) == 3 * 4 + 1
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


def test_progress_adds_up(run_flow: Run, embedded: JobStore, spec: SystemSpec) -> None:
    """As many structures as there are, in the set's own total."""
    told: list[tuple[str, int, int, str]] = []
    one = generated_set(embedded, random_alloys(spec, 20, seed=1), 7)
    with listening(lambda *report: told.append(report)):
        score(run_flow, embedded, spec, one, n_reference=12, chunk_size=5)
    done = {total: sum(d for _, d, t, _ in told if t == total) for _, _, total, _ in told}
    assert done == {12: 12, 20: 20}


def test_gaps_of_unreadable_frames(run_flow: Run, embedded: JobStore, spec: SystemSpec) -> None:
    """A set with gaps scores as the same structures without."""
    made = random_alloys(spec, 6, seed=1)
    gaps = generated_set(embedded, made, 4, unreadable=(2, 7))
    assert gaps.n_frames == 8
    first = score(run_flow, embedded, spec, gaps)
    assert [f.index for f in first.failed] == [2, 7]
    whole = score(run_flow, embedded, spec, store_generated(embedded, "made.extxyz", made, 4))
    assert whole.metrics["d_cluster"] == first.metrics["d_cluster"]
    assert (whole.n_generated, whole.failures) == (6, {})
