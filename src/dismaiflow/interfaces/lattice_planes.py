"""Lattice planes of a crystal: the vectors of a surface cell, and which atoms lie in one plane.

Every lattice vector is a whole multiple of 1/k in the conventional cell, k the number of lattice
points in it (2 for C-centring, 3 for rhombohedral crystals in hexagonal axes). The algebra of the
lattice is therefore done in integers, and floats only tell lengths.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

#: Gap between two planes of atoms, Å: atoms that lie closer in height are in the same plane.
PLANE_GAP = 0.25

#: How far an atom may lie from the image of another under a translation of the lattice, Å.
_SITE_TOLERANCE = 0.01

#: How far a given coordinate may lie from a multiple of 1/k: four digits of a third pass.
_FRACTION_TOLERANCE = 1e-3

#: Lengths and cosines that differ by less, relatively, are equal: a choice between them must not
#: hang on rounding.
_TIE = 1e-6

_IntRow = tuple[int, ...]
_T = TypeVar("_T")


def group_planes(heights: ArrayLike, gap: float = PLANE_GAP) -> NDArray[np.int64]:
    """Group atoms into planes by the gaps between their heights.

    Parameters
    ----------
    heights : array_like, shape (n_atoms,)
        Heights, Å.
    gap : float
        Two atoms next to each other in height are in one plane when they differ by no more, Å.

    Returns
    -------
    ndarray of int64, shape (n_atoms,)
        Plane of each atom, 0 the lowest.
    """
    z = np.asarray(heights, dtype=np.float64)
    order = np.argsort(z, kind="stable")
    planes = np.zeros(len(z), dtype=np.int64)
    planes[order[1:]] = np.cumsum(np.diff(z[order]) > gap)
    return planes


def surface_vectors(
    structure: Structure, miller: Sequence[int], phase: str = ""
) -> NDArray[np.float64]:
    """Return the primitive cell of a surface, and the step to the next lattice plane.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Conventional cell of the bulk, centred or not.
    miller : sequence of int, length 3
        Miller indices of the surface in this cell.
    phase : str, optional
        Name of the phase, for messages.

    Returns
    -------
    ndarray, shape (3, 3)
        Rows u, v, w as fractional coordinates of the given cell. u and v span the smallest cell
        of the surface and are Gauss-reduced (u the shorter); w leads to the next lattice plane
        outwards (along the reciprocal vector hkl) and is the shortest such vector. The three are
        right-handed and span the primitive cell. Ties are broken by an acute angle, then by the
        larger coordinates.

    Raises
    ------
    DismaiError
        When the indices are (0 0 0).
    """
    basis, k = _lattice_basis(structure)
    plane = [_dot(row, miller) for row in basis]
    divisor = math.gcd(*plane)
    if divisor == 0:
        raise DismaiError(
            f"key 'miller{_dotted(phase)}' is (0 0 0), which names no plane: give the indices of "
            "the surface, such as [1, 0, 0]"
        )
    rows = _echelon([(g // divisor, *row) for g, row in zip(plane, basis, strict=True)])
    step, first, second = (row[1:] for row in rows)
    cell = np.asarray(structure.lattice.matrix) / k
    if np.linalg.det(np.array([first, second, step]) @ cell) < 0:
        first, second = second, first
    u, v = _reduced_pair(first, second, cell)
    w = _shortest_step(step, u, v, cell)
    return np.array([u, v, w], dtype=np.float64) / k


def check_surface_vectors(
    structure: Structure, miller: Sequence[int], vectors: ArrayLike, phase: str
) -> NDArray[np.float64]:
    """Check surface vectors that a user gave, and remove their rounding.

    The outward normal is u x v: it may point along hkl or against it, which is the other side of
    the crystal.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Conventional cell of the bulk, centred or not.
    miller : sequence of int, length 3
        Miller indices of the surface in this cell.
    vectors : array_like, shape (3, 3)
        Rows u, v, w as fractional coordinates of this cell.
    phase : str
        Name of the phase, for the message.

    Returns
    -------
    ndarray, shape (3, 3)
        The same rows, exact to the last bit.

    Raises
    ------
    DismaiError
        When a row is no lattice vector, u or v leaves the plane, w stays in it, or the three are
        left-handed. The message names ``surface_vectors.PHASE``.
    """
    mend = f"leave the key out for {_written(surface_vectors(structure, miller, phase))}"
    given = np.asarray(vectors, dtype=np.float64)
    if given.shape != (3, 3):
        raise _wrong(phase, "is not three rows of three numbers", f"give u, v, w, or {mend}")
    basis, k = _lattice_basis(structure)
    rows = [tuple(round(x) for x in row) for row in given * k]
    for name, row, exact in zip("uvw", rows, given, strict=True):
        off = float(np.abs(exact * k - row).max())
        if off > k * _FRACTION_TOLERANCE or not _in_lattice(row, basis):
            raise _wrong(
                phase,
                f"has {name} = {_written([exact])}, which is no lattice vector of the bulk (those "
                f"are the whole-number sums of {_written(np.array(basis) / k)})",
                f"correct it, or {mend}",
            )
    _check_orientation(rows, miller, structure, phase, mend)
    return np.array(rows, dtype=np.float64) / k


def _check_orientation(
    rows: list[_IntRow], miller: Sequence[int], structure: Structure, phase: str, mend: str
) -> None:
    """Raise unless u and v lie in the plane, w leaves it and the three are right-handed."""
    hkl = "(" + " ".join(str(index) for index in miller) + ")"
    for name, row in zip("uv", rows, strict=False):
        if _dot(row, miller) != 0:
            raise _wrong(phase, f"has {name} out of the plane {hkl}", f"correct it, or {mend}")
    volume = np.linalg.det(np.array(rows) @ np.asarray(structure.lattice.matrix))
    if _dot(rows[2], miller) == 0 or abs(volume) < _TIE:
        what = f"does not span space: u and v must not be parallel, and w must leave {hkl}"
        raise _wrong(phase, what, f"correct it, or {mend}")
    if volume < 0:
        raise _wrong(phase, "is left-handed, (u x v).w being negative", f"reverse w, or {mend}")


def lattice_translations(structure: Structure) -> NDArray[np.float64]:
    """Return the pure translations within a cell that map a crystal on itself.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Any cell of the crystal.

    Returns
    -------
    ndarray, shape (n_translations, 3)
        Fractional coordinates in [0, 1), the identity first; exact multiples of
        1 / n_translations.
    """
    numbers = np.array([site.specie.Z for site in structure])
    scaled = np.asarray(structure.frac_coords)
    values, counts = np.unique(numbers, return_counts=True)
    rarest = scaled[numbers == values[np.argmin(counts)]]
    matrix = np.asarray(structure.lattice.matrix)
    found = [t for t in rarest - rarest[0] if _maps_on_itself(numbers, scaled, t, matrix)]
    # The translations form a group of this order, so each is a multiple of 1/k.
    k = len(found)
    whole = sorted({tuple(int(x) % k for x in np.rint(t * k)) for t in found})
    return np.array(whole, dtype=np.float64) / k


def _maps_on_itself(
    numbers: NDArray[np.int64],
    scaled: NDArray[np.float64],
    translation: NDArray[np.float64],
    matrix: NDArray[np.float64],
) -> bool:
    """Tell whether a translation takes every atom onto an atom of its species."""
    for number in np.unique(numbers):
        own = scaled[numbers == number]
        apart = (own + translation)[:, None] - own[None]
        apart -= np.rint(apart)
        distances = np.linalg.norm(apart @ matrix, axis=-1)
        if distances.min(axis=1).max() > _SITE_TOLERANCE:
            return False
    return True


def _lattice_basis(structure: Structure) -> tuple[list[_IntRow], int]:
    """Return a primitive basis in units of 1/k of the cell, echelon form, and k."""
    translations = lattice_translations(structure)
    k = len(translations)
    rows = [tuple(int(x) for x in np.rint(t * k)) for t in translations]
    rows += [tuple(k * int(i == j) for j in range(3)) for i in range(3)]
    return _echelon(rows), k


def _echelon(rows: Iterable[_IntRow]) -> list[_IntRow]:
    """Return the row echelon form of an integer matrix by Euclid's algorithm, no zero rows."""
    matrix = [list(row) for row in rows]
    done = 0
    for column in range(len(matrix[0])):
        while True:
            left = [row for row in matrix[done:] if row[column] != 0]
            if not left:
                break
            pivot = min(left, key=lambda row: abs(row[column]))
            sign = 1 if pivot[column] > 0 else -1
            rest = [row for row in matrix[done:] if row is not pivot]
            pivot = [sign * x for x in pivot]
            matrix[done:] = [pivot, *(_less(row, pivot, column) for row in rest)]
            if len(left) == 1:
                matrix[:done] = [_less(row, pivot, column) for row in matrix[:done]]
                done += 1
                break
    return [tuple(row) for row in matrix[:done]]


def _less(row: list[int], pivot: list[int], column: int) -> list[int]:
    """Subtract the multiple of the pivot that leaves the smallest entry >= 0 in a column."""
    factor = row[column] // pivot[column]
    return [x - factor * y for x, y in zip(row, pivot, strict=True)]


def _in_lattice(row: _IntRow, basis: list[_IntRow]) -> bool:
    """Tell whether an integer row is a whole-number sum of the rows of an echelon basis."""
    rest = list(row)
    for column, pivot in enumerate(basis):
        rest = _less(rest, list(pivot), column)
    return not any(rest)


def _reduced_pair(u: _IntRow, v: _IntRow, cell: NDArray[np.float64]) -> tuple[_IntRow, _IntRow]:
    """Return the two shortest vectors that span a plane lattice, turning the same way."""
    while True:
        if _length(v, cell) < _length(u, cell) * (1 - _TIE):
            u, v = v, tuple(-x for x in u)
        shift = round(float(np.dot(u @ cell, v @ cell)) / _length(u, cell) ** 2)
        shorter = _sum(v, u, -shift)
        if _length(shorter, cell) >= _length(v, cell) * (1 - _TIE):
            break
        v = shorter
    pairs = [
        (_sum(_scaled(u, a), v, b), _sum(_scaled(u, c), v, d))
        for a, b, c, d in product((-1, 0, 1), repeat=4)
        if a * d - b * c == 1
    ]
    pairs = _smallest(pairs, [_length(pair[0], cell) for pair in pairs])
    pairs = _smallest(pairs, [_length(pair[1], cell) for pair in pairs])
    acute = [pair for pair in pairs if _cosine(*pair, cell) > -_TIE]
    return max(acute or pairs)


def _shortest_step(w: _IntRow, u: _IntRow, v: _IntRow, cell: NDArray[np.float64]) -> _IntRow:
    """Return the shortest of w + i u + j v."""
    plane = np.array([u, v]) @ cell
    i, j = (-round(float(x)) for x in np.linalg.solve(plane @ plane.T, plane @ (w @ cell)))
    near = [_sum(_sum(w, u, i + di), v, j + dj) for di, dj in product((-2, -1, 0, 1, 2), repeat=2)]
    return max(_smallest(near, [_length(row, cell) for row in near]))


def _smallest(items: list[_T], lengths: list[float]) -> list[_T]:
    """Return the items whose length is the smallest, ties included."""
    limit = min(lengths) * (1 + _TIE)
    return [item for item, length in zip(items, lengths, strict=True) if length <= limit]


def _length(row: _IntRow, cell: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(row @ cell))


def _cosine(u: _IntRow, v: _IntRow, cell: NDArray[np.float64]) -> float:
    return float(np.dot(u @ cell, v @ cell)) / (_length(u, cell) * _length(v, cell))


def _dot(row: Sequence[int], other: Sequence[int]) -> int:
    return sum(int(x) * int(y) for x, y in zip(row, other, strict=True))


def _scaled(row: _IntRow, factor: int) -> _IntRow:
    return tuple(factor * x for x in row)


def _sum(row: _IntRow, other: _IntRow, factor: int) -> _IntRow:
    return tuple(x + factor * y for x, y in zip(row, other, strict=True))


def _written(rows: ArrayLike) -> str:
    """Write rows with fractions as a user would: [1/2, 1/2, 0]."""
    return ", ".join(
        "[" + ", ".join(str(Fraction(float(x)).limit_denominator(48)) for x in row) + "]"
        for row in np.asarray(rows)
    )


def _dotted(phase: str) -> str:
    return f".{phase}" if phase else ""


def _wrong(phase: str, what: str, mend: str) -> DismaiError:
    return DismaiError(f"key 'surface_vectors.{phase}' {what}: {mend}")
