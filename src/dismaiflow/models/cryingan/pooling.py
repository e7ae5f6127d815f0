"""Pooling of atoms by species, and how gradients come back through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.cryingan.settings import Pooling


def pooled_width(n_channels: int, n_species: int, kind: Pooling) -> int:
    """Return the number of pooled features of a structure."""
    return n_channels * n_species * (2 if kind == "mix" else 1)


def pool(atoms: torch.Tensor, counts: Sequence[int], kind: Pooling) -> torch.Tensor:
    """Pool the features of the atoms of each species (paper, section 2.4; SI, Fig. S31).

    Parameters
    ----------
    atoms : torch.Tensor, shape (n_structures, n_atoms, n_channels)
        Features, atoms grouped by species.
    counts : sequence of int
        Atoms of each species.
    kind : {"mean", "max", "mix"}
        Mix is mean and maximum side by side, as in PointNet-Mix (Wang et al., arXiv:2006.07029).

    Returns
    -------
    torch.Tensor, shape (n_structures, `pooled_width`)
        Species after species; for mix, all means before all maxima.
    """
    parts = atoms.split(list(counts), dim=1)
    pooled: list[torch.Tensor] = []
    if kind in ("mean", "mix"):
        pooled += [part.mean(1) for part in parts]
    if kind in ("max", "mix"):
        pooled += [part.max(1).values for part in parts]
    return torch.cat(pooled, dim=1)


def pull(
    upstream: torch.Tensor, atoms: torch.Tensor, counts: Sequence[int], kind: Pooling
) -> torch.Tensor:
    """Bring a gradient with respect to what `pool` returns back to the atoms.

    Parameters
    ----------
    upstream : torch.Tensor, shape (n_structures, `pooled_width`)
        The gradient; what is returned is linear in it, and differentiable.
    atoms, counts, kind
        As they were pooled; which atom has the maximum is constant.

    Returns
    -------
    torch.Tensor, shape (n_structures, n_atoms, n_channels)
        The gradient with respect to ``atoms``.
    """
    found = torch.zeros((), dtype=atoms.dtype, device=atoms.device)
    given = upstream.unflatten(1, (-1, 1, atoms.shape[2]))
    n_species = len(counts)
    if kind in ("mean", "mix"):
        # Scaled before they are spread: a structure has fewer species than atoms.
        shares = [given[:, s] / count for s, count in enumerate(counts)]
        found = torch.cat([x.expand(-1, n, -1) for x, n in zip(shares, counts, strict=True)], 1)
    if kind in ("max", "mix"):
        first = given.shape[1] - n_species
        spread = [
            torch.zeros_like(part).scatter(
                1, part.max(1, keepdim=True).indices, given[:, first + s]
            )
            for s, part in enumerate(atoms.split(list(counts), dim=1))
        ]
        found = found + torch.cat(spread, dim=1)
    return found


def push(
    change: torch.Tensor, atoms: torch.Tensor, counts: Sequence[int], kind: Pooling
) -> torch.Tensor:
    """Return how what `pool` returns changes with the features: `pull` transposed.

    Parameters
    ----------
    change : torch.Tensor, shape (n_structures, n_atoms, n_channels)
        A small change of ``atoms``.
    atoms, counts, kind
        As they were pooled; which atom has the maximum is constant.

    Returns
    -------
    torch.Tensor, shape (n_structures, `pooled_width`)
        The change that follows.
    """
    parts, sizes = change.split(list(counts), dim=1), list(counts)
    pooled: list[torch.Tensor] = []
    if kind in ("mean", "mix"):
        pooled += [part.mean(1) for part in parts]
    if kind in ("max", "mix"):
        pooled += [
            part.gather(1, of.max(1, keepdim=True).indices)[:, 0]
            for part, of in zip(parts, atoms.split(sizes, dim=1), strict=True)
        ]
    return torch.cat(pooled, dim=1)
