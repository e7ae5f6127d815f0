"""The published datasets and potentials: fetched from Zenodo, unpacked and hashed.

They are record 12710372, doi 10.5281/zenodo.12710372. A folder of them holds the files of the
record, beside each archive a folder of its name with what was in it, and ``dismai-data.json``.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import chemical_symbols

from dismaiflow import progress
from dismaiflow.errors import DismaiError
from dismaiflow.structures.archives import archive_stem, lift_single_folder, unpack
from dismaiflow.structures.files import (
    check_out_folder,
    explain_os_error,
    file_sha256,
    new_folder,
    write_text,
)
from dismaiflow.structures.published_manifest import (
    MANIFEST,
    RECORD,
    FetchedFile,
    Manifest,
    Member,
    StructuresFile,
    file_state,
    load_manifest,
)
from dismaiflow.structures.read import read_structures
from dismaiflow.structures.zenodo import ZENODO, Record, RemoteFile, download, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dismaiflow.structures.structure_set import StructureSet


@dataclass(frozen=True)
class Plan:
    """What a fetch is to do.

    Parameters
    ----------
    folder : Path
        Where it goes.
    record : Record
        What the server says of the record.
    chosen : list of RemoteFile
        The files to fetch.
    before : dict of str to FetchedFile
        Files of the record that an earlier fetch brought.
    """

    folder: Path
    record: Record
    chosen: list[RemoteFile]
    before: dict[str, FetchedFile]


def plan_fetch(
    folder: Path, record: str = RECORD, base: str = ZENODO, only: Sequence[str] = ()
) -> Plan:
    """Ask for a record and check that it can be fetched; write nothing.

    Parameters
    ----------
    folder : Path
        The folder: new, empty, or with an earlier fetch of this record.
    record : str
        Number of the record.
    base : str
        Address of the Zenodo server.
    only : sequence of str
        Patterns of file names, as of a shell; by default all files.

    Raises
    ------
    DismaiError
        If the folder holds something else, the server fails, no file is chosen, or the disk is too
        full for them.
    """
    old = _manifest_to_continue(folder, record)
    remote = read_record(base, record)
    names = [file.name for file in remote.files]
    if MANIFEST in names:
        raise DismaiError(f"{remote.source}: the record has a file named {MANIFEST}")
    chosen = [f for f in remote.files if not only or any(fnmatch.fnmatch(f.name, p) for p in only)]
    if not chosen:
        raise DismaiError(
            f"--only {' '.join(only)}: fits no file of the record, which has {', '.join(names)}"
        )
    _check_room(folder, chosen)
    before = {n: f for n, f in (old.files if old else {}).items() if n in names}
    return Plan(folder, remote, chosen, before)


def fetch(plan: Plan) -> Manifest:
    """Fetch the files of a plan, or what is missing of them in its folder.

    Returns
    -------
    Manifest
        What is in the folder now.

    Raises
    ------
    DismaiError
        If the server fails, a checksum differs, an archive cannot be unpacked, or the disk is
        full. Files that were fetched before stay.
    """
    record, folder = plan.record, plan.folder
    manifest = Manifest(
        record=record.record, doi=record.doi, source=record.source, files=dict(plan.before)
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error

    def save() -> None:
        manifest.not_fetched = [f.name for f in record.files if f.name not in manifest.files]
        write_text(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")

    save()  # before the first file, so that an interrupted fetch knows the folder for its own
    for file in plan.chosen:
        _fetch_one(folder, manifest, file, save)
    return manifest


def _manifest_to_continue(folder: Path, record: str) -> Manifest | None:
    """Return the manifest of an earlier fetch; refuse a folder with anything else."""
    if folder.exists() and not folder.is_dir():
        raise DismaiError(f"{folder}: is a file; --out needs a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    if not (folder / MANIFEST).exists():
        raise DismaiError(f"{folder}: holds other files; choose a new folder")
    manifest = load_manifest(folder)
    if manifest.record != record:
        raise DismaiError(f"{folder}: holds record {manifest.record}; choose another folder")
    return manifest


def _check_room(folder: Path, files: Sequence[RemoteFile]) -> None:
    """Refuse a disk on which not even the files as they come have room."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    needed = 0
    for file in files:
        there = [folder / file.name, folder / f".{file.name}.part"]
        needed += file.size - max((p.stat().st_size for p in there if p.is_file()), default=0)
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise DismaiError(
            f"{folder}: no space left on this disk: {needed / 1e9:.1f} GB are still to come, "
            f"{free / 1e9:.1f} GB are free; choose another --out or some files with --only"
        )


def _fetch_one(
    folder: Path, manifest: Manifest, remote: RemoteFile, save: Callable[[], None]
) -> None:
    """Download, unpack and hash one file, and write down each step that is done."""
    known = manifest.files.get(remote.name)
    path = download(remote, folder)
    sha256 = file_sha256(path)
    fetched = FetchedFile(
        size=remote.size, checksum=remote.checksum, sha256=sha256, source=manifest.source
    )
    if known and known.ready and known.sha256 == sha256 and _members_whole(folder, known):
        manifest.files[remote.name] = known.model_copy(update={"source": manifest.source})
        save()
        return
    manifest.files[remote.name] = fetched
    stem = archive_stem(remote.name)
    if stem is None:
        fetched.members = {remote.name: _describe(path)}
    else:
        if known is not None:  # so that the folder is of an earlier fetch, and not whole
            shutil.rmtree(folder / stem, ignore_errors=True)
        check_out_folder(folder / stem)
        save()
        with new_folder(folder / stem) as partial:
            fetched.left_out = unpack(path, partial)
            lift_single_folder(partial, stem)
        fetched.members = _describe_all(folder, folder / stem)
    fetched.ready = True
    save()


def _members_whole(folder: Path, fetched: FetchedFile) -> bool:
    return all(file_state(folder / p, m.sha256) == "whole" for p, m in fetched.members.items())


def _describe_all(folder: Path, inner: Path) -> dict[str, Member]:
    """Hash everything in a folder."""
    paths = sorted(path for path in inner.rglob("*") if path.is_file())
    members = {}
    for path in paths:
        members[path.relative_to(folder).as_posix()] = _describe(path)
        progress.report(f"read {inner.name}", 1, len(paths), "files")
    return members


def _describe(path: Path) -> Member:
    """Hash a file, and the structures in it where it holds any."""
    member = Member(size=path.stat().st_size, sha256=file_sha256(path))
    if path.suffix.lower() != ".extxyz":
        return member
    try:
        read = read_structures(path)
    except DismaiError as error:
        member.unread = str(error).removeprefix(f"{path}: ")
        return member
    if read.bad:
        # The hash of the others would be that of no file.
        member.unread = f"{len(read.bad)} of {read.n_frames} frames: {read.bad[0].detail}"
    else:
        member.structures = StructuresFile(
            content_hash=read.structures.content_hash,
            n_structures=len(read.structures),
            composition=_composition(read.structures),
        )
    return member


def _composition(structures: StructureSet) -> dict[str, int] | None:
    """Return the composition that all structures share."""
    found = {
        tuple(sorted(Counter(structures.numbers[structures.slice_of(i)].tolist()).items()))
        for i in range(len(structures))
    }
    if len(found) != 1:
        return None
    return {chemical_symbols[number]: count for number, count in found.pop()}
