"""Unmodified custodian meets each failure on request, and ends as it would with VASP."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atomate2.vasp.run import DEFAULT_HANDLERS, run_vasp
from custodian.custodian import MaxCorrectionsPerJobError, ValidationError
from custodian.vasp.handlers import WalltimeHandler
from emmet.core.tasks import TaskDoc
from pymatgen.io.vasp import Incar, Outcar, Vasprun

from dft.patience import SilentRun
from dft.small_runs import make_folder
from dismaiflow.dft.rehearsal.failures import CASES, Failure, Failures
from dismaiflow.errors import DismaiError


@dataclass(frozen=True)
class Ended:
    """What custodian did."""

    folder: Path
    handlers: list[str]
    archives: int

    @property
    def task(self) -> TaskDoc:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TaskDoc.from_directory(self.folder)

    @property
    def attempts(self) -> int:
        return json.loads((self.folder / "rehearsal.json").read_text())["attempts"]

    def incar(self, name: str) -> Any:
        return Incar.from_file(self.folder / "INCAR").get(name)


def run(folder: Path, *options: str, handlers: Any = DEFAULT_HANDLERS, **tags: Any) -> Ended:
    """Run as atomate2 does, only looking more often than every ten seconds."""
    make_folder(folder, **tags)
    here = Path.cwd()
    command = f"{sys.executable} -m dismaiflow.dft.rehearsal --potential toy {' '.join(options)}"
    os.chdir(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_vasp(
                vasp_cmd=command,
                vasp_gamma_cmd=command,
                handlers=handlers,
                custodian_kwargs={"polling_time_step": 0.2, "monitor_freq": 2},
            )
    finally:
        os.chdir(here)
    (job,) = json.loads((folder / "custodian.json").read_text())
    names = [correction["handler"]["@class"] for correction in job["corrections"]]
    return Ended(folder, names, len(list(folder.glob("error.*.tar.gz"))))


def test_a_clean_run(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert (ended.handlers, ended.archives, ended.attempts) == ([], 0, 1)
    task = ended.task
    assert task.state == "successful"
    (calculation,) = task.calcs_reversed
    assert calculation.vasp_version.startswith("6.4.2")
    assert calculation.run_type == "PBE+U"
    assert calculation.output.efermi == 0
    assert len(calculation.output.ionic_steps) > 5
    assert task.structure.site_properties["magmom"] == [0.6] * 8
    assert task.output.energy == calculation.output.ionic_steps[-1].e_fr_energy


def test_line_search_fails_twice(tmp_path: Path) -> None:
    ended = run(tmp_path, "--fail zbrent@3", "--fail zbrent@4")
    assert ended.handlers == ["VaspErrorHandler"] * 2
    assert (ended.archives, ended.attempts) == (2, 3)
    assert ended.incar("NELMIN") == 8
    assert ended.task.state == "successful"
    # The second attempt began where the first one stopped.
    found = []
    for number in (1, 2):
        with tarfile.open(tmp_path / f"error.{number}.tar.gz") as archive:
            name = next(name for name in archive.getnames() if name.endswith("CONTCAR"))
            found.append(archive.extractfile(name).read())
    assert found[0] != found[1]
    assert (tmp_path / "POSCAR").read_bytes() == found[1]


def test_electrons_do_not_converge(tmp_path: Path) -> None:
    ended = run(tmp_path, "--fail nelm", NSW=8, EDIFFG=0)
    assert ended.handlers == ["UnconvergedErrorHandler"]
    assert ended.incar("ALGO") == "All"
    assert ended.task.state == "successful"


def test_forces_do_not_converge(tmp_path: Path) -> None:
    ended = run(tmp_path, "--fail unconverged", NSW=15)
    assert ended.handlers[0] == "UnconvergedErrorHandler"
    assert ended.incar("IBRION") == 1
    assert ended.task.state == "successful"
    assert len(ended.task.calcs_reversed[0].output.ionic_steps) < 15


def test_silence(tmp_path: Path) -> None:
    handlers = (SilentRun(timeout=3),)
    ended = run(tmp_path, "--fail hang@3", handlers=handlers)
    assert ended.handlers == ["SilentRun"]
    assert (ended.archives, ended.attempts) == (1, 2)
    assert ended.task.state == "successful"


def test_walltime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure for custodian, and none for the parser."""
    # The handler writes it to the environment, where it would stay.
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "")
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START")
    handlers = (*DEFAULT_HANDLERS, WalltimeHandler(wall_time=1, buffer_time=0))
    ended = run(tmp_path, "--fail walltime@3", handlers=handlers)
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "")  # so that what it wrote is undone
    assert set(ended.handlers) == {"WalltimeHandler"}
    assert Outcar(tmp_path / "OUTCAR").is_stopped
    task = ended.task
    assert task.state == "successful"
    steps = task.calcs_reversed[0].output.ionic_steps
    # The program waits in the third one; where it is slow to start, it is told to stop before.
    assert 0 < len(steps) <= 3
    assert np.linalg.norm(steps[-1].forces, axis=1).max() > 0.5


@pytest.mark.parametrize("case", ["truncated", "killed"])
def test_the_process_dies(tmp_path: Path, case: str) -> None:
    with pytest.raises(ValidationError, match="VasprunXMLValidator"):
        run(tmp_path, f"--fail {case}@4")
    assert not list(tmp_path.glob("error.*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left = Vasprun(tmp_path / "vasprun.xml", exception_on_bad_xml=False)
    assert len(left.ionic_steps) == 3


@pytest.mark.slow
def test_in_every_attempt(tmp_path: Path) -> None:
    with pytest.raises(MaxCorrectionsPerJobError):
        run(tmp_path, "--fail zbrent@2!")
    assert len(list(tmp_path.glob("error.*.tar.gz"))) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "handlers"),
    [
        ("explode", {"PotimErrorHandler", "PositiveEnergyErrorHandler"}),
        ("collapse", {"UnconvergedErrorHandler"}),
        ("edddav", {"VaspErrorHandler"}),
        ("brmix", {"VaspErrorHandler"}),
        ("nelm", {"NonConvergingErrorHandler"}),
    ],
)
def test_other_failures(tmp_path: Path, case: str, handlers: set[str]) -> None:
    ended = run(tmp_path, f"--fail {case}")
    # A run that ends before custodian looks is seen by UnconvergedErrorHandler too.
    assert handlers <= set(ended.handlers) <= handlers | {"UnconvergedErrorHandler"}
    assert ended.archives >= 1
    assert ended.task.state == "successful"


def test_a_collapse_without_a_force_limit_passes_for_a_success(tmp_path: Path) -> None:
    """What only a look at the numbers tells."""
    ended = run(tmp_path, "--fail collapse@3", NSW=5, EDIFFG=0)
    assert ended.handlers == []
    task = ended.task
    assert task.state == "successful"
    steps = task.calcs_reversed[0].output.ionic_steps
    assert steps[1].e_fr_energy - steps[2].e_fr_energy > 999 * 8


# Requests.


def test_requests() -> None:
    assert Failure.parse("hang") == Failure("hang", 2, False)
    assert Failure.parse("zbrent@12") == Failure("zbrent", 12, False)
    assert Failure.parse("killed@1!") == Failure("killed", 1, True)
    assert Failure.parse("nelm!") == Failure("nelm", 2, True)
    for text in ("", "hang@", "hang@0", "hang@-1", "Hang", "hang@2?", "crash"):
        with pytest.raises(DismaiError, match="use CASE"):
            Failure.parse(text)
    assert {"unconverged", "zbrent", "hang", "walltime", "truncated", "killed"} <= set(CASES)


def test_each_request_comes_once(tmp_path: Path) -> None:
    requests = [Failure.parse(text) for text in ("zbrent@2", "hang@2", "killed@3!", "nelm@2")]
    came = []
    for _ in range(5):
        failures = Failures(requests, tmp_path)
        came.append([failures.due(step) for step in (1, 2, 3)] + [failures.lasts("nelm")])
    assert came == [
        [None, "zbrent", "killed", False],
        [None, "hang", "killed", False],
        [None, None, "killed", True],
        [None, None, "killed", False],
        [None, None, "killed", False],
    ]
