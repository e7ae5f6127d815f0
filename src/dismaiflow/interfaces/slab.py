"""Slabs and the pair of them that an interface is made of, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Slab:
    """A crystalline slab, its surface normal along z and its lowest atom at z = 0.

    Parameters
    ----------
    phase : str
        Name of the phase.
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers, sorted by plane from below.
    positions : ndarray, shape (n_atoms, 3)
        Cartesian positions, Å.
    vectors : ndarray, shape (2, 2)
        In-plane lattice vectors as rows, Å; the first along x.
    planes : ndarray of int64, shape (n_atoms,)
        Plane of each atom, 0 the lowest.
    """

    phase: str
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    vectors: NDArray[np.float64]
    planes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def height(self) -> float:
        """Distance of the highest from the lowest atom, Å."""
        return float(np.ptp(self.positions[:, 2]))

    @property
    def n_planes(self) -> int:
        """Number of planes."""
        return int(self.planes.max()) + 1

    @property
    def top_plane(self) -> NDArray[np.bool_]:
        """Which atoms lie in the highest plane, shape (n_atoms,)."""
        return self.planes == self.planes.max()

    @property
    def area(self) -> float:
        """Area of the in-plane cell, Å^2."""
        return float(abs(np.linalg.det(self.vectors)))

    def atoms(self, vacuum: float = 14.0) -> Atoms:
        """Return the slab for ASE, periodic, with this much vacuum (Å) above."""
        from ase import Atoms

        cell = np.zeros((3, 3))
        cell[:2, :2] = self.vectors
        cell[2, 2] = self.height + vacuum
        return Atoms(self.numbers, self.positions, cell=cell, pbc=True)


@dataclass(frozen=True, eq=False)
class Host:
    """The two slabs of an interface in one common cell, the film not yet lifted or displaced.

    Parameters
    ----------
    substrate : Slab
        The slab below, its lowest atom at z = 0.
    film : Slab
        The slab above the region, strained to the same in-plane vectors; its lowest atom at
        z = 0 too, because its height in the cell is the thickness of the region.
    cell : ndarray, shape (3, 3)
        The common cell, rows in Å: a along x, b in the xy plane, c along z. High enough for the
        thickest region and the vacuum.
    """

    substrate: Slab
    film: Slab
    cell: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area of the interface, Å^2."""
        return self.substrate.area
