"""`dismai region`: low-energy generated and high-energy random interfaces beside training ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from dismaiflow.interfaces.built import built_generator
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Dismai

SYSTEM = "tiny-li2o-licl"


def interfaces(path: Path, seed: int, energies: list[float] | None, n: int = 4) -> Path:
    """Write random interfaces, rattled by 0.1 Å, with interface energies."""
    made = built_generator(get_system(SYSTEM)).generate(range(n), seed=seed).structures
    frames = [made.atoms(i) for i in range(n)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=100 * seed + number)
        atoms.info = {} if energies is None else {"interface_energy": energies[number]}
    ase.io.write(path, frames, format="extxyz")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return training, generated and random structures."""
    return {
        "training": interfaces(tmp_path / "train.extxyz", 1, [-0.3] * 4),
        "low": interfaces(tmp_path / "made.extxyz", 2, [-0.2, 0.1, -0.1, -0.3]),
        "high": interfaces(tmp_path / "random.extxyz", 3, [0.2, 0.1, -0.1, 0.3]),
    }


def test_regions_are_evaluated(dismai: Dismai, files: dict[str, Path], tmp_path: Path) -> None:
    """From files to region.json and report.html; a broken frame is counted."""
    with files["low"].open("a", encoding="utf-8") as stream:
        stream.write("2\nnothing\nLi 0 0\nLi 0 0 0\n")
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    done = dismai("region", SYSTEM, *options, "--out", tmp_path / "out", DISMAI_PROCESSES=1)
    assert "low: made.extxyz (low energy): 3 of 5 evaluated, Li 10 in a region" in done.words
    assert "failed: unreadable 1" in done.words
    found = json.loads((tmp_path / "out" / "region.json").read_text("utf-8"))
    assert found["kind"] == "region_evaluation"
    assert {k: one["n_evaluated"] for k, one in found["sets"].items()} == {
        "training": 4,
        "low": 3,
        "high": 3,
    }
    assert found["energies"]["sets"]["low"]["percent_low"] == 75
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Coordination motifs of Li" in page
    shown = dismai("results", "list", "runs")
    assert shown.code == 0
    assert "region_evaluation" in shown.out


def test_all_are_taken_as_they_are(dismai: Dismai, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("region", SYSTEM, "--training", files["training"], "--low", files["low"], "--as-is")
    done = dismai(*words, "--out", tmp_path / "out", "--json", DISMAI_PROCESSES=1)
    assert done.code == 0, done.err
    assert json.loads(done.out)["sets"]["low"]["n_evaluated"] == 4


def test_what_cannot_be_evaluated_is_refused(
    dismai: Dismai, files: dict[str, Path], tmp_path: Path
) -> None:
    base = ("--training", files["training"], "--low", files["low"], "--out", tmp_path / "out")
    assert "is no interface" in dismai("region", "amorphous-si", *base).refusal
    both = dismai("region", SYSTEM, *base, "--as-is", "--potential", "sw").refusal
    assert "leave out --potential, or --as-is" in both
    plain = interfaces(tmp_path / "plain.extxyz", 4, None)
    given = ("--training", files["training"], "--low", plain, "--out", tmp_path / "out")
    refused = dismai("region", SYSTEM, *given, DISMAI_PROCESSES=1)
    assert refused.code == 2
    assert "set 'low' cannot be divided by energy" in refused.err
    assert not (tmp_path / "out").exists()


def test_energies_come_from_a_potential(
    dismai: Dismai, files: dict[str, Path], tmp_path: Path
) -> None:
    """The energies of all sets are the potential's; labels do not count."""
    module = tmp_path / "own_potential.py"
    module.write_text(
        "from ase.calculators.lj import LennardJones\n\n\n"
        "def soft():\n    return LennardJones(sigma=1.5, epsilon=0.1, rc=4.0)\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        words = ("region", SYSTEM, "--training", files["training"], "--low", files["low"])
        done = dismai(
            *words,
            "--potential",
            "own_potential:soft",
            "--out",
            tmp_path / "out",
            DISMAI_PROCESSES=1,
        )
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out" / "region.json").read_text("utf-8"))
    assert found["potential"]["name"] == "own_potential:soft"
    assert "lowest training structure" in found["energies"]["rule"]
    one = found["sets"]["low"]
    assert one["n_evaluated"] + one["n_other_energy"] == 4
    assert np.isfinite(found["energies"]["reference_energy"])
