"""Trained potentials that several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dismaiflow.potentials.training.data import TrainingData, check_sets
from dismaiflow.potentials.training.run import TrainedFolder, train_to_folder

from .toys import frames, tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads depend on their number."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("matgl")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing, which would take longer than the trainings; `trained` has real pictures."""
    from dismaiflow.potentials.training import card

    def empty(path: Path, *_: object) -> None:
        path.write_bytes(b"")

    monkeypatch.setattr(card, "draw_curves", empty)
    monkeypatch.setattr(card, "draw_parity", empty)


@pytest.fixture(scope="session")
def data() -> TrainingData:
    return check_sets(frames().split())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, data: TrainingData) -> TrainedFolder:
    """A tiny potential after four epochs."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    return train_to_folder(
        folder, data, tiny(epochs=4), device="cpu", split={"by": "parent", "seed": 0}
    )
