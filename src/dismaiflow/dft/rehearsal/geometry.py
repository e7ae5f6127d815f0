"""What a POSCAR says, kept with the digits that a CONTCAR has.

A restart reads what was written. Geometries are therefore rounded to the digits of the file before
anything is computed with them, so that a restart finds the same numbers to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

#: Lines of a POSCAR before the kinds of atoms.
_HEAD = 5


@dataclass(frozen=True, eq=False)
class Geometry:
    """A periodic structure in the form of a POSCAR.

    Parameters
    ----------
    comment : str
        First line of the file.
    symbols : tuple of str
        Element of each atom.
    cell : ndarray, shape (3, 3)
        Lattice vectors in rows, Å.
    scaled : ndarray, shape (n_atoms, 3)
        Coordinates along the lattice vectors, in [0, 1).
    free : ndarray of bool, shape (n_atoms, 3), optional
        Selective dynamics: coordinates along the lattice vectors that may change.
    """

    comment: str
    symbols: tuple[str, ...]
    cell: NDArray[np.float64]
    scaled: NDArray[np.float64]
    free: NDArray[np.bool_] | None = None

    @property
    def volume(self) -> float:
        """Å^3."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def positions(self) -> NDArray[np.float64]:
        """Cartesian coordinates, Å, shape (n_atoms, 3)."""
        return self.scaled @ self.cell

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Elements and numbers of neighbouring atoms that are alike, as in the file."""
        return [(symbol, len(list(run))) for symbol, run in groupby(self.symbols)]

    def moved(self, shift: NDArray[np.float64], strain: NDArray[np.float64]) -> Geometry:
        """Return the geometry after a step.

        Parameters
        ----------
        shift : ndarray, shape (n_atoms, 3)
            Changes of the coordinates along the lattice vectors.
        strain : ndarray, shape (3, 3)
            Strain of the cell, which the atoms follow.
        """
        return replace(
            self,
            cell=_rounded(self.cell + self.cell @ strain),
            scaled=_wrapped(self.scaled + shift),
        )

    def atoms(self) -> Atoms:
        """Return the structure for a calculator of ASE."""
        from ase import Atoms

        return Atoms(list(self.symbols), positions=self.positions, cell=self.cell, pbc=True)

    def text(self) -> str:
        """Return the POSCAR."""
        groups = self.groups
        lines = [self.comment, "   1.00000000000000"]
        lines += ["".join(f" {x:22.16f}" for x in row) for row in self.cell]
        lines += [
            "".join(f"   {symbol:<4}" for symbol, _ in groups),
            "".join(f"{count:6d}" for _, count in groups),
        ]
        if self.free is not None:
            lines.append("Selective dynamics")
        lines.append("Direct")
        for place, row in enumerate(self.scaled):
            line = "".join(f"{x:20.16f}" for x in row)
            if self.free is not None:
                line += "".join("   T" if may else "   F" for may in self.free[place])
            lines.append(line)
        return "\n".join(lines) + "\n"


def read_poscar(path: Path) -> Geometry:
    """Read a POSCAR of VASP 5 or later, in direct or Cartesian coordinates.

    Raises
    ------
    DismaiError
        If the file is missing or is no such POSCAR.
    """
    try:
        return parse_poscar(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, IndexError) as error:
        raise DismaiError(f"{path}: not a POSCAR for a rehearsal ({error})") from None


def parse_poscar(text: str) -> Geometry:
    """Return what the text of a POSCAR says.

    Raises
    ------
    ValueError, IndexError
        If it is none of VASP 5 or later.
    """
    lines = text.splitlines()
    scale = float(lines[1].split()[0])
    cell = np.array([[float(x) for x in line.split()[:3]] for line in lines[2:_HEAD]])
    if cell.shape != (3, 3) or not np.linalg.det(cell):
        raise ValueError("no three lattice vectors")
    # A negative number is the volume of the cell.
    factor = scale if scale > 0 else (-scale / abs(float(np.linalg.det(cell)))) ** (1 / 3)
    # Newer versions of VASP add the name and the hash of the POTCAR (Li_sv/a1b2...).
    kinds = [word.partition("/")[0].partition("_")[0] for word in lines[_HEAD].split()]
    unknown = [kind for kind in kinds if kind.isalpha() and not atomic_numbers.get(kind)]
    if unknown:
        raise ValueError(f"no element is called {unknown[0]}")
    counts = [int(word) for word in lines[_HEAD + 1].split()]
    if len(kinds) != len(counts) or not all(kind.isalpha() for kind in kinds):
        raise ValueError("line 6 must name an element for each number of line 7")
    symbols = tuple(kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count))
    at = _HEAD + 2
    selective = lines[at].strip()[:1] in {"S", "s"}
    at += selective
    cartesian = lines[at].strip()[:1] in {"C", "c", "K", "k"}
    rows = [line.split() for line in lines[at + 1 : at + 1 + len(symbols)]]
    if len(rows) != len(symbols):
        raise ValueError(f"{len(symbols)} atoms, but {len(rows)} lines of coordinates")
    places = np.array([[float(x) for x in row[:3]] for row in rows]).reshape(-1, 3)
    if not all(np.isfinite(part).all() for part in (scale, cell, places)):
        raise ValueError("a coordinate or cell length is NaN or infinite")
    if cartesian:
        places = places @ np.linalg.inv(cell)  # both are scaled by the factor
    free = np.array([[_is_true(x) for x in row[3:6]] for row in rows]) if selective else None
    if free is not None and free.shape != places.shape:
        raise ValueError("three flags for each atom are needed")
    return Geometry(lines[0].strip(), symbols, _rounded(cell * factor), _wrapped(places), free)


def _is_true(word: str) -> bool:
    return word.strip(".")[:1] in {"T", "t"}


def _rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Round to what `Geometry.text` writes and `read_poscar` reads."""
    flat = [float(f"{x:.16f}") for x in values.ravel()]
    return np.array(flat).reshape(values.shape)


def _wrapped(scaled: NDArray[Any]) -> NDArray[np.float64]:
    wrapped = _rounded(scaled - np.floor(scaled))
    wrapped[wrapped >= 1.0] = 0.0  # just below a lattice plane before it was rounded
    return wrapped
