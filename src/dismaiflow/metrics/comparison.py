"""How far the mean of generated structures is from that of reference structures.

The formulas are those of the published scripts (paper, sections 4.3 and 4.4): sites are averaged
over a structure and structures over the set, the reference is a mean over all its sites, and the
intervals are pivotal bootstrap intervals over generated structures, the reference held fixed. Where
all structures have equally many sites, a mean over sites is a mean over structures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.bootstrap import (
    LEVEL,
    N_REPETITIONS,
    SEED,
    bootstrap_means,
    mean_interval,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Band:
    """A mean curve with its interval at every point.

    Parameters
    ----------
    mean, low, high : ndarray, shape (k,)
        Mean over structures, and the bounds of its 95 % pivotal interval.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def structure_means(
    values: ArrayLike,
    structure: ArrayLike,
    n_structures: int,
    members: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Average the rows of sites over each structure.

    Parameters
    ----------
    values : array-like, shape (n_sites, k)
        One row per site.
    structure : array-like of int, shape (n_sites,)
        Structure of each site, from 0.
    n_structures : int
        Number of structures.
    members : array-like of bool, shape (n_sites,), optional
        Sites to average over, all by default.

    Returns
    -------
    ndarray, shape (n_structures, k)
        NaN for structures without such sites.
    """
    rows, owner = np.asarray(values, dtype=float), np.asarray(structure, dtype=np.int64)
    if members is not None:
        chosen = np.asarray(members, dtype=bool)
        rows, owner = rows[chosen], owner[chosen]
    sums = np.stack(
        [np.bincount(owner, column, minlength=n_structures) for column in rows.T], axis=1
    )
    sizes = np.bincount(owner, minlength=n_structures).astype(float)
    sizes[sizes == 0] = np.nan
    means: NDArray[np.float64] = sums / sizes[:, None]
    return means


def weighted_means(
    means: Mapping[str, NDArray[np.float64]], n_atoms: Mapping[str, ArrayLike]
) -> NDArray[np.float64]:
    """Combine the mean fingerprints of several species, as the published ``d_all`` does.

    Its distance is that of the means that this combination gives, not a mean of the distances of
    the species. As the script draws the same structures for every species, it makes no difference
    that here the structures are combined before they are drawn.

    Parameters
    ----------
    means : mapping of str to ndarray, shape (n_structures, k)
        Mean fingerprint of the atoms of each species in each structure.
    n_atoms : mapping of str to int or array-like, shape (n_structures,)
        Weight of each species: its number of atoms.

    Returns
    -------
    ndarray, shape (n_structures, k)
        Weighted by atoms; where a structure has none of a species, that one does not count.

    Raises
    ------
    DismaiError
        If the species differ, or a structure has no atoms of any.
    """
    if not means or set(means) != set(n_atoms):
        raise DismaiError(
            f"fingerprints are of {', '.join(sorted(means)) or 'no species'}, "
            f"but atoms are counted of {', '.join(sorted(n_atoms)) or 'none'}"
        )
    total: NDArray[np.float64] = np.zeros_like(next(iter(means.values())), dtype=float)
    atoms = np.zeros((len(total), 1))
    for species, rows in means.items():
        weight = np.broadcast_to(np.asarray(n_atoms[species], dtype=float), (len(total),))[:, None]
        total += np.where(weight > 0, weight * rows, 0.0)
        atoms += weight
    if (atoms == 0).any():
        raise DismaiError("a structure has no atoms of the species that fingerprints are made of")
    return total / atoms


def mean_distance(
    generated: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, tuple[float, float]]:
    """Return the Euclidean distance of the mean of structures from a target, and its interval.

    Parameters
    ----------
    generated : ndarray, shape (n_structures, k)
        Fingerprint, g(r) or distribution of each structure.
    target : ndarray, shape (k,)
        Mean of the reference.

    Returns
    -------
    value : float
        The distance.
    interval : tuple of float
        95 % pivotal bootstrap interval.
    """
    _check_shapes(generated, target)
    return mean_interval(generated, lambda means: np.linalg.norm(means - target, axis=1))


def cosine_similarity(
    generated: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, tuple[float, float]]:
    """Return the cosine of the angle between the mean of structures and a target (Table 4).

    The published scripts write the cosine distance, which is 1 minus this; its interval is
    mirrored likewise.

    Parameters
    ----------
    generated : ndarray, shape (n_structures, k)
        Fingerprint of each structure.
    target : ndarray, shape (k,)
        Mean of the reference.

    Returns
    -------
    value : float
        1 for parallel vectors; NaN if one is zero.
    interval : tuple of float
        95 % pivotal bootstrap interval; it may exceed 1.
    """
    _check_shapes(generated, target)

    def cosine(means: NDArray[np.float64]) -> NDArray[np.float64]:
        lengths = np.linalg.norm(means, axis=1) * np.linalg.norm(target)
        with np.errstate(divide="ignore", invalid="ignore"):
            similarity: NDArray[np.float64] = means @ target / lengths
        return similarity

    return mean_interval(generated, cosine)


def mean_band(
    values: NDArray[np.float64], n_repetitions: int = N_REPETITIONS, seed: int = SEED
) -> Band:
    """Average curves over structures, with an interval at every point.

    Parameters
    ----------
    values : ndarray, shape (n_structures, k)
        One curve per structure.
    n_repetitions, seed : int
        Of the bootstrap; those of the published scripts by default.

    Raises
    ------
    DismaiError
        If there are no structures.
    """
    if len(values) == 0:
        raise DismaiError("a mean over structures needs structures")
    mean = values.mean(axis=0)
    return Band(mean, *pivotal_bounds(mean, bootstrap_means(values, n_repetitions, seed)))


def pivotal_bounds(
    value: NDArray[np.float64], samples: NDArray[np.float64], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pivotal interval of each of many statistics, as `bootstrap.pivotal_interval`.

    Parameters
    ----------
    value : ndarray, shape (...)
        The statistics of the data.
    samples : ndarray, shape (n_repetitions, ...)
        Those of each bootstrap sample.
    level : float
        Confidence level.

    Returns
    -------
    low, high : ndarray, shape (...)
        Bounds.
    """
    tail = 50 * (1 - level)
    lower, upper = np.percentile(samples, [tail, 100 - tail], axis=0)
    return 2 * value - upper, 2 * value - lower


def _check_shapes(generated: NDArray[np.float64], target: NDArray[np.float64]) -> None:
    if len(generated) == 0:
        raise DismaiError("a mean over structures needs structures")
    if generated.ndim != 2 or target.shape != generated.shape[1:]:
        raise DismaiError(
            f"vectors of shape {generated.shape} cannot be compared with one of {target.shape}"
        )
