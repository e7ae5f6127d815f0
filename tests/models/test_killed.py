"""Twenty steps equal twenty in parts, bit for bit, for every model: killed, or out of time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dismaiflow.models.base import Budget  # noqa: E402
from dismaiflow.models.checks import as_read  # noqa: E402
from dismaiflow.models.train import loop  # noqa: E402

from .killed import COMMAND, SEED, TOYS, data, leave_out, make  # noqa: E402
from .walker import LIMITED, PLACE  # noqa: E402

TESTS = Path(__file__).parents[1]


def learned(folder: Path) -> dict[str, Any]:
    """Return all that was learned: weights by network and name, or where the walk has ended."""
    place = folder / "work" / PLACE
    if place.exists():
        return dict(json.loads(place.read_text()))
    found = torch.load(folder / "weights.pt", weights_only=True)["weights"]
    return {
        f"{n}.{key}": tensor.tolist() for n, state in found.items() for key, tensor in state.items()
    }


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path) -> None:
    """All in one process, which imports torch once and forks for each kill."""
    done = subprocess.run(
        [sys.executable, "-m", "models.killed", str(tmp_path)],
        cwd=TESTS,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for model in (*TOYS, COMMAND):
        both = [tmp_path / model / word for word in ("whole", "parts")]
        assert learned(both[0]) == learned(both[1]), model
        made = [as_read(make(model).sample(one, 3, seed=1), 3).structures for one in both]
        assert len(made[0]) == 3, model
        assert made[0].content_hash == made[1].content_hash, model


class Steps(Budget):
    """A budget of steps: a model of the package looks at it after each."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    @property
    def over(self) -> bool:
        self._left -= 1
        return self._left <= 0


@pytest.mark.parametrize("model", [*TOYS, COMMAND])
def test_out_of_time_and_gone_on(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each launch ends when its time is over, the last one at the end of the training."""
    monkeypatch.setattr(loop, "draw_curves", leave_out)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    launches = []
    while not launches or not launches[-1]:
        budget = Budget(60.0) if model == COMMAND else Steps(LIMITED)
        found = make(model).fit(data(), parts, seed=SEED, budget=budget)
        launches.append(found is None or found.finished)
    assert len(launches) == 3  # of seven steps, seven and six
    make(model).fit(data(), whole, seed=SEED, budget=Budget())
    assert learned(parts) == learned(whole)
