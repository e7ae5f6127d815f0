"""A critic of crystal graphs (paper, section 4.2.5; Xie and Grossman 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.cryingan.critics import Inputs
    from dismaiflow.models.nn.neighbors import PeriodicNeighbors


class _Convolution(nn.Module):
    """Adds to each atom what its bonds and neighbours say, through a gate."""

    def __init__(self, n_features: int, n_bond_features: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * n_features + n_bond_features, 2 * n_features)
        self.norm_bonds = nn.BatchNorm1d(2 * n_features)
        self.norm_atoms = nn.BatchNorm1d(n_features)

    def forward(
        self, atoms: torch.Tensor, bonds: torch.Tensor, neighbors: torch.Tensor
    ) -> torch.Tensor:
        """Take one step: atoms (n, n_features), bonds (n, k, n_bond_features), index (n, k)."""
        k = neighbors.shape[1]
        around = atoms[neighbors]
        own = atoms[:, None].expand(-1, k, -1)
        mixed = self.mix(torch.cat([own, around, bonds], dim=2))
        mixed = self.norm_bonds(mixed.flatten(0, 1)).view(mixed.shape)
        gate, core = mixed.chunk(2, dim=2)
        message = (torch.sigmoid(gate) * functional.softplus(core)).sum(1)
        return functional.softplus(atoms + self.norm_atoms(message))


class GraphCritic(nn.Module):
    """A CGCNN whose output estimates the Wasserstein distance instead of a property.

    Parameters
    ----------
    counts : sequence of int
        Atoms of each species, in the order of the atoms.
    neighbors : PeriodicNeighbors
        Finds the bonds.
    n_features, n_convolutions, n_hidden : int
        Channels of an atom, convolutions, channels after pooling.
    radius, step : float
        Last centre, spacing and width of the Gaussians of a bond distance, Å.

    Notes
    -----
    The published CGCNN looks up fixed properties of the elements and passes them through a linear
    layer. With few fixed species any vectors can come out of that, so they are learned directly.
    """

    species: torch.Tensor
    centres: torch.Tensor

    def __init__(
        self,
        counts: Sequence[int],
        neighbors: PeriodicNeighbors,
        n_features: int = 64,
        n_convolutions: int = 3,
        n_hidden: int = 128,
        radius: float = 8.0,
        step: float = 0.2,
    ) -> None:
        super().__init__()
        self.neighbors, self.step = neighbors, step
        species = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(list(counts)))
        self.register_buffer("species", species, persistent=False)
        n_centres = round(radius / step) + 1
        self.register_buffer("centres", torch.arange(n_centres) * step, persistent=False)
        # A linear layer on one-hot species, so that it is initialised like all others.
        self.embedding = nn.Linear(len(counts), n_features, bias=False)
        self.convolutions = nn.ModuleList(
            [_Convolution(n_features, n_centres) for _ in range(n_convolutions)]
        )
        self.hidden = nn.Linear(n_features, n_hidden)
        self.last = nn.Linear(n_hidden, 1)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return the output for a batch of fractional coordinates, shape (n, 1)."""
        (fractions,) = inputs
        n, n_atoms, _ = fractions.shape
        found = self.neighbors.find(fractions)
        first = torch.arange(n, device=fractions.device)[:, None, None] * n_atoms
        index = (found.atoms + first).flatten(0, 1)
        apart = found.distances.flatten(0, 1)[..., None] - self.centres
        bonds = torch.exp(-((apart / self.step) ** 2))
        atoms = self.embedding.weight.T[self.species].repeat(n, 1)
        for convolution in self.convolutions:
            atoms = convolution(atoms, bonds, index)
        pooled = functional.softplus(atoms.view(n, n_atoms, -1).mean(1))
        output: torch.Tensor = self.last(functional.softplus(self.hidden(pooled)))
        return output

    def both(self, real: Inputs, fake: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs for real and generated structures, each normalised by itself."""
        return self(real), self(fake)

    def input_gradients(self, inputs: Inputs) -> Inputs:
        """Return the gradient of the sum of the outputs with respect to the coordinates."""
        leaves = [part.detach().requires_grad_() for part in inputs]
        with torch.enable_grad():
            return list(torch.autograd.grad(self(leaves).sum(), leaves, create_graph=True))
