"""Flows that relax, analyse and score free atoms, their controls, and what they leave for later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore

from dismaiflow.benchmark import feature_jobs, structure_jobs
from dismaiflow.benchmark.feature_jobs import AnalyseSetMaker
from dismaiflow.benchmark.flows import ScoreAlloyMaker
from dismaiflow.benchmark.known import known_reference
from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.schemas import AnalysedSet, ScoreDoc
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_flows import (
    ScoreStructuresMaker,
)
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY
from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.potentials import jobs as relax_jobs
from dismaiflow.potentials.jobs import RelaxPartMaker, RelaxSetMaker
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.relaxation import RelaxationSettings, relax
from dismaiflow.store.blobs import get_blob
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

from .conftest import (
    PUBLISHED as ALLOY,
)
from .conftest import (
    RanJobs,
    Run,
    check_sizes,
    generated_set,
    random_alloys,
    reference_set,
    strip,
)
from .free_atoms import (
    CORRECTED,
    PUBLISHED,
    SI,
    features,
    interface,
    interfaces,
    plan,
    refused,
    score,
    silicon,
    stored_reference,
    vectors,
    written_out,
)

pytestmark = pytest.mark.usefixtures("scratch")


def values(document: ScoreDoc) -> dict[str, Any]:
    """Return metrics and intervals."""
    return {name: (m.value, m.ci95) for name, m in document.metrics.items()}


def test_a_score_is_the_published_formula(run_flow: Run, jobstore: JobStore) -> None:
    """From the store to score.json, on both stores; chunks and jobs make no difference."""
    theirs, ours = silicon(6, 1, 0.1), silicon(7, 2, 0.3)
    found = []
    for size in (50, 2):
        one = generated_set(jobstore, ours, size, unreadable=(3, 8))
        maker = ScoreStructuresMaker(analyse_maker=AnalyseSetMaker(structures_per_job=2 * size))
        document = score(run_flow, jobstore, SI, theirs, one, maker=maker)
        assert (document.n_generated, document.n_scored) == (9, 7)
        assert document.failures == {"unreadable": 2}
        found.append(strip(document))
        for name in ("d_motif", "d_rdf", "d_angle"):
            made = [vectors(features(s, SI), name, {"Si": 64}) for s in (ours, theirs)]
            value, low, high = written_out(*made)
            assert document.metrics[name].value == pytest.approx(value, abs=1e-10)
            assert document.metrics[name].ci95 == pytest.approx((low, high), abs=1e-10)
        assert document.metrics["percent_failed"].value == pytest.approx(200 / 9, abs=1e-10)
    assert found[0] == found[1]
    check_sizes(jobstore)


def test_a_relaxed_score(run_flow: Run, embedded: JobStore) -> None:
    """As if each structure had been relaxed by hand and scored as it is; failures by reason."""
    theirs = silicon(5, 1, 0.1)
    atoms = list(silicon(8, 2, 0.3))
    atoms[1].positions[3] = np.nan
    atoms[5].symbols[0] = "Ge"
    ours = refused(StructureSet.from_atoms(atoms), 2, 6)
    one = generated_set(embedded, ours, 3, unreadable=(4,))
    maker = ScoreStructuresMaker(relax_maker=RelaxSetMaker(structures_per_job=3))
    relaxation = plan(embedded, "silicon")
    document = score(run_flow, embedded, SI, theirs, one, maker=maker, relaxation=relaxation)
    assert (document.n_generated, document.n_scored) == (9, 4)
    assert document.failures == {
        "errored": 2,
        "not_finite": 1,
        "foreign_element": 1,
        "unreadable": 1,
    }
    assert [(f.index, f.reason) for f in document.failed] == [
        (1, "not_finite"),
        (2, "errored"),
        (4, "unreadable"),
        (6, "foreign_element"),
        (7, "errored"),
    ]
    assert document.failed[1].detail == "RuntimeError: this one is refused"

    calculator = open_potential("sw").calculator()
    how = RelaxationSettings(min_distance=0.0)

    def by_hand(structures: list[Any]) -> tuple[StructureSet, list[Any]]:
        for a in structures:
            a.positions = push_apart(a.positions, a.cell.array).positions
        results = [relax(a, calculator, how) for a in structures]
        for a, result in zip(structures, results, strict=True):
            a.positions = result.positions
        return StructureSet.from_atoms(structures), results

    kept, results = by_hand([ours.atoms(i) for i in (0, 3, 4, 7)])
    known, _ = by_hand(list(theirs))
    calculator.close()
    for name in ("d_motif", "d_rdf", "d_angle"):
        made = [vectors(features(s, SI), name, {"Si": 64}) for s in (kept, known)]
        wanted = written_out(*made)
        metric = document.metrics[name]
        assert (metric.value, *metric.ci95) == pytest.approx(wanted, abs=1e-7)
    relaxed = document.findings.relaxations
    assert relaxed is not None
    assert relaxed.generated is not None
    assert relaxed.generated.by_status == {
        "converged": 4,
        "errored": 2,
        "not_finite": 1,
        "foreign_element": 1,
    }
    assert relaxed.generated.steps_mean == np.mean([r.n_steps for r in results])
    drops = [1e3 * (r.initial_energy - r.final_energy) / 64 for r in results]
    assert relaxed.generated.drop_mean == pytest.approx(np.mean(drops), rel=1e-9)
    assert relaxed.generated.drop_std == pytest.approx(np.std(drops), rel=1e-9)
    assert document.distribution["w1_energy"] is not None
    assert {"reference", "generated", "relaxed"} == set(document.examples)
    assert document.provenance.relaxed_reference_hash is not None
    check_sizes(embedded)


def test_several_files(run_flow: Run, embedded: JobStore) -> None:
    """Mean, minimum and maximum; no interval; each file as it scores alone."""
    theirs = silicon(5, 1, 0.1)
    sets = [
        generated_set(embedded, silicon(4, 2, 0.2), name="a.extxyz"),
        generated_set(embedded, silicon(3, 3, 0.3), unreadable=(1,), name="b.extxyz"),
    ]
    document = score(run_flow, embedded, SI, theirs, *sets)
    alone = [score(run_flow, embedded, SI, theirs, one) for one in sets]
    for name, metric in document.metrics.items():
        parts = [one.metrics[name].value for one in alone]
        assert metric.value == pytest.approx(np.mean(parts), abs=1e-14)
        assert (metric.min, metric.max) == (min(parts), max(parts))
        assert metric.ci95 is None
    assert [part["file"] for part in document.per_run] == ["a.extxyz", "b.extxyz"]
    assert [(f.file, f.index) for f in document.failed] == [(1, 1)]


@pytest.mark.parametrize("relaxed", [False, True])
def test_nothing_can_be_scored(run_flow: Run, embedded: JobStore, relaxed: bool) -> None:
    """Null with reasons, no crash."""
    made = silicon(3, 2)
    made.positions[:] = np.nan
    one = generated_set(embedded, made, 2, unreadable=(0,))
    relaxation = plan(embedded, "silicon") if relaxed else None
    document = score(run_flow, embedded, SI, silicon(4, 1, 0.1), one, relaxation=relaxation)
    assert document.failures == {"not_finite": 3, "unreadable": 1}
    assert document.n_scored == 0
    for name in ("d_motif", "d_rdf", "d_angle"):
        assert (document.metrics[name].value, document.metrics[name].ci95) == (None, None)
        assert document.metrics[name].reason == "no structure could be scored"
    assert document.metrics["percent_failed"].value == 100
    assert set(document.distribution.values()) == {None}
    assert set(document.distribution_reasons) == set(document.distribution)
    assert document.findings.missing["motifs"] == "no structure could be scored"


def test_a_failed_analysis_costs_its_structures_only(
    run_flow: Run, jobstore: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others score as if alone."""
    made = silicon(7, 2, 0.3)
    analyse = feature_jobs.analyse_structures

    def fail(structures: Any, indices: Any, spec: Any, protocol: Any, *more: Any) -> Any:
        if "generated" in more[0] and 3 in indices:
            raise RuntimeError("the node went down")
        return analyse(structures, indices, spec, protocol, *more)

    monkeypatch.setattr(feature_jobs, "analyse_structures", fail)
    maker = ScoreStructuresMaker(analyse_maker=AnalyseSetMaker(structures_per_job=2))
    theirs = silicon(4, 1, 0.1)
    one = generated_set(jobstore, made, 2)
    document = score(run_flow, jobstore, SI, theirs, one, maker=maker)
    assert document.failures == {"job_failed": 2}
    assert [f.index for f in document.failed] == [2, 3]
    monkeypatch.undo()
    others = generated_set(jobstore, made.select([0, 1, 4, 5, 6]))
    alone = score(run_flow, jobstore, SI, theirs, others)
    for name in ("d_motif", "d_rdf", "d_angle"):
        assert document.metrics[name] == alone.metrics[name]


def test_a_failed_relaxation_costs_its_structures_only(
    run_flow: Run, embedded: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its job."""
    treat = relax_jobs.treat_structures

    def fail(structures: Any, indices: Any, *more: Any) -> Any:
        if len(structures) == 2 and 3 in indices:
            raise RuntimeError("the node went down")
        return treat(structures, indices, *more)

    monkeypatch.setattr(relax_jobs, "treat_structures", fail)
    maker = ScoreStructuresMaker(relax_maker=RelaxSetMaker(structures_per_job=2))
    one = generated_set(embedded, silicon(5, 2), 2)
    document = score(
        run_flow, embedded, SI, silicon(3, 1), one, maker=maker, relaxation=plan(embedded, "sw")
    )
    assert document.failures == {"job_failed": 2}
    assert [f.index for f in document.failed] == [2, 3]


def test_reference_structures_that_fail_are_left_out(run_flow: Run, embedded: JobStore) -> None:
    """And the score is marked; it is that against the others."""
    theirs = silicon(6, 1, 0.1)
    one = generated_set(embedded, silicon(3, 2, 0.3))
    relaxation = plan(embedded, "silicon")
    document = score(run_flow, embedded, SI, refused(theirs, 1, 4), one, relaxation=relaxation)
    (mark,) = document.marks
    assert mark.startswith("2 of 6 reference structures did not relax with potentials.wilful:sil")
    assert "converged: 4, errored: 2" in mark
    others = theirs.select([0, 2, 3, 5])
    alone = score(run_flow, embedded, SI, others, one, relaxation=relaxation)
    assert alone.marks == []
    assert values(document) == values(alone)
    assert document.histograms == alone.histograms


def test_a_reference_of_which_nothing_is_left(
    run_flow: Run, embedded: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The score fails with one line that says how its structures ended."""
    said: list[str] = []
    build = structure_jobs.build_structure_scorer

    def noted(*args: Any) -> Any:
        try:
            return build(*args)
        except DismaiError as error:
            said.append(str(error))
            raise

    monkeypatch.setattr(structure_jobs, "build_structure_scorer", noted)
    ref = stored_reference(embedded, refused(silicon(2, 1, 0.1), 0, 1))
    one = generated_set(embedded, silicon(2, 2))
    relaxation = plan(embedded, "silicon")
    flow = ScoreStructuresMaker().make(SI, PUBLISHED, ref, [one], relaxation=relaxation)
    with pytest.raises(ValueError, match="Could not resolve"):
        run_flow(flow, embedded)
    assert said == [
        "no structure of the reference is left to compare with (errored: 2; structure 0: "
        "RuntimeError: this one is refused)"
    ]


def test_the_acceptance_force_of_the_protocols(run_flow: Run, embedded: JobStore) -> None:
    """0.0505 eV/Å is near enough for the scripts, and not for the paper."""
    one = generated_set(embedded, silicon(2, 2))
    relaxation = plan(embedded, "nearly", reference=False)
    found = {
        protocol.name: score(
            run_flow, embedded, SI, silicon(3, 1), one, protocol=protocol, relaxation=relaxation
        )
        for protocol in (PUBLISHED, CORRECTED)
    }
    assert found["published"].failures == {}
    assert found["corrected"].failures == {"not_converged": 2}
    assert found["published"].protocol.key == "published-1"


def test_generated_lattices(run_flow: Run, embedded: JobStore) -> None:
    """Cells of their own are refused, unless they are asked for."""
    atoms = list(silicon(3, 2))
    atoms[1].set_cell(atoms[1].cell * 1.01, scale_atoms=True)
    one = generated_set(embedded, StructureSet.from_atoms(atoms))
    for relaxation in (None, plan(embedded, "silicon")):
        options = {"relaxation": relaxation}
        refusing = score(run_flow, embedded, SI, silicon(3, 1), one, **options)
        assert refusing.failures == {"wrong_cell": 1}
        taking = score(run_flow, embedded, SI, silicon(3, 1), one, own_cells=True, **options)
        assert taking.failures == {}
        assert taking.n_scored == 3
        # Tables 1 and 2 have no such structures; Table S1 has.
        assert "a cell of its own" in taking.marks[-1]
        assert not any("a cell of its own" in mark for mark in refusing.marks)


def test_energies_of_structures_that_are_relaxed_already(run_flow: Run, embedded: JobStore) -> None:
    """Nothing moves, not even what is too close; the metrics are those without a potential."""
    theirs, ours = silicon(4, 1, 0.1), list(silicon(3, 2, 0.2))
    ours[0].positions[1] = ours[0].positions[0] + [1.3, 0, 0]
    one = generated_set(embedded, StructureSet.from_atoms(ours))
    relaxation = plan(embedded, "sw", generated=False, reference=False)
    document = score(run_flow, embedded, SI, theirs, one, relaxation=relaxation, marks=["said"])
    bare = score(run_flow, embedded, SI, theirs, one)
    assert values(document) == values(bare)
    assert document.marks == ["said"]
    assert bare.distribution["w1_energy"] is None
    assert document.distribution["w1_energy"] > 0
    relaxed = document.findings.relaxations
    assert relaxed is not None
    assert relaxed.generated is not None
    assert (relaxed.generated.steps_mean, relaxed.generated.drop_mean) == (0, 0)


def test_an_interface_with_its_energies(run_flow: Run, embedded: JobStore) -> None:
    """Region, bonds and eq. 6 by hand, on structures that lie where they were made."""
    spec = interface()
    theirs, ours = interfaces(5, 1), interfaces(4, 2)
    one = generated_set(embedded, ours)
    relaxation = plan(embedded, "still", generated=False, reference=False)
    document = score(run_flow, embedded, spec, theirs, one, relaxation=relaxation)
    assert document.failures == {}
    weights = {symbol: spec.composition[symbol] for symbol in spec.cations}
    for name in (n for n in document.metrics if n != "percent_failed"):
        made = [vectors(features(s, spec), name, weights) for s in (ours, theirs)]
        value, low, high = written_out(*made)
        metric = document.metrics[name]
        assert (metric.value, *metric.ci95) == pytest.approx((value, low, high), abs=1e-10)
    found = document.findings
    assert {(b.centre, b.neighbour) for b in found.bonds} == {
        (c, a) for c in spec.cations for a in spec.anions
    }
    made = features(ours, spec).arrays
    for bond in found.bonds:
        column = list(spec.anions).index(bond.neighbour)
        inside = made[f"region:{bond.centre}"]
        means = [
            c[r, column].mean()
            for c, r in zip(made[f"counts:{bond.centre}"], inside, strict=True)
            if r.any()
        ]
        assert bond.generated == (pytest.approx(np.mean(means)) if means else None)
    # Each atom has -1 eV: all structures stand where the lowest reference structure does.
    energies = found.interface_energies
    assert energies is not None
    cell = theirs.cells[0]
    assert energies.area == pytest.approx(np.linalg.norm(np.cross(cell[0], cell[1])))
    assert (energies.mean, energies.std) == (pytest.approx(energies.reference_lowest), 0)
    assert energies.potential_hash == document.provenance.potential.hash


def test_an_alloy_scores_as_its_own_maker_does(
    run_flow: Run, embedded: JobStore, spec: SystemSpec
) -> None:
    """And refuses what has no meaning on a lattice."""
    ref = reference_set(embedded, spec, 20)
    one = generated_set(embedded, random_alloys(spec, 8, seed=1))
    flow = BenchmarkMaker().make(spec, ALLOY, ref, [one], controls=False)
    found = ScoreDoc.model_validate(run_flow(flow, embedded))
    own = ScoreAlloyMaker().make(spec, ALLOY, ref, [one])
    assert strip(found) == strip(ScoreDoc.model_validate(run_flow(own, embedded)))
    maker = BenchmarkMaker()
    maker.alloy_controls_maker.n = 6
    beside = ScoreDoc.model_validate(run_flow(maker.make(spec, ALLOY, ref, [one]), embedded))
    assert beside.metrics == found.metrics
    assert set(beside.controls) == {
        "train-resample", "random-occupancy", "rattled", "uniform-random",
    }  # fmt: skip
    with pytest.raises(DismaiError, match="is an alloy: its structures are scored as they are"):
        maker.make(spec, ALLOY, ref, [one], relaxation=plan(embedded, "still"))
    with pytest.raises(DismaiError, match="--generated-lattice does not apply"):
        maker.make(spec, ALLOY, ref, [one], own_cells=True)


def test_powerups_reach_the_makers_within(
    run_flow: Run, embedded: JobStore, ran: RanJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the flow is made, and in its jobs and those that they will make."""
    made: list[tuple[str, str]] = []
    make = RelaxPartMaker.make

    def noted(self: RelaxPartMaker, *args: Any, **kwargs: Any) -> Any:
        job = make(self, *args, **kwargs)
        made.append((self.device, job))
        return job

    monkeypatch.setattr(RelaxPartMaker, "make", noted)
    ref = stored_reference(embedded, silicon(3, 1), 1)
    one = generated_set(embedded, silicon(4, 2), 1)
    maker = BenchmarkMaker().update_kwargs({"device": "cuda"}, class_filter=RelaxPartMaker)
    maker = maker.update_kwargs({"structures_per_job": 2}, class_filter=RelaxSetMaker)
    options = {"controls": False, "relaxation": plan(embedded, "silicon")}
    flow = maker.make(SI, PUBLISHED, ref, [one], **options)
    first = ScoreDoc.model_validate(run_flow(flow, embedded))
    assert [device for device, _ in made] == ["cuda"] * 4
    jobs: list[Any] = [job for _, job in made]
    assert {job.config.manager_config[CATEGORY_KEY] for job in jobs} == {"gpu"}
    assert {job.name for job in jobs} == {
        "relax reference 0", "relax reference 1", "relax generated 0 0", "relax generated 0 1",
    }  # fmt: skip

    made.clear()
    flow = BenchmarkMaker().make(SI, PUBLISHED, ref, [one], **options)
    flow.update_maker_kwargs({"structures_per_job": 1}, class_filter=RelaxSetMaker)
    flow.update_maker_kwargs({"device": "cuda"}, class_filter=RelaxPartMaker)
    second = ScoreDoc.model_validate(run_flow(flow, embedded))
    assert [device for device, _ in made] == ["cuda"] * 7
    assert strip(first) == strip(second)


def test_features_of_a_set_are_stored_once(run_flow: Run, embedded: JobStore) -> None:
    """In parts, each in a blob, found again by the hash of all that decides them."""
    ref = stored_reference(embedded, silicon(5, 1), 2)
    job = AnalyseSetMaker(structures_per_job=2).make(SI, PUBLISHED, ref, ref, "reference")
    found = AnalysedSet.model_validate(run_flow(Flow([job], output=job.output), embedded))
    assert found.complete
    parts = [StructureFeatures.from_bytes(get_blob(embedded, p.counts)) for p in found.parts if p]
    assert [part.indices.tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert known_reference(SI, PUBLISHED, ref, None, embedded).analysed == found
