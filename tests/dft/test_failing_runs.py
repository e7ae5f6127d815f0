"""Each failure that is asked of the stand-in, through Maker, custodian, harvest and document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from atomate2.vasp.run import DEFAULT_HANDLERS
from custodian.vasp.handlers import FrozenJobErrorHandler
from jobflow import run_locally

from dft.patience import SilentRun
from dft.small_runs import crystal
from dft.test_makers import run, scratch, store  # noqa: F401
from dismaiflow.campaigns.dft_runs import CollectRunsMaker
from dismaiflow.campaigns.dft_schemas import RunsDoc, get_rows
from dismaiflow.dft.continuation import shifted_rule
from dismaiflow.dft.harvest import HarvestRule
from dismaiflow.dft.makers import InterfaceRelaxMaker, Rehearsal
from dismaiflow.dft.schemas import RunDoc
from dismaiflow.store.frames import get_frames

if TYPE_CHECKING:
    from jobflow import JobStore

#: eV. By how much one end at 0.4 eV/Å may lie above another.
SAME = 0.25


def relax(store: JobStore, *fail: str, parent: str = "shaken", **fields: Any) -> RunDoc:  # noqa: F811
    structure = crystal(0.12)
    maker = InterfaceRelaxMaker(
        rehearsal=Rehearsal("toy", fail), harvest_first=1, harvest_interval=1, **fields
    )
    maker.input_set_generator.user_incar_settings = {"NSW": 60, "EDIFFG": -0.4}
    job = maker.make(structure, parent=parent)
    done = run_locally(job, store=store, raise_immediately=True, log=False)[job.uuid]
    return RunDoc.model_validate(done[max(done)].output)


@pytest.fixture(scope="module")
def clean_energy(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Return the energy of the run without failures."""
    from jobflow import JobStore
    from maggma.stores import MemoryStore

    opened = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    opened.connect()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("clean")
        patch.setenv("DISMAI_SCRATCH_DIR", str(folder))
        document = relax(opened)
    assert (document.status, document.n_restarts) == ("converged", 0)
    assert document.n_frames == document.n_steps > 8
    assert document.energy is not None
    return document.energy


def no_step_twice(store: JobStore, document: RunDoc) -> None:  # noqa: F811
    """Check that every ionic step is there, and none of them twice."""
    assert document.frames is not None
    frames = get_frames(store, document.frames)
    steps = frames.steps.tolist()
    assert steps == sorted(set(steps))
    assert frames.final.tolist() == [False] * (len(frames) - 1) + [True]
    places = frames.structures.positions.reshape(len(frames), -1)
    assert len(np.unique(np.round(places, 7), axis=0)) == len(frames)


@pytest.mark.parametrize(
    ("fail", "handler"),
    [
        (("zbrent@4",), "VaspErrorHandler"),
        pytest.param(("edddav@3", "zbrent@4"), "VaspErrorHandler", marks=pytest.mark.slow),
        # During a run, or after it.
        pytest.param(("nelm@5",), "(NonConverging|Unconverged)Error", marks=pytest.mark.slow),
        pytest.param(("explode@3",), "PotimErrorHandler", marks=pytest.mark.slow),
    ],
)
def test_custodian_recovers(
    store: JobStore,  # noqa: F811
    clean_energy: float,
    fail: tuple[str, ...],
    handler: str,
) -> None:
    document = relax(store, *fail)
    assert document.status == "converged", document.reason
    assert document.n_restarts >= len(fail)
    assert any(re.search(handler, name) for name in document.corrections)
    # When custodian looks decides where it begins again, which may lead to another minimum.
    assert document.energy is not None
    assert document.energy < clean_energy + SAME
    assert document.max_force is not None
    assert document.max_force <= 0.4
    # What custodian saw late goes on for a while, and is left out: every step is accounted for.
    left_out = document.n_absurd_steps + document.n_unconverged_steps
    assert document.n_frames == document.n_steps - left_out
    assert document.n_frames >= 3
    no_step_twice(store, document)


@pytest.mark.slow
def test_silence_is_ended_and_the_run_goes_on(
    store: JobStore,  # noqa: F811
    clean_energy: float,
) -> None:
    """custodian's own patience is six hours."""
    quick = [h for h in DEFAULT_HANDLERS if not isinstance(h, FrozenJobErrorHandler)]
    handlers = [*quick, SilentRun(timeout=3)]
    document = relax(store, "hang@4", run_vasp_kwargs={"handlers": handlers})
    assert (document.status, document.n_restarts) == ("converged", 1)
    assert document.energy is not None
    assert document.energy < clean_energy + SAME
    no_step_twice(store, document)


@pytest.mark.parametrize(
    ("fail", "status", "words"),
    [
        (("truncated@4",), "not_converged", "ValidationError"),
        (("killed@4",), "not_converged", "ValidationError"),
        pytest.param(
            ("zbrent@2!",), "not_converged", "MaxCorrectionsPerJobError", marks=pytest.mark.slow
        ),
        # Else a restart may find its forces small before its third step.
        pytest.param(("collapse@3!", "unconverged!"), "exploded", "grown", marks=pytest.mark.slow),
    ],
)
def test_what_is_not_recovered_is_recorded(
    store: JobStore,  # noqa: F811
    fail: tuple[str, ...],
    status: str,
    words: str,
) -> None:
    document = relax(store, *fail)
    assert document.status == status
    assert words in document.reason
    assert "\n" not in document.reason
    if status != "exploded":
        no_step_twice(store, document)
        assert document.n_frames >= 3
    assert document.label is not None
    assert document.label.rehearsal


def test_a_stop_before_the_walltime_is_no_success(store: JobStore) -> None:  # noqa: F811
    document = relax(store, "walltime@4", wall_time=302, max_continuations=0)
    assert document.status == "walltime"
    assert document.max_force is not None
    assert document.max_force > 0.1
    assert 1 <= document.n_steps <= 4  # on a busy machine the time is over earlier
    no_step_twice(store, document)


def test_a_run_goes_on_in_other_jobs_after_its_walltime(
    store: JobStore,  # noqa: F811
    clean_energy: float,
) -> None:
    """Each job stops in its fourth step, of which the first is the last of the job before."""
    parts = relax(store, "walltime@4", wall_time=302, max_continuations=2)
    assert (parts.status, parts.n_continuations) == ("walltime", 2)
    assert parts.n_steps == parts.n_frames <= 4 + 3 + 3
    no_step_twice(store, parts)
    # By hand, without the failure, with every third step as a frame.
    maker = InterfaceRelaxMaker(rehearsal=Rehearsal("toy"), harvest_first=2, harvest_interval=3)
    maker.input_set_generator.user_incar_settings = {"NSW": 60, "EDIFFG": -0.4}
    (found,) = run(maker.make(parts), store).values()
    whole = RunDoc.model_validate(found)
    assert (whole.status, whole.n_continuations) == ("converged", 3)
    assert whole.energy is not None
    assert whole.energy < clean_energy + SAME
    assert whole.initial_energy == parts.initial_energy
    assert whole.frames is not None
    frames = get_frames(store, whole.frames)
    assert frames.steps[:-1].tolist() == list(range(2, whole.n_steps, 3))
    assert frames.steps[-1] == whole.n_steps
    no_step_twice(store, whole)


@pytest.mark.parametrize(
    ("before", "wanted"),
    [(0, [5, 15, 25]), (3, [5, 15, 25]), (4, [5, 15, 25]), (5, [15, 25]), (14, [15, 25])],
)
def test_steps_of_a_continuation(before: int, wanted: list[int]) -> None:
    """The paper's steps, wherever the whole was cut."""
    rule = shifted_rule(HarvestRule(first=5, interval=10), before)
    taken = range(rule.first + before, 26, rule.interval)
    assert list(taken) == wanted


def test_the_rest_goes_on(store: JobStore) -> None:  # noqa: F811
    """A run that dies, and a job that failed, beside one that is well."""
    runs = [relax(store, parent="a"), None, relax(store, "truncated@3", parent="c")]
    job = CollectRunsMaker().make("salt", ["a", "b", "c"], runs)
    (found,) = run(job, store).values()
    collected = RunsDoc.model_validate(found)
    assert collected.by_status == {"converged": 1, "job_failed": 1, "not_converged": 1}
    rows = get_rows(store, collected.rows)
    assert [row.parent for row in rows] == ["a", "b", "c"]
    assert "ValidationError" in rows[2].reason
    assert collected.frames is not None
    frames = get_frames(store, collected.frames)
    assert set(frames.parents) == {"a", "c"}
    assert len(frames) == rows[0].n_frames + rows[2].n_frames
