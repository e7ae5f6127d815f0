"""What scores of free atoms leave for later ones: controls, relaxed and analysed references."""

from __future__ import annotations

import numpy as np
import pytest
from jobflow import JobStore

from dismaiflow.benchmark import structure_jobs
from dismaiflow.benchmark.known import known_controls, known_reference
from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.schemas import AnalysedSet, ControlsDoc, ScoreDoc
from dismaiflow.benchmark.structure_flows import (
    KnownReference,
    ScoreStructuresMaker,
    StructureControlsMaker,
)
from dismaiflow.structures.structure_set import StructureSet

from .conftest import (
    RanJobs,
    Run,
    check_sizes,
    generated_set,
    strip,
)
from .free_atoms import (
    CORRECTED,
    FEW,
    PUBLISHED,
    SI,
    count,
    features,
    plan,
    refused,
    score,
    silicon,
    stored_reference,
    written_out,
)

pytestmark = pytest.mark.usefixtures("scratch")


def controls_of(document: ScoreDoc) -> set[str]:
    """Return the names of the controls, all of which have values."""
    for name, scores in document.controls.items():
        assert scores["percent_failed"] == 0, name
        assert scores["d_motif"] is not None, name
    return set(document.controls)


def test_controls_of_structures_as_they_are(
    run_flow: Run, embedded: JobStore, ran: RanJobs
) -> None:
    """Floor, noise, chance and validation; the reference is analysed once for all of it."""
    theirs = silicon(6, 1, 0.1)
    maker = BenchmarkMaker(structure_controls_maker=FEW)
    flow = maker.make(
        SI,
        PUBLISHED,
        stored_reference(embedded, theirs),
        [generated_set(embedded, silicon(3, 2, 0.2))],
        validation=generated_set(embedded, silicon(4, 9, 0.1), name="validation"),
    )
    document = ScoreDoc.model_validate(run_flow(flow, embedded))
    names = controls_of(document)
    assert names == {"train-resample", "rattled", "uniform-random", "validation"}
    assert document.floor == document.controls["train-resample"]
    scores = document.controls
    # The farther from the reference, the larger.
    assert 0 < scores["train-resample"]["d_rdf"] < scores["rattled"]["d_rdf"]
    assert scores["rattled"]["d_rdf"] < scores["uniform-random"]["d_rdf"]
    # The floor draws from the features of the reference, by the seed of the controls.
    drawn = np.random.default_rng([0, *b"train-resample"]).integers(0, 6, size=6)
    made = features(theirs, SI).arrays["rdf"]
    value, _, _ = written_out(made[drawn], made)
    assert scores["train-resample"]["d_rdf"] == pytest.approx(value, abs=1e-10)
    valid = features(silicon(4, 9, 0.1), SI).arrays["rdf"]
    assert scores["validation"]["d_rdf"] == pytest.approx(written_out(valid, made)[0], abs=1e-10)
    assert count(ran, "analyse set reference") == 1
    assert count(ran, "relax") == 0
    assert len(set(ran.first_names)) == len(ran.first_names)
    check_sizes(embedded, ran)


def test_controls_are_relaxed_as_the_generated_are(
    run_flow: Run, embedded: JobStore, ran: RanJobs
) -> None:
    """Noise alone, and few of it; the reference is relaxed once, and not again for a later run."""
    ref = stored_reference(embedded, silicon(5, 1, 0.1))
    relaxation = plan(embedded, "silicon")
    maker = BenchmarkMaker(structure_controls_maker=FEW)
    one = generated_set(embedded, silicon(3, 2, 0.2))
    validation = generated_set(embedded, silicon(2, 9, 0.1), name="validation")
    flow = maker.make(SI, PUBLISHED, ref, [one], relaxation=relaxation, validation=validation)
    first = ScoreDoc.model_validate(run_flow(flow, embedded))
    assert controls_of(first) == {"train-resample", "rattled", "validation"}
    assert first.floor["w1_energy"] is not None
    sets = {"reference", "generated 0", "rattled", "validation"}
    for step in ("relax set", "analyse set"):
        assert count(ran, step) == 4
        assert {f"{step} {name}" for name in sets} < set(ran.first_names)
    check_sizes(embedded, ran)

    # A later score of other structures finds reference and controls.
    ran.first_names.clear()
    known = known_reference(SI, PUBLISHED, ref, relaxation, embedded)
    assert known.relaxed.n_structures == 5
    assert known_controls(SI, PUBLISHED, ref, FEW.n, embedded, True, relaxation) is not None
    assert isinstance(known.analysed, AnalysedSet)
    controls = known_controls(SI, PUBLISHED, ref, FEW.n, embedded, False, relaxation)
    assert isinstance(controls, ControlsDoc)
    flow = maker.make(
        SI, PUBLISHED, ref, [one], controls=controls, relaxation=relaxation, known=known
    )
    second = ScoreDoc.model_validate(run_flow(flow, embedded))
    assert strip(second) == strip(first)
    assert count(ran, "relax set") == count(ran, "relax set generated 0") == 1
    assert count(ran, "analyse set") == 1
    assert count(ran, "sample control") == 0


def test_what_is_not_known(run_flow: Run, embedded: JobStore) -> None:
    """Another protocol, potential, number of controls or reference has to be done anew."""
    ref = stored_reference(embedded, silicon(3, 1, 0.1))
    relaxation = plan(embedded, "silicon")
    maker = BenchmarkMaker(structure_controls_maker=StructureControlsMaker(n=4, n_relaxed=0))
    one = generated_set(embedded, silicon(2, 2))
    run_flow(maker.make(SI, PUBLISHED, ref, [one], relaxation=relaxation), embedded)
    assert known_controls(SI, PUBLISHED, ref, 4, embedded, False, relaxation) is not None
    nothing = KnownReference()
    other = stored_reference(embedded, silicon(3, 7, 0.1))
    as_given = plan(embedded, "silicon", reference=False)
    for protocol, reference, how in (
        (CORRECTED, ref, relaxation),
        (PUBLISHED, other, relaxation),
        (PUBLISHED, ref, plan(embedded, "sw")),
        (PUBLISHED, ref, as_given),
    ):
        assert known_reference(SI, protocol, reference, how, embedded) == nothing
        assert known_controls(SI, protocol, reference, 4, embedded, False, how) is None
    assert known_controls(SI, PUBLISHED, ref, 5, embedded, False, relaxation) is None
    for like in ({"n_relaxed": 2}, {"validation_hash": "0"}, {"relaxed_reference_hash": None}):
        assert known_controls(SI, PUBLISHED, ref, 4, embedded, False, relaxation, like) is None
    kept = known_controls(SI, PUBLISHED, ref, 4, embedded, False, relaxation, {"n_relaxed": 0})
    assert kept is not None
    asking = SI.model_copy(update={"metrics": ("d_motif", "d_rdf", "d_angle", "d_new")})
    assert known_controls(asking, PUBLISHED, ref, 4, embedded, False, relaxation) is None
    assert known_controls(SI, PUBLISHED, ref, 4, embedded, True, relaxation) is None
    assert known_controls(SI, PUBLISHED, ref, 4, embedded, False) is None
    # Blobs that were removed are not known any more.
    known = known_reference(SI, PUBLISHED, ref, relaxation, embedded)
    data = embedded.additional_stores["data"]
    data.remove_docs({"blob_uuid": known.analysed.parts[0].counts})
    again = known_reference(SI, PUBLISHED, ref, relaxation, embedded)
    assert (again.relaxed is not None, again.analysed) == (True, None)
    data.remove_docs({"blob_uuid": known.relaxed.table})
    assert known_reference(SI, PUBLISHED, ref, relaxation, embedded) == nothing


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_refused_elsewhere_is_no_known_reference(
    run_flow: Run, embedded: JobStore, moved: bool
) -> None:
    """Structures that do not fit one reference may be another one."""
    wide = list(silicon(3, 1, 0.1))
    for atoms in wide:
        atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    theirs = StructureSet.from_atoms(wide)
    ref = stored_reference(embedded, theirs)
    relaxation = plan(embedded, "still", generated=False, reference=False) if moved else None
    one = generated_set(embedded, theirs)
    refusing = score(run_flow, embedded, SI, silicon(2, 3), one, relaxation=relaxation)
    assert refusing.failures == {"wrong_cell": 3}
    assert known_reference(SI, PUBLISHED, ref, relaxation, embedded) == KnownReference()
    document = score(run_flow, embedded, SI, theirs, one, relaxation=relaxation)
    assert document.n_scored == 3
    assert known_reference(SI, PUBLISHED, ref, relaxation, embedded).analysed is not None


def test_an_error_of_a_reference_is_not_known_for_ever(run_flow: Run, embedded: JobStore) -> None:
    """Its cause may have passed."""
    ref = stored_reference(embedded, refused(silicon(3, 1, 0.1), 1))
    relaxation = plan(embedded, "silicon")
    flow = ScoreStructuresMaker().make(
        SI, PUBLISHED, ref, [generated_set(embedded, silicon(2, 2))], relaxation=relaxation
    )
    assert ScoreDoc.model_validate(run_flow(flow, embedded)).marks
    assert known_reference(SI, PUBLISHED, ref, relaxation, embedded) == KnownReference()


def test_energies_of_a_reference_that_was_scored_before(
    run_flow: Run, embedded: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its features are numbered as in the file, and its energies as they are left."""
    theirs = list(silicon(6, 1, 0.1))
    for place in (0, 3):  # do not come apart
        theirs[place].positions[1] = theirs[place].positions[0]
    given = StructureSet.from_atoms(theirs)
    ref, one = stored_reference(embedded, given), generated_set(embedded, given)
    relaxation = plan(embedded, "sw")
    score(run_flow, embedded, SI, silicon(2, 3), one, relaxation=relaxation)
    known = known_reference(SI, PUBLISHED, ref, relaxation, embedded)
    monkeypatch.setattr(structure_jobs, "current_jobstore", lambda: embedded)
    built = structure_jobs.build_structure_scorer(SI, ref, known.relaxed, known.analysed)
    assert built.reference.indices.tolist() == sorted(built.reference_energies) == [0, 1, 2, 3]
