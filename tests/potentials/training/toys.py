"""Frames with labels of a cheap potential of ASE, and trainings that take a second."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from ase.build import bulk
from ase.calculators.morse import MorsePotential

from dismaiflow.potentials.training.settings import TrainingSettings, training_settings
from dismaiflow.structures.frames import FrameLabel, LabelledFrames
from dismaiflow.structures.structure_set import StructureSet

LABEL = FrameLabel(engine="morse", functional="toy")

#: A network of 2,500 weights.
TINY = {"units": 16, "blocks": 1, "cutoff": 4.0, "threebody_cutoff": 3.0}


def tiny(**values: Any) -> TrainingSettings:
    """Settings of a training that takes a second."""
    return training_settings({"model": TINY, "epochs": 2, **values})


def crystal(seed: int, salt: str = "LiCl", repeat: tuple[int, int, int] = (2, 1, 1)) -> Any:
    """A rattled rock salt with its calculator; bonds are within the cutoffs."""
    atoms = bulk(salt, "rocksalt", a=5.1) * repeat
    atoms.rattle(0.1, seed=seed)
    atoms.calc = MorsePotential(r0=2.6, epsilon=0.3, rho0=4.0, rcut1=3.5, rcut2=4.5)
    return atoms


@cache
def labelled(seed: int, salt: str) -> tuple[Any, float, Any, Any]:
    """A crystal, its energy, forces and stress; ASE takes 15 ms for one."""
    atoms = crystal(seed, salt)
    labels = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
    return atoms, *labels


def frames(
    n_parents: int = 6,
    steps: int = 2,
    label: FrameLabel = LABEL,
    salts: tuple[str, ...] = ("LiCl",),
) -> LabelledFrames:
    """Rattled crystals with the energies, forces and stresses of a Morse potential."""
    made, parents, numbers = [], [], []
    for parent in range(n_parents):
        for step in range(1, steps + 1):
            made.append(labelled(100 * parent + step, salts[parent % len(salts)]))
            parents.append(f"p{parent}")
            numbers.append(step)
    return LabelledFrames.build(
        StructureSet.from_atoms([atoms for atoms, *_ in made]),
        [energy for _, energy, *_ in made],
        [forces for *_, forces, _ in made],
        np.array([stress for *_, stress in made]),
        label,
        parents,
        numbers,
        [number == steps for number in numbers],
    )
