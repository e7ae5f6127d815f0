"""From alloy structures to cluster counts, structure by structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import PUBLISHED_COUNT_DECIMALS as DECIMALS
from dismaiflow.metrics.clusters import count_monomers, count_pairs, fingerprint, per_atom
from dismaiflow.metrics.off_lattice import count_off_lattice
from dismaiflow.metrics.order import warren_cowley
from dismaiflow.metrics.registration import register
from dismaiflow.metrics.rotated_sites import assign_rotated
from dismaiflow.metrics.sites import MAX_REMOVED, assign_fixed, assign_translated
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays
from dismaiflow.structures.read import BadFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.alloy.system import AlloySystem
    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.structures.lattice import SiteLattice
    from dismaiflow.structures.structure_set import StructureSet

_MAGIC = b"DISMAI-ALLOY-COUNTS-1"

_COUNT_ARRAYS = ("indices", "monomers", "pairs", "n_vacancies", "occupations")

#: Published files carry positions with eight decimals between the scripts.
_FILE_DECIMALS = 8

#: A structure whose atoms are all this close to sites of their own is counted on the sites (Å).
_ON_SITE = 1e-6


@dataclass(frozen=True)
class _Counted:
    """Cluster counts of one accepted structure."""

    monomers: NDArray[np.int64]
    pairs: NDArray[np.float64]
    n_vacancies: int
    occupation: NDArray[np.int8] | None


@dataclass(frozen=True)
class AlloyCounts:
    """Cluster counts of a set of structures.

    Parameters
    ----------
    indices : ndarray of int64, shape (n,)
        Place of each accepted structure in its source.
    monomers : ndarray of int64, shape (n, n_species)
        Atoms of each species.
    pairs : ndarray, shape (n, n_shells, n_species, n_species)
        Unordered pairs in the upper triangle; halves occur off lattice.
    n_vacancies : ndarray of int64, shape (n,)
        Vacant sites.
    occupations : ndarray of int8, shape (n, n_sites)
        Species code of each site, -1 for a vacancy; all -2 where atoms were not put on the sites of
        the periodic lattice.
    bad : list of BadFrame
        The structures that were not accepted.
    """

    indices: NDArray[np.int64]
    monomers: NDArray[np.int64]
    pairs: NDArray[np.float64]
    n_vacancies: NDArray[np.int64]
    occupations: NDArray[np.int8]
    bad: list[BadFrame]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def concatenate(cls, parts: Sequence[AlloyCounts]) -> AlloyCounts:
        """Join the counts of chunks and sort them by the place in the source."""
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COUNT_ARRAYS
        }
        order = np.argsort(joined["indices"], kind="stable")
        bad = sorted((b for part in parts for b in part.bad), key=lambda b: b.index)
        return cls(**{name: array[order] for name, array in joined.items()}, bad=bad)

    def emptied(self) -> AlloyCounts:
        """Return counts of no structures, with arrays of the same shapes otherwise."""
        arrays = {name: getattr(self, name)[:0] for name in _COUNT_ARRAYS}
        return AlloyCounts(**arrays, bad=[])

    def to_bytes(self) -> bytes:
        """Write into bytes."""
        arrays = {name: getattr(self, name) for name in _COUNT_ARRAYS}
        bad = [[b.index, b.reason, b.detail] for b in self.bad]
        return pack_arrays(_MAGIC, arrays, {"bad": bad})

    @classmethod
    def from_bytes(cls, data: bytes) -> AlloyCounts:
        """Read what `to_bytes` wrote."""
        arrays, header = unpack_arrays(_MAGIC, data)
        kept: dict[str, Any] = dict(arrays)
        return cls(**kept, bad=[BadFrame(*entry) for entry in header["bad"]])


@dataclass(frozen=True)
class AlloyFeatures:
    """What is compared between two sets, computed from their counts.

    Parameters
    ----------
    fingerprints : ndarray, shape (n, n_components)
        Cluster fingerprint of each structure.
    order : ndarray, shape (n, 2 * n_pairs)
        Warren-Cowley parameters of the first two shells.
    energies : ndarray, shape (n,)
        Formation energies of the cluster expansion, eV/atom.
    """

    fingerprints: NDArray[np.float64]
    order: NDArray[np.float64]
    energies: NDArray[np.float64]


class AlloyAnalyser:
    """Post-processes and counts structures by one protocol.

    Parameters
    ----------
    system : AlloySystem
        The alloy, in the supercell of the structures.
    protocol : ScoringProtocol
        How to align and count.

    Raises
    ------
    DismaiError
        If the protocol cannot be applied to the supercell.
    """

    def __init__(self, system: AlloySystem, protocol: ScoringProtocol) -> None:
        self.system = system
        self.protocol = protocol
        repeats = system.lattice.repeats
        if protocol.alignment == "rotated" and len(set(repeats)) > 1:
            raise DismaiError(
                f"{system.name}: the alignment rotated takes cubic cells only, as the published "
                f"script does, not {'x'.join(map(str, repeats))}; use another one or --protocol "
                "corrected"
            )
        self._shells = system.lattice.shells(system.expansion.n_shells)
        self._along_axes = _neighbors_along_axes(system.lattice)
        self._file_order = _electronegativity_rank(system.species)

    def count_generated(self, structures: StructureSet, indices: NDArray[np.int64]) -> AlloyCounts:
        """Post-process generated structures and count their clusters.

        Parameters
        ----------
        structures : StructureSet
            Structures with the composition and cell of the reference.
        indices : ndarray of int64, shape (n_structures,)
            Place of each in its source.

        Returns
        -------
        AlloyCounts
            Reasons for failure are ``too_many_removed`` (more than 50 atoms on no site of their
            own) and ``no_lattice`` (the orientation or position of the lattice cannot be found).
        """
        return self._count_all(structures, indices, self._generated)

    def count_reference(
        self, structures: StructureSet, indices: NDArray[np.int64] | None = None
    ) -> AlloyCounts:
        """Count the clusters of reference structures.

        The published protocol counts them without post-processing, as the published reference data
        were; the corrected one treats both sides alike.
        """
        places = np.arange(len(structures)) if indices is None else indices
        counter = self._published_reference if self._published else self._generated
        return self._count_all(structures, places, counter)

    def features(self, counts: AlloyCounts) -> AlloyFeatures:
        """Turn counts into fingerprints, order parameters and energies."""
        convention = self.protocol.name
        expansion = self.system.expansion
        fractions, per = per_atom(
            counts.monomers, counts.pairs, DECIMALS if self._published else None
        )
        order = warren_cowley(counts.monomers, counts.pairs[:, :2], convention)
        return AlloyFeatures(
            fingerprint(counts.monomers, counts.pairs, self._shells.multiplicities, convention),
            order.reshape(len(counts), order.shape[1] * order.shape[2]),
            expansion.energy(fractions, per),
        )

    @property
    def _published(self) -> bool:
        return self.protocol.name == "published"

    def _count_all(self, structures: StructureSet, indices: Any, counter: Any) -> AlloyCounts:
        n_species, n_sites = len(self.system.species), self.system.lattice.n_sites
        accepted: list[int] = []
        found: list[_Counted] = []
        bad: list[BadFrame] = []
        for i, index in enumerate(np.asarray(indices).tolist()):
            part = structures.slice_of(i)
            codes = self.system.codes(structures.numbers[part])
            counted = counter(structures.positions[part], codes)
            if isinstance(counted, _Counted):
                accepted.append(index)
                found.append(counted)
            else:
                bad.append(BadFrame(index, *counted))
        elsewhere = np.full(n_sites, -2, dtype=np.int8)
        shape = (len(found), self._shells.n_shells, n_species, n_species)
        return AlloyCounts(
            indices=np.array(accepted, dtype=np.int64),
            monomers=np.array([c.monomers for c in found], np.int64).reshape(-1, n_species),
            pairs=np.array([c.pairs for c in found], dtype=float).reshape(shape),
            n_vacancies=np.array([c.n_vacancies for c in found], dtype=np.int64),
            occupations=np.array(
                [elsewhere if c.occupation is None else c.occupation for c in found], np.int8
            ).reshape(-1, n_sites),
            bad=bad,
        )

    def _generated(
        self, positions: NDArray[np.float64], codes: NDArray[np.int8]
    ) -> _Counted | tuple[str, str]:
        lattice = self.system.lattice
        match self.protocol.alignment:
            case "fixed":
                return self._on_sites(assign_fixed(lattice, positions, codes))
            case "translated":
                occupation = assign_translated(lattice, positions, codes)
                if occupation is None:
                    return "no_lattice", "no atom within 5 A of the origin to move the lattice to"
                return self._on_sites(occupation)
            case "rotated":
                return self._rotated(positions, codes)
            case _:
                return self._registered(positions, codes)

    def _on_sites(self, occupation: NDArray[np.int8]) -> _Counted | tuple[str, str]:
        """Count a structure whose atoms were snapped to the sites of the periodic lattice."""
        n_species = len(self.system.species)
        if self._published and not self._shows_lattice(occupation):
            return "no_lattice", "no atom is left with all six second neighbours"
        return _Counted(
            monomers=count_monomers(occupation, n_species)[0],
            pairs=count_pairs(occupation, self._shells, n_species)[0].astype(float),
            n_vacancies=int((occupation < 0).sum()),
            occupation=occupation,
        )

    def _shows_lattice(self, occupation: NDArray[np.int8]) -> bool:
        """Say whether the published counting script could find the axes."""
        complete = (occupation[self._along_axes] >= 0).all(axis=1)
        return bool(((occupation >= 0) & complete).any())

    def _rotated(
        self, positions: NDArray[np.float64], codes: NDArray[np.int8]
    ) -> _Counted | tuple[str, str]:
        sites = assign_rotated(self.system.lattice, positions)
        if sites is None:
            return "no_lattice", "no atom shows the orientation of the lattice"
        if sites.n_removed > MAX_REMOVED:
            return "too_many_removed", _removed(sites.n_removed)
        # The script sorts the accepted atoms by species, and writes them to a file.
        atoms = sites.atoms[np.argsort(self._file_order[codes[sites.atoms]], kind="stable")]
        return self._off_lattice(positions[atoms].round(_FILE_DECIMALS), codes[atoms])

    def _off_lattice(
        self, positions: NDArray[np.float64], codes: NDArray[np.int8]
    ) -> _Counted | tuple[str, str]:
        n_species = len(self.system.species)
        counted = count_off_lattice(
            self.system.lattice, self._shells.n_shells, positions, codes, n_species
        )
        if counted is None:
            return "no_lattice", "no atom shows the orientation of the lattice"
        return _Counted(
            monomers=np.bincount(codes, minlength=n_species),
            pairs=counted.pairs,
            n_vacancies=counted.n_vacancies,
            occupation=None,
        )

    def _published_reference(
        self, positions: NDArray[np.float64], codes: NDArray[np.int8]
    ) -> _Counted | tuple[str, str]:
        lattice = self.system.lattice
        points = np.rint(positions / (lattice.a / 2)).astype(np.int64)
        sites = lattice.site_at(points)
        exact = np.abs(positions - points * (lattice.a / 2)).max() < _ON_SITE
        if exact and sites.min() >= 0 and len(np.unique(sites)) == len(sites):
            occupation = np.full(lattice.n_sites, -1, dtype=np.int8)
            occupation[sites] = codes
            return self._on_sites(occupation)
        return self._off_lattice(positions, codes)

    def _registered(
        self, positions: NDArray[np.float64], codes: NDArray[np.int8]
    ) -> _Counted | tuple[str, str]:
        n_species = len(self.system.species)
        found = register(self.system.lattice, positions, codes)
        # The paper's 50 are about 20 % of its 256 atoms (section 4.3.3).
        limit = round(MAX_REMOVED * self.system.lattice.n_sites / 256)
        if found.n_removed > limit:
            return "too_many_removed", _removed(found.n_removed, limit)
        kept = found.occupation if found.block is None else found.block[1]
        assert kept is not None
        return _Counted(
            monomers=count_monomers(kept, n_species)[0],
            pairs=found.pairs(self._shells, self.system.lattice.a, n_species).astype(float),
            n_vacancies=self.system.lattice.n_sites - int((kept >= 0).sum()),
            occupation=found.occupation,
        )


def _neighbors_along_axes(lattice: SiteLattice) -> NDArray[np.int32]:
    """Return the six neighbours of each site that are one lattice parameter away."""
    shells = lattice.shells(2)
    steps = np.isclose(shells.distances[shells.shell_of], lattice.a)
    return np.asarray(shells.neighbors[:, steps])


def _removed(n: int, limit: int = MAX_REMOVED) -> str:
    return f"{n} atoms stand on no lattice site of their own, more than {limit}"


def _electronegativity_rank(species: Sequence[str]) -> NDArray[np.int64]:
    """Rank species as pymatgen sorts the sites of a structure."""
    from pymatgen.core import Element

    values = [Element(symbol).X for symbol in species]
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")
