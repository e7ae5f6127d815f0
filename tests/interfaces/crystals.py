"""Bulk crystals of the tests, as pymatgen structures."""

from __future__ import annotations

from functools import cache

import numpy as np
from pymatgen.core import Lattice, Structure

CHARGES = {"Li": 1.0, "Co": 3.0, "Sc": 3.0, "Cl": -1.0, "O": -2.0}

LCO_BASIS = [[1, -1, 0], [1 / 3, -1 / 3, -1 / 3], [1, 0, 0]]
LCO_MATRIX = [[1, 2], [-3, 3]]
LSC_BASIS = [[0, 0, 1], [0, 1, 0], [-1 / 2, 1 / 2, 0]]
LSC_MATRIX = [[1, 1], [-2, 1]]
#: Table S4 of the paper.
LI2O_MATRIX = [[1, 2], [-4, 2]]


@cache
def lco() -> Structure:
    return Structure.from_spacegroup(
        "R-3m",
        Lattice.hexagonal(2.82965, 14.13314),
        ["Li", "Co", "O"],
        [[0, 0, 0], [0, 0, 0.5], [0, 0, 0.2395]],
    )


@cache
def lsc() -> Structure:
    return Structure.from_spacegroup(
        "C2/m",
        Lattice.monoclinic(6.398, 11.040, 6.391, 109.89),
        ["Sc", "Li", "Li", "Cl", "Cl"],
        [
            [0, 0, 0],
            [0, 0.16809, 0.5],
            [0, 0.5, 0.5],
            [0.23555, 0.15998, 0.23127],
            [0.24472, 0, 0.76116],
        ],
    )


@cache
def li2o() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.61), ["Li", "O"], [[0.25] * 3, [0, 0, 0]]
    )


def on_bulk_sites(slab, structure, basis, tolerance=1e-6):
    """Tell whether each atom of a slab one surface cell wide lies on a site of its species.

    The frame of the slab is rebuilt from lengths and angles of u, v, w alone.
    """
    rows = np.asarray(basis, dtype=float)
    a, b, c, alpha, beta, gamma = Lattice(rows @ structure.lattice.matrix).parameters
    from ase.geometry import cellpar_to_cell

    cell = cellpar_to_cell([a, b, c, alpha, beta, gamma])
    inverse = np.linalg.inv(cell)
    sites = structure.frac_coords @ np.linalg.inv(rows)
    numbers = np.array([site.specie.Z for site in structure])
    inside = (slab.positions - slab.positions[0]) @ inverse
    for origin in sites[numbers == slab.numbers[0]]:
        apart = (inside + origin)[:, None] - sites[None]
        apart -= np.rint(apart)
        distances = np.linalg.norm(apart @ cell, axis=-1)
        distances[slab.numbers[:, None] != numbers[None]] = np.inf
        if distances.min(axis=1).max() < tolerance:
            return True
    return False
