"""Normalised interface energy (paper, eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: J per eV as printed in eq. 6, and m^2 per Å^2.
JOULES_PER_EV, M2_PER_A2 = 1.60218e-19, 1e-20

#: eV/atom. Reference of Li3ScCl6(100)-LiCoO2(110) with the published M3GNet potential.
PUBLISHED_REFERENCE_ENERGY = -4.78

#: J/m^2 of the lowest relaxed random structure where another potential sets the reference.
LOWEST_INTERFACE_ENERGY = -0.4


def interface_area(cell: ArrayLike) -> float:
    """Return the area that the first two vectors of a cell span, Å^2.

    Parameters
    ----------
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; the interface lies in the plane of the first two.
    """
    vectors = np.asarray(cell, dtype=float)
    return float(np.linalg.norm(np.cross(vectors[0], vectors[1])))


def interface_energy(
    total_energy_eV: ArrayLike,
    n_atoms: ArrayLike,
    reference_energy_eV_per_atom: float,
    area_A2: ArrayLike,
) -> NDArray[np.float64]:
    """Return the normalised interface energy of one or many structures, J/m^2.

    Parameters
    ----------
    total_energy_eV : array-like
        Total energies, eV.
    n_atoms : array-like of int
        Atoms of each structure.
    reference_energy_eV_per_atom : float
        Energy per atom that counts as 0 J/m^2.
    area_A2 : array-like
        Areas, Å^2.

    Returns
    -------
    ndarray
        0 or below for structures of low energy; NaN where the total energy is NaN.

    Raises
    ------
    DismaiError
        If an area or a number of atoms is not above zero.
    """
    energies, atoms, areas = _checked(total_energy_eV, n_atoms, area_A2)
    excess = energies - atoms * reference_energy_eV_per_atom
    return excess / areas * (JOULES_PER_EV / M2_PER_A2)


def reference_energy_from_lowest(
    energies: ArrayLike,
    n_atoms: ArrayLike,
    area: ArrayLike,
    lowest: float = LOWEST_INTERFACE_ENERGY,
) -> float:
    """Return the reference energy that puts the lowest of relaxed structures at a given value.

    Parameters
    ----------
    energies : array-like, shape (n,)
        Total energies of relaxed random structures, eV, all of one potential.
    n_atoms : array-like of int, shape (n,) or ()
        Atoms of each.
    area : array-like, shape (n,) or ()
        Areas, Å^2.
    lowest : float
        Normalised interface energy that the lowest shall have, J/m^2.

    Returns
    -------
    float
        eV/atom, for `interface_energy`.

    Raises
    ------
    DismaiError
        If there are no energies, one is not finite, or as `interface_energy`.
    """
    totals, atoms, areas = _checked(energies, n_atoms, area)
    if totals.size == 0 or not np.isfinite(totals).all():
        raise DismaiError(
            "a reference energy needs the finite energies of relaxed structures: "
            f"{int(np.isfinite(totals).sum())} of {totals.size} are"
        )
    # Each structure lies at `lowest` for one reference, and below it for any higher one.
    return float(np.min((totals - lowest * areas / (JOULES_PER_EV / M2_PER_A2)) / atoms))


def _checked(
    energies: ArrayLike, n_atoms: ArrayLike, area: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    totals, atoms, areas = (np.asarray(x, dtype=float) for x in (energies, n_atoms, area))
    if not ((atoms > 0).all() and (areas > 0).all()):
        raise DismaiError("an interface energy needs atoms, and an area above 0 Å^2")
    return totals, atoms, areas
