"""Pushing apart atoms that generative models placed too close together (paper, section 4.3.1).

Two protocols:

- ``published`` is ``move_atoms_apart.py`` step by step. Pairs are found under periodic images, but
  moved along the vector between the atoms as they stand in the file: of two atoms that are close
  across a boundary, one is moved along the whole cell, often through the other. Only the atom with
  the higher index moves, pair after pair. The numbers equal those of the script to the last bit,
  but for one thing: where a vector has no length (two atoms at one place, or an atom near its own
  image) the script divides by zero, writes NaN and counts the structure as processed; here it
  fails.
- ``corrected`` moves both atoms by half along the vector to the nearest image, all pairs at once,
  so that neither the order of the atoms nor the choice of the cell matters.

Both stop when no pair is too close, or fail after so many checks. The published count begins at
one for a structure that was never moved, so that 100 allow 99 pushes; both count so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.published_rdf import multiply_rows
from dismaiflow.metrics.rdf import neighbour_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

PushProtocol = Literal["published", "corrected"]

#: Å^2 by which pymatgen lets a squared distance exceed that of the cutoff.
_PYMATGEN_TOLERANCE = 1e-8

#: Å. Two atoms that are nearer have no direction to speak of.
_COINCIDENT = 1e-6


@dataclass(frozen=True, eq=False)
class PushResult:
    """A structure after its atoms were pushed apart.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3)
        Cartesian, Å, not wrapped into the cell; where it failed, those that were reached.
    n_iterations : int
        Checks that were made, the last of which found nothing if it succeeded.
    n_close_at_start : int
        Pairs of atoms that were too close at first, each once whatever its images.
    separated : bool
        Whether no pair is too close any more.
    reason : str or None
        Why it failed.
    """

    positions: NDArray[np.float64]
    n_iterations: int
    n_close_at_start: int
    separated: bool
    reason: str | None = None


def push_apart(
    positions: ArrayLike,
    cell: ArrayLike,
    min_distance: float = 1.5,
    max_iterations: int = 100,
    protocol: PushProtocol = "published",
    target_margin: float = 0.1,
) -> PushResult:
    """Push apart atoms that are too close together.

    Parameters
    ----------
    positions : array-like, shape (n_atoms, 3)
        Cartesian, Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; periodic in all directions.
    min_distance : float
        Distance that every pair shall have, Å.
    max_iterations : int
        Most checks; one more than pushes.
    protocol : {"published", "corrected"}
        See the module.
    target_margin : float
        By how much further than ``min_distance`` a pair is pushed, Å.

    Raises
    ------
    DismaiError
        If a setting makes no sense. A structure that cannot be mended is a result, not an error.
    """
    if not (min_distance > 0 and max_iterations >= 1 and target_margin >= 0):
        raise DismaiError(
            f"atoms cannot be pushed {min_distance} + {target_margin} Å apart in "
            f"{max_iterations} iterations: give positive numbers"
        )
    if protocol not in get_args(PushProtocol):
        raise DismaiError(
            f"unknown protocol {protocol!r}: choose one of {', '.join(get_args(PushProtocol))}"
        )
    places = np.array(positions, dtype=float).reshape(-1, 3)
    vectors = np.asarray(cell, dtype=float)
    if not (np.isfinite(places).all() and np.isfinite(vectors).all()):
        return PushResult(places, 0, 0, False, "a coordinate or cell length is NaN or infinite")
    if vectors.shape != (3, 3) or abs(np.linalg.det(vectors)) < 1e-9:
        return PushResult(places, 0, 0, False, "the cell has no volume")
    if len(places) == 0:
        return PushResult(places, 1, 0, True)
    step = _published_step if protocol == "published" else _corrected_step
    if protocol == "published":
        places = _through_fractions(places, vectors)
    return _repeat(step, places, vectors, min_distance, max_iterations, target_margin)


class _CannotSeparateError(Exception):
    """Why a structure is given up before the last iteration."""


def _repeat(
    step: Callable[
        [NDArray[np.float64], NDArray[np.float64], float, float], tuple[NDArray[np.float64], int]
    ],
    places: NDArray[np.float64],
    vectors: NDArray[np.float64],
    min_distance: float,
    max_iterations: int,
    margin: float,
) -> PushResult:
    """Check and push until nothing is too close."""
    at_start = 0
    for iteration in range(1, max_iterations + 1):
        try:
            places, n_close = step(places, vectors, min_distance, margin)
        except _CannotSeparateError as error:
            reason, n_close = error.args
            at_start = n_close if iteration == 1 else at_start
            return PushResult(places, iteration, at_start, False, reason)
        if iteration == 1:
            at_start = n_close
        if n_close == 0:
            return PushResult(places, iteration, at_start, True)
    reason = (
        f"{n_close} pairs were still closer than {min_distance} Å after {max_iterations} checks"
    )
    return PushResult(places, max_iterations, at_start, False, reason)


def _through_fractions(
    places: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Round as pymatgen does, which keeps fractional coordinates and multiplies them back."""
    return multiply_rows(multiply_rows(places, np.linalg.inv(vectors)), vectors)


def _published_step(
    places: NDArray[np.float64],
    vectors: NDArray[np.float64],
    min_distance: float,
    margin: float,
) -> tuple[NDArray[np.float64], int]:
    """Move the second atom of each close pair, in order; return the places and the close pairs."""
    cutoff = np.sqrt(min_distance**2 + _PYMATGEN_TOLERANCE)
    first, second, _ = neighbour_pairs(places, vectors, cutoff)
    forward = first <= second
    pairs = np.unique(np.column_stack([first[forward], second[forward]]), axis=0)
    moved = places.copy()
    for i, j in pairs.tolist():
        between = moved[j] - moved[i]
        length = np.linalg.norm(between)
        if length == 0:
            what = f"atom {i} and its own image" if i == j else f"atoms {i} and {j} at one place"
            raise _CannotSeparateError(f"{what} have no direction to be pushed in", len(pairs))
        moved[j] = moved[i] + between * ((min_distance + margin) / length)
    return _through_fractions(moved, vectors), len(pairs)


def _corrected_step(
    places: NDArray[np.float64],
    vectors: NDArray[np.float64],
    min_distance: float,
    margin: float,
) -> tuple[NDArray[np.float64], int]:
    """Move both atoms of each close pair by half; return the places and the close pairs."""
    first, second, between = neighbour_pairs(places, vectors, min_distance)
    forward = first <= second
    first, second, between = first[forward], second[forward], between[forward]
    n_close = len(np.unique(np.column_stack([first, second]), axis=0))
    own = np.flatnonzero(first == second)
    if len(own):
        reason = f"atom {first[own[0]]} is closer than {min_distance} Å to its own image"
        raise _CannotSeparateError(reason, n_close)
    lengths = np.linalg.norm(between, axis=1)
    directions = between / np.maximum(lengths, _COINCIDENT)[:, None]
    for pair in np.flatnonzero(lengths < _COINCIDENT):
        directions[pair] = _direction_of(int(first[pair]), int(second[pair]))
    shifts = directions * ((min_distance + margin - lengths) / 2)[:, None]
    moved = places.copy()
    # Only close atoms are added to, so that all others keep their coordinates to the last bit.
    np.subtract.at(moved, first, shifts)
    np.add.at(moved, second, shifts)
    return moved, n_close


def _direction_of(first: int, second: int) -> NDArray[np.float64]:
    """Return a unit vector, the same for a pair of indices every time."""
    drawn = np.random.default_rng(np.random.SeedSequence([first, second])).normal(size=3)
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn)
    return unit
