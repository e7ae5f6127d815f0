"""The third published alignment: a lattice turned and moved onto the structure (CDVAE's script).

The script turns the lattice as the surroundings of one atom say, cuts the cell out of it, pins it
to that atom and accepts every atom near a site that holds none yet. What is left over is accepted
if it has an accepted second neighbour, which lets lattices with a shorter spacing pass. Accepted
atoms keep their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from dismaiflow.metrics.off_lattice import find_basis
from dismaiflow.metrics.sites import ANCHOR_RADIUS, SITE_RADIUS, nearest
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RotatedSites:
    """The atoms that the script accepts.

    Parameters
    ----------
    atoms : ndarray of int64, shape (n_accepted,)
        Their indices, in the order of acceptance.
    n_removed : int
        Sites of the cell minus accepted atoms; negative if more atoms than sites were accepted.
    """

    atoms: NDArray[np.int64]
    n_removed: int


def rotated_lattice(lattice: SiteLattice, axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the lattice about the middle of the cell and keep what is inside the cell.

    Parameters
    ----------
    lattice : SiteLattice
        A supercell with equal edges.
    axes : ndarray, shape (3, 3)
        New directions of the cubic axes, as rows.

    Returns
    -------
    ndarray, shape (n_sites, 3)
        Site positions in Å. Their number varies by a few with the orientation.
    """
    x, y, z = lattice.repeats
    tripled = SiteLattice(lattice.kind, lattice.a, (3 * x, 3 * y, 3 * z))
    fractions = tripled.positions / np.diag(tripled.cell) - 0.5
    turned = fractions @ axes
    inside = ((turned > -1 / 6) & (turned <= 1 / 6)).all(axis=1)
    return (turned[inside] * 3 + 0.5) @ lattice.cell


@numba.njit(cache=True, nogil=True)
def _accept(
    positions: NDArray[np.float64],
    sites: NDArray[np.float64],
    axes: NDArray[np.float64],
    cell: NDArray[np.float64],
    inverse: NDArray[np.float64],
    a: float,
) -> tuple[NDArray[np.int64], int]:
    """Accept atoms one by one; return their indices in order and how many there are."""
    n_atoms = positions.shape[0]
    accepted = np.empty(n_atoms, np.int64)
    kept = np.empty((n_atoms, 3))
    n = 0
    left = np.empty(n_atoms, np.int64)
    n_left = 0
    for j in range(n_atoms):
        site, _ = nearest(positions[j], sites, cell, inverse, SITE_RADIUS, True)
        if site < 0:
            left[n_left] = j
            n_left += 1
            continue
        other, _ = nearest(positions[j], kept[:n], cell, inverse, SITE_RADIUS, True)
        if other < 0:
            accepted[n] = j
            kept[n] = positions[j]
            n += 1
    n_added = 1
    while n_added > 0 and n_left > 0:
        n_added = 0
        for m in range(n_left - 1, -1, -1):
            here = positions[left[m]]
            other, _ = nearest(here, kept[:n], cell, inverse, SITE_RADIUS, True)
            take = False
            if other < 0:
                for k in range(6):
                    step = axes[k // 2] if k % 2 == 0 else -axes[k // 2]
                    point = here + step * a
                    second, _ = nearest(point, kept[:n], cell, inverse, SITE_RADIUS, True)
                    if second >= 0:
                        take = True
                        break
                if not take:
                    continue
                accepted[n] = left[m]
                kept[n] = here
                n += 1
                n_added += 1
            for q in range(m, n_left - 1):
                left[q] = left[q + 1]
            n_left -= 1
    return accepted, n


def assign_rotated(lattice: SiteLattice, positions: NDArray[np.float64]) -> RotatedSites | None:
    """Accept the atoms that stand on a turned and moved lattice.

    Parameters
    ----------
    lattice : SiteLattice
        The sites, in a cubic cell.
    positions : ndarray, shape (n_atoms, 3)
        Atom positions in Å.

    Returns
    -------
    RotatedSites or None
        None if no atom shows the orientation of the lattice, in which case the script passes over
        the structure.
    """
    cell = lattice.cell
    inverse = lattice.inverse_cell
    axes, atom = find_basis(positions, cell, inverse, lattice.a)
    if atom < 0:
        return None
    axes[2] /= np.linalg.norm(axes[2])
    sites = rotated_lattice(lattice, axes)
    pin = positions[atom]
    site, _ = nearest(pin, sites, cell, inverse, ANCHOR_RADIUS, True)
    sites = sites + (pin - sites[site])
    accepted, n = _accept(np.ascontiguousarray(positions), sites, axes, cell, inverse, lattice.a)
    return RotatedSites(accepted[:n].copy(), lattice.n_sites - int(n))
