"""Linear fits with an unpenalised part: least squares, ridge and LASSO on standardised columns.

All minimise ``|y - U u - X w|^2 / (2 n)`` plus, on the standardised columns of X, nothing (least
squares; the minimum-norm solution), ``alpha |w|^2 / 2`` (ridge) or ``alpha |w|_1`` (LASSO). The
columns of U, the constant among them, are never penalised.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from dismaiflow.potentials.cards import need_modules

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["lasso", "ridge", "least-squares"]

#: Singular values below this share of the largest belong to the null space.
RANK_TOLERANCE = 1e-9

#: Columns that vary by less than this share of their size are constant.
_CONSTANT = 1e-10

#: Below the smallest size of a column that is not zero.
_TINY = 1e-300

#: Coordinate descent stops at a duality gap of this share of the squared energies, which is far
#: below what any calculation resolves, or after so many sweeps.
_GAP, _SWEEPS = 1e-9, 20_000


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """A fit prepared: the unpenalised part projected out, columns standardised.

    Parameters
    ----------
    columns : ndarray, shape (n, p)
        Penalised columns X.
    free : ndarray, shape (n, q)
        Unpenalised columns U.
    target : ndarray, shape (n,)
        y.
    """

    columns: NDArray[np.float64]
    free: NDArray[np.float64]
    target: NDArray[np.float64]

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        """Standard deviation of each column, infinite where the unpenalised part explains it."""
        scale = np.sqrt((self._left[:, :-1] ** 2).mean(axis=0))
        size = np.abs(self.columns).max(axis=0, initial=0.0)
        return np.where(scale > _CONSTANT * np.maximum(size, _TINY), scale, np.inf)

    @cached_property
    def _left(self) -> NDArray[np.float64]:
        """Columns and, last, the target, less what the unpenalised part explains."""
        both = np.column_stack([self.columns, self.target])
        explained = self.free @ np.linalg.lstsq(self.free, both, rcond=RANK_TOLERANCE)[0]
        return np.asarray(both - explained)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Standardised columns, zero where they do not vary, shape (n, p)."""
        return np.asarray(self._left[:, :-1] / self._scale)

    @property
    def _rest(self) -> NDArray[np.float64]:
        return self._left[:, -1]

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Columns that the unpenalised part explains altogether, shape (p,)."""
        return np.isinf(self._scale)

    @property
    def highest_alpha(self) -> float:
        """Smallest penalty at which LASSO leaves nothing."""
        return float(np.abs(self.values.T @ self._rest).max(initial=0.0) / len(self.target))

    def solve(
        self, method: Method, alphas: NDArray[np.float64], start: NDArray[np.float64] | None = None
    ) -> Solution:
        """Fit at each penalty.

        Parameters
        ----------
        method : {"lasso", "ridge", "least-squares"}
            Kind of penalty.
        alphas : ndarray, shape (n_alphas,)
            Penalties, falling; least squares takes no notice of them.
        start : ndarray, shape (p,), optional
            Coefficients from which LASSO begins.
        """
        gap = 0.0
        if method == "lasso":
            scaled, gap = self._lasso(alphas, start)
        else:
            scaled = self._by_singular_values(alphas, method == "ridge")
        coefficients = scaled / self._scale
        left = self.target[:, None] - self.columns @ coefficients.T
        free = np.linalg.lstsq(self.free, left, rcond=RANK_TOLERANCE)[0].T
        return Solution(coefficients, np.asarray(free, dtype=np.float64), gap)

    def _by_singular_values(self, alphas: NDArray[np.float64], ridge: bool) -> NDArray[np.float64]:
        left, values, right = np.linalg.svd(self.values, full_matrices=False)
        kept = values > RANK_TOLERANCE * values.max(initial=0.0)
        penalties = len(self.target) * alphas[:, None] if ridge else np.zeros((len(alphas), 1))
        gains = values[kept] / (values[kept] ** 2 + penalties)
        return np.asarray((gains * (left.T[kept] @ self._rest)) @ right[kept])

    def _lasso(
        self, alphas: NDArray[np.float64], start: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], float]:
        need_modules("cluster expansion by LASSO", "dft", "sklearn")
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import lasso_path

        # The gap that stops the descent is relative; energies of meV are scaled so that it is.
        unit = float(np.sqrt((self._rest**2).mean())) or 1.0
        known = np.where(self.constant, 0.0, self._scale)
        first = None if start is None else start * known / unit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, path, gaps = lasso_path(
                *self._compressed(unit),
                alphas=alphas / unit,
                coef_init=first,
                tol=_GAP,
                max_iter=_SWEEPS,
            )
        return path.T * unit, float(gaps[-1])

    def _compressed(self, unit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a problem of as many rows as columns with the same minimum, which is faster.

        Products of columns would do it too, but at the cost of half the digits.
        """
        n, p = self.values.shape
        if n <= p:
            return self.values, self._rest / unit
        basis, triangle = np.linalg.qr(self.values)
        # The rows enter through their mean.
        return triangle * np.sqrt(p / n), basis.T @ self._rest * (np.sqrt(p / n) / unit)


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients at each penalty.

    Parameters
    ----------
    coefficients : ndarray, shape (n_alphas, p)
        Of the penalised columns, in the units of the problem.
    free : ndarray, shape (n_alphas, q)
        Of the unpenalised columns.
    gap : float
        Duality gap of LASSO at the last penalty, as a share of the variance of the target.
    """

    coefficients: NDArray[np.float64]
    free: NDArray[np.float64]
    gap: float

    def predict(
        self, columns: NDArray[np.float64], free: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return predictions, shape (n_alphas, n)."""
        return np.asarray(self.coefficients @ columns.T + self.free @ free.T)


def rank_of(columns: NDArray[np.float64]) -> int:
    """Return the rank of columns together with a constant one."""
    problem = LinearProblem(columns, np.ones((len(columns), 1)), np.zeros(len(columns)))
    values = np.linalg.svd(problem.values, compute_uv=False)
    return 1 + int((values > RANK_TOLERANCE * values.max(initial=0.0)).sum())
