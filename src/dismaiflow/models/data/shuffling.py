"""Permutations of equal atoms, made when they are needed (paper, sections 4.2.3 and 4.2.4).

The paper stores 49 shuffled copies of each interface; as images of 288 pixels a side that would be
80 GB. Here each step draws permutations of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.models.data.fixed_cell import FixedCellData
    from dismaiflow.systems import SystemSpec

#: Ways to augment a dataset by permutations.
SHUFFLINGS = ("none", "shuffle-region", "shuffle-all")

#: First group of `SystemSpec.atom_order` of systems whose region can be told from the order.
_REGION = "region"


def equal_atoms(
    known: FixedCellData, spec: SystemSpec | None, augmentation: str, model: str
) -> list[NDArray[np.int64]]:
    """Return the atoms that may change places, in groups of one species.

    Parameters
    ----------
    known : FixedCellData
        Training structures, their atoms grouped by species.
    spec : SystemSpec, optional
        Their system, which tells how many atoms of each species its region has.
    augmentation : str
        One of `SHUFFLINGS`: none; the atoms of an interface's region; or all (Fig. S20), which
        keeps the order of the species, by which structures are read back.
    model : str
        Who asks, for messages.

    Raises
    ------
    DismaiError
        If the region is asked for and the system has none, or its atoms are not in order.
    """
    if augmentation == "none":
        return []
    firsts = np.cumsum([0, *known.counts[:-1]])
    sizes: Sequence[int] = known.counts
    if augmentation == "shuffle-region":
        numbers = known.numbers[known.order][firsts]
        sizes = _region_counts(spec, numbers.tolist(), model)
        for number, size, count in zip(numbers, sizes, known.counts, strict=True):
            if size > count:
                raise DismaiError(
                    f"{model}: {spec and spec.name} has {size} atoms of element {number} in its "
                    f"region, the training structures have {count} altogether: train on a dataset "
                    "of this system"
                )
    return [np.arange(first, first + size) for first, size in zip(firsts, sizes, strict=True)]


def _region_counts(spec: SystemSpec | None, numbers: Sequence[int], model: str) -> list[int]:
    """Return how many of the first atoms of each species lie in the region."""
    from ase.data import chemical_symbols

    if spec is None or spec.kind != "interface":
        raise DismaiError(
            f"{model}: augmentation shuffle-region is for interfaces; choose none or shuffle-all"
        )
    if not spec.atom_order or spec.atom_order[0] != _REGION:
        raise DismaiError(
            f"{model}: {spec.name} does not put the atoms of its region first (key 'atom_order'), "
            "so that they are not known; choose augmentation none or shuffle-all"
        )
    counts = spec.interface.region_counts
    return [counts.get(chemical_symbols[number], 0) for number in numbers]


def permutations(
    n: int, n_atoms: int, groups: Sequence[NDArray[np.int64]], rng: torch.Generator
) -> torch.Tensor:
    """Draw permutations that move atoms within groups only.

    Parameters
    ----------
    n, n_atoms : int
        Structures, and atoms of each.
    groups : sequence of ndarray
        Atoms that may change places with each other.
    rng : torch.Generator
        On the processor.

    Returns
    -------
    torch.Tensor, shape (n, n_atoms)
        For each place of the new order the atom that comes there, int64.
    """
    order = torch.arange(n_atoms).repeat(n, 1)
    for group in groups:
        members = torch.as_tensor(group)
        drawn = torch.rand(n, len(members), generator=rng).argsort(dim=1, stable=True)
        order[:, members] = members[drawn]
    return order
