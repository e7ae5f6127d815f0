"""Graphs of periodic structures as padded arrays: the nearest neighbours of every atom.

All structures of a batch have the same number of atoms and every atom has the same number of places
for neighbours, so that sums over neighbours are sums over an axis: no compiled extension, and the
same result each time. `dismaiflow.models.nn.neighbors` serves structures that share a cell and need
distances alone; here cells differ, a distance limits neighbours, and edges must tell the image that
they lead to.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from ase.geometry import minkowski_reduce

from dismaiflow.errors import DismaiError

#: Pairs that are compared at once: what fits the cache of a processor, and a GPU's memory.
_PAIRS = {"cpu": 2**19, "cuda": 2**25}

#: Atoms closer than this (Å) are no neighbours, as published: an atom itself above all.
SHORTEST = 1e-2

#: Steps of squared distances (per Å^2) below which two of them count as equal. Rounding then does
#: not decide between neighbours of an ideal lattice, whose order follows atoms and images.
_STEPS = 1024

#: Key of what is no neighbour; one that is also a floating-point number, for padding.
_NONE = 2**62


class PaddedGraph(NamedTuple):
    """Edges from atoms to their neighbours, nearest first.

    Attributes
    ----------
    atoms : torch.Tensor, shape (n, n_atoms, k)
        Which atom a neighbour is, int64; 0 where there is none.
    shifts : torch.Tensor, shape (n, n_atoms, k, 3)
        By how many cell vectors its image is moved, int32.
    mask : torch.Tensor, shape (n, n_atoms, k)
        Whether there is a neighbour, bool.
    """

    atoms: torch.Tensor
    shifts: torch.Tensor
    mask: torch.Tensor

    def to(self, device: str | torch.device) -> PaddedGraph:
        """Return the graph on a device."""
        return PaddedGraph(*(part.to(device) for part in self))

    def select(self, structures: torch.Tensor) -> PaddedGraph:
        """Return the graph of some structures.

        Parameters
        ----------
        structures : torch.Tensor, shape (m,)
            Which, int64.
        """
        return PaddedGraph(*(part[structures] for part in self))


class Edges(NamedTuple):
    """A graph with its lengths.

    Attributes
    ----------
    rows : torch.Tensor, shape (n * n_atoms * k,)
        Which row of all atoms of the batch a neighbour is, int64.
    units : torch.Tensor, shape (n, n_atoms, k, 3)
        Directions to the neighbours, Cartesian, of length 1; 0 where there is none.
    distances : torch.Tensor, shape (n, n_atoms, k)
        In Å; not smaller than 0.01, and that of the cutoff where there is no neighbour.
    mask : torch.Tensor, shape (n, n_atoms, k, 1)
        1 where there is a neighbour, else 0; of the type of the distances.
    """

    rows: torch.Tensor
    units: torch.Tensor
    distances: torch.Tensor
    mask: torch.Tensor

    def of_neighbors(self, values: torch.Tensor) -> torch.Tensor:
        """Return for each edge what belongs to the neighbour.

        Parameters
        ----------
        values : torch.Tensor, shape (n, n_atoms, ...)
            What belongs to atoms.

        Returns
        -------
        torch.Tensor, shape (n, n_atoms, k, ...)
        """
        chosen = values.flatten(0, 1).index_select(0, self.rows)
        return chosen.view(*self.distances.shape, *values.shape[2:])


def measure(
    graph: PaddedGraph, fractions: torch.Tensor, cells: torch.Tensor, cutoff: float
) -> Edges:
    """Return lengths and directions of edges, with gradients.

    Parameters
    ----------
    graph : PaddedGraph
        Edges.
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates, wrapped as they were when the graph was found.
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.
    cutoff : float
        Stands in for the distance (Å) where there is no neighbour.
    """
    n, n_atoms, k = graph.atoms.shape
    first = n_atoms * torch.arange(n, device=graph.atoms.device)
    rows = (graph.atoms + first[:, None, None]).flatten()
    there = fractions.flatten(0, 1).index_select(0, rows).view(n, n_atoms, k, 3)
    apart = there - fractions[:, :, None] + graph.shifts
    # Products element by element: mixed precision would round those of matrices.
    vectors = (apart[..., None] * cells[:, None, None]).sum(-2)
    vectors = torch.where(graph.mask[..., None], vectors, torch.zeros_like(vectors))
    distances = vectors.square().sum(-1).clamp_min(SHORTEST**2).sqrt()
    units = vectors / distances[..., None]
    distances = torch.where(graph.mask, distances, torch.full_like(distances, cutoff))
    return Edges(rows, units, distances, graph.mask[..., None].to(distances.dtype))


def leads_back(graph: PaddedGraph, edges: Edges) -> torch.Tensor:
    """Tell which edges of a neighbour lead back to the image that the edge to it comes from.

    Returns
    -------
    torch.Tensor, shape (n, n_atoms, k, k)
        For each edge and each edge of its neighbour, bool; at most one per edge.
    """
    n_atoms = graph.atoms.shape[1]
    here = torch.arange(n_atoms, device=graph.atoms.device)[:, None, None]
    back = (edges.of_neighbors(graph.atoms) == here) & edges.of_neighbors(graph.mask)
    for axis in range(3):
        steps = graph.shifts[..., axis]
        back &= edges.of_neighbors(steps) == -steps[..., None]
    return back & graph.mask[..., None]


@torch.no_grad()
def find_graph(
    fractions: torch.Tensor, cells: torch.Tensor, cutoff: float = 7.0, k: int = 20
) -> PaddedGraph:
    """Find the nearest neighbours of all atoms within a distance.

    Exact in all cells, also in skew and small ones: images of an atom count each, those of the atom
    itself too. Of neighbours equally far away (within 1/1024 Å^2 of the squared distance) those of
    the first atoms come first, and of the images of one atom those of the first cells; but for
    rounding, neither depends on how the structure is turned or moved. A structure whose cell has no
    volume has no neighbours, nor has an atom whose place is not a number.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates; they need not be wrapped.
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å; periodic along all.
    cutoff : float
        Largest distance, Å.
    k : int
        Most neighbours of an atom.

    Returns
    -------
    PaddedGraph
        With k places for every atom.

    Raises
    ------
    DismaiError
        If cutoff or k is not positive.
    """
    if cutoff <= 0 or k < 1:
        raise DismaiError(f"a graph needs a positive cutoff and k >= 1, not {cutoff} Å and {k}")
    n, n_atoms, _ = fractions.shape
    device = fractions.device
    atoms = torch.zeros((n, n_atoms, k), dtype=torch.int64, device=device)
    shifts = torch.zeros((n, n_atoms, k, 3), dtype=torch.int32, device=device)
    mask = torch.zeros((n, n_atoms, k), dtype=torch.bool, device=device)
    alike: dict[bytes, list[int]] = {}
    for place, cell in enumerate(cells.detach().cpu().double().numpy()):
        alike.setdefault(cell.tobytes(), []).append(place)
    for cell_bytes, places in alike.items():
        images = _needed_images(cell_bytes, cutoff, k)
        if images is None:
            continue
        size = max(1, _PAIRS[device.type] // (n_atoms**2 * len(images.steps)))
        for part in torch.tensor(places, device=device).split(size):
            found = _nearest(fractions[part].double(), images, cutoff, k)
            for whole, one in zip((atoms, shifts, mask), found, strict=True):
                whole[part] = one.to(whole.dtype)
    return PaddedGraph(atoms, shifts, mask)


class _Images(NamedTuple):
    """Images of a neighbour's nearest one that can be neighbours, in a reduced cell.

    Attributes
    ----------
    cell : ndarray, shape (3, 3)
        Reduced cell vectors as rows, Å.
    of_cell : ndarray, shape (3, 3)
        Reduced cell vectors as sums of the given ones, whole numbers.
    steps : ndarray, shape (m, 3)
        Whole numbers of reduced cell vectors, in the order of the given ones.
    """

    cell: np.ndarray
    of_cell: np.ndarray
    steps: np.ndarray


@lru_cache(maxsize=4096)
def _needed_images(cell_bytes: bytes, cutoff: float, k: int) -> _Images | None:
    """Return which images may be among the neighbours, or None for a cell without volume.

    An atom has k neighbours no farther away than the k-th of its own images, which limits the
    search where cells are tiny. Relative to the nearest image along an axis, one moved by m cell
    vectors is at least (m - 1/2) heights away.
    """
    cell = np.frombuffer(cell_bytes).reshape(3, 3)
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < SHORTEST**3:
        return None
    reduced, of_cell = (np.array(part, dtype=float) for part in minkowski_reduce(cell, pbc=True))
    own = np.sort(np.linalg.norm(_box(np.full(3, -(-k // 2))) @ reduced, axis=1))
    own = own[own > SHORTEST]
    reach = min(cutoff, float(own[k - 1])) + 1e-6
    heights = 1 / np.linalg.norm(np.linalg.inv(reduced), axis=0)
    steps = _box(np.floor(reach / heights + 0.5))
    order = np.lexsort((steps @ of_cell).T[::-1])
    return _Images(reduced, of_cell, steps[order])


def _box(most: np.ndarray) -> np.ndarray:
    """Return all whole numbers from -most to most along three axes, shape (m, 3)."""
    axes = [np.arange(-m, m + 1.0) for m in most]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _nearest(
    fractions: torch.Tensor, images: _Images, cutoff: float, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return atoms, shifts and mask of the neighbours in structures that share a cell."""
    cell, of_cell, steps = (torch.from_numpy(part).to(fractions) for part in images)
    reduced = fractions @ fractions.new_tensor(np.rint(np.linalg.inv(images.of_cell)))
    apart = reduced[:, None] - reduced[:, :, None]
    rounded = apart.round()
    vectors = (apart - rounded) @ cell
    moved = steps @ cell
    # All images by one product: |v + t|^2 = |v|^2 + 2 v.t + |t|^2.
    squared = vectors @ (2 * moved.T) + moved.square().sum(-1)
    squared += vectors.square().sum(-1, keepdim=True)
    squared = squared.flatten(2)
    near = (squared > SHORTEST**2) & (squared <= cutoff**2)
    candidates = squared.shape[-1]
    keys = torch.where(near, squared * _STEPS, torch.zeros_like(squared)).long() * candidates
    keys += torch.arange(candidates, device=keys.device)
    keys = torch.where(near, keys, keys.new_tensor(_NONE))
    if candidates < k:
        keys = torch.nn.functional.pad(keys, (0, k - candidates), value=_NONE)
    least = keys.topk(k, largest=False).values
    mask = least != _NONE
    chosen = torch.where(mask, least % candidates, torch.zeros_like(least))
    atoms = chosen // len(steps)
    at = atoms[..., None].expand(-1, -1, -1, 3)
    shifts = (steps[chosen % len(steps)] - rounded.gather(2, at)) @ of_cell
    return atoms, (shifts.round() * mask[..., None]), mask
