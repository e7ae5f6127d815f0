"""``dismai potential``: training, going on, fine-tuning, the sweep, cards."""

from __future__ import annotations

import json
import re

import pytest
from tests.needed import needs
from tests.potentials.training.toys import frames

from dismaiflow.structures.frame_files import write_frames
from dismaiflow.structures.frames import FrameLabel

pytestmark = [needs("matgl"), pytest.mark.filterwarnings("ignore::UserWarning")]

SMALL = ("--units", 16, "--blocks", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frames.extxyz"
    write_frames(path, frames(6, 2))
    return path


def test_train_go_on_fine_tune_show(dismai, file, tmp_path):
    folder = tmp_path / "model"
    ran = dismai("potential", "train", file, "--out", folder, "--epochs", 1, *SMALL)
    assert re.search(r"best epoch \d of 1;", ran.words)
    assert "labels: morse, toy" in ran.words
    assert f"--potential matgl:{folder}" in ran.words
    assert "trained on one composition" in ran.err
    ran = dismai("potential", "train", file, "--out", folder, "--epochs", 2, *SMALL, "--json")
    card = json.loads(ran.out)
    assert (card["epochs"], card["frames"]) == (2, {"train": 8, "val": 2, "test": 2})
    shown = dismai("potential", "show", folder)
    assert f"{card['seconds']:.0f} s, cpu" in shown.words
    assert json.loads(dismai("potential", "show", folder, "--json").out) == card
    other = dismai("potential", "train", file, "--out", folder, "--lr", 0.01, *SMALL)
    assert "belongs to a training with other frames" in other.refusal

    tuned = tmp_path / "tuned"
    words = ("potential", "finetune", folder, file, "--out", tuned, "--epochs", 1)
    ran = dismai(*words, "--device", "cpu", "--json")
    assert json.loads(ran.out)["start"] is not None
    (folder / "card.json").unlink()
    bare = dismai("potential", "finetune", folder, file, "--out", tmp_path / "no")
    assert f"dismai potential adopt {folder} --matgl-version VERSION" in bare.refusal
    assert "has no card.json" in dismai("potential", "show", folder).refusal
    assert (
        "cannot be used" in dismai("potential", "adopt", folder, "--matgl-version", "2.0").refusal
    )
    version = card["versions"]["matgl"]
    assert "2 elements" in dismai("potential", "adopt", folder, "--matgl-version", version).words
    shown = dismai("potential", "show", folder)
    assert "adopted; its user stated" in shown.words
    assert "{" not in shown.words
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_sweep(dismai, file, tmp_path):
    words = ("potential", "sweep", file, "--out", tmp_path / "s", "--hours", 1e-9, *SMALL)
    ran = dismai(*words, "--pair", "0.001,4", "--pair", "0.01,6")
    assert "the smallest L" in ran.words
    table = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["lr0.001-batch4", "lr0.01-batch6"]
    assert table["best"] in [row["name"] for row in table["rows"]]
    assert (tmp_path / "s" / table["best"] / "card.json").is_file()
    assert "give a learning rate and a batch size" in dismai(*words, "--pair", "4").refusal


def test_refusals(dismai, file, tmp_path):
    def refusal(*words):
        ran = dismai("potential", "train", "--out", tmp_path / "x", *SMALL, *words)
        assert not (tmp_path / "x").exists()
        return ran.refusal

    assert "no such file or folder" in refusal(tmp_path / "none.extxyz")
    assert "'adam' or 'adamw'" in refusal(file, "--optimizer", "sgd")
    assert "choose parent or frame" in refusal(file, "--split", "atom")
    assert "device 'tpu': use cpu or cuda" in refusal(file, "--device", "tpu")
    assert "it knows Li, O" in refusal(file, "--element", "Li", "--element", "O")
    assert refusal(file, "--element", "Xx") == "--element Xx: no element is called so"

    label = FrameLabel(engine="vasp", functional="PBE", rehearsal=True)
    write_frames(tmp_path / "r.extxyz", frames(3, 1, label=label))
    assert "allow it with --rehearsal" in refusal(tmp_path / "r.extxyz")
    assert "is given twice" in refusal(file, file)
    write_frames(tmp_path / "one.extxyz", frames(1, 1))
    assert "1 relaxations cannot be split" in refusal(tmp_path / "one.extxyz")
    write_frames(tmp_path / "mixed.extxyz", frames(3, 1))
    assert "--allow-mixed" in refusal(tmp_path / "mixed.extxyz", file, tmp_path / "r.extxyz")
