"""How relaxations ended, told from their files."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

from dft.restarted import LIMIT, rehearsed
from dft.small_runs import make_folder
from dft.vasp_files import EACH, Run, steps_of, vasprun_text, write_run
from dismaiflow.dft.harvest import read_run
from dismaiflow.dft.vasprun import read_vasprun


def test_a_cut_anywhere_loses_no_whole_step():
    text = vasprun_text(Run(steps_of(4)))
    everything = read_vasprun(io.BytesIO(text.encode())).steps
    energy = re.compile(r'\n  <energy>\n    <i name="e_fr_energy">[^<]*</i>')
    for cut in range(len(text) - 20, 0, -61):
        found = read_vasprun(io.BytesIO(text[:cut].encode()))
        assert not found.complete
        # A step is whole once its energy, which comes last, is written.
        assert len(found.steps) == len(energy.findall(text[:cut]))
        for step, whole_step in zip(found.steps, everything, strict=False):
            assert step.energy == whole_step.energy
            for name in ("cell", "fractions", "forces", "stress"):
                np.testing.assert_array_equal(getattr(step, name), getattr(whole_step, name))


def test_a_run_that_breaks_off_is_not_converged(tmp_path):
    run = Run(steps_of(4, force=2.0), finished=False, said="")
    run.cut = len(vasprun_text(run)) // 2
    found = read_run(write_run(tmp_path, run), EACH)
    assert found.status == "not_converged"
    assert "break off" in found.reason
    assert 0 < found.n_steps < 4
    assert found.frames.final.tolist() == [False] * (found.n_steps - 1) + [True]


@pytest.mark.parametrize("case", ["truncated@4", "killed@4"])
def test_the_process_dies(tmp_path, case):
    make_folder(tmp_path, EDIFFG=LIMIT)
    command = [sys.executable, "-m", "dismaiflow.dft.rehearsal", "--fail", case]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
    found = read_run(tmp_path, EACH)
    assert (found.status, found.n_steps) == ("not_converged", 3)
    assert found.frames.final.tolist() == [False, False, True]


STOPPED = " soft stop encountered!  aborting job ...\n"
FIRST_STAGE = {"EDIFFG": 0.0, "NSW": 4}


@pytest.mark.parametrize(
    ("run", "status", "reason"),
    [
        (Run(steps_of(force=0.05)), "converged", "no force above 0.1 eV/Å"),
        (Run(steps_of(force=0.2), said=""), "not_converged", "ended early: the largest force"),
        (Run(steps_of(force=0.2), {"NSW": 4}, said=""), "not_converged", "(NSW = 4)"),
        (Run(steps_of(force=0.2), said=STOPPED), "walltime", "is 0.2 eV/Å after 4 steps"),
        (Run(steps_of(force=0.05), said=STOPPED), "converged", "no force above"),
        (Run(steps_of(force=2.0), FIRST_STAGE, said=""), "converged", "ran its 4 steps"),
        (Run(steps_of(3), FIRST_STAGE, said=STOPPED), "walltime", "after 3 steps"),
        (Run(steps_of(3), FIRST_STAGE, said=""), "not_converged", "ended early"),
        (Run(steps_of(1, force=2.0), {"NSW": 0, "EDIFFG": 0.0}), "converged", "a single point"),
        (Run(steps_of(force=2.0), {"EDIFFG": 1e-3}), "converged", "changed by less than 0.001"),
        # With a cell that moves the stresses count, of which VASP alone knows the limit.
        (Run(steps_of(), {"ISIF": 3}, said=""), "not_converged", "ended early"),
        (Run(steps_of(), {"ISIF": 3}), "converged", "no force above"),
        (Run(steps_of(n_cycles=60)), "not_converged", "did not converge in 60 cycles"),
    ],
)
def test_how_it_ended(tmp_path, run, status, reason):
    found = read_run(write_run(tmp_path, run), EACH)
    assert found.status == status
    assert reason in found.reason
    assert found.initial_energy == -10.0


def test_a_limit_of_the_caller_goes_before_that_of_the_run(tmp_path):
    folder = write_run(tmp_path, Run(steps_of(force=0.05)))
    assert read_run(folder, EACH, fmax=0.06).status == "converged"
    assert read_run(folder, EACH, fmax=0.04).status == "not_converged"


def test_a_stop_amid_a_step_leaves_that_step_out(tmp_path):
    hard = " hard stop encountered!  aborting job ...\n"
    found = read_run(write_run(tmp_path, Run(steps_of(4, force=0.2), said=hard)), EACH)
    assert found.status == "walltime"
    assert found.frames.steps.tolist() == [1, 2, 3]
    assert not found.frames.final.any()
    assert found.n_unconverged_steps == 1


def test_a_stop_file_tells_why_a_run_breaks_off(tmp_path):
    folder = write_run(tmp_path, Run(steps_of(force=0.2), said="", finished=False))
    assert read_run(folder, EACH).status == "not_converged"
    (folder / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    assert read_run(folder, EACH).status == "walltime"


def test_steps_without_converged_electrons_are_left_out_and_counted(tmp_path):
    steps = steps_of(5)
    steps[1].n_cycles = steps[2].n_cycles = 60
    found = read_run(write_run(tmp_path, Run(steps)), EACH)
    assert found.frames.steps.tolist() == [1, 4, 5]
    assert (found.n_steps, found.n_unconverged_steps) == (5, 2)
    assert found.status == "converged"


def exploded(kind):
    steps = steps_of(3)
    last = steps[-1]
    if kind == "nan":
        last.forces[0, 0] = np.nan
    elif kind == "force":
        last.forces[0, 0] = 150.0
    elif kind == "risen":
        last.energy = -7.0
    elif kind == "fallen":
        last.energy = -500.0
    elif kind == "flown":
        for step in steps:
            step.atoms.set_cell([30, 30, 30])
        last.atoms.positions[1, 0] = 15.0
    elif kind == "fused":
        last.atoms.positions[1, 0] = 0.3
    return steps


@pytest.mark.parametrize(
    ("kind", "reason", "n_frames"),
    [
        ("nan", "numbers that are none", 2),
        ("force", "grown to 150 eV/Å", 2),
        ("risen", "risen by 1.5 eV/atom", 2),
        ("fallen", "fallen by 245 eV/atom", 2),
        ("flown", "2 atoms, first Co 0, ended more than 6.0 Å from all others", 3),
        ("fused", "ended 0.2 Å from another", 3),
    ],
)
def test_exploded(tmp_path, kind, reason, n_frames):
    found = read_run(write_run(tmp_path, Run(exploded(kind))), EACH)
    assert found.status == "exploded"
    assert reason in found.reason
    assert len(found.frames) == n_frames
    assert found.n_absurd_steps == 3 - n_frames


def test_numbers_too_large_for_their_columns_are_none(tmp_path):
    text = vasprun_text(Run(steps_of(3)))
    head, tail = text.rsplit("0.05000000", 1)
    (tmp_path / "vasprun.xml").write_text(head + "**********" + tail)
    found = read_run(tmp_path, EACH)
    assert found.status == "exploded"
    assert found.max_force is None


def test_a_bad_start_that_was_cut_short_has_not_exploded(tmp_path):
    steps = steps_of(3, force=100.0)
    found = read_run(write_run(tmp_path, Run(steps, said="", finished=False)), EACH)
    assert found.status == "not_converged"


@pytest.mark.parametrize("case", ["explode@6", "collapse@6"])
def test_the_stand_in_explodes(tmp_path, case):
    found = read_run(rehearsed(tmp_path, case, NSW=8), EACH)
    assert found.status == "exploded"
    assert found.frames.steps.tolist() == [1, 2, 3, 4, 5]
    assert found.n_absurd_steps == 3


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01 rubbish", b"<modeling><calculation>"])
def test_nothing_readable_is_a_failure(tmp_path, content):
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        (folder / "vasprun.xml").write_bytes(content)
        (folder / "OUTCAR.gz").write_bytes(content)
        (folder / "custodian.json").write_bytes(content)
    found = read_run(folder, EACH)
    assert found.status == "failed"
    assert "vasprun.xml" in found.reason
    assert len(found.frames) == 0
    assert found.structure is None


def test_a_broken_archive_of_gzip_is_read_as_far_as_it_goes(tmp_path):
    folder = write_run(tmp_path, Run(steps_of(40)), zipped=True)
    path = folder / "vasprun.xml.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = read_run(folder, EACH)
    assert 1 < found.n_steps < 40
