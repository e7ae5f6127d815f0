"""Filling the region between two slabs at random, one atom after the other.

Random sequential addition: every atom is tried at points uniform in the region until one keeps its
distance from all atoms that are there already. Where an atom finds no place the structure is begun
again, and after some beginnings the minimum distances shrink by a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.region_kernel import clash, fill_region

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Host
    from dismaiflow.systems.interface_blocks import MinDistances, Region

#: Share of the scale of a spec below which the minimum distances do not shrink.
LEAST_SCALE_SHARE = 2 / 3


@dataclass(frozen=True, eq=False)
class Placed:
    """The outcome of one random filling.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3), or None
        Cartesian positions in the order of placement, Å, z from the top plane of the substrate;
        None if no room was found.
    scale : float
        Scale of the minimum distances that was reached.
    """

    positions: NDArray[np.float64] | None
    scale: float


def placement_order(composition: Mapping[str, int], region: Region) -> list[str]:
    """Return the species of the region in the order in which they are placed.

    Those of ``region.placement.order`` come first, then the others by falling ionic radius, so
    that large anions lead by default.
    """
    radii = region.min_distances.radii
    given = [s for s in region.placement.order or () if s in composition]
    others = sorted(set(composition) - set(given), key=lambda s: (-radii.get(s, 0.0), s))
    return given + others


def distance_matrix(species: tuple[str, ...], minima: MinDistances) -> NDArray[np.float64]:
    """Tabulate the minimum distances of species at the scale of the spec.

    Parameters
    ----------
    species : tuple of str
        Chemical symbols.
    minima : MinDistances
        Scale, radii and pairs.

    Returns
    -------
    ndarray, shape (n_species, n_species)
        Smallest distances, Å.

    Raises
    ------
    DismaiError
        If a pair has neither a distance of its own nor both radii.
    """
    try:
        return np.array([[minima.of(a, b) for b in species] for a in species], dtype=np.float64)
    except KeyError as error:
        raise DismaiError(
            f"key 'region.min_distances.radii' has no {error.args[0]}: add its ionic radius, or "
            f"the distances of its pairs under 'region.min_distances.pairs'"
        ) from None


@dataclass(frozen=True, eq=False)
class RegionFiller:
    """Places the atoms of a region between the slabs of a host.

    Parameters
    ----------
    host : Host
        The slabs.
    region : Region
        Minimum distances and limits of the search.
    composition : mapping of str to int
        Atoms of each species to place.

    Raises
    ------
    DismaiError
        If a pair of species has no minimum distance, or the cell is so small that an atom is
        closer to its own images than its minimum distance.
    """

    host: Host
    region: Region
    composition: Mapping[str, int]

    def __post_init__(self) -> None:
        steps = np.array([[1, 0], [0, 1], [1, 1], [1, -1]]) @ self.host.substrate.vectors
        shortest = float(np.linalg.norm(steps, axis=1).min())
        own = [self._distances[self._code[s], self._code[s]] for s in self.composition]
        if own and shortest < max(own):
            raise DismaiError(
                f"key 'supercell': an in-plane period of {shortest:.2f} Å is shorter than the "
                f"smallest distance {max(own):.2f} Å of two like atoms: take a larger supercell"
            )

    @cached_property
    def species(self) -> tuple[str, ...]:
        """All species of host and region."""
        numbers = {*self.host.substrate.numbers.tolist(), *self.host.film.numbers.tolist()}
        return tuple(sorted({*(chemical_symbols[z] for z in numbers), *self.composition}))

    @cached_property
    def placed_numbers(self) -> NDArray[np.uint8]:
        """Atomic numbers in the order of placement, shape (n_atoms,)."""
        order = placement_order(self.composition, self.region)
        codes = [atomic_numbers[s] for s in order for _ in range(self.composition[s])]
        return np.array(codes, dtype=np.uint8)

    @cached_property
    def _code(self) -> dict[str, int]:
        return {symbol: code for code, symbol in enumerate(self.species)}

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        return distance_matrix(self.species, self.region.min_distances)

    @cached_property
    def _placed_codes(self) -> NDArray[np.int64]:
        return self._codes(self.placed_numbers)

    def _codes(self, numbers: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.array([self._code[chemical_symbols[z]] for z in numbers], dtype=np.int64)

    @cached_property
    def _near(self) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
        """Atoms of the slabs that the region can feel, those of the substrate first.

        Rows are fractional in the plane; heights are from the top of the substrate and from the
        bottom of the film.
        """
        reach = self._distances.max()
        inverse = np.linalg.inv(self.host.substrate.vectors)
        rows, codes, counts = [], [], []
        for slab, height in (
            (self.host.substrate, self.host.substrate.height),
            (self.host.film, 0),
        ):
            z = slab.positions[:, 2] - height
            near = np.abs(z) < reach
            rows.append(np.column_stack([slab.positions[near, :2] @ inverse, z[near]]))
            codes.append(self._codes(slab.numbers[near]))
            counts.append(int(near.sum()))
        return np.concatenate(rows), np.concatenate(codes), counts[0]

    def fill(
        self, thickness: float, shift: tuple[float, float], rng: np.random.Generator
    ) -> Placed:
        """Fill the region of one structure.

        Parameters
        ----------
        thickness : float
            From the top plane of the substrate to the lowest plane of the film, Å.
        shift : 2 float
            Displacement of the film along a and b, as shares of the vectors.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        Placed
            Positions, or none if even the least scale left no room.
        """
        rows, codes, n_substrate = self._near
        fixed = rows.copy()
        fixed[n_substrate:] += (*shift, thickness)
        placement = self.region.placement
        scale = self.region.min_distances.scale
        least = LEAST_SCALE_SHARE * scale
        while scale >= least - 1e-9:
            limits = self._distances * (scale / self.region.min_distances.scale)
            # Slabs that touch need a smaller scale, too.
            touching = thickness < limits.max() and clash(
                self.host.substrate.vectors, fixed, codes, n_substrate, limits
            )
            if not touching:
                positions = np.empty((len(self._placed_codes), 3))
                done = fill_region(
                    rng,
                    self.host.substrate.vectors,
                    thickness,
                    fixed,
                    codes,
                    self._placed_codes,
                    limits,
                    placement.max_tries,
                    placement.max_restarts,
                    positions,
                )
                if done:
                    positions[:, :2] = positions[:, :2] @ self.host.substrate.vectors
                    return Placed(positions, scale)
            scale = round(scale - placement.scale_step, 12)
        return Placed(None, scale + placement.scale_step)


@dataclass(frozen=True)
class PlacementRow:
    """How well a region of one thickness takes its atoms.

    Parameters
    ----------
    thickness : float
        Å.
    n_tries : int
        Structures tried.
    success_rate : float
        Share of them in which all atoms found a place.
    full_scale_rate : float
        Share of them that kept the scale of the spec.
    mean_scale, lowest_scale : float or None
        Scale of the minimum distances where all found a place; None where none did.
    volume_per_atom : float
        Volume of the region per atom placed, Å^3.
    seconds : float
        Wall time per structure.
    """

    thickness: float
    n_tries: int
    success_rate: float
    full_scale_rate: float
    mean_scale: float | None
    lowest_scale: float | None
    volume_per_atom: float
    seconds: float


def placement_report(
    host: Host, region: Region, composition: Mapping[str, int], n_tries: int = 36, seed: int = 0
) -> list[PlacementRow]:
    """Try the region of a system at its thinnest, in the middle and at its thickest.

    Parameters
    ----------
    host : Host
        The slabs.
    region : Region
        The region of the spec.
    composition : mapping of str to int
        Atoms of each species to place.
    n_tries : int
        Structures per thickness, each with its own displacement of the film.
    seed : int
        Seed.

    Returns
    -------
    list of PlacementRow
        One row per thickness; a single one if the spec gives a single thickness.

    Raises
    ------
    DismaiError
        See `RegionFiller`.
    """
    filler = RegionFiller(host, region, composition)
    low, high = region.thickness
    rows = []
    for k, thickness in enumerate(sorted({low, (low + high) / 2, high})):
        scales = []
        begin = perf_counter()
        for i in range(n_tries):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k, i)))
            shift = rng.random(2) * region.lateral_shift
            placed = filler.fill(thickness, (float(shift[0]), float(shift[1])), rng)
            if placed.positions is not None:
                scales.append(placed.scale)
        full = sum(scale == region.min_distances.scale for scale in scales)
        rows.append(
            PlacementRow(
                thickness=thickness,
                n_tries=n_tries,
                success_rate=len(scales) / n_tries,
                full_scale_rate=full / n_tries,
                mean_scale=float(np.mean(scales)) if scales else None,
                lowest_scale=min(scales, default=None),
                volume_per_atom=host.area * thickness / max(1, sum(composition.values())),
                seconds=(perf_counter() - begin) / n_tries,
            )
        )
    return rows
