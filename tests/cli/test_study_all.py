"""``dismai study`` of several models at once, and of all models of the paper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Dismai

#: Controls are drawn for every alignment.
FEW = {"DISMAI_N_CONTROL": 3}


def test_several_models(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """A row for each, settings for one of them, and their ranks on the page."""
    ran = dismai(
        "study", "thirty_lines.py:Sites,random-occupancy,uniform-random", spec, "--dataset", data,
        "--n", 5, "--seeds", 1, "--set", "thirty_lines.py:Sites.noise=0.02",
        "--out", outside / "out", "--json",
        **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = {row["label"]: row for row in json.loads(ran.out)["rows"]}
    assert list(rows) == ["sites noise=0.02", "random-occupancy", "uniform-random"]
    assert rows["sites noise=0.02"]["settings"] == {"noise": 0.02}
    assert rows["uniform-random"]["settings"] == {}


def test_what_only_sampling_reads_is_scanned_with_one_training(
    dismai: Dismai, spec: Path, data: Path, outside: Path
) -> None:
    """As in Figs. S22 to S24: the same trained instance, generating in several ways."""
    pytest.importorskip("torch")
    ran = dismai(
        "study", "diffcsp", spec, "--dataset", data, "--size", "small", "--n", 3, "--seeds", 1,
        "--set", "max_steps=3", "--scan", "corrector_steps=0,2", "--out", outside / "out",
        "--json", **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    one, other = json.loads(ran.out)["rows"]
    assert one["runs"][0]["seconds"] == other["runs"][0]["seconds"] > 0
    assert one["runs"][0]["losses"] == other["runs"][0]["losses"]
    assert len(list((outside / "out" / "models").iterdir())) == 1
    made = {path.name: path.read_text() for path in (outside / "out" / "generated").iterdir()}
    assert len(made) == 2
    assert len(set(made.values())) == 2
    # What sets it apart from the paper's model is part of the name of its score.
    path = outside / "out" / "scores" / "corrector_steps=2" / "score.json"
    name = json.loads(path.read_text())["provenance"]["model"]
    assert name == "diffcsp small max_steps=3 corrector_steps=2"
    # The trained model can be sampled so by itself, too.
    (folder,) = (outside / "out" / "models").iterdir()
    again = ("generate", folder, "--n", 3, "--seed", 1)
    files = [outside / f"{steps}.extxyz" for steps in (0, 2)]
    for path, steps in zip(files, (0, 2), strict=True):
        ran = dismai(*again, "--set", f"corrector_steps={steps}", "--out", path)
        assert ran.code == 0, ran.err
    assert files[0].read_text() != files[1].read_text()
    refused = dismai(*again, "--set", "layers=3", "--out", outside / "layers.extxyz").refusal
    assert "belongs to the training" in refused


def test_all_models_of_the_paper(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """Five rows, each aligned as its published script does, and ranks on the page."""
    pytest.importorskip("torch")
    ran = dismai(
        "study", "all", spec, "--dataset", data, "--size", "small", "--n", 2, "--seeds", 1,
        "--set", "max_steps=2", "--set", "device=cpu", "--set", "cdvae.langevin_steps=1",
        "--out", outside / "out", **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    study = json.loads((outside / "out" / "study.json").read_text())
    rows = {row["model"]: row for row in study["rows"]}
    assert list(rows) == ["cdvae", "cryingan", "crystens", "diffcsp", "unimat"]
    # Section 4.3.3: the three scripts of the published code; fixed for those that have none.
    assert {name: row["protocol"].rpartition("-")[2] for name, row in rows.items()} == {
        "cdvae": "rotated",
        "cryingan": "fixed",
        "crystens": "fixed",
        "diffcsp": "translated",
        "unimat": "fixed",
    }
    assert all(row["n_generated"] == 2 and row["runs"][0]["step"] == 2 for row in rows.values())
    assert all(not row["learning"]["shown"] for row in rows.values())
    assert rows["cdvae"]["settings"]["langevin_steps"] == 1
    assert "Ranks within this study" in (outside / "out" / "report.html").read_text()
    assert "spent" in ran.words


def test_for_equal_time(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """Trainings end when their time is spent, whatever their steps, and are named after it."""
    pytest.importorskip("torch")
    ran = dismai(
        "study", "cryingan,diffcsp", spec, "--dataset", data, "--size", "small", "--n", 2,
        "--seeds", 1, "--set", "device=cpu", "--set", "diffcsp.max_train_seconds=2",
        "--equal-time", 1, "--out", outside / "out", "--json",
        **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = {row["label"]: row for row in json.loads(ran.out)["rows"]}
    assert list(rows) == ["cryingan small 1 s", "diffcsp small max_train_seconds=2"]
    assert rows["cryingan small 1 s"]["seconds"] >= 1
    # A budget of its own stands above that of all.
    assert rows["diffcsp small max_train_seconds=2"]["seconds"] >= 2
    assert all(row["runs"][0]["step"] >= 1 for row in rows.values())
