"""What a folder of published data holds, and whether it is whole: ``dismai-data.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from dismaiflow import progress
from dismaiflow.errors import DismaiError
from dismaiflow.structures.archives import archive_stem
from dismaiflow.structures.files import file_sha256
from dismaiflow.structures.zenodo import ZENODO, record_url

#: The record of the paper (Digital Discovery 2024, 3, 1889).
RECORD = "12710372"

MANIFEST = "dismai-data.json"

_FORMAT = 1


class StructuresFile(BaseModel):
    """What an extended XYZ file holds.

    Parameters
    ----------
    content_hash : str
        Of its structures, as `StructureSet.content_hash`.
    n_structures : int
        Their number.
    composition : dict of str to int, optional
        Atoms by element; None if the structures differ in it.
    """

    content_hash: str
    n_structures: int
    composition: dict[str, int] | None


class Member(BaseModel):
    """A file that can be used, unpacked where it came in an archive.

    Parameters
    ----------
    size : int
        Bytes.
    sha256 : str
        Of the file.
    structures : StructuresFile, optional
        What is in it, for extended XYZ files that can be read.
    unread : str, optional
        Why an extended XYZ file cannot be read.
    """

    size: int
    sha256: str
    structures: StructuresFile | None = None
    unread: str | None = None


class FetchedFile(BaseModel):
    """A file of the record.

    Parameters
    ----------
    size : int
        Bytes.
    checksum : str
        As the record has it, ``md5:...``.
    sha256 : str
        Of the file.
    source : str
        Where the record was read.
    ready : bool
        Whether it was unpacked and hashed as a whole.
    members : dict of str to Member
        By their paths in the folder; a file that is no archive is its own member.
    left_out : dict of str to str
        What was not unpacked, with the reason.
    """

    size: int
    checksum: str
    sha256: str
    source: str
    ready: bool = False
    members: dict[str, Member] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)


class Manifest(BaseModel):
    """What ``dismai-data.json`` says of a folder.

    Parameters
    ----------
    format : int
        Version of this file.
    record, doi, source : str
        The record, and where it was read last.
    files : dict of str to FetchedFile
        By the name that the record gives.
    not_fetched : list of str
        Files of the record that are not here.
    """

    format: int = _FORMAT
    record: str
    doi: str
    source: str
    files: dict[str, FetchedFile] = Field(default_factory=dict)
    not_fetched: list[str] = Field(default_factory=list)

    @property
    def from_zenodo(self) -> bool:
        """Whether these are the published data, and came from Zenodo itself."""
        source = record_url(ZENODO, RECORD)
        return self.record == RECORD and all(f.source == source for f in self.files.values())


@dataclass(frozen=True)
class Verification:
    """How a folder compares with its ``dismai-data.json``.

    Parameters
    ----------
    n_files : int
        Files that should be there.
    missing, changed : list of str
        Those that are not there, folders of archives that were not unpacked among them, and those
        with another content.
    """

    n_files: int
    missing: list[str]
    changed: list[str]

    @property
    def whole(self) -> bool:
        """Whether all are as they were fetched."""
        return not (self.missing or self.changed)


def load_manifest(folder: Path) -> Manifest:
    """Read what a folder holds.

    Raises
    ------
    DismaiError
        If it has no readable ``dismai-data.json``.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DismaiError(f"{folder}: has no {MANIFEST}; `dismai data fetch` makes one") from error
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise DismaiError(f"{path}: is damaged; delete it and fetch into a new folder") from error
    if manifest.format != _FORMAT:
        raise DismaiError(f"{path}: is of another version of this package; fetch again")
    return manifest


def verify(folder: Path, manifest: Manifest | None = None) -> Verification:
    """Compare the files of a folder with their SHA-256; needs no network.

    Parameters
    ----------
    folder : Path
        A folder that `fetch` filled.
    manifest : Manifest, optional
        Its ``dismai-data.json``, if that was read already.

    Raises
    ------
    DismaiError
        If it is none, or a file cannot be read.
    """
    listed = (manifest or load_manifest(folder)).files
    expected: dict[str, str] = {}
    for name, file in listed.items():
        expected |= {name: file.sha256}
        expected |= {path: member.sha256 for path, member in file.members.items()}
    # An interrupted fetch leaves an archive without its folder.
    missing = [f"{archive_stem(name)}/" for name, file in listed.items() if not file.ready]
    changed: list[str] = []
    for path, sha256 in sorted(expected.items()):
        state = file_state(folder / path, sha256)
        progress.report("verify", 1, len(expected), "files")
        if state != "whole":
            (missing if state == "missing" else changed).append(path)
    return Verification(len(expected), missing, changed)


def file_state(path: Path, sha256: str) -> Literal["missing", "changed", "whole"]:
    """Tell whether a file has the content that it should have.

    Raises
    ------
    DismaiError
        If it cannot be read.
    """
    try:
        return "whole" if file_sha256(path) == sha256 else "changed"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except IsADirectoryError:
        return "changed"
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from error
