"""Distances between distributions of structures, which mean fingerprints do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_wasserstein(
    generated: NDArray[np.float64], reference: NDArray[np.float64]
) -> float | None:
    """Return the mean over columns of the 1-Wasserstein distance.

    Parameters
    ----------
    generated, reference : ndarray, shape (n, k) and (m, k)
        One row per structure. NaN entries are left out.

    Returns
    -------
    float or None
        In the units of the columns; None if a column is empty on either side.
    """
    from scipy.stats import wasserstein_distance  # takes half a second

    distances = []
    for column in range(generated.shape[1]):
        u = generated[:, column]
        v = reference[:, column]
        u, v = u[np.isfinite(u)], v[np.isfinite(v)]
        if len(u) == 0 or len(v) == 0:
            return None
        distances.append(wasserstein_distance(u, v))
    return float(np.mean(distances))


def spread_ratio(generated: NDArray[np.float64], reference: NDArray[np.float64]) -> float | None:
    """Compare how widely two sets spread: 1 if alike, towards 0 if the generated ones collapse.

    Parameters
    ----------
    generated, reference : ndarray, shape (n, k) and (m, k)
        Fingerprints.

    Returns
    -------
    float or None
        Ratio of the root mean square distances from the mean; None without at least two structures
        on both sides, or a reference that does not vary.
    """
    if min(len(generated), len(reference)) < 2:
        return None
    here = float(np.sqrt(generated.var(axis=0, ddof=1).sum()))
    there = float(np.sqrt(reference.var(axis=0, ddof=1).sum()))
    return here / there if there > 0 else None
