"""The ionic steps of a vasprun.xml, whole or broken off.

The file is read as a stream and nothing but the steps is kept: the table of states alone, which is
passed over, can make up hundreds of megabytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from xml.parsers import expat

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: Elements of no interest, some of them huge.
_IGNORED = frozenset(
    {
        "dielectricfunction",
        "dos",
        "dynmat",
        "eigenvalues",
        "eigenvalues_kpoints_opt",
        "primitive_cell",
        "projected",
        "projected_kpoints_opt",
        "time",
    }
)

#: Bytes that no XML may hold. VASP copies what stands in its input, and its own build strings.
_FORBIDDEN = bytes(set(range(32)) - {9, 10, 13})

#: Arrays of an ionic step, and the element that each stands in.
_WITHIN = {
    "basis": "crystal",
    "positions": "structure",
    "forces": "calculation",
    "stress": "calculation",
}

_BLOCK = 1 << 20

#: Energy of which the forces are the derivative; the other two are exchanged in VASP 5.
_ENERGY = "e_fr_energy"


class ByteStream(Protocol):
    """What bytes can be read from, so that the last ones before a damage are not lost."""

    def read1(self, size: int, /) -> bytes:
        """Return some bytes, at most so many, none at the end."""
        ...


@dataclass(frozen=True, eq=False)
class IonicStep:
    """One ionic step as the file has it, its atoms in the order of the file.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    fractions : ndarray, shape (n_atoms, 3)
        Positions in units of the cell vectors.
    energy : float
        Free energy of the electrons (``e_fr_energy``), eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        VASP's: kB, positive under compression. NaN where there is none.
    n_cycles : int
        Cycles of the electrons.
    """

    cell: NDArray[np.float64]
    fractions: NDArray[np.float64]
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    n_cycles: int


@dataclass(eq=False)
class Vasprun:
    """What was read.

    Parameters
    ----------
    generator : dict of str to str
        Program, version and so on.
    incar, parameters : dict of str to Any
        Tags that were given, and all tags with their values, by upper-case names.
    kpoints : dict of str to Any
        How the mesh was made (``style``, ``grid``, ``shift``), or ``points``, the length of a list.
    symbols : list of str
        Chemical symbol of each atom.
    types : list of tuple of str
        Chemical symbol and title of the potential of each kind of atoms.
    selective : ndarray of bool, shape (n_atoms, 3), optional
        Directions in which atoms may move, if not all may.
    steps : list of IonicStep
        The whole steps.
    complete : bool
        Whether the file ends as it should.
    """

    generator: dict[str, str] = field(default_factory=dict)
    incar: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    kpoints: dict[str, Any] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)
    selective: NDArray[np.bool_] | None = None
    steps: list[IonicStep] = field(default_factory=list)
    complete: bool = False

    def tag(self, name: str, default: Any = None) -> Any:
        """Return the value of a tag, as it was given if it was."""
        found = self.incar.get(name)
        return found if found is not None else self.parameters.get(name, default)


def read_vasprun(stream: ByteStream) -> Vasprun:
    """Read a vasprun.xml as far as it goes.

    Parameters
    ----------
    stream : binary stream
        The file; where it breaks off, or is no XML any more, reading ends.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        while block := stream.read1(_BLOCK):
            parser.Parse(block.translate(None, _FORBIDDEN), False)
        parser.Parse(b"", True)
        reader.found.complete = True
    except (expat.ExpatError, EOFError, OSError, zlib.error):
        reader.finish_broken_step()
    return reader.found


class _Reader:
    """Takes the events of the parser."""

    def __init__(self) -> None:
        self.found = Vasprun()
        self._path: list[str] = []
        self._names: list[str] = []
        self._ignored = 0
        self._text: list[str] | None = None
        self._type = ""
        self._step: dict[str, Any] = {}
        self._row: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._ignored or tag in _IGNORED:
            self._ignored += 1
            return
        self._path.append(tag)
        self._names.append(attributes.get("name", attributes.get("param", "")))
        if tag == "v" and self._path[-2] == "varray":
            self.characters(" ")
        elif tag in ("i", "v", "varray", "c"):
            self._text = []
            self._type = attributes.get("type", "")
        elif tag == "calculation":
            self._step = {"n_cycles": 0}
        elif tag == "generation":
            self.found.kpoints["style"] = self._names[-1]

    def characters(self, text: str) -> None:
        if self._text is not None and not self._ignored:
            self._text.append(text)

    def end(self, tag: str) -> None:
        if self._ignored:
            self._ignored -= 1
            return
        name = self._names.pop()
        self._path.pop()
        if tag == "v" and self._path[-1] == "varray":
            return
        if self._text is not None and tag in ("i", "v", "varray", "c"):
            text, self._text = "".join(self._text), None
            self._leaf(tag, name, text)
        elif tag == "rc":
            self._end_row()
        elif tag == "scstep":
            self._step["n_cycles"] = self._step.get("n_cycles", 0) + 1
        elif tag == "calculation":
            self.finish_step()

    def _leaf(self, tag: str, name: str, text: str) -> None:
        """Take an element that holds text."""
        block = self._path[1] if len(self._path) > 1 else ""
        if tag == "c":
            self._row.append(text.strip())
        elif block == "generator":
            self.found.generator[name] = text.strip()
        elif block in ("incar", "parameters"):
            tags = self.found.incar if block == "incar" else self.found.parameters
            # An INCAR may repeat what a block of the parameters has under the same name.
            tags.setdefault(name.upper(), _value(text, self._type, listed=tag == "v"))
        elif block == "kpoints":
            self._kpoints(tag, name, text)
        elif block in ("calculation", "structure"):
            self._part_of_step(block, name, text)

    def _kpoints(self, tag: str, name: str, text: str) -> None:
        key = {"divisions": "grid", "usershift": "shift"}.get(name)
        if key and tag == "v":
            convert: Callable[[float], Any] = int if key == "grid" else float
            numbers = _numbers(text)
            self.found.kpoints[key] = [convert(x) for x in numbers[np.isfinite(numbers)].tolist()]
        elif name == "kpointlist" and "grid" not in self.found.kpoints:
            self.found.kpoints["points"] = len(text.split()) // 3

    def _part_of_step(self, block: str, name: str, text: str) -> None:
        if name == "selective":
            flags = np.array([_is_true(word) for word in text.split()], dtype=bool)
            if flags.size == 3 * len(self.found.symbols):
                self.found.selective = flags.reshape(-1, 3)
        elif block == "structure":
            return
        elif self._path[-1] == _WITHIN.get(name):
            self._step[name] = _numbers(text)
        elif name == _ENERGY:
            # That of the last cycle stands in where the step has none of its own.
            level = "cycle" if "scstep" in self._path else "energy"
            self._step[level] = float([*_numbers(text), np.nan][0])

    def _end_row(self) -> None:
        row, self._row = self._row, []
        table = next((n for t, n in zip(self._path, self._names, strict=True) if t == "array"), "")
        if table == "atoms" and row:
            self.found.symbols.append(_symbol(row[0]))
        elif table == "atomtypes" and len(row) > 1:
            self.found.types.append((_symbol(row[1]), row[4] if len(row) > 4 else ""))

    def finish_broken_step(self) -> None:
        """Keep a step that lacks its end and yet holds all that belongs to it."""
        before = self.found.steps[-1:]
        has_stress = any(np.isfinite(step.stress).all() for step in before)
        if "energy" in self._step and (not has_stress or "stress" in self._step):
            self.finish_step()

    def finish_step(self) -> None:
        """Keep the step if it is whole, and wait for the next."""
        part, self._step = self._step, {}
        n = len(self.found.symbols)
        energy = part.get("energy", part.get("cycle"))
        shapes = {"basis": (3, 3), "positions": (n, 3), "forces": (n, 3)}
        if energy is None or not all(_fits(part.get(k), shape) for k, shape in shapes.items()):
            return
        stress = part.get("stress")
        if stress is None or not _fits(stress, (3, 3)):
            stress = np.full(9, np.nan)
        self.found.steps.append(
            IonicStep(
                cell=part["basis"].reshape(3, 3),
                fractions=part["positions"].reshape(n, 3),
                energy=energy,
                forces=part["forces"].reshape(n, 3),
                stress=stress.reshape(3, 3),
                n_cycles=part["n_cycles"],
            )
        )


def _fits(values: NDArray[np.float64] | None, shape: tuple[int, int]) -> bool:
    return values is not None and values.size == shape[0] * shape[1]


def _symbol(text: str) -> str:
    # VASP writes "r " for Zr in files of some versions, and "X" for what it does not know.
    return {"r": "Zr", "X": "Xe"}.get(text, text)


def _numbers(text: str) -> NDArray[np.float64]:
    """Return the numbers of a text; what overflows its columns (``*****``) becomes NaN."""
    words = text.split()
    try:
        return np.array(list(map(float, words)), dtype=np.float64)
    except ValueError:
        return np.array([_number(word) for word in words], dtype=np.float64)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _is_true(word: str) -> bool:
    return word.upper().strip(".").startswith("T")


def _value(text: str, kind: str, listed: bool) -> Any:
    """Return the value of a tag, None where it cannot be read."""
    if kind == "string":
        return text.strip()
    words = text.split()
    values: list[Any]
    if kind == "logical":
        values = [_is_true(word) for word in words]
    else:
        values = _numbers(text).tolist()
        if kind == "int":
            values = [int(value) if np.isfinite(value) else None for value in values]
    if listed:
        return values
    return values[0] if values else None
