"""Small periodic cells of any shape on a cubic lattice, and relaxed cells put back onto it.

Cells for electronic-structure calculations are seldom whole numbers of conventional cells. Their
vectors and sites are integers here, in units of half the lattice parameter, so that neighbours
through periodic images, an atom's own images among them, are counted exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import CUBIC_BASES, ShellNeighbors, SiteLattice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: An atom that moved by more than this share of the nearest-neighbour distance left its site: half
#: way to the boundary of its Wigner-Seitz cell.
MAX_DISPLACEMENT = 0.25

#: Largest principal stretch of a cell at constant volume, less one. The Bain path from fcc to bcc
#: ends at 0.206; a cell more than half way there is no fcc cell any more.
MAX_DISTORTION = 0.1

#: Reasons for which a relaxed cell has no place on the lattice.
LEFT_SITE, DISTORTED = "left_site", "cell_distorted"


class OffLatticeError(DismaiError):
    """A structure is not on the lattice.

    Parameters
    ----------
    reason : str
        `LEFT_SITE` or `DISTORTED`, to count by.
    detail : str
        One line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class LatticeCell:
    """A periodic cell of a cubic Bravais lattice.

    Parameters
    ----------
    kind : str
        ``sc``, ``bcc`` or ``fcc``.
    cell : ndarray of int, shape (3, 3)
        Cell vectors as rows, in units of a/2.
    sites : ndarray of int, shape (n_sites, 3)
        All its sites, in units of a/2, in any order.

    Raises
    ------
    DismaiError
        If the vectors are no lattice vectors, or the sites are not those of the cell.
    """

    kind: str
    cell: NDArray[np.int64]
    sites: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.kind not in CUBIC_BASES:
            raise DismaiError(
                f"unknown lattice {self.kind!r}: choose one of {', '.join(CUBIC_BASES)}"
            )
        if self._volume == 0 or not on_lattice(self.kind, self.cell).all():
            raise DismaiError(f"{self.cell.tolist()} are no cell vectors of a {self.kind} lattice")
        n_sites = self._volume * len(CUBIC_BASES[self.kind]) // 8
        fits = self.sites.shape == (n_sites, 3) and on_lattice(self.kind, self.sites).all()
        if not fits or len(np.unique(self._keys(self.sites))) < n_sites:
            raise DismaiError(
                f"a {self.kind} cell of {n_sites} sites was given {len(self.sites)}, some of which "
                "lie off the lattice or coincide"
            )

    @classmethod
    def of_supercell(cls, lattice: SiteLattice) -> LatticeCell:
        """Return the cell of a supercell of conventional cells, with its order of sites."""
        return cls(lattice.kind, np.diag(2 * np.array(lattice.repeats)), lattice.half_steps)

    @classmethod
    def of_structure(
        cls,
        kind: str,
        vectors: ArrayLike,
        positions: ArrayLike,
        max_displacement: float = MAX_DISPLACEMENT,
        max_distortion: float = MAX_DISTORTION,
    ) -> LatticeCell:
        """Find the lattice cell of a structure whose cubic axes lie along x, y and z.

        Parameters
        ----------
        kind : str
            ``sc``, ``bcc`` or ``fcc``.
        vectors : array-like, shape (3, 3)
            Cell vectors as rows, Å.
        positions : array-like, shape (n_atoms, 3)
            Å.
        max_displacement, max_distortion
            See `check_on_lattice`.

        Returns
        -------
        LatticeCell
            Its sites in the order of the atoms.

        Raises
        ------
        OffLatticeError
            If it is no such structure.
        """
        cell, places = np.asarray(vectors, dtype=float), np.asarray(positions, dtype=float)
        a = (abs(np.linalg.det(cell)) * len(CUBIC_BASES[kind]) / max(len(places), 1)) ** (1 / 3)
        whole = np.rint(2 * cell / a).astype(np.int64)
        n_sites = abs(_determinant(whole)) * len(CUBIC_BASES[kind]) / 8
        if n_sites != len(places) or not on_lattice(kind, whole).all():
            raise OffLatticeError(
                DISTORTED,
                f"its cell is none of a {kind} lattice with a = {a:.3f} A along x, y and z",
            )
        # Fractional coordinates undo a strain of the cell before sites are looked for.
        ideal = (places - places[0]) @ np.linalg.inv(cell) @ whole
        sites = nearest_sites(kind, ideal)
        # The first atom, from which the rest is measured, is displaced as well.
        sites = nearest_sites(kind, ideal - (ideal - sites).mean(axis=0))
        try:
            found = cls(kind, whole, sites)
        except DismaiError:
            raise OffLatticeError(LEFT_SITE, "two atoms share a site of the lattice") from None
        check_on_lattice(found, cell, places, max_displacement, max_distortion)
        return found

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.sites)

    @cached_property
    def _volume(self) -> int:
        return abs(_determinant(self.cell))

    @cached_property
    def fractional(self) -> NDArray[np.float64]:
        """Fractional coordinates of the sites, shape (n_sites, 3)."""
        return np.asarray(self.sites @ np.linalg.inv(self.cell), dtype=np.float64)

    def _numerators(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return fractional coordinates, wrapped, in units of one over the volume: exactly."""
        adjugate = np.rint(self._volume * np.linalg.inv(self.cell)).astype(np.int64)
        return np.mod(points @ adjugate, self._volume)

    def _keys(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number for each point that is the same for all its images."""
        volume = self._volume
        return np.asarray(self._numerators(points) @ np.array([volume**2, volume, 1]))

    def wrapped(self) -> LatticeCell:
        """Return the same cell with every site moved into it."""
        inside = self._numerators(self.sites) @ self.cell // self._volume
        return LatticeCell(self.kind, self.cell, inside)

    def neighbors(self, n_shells: int) -> ShellNeighbors:
        """Return the neighbours of every site in the first shells, for a = 1 Å.

        A site that is its own neighbour, or reaches another by several images, is listed as often
        as that happens.
        """
        unit = SiteLattice(self.kind, 1.0, (1, 1, 1)).shells(n_shells)
        vectors = np.rint(2 * unit.vectors).astype(np.int64)
        keys = self._keys(self.sites)
        order = np.argsort(keys)
        reached = self._keys(self.sites[:, None, :] + vectors[None, :, :])
        neighbors = order[np.searchsorted(keys, reached, sorter=order)].astype(np.int32)
        return ShellNeighbors(neighbors, unit.shell_of, unit.distances, unit.vectors)


def on_lattice(kind: str, points: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which points, in units of a/2, belong to the lattice.

    Parameters
    ----------
    kind : str
        ``sc``, ``bcc`` or ``fcc``.
    points : ndarray of int, shape (..., 3)
        Points.
    """
    odd = np.mod(points, 2)
    if kind == "fcc":
        return np.asarray(odd.sum(axis=-1) % 2 == 0)
    if kind == "bcc":
        return np.asarray((odd == odd[..., :1]).all(axis=-1))
    return np.asarray((odd == 0).all(axis=-1))


def nearest_sites(kind: str, points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the lattice site nearest to each point, in units of a/2, shape (n, 3)."""
    basis = np.rint(2 * np.asarray(CUBIC_BASES[kind])).astype(np.int64)
    cells = 2 * np.rint((points[:, None, :] - basis) / 2).astype(np.int64)
    candidates = cells + basis
    squares = ((candidates - points[:, None, :]) ** 2).sum(axis=-1)
    return np.asarray(candidates[np.arange(len(points)), squares.argmin(axis=1)])


def check_on_lattice(
    cell: LatticeCell,
    vectors: NDArray[np.float64],
    positions: NDArray[np.float64],
    max_displacement: float = MAX_DISPLACEMENT,
    max_distortion: float = MAX_DISTORTION,
) -> float:
    """Check that a relaxed structure is still the lattice cell that it began as.

    Parameters
    ----------
    cell : LatticeCell
        The cell, its sites in the order of the atoms.
    vectors : ndarray, shape (3, 3)
        Relaxed cell vectors, Å.
    positions : ndarray, shape (n_sites, 3)
        Relaxed positions, Å, in any periodic image. A common shift of all atoms does not count.
    max_displacement : float
        Largest displacement of an atom, as a share of the nearest-neighbour distance.
    max_distortion : float
        Largest principal stretch of the cell, less one, its change of volume taken out.

    Returns
    -------
    float
        Largest displacement in Å.

    Raises
    ------
    OffLatticeError
        If an atom left its site or the cell is distorted.
    """
    deformation = np.linalg.inv(cell.cell) @ vectors
    volume = abs(np.linalg.det(deformation))
    if not np.isfinite(vectors).all() or not np.isfinite(positions).all() or volume == 0:
        raise OffLatticeError(DISTORTED, "its cell or positions are not finite, or it is flat")
    scale = volume ** (1 / 3)
    stretch = float(np.abs(np.linalg.svd(deformation, compute_uv=False) / scale - 1).max())
    if stretch > max_distortion:
        raise OffLatticeError(
            DISTORTED, f"the cell is stretched by {stretch:.3f}, more than {max_distortion:g}"
        )
    moved = positions @ np.linalg.inv(vectors) - cell.fractional
    moved -= moved[0]
    moved -= np.rint(moved)
    moved -= moved.mean(axis=0)
    lengths = np.linalg.norm(moved @ vectors, axis=1)
    nearest = scale * np.linalg.norm(
        2 * SiteLattice(cell.kind, 1.0, (1, 1, 1)).shells(1).vectors[0]
    )
    if lengths.max() > max_displacement * nearest:
        raise OffLatticeError(
            LEFT_SITE,
            f"atom {int(lengths.argmax())} moved by {lengths.max():.2f} A, more than "
            f"{max_displacement:g} of the nearest-neighbour distance",
        )
    return float(lengths.max())


def _determinant(matrix: NDArray[np.int64]) -> int:
    """Return the determinant of an integer matrix, exactly."""
    a, b, c = (list(map(int, row)) for row in matrix)
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
