"""Ideal lattices in a periodic supercell, and the neighbour shells of their sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Conventional cubic cells of the monatomic lattices, as fractional coordinates.
CUBIC_BASES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "sc": ((0.0, 0.0, 0.0),),
    "bcc": ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    "fcc": ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
}


@dataclass(frozen=True)
class SiteLattice:
    """The sites of a cubic Bravais lattice in a periodic supercell.

    Parameters
    ----------
    kind : str
        ``sc``, ``bcc`` or ``fcc``.
    a : float
        Edge of the conventional cell in Å.
    repeats : tuple of int
        Number of conventional cells along each axis.

    Raises
    ------
    DismaiError
        If the lattice is unknown, or the sizes are not positive.
    """

    kind: str
    a: float
    repeats: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.kind not in CUBIC_BASES:
            raise DismaiError(
                f"unknown lattice {self.kind!r}: choose one of {', '.join(CUBIC_BASES)}"
            )
        if self.a <= 0 or len(self.repeats) != 3 or min(self.repeats) < 1:
            raise DismaiError(
                f"a lattice needs a > 0 and three repeats >= 1, got a={self.a} and {self.repeats}"
            )

    @cached_property
    def cell(self) -> NDArray[np.float64]:
        """Supercell vectors as rows, shape (3, 3), in Å."""
        return np.diag(np.asarray(self.repeats, dtype=float) * self.a)

    @cached_property
    def inverse_cell(self) -> NDArray[np.float64]:
        """Matrix from Cartesian (Å) to fractional coordinates, shape (3, 3)."""
        return np.asarray(np.linalg.inv(self.cell), dtype=np.float64)

    @cached_property
    def half_steps(self) -> NDArray[np.int64]:
        """Integer site coordinates in units of a/2, shape (n_sites, 3)."""
        basis = np.rint(2 * np.asarray(CUBIC_BASES[self.kind])).astype(np.int64)
        cells = np.array(list(product(*(range(n) for n in self.repeats))), dtype=np.int64)
        return (2 * cells[:, None, :] + basis[None, :, :]).reshape(-1, 3)

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Cartesian site positions, shape (n_sites, 3), in Å."""
        return np.asarray(self.half_steps * (self.a / 2), dtype=np.float64)

    @property
    def n_sites(self) -> int:
        """Number of sites in the supercell."""
        return len(CUBIC_BASES[self.kind]) * int(np.prod(self.repeats))

    @cached_property
    def _site_table(self) -> NDArray[np.int32]:
        """Site index by wrapped half-step coordinates, -1 where there is no site."""
        table = np.full(tuple(2 * n for n in self.repeats), -1, dtype=np.int32)
        table[tuple(self.half_steps.T)] = np.arange(self.n_sites, dtype=np.int32)
        return table

    def site_at(self, half_steps: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the indices of the sites at integer coordinates.

        Parameters
        ----------
        half_steps : ndarray of int, shape (..., 3)
            Coordinates in units of a/2; they are wrapped into the supercell.

        Returns
        -------
        ndarray of int32, shape (...)
            Site indices, -1 where the lattice has no site.
        """
        wrapped = np.mod(half_steps, 2 * np.asarray(self.repeats))
        return self._site_table[wrapped[..., 0], wrapped[..., 1], wrapped[..., 2]]

    def shells(self, n_shells: int) -> ShellNeighbors:
        """Return the neighbours of every site in the first shells.

        Parameters
        ----------
        n_shells : int
            Number of neighbour shells, counted from the nearest.

        Returns
        -------
        ShellNeighbors
            Neighbours with their shells. A site that is its own neighbour through a periodic
            image, or reaches another by several images, is listed as often as that happens.
        """
        vectors, shell_of, distances = self._shell_vectors(n_shells)
        neighbors = self.site_at(self.half_steps[:, None, :] + vectors[None, :, :])
        cartesian = np.asarray(vectors * (self.a / 2), dtype=np.float64)
        return ShellNeighbors(neighbors, shell_of, distances, cartesian)

    def _shell_vectors(
        self, n_shells: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        basis = np.rint(2 * np.asarray(CUBIC_BASES[self.kind])).astype(np.int64)
        reach = 2
        while True:
            cells = np.array(list(product(range(-reach, reach + 1), repeat=3)), dtype=np.int64)
            points = (2 * cells[:, None, :] + basis[None, :, :]).reshape(-1, 3)
            squares = (points**2).sum(axis=1)
            # Beyond the shortest half-width of the enumerated block shells may be incomplete.
            complete = np.unique(squares[(squares > 0) & (squares < (2 * reach) ** 2)])
            if len(complete) >= n_shells:
                break
            reach += 1
        wanted = complete[:n_shells]
        keep = np.isin(squares, wanted)
        points, squares = points[keep], squares[keep]
        order = np.lexsort((points[:, 2], points[:, 1], points[:, 0], squares))
        points, squares = points[order], squares[order]
        return points, np.searchsorted(wanted, squares), np.sqrt(wanted) * self.a / 2

    @cached_property
    def translations(self) -> NDArray[np.int32]:
        """Site permutations of all lattice translations, shape (n_sites, n_sites).

        Row ``t`` maps site ``i`` to the site at ``position[i] + position[t] - position[0]``.
        """
        shifts = self.half_steps - self.half_steps[0]
        return self.site_at(self.half_steps[None, :, :] + shifts[:, None, :])

    @cached_property
    def sublattices(self) -> NDArray[np.int64]:
        """Index of the simple cubic sublattice of each site, shape (n_sites,)."""
        return np.tile(np.arange(len(CUBIC_BASES[self.kind])), int(np.prod(self.repeats)))


@dataclass(frozen=True)
class ShellNeighbors:
    """Neighbours of every site of a lattice, by shell.

    Parameters
    ----------
    neighbors : ndarray of int32, shape (n_sites, z)
        Site reached from each site by each of the z shell vectors.
    shell_of : ndarray of int, shape (z,)
        Shell (from 0) of each vector.
    distances : ndarray, shape (n_shells,)
        Radius of each shell in Å.
    vectors : ndarray, shape (z, 3)
        The shell vectors in Å; each vector and its opposite are both present.
    """

    neighbors: NDArray[np.int32]
    shell_of: NDArray[np.int64]
    distances: NDArray[np.float64]
    vectors: NDArray[np.float64]

    @property
    def n_shells(self) -> int:
        """Number of shells."""
        return len(self.distances)

    @cached_property
    def multiplicities(self) -> NDArray[np.int64]:
        """Pairs per site in each shell, shape (n_shells,): half the number of vectors."""
        return np.bincount(self.shell_of, minlength=self.n_shells) // 2
