"""Training structures of the models that diffuse images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.models.data.finite import check_finite
from dismaiflow.models.data.fixed_cell import FixedCellData
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.models.base import ModelData

#: By how much a validation structure's cell may differ from that of training, Å.
_SAME_CELL = 1e-4


def known_structures(
    data: ModelData, model: str
) -> tuple[FixedCellData, NDArray[np.float64] | None]:
    """Return training structures, and fractional coordinates of those of validation.

    Parameters
    ----------
    data : ModelData
        Both.
    model : str
        Who asks, for messages.

    Returns
    -------
    known : FixedCellData
        Training structures, atoms grouped by species, images outside the cell wrapped into it.
    watched : ndarray, shape (n, n_atoms, 3), optional
        Validation structures, grouped in the same way; None if there are none.

    Raises
    ------
    DismaiError
        If there are no training structures, or one differs in composition or cell, or holds a
        coordinate that is not finite.
    """
    known = FixedCellData.from_structures(data.train, model)
    if data.val is None or not len(data.val):
        return known, None
    val = data.val
    check_finite(val, model, "validation")
    formula = data.train.formula(0)
    for index in range(len(val)):
        if val.formula(index) != formula:
            raise DismaiError(
                f"{model}: validation structure {index} is {val.formula(index)}, those of training "
                f"are {formula}: the model needs one composition for all"
            )
    apart = np.abs(val.cells - known.cell).max(axis=(1, 2))
    if apart.max() > _SAME_CELL:
        raise DismaiError(
            f"{model}: the cell of validation structure {int(apart.argmax())} differs from that of "
            f"training by {apart.max():.3g} Å: the model needs one cell for all"
        )
    # Behind a training structure, which tells the order of the species.
    both = StructureSet.concatenate([data.train.select(np.array([0])), val])
    return known, FixedCellData.from_structures(both, model).fractions[1:]
