"""Twenty steps equal ten, a SIGKILL, a resume and ten more, bit for bit, for every model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from dismaiflow.models.registry import get_model

from .killed import TOYS

TESTS = Path(__file__).parents[1]


def run(model: str, word: str, *folders: Path) -> int:
    """Train in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "models.killed", model, word, *map(str, folders)],
        cwd=TESTS,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


@pytest.mark.parametrize("model", list(TOYS))
def test_killed_and_resumed(model: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(model, "kill", parts) == -signal.SIGKILL
    assert (parts / "checkpoint.pt").is_file()
    assert not (parts / "weights.pt").exists()
    assert run(model, "live", parts, whole) == 0
    import torch

    one, other = (
        torch.load(folder / "weights.pt", weights_only=True)["weights"] for folder in (whole, parts)
    )
    for name, state in one.items():
        for key, tensor in state.items():
            assert torch.equal(tensor, other[name][key]), (name, key)
    made = [get_model(model, TOYS[model]).sample(folder, 3, seed=1) for folder in (whole, parts)]
    assert made[0].content_hash == made[1].content_hash
