"""Common supercells of two surfaces, and the strain that they cost.

The search is that of Zur and McGill, J. Appl. Phys. 55, 378 (1984), doi 10.1063/1.333084, as
pymatgen has it; it compares lengths and angles of reduced cells and forgets which way the pair of
vectors turns. Here every match that is found is a pair of right-handed cells, so that the film is
strained to the substrate and never mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.analysis.interfaces.zsl import ZSLGenerator

    from dismaiflow.systems.interface_blocks import Matching

#: Relative difference below which two lengths or areas are equal.
_EQUAL = 1e-4
#: How much wider than asked for is searched in turn to say how near the nearest match is, and
#: the widest tolerances of area ratio, length and angle of that search.
_WIDER = 3.0, 10.0, 30.0
_WIDEST = 0.2, 0.1, 0.2
#: Matches looked at in that search.
_N_NEAR = 4000

#: Changes of basis with determinant 1 and small entries: they link any two almost reduced cells.
_TURNS = np.array(
    [[[a, b], [c, d]] for a, b, c, d in product((-1, 0, 1), repeat=4) if a * d - b * c == 1]
)


@dataclass(frozen=True, eq=False)
class Match:
    """A common supercell of substrate and film.

    Parameters
    ----------
    substrate_supercell, film_supercell : ndarray of int, shape (2, 2)
        M of (u_s, v_s) = M (u, v) for each slab.
    substrate : ndarray, shape (2, 2)
        The in-plane vectors of the common cell as rows, Å, a along x: those of the substrate.
    film : ndarray, shape (2, 2)
        Those of the film before it is strained, a along x.
    """

    substrate_supercell: NDArray[np.int64]
    film_supercell: NDArray[np.int64]
    substrate: NDArray[np.float64]
    film: NDArray[np.float64]

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths a, b of substrate (row 0) and film (row 1), Å, shape (2, 2)."""
        return np.array([np.linalg.norm(cell, axis=1) for cell in (self.substrate, self.film)])

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angle between a and b of substrate and film, degrees, shape (2,)."""
        return np.array([_angle(self.substrate), _angle(self.film)])

    @property
    def gamma(self) -> float:
        """Angle of the common cell, degrees."""
        return float(self.angles[0])

    @property
    def area(self) -> float:
        """Area of the common cell, Å^2."""
        return float(np.linalg.det(self.substrate))

    @property
    def mismatches(self) -> NDArray[np.float64]:
        """``|film| / |substrate| - 1`` of a and b, shape (2,)."""
        return mismatch(self.substrate, self.film)

    @property
    def mean_mismatch(self) -> float:
        """Mean of the absolute mismatches of a and b in percent, as Table S4 has it.

        It hides shear: `strain` is the whole truth.
        """
        return 100 * float(np.abs(self.mismatches).mean())

    @property
    def deformation(self) -> NDArray[np.float64]:
        """The map D of film on substrate, ``film @ D == substrate``, shape (2, 2)."""
        return np.asarray(np.linalg.solve(self.film, self.substrate), dtype=np.float64)

    @property
    def strain(self) -> NDArray[np.float64]:
        """Strain of the film, U - 1 with U its right stretch (Biot strain), shape (2, 2).

        Symmetric, in the axes of the unstrained film (a along x).
        """
        values, vectors = np.linalg.eigh(self.deformation @ self.deformation.T)
        return (vectors * np.sqrt(values)) @ vectors.T - np.eye(2)

    @property
    def principal_strains(self) -> NDArray[np.float64]:
        """Eigenvalues of `strain`, ascending; positive where the film is stretched."""
        return np.asarray(np.linalg.eigvalsh(self.strain), dtype=np.float64)

    @property
    def area_change(self) -> float:
        """Relative change of the film's area."""
        return float(np.linalg.det(self.deformation)) - 1

    @property
    def angle_change(self) -> float:
        """Change of the film's angle, degrees: the shear that `mean_mismatch` hides."""
        return float(self.angles[0] - self.angles[1])


def mismatch(substrate: ArrayLike, film: ArrayLike) -> NDArray[np.float64]:
    """Return ``|B| / |A| - 1`` of each pair of vectors, A of the substrate and B of the film.

    The substrate is slab 1 of Table S4, whose mean mismatches follow from this definition.

    Parameters
    ----------
    substrate, film : array_like, shape (n, k)
        Vectors as rows, Å.

    Returns
    -------
    ndarray, shape (n,)
        Signed; positive where the film's vector is the longer one.
    """
    ours, other = (np.linalg.norm(np.asarray(x, float), axis=1) for x in (substrate, film))
    return np.asarray(other / ours - 1)


def in_plane(vectors: ArrayLike) -> NDArray[np.float64]:
    """Return two vectors of space as vectors of their plane, the first along x.

    Parameters
    ----------
    vectors : array_like, shape (2, 3) or (2, 2)
        u and v as rows, Å.

    Returns
    -------
    ndarray, shape (2, 2)
        The second has a positive y: seen along u x v, the pair turns to the left.
    """
    u, v = np.asarray(vectors, float)
    length = float(np.linalg.norm(u))
    along = float(u @ v) / length
    across = float(np.sqrt(max(v @ v - along**2, 0.0)))
    return np.array([[length, 0.0], [along, across]])


def match_supercells(
    substrate: ArrayLike,
    film: ArrayLike,
    substrate_supercell: ArrayLike,
    film_supercell: ArrayLike,
) -> Match:
    """Return the match of two given supercells.

    A matrix with a negative determinant, as two rows of Table S4 have, means that the crystal is
    turned over (`dismaiflow.interfaces.slabs.build_slab`): lengths and angle stay the same.

    Parameters
    ----------
    substrate, film : array_like, shape (2, 3) or (2, 2)
        u and v of each surface as rows, Å, right-handed about the outward normal.
    substrate_supercell, film_supercell : array_like of int, shape (2, 2)
        M of (u_s, v_s) = M (u, v).
    """
    ours, other = (np.array(m, dtype=np.int64) for m in (substrate_supercell, film_supercell))
    cells = in_plane(ours @ in_plane(substrate)), in_plane(other @ in_plane(film))
    return Match(ours, other, *cells)


def find_matches(substrate: ArrayLike, film: ArrayLike, matching: Matching) -> list[Match]:
    """Find the common supercells of two surfaces.

    Parameters
    ----------
    substrate, film : array_like, shape (2, 3) or (2, 2)
        u and v of each surface as rows, Å, right-handed about the outward normal.
    matching : Matching
        Largest area and tolerances.

    Returns
    -------
    list of Match
        By area, then by strain. Cells are reduced (a the shorter vector, b as short as it can
        be); of matches with the same lengths and angles only one is given.

    Raises
    ------
    DismaiError
        If there is none: the line says how near the nearest comes.
    """
    surfaces = in_plane(substrate), in_plane(film)
    found: dict[tuple[float, ...], Match] = {}
    for match in _candidates(*surfaces, matching, 1.0):
        if max(_excess(match, surfaces, matching)) <= 1 + 1e-9:
            found.setdefault(_key(match), match)
    if not found:
        raise DismaiError(_none_found(surfaces, matching))
    return [found[key] for key in sorted(found)]


def _key(match: Match) -> tuple[float, ...]:
    """Return what orders matches, and is the same for equivalent ones."""
    strain = float(np.linalg.norm(match.strain))
    shape = [*match.lengths.ravel(), *match.angles]
    return round(match.area, 2), round(strain, 4), *(round(float(x), 2) for x in shape)


def _candidates(
    substrate: NDArray[np.float64], film: NDArray[np.float64], matching: Matching, wider: float
) -> Iterator[Match]:
    """Yield pymatgen's matches as pairs of right-handed reduced cells."""
    area, length, angle = (
        min(wider * limit, max(limit, widest))
        for limit, widest in zip(_limits(matching), _WIDEST, strict=True)
    )
    generator = _zsl_generator()(
        max_area_ratio_tol=area,
        max_area=matching.max_area,
        max_length_tol=length,
        max_angle_tol=angle,
    )
    padded = [np.column_stack([vectors, np.zeros(2)]) for vectors in (film, substrate)]
    seen: set[tuple[float, ...]] = set()
    for match in generator(*padded):
        ours = np.rint(match.substrate_transformation).astype(np.int64)
        other = np.rint(match.film_transformation).astype(np.int64)
        both = ours @ substrate, other @ film
        # Most of pymatgen's matches repeat another one; its reduced vectors tell which.
        reduced = np.array([match.substrate_sl_vectors, match.film_sl_vectors])
        shape = reduced @ reduced.transpose(0, 2, 1)
        turn = [np.sign(np.linalg.det(x)) for x in both]
        key = (*turn, *(round(float(x), 3) for x in np.ravel(shape)))
        if key in seen:
            continue
        seen.add(key)
        ours = _reduction(both[0]) @ ours
        yield _aligned(substrate, film, ours, _reduction(both[1]) @ other)


def _zsl_generator() -> type[ZSLGenerator]:
    """Import pymatgen's search without compiling it, which would take longer than any search."""
    import numba

    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = 1
    try:
        from pymatgen.analysis.interfaces.zsl import ZSLGenerator
    finally:
        numba.config.DISABLE_JIT = before
    return ZSLGenerator


def _aligned(
    substrate: NDArray[np.float64],
    film: NDArray[np.float64],
    ours: NDArray[np.int64],
    other: NDArray[np.int64],
) -> Match:
    """Return the match in which the film's cell is turned so that it is strained least."""
    cell = in_plane(ours @ substrate)
    choices = _TURNS @ other
    # Principal stretches do not depend on how the film's cell lies in the plane.
    stretches = np.linalg.svd(np.linalg.solve(choices @ film, cell), compute_uv=False)
    strains = np.round(np.linalg.norm(stretches - 1, axis=1), 9)
    choice = choices[int(np.argmin(strains))]
    return Match(ours, choice, cell, in_plane(choice @ film))


def _reduction(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the integer matrix that makes a cell right-handed and reduced.

    Of equally short pairs it takes one with an acute angle.
    """
    basis = np.eye(2, dtype=np.int64)
    if np.linalg.det(vectors) < 0:
        basis = np.array([[1, 0], [0, -1]])
    while True:
        a, b = basis @ vectors
        if b @ b < a @ a * (1 - _EQUAL):
            basis = np.array([[0, 1], [-1, 0]]) @ basis
            continue
        shift = round(float(a @ b / (a @ a)))
        shorter = b - shift * a
        if shorter @ shorter > b @ b * (1 - _EQUAL):
            break
        basis = np.array([[1, 0], [-shift, 1]]) @ basis
    a, b = basis @ vectors
    choices = [turn @ basis for turn in _TURNS]
    short = [
        choice
        for choice in choices
        if np.all(np.linalg.norm(choice @ vectors, axis=1) < np.sqrt([a @ a, b @ b]) * (1 + _EQUAL))
    ]
    acute = [c for c in short if (c @ vectors)[0] @ (c @ vectors)[1] > -_EQUAL * (a @ a)]
    return np.array(max((acute or short), key=lambda c: tuple(c.ravel())))


def _angle(cell: NDArray[np.float64]) -> float:
    a, b = cell
    return float(np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))


def _needs(
    match: Match, surfaces: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[float, float, float]:
    """Return the tolerances of area ratio, length and angle that let a match through."""
    ours, other = match.lengths
    n_ours, n_other = (
        round(float(np.linalg.det(m))) for m in (match.substrate_supercell, match.film_supercell)
    )
    ratio = float(np.linalg.det(surfaces[1]) / np.linalg.det(surfaces[0]))
    area = min(abs(ratio - n_ours / n_other), abs(1 / ratio - n_other / n_ours))
    length = float(np.abs(ours / other - 1).max())
    return area, length, abs(float(match.angles[0] / match.angles[1]) - 1)


def _excess(
    match: Match, surfaces: tuple[NDArray[np.float64], NDArray[np.float64]], matching: Matching
) -> list[float]:
    """Return by how much a match exceeds each tolerance, as a ratio."""
    needs = _needs(match, surfaces)
    return [need / limit for need, limit in zip(needs, _limits(matching), strict=True)]


def _limits(matching: Matching) -> tuple[float, float, float]:
    """Return the tolerances of area ratio, length and angle."""
    return matching.max_area_ratio_tol, matching.max_length_tol, matching.max_angle_tol


def _none_found(
    surfaces: tuple[NDArray[np.float64], NDArray[np.float64]], matching: Matching
) -> str:
    start = f"key 'matching': no common supercell of up to {matching.max_area:g} Å^2 within the "
    near: list[Match] = []
    for wider in _WIDER:
        candidates = islice(_candidates(*surfaces, matching, wider), _N_NEAR)
        # Those that match as mirror images only are far from it once they are turned.
        near = near or [m for m in candidates if max(_excess(m, surfaces, matching)) <= wider]
    if not near:
        return (
            f"{start}tolerances, nor within much wider ones: raise max_area, or choose other "
            "surfaces in 'miller'"
        )
    # Of all that are near, people want the one that strains the film least.
    best = min(near, key=lambda match: float(np.linalg.norm(match.principal_strains)))
    names = "max_area_ratio_tol", "max_length_tol", "max_angle_tol"
    raised = [
        f"{name} to {np.ceil(need * 1000 + 1) / 1000:.3f}"
        for name, need, excess in zip(
            names, _needs(best, surfaces), _excess(best, surfaces, matching), strict=True
        )
        if excess > 1
    ]
    return (
        f"{start}tolerances; the nearest, of {best.area:.1f} Å^2, has a mean mismatch of "
        f"{best.mean_mismatch:.2f} % and an angle off by {abs(best.angle_change):.2f} degrees: "
        f"raise {' and '.join(raised)}, or max_area"
    )
