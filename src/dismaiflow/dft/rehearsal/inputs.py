"""The inputs of VASP, as far as a rehearsal honours them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.dft.rehearsal.geometry import Geometry, read_poscar
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Tags whose values are words, whatever they look like (ALGO = F is not false).
_WORDS = {"SYSTEM", "ALGO", "PREC", "GGA", "METAGGA"}
#: Tags whose values are lists even where there is one number only.
_LISTS = {"MAGMOM", "LDAUU", "LDAUL", "LDAUJ", "LATTICE_CONSTRAINTS"}

#: Tags that are read as whole numbers, and as numbers.
_WHOLE = ("NSW", "IBRION", "ISIF", "NELM", "NELMIN", "ISPIN", "NBANDS", "LORBIT")
_NUMBERS = ("EDIFF", "EDIFFG", "NELECT", "KSPACING")

_LOGICAL = re.compile(r"\.?(T|F|TRUE|FALSE)\.?", re.IGNORECASE)

#: Electrons of the noble gases: what is beyond them counts as valence where no POTCAR says it.
_NOBLE = (86, 54, 36, 18, 10, 2, 0)

#: Characters of a wrong value that are shown.
_LONGEST = 60

#: IBRION that can be rehearsed.
_IBRION = (-1, 1, 2, 3)


@dataclass(frozen=True)
class Kpoints:
    """The k-points of a run.

    Parameters
    ----------
    style : str
        ``Gamma``, ``Monkhorst-Pack`` or ``listgenerated``.
    divisions : tuple of int
        Of the mesh.
    shift : tuple of float
        Of the mesh.
    points : ndarray, shape (n, 3)
        In units of the reciprocal lattice vectors, without those that time reversal repeats.
    weights : ndarray, shape (n,)
        Sum to one.
    """

    style: str
    divisions: tuple[int, int, int]
    shift: tuple[float, float, float]
    points: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Potcar:
    """What is known of a pseudopotential.

    Parameters
    ----------
    element : str
        Its element.
    title : str
        As the TITEL of a POTCAR; of the file POTCAR.spec only its name.
    valence : float
        Valence electrons.
    """

    element: str
    title: str
    valence: float


@dataclass(frozen=True)
class Inputs:
    """All inputs of a run.

    Parameters
    ----------
    incar : dict
        Tags in capitals; bool, int, float, str or a list of them.
    geometry : Geometry
        Where the run starts.
    kpoints : Kpoints
        K-points.
    potcars : tuple of Potcar
        One for each entry of the POSCAR.
    """

    incar: dict[str, Any]
    geometry: Geometry
    kpoints: Kpoints
    potcars: tuple[Potcar, ...]

    def tag(self, name: str, default: Any) -> Any:
        """Return the value of an INCAR tag."""
        return self.incar.get(name, default)

    @property
    def nsw(self) -> int:
        """Ionic steps at most."""
        return int(self.tag("NSW", 0))

    @property
    def ibrion(self) -> int:
        """How ions move: -1 not at all, 1 and 2 quasi-Newton, 3 damped."""
        return int(self.tag("IBRION", -1 if self.nsw <= 0 else 0))

    @property
    def isif(self) -> int:
        """What is relaxed."""
        return int(self.tag("ISIF", 2))

    @property
    def ediff(self) -> float:
        """Electronic convergence, eV."""
        return float(self.tag("EDIFF", 1e-4))

    @property
    def ediffg(self) -> float:
        """Ionic convergence: eV if positive, eV/Å if negative, none if zero."""
        return float(self.tag("EDIFFG", 10 * self.ediff))

    @property
    def nelm(self) -> int:
        """Electronic steps at most."""
        return int(self.tag("NELM", 60))

    @property
    def spin(self) -> bool:
        """Whether the run is spin-polarised."""
        return int(self.tag("ISPIN", 1)) == 2

    @property
    def electrons(self) -> float:
        """Valence electrons of the cell."""
        each = zip(self.potcars, self.geometry.groups, strict=True)
        return float(self.tag("NELECT", sum(potcar.valence * n for potcar, (_, n) in each)))

    @property
    def bands(self) -> int:
        """Bands: those that are occupied and an eighth more."""
        occupied = int(np.ceil(self.electrons / 2))
        return int(self.tag("NBANDS", occupied + max(4, occupied // 8)))

    @property
    def moments(self) -> list[float]:
        """Magnetic moments that the run starts with, Bohr magnetons; empty without spin."""
        if not self.spin:
            return []
        atoms = len(self.geometry.symbols)
        given = [float(x) for x in self.tag("MAGMOM", [1.0] * atoms)]
        if len(given) != atoms:
            raise DismaiError(f"INCAR: MAGMOM has {len(given)} values for {atoms} atoms")
        return given


def read_inputs(folder: Path) -> Inputs:
    """Read and check INCAR, POSCAR, KPOINTS and POTCAR or POTCAR.spec.

    Parameters
    ----------
    folder : Path
        Where they lie.

    Raises
    ------
    DismaiError
        If one is missing or wrong, or asks for what cannot be rehearsed.
    """
    geometry = read_poscar(folder / "POSCAR")
    incar = read_incar(folder / "INCAR")
    kpoints = _read_kpoints(folder / "KPOINTS", incar, geometry)
    inputs = Inputs(incar, geometry, kpoints, _read_potcars(folder, geometry))
    if inputs.nsw > 0 and inputs.ibrion not in _IBRION:
        raise DismaiError(
            f"INCAR: IBRION = {inputs.ibrion} cannot be rehearsed (only {_IBRION}): set IBRION = 2"
        )
    if not 0 <= inputs.isif <= 8:
        raise DismaiError(f"INCAR: ISIF = {inputs.isif} is not among 0 to 8")
    constraints = inputs.tag("LATTICE_CONSTRAINTS", [True] * 3)
    if len(constraints) != 3 or not all(isinstance(x, bool) for x in constraints):
        raise DismaiError("INCAR: LATTICE_CONSTRAINTS needs three of .TRUE. and .FALSE.")
    _ = inputs.moments
    return inputs


def read_incar(path: Path) -> dict[str, Any]:
    """Read an INCAR.

    Raises
    ------
    DismaiError
        If the file is missing, a line is no ``TAG = value``, or a value that a rehearsal needs is
        no number.
    """
    tags: dict[str, Any] = {}
    text = _read(path).replace("\\\n", " ")
    for line in text.splitlines():
        for part in re.split(r"[#!]", line)[0].split(";"):
            if not part.strip():
                continue
            name, equals, value = part.partition("=")
            if not equals or not value.strip():
                raise DismaiError(f"{path}: {part.strip()!r} is not TAG = value")
            tags[name.strip().upper()] = _value(name.strip().upper(), value.strip())
    _check_numbers(tags, path)
    return tags


def _check_numbers(tags: dict[str, Any], path: Path) -> None:
    """Refuse values of numerical tags that are none."""
    for name in (*_WHOLE, *_NUMBERS):
        value = tags.get(name, 0)
        whole = name in _WHOLE
        if not _is_number(value) or (whole and value != int(value)):
            kind = "whole number" if whole else "number"
            raise DismaiError(f"{path}: {name} = {_shown(value)} is not a {kind}")
    if not tags.get("KSPACING", 1) > 0:
        raise DismaiError(f"{path}: KSPACING = {tags['KSPACING']} is not above zero")
    if not all(map(_is_number, tags.get("MAGMOM", []))):
        raise DismaiError(f"{path}: MAGMOM = {_shown(tags['MAGMOM'])} is not a list of numbers")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(isfinite(value))


def _shown(value: Any) -> str:
    """Return a value as it may have stood in the file, not too long."""
    words = value if isinstance(value, list) else [value]
    text = " ".join(".TRUE." if w is True else ".FALSE." if w is False else str(w) for w in words)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _value(name: str, text: str) -> Any:
    if name in _WORDS:
        return text
    values: list[Any] = []
    for word in text.split():
        times, star, rest = word.partition("*")
        if star and times.isdecimal():
            values += [_scalar(rest)] * int(times)
        else:
            values.append(_scalar(word))
    return values if name in _LISTS or len(values) > 1 else values[0]


def _scalar(word: str) -> bool | int | float | str:
    if found := _LOGICAL.fullmatch(word):
        return found[1][0].upper() == "T"
    for kind in (int, float):
        try:
            return kind(word.replace("d", "e").replace("D", "E") if kind is float else word)
        except ValueError:
            continue
    return word


def _read_potcars(folder: Path, geometry: Geometry) -> tuple[Potcar, ...]:
    full, spec = folder / "POTCAR", folder / "POTCAR.spec"
    if full.is_file():
        text = _read(full)
        titles = re.findall(r"TITEL\s*=\s*(.+?)\s*$", text, re.MULTILINE)
        valences = [float(x) for x in re.findall(r"ZVAL\s*=\s*(\d+\.?\d*)", text)]
        if len(titles) != len(valences):
            raise DismaiError(f"{full}: {len(titles)} TITEL, but {len(valences)} ZVAL")
    elif spec.is_file():
        titles = [f"PAW_PBE {line.strip()}" for line in _read(spec).splitlines() if line.strip()]
        valences = []
    else:
        raise DismaiError(f"{folder}: no POTCAR and no POTCAR.spec")
    names = [title.split()[1] if len(title.split()) > 1 else title for title in titles]
    elements = [name.partition("_")[0] for name in names]
    wanted = [symbol for symbol, _ in geometry.groups]
    if elements != wanted:
        raise DismaiError(
            f"POTCAR has {' '.join(elements)}, POSCAR has {' '.join(wanted)}: "
            "the same elements in the same order are needed"
        )
    valences = valences or [_valence(element) for element in elements]
    return tuple(map(Potcar, elements, titles, valences))


def _valence(element: str) -> float:
    from ase.data import atomic_numbers

    number = atomic_numbers[element]
    return float(number - next(core for core in _NOBLE if core < number))


def _read_kpoints(path: Path, incar: dict[str, Any], geometry: Geometry) -> Kpoints:
    if not path.is_file():
        # The rule of VASP, with its factor of 2 pi.
        lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(geometry.cell), axis=0)
        n = np.maximum(1, np.ceil(lengths / float(incar.get("KSPACING", 0.5)))).astype(int)
        return _mesh("Gamma", (int(n[0]), int(n[1]), int(n[2])), (0.0, 0.0, 0.0))
    lines = [re.split(r"[#!]", line)[0].strip() for line in _read(path).splitlines()]
    try:
        count, style = int(lines[1].split()[0]), lines[2][:1].upper()
        if count > 0:
            if style == "L":
                raise DismaiError(f"{path}: k-points along lines cannot be rehearsed; give a mesh")
            rows = np.array([[float(x) for x in line.split()[:4]] for line in lines[3 : 3 + count]])
            weights = rows[:, 3] / rows[:, 3].sum()
            return Kpoints("listgenerated", (1, 1, 1), (0.0, 0.0, 0.0), rows[:, :3], weights)
        names = {"G": "Gamma", "M": "Monkhorst-Pack"}
        a, b, c = (int(x) for x in lines[3].split()[:3])
        words = lines[4].split()[:3] if len(lines) > 4 else []
        u, v, w = (float(x) for x in words) if words else (0.0, 0.0, 0.0)
        if min(a, b, c) < 1:
            raise ValueError("a mesh without points")
        return _mesh(names[style], (a, b, c), (u, v, w))
    except (ValueError, IndexError, KeyError):
        raise DismaiError(
            f"{path}: not a list of k-points and not a mesh around Gamma or of Monkhorst and Pack"
        ) from None


def _mesh(
    style: str, divisions: tuple[int, int, int], shift: tuple[float, float, float]
) -> Kpoints:
    """Return a mesh; k and -k are one point of twice the weight."""
    counts = np.array(divisions)
    grid = np.indices(divisions).reshape(3, -1).T.astype(float)
    start = np.array(shift)
    if style != "Gamma":
        start = start + (counts + 1) % 2 / 2
    points = (grid + start) / counts
    points -= np.round(points - 1e-9)
    weights: dict[tuple[float, ...], float] = {}
    for point in points:
        here = tuple(float(x) for x in np.round(point, 8) + 0.0)
        there = -point
        there -= np.round(there - 1e-9)
        other = tuple(float(x) for x in np.round(there, 8) + 0.0)
        key = other if other in weights else here
        weights[key] = weights.get(key, 0.0) + 1 / len(points)
    return Kpoints(style, divisions, shift, np.array(list(weights)), np.array([*weights.values()]))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None
