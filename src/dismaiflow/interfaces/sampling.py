"""Thickness of the region and displacement of the film, structure by structure."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.systems.interface_blocks import Region

#: ``random`` draws each structure by itself; ``stratified`` is a Latin hypercube over all n;
#: ``quasi-random`` is a scrambled Sobol sequence, even for every beginning of it.
SamplingKind = Literal["random", "stratified", "quasi-random"]

#: Where the streams of one seed part: sampling, placement, exchanges, the design of all structures.
SAMPLING_KEY, PLACEMENT_KEY, EXCHANGE_KEY, DESIGN_KEY = range(4)


def structure_rng(seed: int, stream: int, index: int) -> np.random.Generator:
    """Return the generator of one structure in one stream, whatever is drawn for others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, index)))


def unit_points(
    kind: SamplingKind, indices: Sequence[int], seed: int, n_total: int | None = None
) -> NDArray[np.float64]:
    """Draw points of the unit cube.

    Parameters
    ----------
    kind : {"random", "stratified", "quasi-random"}
        How the points fill the cube.
    indices : sequence of int
        Which structures, from 0. A row depends on the seed and its index alone, when stratified
        on ``n_total`` too, never on the other indices.
    seed : int
        Seed.
    n_total : int, optional
        Structures in the whole set; needed when stratified.

    Returns
    -------
    ndarray, shape (n_indices, 3)
        Uniform on [0, 1) in each column.

    Raises
    ------
    DismaiError
        If the kind is unknown, or a stratified set has no size or an index beyond it.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    if kind not in get_args(SamplingKind):
        raise DismaiError(
            f"unknown sampling {kind!r}: choose one of {', '.join(get_args(SamplingKind))}"
        )
    if wanted.size == 0:
        return np.empty((0, 3))
    if kind == "random":
        return np.array([structure_rng(seed, SAMPLING_KEY, i).random(3) for i in wanted.tolist()])
    if kind == "stratified":
        if n_total is None or wanted.max() >= n_total:
            raise DismaiError(
                f"stratified sampling needs the number of all structures, more than "
                f"{wanted.max()}; got {n_total}"
            )
        return _latin_hypercube(seed, n_total)[wanted]
    return _sobol(seed, wanted)


@lru_cache(maxsize=4)
def _latin_hypercube(seed: int, n_total: int) -> NDArray[np.float64]:
    """Return one point per row and column of a Latin hypercube, shape (n_total, 3)."""
    rng = structure_rng(seed, DESIGN_KEY, 0)
    strata = np.column_stack([rng.permutation(n_total) for _ in range(3)])
    return (strata + rng.random((n_total, 3))) / n_total


def _sobol(seed: int, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return these rows of a scrambled Sobol sequence (Owen, J. Complexity 14, 466)."""
    from scipy.stats import qmc

    first, last = int(wanted.min()), int(wanted.max())
    sequence = qmc.Sobol(d=3, scramble=True, seed=structure_rng(seed, DESIGN_KEY, 1))
    if first > 0:  # scipy fails on a step of none
        sequence.fast_forward(first)
    with warnings.catch_warnings():
        # Chunks are no powers of two; the sequence as a whole keeps its balance.
        warnings.filterwarnings("ignore", message="The balance properties")
        rows = sequence.random(last - first + 1)
    return np.asarray(rows, dtype=np.float64)[wanted - first]


def thickness_and_shift(points: NDArray[np.float64], region: Region) -> NDArray[np.float64]:
    """Scale points of the unit cube to a region.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Points of the unit cube.
    region : Region
        Its range of thickness and largest lateral shifts.

    Returns
    -------
    ndarray, shape (n, 3)
        Thickness in Å, displacement of the film as shares of a and b.
    """
    low, high = region.thickness
    return np.array([low, 0.0, 0.0]) + points * np.array([high - low, *region.lateral_shift])
