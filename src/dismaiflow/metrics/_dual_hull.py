"""Voronoi cell of one atom as a convex hull of inverted neighbours, compiled.

The cell of an atom at the origin is all x with ``x . p <= p . p / 2`` for each neighbour p, that
is ``x . q <= 1/2`` with ``q = p / (p . p)``. It is polar to the convex hull of the points q: a
corner of the hull is a face of the cell, a triangle of the hull with unit normal n at distance h
from the origin is the vertex ``n / (2 h)`` of the cell, and the cell is bounded if the origin lies
inside the hull. Far vertices are small h rather than huge numbers, so the open cells of surfaces
need no special care.

In crystals many points of the hull lie in one plane or on one line. They are moved apart by about
the rounding of their coordinates, and what doubles cannot tell is decided with twice as many bits,
so that the hull is always closed.
"""

from __future__ import annotations

from math import atan2, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dismaiflow.metrics._double_double import precise_normal, precise_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What `cell_faces` may say apart from the number of faces.
OPEN, BROKEN = 0, -1

#: 1/Å. A triangle of the hull nearer to the origin is a vertex of the cell at infinity: it would
#: lie 5e12 Å away, where the rounding of coordinates alone puts the vertices over a flat surface.
_INFINITE = 1e-13

#: How far the points are moved apart, and how near to a plane doubles cannot tell the sides; as
#: fractions of the largest point.
_SHIFT, _UNSURE = 1e-14, 4e-14

#: sr. Faces smaller than this come from the shift alone.
_NO_FACE = 1e-12


@njit(cache=True, nogil=True)
def _place(
    f: int,
    a: int,
    b: int,
    c: int,
    q: NDArray[np.float64],
    corners: NDArray[np.int64],
    planes: NDArray[np.float64],
) -> None:
    """Write triangle f and its plane: unit normal and distance from the origin."""
    ux, uy, uz = q[b, 0] - q[a, 0], q[b, 1] - q[a, 1], q[b, 2] - q[a, 2]
    vx, vy, vz = q[c, 0] - q[a, 0], q[c, 1] - q[a, 1], q[c, 2] - q[a, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    square = nx * nx + ny * ny + nz * nz
    if square < 1e-2 * (ux * ux + uy * uy + uz * uz) * (vx * vx + vy * vy + vz * vz):
        nx, ny, nz = precise_normal(q, a, b, c)
    else:
        length = sqrt(square)
        nx, ny, nz = nx / length, ny / length, nz / length
    corners[f, 0], corners[f, 1], corners[f, 2] = a, b, c
    planes[f, 0], planes[f, 1], planes[f, 2] = nx, ny, nz
    planes[f, 3] = planes[f, 0] * q[a, 0] + planes[f, 1] * q[a, 1] + planes[f, 2] * q[a, 2]


@njit(cache=True, nogil=True)
def _first_tetrahedron(
    q: NDArray[np.float64],
    n: int,
    corners: NDArray[np.int64],
    planes: NDArray[np.float64],
    start: NDArray[np.int64],
) -> bool:
    """Begin with four points that span a volume; say whether there are any."""
    start[0] = 0
    most = 0.0
    for k in range(n):
        x, y, z = q[k, 0] - q[0, 0], q[k, 1] - q[0, 1], q[k, 2] - q[0, 2]
        size = x * x + y * y + z * z
        if size > most:
            most, start[1] = size, k
    length = sqrt(most)
    ux, uy, uz = q[start[1], 0] - q[0, 0], q[start[1], 1] - q[0, 1], q[start[1], 2] - q[0, 2]
    most, nx, ny, nz = 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        vx, vy, vz = q[k, 0] - q[0, 0], q[k, 1] - q[0, 1], q[k, 2] - q[0, 2]
        cx, cy, cz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        size = cx * cx + cy * cy + cz * cz
        if size > most:
            most, start[2] = size, k
            nx, ny, nz = cx, cy, cz
    most, side = 0.0, 0.0
    for k in range(n):
        volume = nx * (q[k, 0] - q[0, 0]) + ny * (q[k, 1] - q[0, 1]) + nz * (q[k, 2] - q[0, 2])
        if abs(volume) > most:
            most, start[3], side = abs(volume), k, volume
    if most <= 1e-12 * length**3:
        return False
    # Every triangle must be seen anticlockwise from outside.
    a, b, c, d = start[0], start[1], start[2], start[3]
    if side > 0:
        b, c = c, b
    _place(0, a, b, c, q, corners, planes)
    _place(1, a, c, d, q, corners, planes)
    _place(2, a, d, b, q, corners, planes)
    _place(3, b, d, c, q, corners, planes)
    return True


@njit(cache=True, nogil=True)
def _hull(
    q: NDArray[np.float64],
    sizes: NDArray[np.float64],
    n: int,
    corners: NDArray[np.int64],
    planes: NDArray[np.float64],
) -> int:
    """Build the convex hull of points by falling size; return the number of triangles."""
    start = np.zeros(4, dtype=np.int64)
    if n < 4 or not _first_tetrahedron(q, n, corners, planes, start):
        return OPEN
    n_triangles = 4
    seen = np.empty(len(corners), dtype=np.int64)
    edges = np.empty((3 * len(corners), 2), dtype=np.int64)
    unsure = _UNSURE * sizes[0]
    for p in range(n):
        if p == start[0] or p == start[1] or p == start[2] or p == start[3]:
            continue
        n_seen, nearest = 0, np.inf
        for f in range(n_triangles):
            height = planes[f, 0] * q[p, 0] + planes[f, 1] * q[p, 1] + planes[f, 2] * q[p, 2]
            height -= planes[f, 3]
            if abs(height) < unsure:
                height = precise_side(q, corners[f, 0], corners[f, 1], corners[f, 2], p)
            if height > 0:
                seen[n_seen] = f
                n_seen += 1
            nearest = min(nearest, planes[f, 3])
        if n_seen == 0:
            if sizes[p] + unsure <= nearest:
                break  # this and all later points lie inside
            continue
        n_edges = 0
        for k in range(n_seen):
            for c in range(3):
                edges[n_edges, 0] = corners[seen[k], c]
                edges[n_edges, 1] = corners[seen[k], (c + 1) % 3]
                n_edges += 1
        for k in range(n_seen - 1, -1, -1):
            n_triangles -= 1
            corners[seen[k]] = corners[n_triangles]
            planes[seen[k]] = planes[n_triangles]
        for k in range(n_edges):
            # An edge that is met only once borders what the point sees.
            inner = False
            for other in range(n_edges):
                if edges[other, 0] == edges[k, 1] and edges[other, 1] == edges[k, 0]:
                    inner = True
                    break
            if not inner:
                if n_triangles == len(corners):
                    return BROKEN
                _place(n_triangles, edges[k, 0], edges[k, 1], p, q, corners, planes)
                n_triangles += 1
    return n_triangles


@njit(cache=True, nogil=True)
def _around(
    v: int,
    n_triangles: int,
    corners: NDArray[np.int64],
    ring: NDArray[np.int64],
) -> int:
    """Write the triangles around a corner in their order; return how many, or BROKEN."""
    total, first = 0, -1
    for f in range(n_triangles):
        if corners[f, 0] == v or corners[f, 1] == v or corners[f, 2] == v:
            total += 1
            first = f
    if total == 0:
        return 0
    here, found = first, 0
    while found < total:
        ring[found] = here
        found += 1
        last = -1
        for c in range(3):
            if corners[here, c] == v:
                last = corners[here, (c + 2) % 3]
        following = -1
        for f in range(n_triangles):
            for c in range(3):
                if corners[f, c] == v and corners[f, (c + 1) % 3] == last:
                    following = f
        if following < 0 or (following == first and found < total):
            return BROKEN
        here = following
    return total if here == first else BROKEN


@njit(cache=True, nogil=True)
def _face(
    ring: NDArray[np.int64],
    size: int,
    planes: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> tuple[float, float]:
    """Return solid angle and area of a face, from the triangles around its corner of the hull.

    Both are sums of signed pieces: two vertices that should be one then do no harm.
    """
    angle, area = 0.0, 0.0
    a = planes[ring[0]]
    for k in range(1, size - 1):
        b, c = planes[ring[k]], planes[ring[k + 1]]
        nx = b[1] * c[2] - b[2] * c[1]
        ny = b[2] * c[0] - b[0] * c[2]
        nz = b[0] * c[1] - b[1] * c[0]
        volume = a[0] * nx + a[1] * ny + a[2] * nz
        ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
        bc = b[0] * c[0] + b[1] * c[1] + b[2] * c[2]
        ca = c[0] * a[0] + c[1] * a[1] + c[2] * a[2]
        # A. van Oosterom, J. Strackee, IEEE Trans. Biomed. Eng. 30 (1983) 125.
        angle += 2 * atan2(volume, 1 + ab + bc + ca)
        ux, vx = b[0] / b[3] - a[0] / a[3], c[0] / c[3] - a[0] / a[3]
        uy, vy = b[1] / b[3] - a[1] / a[3], c[1] / c[3] - a[1] / a[3]
        uz, vz = b[2] / b[3] - a[2] / a[3], c[2] / c[3] - a[2] / a[3]
        area += (
            (uy * vz - uz * vy) * direction[0]
            + (uz * vx - ux * vz) * direction[1]
            + (ux * vy - uy * vx) * direction[2]
        ) / 8
    return angle, area


@njit(cache=True, nogil=True)
def cell_faces(
    vectors: NDArray[np.float64],
    distances: NDArray[np.float64],
    n: int,
    faces: NDArray[np.int64],
    angles: NDArray[np.float64],
    areas: NDArray[np.float64],
) -> tuple[int, float]:
    """Find the faces of the Voronoi cell of an atom at the origin.

    Parameters
    ----------
    vectors : ndarray, shape (>= n, 3)
        To the neighbours, Å, by rising distance.
    distances : ndarray, shape (>= n,)
        Their lengths, Å.
    n : int
        How many there are.
    faces : ndarray of int64, shape (>= n,)
        Filled with the neighbours that have a face.
    angles, areas : ndarray, shape (>= n,)
        Filled with the solid angles, sr, and areas, Å^2, of these faces.

    Returns
    -------
    n_faces : int
        OPEN if the cell is not bounded, BROKEN if rounding spoilt the hull.
    reach : float
        Twice the distance of the farthest vertex, Å: neighbours farther away cannot matter.
    """
    q = np.empty((n, 3))
    sizes = np.empty(n)
    noise = 1
    for k in range(n):
        sizes[k] = 1 / distances[k]
        for axis in range(3):
            noise = (1664525 * noise + 1013904223) % 2**32
            shift = _SHIFT * sizes[0] * (noise / 2**31 - 1)
            q[k, axis] = vectors[k, axis] * sizes[k] * sizes[k] + shift
    corners = np.empty((2 * n + 8, 3), dtype=np.int64)
    planes = np.empty((2 * n + 8, 4))
    n_triangles = _hull(q, sizes, n, corners, planes)
    if n_triangles <= 0:
        return n_triangles, np.inf
    nearest = np.inf
    for f in range(n_triangles):
        nearest = min(nearest, planes[f, 3])
    if nearest < _INFINITE:
        return OPEN, np.inf
    ring = np.empty(n_triangles, dtype=np.int64)
    n_faces, n_corners, total = 0, 0, 0.0
    for v in range(n):
        size = _around(v, n_triangles, corners, ring)
        if size < 0:
            return BROKEN, np.inf
        if size == 0:
            continue
        n_corners += 1
        angle, area = _face(ring, size, planes, vectors[v] * sizes[v])
        if angle < -1e-9:
            return BROKEN, np.inf
        total += angle
        if angle > _NO_FACE:
            faces[n_faces], angles[n_faces], areas[n_faces] = v, angle, max(area, 0.0)
            n_faces += 1
    # Euler's formula, and the whole sphere: a hull that is not closed fails one of them.
    if n_triangles != 2 * n_corners - 4 or abs(total - 4 * np.pi) > 1e-7:
        return BROKEN, np.inf
    return n_faces, 1 / nearest
