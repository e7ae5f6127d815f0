"""Which structures of a search have low interface energy, and where that energy begins.

The normalised interface energy (paper, eq. 6, doi 10.1039/d4dd00100a) needs a reference energy. The
paper's belongs to its own DFT. With any other potential it is set by the lowest structure found,
which then stands 0.4 J/m^2 below the cut, as the lowest of the paper's did (section 2.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.interfaces.energy import (
    JOULES_PER_EV,
    M2_PER_A2,
    interface_energy,
    reference_energy_from_lowest,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.systems.blocks import EnergyFilter

#: Verdicts on structures that relaxed well.
LOW, HIGH = "low", "high"

#: Verdict on a structure whose energy no interface can have.
IMPLAUSIBLE = "implausible_energy"

#: Verdict on a structure that is the same as one of lower index.
DUPLICATE = "duplicate"

#: An energy so many interquartile ranges below the lower quartile is taken for a hole of the
#: potential. Energies of relaxed interfaces end at the ground state, close below the quartile;
#: their tail is on the other side.
_FAR_BELOW = 5.0

#: Structures below which quartiles say too little.
_ENOUGH = 8

#: J/m^2 that rounding may add to an energy on the cut.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Rating:
    """The verdict on every structure of a ledger.

    Parameters
    ----------
    reference_energy : float or None
        eV/atom that count as 0 J/m^2; None while no structure is intact.
    energies : ndarray, shape (n_structures,)
        Normalised interface energies, J/m^2; NaN for structures that are out.
    verdicts : list of str
        `LOW`, `HIGH`, `IMPLAUSIBLE`, `DUPLICATE`, or the status in the ledger.
    """

    reference_energy: float | None
    energies: NDArray[np.float64]
    verdicts: list[str]

    def rows(self, verdict: str) -> NDArray[np.int64]:
        """Return the rows of a verdict, in index order."""
        return np.flatnonzero([one == verdict for one in self.verdicts]).astype(np.int64)


@dataclass(frozen=True)
class Rater:
    """Rates the structures of a system.

    Parameters
    ----------
    n_atoms : int
        Atoms of a structure.
    area : float
        Å^2.
    limits : EnergyFilter
        The cut and the window below it.
    """

    n_atoms: int
    area: float
    limits: EnergyFilter

    def reference_energy(self, ledger: SearchLedger) -> float | None:
        """Return the reference energy that the lowest plausible structure sets, eV/atom.

        None while there is none.
        """
        good = ledger.intact & ~self.implausible(ledger)
        if not good.any():
            return None
        lowest = self.limits.max_interface_energy - self.limits.window
        energies = ledger.columns["energy"][good]
        return reference_energy_from_lowest(energies, self.n_atoms, self.area, lowest)

    def implausible(self, ledger: SearchLedger) -> NDArray[np.bool_]:
        """Tell which intact structures have an energy far below all that is usual in the ledger.

        A potential with a hole lets a structure fall where nothing looks wrong but its energy. One
        such structure would set the reference energy, and all others would be cut off. Where most
        energies are alike, the window of the filter is taken for their range.
        """
        good = ledger.intact
        energies = ledger.columns["energy"]
        found = np.zeros(len(ledger), dtype=bool)
        if good.sum() < _ENOUGH:
            return found
        low, high = np.quantile(energies[good], (0.25, 0.75))
        least = self.limits.window * self.area / (JOULES_PER_EV / M2_PER_A2)
        found[good] = energies[good] < low - _FAR_BELOW * max(high - low, least)
        return found

    def rate(
        self,
        ledger: SearchLedger,
        reference_energy: float | None,
        duplicates: Collection[int] = (),
    ) -> Rating:
        """Give a verdict on every structure.

        Parameters
        ----------
        ledger : SearchLedger
            What was tried.
        reference_energy : float, optional
            eV/atom; without one nothing is low or high.
        duplicates : collection of int
            Indices of structures that are the same as one of lower index.
        """
        verdicts = list(ledger.statuses)
        energies = np.full(len(ledger), np.nan)
        if reference_energy is None:
            return Rating(None, energies, verdicts)
        good = ledger.intact
        below = self.implausible(ledger)
        energies[good] = interface_energy(
            ledger.columns["energy"][good], self.n_atoms, reference_energy, self.area
        )
        for row in np.flatnonzero(good).tolist():
            if below[row]:
                verdicts[row] = IMPLAUSIBLE
            elif int(ledger.columns["index"][row]) in duplicates:
                verdicts[row] = DUPLICATE
            else:
                is_low = energies[row] <= self.limits.max_interface_energy + _ROUNDING
                verdicts[row] = LOW if is_low else HIGH
        energies[[one not in (LOW, HIGH) for one in verdicts]] = np.nan
        return Rating(reference_energy, energies, verdicts)


def lowest_rows(rating: Rating, n: int) -> NDArray[np.int64]:
    """Return the rows of the structures of lowest energy, the lowest first."""
    rated = np.flatnonzero(np.isfinite(rating.energies))
    return rated[np.argsort(rating.energies[rated], kind="stable")][:n].astype(np.int64)
