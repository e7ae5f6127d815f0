"""Structures that a card carries, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from dismaiflow.structures.structure_set import INDEX_LABEL

if TYPE_CHECKING:
    from dismaiflow.structures.structure_set import StructureSet

#: Decimals of a position in Å.
_DECIMALS = 3


def example_of(structures: StructureSet, index: int) -> dict[str, Any]:
    """Return a structure as plain data, its atoms wrapped into the cell in the plane.

    Parameters
    ----------
    structures : StructureSet
        With the label ``index``.
    index : int
        Of the structure.
    """
    row = int(np.flatnonzero(structures.labels[INDEX_LABEL] == index)[0])
    part = structures.slice_of(row)
    cell = structures.cells[row]
    fractions = structures.positions[part] @ np.linalg.inv(cell)
    fractions[:, :2] -= np.floor(fractions[:, :2] + 1e-6)
    return {
        "index": index,
        "symbols": [chemical_symbols[z] for z in structures.numbers[part].tolist()],
        "positions": np.round(fractions @ cell, _DECIMALS).tolist(),
        "cell": np.round(cell, 5).tolist(),
    }
