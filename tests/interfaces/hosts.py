"""Hosts for tests, cut from lattices by hand and not by the package."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.slab import Host, Slab
from dismaiflow.systems.interface_blocks import BulkPhase, Placement
from dismaiflow.systems.registry import get_system

LCO_CELL = cellpar_to_cell([2.82965, 2.82965, 14.13314, 90, 90, 120])
LSC_CELL = cellpar_to_cell([6.398, 11.040, 6.391, 90, 109.89, 90])
SPECIES = ("Li", "Co", "Sc", "Cl", "O")


def lco_sites():
    """Li 3a, Co 3b and O 6c of R-3m, with the two centring translations written out."""
    centring = [(0, 0, 0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)]
    heights = [("Li", 0.0), ("Co", 0.5), ("O", 0.2395), ("O", -0.2395)]
    return [(s, np.add(t, (0, 0, z))) for t in centring for s, z in heights]


def lsc_sites():
    """C2/m with the sites of isotypic Li3InCl6, symmetry written out."""
    single = [("Sc", (0, 0, 0)), ("Li", (0, 0.16809, 0.5)), ("Li", (0, -0.16809, 0.5))]
    single += [("Li", (0, 0.5, 0.5))]
    x, y, z = 0.23555, 0.15998, 0.23127
    single += [("Cl", p) for p in ((x, y, z), (-x, y, -z), (-x, -y, -z), (x, -y, z))]
    single += [("Cl", p) for p in ((0.24472, 0, 0.76116), (-0.24472, 0, -0.76116))]
    return [(s, np.array(p) + t) for s, p in single for t in ((0, 0, 0), (0.5, 0.5, 0))]


def cut(cell, sites, rows, low, high):
    """Return species, in-plane fractions and heights of a slab low <= z < high.

    `rows` are two in-plane vectors and one out of the plane, in the conventional cell.
    """
    a, b = np.asarray(rows, dtype=float)[:2] @ cell
    normal = np.cross(a, b)
    normal /= np.linalg.norm(normal)
    if normal @ (np.asarray(rows[2], dtype=float) @ cell) < 0:
        raise ValueError("left-handed")
    frame = np.linalg.inv(np.array([a, b, normal]))
    shifts = np.array(list(product(range(-12, 13), repeat=3)))
    found = []
    for symbol, site in sites:
        places = (site + shifts) @ cell @ frame
        u, v, z = places.T
        inside = (low <= z) & (z < high)
        inside &= (u >= -1e-6) & (u < 1 - 1e-6) & (v >= -1e-6) & (v < 1 - 1e-6)
        found += [(symbol, *place) for place in places[inside].tolist()]
    found.sort(key=lambda row: (round(row[3], 3), row[0], row[1], row[2]))
    return [f[0] for f in found], np.array([f[1:] for f in found])


def slab(phase, symbols, points, vectors):
    z = points[:, 2] - points[:, 2].min()
    order = np.argsort(np.round(z, 3), kind="stable")
    z, symbols = z[order], [symbols[i] for i in order]
    planes = np.concatenate([[0], np.cumsum(np.diff(z) > 0.25)]).astype(np.int64)
    positions = np.column_stack([points[order, :2] @ vectors, z])
    numbers = np.array([atomic_numbers[s] for s in symbols], dtype=np.uint8)
    return Slab(phase, numbers, positions, np.asarray(vectors), planes)


@cache
def lsc_lco_host() -> Host:
    """The published cell: 4 planes of LiCoO2(110), 7 of Li3ScCl6(100) after its polar fix."""
    vectors = np.array(cellpar_to_cell([12.46997, 17.19967, 33.21, 90, 90, 75.6674]))
    plane = vectors[:2, :2]
    u, v, w = np.array([[1, -1, 0], [1 / 3, -1 / 3, -1 / 3], [1, 0, 0]])
    rows = [u + 2 * v, -3 * u + 3 * v, w]
    substrate = slab("LCO", *cut(LCO_CELL, lco_sites(), rows, -0.1, 3.5 * 1.4148), plane)
    u, v, w = np.array([[0, 0, 1], [0, 1, 0], [-0.5, 0.5, 0]])
    rows = [u + v, -2 * u + v, w]
    step = 3.008
    symbols, points = cut(LSC_CELL, lsc_sites(), rows, 0.75, 0.75 + 3 * step)
    # The outer nine Cl of the lowest, rumpled plane go up by three repeats of w.
    lowest = np.argsort(points[:, 2])[:9]
    a, b = np.asarray(rows)[:2] @ LSC_CELL
    normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    jump = 3 * (w @ LSC_CELL) @ np.linalg.inv(np.array([a, b, normal]))
    points[lowest] += jump
    return Host(substrate, slab("LSC", symbols, points, plane), vectors)


@cache
def lsc_lco_parts():
    return get_system("lsc-lco").interface


@cache
def lsc_lco() -> RandomInterfaces:
    return RandomInterfaces(lsc_lco_host(), lsc_lco_parts(), SPECIES)


@cache
def small_host(c: float = 30.0) -> Host:
    """Two rocksalt (100) slabs of two planes, MgO below and LiF above, strained alike."""
    a = 4.1
    plane = np.array([[a, 0.0], [0.0, a]])
    symbols, points = [], []
    for k in range(2):
        for i, j in product(range(2), repeat=2):
            symbols.append("Mg" if (i + j + k) % 2 == 0 else "O")
            points.append((i / 2, j / 2, k * a / 2))
    film = ["Li" if s == "Mg" else "F" for s in symbols]
    cell = np.diag([a, a, c])
    below = slab("MgO", symbols, np.array(points), plane)
    return Host(below, slab("LiF", film, np.array(points), plane), cell)


def small_interfaces(formula_units=1, **region):
    """Return an interface of rocksalt slabs 4.1 Å wide."""
    parts = lsc_lco_parts()
    radii = {"Mg": 0.72, "O": 1.40, "Li": 0.76, "F": 1.33}
    minima = parts.region.min_distances.model_copy(update={"radii": radii, "pairs": {}})
    values = {
        "phase": "LiF",
        "formula_units": formula_units,
        "min_distances": minima,
        "placement": Placement(max_tries=200, max_restarts=1, scale_step=0.05),
    }
    return RandomInterfaces(
        small_host(),
        parts._replace(
            bulk={"LiF": BulkPhase(formula={"Li": 1, "F": 1}, cif="LiF.cif")},
            substrate="MgO",
            film="LiF",
            region=parts.region.model_copy(update=values | region),
            exchanges=None,
        ),
        ("Li", "Mg", "O", "F"),
    )
