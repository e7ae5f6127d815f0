"""``dismai dataset --potential``: from a name to a scored dataset, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from campaigns.soft import soft_energy
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.systems import SystemSpec, get_system

if TYPE_CHECKING:
    from .conftest import Dismai

SOFT = ("--potential", "campaigns.soft:soft")
FEW = {"DISMAI_N_CONTROL": 20, "DISMAI_N_CONTROL_RELAXED": 2, "DISMAI_PROCESSES": 1}


@pytest.fixture(scope="module")
def made(dismai: Dismai) -> Path:
    """Return a dataset of the small interface."""
    ran = dismai("dataset", "tiny-li2o-licl", *SOFT, "--n", 6, "--out", dismai.root / "made", **FEW)
    assert ran.code == 0, ran.err
    assert "low" in ran.words
    assert "tried" in ran.words
    return dismai.root / "made" / "tiny-li2o-licl"


def test_the_folder(made: Path) -> None:
    """Sets, labels in the files, and controls on the card; ASE reads the energies."""
    card = json.loads((made / "dataset.json").read_text())
    assert {p.stem for p in made.glob("*.extxyz")} == {"train", "val", "high"}
    assert card["counts"]["train"] + card["counts"]["val"] == 6
    (controls,) = card["controls"].values()
    assert set(controls["scores"]) == {"train-resample", "rattled", "validation", "high-energy"}
    assert controls["sizes"]["rattled"] == 2
    assert controls["sizes"]["validation"] == card["counts"]["val"]
    for atoms in ase.io.read(made / "high.extxyz", ":"):
        assert atoms.info["interface_energy"] > 0
        assert np.linalg.norm(soft_energy(atoms)[1], axis=1).max() <= 0.05
        assert np.isfinite(atoms.get_potential_energy())
    high = open_dataset(made).read("high")
    assert high.labels["energy"].tolist() == [
        atoms.get_potential_energy() for atoms in ase.io.read(made / "high.extxyz", ":")
    ]
    # The set in the store is the one in the file.
    assert high.content_hash == card["content_hashes"]["high"]


def test_scored_against_itself(dismai: Dismai, made: Path) -> None:
    """Nothing is relaxed again, the distance is 0, the controls are those of the card."""
    ran = dismai(
        "score", "tiny-li2o-licl", made / "train.extxyz", "--reference", made, *SOFT, "--relaxed",
        "--out", dismai.root / "score", "--json", **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    score = json.loads(ran.out)
    assert score["metrics"]["d_all"]["value"] == pytest.approx(0, abs=1e-12)
    assert set(score["controls"]) >= {"validation", "high-energy"}
    assert not score["marks"]


def test_relaxed_with_another_potential(dismai: Dismai, made: Path) -> None:
    """The card says which potential it was, and a score with another one relaxes it again."""
    ran = dismai(
        "score", "tiny-li2o-licl", made / "val.extxyz", "--reference", made,
        "--potential", "campaigns.soft:stiff", "--out", dismai.root / "other", "--json",
        "--no-controls", **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    score = json.loads(ran.out)
    assert score["provenance"]["relaxed_reference_hash"] is not None
    n_train = json.loads((made / "dataset.json").read_text())["counts"]["train"]
    assert score["findings"]["relaxations"]["reference"]["n_structures"] == n_train


def test_the_report(dismai: Dismai, made: Path) -> None:
    ran = dismai("report", made.parent)
    assert ran.code == 0, ran.err
    page = (made.parent / "report.html").read_text()
    for words in ("Interface energies", "Lowest structures", "high-energy", "campaigns.soft:soft"):
        assert words in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("alloy-300K-wide", *SOFT), "--potential is for systems of kind interface or amorphous"),
        (("tiny-li2o-licl", "--pilot", 3), "--pilot needs --potential"),
        (("tiny-li2o-licl", "--per-job", 3), "--per-job needs --potential"),
        (("tiny-li2o-licl", *SOFT, "--search", "guess"), "--search"),
        (("tiny-li2o-licl", *SOFT, "--n", 9, "--max-structures", 5), "budget of 5 structures"),
        (("tiny-li2o-licl", "--potential", "sw"), "sw does not know Li, Cl, O"),
        (("tiny-li2o-licl", "--potential", "matgl:nowhere"), "no such folder"),
        (("tiny-li2o-licl", "--potential", "campaigns.soft:nothing"), "nothing"),
        (("tiny-li2o-licl", *SOFT, "--placement", "stratified"), "quasi-random"),
        (("tiny-li2o-licl", *SOFT, "--exchanges"), "exchanges.in_dataset"),
        (("tiny-li2o-licl", *SOFT, "--device", "cuda:7"), "cuda:7"),
        (
            ("tiny-li2o-licl", *SOFT, "--protocol", "published", "--search", "mutation"),
            "--search mutation needs --protocol corrected",
        ),
    ],
)
def test_refusals(dismai: Dismai, words: tuple[object, ...], message: str) -> None:
    """One line, exit code 2, and nothing is written."""
    target = dismai.root / "refused"
    ran = dismai("dataset", *words, "--out", target)
    assert message in ran.refusal
    assert not target.exists()


def test_a_hopeless_search_says_why(dismai: Dismai) -> None:
    """The reasons are counted in the one line, and no folder is left."""
    target = dismai.root / "hopeless"
    ran = dismai(
        "dataset", "tiny-li2o-licl", "--potential", "campaigns.soft:lost", "--n", 4, "--out",
        target, "--json", **FEW,
    )  # fmt: skip
    assert "0 structures of low energy" in ran.refusal
    assert "of 4 tried: not converged 4" in ran.refusal
    assert not (target / "tiny-li2o-licl").exists()


def test_a_system_of_ones_own(dismai: Dismai) -> None:
    """The interface of the template, MgO on LiF, with the search of its own window."""
    ran = dismai(
        "systems", "new", "mine", "--kind", "interface", "--out", dismai.root / "mine.yaml"
    )
    assert ran.code == 0, ran.err
    ran = dismai(
        "dataset", dismai.root / "mine.yaml", *SOFT, "--n", 2, "--out", dismai.root / "own",
        "--no-controls", **FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert (dismai.root / "own" / "mine" / "train.extxyz").is_file()


@pytest.mark.slow
def test_the_interface_of_the_paper(dismai: Dismai) -> None:
    """264 atoms, CHGNet, a few steps: every stage from random structures to report and score."""
    pytest.importorskip("chgnet")
    spec = get_system("lsc-lco").model_dump(mode="json")
    spec["dataset"]["relaxation"] |= {"fmax": 2.5, "max_steps": 300}
    # Far from relaxed, the energies differ by more than in the paper.
    spec["dataset"]["energy_filter"]["window"] = 3.0
    path = dismai.root / "lsc-lco.yaml"
    path.write_text(SystemSpec.from_dict(spec).to_yaml())
    data = dismai.root / "paper"
    ran = dismai(
        "dataset", path, "--potential", "chgnet", "--n", 4, "--out", data,
        DISMAI_N_CONTROL=20, DISMAI_N_CONTROL_RELAXED=1,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    folder = data / "lsc-lco"
    card = json.loads((folder / "dataset.json").read_text())
    assert card["counts"]["train"] + card["counts"]["val"] == 4
    energies = card["statistics"]["interface_energy"]
    assert energies["low"]["min"] == pytest.approx(-3.0)
    # 12.46997 x 17.19967 Å at 75.6674 degrees.
    assert energies["area"] == pytest.approx(207.80, abs=0.01)
    for atoms in ase.io.read(folder / "train.extxyz", ":"):
        assert len(atoms) == 264
        assert atoms.get_chemical_formula() == "Cl72Co36Li72O72Sc12"
    ran = dismai(
        "score", path, folder / "train.extxyz", "--reference", folder, "--relaxed",
        "--out", dismai.root / "paper_score", "--json", "--no-controls",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    metrics = json.loads(ran.out)["metrics"]
    for name in ("d_li", "d_co", "d_sc", "d_all"):
        assert metrics[name]["value"] == pytest.approx(0, abs=1e-12)
    assert dismai("report", data).code == 0
