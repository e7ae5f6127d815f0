"""Threads of trainings and samplings on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

torch = pytest.importorskip("torch")

from dismaiflow.models import torch_model  # noqa: E402
from dismaiflow.models.base import Budget, FitResult  # noqa: E402
from dismaiflow.potentials.devices import threads  # noqa: E402

from .killed import SEED, data, make  # noqa: E402


@pytest.fixture(autouse=True)
def many_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of three cores."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("told", "expected"), [(None, 1), ("3", 3)])
def test_one_unless_told(
    told: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several workers on a machine wait for each other's threads; one may have them all."""
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    model = make("cryingan")
    seen = []

    def see(*_: object) -> FitResult:
        seen.append(torch.get_num_threads())
        return FitResult(True, 1, 1, 0.0, {})

    monkeypatch.setattr(type(model), "_train", see)
    monkeypatch.setattr(type(model), "_generate", see)
    monkeypatch.setattr(
        torch_model, "read_described", lambda *_: {"settings": model.settings.model_dump()}
    )
    model.fit(data(), tmp_path, seed=SEED, budget=Budget())
    model.sample(tmp_path, 1, seed=SEED)
    assert seen == [expected, expected]
    assert torch.get_num_threads() == 3


def test_beside_a_gpu_they_are_left_alone() -> None:
    """There they only bring the data."""
    with threads("cuda"):
        assert torch.get_num_threads() == 3
