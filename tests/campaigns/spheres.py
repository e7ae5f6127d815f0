"""Cheap potentials for blocks of atoms, in a module that other processes can import."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

#: Å below which two atoms repel each other, and eV/Å^2.
REACH, STIFFNESS = 2.0, 5.0


class Spheres(Calculator):
    """Soft spheres; the shortest image of each pair, in a right-angled cell."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        between = atoms.positions[None] - atoms.positions[:, None]
        lengths = atoms.cell.lengths()
        between -= np.round(between / lengths) * lengths
        distances = np.linalg.norm(between, axis=-1)
        distances[distances == 0] = REACH
        inside = np.maximum(REACH - distances, 0.0)
        forces = -STIFFNESS * ((inside / distances)[..., None] * between).sum(1)
        energy = 0.25 * STIFFNESS * float((inside**2).sum()) - len(atoms)
        self.results = {"energy": energy, "forces": forces}


class Wild(Spheres):
    """The same, but structures whose first atom begins in the left half of its cell explode."""

    def __init__(self) -> None:
        super().__init__()
        self.explodes: bool | None = None

    def forget(self) -> None:
        """Wait for another structure."""
        self.explodes = None
        self.reset()

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.explodes is None:
            self.explodes = atoms.positions[0, 0] < 0.5 * atoms.cell.lengths()[0]
        if self.explodes:
            # A slope that goes on for ever.
            height = np.abs(atoms.positions[:, 2]).clip(1)
            self.results["energy"] = -100 * float(np.sqrt(height).sum())
            self.results["forces"] = np.zeros((len(atoms), 3))
            self.results["forces"][:, 2] = 50 / np.sqrt(height)


class Hopeless(Spheres):
    """Raises whatever it is given."""

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        raise RuntimeError("these weights are of no use")


def spheres() -> Spheres:
    """Return a calculator."""
    return Spheres()


def wild() -> Wild:
    """Return a calculator."""
    return Wild()


def hopeless() -> Hopeless:
    """Return a calculator."""
    return Hopeless()
