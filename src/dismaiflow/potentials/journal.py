"""Finished structures of a relaxation on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.relaxation import RelaxationResult
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays
from dismaiflow.structures.files import explain_os_error

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.potentials.relaxation import RelaxationSettings
    from dismaiflow.structures.structure_set import StructureSet

_MAGIC = b"DISMAI-JOURNAL-1\n"
_RECORD = b"DISMAI-RELAXED-1"

#: Before the content of a record: its length, and its SHA-256.
_LENGTH = 8
_HEAD = _LENGTH + 32

_NUMBERS = (
    "status",
    "n_steps",
    "n_force_calls",
    "initial_energy",
    "final_energy",
    "max_force",
    "seconds",
    "detail",
)


def journal_key(structures: StructureSet, potential_hash: str, settings: RelaxationSettings) -> str:
    """Return a hash of all that decides the results.

    Parameters
    ----------
    structures : StructureSet
        What is relaxed.
    potential_hash : str
        Of the card of the potential.
    settings : RelaxationSettings
        How.
    """
    parts = [structures.content_hash, potential_hash, settings.as_dict()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Journal:
    """An open journal; no other process can open it meanwhile.

    It is one file that only grows: a header with the key, and a record with a checksum for each
    structure, which is on disk when `append` returns. Reading ends at the first record that is not
    whole, as the last one is after a kill, and writing goes on from there.

    Parameters
    ----------
    path : Path
        The file; made if it is not there. A journal of another key is emptied.
    key : str
        See `journal_key`.
    wait : bool
        Whether to wait while another process writes it, which does the same work.

    Attributes
    ----------
    results : dict of int to RelaxationResult
        What it holds, by the index of the structure.

    Raises
    ------
    DismaiError
        If the file cannot be written, is in use, or is no journal.
    """

    def __init__(self, path: Path, key: str, *, wait: bool = False) -> None:
        self.results: dict[int, RelaxationResult] = {}
        self._folder = path.parent
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explain_os_error(error, path.parent) from error
        try:
            self._lock(path, wait)
            self._end = self._read(path, key)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def append(self, index: int, result: RelaxationResult) -> None:
        """Write one more result.

        Raises
        ------
        DismaiError
            If the disk is full; what was written before stays.
        """
        header = {"index": index} | {name: getattr(result, name) for name in _NUMBERS}
        self._write(pack_arrays(_RECORD, {"positions": result.positions}, header))
        self.results[index] = result

    def _lock(self, path: Path, wait: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            # Some network disks know no locks.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise DismaiError(
                    f"{path}: another process writes this journal; wait for it or end it"
                ) from error

    def _read(self, path: Path, key: str) -> int:
        """Read all whole records of this key; return where the next one belongs."""
        data = path.read_bytes()
        if not (data.startswith(_MAGIC) or _MAGIC.startswith(data)):
            raise DismaiError(f"{path}: is no journal of a relaxation; choose another path")
        start = len(_MAGIC)
        first = _content(data, start)
        if first != key.encode():
            return self._begin(key)
        start += _HEAD + len(first)
        while (content := _content(data, start)) is not None:
            index, result = _result(content)
            self.results[index] = result
            start += _HEAD + len(content)
        return start

    def _begin(self, key: str) -> int:
        self._end = 0
        self._write(key.encode(), _MAGIC)
        return self._end

    def _write(self, content: bytes, before: bytes = b"") -> None:
        data = before + len(content).to_bytes(_LENGTH, "little")
        data += hashlib.sha256(content).digest() + content
        try:
            # After what a kill, or an earlier failure here, left in part.
            os.ftruncate(self._file, self._end)
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._end + written)
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise explain_os_error(error, self._folder) from error
        self._end += len(data)


def _content(data: bytes, start: int) -> bytes | None:
    """Return the content of the record at a place; None if it is not whole."""
    length = int.from_bytes(data[start : start + _LENGTH], "little")
    content = data[start + _HEAD : start + _HEAD + length]
    digest = data[start + _LENGTH : start + _HEAD]
    whole = len(content) == length and hashlib.sha256(content).digest() == digest
    return content if whole else None


def _result(content: bytes) -> tuple[int, RelaxationResult]:
    arrays, header = unpack_arrays(_RECORD, content)
    numbers: dict[str, Any] = {name: header[name] for name in _NUMBERS}
    positions = arrays["positions"].astype(np.float64)
    return int(header["index"]), RelaxationResult(positions=positions, **numbers)
