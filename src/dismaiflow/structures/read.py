"""Reading structures that somebody else's program wrote."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms

#: What ASE calls the formats of single-structure files, by the end or start of their names.
_SUFFIX_FORMATS = {".cif": "cif", ".vasp": "vasp", ".poscar": "vasp"}
_STEM_FORMATS = {"poscar": "vasp", "contcar": "vasp"}
_FRAME_SUFFIXES = (".extxyz", ".xyz")

#: Files and folders of macOS or of an editor, named after the structures that they lie beside.
_NOT_STRUCTURES = re.compile(r"__MACOSX|\.[^.].*")

#: A line of more atoms than this is no atom count.
_MAX_ATOMS = 10_000_000


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be used.

    Parameters
    ----------
    index : int
        Its place in the source, from 0.
    reason : str
        A short, countable reason, e.g. ``unreadable`` or ``foreign_element``.
    detail : str
        One line for a person.
    """

    index: int
    reason: str
    detail: str


@dataclass(frozen=True)
class ReadStructures:
    """What was found in a source.

    Parameters
    ----------
    structures : StructureSet
        The frames that could be read, in order.
    indices : ndarray of int64, shape (n_structures,)
        Place of each in the source.
    bad : list of BadFrame
        The frames that could not.
    """

    structures: StructureSet
    indices: np.ndarray
    bad: list[BadFrame]

    @property
    def n_frames(self) -> int:
        """Number of frames in the source, readable or not."""
        return len(self.indices) + len(self.bad)


def read_structures(path: Path) -> ReadStructures:
    """Read an extxyz file, a CIF or POSCAR file, or a folder or zip of these.

    Parameters
    ----------
    path : Path
        The source. Folders and zips are read in natural order of the names.

    Returns
    -------
    ReadStructures
        Structures, their places in the source, and the frames that could not be read.

    Raises
    ------
    DismaiError
        If the source is missing, empty or binary, of an unknown kind, or cannot be split into
        frames (a truncated extxyz file).
    """
    if not path.exists():
        raise DismaiError(f"{path}: no such file or folder")
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
        return _read_files({name: p.read_bytes for name, p in files.items()}, path)
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    if path.suffix.lower() == ".zip":
        raise DismaiError(f"{path}: not a readable zip file; make it again")
    if _single_format(path.name) is not None:
        return _read_files({path.name: path.read_bytes}, path)
    if path.suffix.lower() not in _FRAME_SUFFIXES:
        raise DismaiError(
            f"{path}: unknown kind of file; give .extxyz, .cif, .vasp or POSCAR files, or a folder "
            "or zip of them"
        )
    return _collect(
        (str(i), partial(_parse_extxyz, text))
        for i, text in enumerate(split_extxyz(_text(path), path))
    )


def split_extxyz(text: str, path: Path) -> list[str]:
    """Cut the text of an extxyz file into frames by their atom counts.

    Raises
    ------
    DismaiError
        If a count is missing or the last frame is cut off; says where.
    """
    # Not splitlines, which also cuts at form feeds and the like, which a comment may hold.
    lines = re.split(r"\r\n|\n|\r", text)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DismaiError(f"{path}: is empty; no structures to read")
    frames: list[str] = []
    at = 0
    while at < len(lines):
        count = lines[at].strip()
        if not re.fullmatch(r"\d{1,9}", count) or int(count) > _MAX_ATOMS:
            mend = "the frame before it may be too long or too short" if frames else "is it extxyz?"
            raise DismaiError(
                f"{path}: line {at + 1} should be the number of atoms of frame {len(frames)}, but "
                f"reads {count[:40]!r}; {mend}"
            )
        end = at + 2 + int(count)
        if end > len(lines):
            raise DismaiError(
                f"{path}: is cut off: frame {len(frames)} promises {count} atoms, the file ends "
                f"after {max(len(lines) - at - 2, 0)}; copy or write it again"
            )
        frames.append("\n".join(lines[at:end]) + "\n")
        at = end
    return frames


def natural_key(name: str) -> tuple[object, ...]:
    """Order names as people do: ``gen_2`` before ``gen_10``."""
    return tuple((int(p), p) if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", name))


def _text(path: Path) -> str:
    try:
        # Editors on Windows put a mark of three bytes in front.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DismaiError(f"{path}: is not a text file (byte {error.start})") from error
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from error


def _parse_extxyz(text: str) -> Atoms:
    import ase.io  # takes half a second, which only those wait for who read

    atoms: Any = ase.io.read(io.StringIO(text), format="extxyz")
    if not atoms.pbc.any() and atoms.cell.rank < 3:
        raise ValueError("has no Lattice")
    return atoms


def _single_format(name: str) -> str | None:
    """Return ASE's word for a file by its name, None if it is no structure."""
    path = PurePosixPath(name)
    if any(map(_NOT_STRUCTURES.fullmatch, path.parts)):
        return None
    start = path.name.lower()
    stem = next((kind for word, kind in _STEM_FORMATS.items() if start.startswith(word)), None)
    return _SUFFIX_FORMATS.get(path.suffix.lower(), stem)


def _read_files(files: dict[str, Callable[[], bytes]], source: Path) -> ReadStructures:
    """Read the files of one structure each among those given, in natural order of their names."""
    chosen = sorted((n for n in files if _single_format(n) is not None), key=natural_key)
    if not chosen:
        raise DismaiError(f"{source}: holds no .cif, .vasp or POSCAR files")
    return _collect((name, partial(_parse_single, name, files[name])) for name in chosen)


def _read_zip(path: Path) -> ReadStructures:
    try:
        with zipfile.ZipFile(path) as archive:
            # Members are read in memory: no name of theirs becomes a path on this machine.
            members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
            return _read_files({n: partial(archive.read, m) for n, m in members.items()}, path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DismaiError(f"{path}: not a readable zip file ({error})") from error


def _parse_single(name: str, load: Callable[[], bytes]) -> Atoms:
    import ase.io

    kind = _single_format(name)
    data = load()
    stream = io.BytesIO(data) if kind == "cif" else io.StringIO(data.decode("utf-8-sig"))
    found: Any = ase.io.read(stream, index=":", format=kind)
    if len(found) != 1:
        raise ValueError(f"holds {len(found)} structures instead of one")
    return found[0]


def _collect(frames: Iterator[tuple[str, Callable[[], Atoms]]]) -> ReadStructures:
    """Parse frames one by one; whatever a parser makes of a bad one is that frame's failure."""
    structures: list[Atoms] = []
    ids: list[str] = []
    indices: list[int] = []
    bad: list[BadFrame] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index, (name, parse) in enumerate(frames):
            try:
                atoms = parse()
            except Exception as error:  # noqa: BLE001
                bad.append(BadFrame(index, "unreadable", f"{name}: {_one_line(error)}"))
                continue
            structures.append(atoms)
            ids.append(name)
            indices.append(index)
    found = StructureSet.from_atoms(structures, ids)
    found.labels.update(_shared_numbers(structures))
    return ReadStructures(found, np.array(indices, dtype=np.int64), bad)


def _one_line(error: Exception) -> str:
    """Say in one line what a parser did not like."""
    if isinstance(error, KeyError):
        return f"unknown element or word {error}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _shared_numbers(structures: list[Atoms]) -> dict[str, np.ndarray]:
    """Collect the numbers that every frame carries in its comment line.

    ASE keeps an energy there apart, as that of a calculation.
    """
    for atoms in structures:
        energy = (atoms.calc.results if atoms.calc else {}).get("energy")
        if energy is not None:
            atoms.info.setdefault("energy", float(energy))
    shared = set.intersection(*(set(a.info) for a in structures)) if structures else set()
    columns = {}
    for key in sorted(shared):
        values = [a.info[key] for a in structures]
        if all(isinstance(v, bool | int | float | np.number | np.bool_) for v in values):
            columns[key] = np.array(values)
    return {key: column for key, column in columns.items() if column.dtype.kind in "bif"}
