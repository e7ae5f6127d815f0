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
    from dismaiflow.structures.read import ReadStructures
    from dismaiflow.systems import SystemSpec

#: Conventional cells along each edge of a random alloy: what DFT can relax by the hundred.
_ALLOY_CELLS = 2

#: Bad structures that are named one by one.
_NAMED = 3

#: Atoms closer than this (Å) are the same atom twice.
_COINCIDENT = 0.5

#: What a relaxation hardly does to a cell: change an edge or the volume of an atom by this part.
_STRANGE = 0.25


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
    warnings : tuple of str
        What looks wrong with it and may yet be meant, a line each.
    """

    name: str
    structure: Structure
    phase: str | None = None
    free: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()


def prepare(
    spec: SystemSpec, stage: Stage, path: Path | None, n: int | None, seed: int
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
    n : int, optional
        How many of them; by default all of a file, or one that is random.
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
        warnings = () if path is None else tuple(_strange(spec, atoms, f"{path}: {name}"))
        yield Prepared(name, structure, free=free, warnings=warnings)


def _bulk(spec: SystemSpec) -> Iterator[Prepared]:
    from dismaiflow.interfaces.bulk import bulk_structure

    for phase, crystal in spec.self_contained().interface.bulk.items():
        yield Prepared(phase, bulk_structure(crystal, phase), phase=phase)


def _atoms(
    spec: SystemSpec, path: Path | None, given: int | None, seed: int
) -> Iterator[tuple[str, Atoms]]:
    n = given or 1
    if path is not None:
        yield from _from_file(spec, path, given)
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


def _from_file(spec: SystemSpec, path: Path, n: int | None) -> Iterator[tuple[str, Atoms]]:
    from dismaiflow.structures.read import read_structures

    found = read_structures(path)
    if found.bad:
        lines = [bad.detail for bad in found.bad[:_NAMED]]
        more = len(found.bad) - len(lines)
        raise DismaiError(
            f"{path}: {len(found.bad)} of {found.n_frames} structures cannot be read "
            f"({'; '.join(lines)}{f'; and {more} more' if more else ''}): mend or remove them"
        )
    for i in range(len(found.structures))[:n]:
        name = found.structures.ids[i]
        problem = _misfit(spec, found, i)
        if problem:
            raise DismaiError(f"{path}: structure {name} {problem}")
        atoms = found.structures.atoms(i)
        atoms.info.clear()
        yield name.replace("/", "-"), atoms


def _misfit(spec: SystemSpec, found: ReadStructures, index: int) -> str | None:
    """Return why a structure cannot be one of a system, or None."""
    from ase.data import atomic_numbers

    from dismaiflow.structures.checks import Expectation, find_problem

    atoms = found.structures.atoms(index)
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    own = Expectation(dict(zip(numbers.tolist(), counts.tolist(), strict=True)), None)
    problem = find_problem(found.structures, index, own)
    if problem:
        return f"is none: {problem[1]}"
    if spec.kind == "interface":
        from dismaiflow.interfaces.built import built_system

        # An alloy is computed in smaller cells than it is generated in; an interface is not.
        wanted = built_system(spec.self_contained()).spec.composition
        fitting = Expectation({atomic_numbers[s]: n for s, n in wanted.items()}, None)
        if own.composition != fitting.composition:
            return f"is {own.formula}, but {spec.name} is {fitting.formula}"
    foreign = sorted(set(atoms.get_chemical_symbols()) - set(spec.species))
    if foreign:
        return (
            f"is {own.formula}, but {spec.name} holds {', '.join(spec.species)} and no "
            f"{', '.join(foreign)}"
        )
    return None


def _strange(spec: SystemSpec, atoms: Atoms, name: str) -> Iterator[str]:
    """Yield what looks wrong with a structure that somebody gave."""
    from ase.build import bulk
    from ase.neighborlist import neighbor_list

    close = neighbor_list("d", atoms, _COINCIDENT)
    if len(close):
        yield (
            f"{name}: {len(close) // 2} pairs of atoms are closer than {_COINCIDENT} Å "
            f"({close.min():.2f} Å): VASP will fail or find nonsense"
        )
    if spec.kind == "interface":
        from dismaiflow.interfaces.built import built_system

        cell = built_system(spec.self_contained()).host.cell
        sizes, wanted = atoms.cell.lengths(), np.linalg.norm(cell, axis=1)
        what = "cell lengths"
    elif spec.kind == "alloy":
        one = bulk("X", spec.alloy.lattice.type, a=spec.alloy.lattice.a)
        sizes, wanted = np.array([atoms.get_volume() / len(atoms)]), np.array([one.get_volume()])
        what = "a volume per atom"
    else:
        return
    if (np.abs(sizes / wanted - 1) > _STRANGE).any():
        unit = "Å" if len(sizes) > 1 else "Å^3"
        yield (
            f"{name}: has {what} of {_numbers(sizes)} {unit}, where {spec.name} has "
            f"{_numbers(wanted)} {unit}: is it meant?"
        )


def _numbers(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.2f}" for value in values)


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
