"""Writing whole files and folders or none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from dismaiflow.errors import DismaiError, first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

Card = TypeVar("Card", bound="BaseModel")


def explain_os_error(error: OSError, path: Path) -> DismaiError:
    """Say what kept a path from being written, and the way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DismaiError(f"{path}: no space left on this disk; free some or choose another path")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DismaiError(f"{path}: not writable; choose another path or change its permissions")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return DismaiError(f"{path}: a file stands in the way of this folder; choose another path")
    return DismaiError(f"{path}: cannot be written ({error.strerror or error})")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill a temporary folder and rename it to ``target`` once all is written.

    Parameters
    ----------
    target : Path
        The folder to make; it may exist only if it is empty.

    Yields
    ------
    Path
        A temporary folder beside it. If the block raises, that folder is removed and nothing is
        left behind.

    Raises
    ------
    DismaiError
        If the target is a file or a filled folder, or the disk is full or not writable.
    """
    check_out_folder(target)
    # An empty folder that is there already, perhaps a mount point, is filled, not replaced.
    beside = target if target.is_dir() else target.parent
    missing = [folder for folder in (beside, *beside.parents) if not folder.exists()]
    partial = None
    try:
        beside.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=beside))
        yield partial
        if beside == target:
            for path in partial.iterdir():
                path.rename(target / path.name)
        else:
            partial.chmod(0o777 & ~_umask())
            _rename(partial, target)
    except OSError as error:
        raise explain_os_error(error, target) from error
    except DismaiError as error:
        # The target means more to people than a file in the temporary folder.
        if partial is not None and isinstance(error.__cause__, OSError):
            raise explain_os_error(error.__cause__, target) from error.__cause__
        raise
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()  # if it was made for nothing


def _rename(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise DismaiError(
            f"{target}: another run has written it meanwhile, and it is left as it is; run the "
            "same command with another folder, or `dismai results export` what is in the store"
        ) from None


def check_out_folder(target: Path) -> None:
    """Refuse a target that cannot be made, before any work is done for it.

    Raises
    ------
    DismaiError
        If it is a file or a filled folder, or its place is not writable.
    """
    for parent in (target, *target.parents):
        if parent.exists() and not parent.is_dir():
            raise DismaiError(f"{parent}: is a file; --out needs a folder")
    if target.is_dir() and any(target.iterdir()):
        raise DismaiError(f"{target}: already holds files; choose another folder or empty it")
    nearest = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise explain_os_error(PermissionError(errno.EACCES, ""), nearest)


def write_text(path: Path, text: str) -> None:
    """Write a text file as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file and rename it into place, so that readers see the old one or the new one.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        What it holds.
    durable : bool
        Whether it must be on the disk before this returns, so that it outlives the machine.

    Raises
    ------
    DismaiError
        If the disk is full or not writable.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise explain_os_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _sync_folder(folder: Path) -> None:
    """Bring a new name in a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks know no such thing
            os.fsync(opened)
    finally:
        os.close(opened)


def read_card(path: Path, kind: type[Card], what: str) -> Card:
    """Read the card of a folder.

    Parameters
    ----------
    path : Path
        A JSON file.
    kind : type
        What it must hold.
    what : str
        Its name, for the message.

    Raises
    ------
    DismaiError
        If it cannot be read, or holds something else.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise DismaiError(f"{path}: not {what} ({problem})") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def lock(file: BinaryIO) -> bool:
    """Lock an open file as long as it is open, here or in a process that inherits it.

    Returns
    -------
    bool
        False if another process holds the lock; True also where the disk knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
