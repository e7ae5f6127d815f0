"""What a cluster expansion is fitted to: monomers, chemical pairs and spin pairs of a cell.

The paper (section 4.1.1) fits "seven chemical dimers and three spin dimers". The text leaves open
which shells the spin dimers are, whether moments or their signs are multiplied, and whether the
term depends on the species. Here spin pair s is ``sum m_i m_j / N`` over the unordered pairs of
shell s, 1 to 3, with the moments m in Bohr magnetons; one term per shell, or, as an option, one per
shell and pair of species. Signs are had by giving the signs as moments.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_monomers, count_pairs, per_atom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.alloy.lattice_cell import LatticeCell

#: Whether there are spin pairs, and whether they tell species apart.
SpinTerms = Literal["none", "shell", "pair"]


@dataclass(frozen=True)
class FeatureSpace:
    """The columns of a fit; the constant is not among them.

    Parameters
    ----------
    species : tuple of str
        In alphabetical order, which is that of the integer codes (as in `ClusterExpansion`).
    kind : str
        Lattice: ``sc``, ``bcc`` or ``fcc``.
    n_shells : int
        Shells of chemical pairs (paper: 7).
    n_spin_shells : int
        Shells of spin pairs (paper: 3).
    spin : {"shell", "pair", "none"}
        One spin term per shell, one per shell and pair of species, or none.

    Raises
    ------
    DismaiError
        If the species are not two or more in alphabetical order, or there is no shell.
    """

    species: tuple[str, ...]
    kind: str = "fcc"
    n_shells: int = 7
    n_spin_shells: int = 3
    spin: SpinTerms = "shell"

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", tuple(self.species))
        if len(self.species) < 2 or list(self.species) != sorted(set(self.species)):
            raise DismaiError(
                f"a cluster expansion needs two or more species in alphabetical order, got "
                f"{', '.join(self.species) or 'none'}"
            )
        if self.n_shells < 1 or (self.spin != "none" and self.n_spin_shells < 1):
            raise DismaiError("a cluster expansion needs at least one shell of each kind of pair")
        if self.spin not in ("none", "shell", "pair"):
            raise DismaiError(f"spin terms {self.spin!r}: choose none, shell or pair")

    @cached_property
    def kinds(self) -> tuple[tuple[int, int], ...]:
        """Unordered pairs of species codes, in the order of the columns of a shell."""
        return tuple(combinations_with_replacement(range(len(self.species)), 2))

    @cached_property
    def pair_labels(self) -> tuple[str, ...]:
        """Names of the pairs of species, ``Cr-Fe``."""
        return tuple(f"{self.species[i]}-{self.species[j]}" for i, j in self.kinds)

    @property
    def monomers(self) -> slice:
        """Columns of the monomers."""
        return slice(0, len(self.species))

    @property
    def pairs(self) -> slice:
        """Columns of the chemical pairs, shell after shell."""
        first = len(self.species)
        return slice(first, first + self.n_shells * len(self.kinds))

    @property
    def spins(self) -> slice:
        """Columns of the spin pairs, shell after shell."""
        return slice(self.pairs.stop, len(self.names))

    @cached_property
    def spin_labels(self) -> tuple[str, ...]:
        """Names of the spin terms of one shell."""
        return {"none": (), "shell": ("all",), "pair": self.pair_labels}[self.spin]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        pairs = (f"pair {s + 1} {k}" for s in range(self.n_shells) for k in self.pair_labels)
        spins = (f"spin {s + 1} {k}" for s in range(self.n_spin_shells) for k in self.spin_labels)
        return (*(f"monomer {symbol}" for symbol in self.species), *pairs, *spins)

    @property
    def most_rank(self) -> int:
        """Rank that any data can have, the constant included.

        In each shell ``2 n_XX + sum_Y n_XY = z c_X`` for every species X, so that like pairs follow
        from unlike ones and the composition, and the fractions add up to one.
        """
        k = len(self.species)
        n_spins = len(self.names) - self.spins.start
        return k + self.n_shells * k * (k - 1) // 2 + n_spins

    def row(
        self,
        cell: LatticeCell,
        occupation: NDArray[np.integer],
        moments: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Count the clusters of a configuration, per atom.

        Parameters
        ----------
        cell : LatticeCell
            Its cell.
        occupation : ndarray of int, shape (n_sites,)
            Species code of each site.
        moments : ndarray, shape (n_sites,), optional
            Magnetic moments in Bohr magnetons; without them spin columns are NaN.

        Returns
        -------
        ndarray, shape (n_columns,)
            Fractions of the species; pairs per atom, each pair once (the convention of
            `ClusterExpansion.energy`); products of moments per atom, each pair once.

        Raises
        ------
        DismaiError
            If the arrays do not fit the cell, or the lattice is another.
        """
        codes = np.asarray(occupation, dtype=np.int8)
        n = len(self.species)
        fits = codes.shape == (cell.n_sites,) and cell.kind == self.kind
        if not fits or codes.min() < 0 or codes.max() >= n:
            raise DismaiError(
                f"a {self.kind} configuration of {cell.n_sites} sites needs as many codes from 0 "
                f"to {n - 1}, got shape {codes.shape} on a {cell.kind} lattice"
            )
        shells = cell.neighbors(max(self.n_shells, self.n_spin_shells))
        counted = count_pairs(codes, shells, n)[:, : self.n_shells]
        fractions, pairs = per_atom(count_monomers(codes, n), counted)
        upper = tuple(np.transpose(self.kinds))
        columns = [fractions[0], pairs[0][:, upper[0], upper[1]].ravel()]
        if self.spin != "none":
            columns.append(self._spin_columns(shells.neighbors, shells.shell_of, codes, moments))
        return np.concatenate(columns)

    def _spin_columns(
        self,
        neighbors: NDArray[np.int32],
        shell_of: NDArray[np.int64],
        codes: NDArray[np.int8],
        moments: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """Sum the products of moments by shell, and by pair of species if so wished."""
        n_columns = self.n_spin_shells * len(self.spin_labels)
        if moments is None:
            return np.full(n_columns, np.nan)
        spins = np.asarray(moments, dtype=float)
        if spins.shape != codes.shape:
            raise DismaiError(f"{len(codes)} atoms need as many moments, got {spins.shape}")
        wanted = shell_of < self.n_spin_shells
        others = neighbors[:, wanted]
        column = np.broadcast_to(shell_of[wanted] * len(self.spin_labels), others.shape)
        if self.spin == "pair":
            k = len(self.species)
            number = np.zeros((k, k), dtype=np.int64)
            for place, (i, j) in enumerate(self.kinds):
                number[i, j] = number[j, i] = place
            column = column + number[codes[:, None], codes[others]]
        products = spins[:, None] * spins[others]
        # Every pair is met from both its ends.
        sums = np.bincount(column.ravel(), products.ravel(), minlength=n_columns)
        return np.asarray(sums / (2 * len(codes)))

    def without_spin(self) -> FeatureSpace:
        """Return the chemical part."""
        return FeatureSpace(self.species, self.kind, self.n_shells, self.n_spin_shells, "none")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self) | {"species": list(self.species)}
