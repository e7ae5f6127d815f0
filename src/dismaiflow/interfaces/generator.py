"""Random interfaces: two slabs, the film displaced, and a random region between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.exchanges import exchange, label_of
from dismaiflow.interfaces.region import RegionFiller
from dismaiflow.interfaces.sampling import (
    EXCHANGE_KEY,
    PLACEMENT_KEY,
    SamplingKind,
    structure_rng,
    thickness_and_shift,
    unit_points,
)
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Host
    from dismaiflow.systems.interface_blocks import Exchanges, InterfaceParts

#: After so many failures from the start, and not one success, a run gives up.
GIVE_UP_AFTER = 20

#: Decimals of a position in Å: those of an extended XYZ file, so that hashes survive it.
DECIMALS = 8

#: Rank of an atom by where it sits, under the names of ``atom_order``.
PLACES = ("region", "top-substrate-layer", "rest")


@dataclass(frozen=True)
class FailedPlacement:
    """A structure that could not be made.

    Parameters
    ----------
    index : int
        Its index.
    reason : str
        One line for a person.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class GenerationReport:
    """What became of the structures that were asked for.

    Parameters
    ----------
    n_requested, n_made : int
        Structures.
    failures : tuple of FailedPlacement
        Those that were not made; with the others they are all.
    n_lowered : int
        Structures whose minimum distances were shrunk.
    lowest_scale : float or None
        Smallest scale of the minimum distances; None without structures.
    """

    n_requested: int
    n_made: int
    failures: tuple[FailedPlacement, ...]
    n_lowered: int
    lowest_scale: float | None


class Generated(NamedTuple):
    """Structures, and the report on how they came to be."""

    structures: StructureSet
    report: GenerationReport


class _Single(NamedTuple):
    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    scale: float
    exchanged: dict[str, int]


@dataclass(frozen=True, eq=False)
class RandomInterfaces:
    """Makes the random interfaces of a system (section 4.1.3 of the paper, doi 10.1039/d4dd00100a).

    Parameters
    ----------
    host : Host
        Substrate and film in their common cell.
    parts : InterfaceParts
        The blocks of the system spec.
    species : tuple of str
        Species in the order in which every structure lists them.

    Raises
    ------
    DismaiError
        If the cell is too low for the thickest region and the vacuum, a pair of species has no
        minimum distance, or the host holds species that are not listed.
    """

    host: Host
    parts: InterfaceParts
    species: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = sorted(set(self._filler.species) - set(self.species))
        if missing:
            raise DismaiError(
                f"key 'composition' lacks {', '.join(missing)}, which the slabs or the region hold"
            )
        slabs = self.host.substrate.height + self.host.film.height
        needed = slabs + self.parts.region.thickness[1] + self.parts.vacuum
        if self.host.cell[2, 2] < needed - 1e-6:
            raise DismaiError(
                f"key 'cell': c is {self.host.cell[2, 2]:.2f} Å, but the slabs, the thickest region"
                f" and the vacuum take {needed:.2f} Å: raise c to that"
            )

    @cached_property
    def _filler(self) -> RegionFiller:
        return RegionFiller(self.host, self.parts.region, self.parts.region_counts)

    @cached_property
    def _site_numbers(self) -> NDArray[np.uint8]:
        """Species before exchanges: region, substrate, film."""
        host = self.host
        parts = [self._filler.placed_numbers, host.substrate.numbers, host.film.numbers]
        return np.concatenate(parts).astype(np.uint8)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Index in `PLACES` of each site of `_site_numbers`."""
        layer = np.where(self.host.substrate.top_plane, 1, 2)
        n_region, n_film = len(self._filler.placed_numbers), len(self.host.film)
        return np.concatenate([np.zeros(n_region), layer, np.full(n_film, 2)]).astype(np.int64)

    @property
    def n_atoms(self) -> int:
        """Atoms in a structure."""
        return len(self._site_numbers)

    @property
    def composition(self) -> dict[str, int]:
        """Atoms of each species in a structure, in the order of `species`."""
        counts = np.bincount(self._site_numbers, minlength=120)
        return {symbol: int(counts[atomic_numbers[symbol]]) for symbol in self.species}

    def generate(
        self,
        indices: Sequence[int],
        seed: int,
        n_total: int | None = None,
        sampling: SamplingKind = "random",
        exchanges: bool | None = None,
        points: NDArray[np.float64] | None = None,
    ) -> Generated:
        """Make structures; each depends on the seed and its index alone.

        With ``stratified`` sampling it depends on ``n_total`` too. Neither the kind of sampling
        nor exchanges change the random numbers by which the region is filled.

        Within each species the atoms are sorted by where they sit, as ``atom_order`` of the spec
        says, so that the species of the k-th atom are the same in every structure. An ion that an
        exchange took from the region into the top plane of the substrate counts there.

        Parameters
        ----------
        indices : sequence of int
            Which structures, from 0.
        seed : int
            Seed of the whole set.
        n_total : int, optional
            Structures in the whole set; by default the highest index says.
        sampling : {"random", "stratified", "quasi-random"}
            How thickness and displacement are drawn.
        exchanges : bool, optional
            Whether ions of region and substrate are exchanged; by default as the spec says of
            the dataset (``exchanges.in_dataset``).
        points : ndarray, shape (n_indices, 3), optional
            Points of the unit cube, thickness and shifts as shares of their ranges, one for each
            index: in the place of `sampling`.

        Returns
        -------
        structures : StructureSet
            Those that were made, in the order of the indices, which are their ids and the label
            ``index``. Further labels: ``thickness`` (Å), ``shift_a``, ``shift_b`` (shares of the
            vectors), ``distance_scale`` and, with exchanges, ``exchanged_A_B`` for each pair.
        report : GenerationReport
            What failed and why.

        Raises
        ------
        DismaiError
            If exchanges are asked for that the spec does not describe, the sampling is unknown,
            the points are not one in the unit cube for each index, or not one of the structures
            0 to `GIVE_UP_AFTER` - 1 can be made.
        """
        wanted = [int(i) for i in indices]
        total = max(wanted, default=-1) + 1 if n_total is None else n_total
        swaps = self._exchanges(exchanges)
        if points is None:
            points = unit_points(sampling, wanted, seed, total)
        elif points.shape != (len(wanted), 3) or not ((points >= 0) & (points <= 1)).all():
            raise DismaiError(
                f"{len(wanted)} structures need {len(wanted)} points of the unit cube; the shape "
                f"of those given is {points.shape}, with values from {np.min(points, initial=0):g}"
                f" to {np.max(points, initial=0):g}"
            )
        design = thickness_and_shift(points, self.parts.region)
        made: list[_Single] = []
        kept: list[int] = []
        failures: list[FailedPlacement] = []
        for row, index in enumerate(wanted):
            single = self._one(design[row], seed, index, swaps)
            if single is not None:
                made.append(single)
                kept.append(row)
                continue
            failures.append(FailedPlacement(index, self._no_room(design[row, 0])))
            # Only the beginning of a set tells of all of it; elsewhere a run of bad luck may do.
            if index == len(failures) - 1 >= min(GIVE_UP_AFTER, total) - 1:
                raise self._give_up(len(failures))
        labels: dict[str, NDArray[Any]] = {"index": np.array(wanted, dtype=np.int64)[kept]}
        for column, name in enumerate(("thickness", "shift_a", "shift_b")):
            labels[name] = design[kept, column]
        labels["distance_scale"] = np.array([s.scale for s in made], dtype=np.float64)
        for pair in swaps:
            labels[label_of(pair)] = np.array([s.exchanged[pair] for s in made], dtype=np.int64)
        structures = StructureSet.uniform(
            np.array([s.numbers for s in made]).reshape(len(made), self.n_atoms),
            np.array([s.positions for s in made]).reshape(len(made), self.n_atoms, 3),
            self.host.cell,
            labels,
        )
        structures = replace(structures, ids=tuple(str(wanted[row]) for row in kept))
        return Generated(structures, self._report(len(wanted), made, failures))

    def _exchanges(self, wanted: bool | None) -> Mapping[str, int]:
        spec: Exchanges | None = self.parts.exchanges
        if spec is None and wanted:
            raise DismaiError("key 'exchanges' is missing: give the limits of each pair there")
        if spec is None or not (spec.in_dataset if wanted is None else wanted):
            return {}
        return spec.limits

    def _one(
        self, design: NDArray[np.float64], seed: int, index: int, swaps: Mapping[str, int]
    ) -> _Single | None:
        """Make one structure from its thickness and displacement; None if no room was found."""
        thickness, shift = float(design[0]), (float(design[1]), float(design[2]))
        rng = structure_rng(seed, PLACEMENT_KEY, index)
        placed = self._filler.fill(thickness, shift, rng)
        if placed.positions is None:
            return None
        positions = self._assemble(placed.positions, thickness, shift)
        numbers = self._site_numbers
        exchanged: dict[str, int] = {}
        if swaps:
            rng = structure_rng(seed, EXCHANGE_KEY, index)
            numbers, exchanged = exchange(numbers, self._places == 0, self._places == 1, swaps, rng)
        order = np.lexsort((self._place_rank, self._species_rank[numbers]))
        return _Single(numbers[order], positions[order], placed.scale, exchanged)

    def _assemble(
        self, region: NDArray[np.float64], thickness: float, shift: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Put region, substrate and displaced film into the cell, rounded, shape (n_atoms, 3)."""
        substrate, film = self.host.substrate, self.host.film
        top = substrate.height
        positions = np.concatenate([region, substrate.positions, film.positions])
        n_region, n_film = len(region), len(film)
        positions[:n_region, 2] += top
        positions[-n_film:, 2] += top + thickness
        fractions = positions[:, :2] @ np.linalg.inv(substrate.vectors)
        fractions[-n_film:] += shift
        # What lies within rounding of a cell edge goes to its lower side in every structure.
        fractions -= np.floor(fractions + 1e-9)
        positions[:, :2] = fractions @ substrate.vectors
        return np.round(positions, DECIMALS) + 0.0

    @cached_property
    def _species_rank(self) -> NDArray[np.int64]:
        rank = np.full(120, len(self.species), dtype=np.int64)
        rank[[atomic_numbers[s] for s in self.species]] = np.arange(len(self.species))
        return rank

    @cached_property
    def _place_rank(self) -> NDArray[np.int64]:
        """Rank of each site by ``atom_order``; places that it leaves out come last."""
        given = self.parts.atom_order
        order = [*given, *(place for place in PLACES if place not in given)]
        return np.array([order.index(place) for place in PLACES], dtype=np.int64)[self._places]

    def _no_room(self, thickness: float) -> str:
        n_atoms = len(self._filler.placed_numbers)
        return (
            f"no room for {n_atoms} atoms in a region {thickness:.2f} Å thick, even with the "
            "minimum distances at two thirds of the spec's"
        )

    def _give_up(self, n_failed: int) -> DismaiError:
        low, high = self.parts.region.thickness
        n_atoms = len(self._filler.placed_numbers)
        volume = self.host.area * (low + high) / 2 / n_atoms
        return DismaiError(
            f"key 'region.thickness': none of the first {n_failed} structures took its {n_atoms} "
            f"atoms in a region of {low:g} to {high:g} Å ({volume:.1f} Å^3 per atom): make the "
            "region thicker, lower 'region.min_distances.scale' or 'region.formula_units'"
        )

    def _report(
        self, n_requested: int, made: list[_Single], failures: list[FailedPlacement]
    ) -> GenerationReport:
        scales = [single.scale for single in made]
        full = self.parts.region.min_distances.scale
        return GenerationReport(
            n_requested=n_requested,
            n_made=len(made),
            failures=tuple(failures),
            n_lowered=sum(scale != full for scale in scales),
            lowest_scale=min(scales, default=None),
        )
