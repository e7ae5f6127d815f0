"""Translations by steps of a lattice, made when they are needed (paper, section 4.2.5)."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch

from dismaiflow.models.data.fixed_cell import FACE

if TYPE_CHECKING:
    from collections.abc import Sequence


def lattice_translations(steps: Sequence[int]) -> torch.Tensor:
    """Return all translations by whole steps along the cell vectors.

    Parameters
    ----------
    steps : sequence of int
        Steps into which each cell vector is divided: the repeats of the unit cell in a supercell.

    Returns
    -------
    torch.Tensor, shape (product of steps, 3)
        Fractional translations in double precision; the first is none.
    """
    places = torch.tensor(list(product(*(range(n) for n in steps))), dtype=torch.float64)
    return places / torch.tensor(list(steps), dtype=torch.float64)


def translate(fractions: torch.Tensor, translations: torch.Tensor) -> torch.Tensor:
    """Move structures, each by its own translation, and wrap them into the cell.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates.
    translations : torch.Tensor, shape (n, 3)
        Fractional translations.

    Returns
    -------
    torch.Tensor, shape (n, n_atoms, 3)
        From 0 to below 1; within a millionth of 1 counts as 0.
    """
    moved = fractions + translations[:, None]
    return (moved - torch.floor(moved + FACE)).clamp_min_(0)
