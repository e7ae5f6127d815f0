"""Calculators by `module:callable` that do what generated structures make real ones do.

A structure says itself what is to happen: its first atom stands as many cells along x as the number
of its mood, and as many along y as its own number, which changes neither energy nor forces.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from ase import Atoms

from dismaiflow.structures.structure_set import StructureSet

from .toys import Argon

#: Edge of the cubic cells, Å.
EDGE = 7.6

#: Environment variables: a file that is told of every structure, and seconds that each one takes.
NOTES, PAUSE = "TOY_NOTES", "TOY_PAUSE"

MOODS = ("good", "raises", "nan", "restless", "explodes", "dies", "overlaps")


def crystal(number: int, mood: str = "good", spread: float = 0.25) -> Atoms:
    """Return eight shaken argon atoms."""
    rng = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3) * EDGE / 2 + 1.0
    grid += np.clip(rng.normal(0, spread, grid.shape), -0.9, 0.9)
    if mood == "overlaps":
        grid[2] = grid[1]
    grid[0, :2] += EDGE * np.array([MOODS.index(mood), number])
    return Atoms("Ar8", positions=grid, cell=[EDGE] * 3, pbc=True)


def crystals(*moods: str) -> StructureSet:
    """Return a crystal for each mood."""
    return StructureSet.from_atoms([crystal(i, mood) for i, mood in enumerate(moods)])


class Wilful(Argon):
    """Argon with moods, told by the first evaluation of each structure."""

    def __init__(self) -> None:
        super().__init__()
        self.mood = ""

    def forget(self) -> None:
        """Wait for another structure."""
        self.mood = ""
        self.reset()

    def calculate(self, atoms=None, properties=None, system_changes=()):
        """Compute what the mood allows."""
        if not self.mood:
            cells = np.floor(atoms.positions[0] / EDGE).astype(int)
            self.mood = MOODS[cells[0]]
            note(str(cells[1]))
        if self.mood == "raises":
            raise RuntimeError("isolated atom\nat the end of a long story")
        if self.mood == "dies":
            os._exit(3)
        super().calculate(atoms, properties, system_changes)
        if self.mood == "nan":
            self.results["energy"] = float("nan")
        elif self.mood == "restless":
            self.results["forces"][0] += 1.0
        elif self.mood == "explodes":
            # A slope that goes on for ever.
            height = np.abs(atoms.positions[:, 2]).clip(1)
            self.results["energy"] = -100 * float(np.sqrt(height).sum())
            self.results["forces"] = np.zeros((len(atoms), 3))
            self.results["forces"][:, 2] = 50 / np.sqrt(height)


class Still(Argon):
    """A potential without forces."""

    def calculate(self, atoms=None, properties=None, system_changes=()):
        """Compute nothing, but for the number of atoms."""
        self.atoms = atoms.copy()
        self.results = {"energy": -float(len(atoms)), "forces": np.zeros((len(atoms), 3))}


class Nearly(Argon):
    """Leaves a force just beyond 0.05 eV/Å that no step changes."""

    def calculate(self, atoms=None, properties=None, system_changes=()):
        """Compute nothing else."""
        self.atoms = atoms.copy()
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        self.results["forces"][0, 0] = 0.0505


def nearly() -> Nearly:
    """Return a calculator."""
    return Nearly()


def wilful() -> Wilful:
    """Return a calculator."""
    return Wilful()


def still() -> Still:
    """Return a calculator."""
    return Still()


def silicon():
    """Return Stillinger and Weber's silicon, which notes every structure too.

    It refuses those whose first atom stands in the second half of the cell, or beyond.
    """
    from dismaiflow.potentials.names import open_potential

    inner = open_potential("sw").calculator()
    forget, calculate = inner.forget, inner.calculate
    seen = []

    def forget_too() -> None:
        seen.clear()
        forget()

    def calculate_too(atoms=None, *args, **kwargs):
        if not seen:
            # No two structures begin with the same coordinate.
            seen.append(f"{atoms.positions[0, 0]:.9f}")
            note(seen[0])
            if atoms.positions[0, 0] > atoms.cell[0, 0] / 2:
                raise RuntimeError("this one is refused")
        calculate(atoms, *args, **kwargs)

    inner.forget, inner.calculate = forget_too, calculate_too
    return inner


def note(text: str) -> None:
    """Add a line with the number of this process to the notes, and rest."""
    path = os.environ.get(NOTES)
    if path:
        with Path(path).open("a") as stream:
            stream.write(f"{os.getpid()} {text}\n")
    time.sleep(float(os.environ.get(PAUSE, "0")))


def notes(path: Path) -> list[tuple[str, str]]:
    """Return the process and the structure of each line."""
    if not path.exists():
        return []
    words = path.read_text().split()
    return list(zip(words[::2], words[1::2], strict=True))
