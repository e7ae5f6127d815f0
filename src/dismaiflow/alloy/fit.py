"""Fit of a cluster expansion to energies of configurations (paper, section 4.1.1).

LASSO with cross-validation grouped by parent structure: configurations that differ only in their
initial moments, or come from one relaxation, are never on both sides. Columns are standardised
within each fold. The constant is never penalised; neither are the monomers, where they are fitted.
By default they are not: in every shell ``2 n_XX + sum_Y n_XY = z c_X``, so pairs express them, and
the published ones are zero.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dismaiflow.alloy.fit_linear import LinearProblem, Method, rank_of
from dismaiflow.alloy.fit_result import ErrorSummary, FittedExpansion, Terms
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.cards import need_modules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.alloy.fit_features import FeatureSpace

#: Fewer data than this are no fit.
_FEWEST = 3


@dataclass(frozen=True)
class FitSettings:
    """How an expansion is fitted.

    Parameters
    ----------
    method : {"lasso", "ridge", "least-squares"}
        The paper takes LASSO.
    n_folds : int
        Folds of the cross-validation (paper: 10); fewer where there are fewer parents.
    rule : {"minimum", "one-standard-error"}
        Penalty with the least cross-validation error, or the largest that is no worse than it by
        more than a standard error over the folds.
    monomers : {"zero", "free"}
        Whether one-site terms are zero, as the published ones, or fitted without penalty.
    n_alphas : int
        Penalties that are tried, in geometric progression.
    alpha_ratio : float
        Smallest of them, as a share of the one that leaves nothing but the unpenalised terms.
    n_bootstrap : int
        Resamples of the parents for the errors of the terms; 0 for none.
    seed : int
        Of the folds and the resamples.
    """

    method: Method = "lasso"
    n_folds: int = 10
    rule: Literal["minimum", "one-standard-error"] = "minimum"
    monomers: Literal["zero", "free"] = "zero"
    n_alphas: int = 37
    alpha_ratio: float = 1e-6
    n_bootstrap: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "method": ("lasso", "ridge", "least-squares"),
            "rule": ("minimum", "one-standard-error"),
            "monomers": ("zero", "free"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise DismaiError(
                    f"{name} {getattr(self, name)!r} of the fit: choose one of {', '.join(known)}"
                )
        if self.n_folds < 2 or self.n_alphas < 2 or self.n_bootstrap < 0 or self.seed < 0:
            raise DismaiError(
                "a fit needs at least 2 folds and 2 alphas, and no negative n_bootstrap or seed"
            )
        if not 0 < self.alpha_ratio < 1:
            raise DismaiError(f"alpha_ratio {self.alpha_ratio} of the fit: give 0 < ratio < 1")


def fit_expansion(
    space: FeatureSpace,
    features: NDArray[np.float64],
    energies: NDArray[np.float64],
    groups: Sequence[str],
    settings: FitSettings | None = None,
    source: str = "",
) -> FittedExpansion:
    """Fit a cluster expansion.

    Parameters
    ----------
    space : FeatureSpace
        What the columns are.
    features : ndarray, shape (n, n_columns)
        One row for each configuration (`FeatureSpace.row`).
    energies : ndarray, shape (n,)
        Formation energies, eV/atom.
    groups : sequence of str, length n
        Parent structure of each configuration.
    settings : FitSettings, optional
        How to fit; LASSO with ten folds by default.
    source : str
        Where the energies come from.

    Returns
    -------
    FittedExpansion

    Raises
    ------
    DismaiError
        If there are too few data or parents, the arrays do not fit together, or a value is missing.
    """
    asked = settings or FitSettings()
    data = _Data.checked(space, features, energies, groups, asked)
    folds, notes = _folds(data, asked)
    problem = data.problem(np.arange(len(data.energies)))
    alphas = _alphas(problem, asked)
    errors, squares = _cross_validate(data, folds, alphas, asked.method)
    chosen = _choose(squares, asked.rule)
    # Falling penalties lead LASSO to the chosen one from where it is easy.
    whole = problem.solve(asked.method, alphas[: chosen + 1])
    coefficients, free = whole.coefficients[-1], whole.free[-1]
    terms = data.terms(coefficients, free)
    predictions = data.predict(coefficients, free)
    spread = _bootstrap(data, alphas[chosen], asked, coefficients)
    rank = rank_of(features)
    if whole.gap > 1e-6:
        notes.append(
            f"WARNING: LASSO has not converged at alpha = {alphas[chosen]:.2e} eV (gap "
            f"{whole.gap:.1e} of the variance): its terms may still move, energies less so"
        )
    penalised = asked.method != "least-squares"
    return FittedExpansion(
        space=space,
        terms=terms,
        errors=spread,
        settings=asdict(asked),
        alpha=float(alphas[chosen]) if penalised else None,
        alphas=alphas if penalised else np.zeros(0),
        cv_path=np.sqrt(squares.mean(axis=1)) if penalised else np.zeros(0),
        energies=data.energies,
        predictions=predictions,
        cv_predictions=data.energies + errors[chosen],
        fold_of=folds,
        training=ErrorSummary.of(predictions - data.energies),
        cross_validation=ErrorSummary.of(errors[chosen]),
        folds=tuple(
            ErrorSummary.of(errors[chosen][folds == fold]) for fold in range(folds.max() + 1)
        ),
        n_parents=len(set(groups)),
        n_parameters=data.free.shape[1] + data.columns.shape[1],
        rank=rank,
        notes=tuple(notes + _explain(data, rank, problem)),
        data_hash=data_hash(space, features, energies, groups),
        source=source,
    )


def data_hash(
    space: FeatureSpace,
    features: NDArray[np.float64],
    energies: NDArray[np.float64],
    groups: Sequence[str],
) -> str:
    """Return the SHA-256 of the data of a fit, in hexadecimal."""
    digest = hashlib.sha256(repr((space, list(groups))).encode())
    for array in (features, energies):
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Data:
    """Data that were checked, divided into what is penalised and what is not."""

    space: FeatureSpace
    features: NDArray[np.float64]
    columns: NDArray[np.float64]
    free: NDArray[np.float64]
    energies: NDArray[np.float64]
    group_of: NDArray[np.int64]

    @classmethod
    def checked(
        cls,
        space: FeatureSpace,
        features: NDArray[np.float64],
        energies: NDArray[np.float64],
        groups: Sequence[str],
        settings: FitSettings,
    ) -> _Data:
        n = len(energies)
        if features.shape != (n, len(space.names)) or len(groups) != n:
            raise DismaiError(
                f"{n} energies need {n} groups and features of shape ({n}, {len(space.names)}), "
                f"got {len(groups)} and {features.shape}"
            )
        if n < _FEWEST:
            raise DismaiError(f"{n} energies are too few to fit a cluster expansion to")
        wrong = np.flatnonzero(~np.isfinite(energies))
        if len(wrong):
            raise DismaiError(
                f"energy {wrong[0]} (parent {groups[wrong[0]]}) is not finite, {len(wrong)} in "
                "all: leave these configurations out"
            )
        rows, columns = np.nonzero(~np.isfinite(features))
        if len(rows):
            raise DismaiError(
                f"feature {space.names[columns[0]]!r} of configuration {rows[0]} (parent "
                f"{groups[rows[0]]}) is not finite: leave it out, or fit without spin terms if its "
                "moments are not known"
            )
        names, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        if len(names) < 2:
            raise DismaiError(
                "all configurations have one parent, so that nothing can be held out for the "
                "cross-validation: calculate further structures"
            )
        ones = np.ones((n, 1))
        monomers = features[:, space.monomers] if settings.monomers == "free" else ones[:, :0]
        return cls(
            space,
            features,
            features[:, space.pairs.start :],
            np.hstack([ones, monomers]),
            np.asarray(energies, dtype=float),
            group_of.astype(np.int64),
        )

    def problem(self, rows: NDArray[np.int64]) -> LinearProblem:
        """Prepare a fit to some of the data."""
        return LinearProblem(self.columns[rows], self.free[rows], self.energies[rows])

    def predict(
        self, coefficients: NDArray[np.float64], free: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the energies of all configurations."""
        return np.asarray(self.columns @ coefficients + self.free @ free)

    def terms(self, coefficients: NDArray[np.float64], free: NDArray[np.float64]) -> Terms:
        """Name the coefficients."""
        monomers = free[1:] if len(free) > 1 else np.zeros(len(self.space.species))
        return Terms.of(self.space, float(free[0]), np.concatenate([monomers, coefficients]))


def _folds(data: _Data, settings: FitSettings) -> tuple[NDArray[np.int64], list[str]]:
    """Deal the parents to folds of about equal size."""
    need_modules("cluster expansion fit", "dft", "sklearn")
    from sklearn.model_selection import GroupKFold

    n_parents = int(data.group_of.max()) + 1
    n_folds = min(settings.n_folds, n_parents)
    notes = []
    if n_folds < settings.n_folds:
        notes.append(
            f"WARNING: {n_parents} parents allow {n_folds} folds in place of {settings.n_folds}"
        )
    splitter = GroupKFold(n_folds, shuffle=True, random_state=settings.seed)
    fold_of = np.empty(len(data.energies), dtype=np.int64)
    for fold, (_, held) in enumerate(splitter.split(data.columns, groups=data.group_of)):
        fold_of[held] = fold
    return fold_of, notes


def _alphas(problem: LinearProblem, settings: FitSettings) -> NDArray[np.float64]:
    """Return the penalties to try, falling; one without meaning for least squares."""
    if settings.method == "least-squares":
        return np.zeros(1)
    # Energies that the unpenalised part explains leave no scale for a penalty.
    highest = problem.highest_alpha or 1.0
    if settings.method == "ridge":
        highest = 1.0  # of standardised columns: their variances are one
    return np.asarray(np.geomspace(highest, highest * settings.alpha_ratio, settings.n_alphas))


def _cross_validate(
    data: _Data, folds: NDArray[np.int64], alphas: NDArray[np.float64], method: Method
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the errors, shape (n_alphas, n), and mean squares, shape (n_alphas, n_folds)."""
    errors = np.empty((len(alphas), len(data.energies)))
    squares = np.empty((len(alphas), folds.max() + 1))
    for fold in range(folds.max() + 1):
        held = folds == fold
        found = data.problem(np.flatnonzero(~held)).solve(method, alphas)
        errors[:, held] = found.predict(data.columns[held], data.free[held]) - data.energies[held]
        squares[:, fold] = (errors[:, held] ** 2).mean(axis=1)
    return errors, squares


def _choose(squares: NDArray[np.float64], rule: str) -> int:
    """Return the place of the penalty, the largest first."""
    mean = squares.mean(axis=1)
    best = int(mean.argmin())
    if rule == "minimum":
        return best
    allowed = mean[best] + squares[best].std(ddof=1) / np.sqrt(squares.shape[1])
    return int(np.flatnonzero(mean <= allowed)[0])


def _bootstrap(
    data: _Data, alpha: float, settings: FitSettings, start: NDArray[np.float64]
) -> Terms | None:
    """Return the standard errors of the terms from resampled parents."""
    if settings.n_bootstrap < 2:
        return None
    rng = np.random.default_rng(settings.seed)
    members = [np.flatnonzero(data.group_of == g) for g in range(data.group_of.max() + 1)]
    draws = []
    for _ in range(settings.n_bootstrap):
        drawn = rng.integers(len(members), size=len(members))
        rows = np.concatenate([members[g] for g in drawn])
        found = data.problem(rows).solve(settings.method, np.array([alpha]), start)
        draws.append(data.terms(found.coefficients[0], found.free[0]))
    return Terms.spread(draws)


def _explain(data: _Data, rank: int, problem: LinearProblem) -> list[str]:
    """Say what the data determine and what they do not, a line each."""
    space = data.space
    n_parameters = data.free.shape[1] + data.columns.shape[1]
    lines = [
        f"{n_parameters} parameters, rank {rank}, null space {n_parameters - rank}: in each shell "
        "2 n_XX + sum_Y n_XY = z c_X, so the terms of a shell are not unique; energies and "
        "ordering energies V_XY - (V_XX + V_YY)/2 are"
    ]
    most = min(space.most_rank, n_parameters)
    if rank < most:
        lines.append(
            f"WARNING: these data determine {rank} of the {most} combinations that can be told "
            "apart: energies of unlike configurations are extrapolated; calculate more cells, of "
            "other shapes and compositions"
        )
    if np.ptp(data.features[:, space.monomers], axis=0).max() < 1e-12:
        lines.append(
            "WARNING: all configurations have one composition: at others the expansion is a guess"
        )
    if len(data.energies) < most:
        lines.append(
            f"WARNING: {len(data.energies)} energies are fewer than the {most} combinations to "
            "determine: the penalty, not the data, chooses"
        )
    names = space.names[space.pairs.start :]
    fixed = [name for name, is_fixed in zip(names, problem.constant, strict=True) if is_fixed]
    if fixed:
        lines.append(f"constant in the data, terms set to zero: {', '.join(fixed)}")
    return lines
