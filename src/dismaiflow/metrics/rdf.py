"""Neighbour pairs and radial distribution functions of periodic structures.

``g(r)`` is the mean number of neighbours in a shell over the number that an ideal gas of the same
density would have there (M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids, section
2.6). An atom's own periodic images count as neighbours, so that small cells and long ranges are
right too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.periodic import checked_structure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RadialDistribution:
    """A radial distribution function.

    Parameters
    ----------
    edges : ndarray, shape (n_bins + 1,)
        Edges of the shells, Å.
    g : ndarray, shape (n_bins,)
        Value in each shell; 1 for an ideal gas.
    counts : ndarray, shape (n_bins,)
        Mean number of neighbours of an atom in each shell.
    """

    edges: NDArray[np.float64]
    g: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def r(self) -> NDArray[np.float64]:
        """Middles of the shells, Å, shape (n_bins,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def first_peak(self) -> float | None:
        """Return where the first peak lies, Å; None if g(r) never exceeds 1.

        The first peak is the highest shell before g(r) falls below 1 again, after it first
        exceeded 1; a parabola through it and its neighbours refines the place.
        """
        above = np.flatnonzero(self.g > 1)
        if len(above) == 0:
            return None
        below = np.flatnonzero(self.g[above[0] :] < 1)
        end = above[0] + below[0] if len(below) else len(self.g)
        top = above[0] + int(np.argmax(self.g[above[0] : end]))
        if not 0 < top < len(self.g) - 1:
            return float(self.r[top])
        left, middle, right = self.g[top - 1 : top + 2]
        curvature = left - 2 * middle + right
        shift = 0.0 if curvature == 0 else 0.5 * (left - right) / curvature
        return float(self.r[top] + shift * (self.edges[1] - self.edges[0]))

    def first_minimum(self, smooth: int = 3) -> float | None:
        """Return where the first minimum after the first peak lies, Å; None if there is none.

        Parameters
        ----------
        smooth : int
            Shells of the running mean that is looked at, odd. The middle of a flat minimum, such
            as the gap between two shells of a crystal, is returned. A minimum is one that g(r)
            leaves again for the second peak, so that noise between the peaks does not count.
        """
        peak = self.first_peak()
        if peak is None:
            return None
        g = np.convolve(self.g, np.ones(smooth) / smooth, mode="same")
        start = int(np.searchsorted(self.edges, peak))
        down = np.flatnonzero(g[start:] < 1)
        if len(down) == 0:
            return None
        low = start + down[0]
        up = np.flatnonzero(g[low:] > 1)
        if len(up) == 0:
            return None
        part = g[low : low + up[0]]
        flat = np.flatnonzero(part <= part.min() + 1e-12)
        return float(self.r[low + round(float(flat.mean()))])


def radial_distribution(
    positions: ArrayLike,
    cell: ArrayLike,
    r_max: float = 10.0,
    bin_width: float = 0.05,
    centres: ArrayLike | None = None,
    neighbours: ArrayLike | None = None,
    volume: float | None = None,
) -> RadialDistribution:
    """Compute g(r) of one structure, periodic in all directions.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å; they need not lie inside the cell.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; any shape, also smaller than ``r_max``.
    r_max : float
        Range, Å; rounded to whole shells.
    bin_width : float
        Width of a shell, Å.
    centres, neighbours : array-like of bool, shape (n_atoms,), optional
        Atoms around which is counted, and those that are counted; all by default. With the atoms
        of one species in each, the result is the partial g(r) of the two.
    volume : float, optional
        Å^3 over which the counted atoms are spread for their mean density. That of the whole cell
        by default: a slab's includes its vacuum, so that g(r) is too high close by and does not
        tend to 1. Structures in equal cells compare all the same.

    Raises
    ------
    DismaiError
        If there are no atoms, a number is not finite, or the cell has no volume.
    """
    places, vectors = checked_structure(positions, cell, "neighbours")
    if volume is not None and not (np.isfinite(volume) and volume > 0):
        raise DismaiError(f"a density needs a volume above 0 Å^3, not {volume}")
    if not (np.isfinite(bin_width) and 0 < bin_width <= r_max):
        raise DismaiError(f"g(r) to {r_max} Å cannot have shells of {bin_width} Å")
    n_bins = max(round(r_max / bin_width), 1)
    edges: NDArray[np.float64] = np.arange(n_bins + 1, dtype=float) * bin_width
    every = np.ones(len(places), dtype=bool)
    around = every if centres is None else np.asarray(centres, dtype=bool)
    counted = every if neighbours is None else np.asarray(neighbours, dtype=bool)
    if not (around.any() and counted.any()):
        raise DismaiError("g(r) needs atoms to count around, and atoms to count")
    grid = _Grid.of(places, vectors, edges[-1])
    histogram = _histogram(*grid.arguments, around, counted, bin_width, n_bins)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    per_atom: NDArray[np.float64] = histogram / float(around.sum())
    density = counted.sum() / (volume or abs(np.linalg.det(vectors)))
    return RadialDistribution(edges, per_atom / (shells * density), per_atom)


def partial_distribution(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike,
    pair: tuple[int, int],
    region: ArrayLike | None = None,
    both_within: bool = False,
    r_max: float = 10.0,
    bin_width: float = 0.02,
) -> RadialDistribution:
    """Compute g(r) of a species around the atoms of another (paper, section 2.5; Fig. S34).

    Parameters
    ----------
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers.
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å.
    pair : tuple of int
        Atomic numbers of the atoms that are counted around, and of those that are counted.
    region : array-like of bool, shape (n_atoms,), optional
        Atoms that are counted around, such as those of an interface region.
    both_within : bool
        Count only neighbours in the region too. The paper does not say; its Sc-O curve needs
        oxygen that belongs to the slab, hence not by default.
    r_max, bin_width : float
        Range and width of a shell, Å.

    Returns
    -------
    RadialDistribution
        The density is that of the counted atoms over the whole cell, vacuum included.

    Raises
    ------
    DismaiError
        If one of the species is missing, or as `radial_distribution`.
    """
    kinds = np.asarray(numbers)
    inside = np.ones(len(kinds), bool) if region is None else np.asarray(region, dtype=bool)
    counted = (kinds == pair[1]) & (inside if both_within else True)
    return radial_distribution(
        positions, cell, r_max, bin_width, (kinds == pair[0]) & inside, counted
    )


def neighbour_pairs(
    positions: ArrayLike, cell: ArrayLike, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of atoms that are nearer than a cutoff, images included.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; periodic in all directions.
    cutoff : float
        Å; a pair exactly that far apart does not count.

    Returns
    -------
    i, j : ndarray of int64, shape (n_pairs,)
        Each pair in both orders, by rising i.
    vectors : ndarray, shape (n_pairs, 3)
        From i to the image of j, Å.

    Raises
    ------
    DismaiError
        If there are no atoms, a number is not finite, or the cell has no volume.
    """
    places, vectors = checked_structure(positions, cell, "neighbours")
    grid = _Grid.of(places, vectors, cutoff)
    counts = _count(*grid.arguments)
    ends = np.cumsum(counts)
    second = np.empty(int(ends[-1]), dtype=np.int64)
    between = np.empty((int(ends[-1]), 3))
    _fill(*grid.arguments, ends - counts, second, between)
    return np.repeat(np.arange(len(places)), counts), second, between


@dataclass(frozen=True)
class _Grid:
    """Atoms sorted into cells that are at most about as wide as the cutoff.

    Parameters
    ----------
    fractional : ndarray, shape (n_atoms, 3)
        In [0, 1).
    vectors : ndarray, shape (3, 3)
        The cell.
    order, starts : ndarray of int64
        Atoms by cell, and where each cell begins.
    shape, reach : ndarray of int64, shape (3,)
        Cells along each axis, and how many of them the cutoff may cross.
    cutoff : float
        Å.
    """

    fractional: NDArray[np.float64]
    vectors: NDArray[np.float64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    shape: NDArray[np.int64]
    reach: NDArray[np.int64]
    cutoff: float

    @classmethod
    def of(
        cls, positions: NDArray[np.float64], vectors: NDArray[np.float64], cutoff: float
    ) -> _Grid:
        inverse = np.linalg.inv(vectors)
        fractional = np.mod(positions @ inverse, 1.0)
        fractional[fractional >= 1.0] = 0.0
        heights = 1 / np.linalg.norm(inverse, axis=0)
        # More cells than atoms would only cost memory.
        most = max(int(np.ceil(len(positions) ** (1 / 3))), 1)
        # Over a long range narrow cells follow its sphere better, unless most would be empty.
        spacing = (abs(np.linalg.det(vectors)) / len(positions)) ** (1 / 3)
        edge = min(cutoff, max(cutoff / 3, 1.25 * spacing))
        shape = np.clip((heights / edge).astype(np.int64), 1, most)
        reach = np.ceil(cutoff / (heights / shape)).astype(np.int64)
        triple = np.minimum((fractional * shape).astype(np.int64), shape - 1)
        flat = (triple[:, 0] * shape[1] + triple[:, 1]) * shape[2] + triple[:, 2]
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(int(np.prod(shape)) + 1))
        return cls(fractional, vectors, order, starts.astype(np.int64), shape, reach, cutoff)

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the kernels take."""
        return (
            self.fractional,
            self.vectors,
            self.order,
            self.starts,
            self.shape,
            self.reach,
            self.cutoff,
        )


@njit(cache=True, nogil=True)
def _visit(
    i: int,
    fractional: NDArray[np.float64],
    vectors: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    shape: NDArray[np.int64],
    reach: NDArray[np.int64],
    cutoff: float,
    found: NDArray[np.int64],
    between: NDArray[np.float64],
) -> int:
    """Write the neighbours of atom i and the vectors to them; return how many there are.

    The arrays are filled as far as they reach; with empty ones it only counts.
    """
    square = cutoff * cutoff
    n = 0
    hx = min(int(fractional[i, 0] * shape[0]), shape[0] - 1)
    hy = min(int(fractional[i, 1] * shape[1]), shape[1] - 1)
    hz = min(int(fractional[i, 2] * shape[2]), shape[2] - 1)
    for x in range(hx - reach[0], hx + reach[0] + 1):
        sx = x // shape[0]
        for y in range(hy - reach[1], hy + reach[1] + 1):
            sy = y // shape[1]
            row = ((x - sx * shape[0]) * shape[1] + y - sy * shape[1]) * shape[2]
            for z in range(hz - reach[2], hz + reach[2] + 1):
                sz = z // shape[2]
                flat = row + z - sz * shape[2]
                for place in range(starts[flat], starts[flat + 1]):
                    j = order[place]
                    if j == i and sx == 0 and sy == 0 and sz == 0:
                        continue
                    fx = fractional[j, 0] + sx - fractional[i, 0]
                    fy = fractional[j, 1] + sy - fractional[i, 1]
                    fz = fractional[j, 2] + sz - fractional[i, 2]
                    vx = fx * vectors[0, 0] + fy * vectors[1, 0] + fz * vectors[2, 0]
                    vy = fx * vectors[0, 1] + fy * vectors[1, 1] + fz * vectors[2, 1]
                    vz = fx * vectors[0, 2] + fy * vectors[1, 2] + fz * vectors[2, 2]
                    if vx * vx + vy * vy + vz * vz < square:
                        if n < len(found):
                            found[n] = j
                            between[n, 0], between[n, 1], between[n, 2] = vx, vy, vz
                        n += 1
    return n


@njit(cache=True, nogil=True)
def _count(
    fractional: NDArray[np.float64],
    vectors: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    shape: NDArray[np.int64],
    reach: NDArray[np.int64],
    cutoff: float,
) -> NDArray[np.int64]:
    """Count the neighbours of each atom."""
    grid = (fractional, vectors, order, starts, shape, reach, cutoff)
    nothing, nowhere = np.empty(0, dtype=np.int64), np.empty((0, 3))
    counts = np.zeros(len(fractional), dtype=np.int64)
    for i in range(len(fractional)):
        counts[i] = _visit(i, *grid, nothing, nowhere)
    return counts


@njit(cache=True, nogil=True)
def _fill(
    fractional: NDArray[np.float64],
    vectors: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    shape: NDArray[np.int64],
    reach: NDArray[np.int64],
    cutoff: float,
    begins: NDArray[np.int64],
    second: NDArray[np.int64],
    between: NDArray[np.float64],
) -> None:
    """Write the neighbours of each atom from its place in ``begins`` on."""
    grid = (fractional, vectors, order, starts, shape, reach, cutoff)
    for i in range(len(fractional)):
        at = begins[i]
        _visit(i, *grid, second[at:], between[at:])


@njit(cache=True, nogil=True)
def _histogram(
    fractional: NDArray[np.float64],
    vectors: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    shape: NDArray[np.int64],
    reach: NDArray[np.int64],
    cutoff: float,
    around: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    width: float,
    n_bins: int,
) -> NDArray[np.int64]:
    """Count ordered pairs by distance."""
    grid = (fractional, vectors, order, starts, shape, reach, cutoff)
    histogram = np.zeros(n_bins, dtype=np.int64)
    found, between = np.empty(64, dtype=np.int64), np.empty((64, 3))
    for i in range(len(fractional)):
        if not around[i]:
            continue
        n = _visit(i, *grid, found, between)
        if n > len(found):
            found, between = np.empty(2 * n, dtype=np.int64), np.empty((2 * n, 3))
            _visit(i, *grid, found, between)
        for k in range(n):
            if counted[found[k]]:
                x, y, z = between[k]
                r = np.sqrt(x * x + y * y + z * z)
                histogram[min(int(r / width), n_bins - 1)] += 1
    return histogram
