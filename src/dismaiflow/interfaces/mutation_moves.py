"""The moves that turn a relaxed interface into a new one: its region is changed, its slabs kept.

Points are given by in-plane fractions and height in Å above the top plane of the substrate; the
stack is periodic in the plane alone, because the vacuum parts its images along c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numba
import numpy as np

from dismaiflow.interfaces.region import LEAST_SCALE_SHARE
from dismaiflow.interfaces.region_kernel import fill_region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: So far, in Å, an atom of the region may lie beyond the planes that bound it.
MARGIN = 0.5

#: Candidates of a move that is drawn as a whole, and places tried for one atom that is rattled.
_CANDIDATES, _PLACES = 20, 20

#: Squared distance that counts for atoms with no like one near, Å^2.
_FAR = 4.0

#: Share of the cell that a crossover takes from the second parent, from and to.
_STRIP = (0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A structure as the moves see it.

    Parameters
    ----------
    rows : ndarray, shape (n_atoms, 3)
        In-plane fractions, and height above the top plane of the substrate, Å.
    codes : ndarray of int64, shape (n_atoms,)
        Species, as rows of the table of minimum distances.
    mobile, film : ndarray of bool, shape (n_atoms,)
        Atoms of the region; atoms of the film and what lies on it.
    thickness : float
        Height of the lowest plane of the film, Å.
    shift : ndarray, shape (2,)
        Displacement of the film, shares of a and b.
    """

    rows: NDArray[np.float64]
    codes: NDArray[np.int64]
    mobile: NDArray[np.bool_]
    film: NDArray[np.bool_]
    thickness: float
    shift: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moved:
    """The outcome of a move.

    Parameters
    ----------
    anatomy : Anatomy
        The structure afterwards.
    share : float
        Share of the minimum distances, at most 1, that all atoms keep that came closer to each
        other.
    """

    anatomy: Anatomy
    share: float


@dataclass(frozen=True, eq=False)
class Moves:
    """What all moves of a system need to know.

    Parameters
    ----------
    vectors : ndarray, shape (2, 2)
        In-plane vectors, Å.
    limits : ndarray, shape (n_species, n_species)
        Smallest distances, Å.
    signs : ndarray of int64, shape (n_species,)
        1 for cations, -1 for anions, 0 for others.
    ranks : ndarray of int64, shape (n_species,)
        In which order species are placed anew.
    translations : ndarray, shape (n, 2)
        Displacements of the film that make no difference; see `equivalent_shifts`.
    highest : float
        Thickness beyond which a region is not raised, Å.
    share_step : float
        By what share the minimum distances shrink where there is no room.
    max_tries, max_restarts : int
        As those of ``region.placement``.
    """

    vectors: NDArray[np.float64]
    limits: NDArray[np.float64]
    signs: NDArray[np.int64]
    ranks: NDArray[np.int64]
    translations: NDArray[np.float64]
    highest: float
    share_step: float
    max_tries: int
    max_restarts: int

    def exchange(self, start: Anatomy, most: int, rng: np.random.Generator) -> Moved | None:
        """Let unlike ions of one sign of charge trade places, one to `most` pairs of them.

        A cation in the place of an anion would not relax to anything of low energy.
        """
        own = np.flatnonzero(start.mobile)
        codes, signs = start.codes[own], self.signs[start.codes[own]]
        fits = (codes[:, None] != codes) & (signs[:, None] == signs)
        pairs = own[np.argwhere(np.triu(fits))]
        if not len(pairs):
            return None

        def candidates() -> Iterator[Moved]:
            for _ in range(_CANDIDATES):
                count = int(rng.integers(most)) + 1
                rows, moved = start.rows.copy(), np.zeros(len(start.rows), dtype=bool)
                for i, j in rng.permutation(pairs).tolist():
                    if count and not (moved[i] or moved[j]):
                        rows[[i, j]] = rows[[j, i]]
                        moved[[i, j]] = True
                        count -= 1
                yield self._judged(start, replace(start, rows=rows), self._bodies(moved))

        return self._first(candidates())

    def reinsert(
        self, start: Anatomy, shares: tuple[float, float], rng: np.random.Generator
    ) -> Moved | None:
        """Take atoms out of the region, between two shares of them, and place them anew.

        Half of the times they are neighbours, so that a part of the region is made anew, half of
        the times they are any atoms.
        """
        own = np.flatnonzero(start.mobile)
        least, most = (max(1, round(share * len(own))) for share in shares)
        count = int(rng.integers(least, most, endpoint=True))
        if rng.random() < 0.5:
            centre = start.rows[rng.choice(own)]
            apart = start.rows[own] - centre
            apart[:, :2] = (apart[:, :2] - np.rint(apart[:, :2])) @ self.vectors
            taken = own[np.argsort((apart**2).sum(axis=1), kind="stable")[:count]]
        else:
            taken = rng.choice(own, count, replace=False)
        return self._filled(start, taken, rng)

    def slide(self, start: Anatomy, reach: float, rng: np.random.Generator) -> Moved | None:
        """Move the film sideways by a third of `reach` to all of it, up or down by a quarter (Å).

        The region is sheared with it, so that atoms at the film keep their neighbours there.
        """
        share = np.where(start.film, 1.0, 0.0)
        inner = start.rows[start.mobile, 2] / start.thickness
        share[start.mobile] = np.clip(inner, 0.0, 1.0)
        bodies = np.where(start.film, 1, 0)
        bodies[start.mobile] = 2 + np.arange(int(start.mobile.sum()))
        highest = max(self.highest, start.thickness)

        def candidates() -> Iterator[Moved]:
            for _ in range(_CANDIDATES):
                angle, length = 2 * np.pi * rng.random(), reach * (1 + 2 * rng.random()) / 3
                move = length * np.array([np.cos(angle), np.sin(angle)])
                step = move @ np.linalg.inv(self.vectors)
                lift = reach / 4 * (2 * rng.random() - 1)
                thickness = min(start.thickness + lift, highest)
                full = np.array([*step, thickness - start.thickness])
                moved = replace(
                    start,
                    rows=start.rows + share[:, None] * full,
                    thickness=thickness,
                    shift=(start.shift + step) % 1.0,
                )
                yield self._judged(start, moved, bodies)

        return self._first(candidates())

    def rattle(self, start: Anatomy, width: float, rng: np.random.Generator) -> Moved | None:
        """Displace each atom of the region at random (normal, `width` Å along each axis).

        An atom for which no free place is found nearby stays.
        """
        rows = start.rows.copy()
        own = np.flatnonzero(start.mobile)
        inverse = np.linalg.inv(self.vectors)
        others = np.ones(len(rows), dtype=bool)
        n_moved = 0
        for atom in rng.permutation(own).tolist():
            others[atom] = False
            for _ in range(_PLACES):
                step = width * rng.standard_normal(3)
                step[:2] = step[:2] @ inverse
                point = rows[atom] + step
                inside = -MARGIN <= point[2] <= start.thickness + MARGIN
                if inside and self._share(point, start.codes[atom], rows, start, others) >= 1:
                    rows[atom] = point
                    n_moved += 1
                    break
            others[atom] = True
        return Moved(replace(start, rows=rows), 1.0) if n_moved else None

    def cross(self, start: Anatomy, other: Anatomy, rng: np.random.Generator) -> Moved | None:
        """Put a strip of the region of another structure in the place of one's own.

        The strip runs along a or b through the cell (cut and splice: D. M. Deaven, K. M. Ho,
        Phys. Rev. Lett. 75, 288 (1995), doi 10.1103/PhysRevLett.75.288) and is sheared and
        stretched as the two films lie. Atoms are taken from far inside their parts first, while
        the composition wants them and they are free; what is then missing is placed at random.
        """
        own, theirs = np.flatnonzero(start.mobile), np.flatnonzero(other.mobile)
        guests = other.rows[theirs]
        height = guests[:, 2:] / other.thickness
        shear = self._between_films(start, other)
        guests = np.hstack([guests[:, :2] + height * shear, height * start.thickness])
        points = np.concatenate([start.rows[own], guests])
        codes = np.concatenate([start.codes[own], other.codes[theirs]])
        is_guest = np.arange(len(points)) >= len(own)

        axis, middle = int(rng.integers(2)), rng.random()
        width = _STRIP[0] + (_STRIP[1] - _STRIP[0]) * rng.random()
        depth = width / 2 - np.abs((points[:, axis] - middle + 0.5) % 1.0 - 0.5)
        depth[~is_guest] *= -1
        wanted = np.bincount(start.codes[own], minlength=len(self.limits))
        taken: list[int] = []
        for k in np.argsort(-depth, kind="stable").tolist():
            if depth[k] <= 0 or not wanted[codes[k]]:
                continue
            # Only one's own atoms lie to each other as they were relaxed.
            rivals = [m for m in taken if is_guest[m] or is_guest[k]]
            free = self._is_free(points, codes, k, rivals)
            if is_guest[k] and free:
                fixed = ~start.mobile
                free = self._share(points[k], codes[k], start.rows, start, fixed) >= 1
            if free:
                taken.append(k)
                wanted[codes[k]] -= 1
        if not is_guest[taken].any():
            return None
        return self._spliced(start, points[taken], codes[taken], rng)

    def _between_films(self, start: Anatomy, other: Anatomy) -> NDArray[np.float64]:
        """Return the displacement that takes the film of another structure onto one's own.

        Both are known but for a translation of film or substrate onto itself; of those that fit
        equally well (to 0.05 Å^2) the shortest counts.
        """
        steps = start.shift - other.shift + self.translations
        steps -= np.rint(steps)
        steps = steps[np.argsort(np.linalg.norm(steps @ self.vectors, axis=1), kind="stable")]
        own, theirs = start.rows[start.film], other.rows[other.film]
        alike = start.codes[start.film][:, None] == other.codes[other.film]
        rise = np.subtract.outer(own[:, 2] - start.thickness, theirs[:, 2] - other.thickness)
        misfits = []
        for step in steps:
            apart = own[:, None, :2] - theirs[None, :, :2] - step
            flat = ((apart - np.rint(apart)) @ self.vectors) ** 2
            squares = np.where(alike, flat.sum(axis=2) + rise**2, _FAR)
            misfits.append(squares.min(axis=1, initial=_FAR).mean())
        fits = np.array(misfits) <= min(misfits) + 0.05
        return np.asarray(steps[int(fits.argmax())])

    def _spliced(
        self,
        start: Anatomy,
        points: NDArray[np.float64],
        codes: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Moved | None:
        """Give the atoms of a region new places by species; those without one are placed anew."""
        rows = start.rows.copy()
        homeless = []
        for code in np.unique(start.codes[start.mobile]).tolist():
            atoms = np.flatnonzero(start.mobile & (start.codes == code))
            places = points[codes == code]
            rows[atoms[: len(places)]] = places
            homeless += atoms[len(places) :].tolist()
        return self._filled(replace(start, rows=rows), np.array(homeless, dtype=np.int64), rng)

    def _filled(
        self, start: Anatomy, taken: NDArray[np.int64], rng: np.random.Generator
    ) -> Moved | None:
        """Place some atoms anew, at minimum distances that shrink until there is room."""
        order = taken[np.lexsort((taken, self.ranks[start.codes[taken]]))]
        fixed = np.ones(len(start.rows), dtype=bool)
        fixed[order] = False
        positions = np.empty((len(order), 3))
        share = 1.0
        while share >= LEAST_SCALE_SHARE - 1e-9:
            done = fill_region(
                rng,
                self.vectors,
                start.thickness,
                start.rows[fixed],
                start.codes[fixed],
                start.codes[order],
                self.limits * share,
                self.max_tries,
                self.max_restarts,
                positions,
            )
            if done:
                rows = start.rows.copy()
                rows[order] = positions
                return Moved(replace(start, rows=rows), share)
            share = round(share - self.share_step, 12)
        return None

    @staticmethod
    def _bodies(moved: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return 0 for atoms that stayed, and a number of its own for each that did not."""
        bodies = np.zeros(len(moved), dtype=np.int64)
        bodies[moved] = 1 + np.arange(int(moved.sum()))
        return bodies

    def _judged(self, start: Anatomy, anatomy: Anatomy, bodies: NDArray[np.int64]) -> Moved:
        share = least_share(
            anatomy.rows, start.rows, anatomy.codes, bodies, self.vectors, self.limits
        )
        return Moved(anatomy, min(1.0, float(share)))

    @staticmethod
    def _first(candidates: Iterator[Moved]) -> Moved | None:
        """Return the first candidate that keeps all distances, else the best that is not bad."""
        best: Moved | None = None
        for candidate in candidates:
            if best is None or candidate.share > best.share:
                best = candidate
            if best.share >= 1:
                break
        return best if best is not None and best.share >= LEAST_SCALE_SHARE else None

    def _share(
        self,
        point: NDArray[np.float64],
        code: int,
        rows: NDArray[np.float64],
        start: Anatomy,
        others: NDArray[np.bool_],
    ) -> float:
        return float(_share_at(point, code, rows, start.codes, others, self.vectors, self.limits))

    def _is_free(
        self,
        points: NDArray[np.float64],
        codes: NDArray[np.int64],
        k: int,
        rivals: list[int],
    ) -> bool:
        mask = np.zeros(len(points), dtype=bool)
        mask[rivals] = True
        share = _share_at(points[k], codes[k], points, codes, mask, self.vectors, self.limits)
        return bool(share >= 1)


@numba.njit(cache=True, nogil=True)
def _distance(
    first: NDArray[np.float64], second: NDArray[np.float64], vectors: NDArray[np.float64]
) -> float:
    """Return the distance of two points to the nearest image, Å."""
    da = first[0] - second[0]
    db = first[1] - second[1]
    dz = first[2] - second[2]
    da -= np.rint(da)
    db -= np.rint(db)
    least = np.inf
    for a in range(-1, 2):
        for b in range(-1, 2):
            x = (da + a) * vectors[0, 0] + (db + b) * vectors[1, 0]
            y = (da + a) * vectors[0, 1] + (db + b) * vectors[1, 1]
            least = min(least, x * x + y * y)
    return np.sqrt(least + dz * dz)


@numba.njit(cache=True, nogil=True)
def _share_at(
    point: NDArray[np.float64],
    code: int,
    rows: NDArray[np.float64],
    codes: NDArray[np.int64],
    others: NDArray[np.bool_],
    vectors: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> float:
    """Return the smallest distance from a point to the other atoms, in units of its limit."""
    least = np.inf
    for j in range(len(rows)):
        limit = limits[code, codes[j]]
        if others[j] and abs(point[2] - rows[j, 2]) < least * limit:
            least = min(least, _distance(point, rows[j], vectors) / limit)
    return least


@numba.njit(cache=True, nogil=True)
def least_share(
    rows: NDArray[np.float64],
    before: NDArray[np.float64],
    codes: NDArray[np.int64],
    bodies: NDArray[np.int64],
    vectors: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> float:
    """Return the smallest distance of atoms that came closer, in units of its limit.

    Atoms of a relaxed structure may well be closer than the limits of random ones; what a move
    leaves as it was, or parts, does not count.

    Parameters
    ----------
    rows, before : ndarray, shape (n_atoms, 3)
        In-plane fractions, height in Å; after and before the move.
    codes : ndarray of int64, shape (n_atoms,)
        Species.
    bodies : ndarray of int64, shape (n_atoms,)
        Atoms of one body moved together, or not at all.
    vectors : ndarray, shape (2, 2)
        In-plane vectors, Å.
    limits : ndarray, shape (n_species, n_species)
        Smallest distances, Å.
    """
    least = np.inf
    for i in range(1, len(rows)):
        for j in range(i):
            limit = limits[codes[i], codes[j]]
            if bodies[i] == bodies[j] or abs(rows[i, 2] - rows[j, 2]) >= least * limit:
                continue
            distance = _distance(rows[i], rows[j], vectors)
            if distance < least * limit and distance < _distance(before[i], before[j], vectors):
                least = distance / limit
    return least
