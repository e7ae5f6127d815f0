"""Wrong inputs end in exit code 2 with one clear line, and leave nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cli.conftest import SMALL, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

    from cli.conftest import Dismai


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Assert that the block changes nothing in a folder."""
    before = contents(folder)
    yield
    assert contents(folder) == before


@pytest.fixture
def refused(
    dismai: Dismai, spec: Path, data: Path, write: Callable[..., Path], tmp_path: Path
) -> Callable[..., str]:
    """Return a function that scores, expects a refusal and returns its line.

    What is not given is in order; the folder of the test stays as it is.
    """
    good = write(6, "good/good.extxyz")

    def run(
        *words: object,
        system: object = spec,
        generated: object = good,
        reference: object = data,
        out: object = tmp_path / "new" / "out",
        **variables: object,
    ) -> str:
        given = ("score", system, generated, "--reference", reference, "--out", out, "--json")
        with unchanged(tmp_path), unchanged(data):
            return dismai(*given, *words, **variables).refusal

    return run


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


@pytest.mark.parametrize("digest", ["", "zzz", "0" * 64])
def test_unknown_sets_of_the_store(refused: Callable[..., str], digest: str) -> None:
    """A hash that is not there, and where to find those that are."""
    line = refused(reference=f"store:{digest}")
    assert line.startswith(f"store:{digest}: no dataset in the store has a set of this content")


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
        ("lsc-lco", "lsc-lco is of kind interface; this version makes and scores alloys only"),
        ("amorphous-si", "amorphous-si is of kind amorphous"),
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
        (("--n", "5000"), "5000 snapshots asked for, 40 found"),
        (("--n-runs", "1", "--n", "21"), "21 snapshots asked for, 20 found"),
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
        ("amorphous-si", "makes and scores alloys only"),
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


# --- where results go -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file", "file: is a file; --out needs a folder"),
        ("file/below", "file: is a file; --out needs a folder"),
        ("filled", "filled: already holds files; choose another folder or empty it"),
        ("filled/mine", "mine: is a file; --out needs a folder"),
    ],
)
def test_targets_in_the_way(
    refused: Callable[..., str], tmp_path: Path, target: str, message: str
) -> None:
    """What is there is not touched."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "mine").write_text("mine")
    assert message in refused(out=tmp_path / target)


def test_targets_of_datasets_in_the_way(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """Told before the Monte Carlo, of whichever system it is."""
    other = tmp_path / "other.yaml"
    other.write_text(spec.read_text().replace("name: tiny", "name: other"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out" / "other").mkdir(parents=True)
    (tmp_path / "out" / "other" / "mine").write_text("mine")
    with unchanged(tmp_path):
        ran = dismai("dataset", spec, other, "--out", tmp_path / "out", *SMALL)
        assert "other: already holds files" in ran.refusal
        ran = dismai("dataset", spec, "--out", tmp_path / "file", *SMALL)
        assert "file: is a file; --out needs a folder" in ran.refusal


def test_reports_of_nothing(dismai: Dismai, tmp_path: Path) -> None:
    """No folder, an empty one, and one with something that is no score."""
    assert "is no folder" in dismai("report", tmp_path / "gone").refusal
    assert "holds neither score.json nor dataset.json" in dismai("report", tmp_path).refusal
    for content in ("", "{", "[]", '{"system": "tiny"}', "\xff"):
        (tmp_path / "score.json").write_bytes(content.encode("latin-1"))
        with unchanged(tmp_path):
            refusal = dismai("report", tmp_path).refusal
        assert refusal.startswith(f"{tmp_path / 'score.json'}: not a score (")


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_for_a_score(
    refused: Callable[..., str], small_disk: Callable[[str], Path], there: bool
) -> None:
    """Nothing is left in the folder, beside it, or of the folders above it."""
    disk = small_disk("512k")
    out = disk if there else disk / "a" / "out"
    assert refused(out=out) == (
        f"{out}: no space left on this disk; free some or choose another path"
    )
    assert contents(disk) == {}


def test_a_full_disk_for_a_dataset(
    dismai: Dismai, spec: Path, small_disk: Callable[[str], Path]
) -> None:
    """Half of a dataset is none."""
    disk = small_disk("64k")
    words = ("--out", disk / "data", *SMALL, "--no-controls", "--json")
    line = dismai("dataset", spec, *words).refusal
    assert line.startswith(f"{disk / 'data' / 'tiny'}: no space left on this disk")
    assert contents(disk) == {}


@pytest.fixture
def closing_disk(
    small_disk: Callable[[str], Path], tmp_path: Path
) -> tuple[Path, Callable[[], object]]:
    """Return a folder, and a function that takes away the right to write in it, also from root."""
    if os.geteuid():
        folder = tmp_path / "disk_0"
        folder.mkdir()
        return folder, lambda: folder.chmod(0o500)
    folder = small_disk("20m")
    command = ["mount", "-o", "remount,ro", str(folder)]
    return folder, lambda: subprocess.run(command, check=True)


def test_folders_that_cannot_be_written(
    refused: Callable[..., str],
    dismai: Dismai,
    spec: Path,
    closing_disk: tuple[Path, Callable[[], object]],
) -> None:
    """Told before any work, for the target and for a folder that would have to be made."""
    disk, close = closing_disk
    close()
    for out in (disk, disk / "a" / "out"):
        assert refused(out=out).startswith(f"{disk}: not writable; choose another path")
    line = dismai("dataset", spec, "--out", disk / "data", *SMALL).refusal
    assert line.startswith(f"{disk}: not writable")


# --- the store ------------------------------------------------------------------------------------


def test_a_full_disk_for_the_store(
    dismai: Dismai,
    spec: Path,
    data: Path,
    write: Callable[..., Path],
    small_disk: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """The line names the store; once there is space, the same command works on it."""
    disk = small_disk("300k")
    path = write(30)
    words = ("--reference", data, "--out", tmp_path / "out", "--json")
    for command in (
        ("dataset", spec, "--out", tmp_path / "data", *SMALL, "--json"),
        ("score", spec, path, *words),
    ):
        line = dismai(*command, DISMAI_STORE_PATH=disk / "store.sqlite").refusal
        assert sorted(p.name for p in tmp_path.iterdir()) == [disk.name, path.name]
        assert f"{disk / 'store.sqlite'}: its disk is full" in line
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    ran = dismai("score", spec, path, *words, DISMAI_STORE_PATH=disk / "store.sqlite")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["n_scored"] == 30


def test_stores_that_cannot_be_used(
    refused: Callable[..., str], dismai: Dismai, spec: Path, tmp_path: Path
) -> None:
    """A folder, a file of something else, half a store, a folder that cannot be made."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "half").write_bytes(dismai.store.read_bytes()[:5000])
    for path, message in [
        (tmp_path / "folder", "it is a folder: name a file in it"),
        (spec, "it is not a store"),
        (tmp_path / "half", "it is damaged"),
        (spec / "below" / "store.sqlite", "cannot make the folder of the store"),
    ]:
        line = refused(DISMAI_STORE_PATH=path)
        assert f"{path}: {message}" in line
        assert "DISMAI_STORE_PATH" in line
    assert spec.read_text().startswith("#")


def test_a_store_that_cannot_be_written(
    dismai: Dismai,
    spec: Path,
    data: Path,
    write: Callable[..., Path],
    closing_disk: tuple[Path, Callable[[], object]],
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    """A store that was made before, and one that would be made."""
    disk, close = closing_disk
    store = disk / "store.sqlite"
    words = ("score", spec, write(6), "--reference", data, "--out", tmp_path / "out", "--json")
    assert dismai(*words, DISMAI_STORE_PATH=store).code == 0
    shutil.rmtree(tmp_path / "out")
    close()
    for path in (store, disk / "new.sqlite"):
        line = refused(DISMAI_STORE_PATH=path)
        assert str(path) in line
        assert "DISMAI_STORE_PATH" in line
    assert "cannot make the folder" in refused(DISMAI_STORE_PATH=disk / "a" / "store.sqlite")


# --- interruptions --------------------------------------------------------------------------------


def test_an_interrupted_score_leaves_nothing(
    dismai: Dismai,
    spec: Path,
    data: Path,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control-C while the report is written, after score.json."""

    def interrupt(path: Path, *_: object, **__: object) -> None:
        assert (path.parent / "score.json").is_file()
        path.write_text("half of a rep")
        raise KeyboardInterrupt

    monkeypatch.setattr("dismaiflow.report.html.write_report", interrupt)
    path = write(6)
    with unchanged(tmp_path):
        ran = dismai(
            "score", spec, path, "--reference", data, "--out", tmp_path / "a" / "b", "--json"
        )
    assert (ran.code, ran.out, ran.err) == (130, "", "dismai: interrupted\n")


def test_an_interrupted_dataset_leaves_nothing(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """Control-C during a long Monte Carlo run; the store can be used afterwards."""
    (tmp_path / "work").mkdir()
    store = tmp_path / "store.sqlite"
    words = ("--out", "out", "--n", 30, "--n-runs", 2, "--n-passes")
    variables = {"DISMAI_STORE_PATH": store, "TMPDIR": tmp_path / "work"}
    process = dismai.popen("dataset", spec, *words, 50_000_000, cwd=tmp_path, **variables)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "work").glob("dismai-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.endswith("dismai: interrupted\n")
    assert "Traceback" not in err
    assert {name for name in contents(tmp_path) if not name.startswith("store.sqlite")} == {"work"}
    ran = dismai("dataset", spec, *words, 200, "--json", "--out", tmp_path / "out", **variables)
    assert ran.code == 0, ran.err


def test_failures_inside_are_told_without_a_traceback(
    dismai: Dismai,
    spec: Path,
    data: Path,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of the package in a job: its structures count as failed, none is an exit code 2."""

    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("dismaiflow.benchmark.alloy_analysis.AlloyAnalyser.count_generated", fail)
    line = dismai("score", spec, write(6), "--reference", data, "--out", tmp_path / "out", "--json")
    assert line.code == 2
    assert "Traceback" not in line.err
    assert "a fault" in line.err
    assert "job_failed: 6" in line.err
    assert not (tmp_path / "out").exists()
