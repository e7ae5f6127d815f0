"""Training in several jobs, sampling in shards, snapshots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from dismaiflow.errors import DismaiError
from dismaiflow.models.jobs import GenerateMaker, TrainModelMaker, shards
from dismaiflow.models.registry import ModelChoice, choose
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.models.snapshots import weights_files
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.generated import GeneratedSet, fetch_generated
from dismaiflow.store.stored_files import get_folder
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import DatasetCard
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system
from models.outside_models import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobflow import JobStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    (tmp_path / "counting.py").write_text(COUNTER)
    monkeypatch.chdir(tmp_path)
    opened = embedded_jobstore(tmp_path / "store.sqlite")
    opened.connect()
    yield opened
    opened.close()


@pytest.fixture
def dataset(store: JobStore) -> DatasetDoc:
    """Return five structures of two atoms."""
    rng = np.random.default_rng(0)
    sets = StructureSet.uniform([[26, 28]] * 5, rng.random((5, 2, 3)), 3.6 * np.eye(3))
    card = DatasetCard(
        system="alloy-1500K-wide", kind="alloy", composition={"Fe": 1, "Ni": 1},
        cell=(3.6 * np.eye(3)).tolist(), counts={"train": 5}, protocol={}, seeds={},
    )  # fmt: skip
    return DatasetDoc(system=card.system, card=card, sets={"train": put_structures(store, sets)})


def finish(job: Any, store: JobStore) -> Any:
    run_locally(job, store=store, log=False, ensure_success=True)
    return find_and_resolve_references(job.output, store)


def counter(**settings: Any) -> ModelChoice:
    return choose("counting.py:Counter", settings)


def train(store: JobStore, dataset: DatasetDoc, maker: TrainModelMaker, **settings: Any) -> Any:
    spec = get_system("alloy-1500K-wide")
    job = maker.make(counter(**settings), spec, dataset, 3)
    return TrainedModelDoc.model_validate(finish(job, store))


def test_a_training_goes_on_in_other_jobs(
    store: JobStore, dataset: DatasetDoc, tmp_path: Path
) -> None:
    """Its folder travels through the store, those below included; nothing is left in scratch."""
    trained = train(store, dataset, TrainModelMaker())
    assert (trained.step, trained.n_launches) == (4, 4)
    assert set(trained.files) == {"sub/count.json", "train.bin"}
    assert trained.training_hash == dataset.sets["train"].content_hash
    assert not list((tmp_path / "scratch" / "models").iterdir())


def test_what_a_killed_job_has_left_is_used(
    store: JobStore, dataset: DatasetDoc, tmp_path: Path
) -> None:
    """The folder of the same launch is gone on with; that of another one is not."""
    for launch, steps in ((0, 2), (7, 4)):
        job = TrainModelMaker().make(counter(), get_system("alloy-1500K-wide"), dataset, 3)
        folder = tmp_path / "scratch" / "models" / str(job.uuid)
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "count.json").write_text(json.dumps({"step": 2}))
        (folder / ".launch.json").write_text(json.dumps({"n_launches": launch}))
        assert TrainedModelDoc.model_validate(finish(job, store)).n_launches == steps
        assert not folder.exists()


def test_what_an_interrupted_command_has_left_is_used(
    store: JobStore, dataset: DatasetDoc, tmp_path: Path
) -> None:
    """By the same training under the same key alone; a finished one is not repeated."""
    with pytest.raises(RuntimeError):
        train(store, dataset, TrainModelMaker(folder_key="mine", max_launches=2))
    kept = TrainModelMaker(folder_key="mine")
    # Of four steps, one a launch, two were taken.
    assert train(store, dataset, kept).n_launches == 2
    (folder,) = (tmp_path / "scratch" / "models" / "mine").iterdir()
    (folder / "train.bin").write_bytes(b"as it was left")
    again = train(store, dataset, kept)
    assert (again.step, again.n_launches) == (4, 2)
    fetched = get_folder(store, {"train.bin": again.files["train.bin"]}, tmp_path / "fetched")
    assert (fetched / "train.bin").read_bytes() == b"as it was left"
    assert train(store, dataset, kept, broken_seed=1).n_launches == 4
    # Another model in the same file is another training.
    (tmp_path / "counting.py").write_text(COUNTER.replace("four launches", "4 launches"))
    assert train(store, dataset, TrainModelMaker(folder_key="mine")).n_launches == 4
    assert len(list((tmp_path / "scratch" / "models" / "mine").iterdir())) == 3


def test_one_that_never_ends_is_given_up(store: JobStore, dataset: DatasetDoc) -> None:
    job = TrainModelMaker(max_launches=3).make(
        counter(launches=100), get_system("alloy-1500K-wide"), dataset, 0
    )
    with pytest.raises(RuntimeError):
        finish(job, store)


def test_shards_are_joined_in_order(store: JobStore, dataset: DatasetDoc) -> None:
    """Each with its own seed; what is sampled at once is what the first shard samples."""
    trained = train(store, dataset, TrainModelMaker())
    maker = GenerateMaker(shard_size=4)
    many = GeneratedSet.model_validate(finish(maker.make(trained, 10, 5), store))
    few = GeneratedSet.model_validate(finish(maker.make(trained, 4, 5), store))
    assert (many.n_frames, few.n_frames) == (10, 4)
    all_of_them = fetch_generated(store, many)
    assert all_of_them.indices.tolist() == list(range(10))
    first = fetch_generated(store, few).structures
    assert all_of_them.structures.select(range(4)).content_hash == first.content_hash


def test_a_shard_that_fails_is_counted(store: JobStore, dataset: DatasetDoc) -> None:
    trained = train(store, dataset, TrainModelMaker(), broken_seed=1)
    sizes, seeds = shards(12, 2, 1)
    odd = [i for i, seed in enumerate(seeds) if seed % 2 == 1]
    assert 0 < len(odd) < len(sizes), "choose another seed"
    job = GenerateMaker(shard_size=2).make(trained, 12, 1)
    run_locally(job, store=store, log=False)
    found = GeneratedSet.model_validate(find_and_resolve_references(job.output, store))
    read = fetch_generated(store, found)
    assert found.n_frames == 12
    assert [bad.index for bad in read.bad] == [2 * i + k for i in odd for k in (0, 1)]
    assert {bad.reason for bad in read.bad} == {"job_failed"}


def test_sizes_and_seeds_of_shards() -> None:
    sizes, seeds = shards(1001, 250, 3)
    assert sizes == [250, 250, 250, 250, 1]
    assert len(set(seeds)) == 5
    assert shards(500, 250, 3)[1] == seeds[:2]
    with pytest.raises(DismaiError, match="cannot sample 0"):
        shards(0, 250, 3)


def test_snapshots_take_the_place_of_the_weights() -> None:
    document = TrainedModelDoc(
        system="s", model="m", choice=ModelChoice(name="m"), card={}, seed=0, training_hash="",
        files={name: [name] for name in ("weights.pt", "model.json", "snapshots/epoch-000010.pt",
                                         "snapshots/index.json")},
    )  # fmt: skip
    assert weights_files(document, None) == {n: n for n in ("weights.pt", "model.json")}
    assert weights_files(document, "epoch-000010") == {
        "weights.pt": "snapshots/epoch-000010.pt",
        "model.json": "model.json",
    }
    with pytest.raises(DismaiError, match="only epoch-000010"):
        weights_files(document, "epoch-000020")
