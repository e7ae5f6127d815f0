"""Interfaces on the command line: a spec from two crystals, its check, and a dataset."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from PIL import Image

from cli.conftest import contents
from dismaiflow.structures.read import read_structures
from dismaiflow.systems import new_system_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Dismai

#: Atoms of the example of the template: 32 of each slab, and six LiF.
COMPOSITION = {"Li": 22, "Mg": 16, "F": 22, "O": 16}


@pytest.fixture(scope="module")
def interface(dismai: Dismai) -> Path:
    """Return the file of a small interface, MgO and LiF."""
    path = dismai.root / "mgo-lif.yaml"
    path.write_text(new_system_yaml("interface", "mgo-lif"))
    return path


@pytest.fixture(scope="module")
def made(dismai: Dismai, interface: Path) -> Path:
    """Return a dataset of it."""
    ran = dismai("dataset", interface, "--out", dismai.root / "made", "--n", "30", "--json")
    assert ran.code == 0, ran.err
    folder: str = json.loads(ran.out)["mgo-lif"]
    assert folder == str(dismai.root / "made" / "mgo-lif")
    return dismai.root / "made" / "mgo-lif"


def card(folder: Path) -> dict[str, Any]:
    """Read the card of a dataset."""
    found: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return found


def test_the_folder_holds_random_interfaces(made: Path) -> None:
    """Species in the order of the spec, one cell, and a card that says what they are."""
    assert sorted(contents(made)) == ["dataset.json", "train.extxyz", "val.extxyz"]
    frames = ase.io.read(made / "train.extxyz", ":")
    assert len(frames) == 24
    symbols = [symbol for symbol, n in COMPOSITION.items() for _ in range(n)]
    for atoms in frames:
        assert atoms.get_chemical_symbols() == symbols
        # Two cells of MgO, 4.21 Å, along a and b; two planes each, half of 4.21 and of 4.03 Å high.
        assert atoms.cell.lengths()[:2] == pytest.approx([8.42, 8.42])
        assert np.ptp(atoms.positions[:, 2]) == pytest.approx(
            2.105 + atoms.info["thickness"] + 2.015, abs=1e-6
        )
    found = card(made)
    assert found["composition"] == COMPOSITION
    assert found["counts"] == {"train": 24, "val": 6}
    assert found["statistics"]["invalid"] == 0
    assert found["statistics"]["region_atoms"] == {"Li": 6, "F": 6}
    # Both square: the film is 4.03 Å wide where the substrate has 4.21.
    assert found["statistics"]["match"]["mean_mismatch_percent"] == pytest.approx(
        100 * (1 - 4.03 / 4.21), abs=1e-3
    )
    assert found["statistics"]["match"]["principal_strains_percent"] == pytest.approx(
        2 * [100 * (4.21 / 4.03 - 1)], abs=1e-3
    )


def test_the_files_keep_the_content_hash(made: Path) -> None:
    """What is read back is what was made, to the last digit that a file carries."""
    hashes = card(made)["content_hashes"]
    for name in ("train", "val"):
        assert read_structures(made / f"{name}.extxyz").structures.content_hash == hashes[name]


def test_a_seed_makes_the_same_structures_and_more_of_them(
    dismai: Dismai, interface: Path, made: Path, tmp_path: Path
) -> None:
    """A larger set begins with the structures of a smaller one; another seed has others."""
    for seed in (0, 1):
        ran = dismai(
            "dataset", interface, "--out", tmp_path / str(seed), "--n", "40", "--seed", seed
        )
        assert ran.code == 0, ran.err
    first = ase.io.read(made / "train.extxyz", ":24")
    again = ase.io.read(tmp_path / "0" / "mgo-lif" / "train.extxyz", ":24")
    other = ase.io.read(tmp_path / "1" / "mgo-lif" / "train.extxyz", ":24")
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one.positions, two.positions)
        assert not np.allclose(one.positions, three.positions)


def test_report_of_a_dataset(dismai: Dismai, made: Path, tmp_path: Path) -> None:
    """The report of an interface says how the slabs fit."""
    shutil.copytree(made, tmp_path / "data")
    ran = dismai("report", tmp_path)
    assert ran.code == 0, ran.err
    text = (tmp_path / "report.html").read_text()
    assert "mean mismatch percent" in text
    assert "random structures, not relaxed" in text


def test_check_tells_and_draws(dismai: Dismai, interface: Path, tmp_path: Path) -> None:
    """Plain words, numbers for scripts, and three pictures that show something."""
    folder = tmp_path / "pictures"
    ran = dismai("systems", "check", interface, "--pictures", folder)
    assert "mgo-lif: interface, Li22Mg16F22O16, 76 atoms: in order" in ran.words
    assert "mean 4.28 %" in ran.words
    assert "6 formula units of LiF: Li6 F6; 3.5 to 4.5 Å thick" in ran.words
    names = ["film.png", "random-interface.png", "substrate.png"]
    assert sorted(contents(folder)) == names
    for name in names:
        pixels = np.asarray(Image.open(folder / name).convert("RGB"))
        assert pixels.shape[0] > 200
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    found = json.loads(dismai("systems", "check", interface, "--pictures", folder, "--json").out)
    assert found["n_atoms"] == 76
    assert [row["thickness"] for row in found["placement"]] == [3.5, 4.0, 4.5]


def test_other_matches_can_be_had(dismai: Dismai, interface: Path, tmp_path: Path) -> None:
    """What is listed stands as it is written into a spec, and makes that cell."""
    text = interface.read_text()
    searched = re.sub(r"supercell:\n  MgO: .*\n  LiF: .*\n", "", text)
    searched = re.sub(r"surface_vectors:\n  MgO: .*\n  LiF: .*\n", "", searched)
    searched = re.sub(r"(?m)^(composition|slab_formula_units): .*$", "", searched)
    searched = re.sub(
        r"(?m)^# matching: .*$", "matching: {max_area: 100, max_length_tol: 0.05}", searched
    )
    path = tmp_path / "searched.yaml"
    path.write_text(searched.replace("formula_units: 6", "formula_units: 1"))
    words = dismai("systems", "check", path, "--pictures", tmp_path / "drawn").words
    found = re.search(r" or ([\d.]+) Å², strain up to [\d.]+ %: ({MgO: .*?\]\]})", words)
    assert found is not None, words
    path.write_text(path.read_text() + f"supercell: {found[2]}\n")
    again = json.loads(dismai("systems", "check", path, "--pictures", tmp_path, "--json").out)
    assert again["match"]["area"] == pytest.approx(float(found[1]), abs=0.051)


def test_check_warns(dismai: Dismai, tmp_path: Path) -> None:
    """The Li row of Table S4 is one cell of Li wide, 3.29 Å, and its region sees itself."""
    ran = dismai("systems", "check", "li2o-li-110", "--pictures", tmp_path)
    assert "67 atoms: can be made; see the warnings" in ran.words
    assert "only 3.29 Å wide" in " ".join(ran.err.split())


def test_a_spec_from_two_crystals(dismai: Dismai, tmp_path: Path) -> None:
    """Two CIF files become a spec that is valid, can be checked, and gives structures."""
    bulk("MgO", "rocksalt", a=4.21, cubic=True).write(tmp_path / "MgO.cif")
    bulk("LiF", "rocksalt", a=4.03, cubic=True).write(tmp_path / "LiF.cif")
    path = tmp_path / "mine.yaml"
    ran = dismai(
        "systems", "new", "mine", "--cif", tmp_path / "MgO.cif", "--cif", tmp_path / "LiF.cif",
        "--out", path,
    )  # fmt: skip
    assert "systems check" in ran.words
    checked = dismai("systems", "check", path, "--pictures", tmp_path / "drawn")
    assert "mine: interface" in checked.words
    ran = dismai("dataset", path, "--out", tmp_path / "data", "--n", "5", "--json")
    assert ran.code == 0, ran.err
    found = card(tmp_path / "data" / "mine")
    assert set(found["composition"]) == {"Mg", "O", "Li", "F"}
    assert found["statistics"]["invalid"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cif", "MgO.cif"), "give --cif twice, not 1x"),
        (("--cif", "gone.cif", "--cif", "gone.cif"), "no file gone.cif"),
        (("--cif", "a.cif", "--cif", "b.cif", "--miller", "1,1,0"), "give --miller for both"),
        (
            ("--cif", "a.cif", "--cif", "b.cif", "--miller", "1,x,0", "--miller", "1,0,0"),
            "--miller 1,x,0: write three integers",
        ),
        (("--cif", "a.cif", "--kind", "alloy"), "not for kind alloy"),
    ],
)
def test_wrong_crystals(
    dismai: Dismai, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """One line, and no file."""
    ran = dismai("systems", "new", "mine", "--out", tmp_path / "mine.yaml", *words)
    assert message in ran.refusal
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--placement", "best"), "--placement best: choose random or stratified"),
        (("--placement", "stratified", "--protocol", "published"), "needs --protocol corrected"),
        (("--exchanges",), "key 'exchanges' is missing"),
        (("--thinning", "none"), "--thinning is for systems of kind alloy"),
        (("--parent", "x.xyz"), "--parent is for systems of kind amorphous"),
    ],
)
def test_wrong_words_for_interfaces(
    dismai: Dismai, interface: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """One line, and nothing is made."""
    ran = dismai("dataset", interface, "--out", tmp_path / "out", "--n", "4", "--json", *words)
    assert message in ran.refusal
    assert contents(tmp_path) == {}


def test_a_region_without_room(dismai: Dismai, interface: Path, tmp_path: Path) -> None:
    """The check, the dataset: both name the key and the mend, and write nothing."""
    path = tmp_path / "full.yaml"
    path.write_text(
        interface.read_text()
        .replace("{Li: 22, Mg: 16, F: 22, O: 16}", "{Li: 36, Mg: 16, F: 36, O: 16}")
        .replace("formula_units: 6", "formula_units: 20")
    )
    for words in (("systems", "check", path), ("dataset", path, "--out", tmp_path / "out")):
        line = dismai(*words, "--json").refusal
        assert "key 'region.thickness'" in line
        assert "region.formula_units" in line
    assert sorted(contents(tmp_path)) == ["full.yaml"]
