"""Distances to the nearest neighbours in a fixed periodic cell, with gradients."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from ase.geometry import minkowski_reduce

from dismaiflow.models.nn.nearest_kernel import nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Pairs that are compared at once: what fits the cache of a processor, and a GPU's memory.
_PAIRS = {"cpu": 2**21, "cuda": 2**27}

#: Distances below are taken to be this one (Å) and have no gradient, which would not be finite.
_SHORTEST = 1e-6

#: By how much a distance must stay below the limit of what is exact: more than it is rounded.
_MARGIN = 1 - 1e-5


class Neighbors(NamedTuple):
    """Nearest neighbours.

    Attributes
    ----------
    distances : torch.Tensor, shape (n_structures, n_atoms, k)
        Ascending, in Å, with a gradient with respect to the positions.
    atoms : torch.Tensor, shape (n_structures, n_atoms, k)
        Which they are, int64.
    """

    distances: torch.Tensor
    atoms: torch.Tensor


class PeriodicNeighbors:
    """The k nearest neighbours of each atom in a cell that all structures share.

    An atom of which several periodic images are near counts as often, and so do the images of the
    atom itself; the atom itself never counts. The search compares the nearest image of each pair,
    found by rounding fractional differences in the reduced cell. That is exact as long as the k-th
    distance is below half the smallest height of the cell: an image that rounding misses is no
    nearer. Structures where it is not are searched again with as many images as they need.

    Only the distances of the neighbours that were found have a gradient; the search has none.

    Parameters
    ----------
    cell : array-like, shape (3, 3)
        Cell vectors as rows, in Å; periodic along all.
    k : int
        Neighbours.
    dtype : torch.dtype
        Of positions and distances.
    device : str or torch.device
        Where they lie.
    """

    def __init__(
        self,
        cell: ArrayLike,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.k = k
        reduced, steps = minkowski_reduce(np.asarray(cell, dtype=float), pbc=True)
        # Turned so that it is lower triangular: fewer products per pair.
        lower = np.linalg.qr(reduced.T)[1].T
        lower[np.abs(lower) < 1e-12 * np.abs(lower).max()] = 0.0
        self._lower = torch.tensor(lower, dtype=dtype, device=device)
        self._entries = lower.tolist()
        self._heights = 1 / np.linalg.norm(np.linalg.inv(lower), axis=0)
        to_reduced = np.rint(np.linalg.inv(steps))
        self._to_reduced = (
            None
            if np.array_equal(to_reduced, np.eye(3))
            else torch.tensor(to_reduced, dtype=dtype, device=device)
        )

    def find(self, fractions: torch.Tensor) -> Neighbors:
        """Return neighbours and their distances.

        Parameters
        ----------
        fractions : torch.Tensor, shape (n_structures, n_atoms, 3)
            Fractional coordinates; they need not be wrapped.
        """
        if self._to_reduced is not None:
            fractions = fractions @ self._to_reduced
        n, n_atoms, _ = fractions.shape
        index, images = self._search(fractions.detach())
        chosen = index.reshape(n, -1, 1).expand(-1, -1, 3)
        apart = fractions.gather(1, chosen).view(n, n_atoms, self.k, 3) - fractions[:, :, None]
        # The same differences as in the search are rounded, hence to the same image.
        vectors = (apart - apart.detach().round() + images) @ self._lower
        squared = vectors.square().sum(-1)
        return Neighbors(squared.clamp_min(_SHORTEST**2).sqrt(), index)

    def distances(self, fractions: torch.Tensor) -> torch.Tensor:
        """Return the distances alone, shape (n_structures, n_atoms, k); see `find`."""
        return self.find(fractions).distances

    @torch.no_grad()
    def _search(self, fractions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the atoms, and their images relative to the nearest ones, as whole numbers."""
        n, n_atoms, _ = fractions.shape
        shape = (n, n_atoms, self.k)
        index = torch.zeros(shape, dtype=torch.int64, device=fractions.device)
        images = torch.zeros((*shape, 3), dtype=fractions.dtype, device=fractions.device)
        reach = torch.full((n,), torch.inf, dtype=fractions.dtype, device=fractions.device)
        if n_atoms > self.k and fractions.device.type == "cpu":
            axes = fractions.movedim(-1, 1).contiguous().numpy()
            squared, which = nearest(axes, self._lower.numpy(), self.k)
            index = torch.from_numpy(which)
            reach = torch.from_numpy(squared)[..., -1].amax(1).sqrt()
        elif n_atoms > self.k:
            size = max(1, _PAIRS[fractions.device.type] // n_atoms**2)
            for part in torch.arange(n, device=fractions.device).split(size):
                pairs = self._squared(_apart(fractions[part]))
                pairs.diagonal(dim1=1, dim2=2).fill_(torch.inf)
                least, index[part] = pairs.topk(self.k, largest=False)
                reach[part] = least[..., -1].amax(1).sqrt()
        exact = float(self._heights.min() / 2 * _MARGIN)
        # What is not a number, as after a divergence, is not searched again.
        for i in torch.nonzero(reach > exact).flatten().tolist():
            index[i], images[i] = self._search_images(fractions[i], float(reach[i]))
        return index, images

    def _search_images(
        self, fractions: torch.Tensor, reach: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Search one structure among so many images that no other one can be nearer.

        With images -m..m of the nearest ones along an axis, all others are at least m + 1/2 heights
        away.
        """
        counts = np.zeros(3, dtype=int)
        apart = _apart(fractions[None])[0]
        n_atoms = len(fractions)
        while True:
            counts += (counts + 0.5) * self._heights * _MARGIN < reach
            steps = list(product(*(range(-m, m + 1) for m in counts.tolist())))
            shifts = torch.tensor(steps, dtype=apart.dtype, device=apart.device)
            home = len(steps) // 2
            rows = []
            size = max(1, _PAIRS[apart.device.type] // (len(steps) * n_atoms))
            for atoms in torch.arange(n_atoms, device=apart.device).split(size):
                squared = self._squared(apart[atoms][:, None] + shifts[:, None])
                squared[torch.arange(len(atoms)), home, atoms] = torch.inf
                flat = squared.flatten(1)
                rows.append(flat.topk(min(self.k, flat.shape[1]), largest=False))
            reach = float(torch.cat([row.values for row in rows]).amax().sqrt())
            found = torch.cat([row.indices for row in rows])
            if found.shape[1] < self.k:
                reach = float("inf")
            if not bool((reach > (counts + 0.5) * self._heights * _MARGIN).any()):
                return found % n_atoms, shifts[found // n_atoms]

    def _squared(self, apart: torch.Tensor) -> torch.Tensor:
        """Return squared lengths of differences in fractional coordinates."""
        axes = apart.unbind(-1)
        total: torch.Tensor | None = None
        for column in range(3):
            length: torch.Tensor | None = None
            for row in range(column, 3):
                entry = self._entries[row][column]
                if entry:
                    term = axes[row] * entry
                    length = term if length is None else length.add_(term)
            assert length is not None  # the diagonal of a cell is not zero
            total = length.square_() if total is None else total.addcmul_(length, length)
        assert total is not None
        return total


def _apart(fractions: torch.Tensor) -> torch.Tensor:
    """Return the differences of all pairs to their nearest images, (n, n_atoms, n_atoms, 3).

    The axes come first in memory, for fast arithmetic along each of them.
    """
    axes = fractions.movedim(-1, 0)
    apart = axes[:, :, None, :] - axes[:, :, :, None]
    return apart.sub_(apart.round()).movedim(0, -1)
