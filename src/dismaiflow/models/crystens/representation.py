"""The images of CrysTens (Alverson et al. 2024; paper, section 2.2; 10.1039/d4dd00100a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.models.data.fixed_cell import FixedCellData

#: Rows, and columns, of the border: atomic number, three fractional coordinates, three lengths and
#: three angles of the cell, space group.
BORDER = 11

#: Of the border, where the coordinates are, and where the first field is that one cell leaves
#: constant.
COORDINATES, FIRST_CONSTANT = slice(1, 4), 4

#: Sides of images are multiples of this unless the padding is set; 264 atoms make 288.
_MULTIPLE = 32

#: A field that varies by less than this is constant but for rounding.
_NO_WIDTH = 1e-9

#: Structures of which pair distances are looked at together.
_CHUNK = 64


def padding_for(n_atoms: int) -> int:
    """Return how many empty rows bring the side to the next multiple of 32.

    The authors' padding came with their data and is printed nowhere; with 264 atoms this is 13.
    """
    return -(BORDER + n_atoms) % _MULTIPLE


@dataclass(frozen=True, eq=False)
class Layout:
    """Where an image holds what, and on which scale.

    A field with the same value in all training structures is 0; so are padding and corners.

    Parameters
    ----------
    numbers : torch.Tensor, shape (n_atoms,)
        Atomic numbers, int64, in the order of the images' rows.
    padding : int
        Empty rows between border and atoms.
    low, span : torch.Tensor, shape (8,)
        Smallest value and width of atomic number, three coordinates, pair distance, and three
        differences, in fractional units; the width of a constant field is 1. Double precision.
    """

    numbers: torch.Tensor
    padding: int
    low: torch.Tensor
    span: torch.Tensor

    @classmethod
    def of(cls, known: FixedCellData, padding: int | None = None) -> Layout:
        """Find the scales in training structures.

        Parameters
        ----------
        known : FixedCellData
            Training structures.
        padding : int, optional
            Empty rows; by default those of `padding_for`.
        """
        fractions = torch.from_numpy(known.fractions)
        numbers = torch.from_numpy(known.numbers[known.order]).long()
        flat = fractions.flatten(0, 1)
        widths = (fractions.amax(1) - fractions.amin(1)).amax(0)
        farthest = max(float(_distances(part).max()) for part in fractions.split(_CHUNK))
        elements = numbers.double()
        zero = torch.zeros(1, dtype=torch.float64)
        low = torch.cat([elements.amin()[None], flat.amin(0), zero, -widths])
        high = torch.cat([elements.amax()[None], flat.amax(0), zero + farthest, widths])
        span = torch.where(high - low > _NO_WIDTH, high - low, torch.ones_like(low))
        return cls(numbers, padding_for(len(numbers)) if padding is None else padding, low, span)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Layout:
        """Take up what `to_json` returned."""
        scales = (torch.tensor(kept[name], dtype=torch.float64) for name in ("low", "span"))
        return cls(torch.tensor(kept["numbers"]), int(kept["padding"]), *scales)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as lists and numbers, exactly."""
        kept = {name: getattr(self, name).tolist() for name in ("numbers", "low", "span")}
        return kept | {"padding": self.padding}

    @property
    def n_atoms(self) -> int:
        """Atoms of a structure."""
        return len(self.numbers)

    @property
    def first(self) -> int:
        """Row of the first atom."""
        return BORDER + self.padding

    @property
    def side(self) -> int:
        """Rows, and columns, of an image."""
        return self.first + self.n_atoms

    def encode(self, fractions: torch.Tensor) -> torch.Tensor:
        """Draw structures.

        Parameters
        ----------
        fractions : torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates on any device, in the order of `numbers`; images are of their
            precision.

        Returns
        -------
        torch.Tensor, shape (n, 4, side, side)
            The first channel holds the lengths of the differences of fractional coordinates, the
            others row minus column along each axis; the border is the same in all. Training
            structures fill [-1, 1]: scaled to [0, 1] as CrysTens does, and then as Imagen does.
        """
        low = self.low.to(fractions).tolist()
        span = self.span.to(fractions).tolist()
        n, first = len(fractions), self.first
        images = fractions.new_zeros((n, 4, self.side, self.side))
        apart = fractions[:, :, None] - fractions[:, None]
        images[:, 0, first:, first:] = (apart.norm(dim=-1) - low[4]) / span[4]
        elements = (self.numbers.to(fractions) - low[0]) / span[0]
        images[:, :, 0, first:] = elements
        images[:, :, first:, 0] = elements
        for axis in range(3):
            images[:, 1 + axis, first:, first:] = (apart[..., axis] - low[5 + axis]) / span[
                5 + axis
            ]
            pixels = ((fractions[..., axis] - low[1 + axis]) / span[1 + axis])[:, None]
            images[:, :, 1 + axis, first:] = pixels
            images[:, :, first:, 1 + axis] = pixels
        return images.mul_(2).sub_(1)


def _distances(fractions: torch.Tensor) -> torch.Tensor:
    """Return the lengths of all differences, shape (n, n_atoms, n_atoms)."""
    return torch.cdist(fractions, fractions, compute_mode="donot_use_mm_for_euclid_dist")
