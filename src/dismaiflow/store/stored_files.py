"""Files in a store: cut into blobs, by name, and unpacked wherever a job runs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.store.blobs import get_blob, put_blob
from dismaiflow.structures.files import explain_os_error, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobflow import JobStore

#: Bytes of a file in one blob. Base64 makes a third more of them, and a blob holds 16 MB.
PART_BYTES = 10_000_000


def put_file(jobstore: JobStore, path: Path, kind: str) -> list[str]:
    """Store a file in parts.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    path : Path
        The file.
    kind : str
        Kind of its blobs.

    Returns
    -------
    list of str
        Its blobs, in order.

    Raises
    ------
    DismaiError
        If it cannot be read.
    """
    blobs: list[str] = []
    try:
        with path.open("rb") as file:
            while (data := file.read(PART_BYTES)) or not blobs:
                blobs.append(put_blob(jobstore, data, kind))
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from None
    return blobs


def put_folder(
    jobstore: JobStore, folder: Path, kind: str, leave_out: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Store all files of a folder, those in folders below included.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    folder : Path
        The folder. Links are left out.
    kind : str
        Kind of the blobs.
    leave_out : sequence of str
        Names relative to the folder, of files that are not stored.

    Returns
    -------
    dict of str to list of str
        Blobs by the name relative to the folder, sorted.
    """
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {
        name: put_file(jobstore, path, kind)
        for name, path in found.items()
        if name not in leave_out
    }


def get_folder(jobstore: JobStore, files: Mapping[str, Sequence[str]], folder: Path) -> Path:
    """Write stored files into a folder, each whole or not at all.

    Raises
    ------
    DismaiError
        If a file is missing from the store, its name leads out of the folder, or it cannot be
        written.
    """
    for name, blobs in files.items():
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            raise DismaiError(f"stored file {name!r}: its name leads out of the folder")
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, path.parent) from None
        write_bytes(path, b"".join(get_blob(jobstore, blob) for blob in blobs))
    return folder
