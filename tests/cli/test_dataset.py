"""``dismai dataset``: folders that say what they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest

from cli.conftest import SMALL, contents
from dismaiflow.structures.files import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Dismai


def card(folder: Path) -> dict[str, Any]:
    """Read the card of a dataset."""
    found: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return found


def test_the_folder_is_what_the_design_says(data: Path) -> None:
    """Two files of structures and a card with counts, check sums and the controls' scores."""
    assert sorted(contents(data)) == ["dataset.json", "train.extxyz", "val.extxyz"]
    found = card(data)
    assert found["system"] == "tiny"
    assert found["composition"] == {"Cu": 81, "Au": 27}
    assert found["counts"] == {"train": 24, "val": 6}
    assert np.array(found["cell"]) == pytest.approx(3 * 3.75 * np.eye(3))
    for name, digest in found["sha256"].items():
        assert file_sha256(data / name) == digest
    assert found["protocol"]["name"] == "corrected"
    assert (found["protocol"]["n_runs"], found["protocol"]["n_passes"]) == (2, 200)
    assert found["seeds"] == {"seed": 0}
    assert {"numpy", "dismaiflow"} <= set(found["versions"])
    assert set(found["controls"]) == {"published-1-fixed", "corrected-1-registered"}
    for document in found["controls"].values():
        assert document["n_sampled"] == 20
        assert document["scores"]["uniform-random"]["percent_failed"] == 100.0
        assert document["scores"]["random-occupancy"]["d_cluster"] > 0
    # So few passes are not enough, and the card says so.
    assert any("independent" in warning for warning in found["warnings"])


def test_the_structures_are_the_alloy(data: Path) -> None:
    """Species in the order of the composition, on the lattice, with run and energy."""
    frames = ase.io.read(data / "train.extxyz", ":")
    assert len(frames) == 24
    for atoms in frames:
        assert atoms.get_chemical_symbols() == ["Cu"] * 81 + ["Au"] * 27
        assert atoms.pbc.all()
        halves = atoms.positions / (3.75 / 2)
        assert halves == pytest.approx(np.rint(halves), abs=1e-6)
        assert {"run", "snapshot", "formation_energy"} <= set(atoms.info)
    assert {atoms.info["run"] for atoms in frames} == {0, 1}


def test_a_seed_is_a_dataset(dismai: Dismai, spec: Path, data: Path, tmp_path: Path) -> None:
    """The same seed gives the same bytes, another one others; controls do not matter."""
    for name, seed in (("same", 0), ("other", 1)):
        words = ("--out", tmp_path / name, *SMALL, "--seed", seed, "--no-controls", "--json")
        ran = dismai("dataset", spec, *words)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out) == {"tiny": str(tmp_path / name / "tiny")}
    same, other = tmp_path / "same" / "tiny", tmp_path / "other" / "tiny"
    for name in ("train.extxyz", "val.extxyz"):
        assert (same / name).read_bytes() == (data / name).read_bytes()
        assert (other / name).read_bytes() != (data / name).read_bytes()
    assert card(same)["controls"] == {}


def test_several_systems_share_their_runs(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """A dataset does not depend on what is made with it."""
    narrow = tmp_path / "narrow.yaml"
    text = spec.read_text().replace("name: tiny", "name: tiny-narrow")
    narrow.write_text(text.replace("# order_filter", "order_filter"))
    words = (*SMALL, "--n", "4", "--no-controls", "--json")
    both = dismai("dataset", spec, narrow, "--out", tmp_path / "both", *words)
    assert both.code == 0, both.err
    assert set(json.loads(both.out)) == {"tiny", "tiny-narrow"}
    alone = dismai("dataset", narrow, "--out", tmp_path / "alone", *words)
    assert alone.code == 0, alone.err
    together, apart = tmp_path / "both" / "tiny-narrow", tmp_path / "alone" / "tiny-narrow"
    assert (together / "train.extxyz").read_bytes() == (apart / "train.extxyz").read_bytes()


def test_protocols_and_thinning_are_recorded(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """What was asked for stands on the card."""
    words = (*SMALL, "--n", "4", "--no-controls", "--json")
    published = ("--protocol", "published", "--interval", "5")
    ran = dismai("dataset", spec, "--out", tmp_path / "a", *words, *published)
    assert ran.code == 0, ran.err
    found = card(tmp_path / "a" / "tiny")["protocol"]
    assert (found["name"], found["snapshot_interval"]) == ("published", 5)
    ran = dismai("dataset", spec, "--out", tmp_path / "b", *words, "--thinning", "independent")
    assert ran.code == 0, ran.err
    assert card(tmp_path / "b" / "tiny")["protocol"]["thinning"] == "independent"


def test_people_see_a_table_and_the_warnings_once(
    dismai: Dismai, spec: Path, tmp_path: Path
) -> None:
    """The real command, with progress on stderr and no log lines of the workflow engine."""
    words = ("dataset", spec, "--out", "data", *SMALL, "--no-controls")
    ran = dismai.execute(*words, cwd=tmp_path)
    assert "wrote data/tiny" in ran.words
    assert ran.words.count("independent ones") == 1
    assert "independent ones" not in ran.err
    assert "Monte Carlo at 600 K" in ran.err
    assert "INFO" not in ran.err + ran.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
