"""The training loop: exact resume, stops, snapshots, logs and refusals."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.train.toys import IDENTITY, SEED, Adversaries, plan
from tests.small_disk import mounted

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import Budget
from dismaiflow.models.train.checkpoint import State, plain
from dismaiflow.models.train.learner import Place
from dismaiflow.models.train.log import TrainingLog
from dismaiflow.models.train.loop import TrainPlan, load_weights, train
from dismaiflow.models.train.randomness import epoch_order, seeded
from dismaiflow.models.train.weights import read_snapshots, read_weights, seconds_name

ROOT = Path(__file__).parents[3]


def run(folder: Path, learner: Adversaries | None = None, **changes: object) -> Adversaries:
    """Train to the end, or to the end of a budget of no seconds."""
    learner = learner or Adversaries()
    over = changes.pop("over", False)
    folder.mkdir(exist_ok=True)
    train(learner, plan(**changes), folder, SEED, Budget(0.0 if over else None), IDENTITY)
    return learner


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def untimed(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]


def same(one: object, other: object) -> bool:
    """Whether two nested states are the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same(one: Adversaries, other: Adversaries) -> None:
    for kind in ("modules", "optimizers", "schedulers"):
        for name, part in getattr(one, kind).items():
            assert same(part.state_dict(), getattr(other, kind)[name].state_dict()), (kind, name)
    assert one.average == other.average


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Adversaries]:
    """Twenty steps in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


@pytest.mark.parametrize("when", ["step", "write"])
def test_killed_and_resumed_is_the_same(tmp_path: Path, whole, when: str) -> None:
    """Ten steps, SIGKILL later or within the next checkpoint, and ten more: bit for bit."""
    folder, straight = whole
    code = [sys.executable, "-m", "tests.models.train.toys", str(tmp_path), when]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert State.read(tmp_path / "checkpoint.pt").step == 10
    assert len(list(tmp_path.glob(".checkpoint.pt.*"))) == (when == "write")
    # A line that was cut off, and a row of the future.
    with (tmp_path / "log.csv").open("a") as stream:
        stream.write("steps,14,4,1.0")

    resumed = run(tmp_path)

    assert [at.step for at, *_ in resumed.seen] == list(range(10, 20))
    assert_same(resumed, straight)
    assert untimed(tmp_path) == untimed(folder)
    files = [read_weights(one / "weights.pt") for one in (tmp_path, folder)]
    assert same(files[0]["weights"], files[1]["weights"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "log.csv", "weights.pt"]


def test_cut_into_single_steps_is_the_same(tmp_path: Path, whole) -> None:
    """A budget without time gives one step in each call; nothing hangs on where it is cut."""
    for step in range(1, 20):
        learner = Adversaries()
        result = train(learner, plan(), tmp_path, SEED, Budget(0.0), IDENTITY)
        assert (result.finished, result.step, len(learner.seen)) == (False, step, 1)
        assert not (tmp_path / "weights.pt").exists()
    last = Adversaries()
    assert train(last, plan(), tmp_path, SEED, Budget(0.0), IDENTITY).finished
    assert_same(last, whole[1])
    assert untimed(tmp_path) == untimed(whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_ends_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    class Told(Adversaries):
        def step(self, batch, rng, at: Place) -> dict[str, float]:
            if at.step == 4:
                os.kill(os.getpid(), number)
            return super().step(batch, rng, at)

    before = signal.getsignal(number)
    result = train(Told(), plan(), tmp_path, SEED, Budget(), IDENTITY)
    assert (result.finished, result.step, result.epoch) == (False, 5, 1)
    assert State.read(tmp_path / "checkpoint.pt").step == 5
    assert signal.getsignal(number) == before


def test_epochs_see_each_item_once_and_the_log_has_their_means(whole) -> None:
    """Against sums by hand over what the learner saw."""
    folder, learner = whole
    losses = {}
    for at, batch, found in learner.seen:
        losses.setdefault(at.epoch, []).append((batch, found))
    epochs = [row for row in rows(folder) if row["row"] == "epoch"]
    assert [int(row["epoch"]) for row in epochs] == [1, 2, 3, 4, 5, 6]
    for epoch, row in enumerate(epochs):
        items = [item for batch, _ in losses[epoch] for item in batch]
        assert sorted(items) == list(range(7))
        for name in ("critic", "generator"):
            known = [found[name] for _, found in losses[epoch] if name in found]
            assert float(row[f"train_{name}"]) == pytest.approx(np.mean(known), rel=1e-6)
        assert math.isfinite(float(row["val_distance"]))
    # Within an epoch a row at every second step, and at the last of all.
    assert [int(row["step"]) for row in rows(folder) if row["row"] == "steps"] == [
        *(2, 5, 8, 11, 14, 17, 20)
    ]
    twentieth = [found for at, _, found in learner.seen if at.step in (18, 19)]
    mean = sum(found["critic"] for found in twentieth) / 2
    assert float(rows(folder)[-1]["train_critic"]) == pytest.approx(mean, rel=1e-6)


@given(st.integers(0, 2**32), st.integers(0, 1000), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_order_is_a_permutation(seed: int, epoch: int, n_items: int) -> None:
    order = epoch_order(seed, epoch, n_items)
    assert sorted(order.tolist()) == list(range(n_items))
    assert torch.equal(order, epoch_order(seed, epoch, n_items))


def test_seeding_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(2).tolist(), np.random.random(2).tolist()
    torch.manual_seed(1)
    np.random.seed(1)
    with seeded(7):
        torch.rand(3), np.random.normal()
    assert (torch.rand(2).tolist(), np.random.random(2).tolist()) == expected


def test_drop_last_and_too_large_batches() -> None:
    assert TrainPlan(7, 3, 1).n_batches == 3
    assert TrainPlan(7, 3, 1, drop_last=True).n_batches == 2
    with pytest.raises(DismaiError, match="batch_size 8"):
        TrainPlan(7, 8, 1, drop_last=True)
    with pytest.raises(DismaiError, match="epochs 0"):
        TrainPlan(7, 3, 0)


def test_a_finished_training_is_taken_up(tmp_path: Path, whole) -> None:
    run(tmp_path)
    again = Adversaries()
    result = train(again, plan(), tmp_path, SEED, Budget(), IDENTITY)
    assert (result.finished, result.step, again.seen) == (True, 20, [])
    assert result.losses == pytest.approx({"train_critic": result.losses["train_critic"]})
    assert same(again.modules["critic"].state_dict(), whole[1].modules["critic"].state_dict())
    with pytest.raises(DismaiError, match=r"weights.pt: .*ended after 6 epochs"):
        train(again, plan(max_steps=30), tmp_path, SEED, Budget(), IDENTITY)


@pytest.mark.parametrize("left", ["checkpoint.pt", "weights.pt"])
def test_another_training_is_refused(tmp_path: Path, left: str) -> None:
    run(tmp_path, over=left == "checkpoint.pt")
    other = {"settings": {"learning_rate": 0.02}, "dataset": "abc"}
    with pytest.raises(DismaiError, match=rf"{left}: .*\(it differs in settings.learning_rate\)"):
        train(Adversaries(), plan(), tmp_path, SEED, Budget(), other)
    with pytest.raises(DismaiError, match=r"differs in training.batch_size, training.seed"):
        train(Adversaries(), plan(batch_size=2), tmp_path, 4, Budget(), IDENTITY)


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    """One bit of a weight is another one, which torch itself reads without a word."""
    weights = torch.load(io.BytesIO(data), weights_only=True)["modules"]["critic"]["0.weight"]
    place = data.index(weights.numpy().tobytes())
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [_truncated, _flipped, lambda _: b"", lambda _: b"text"])
def test_damaged_checkpoint_is_named(tmp_path: Path, damage) -> None:
    run(tmp_path, over=True)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DismaiError, match=r"checkpoint.pt: .*damaged.*remove it to begin") as told:
        run(tmp_path)
    assert "\n" not in str(told.value)


def test_foreign_files_are_not_executed(tmp_path: Path) -> None:
    """A pickle that would run a command is refused."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": 1, "weights": Evil()}, tmp_path / "checkpoint.pt")
    torch.save({"format": 1, "weights": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(DismaiError, match=r"checkpoint.pt: is no checkpoint"):
        run(tmp_path)
    with pytest.raises(DismaiError, match=r"weights.pt: is no file of weights"):
        load_weights(tmp_path, {})
    assert not (tmp_path / "ran").exists()


def test_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "256k") as disk:
        run(disk, over=True)
        before = (disk / "checkpoint.pt").read_bytes()
        free = os.statvfs(disk).f_bavail * 4096
        (disk / "other").write_bytes(b"x" * max(free - 8192, 0))
        with pytest.raises(DismaiError, match=r"no space left.*step 2; the one before it is int"):
            run(disk, over=True)
        assert (disk / "checkpoint.pt").read_bytes() == before
        assert list(disk.glob(".checkpoint.pt.*")) == []
        (disk / "other").unlink()
        assert len(run(disk).seen) == 19


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_lost_loss_stops(tmp_path: Path, value: float) -> None:
    class Lost(Adversaries):
        def step(self, batch, rng, at: Place) -> dict[str, float]:
            found = super().step(batch, rng, at)
            return {**found, "critic": value} if at.step == 12 else found

    with pytest.raises(DismaiError, match=rf"'critic' is {value} at step 12.*last good") as told:
        run(tmp_path, Lost(), checkpoint_steps=10)
    assert "\n" not in str(told.value)
    assert State.read(tmp_path / "checkpoint.pt").step == 10


def test_lost_weights_come_into_no_checkpoint(tmp_path: Path) -> None:
    """A last step may spoil the weights although its loss was finite."""

    class Spoilt(Adversaries):
        def step(self, batch, rng, at: Place) -> dict[str, float]:
            found = super().step(batch, rng, at)
            if at.step == 3:
                self.modules["critic"][0].bias.data[0] = math.nan
            return found

    with pytest.raises(DismaiError, match=r"'0.bias' of 'critic' are not finite after 4 steps"):
        run(tmp_path, Spoilt(), checkpoint_steps=2)
    assert State.read(tmp_path / "checkpoint.pt").step == 2


def test_snapshots_of_epochs(tmp_path: Path, whole) -> None:
    """The same whether it was cut or not, and `load_weights` reads them."""
    first = Adversaries()
    start = {k: v.clone() for k, v in first.modules["generator"].state_dict().items()}
    chosen = {"snapshot_epochs": (0, 2)}
    run(tmp_path / "a", first, **chosen)
    for _ in range(7):
        run(tmp_path / "b", over=True, **chosen)
    run(tmp_path / "b", **chosen)
    for folder in (tmp_path / "a", tmp_path / "b"):
        listed = json.loads((folder / "snapshots/index.json").read_text())
        assert [(one["name"], one["epoch"], one["step"]) for one in listed] == [
            ("snapshots/epoch-000000.pt", 0, 0),
            ("snapshots/epoch-000002.pt", 2, 6),
        ]
    networks = [Adversaries().modules["generator"] for _ in range(2)]
    for network, folder in zip(networks, ("a", "b"), strict=True):
        load_weights(tmp_path / folder, {"generator": network}, "snapshots/epoch-000002.pt")
    assert same(networks[0].state_dict(), networks[1].state_dict())
    load_weights(tmp_path / "a", {"generator": networks[0]}, "snapshots/epoch-000000.pt")
    assert same(networks[0].state_dict(), start)
    assert_same(first, whole[1])  # taking them changes nothing


def test_snapshots_of_seconds(tmp_path: Path) -> None:
    """The time of all parts counts."""

    class Slow(Adversaries):
        def step(self, batch, rng, at: Place) -> dict[str, float]:
            signal.sigtimedwait([], 0.01)
            return super().step(batch, rng, at)

    times = (0.03, 0.1)
    run(tmp_path, Slow(), over=True, snapshot_seconds=times)
    run(tmp_path, Slow(), snapshot_seconds=times)
    found = read_snapshots(tmp_path)
    assert [one.name for one in found] == [seconds_name(one) for one in times]
    assert all(one.seconds >= time for one, time in zip(found, times, strict=True))
    assert all(0 < one.step <= 20 for one in found)
    assert seconds_name(600) == "snapshots/seconds-000600.pt"


def test_weights_that_are_not_there_or_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match=r"weights.pt: there are no such weights"):
        load_weights(tmp_path, {})
    run(tmp_path)
    with pytest.raises(DismaiError, match=r"'generator' does not fit"):
        load_weights(tmp_path, {"generator": torch.nn.Linear(3, 3)})
    with pytest.raises(DismaiError, match=r"holds no 'other' \(it holds generator, critic\)"):
        load_weights(tmp_path, {"other": torch.nn.Linear(3, 3)})


def test_log_is_cut_back_and_grows_by_columns(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.csv")
    log.add({"row": "steps", "step": 1, "epoch": 0, "seconds": 0.5, "train_a": 1.25})
    known = list(log.columns)
    log.add({"row": "steps", "step": 2, "epoch": 0, "seconds": 1.0, "train_b,c": 2.0})
    assert [row["train_b,c"] for row in rows(tmp_path)] == ["", "2"]
    TrainingLog(tmp_path / "log.csv", 1, known)
    text = "row,step,epoch,seconds,train_a\nsteps,1,0,0.5,1.25\n"
    assert (tmp_path / "log.csv").read_text() == text
    with pytest.warns(UserWarning, match="1 rows are lost"):
        assert TrainingLog(tmp_path / "log.csv", 2, known).n_rows == 1


def test_no_checkpoint_holds_what_could_not_be_read() -> None:
    assert plain({"a": (np.float64(1.5), None)}, "extra") == {"a": (1.5, None)}
    with pytest.raises(TypeError, match=r"extra.a\[0\]: a set cannot"):
        plain({"a": [{1}]}, "extra")


def test_processor_trains_without_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()
