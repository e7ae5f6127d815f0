"""A crystal as an endless stack of planes, and how pieces of it become slabs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.lattice_planes import PLANE_GAP, group_planes
from dismaiflow.interfaces.slab import Slab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

#: Two atoms of a stack that lie closer are one atom, found twice, Å.
_SAME_ATOM = 0.02

#: Fractional coordinates this close to a whole number are on it: 0.999... becomes 0.
_SNAP = 1e-9

#: Decimals of the coordinates by which atoms are sorted, so that rounding cannot reorder them.
_SORT_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Stack:
    """The repeat unit of a crystal seen along the normal of a surface.

    Parameters
    ----------
    phase : str
        Name of the phase.
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers of one repeat.
    positions : ndarray, shape (n_atoms, 3)
        Cartesian positions, Å: x along u, z along the outward normal.
    planes : ndarray of int64, shape (n_atoms,)
        Plane of each atom, 0 the lowest of the repeat.
    vectors : ndarray, shape (3, 3)
        Rows u, v (in the xy plane) and w, the step from one repeat to the next, Å.
    """

    phase: str
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    planes: NDArray[np.int64]
    vectors: NDArray[np.float64]

    @property
    def n_planes(self) -> int:
        """Planes in one repeat."""
        return int(self.planes.max()) + 1

    @property
    def repeat_height(self) -> float:
        """Height of one repeat, Å."""
        return float(self.vectors[2, 2])

    def cut(self, start: int, n_planes: int) -> Slab:
        """Return consecutive planes of the stack, one surface cell wide.

        Parameters
        ----------
        start : int
            Plane of the repeat that is the lowest of the slab.
        n_planes : int
            Number of planes.

        Returns
        -------
        Slab
            The slab.
        """
        numbers, positions, planes = [], [], []
        for plane in range(n_planes):
            repeat, own = divmod(start + plane, self.n_planes)
            chosen = self.planes == own
            numbers.append(self.numbers[chosen])
            positions.append(self.positions[chosen] + repeat * self.vectors[2])
            planes.append(np.full(np.count_nonzero(chosen), plane))
        return arranged(
            self.phase,
            np.concatenate(numbers),
            np.concatenate(positions),
            self.vectors[:2, :2],
            np.concatenate(planes),
        )

    def gap_below(self, plane: int) -> float:
        """Return the gap between a plane of the repeat and the one below it, Å."""
        z = self.positions[:, 2]
        repeat, below = divmod(plane - 1, self.n_planes)
        highest = z[self.planes == below].max() + repeat * self.repeat_height
        return float(z[self.planes == plane].min() - highest)


def stack_of(
    phase: str, structure: Structure, basis: ArrayLike, *, turned_over: bool = False
) -> Stack:
    """Return the repeat unit of a crystal along the normal of a surface.

    Parameters
    ----------
    phase : str
        Name of the phase, for messages.
    structure : pymatgen.core.Structure
        Conventional cell of the bulk.
    basis : array_like, shape (3, 3)
        Rows u, v, w as fractional coordinates of this cell, right-handed.
    turned_over : bool
        Take the other side of the crystal as the outward one: the stack of (v, u, -w).

    Returns
    -------
    Stack
        The repeat unit; its plane 0 is the one that holds the atoms nearest to height 0.

    Raises
    ------
    DismaiError
        When no gap along the normal is wide enough to part planes.
    """
    rows = np.asarray(basis, dtype=np.float64)
    if turned_over:
        rows = np.array([rows[1], rows[0], -rows[2]])
    numbers, scaled = _repeat_unit(structure, rows)
    vectors = _oriented(rows @ np.asarray(structure.lattice.matrix))
    planes, shifts = _periodic_planes(scaled[:, 2] * vectors[2, 2], vectors[2, 2])
    if planes is None:
        raise DismaiError(
            f"key 'miller.{phase}': the crystal has no gap above {PLANE_GAP} Å between planes of "
            "atoms in this direction: take lower Miller indices"
        )
    scaled[:, 2] += shifts
    return Stack(phase, numbers, scaled @ vectors, planes, vectors)


def _repeat_unit(
    structure: Structure, rows: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return atomic numbers and coordinates in (u, v, w) of the atoms in that cell."""
    corners = np.array(list(product((0, 1), repeat=3))) @ rows
    low = np.floor(corners.min(axis=0) - 1).astype(int)
    high = np.ceil(corners.max(axis=0) + 1).astype(int)
    shifts = np.array(list(product(*(range(a, b) for a, b in zip(low, high, strict=True)))))
    inverse = np.linalg.inv(rows)
    scaled = (np.asarray(structure.frac_coords)[:, None] + shifts[None]) @ inverse
    atom, shift = np.nonzero(np.all((scaled > -1e-3) & (scaled < 1 + 1e-3), axis=2))
    inside = wrapped(scaled[atom, shift])
    apart = inside[:, None] - inside[None]
    apart -= np.rint(apart)
    distances = np.linalg.norm(apart @ rows @ np.asarray(structure.lattice.matrix), axis=-1)
    first = np.argmax(distances < _SAME_ATOM, axis=1) == np.arange(len(inside))
    numbers = np.array([site.specie.Z for site in structure], dtype=np.uint8)[atom]
    return numbers[first], inside[first]


def _oriented(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn three vectors so that the first lies along x and the first two in the xy plane."""
    x = vectors[0] / np.linalg.norm(vectors[0])
    z = np.cross(vectors[0], vectors[1])
    z /= np.linalg.norm(z)
    turned = vectors @ np.array([x, np.cross(z, x), z]).T
    turned[0, 1:] = 0.0
    turned[1, 2] = 0.0
    return turned


def _periodic_planes(
    heights: NDArray[np.float64], period: float
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return planes of a periodic stack and the periods by which atoms move to be in one piece."""
    order = np.argsort(heights, kind="stable")
    z = heights[order]
    gaps = np.diff(z, append=z[0] + period)
    cuts = np.flatnonzero(gaps > PLANE_GAP)
    shifts = np.zeros(len(heights), dtype=np.int64)
    if not len(cuts):
        return None, shifts
    # Atoms above the last gap belong to the first plane, from below.
    shifts[order[cuts[-1] + 1 :]] = -1
    return group_planes(heights + shifts * period), shifts


def wrapped(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return fractional coordinates in [0, 1), those of rounding below 1 as 0."""
    inside = scaled - np.floor(scaled + _SNAP)
    inside[np.abs(inside) < _SNAP] = 0.0
    return inside


def arranged(
    phase: str,
    numbers: NDArray[np.uint8],
    positions: NDArray[np.float64],
    vectors: NDArray[np.float64],
    planes: NDArray[np.int64],
) -> Slab:
    """Return a slab with its atoms wrapped in the plane, put on z = 0 and sorted.

    Atoms are sorted by plane, atomic number, and fractional coordinates, so that the same slab
    always has the same order.

    Parameters
    ----------
    phase : str
        Name of the phase.
    numbers : ndarray of uint8, shape (n_atoms,)
        Atomic numbers.
    positions : ndarray, shape (n_atoms, 3)
        Cartesian positions, Å.
    vectors : ndarray, shape (2, 2)
        In-plane vectors as rows, Å.
    planes : ndarray of int64, shape (n_atoms,)
        Plane of each atom.

    Returns
    -------
    Slab
        The slab.
    """
    scaled = wrapped(positions[:, :2] @ np.linalg.inv(vectors))
    z = positions[:, 2] - positions[:, 2].min()
    keys = [np.round(key, _SORT_DECIMALS) for key in (z, scaled[:, 1], scaled[:, 0])]
    order = np.lexsort((*keys, numbers, planes))
    placed = np.column_stack([scaled @ vectors, z])[order]
    return Slab(phase, numbers[order], placed, vectors.copy(), planes[order])


def expanded(slab: Slab, matrix: Sequence[Sequence[int]]) -> Slab:
    """Return a supercell of a slab in the plane.

    Parameters
    ----------
    slab : Slab
        The slab.
    matrix : sequence of sequence of int, shape (2, 2)
        M of (u_s, v_s) = M (u, v), its determinant positive.

    Returns
    -------
    Slab
        The supercell, turned so that u_s lies along x.
    """
    M = np.array(matrix, dtype=np.int64)
    (a, b), (c, d) = M.tolist()
    size = a * d - b * c
    spans = [(sum(min(x, 0) for x in col), sum(max(x, 0) for x in col)) for col in M.T.tolist()]
    # Cells whose corner lies in the supercell, told in integers.
    cells = [
        (i, j)
        for i, j in product(*(range(low, high + 1) for low, high in spans))
        if 0 <= i * d - j * c < size and 0 <= j * a - i * b < size
    ]
    scaled = slab.positions[:, :2] @ np.linalg.inv(slab.vectors)
    placed = (scaled[:, None] + np.array(cells)[None]) @ np.linalg.inv(M)
    vectors = turned(slab.vectors, matrix)
    positions = np.column_stack(
        [placed.reshape(-1, 2) @ vectors, np.repeat(slab.positions[:, 2], size)]
    )
    return arranged(
        slab.phase, np.repeat(slab.numbers, size), positions, vectors, np.repeat(slab.planes, size)
    )


def turned(vectors: NDArray[np.float64], matrix: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return the in-plane vectors of a supercell, the first along x, shape (2, 2), Å."""
    larger = np.zeros((3, 3))
    larger[:2, :2] = np.array(matrix) @ vectors
    larger[2, 2] = 1.0
    return _oriented(larger)[:2, :2]
