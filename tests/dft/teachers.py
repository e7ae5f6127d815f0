"""Calculators by `module:callable` that fail as those of others do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Failing(EMT):
    """EMT up to a number of structures, and then something else."""

    def __init__(self, case: str, after: int = 3) -> None:
        super().__init__()
        self.case, self.left, self.closed = case, after, False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        if self.left >= 0:
            return
        if self.case == "raises":
            raise RuntimeError("the licence server does not answer")
        if self.case == "nan":
            self.results["forces"] = np.full((len(self.atoms), 3), np.nan)
        else:
            self.results["energy"] += 10.0 * len(self.atoms)
            self.results["free_energy"] += 10.0 * len(self.atoms)


class Bare(Calculator):
    """Springs to the places where atoms stand in cells of 1 Å; no stress."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - np.rint(self.atoms.positions)
        self.results = {"energy": float((away**2).sum()), "forces": -2 * away}


def raises():
    """Break after three structures."""
    return Failing("raises")


def raises_at_once():
    """Break at the first structure."""
    return Failing("raises", after=0)


def nan():
    """Return no numbers after three structures."""
    return Failing("nan")


def rises():
    """Return an absurd energy after three structures."""
    return Failing("rises")
