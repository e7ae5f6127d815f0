"""Whether relaxed structures still are interfaces of their system.

Relaxation moves slabs, rebuilds their borders and lets ions cross into the region; that is what an
interface does. What is told here is when little of one is left: the crystal of a slab is gone, the
slabs have run into each other or mixed, something has come off, or the vacuum has closed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from dismaiflow.interfaces.generator import PLACES
from dismaiflow.interfaces.membership import displaced
from dismaiflow.interfaces.validity import InterfaceProblem
from dismaiflow.structures.checks import LARGEST_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Host, Slab
    from dismaiflow.structures.structure_set import StructureSet

#: About as many atoms of a slab are tried as those that moved with it.
_CANDIDATES = 100

#: Rounds in which the move of a slab is fitted to the atoms that are on their sites.
_REFINEMENTS = 4

#: Largest stretch and shear of a slab, per height.
_LARGEST_SLOPE = 0.1

#: Slabs of so many planes are thin.
_THIN = 3

#: Fewer atoms on their sites do not say how a slab is stretched.
_FEWEST = 4


@dataclass(frozen=True)
class IntegrityLimits:
    """How much of an interface may change when it relaxes.

    The defaults were chosen after relaxations of random structures. In 100 iterations with CHGNet
    (2 structures) the slabs of ``lsc-lco`` lost 3 % of their sites at most. Those of
    ``tiny-li2o-licl``, of two and three planes, are all border: in 40 relaxations with CHGNet the
    substrate lost up to 19 % of its sites (31 % in 5 with exchanges), the film a third in the
    middle and up to 73 %, that among the lowest energies too, both together up to 35 %. The gap
    stayed within 1 % of that of the slabs, foreign ions sank in by up to 0.4 Å, the vacuum kept two
    thirds. Lennard-Jones potentials, wrong for it, cost both slabs 32 to 77 % of their sites in 30
    relaxations, and more than 38 % where the thickness did not fall below 1 Å. Among atoms at
    random places (9 structures of both systems) each slab lost 60 % or more.

    Parameters
    ----------
    site_radius : float
        A site of a slab is lost if no atom of its species lies within this distance, Å; that of
        `find_regions`, less than half of any distance of two like ions.
    lost_sites : float
        Largest share of the sites of either slab that may be lost: most of a crystal should be
        there.
    lost_thin : float
        The same for a slab of up to three planes, in which every atom lies in or beside a border:
        it may be rebuilt, but of what is made at random more sites are lost.
    lost_in_all : float
        The same for the sites of both slabs together: one of them should hold.
    min_thickness : float
        Least height of the film above the substrate, Å. Planes that are nearer than this leave
        no room for any atom between them.
    mixing_depth : float
        How far an atom may get into the slab that does not hold its species, Å below the plane
        that bounds the region: what was exchanged into that plane may sink in, or one plane
        farther where planes are close.
    beyond : float
        How far an ion that began in the region may lie above the free surface of a slab, Å: one
        that took the place of an ion there may, one that sits on it has come through the slab.
    gap_factor : float
        How wide the widest gap may be across which the atoms hang together, in units of the same
        gap in the slabs, which in most crystals is the distance of nearest neighbours.
    vacuum_share : float
        Least height of the vacuum, as a share of the height of the cell that the slabs leave: the
        two free surfaces shall not come within reach of each other.
    """

    site_radius: float = 1.0
    lost_sites: float = 0.5
    lost_thin: float = 0.8
    lost_in_all: float = 3 / 8
    min_thickness: float = 1.0
    mixing_depth: float = 2.0
    beyond: float = 1.5
    gap_factor: float = 1.5
    vacuum_share: float = 1 / 3


@dataclass(frozen=True)
class IntegrityFacts:
    """What a relaxed structure is like; NaN throughout if a position is not a number.

    Parameters
    ----------
    lost_substrate, lost_film, lost_in_all : float
        Share of the sites of each slab, and of both, that are lost.
    depth_substrate, depth_film : float
        How deep in each slab an atom lies whose species the slab does not hold, Å below the plane
        that bounds the region; 0 if there is none.
    beyond : float
        How far an atom of the region lies outside on the free surface of a slab, Å above it.
    relaxed_thickness : float
        Height of the lowest plane of the film above the top plane of the substrate, Å, where
        their crystals are found.
    gap : float
        The widest gap across which the atoms hang together, Å: the longest edge of their minimum
        spanning tree.
    n_apart : float
        Atoms on the smaller side of that gap.
    slabs_apart : float
        1 if the gap parts the two slabs, otherwise 0.
    vacuum : float
        Widest gap along c, Å.
    """

    lost_substrate: float
    lost_film: float
    lost_in_all: float
    depth_substrate: float
    depth_film: float
    beyond: float
    relaxed_thickness: float
    gap: float
    n_apart: float
    slabs_apart: float
    vacuum: float


class _Placed(NamedTuple):
    """Where a slab lies in a structure: heights of its outer planes, Å, and its lost sites."""

    low: float
    high: float
    n_lost: int


class _Atoms(NamedTuple):
    """One structure, and the site of the host where each of its atoms began, -1 for the region."""

    numbers: NDArray[np.int64]
    fractions: NDArray[np.float64]
    cell: NDArray[np.float64]
    homes: NDArray[np.int64]


def fact_labels(facts: Sequence[IntegrityFacts]) -> dict[str, NDArray[np.float64]]:
    """Return the facts of structures as labels of their set, each of shape (n_structures,)."""
    return {
        field.name: np.array([getattr(fact, field.name) for fact in facts], dtype=np.float64)
        for field in fields(IntegrityFacts)
    }


@dataclass(frozen=True, eq=False)
class RelaxedChecks:
    """What a relaxed interface must be like.

    Which atoms are those of a slab follows from their order, which is that of
    `RandomInterfaces.generate` and which relaxation keeps. They say where the slab lies, as far as
    they moved alike: in a thin film the disordered region can look more like the film than the
    film itself, which would mislead `find_regions`. Some atoms may be told wrongly, as exchanged
    ones are. A site counts as kept whichever atom of its species is there, and in the top plane
    of the substrate, where exchanges are made, whatever its species.

    Parameters
    ----------
    host : Host
        The slabs in their common cell.
    limits : IntegrityLimits
        What is let through.
    atom_order : sequence of str
        As in the system spec: how the atoms of one species are sorted by where they began.
    """

    host: Host
    limits: IntegrityLimits = IntegrityLimits()
    atom_order: Sequence[str] = PLACES

    def check(self, structures: StructureSet) -> list[InterfaceProblem | None]:
        """Return what is wrong with each structure, None where nothing is.

        Reasons, the first that holds: ``not_finite``; ``delaminated``, a gap between the slabs;
        ``detached``, a gap between some atoms and all others; ``vacuum_closed``;
        ``region_closed``, the slabs have run into each other; ``slab_lost``; ``mixed``.

        Parameters
        ----------
        structures : StructureSet
            Relaxed structures, each in the order of atoms in which it was made.

        Raises
        ------
        ValueError
            If a structure has fewer atoms of a species than the slabs have sites.
        """
        return [self.problem(facts) for facts in self.measure(structures)]

    def measure(self, structures: StructureSet) -> list[IntegrityFacts]:
        """Return the facts of each structure; the arguments and errors are those of `check`."""
        return [self._measure_one(structures, i) for i in range(len(structures))]

    def problem(self, facts: IntegrityFacts) -> InterfaceProblem | None:
        """Return what is wrong with a structure of these facts; see `check`."""
        if not np.isfinite(facts.gap):
            return InterfaceProblem("not_finite", "a position is NaN, infinite or beyond 1e7 Å")
        return self._parted(facts) or self._closed(facts) or self._crystals(facts)

    def _parted(self, facts: IntegrityFacts) -> InterfaceProblem | None:
        limit = self.limits.gap_factor * self._slab_gap
        if facts.gap <= limit:
            return None
        across = f"across a gap of {facts.gap:.2f} Å, more than {limit:.2f} Å"
        if facts.slabs_apart:
            return InterfaceProblem("delaminated", f"the slabs lie {across}")
        return InterfaceProblem("detached", f"{facts.n_apart:.0f} atoms lie {across}")

    def _closed(self, facts: IntegrityFacts) -> InterfaceProblem | None:
        host, limits = self.host, self.limits
        left = host.cell[2, 2] - host.substrate.height - host.film.height
        least = limits.vacuum_share * left
        if facts.vacuum < least:
            detail = f"the vacuum is {facts.vacuum:.2f} Å, less than {least:.2f} Å"
            return InterfaceProblem("vacuum_closed", detail)
        if facts.relaxed_thickness < limits.min_thickness:
            detail = (
                f"the region is {facts.relaxed_thickness:.2f} Å thick, less than "
                f"{limits.min_thickness:g} Å"
            )
            return InterfaceProblem("region_closed", detail)
        return None

    def _crystals(self, facts: IntegrityFacts) -> InterfaceProblem | None:
        limits, host = self.limits, self.host
        for name, share, most in (
            ("the substrate", facts.lost_substrate, self._most_lost(host.substrate)),
            ("the film", facts.lost_film, self._most_lost(host.film)),
            ("both slabs", facts.lost_in_all, limits.lost_in_all),
        ):
            if share > most:
                detail = f"{share:.0%} of the sites of {name} are lost, more than {most:.0%}"
                return InterfaceProblem("slab_lost", detail)
        if facts.beyond > limits.beyond:
            detail = (
                f"an ion of the region lies {facts.beyond:.2f} Å above a free surface, more than "
                f"{limits.beyond:g} Å"
            )
            return InterfaceProblem("mixed", detail)
        for name, depth in (("substrate", facts.depth_substrate), ("film", facts.depth_film)):
            if depth > limits.mixing_depth:
                detail = (
                    f"an ion that the {name} does not hold lies {depth:.2f} Å deep in it, more "
                    f"than {limits.mixing_depth:g} Å"
                )
                return InterfaceProblem("mixed", detail)
        return None

    def _most_lost(self, slab: Slab) -> float:
        return self.limits.lost_thin if slab.n_planes <= _THIN else self.limits.lost_sites

    @cached_property
    def _slab_gap(self) -> float:
        """The widest gap across which the atoms of a slab hang together, Å."""
        cell = np.ascontiguousarray(self.host.cell, dtype=np.float64)
        slabs = (self.host.substrate, self.host.film)
        return max(_widest_gap(slab.positions @ np.linalg.inv(cell), cell)[0] for slab in slabs)

    def _measure_one(self, structures: StructureSet, index: int) -> IntegrityFacts:
        part = structures.slice_of(index)
        positions = structures.positions[part]
        numbers = structures.numbers[part].astype(np.int64)
        homes = self._homes(numbers)
        if not (np.abs(positions) <= LARGEST_LENGTH).all():
            return IntegrityFacts(*[float("nan")] * len(fields(IntegrityFacts)))
        cell = np.ascontiguousarray(structures.cells[index], dtype=np.float64)
        atoms = _Atoms(numbers, positions @ np.linalg.inv(cell), cell, homes)
        host, n_below = self.host, len(self.host.substrate)
        substrate = self._place(host.substrate, atoms, 0)
        film = self._place(host.film, atoms, n_below)

        c = float(cell[2, 2])
        # Slabs that overlap somewhat have a negative thickness.
        thickness = (film.low - substrate.high + c / 4) % c - c / 4
        # Heights above the middle of the region, which the vacuum is farthest from.
        z = atoms.fractions[:, 2] * c - substrate.high - thickness / 2
        z = (z + c / 2) % c - c / 2
        below, above = (~np.isin(numbers, slab.numbers) for slab in (host.substrate, host.film))
        gap, beyond = _widest_gap(atoms.fractions, cell)
        n_beyond = int(beyond.sum())
        in_substrate = (homes >= 0) & (homes < n_below)
        sides = [beyond[mine].mean() > 0.5 for mine in (in_substrate, homes >= n_below)]
        ordered = np.sort(z)
        stray = z[homes < 0]
        before = stray - thickness / 2 - host.film.height
        behind = -stray - thickness / 2 - host.substrate.height
        return IntegrityFacts(
            lost_substrate=substrate.n_lost / n_below,
            lost_film=film.n_lost / len(host.film),
            lost_in_all=(substrate.n_lost + film.n_lost) / (n_below + len(host.film)),
            depth_substrate=float((-z[below] - thickness / 2).max(initial=0.0)),
            depth_film=float((z[above] - thickness / 2).max(initial=0.0)),
            beyond=float(max(behind.max(initial=0.0), before.max(initial=0.0))),
            relaxed_thickness=thickness,
            gap=gap,
            n_apart=float(min(n_beyond, len(numbers) - n_beyond)),
            slabs_apart=float(sides[0] != sides[1]),
            vacuum=float(np.diff(np.append(ordered, ordered[0] + c)).max()),
        )

    def _homes(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the site where each atom began, those of the film after the substrate's."""
        host = self.host
        sites = np.concatenate([host.substrate.numbers, host.film.numbers])
        in_layer = np.concatenate([host.substrate.top_plane, np.zeros(len(host.film), dtype=bool)])
        order = [*self.atom_order, *(place for place in PLACES if place not in self.atom_order)]
        homes = np.full(len(numbers), -1, dtype=np.int64)
        for species in np.unique(sites):
            atoms = np.flatnonzero(numbers == species)
            own = sites == species
            n_region = len(atoms) - int(own.sum())
            if n_region < 0:
                raise ValueError(
                    f"{len(atoms)} atoms of atomic number {species} cannot cover the "
                    f"{own.sum()} sites of the slabs"
                )
            groups = {
                "region": np.full(n_region, -1),
                "top-substrate-layer": np.flatnonzero(own & in_layer),
                "rest": np.flatnonzero(own & ~in_layer),
            }
            homes[atoms] = np.concatenate([groups[place] for place in order])
        return homes

    def _place(self, slab: Slab, atoms: _Atoms, first: int) -> _Placed:
        """Find a slab, whose sites begin at `first` among those of the host."""
        radius = self.limits.site_radius
        inverse = np.linalg.inv(atoms.cell)
        mine = (atoms.homes >= first) & (atoms.homes < first + len(slab))
        own = atoms.homes[mine] - first
        sites = displaced(slab, atoms.cell) @ inverse
        moves = atoms.fractions[mine] - sites[own]
        start = _common_move(moves, atoms.cell, radius)
        # Beyond a move as a whole, the crystal may be stretched and sheared along its height.
        heights = slab.positions[:, 2] - slab.positions[:, 2].mean()
        terms = np.column_stack([np.ones(len(slab)), heights])
        rest = _shortest(moves - start, atoms.cell)
        fitted = np.zeros((len(slab), 3))
        for _ in range(_REFINEMENTS):
            on_site = ((rest - fitted[own]) ** 2).sum(axis=1) <= radius**2
            if on_site.sum() < _FEWEST:
                break
            fit = np.linalg.lstsq(terms[own][on_site], rest[on_site], rcond=None)[0]
            fit[1] = np.clip(fit[1], -_LARGEST_SLOPE, _LARGEST_SLOPE)
            fitted = terms @ fit
        sites = sites + start + fitted @ inverse
        same, other = _nearest_atoms(
            sites, slab.numbers.astype(np.int64), atoms.fractions, atoms.numbers, atoms.cell
        )
        nearest = np.where(slab.top_plane & (first == 0), np.minimum(same, other), same)
        z = sites[:, 2] * atoms.cell[2, 2]
        return _Placed(
            low=float(z.min()),
            high=float(z.max()),
            n_lost=int((nearest > radius).sum()),
        )


def _shortest(fractions: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return displacements in Å, to the nearest image."""
    return np.asarray((fractions - np.rint(fractions)) @ cell, dtype=np.float64)


def _common_move(
    moves: NDArray[np.float64], cell: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Return the move of that atom from which those of the others differ least.

    Differences beyond the radius count as that, so that atoms which went their own ways, or are
    others than was thought, do not matter.

    Parameters
    ----------
    moves : ndarray, shape (n_atoms, 3)
        In fractions of the cell, any image.
    """
    tried = moves[:: -(-len(moves) // _CANDIDATES)]
    costs = [
        np.minimum((_shortest(moves - move, cell) ** 2).sum(axis=1), radius**2).sum()
        for move in tried
    ]
    return np.asarray(tried[int(np.argmin(costs))], dtype=np.float64)


@numba.njit(cache=True, nogil=True)
def _nearest_atoms(
    sites: NDArray[np.float64],
    species: NDArray[np.int64],
    points: NDArray[np.float64],
    numbers: NDArray[np.int64],
    cell: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each site (fractions) is from the nearest atom of its and other species, Å."""
    same = np.full(len(sites), np.inf)
    other = np.full(len(sites), np.inf)
    apart = np.empty(3)
    for i in range(len(sites)):
        for j in range(len(points)):
            for k in range(3):
                apart[k] = points[j, k] - sites[i, k]
                apart[k] -= np.rint(apart[k])
            square = 0.0
            for k in range(3):
                x = apart[0] * cell[0, k] + apart[1] * cell[1, k] + apart[2] * cell[2, k]
                square += x * x
            if species[i] == numbers[j]:
                same[i] = min(same[i], square)
            else:
                other[i] = min(other[i], square)
    return np.sqrt(same), np.sqrt(other)


@numba.njit(cache=True, nogil=True)
def _square(
    first: NDArray[np.float64], second: NDArray[np.float64], cell: NDArray[np.float64]
) -> float:
    """Return the squared distance of two points (fractions), the images beside included."""
    apart = second - first
    apart -= np.rint(apart)
    best = np.inf
    # In a narrow, oblique cell rounding does not find the nearest image along a and b.
    for a in range(-1, 2):
        for b in range(-1, 2):
            square = 0.0
            for k in range(3):
                x = (apart[0] + a) * cell[0, k] + (apart[1] + b) * cell[1, k]
                x += apart[2] * cell[2, k]
                square += x * x
            best = min(best, square)
    return best


@numba.njit(cache=True, nogil=True)
def _widest_gap(
    points: NDArray[np.float64], cell: NDArray[np.float64]
) -> tuple[float, NDArray[np.bool_]]:
    """Return the longest edge of the minimum spanning tree, Å, and which atoms lie beyond it.

    The tree is that of R. C. Prim, Bell Syst. Tech. J. 36, 1389 (1957), grown from the first atom.
    """
    n = len(points)
    squares = np.full(n, np.inf)
    parents = np.full(n, -1)
    taken = np.zeros(n, np.bool_)
    order = np.zeros(n, np.int64)
    widest, farther = 0.0, -1
    for step in range(n):
        current = -1
        for j in range(n):
            if not taken[j] and (current < 0 or squares[j] < squares[current]):
                current = j
        taken[current] = True
        order[step] = current
        if step > 0 and squares[current] > widest:
            widest, farther = squares[current], current
        for j in range(n):
            if not taken[j]:
                square = _square(points[current], points[j], cell)
                if square < squares[j]:
                    squares[j] = square
                    parents[j] = current
    beyond = np.zeros(n, np.bool_)
    for atom in order:  # parents come first
        beyond[atom] = atom == farther or (parents[atom] >= 0 and beyond[parents[atom]])
    return np.sqrt(widest), beyond
