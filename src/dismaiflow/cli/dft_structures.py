"""Structures for which inputs of VASP are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from dismaiflow.dft.settings_table import Stage
    from dismaiflow.systems import SystemSpec

#: Conventional cells along each edge of a random alloy: what DFT can relax by the hundred.
_ALLOY_CELLS = 2


@dataclass(frozen=True, eq=False)
class Prepared:
    """A structure with what its inputs depend on.

    Parameters
    ----------
    name : str
        Name of its folder.
    structure : Structure
        Its region marked by the site property ``selective_dynamics``, if there is one.
    phase : str, optional
        The bulk phase that it is.
    free : ndarray of bool, shape (n_atoms,), optional
        The atoms of its region.
    """

    name: str
    structure: Structure
    phase: str | None = None
    free: NDArray[np.bool_] | None = None


def prepare(
    spec: SystemSpec, stage: Stage, path: Path | None, n: int, seed: int
) -> Iterator[Prepared]:
    """Yield the structures of a calculation.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    stage : str
        The calculation: bulk crystals for ``bulk``, else the structures of a file or random ones.
    path : Path, optional
        A file of structures.
    n : int
        How many of them.
    seed : int
        Of random ones.

    Raises
    ------
    DismaiError
        If the system has no such structures, or the file cannot be read or does not fit.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    if stage == "bulk":
        yield from _bulk(spec)
        return
    for name, atoms in _atoms(spec, path, n, seed):
        structure = AseAtomsAdaptor.get_structure(atoms)
        free = _region(spec, atoms) if spec.kind == "interface" else None
        if free is not None:
            flags = np.repeat(free[:, None], 3, axis=1)
            structure.add_site_property("selective_dynamics", flags.tolist())
        yield Prepared(name, structure, free=free)


def _bulk(spec: SystemSpec) -> Iterator[Prepared]:
    from dismaiflow.interfaces.bulk import bulk_structure

    for phase, crystal in spec.self_contained().interface.bulk.items():
        yield Prepared(phase, bulk_structure(crystal, phase), phase=phase)


def _atoms(spec: SystemSpec, path: Path | None, n: int, seed: int) -> Iterator[tuple[str, Atoms]]:
    if path is not None:
        yield from _from_file(spec, path, n)
    elif spec.kind == "interface":
        from dismaiflow.interfaces.built import built_generator

        made = built_generator(spec.self_contained()).generate(range(n), seed).structures
        for i in range(len(made)):
            atoms = made.atoms(i)
            atoms.info.clear()
            yield f"random-{made.ids[i]}", atoms
    elif spec.kind == "alloy":
        yield from _random_alloys(spec, n, seed)
    else:
        raise DismaiError(f"{spec.name} has no random structures: give --structures FILE")


def _from_file(spec: SystemSpec, path: Path, n: int) -> Iterator[tuple[str, Atoms]]:
    from dismaiflow.structures.read import read_structures

    read = read_structures(path).structures
    for i in range(min(n, len(read))):
        atoms = read.atoms(i)
        atoms.info.clear()
        foreign = sorted(set(atoms.get_chemical_symbols()) - set(spec.species))
        if foreign:
            raise DismaiError(
                f"{path}: structure {read.ids[i]} holds {', '.join(foreign)}, which are not in "
                f"{spec.name}"
            )
        yield read.ids[i].replace("/", "-"), atoms


def _random_alloys(spec: SystemSpec, n: int, seed: int) -> Iterator[tuple[str, Atoms]]:
    """Yield small cells, decorated at random in the composition of the alloy."""
    from ase.build import bulk

    lattice = spec.alloy.lattice
    cell = bulk("X", lattice.type, a=lattice.a, cubic=True).repeat(_ALLOY_CELLS)
    shares = np.array([spec.composition[s] for s in spec.species], dtype=float)
    ends = np.rint(np.cumsum(shares) / shares.sum() * len(cell)).astype(int)
    symbols = np.repeat(spec.species, np.diff(ends, prepend=0))
    rng = np.random.default_rng(seed)
    for i in range(n):
        atoms = cell.copy()
        atoms.set_chemical_symbols(rng.permutation(symbols).tolist())
        yield f"random-{i}", atoms


def _region(spec: SystemSpec, atoms: Atoms) -> NDArray[np.bool_]:
    from dismaiflow.interfaces.built import built_system
    from dismaiflow.interfaces.membership import find_regions

    host = built_system(spec.self_contained()).host
    return find_regions(atoms.numbers, atoms.positions, atoms.cell.array, host).region
