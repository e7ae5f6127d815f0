"""Local structure order parameters: how well the neighbours of an atom fit a motif, compiled.

N. E. R. Zimmermann, A. Jain, Local structure order parameters and site fingerprints for
quantification of coordination environment, RSC Adv. 10 (2020) 6063, DOI 10.1039/C9RA07755C; the
bond-orientational ones: P. J. Steinhardt, D. R. Nelson, M. Ronchetti, Phys. Rev. B 28 (1983) 784.
The widths and target angles are the optimised ones that pymatgen uses for each coordination
number.

Most of them put one neighbour at the north pole and another on the prime meridian, and compare
polar angle and azimuth of all others with those of the motif; the best choice of the two counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import acos, asin, cos, exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Kinds of order parameters; they tell what the numbers of a `Motif` mean.
SINGLE, BENT, TARGET, PENTAGON, POLES, BODY_CENTRED, CUBOCTAHEDRON, HARMONIC = range(8)

#: Below this a neighbour lies on the axis through the north pole.
_ON_AXIS = 1e-12

#: Tops of the coordination numbers that have order parameters, and of those in a fingerprint.
LARGEST_MOTIF, LARGEST_COORDINATION = 12, 24


@dataclass(frozen=True)
class Motif:
    """One order parameter of one coordination number.

    Parameters
    ----------
    coordination : int
        Number of neighbours.
    name : str
        As matminer names it.
    kind : int
        Which formula.
    numbers : tuple of float
        TARGET and BENT: target polar angle as a fraction of 180 degrees, inverse width, periods of
        the squared cosine of the azimuth in 360 degrees. PENTAGON: inverse width. POLES: smallest
        angle of the south pole in radians, inverse widths there and at the target, target polar
        angle from the equator, periods, largest azimuth over 180 degrees. BODY_CENTRED: the first
        two, and the weight of the south pole. CUBOCTAHEDRON: the same, then the inverse widths at
        and off the equator. HARMONIC: the degree.
    """

    coordination: int
    name: str
    kind: int
    numbers: tuple[float, ...]

    @property
    def label(self) -> str:
        """Name of the feature, e.g. ``octahedral CN_6``."""
        return f"{self.name} CN_{self.coordination}"


#: 109.47 degrees, and where the south pole begins, 135 degrees.
_TETRAHEDRAL, _SOUTH = 0.6081734479693927, 2.356194490192345

#: All order parameters of the fingerprint, in its order.
MOTIFS: tuple[Motif, ...] = (
    Motif(1, "sgl_bd", SINGLE, ()),
    Motif(2, "L-shaped", BENT, (0.5, 15.15)),
    Motif(2, "water-like", BENT, (0.5802777777777778, 13.95)),
    Motif(2, "bent 120 degrees", BENT, (0.666666666667, 13.25)),
    Motif(2, "bent 150 degrees", BENT, (0.833333333333333, 12.45)),
    Motif(2, "linear", BENT, (1.0, 8.667)),
    Motif(3, "trigonal planar", TARGET, (0.66666666667, 17.5, 2)),
    Motif(3, "trigonal non-coplanar", TARGET, (_TETRAHEDRAL, 18.33, 3)),
    Motif(3, "T-shaped", TARGET, (0.5, 15.5, 2)),
    Motif(4, "square co-planar", POLES, (_SOUTH, 13.5, 17.7, 0.0, 2, 2.0)),
    Motif(4, "tetrahedral", TARGET, (_TETRAHEDRAL, 18.5, 3)),
    Motif(4, "rectangular see-saw-like", POLES, (_SOUTH, 11.5, 27.0, 0.0, 4, 0.75)),
    Motif(4, "see-saw-like", POLES, (_SOUTH, 12.75, 15.75, 0.0, 3, 2.0)),
    Motif(4, "trigonal pyramidal", TARGET, (0.5, 15.5, 3)),
    Motif(5, "pentagonal planar", PENTAGON, (19.333,)),
    Motif(5, "square pyramidal", TARGET, (0.5, 14.9, 4)),
    Motif(5, "trigonal bipyramidal", POLES, (_SOUTH, 12.0, 16.6, 0.0, 3, 2.0)),
    Motif(6, "hexagonal planar", POLES, (2.6179938779914944, 7.5, 25.0, 0.16666667, 2, 2.0)),
    Motif(6, "octahedral", POLES, (_SOUTH, 15.0, 18.0, 0.0, 4, 2.0)),
    Motif(6, "pentagonal pyramidal", TARGET, (0.5, 13.8, 5)),
    Motif(7, "hexagonal pyramidal", TARGET, (0.5, 12.5, 6)),
    Motif(7, "pentagonal bipyramidal", POLES, (_SOUTH, 12.5, 14.75, 0.0, 5, 2.0)),
    Motif(8, "body-centered cubic", BODY_CENTRED, (2.5261129449194057, 15.0, 6.0)),
    Motif(8, "hexagonal bipyramidal", POLES, (_SOUTH, 14.1, 13.6, 0.0, 6, 2.0)),
    *(Motif(n, f"q{degree}", HARMONIC, (degree,)) for n in (9, 10, 11) for degree in (2, 4, 6)),
    Motif(12, "cuboctahedral", CUBOCTAHEDRON, (2.792526803190927, 28.75, 1.8, 25.5, 31.25)),
    *(Motif(12, f"q{degree}", HARMONIC, (degree,)) for degree in (2, 4, 6)),
)

#: The polar angles at which a cuboctahedron has its equator, radians: 75 and 105 degrees.
_EQUATOR = (1.3089969389957472, 1.8325957145940461)


def motif_tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the coordinations, kinds and numbers (shape (n, 6)) of `MOTIFS` as arrays."""
    numbers = np.zeros((len(MOTIFS), 6))
    for row, motif in zip(numbers, MOTIFS, strict=True):
        row[: len(motif.numbers)] = motif.numbers
    return (
        np.array([motif.coordination for motif in MOTIFS], dtype=np.int64),
        np.array([motif.kind for motif in MOTIFS], dtype=np.int64),
        numbers,
    )


@njit(cache=True, nogil=True)
def neighbour_angles(
    units: NDArray[np.float64], n: int, polar: NDArray[np.float64], azimuth: NDArray[np.float64]
) -> None:
    """Fill the angles that the order parameters need.

    Parameters
    ----------
    units : ndarray, shape (>= n, 3)
        Unit vectors to the neighbours.
    n : int
        How many there are.
    polar : ndarray, shape (>= n, >= n)
        Angle between each two, radians.
    azimuth : ndarray, shape (>= n, >= n, >= n)
        ``[j, k, m]``: cosine of the azimuth of m with j at the north pole and k on the prime
        meridian; 2 if k lies on the axis, 3 if only m does.
    """
    flat = np.empty((n, 3))
    sizes = np.empty(n)
    for j in range(n):
        square = units[j, 0] ** 2 + units[j, 1] ** 2 + units[j, 2] ** 2
        for k in range(n):
            dot = units[j, 0] * units[k, 0] + units[j, 1] * units[k, 1] + units[j, 2] * units[k, 2]
            polar[j, k] = acos(max(-1.0, min(dot, 1.0)))
            size = 0.0
            for axis in range(3):
                flat[k, axis] = units[k, axis] - dot / square * units[j, axis]
                size += flat[k, axis] ** 2
            sizes[k] = sqrt(size)
            if sizes[k] >= _ON_AXIS:
                for axis in range(3):
                    flat[k, axis] /= sizes[k]
        for k in range(n):
            for m in range(n):
                if sizes[k] < _ON_AXIS:
                    azimuth[j, k, m] = 2.0
                elif sizes[m] < _ON_AXIS:
                    azimuth[j, k, m] = 3.0
                else:
                    dot = (
                        flat[k, 0] * flat[m, 0] + flat[k, 1] * flat[m, 1] + flat[k, 2] * flat[m, 2]
                    )
                    azimuth[j, k, m] = max(-1.0, min(dot, 1.0))


@njit(cache=True, nogil=True)
def order_parameter(
    kind: int,
    numbers: NDArray[np.float64],
    n: int,
    units: NDArray[np.float64],
    polar: NDArray[np.float64],
    azimuth: NDArray[np.float64],
) -> float:
    """Return one order parameter of the first n neighbours, 0 where it is not defined.

    The parameters are those of `Motif` and `neighbour_angles`.
    """
    if kind == SINGLE:
        return 1.0
    if kind == BENT:
        return _gauss(numbers[1] * (polar[0, 1] / pi - numbers[0]))
    if kind == HARMONIC:
        return _harmonic(int(numbers[0]), n, units)
    if kind == BODY_CENTRED:
        return _body_centred(numbers, n, polar, azimuth)
    best = -np.inf
    radial, pole = np.empty(n), np.empty(n)
    for j in range(n):
        for m in range(n):
            radial[m] = _radial(kind, numbers, polar[j, m])
            pole[m] = _gauss(numbers[1] * (polar[j, m] / pi - 1))
        for k in range(n):
            if k == j:
                continue
            if kind == POLES:
                value = _poles(numbers, n, j, k, polar, azimuth, radial, pole)
            elif kind == CUBOCTAHEDRON:
                value = _cuboctahedron(numbers, n, j, k, polar, azimuth, radial, pole)
            else:
                periods = int(numbers[2]) if kind == TARGET else 2
                value = _target(periods, n, j, k, azimuth, radial)
            best = max(best, value)
    return best


@njit(cache=True, nogil=True)
def _gauss(x: float) -> float:
    return exp(-0.5 * x * x)


@njit(cache=True, nogil=True)
def _squared_cosine(periods: int, c: float) -> float:
    """Return the squared cosine that has so many periods in a turn, from the angle's cosine."""
    # 2 cos(x)^2 = 1 + cos(2 x), and cosines of multiples are Chebyshev polynomials.
    before, now = 1.0, c
    for _ in range(periods - 1):
        before, now = now, 2 * c * now - before
    return 0.5 + 0.5 * now


@njit(cache=True, nogil=True)
def _radial(kind: int, numbers: NDArray[np.float64], angle: float) -> float:
    """Return how well a polar angle fits."""
    fraction = angle / pi
    if kind == TARGET:
        return _gauss(numbers[1] * (fraction - numbers[0]))
    if kind == PENTAGON:
        target = 0.4 if angle <= 0.6 * pi else 0.8
        return _gauss(numbers[0] * (fraction - target))
    if kind == POLES:
        return _gauss(numbers[2] * (abs(fraction - 0.5) - numbers[3]))
    if _EQUATOR[0] < angle < _EQUATOR[1]:
        return _gauss(numbers[3] * (fraction - 0.5))
    if angle < _EQUATOR[0]:
        return _gauss(numbers[4] * (fraction - 1 / 3))
    return _gauss(numbers[4] * (fraction - 2 / 3))


@njit(cache=True, nogil=True)
def _target(
    periods: int,
    n: int,
    j: int,
    k: int,
    azimuth: NDArray[np.float64],
    radial: NDArray[np.float64],
) -> float:
    """Compare all neighbours with one polar angle and equal steps of the azimuth."""
    total, count = radial[k], 1
    for m in range(n):
        c = azimuth[j, k, m]
        if m not in (j, k) and c <= 1:
            total += radial[m] * _squared_cosine(periods, c)
            count += 1
    return total / count


@njit(cache=True, nogil=True)
def _poles(
    numbers: NDArray[np.float64],
    n: int,
    j: int,
    k: int,
    polar: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    radial: NDArray[np.float64],
    pole: NDArray[np.float64],
) -> float:
    """Do as `_target`, but neighbours near the south pole are compared with the pole."""
    south, periods, limit = numbers[0], int(numbers[4]), -2.0
    if numbers[5] < 1:
        limit = cos(numbers[5] * pi)
    total, count = 0.0, 0
    if polar[j, k] < south:
        total, count = radial[k], 1
    for m in range(n):
        c = azimuth[j, k, m]
        if m in (j, k) or c == 2:
            continue
        if polar[j, m] >= south:
            total += pole[m]
            count += 1
        elif c <= 1 and polar[j, k] < south and c > limit:
            total += radial[m] * _squared_cosine(periods, c)
            count += 1
    return total / count if count > 0 else 0.0


@njit(cache=True, nogil=True)
def _cuboctahedron(
    numbers: NDArray[np.float64],
    n: int,
    j: int,
    k: int,
    polar: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    radial: NDArray[np.float64],
    pole: NDArray[np.float64],
) -> float:
    """Compare with the 12 neighbours of a cuboctahedron."""
    south, weight = numbers[0], numbers[2]
    total, count = 0.0, 0.0
    if polar[j, k] >= south:
        total, count = weight * pole[k], weight
    if _EQUATOR[0] < polar[j, k] < _EQUATOR[1]:
        for m in range(n):
            c = azimuth[j, k, m]
            if m in (j, k) or c > 1 or polar[j, m] >= south:
                continue
            if _EQUATOR[0] < polar[j, m] < _EQUATOR[1]:
                total += c * c * radial[m]
                count += 1
            elif polar[j, m] != _EQUATOR[0] and polar[j, m] != _EQUATOR[1]:
                total += _gauss(0.0556 * (sqrt(1 - c * c) - 0.81649658)) * radial[m]
                count += 1
    return total / count if count > 0 else 0.0


@njit(cache=True, nogil=True)
def _body_centred(
    numbers: NDArray[np.float64],
    n: int,
    polar: NDArray[np.float64],
    azimuth: NDArray[np.float64],
) -> float:
    """Compare with the 8 neighbours of a body-centred cube; may fall below 0."""
    south, width, weight = numbers[0], numbers[1], numbers[2]
    total = 0.0
    for j in range(n):
        for k in range(j + 1, n):
            if polar[j, k] >= south:
                total += weight * _gauss(width * (polar[j, k] / pi - 1))
                continue
            side = 1.0 if polar[j, k] > pi / 2 else -1.0
            for m in range(n):
                c = azimuth[j, k, m]
                if m not in (j, k) and c <= 1:
                    x = (polar[j, m] - pi / 2) / asin(1 / 3)
                    total += side * (4 * c * c * c - 3 * c) * x * _gauss(x) * exp(0.5)
    return total / (0.5 * n * (6 + (n - 2) * (n - 3)))


@njit(cache=True, nogil=True)
def _harmonic(degree: int, n: int, units: NDArray[np.float64]) -> float:
    """Return the bond-orientational order parameter of an even degree up to 6."""
    real, imaginary = np.zeros(degree + 1), np.zeros(degree + 1)
    legendre = np.zeros((degree + 1, degree + 1))
    for k in range(n):
        z = max(-1.0, min(units[k, 2], 1.0))
        s = sqrt(1 - z * z)
        c1, s1 = 1.0, 0.0
        # So near to the axis the reference takes the azimuth for zero.
        if abs(units[k, 2]) < 1 - 1e-12:
            r = sqrt(units[k, 0] ** 2 + units[k, 1] ** 2)
            c1, s1 = units[k, 0] / r, units[k, 1] / r
        legendre[0, 0] = 1.0
        for m in range(degree + 1):
            if m > 0:
                legendre[m, m] = (2 * m - 1) * s * legendre[m - 1, m - 1]
            if m < degree:
                legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
            for d in range(m + 2, degree + 1):
                legendre[d, m] = (
                    (2 * d - 1) * z * legendre[d - 1, m] - (d + m - 1) * legendre[d - 2, m]
                ) / (d - m)
        cm, sm = 1.0, 0.0
        for m in range(degree + 1):
            real[m] += legendre[degree, m] * cm
            imaginary[m] += legendre[degree, m] * sm
            cm, sm = cm * c1 - sm * s1, sm * c1 + cm * s1
    total, scale = real[0] ** 2, 1.0
    for m in range(1, degree + 1):
        # (degree - m)! / (degree + m)!
        scale /= (degree + m) * (degree - m + 1)
        total += 2 * scale * (real[m] ** 2 + imaginary[m] ** 2)
    return sqrt(total) / n
