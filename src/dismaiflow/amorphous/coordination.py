"""How many neighbours the atoms of a parent and of its blocks have, as Fig. S3 of the paper asks.

Fig. S3 (doi 10.1039/d4dd00100a) compares coordination motifs of the parent with those of the sliced
blocks, and shows that cutting leaves defects. Here neighbours are atoms nearer than one cutoff, the
same for the parent and for the blocks before and after relaxation, so that only the structures
differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.rdf import neighbour_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.structures.structure_set import StructureSet

#: Neighbours in a continuous random network, whatever a parent has.
_TETRAHEDRAL = {"Si": 4}


def neighbour_counts(structures: StructureSet, cutoff: float) -> NDArray[np.int64]:
    """Count the neighbours of every atom.

    Parameters
    ----------
    structures : StructureSet
        Taken as periodic in all directions.
    cutoff : float
        Å; an atom exactly that far away does not count, each periodic image does.

    Returns
    -------
    ndarray of int64, shape (n_atoms_total,)
        Structure after structure.

    Raises
    ------
    DismaiError
        If the cutoff is no length, or a structure is broken.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise DismaiError(f"the cutoff of neighbours should be above 0 Å, got {cutoff:g}")
    found = [np.empty(0, dtype=np.int64)]
    for number, cell in enumerate(structures.cells):
        positions = structures.positions[structures.slice_of(number)]
        first, _, _ = neighbour_pairs(positions, cell, cutoff)
        found.append(np.bincount(first, minlength=len(positions)))
    return np.concatenate(found)


def coordination_statistics(stages: Mapping[str, StructureSet], cutoff: float) -> dict[str, Any]:
    """Compare the numbers of neighbours at several stages of a dataset.

    Parameters
    ----------
    stages : dict of str to StructureSet
        ``parent``, ``sliced``, ``relaxed``, say; none of them empty. The first decides what is
        usual.
    cutoff : float
        Å.

    Returns
    -------
    dict
        ``cutoff`` (Å); for each stage the share of its atoms by number of neighbours (``"4"``);
        ``mean`` (neighbours of an atom) and ``defects`` (share of the atoms that have not the
        usual number) by stage; ``usual`` by element: 4 for pure silicon, otherwise the number that
        most atoms of the first stage have; ``by_element``, only where there are several, the
        shares of each.

    Raises
    ------
    DismaiError
        See `neighbour_counts`; or if a stage holds no atoms.
    """
    for name, structures in stages.items():
        if len(structures.numbers) == 0:
            raise DismaiError(f"there are no {name} structures whose neighbours could be counted")
    counts = {name: neighbour_counts(found, cutoff) for name, found in stages.items()}
    first = next(iter(stages))
    usual = _usual(stages[first].numbers, counts[first])
    expected = np.zeros(len(chemical_symbols), dtype=np.int64)
    for symbol, number in usual.items():
        expected[chemical_symbols.index(symbol)] = number
    statistics: dict[str, Any] = {"cutoff": float(cutoff)}
    statistics |= {name: _shares(found) for name, found in counts.items()}
    statistics["mean"] = {name: float(found.mean()) for name, found in counts.items()}
    statistics["usual"] = usual
    statistics["defects"] = {
        name: float((found != expected[stages[name].numbers]).mean())
        for name, found in counts.items()
    }
    if len(usual) > 1:
        statistics["by_element"] = {
            symbol: {
                name: _shares(found[stages[name].numbers == chemical_symbols.index(symbol)])
                for name, found in counts.items()
            }
            for symbol in usual
        }
    return statistics


def _shares(counts: NDArray[np.int64]) -> dict[str, float]:
    """Return the share of each number that occurs, from few to many."""
    numbers, atoms = np.unique(counts, return_counts=True)
    return {str(n): float(k / len(counts)) for n, k in zip(numbers, atoms, strict=True)}


def _usual(numbers: NDArray[np.uint8], counts: NDArray[np.int64]) -> dict[str, int]:
    """Return how many neighbours the atoms of each element are to have."""
    elements = {chemical_symbols[z]: z for z in np.unique(numbers)}
    if set(elements) == set(_TETRAHEDRAL):
        return dict(_TETRAHEDRAL)
    return {
        symbol: int(np.bincount(counts[numbers == z]).argmax()) for symbol, z in elements.items()
    }
