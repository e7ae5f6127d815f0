"""Noise of CDVAE, what is learned from it, and cells by lengths and angles.

Xie et al., ICLR 2022 (arXiv:2110.06197), sections 4.2 and 4.3; noise lies on Cartesian coordinates.
"""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional


def geometric_levels(begin: float, end: float, n: int) -> torch.Tensor:
    """Return levels of noise whose ratio is constant, from the largest.

    Parameters
    ----------
    begin, end : float
        The first and the last.
    n : int
        How many; of a single level, it is the first.

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    ratio = torch.tensor(end / begin, dtype=torch.float64)
    return (begin * ratio ** torch.linspace(0, 1, n, dtype=torch.float64)).float()


def cell_parameters(cells: torch.Tensor) -> torch.Tensor:
    """Return lengths (Å) and angles (degrees) of cells.

    Parameters
    ----------
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.

    Returns
    -------
    torch.Tensor, shape (n, 6)
        a, b, c; and the angles between b and c, c and a, a and b.
    """
    lengths = cells.norm(dim=-1)
    units = cells / lengths[..., None]
    cosines = (units.roll(-1, 1) * units.roll(-2, 1)).sum(-1)
    return torch.cat([lengths, torch.rad2deg(cosines.clamp(-1, 1).arccos())], dim=-1)


def cells_of(parameters: torch.Tensor) -> torch.Tensor:
    """Return cells of given lengths and angles, c along z and a in the plane of x and z.

    Angles that no cell has give a flat one.

    Parameters
    ----------
    parameters : torch.Tensor, shape (n, 6)
        See `cell_parameters`.

    Returns
    -------
    torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.
    """
    a, b, c = parameters[:, :3].unbind(-1)
    angles = torch.deg2rad(parameters[:, 3:])
    (cos_a, cos_b, cos_g), (sin_a, sin_b, _) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    # Of the components of a and b across c: the cosine of the angle between them.
    across = ((cos_g - cos_a * cos_b) / (sin_a * sin_b)).clamp(-1, 1)
    none = torch.zeros_like(a)
    rows = (
        torch.stack([a * sin_b, none, a * cos_b], -1),
        torch.stack([b * sin_a * across, b * sin_a * (1 - across**2).sqrt(), b * cos_a], -1),
        torch.stack([none, none, c], -1),
    )
    return torch.stack(rows, dim=1)


def moved(fractions: torch.Tensor, steps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Move atoms by Cartesian steps, and wrap them into the cell.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates.
    steps : torch.Tensor, shape (n, n_atoms, 3)
        Å.
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å. A flat one gives numbers that are not finite.
    """
    # Without `ex`, a GPU would wait for the check of each inverse.
    return (fractions + steps @ torch.linalg.inv_ex(cells).inverse) % 1.0


def nearest_difference(
    target: torch.Tensor, start: torch.Tensor, cells: torch.Tensor
) -> torch.Tensor:
    """Return the shortest way from atoms to where they should be, among 27 periodic images.

    Parameters
    ----------
    target, start : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates in [0, 1).
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.

    Returns
    -------
    torch.Tensor, shape (n, n_atoms, 3)
        Cartesian, Å.
    """
    images = torch.tensor(list(product((-1, 0, 1), repeat=3)), dtype=cells.dtype)
    offsets = (images.to(cells.device) @ cells)[:, None]
    ways = ((target - start) @ cells)[:, :, None] + offsets
    shortest = ways.square().sum(-1).argmin(-1)
    return ways.take_along_dim(shortest[:, :, None, None], dim=2).squeeze(2)


def score_loss(found: torch.Tensor, way: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Return the loss of denoising score matching.

    With noise σ the score of one atom around its place is way / σ², and the network gives it times
    σ: 0.5 σ² |way / σ² - found / σ|², so that all levels weigh the same.

    Parameters
    ----------
    found : torch.Tensor, shape (n, n_atoms, 3)
        What the network gives.
    way : torch.Tensor, shape (n, n_atoms, 3)
        From the noisy atoms to their places, Å.
    sigmas : torch.Tensor, shape (n,)
        Noise of each structure, Å.

    Returns
    -------
    torch.Tensor
        Mean over atoms and structures.
    """
    return 0.5 * (way / sigmas[:, None, None] - found).square().sum(-1).mean()


def noised_species(
    numbers: torch.Tensor, composition: torch.Tensor, sigmas: torch.Tensor, draws: torch.Tensor
) -> torch.Tensor:
    """Replace species by others, the more the larger the noise.

    Parameters
    ----------
    numbers : torch.Tensor, shape (n, n_atoms)
        Atomic numbers.
    composition : torch.Tensor, shape (n, n_numbers)
        Probability of each atomic number from 1.
    sigmas : torch.Tensor, shape (n,)
        Weight of the composition beside the true species, which has weight 1.
    draws : torch.Tensor, shape (n, n_atoms)
        Uniform random numbers in [0, 1).
    """
    true = functional.one_hot(numbers - 1, composition.shape[-1])
    weights = true + (sigmas[:, None] * composition)[:, None]
    edges = weights.cumsum(-1)
    beyond = edges <= draws[..., None] * edges[..., -1:]
    return beyond.sum(-1).clamp(max=composition.shape[-1] - 1) + 1


def species_loss(logits: torch.Tensor, numbers: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of denoised species over their noise, mean over all atoms.

    Parameters
    ----------
    logits : torch.Tensor, shape (n, n_atoms, n_numbers)
        Of each atomic number from 1.
    numbers : torch.Tensor, shape (n, n_atoms)
        True atomic numbers.
    sigmas : torch.Tensor, shape (n,)
        Noise of each structure's species.
    """
    losses = functional.cross_entropy(logits.movedim(-1, 1), numbers - 1, reduction="none")
    return (losses / sigmas[:, None]).mean()
