"""The folder that training leaves, and the card without which weights do not count."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.model_card import (
    adopt_folder,
    check_age,
    read_model_card,
    start_hash,
)
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.training.data import check_sets
from dismaiflow.potentials.training.run import train_to_folder
from dismaiflow.progress import listening
from dismaiflow.structures.files import file_sha256
from dismaiflow.structures.frames import FrameLabel

from .toys import crystal, frames, tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def copied(tmp_path, trained):
    return Path(shutil.copytree(trained.folder, tmp_path / "copied"))


def refused(match, function, *words):
    with pytest.raises(DismaiError, match=match) as caught:
        function(*words)
    assert "\n" not in str(caught.value)


def edit(folder, **values):
    """Change the card of a folder."""
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_is_in_it(trained, data):
    names = {path.name for path in trained.folder.iterdir()}
    assert names == {
        "model.json",
        "model.pt",
        "state.pt",
        "card.json",
        "curves.csv",
        "curves.png",
        "parity.png",
        "checkpoint.pt",
    }
    card = json.loads((trained.folder / "card.json").read_text())
    for name, digest in card["sha256"].items():
        assert file_sha256(trained.folder / name) == digest
    assert set(card["versions"]) >= {"matgl", "torch", "dismaiflow"}
    assert card["data_hash"] == data.hash
    assert card["frames"] == {"train": 8, "val": 2, "test": 2}
    assert card["parents"] == {"train": 4, "val": 1, "test": 1}
    assert card["split"] == {"by": "parent", "seed": 0}
    assert card["settings"]["lr"] == 0.001
    assert set(card["errors"]) == set(card["baselines"]) == {"train", "val", "test"}
    assert [label["engine"] for label in card["labels"]] == ["morse"]
    rows = list(csv.DictReader((trained.folder / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[2]["val_loss"]) == trained.run.state.history[2]["val_loss"]
    for name in ("curves.png", "parity.png"):
        assert (trained.folder / name).read_bytes().startswith(b"\x89PNG")


def test_one_composition_is_told(trained):
    assert any("trained on one composition" in text for text in trained.card.warnings)


def test_warnings(tmp_path):
    """Two compositions, a rehearsal, frames of a parent on both sides."""
    label = FrameLabel(engine="vasp", functional="PBE", rehearsal=True)
    whole = frames(4, 2, label=label, salts=("LiCl", "NaCl"))
    data = check_sets(whole.split("frame", seed=1), allow_rehearsal=True)
    card = train_to_folder(tmp_path / "a", data, tiny(), device="cpu").card
    assert card.rehearsal
    text = "; ".join(card.warnings)
    assert "trained on a rehearsal" in text
    assert "relaxations have frames in the training set and in another" in text
    assert "one composition" not in text


def test_it_is_opened_and_its_card_travels(trained):
    found = open_potential(f"matgl:{trained.folder}", ["Li", "Cl"])
    assert found.card.hash == trained.card.weights_hash
    assert "card.json" in found.files
    atoms = crystal(1)
    atoms.calc = found.calculator()
    assert abs(atoms.get_potential_energy()) > 0


def test_damaged_files(copied):
    (copied / "model.pt").write_bytes((copied / "model.pt").read_bytes() + b" ")
    match = r"model\.pt differs from the SHA-256 in card\.json"
    refused(match, open_potential, f"matgl:{copied}")
    refused(match, start_hash, copied)


def test_another_version_of_matgl(copied):
    versions = json.loads((copied / "card.json").read_text())["versions"]
    edit(copied, versions=versions | {"matgl": "3.0.1"})
    match = r"belong to matgl 3\.0\.1, but .* install matgl==3\.0\.1; .*dismai potential adopt"
    refused(match, open_potential, f"matgl:{copied}")
    refused(match, start_hash, copied)
    adopt_folder(copied, versions["matgl"], ["Li", "Cl"])
    card = read_model_card(copied)
    assert card.versions == versions
    assert card.source == "trained by dismaiflow"
    assert card.model_extra["best_epoch"] >= 0  # what it said is kept


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"versions": {}, "sha256": {}}', "[1]"])
def test_a_card_that_is_none(copied, text):
    (copied / "card.json").write_text(text)
    refused("not the card of a potential", open_potential, f"matgl:{copied}")


def test_a_bare_folder(copied, trained):
    """It relaxes as before, but nobody fine-tunes it before somebody says the version."""
    (copied / "card.json").unlink()
    assert open_potential(f"matgl:{copied}").card.hash == trained.card.weights_hash
    refused("says to which version .*dismai potential adopt .*--matgl-version", start_hash, copied)
    refused(r"weights of matgl 2\.0\.4 cannot be used", adopt_folder, copied, "2.0.4", ["Li"])
    adopt_folder(copied, trained.card.versions["matgl"], ["Li", "Cl"])
    assert start_hash(copied) == trained.card.weights_hash


def test_files_of_the_time_of_dgl(copied):
    """Their numbers of versions are those of today; only an argument tells them apart.

    The keys are those of `M3GNet-MP-2021.2.8-PES` in release 2.0.4 of matgl.
    """
    described = json.loads((copied / "model.json").read_text())
    check_age("x", described)
    old = ["calc_forces", "calc_hessian", "calc_magmom", "calc_stresses", "data_mean"]
    old += ["data_std", "element_refs", "model"]
    described["kwargs"] = {key: described["kwargs"][key] for key in old}
    (copied / "model.json").write_text(json.dumps(described))
    (copied / "card.json").unlink()
    refused("saved by a matgl before 3.0, .*wrong atom", open_potential, f"matgl:{copied}")


def test_it_goes_on_in_its_folder(tmp_path, data):
    folder = tmp_path / "model"
    first = train_to_folder(folder, data, tiny(epochs=2), device="cpu", max_seconds=0)
    assert first.card.done == "1 (2 were asked for)"
    assert any("walltime after epoch 1 (2 were" in text for text in first.card.warnings)
    longer = train_to_folder(folder, data, tiny(epochs=2), device="cpu")
    assert (first.card.epochs, longer.card.epochs) == (1, 2)
    told: list[tuple[int, int]] = []
    with listening(lambda _, done, total, __: told.append((done, total))):
        fewer = train_to_folder(folder, data, tiny(epochs=1), device="cpu")
    assert told == [(2, 2)]
    assert fewer.card.done == "2"
    assert len((folder / "curves.csv").read_text().splitlines()) == 4
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert read_model_card(folder).weights_hash == longer.card.weights_hash


def test_a_folder_with_something_else(tmp_path, data):
    (tmp_path / "mine.txt").write_text("mine")
    refused("already holds files", train_to_folder, tmp_path, data, tiny())
