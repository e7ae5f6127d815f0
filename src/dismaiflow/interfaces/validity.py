"""Whether structures are interfaces of their system: slabs, region, vacuum and distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from dismaiflow.interfaces.exchanges import EXCHANGED, pair_numbers
from dismaiflow.interfaces.membership import Membership, find_regions
from dismaiflow.interfaces.region import distance_matrix
from dismaiflow.structures.checks import Expectation, find_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Host
    from dismaiflow.interfaces.system import InterfaceSystem
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems.interface_blocks import InterfaceParts

#: Positions are rounded, so lengths may miss their limit by so much (Å).
ROUNDING = 1e-6


@dataclass(frozen=True)
class InterfaceProblem:
    """Something that is wrong with a structure.

    Parameters
    ----------
    reason : str
        ``not_finite``, ``foreign_element``, ``wrong_count``, ``wrong_composition``,
        ``wrong_cell``, ``wrong_region_count``, ``slab_not_intact``, ``atoms_outside_region``,
        ``wrong_thickness``, ``little_vacuum`` or ``too_close``.
    detail : str
        One line for a person.
    """

    reason: str
    detail: str


def check_structures(structures: StructureSet, system: InterfaceSystem) -> list[list[str]]:
    """Check unrelaxed structures of a system; say in words what is wrong with each.

    Exchanges are allowed if the set has labels that count them.

    Parameters
    ----------
    structures : StructureSet
        As `RandomInterfaces.generate` made them, or as somebody else did.
    system : InterfaceSystem
        Their system.

    Returns
    -------
    list of list of str
        Lines on each structure, none where it is valid.
    """
    checks = InterfaceChecks(
        host=system.host,
        parts=system.spec.interface,
        composition=system.spec.composition,
        exchanges=any(name.startswith(EXCHANGED) for name in structures.labels),
    )
    return [[problem.detail for problem in found] for found in checks.check(structures)]


@dataclass(frozen=True, eq=False)
class InterfaceChecks:
    """What every interface of a system must be like.

    Parameters
    ----------
    host : Host
        The slabs in their common cell.
    parts : InterfaceParts
        The blocks of the system spec.
    composition : mapping of str to int
        Atoms of each species in a structure.
    exchanges : bool
        Whether ions of region and substrate may be exchanged.
    site_tolerance : float
        Largest displacement of an atom of the slabs from its site, Å. The default accepts slabs
        as they were built; give more for relaxed or generated structures.
    slack : float
        By how much thickness and vacuum may miss their limits, Å.
    thickness : bool
        Check the thickness. Relaxed structures have another than they were made with.
    distances : bool
        Check the minimum distances, which hold for structures that were not relaxed.
    """

    host: Host
    parts: InterfaceParts
    composition: Mapping[str, int]
    exchanges: bool = False
    site_tolerance: float = 0.01
    slack: float = ROUNDING
    thickness: bool = True
    distances: bool = True

    def check(self, structures: StructureSet) -> list[list[InterfaceProblem]]:
        """Return the problems of every structure of a set, empty where there are none.

        The label ``distance_scale``, if the set has it, says at which scale the minimum distances
        hold; else it is that of the spec.
        """
        species = tuple(self.composition)
        limits = np.zeros((120, 120))
        codes = [atomic_numbers[s] for s in species]
        limits[np.ix_(codes, codes)] = distance_matrix(species, self.parts.region.min_distances)
        if self.exchanges:
            limits = self._exchanged_limits(limits)
        full = self.parts.region.min_distances.scale
        scales = structures.labels.get("distance_scale", np.full(len(structures), full))
        return [
            self._check_one(structures, i, limits * (float(scales[i]) / full))
            for i in range(len(structures))
        ]

    def _exchanged_limits(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lower the distances of ions that may sit where their partner was placed."""
        placed = {z: {z} for z in np.flatnonzero(limits.any(axis=0)).tolist()}
        for pair in self.parts.exchanges.limits if self.parts.exchanges else ():
            first, second = pair_numbers(pair)
            placed[first].add(second)
            placed[second].add(first)
        result = limits.copy()
        for one, as_one in placed.items():
            for other, as_other in placed.items():
                result[one, other] = limits[np.ix_(sorted(as_one), sorted(as_other))].min()
        return result

    def _check_one(
        self, structures: StructureSet, index: int, limits: NDArray[np.float64]
    ) -> list[InterfaceProblem]:
        composition = {atomic_numbers[s]: n for s, n in self.composition.items()}
        misfit = find_problem(structures, index, Expectation(composition, self.host.cell))
        if misfit is not None:
            return [InterfaceProblem(*misfit)]
        part = structures.slice_of(index)
        numbers, positions = structures.numbers[part], structures.positions[part]
        found = find_regions(numbers, positions, structures.cells[index], self.host)
        problems = [*self._slab_problems(found), *self._region_problems(found)]
        if self.distances:
            problems += self._distance_problems(numbers, positions, found, limits)
        return problems

    def _slab_problems(self, found: Membership) -> list[InterfaceProblem]:
        problems = []
        for name, missing, foreign in (
            ("substrate", found.missing_substrate, found.foreign_substrate),
            ("film", found.missing_film, found.foreign_film),
        ):
            if missing or foreign:
                detail = f"the {name} has {missing} empty sites and {foreign} with another species"
                problems.append(InterfaceProblem("slab_not_intact", detail))
        if found.displacement > self.site_tolerance:
            detail = (
                f"an atom of the slabs lies {found.displacement:.2f} Å from its site, more than "
                f"{self.site_tolerance:g} Å"
            )
            problems.append(InterfaceProblem("slab_not_intact", detail))
        if found.exchanged and not self.exchanges:
            detail = f"{found.exchanged} sites of the top plane of the substrate are exchanged"
            problems.append(InterfaceProblem("slab_not_intact", detail))
        return problems

    def _region_problems(self, found: Membership) -> list[InterfaceProblem]:
        region = self.parts.region
        problems = []
        expected = sum(self.parts.region_counts.values())
        n_found = int(found.region.sum())
        if n_found != expected:
            detail = f"{n_found} atoms in the region instead of {expected}"
            problems.append(InterfaceProblem("wrong_region_count", detail))
        if found.outside:
            detail = f"{found.outside} atoms belong to no slab but lie outside the region"
            problems.append(InterfaceProblem("atoms_outside_region", detail))
        low, high = region.thickness
        if self.thickness and not low - self.slack <= found.thickness <= high + self.slack:
            detail = f"the region is {found.thickness:.2f} Å thick, not {low:g} to {high:g} Å"
            problems.append(InterfaceProblem("wrong_thickness", detail))
        if found.vacuum < self.parts.vacuum - self.slack:
            detail = f"the vacuum is {found.vacuum:.2f} Å, less than {self.parts.vacuum:g} Å"
            problems.append(InterfaceProblem("little_vacuum", detail))
        return problems

    def _distance_problems(
        self,
        numbers: NDArray[np.uint8],
        positions: NDArray[np.float64],
        found: Membership,
        limits: NDArray[np.float64],
    ) -> list[InterfaceProblem]:
        # Atoms within a slab are as close as their crystal has them.
        part = np.where(found.region, 0, np.where(found.substrate, 1, 2))
        fractions = positions @ np.linalg.inv(self.host.cell)
        i, j, distance = _worst_pair(
            fractions, numbers.astype(np.int64), part, self.host.cell, limits - ROUNDING
        )
        if i < 0:
            return []
        first, second = chemical_symbols[numbers[i]], chemical_symbols[numbers[j]]
        limit = limits[numbers[i], numbers[j]]
        detail = f"{first} {i} and {second} {j} are {distance:.3f} Å apart, less than {limit:.3f} Å"
        return [InterfaceProblem("too_close", detail)]


@numba.njit(cache=True, nogil=True)
def _worst_pair(
    points: NDArray[np.float64],
    numbers: NDArray[np.int64],
    part: NDArray[np.int64],
    cell: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> tuple[int, int, float]:
    """Find the pair, not both of one slab, that falls short of its limit by most; -1 if none.

    Parameters
    ----------
    points : ndarray, shape (n_atoms, 3)
        Fractional coordinates.
    numbers, part : ndarray of int64, shape (n_atoms,)
        Atomic numbers; 0 for an atom of the region, 1 and 2 for the slabs.
    cell : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    limits : ndarray, shape (120, 120)
        Smallest distances by atomic number, Å.
    """
    worst = 0.0
    first, second, distance = -1, -1, 0.0
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            if part[i] == part[j] and part[i] != 0:
                continue
            apart = points[j] - points[i]
            apart -= np.rint(apart)
            limit = limits[numbers[i], numbers[j]]
            if abs(apart[2] * cell[2, 2]) >= limit:
                continue
            for a in range(-1, 2):
                for b in range(-1, 2):
                    x = (apart[0] + a) * cell[0, 0] + (apart[1] + b) * cell[1, 0]
                    y = (apart[0] + a) * cell[0, 1] + (apart[1] + b) * cell[1, 1]
                    z = apart[2] * cell[2, 2]
                    gap = np.sqrt(x * x + y * y + z * z)
                    if limit - gap > worst:
                        worst = limit - gap
                        first, second, distance = i, j, gap
    return first, second, distance
