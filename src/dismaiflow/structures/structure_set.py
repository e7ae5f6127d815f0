"""Sets of structures as plain arrays: hashed, cut into chunks, written as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula

from dismaiflow.errors import DismaiError
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

#: Resolution of the content hash, Å. Extended XYZ files carry eight decimals, so that sets on a
#: lattice keep their hash through a file; among millions of arbitrary coordinates one may lie so
#: close to half a unit that it does not.
HASH_RESOLUTION = 1e-8

#: Label that tells the place of a structure in its source.
INDEX_LABEL = "index"

_MAGIC = b"DISMAI-SET-1"
_ARRAYS = ("numbers", "positions", "cells", "pbc", "offsets")


@dataclass(frozen=True, eq=False)
class StructureSet:
    """Structures in a fixed order.

    Parameters
    ----------
    numbers : ndarray of uint8, shape (n_atoms_total,)
        Atomic numbers, structure after structure.
    positions : ndarray, shape (n_atoms_total, 3)
        Cartesian positions in Å.
    cells : ndarray, shape (n_structures, 3, 3)
        Cell vectors as rows, in Å.
    pbc : ndarray of bool, shape (n_structures, 3)
        Periodic directions.
    offsets : ndarray of int64, shape (n_structures + 1,)
        Where each structure begins in the first two arrays.
    ids : tuple of str
        Name of each structure; by default its index in the source.
    labels : dict of str to ndarray, shape (n_structures,)
        One number per structure and label, e.g. the run it was drawn from. Not part of the hash.
    """

    numbers: NDArray[np.uint8]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    ids: tuple[str, ...]
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.cells)
        total = int(self.offsets[-1])
        shapes_fit = (
            self.offsets.shape == (n + 1,)
            and self.numbers.shape == (total,)
            and self.positions.shape == (total, 3)
            and self.cells.shape == (n, 3, 3)
            and self.pbc.shape == (n, 3)
            and len(self.ids) == n
            and all(len(values) == n for values in self.labels.values())
        )
        if not shapes_fit:
            raise ValueError("the arrays of a StructureSet do not fit together")

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Atoms]:
        return (self.atoms(i) for i in range(len(self)))

    @classmethod
    def from_atoms(
        cls, structures: Sequence[Atoms], ids: Sequence[str] | None = None
    ) -> StructureSet:
        """Collect ASE structures, in their order."""
        counts = np.array([len(atoms) for atoms in structures], dtype=np.int64)
        none = np.zeros((0, 3))
        return cls(
            numbers=np.concatenate([a.numbers for a in structures] or [[]]).astype(np.uint8),
            positions=np.concatenate([a.positions for a in structures] or [none]).astype(float),
            cells=np.array([a.cell.array for a in structures], dtype=float).reshape(-1, 3, 3),
            pbc=np.array([a.pbc for a in structures], dtype=bool).reshape(-1, 3),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            ids=tuple(ids) if ids is not None else tuple(map(str, range(len(structures)))),
        )

    @classmethod
    def uniform(
        cls,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        labels: dict[str, NDArray[Any]] | None = None,
    ) -> StructureSet:
        """Build periodic structures that share one cell and one number of atoms.

        Parameters
        ----------
        numbers : array-like of int, shape (n_structures, n_atoms)
            Atomic numbers.
        positions : array-like, shape (n_structures, n_atoms, 3)
            Positions in Å.
        cell : array-like, shape (3, 3)
            Cell vectors as rows, in Å.
        labels : dict, optional
            See the class.
        """
        codes = np.asarray(numbers, dtype=np.uint8)
        n, n_atoms = codes.shape
        return cls(
            numbers=codes.ravel(),
            positions=np.asarray(positions, dtype=float).reshape(-1, 3),
            cells=np.tile(np.asarray(cell, dtype=float), (n, 1, 1)),
            pbc=np.ones((n, 3), dtype=bool),
            offsets=np.arange(n + 1, dtype=np.int64) * n_atoms,
            ids=tuple(map(str, range(n))),
            labels=dict(labels or {}),
        )

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of each structure, shape (n_structures,)."""
        return np.diff(self.offsets)

    def slice_of(self, index: int) -> slice:
        """Return where a structure lies in `numbers` and `positions`."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def atoms(self, index: int) -> Atoms:
        """Return one structure for ASE, with its labels in ``info``."""
        part = self.slice_of(index)
        atoms = Atoms(
            numbers=self.numbers[part],
            positions=self.positions[part],
            cell=self.cells[index],
            pbc=self.pbc[index],
        )
        atoms.info.update({key: values[index].item() for key, values in self.labels.items()})
        return atoms

    def formula(self, index: int) -> str:
        """Return the Hill formula of one structure."""
        symbols = [chemical_symbols[z] for z in self.numbers[self.slice_of(index)]]
        return str(Formula.from_list(symbols).format("hill"))

    def with_labels(self, labels: dict[str, NDArray[Any]]) -> StructureSet:
        """Return the same structures with other labels."""
        return replace(self, labels=labels)

    def select(self, indices: ArrayLike) -> StructureSet:
        """Return the structures at these indices, in the given order; repeats are allowed."""
        wanted = np.asarray(indices)
        # An empty list has no integer type.
        chosen = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.int64)]
        lengths = self.n_atoms[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        atoms = np.arange(int(offsets[-1])) + starts
        return StructureSet(
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            cells=self.cells[chosen],
            pbc=self.pbc[chosen],
            offsets=offsets,
            ids=tuple(self.ids[i] for i in chosen),
            labels={key: np.asarray(values)[chosen] for key, values in self.labels.items()},
        )

    @classmethod
    def concatenate(cls, parts: Sequence[StructureSet]) -> StructureSet:
        """Join sets, in their order; only labels that all of them carry are kept."""
        if not parts:
            return cls.from_atoms([])
        shared = set.intersection(*(set(part.labels) for part in parts))
        lengths = np.concatenate([part.n_atoms for part in parts])
        return cls(
            numbers=np.concatenate([part.numbers for part in parts]),
            positions=np.concatenate([part.positions for part in parts]),
            cells=np.concatenate([part.cells for part in parts]),
            pbc=np.concatenate([part.pbc for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            ids=tuple(name for part in parts for name in part.ids),
            labels={
                key: np.concatenate([part.labels[key] for part in parts])
                for key in parts[0].labels
                if key in shared
            },
        )

    def chunks(self, size: int) -> list[StructureSet]:
        """Cut the set into pieces of at most ``size`` structures."""
        if size < 1:
            raise DismaiError(f"a chunk needs at least one structure, got chunk size {size}")
        return [
            self.select(np.arange(start, min(start + size, len(self))))
            for start in range(0, len(self), size)
        ]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of species, positions, cells and boundaries, in hexadecimal.

        Lengths enter in units of `HASH_RESOLUTION`; ids and labels do not enter.
        """
        digest = hashlib.sha256(_MAGIC)
        for array in (self.offsets, self.numbers.astype(np.int64), self.pbc.astype(np.int64)):
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        for lengths in (self.positions, self.cells):
            with np.errstate(invalid="ignore"):
                units = np.rint(lengths / HASH_RESOLUTION)
            # Non-finite and absurd lengths stay distinct from every real one.
            units = np.where(np.abs(units) < 2.0**62, units, -(2.0**62))
            digest.update(np.ascontiguousarray(units, dtype="<i8").tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Write the whole set, bit for bit, into bytes."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"label:{key}": np.asarray(values) for key, values in self.labels.items()}
        return pack_arrays(_MAGIC, arrays, {"ids": list(self.ids)})

    @classmethod
    def from_bytes(cls, data: bytes) -> StructureSet:
        """Read what `to_bytes` wrote.

        Raises
        ------
        DismaiError
            If the bytes are something else, or are cut off.
        """
        arrays, header = unpack_arrays(_MAGIC, data)
        labels = {n.removeprefix("label:"): a for n, a in arrays.items() if ":" in n}
        return cls(
            **{name: arrays[name] for name in _ARRAYS}, ids=tuple(header["ids"]), labels=labels
        )
