"""Models given by two command lines."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.models import command
from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.command import CommandModel, read_command
from dismaiflow.models.registry import choose, open_model
from dismaiflow.structures.structure_set import StructureSet
from models.outside_models import SHELL, SHELL_YAML

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data() -> ModelData:
    rng = np.random.default_rng(0)
    train = StructureSet.uniform([[26, 28]] * 4, rng.random((4, 2, 3)), 3.6 * np.eye(3))
    return ModelData(train)


@pytest.fixture
def model(tmp_path: Path) -> CommandModel:
    return CommandModel(read_command(shell_model(tmp_path)))


def shell_model(folder: Path, script: str = SHELL, text: str = SHELL_YAML) -> Path:
    """Write the shell model into a folder."""
    path = folder / "model.sh"
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "shell.yaml").write_text(text)
    return folder / "shell.yaml"


def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work folder"
    folder.mkdir(exist_ok=True)
    return folder


def test_two_launches_and_structures(model: CommandModel, data: ModelData, tmp_path: Path) -> None:
    """Exit code 75 asks for another one; paths may have spaces, since there is no shell."""
    folder = work(tmp_path)
    first = model.fit(data, folder, seed=1, budget=Budget())
    assert (first.finished, first.step) == (False, 1)
    described = json.loads((folder / "data" / "dataset.json").read_text())
    assert described["composition"] == {"Fe": 1, "Ni": 1}
    assert described["counts"] == {"train": 4}
    second = model.fit(data, folder, seed=1, budget=Budget())
    assert (second.finished, second.step) == (True, 2)
    assert not (folder / "data").exists()
    made = model.sample(folder, 3, seed=0)
    assert made.structures.select(range(3)).content_hash == data.train.select(range(3)).content_hash


def test_an_environment_of_its_own(tmp_path: Path, data: ModelData, monkeypatch) -> None:
    """A Python that has nothing of ours: no package, no variables that lead to it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (tmp_path / "model.py").write_text(
        "import os, pathlib, sys\n"
        "assert 'PYTHONPATH' not in os.environ and os.environ['MINE'] == 'yes'\n"
        "try:\n    import numpy\n    sys.exit('numpy is here')\nexcept ImportError:\n    pass\n"
        "pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text())\n"
    )
    (tmp_path / "own.yaml").write_text(
        "name: own\n"
        "train: [env/bin/python, model.py, '{train}', '{folder}/kept']\n"
        "generate: [env/bin/python, model.py, '{folder}/kept', '{out}']\n"
        "env: {MINE: 'yes'}\n"
    )
    model = open_model(choose(str(tmp_path / "own.yaml")))
    folder = work(tmp_path)
    assert model.fit(data, folder, seed=0, budget=Budget()).finished
    assert len(model.sample(folder, 4, seed=0).structures) == 4


def test_a_failure_says_what_the_command_said(tmp_path: Path, data: ModelData) -> None:
    script = "#!/bin/sh\necho one >&2\necho two words\nexit 3\n"
    model = CommandModel(read_command(shell_model(tmp_path, script)))
    with pytest.raises(DismaiError, match=r"train failed with exit code 3: one \| two words"):
        model.fit(data, work(tmp_path), seed=0, budget=Budget())


def test_no_structures_are_a_failure(model: CommandModel, data: ModelData, tmp_path: Path) -> None:
    folder = work(tmp_path)
    (folder / "work").mkdir()
    silent = CommandModel(model.spec.model_dump() | {"generate": ["true", "{out}"]})
    with pytest.raises(DismaiError, match=r"wrote no \{out\} file"):
        silent.sample(folder, 1, seed=0)


def test_told_to_stop(tmp_path: Path, data: ModelData) -> None:
    """When the budget is over it gets SIGTERM, and may say that it has written a checkpoint."""
    script = "#!/bin/sh\ntrap 'exit 75' TERM\nwhile true; do sleep 0.05; done\n"
    model = CommandModel(read_command(shell_model(tmp_path, script)))
    result = model.fit(data, work(tmp_path), seed=0, budget=Budget(0.3))
    assert not result.finished


def test_deaf_ones_are_killed(tmp_path: Path, data: ModelData, monkeypatch) -> None:
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.2)
    script = "#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 0.05; done\n"
    model = CommandModel(read_command(shell_model(tmp_path, script)))
    with pytest.raises(DismaiError, match="signal SIGKILL"):
        model.fit(data, work(tmp_path), seed=0, budget=Budget(0.2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\ntrain: [a]\n", "generate: Field required"),
        ("name: x\ntrain: [a]\ngenerate: [b]\n", "needs the word {out}"),
        ("name: x\ntrain: [a, '{trian}']\ngenerate: [b, '{out}']\n", "{trian} is not known here"),
        ("name: x\ntrain: a b\ngenerate: [b, '{out}']\n", "train: "),
        ("name: x\ntrain: [a]\ngenerate: [b, '{out}']\nshell: true\n", "shell: "),
        ("- 1\n", "must name a model"),
        ("a: [\n", "is no YAML file"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, said: str) -> None:
    path = shell_model(tmp_path, text=text)
    with pytest.raises(DismaiError) as error:
        read_command(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_program_that_is_not_there(tmp_path: Path, data: ModelData) -> None:
    text = SHELL_YAML.replace("./model.sh, train", "./gone.sh, train")
    model = CommandModel(read_command(shell_model(tmp_path, text=text)))
    with pytest.raises(DismaiError, match=r"cannot run .*gone\.sh .*: mend the command 'train'"):
        model.fit(data, work(tmp_path), seed=0, budget=Budget())
