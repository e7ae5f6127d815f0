"""Unpacking archives that somebody else made: plain files in one folder, of bounded size."""

from __future__ import annotations

import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The content of an archive may be this many times larger than it, text of coordinates is 3 to 10
#: times; small archives may hold `FREE_BYTES` in any case.
MAX_RATIO, FREE_BYTES = 200, 10**9

#: More files than this are a mistake or an attack.
MAX_MEMBERS = 1_000_000

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK = 1_000_000

#: What macOS leaves in archives.
_LITTER = re.compile(r"__MACOSX|\._.*|\.DS_Store")

_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,  # an encrypted member, or a compression that Python does not know
)


def archive_stem(name: str) -> str | None:
    """Return the name of an archive without its ending, None for any other file."""
    found = next((e for e in sorted(_ENDINGS, key=len)[::-1] if name.lower().endswith(e)), None)
    return name[: -len(found)] or None if found else None


def unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Write the files of a zip or tar archive into a folder.

    Parameters
    ----------
    archive : Path
        The archive, of a kind that `archive_stem` knows.
    folder : Path
        An empty folder. What is in it after an error is of no use.

    Returns
    -------
    dict of str to str
        Members that were left out, links and devices, with the reason.

    Raises
    ------
    DismaiError
        If the archive is damaged or encrypted, a member would lie outside the folder, or there
        are too many or too large ones. Nothing of that member is written.
    OSError
        If a file cannot be written.
    """
    left_out: dict[str, str] = {}
    room = max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    try:
        for number, (name, stream) in enumerate(members(archive)):
            if number >= MAX_MEMBERS:
                raise DismaiError(f"{archive}: holds more than {MAX_MEMBERS:,} files")
            parts = _parts(name, archive)
            if stream is None:
                left_out[name] = "a link or a device"
            elif parts and not any(map(_LITTER.fullmatch, parts)):
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                room -= _copy(stream, path, room, archive)
    except _UNREADABLE as error:
        raise DismaiError(f"{archive}: cannot be unpacked ({error or type(error).__name__})") from (
            error
        )
    return left_out


def lift_single_folder(folder: Path, name: str) -> None:
    """Move the content of a folder up if it is all there is and has the name of the archive."""
    if [path.name for path in folder.iterdir()] != [name] or not (folder / name).is_dir():
        return
    # By another name first: it may hold a file of its own name.
    inner = (folder / name).rename(folder / f".{name}.inner")
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()


def _parts(name: str, archive: Path) -> tuple[str, ...]:
    """Return the folders and name of a member, all of which lie below the root."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = path.parts and path.parts[0].endswith(":")
    if path.is_absolute() or drive or ".." in path.parts or "\0" in name:
        raise DismaiError(f"{archive}: member {name!r} would lie outside its folder; not unpacked")
    return path.parts


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield names and contents; None for what is neither file nor folder."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield member.filename, None
            elif not member.is_dir():
                with opened.open(member) as stream:
                    yield member.filename, stream


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield as `_zip_members` does."""
    with tarfile.open(archive, "r:*") as opened:
        for member in opened:
            if not member.isdir():
                yield member.name, opened.extractfile(member) if member.isreg() else None


def _copy(stream: IO[bytes], path: Path, room: int, archive: Path) -> int:
    """Write a member and return its size, of which archives may say anything."""
    size = 0
    with path.open("wb") as target:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > room:
                raise DismaiError(
                    f"{archive}: its content is over {MAX_RATIO} times as large as it; not unpacked"
                )
            target.write(chunk)
    return size
