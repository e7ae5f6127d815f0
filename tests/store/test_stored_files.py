"""Files and folders in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore

from dismaiflow.errors import DismaiError
from dismaiflow.store import stored_files
from dismaiflow.store.stored_files import get_folder, put_file, put_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store() -> JobStore:
    opened = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    opened.connect()
    return opened


def test_a_folder_comes_back(store: JobStore, tmp_path: Path, monkeypatch) -> None:
    """Folders below, empty files, and files of several parts; links and what is left out do not."""
    monkeypatch.setattr(stored_files, "PART_BYTES", 100)
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    contents = {"a.bin": bytes(range(256)) * 3, "below/b.txt": b"text", "empty": b""}
    for name, data in contents.items():
        (source / name).write_bytes(data)
    (source / "left").write_text("out")
    (source / "link").symlink_to(source / "a.bin")
    files = put_folder(store, source, "file", ["left"])
    assert list(files) == ["a.bin", "below/b.txt", "empty"]
    assert len(files["a.bin"]) == 8
    target = get_folder(store, files, tmp_path / "target")
    assert {
        p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()
    } == contents


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_no_file_leads_out_of_the_folder(store: JobStore, tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("x")
    blobs = put_file(store, tmp_path / "x", "file")
    with pytest.raises(DismaiError, match="leads out"):
        get_folder(store, {name: blobs}, tmp_path / "target")


def test_a_file_that_is_not_there(store: JobStore, tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match="cannot be read"):
        put_file(store, tmp_path / "none", "file")
