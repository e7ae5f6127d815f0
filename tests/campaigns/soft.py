"""Cheap potentials for interfaces, in a module that other processes can import.

Atoms nearer than `REACH` push each other apart, so that crystals stay as they are and a region
finds room in a few steps. To that comes an energy that each structure has from its start and keeps.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from potentials.wilful import note

#: Å, and eV/Å^2.
REACH, STIFFNESS = 2.0, 5.0

#: Largest energy of its own that a structure has, eV.
SPREAD = 3.0


class Soft(Calculator):
    """Springs between atoms that are too close."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self) -> None:
        super().__init__()
        self.begun = False
        self.own = 0.0

    def forget(self) -> None:
        """Wait for another structure."""
        self.begun = False
        self.reset()

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Compute energy and forces."""
        super().calculate(atoms, properties, system_changes)
        if not self.begun:
            self.begun = True
            # No two structures begin with the same coordinates; relaxation keeps their sum, by
            # which the energy of a relaxed structure is the same again.
            note(f"{(atoms.positions**2).sum():.6f}")
            self.own = SPREAD * float(atoms.positions.sum() * 100 % 1)
        energy, forces = soft_energy(atoms)
        self.results = {"energy": energy + self.own, "forces": forces}


class Hole(Soft):
    """The same, but half of the structures fall apart at once, told by their start."""

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Raise the energy and the forces of the doomed with every step."""
        super().calculate(atoms, properties, system_changes)
        if self.own > SPREAD / 2:
            height = np.abs(atoms.positions[:, 2]).clip(1)
            self.results["energy"] = -1e4 * float(np.sqrt(height).sum())
            self.results["forces"] = np.zeros((len(atoms), 3))
            self.results["forces"][:, 2] = 5e3 / np.sqrt(height)


def soft_energy(atoms) -> tuple[float, np.ndarray]:
    """Return eV and eV/Å."""
    cell = atoms.cell.array
    bonds = atoms.positions[None] - atoms.positions[:, None]
    fractions = bonds @ np.linalg.inv(cell)
    bonds = (fractions - np.rint(fractions)) @ cell
    lengths = np.sqrt((bonds**2).sum(-1))
    np.fill_diagonal(lengths, REACH)
    short = np.clip(REACH - lengths, 0, None)
    energy = STIFFNESS / 4 * (short**2).sum()
    pull = -STIFFNESS * short / np.where(lengths > 0, lengths, 1)
    return float(energy) - len(atoms), (pull[..., None] * bonds).sum(1)


class Lost(Soft):
    """The same in a field that never ends, so that nothing converges."""

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Leave no structure without forces."""
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] += np.array([0.0, 0.0, 1.0])


class Stiff(Soft):
    """The same, with forces of twice the strength."""

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Compute energy and forces."""
        super().calculate(atoms, properties, system_changes)
        self.results = {name: 2 * value for name, value in self.results.items()}


class Shifted(Soft):
    """The same, 10 meV/atom higher."""

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """Compute energy and forces."""
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] += 0.01 * len(atoms)


def shifted() -> Shifted:
    """Return a calculator."""
    return Shifted()


def stiff() -> Stiff:
    """Return a calculator."""
    return Stiff()


def lost() -> Lost:
    """Return a calculator."""
    return Lost()


def soft() -> Soft:
    """Return a calculator."""
    return Soft()


def hole() -> Hole:
    """Return a calculator."""
    return Hole()


def universal():
    """Return CHGNet, which notes every structure too."""
    from dismaiflow.potentials.names import open_potential

    inner = open_potential("chgnet").calculator()
    calculate = inner.calculate
    seen: list[str] = []
    forget = getattr(inner, "forget", None)

    def forget_too() -> None:
        seen.clear()
        if forget is not None:
            forget()

    def calculate_too(atoms=None, *args, **kwargs):
        if not seen:
            seen.append(f"{(atoms.positions**2).sum():.6f}")
            note(seen[0])
        calculate(atoms, *args, **kwargs)

    inner.forget, inner.calculate = forget_too, calculate_too
    return inner
