"""How many neighbours of each species atoms have, structure by structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.comparison import structure_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def mean_bond_counts(
    counts: ArrayLike,
    structure: ArrayLike,
    n_structures: int,
    centres: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Average the bonds of chosen atoms over each structure (paper, section 2.5; Fig. S19).

    With the scandium atoms of the interface region as centres, the column of oxygen is the number
    of Sc-O bonds per Sc atom.

    Parameters
    ----------
    counts : array-like of int, shape (n_sites, n_species)
        Neighbours of each species that a site has at its most likely coordination number.
    structure : array-like of int, shape (n_sites,)
        Structure of each site, from 0.
    n_structures : int
        Number of structures.
    centres : array-like of bool, shape (n_sites,), optional
        Sites to average over, all by default.

    Returns
    -------
    ndarray, shape (n_structures, n_species)
        Bonds per centre; NaN where a structure has no centres.

    Raises
    ------
    DismaiError
        If the arrays do not belong together.
    """
    rows, owner = np.asarray(counts), np.asarray(structure)
    if rows.ndim != 2 or owner.shape != rows.shape[:1]:
        raise DismaiError(
            f"neighbours of {rows.shape} sites and species do not belong to {owner.shape} sites"
        )
    return structure_means(rows, owner, n_structures, centres)
