"""Calculators in another process, and all that can go wrong there."""

from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import check_answers, open_potential
from dismaiflow.potentials.recipe import SHIPPED, write_recipe

CLIENT = Path(__file__).with_name("socket_client.py")


@pytest.fixture
def recipe(tmp_path):
    """Return a function that writes a recipe with changes and opens it."""

    def write(**changes):
        data = {
            "name": "stand-in",
            "command": [sys.executable, str(CLIENT), "unix", "{socket}", "{init}"],
            "env": {"FAULT": str(tmp_path / "fault"), "STARTS": str(tmp_path / "starts")},
            "timeout": 20,
            "start_timeout": 20,
        } | changes
        # JSON is YAML.
        text = json.dumps({key: value for key, value in data.items() if value is not None})
        (tmp_path / "recipe.yaml").write_text(text)
        return open_potential(f"command:{tmp_path / 'recipe.yaml'}", ["Cu"])

    return write


def starts(tmp_path):
    """Return the numbers of the client processes that were started."""
    path = tmp_path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def copper(seed=0, symbols=None):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    if symbols:
        atoms.symbols[:] = symbols
    return atoms


def same_as_here(atoms, calculator):
    there, here = atoms.copy(), atoms.copy()
    there.calc, here.calc = calculator, EMT()
    assert there.get_potential_energy() == pytest.approx(here.get_potential_energy(), abs=1e-9)
    assert there.get_forces() == pytest.approx(here.get_forces(), abs=1e-9)


#: Begins the names of the sockets of this process: others test on this machine, too.
OWN = secrets.token_hex(4)


@pytest.fixture(autouse=True)
def own_names(monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(
        "dismaiflow.potentials.sockets.secrets.token_hex", lambda _: f"{OWN}{next(numbers):08x}"
    )


def sockets():
    return set(Path("/tmp").glob(f"ipi_dismai_{OWN}*"))


def test_numbers_are_those_of_the_same_calculator_here(recipe, tmp_path):
    before = sockets()
    potential = recipe()
    calculator = pickle.loads(pickle.dumps(potential)).calculator()
    for seed in range(3):
        same_as_here(copper(seed), calculator)
    strained = copper(4)
    strained.set_cell(strained.cell.array * 1.02 + np.eye(3)[[1, 2, 0]] * 0.1, scale_atoms=True)
    same_as_here(strained, calculator)
    # The order of the elements does not matter, their numbers do.
    same_as_here(copper(5, ["Cu", "Au", "Cu", "Au"]), calculator)
    same_as_here(copper(6, ["Au", "Au", "Cu", "Cu"]), calculator)
    assert len(starts(tmp_path)) == 2
    assert sockets() == before
    calculator.close()
    assert not any(map(alive, starts(tmp_path)))


def test_faults_one_after_another(recipe, tmp_path):
    calculator = recipe(timeout=5).calculator()

    def fault(what):
        (tmp_path / "fault").write_text(what)
        atoms = copper(1)
        atoms.calc = calculator
        return atoms

    same_as_here(copper(), calculator)
    atoms = fault("nan")
    assert np.isnan(atoms.get_potential_energy())
    assert np.isnan(atoms.get_forces()[0]).all()
    # That is the fault of the structure; the client goes on.
    same_as_here(copper(), calculator)
    assert len(starts(tmp_path)) == 1
    for what, line in (
        ("die", "quit with exit code 3: out of memory, sorry"),
        ("short", "answered with 3 forces for 4 atoms and said nothing"),
        ("silence", "did not answer within 5 s and said nothing"),
    ):
        # After a fault the next structure gets a new client.
        same_as_here(copper(2), calculator)
        begun = time.monotonic()
        atoms = fault(what)
        with pytest.raises(DismaiError) as caught:
            atoms.get_forces()
        assert str(caught.value) == f"potential 'command:recipe.yaml': the client {line}"
        assert time.monotonic() - begun < 10
        assert not any(map(alive, starts(tmp_path)))
    assert len(starts(tmp_path)) == 3


def command(code):
    """Return a command that runs Python code; its last word is there for the socket."""
    return [sys.executable, "-S", "-c", code, "{socket}"]


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (
            "import sys; print('loading'); sys.exit('no weights here')",
            "quit before it connected with exit code 1: no weights here$",
        ),
        ("print('just this')", "quit before it connected with exit code 0: just this$"),
        ("import time; time.sleep(60)", "did not connect within 0.5 s and said nothing"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "quit before it connected by signal 9 and said nothing",
        ),
        (
            "import socket, sys; s = socket.socket(socket.AF_UNIX);"
            "s.connect('/tmp/ipi_' + sys.argv[1]); s.recv(12); s.sendall(b'HELLO'.ljust(12));"
            "s.recv(12)",
            r"does not keep to the protocol \(HELLO\)",
        ),
        (
            "import socket, sys; s = socket.socket(socket.AF_UNIX);"
            "s.connect('/tmp/ipi_' + sys.argv[1]); s.recv(12); sys.stdin.read(); s.recv(12)",
            "did not answer within 5 s",
        ),
    ],
)
def test_a_client_that_does_not_work_at_all(recipe, code, match):
    # Those that quit have time to do so on a busy machine.
    limit = re.search(r"within ([\d.]+) s", match)
    patience = float(limit[1]) if limit else 20
    potential = recipe(command=command(code), start_timeout=patience, timeout=patience)
    before = sockets()
    begun = time.monotonic()
    with pytest.raises(DismaiError, match=match) as caught:
        check_answers(potential, copper())
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 15
    assert sockets() == before


def test_a_program_that_cannot_be_started(recipe, tmp_path, monkeypatch):
    program = tmp_path / "client"
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    before = sockets()
    with pytest.raises(DismaiError, match=rf"{program} cannot be started \(No such file"):
        check_answers(recipe(command=["./client", "{socket}"]), copper())
    assert sockets() == before


def test_a_client_ends_with_its_calculator(recipe, tmp_path):
    atoms = copper()
    atoms.calc = recipe().calculator()
    atoms.get_forces()
    number = starts(tmp_path)[0]
    assert alive(number)
    del atoms
    gc.collect()
    assert not alive(number)


def test_a_client_ends_with_the_process(recipe, tmp_path):
    recipe()
    code = (
        "from ase.build import bulk; from dismaiflow.potentials.names import open_potential;"
        f"p = open_potential('command:{tmp_path / 'recipe.yaml'}');"
        "a = bulk('Cu'); a.calc = p.calculator(); print(a.get_potential_energy())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert not alive(starts(tmp_path)[0])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"comand": []}, "key 'comand' is not known: did you mean command"),
        ({"name": None}, "key 'name' is missing"),
        ({"timeout": -1}, "key 'timeout' should be greater than 0"),
        ({"command": []}, "key 'command'"),
        ({"command": "client {socket}"}, "key 'command' should be a valid list"),
        ({"command": ["/nowhere/python", "{socket}"]}, "no program '/nowhere/python' here"),
        ({"command": ["no-such-program", "{socket}"]}, "put it on PATH"),
        ({"command": ["true"]}, "needs either '{socket}' or '{host}' and '{port}'"),
        ({"command": ["true", "{socket}", "{port}"]}, "needs either"),
        ({"command": ["true", "{socket}", "${NO_SUCH_DISMAI}"]}, "NO_SUCH_DISMAI is not set"),
        ({"files": ["weights.pt"]}, "no file .*weights.pt' here"),
        ({"files": ["../weights.pt"]}, "leads out of the folder"),
        ({"elements": ["Cu", "Xx"]}, "Xx"),
        ({"elements": ["Ag", "Au"]}, r"does not know Cu \(it knows Ag, Au\)"),
    ],
)
def test_recipes_that_are_refused(recipe, changes, match):
    with pytest.raises(DismaiError, match=match) as caught:
        recipe(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "name: [", "name: a\nname: b\n"])
def test_files_that_are_no_recipes(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DismaiError, match=r"a\.yaml"):
        open_potential(f"command:{tmp_path / 'a.yaml'}")


def test_elements_of_a_structure_are_checked(recipe):
    potential = recipe(elements=["Cu", "Ag"])
    assert potential.card.elements == ["Cu", "Ag"]
    atoms = copper(symbols=["Cu", "Cu", "Cu", "Au"])
    atoms.calc = potential.calculator()
    with pytest.raises(DismaiError, match="does not know Au"):
        atoms.get_potential_energy()


def test_what_decides_the_hash(recipe, tmp_path, monkeypatch):
    weights = tmp_path / "elsewhere" / "weights"
    (weights / "deep").mkdir(parents=True)
    (weights / "a.bin").write_bytes(b"1")
    (weights / "deep" / "b.bin").write_bytes(b"2")
    (weights / ".hidden").write_bytes(b"3")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "client.py").write_text("print()")
    monkeypatch.setenv("DISMAI_TEST_WEIGHTS", str(weights))
    files = {"files": ["${DISMAI_TEST_WEIGHTS}", "beside"]}
    line = ["true", "{folder}/client.py", "--model=${DISMAI_TEST_WEIGHTS}", "{socket}"]
    first = recipe(command=line, **files)
    assert set(first.card.weights) == {
        "weights/a.bin",
        "weights/deep/b.bin",
        "beside/client.py",
    }
    # What lies beside the recipe goes with it; the weights are to be there already.
    assert set(first.files) == {"recipe.yaml", "beside/client.py"}
    assert str(tmp_path) not in first.card.model_dump_json()
    # Another program, waiting longer, and the same weights elsewhere.
    other = weights.rename(tmp_path / "elsewhere" / "moved")
    monkeypatch.setenv("DISMAI_TEST_WEIGHTS", str(other))
    same = recipe(command=["false", *line[1:]], timeout=9, **files)
    assert same.card.hash == first.card.hash
    changed = [
        recipe(command=[*line, "--fast"], **files),
        recipe(command=line, name="another", **files),
        recipe(command=line, files=["beside"]),
    ]
    (other / "a.bin").write_bytes(b"changed")
    changed.append(recipe(command=line, **files))
    assert len({first.card.hash, *(potential.card.hash for potential in changed)}) == 5


def test_a_recipe_on_another_disk_over_the_network(recipe, tmp_path):
    (tmp_path / "client.py").write_text(CLIENT.read_text())
    command = [sys.executable, "{folder}/client.py", "port", "{port}", "{init}"]
    potential = recipe(command=command, files=["client.py"])
    worker = tmp_path / "worker"
    worker.mkdir()
    for name, path in potential.files.items():
        (worker / name).write_bytes(path.read_bytes())
        path.unlink()
    there = open_potential(potential.card.name, folder=worker)
    assert there.card == potential.card
    calculator = there.calculator()
    same_as_here(copper(), calculator)
    calculator.close()


def test_the_recipe_of_m3gnet(tmp_path, monkeypatch):
    written = write_recipe(tmp_path / "mine")
    assert [path.name for path in written] == ["m3gnet-0.0.7.yaml", "m3gnet_client.py"]
    with pytest.raises(DismaiError, match="is there already"):
        write_recipe(tmp_path / "mine")
    with pytest.raises(DismaiError, match=r"it has m3gnet-0\.0\.7"):
        write_recipe(tmp_path, "m3gnet")
    name = f"command:{written[0]}"
    for variable in ("M3GNET_PYTHON", "M3GNET_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(DismaiError, match="the variable M3GNET_PYTHON is not set"):
        open_potential(name)
    monkeypatch.setenv("M3GNET_PYTHON", sys.executable)
    weights = tmp_path / "m3gnet_int"
    monkeypatch.setenv("M3GNET_MODEL", str(weights))
    with pytest.raises(DismaiError, match=r"no file .*m3gnet_int"):
        open_potential(name)
    weights.mkdir()
    (weights / "m3gnet.index").write_bytes(b"")
    potential = open_potential(name, ["Li", "Co", "Sc", "Cl", "O"])
    assert set(potential.card.weights) == {"m3gnet_client.py", "m3gnet_int/m3gnet.index"}
    # The client itself says what it lacks.
    with pytest.raises(DismaiError, match=r"exit code 1: .*m3gnet_int: holds no weights"):
        check_answers(potential, bulk("Li"))


FAKE_M3GNET = """
from ase.calculators.emt import EMT


class M3GNet:
    @classmethod
    def load(cls, folder):
        return folder


def Potential(model):
    return model


def M3GNetCalculator(potential, compute_stress=True):
    assert compute_stress is False
    return EMT()
"""


def test_the_client_of_m3gnet_with_a_package_of_the_same_interface(tmp_path, monkeypatch):
    """The names of m3gnet 0.0.7 and how they are called; TensorFlow is not needed for that."""
    package = tmp_path / "site" / "m3gnet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(FAKE_M3GNET)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "m3gnet.json").write_text("{}")
    path, _ = write_recipe(tmp_path / "mine")
    text = path.read_text().replace("elements: [Li, Co, Sc, O, Cl]", "elements: [Cu]")
    path.write_text(text)
    monkeypatch.setenv("M3GNET_PYTHON", sys.executable)
    monkeypatch.setenv("M3GNET_MODEL", str(weights))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    calculator = open_potential(f"command:{path}", ["Cu"]).calculator()
    same_as_here(copper(), calculator)
    calculator.close()


def test_the_shipped_client_runs_in_old_environments():
    source = (SHIPPED / "m3gnet_client.py").read_text()
    assert "dismaiflow" not in source
    compile(source, "m3gnet_client.py", "exec", dont_inherit=True)
    import ast

    ast.parse(source, feature_version=(3, 9))
