"""``dismai dft``: inputs that anyone can look at, and workers that have what they need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.dft import check

if TYPE_CHECKING:
    import pytest

    from .conftest import Dismai


def test_inputs_of_every_calculation(dismai: Dismai, tmp_path: Path) -> None:
    ran = dismai("dft", "inputs", "tiny-li2o-licl", "--out", tmp_path / "in", "--n", 2)
    assert ran.code == 0, ran.err
    places = sorted(str(p.parent.relative_to(tmp_path / "in")) for p in tmp_path.rglob("INCAR"))
    assert places == [
        "all/random-0",
        "all/random-1",
        "bulk/Li2O",
        "bulk/LiCl",
        "region/random-0",
        "region/random-1",
        "static/random-0",
        "static/random-1",
    ]
    rows = [line.split() for line in ran.out.splitlines()]
    region = next(row for row in rows if row and row[0].endswith("region/random-0"))
    assert region[1:] == ["46", "15", "gamma", "1", "x", "1", "x", "1", "Li_sv", "Cl", "O"]
    assert ["INCAR", "ENCUT", "374.3", "paper,", "section", "4.5,", "for", "lsc-lco"] in rows
    assert any(row[:3] == ["INCAR", "PREC", "Accurate"] and "choice:" in row for row in rows)
    assert ran.err.startswith("warning: POTCAR.spec written in the place of POTCAR: no folder of")
    assert ran.err.count("\n") == 1
    again = dismai("dft", "inputs", "tiny-li2o-licl", "--out", tmp_path / "in")
    assert again.refusal == f"{tmp_path / 'in'}: is not empty; choose another --out"


def test_structures_of_a_file_and_a_held_vector(dismai: Dismai, tmp_path: Path) -> None:
    made = dismai("dft", "inputs", "li2o-li-110", "--stage", "full-cell", "--out", tmp_path / "a")
    assert made.code == 0, made.err
    assert "warning: li2o-li-110: all three cell vectors are free" in made.err
    poscar = tmp_path / "a/full-cell/random-0/POSCAR"
    words = ("--structures", poscar, "--stage", "full-cell", "--fixed-c")
    held = dismai("dft", "inputs", "li2o-li-110", *words, "--out", tmp_path / "b")
    assert held.code == 0, held.err
    assert "free" not in held.err
    assert "LATTICE_CONSTRAINTS" in held.out
    (incar,) = (tmp_path / "b").rglob("INCAR")
    assert "LATTICE_CONSTRAINTS = True True False" in incar.read_text()
    foreign = dismai("dft", "inputs", "lyc-lco", *words[:2], "--stage", "bulk", "--out", tmp_path)
    assert foreign.code == 2


def test_wrong_words(dismai: Dismai, tmp_path: Path) -> None:
    ran = dismai("dft", "inputs", "lsc-lco", "--stage", "first", "--out", tmp_path / "x")
    assert ran.refusal.startswith("--stage first: choose bulk, region, all, full-cell,")
    ran = dismai("dft", "inputs", "amorphous-si", "--out", tmp_path / "x")
    assert ran.refusal == "amorphous-si has no random structures: give --structures FILE"


def test_check_names_each_fault_in_a_line(dismai: Dismai) -> None:
    ran = dismai("dft", "check", "li2o-li-110", "--command", "srun_none vasp_none")
    assert ran.code == 2
    faults = [line for line in ran.err.splitlines() if line.startswith("FAULT")]
    assert len(faults) == 2
    assert faults[0].startswith("FAULT   VASP: 'srun_none' of the command 'srun_none vasp_none' is")
    assert "PMG_VASP_PSP_DIR" in faults[1]
    warnings = [line for line in ran.err.splitlines() if line.startswith("warning")]
    assert "silently run with the command above" in warnings[0]
    assert "vacuum is closed" in warnings[1]
    assert "ok      scratch: " in ran.out


def test_missing_packages_are_named_with_their_extra(
    dismai: Dismai, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "installed_versions", lambda names: {})
    line = "the DFT calculations need the package atomate2: pip install 'dismaiflow[dft]'"
    assert dismai("dft", "check").refusal == line
    assert dismai("dft", "inputs", "lsc-lco", "--out", tmp_path / "x").refusal == line
