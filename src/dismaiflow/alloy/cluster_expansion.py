"""Pair cluster expansions: energies in eV, and the exact integer form for Monte Carlo."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Largest |field| or |energy change|, in quanta, that the int32 arithmetic may meet.
_INT32_ROOM = 2**30


@dataclass(frozen=True)
class ClusterExpansion:
    """Formation energy per atom as a sum over monomers and pairs.

    ``E/N = constant + sum_X monomer[X] c_X + sum_s sum_{X<=Y} pair[s][X, Y] n_s(XY) / N``
    with ``n_s(XY)`` the number of unordered XY pairs in shell s (paper, section 4.1.1; T. Su et
    al., Acta Mater. 276 (2024) 120088, doi 10.1016/j.actamat.2024.120088).

    Parameters
    ----------
    species : tuple of str
        Chemical symbols; their order is the order of the integer codes.
    constant : float
        Energy of the empty cluster, eV/atom.
    monomer : ndarray, shape (n_species,)
        One-site terms, eV.
    pair : ndarray, shape (n_shells, n_species, n_species)
        Symmetric pair terms, eV.
    source : str
        Where the numbers come from.
    """

    species: tuple[str, ...]
    constant: float
    monomer: NDArray[np.float64]
    pair: NDArray[np.float64]
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.species)
        if self.monomer.shape != (n,) or self.pair.ndim != 3 or self.pair.shape[1:] != (n, n):
            raise DismaiError(
                f"cluster expansion: {n} species need monomer shape ({n},) and pair shape "
                f"(shells, {n}, {n}), got {self.monomer.shape} and {self.pair.shape}"
            )
        if not (np.isfinite(self.pair).all() and np.isfinite(self.monomer).all()):
            raise DismaiError("cluster expansion: an effective cluster interaction is not finite")
        if not np.allclose(self.pair, self.pair.transpose(0, 2, 1), rtol=0, atol=0):
            raise DismaiError("cluster expansion: pair terms must be symmetric in the species")

    @property
    def n_shells(self) -> int:
        """Number of pair shells."""
        return len(self.pair)

    @classmethod
    def from_dict(cls, data: dict[str, Any], name: str = "cluster expansion") -> ClusterExpansion:
        """Build from the JSON layout of ``fe_ni_cr_eci.json``.

        Parameters
        ----------
        data : dict
            Keys ``constant``, ``monomer`` (by species) and ``pair`` (by shell from "1", then by
            ``"A-B"``), all in eV; optional ``source``.
        name : str
            What to call the data in an error.

        Raises
        ------
        DismaiError
            If a key is missing, a pair is unknown or given twice, or a shell is skipped.
        """
        try:
            species = tuple(sorted(data["monomer"]))
            shells = sorted(data["pair"], key=int)
            index = {symbol: i for i, symbol in enumerate(species)}
            pair = np.full((len(shells), len(species), len(species)), np.nan)
            for s, shell in enumerate(shells):
                if int(shell) != s + 1:
                    raise DismaiError(f"{name}: pair shell {s + 1} is missing")
                for label, value in data["pair"][shell].items():
                    i, j = (index[symbol] for symbol in label.split("-"))
                    if np.isfinite(pair[s, i, j]):
                        raise DismaiError(f"{name}: pair {label} of shell {shell} is given twice")
                    pair[s, i, j] = pair[s, j, i] = float(value)
            monomer = np.array([float(data["monomer"][symbol]) for symbol in species])
            constant = float(data["constant"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DismaiError(
                f"{name}: not a pair cluster expansion ({type(error).__name__}: {error}); it needs "
                'constant, monomer and pair, e.g. {"pair": {"1": {"Cr-Fe": 0.01}}}'
            ) from error
        if np.isnan(pair).any():
            s, i, j = np.argwhere(np.isnan(pair))[0]
            raise DismaiError(
                f"{name}: pair {species[i]}-{species[j]} of shell {s + 1} is missing (0 if it does "
                "not interact)"
            )
        return cls(species, constant, monomer, pair, str(data.get("source", "")))

    @classmethod
    def from_file(cls, path: Path) -> ClusterExpansion:
        """Read a JSON file.

        Raises
        ------
        DismaiError
            If the file is missing or is not a pair cluster expansion.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DismaiError(f"{path}: cannot be read as JSON ({error})") from error
        return cls.from_dict(data, str(path))

    def energy(
        self, monomer_fractions: NDArray[np.float64], pair_counts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return formation energies from cluster counts.

        Parameters
        ----------
        monomer_fractions : ndarray, shape (..., n_species)
            Fraction of atoms of each species.
        pair_counts : ndarray, shape (..., n_shells, n_species, n_species)
            Unordered pairs per atom, each kind once, in the upper triangle (X <= Y).

        Returns
        -------
        ndarray, shape (...)
            Energies in eV/atom.
        """
        upper = np.triu(np.ones(self.pair.shape[1:], dtype=bool))
        pairs = (pair_counts * np.where(upper, self.pair, 0.0)).sum(axis=(-3, -2, -1))
        return self.constant + monomer_fractions @ self.monomer + pairs


@dataclass(frozen=True)
class IntegerHamiltonian:
    """A pair cluster expansion on a lattice in integer energy quanta.

    Integer sums do not depend on their order, so accumulated energies equal a recount exactly,
    however many swaps were made, and a run is reproducible to the bit.

    Parameters
    ----------
    expansion : ClusterExpansion
        The energies in eV.
    lattice : SiteLattice
        The supercell.
    quantum : float, optional
        Energy unit in eV. The default is the smallest power of two, not below 2**-26 eV
        (1.5e-8 eV), for which no intermediate value can leave the int32 range.
    """

    expansion: ClusterExpansion
    lattice: SiteLattice
    quantum: float = 0.0

    def __post_init__(self) -> None:
        per_site = 2 * self.lattice.shells(self.expansion.n_shells).multiplicities
        # Four fields and a pair correction enter one energy change.
        bound = 6 * float(per_site @ np.abs(self.expansion.pair).max(axis=(1, 2)))
        if self.quantum == 0.0:
            smallest = max(bound / _INT32_ROOM, 2.0**-26)
            object.__setattr__(self, "quantum", 2.0 ** math.ceil(math.log2(smallest)))
        elif self.quantum < 0 or bound / self.quantum > _INT32_ROOM:
            raise DismaiError(f"energy quantum {self.quantum} eV does not suit int32 energies")

    @cached_property
    def pair(self) -> NDArray[np.int64]:
        """Pair energies in quanta, shape (n_shells, n_species, n_species)."""
        return np.rint(self.expansion.pair / self.quantum).astype(np.int64)

    def energy_quanta(self, occupation: NDArray[np.integer]) -> int:
        """Count the pair energy of a configuration from nothing, in quanta.

        Parameters
        ----------
        occupation : ndarray of int, shape (n_sites,)
            Species code of each site.
        """
        shells = self.lattice.shells(self.expansion.n_shells)
        other = occupation[shells.neighbors]
        directed = self.pair[shells.shell_of[None, :], occupation[:, None], other].sum()
        # Every pair is met from both its ends, self-image pairs by both of their vectors.
        return int(directed) // 2
