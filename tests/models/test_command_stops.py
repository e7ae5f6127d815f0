"""Commands that leave programs behind when they are stopped, or when their job is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.command import CommandModel
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

#: Waits for a signal, and takes its time over a checkpoint.
SLOW_SAVER = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def save(*_):
    time.sleep(0.5)
    (folder / "checkpoint").write_text("whole")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""

#: Starts a training and is killed; what it has started goes on.
KILLED_JOB = """
import os, signal, sys, threading, time
from pathlib import Path
import numpy as np
from dismaiflow.models.base import Budget, ModelData
from dismaiflow.models.command import CommandModel
from dismaiflow.structures.structure_set import StructureSet
folder = Path(sys.argv[1])
def kill():
    while not (folder / "work" / "pid").exists() or not (folder / "work" / "pid").read_text():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill).start()
data = ModelData(StructureSet.uniform([[26]], np.zeros((1, 1, 3)), np.eye(3)))
words = ["sh", "-c", 'echo $$ > "$0/pid.part"; mv "$0/pid.part" "$0/pid"; sleep 60', "{folder}"]
command = {"name": "orphan", "train": words, "generate": ["true", "{out}"]}
CommandModel(command).fit(data, folder, seed=0, budget=Budget())
"""


def data() -> ModelData:
    return ModelData(StructureSet.uniform([[26]], np.zeros((1, 1, 3)), np.eye(3)))


def test_a_program_behind_a_shell_may_save(tmp_path: Path) -> None:
    """The shell ends by the signal at once; the next launch must not find half a checkpoint."""
    (tmp_path / "saver.py").write_text(SLOW_SAVER)
    line = f'"{sys.executable}" saver.py "$0"; exit $?'
    command = {
        "name": "behind-a-shell",
        "train": ["sh", "-c", line, "{folder}"],
        "generate": ["true", "{out}"],
        "folder": str(tmp_path),
    }
    folder = tmp_path / "run"
    folder.mkdir()
    budget = _OverWhen(folder / "work" / "ready")
    result = CommandModel(command).fit(data(), folder, seed=0, budget=budget)
    assert not result.finished
    assert (folder / "work" / "checkpoint").read_text() == "whole"


def test_two_never_train_in_one_folder(tmp_path: Path) -> None:
    """What a killed job has left running is told; once it has ended the training goes on."""
    killed = subprocess.run([sys.executable, "-c", KILLED_JOB, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = int((tmp_path / "work" / "pid").read_text())
    model = CommandModel({"name": "next", "train": ["true"], "generate": ["true", "{out}"]})
    try:
        with pytest.raises(DismaiError, match=r"started before still works in .*; wait for it, or"):
            model.fit(data(), tmp_path, seed=0, budget=Budget())
    finally:
        os.killpg(left, signal.SIGKILL)
    for _ in range(100):
        try:
            assert model.fit(data(), tmp_path, seed=0, budget=Budget()).finished
            break
        except DismaiError:
            time.sleep(0.05)
    else:
        pytest.fail("the lock outlives its holder")


class _OverWhen(Budget):
    """A budget that is over as soon as a file is there."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def over(self) -> bool:
        return self._path.exists()
