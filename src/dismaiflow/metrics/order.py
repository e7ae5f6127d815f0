"""Warren-Cowley short-range order parameters (paper, eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.metrics.clusters import PUBLISHED_COUNT_DECIMALS, fingerprint_labels, per_atom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.metrics.clusters import Convention


def _divide(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide, with NaN where a species or a shell is empty."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def warren_cowley(
    monomers: NDArray[np.int64],
    pairs: NDArray[np.number],
    convention: Convention = "corrected",
) -> NDArray[np.float64]:
    """Return the Warren-Cowley parameters of every shell and unordered pair of species.

    ``corrected`` is eq. 1 of the paper: ``alpha = 1 - P_AB / (c_A c_B)``, with ``P_AB`` the
    probability that an ordered pair of occupied sites of the shell holds A and B. ``published``
    takes, from counts per atom rounded to five decimals, the probability of finding B next to A,
    and for unlike species the mean of both directions. On a full lattice the two agree up to the
    rounding.

    Parameters
    ----------
    monomers : ndarray of int, shape (..., n_species)
        Atoms of each species.
    pairs : ndarray, shape (..., n_shells, n_species, n_species)
        Unordered pairs in the upper triangle.
    convention : {"published", "corrected"}
        Which of the two.

    Returns
    -------
    ndarray, shape (..., n_shells, n_species * (n_species + 1) / 2)
        Parameters in the order of `numpy.triu_indices`; NaN where a species is absent.
    """
    decimals = PUBLISHED_COUNT_DECIMALS if convention == "published" else None
    fractions, per = per_atom(monomers, pairs, decimals)
    # Ordered pairs: a like pair is met from both ends.
    directed = per + np.swapaxes(per, -1, -2)
    concentration = fractions[..., None, :]
    if convention == "published":
        given_a = _divide(directed, directed.sum(axis=-1, keepdims=True))
        ratio = _divide(given_a, np.broadcast_to(concentration[..., None, :], directed.shape))
        ratio = (ratio + np.swapaxes(ratio, -1, -2)) / 2
    else:
        probability = _divide(directed, directed.sum(axis=(-1, -2), keepdims=True))
        product = concentration[..., :, None] * concentration[..., None, :]
        ratio = _divide(probability, np.broadcast_to(product, directed.shape))
    rows, columns = np.triu_indices(monomers.shape[-1])
    return 1 - ratio[..., rows, columns]


def order_labels(species: Sequence[str], n_shells: int) -> list[str]:
    """Name the parameters of the first shells, e.g. ``1NN_Cr-Fe``, in the order of the array."""
    return fingerprint_labels(species, n_shells)[len(species) :]
