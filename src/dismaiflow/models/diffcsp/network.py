"""The network of DiffCSP: messages between all pairs of atoms, in fractional coordinates.

Jiao et al., "Crystal structure prediction by joint equivariant diffusion", NeurIPS 2023
(arXiv:2309.04475), equations 5 to 8. Fractional differences enter as plane waves, so that neither a
translation of all atoms nor one of any atom by a cell vector matters.

The first layer of a message is linear in waves that belong to pairs: cosines, which both directions
of a pair share, and sines, which change sign. It is worked out once for each pair and used for both
directions, and the part that depends on single atoms is worked out for single atoms: the same
numbers at about half the work.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

#: Atomic numbers that have an embedding, as published.
N_SPECIES = 100

#: Entries of the metric tensor.
_METRIC = 9


class CSPLayer(nn.Module):
    """One step of message passing, with the layer normalised before.

    Parameters
    ----------
    hidden : int
        Channels of an atom.
    n_waves : int
        Sines, or cosines, of a pair.
    """

    def __init__(self, hidden: int, n_waves: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        # In this order: atom, its neighbour, metric tensor, sines, cosines.
        self.edge_in = nn.Linear(2 * hidden + _METRIC + 2 * n_waves, hidden)
        self.edge_out = nn.Linear(hidden, hidden)
        self.node_in = nn.Linear(2 * hidden, hidden)
        self.node_out = nn.Linear(hidden, hidden)
        self._parts = [hidden, hidden, _METRIC, n_waves, n_waves]

    def forward(self, nodes: torch.Tensor, metric: torch.Tensor, waves: PairWaves) -> torch.Tensor:
        """Return the atoms' channels after the step.

        Parameters
        ----------
        nodes : torch.Tensor, shape (n, n_atoms, hidden)
            Channels of the atoms.
        metric : torch.Tensor, shape (n, 9)
            Scalar products of the cell vectors, Å^2.
        waves : PairWaves
            Plane waves of all pairs.
        """
        here = self.norm(nodes)
        own, other, cell, odd, even = self.edge_in.weight.split(self._parts, dim=1)
        # What comes from the atom itself and from the cell, and what from its neighbour.
        centre = functional.linear(here, own, self.edge_in.bias)
        centre = centre + functional.linear(metric, cell)[:, None]
        neighbour = functional.linear(here, other)
        sines = functional.linear(waves.sines, odd)
        cosines = functional.linear(waves.cosines, even)
        i, j = waves.first, waves.second
        forth = self._message(centre[:, i] + neighbour[:, j] + cosines + sines)
        back = self._message(centre[:, j] + neighbour[:, i] + cosines - sines)
        # An atom and itself are a pair too, of one direction.
        back = back * waves.distinct[:, None]
        summed = waves.sum_by_atom(forth, back)
        mean = summed / nodes.shape[1]
        out = functional.silu(self.node_in(torch.cat([here, mean], dim=-1)))
        return nodes + functional.silu(self.node_out(out))

    def _message(self, first: torch.Tensor) -> torch.Tensor:
        return functional.silu(self.edge_out(functional.silu(first)))


class PairWaves:
    """Plane waves of the fractional differences of all pairs, each pair once.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates.
    n_frequencies : int
        Waves per direction, the constant one included.

    Attributes
    ----------
    first, second : torch.Tensor, shape (n_pairs,)
        Atoms of each pair, the first not above the second.
    distinct : torch.Tensor, shape (n_pairs,)
        0 for an atom and itself, else 1.
    sines, cosines : torch.Tensor, shape (n, n_pairs, 3 n_frequencies)
        Of 2π k times the difference, second minus first; direction after direction.
    """

    def __init__(self, fractions: torch.Tensor, n_frequencies: int) -> None:
        n_atoms, device = fractions.shape[1], fractions.device
        self.n_atoms = n_atoms
        self.first, self.second = torch.triu_indices(n_atoms, n_atoms, device=device)
        self.distinct = (self.first != self.second).to(fractions.dtype)
        steps = 2 * math.pi * torch.arange(n_frequencies, device=device, dtype=fractions.dtype)
        # Waves of single atoms; those of pairs follow by the addition theorems.
        phases = (fractions[..., None] * steps).flatten(2)
        sin, cos = phases.sin(), phases.cos()
        s_i, c_i = sin[:, self.first], cos[:, self.first]
        s_j, c_j = sin[:, self.second], cos[:, self.second]
        self.sines = torch.addcmul(s_j * c_i, c_j, s_i, value=-1)
        self.cosines = torch.addcmul(c_j * c_i, s_j, s_i)

    def sum_by_atom(self, forth: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        """Sum messages by the atom that they reach: the first of a pair, or going back the second.

        Parameters
        ----------
        forth, back : torch.Tensor, shape (n, n_pairs, channels)
            Messages to the first and to the second atom.
        """
        # In full precision, also where the messages are not: hundreds are added up.
        sums = self.distinct.new_zeros(forth.shape[0], self.n_atoms, forth.shape[2])
        sums = sums.index_add(1, self.first, forth.to(sums.dtype))
        return sums.index_add(1, self.second, back.to(sums.dtype))


class CSPNet(nn.Module):
    """Predicts the noise of fractional coordinates and of the cell.

    Parameters
    ----------
    hidden, layers, n_frequencies, time_dim : int
        See `DiffCSPSettings`.
    """

    def __init__(self, hidden: int, layers: int, n_frequencies: int, time_dim: int) -> None:
        super().__init__()
        self.n_frequencies, self.time_dim = n_frequencies, time_dim
        self.species = nn.Embedding(N_SPECIES, hidden)
        self.enter = nn.Linear(hidden + time_dim, hidden)
        waves = 3 * n_frequencies
        self.layers = nn.ModuleList([CSPLayer(hidden, waves) for _ in range(layers)])
        self.norm = nn.LayerNorm(hidden)
        self.coordinates = nn.Linear(hidden, 3, bias=False)
        self.lattice = nn.Linear(hidden, _METRIC, bias=False)

    def forward(
        self,
        times: torch.Tensor,
        numbers: torch.Tensor,
        fractions: torch.Tensor,
        cells: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what stands in for the noise.

        Parameters
        ----------
        times : torch.Tensor, shape (n,)
            Noise levels, 1 to T.
        numbers : torch.Tensor, shape (n, n_atoms)
            Atomic numbers.
        fractions : torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates.
        cells : torch.Tensor, shape (n, 3, 3)
            Cell vectors as rows, Å.

        Returns
        -------
        coordinates : torch.Tensor, shape (n, n_atoms, 3)
            Minus the score of the fractional coordinates, over its root mean square at this level.
        lattice : torch.Tensor, shape (n, 3, 3)
            Noise of the cell.
        """
        time = time_features(times, self.time_dim).to(fractions.dtype)
        known = self.species(numbers - 1)
        spread = time[:, None].expand(-1, known.shape[1], -1)
        nodes = self.enter(torch.cat([known, spread], dim=-1))
        metric = (cells @ cells.transpose(1, 2)).flatten(1)
        waves = PairWaves(fractions, self.n_frequencies)
        for layer in self.layers:
            nodes = layer(nodes, metric, waves)
        nodes = self.norm(nodes)
        lattice = self.lattice(nodes.mean(1)).view(-1, 3, 3) @ cells
        return self.coordinates(nodes), lattice


def time_features(times: torch.Tensor, n_channels: int) -> torch.Tensor:
    """Return sines and cosines of a time step, shape (n, n_channels)."""
    half = n_channels // 2
    rates = torch.exp(
        -math.log(10_000)
        / (half - 1)
        * torch.arange(half, device=times.device, dtype=torch.float32)
    )
    phases = times[:, None].float() * rates
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
