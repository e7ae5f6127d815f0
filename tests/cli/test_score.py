"""``dismai score``: what is scored, what is counted as failed, and what is written."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from cli.conftest import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cli.conftest import Dismai

Score = dict[str, Any]


@pytest.fixture
def score(
    dismai: Dismai, spec: Path, data: Path, tmp_path: Path
) -> Callable[..., tuple[Score, Path]]:
    """Return a function that scores files and returns score.json and its folder."""
    numbers = iter(range(100))

    def run(*words: object, reference: object = data) -> tuple[Score, Path]:
        folder = tmp_path / f"score_{next(numbers)}"
        ran = dismai("score", spec, *words, "--reference", reference, "--out", folder, "--json")
        assert (ran.code, ran.err) == (0, "")
        written = json.loads((folder / "score.json").read_text())
        assert json.loads(ran.out) == written
        assert sorted(p.name for p in folder.iterdir()) == ["report.html", "score.json"]
        return written, folder

    return run


def values(found: Score) -> dict[str, float | None]:
    """Return the metrics without their intervals."""
    return {name: metric["value"] for name, metric in found["metrics"].items()}


def break_three(frames: Sequence[Atoms], path: Path) -> None:
    """Write 100 structures: a NaN in the 8th, a foreign element in the 43rd, a garbled 100th."""
    broken = [atoms.copy() for atoms in frames]
    broken[7].positions[3, 1] = np.nan
    broken[42].symbols[5] = "Al"
    ase.io.write(path, broken, format="extxyz")
    lines = path.read_text().splitlines()
    assert lines[99 * 110] == "108"
    lines[99 * 110 + 6] = "Cu 1.0 #?!$ 3.0"
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_of_100_structures_3_are_broken(
    score: Callable[..., tuple[Score, Path]],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    tmp_path: Path,
    protocol: str,
) -> None:
    """97 are scored as if the others were not there; 3 are listed with place and reason."""
    path = tmp_path / "broken.extxyz"
    break_three(frames, path)
    found, folder = score(path, "--protocol", protocol)
    assert (found["n_generated"], found["n_scored"]) == (100, 97)
    assert found["failures"] == {"not_finite": 1, "foreign_element": 1, "unreadable": 1}
    assert [(f["file"], f["index"], f["reason"]) for f in found["failed"]] == [
        (0, 7, "not_finite"),
        (0, 42, "foreign_element"),
        (0, 99, "unreadable"),
    ]
    assert "holds Al" in found["failed"][1]["detail"]
    assert "#?!$" in found["failed"][2]["detail"]
    assert found["metrics"]["percent_failed"]["value"] == pytest.approx(3.0)
    good, _ = score(
        write([a for i, a in enumerate(frames) if i not in (7, 42, 99)]), "--protocol", protocol
    )
    assert good["n_scored"] == 97
    for name in ("d_cluster", "percent_with_vacancies"):
        assert good["metrics"][name] == found["metrics"][name]
    assert good["distribution"] == found["distribution"]
    assert good["metrics"]["percent_failed"]["value"] == 0.0
    page = (folder / "report.html").read_text()
    assert "foreign_element" in page


def _nan(atoms: Atoms) -> None:
    atoms.positions[0, 0] = np.nan


def _foreign(atoms: Atoms) -> None:
    atoms.symbols[0] = "Al"


def _one_less(atoms: Atoms) -> None:
    del atoms[0]


def _none(atoms: Atoms) -> None:
    del atoms[:]


def _other_composition(atoms: Atoms) -> None:
    atoms.symbols[0] = "Au" if atoms.symbols[0] == "Cu" else "Cu"


def _other_cell(atoms: Atoms) -> None:
    atoms.set_cell(atoms.cell * 1.01)


def _no_cell(atoms: Atoms) -> None:
    atoms.cell = None
    atoms.pbc = False


def _heap(atoms: Atoms) -> None:
    atoms.positions[:] = 0.0


def _far_away(atoms: Atoms) -> None:
    atoms.positions[-1, 2] = 1e300


BROKEN: dict[str, tuple[Callable[[Atoms], None], set[str]]] = {
    "NaN": (_nan, {"not_finite"}),
    "foreign element": (_foreign, {"foreign_element"}),
    "one atom less": (_one_less, {"wrong_count"}),
    "no atoms": (_none, {"wrong_count"}),
    "another composition": (_other_composition, {"wrong_composition"}),
    "another cell": (_other_cell, {"wrong_cell"}),
    "no cell": (_no_cell, {"unreadable"}),
    "all in one place": (_heap, {"no_lattice", "too_many_removed"}),
    "one atom out of all bounds": (_far_away, {"not_finite"}),
}


@pytest.mark.parametrize(
    "words", [(), ("--alignment", "translated"), ("--protocol", "corrected")], ids=str
)
def test_every_kind_of_broken_structure_is_counted(
    score: Callable[..., tuple[Score, Path]],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    words: tuple[str, ...],
) -> None:
    """One of each kind between good ones: each has its reason, and the sum is right."""
    mixed: list[Atoms] = []
    for i, (spoil, _) in enumerate(BROKEN.values()):
        atoms = frames[i].copy()
        spoil(atoms)
        mixed += [frames[i], atoms]
    found, _ = score(write(mixed), *words)
    assert found["n_generated"] == 2 * len(BROKEN)
    assert found["n_scored"] == len(BROKEN)
    assert [f["index"] for f in found["failed"]] == list(range(1, 2 * len(BROKEN), 2))
    for failure, (kind, (_, reasons)) in zip(found["failed"], BROKEN.items(), strict=True):
        assert failure["reason"] in reasons, kind
        assert failure["detail"]
        assert "\n" not in failure["detail"]
    assert found["failures"] == Counter(f["reason"] for f in found["failed"])
    assert found["n_generated"] == found["n_scored"] + sum(found["failures"].values())


def test_score_json_has_the_keys_of_the_design(
    score: Callable[..., tuple[Score, Path]], write: Callable[..., Path]
) -> None:
    """Names and kinds that scripts rely on."""
    found, folder = score(write(20), "--name", "my model")
    assert found["system"] == "tiny"
    assert found["protocol"] == {"name": "published", "version": 1, "alignment": "fixed"}
    assert set(found["metrics"]) == {"d_cluster", "percent_with_vacancies", "percent_failed"}
    for metric in found["metrics"].values():
        assert {"value", "ci95", "min", "max"} <= set(metric)
    low, high = found["metrics"]["d_cluster"]["ci95"]
    assert low < found["metrics"]["d_cluster"]["value"] < high
    assert set(found["controls"]) == {
        "train-resample",
        "random-occupancy",
        "rattled",
        "uniform-random",
        "validation",
    }
    assert found["floor"] == found["controls"]["train-resample"]
    assert found["published"]["comparable"] is False
    assert found["published"]["why_not"]
    assert found["published"]["rows"] == []
    assert len(found["per_run"]) == 1
    assert found["provenance"]["model"] == "my model"
    assert found["provenance"]["generated_files"] == ["gen.extxyz"]
    assert {"failures", "failed", "distribution"} <= set(found)
    assert "my model" in (folder / "report.html").read_text()


def test_files_of_several_models_are_averaged(
    score: Callable[..., tuple[Score, Path]], frames: Sequence[Atoms], write: Callable[..., Path]
) -> None:
    """Means with minimum and maximum, no interval, summed counts, places in each file."""
    bad = [atoms.copy() for atoms in frames[:10]]
    bad[4].positions[0, 0] = np.inf
    paths = [
        write(frames[10:30], "one/gen.extxyz"),
        write(bad, "two/gen.extxyz"),
        write(frames[50:90], "three/gen.extxyz"),
    ]
    found, _ = score(*paths)
    alone = [values(score(path)[0]) for path in paths]
    assert (found["n_generated"], found["n_scored"]) == (70, 69)
    assert [(f["file"], f["index"]) for f in found["failed"]] == [(1, 4)]
    for name, metric in found["metrics"].items():
        several = [one[name] for one in alone]
        assert metric["value"] == pytest.approx(np.mean(several))
        assert (metric["min"], metric["max"]) == (min(several), max(several))
        assert metric["ci95"] is None
    assert len(found["per_run"]) == 3
    # Files of one name are told apart.
    assert found["provenance"]["generated_files"] == [p.as_posix() for p in paths]


def test_a_model_of_which_nothing_is_left_has_no_distance(
    score: Callable[..., tuple[Score, Path]], frames: Sequence[Atoms], write: Callable[..., Path]
) -> None:
    """The others count, and the score says that one is missing."""
    bad = [atoms.copy() for atoms in frames[:3]]
    for atoms in bad:
        atoms.positions[0, 0] = np.nan
    good = write(8, "good.extxyz")
    found, _ = score(good, write(bad, "bad.extxyz"))
    assert values(found)["d_cluster"] == values(score(good)[0])["d_cluster"]
    assert "1 of 2 files" in found["metrics"]["d_cluster"]["reason"]
    assert (found["n_generated"], found["n_scored"]) == (11, 8)
    assert found["failures"] == {"not_finite": 3}


def test_references_are_the_same_however_they_are_named(
    score: Callable[..., tuple[Score, Path]], data: Path, write: Callable[..., Path]
) -> None:
    """A dataset folder, its training file, and the set in the store give one score."""
    digest = json.loads((data / "dataset.json").read_text())["content_hashes"]["train"]
    path = write(20)
    folder = score(path)[0]
    for reference in (data / "train.extxyz", f"store:{digest}", f"store:{digest[:12]}"):
        found = score(path, reference=reference)[0]
        assert found["metrics"] == folder["metrics"]
        assert found["distribution"] == folder["distribution"]
        # Paths of this machine stay out of the document.
        assert found["provenance"]["reference"] == str(reference).rpartition("/")[2]
        assert found["provenance"]["reference_hash"] == digest
        # The controls of this reference are in the store.
        assert found["controls"] == folder["controls"]


def test_controls_can_be_left_out(
    score: Callable[..., tuple[Score, Path]], data: Path, write: Callable[..., Path]
) -> None:
    """The score is the same, with nothing beside it."""
    with_them = score(write(8))[0]
    found = score(write(8), "--no-controls", reference=data / "train.extxyz")[0]
    assert (found["controls"], found["floor"]) == ({}, {})
    assert found["metrics"] == with_them["metrics"]


@pytest.mark.parametrize(("kind", "name"), [("cif", "gen_{}.cif"), ("vasp", "gen_{}/POSCAR")])
def test_folders_and_zips_are_scored_like_files(
    score: Callable[..., tuple[Score, Path]],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    tmp_path: Path,
    kind: str,
    name: str,
) -> None:
    """Twelve structures in natural order: the third, not the fifth, is the broken one."""
    whole = values(score(write(frames[:12]))[0])
    folder = tmp_path / "many"
    for i, atoms in enumerate(frames[:12]):
        path = folder / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(path, atoms, format=kind)
    found = score(folder)[0]
    assert found["n_scored"] == 12
    assert values(found)["d_cluster"] == pytest.approx(whole["d_cluster"], abs=1e-6)
    (folder / name.format(2)).write_text("not a structure\n")
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    for source in (folder, tmp_path / "many.zip"):
        found = score(source)[0]
        assert [(f["index"], f["reason"]) for f in found["failed"]] == [(2, "unreadable")]
        assert name.format(2) in found["failed"][0]["detail"]


def test_windows_files_with_more_columns_score_the_same(
    score: Callable[..., tuple[Score, Path]],
    frames: Sequence[Atoms],
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Line ends, further columns and words do not change the score."""
    more = [atoms.copy() for atoms in frames[:10]]
    for i, atoms in enumerate(more):
        atoms.set_array("forces", np.ones((108, 3)))
        atoms.info.update(index=100 - i, step=i, model="a b", stress=np.eye(3))
    ase.io.write(tmp_path / "more.xyz", more, format="extxyz")
    windows = tmp_path / "windows.xyz"
    windows.write_bytes((tmp_path / "more.xyz").read_bytes().replace(b"\n", b"\r\n"))
    found = score(windows)[0]
    plain = score(write(10))[0]
    assert found["metrics"] == plain["metrics"]
    assert found["provenance"]["generated_hashes"] == plain["provenance"]["generated_hashes"]


def test_other_supercells_are_scored_against_a_reference_of_theirs(
    score: Callable[..., tuple[Score, Path]], frames: Sequence[Atoms], write: Callable[..., Path]
) -> None:
    """Composition and cell are read from the reference, not from the spec."""
    doubled = [frames[i] * (1, 1, 2) for i in range(6)]
    found = score(write(doubled[3:]), reference=write(doubled[:3], "reference.extxyz"))[0]
    assert found["n_scored"] == 3
    mixed = score(write([*doubled[3:], frames[0]]), reference=write(doubled[:3], "reference.xyz"))
    assert mixed[0]["failures"] == {"wrong_count": 1}


def test_people_see_a_table(
    dismai: Dismai, spec: Path, data: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    """The real command: the table on stdout, progress on stderr, paths as they were given."""
    write(20, "gen.extxyz")
    words = ("score", spec, "gen.extxyz", "--reference", data, "--out", "results/first")
    ran = dismai.execute(*words, cwd=tmp_path)
    assert "20 of 20 structures scored" in ran.words
    assert "d_cluster" in ran.words
    assert "random-occupancy" in ran.words
    assert "results/first/score.json" in ran.words
    assert "structures" in ran.err or "scoring" in ran.err
    assert "Traceback" not in ran.err + ran.out
    assert sorted(contents(tmp_path)) == [
        "gen.extxyz",
        "results",
        "results/first",
        "results/first/report.html",
        "results/first/score.json",
    ]
    # The store is closed: no helper files of SQLite beside it.
    assert not list(dismai.root.glob("store.sqlite-*"))


def test_an_empty_folder_may_be_there(
    dismai: Dismai,
    spec: Path,
    data: Path,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--out .`` in an empty folder is fine."""
    path = write(6)
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ran = dismai("score", spec, path, "--reference", data, "--out", ".", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(contents(folder)) == ["report.html", "score.json"]


def test_reports_are_drawn_again(
    dismai: Dismai, spec: Path, data: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    """``dismai report`` takes every score and dataset below a folder."""
    for name in ("first", "second"):
        words = ("--reference", data, "--out", tmp_path / "run" / name, "--json")
        assert dismai("score", spec, write(6, f"{name}.extxyz"), *words).code == 0
    (tmp_path / "run" / "first" / "report.html").unlink()
    ran = dismai("report", tmp_path / "run")
    assert f"wrote {tmp_path / 'run' / 'report.html'}" in ran.words
    page = (tmp_path / "run" / "report.html").read_text()
    assert "first" in page
    assert "second" in page
    assert not (tmp_path / "run" / "first" / "report.html").exists()
