"""Sums and products of pairs of doubles, 106 bits together, compiled.

T. J. Dekker, Numer. Math. 18 (1971) 224. A number is the sum of a double and a much smaller one.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from numba import njit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: 2^27 + 1; cuts a double into two halves of its bits.
_SPLITTER = 134217729.0


@njit(cache=True, nogil=True)
def _add(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    total = a + b
    part = total - a
    low = (a - (total - part)) + (b - part) + a_low + b_low
    high = total + low
    return high, low - (high - total)


@njit(cache=True, nogil=True)
def _times(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    product = a * b
    cut = _SPLITTER * a
    a1 = cut - (cut - a)
    a2 = a - a1
    cut = _SPLITTER * b
    b1 = cut - (cut - b)
    b2 = b - b1
    low = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2 + (a * b_low + a_low * b)
    high = product + low
    return high, low - (high - product)


@njit(cache=True, nogil=True)
def _minor(
    a: float,
    a_low: float,
    b: float,
    b_low: float,
    c: float,
    c_low: float,
    d: float,
    d_low: float,
) -> tuple[float, float]:
    """Return a b - c d."""
    p, p_low = _times(a, a_low, b, b_low)
    q, q_low = _times(c, c_low, d, d_low)
    return _add(p, p_low, -q, -q_low)


@njit(cache=True, nogil=True)
def _cross(
    q: NDArray[np.float64], a: int, b: int, c: int
) -> tuple[float, float, float, float, float, float]:
    """Return (q[b] - q[a]) x (q[c] - q[a]): its three components, high and low part."""
    ux, ux_low = _add(q[b, 0], 0.0, -q[a, 0], 0.0)
    uy, uy_low = _add(q[b, 1], 0.0, -q[a, 1], 0.0)
    uz, uz_low = _add(q[b, 2], 0.0, -q[a, 2], 0.0)
    vx, vx_low = _add(q[c, 0], 0.0, -q[a, 0], 0.0)
    vy, vy_low = _add(q[c, 1], 0.0, -q[a, 1], 0.0)
    vz, vz_low = _add(q[c, 2], 0.0, -q[a, 2], 0.0)
    x, x_low = _minor(uy, uy_low, vz, vz_low, uz, uz_low, vy, vy_low)
    y, y_low = _minor(uz, uz_low, vx, vx_low, ux, ux_low, vz, vz_low)
    z, z_low = _minor(ux, ux_low, vy, vy_low, uy, uy_low, vx, vx_low)
    return x, x_low, y, y_low, z, z_low


@njit(cache=True, nogil=True)
def precise_normal(q: NDArray[np.float64], a: int, b: int, c: int) -> tuple[float, float, float]:
    """Return the unit normal of the triangle of three points, however slender it is."""
    x, _, y, _, z, _ = _cross(q, a, b, c)
    length = sqrt(x * x + y * y + z * z)
    if length == 0.0:
        return 0.0, 0.0, 0.0
    return x / length, y / length, z / length


@njit(cache=True, nogil=True)
def precise_side(q: NDArray[np.float64], a: int, b: int, c: int, p: int) -> float:
    """Return six times the volume of a tetrahedron: above zero if p sees the triangle's front."""
    x, x_low, y, y_low, z, z_low = _cross(q, a, b, c)
    wx, wx_low = _add(q[p, 0], 0.0, -q[a, 0], 0.0)
    wy, wy_low = _add(q[p, 1], 0.0, -q[a, 1], 0.0)
    wz, wz_low = _add(q[p, 2], 0.0, -q[a, 2], 0.0)
    s, s_low = _times(x, x_low, wx, wx_low)
    t, t_low = _times(y, y_low, wy, wy_low)
    s, s_low = _add(s, s_low, t, t_low)
    t, t_low = _times(z, z_low, wz, wz_low)
    s, s_low = _add(s, s_low, t, t_low)
    return s
