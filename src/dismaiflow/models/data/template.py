"""Training structures that a model keeps: their cells and species are those of what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import write_bytes
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE_NAME = "template.set"

#: Structures that are kept.
_N_TEMPLATES = 256


def keep_template(structures: StructureSet, folder: Path) -> None:
    """Keep the first structures in the folder of a training.

    Raises
    ------
    DismaiError
        If they cannot be written.
    """
    kept = structures.select(np.arange(min(len(structures), _N_TEMPLATES)))
    write_bytes(folder / TEMPLATE_NAME, kept.to_bytes())


def read_template(folder: Path) -> StructureSet:
    """Return what `keep_template` has kept.

    Raises
    ------
    DismaiError
        If it is not there.
    """
    path = folder / TEMPLATE_NAME
    try:
        return StructureSet.from_bytes(path.read_bytes())
    except OSError:
        raise DismaiError(f"{path}: is missing; copy the whole folder") from None
