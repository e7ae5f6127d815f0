"""The decoder of CDVAE: GemNet-dT, which points from noisy positions to clean ones.

Gasteiger et al., arXiv:2106.08903, with the sizes and the latent vector of CDVAE, Xie et al.,
arXiv:2110.06197. Messages live on edges from an atom to its neighbours; triplets are pairs of edges
of one atom, so that a padded array of edges holds them without any search. The noise level is not
given.

Deviations from the published code:

- Edges. GemNet lets what is known of an edge at one end reach the other end, which needs each edge
  in both directions; among k nearest neighbours some lead one way only. The published code keeps
  the edges that lead to atoms of higher number and turns them round, so that its result depends on
  the order of atoms, and an atom may lose all its neighbours. Here every atom keeps its own k
  nearest, and an edge without counterpart just receives nothing from the other end. Cost and memory
  are those of k neighbours; the result does not depend on the order. Where all edges have
  counterparts both codes agree to rounding.
- Energies. The published network also sums up an energy of which nothing is ever used: 467,456 of
  its 2,332,288 weights. It is left out, which changes no result.
- Scale factors follow from formulas, not from a fit to other structures: see `gemnet_layers`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from dismaiflow.models.cdvae.basis import GaussianRadial, harmonics
from dismaiflow.models.cdvae.encoder import N_SPECIES
from dismaiflow.models.cdvae.gemnet_layers import (
    AngularBasis,
    Bilinear,
    Dense,
    Residual,
    Scales,
    merged,
    plain,
    stack,
)
from dismaiflow.models.cdvae.graph import find_graph, leads_back, measure

if TYPE_CHECKING:
    from dismaiflow.models.cdvae.graph import Edges, PaddedGraph

#: Exponent of the envelope, GemNet's.
_EXPONENT = 5


class Decoder(nn.Module):
    """Vectors on atoms, which turn with the structure, and if wanted what species they are.

    Parameters
    ----------
    latent_dim : int
        Length of the latent vector.
    hidden, blocks : int
        Channels of atoms and of edges; interaction blocks.
    interaction : int, optional
        Channels of an edge in sums over triplets; by default half of `hidden`, as published.
    basis : int
        Channels of functions of distance and angle.
    n_radial, n_spherical : int
        Functions of distances and of angles.
    before_skip, after_skip, after_atoms, atom_layers : int
        Residual layers on edges before and after the skip connection and after atoms were added,
        and on atoms.
    cutoff : float
        In Å.
    n_neighbors : int
        Of an atom at most.
    species_denoising : bool
        Whether it tells species.
    n_species : int
        Of how many, from hydrogen on.
    """

    def __init__(
        self,
        latent_dim: int = 256,
        hidden: int = 128,
        blocks: int = 3,
        interaction: int | None = None,
        basis: int = 16,
        n_radial: int = 128,
        n_spherical: int = 7,
        before_skip: int = 1,
        after_skip: int = 2,
        after_atoms: int = 1,
        atom_layers: int = 3,
        cutoff: float = 7.0,
        n_neighbors: int = 20,
        species_denoising: bool = False,
        n_species: int = N_SPECIES,
    ) -> None:
        super().__init__()
        self.cutoff, self.n_neighbors, self.n_spherical = cutoff, n_neighbors, n_spherical
        interaction = max(1, hidden // 2) if interaction is None else interaction
        scales = Scales.of(n_radial, cutoff, _EXPONENT, n_neighbors)
        self.radial = GaussianRadial(n_radial, cutoff, _EXPONENT)
        self.species = nn.Embedding(n_species, hidden)
        nn.init.uniform_(self.species.weight, -math.sqrt(3), math.sqrt(3))
        self.with_latent = nn.Linear(hidden + latent_dim, hidden)
        self.enter = Dense(2 * hidden + n_radial, hidden)
        # Shared by all blocks.
        self.radial_triplets = plain(n_radial, basis)
        self.radial_atoms = plain(n_radial, basis)
        self.radial_out = plain(n_radial, basis)
        self.angular = AngularBasis(n_spherical, n_radial, basis)
        self.interactions = nn.ModuleList(
            _Interaction(
                _Triplets(hidden, interaction, basis, scales),
                _AtomUpdate(hidden, basis, atom_layers, scales),
                hidden,
                (before_skip, after_skip, after_atoms),
            )
            for _ in range(blocks)
        )
        self.outputs = nn.ModuleList(
            _Output(hidden, basis, atom_layers, scales) for _ in range(blocks + 1)
        )
        self.tell_species = nn.Linear(hidden, n_species) if species_denoising else None

    def forward(
        self,
        z: torch.Tensor,
        fractions: torch.Tensor,
        numbers: torch.Tensor,
        cells: torch.Tensor,
        graph: PaddedGraph | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return vectors and species.

        Parameters
        ----------
        z : torch.Tensor, shape (n, latent_dim)
            Latent vectors.
        fractions : torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates.
        numbers : torch.Tensor, shape (n, n_atoms)
            Atomic numbers.
        cells : torch.Tensor, shape (n, 3, 3)
            Cell vectors as rows, Å.
        graph : PaddedGraph, optional
            Neighbours; found if not given.

        Returns
        -------
        vectors : torch.Tensor, shape (n, n_atoms, 3)
            Cartesian.
        species : torch.Tensor, shape (n, n_atoms, n_species), or None
            Logits of the species.
        """
        if graph is None:
            graph = find_graph(fractions, cells, self.cutoff, self.n_neighbors)
        edges = measure(graph, fractions, cells, self.cutoff)
        radial = self.radial(edges.distances) * edges.mask
        surroundings = _Surroundings(
            edges,
            self.angles(edges),
            self.angular(radial),
            self.radial_triplets(radial),
            self.radial_atoms(radial),
            _Counterparts(graph, edges),
        )
        known = self.species(numbers - 1)
        spread = z[:, None].expand(-1, known.shape[1], -1).to(known.dtype)
        atoms = self.with_latent(torch.cat([known, spread], dim=-1))
        messages = self.enter(_with_atoms(atoms, radial, edges))
        out = self.radial_out(radial)
        lengths = self.outputs[0](messages, out)
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            atoms, messages = interaction(atoms, messages, surroundings)
            lengths = lengths + output(messages, out)
        # From neighbour to atom, as published.
        vectors = -(lengths.to(edges.units.dtype) * edges.units).sum(2)
        return vectors, None if self.tell_species is None else self.tell_species(atoms)

    def angles(self, edges: Edges) -> torch.Tensor:
        """Return functions of angles between edges, shape (n, n_atoms, k * n_spherical, k).

        0 for an edge and itself.
        """
        units = edges.units
        cosines = (units[..., None, :] * units[..., None, :, :]).sum(-1)
        k = cosines.shape[-1]
        others = 1 - torch.eye(k, dtype=cosines.dtype, device=cosines.device)
        values = harmonics(self.n_spherical, cosines, dim=-2) * others[:, None]
        return values.flatten(2, 3)


class _Counterparts:
    """Which edge leads the other way.

    Parameters
    ----------
    graph : PaddedGraph
        Edges.
    edges : Edges
        The same with their lengths.
    """

    def __init__(self, graph: PaddedGraph, edges: Edges) -> None:
        back = leads_back(graph, edges)
        k = back.shape[-1]
        self._places = edges.rows * k + back.to(torch.uint8).argmax(-1).flatten()
        self._found = back.any(-1, keepdim=True).to(edges.distances.dtype)

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Return the channels of the edge that leads the other way, or 0 where there is none."""
        turned = x.flatten(0, 2).index_select(0, self._places).view(x.shape)
        return turned * self._found.to(x.dtype)


class _Surroundings:
    """What blocks share, and does not change."""

    def __init__(
        self,
        edges: Edges,
        angles: torch.Tensor,
        angular: torch.Tensor,
        triplets: torch.Tensor,
        atoms: torch.Tensor,
        counterparts: _Counterparts,
    ) -> None:
        self.edges, self.angles, self.angular = edges, angles, angular
        self.triplets, self.atoms, self.counterparts = triplets, atoms, counterparts


def _with_atoms(atoms: torch.Tensor, messages: torch.Tensor, edges: Edges) -> torch.Tensor:
    """Return channels of the neighbour, of the atom and of the edge, in this order."""
    here = atoms[:, :, None].expand(-1, -1, messages.shape[2], -1)
    parts = [edges.of_neighbors(atoms), here, messages.to(atoms.dtype)]
    return torch.cat(parts, dim=-1)


class _Triplets(nn.Module):
    """What the other edges of an atom, and of its neighbour, tell an edge."""

    def __init__(self, hidden: int, interaction: int, basis: int, scales: Scales) -> None:
        super().__init__()
        self.scales = scales
        self.enter = Dense(hidden, hidden)
        self.radial = plain(basis, hidden)
        self.down = Dense(hidden, interaction)
        self.bilinear = Bilinear(interaction, basis, interaction)
        self.up = Dense(interaction, hidden)
        self.up_counterpart = Dense(interaction, hidden)

    def forward(self, messages: torch.Tensor, around: _Surroundings) -> torch.Tensor:
        x = self.enter(messages) * self.radial(around.triplets) * self.scales.product
        x = self.bilinear(self.down(x), around.angular, around.angles) * self.scales.triplets
        return merged(self.up(x), self.up_counterpart(around.counterparts.of(x)))


class _AtomUpdate(nn.Module):
    """What the edges of an atom tell it."""

    def __init__(self, hidden: int, basis: int, layers: int, scales: Scales) -> None:
        super().__init__()
        self.scales = scales
        self.radial = plain(basis, hidden)
        self.layers = stack(hidden, hidden, layers)

    def forward(self, messages: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = (messages * self.radial(radial)).sum(2) * self.scales.total
        return self.layers(summed)


class _Interaction(nn.Module):
    """Changes edges by edges, atoms by edges and edges by atoms."""

    def __init__(
        self, triplets: _Triplets, atoms: _AtomUpdate, hidden: int, residuals: tuple[int, int, int]
    ) -> None:
        super().__init__()
        before, after, after_atoms = residuals
        self.triplets, self.atoms = triplets, atoms
        self.own = Dense(hidden, hidden)
        self.before = nn.Sequential(*(Residual(hidden) for _ in range(before)))
        self.after = nn.Sequential(*(Residual(hidden) for _ in range(after)))
        self.from_atoms = stack(3 * hidden, hidden, after_atoms)

    def forward(
        self, atoms: torch.Tensor, messages: torch.Tensor, around: _Surroundings
    ) -> tuple[torch.Tensor, torch.Tensor]:
        changed = merged(self.own(messages), self.triplets(messages, around))
        messages = self.after(merged(messages, self.before(changed)))
        atoms = merged(atoms, self.atoms(messages, around.atoms))
        changed = self.from_atoms(_with_atoms(atoms, messages, around.edges))
        return atoms, merged(messages, changed)


class _Output(nn.Module):
    """How far an atom is pushed along each of its edges, shape (n, n_atoms, k, 1)."""

    def __init__(self, hidden: int, basis: int, layers: int, scales: Scales) -> None:
        super().__init__()
        self.scales = scales
        self.layers = stack(hidden, hidden, layers)
        self.radial = plain(basis, hidden)
        self.out = plain(hidden, 1)

    def forward(self, messages: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
        x = self.layers(messages) * self.radial(radial) * self.scales.product
        return self.out(x)
