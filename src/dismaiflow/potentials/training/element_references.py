"""Energies of the elements, which a network need not learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Singular values below this share of the largest one are noise: along such a direction the
#: compositions differ by some 0.05 % of the atoms, from which no energy of an element follows.
_RCOND = 1e-3


def composition_fractions(structures: StructureSet, elements: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each element in each structure, shape (n_structures, n_elements)."""
    place = {symbol: i for i, symbol in enumerate(elements)}
    codes = np.array([place[chemical_symbols[z]] for z in structures.numbers], dtype=np.int64)
    rows = np.repeat(np.arange(len(structures)), structures.n_atoms)
    counts = np.zeros((len(structures), len(elements)))
    np.add.at(counts, (rows, codes), 1.0)
    return counts / structures.n_atoms[:, None]


def fit_references(
    fractions: ArrayLike, energies_per_atom: ArrayLike, rcond: float = _RCOND
) -> NDArray[np.float64]:
    """Fit energies of the elements to energies of structures.

    The mean energy per atom is taken for all elements first; of the deviations from it that fit
    the rest best, the smallest is added. So one composition alone, for which a fit says nothing
    of single elements, gives them all the mean, and an element that is nowhere gets it, too.

    Parameters
    ----------
    fractions : array-like, shape (n_structures, n_elements)
        Shares of the elements; rows add up to 1.
    energies_per_atom : array-like, shape (n_structures,)
        eV/atom.
    rcond : float
        Singular values below this share of the largest one count as zero.

    Returns
    -------
    ndarray, shape (n_elements,)
        eV/atom.
    """
    shares = np.asarray(fractions, dtype=float)
    values = np.asarray(energies_per_atom, dtype=float)
    mean = values.mean()
    deviation = np.linalg.lstsq(shares, values - mean, rcond=rcond)[0]
    return mean + deviation
