"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import (
    check_out_folder,
    explain_os_error,
    file_sha256,
    new_folder,
    write_text,
)
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator


def everything(folder: Path) -> list[str]:
    """List all that lies in a folder, hidden files too."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 64 kB."""
    with mounted(tmp_path / "disk", "64k") as folder:
        yield folder


@pytest.mark.parametrize("target", ["out", "a/b/out"])
def test_a_folder_appears_when_it_is_whole(tmp_path: Path, target: str) -> None:
    """Nothing is at the target before the end, nothing beside it afterwards."""
    path = tmp_path / target
    with new_folder(path) as partial:
        (partial / "one").write_text("1")
        assert not path.exists()
    assert (path / "one").read_text() == "1"
    assert everything(path) == ["one"]
    assert everything(tmp_path)[-1] == f"{target}/one"
    assert len(everything(tmp_path)) == len(Path(target).parts) + 1
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert path.stat().st_mode == fresh.stat().st_mode


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays the same folder, so that a shell that stands in it sees the files."""
    path = tmp_path / "out"
    path.mkdir()
    before = path.stat().st_ino
    monkeypatch.chdir(path)
    with new_folder(Path()) as partial:
        (partial / "one").write_text("1")
        (partial / "sub").mkdir()
        (partial / "sub" / "two").write_text("2")
    assert everything(path) == ["one", "sub", "sub/two"]
    assert path.stat().st_ino == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_of_a_failure(
    tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    """Whatever ends the block, the folders made for it go, and those that were there stay."""
    path = tmp_path / "a" / "out"
    if there:
        path.mkdir(parents=True)
    before = everything(tmp_path)
    with pytest.raises(error), new_folder(path) as partial:
        (partial / "half").write_text("1")
        raise error
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file", "file: is a file; --out needs a folder"),
        ("file/below/it", "file: is a file; --out needs a folder"),
        ("filled", "filled: already holds files"),
    ],
)
def test_targets_in_the_way(tmp_path: Path, target: str, message: str) -> None:
    """Files and filled folders are never touched."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "mine").write_text("mine")
    before = everything(tmp_path)
    for attempt in (check_out_folder, lambda path: new_folder(path).__enter__()):
        with pytest.raises(DismaiError, match=message):
            attempt(tmp_path / target)
    assert everything(tmp_path) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "filled" / "mine").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing(small_disk: Path, there: bool) -> None:
    """The line says that the disk is full; what was written of the folder is gone."""
    path = small_disk if there else small_disk / "a" / "out"
    with pytest.raises(DismaiError, match="no space left") as caught, new_folder(path) as partial:
        (partial / "large").write_bytes(bytes(200_000))
    assert str(caught.value).startswith(f"{path}: ")
    assert everything(small_disk) == []


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """The old text or the new one, nothing else beside them."""
    path = tmp_path / "card.json"
    write_text(path, "old")
    write_text(path, "neu Å")
    assert path.read_text(encoding="utf-8") == "neu Å"
    assert everything(tmp_path) == ["card.json"]


def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    """What was there stays when the new text does not fit."""
    path = small_disk / "card.json"
    write_text(path, "old")
    with pytest.raises(DismaiError, match=r"card\.json: no space left on this disk"):
        write_text(path, "x" * 200_000)
    assert path.read_text() == "old"
    assert everything(small_disk) == ["card.json"]


@pytest.mark.parametrize("place", ["file/card.json", "gone/card.json", "folder"])
def test_files_in_impossible_places(tmp_path: Path, place: str) -> None:
    """Below a file, in no folder, in the place of a folder: one line, nothing changed."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    before = everything(tmp_path)
    with pytest.raises(DismaiError) as caught:
        write_text(tmp_path / place, "text")
    assert str(caught.value).startswith(f"{tmp_path / place}: ")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EACCES, "not writable"),
        (errno.EROFS, "not writable"),
        (errno.ENOTDIR, "a file stands in the way"),
        (errno.EIO, r"cannot be written \(Input/output error\)"),
    ],
)
def test_errors_of_the_system_are_explained(code: int, message: str) -> None:
    """Each kind says what to do about it."""
    explained = explain_os_error(OSError(code, os.strerror(code)), Path("out"))
    assert isinstance(explained, DismaiError)
    with pytest.raises(DismaiError, match=f"^out: {message}"):
        raise explained


def test_check_sums(tmp_path: Path) -> None:
    """The SHA-256 that everybody else computes."""
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert file_sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
