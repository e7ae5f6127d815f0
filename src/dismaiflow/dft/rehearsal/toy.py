"""A toy potential: pairs of ions that are quick to compute, for rehearsals and tests.

The energy of a pair is a Morse well at the sum of the covalent radii (its wall only for ions of
like charge) plus, where there are anions, a screened Coulomb interaction of a part of the common
oxidation states, softened at short distances so that ions never fall into each other. A switch
brings energy, force and curvature to zero at the cutoff. It is a made-up surface with the right
symmetries, and no model of any material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

#: Common oxidation states; elements that are not listed are neutral.
CHARGES = {
    "H": 1, "Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Al": 3, "Si": 4, "P": 5, "Sc": 3, "Y": 3,
    "La": 3, "Ti": 4, "Zr": 4, "V": 3, "Nb": 5, "Ta": 5, "Cr": 3, "Mn": 3, "Fe": 3, "Co": 3,
    "Ni": 2, "Cu": 1, "Zn": 2, "Ga": 3, "In": 3, "Ge": 4, "Sn": 4,
    "N": -3, "O": -2, "S": -2, "Se": -2, "F": -1, "Cl": -1, "Br": -1, "I": -1,
}  # fmt: skip

#: Distance in Å beyond which pairs do not interact, and where the switch begins.
CUTOFF, SWITCH = 5.0, 3.5

#: Depth in eV and stiffness in 1/Å of the well of a pair.
DEPTH, STIFFNESS = 0.5, 1.7
#: e^2 / (4 pi eps0) in eV Å; part of the oxidation state; screening and softening lengths in Å.
COULOMB, PART, SCREENING, SOFTENING = 14.399645, 0.3, 2.0, 1.0
#: Energy of an atom alone, eV, and more for each unit of charge: totals are negative, as of VASP.
ALONE, ALONE_PER_CHARGE = -3.0, -1.0


class ToyCalculator(Calculator):
    """The toy potential for ASE: energy, forces and stress."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute one structure; see `ase.calculators.calculator.Calculator`."""
        super().calculate(atoms, properties, system_changes)
        here = self.atoms
        assert here is not None
        charges = np.array([CHARGES.get(symbol, 0) for symbol in here.symbols], dtype=float)
        i, j, vectors = neighbor_list("ijD", here, CUTOFF)
        distances = np.linalg.norm(vectors, axis=1)
        # Without anions the ions are those of a metal: no charges.
        states = charges if (charges < 0).any() else np.zeros_like(charges)
        product = COULOMB * PART**2 * states[i] * states[j]
        radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in here.symbols])
        energies, slopes = pair(distances, radii[i] + radii[j], product)

        # Every pair is in the list twice.
        alone = ALONE * len(here) + ALONE_PER_CHARGE * float(np.abs(charges).sum())
        energy = alone + 0.5 * float(energies.sum())
        along = (slopes / distances)[:, None] * vectors
        forces = np.zeros((len(here), 3))
        np.add.at(forces, i, along)
        stress = 0.5 * along.T @ vectors / here.get_volume()
        voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        self.results = {
            "energy": energy, "free_energy": energy, "forces": forces, "stress": voigt,
        }  # fmt: skip


def pair(
    r: NDArray[Any], bond: NDArray[Any], product: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energies of pairs and their derivatives by the distance.

    Parameters
    ----------
    r : ndarray, shape (n,)
        Distances, Å.
    bond : ndarray, shape (n,)
        Distances of the bottom of the well, Å.
    product : ndarray, shape (n,)
        Products of the charges, eV Å.

    Returns
    -------
    energies : ndarray, shape (n,)
        eV.
    slopes : ndarray, shape (n,)
        eV/Å.
    """
    fall = np.exp(-STIFFNESS * (r - bond))
    soft = np.sqrt(r**2 + SOFTENING**2)
    screened = product * np.exp(-r / SCREENING) / soft
    attracts = product <= 0
    energy = DEPTH * (fall**2 - 2 * fall * attracts) + screened
    slope = 2 * DEPTH * STIFFNESS * (fall * attracts - fall**2) - screened * (
        1 / SCREENING + r / soft**2
    )
    x = np.clip((r - SWITCH) / (CUTOFF - SWITCH), 0.0, 1.0)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    turn = -30 * x**2 * (1 - x) ** 2 / (CUTOFF - SWITCH)
    return energy * switch, slope * switch + energy * turn
