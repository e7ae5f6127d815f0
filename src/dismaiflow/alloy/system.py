"""An alloy as Monte Carlo and scoring need it, made from a system spec."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import SiteLattice
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.systems import SystemSpec

#: A reference cell may differ from a whole number of lattice parameters by so much (Å).
_CELL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class AlloySystem:
    """Lattice, energies and composition of an alloy.

    Parameters
    ----------
    name : str
        Name of the system.
    lattice : SiteLattice
        Its sites.
    expansion : ClusterExpansion
        Its energies; the order of its species is that of the integer codes.
    composition : dict of str to int
        Atoms of each species; structures list their species in this order.
    """

    name: str
    lattice: SiteLattice
    expansion: ClusterExpansion
    composition: dict[str, int]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.composition) - set(self.expansion.species))
        if unknown:
            raise DismaiError(
                f"{self.name}: the cluster expansion has no terms for {', '.join(unknown)}, only "
                f"for {', '.join(self.expansion.species)}"
            )

    @classmethod
    def from_spec(cls, spec: SystemSpec) -> AlloySystem:
        """Build from a spec of kind alloy.

        Raises
        ------
        DismaiError
            If the spec is of another kind, or its cluster expansion cannot be read.
        """
        parts = spec.alloy
        lattice = SiteLattice(parts.lattice.type, parts.lattice.a, parts.lattice.supercell)
        if isinstance(parts.cluster_expansion, str):
            expansion = ClusterExpansion.from_file(spec.cluster_expansion_path())
        else:
            data: dict[str, Any] = parts.cluster_expansion.model_dump()
            expansion = ClusterExpansion.from_dict(data, f"{spec.name}: cluster_expansion")
        return cls(spec.name, lattice, expansion, dict(spec.composition))

    @property
    def species(self) -> tuple[str, ...]:
        """Species in the order of the integer codes."""
        return self.expansion.species

    @cached_property
    def hamiltonian(self) -> IntegerHamiltonian:
        """Integer energies on the lattice."""
        return IntegerHamiltonian(self.expansion, self.lattice)

    def in_cell(self, cell: NDArray[np.float64], composition: dict[str, int]) -> AlloySystem:
        """Return the same alloy in the supercell that a reference set uses.

        Parameters
        ----------
        cell : ndarray, shape (3, 3)
            Cell vectors in Å: a whole number of lattice parameters along each Cartesian axis.
        composition : dict of str to int
            Atoms of each species there.

        Raises
        ------
        DismaiError
            If the cell does not fit the lattice, or another species occurs.
        """
        a = self.lattice.a
        counts = np.rint(np.diag(cell) / a).astype(int)
        if counts.min() < 1 or np.abs(cell - np.diag(counts * a)).max() > _CELL_TOLERANCE:
            raise DismaiError(
                f"{self.name}: the reference's cell is no supercell of its {self.lattice.kind} "
                f"lattice (a = {a} A) along the Cartesian axes"
            )
        repeats = (int(counts[0]), int(counts[1]), int(counts[2]))
        lattice = SiteLattice(self.lattice.kind, a, repeats)
        return AlloySystem(self.name, lattice, self.expansion, composition)

    def codes(self, numbers: NDArray[np.integer]) -> NDArray[np.int8]:
        """Turn atomic numbers into species codes.

        Parameters
        ----------
        numbers : ndarray of int
            Atomic numbers of species of the alloy.
        """
        table = np.full(120, -1, dtype=np.int8)
        for code, symbol in enumerate(self.species):
            table[atomic_numbers[symbol]] = code
        return np.asarray(table[np.asarray(numbers)])

    def structures(
        self, occupations: NDArray[np.int8], labels: dict[str, NDArray[Any]] | None = None
    ) -> StructureSet:
        """Place atoms on the sites of the lattice.

        Parameters
        ----------
        occupations : ndarray of int8, shape (n_structures, n_sites)
            Species code of each site; no vacancies.
        labels : dict, optional
            See `StructureSet`.

        Returns
        -------
        StructureSet
            Atoms ordered by species as the composition lists them, then by site.
        """
        rank = {symbol: i for i, symbol in enumerate(self.composition)}
        ranks = np.array([rank.get(symbol, len(rank)) for symbol in self.species])
        order = np.argsort(ranks[occupations], axis=1, kind="stable")
        numbers = np.array([atomic_numbers[symbol] for symbol in self.species], dtype=np.uint8)
        ordered = np.take_along_axis(occupations, order, axis=1)
        return StructureSet.uniform(
            numbers[ordered], self.lattice.positions[order], self.lattice.cell, labels
        )
