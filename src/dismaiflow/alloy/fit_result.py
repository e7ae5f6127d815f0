"""A fitted cluster expansion: its terms with errors, and how good it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.alloy.cluster_expansion import ClusterExpansion
from dismaiflow.structures.files import write_text
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.alloy.fit_features import FeatureSpace

COUNT_CONVENTION = (
    "monomer: fraction of atoms of that species. Pair in shell s: pairs of that kind in the shell "
    "per atom, each pair once. Spin in shell s: sum of m_i m_j per atom, each pair once, moments "
    "in Bohr magnetons."
)


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of predicted energies.

    Parameters
    ----------
    n : int
        Configurations.
    rmse, mae : float
        eV/atom.
    """

    n: int
    rmse: float
    mae: float

    @classmethod
    def of(cls, errors: NDArray[np.float64]) -> ErrorSummary:
        """Summarise errors in eV/atom."""
        mean_square = float((errors**2).mean())
        return cls(len(errors), float(np.sqrt(mean_square)), float(np.abs(errors).mean()))


@dataclass(frozen=True, eq=False)
class Terms:
    """Interactions of an expansion, or their errors, in eV (spin: eV per squared Bohr magneton).

    Parameters
    ----------
    constant : float
        Per atom.
    columns : ndarray, shape (n_columns,)
        In the order of `FeatureSpace.names`.
    ordering : ndarray, shape (n_shells, n_unlike_pairs)
        ``V_XY - (V_XX + V_YY) / 2``. With one composition these alone decide differences of
        energies, and data of enough shapes determine them uniquely, which single terms are not.
    """

    constant: float
    columns: NDArray[np.float64]
    ordering: NDArray[np.float64]

    @classmethod
    def of(cls, space: FeatureSpace, constant: float, columns: NDArray[np.float64]) -> Terms:
        """Derive the ordering energies from the terms."""
        pairs = columns[space.pairs].reshape(space.n_shells, -1)
        place = {kind: i for i, kind in enumerate(space.kinds)}
        ordering = [
            pairs[:, place[i, j]] - (pairs[:, place[i, i]] + pairs[:, place[j, j]]) / 2
            for i, j in space.kinds
            if i != j
        ]
        return cls(constant, columns, np.stack(ordering, axis=1))

    @classmethod
    def spread(cls, draws: Sequence[Terms]) -> Terms:
        """Return the standard deviation of each term over draws."""
        return cls(
            float(np.std([one.constant for one in draws], ddof=1)),
            np.std([one.columns for one in draws], axis=0, ddof=1),
            np.std([one.ordering for one in draws], axis=0, ddof=1),
        )

    def as_dict(self, space: FeatureSpace) -> dict[str, Any]:
        """Return the JSON layout of ``fe_ni_cr_eci.json``, spin and ordering terms beside it."""
        unlike = [space.pair_labels[n] for n, (i, j) in enumerate(space.kinds) if i != j]
        named = {
            "constant": self.constant,
            "monomer": dict(zip(space.species, self.columns[space.monomers].tolist(), strict=True)),
            "pair": _by_shell(self.columns[space.pairs], space.pair_labels),
            "ordering": _by_shell(self.ordering.ravel(), unlike),
        }
        if space.spin_labels:
            named["spin"] = _by_shell(self.columns[space.spins], space.spin_labels)
        return named


@dataclass(frozen=True, eq=False)
class FittedExpansion:
    """What a fit has found.

    Parameters
    ----------
    space : FeatureSpace
        What the terms stand for.
    terms : Terms
        The interactions.
    errors : Terms, optional
        Their standard errors by bootstrap over parents, at the chosen penalty.
    settings : dict
        Fields of `FitSettings`.
    alpha : float, optional
        The chosen penalty on standardised columns, eV; None for least squares.
    alphas, cv_path : ndarray, shape (n_alphas,)
        Penalties tried, and the cross-validation RMSE of each, eV/atom.
    energies, predictions, cv_predictions : ndarray, shape (n,)
        What was fitted, what the fit says, and what fits say that have not seen the parent,
        eV/atom.
    fold_of : ndarray of int, shape (n,)
        Fold in which a configuration was held out.
    training, cross_validation : ErrorSummary
        Errors of the two. The penalty is chosen by the latter, which is thus slightly too good.
    folds : tuple of ErrorSummary
        Errors of each fold.
    n_parents, n_parameters, rank : int
        Parents; terms that were fitted; how many combinations of them the data determine.
    notes : tuple of str
        What a reader must know, a line each; some begin with ``WARNING``.
    data_hash : str
        SHA-256 of what was fitted.
    source : str
        Where the energies come from.
    """

    space: FeatureSpace
    terms: Terms
    errors: Terms | None
    settings: dict[str, Any]
    alpha: float | None
    alphas: NDArray[np.float64]
    cv_path: NDArray[np.float64]
    energies: NDArray[np.float64]
    predictions: NDArray[np.float64]
    cv_predictions: NDArray[np.float64]
    fold_of: NDArray[np.int64]
    training: ErrorSummary
    cross_validation: ErrorSummary
    folds: tuple[ErrorSummary, ...]
    n_parents: int
    n_parameters: int
    rank: int
    notes: tuple[str, ...]
    data_hash: str
    source: str

    @property
    def null_space(self) -> int:
        """Combinations of terms that the data say nothing about."""
        return self.n_parameters - self.rank

    @property
    def warnings(self) -> list[str]:
        """Notes that call for action."""
        mark = "WARNING: "
        return [note.removeprefix(mark) for note in self.notes if note.startswith(mark)]

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return formation energies with all terms, spin included.

        Parameters
        ----------
        features : ndarray, shape (n, n_columns)
            See `FeatureSpace.row`.

        Returns
        -------
        ndarray, shape (n,)
            eV/atom.
        """
        return np.asarray(self.terms.constant + features @ self.terms.columns)

    @property
    def expansion(self) -> ClusterExpansion:
        """The chemical terms, which are what Monte Carlo uses (paper, Fig. S21)."""
        return ClusterExpansion.from_dict(self.as_dict(), "fitted cluster expansion")

    def as_dict(self) -> dict[str, Any]:
        """Return all as JSON data that `ClusterExpansion.from_dict` reads."""
        lattice = SiteLattice(self.space.kind, 1.0, (1, 1, 1)).shells(self.space.n_shells)
        errors = None if self.errors is None else self.errors.as_dict(self.space)
        return {
            "what": "Fitted pair cluster expansion: formation energy per atom in eV",
            "units": "eV",
            "source": self.source,
            "count_convention": COUNT_CONVENTION,
            "multiplicity_pairs_per_atom": lattice.multiplicities.tolist(),
            **self.terms.as_dict(self.space),
            "errors": errors,
            "fit": {
                "space": self.space.as_dict(),
                "settings": self.settings,
                "alpha": self.alpha,
                "alphas": self.alphas.tolist(),
                "cv_rmse_of_alphas": self.cv_path.tolist(),
                "training": asdict(self.training),
                "cross_validation": asdict(self.cross_validation),
                "folds": [asdict(one) for one in self.folds],
                "n_parents": self.n_parents,
                "n_parameters": self.n_parameters,
                "rank": self.rank,
                "null_space": self.null_space,
                "notes": list(self.notes),
                "data_hash": self.data_hash,
            },
        }

    def write(self, path: Path) -> None:
        """Write the JSON file, whole or not at all; a DismaiError if it cannot be written."""
        write_text(path, json.dumps(self.as_dict(), indent=1) + "\n")


def _by_shell(values: NDArray[np.float64], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Name terms by shell, from "1", and by pair."""
    rows = values.reshape(-1, len(labels)).tolist()
    return {str(s + 1): dict(zip(labels, row, strict=True)) for s, row in enumerate(rows)}
