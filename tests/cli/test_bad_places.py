"""Targets and stores that cannot be used, full disks and interruptions leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import SMALL, contents, unchanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Dismai


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
        # A dataset that was finished before the store was full is written, without controls.
        left = {p.name for p in tmp_path.iterdir()} - {"data"}
        assert left == {disk.name, path.name}
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


#: Tells when the second stretch of a chain begins: all is loaded by then.
SITE = """
import os
from pathlib import Path
from dismaiflow.alloy.monte_carlo import MonteCarlo

run, begun = MonteCarlo.run, []

def told(self, *words):
    if begun:
        Path(os.environ["RUNNING"]).touch()
    begun.append(words)
    return run(self, *words)

MonteCarlo.run = told
"""


def test_an_interrupted_dataset_leaves_nothing(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """Control-C during a long Monte Carlo run; the store can be used afterwards."""
    (tmp_path / "work").mkdir()
    store = tmp_path / "store.sqlite"
    words = ("--out", "out", "--n", 30, "--n-runs", 2, "--n-passes")
    variables = {"DISMAI_STORE_PATH": store, "TMPDIR": tmp_path / "work"}
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    running = tmp_path / "site" / "running"
    # Compiled before: an interrupt that falls into the compiler may be lost.
    assert dismai("dataset", spec, *words, 200, "--out", tmp_path / "first").code == 0
    shutil.rmtree(tmp_path / "first")
    process = dismai.popen(
        "dataset", spec, *words, 50_000_000, cwd=tmp_path,
        PYTHONPATH=tmp_path / "site", RUNNING=running, **variables,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while not running.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert list((tmp_path / "work").glob("dismai-*"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert err.endswith("dismai: interrupted\n")
    assert "Traceback" not in err
    shutil.rmtree(tmp_path / "site")
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
