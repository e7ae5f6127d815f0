"""Fetching a record whole or not at all, and verifying it; the server is of this test."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import stat
import zipfile
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import ase.io
import pytest
from ase.build import bulk
from tests.structures.record_server import serve, tarred, zipped

from dismaiflow.errors import DismaiError
from dismaiflow.structures import archives, zenodo
from dismaiflow.structures.published_data import fetch as carry_out
from dismaiflow.structures.published_data import plan_fetch
from dismaiflow.structures.published_manifest import MANIFEST, Manifest, load_manifest, verify
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "12710372"

SILICON = [bulk("Si", cubic=True), bulk("Si", cubic=True) * (1, 1, 1)]


def extxyz() -> bytes:
    stream = io.StringIO()
    ase.io.write(stream, SILICON, format="extxyz")
    return stream.getvalue().encode()


#: A record with the folders of the published one, much smaller.
FILES = {
    "potentials.zip": zipped({"potentials/GAP_PRX_Si/gap.xml": "<GAP/>", "potentials/._x": "mac"}),
    "train_val_data.tar.gz": tarred({"a_Si/train.extxyz": extxyz(), "a_Si/bad.extxyz": b"no\n"}),
    "README.md": b"the published data\n",
}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zenodo, "PAUSE", 0.0)


def fetch(*what: Any) -> Manifest:
    """Plan and fetch."""
    return carry_out(plan_fetch(*what))


def names(folder: Path) -> list[str]:
    """Return the files in a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


WHOLE = [
    "README.md",
    MANIFEST,
    "potentials.zip",
    "potentials/GAP_PRX_Si/gap.xml",
    "train_val_data.tar.gz",
    "train_val_data/a_Si/bad.extxyz",
    "train_val_data/a_Si/train.extxyz",
]


@pytest.mark.parametrize("form", ["zenodo", "entries", "mapping", "separate", "filename"])
def test_a_whole_record(tmp_path: Path, form: str) -> None:
    """In each of the ways in which servers describe files."""
    folder = tmp_path / "new" / "data"
    with serve(FILES, form=form) as server:
        fetch(folder, RECORD, server.url)
        asked = len(server.downloads())
        again = fetch(folder, RECORD, server.url)
        assert (asked, len(server.downloads())) == (3, 3)  # nothing came twice
        source = f"{server.url}/api/records/{RECORD}"
    assert names(folder) == sorted(WHOLE)
    manifest = load_manifest(folder)
    assert manifest == again
    assert (manifest.record, manifest.source) == (RECORD, source)
    assert manifest.doi == "10.5281/zenodo.12710372"
    assert not manifest.not_fetched
    assert not manifest.from_zenodo
    for name, content in FILES.items():
        file = manifest.files[name]
        assert file.size == len(content)
        assert file.checksum == f"md5:{hashlib.md5(content).hexdigest()}"
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.ready
    weights = manifest.files["potentials.zip"].members["potentials/GAP_PRX_Si/gap.xml"]
    assert weights.sha256 == hashlib.sha256(b"<GAP/>").hexdigest()
    found = verify(folder)
    assert (found.n_files, found.whole) == (6, True)
    assert not stat.S_IMODE((folder / "README.md").stat().st_mode) & 0o111


def test_structures_are_hashed(tmp_path: Path) -> None:
    with serve(FILES) as server:
        fetch(tmp_path, RECORD, server.url, ["train*"])
    members = load_manifest(tmp_path).files["train_val_data.tar.gz"].members
    structures = members["train_val_data/a_Si/train.extxyz"].structures
    assert structures is not None
    assert structures.content_hash == StructureSet.from_atoms(SILICON).content_hash
    assert (structures.n_structures, structures.composition) == (2, {"Si": 8})
    bad = members["train_val_data/a_Si/bad.extxyz"]
    assert bad.structures is None
    assert bad.unread
    assert bad.unread.startswith("line 1 should be the number of atoms")


def test_some_files_first(tmp_path: Path) -> None:
    with serve(FILES) as server:
        fetch(tmp_path, RECORD, server.url, ["READ*", "*.zip"])
        assert load_manifest(tmp_path).not_fetched == ["train_val_data.tar.gz"]
        with pytest.raises(DismaiError, match=r"--only \*\.cif: fits no file .*, README\.md$"):
            fetch(tmp_path, RECORD, server.url, ["*.cif"])
        fetch(tmp_path, RECORD, server.url)
        assert [name for name, _ in server.downloads()].count("README.md") == 1
    assert names(tmp_path) == sorted(WHOLE)


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path) -> None:
    with serve(FILES, checksums={"README.md": "0" * 32}) as server:
        with pytest.raises(DismaiError, match=r"^README\.md: came with another checksum"):
            fetch(tmp_path, RECORD, server.url)
        # What came before stays, and the folder is one that a fetch goes on with.
        assert set(names(tmp_path)) == set(WHOLE) - {"README.md"}
        server.checksums.clear()
        fetch(tmp_path, RECORD, server.url)
        assert [name for name, _ in server.downloads()].count("potentials.zip") == 1
    assert verify(tmp_path).whole


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_closes_half_way(tmp_path: Path, ranges: bool) -> None:
    """One line; the file is not there; the next fetch takes up the rest where a server can."""
    content = bytes(range(256)) * 40
    with serve({"set.bin": content}, break_after=1000, ranges=ranges) as server:
        with pytest.raises(DismaiError, match=r"^set\.bin: the server stopped after .* 10,240 b"):
            fetch(tmp_path, RECORD, server.url)
        assert not (tmp_path / "set.bin").exists()
        kept = (tmp_path / ".set.bin.part").stat().st_size
        assert kept == (4000 if ranges else 1000)
        server.break_after = None
        server.asked.clear()
        fetch(tmp_path, RECORD, server.url)
        assert server.downloads() == [("set.bin", f"bytes={kept}-")]
    assert (tmp_path / "set.bin").read_bytes() == content
    assert names(tmp_path) == [MANIFEST, "set.bin"]


def test_a_broken_connection_is_taken_up(tmp_path: Path) -> None:
    """Within one fetch, as long as more comes."""
    with serve({"a.bin": b"x" * 3500}, break_after=1000) as server:
        fetch(tmp_path, RECORD, server.url)
        parts = [part for _, part in server.downloads()]
    assert parts == ["", "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_a_damaged_part_is_thrown_away(tmp_path: Path) -> None:
    with serve({"a.bin": b"x" * 100}) as server:
        fetch(tmp_path, RECORD, server.url)
        (tmp_path / "a.bin").unlink()
        (tmp_path / ".a.bin.part").write_bytes(b"y" * 60)
        fetch(tmp_path, RECORD, server.url)
        assert [part for _, part in server.downloads()] == ["", "bytes=60-", ""]
    assert (tmp_path / "a.bin").read_bytes() == b"x" * 100


def test_busy_servers_are_asked_again(tmp_path: Path) -> None:
    """And those that know nothing of a range; others not."""
    with serve({"a.bin": b"x" * 100}) as server:
        server.errors = [503, 429]
        fetch(tmp_path / "a", RECORD, server.url)
        assert len(server.downloads()) == 3
        server.errors = [403]
        with pytest.raises(DismaiError, match=r"^a\.bin: .*: not public \(HTTP 403\)$"):
            fetch(tmp_path / "b", RECORD, server.url)
        (tmp_path / "b" / ".a.bin.part").write_bytes(b"x" * 50)
        server.errors = [416]
        server.asked.clear()
        fetch(tmp_path / "b", RECORD, server.url)
        assert [part for _, part in server.downloads()] == ["bytes=50-", ""]


def test_more_than_promised(tmp_path: Path) -> None:
    with serve({"a.bin": b"x" * 100}) as server:
        said = server.record()
        said["files"][0]["size"] = 10
        server.record = lambda: said  # type: ignore[method-assign]
        with pytest.raises(DismaiError, match=r"a\.bin: the server sends more than the 10 bytes"):
            fetch(tmp_path, RECORD, server.url)
    assert names(tmp_path) == [MANIFEST]


def test_no_such_record_or_server(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with serve(FILES) as server:
        url = server.url
        with pytest.raises(DismaiError, match=r"not there; check --record and --url \(HTTP 404\)"):
            fetch(out, "5", url)
    with pytest.raises(DismaiError, match=r"cannot be reached \(Connection refused\)"):
        fetch(out, RECORD, url)
    assert not out.exists()


@pytest.mark.parametrize("url", ["zenodo.org", "file:///etc", "https://me:word@zenodo.org"])
def test_addresses_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(DismaiError, match=r"^--url: give an address without a password"):
        fetch(tmp_path, RECORD, url)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("key", "../../evil", "no plain name"),
        ("key", ".hidden", "no plain name"),
        ("key", MANIFEST, "has a file named"),
        ("checksum", None, "has no checksum for a.bin"),
        ("size", "many", "in an unknown way"),
        ("links", {"self": "file:///etc/hosts"}, "in an unknown way"),
    ],
)
def test_odd_records(tmp_path: Path, key: str, value: object, message: str) -> None:
    with serve({"a.bin": b"x"}) as server:
        said = server.record()
        said["files"][0][key] = value
        server.record = lambda: said  # type: ignore[method-assign]
        with pytest.raises(DismaiError, match=message):
            fetch(tmp_path / "data", RECORD, server.url)
    assert not (tmp_path / "data").exists()


def test_a_restricted_record_and_other_pages(tmp_path: Path) -> None:
    with serve({}) as server:
        with pytest.raises(DismaiError, match="the record lists no files"):
            fetch(tmp_path, RECORD, server.url)
        server.answer = lambda path: b"<html>"  # type: ignore[method-assign]
        with pytest.raises(DismaiError, match="is no JSON; is it a Zenodo server"):
            fetch(tmp_path, RECORD, server.url)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "C:/evil", "..\\evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_outside_are_refused(tmp_path: Path, name: str, pack: Any) -> None:
    """Nothing of the archive is unpacked, and no folder is left."""
    suffix = ".zip" if pack is zipped else ".tar.gz"
    out = tmp_path / "out"
    files = {f"bad{suffix}": pack({"good": b"1", name: b"2"})}
    refused = pytest.raises(DismaiError, match="would lie outside its folder")
    with serve(files) as server, refused:
        fetch(out, RECORD, server.url)
    assert names(tmp_path) == [f"out/bad{suffix}", f"out/{MANIFEST}"]
    assert not load_manifest(out).files[f"bad{suffix}"].ready


def test_links_are_left_out(tmp_path: Path) -> None:
    """Also where a file would be written through one."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stream = io.BytesIO(zipped({"file": b"1"}))
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(outside))
    tar = tarred({"link/evil": b"2"}, {"link": str(outside)})
    out = tmp_path / "out"
    with serve({"a.zip": stream.getvalue(), "b.tgz": tar}) as server:
        manifest = fetch(out, RECORD, server.url)
    for name in ("a.zip", "b.tgz"):
        assert manifest.files[name].left_out == {"link": "a link or a device"}
    assert not list(outside.iterdir())
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "b" / "link" / "evil").read_bytes() == b"2"


def test_archives_that_grow_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    with serve({"bomb.zip": zipped({"zeros": bytes(10**6)})}) as server:
        with pytest.raises(DismaiError, match="over 200 times as large as it"):
            fetch(tmp_path, RECORD, server.url)
        monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
        server.files = {"many.zip": zipped({"a": "", "b": ""})}
        with pytest.raises(DismaiError, match="more than 1 files"):
            fetch(tmp_path, RECORD, server.url)
    assert not (tmp_path / "bomb").exists()


def test_damaged_archives(tmp_path: Path) -> None:
    """Whole by the checksum, but no archives; a cut gzip stream."""
    files = {"a.zip": b"PK no", "b.tar.gz": tarred({"x": bytes(range(256)) * 99})[:-40]}
    with serve(files) as server:
        for name in files:
            with pytest.raises(DismaiError, match=f"{name}: cannot be unpacked"):
                fetch(tmp_path, RECORD, server.url, [name])


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"data/data": "1"}, ["data/data"]),
        ({"data": "1"}, ["data/data"]),
        ({"data/x": "1", "y": "2"}, ["data/data/x", "data/y"]),
        ({"other/x": "1"}, ["data/other/x"]),
        ({"data/data/x": "1"}, ["data/data/x"]),
    ],
)
def test_the_folder_of_an_archive(
    tmp_path: Path, members: dict[str, str], expected: list[str]
) -> None:
    """A single folder of the archive's own name is not doubled."""
    with serve({"data.zip": zipped(members)}) as server:
        manifest = fetch(tmp_path, RECORD, server.url)
    assert list(manifest.files["data.zip"].members) == expected
    assert verify(tmp_path).whole


def test_folders_of_other_people(tmp_path: Path) -> None:
    """No file of theirs is touched."""
    with serve(FILES) as server:
        mine = tmp_path / "README.md"
        mine.write_text("mine")
        with pytest.raises(DismaiError, match="holds other files; choose a new folder"):
            fetch(tmp_path, RECORD, server.url)
        with pytest.raises(DismaiError, match="is a file; --out needs a folder"):
            fetch(mine, RECORD, server.url)
        out = tmp_path / "out"
        fetch(out, RECORD, server.url, ["README.md"])
        with pytest.raises(DismaiError, match="holds record 12710372; choose another folder"):
            fetch(out, "77", server.url)
        (out / "potentials").mkdir()
        (out / "potentials" / "mine").write_text("mine")
        for _ in range(2):
            with pytest.raises(DismaiError, match="potentials: already holds files"):
                fetch(out, RECORD, server.url)
        assert (out / "potentials" / "mine").read_text() == "mine"


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    """Offline; the next fetch mends it from the archives that are there."""
    with serve(FILES) as server:
        fetch(tmp_path, RECORD, server.url)
        (tmp_path / "README.md").write_text("changed")
        (tmp_path / "train_val_data" / "a_Si" / "train.extxyz").unlink()
        (tmp_path / "potentials" / "GAP_PRX_Si" / "gap.xml").write_text("<gap/>")
        found = verify(tmp_path)
        assert not found.whole
        assert found.missing == ["train_val_data/a_Si/train.extxyz"]
        assert found.changed == ["README.md", "potentials/GAP_PRX_Si/gap.xml"]
        server.asked.clear()
        fetch(tmp_path, RECORD, server.url)
        assert [name for name, _ in server.downloads()] == ["README.md"]
    assert verify(tmp_path).whole


def test_an_interrupted_unpacking_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with serve(FILES) as server:
        with monkeypatch.context() as patch:
            patch.setattr("dismaiflow.structures.published_data.lift_single_folder", interrupt)
            with pytest.raises(KeyboardInterrupt):
                fetch(tmp_path, RECORD, server.url)
        assert names(tmp_path) == [MANIFEST, "potentials.zip"]
        assert verify(tmp_path).missing == ["potentials/"]
        fetch(tmp_path, RECORD, server.url)
    assert names(tmp_path) == sorted(WHOLE)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fetched where it can be known, in one line where not."""
    usage = namedtuple("usage", "total used free")
    with serve(FILES) as server:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
            with pytest.raises(DismaiError, match=r"no space left on this disk: 0\.0 GB are"):
                fetch(tmp_path / "data", RECORD, server.url)
        assert not (tmp_path / "data").exists()

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(zenodo._Downloader, "_continue", full)
        with pytest.raises(DismaiError, match=r"potentials\.zip: no space left on this disk"):
            fetch(tmp_path / "data", RECORD, server.url)
    assert names(tmp_path / "data") == [MANIFEST]


def test_folders_that_were_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match=f"has no {MANIFEST}; `dismai data fetch` makes one"):
        verify(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(DismaiError, match="is damaged"):
        verify(tmp_path)
    newer = {"format": 99, "record": "1", "doi": "", "source": ""}
    (tmp_path / MANIFEST).write_text(json.dumps(newer))
    with pytest.raises(DismaiError, match="of another version"):
        verify(tmp_path)
