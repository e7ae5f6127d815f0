"""``dismai dft``: inputs that anyone can look at, and workers that have what they need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from dft.test_makers import stub_potcar
from dismaiflow.cli.dft_structures import prepare
from dismaiflow.dft import check
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from ase import Atoms

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
    region = next(row for row in rows if row and row[0] == "region/random-0")
    assert region[1:] == ["46", "15", "gamma", "1", "x", "1", "x", "1", "Li_sv", "Cl", "O"]
    assert ["INCAR", "ENCUT", "374.3", "paper,", "section", "4.5,", "for", "lsc-lco"] in rows
    assert any(row[:3] == ["INCAR", "PREC", "Accurate"] and "choice:" in row for row in rows)
    assert ran.err.startswith("warning: POTCAR.spec written in the place of POTCAR: no folder of")
    assert ran.err.count("\n") == 1
    again = dismai("dft", "inputs", "tiny-li2o-licl", "--out", tmp_path / "in")
    line = "already holds files; choose another folder or empty it"
    assert again.refusal == f"{tmp_path / 'in'}: {line}"


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
    words = ("tiny-li2o-licl", "--fixed-c", "--out", tmp_path / "c")
    assert dismai("dft", "inputs", *words).refusal.startswith("--fixed-c: holds a vector of")
    words = ("lyc-lco", "--structures", poscar, "--stage", "bulk", "--out", tmp_path / "c")
    assert "bulk takes the crystals" in dismai("dft", "inputs", *words).refusal


@pytest.fixture(scope="module")
def interface() -> Atoms:
    """One of 46 atoms."""
    system = get_system("tiny-li2o-licl").self_contained()
    return built_generator(system).generate(range(1), 0).structures.atoms(0)


def _broken(kind: str, atoms: Atoms, folder: Path) -> Path:
    path = folder / ("broken.vasp" if kind == "truncated" else "broken.extxyz")
    atoms.info.clear()
    if kind == "truncated":
        ase.io.write(path, atoms, format="vasp")
        path.write_text("\n".join(path.read_text().splitlines()[:20]))
        return path
    if kind == "no cell":
        atoms.cell[:] = 0
        atoms.pbc = False
    elif kind == "nan":
        atoms.positions[3, 1] = np.nan
    elif kind == "one missing":
        del atoms[5]
    elif kind == "foreign":
        atoms.symbols[0] = "Na"
    ase.io.write(path, [atoms], format="extxyz")
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "1 of 1 structures cannot be read (broken.vasp: "),
        ("no cell", "1 of 1 structures cannot be read (0: has no Lattice): mend"),
        ("nan", "structure 0 is none: a coordinate or cell length is NaN"),
        ("one missing", "but tiny-li2o-licl is Cl8Li28O10"),
        ("foreign", "is Cl8Li27NaO10, but tiny-li2o-licl is Cl8Li28O10"),
    ],
)
def test_broken_structures_are_refused_before_anything_is_written(
    dismai: Dismai, tmp_path: Path, interface: Atoms, kind: str, said: str
) -> None:
    path = _broken(kind, interface.copy(), tmp_path)
    words = ("tiny-li2o-licl", "--structures", path, "--out", tmp_path / "x")
    refusal = dismai("dft", "inputs", *words).refusal
    assert refusal.startswith(f"{path}: ")
    assert said in refusal
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(("x", ".x"))]


def test_strange_structures_are_named_and_all_of_a_file_are_taken(
    tmp_path: Path, interface: Atoms
) -> None:
    tall, twice = interface.copy(), interface.copy()
    interface.info.clear()
    tall.cell[2] *= 3
    twice.positions[1] = twice.positions[0] + [0.1, 0, 0]
    path = tmp_path / "three.extxyz"
    ase.io.write(path, [interface, tall, twice], format="extxyz")
    spec = get_system("tiny-li2o-licl")
    sound, long, double = prepare(spec, "static", path, None, 0)
    assert sound.warnings == ()
    (line,) = long.warnings
    assert line.startswith(f"{path}: 1: has cell lengths of ")
    (line,) = double.warnings
    assert line.startswith(f"{path}: 2: 1 pairs of atoms are closer than 0.5 Å (0.10 Å)")
    assert len(list(prepare(spec, "static", path, 2, 0))) == 2


def test_a_failure_leaves_nothing_behind(
    dismai: Dismai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, *_: object) -> None:
        assert (folder / "INCAR").is_file()
        raise DismaiError("no")

    monkeypatch.setattr(check, "check_inputs", fail)
    ran = dismai("dft", "inputs", "lsc-lco", "--stage", "bulk", "--out", tmp_path / "a" / "x")
    assert ran.refusal == "no"
    assert not (tmp_path / "a").exists()


def test_nan_is_found_when_inputs_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text("x\n1\n4 0 0\n0 4 0\n0 0 4\nLi\n1\nDirect\n0 nan 0\n")
    with pytest.raises(DismaiError, match="POSCAR: a coordinate or cell length is NaN"):
        check.read_inputs(tmp_path)


def test_other_valence_electrons_and_the_remarks_of_pymatgen(
    dismai: Dismai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "potentials"))
    stub_potcar(tmp_path / "potentials", "Li_sv", 1)
    words = ("tiny-li2o-licl", "--stage", "bulk", "--out", tmp_path / "x")
    ran = dismai("dft", "inputs", *words)
    assert "no usable POTCAR Cl, O of PBE_54" in ran.err
    for symbol, valence in (("Cl", 7), ("O", 6)):
        stub_potcar(tmp_path / "potentials", symbol, valence)
    ran = dismai("dft", "inputs", *words[:3], "--out", tmp_path / "y")
    assert ran.code == 0, ran.err
    lines = ran.err.splitlines()
    assert len(lines) == len(set(lines))
    (line,) = [line for line in lines if "valence electrons" in line]
    assert line.startswith("warning: Li_sv of PBE_54 has 1 valence electrons, but the paper's has")
    assert all(line.startswith("warning: ") for line in lines)
    assert (tmp_path / "y/bulk/Li2O/POTCAR").is_file()


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
    ran = dismai("dft", "check", "--command", "sh")
    assert "ok      VASP: sh (set by --command)" in ran.out
    ran = dismai("dft", "check", "--command", "")
    assert "VASP: the command is empty: give the one that runs VASP by --command" in ran.err


def test_missing_packages_are_named_with_their_extra(
    dismai: Dismai, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "installed_versions", lambda names: {})
    line = "the DFT calculations need the package atomate2: pip install 'dismaiflow[dft]'"
    assert dismai("dft", "check").refusal == line
    assert dismai("dft", "inputs", "lsc-lco", "--out", tmp_path / "x").refusal == line
