"""Cells whose energies a cluster expansion is fitted to: pure, ordered, random, several moments.

The paper (section 4.1.1) does not say which Fe-Ni-Cr cells its expansion was fitted to; the choice
here is ours. Cells are made as derivative cells of the lattice (G. L. W. Hart and R. W. Forcade,
Phys. Rev. B 77, 224115 (2008), doi 10.1103/PhysRevB.77.224115), of any shape.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from dismaiflow.alloy.fit_features import FeatureSpace
from dismaiflow.alloy.lattice_cell import LatticeCell
from dismaiflow.errors import DismaiError
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

#: Patterns of initial moments: all up, sheets of alternating sign, signs at random.
Pattern = Literal["ferromagnetic", "layered", "random"]
PATTERNS: tuple[Pattern, ...] = ("ferromagnetic", "layered", "random")

#: Sizes of initial moments in Bohr magnetons (our choice): about those of fcc Fe-Ni-Cr. Species
#: not named here begin with 1.
INITIAL_MOMENTS: dict[str, float] = {"Co": 1.6, "Cr": 1.5, "Fe": 2.5, "Mn": 2.5, "Ni": 0.6}

#: Vectors of the primitive cells in units of a/2.
PRIMITIVE: dict[str, list[list[int]]] = {
    "sc": [[2, 0, 0], [0, 2, 0], [0, 0, 2]],
    "bcc": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],
    "fcc": [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
}

#: Share of the cells that ordered small ones take, and their atoms at most.
_ORDERED_SHARE, _ORDERED_ATOMS = 0.3, 4

#: Shapes drawn for a random cell, of which the most compact is taken; attempts to find a new one.
_SHAPES, _ATTEMPTS = 8, 50

_MAGIC = b"DISMAI-CELLS-1"


@dataclass(frozen=True, eq=False)
class TrainingCell:
    """A configuration to calculate.

    Parameters
    ----------
    name : str
        Unique.
    parent : str
        The same for cells that differ in their moments only, and for those of a pure element.
    cell : LatticeCell
        Its cell.
    occupation : ndarray of int8, shape (n_sites,)
        Species code of each site.
    moments : ndarray, shape (n_sites,)
        Initial moments, Bohr magnetons.
    """

    name: str
    parent: str
    cell: LatticeCell
    occupation: NDArray[np.int8]
    moments: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingCells:
    """Configurations to calculate.

    Parameters
    ----------
    kind : str
        Lattice.
    a : float
        Its parameter, Å.
    species : tuple of str
        In alphabetical order, which is that of the codes.
    cells : tuple of TrainingCell
        The configurations; the pure elements come first.
    """

    kind: str
    a: float
    species: tuple[str, ...]
    cells: tuple[TrainingCell, ...]

    def __len__(self) -> int:
        return len(self.cells)

    def atoms(self, index: int) -> Atoms:
        """Return a configuration for ASE, with its initial moments.

        Atoms of one species stand together, as codes of electronic structure need them.
        """
        one = self.cells[index]
        return Atoms(
            symbols=[self.species[code] for code in one.occupation],
            positions=one.cell.sites * (self.a / 2),
            cell=one.cell.cell * (self.a / 2),
            pbc=True,
            magmoms=one.moments,
        )

    def fractions(self) -> NDArray[np.float64]:
        """Return the share of each species in each configuration, shape (n, n_species)."""
        codes = np.arange(len(self.species))
        return np.array([(one.occupation[:, None] == codes).mean(axis=0) for one in self.cells])

    def to_bytes(self) -> bytes:
        """Write all into bytes."""
        arrays: dict[str, NDArray[Any]] = {
            "vectors": np.array([one.cell.cell for one in self.cells]).reshape(-1, 3, 3),
            "sites": np.concatenate([one.cell.sites for one in self.cells]),
            "occupation": np.concatenate([one.occupation for one in self.cells]),
            "moments": np.concatenate([one.moments for one in self.cells]),
            "sizes": np.array([one.cell.n_sites for one in self.cells]),
        }
        names = [[one.name, one.parent] for one in self.cells]
        header = {"kind": self.kind, "a": self.a, "species": self.species, "names": names}
        return pack_arrays(_MAGIC, arrays, header)

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingCells:
        """Read what `to_bytes` wrote; a DismaiError if it is something else or cut off."""
        arrays, header = unpack_arrays(_MAGIC, data)
        ends = np.cumsum(arrays["sizes"])
        cells = []
        for i, (name, parent) in enumerate(header["names"]):
            part = slice(int(ends[i] - arrays["sizes"][i]), int(ends[i]))
            cell = LatticeCell(header["kind"], arrays["vectors"][i], arrays["sites"][part])
            moments = arrays["moments"][part]
            cells.append(TrainingCell(name, parent, cell, arrays["occupation"][part], moments))
        return cls(header["kind"], header["a"], tuple(header["species"]), tuple(cells))


def training_cells(
    kind: str,
    a: float,
    species: Sequence[str],
    n: int,
    sizes: Sequence[int] = (8, 12, 16, 24, 32),
    seed: int = 0,
    patterns: Sequence[Pattern] = PATTERNS,
    initial_moments: Mapping[str, float] | None = None,
) -> TrainingCells:
    """Make distinct cells across the compositions.

    Parameters
    ----------
    kind : str
        ``sc``, ``bcc`` or ``fcc``.
    a : float
        Lattice parameter to begin with, Å.
    species : sequence of str
        Elements, in any order.
    n : int
        Cells. The pure elements come first, in the primitive cell and in one of two atoms that can
        hold alternating moments; of the rest, three tenths are ordered cells of up to four atoms,
        and the others random ones.
    sizes : sequence of int
        Atoms of the random cells, in turn.
    seed : int
        Of all that is drawn. With a larger n, cells are added; those before stay.
    patterns : sequence of str
        Patterns of initial moments; each configuration is made with all that its cell can hold.
    initial_moments : mapping, optional
        Size of the moment of each species, Bohr magnetons.

    Returns
    -------
    TrainingCells
        No two of which have the same pairs up to the seventh shell and the same pattern of
        moments.

    Raises
    ------
    DismaiError
        If the lattice, a species, a pattern, or a size makes no sense, or n is less than twice the
        species, or no further distinct cells are found.
    """
    names = tuple(sorted(set(species)))
    unknown = [pattern for pattern in patterns if pattern not in PATTERNS]
    if kind not in PRIMITIVE or unknown or not patterns:
        raise DismaiError(
            f"training cells: lattice {kind!r} of {', '.join(PRIMITIVE)}, patterns "
            f"{', '.join(patterns) or 'none'} of {', '.join(PATTERNS)}"
        )
    if n < 2 * len(names) or not sizes or min(sizes) < 2 or a <= 0 or seed < 0:
        raise DismaiError(
            f"training cells need a > 0, seed >= 0, sizes of 2 atoms or more, and n of at least "
            f"{2 * len(names)} for the pure elements, got a={a}, seed={seed}, sizes="
            f"{list(sizes)}, n={n}"
        )
    lengths = INITIAL_MOMENTS | dict(initial_moments or {})
    size_of = np.array([lengths.get(symbol, 1.0) for symbol in names])
    collector = _Collector(FeatureSpace(names, kind, spin="none"), size_of, tuple(patterns), seed)
    for name, parent, cell, occupation in _pure(kind, names):
        collector.add(name, cell, occupation, parent)
    ordered = _ordered(collector.space, seed)
    drawn = _random(kind, len(names), sizes, seed)
    n_ordered = n_random = 0
    while len(collector.cells) < n:
        if n_ordered <= _ORDERED_SHARE * (n_ordered + n_random):
            chosen = next(ordered, None)
            n_ordered += 1
            if chosen is not None:
                collector.add(f"ordered-{n_ordered:04d}", *chosen)
            continue
        n_random += 1
        if not any(collector.add(f"random-{n_random:04d}", *next(drawn)) for _ in range(_ATTEMPTS)):
            raise DismaiError(
                f"no more than {len(collector.cells)} distinct training cells were found with "
                f"sizes {list(sizes)}: ask for fewer, or give larger sizes"
            )
    return TrainingCells(kind, a, names, tuple(collector.cells[:n]))


def formation_energies(
    energies: NDArray[np.float64], fractions: NDArray[np.float64], species: Sequence[str]
) -> NDArray[np.float64]:
    """Refer energies to those of the pure elements on the same lattice, from the same data.

    Parameters
    ----------
    energies : ndarray, shape (n,)
        Energies in eV/atom.
    fractions : ndarray, shape (n, n_species)
        Share of each species.
    species : sequence of str
        Their names.

    Returns
    -------
    ndarray, shape (n,)
        Formation energies in eV/atom; the reference of an element is its lowest energy among the
        data, whatever its moments.

    Raises
    ------
    DismaiError
        If an element is not among the data in pure form.
    """
    references = np.empty(len(species))
    for code, symbol in enumerate(species):
        pure = energies[fractions[:, code] == 1.0]
        if not len(pure):
            raise DismaiError(
                f"no calculation of pure {symbol} on the lattice has succeeded: without it there "
                "are no formation energies; see why its cells failed and run them again"
            )
        references[code] = pure.min()
    return np.asarray(energies - fractions @ references)


class _Collector:
    """Gathers cells that are distinct, with their moments."""

    def __init__(
        self,
        space: FeatureSpace,
        sizes: NDArray[np.float64],
        patterns: tuple[Pattern, ...],
        seed: int,
    ) -> None:
        self.space = space
        self.cells: list[TrainingCell] = []
        self._sizes = sizes
        self._patterns = patterns
        self._seed = seed
        self._known: set[tuple[Any, ...]] = set()

    def add(
        self, name: str, cell: LatticeCell, occupation: NDArray[np.int8], pure: str = ""
    ) -> bool:
        """Add a configuration with every pattern of moments; False if there is one like it.

        Its name is that of the parent, unless it is one of the cells of a pure element: these look
        alike to the pairs, all are wanted, and no fit may see one to be tested on another.
        """
        order = np.argsort(occupation, kind="stable")
        codes = occupation[order]
        cell = LatticeCell(cell.kind, cell.cell, cell.sites[order]).wrapped()
        key = (*self.space.row(cell, codes).round(9).tolist(), name if pure else "")
        if key in self._known:
            return False
        self._known.add(key)
        found = {one: self._signs(one, cell, len(self._known)) for one in self._patterns}
        if all(signs is None for signs in found.values()):
            found = {"ferromagnetic": np.ones(cell.n_sites)}
        for pattern, signs in found.items():
            if signs is not None:
                moments = signs * self._sizes[codes]
                full = f"{name}-{pattern}"
                self.cells.append(TrainingCell(full, pure or name, cell, codes, moments))
        return True

    def _signs(
        self, pattern: Pattern, cell: LatticeCell, number: int
    ) -> NDArray[np.float64] | None:
        """Return the signs of the moments; None where the cell cannot hold the pattern."""
        if pattern == "ferromagnetic":
            return np.ones(cell.n_sites)
        if pattern == "random":
            rng = np.random.default_rng([self._seed, 2, number])
            signs = rng.choice([-1.0, 1.0], cell.n_sites)
            return signs if np.ptp(signs) else None
        # Sheets a/2 apart alternate if a cell vector never leads from one kind to the other.
        sheets = cell.sites % 2
        holds = (cell.cell % 2 == 0).all(axis=0) & (np.ptp(sheets, axis=0) > 0)
        if not holds.any():
            return None
        return np.asarray(1.0 - 2.0 * sheets[:, holds.argmax()], dtype=np.float64)


def _pure(
    kind: str, names: tuple[str, ...]
) -> Iterator[tuple[str, str, LatticeCell, NDArray[np.int8]]]:
    """Yield each element in the primitive cell, and in one of two atoms for alternate moments."""
    small = _derivative_cell(kind, np.eye(3, dtype=np.int64))
    layered = [cell for cell in _derivative_cells(kind, 2) if (cell.cell[:, 2] % 2 == 0).all()]
    for code, symbol in enumerate(names):
        parent = f"pure-{symbol}"
        yield f"{parent}-1", parent, small, np.full(1, code, dtype=np.int8)
        if layered:
            yield f"{parent}-2", parent, layered[0], np.full(2, code, dtype=np.int8)


def _ordered(space: FeatureSpace, seed: int) -> Iterator[tuple[LatticeCell, NDArray[np.int8]]]:
    """Yield ordered cells of few atoms in random order, compositions in turn."""
    rng = np.random.default_rng([seed, 0])
    k = len(space.species)
    by_composition: dict[tuple[int, ...], list[Any]] = defaultdict(list)
    for size in range(2, _ORDERED_ATOMS + 1):
        cells = list(_derivative_cells(space.kind, size))
        for labels in product(range(k), repeat=size):
            counts = np.bincount(labels, minlength=k)
            if (counts > 0).sum() > 1:
                key = tuple((counts * 12 // size).tolist())  # 12: common multiple of the sizes
                by_composition[key] += [(cell, np.array(labels, np.int8)) for cell in cells]
    for members in by_composition.values():
        rng.shuffle(members)
    compositions = list(by_composition)
    while by_composition:
        for composition in [compositions[i] for i in rng.permutation(len(compositions))]:
            members = by_composition.get(composition, [])
            if members:
                yield members.pop()
            else:
                by_composition.pop(composition, None)


def _random(
    kind: str, n_species: int, sizes: Sequence[int], seed: int
) -> Iterator[tuple[LatticeCell, NDArray[np.int8]]]:
    """Yield cells of random shape, composition and occupation, without end."""
    number = 0
    while True:
        rng = np.random.default_rng([seed, 1, number])
        size = sizes[number % len(sizes)]
        number += 1
        shapes = [_derivative_cell(kind, _random_hnf(size, rng)) for _ in range(_SHAPES)]
        cell = max(shapes, key=lambda one: (one.cell**2).sum(axis=1).min())
        counts = np.zeros(n_species, dtype=int)
        while (counts > 0).sum() < 2:
            counts = rng.multinomial(size, rng.dirichlet(np.ones(n_species)))
        codes = np.repeat(np.arange(n_species), counts).astype(np.int8)
        yield cell, rng.permutation(codes)


def _random_hnf(size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a Hermite normal form of a determinant: each with the same probability."""
    forms = [(p, q, size // (p * q)) for p in _divisors(size) for q in _divisors(size // p)]
    weights = np.array([p**2 * q for p, q, _ in forms], dtype=float)
    p, q, r = forms[rng.choice(len(forms), p=weights / weights.sum())]
    lower = rng.integers(p), rng.integers(p), rng.integers(q)
    return np.array([[p, 0, 0], [lower[0], q, 0], [lower[1], lower[2], r]], dtype=np.int64)


def _derivative_cells(kind: str, size: int) -> Iterator[LatticeCell]:
    """Yield all cells of so many sites."""
    for p in _divisors(size):
        for q in _divisors(size // p):
            r = size // (p * q)
            for b, d, e in product(range(p), range(p), range(q)):
                form = np.array([[p, 0, 0], [b, q, 0], [d, e, r]], dtype=np.int64)
                yield _derivative_cell(kind, form)


def _derivative_cell(kind: str, form: NDArray[np.int64]) -> LatticeCell:
    """Return the cell of a Hermite normal form, its vectors as short as can be."""
    primitive = np.array(PRIMITIVE[kind], dtype=np.int64)
    vectors, _ = minkowski_reduce((form @ primitive).astype(float))
    cell = np.rint(vectors).astype(np.int64)
    inside = np.array(list(product(*(range(n) for n in np.diag(form)))), dtype=np.int64)
    return LatticeCell(kind, cell, inside @ primitive).wrapped()


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
