"""Small run folders for a rehearsal, and what goes on in them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar

from dismaiflow.dft.rehearsal.mark import Mark
from dismaiflow.dft.rehearsal.run import Options, rehearse
from dismaiflow.dft.rehearsal.toy import ToyCalculator

if TYPE_CHECKING:
    from pathlib import Path

TOY = Mark("toy", "0123456789abcdef" * 4)

TAGS: dict[str, Any] = {
    "SYSTEM": "a rehearsal", "ALGO": "Normal", "EDIFF": 1e-5, "EDIFFG": -0.5, "ENCUT": 450.0,
    "GGA": "Pe", "IBRION": 2, "ISIF": 2, "ISMEAR": 0, "ISPIN": 2, "LDAU": True, "LDAUJ": [0, 0, 0],
    "LDAUL": [0, 2, 0], "LDAUU": [0, 4.0, 0], "LORBIT": 11, "LREAL": "Auto", "LWAVE": False,
    "MAGMOM": [0.6] * 8, "NELM": 30, "NSW": 60, "SIGMA": 0.05,
}  # fmt: skip


def crystal(amplitude: float = 0.1) -> Structure:
    """Two layers of LiCoO2, shaken; eight atoms, sorted by element."""
    sites = [
        [0, 0, 0.1], [0.5, 0.5, 0.6], [0.5, 0.5, 0.35], [0, 0, 0.85],
        [0.5, 0, 0.1], [0, 0.5, 0.37], [0.5, 0, 0.62], [0, 0.5, 0.87],
    ]  # fmt: skip
    perfect = Structure(
        Lattice.from_parameters(4.0, 4.1, 8.2, 90, 84, 90),
        ["Li"] * 2 + ["Co"] * 2 + ["O"] * 4,
        sites,
    )
    shaken = perfect.cart_coords + np.random.default_rng(0).normal(size=(8, 3)) * amplitude
    return Structure(perfect.lattice, perfect.species, shaken, coords_are_cartesian=True)


def make_folder(
    folder: Path, structure: Structure | None = None, flags: Any = None, **tags: Any
) -> Path:
    """Write inputs with the classes of pymatgen."""
    folder.mkdir(parents=True, exist_ok=True)
    poscar = Poscar(structure or crystal(), selective_dynamics=flags)
    poscar.write_file(folder / "POSCAR", significant_figures=16)
    wanted = {name: value for name, value in {**TAGS, **tags}.items() if value is not None}
    Incar(wanted).write_file(folder / "INCAR")
    Kpoints.gamma_automatic((2, 2, 1)).write_file(folder / "KPOINTS")
    (folder / "POTCAR.spec").write_text("Li_sv\nCo\nO\n")
    return folder


def play(folder: Path, calculator: Any = None, **options: Any) -> int:
    """Rehearse in this process."""
    return rehearse(
        folder, TOY, calculator or ToyCalculator(), Options(**options), output=io.StringIO()
    )
