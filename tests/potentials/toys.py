"""Potentials of the tests, in a module that other processes can import."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize.sciopt import SciPyFminCG

from dismaiflow.potentials.base import Evaluation, PotentialCard
from dismaiflow.structures.structure_set import StructureSet

#: Lennard-Jones parameters, Å and eV, and where the energy ends smoothly.
SIGMA, EPSILON, CUTOFF = 3.4, 0.0104, 9.0

_IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)))


def argon_energy(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy and forces of argon, the same to the last bit whatever was computed before."""
    bonds = atoms.positions[None] - atoms.positions[:, None]
    periodic = atoms.pbc.all()
    if periodic:
        lengths = atoms.cell.lengths()
        bonds -= np.round(bonds / lengths) * lengths
    shifts = _IMAGES * atoms.cell.lengths() if periodic else np.zeros((1, 3))
    bonds = bonds[:, :, None] + shifts
    squares = (bonds**2).sum(-1)
    squares[squares == 0] = np.inf
    squares[squares > CUTOFF**2] = np.inf
    sixth = (SIGMA**2 / squares) ** 3
    depth = 4 * EPSILON * (sixth**2 - sixth)
    end = (1 - np.minimum(squares, CUTOFF**2) / CUTOFF**2) ** 2
    # Slopes with respect to the squared distance.
    slope = 4 * EPSILON * (-6 * sixth**2 + 3 * sixth) / squares * end
    slope -= depth * 2 * np.sqrt(end) / CUTOFF**2
    forces = 2 * (slope[..., None] * bonds).sum((1, 2))
    return 0.5 * float((depth * end).sum()), forces


class Argon(Calculator):
    """The calculator of `argon_energy`."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = argon_energy(atoms)
        self.results = {"energy": energy, "forces": forces}


class Surface(Calculator):
    """A calculator of one function of the positions: returns energy and forces."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.n_calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.n_calls += 1
        energy, forces = self.function(atoms.positions)
        self.results = {"energy": energy, "forces": forces}


def argon(seed: int, n_side: int = 2, spread: float = 0.25) -> Atoms:
    """A small periodic crystal of argon whose atoms were shaken; its cell says which."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n_side)] * 3), -1).reshape(-1, 3) * 3.8
    cell = [3.8 * n_side, 3.8 * n_side, 3.8 * n_side + 1e-3 * seed]
    return Atoms(
        f"Ar{n_side**3}", positions=grid + rng.normal(0, spread, grid.shape), cell=cell, pbc=True
    )


def as_ase_does(atoms: Atoms, fmax: float, steps: int) -> tuple[np.ndarray, float, int]:
    """Relax with ASE alone; return positions, energy and iterations."""
    copy = atoms.copy()
    copy.calc = Argon()
    optimizer = SciPyFminCG(copy, logfile=None)
    optimizer.run(fmax=fmax, steps=steps)
    return copy.positions, copy.get_potential_energy(), optimizer.nsteps


class Moody(Argon):
    """Argon that notes each structure it sees, and hates some elements in the first place."""

    def __init__(self, folder: Path, pause: float = 0.0) -> None:
        super().__init__()
        self.folder = folder
        self.pause = pause
        self.seen = None
        note(folder, "opened")

    def close(self) -> None:
        note(self.folder, "closed")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        name = str(round((atoms.cell[2, 2] - 7.6) * 1000))
        if name != self.seen:
            self.seen = name
            note(self.folder, name)
            time.sleep(self.pause)
        match atoms.symbols[0]:
            case "Kr":
                os._exit(3)
            case "Xe":
                raise RuntimeError("isolated atom\nat the end of a long story")
        super().calculate(atoms, properties, system_changes)
        if atoms.symbols[0] == "Rn":
            self.results["energy"] = float("nan")


def note(folder: Path, text: str) -> None:
    """Add a line to the notes; appending is atomic for so few bytes."""
    with (folder / "notes").open("a") as stream:
        stream.write(f"{text}\n")


def notes(folder: Path) -> list[str]:
    path = folder / "notes"
    return path.read_text().split() if path.exists() else []


class Batches:
    """Computes batches of argon one by one; refuses a batch in which an element is hated."""

    def __init__(self, folder: Path | None = None) -> None:
        self.sizes: list[int] = []
        self.folder = folder

    def close(self) -> None:
        if self.folder:
            note(self.folder, "closed")

    def evaluate(self, structures: list[Atoms]) -> list[Evaluation]:
        self.sizes.append(len(structures))
        if any(atoms.symbols[0] == "Xe" for atoms in structures):
            raise RuntimeError("isolated atom")
        return [self.one(atoms) for atoms in structures]

    def one(self, atoms: Atoms) -> Evaluation:
        energy, forces = argon_energy(atoms)
        return Evaluation(np.nan if atoms.symbols[0] == "Rn" else energy, forces)


@dataclass(frozen=True)
class ToyPotential:
    """A `Potential` of `Moody`."""

    folder: Path
    pause: float = 0.0
    hash: str = "a"
    batched: bool = False

    @property
    def card(self) -> PotentialCard:
        return PotentialCard(name="toy", engine="callable", hash=self.hash)

    @property
    def files(self) -> dict[str, Path]:
        return {}

    def calculator(self) -> Moody:
        return Moody(self.folder, self.pause)

    def evaluator(self, device: str = "cpu") -> Batches | None:
        return Batches(self.folder) if self.batched else None


def shaken(n: int, **first: str) -> StructureSet:
    """Return n argon crystals; ``i3="Xe"`` sets the first atom of the fourth."""
    structures = [argon(i) for i in range(n)]
    for key, symbol in first.items():
        structures[int(key[1:])].symbols[0] = symbol
    return StructureSet.from_atoms(structures)
