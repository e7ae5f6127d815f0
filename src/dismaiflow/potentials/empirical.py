"""Stillinger-Weber and Tersoff potentials through the LAMMPS library, as ASE calculators."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import complete_cell
from ase.units import bar

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.cards import (
    check_known,
    file_hashes,
    installed_versions,
    need_modules,
    potential_hash,
)
from dismaiflow.potentials.lammps_library import (
    POTENTIAL_FILES,
    check_elements,
    complaints,
    load_lammps,
    open_engine,
    set_interactions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

#: Å of vacuum along directions that are not periodic, more than any of these potentials reaches,
#: and the step in which a box grows there, so that it is not made anew at every call.
_VACUUM, _VACUUM_STEP = 12.0, 8.0

_STRESSES = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")


@dataclass(frozen=True)
class LammpsPotential:
    """A potential of `POTENTIAL_FILES`.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    style : {"sw", "tersoff"}
        Its form.
    parameters : Path
        File of its parameters, of the LAMMPS that is installed.
    """

    card: PotentialCard
    style: str
    parameters: Path
    files: Mapping[str, Path] = field(default_factory=dict)

    def calculator(self) -> LammpsCalculator:
        """Return an ASE calculator, which keeps a LAMMPS session open until it is closed."""
        return LammpsCalculator(self.card.name, self.style, self.parameters, self.card.elements)

    def evaluator(self, device: str = "cpu") -> None:
        """There is none: a call of the calculator takes less than a millisecond."""


def open_lammps(style: str, elements: Sequence[str] = ()) -> LammpsPotential:
    """Find a potential that LAMMPS computes.

    Parameters
    ----------
    style : {"sw", "tersoff"}
        Its form.
    elements : sequence of str, optional
        Elements that it must know; they choose the file of its parameters.

    Raises
    ------
    DismaiError
        If LAMMPS is not installed or no parameters know the elements.
    """
    need_modules(style, "potentials", "lammps")
    name = check_elements(style, elements, where=f"potential {style!r}: ")
    path = Path(load_lammps().__file__).parent / "share" / "lammps" / "potentials" / name
    if not path.is_file():
        raise DismaiError(f"{path}: no such file; LAMMPS is installed without its potentials")
    known = sorted(dict(POTENTIAL_FILES[style])[name])
    card = PotentialCard(
        name=style,
        engine="lammps",
        hash=potential_hash(engine="lammps", style=style, parameters=_numbers_of(path)),
        weights=file_hashes({name: path}),
        elements=known,
        versions=installed_versions(["lammps"]),
    )
    return LammpsPotential(card, style, path)


def _numbers_of(path: Path) -> list[str]:
    """Return the words of a parameter file, whose remarks differ between versions of LAMMPS."""
    lines = path.read_text("utf-8").splitlines()
    return [word for line in lines for word in line.partition("#")[0].split()]


class LammpsCalculator(Calculator):
    """Energies, forces and stresses from a LAMMPS session that stays open.

    The box and its atoms are made once for structures of the same cell and elements; then only
    positions are handed over. Cells may be triclinic or left-handed, atoms may lie outside of
    them, and directions may be open.

    Parameters
    ----------
    name : str
        What messages call the potential.
    style : {"sw", "tersoff"}
        Form of the potential.
    parameters : Path
        File of its parameters.
    known : sequence of str
        Elements that the file knows.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self, name: str, style: str, parameters: Path, known: Sequence[str] | None
    ) -> None:
        super().__init__()
        self._potential = name
        self._style = style
        self._parameters = parameters
        self._known = tuple(known or ())
        self._engine: Any = None
        self._shape: tuple[bytes, bytes] | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Iterable[str] | None = None,
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Compute one structure; see `ase.calculators.calculator.Calculator`."""
        super().calculate(atoms, list(properties or ["energy"]), list(system_changes))
        here = self.atoms
        assert here is not None
        if not (np.isfinite(here.positions).all() and np.isfinite(here.cell.array).all()):
            raise DismaiError(f"potential {self._potential!r}: positions are not finite numbers")
        axes, box = triangular_box(_periodic_cell(here))
        fractions = here.positions @ axes.T @ np.linalg.inv(box)
        inside = (fractions - np.floor(fractions)) @ box
        try:
            with complaints():
                self._compute(here, inside, axes, box)
        except BaseException:
            # What the session holds after an error is not known.
            self.close()
            raise

    def _compute(
        self,
        atoms: Atoms,
        inside: NDArray[np.float64],
        axes: NDArray[np.float64],
        box: NDArray[np.float64],
    ) -> None:
        shape = (atoms.numbers.tobytes(), box.tobytes())
        if shape == self._shape:
            values = np.ascontiguousarray(inside, dtype=np.float64)
            pointer = values.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
            self._engine.scatter_atoms("x", 1, 3, pointer)
        else:
            self._fill(atoms, inside, box)
            self._shape = shape
        engine = self._engine
        engine.command("run 0 post no")
        energy = float(engine.get_thermo("pe"))
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces @ axes}
        if atoms.pbc.all():
            xx, yy, zz, yz, xz, xy = (-engine.get_thermo(key) * bar for key in _STRESSES)
            stress = axes.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ axes
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _fill(self, atoms: Atoms, inside: NDArray[np.float64], box: NDArray[np.float64]) -> None:
        """Make the box and its atoms."""
        elements = sorted(set(atoms.symbols))
        check_known(self._potential, self._known, elements)
        kinds = [elements.index(symbol) + 1 for symbol in atoms.symbols]
        if self._engine is None:
            self._engine = open_engine()
        engine = self._engine
        edges = " ".join(f"0 {edge!r}" for edge in np.diagonal(box).tolist())
        tilts = f"{float(box[1, 0])!r} {float(box[2, 0])!r} {float(box[2, 1])!r}"
        for line in (
            "clear",
            "units metal",
            "atom_style atomic",
            "atom_modify map array",
            "boundary p p p",
            "box tilt large",
            f"region cell prism {edges} {tilts} units box",
            f"create_box {len(elements)} cell",
        ):
            engine.command(line)
        n = len(atoms)
        made = engine.create_atoms(n, list(range(1, n + 1)), kinds, inside.ravel().tolist())
        if made != n:
            raise DismaiError(f"LAMMPS placed {made} of {n} atoms; report this")
        set_interactions(engine, self._style, elements, self._parameters)

    def forget(self) -> None:
        """Begin with a new box: the order of the atoms in the old one shows in the last digits."""
        self._shape = None
        self.reset()

    def close(self) -> None:
        """End the session; the next structure opens another."""
        engine, self._engine, self._shape = self._engine, None, None
        if engine is not None:
            engine.close()

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()


def _periodic_cell(atoms: Atoms) -> NDArray[np.float64]:
    """Return a cell that is periodic throughout, with vacuum along the open directions."""
    cell: NDArray[np.float64] = np.array(complete_cell(atoms.cell))
    for axis in np.flatnonzero(~atoms.pbc):
        others = [cell[(axis + 1) % 3], cell[(axis + 2) % 3]]
        normal = np.cross(*others)
        normal /= np.linalg.norm(normal)
        extent = float(np.ptp(atoms.positions @ normal)) + _VACUUM
        cell[axis] = normal * (np.ceil(extent / _VACUUM_STEP) * _VACUUM_STEP)
    return cell


def triangular_box(
    cell: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a cell as LAMMPS wants it.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Vectors as rows, Å; also left-handed or very oblique.

    Returns
    -------
    axes : ndarray, shape (3, 3)
        Orthonormal rows: the axes of the box, in which positions are ``positions @ axes.T``.
    box : ndarray, shape (3, 3)
        The same lattice in them, lower triangular, with a positive diagonal and tilts of at most
        half an edge.
    """
    columns, triangle = np.linalg.qr(cell.T)
    signs = np.where(np.diagonal(triangle) < 0, -1.0, 1.0)
    axes, box = (columns * signs).T, triangle.T * signs
    box = np.tril(box)
    box[1] -= round(box[1, 0] / box[0, 0]) * box[0]
    box[2] -= round(box[2, 1] / box[1, 1]) * box[1]
    box[2] -= round(box[2, 0] / box[0, 0]) * box[0]
    return axes, box
