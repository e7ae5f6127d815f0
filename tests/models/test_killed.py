"""Twenty steps equal ten, a SIGKILL, a resume and ten more, bit for bit, for every model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from dismaiflow.models.base import Budget
from dismaiflow.models.registry import get_model

from .killed import SEED, TOYS, data

TESTS = Path(__file__).parents[1]


def killed(model: str, folder: Path) -> None:
    """Train in a process that is killed amid its eleventh step."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "models.killed", model, str(folder)],
        cwd=TESTS,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("model", list(TOYS))
def test_killed_and_resumed(model: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    killed(model, parts)
    assert (parts / "checkpoint.pt").is_file()
    assert not (parts / "weights.pt").exists()
    import torch

    torch.set_num_threads(1)
    for folder in (parts, whole):
        folder.mkdir(exist_ok=True)
        get_model(model, TOYS[model]).fit(data(), folder, seed=SEED, budget=Budget())

    one, other = (
        torch.load(folder / "weights.pt", weights_only=True)["weights"] for folder in (whole, parts)
    )
    for name, state in one.items():
        for key, tensor in state.items():
            assert torch.equal(tensor, other[name][key]), (name, key)
    made = [get_model(model, TOYS[model]).sample(folder, 3, seed=1) for folder in (whole, parts)]
    assert made[0].content_hash == made[1].content_hash
