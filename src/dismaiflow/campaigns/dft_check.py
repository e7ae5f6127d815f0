"""How near to convergence in DFT a potential brings structures (paper, section 4.6, Table 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.interfaces.rating import HIGH, LOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.interfaces.rating import Rating


def check_of_potential(
    ledger: SearchLedger, rating: Rating, n_atoms: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of Table 5.

    Parameters
    ----------
    ledger : SearchLedger
        Structures that a potential relaxed, and DFT after it.
    rating : Rating
        Which of them are low and high.
    n_atoms : int
        Atoms of a structure.

    Returns
    -------
    dict
        For ``low``, ``high`` and ``all``: ``n`` structures, and mean and standard deviation (that
        of the population) of ``n_steps``, the ionic steps that DFT takes from the minimum of the
        potential to its own; of ``m_opt``, the absolute difference of the energies by potential and
        by DFT at the former; of ``d_opt``, that between the energy by the potential at its minimum
        and by DFT at its own. Energies in meV/atom.
    """
    columns = ledger.columns
    potential = columns["potential_energy"]
    quantities = {
        "n_steps": columns["n_dft_steps"].astype(float),
        "m_opt": 1e3 * np.abs(potential - columns["first_energy"]) / n_atoms,
        "d_opt": 1e3 * np.abs(potential - columns["energy"]) / n_atoms,
    }
    low, high = rating.rows(LOW), rating.rows(HIGH)
    groups = {"low": low, "high": high, "all": np.sort(np.concatenate([low, high]))}
    return {
        name: {"n": len(rows)} | {key: _spread(values[rows]) for key, values in quantities.items()}
        for name, rows in groups.items()
    }


def _spread(values: NDArray[np.float64]) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    return {"mean": float(known.mean()), "std": float(known.std())} if len(known) else None
