"""The encoder of CDVAE: DimeNet++ on the bonds of a crystal.

Gasteiger et al., arXiv:2011.14115 and arXiv:2003.03123, with the sizes of CDVAE (arXiv:2110.06197).
Messages live on edges; a triplet is an edge, and an edge of the neighbour that it leads to. Sums
over triplets are products of small matrices, one per edge: what belongs to single triplets has
`basis` channels, never `hidden` ones.

One deviation: the published code leaves out all triplets that end at an atom where they began, also
at another image of it; here only those that go back the same way, which is what the method means.
They are the same where no atom is bonded to two images of another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.cdvae.basis import BesselRadial, SphericalRadial, harmonics
from dismaiflow.models.cdvae.graph import leads_back, measure

if TYPE_CHECKING:
    from dismaiflow.models.cdvae.graph import Edges, PaddedGraph

#: Atomic numbers that have an embedding.
N_SPECIES = 100


class Encoder(nn.Module):
    """A crystal as one vector, whatever the origin, axes and order of atoms.

    Parameters
    ----------
    out_dim : int
        Length of the vector.
    hidden, blocks : int
        Channels of an edge; interaction blocks.
    interaction, basis : int
        Channels of an edge in sums over triplets, and of a triplet.
    output, output_layers : int
        Channels of an atom, and layers on them, before each output.
    before_skip, after_skip : int
        Residual layers in a block.
    n_spherical, n_radial : int
        Functions of angles and of distances.
    cutoff : float
        In Å; longer edges carry nothing.
    envelope_exponent : int
        How smoothly.
    """

    def __init__(
        self,
        out_dim: int = 256,
        hidden: int = 128,
        blocks: int = 4,
        interaction: int = 64,
        basis: int = 8,
        output: int = 256,
        output_layers: int = 3,
        before_skip: int = 1,
        after_skip: int = 2,
        n_spherical: int = 7,
        n_radial: int = 6,
        cutoff: float = 7.0,
        envelope_exponent: int = 5,
    ) -> None:
        super().__init__()
        self.cutoff, self.n_spherical = cutoff, n_spherical
        self.radial = BesselRadial(n_radial, cutoff, envelope_exponent)
        self.spherical = SphericalRadial(n_spherical, n_radial, cutoff, envelope_exponent)
        self.species = nn.Embedding(N_SPECIES, hidden)
        nn.init.uniform_(self.species.weight, -math.sqrt(3), math.sqrt(3))
        self.enter_radial = nn.Linear(n_radial, hidden)
        self.enter = nn.Linear(3 * hidden, hidden)
        self.interactions = nn.ModuleList(
            _Interaction(hidden, interaction, basis, n_radial, n_spherical, before_skip, after_skip)
            for _ in range(blocks)
        )
        self.outputs = nn.ModuleList(
            _Output(n_radial, hidden, output, output_layers, out_dim) for _ in range(blocks + 1)
        )

    def forward(
        self,
        fractions: torch.Tensor,
        numbers: torch.Tensor,
        cells: torch.Tensor,
        graph: PaddedGraph,
    ) -> torch.Tensor:
        """Return the vectors, shape (n, out_dim).

        Parameters
        ----------
        fractions : torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates.
        numbers : torch.Tensor, shape (n, n_atoms)
            Atomic numbers.
        cells : torch.Tensor, shape (n, 3, 3)
            Cell vectors as rows, Å.
        graph : PaddedGraph
            Bonds.
        """
        edges = measure(graph, fractions, cells, self.cutoff)
        radial = self.radial(edges.distances) * edges.mask
        triplets = self.triplets(graph, edges)
        known = self.species(numbers - 1)
        ends = known[:, :, None].expand(-1, -1, radial.shape[2], -1)
        first = functional.silu(self.enter_radial(radial))
        messages = torch.cat([ends, edges.of_neighbors(known), first], dim=-1)
        messages = functional.silu(self.enter(messages))
        total = self.outputs[0](messages, radial)
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            messages = interaction(messages, radial, triplets, edges)
            total = total + output(messages, radial)
        return total.mean(1)

    def triplets(self, graph: PaddedGraph, edges: Edges) -> torch.Tensor:
        """Return the basis of triplets, shape (n, n_atoms, k, k, n_spherical * n_radial).

        For each edge, and for each edge of the neighbour that it leads to.
        """
        onward = edges.of_neighbors(edges.units)
        # Of the angle at the neighbour, whose directions are back and onward.
        cosines = -(edges.units[..., None, :] * onward).sum(-1)
        angular = harmonics(self.n_spherical, cosines)
        angular = angular * ~leads_back(graph, edges)[..., None]
        lengths = self.spherical(edges.distances) * edges.mask[..., None]
        return (edges.of_neighbors(lengths) * angular[..., None]).flatten(-2)


class _Interaction(nn.Module):
    """Changes messages by those that come from the neighbours' other edges."""

    def __init__(
        self,
        hidden: int,
        interaction: int,
        basis: int,
        n_radial: int,
        n_spherical: int,
        before_skip: int,
        after_skip: int,
    ) -> None:
        super().__init__()
        self.radial = nn.Sequential(
            _linear(n_radial, basis, bias=False), _linear(basis, hidden, bias=False)
        )
        self.triplet_in = _linear(n_spherical * n_radial, basis, bias=False)
        self.triplet_out = _linear(basis, interaction, bias=False)
        self.own = _linear(hidden, hidden)
        self.other = _linear(hidden, hidden)
        self.down = _linear(hidden, interaction, bias=False)
        self.up = _linear(interaction, hidden, bias=False)
        self.before = nn.Sequential(*(_Residual(hidden) for _ in range(before_skip)))
        self.skip = _linear(hidden, hidden)
        self.after = nn.Sequential(*(_Residual(hidden) for _ in range(after_skip)))

    def forward(
        self, messages: torch.Tensor, radial: torch.Tensor, triplets: torch.Tensor, edges: Edges
    ) -> torch.Tensor:
        own = functional.silu(self.own(messages))
        other = functional.silu(self.other(messages)) * self.radial(radial)
        # Nothing where there is no edge: neither the basis nor these layers have a constant.
        other = functional.silu(self.down(other))
        weights = self.triplet_in(triplets).transpose(-1, -2)
        summed = weights @ edges.of_neighbors(other).to(weights.dtype)
        # The second layer of the weights after the sum, where triplets are summed up.
        summed = (summed * self.triplet_out.weight.T).sum(-2)
        changed = own + functional.silu(self.up(summed))
        changed = self.before(changed)
        changed = functional.silu(self.skip(changed)) + messages
        return self.after(changed)


class _Output(nn.Module):
    """What the messages to an atom add to its vector: at first nothing, as published."""

    def __init__(self, n_radial: int, hidden: int, output: int, layers: int, out_dim: int) -> None:
        super().__init__()
        self.radial = _linear(n_radial, hidden, bias=False)
        self.up = _linear(hidden, output)
        self.layers = nn.ModuleList(_linear(output, output) for _ in range(layers))
        self.out = nn.Linear(output, out_dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, messages: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
        atoms = self.up((self.radial(radial) * messages).sum(2))
        for layer in self.layers:
            atoms = functional.silu(layer(atoms))
        return self.out(atoms)


class _Residual(nn.Module):
    """Two layers and what they were given."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first, self.second = _linear(hidden, hidden), _linear(hidden, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + functional.silu(self.second(functional.silu(self.first(x))))


def _linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    """Return a layer with orthogonal weights of variance 2 / (n_in + n_out), and no bias at first.

    As DimeNet begins.
    """
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.orthogonal_(layer.weight)
    with torch.no_grad():
        layer.weight *= math.sqrt(2 / ((n_in + n_out) * layer.weight.var().item()))
        if bias:
            layer.bias.zero_()
    return layer
