"""New interfaces from relaxed ones of low energy: one half of a search that learns.

Beyond the paper, whose structures are all random. A child keeps the slabs of its parent; its region
is changed by one of the moves of `mutation_moves`. Children are drawn so that no family (all that
descend from one random structure) takes over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import (
    DECIMALS,
    PLACES,
    FailedPlacement,
    Generated,
    GenerationReport,
)
from dismaiflow.interfaces.membership import find_regions
from dismaiflow.interfaces.mutation_moves import MARGIN, Anatomy, Moved, Moves
from dismaiflow.interfaces.region import distance_matrix, placement_order
from dismaiflow.interfaces.sampling import structure_rng
from dismaiflow.interfaces.surrogate import equivalent_shifts
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.interfaces.membership import Membership
    from dismaiflow.interfaces.system import InterfaceSystem

#: The label ``operator`` is a place in this list.
OPERATORS = ("exchange", "reinsert", "slide", "rattle", "cross")

_CROSS = OPERATORS.index("cross")

#: Streams of a seed, after those of `sampling`: the child itself, and whose child it is.
MUTATION_KEY, PARENT_KEY = 8, 9

#: Multiples of it, modulo 1, fill the unit interval evenly for every run of indices.
_GOLDEN = (np.sqrt(5) - 1) / 2

#: A region thinner than this (Å) is none.
_LEAST_THICKNESS = 1.0


@dataclass(frozen=True)
class MutationSettings:
    """How parents are chosen, and how they are changed.

    Parameters
    ----------
    pool_share : float
        Share of the relaxed structures, those of lowest energy, that may become parents.
    least_pool : int
        But at least so many.
    per_family : int
        Parents of one family at a time.
    family_share : float
        A family that makes up this share of all relaxed structures has no further children,
    least_family : int
        if it has at least so many members.
    weights : mapping of str to float
        How often each operator is tried first, by its name in `OPERATORS`.
    exchanged : int
        Pairs of ions that ``exchange`` swaps, at most.
    reinserted : 2 float
        Share of the region that ``reinsert`` places anew, at least and at most. Few atoms would
        mostly fall back into the places that they were taken from.
    slid : float
        Å by which ``slide`` moves the film sideways, at most.
    rattled : float
        Width of the displacements of ``rattle``, Å. Much less would mostly relax back.

    Raises
    ------
    DismaiError
        If a value is out of its range, or an operator is unknown.
    """

    pool_share: float = 0.25
    least_pool: int = 5
    per_family: int = 2
    family_share: float = 0.1
    least_family: int = 3
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"exchange": 1, "reinsert": 2, "slide": 1, "rattle": 2, "cross": 1}
    )
    exchanged: int = 3
    reinserted: tuple[float, float] = (0.2, 0.5)
    slid: float = 1.5
    rattled: float = 0.8

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(OPERATORS))
        if unknown:
            raise DismaiError(
                f"mutation: unknown operator {unknown[0]!r}: choose from {', '.join(OPERATORS)}"
            )
        if min(self.weights.values(), default=0) < 0 or not any(self.weights.values()):
            raise DismaiError("mutation: the weights of operators must be 0 or more, not all 0")
        for name in ("pool_share", "family_share"):
            if not 0 < getattr(self, name) <= 1:
                raise DismaiError(f"mutation: {name} must lie above 0 and be at most 1")
        if not 0 <= self.reinserted[0] <= self.reinserted[1] <= 1:
            raise DismaiError("mutation: reinserted must be two shares, the lower one first")
        for name in ("least_pool", "per_family", "least_family", "exchanged", "slid", "rattled"):
            if not getattr(self, name) > 0:
                raise DismaiError(f"mutation: {name} must be above 0")


class Parents(NamedTuple):
    """Who may have children.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Their places in the set, the lowest energy first.
    weights : ndarray, shape (n,)
        Share of the children of each; they add up to 1.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


def choose_parents(
    energies: ArrayLike,
    indices: ArrayLike,
    roots: ArrayLike,
    settings: MutationSettings | None = None,
) -> Parents:
    """Choose those of low energy, few of each family, with weights that fall with their rank.

    Parameters
    ----------
    energies : array-like, shape (n,)
        eV; one that is not finite has no children.
    indices, roots : array-like of int, shape (n,)
        Index of each structure, and of the random one that it descends from (its family).
    settings : MutationSettings, optional
        Size of the pool and limits of families.

    Returns
    -------
    Parents
        The same in whatever order the structures are given; none without finite energies.
    """
    chosen = settings or MutationSettings()
    values, own = np.asarray(energies, dtype=float), np.asarray(roots, dtype=np.int64)
    order = np.lexsort((np.asarray(indices), values))
    order = order[np.isfinite(values[order])]
    sizes = Counter(own[order].tolist())
    full = max(chosen.least_family, chosen.family_share * len(order))
    # Where all families are full, the smallest go on.
    full = max(full, min(sizes.values(), default=0) + 1)
    size = max(chosen.least_pool, round(chosen.pool_share * len(order)))
    taken: Counter[int] = Counter()
    rows: list[int] = []
    for row in order.tolist():
        family = int(own[row])
        if len(rows) < size and sizes[family] < full and taken[family] < chosen.per_family:
            rows.append(row)
            taken[family] += 1
    ranks = np.arange(len(rows), 0, -1, dtype=float)
    return Parents(np.array(rows, dtype=np.int64), ranks / max(1.0, ranks.sum()))


class _Parent(NamedTuple):
    numbers: NDArray[np.uint8]
    places: NDArray[np.int64]
    anatomy: Anatomy


class _Child(NamedTuple):
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    moved: Moved
    operator: int


@dataclass(frozen=True, eq=False)
class Mutator:
    """Makes children of good relaxed interfaces.

    Parameters
    ----------
    system : InterfaceSystem
        The system of parents and children.
    settings : MutationSettings
        How.
    """

    system: InterfaceSystem
    settings: MutationSettings = field(default_factory=MutationSettings)

    def mutate(
        self, parents: StructureSet, energies: ArrayLike, indices: Sequence[int], seed: int
    ) -> Generated:
        """Make one child for each index.

        A child depends on the seed, its index, and the parents and energies; not on their order,
        nor on the other indices. It has the composition and the cell of the system, its atoms
        are in the order of ``atom_order`` by where they were found to sit in the parent, and
        those that came closer to each other keep the minimum distances at the scale of its label
        ``distance_scale``, which is at least two thirds of the spec's.

        Parameters
        ----------
        parents : StructureSet
            Relaxed structures, with the label ``index`` and, if some have parents themselves,
            ``root``. More of them than will have children: families are counted among them.
        energies : array-like, shape (n_parents,)
            Their energies, eV; NaN for those that shall have no children.
        indices : sequence of int
            Indices of the children; different from those of all other structures.
        seed : int
            Seed of the whole set.

        Returns
        -------
        structures : StructureSet
            Those that were made, with the labels of `RandomInterfaces.generate` (thickness and
            shifts as found in the parent, moved with the film), and ``parent`` and ``root``
            (indices; of two parents, the one whose slabs it has), ``second_root`` (that of the
            other parent, of a child of one parent its own) and ``operator`` (int64, a place in
            `OPERATORS`).
        report : GenerationReport
            What failed and why.

        Raises
        ------
        DismaiError
            If no parent has a finite energy, or one is of another system.
        """
        values = np.asarray(energies, dtype=float)
        own = np.asarray(parents.labels["index"], dtype=np.int64)
        roots = np.asarray(parents.labels.get("root", own), dtype=np.int64)
        pool = choose_parents(values, own, roots, self.settings)
        if not len(pool.rows):
            raise DismaiError(
                f"mutation: none of {len(parents)} relaxed structures has a finite energy, so "
                "there is no parent: begin with more random structures"
            )
        known = {row: self._read(parents, row) for row in pool.rows.tolist()}
        names = ("index", "parent", "root", "second_root")
        labels: dict[str, list[Any]] = {name: [] for name in names}
        children: list[_Child] = []
        failures = []
        for index in (int(i) for i in indices):
            row, partner = self._pair(pool, roots, index, seed)
            mother = known[row]
            father = None if partner is None else known[partner]
            rng = structure_rng(seed, MUTATION_KEY, index)
            child = None if mother is None else self._child(mother, father, rng)
            if child is None:
                reason = f"no move was possible in the region of structure {own[row]}"
                failures.append(FailedPlacement(index, reason))
                continue
            children.append(child)
            crossed = partner is not None and child.operator == _CROSS
            second = roots[partner] if crossed else roots[row]
            for name, value in zip(labels, (index, own[row], roots[row], second), strict=True):
                labels[name].append(value)
        whole = {name: np.array(found, dtype=np.int64) for name, found in labels.items()}
        return self._gathered(children, whole, tuple(failures))

    @staticmethod
    def _pair(
        pool: Parents, roots: NDArray[np.int64], index: int, seed: int
    ) -> tuple[int, int | None]:
        """Return the parent of a child, and one of another family if there is one.

        Parents are met evenly, not drawn one by one: in any run of indices each has its share.
        """
        start = structure_rng(seed, PARENT_KEY, 0).random()
        at = (start + index * _GOLDEN) % 1.0
        place = int(np.searchsorted(np.cumsum(pool.weights)[:-1], at, side="right"))
        row = int(pool.rows[place])
        weights = np.where(roots[pool.rows] == roots[row], 0.0, pool.weights)
        if not weights.any():
            return row, None
        rng = structure_rng(seed, PARENT_KEY, index + 1)
        return row, int(rng.choice(pool.rows, p=weights / weights.sum()))

    def _read(self, parents: StructureSet, row: int) -> _Parent | None:
        """Find slabs and region of a parent; None if it has hardly any region left."""
        part = parents.slice_of(row)
        numbers, positions = parents.numbers[part], parents.positions[part]
        host = self.system.host
        counts = np.bincount(numbers, minlength=len(self._codes))
        if not np.array_equal(counts, self._counts) or not np.allclose(
            parents.cells[row], host.cell, atol=1e-3
        ):
            raise DismaiError(
                f"mutation: structure {parents.ids[row]} is no {self.system.spec.name}: its "
                "composition or its cell is another"
            )
        found = find_regions(numbers, positions, host.cell, host)
        if not found.top_layer.any():
            return None
        anatomy = self._anatomy(self._codes[numbers], positions, found)
        expected = sum(self.system.region_counts.values())
        if 2 * anatomy.mobile.sum() < expected:
            anatomy = self._by_height(anatomy)
        if anatomy.mobile.sum() < 2 or not anatomy.thickness >= _LEAST_THICKNESS:
            return None
        region = found.region | anatomy.mobile
        places = np.where(region, 0, np.where(found.top_layer, 1, 2))
        return _Parent(numbers, places, anatomy)

    def _by_height(self, anatomy: Anatomy) -> Anatomy:
        """Tell region and film apart by height alone.

        A film of few planes may be so disordered that its sites are found in the region.
        """
        heights = anatomy.rows[:, 2]
        thickness = float(heights.max()) - self.system.host.film.height
        film = heights >= thickness - MARGIN
        mobile = (heights > MARGIN) & ~film
        return replace(anatomy, mobile=mobile, film=film, thickness=thickness)

    def _anatomy(
        self, codes: NDArray[np.int64], positions: NDArray[np.float64], found: Membership
    ) -> Anatomy:
        host = self.system.host
        below, c = host.substrate, float(host.cell[2, 2])
        layer = positions[found.top_layer, 2]
        # Nothing depends on where the atoms were wrapped.
        layer = layer[0] + (layer - layer[0] + c / 2) % c - c / 2
        lowered = below.height - float(below.positions[below.top_plane, 2].mean())
        middle = (found.thickness + host.film.height - below.height) / 2
        above = positions[:, 2] - (float(layer.mean()) + lowered) - middle
        heights = (above + c / 2) % c - c / 2 + middle
        rows = np.column_stack([positions[:, :2] @ np.linalg.inv(below.vectors), heights])
        inside = (heights >= -MARGIN) & (heights <= found.thickness + MARGIN)
        over = found.region & (heights > found.thickness + MARGIN)
        return Anatomy(
            rows=rows,
            codes=codes,
            mobile=found.region & inside,
            film=found.film | over,
            thickness=found.thickness,
            shift=np.array(found.shift),
        )

    def _child(
        self, mother: _Parent, father: _Parent | None, rng: np.random.Generator
    ) -> _Child | None:
        """Try the operators in a random order until one finds a way."""
        names = [name for name in OPERATORS if self.settings.weights.get(name, 0) > 0]
        chances = np.array([self.settings.weights[name] for name in names], dtype=float)
        order = rng.choice(len(names), len(names), replace=False, p=chances / chances.sum())
        for name in (names[k] for k in order):
            moved = self._move(name, mother.anatomy, father, rng)
            if moved is not None:
                return self._ordered(mother, moved, OPERATORS.index(name))
        return None

    def _move(
        self, name: str, start: Anatomy, father: _Parent | None, rng: np.random.Generator
    ) -> Moved | None:
        moves, settings = self._moves, self.settings
        if name == "exchange":
            return moves.exchange(start, settings.exchanged, rng)
        if name == "reinsert":
            return moves.reinsert(start, settings.reinserted, rng)
        if name == "slide":
            return moves.slide(start, settings.slid, rng)
        if name == "rattle":
            return moves.rattle(start, settings.rattled, rng)
        return None if father is None else moves.cross(start, father.anatomy, rng)

    def _ordered(self, mother: _Parent, moved: Moved, operator: int) -> _Child:
        """Put the atoms into the cell as `RandomInterfaces` does, in the order of the spec."""
        below = self.system.host.substrate
        fractions = moved.anatomy.rows[:, :2]
        fractions = fractions - np.floor(fractions + 1e-9)
        heights = moved.anatomy.rows[:, 2] + below.height
        positions = np.column_stack([fractions @ below.vectors, heights])
        ranks = self._place_ranks[mother.places]
        # Codes are in the order of the species of the spec.
        order = np.lexsort((ranks, moved.anatomy.codes))
        rounded = np.round(positions, DECIMALS) + 0.0
        return _Child(mother.numbers[order], rounded[order], moved, operator)

    def _gathered(
        self,
        children: list[_Child],
        labels: dict[str, NDArray[np.int64]],
        failures: tuple[FailedPlacement, ...],
    ) -> Generated:
        n, n_atoms = len(children), self.system.n_atoms
        full = self.system.spec.interface.region.min_distances.scale
        scales = np.array([full * child.moved.share for child in children], dtype=float)
        shifts = np.array([child.moved.anatomy.shift for child in children]).reshape(n, 2)
        whole: dict[str, NDArray[Any]] = {"index": labels["index"]}
        whole["thickness"] = np.array([child.moved.anatomy.thickness for child in children])
        whole |= {"shift_a": shifts[:, 0], "shift_b": shifts[:, 1], "distance_scale": scales}
        whole |= {name: labels[name] for name in ("parent", "root", "second_root")}
        whole["operator"] = np.array([child.operator for child in children], dtype=np.int64)
        structures = StructureSet.uniform(
            np.array([child.numbers for child in children]).reshape(n, n_atoms),
            np.array([child.positions for child in children]).reshape(n, n_atoms, 3),
            self.system.host.cell,
            whole,
        )
        ids = tuple(str(index) for index in labels["index"].tolist())
        report = GenerationReport(
            n_requested=n + len(failures),
            n_made=n,
            failures=failures,
            n_lowered=int((scales < full).sum()),
            lowest_scale=float(scales.min()) if n else None,
        )
        return Generated(replace(structures, ids=ids), report)

    @cached_property
    def _codes(self) -> NDArray[np.int64]:
        """Place of each atomic number among the species of the spec."""
        codes = np.full(120, -1, dtype=np.int64)
        species = self.system.spec.species
        codes[[atomic_numbers[s] for s in species]] = np.arange(len(species))
        return codes

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        counts = np.zeros(len(self._codes), dtype=np.int64)
        for symbol, n in (self.system.spec.composition or {}).items():
            counts[atomic_numbers[symbol]] = n
        return counts

    @cached_property
    def _place_ranks(self) -> NDArray[np.int64]:
        """Rank of each of `PLACES` by ``atom_order``; those that it leaves out come last."""
        given = self.system.spec.interface.atom_order
        order = [*given, *(place for place in PLACES if place not in given)]
        return np.array([order.index(place) for place in PLACES], dtype=np.int64)

    @cached_property
    def _moves(self) -> Moves:
        spec = self.system.spec
        region = spec.interface.region
        cations, anions = spec.cations or (), spec.anions or ()
        placed = placement_order(dict.fromkeys(spec.species, 1), region)
        return Moves(
            vectors=self.system.host.substrate.vectors,
            limits=distance_matrix(spec.species, region.min_distances),
            signs=np.array([(s in cations) - (s in anions) for s in spec.species], dtype=np.int64),
            ranks=np.array([placed.index(s) for s in spec.species], dtype=np.int64),
            translations=equivalent_shifts(self.system.host),
            highest=region.thickness[1],
            share_step=region.placement.scale_step / region.min_distances.scale,
            max_tries=region.placement.max_tries,
            max_restarts=region.placement.max_restarts,
        )
