"""Dataset folders and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.structures.dataset import (
    CARD_NAME,
    Dataset,
    DatasetCard,
    open_dataset,
    package_versions,
    write_dataset,
)
from dismaiflow.structures.files import file_sha256
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Callable

#: A lattice constant whose fractions have no end in decimals.
_EDGE = 3.6 / 7


def structures(n: int) -> StructureSet:
    """Return structures that differ from each other, with labels."""
    rng = np.random.default_rng(n)
    return StructureSet.uniform(
        rng.choice([26, 28], (n, 4)),
        rng.integers(0, 7, (n, 4, 3)) * _EDGE / 3,
        _EDGE * np.eye(3),
        {"run": np.arange(n), "formation_energy": rng.normal(size=n)},
    )


def card() -> DatasetCard:
    """Return the card of a made-up system."""
    return DatasetCard(
        system="toy",
        kind="alloy",
        composition={"Fe": 3, "Ni": 1},
        cell=np.eye(3).tolist(),
        counts={},
        protocol={"name": "corrected"},
        seeds={"seed": 1},
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Write a dataset of three sets."""
    sets = {"train": structures(5), "val": structures(2), "high": structures(1)}
    return write_dataset(tmp_path / "toy", sets, card())


def test_a_dataset_comes_back(dataset: Dataset) -> None:
    """Structures, labels and card survive the files."""
    again = open_dataset(dataset.folder)
    assert again.card == dataset.card
    assert again.card.counts == {"train": 5, "val": 2, "high": 1}
    for name, n in again.card.counts.items():
        found, made = again.read(name), structures(n)
        assert found.content_hash == made.content_hash == again.card.content_hashes[name]
        assert found.labels["run"].tolist() == list(range(n))
        assert found.labels["formation_energy"] == pytest.approx(
            made.labels["formation_energy"], abs=1e-7
        )


def test_the_folder_holds_what_the_design_says(dataset: Dataset) -> None:
    """One file per set and the card, with the check sum of each file and all versions."""
    names = sorted(p.name for p in dataset.folder.iterdir())
    assert names == [CARD_NAME, "high.extxyz", "train.extxyz", "val.extxyz"]
    written = json.loads((dataset.folder / CARD_NAME).read_text())
    assert {"system", "composition", "cell", "counts", "sha256", "protocol", "seeds"} <= set(
        written
    )
    assert written["sha256"] == {
        n: file_sha256(dataset.folder / n) for n in names if n != CARD_NAME
    }
    assert written["versions"] == package_versions()
    assert set(package_versions()) >= {"dismaiflow", "numpy", "numba", "ase"}


def test_a_filled_folder_is_not_written_over(dataset: Dataset) -> None:
    """The dataset that is there stays."""
    before = file_sha256(dataset.folder / CARD_NAME)
    with pytest.raises(DismaiError, match="already holds files"):
        write_dataset(dataset.folder, {"train": structures(1)}, card())
    assert file_sha256(dataset.folder / CARD_NAME) == before


def test_keys_of_later_versions_are_kept(dataset: Dataset) -> None:
    """A card of a later version is read, with what this version does not know."""
    path = dataset.folder / CARD_NAME
    written = json.loads(path.read_text()) | {"key_of_a_later_version": [1]}
    path.write_text(json.dumps(written))
    again = open_dataset(dataset.folder).card
    assert again.model_dump()["key_of_a_later_version"] == [1]
    assert again.sha256 == dataset.card.sha256
    assert sorted(p.suffix for p in dataset.folder.iterdir()) == [".extxyz"] * 3 + [".json"]


def _change_an_atom(folder: Path) -> None:
    path = folder / "train.extxyz"
    path.write_text(path.read_text().replace("Fe", "Ni", 1))


def _cut(folder: Path) -> None:
    path = folder / "train.extxyz"
    path.write_bytes(path.read_bytes()[:-50])


def _remove(folder: Path) -> None:
    (folder / "train.extxyz").unlink()


def _forget_the_sum(folder: Path) -> None:
    written = json.loads((folder / CARD_NAME).read_text())
    del written["sha256"]["train.extxyz"]
    (folder / CARD_NAME).write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_change_an_atom, "train.extxyz: its SHA-256 differs from dataset.json"),
        (_cut, "train.extxyz: its SHA-256 differs from dataset.json"),
        (_forget_the_sum, "train.extxyz: its SHA-256 differs from dataset.json"),
        (_remove, "train.extxyz: is missing"),
    ],
)
def test_files_unlike_the_card_are_refused(
    dataset: Dataset, damage: Callable[[Path], None], message: str
) -> None:
    """A changed, cut or missing file is told; the other sets can still be read."""
    damage(dataset.folder)
    again = open_dataset(dataset.folder)
    with pytest.raises(DismaiError, match=message):
        again.read("train")
    assert len(again.read("val")) == 2


def test_unknown_sets_are_refused(dataset: Dataset) -> None:
    """The line says which there are."""
    with pytest.raises(DismaiError, match="has no set 'test', only high, train, val"):
        dataset.read("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no dataset folder"),
        (b"", "not a dataset card"),
        (b"{", "not a dataset card"),
        (b"\xff\xfe", "not a dataset card"),
        (b"[1, 2]", "not a dataset card"),
        (b'{"system": "toy"}', "not a dataset card"),
    ],
)
def test_folders_without_a_card_are_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """No card, an empty one, half a one, or something else."""
    if content is not None:
        (tmp_path / CARD_NAME).write_bytes(content)
    with pytest.raises(DismaiError, match=message) as caught:
        open_dataset(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
