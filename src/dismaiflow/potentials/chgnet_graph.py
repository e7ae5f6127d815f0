"""The graph of a structure as CHGNet wants it, from arrays.

The package chgnet builds the same graph bond by bond, which takes a quarter of a second for a slab
of 264 atoms, during which a GPU has nothing to do; here it takes 5 ms.

B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

#: Å. Neighbours at a smaller distance are the atom itself.
_TOLERANCE = 1e-8


class Bonds(NamedTuple):
    """Bonds and angles of a structure.

    Parameters
    ----------
    ends : ndarray of int32, shape (n_directed, 2)
        Atoms of each bond, in both directions.
    images : ndarray, shape (n_directed, 3)
        Cell in which the second atom lies.
    undirected : ndarray of int32, shape (n_directed,)
        Index of each bond without its direction.
    directed : ndarray of int32, shape (n_directed / 2,)
        One direction of each of these.
    angles : ndarray of int32, shape (n_angles, 5)
        Atom, and the undirected and directed index of two bonds that begin there.
    """

    ends: NDArray[np.int32]
    images: NDArray[np.int64]
    undirected: NDArray[np.int32]
    directed: NDArray[np.int32]
    angles: NDArray[np.int32]


def crystal_graph(atoms: Atoms, reach: float, angle_reach: float) -> Any:
    """Return the graph of a structure.

    Parameters
    ----------
    atoms : Atoms
        Periodic in all directions.
    reach, angle_reach : float
        Longest bonds, and longest bonds of angles, Å.

    Returns
    -------
    chgnet.graph.CrystalGraph
        On the processor.

    Raises
    ------
    ValueError
        If an atom has no neighbours, where the energies of CHGNet mean nothing.
    """
    import torch
    from chgnet.graph.crystalgraph import CrystalGraph

    bonds = find_bonds(atoms, reach, angle_reach)
    lonely = len(atoms) - len(np.unique(bonds.ends[:, 0]))
    if lonely:
        raise ValueError(f"{lonely} isolated atoms, without neighbours within {reach:g} Å")
    fractions = torch.tensor(atoms.get_scaled_positions(wrap=False), dtype=torch.float32)
    return CrystalGraph(
        atomic_number=torch.tensor(atoms.numbers, dtype=torch.int32),
        atom_frac_coord=fractions.requires_grad_(),
        atom_graph=torch.from_numpy(bonds.ends),
        atom_graph_cutoff=reach,
        neighbor_image=torch.from_numpy(bonds.images).float(),
        directed2undirected=torch.from_numpy(bonds.undirected),
        undirected2directed=torch.from_numpy(bonds.directed),
        bond_graph=torch.from_numpy(bonds.angles),
        bond_graph_cutoff=angle_reach,
        lattice=torch.tensor(atoms.cell.array, dtype=torch.float32).requires_grad_(),
    )


def find_bonds(atoms: Atoms, reach: float, angle_reach: float) -> Bonds:
    """Return bonds and angles; the parameters are those of `crystal_graph`."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions = np.ascontiguousarray(atoms.positions, dtype=float)
    first, second, images, distances = find_points_in_spheres(
        positions,
        positions,
        r=reach,
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(atoms.cell.array, dtype=float),
        tol=_TOLERANCE,
    )
    other = (first != second) | (distances > _TOLERANCE)
    order = np.flatnonzero(other)[np.argsort(first[other], kind="stable")]
    first, second, distances = first[order], second[order], distances[order]
    cells: NDArray[np.int64] = np.rint(images[order]).astype(np.int64)
    undirected, directed = _paired(first, second, cells)
    return Bonds(
        np.column_stack([first, second]).astype(np.int32),
        cells,
        undirected,
        directed,
        _angles(first, undirected, distances < angle_reach),
    )


def _paired(
    first: NDArray[np.int64], second: NDArray[np.int64], images: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the numbers of the bonds without their directions, and the reverse."""
    if not len(first):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
    n_atoms = int(first.max()) + 1
    span = int(np.abs(images).max())

    def code(begin: NDArray[np.int64], end: NDArray[np.int64], image: NDArray[np.int64]) -> Any:
        number = begin * n_atoms + end
        for axis in range(3):
            number = number * (2 * span + 1) + image[:, axis] + span
        return number

    both = np.minimum(code(first, second, images), code(second, first, -images))
    _, directed, undirected, counts = np.unique(
        both, return_index=True, return_inverse=True, return_counts=True
    )
    if (counts != 2).any():
        raise ValueError("a bond at the very end of its reach is seen from one of its atoms only")
    return undirected.astype(np.int32), directed.astype(np.int32)


def _angles(
    first: NDArray[np.int64], undirected: NDArray[np.int32], short: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return all ordered pairs of short bonds that begin at the same atom."""
    bonds = np.flatnonzero(short)
    _, starts, counts = np.unique(first[bonds], return_index=True, return_counts=True)
    partners = np.repeat(counts, counts)  # of each bond, with itself
    one = np.repeat(np.arange(len(bonds)), partners)
    ends = np.cumsum(partners)
    within = np.arange(len(one)) - np.repeat(ends - partners, partners)
    another = np.repeat(np.repeat(starts, counts), partners) + within
    differ = one != another
    one, another = bonds[one[differ]], bonds[another[differ]]
    return np.column_stack([first[one], undirected[one], one, undirected[another], another]).astype(
        np.int32
    )
