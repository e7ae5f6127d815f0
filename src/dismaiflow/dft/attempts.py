"""The attempts that custodian made of one relaxation, joined into one sequence of ionic steps.

Before custodian runs VASP again it packs the files into ``error.1.tar.gz``, ``error.2.tar.gz`` and
so on; what lies in the folder is the last attempt. Only together do they hold the relaxation.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.dft.outcar import Outcar, read_outcar
from dismaiflow.dft.vasprun import IonicStep, Vasprun, read_vasprun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedReader
    from pathlib import Path

    from numpy.typing import NDArray

#: Farthest that an atom of a repeated geometry may lie from where it was, Å. A vasprun.xml has
#: eight decimals of the fractions.
SAME_PLACE = 5e-6

#: Largest difference of the energies of a repeated geometry, eV per atom. Two that differ by more
#: are two states of the electrons, which both count.
SAME_ENERGY = 1e-4

_ARCHIVE = re.compile(r"error\.(\d+)\.tar(\.gz)?")

#: What a damaged archive or file raises.
_DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One start of VASP.

    Parameters
    ----------
    run : Vasprun
        Its vasprun.xml; without steps if there is none.
    outcar : Outcar
        Its OUTCAR.
    """

    run: Vasprun
    outcar: Outcar

    @property
    def max_cycles(self) -> int:
        """NELM, the cycles after which VASP gives up on the electrons."""
        return int(self.run.tag("NELM") or 60)

    @property
    def is_rehearsal(self) -> bool:
        """Whether the outputs bear the mark of the stand-in for VASP."""
        said = " ".join(self.run.generator.values()).upper()
        return self.outcar.rehearsal or "REHEARSAL" in said


@dataclass(frozen=True, eq=False)
class JoinedStep:
    """An ionic step of a relaxation.

    Parameters
    ----------
    step : IonicStep
        The step.
    attempt : int
        Which attempt made it.
    converged : bool
        Whether its electrons converged.
    """

    step: IonicStep
    attempt: int
    converged: bool


def read_attempts(folder: Path) -> list[Attempt]:
    """Read all attempts in a folder, in the order in which they were made.

    Two handlers of custodian that act at once pack the same files twice, and one that gives up
    leaves in the folder what it has packed; such copies are passed over.

    Parameters
    ----------
    folder : Path
        Where VASP ran; its files may be gzipped. What is missing or damaged is left out.
    """
    archives = [(int(m[1]), p) for p in folder.glob("error.*") if (m := _ARCHIVE.fullmatch(p.name))]
    read = [_read_archive(path) for _, path in sorted(archives)]
    read.append(_read_folder(folder))
    attempts: list[Attempt] = []
    before = None
    for content, attempt in read:
        if content is None or content != before:
            attempts.append(attempt)
        before = content
    return attempts


def read_corrections(folder: Path) -> list[str]:
    """Return which of custodian's handlers acted, in order, as ``handler: errors``."""
    try:
        with _open(folder, "custodian.json") as file:
            log = json.loads(file.read())
        corrections = [made for entry in log for made in entry.get("corrections", ())]
        return [
            f"{made['handler']['@class']}: {', '.join(map(str, made['errors']))}"
            for made in corrections
        ]
    except (*_DAMAGED, ValueError, KeyError, TypeError, AttributeError):
        return []


def read_potential_names(folder: Path) -> list[str]:
    """Return the lines of POTCAR.spec, which stands where there is no licence for a POTCAR."""
    try:
        with _open(folder, "POTCAR.spec") as file:
            return file.read().decode("latin-1").split()
    except _DAMAGED:
        return []


def join_attempts(attempts: Sequence[Attempt]) -> list[JoinedStep]:
    """Return the ionic steps that lead from the start to the end, each once.

    An attempt that begins with a geometry that was computed before continues from there: steps that
    both have count once, the later being kept unless only the earlier has converged electrons. What
    an earlier attempt did after the place where the next one left its path is no part of the
    relaxation and is dropped; an attempt that ends before it leaves that path drops nothing. One
    that begins elsewhere, as after an ionic step that was not finished, follows.
    """
    path: list[JoinedStep] = []
    for number, attempt in enumerate(attempts):
        limit = attempt.max_cycles
        hard = attempt.outcar.hard_stop
        steps = [
            JoinedStep(step, number, step.n_cycles < limit and not (hard and i == 0))
            for i, step in enumerate(reversed(attempt.run.steps))
        ][::-1]
        if steps:
            path = _continued(path, steps)
    return path


def _continued(path: list[JoinedStep], new: list[JoinedStep]) -> list[JoinedStep]:
    """Add an attempt to what was joined before."""
    if not path or path[-1].step.fractions.shape != new[0].step.fractions.shape:
        return path + new
    places = range(len(path) - 1, -1, -1)
    at = next((i for i in places if _same(path[i], new[0])), len(path))
    shared = 0
    while at + shared < len(path) and shared < len(new) and _same(path[at + shared], new[shared]):
        shared += 1
    both = [
        old if old.converged and not late.converged else late
        for old, late in zip(path[at : at + shared], new, strict=False)
    ]
    rest = new[shared:] or path[at + shared :]
    return path[:at] + both + rest


def unwrapped(path: list[JoinedStep], start: NDArray[np.float64] | None = None) -> list[JoinedStep]:
    """Take atoms that were wrapped into the cell, in whatever step, back to where they came from.

    Parameters
    ----------
    path : list of JoinedStep
        Steps, one after the other; no atom moves by half a cell in one of them.
    start : ndarray, shape (n_atoms, 3), optional
        Fractional coordinates before the first, in the order of the files; its own by default.
    """
    before = path[0].step.fractions if start is None else np.asarray(start)
    found = []
    for joined in path:
        fractions = joined.step.fractions
        if np.isfinite(fractions).all() and fractions.shape == before.shape:
            fractions = before = fractions - np.rint(fractions - before)
        found.append(replace(joined, step=replace(joined.step, fractions=fractions)))
    return found


def _same(one: JoinedStep, other: JoinedStep) -> bool:
    """Whether two steps are one geometry, computed twice."""
    a, b = one.step, other.step
    if np.abs(a.cell - b.cell).max() > SAME_PLACE:
        return False
    difference = a.fractions - b.fractions
    moved = (difference - np.rint(difference)) @ a.cell
    if not np.abs(moved).max() <= SAME_PLACE:  # NaN is no place
        return False
    if not (one.converged and other.converged):
        return True
    return abs(a.energy - b.energy) <= SAME_ENERGY * len(a.fractions)


def _read_archive(path: Path) -> tuple[str | None, Attempt]:
    """Read an attempt from what custodian packed, as far as it can be unpacked."""
    run, outcar, content = Vasprun(), Outcar(), None
    with suppress(*_DAMAGED), tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            file: Any = archive.extractfile(member) if member.isfile() else None
            if file is not None and name == "vasprun.xml":
                hashed = _Hashed(file)
                run = read_vasprun(hashed)
                content = hashed.digest
            elif file is not None and name == "OUTCAR":
                outcar = read_outcar(file)
    return content, Attempt(run, outcar)


def _read_folder(folder: Path) -> tuple[str | None, Attempt]:
    """Read the last attempt."""
    run, outcar, content = Vasprun(), Outcar(), None
    with suppress(*_DAMAGED), _open(folder, "vasprun.xml") as file:
        hashed = _Hashed(file)
        run = read_vasprun(hashed)
        content = hashed.digest
    with suppress(*_DAMAGED), _open(folder, "OUTCAR") as file:
        outcar = read_outcar(file)
    return content, Attempt(run, outcar)


def _open(folder: Path, name: str) -> BufferedReader | gzip.GzipFile:
    """Open a file that may be gzipped."""
    plain = folder / name
    if plain.is_file():
        return plain.open("rb")
    return gzip.GzipFile(folder / f"{name}.gz", "rb")


class _Hashed:
    """A stream that tells copies of a file by what was read of them."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read1(self, size: int, /) -> bytes:
        block: bytes = self._stream.read1(size)
        self._hash.update(block)
        return block

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def stop_file(folder: Path) -> bool:
    """Whether a STOPCAR in the folder asks VASP to end."""
    return any((folder / name).is_file() for name in ("STOPCAR", "STOPCAR.gz"))
