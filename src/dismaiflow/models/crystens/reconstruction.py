"""From images of CrysTens back to structures (paper, section 4.2.3; 10.1039/d4dd00100a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dismaiflow.models.crystens.representation import BORDER, COORDINATES, FIRST_CONSTANT, Layout

if TYPE_CHECKING:
    from typing import Literal

#: Border rows of the cell's lengths, of its angles, and of the space group.
_LENGTHS, _ANGLES, _GROUP = slice(FIRST_CONSTANT, 7), slice(7, 10), slice(10, 11)


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """What images say.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates, double precision, not wrapped.
    numbers : torch.Tensor, shape (n, n_atoms)
        Atomic numbers, int64; anything that rounding makes of the pixels.
    statistics : dict of str to torch.Tensor
        How well each image agrees with itself and with what is known, shape (n,); the published
        code writes the means: ``species_accuracy``; ``lattice_length_mae``, ``lattice_angle_mae``
        and ``space_group_mae``, distances of these constant fields' pixels from 0 where 1 is 1 Å or
        1 degree; ``coordinate_mae`` of the single directional graphs from their average, and
        ``pair_distance_mae`` of the distance channel from the structure, both in fractional units.
    """

    fractions: torch.Tensor
    numbers: torch.Tensor
    statistics: dict[str, torch.Tensor]


def reconstruct(
    layout: Layout, images: torch.Tensor, species: Literal["rounded", "ranked"] = "rounded"
) -> Reconstructed:
    """Read structures from images, without k-means.

    Each atom is the root of a directional graph: its own coordinates less its differences from all
    atoms are a guess of the structure. The guesses of all roots are averaged.

    Parameters
    ----------
    layout : Layout
        Of the training structures.
    images : torch.Tensor, shape (n, 4, side, side)
        Images as `Layout.encode` draws them, finite.
    species : {"rounded", "ranked"}
        Whether atomic numbers are the pixels rounded to integers, as published, or the true
        composition, its heaviest atoms where the pixels are largest.
    """
    pixels = images.double().add(1).div(2)
    first = layout.first
    low, span = layout.low.to(pixels), layout.span.to(pixels)
    # Both borders of all channels: (n, fields, 8, n_atoms).
    upper = pixels[:, :, :BORDER, first:].transpose(1, 2)
    left = pixels[:, :, first:, :BORDER].permute(0, 3, 1, 2)
    border = torch.cat([upper, left], dim=2)
    fields = border.mean(2)
    numbers = _species(fields[:, 0] * span[0] + low[0], layout, species)
    roots = fields[:, COORDINATES].transpose(1, 2) * span[1:4] + low[1:4]
    apart = pixels[:, 1:, first:, first:].permute(0, 2, 3, 1) * span[5:] + low[5:]
    apart = (apart - apart.transpose(1, 2)) / 2
    guesses = roots[:, :, None] - apart
    fractions = guesses.mean(1)
    told = pixels[:, 0, first:, first:] * span[4] + low[4]
    found = (fractions[:, :, None] - fractions[:, None]).norm(dim=-1)
    statistics = {
        "species_accuracy": (numbers == layout.numbers.to(numbers)).double(),
        "lattice_length_mae": border[:, _LENGTHS].abs(),
        "lattice_angle_mae": border[:, _ANGLES].abs(),
        "space_group_mae": border[:, _GROUP].abs(),
        "coordinate_mae": (guesses - fractions[:, None]).abs(),
        "pair_distance_mae": (told - found).abs(),
    }
    means = {name: values.flatten(1).mean(1) for name, values in statistics.items()}
    return Reconstructed(fractions, numbers, means)


def _species(values: torch.Tensor, layout: Layout, reading: str) -> torch.Tensor:
    """Return the atomic numbers that pixels stand for, int64."""
    if reading == "rounded":
        return values.round().long()
    ranks = values.argsort(dim=1, stable=True).argsort(dim=1)
    return layout.numbers.sort().values.to(values.device)[ranks]
