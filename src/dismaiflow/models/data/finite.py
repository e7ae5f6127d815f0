"""A check that all training data pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.structures.structure_set import StructureSet


def check_finite(structures: StructureSet, model: str, what: str = "training") -> None:
    """Refuse structures with a coordinate or cell vector that is not finite.

    Parameters
    ----------
    structures : StructureSet
        The structures.
    model, what : str
        Who asks, and what they are for, for the message.

    Raises
    ------
    DismaiError
        Which structure is the first such.
    """
    of_atoms = np.repeat(np.arange(len(structures)), structures.n_atoms)
    places = of_atoms[~np.isfinite(structures.positions).all(axis=1)]
    cells = np.flatnonzero(~np.isfinite(structures.cells).all(axis=(1, 2)))
    bad = np.concatenate([places, cells])
    if len(bad):
        raise DismaiError(
            f"{model}: {what} structure {bad.min()} holds a coordinate or cell vector that is not "
            "finite: mend the dataset"
        )
