"""Training data that no model can learn from, refused by all five in the same words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import Budget, ModelData

from .killed import SEED, TOYS, data, make

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.structures.structure_set import StructureSet

NOT_FINITE = "structure 2 holds a coordinate or cell vector that is not finite: mend the dataset"


def spoiled(structures: StructureSet) -> StructureSet:
    """Return the structures, of eight atoms, the third with an atom nowhere."""
    positions = structures.positions.copy()
    positions[2 * 8 + 5, 1] = np.nan
    return replace(structures, positions=positions)


@pytest.mark.parametrize("model", list(TOYS))
def test_a_coordinate_that_is_not_finite(model: str, tmp_path: Path) -> None:
    """Refused before anything is written, and the structure is named."""
    known = ModelData(spoiled(data().train))
    with pytest.raises(DismaiError, match=f"^{model}: training {NOT_FINITE}$"):
        make(model).fit(known, tmp_path, seed=SEED, budget=Budget())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", sorted(set(TOYS) - {"cryingan"}))
def test_one_of_the_validation_set(model: str, tmp_path: Path) -> None:
    """CryinGAN has no use for a validation set."""
    known = data()
    assert known.val is not None
    known = replace(known, val=spoiled(known.val))
    with pytest.raises(DismaiError, match=f"^{model}: validation {NOT_FINITE}$"):
        make(model).fit(known, tmp_path, seed=SEED, budget=Budget())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", list(TOYS))
def test_a_cell_that_is_not_finite(model: str, tmp_path: Path) -> None:
    known = data()
    cells = known.train.cells.copy()
    cells[2, 0, 0] = np.inf
    known = replace(known, train=replace(known.train, cells=cells))
    with pytest.raises(DismaiError, match=f"^{model}: training {NOT_FINITE}$"):
        make(model).fit(known, tmp_path, seed=SEED, budget=Budget())
