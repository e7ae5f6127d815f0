"""One alignment for every model: the rigid motion of the lattice that fits all atoms best.

The published scripts align the lattice to one atom, or not at all, and each model to its own rule.
Here translation and rotation come from all atoms: the rotation from the directions of all bonds
of the length of a lattice parameter, the translation from the phases of three reciprocal lattice
vectors, and both from least squares over the atoms on sites at last. If the lattice fits the
periodic cell (no rotation up to its own symmetry), sites are counted under periodic boundaries; a
turned lattice cannot fit a cubic cell, and its sites are counted as a block with open boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import TYPE_CHECKING

import numba
import numpy as np

from dismaiflow.metrics.clusters import count_pairs, unordered
from dismaiflow.metrics.sites import SITE_RADIUS
from dismaiflow.structures.lattice import CUBIC_BASES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.structures.lattice import ShellNeighbors, SiteLattice

#: Primitive reciprocal vectors in units of 2 pi / a.
_RECIPROCAL = {
    "sc": np.eye(3),
    "fcc": np.ones((3, 3)) - 2 * np.eye(3),
    "bcc": np.ones((3, 3)) - np.eye(3),
}

#: Rotations below this are taken for noise: the lattice then fits the cell (rad).
_SMALL_ROTATION = np.deg2rad(2.0)

#: Bonds that differ from the lattice parameter by less than this lie along its axes (Å).
_BOND_MARGIN = 0.3

#: Rounds in which the axes are turned towards the bonds, and the change at which they stand (rad).
_TURNS = 60
_TURN_TOLERANCE = 1e-9

#: Rounds of assignment and least squares.
_REFINEMENTS = 8

#: Distances that agree to so many decimals are equal (Å).
_TIE_DECIMALS = 9


def _cubic_rotations() -> NDArray[np.float64]:
    """Return the 24 proper rotations of the cube, shape (24, 3, 3)."""
    matrices = [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return np.array([m for m in matrices if np.linalg.det(m) > 0])


_CUBE = _cubic_rotations()


@dataclass(frozen=True)
class Registration:
    """A structure on its best fitting lattice.

    Parameters
    ----------
    occupation : ndarray of int8, shape (n_sites,), or None
        Species code of each site of the periodic lattice, -1 for a vacancy; None if the lattice is
        turned against the cell.
    block : tuple of ndarray, or None
        For a turned lattice, integer site coordinates in units of a/2, shape (n_occupied, 3), and
        species codes, shape (n_occupied,).
    n_removed : int
        Atoms that stand on no site or on one that is taken.
    rotation : float
        Angle of the lattice against the cell, up to cubic symmetry, in degrees.
    rms : float
        Root mean square distance of the accepted atoms from their sites, Å.
    """

    occupation: NDArray[np.int8] | None
    block: tuple[NDArray[np.int64], NDArray[np.int8]] | None
    n_removed: int
    rotation: float
    rms: float

    def pairs(self, shells: ShellNeighbors, a: float, n_species: int) -> NDArray[np.int64]:
        """Count unordered pairs of occupied sites, shape (n_shells, n_species, n_species)."""
        if self.occupation is not None:
            return count_pairs(self.occupation[None], shells, n_species)[0]
        assert self.block is not None
        points, codes = self.block
        reach = int(np.rint(np.abs(shells.vectors).max() / (a / 2)))
        corner = points.min(axis=0) - reach
        grid = np.full(tuple(np.ptp(points, axis=0) + 2 * reach + 1), -1, dtype=np.int8)
        grid[tuple((points - corner).T)] = codes
        directed = np.zeros((shells.n_shells, n_species, n_species), dtype=np.int64)
        steps = np.rint(shells.vectors / (a / 2)).astype(np.int64)
        for step, shell in zip(steps, shells.shell_of, strict=True):
            other = grid[tuple((points - corner + step).T)]
            there = other >= 0
            np.add.at(directed[shell], (codes[there], other[there]), 1)
        return unordered(directed)


@dataclass(frozen=True)
class _Fit:
    """The atoms that stand on sites, their sites, and how far every atom is from the nearest."""

    atoms: NDArray[np.int64]
    points: NDArray[np.int64]
    rms: float
    residuals: NDArray[np.float64]


def _closest_rotation(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project matrices of shape (..., 3, 3) on the nearest proper rotations (Kabsch)."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., 2] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)


def _angles(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation angles of matrices of shape (..., 3, 3), rad."""
    trace = np.trace(rotations, axis1=-2, axis2=-1)
    return np.asarray(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _starting_axes() -> NDArray[np.float64]:
    """Return orientations spread over all that differ by more than a symmetry of the cube."""
    directions = np.array([d for d in product((-1.0, 0.0, 1.0), repeat=3) if any(d)])
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    x, y, z = directions.T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    turned = np.eye(3) + np.sin(np.pi / 5) * cross + (1 - np.cos(np.pi / 5)) * cross @ cross
    return np.concatenate([np.eye(3)[None], turned])


_STARTING_AXES = _starting_axes()


def _squares(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the products of all components of vectors, shape (..., 9)."""
    products = vectors[..., :, None] * vectors[..., None, :]
    return np.asarray(products.reshape(*vectors.shape[:-1], 9))


def find_orientation(
    lattice: SiteLattice, positions: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Find the cubic axes along which most bonds of the length of a lattice parameter lie.

    The axes maximise the sum of the fourth powers of the components of the bonds' directions. The
    sum is convex in the axes, so that turning them towards its gradient never lowers it.

    Parameters
    ----------
    lattice : SiteLattice
        Gives the lattice parameter.
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å. Boundaries are open: a turned lattice does not go on behind them.

    Returns
    -------
    ndarray, shape (3, 3), or None
        Axes of the lattice as rows, the equivalent closest to the cell's; None without such bonds.
    """
    from scipy.spatial import cKDTree  # takes half a second

    pairs = cKDTree(positions).query_pairs(lattice.a + _BOND_MARGIN, output_type="ndarray")
    bonds = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    lengths = np.linalg.norm(bonds, axis=1)
    along = np.abs(lengths - lattice.a) < _BOND_MARGIN
    if not along.any():
        return None
    units = bonds[along] / lengths[along, None]
    squares = _squares(units)
    tensor = squares.T @ squares / len(units)
    axes = _STARTING_AXES
    for _ in range(_TURNS):
        slopes = (_squares(axes) @ tensor).reshape(*axes.shape, 3)
        turned = _closest_rotation((slopes @ axes[..., None])[..., 0])
        change = np.abs(turned - axes).max()
        axes = turned
        if change < _TURN_TOLERANCE:
            break
    squares = _squares(axes)
    sums = ((squares @ tensor) * squares).sum(axis=(-1, -2))
    variants = _CUBE @ axes[np.argmax(sums)]
    return np.asarray(variants[np.argmin(_angles(variants))])


def _translation(
    lattice: SiteLattice, positions: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find the shift of the lattice from the phases of three reciprocal vectors, Å."""
    vectors = _RECIPROCAL[lattice.kind] * (2 * np.pi / lattice.a) @ axes
    phases = np.angle(np.exp(1j * positions @ vectors.T).sum(axis=0))
    return np.linalg.solve(vectors, phases)


@numba.njit(cache=True, nogil=True)
def _decode(
    local: NDArray[np.float64], basis: NDArray[np.float64], a: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the lattice points nearest to positions in the lattice's axes.

    Parameters
    ----------
    local : ndarray, shape (n, 3)
        Positions in Å.
    basis : ndarray, shape (n_basis, 3)
        Points of the conventional cell, fractional.
    a : float
        Edge of that cell in Å.

    Returns
    -------
    points : ndarray of int64, shape (n, 3)
        Lattice points in units of a/2.
    distances : ndarray, shape (n,)
        How far they are, Å.
    """
    points = np.empty((local.shape[0], 3), np.int64)
    distances = np.empty(local.shape[0])
    for k in range(local.shape[0]):
        nearest = np.inf
        for b in range(basis.shape[0]):
            square = 0.0
            for x in range(3):
                scaled = local[k, x] / a - basis[b, x]
                square += (scaled - np.rint(scaled)) ** 2
            if square < nearest:
                nearest = square
                for x in range(3):
                    cells = np.rint(local[k, x] / a - basis[b, x])
                    points[k, x] = int(np.rint(2 * (cells + basis[b, x])))
        distances[k] = a * np.sqrt(nearest)
    return points, distances


def _occupy(
    lattice: SiteLattice, local: NDArray[np.float64], codes: NDArray[np.int8], periodic: bool
) -> _Fit:
    """Give each site its closest atom; of atoms equally close, one of the lowest code."""
    basis = np.asarray(CUBIC_BASES[lattice.kind])
    points, distances = _decode(np.ascontiguousarray(local), basis, lattice.a)
    sites = np.mod(points, 2 * np.asarray(lattice.repeats)) if periodic else points
    # Rounded, so that neither rounding errors nor the order of the atoms choose among copies.
    order = np.lexsort((codes, distances.round(_TIE_DECIMALS)))
    order = order[distances[order] <= SITE_RADIUS]
    # One number per site, so that finding the first atom of each takes a sort of numbers.
    spread = 2 * int(np.abs(sites).max(initial=0)) + 1
    keys = (sites[order, 0] * spread + sites[order, 1]) * spread + sites[order, 2]
    _, first = np.unique(keys, return_index=True)
    atoms = np.sort(order[first])
    rms = float(np.sqrt((distances[atoms] ** 2).mean())) if len(atoms) else np.inf
    return _Fit(atoms, sites[atoms], rms, local - points * (lattice.a / 2))


def _fit_periodic(
    lattice: SiteLattice, positions: NDArray[np.float64], codes: NDArray[np.int8]
) -> _Fit:
    """Fit a lattice that may only move."""
    shift = _translation(lattice, positions, np.eye(3))
    for _ in range(_REFINEMENTS):
        fit = _occupy(lattice, positions - shift, codes, periodic=True)
        if len(fit.atoms) == 0:
            break
        step = fit.residuals[fit.atoms].mean(axis=0)
        shift = shift + step
        if np.abs(step).max() < 1e-10:
            break
    return _occupy(lattice, positions - shift, codes, periodic=True)


def _images(
    lattice: SiteLattice, fractions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return owners and positions of the atoms in the cell and of their images just outside.

    Noise may have carried an atom over a boundary of the cell; wrapped to the other side, it is
    where a turned lattice does not go on.
    """
    shifts = np.array(list(product((0, -1, 1), repeat=3)), dtype=float)
    margin = SITE_RADIUS * np.linalg.norm(lattice.inverse_cell, axis=0)
    moved = fractions[None] + shifts[:, None]
    near = ((moved >= -margin) & (moved < 1 + margin)).all(axis=2)
    return np.nonzero(near)[1], moved[near] @ lattice.cell


def _closest_images(
    lattice: SiteLattice, local: NDArray[np.float64], owners: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Choose the image of each atom that is closest to a site."""
    basis = np.asarray(CUBIC_BASES[lattice.kind])
    _, distances = _decode(np.ascontiguousarray(local), basis, lattice.a)
    order = np.lexsort((distances.round(_TIE_DECIMALS), owners))
    _, first = np.unique(owners[order], return_index=True)
    return order[first]


def _fit_block(
    lattice: SiteLattice,
    fractions: NDArray[np.float64],
    codes: NDArray[np.int8],
    axes: NDArray[np.float64],
) -> tuple[_Fit, NDArray[np.float64]]:
    """Fit a lattice that may move and turn; return its axes too."""
    middle = lattice.cell.sum(axis=0) / 2
    owners, images = _images(lattice, fractions)
    images = images - middle
    shift = _translation(lattice, fractions @ lattice.cell - middle, axes)
    for _ in range(_REFINEMENTS):
        found = images[_closest_images(lattice, (images - shift) @ axes.T, owners)]
        fit = _occupy(lattice, (found - shift) @ axes.T, codes, periodic=False)
        if len(fit.atoms) < 4:
            break
        ideal, actual = fit.points * lattice.a / 2, found[fit.atoms]
        axes = _closest_rotation((ideal - ideal.mean(axis=0)).T @ (actual - actual.mean(axis=0)))
        shift = actual.mean(axis=0) - ideal.mean(axis=0) @ axes
    found = images[_closest_images(lattice, (images - shift) @ axes.T, owners)]
    return _occupy(lattice, (found - shift) @ axes.T, codes, periodic=False), axes


def register(
    lattice: SiteLattice, positions: NDArray[np.float64], codes: NDArray[np.int8]
) -> Registration:
    """Move and turn the lattice so that it fits all atoms best, and occupy it.

    Parameters
    ----------
    lattice : SiteLattice
        The sites.
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å.
    codes : ndarray of int8, shape (n_atoms,)
        Species codes.

    Returns
    -------
    Registration
        The occupied sites. A lattice turned against the cell is preferred only if it holds more
        atoms than one that is not.
    """
    fractions = positions @ lattice.inverse_cell
    fractions -= np.floor(fractions)
    wrapped = fractions @ lattice.cell
    periodic = _fit_periodic(lattice, wrapped, codes)
    # Where every atom has its site, no other orientation can hold more.
    complete = len(periodic.atoms) == len(codes)
    axes = None if complete else find_orientation(lattice, wrapped)
    if axes is not None and _angles(axes) > _SMALL_ROTATION:
        block, axes = _fit_block(lattice, fractions, codes, axes)
        # Noise can make the surroundings of atoms look turned where the fit to all is not.
        if _angles(axes) > _SMALL_ROTATION and len(block.atoms) > len(periodic.atoms):
            return Registration(
                occupation=None,
                block=(block.points, codes[block.atoms]),
                n_removed=len(codes) - len(block.atoms),
                rotation=float(np.rad2deg(_angles(axes))),
                rms=block.rms,
            )
    occupation = np.full(lattice.n_sites, -1, dtype=np.int8)
    occupation[lattice.site_at(periodic.points)] = codes[periodic.atoms]
    return Registration(
        occupation=occupation,
        block=None,
        n_removed=len(codes) - len(periodic.atoms),
        rotation=0.0,
        rms=periodic.rms,
    )
