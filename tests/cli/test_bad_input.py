"""Wrong files, systems and words end in exit code 2 with one clear line that names them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cli.conftest import SMALL, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    from cli.conftest import Dismai


# --- files of structures --------------------------------------------------------------------------


def _missing(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _binary(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(5000))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def _not_a_structure(path: Path) -> None:
    path.write_text("step,loss\n1,0.5\n")


DAMAGES = [
    (_missing, "no such file or folder"),
    (_empty, "is empty"),
    (_binary, "is not a text file"),
    (_zeros, "should be the number of atoms"),
    (_cut, "is cut off: frame 3 promises 108 atoms"),
    (_not_a_structure, "should be the number of atoms of frame 0, but reads 'step,loss'"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
@pytest.mark.parametrize("role", ["generated", "reference"])
def test_damaged_files(
    refused: Callable[..., str],
    write: Callable[..., Path],
    damage: Callable[[Path], None],
    message: str,
    role: str,
) -> None:
    """The line begins with the file and says what is wrong with it, on either side."""
    path = write(6)
    damage(path)
    line = refused(**{role: path})
    assert line.startswith(f"{path}: ")
    assert message in line


def test_one_damaged_file_of_several(
    refused: Callable[..., str], write: Callable[..., Path]
) -> None:
    """The damaged one is named."""
    path = write(6, "second.extxyz")
    _cut(path)
    assert refused(path).startswith(f"{path}: is cut off")


def test_sources_of_many_files(refused: Callable[..., str], tmp_path: Path) -> None:
    """A folder or zip without structures, a corrupt zip, a file of another kind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "gen.npz").write_bytes(b"x")
    (tmp_path / "corrupt.zip").write_bytes(b"PK\x03\x04 no more")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("../../readme.md", "hello")
    for name, message in [
        ("empty", "holds no .cif, .vasp or POSCAR files"),
        ("gen.npz", "unknown kind of file"),
        ("corrupt.zip", "not a readable zip file"),
        ("other.zip", "holds no .cif, .vasp or POSCAR files"),
    ]:
        assert f"{name}: {message}" in refused(generated=tmp_path / name)
        assert f"{name}: {message}" in refused(reference=tmp_path / name)


def _nan(atoms: Atoms) -> None:
    atoms.positions[0, 0] = np.nan


def _foreign(atoms: Atoms) -> None:
    atoms.symbols[0] = "Al"


def _one_less(atoms: Atoms) -> None:
    del atoms[0]


def _other_cell(atoms: Atoms) -> None:
    atoms.set_cell(atoms.cell * 1.02)


STRUCTURES = [
    (_nan, "not_finite", "is NaN"),
    (_foreign, "foreign_element", "holds Al"),
    (_one_less, "wrong_count", "has 107 atoms instead of 108"),
    (_other_cell, "wrong_cell", "cell lengths 11.47x11.47x11.47 A"),
]


@pytest.mark.parametrize(("spoil", "reason", "detail"), STRUCTURES)
def test_no_structure_survives(
    refused: Callable[..., str],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    spoil: Callable[[Atoms], None],
    reason: str,
    detail: str,
) -> None:
    """The line counts the reasons and tells the first."""
    bad = [atoms.copy() for atoms in frames[:4]]
    for atoms in bad:
        spoil(atoms)
    path = write(bad)
    line = refused(generated=path)
    assert line.startswith(f"{path}: none of 4 structures can be scored ({reason}: 4); structure 0")
    assert detail in line


@pytest.mark.parametrize(("spoil", "reason", "detail"), STRUCTURES)
def test_bad_references(
    refused: Callable[..., str],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    spoil: Callable[[Atoms], None],
    reason: str,
    detail: str,
) -> None:
    """One bad structure spoils a reference; the line names it."""
    bad = [atoms.copy() for atoms in frames[:4]]
    spoil(bad[2])
    path = write(bad)
    line = refused(reference=path)
    assert line.startswith(f"{path}: reference structure 2 is unlike the first: ")
    assert detail in line


def test_references_of_something_else(
    refused: Callable[..., str], frames: Sequence[Atoms], write: Callable[..., Path]
) -> None:
    """All alike, but with an element or a cell that the system does not know."""
    aluminium = [atoms.copy() for atoms in frames[:2]]
    larger = [atoms.copy() for atoms in frames[:2]]
    for one, other in zip(aluminium, larger, strict=True):
        one.symbols[:] = "Al"
        other.set_cell(other.cell * 1.02)
    path = write(aluminium, "al.extxyz")
    assert refused(reference=path).startswith(f"{path}: tiny: the cluster expansion has no terms")
    path = write(larger, "large.extxyz")
    assert "al.extxyz" not in refused(reference=path)
    assert refused(reference=path).startswith(f"{path}: tiny: the reference's cell is no supercell")


def test_an_unreadable_frame_in_a_reference(
    refused: Callable[..., str], write: Callable[..., Path]
) -> None:
    """A garbled line is a failure in a generated file, and a refusal in a reference."""
    path = write(3)
    lines = path.read_text().splitlines()
    lines[115] = "Cu ?"
    path.write_text("\n".join(lines) + "\n")
    assert f"{path}: reference frame 1 cannot be read" in refused(reference=path)


# --- datasets and the store as references ---------------------------------------------------------


def _change_an_atom(folder: Path) -> None:
    path = folder / "train.extxyz"
    path.write_text(path.read_text().replace("Au ", "Cu ", 1))


def _cut_the_card(folder: Path) -> None:
    path = folder / "dataset.json"
    path.write_text(path.read_text()[:200])


def _another_system(folder: Path) -> None:
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace('"tiny"', '"huge"', 1))


def _lose_a_file(folder: Path) -> None:
    (folder / "train.extxyz").unlink()


def _spoil_the_controls(folder: Path) -> None:
    path = folder / "dataset.json"
    card = json.loads(path.read_text())
    card["controls"] = {"published-1-fixed": {"scores": 1}}
    path.write_text(json.dumps(card))


def _lose_the_card(folder: Path) -> None:
    (folder / "dataset.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_change_an_atom, "train.extxyz: its SHA-256 differs from dataset.json"),
        (_cut_the_card, "dataset.json: not a dataset card"),
        (_another_system, "is a dataset of huge, not of tiny"),
        (_lose_a_file, "train.extxyz: is missing; make or copy the dataset again"),
        (_spoil_the_controls, "the controls on its card cannot be read"),
        (_lose_the_card, "holds no .cif, .vasp or POSCAR files"),
    ],
)
def test_damaged_datasets(
    refused: Callable[..., str],
    data: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    """A dataset that is not what its card says is refused."""
    folder = tmp_path / "copy"
    shutil.copytree(data, folder)
    damage(folder)
    assert message in refused(reference=folder)


def test_the_folder_above_a_dataset(refused: Callable[..., str], data: Path) -> None:
    """What ``dismai dataset --out`` was given holds datasets; the line names one."""
    assert f"name one, e.g. {data}" in refused(reference=data.parent)


@pytest.mark.parametrize(
    ("digest", "message"),
    [
        ("", "give the beginning of a content hash"),
        ("zzz", "give the beginning of a content hash"),
        ("0" * 64, "no structure set in the store has a content hash that begins like this"),
    ],
)
def test_unknown_sets_of_the_store(refused: Callable[..., str], digest: str, message: str) -> None:
    """A hash that is not there, and where to find those that are."""
    assert refused(reference=f"store:{digest}").startswith(f"store:{digest}: {message}")


def test_no_reference_at_all(refused: Callable[..., str]) -> None:
    """As from an empty variable of a shell script."""
    assert "--reference is empty" in refused(reference="")


# --- systems and options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("alloy-300K-wied", "did you mean alloy-300K-wide"),
        ("alloy-300", "did you mean alloy-300K-narrow or alloy-300K-wide"),
        ("gone.yaml", "gone.yaml: no such file"),
        ("lsc-lco", "lsc-lco needs --potential P to relax the structures"),
        ("amorphous-si", "amorphous-si needs --potential P to relax the structures"),
        ("alloy-300K-wide", "is a dataset of tiny, not of alloy-300K-wide"),
    ],
)
def test_wrong_systems(refused: Callable[..., str], system: str, message: str) -> None:
    """Unknown ones with the nearest known, known ones of another kind."""
    assert message in refused(system=system)


def test_specs_that_do_not_fit(refused: Callable[..., str], spec: Path, tmp_path: Path) -> None:
    """The line names the file and the key."""
    path = tmp_path / "mine.yaml"
    for text, message in [
        (spec.read_text().replace("Cu: 81", "Cu: 80"), "key 'composition' adds up to 107 atoms"),
        (spec.read_text().replace("    1: {", "    1: [{", 1), "line "),
        ("", "mine.yaml"),
    ]:
        path.write_text(text)
        line = refused(system=path)
        assert line.startswith(f"{path}: ")
        assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "corect"), "--protocol corect: choose published or corrected"),
        (("--alignment", "free"), "--alignment free: choose fixed or translated or rotated"),
        (
            ("--protocol", "corrected", "--alignment", "fixed"),
            "--alignment belongs to the published protocol",
        ),
    ],
)
def test_wrong_words_for_scores(
    refused: Callable[..., str], words: tuple[str, ...], message: str
) -> None:
    """The allowed words are named."""
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "corect"), "--protocol corect: choose corrected or published"),
        (("--thinning", "some"), "--thinning some: choose none or independent"),
        (("--n", "1"), "'--n'"),
        (("--n", "0"), "'--n'"),
        (("--n", "-5"), "'--n'"),
        (("--n-runs", "0"), "'--n-runs'"),
        (("--n-control", "0"), "'--n-control'"),
        (("--seed", "-1"), "'--seed'"),
        (("--interval", "300"), "hold no snapshot"),
        (("--n", "5000"), "5000 structures asked for"),
        (("--n-runs", "1", "--n", "21"), "21 structures asked for"),
    ],
)
def test_wrong_words_for_datasets(
    dismai: Dismai, spec: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """Words, numbers out of range, and more than the runs can give."""
    ran = dismai("dataset", spec, "--out", tmp_path / "a" / "b", *SMALL, *words, "--json")
    assert message in ran.refusal
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("alloy-1500K-wid", "did you mean alloy-1500K-wide"),
        ("gone.yaml", "no such file"),
    ],
)
def test_wrong_systems_for_datasets(
    dismai: Dismai, spec: Path, tmp_path: Path, system: str, message: str
) -> None:
    """One wrong system among good ones, and nothing is made."""
    ran = dismai("dataset", spec, system, "--out", tmp_path / "out", *SMALL)
    assert message in ran.refusal
    assert "each once" in dismai("dataset", spec, spec, "--out", tmp_path, *SMALL).refusal
    assert contents(tmp_path) == {}


def test_wrong_settings(refused: Callable[..., str], tmp_path: Path) -> None:
    """A wrong variable, and a wrong file."""
    assert "setting CHUNK_SIZE" in refused(DISMAI_CHUNK_SIZE=0)
    path = tmp_path / "settings.yaml"
    path.write_text("- nonsense\n")
    assert refused(DISMAI_CONFIG_FILE=path).startswith(f"{path}: ")
    assert "no such file" in refused(DISMAI_CONFIG_FILE=tmp_path / "gone.yaml")
