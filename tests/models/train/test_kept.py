"""Which weights a training keeps, when it looks at them, and when its time is spent."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from dismaiflow.errors import DismaiError  # noqa: E402
from dismaiflow.models.base import Budget  # noqa: E402
from dismaiflow.models.train.learner import Learner, Place  # noqa: E402
from dismaiflow.models.train.loop import TrainPlan, train  # noqa: E402
from dismaiflow.models.train.weights import read_weights  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


class Counter(Learner):
    """Two networks of one weight: each step adds one to the first; the second follows on step 6."""

    def __init__(self) -> None:
        self.modules = {name: torch.nn.Linear(1, 1, bias=False) for name in ("one", "two")}
        for module in self.modules.values():
            torch.nn.init.zeros_(module.weight)
        self.optimizers, self.schedulers = {}, {}
        self.step_now = 0

    @property
    def judged(self) -> list[str]:
        return ["one" if self.step_now < 6 else "two"]

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        self.step_now = at.step
        with torch.no_grad():
            self.modules[self.judged[0]].weight += 1
        return {"loss": 0.0}

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        """Smallest where a weight is three."""
        return {"loss": abs(self.modules[self.judged[0]].weight.item() - 3)}


def kept(folder: Path, **changes: Any) -> tuple[float, float]:
    """Train for ten steps, six of them of the first network, and return the weights."""
    folder.mkdir(exist_ok=True)
    left = changes.pop("parts", 1)
    plan = TrainPlan(**{"n_items": 5, "batch_size": 1, "epochs": 2} | changes)
    for _ in range(left):
        result = train(Counter(), plan, folder, 0, Budget(0.0 if left > 1 else None), {})
    assert result.finished
    found = read_weights(folder / "weights.pt")["weights"]
    return tuple(found[name]["weight"].item() for name in ("one", "two"))


def test_the_last_ones(tmp_path: Path) -> None:
    assert kept(tmp_path, validate_steps=1) == (6, 4)


def test_the_best_of_each_network(tmp_path: Path) -> None:
    best = {"kept_weights": "smallest-validation-loss"}
    assert kept(tmp_path / "steps", validate_steps=1, **best) == (3, 3)
    # A launch for each step: what was best before is not forgotten.
    assert kept(tmp_path / "parts", validate_steps=1, parts=10, **best) == (3, 3)
    # Seen after steps 4 and 8 only: then they are 4 and 2.
    assert kept(tmp_path / "fourth", validate_steps=4, **best) == (4, 2)
    # At the ends of the epochs, after five steps and ten, they are 5 and 4.
    assert kept(tmp_path / "epochs", **best) == (5, 4)
    assert kept(tmp_path / "never", validate_every=0, **best) == (6, 4)


def test_rows_of_the_log(tmp_path: Path) -> None:
    """After steps 3, 6 and 9 of epochs of five steps; and one of each epoch."""
    kept(tmp_path, validate_steps=3)
    with (tmp_path / "log.csv").open(newline="") as stream:
        rows = [(row["row"], row["step"], row["val_loss"]) for row in csv.DictReader(stream)]
    assert rows == [
        ("steps", "3", "0"),
        ("epoch", "5", ""),
        ("steps", "6", "3"),
        ("steps", "9", "0"),
        ("epoch", "10", ""),
    ]


def test_a_validation_at_the_end_of_an_epoch_is_in_its_row(tmp_path: Path) -> None:
    kept(tmp_path, validate_steps=5)
    with (tmp_path / "log.csv").open(newline="") as stream:
        found = [(row["row"], row["val_loss"]) for row in csv.DictReader(stream)]
    assert found == [("epoch", "2"), ("epoch", "1")]


def test_a_training_ends_when_its_time_is_spent(tmp_path: Path) -> None:
    plan = TrainPlan(n_items=5, batch_size=1, epochs=10**6, max_train_seconds=1e-9)
    result = train(Counter(), plan, tmp_path, 0, Budget(), {})
    assert result.finished
    assert result.step == 1
    # It stays complete when it is asked for again.
    assert train(Counter(), plan, tmp_path, 0, Budget(), {}).finished


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_train_seconds", 0.0), ("kept_weights", "best"), ("validate_steps", 0)],
)
def test_a_plan_that_makes_no_sense(key: str, value: object) -> None:
    with pytest.raises(DismaiError, match=key):
        TrainPlan(**{"n_items": 1, "batch_size": 1, "epochs": 1, key: value})
