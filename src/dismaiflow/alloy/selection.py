"""Which snapshots of Monte Carlo runs become a dataset (paper, sections 2.1.1 and 4.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.alloy.diagnostics import check_alike
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.alloy.diagnostics import SamplingReport
    from dismaiflow.alloy.sampling import RunSamples

#: Structures of a dataset, and the width of the narrow filter (paper, section 4.1.1).
DATASET_SIZE = 1500
NARROW_TOLERANCE = 0.1

Thinning = Literal["none", "independent"]


@dataclass(frozen=True)
class Selection:
    """Snapshots drawn from runs, in random order.

    A *block* is a stretch of one run as long as the statistical inefficiency of the slowest
    observable; snapshots of different blocks count as independent of each other.

    Parameters
    ----------
    kind : {"wide", "narrow"}
        Filter.
    run, snapshot : ndarray of int, shape (n,)
        Where each structure comes from: number of the run in the list, and index in it.
    occupations : ndarray of int8, shape (n, n_sites)
        Species code of each site.
    energies : ndarray, shape (n,)
        Formation energies in eV/atom.
    sro : ndarray, shape (n, n_parameters)
        Warren-Cowley parameters.
    centre : ndarray, shape (n_parameters,)
        Mean of the parameters over the snapshots in use: the middle of the narrow filter.
    tolerance : float or None
        Half the width of the narrow filter.
    thinning : {"none", "independent"}
        Whether snapshots of one run are kept a block apart.
    n_candidates : int
        Snapshots in use.
    n_passed : list of int
        Those of each run that pass the filter.
    block_length : int
        Length of a block in snapshots: the inefficiency, rounded.
    n_independent_available : int
        Blocks that hold a snapshot which passes the filter: effective samples to be had.
    n_independent : int
        Blocks that hold a drawn snapshot: effective samples in the selection.
    warnings : list of str
        What a user should know, in sentences.
    """

    kind: Literal["wide", "narrow"]
    run: NDArray[np.int64]
    snapshot: NDArray[np.int64]
    occupations: NDArray[np.int8]
    energies: NDArray[np.float64]
    sro: NDArray[np.float64]
    centre: NDArray[np.float64]
    tolerance: float | None
    thinning: Thinning
    n_candidates: int
    n_passed: list[int]
    block_length: int
    n_independent_available: int
    n_independent: int
    warnings: list[str]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.run)

    def as_dict(self) -> dict[str, Any]:
        """Return counts, filter and warnings as plain numbers and words, without the structures."""
        return {
            "kind": self.kind,
            "n": len(self),
            "centre": [float(x) if np.isfinite(x) else None for x in self.centre],
            "tolerance": self.tolerance,
            "thinning": self.thinning,
            "n_candidates": self.n_candidates,
            "n_passed": list(self.n_passed),
            "n_drawn": np.bincount(self.run, minlength=len(self.n_passed)).tolist(),
            "block_length": self.block_length,
            "n_independent_available": self.n_independent_available,
            "n_independent": self.n_independent,
            "warnings": list(self.warnings),
        }


def select_wide(
    runs: Sequence[RunSamples],
    report: SamplingReport,
    n: int = DATASET_SIZE,
    seed: np.random.SeedSequence | int = 0,
    thinning: Thinning = "none",
) -> Selection:
    """Draw snapshots at random, without replacement.

    Parameters
    ----------
    runs : sequence of RunSamples
        Runs at one temperature.
    report : SamplingReport
        Of the same runs; says from where on each is used.
    n : int
        Number to draw.
    seed : numpy.random.SeedSequence or int
        Seed of the draw.
    thinning : {"none", "independent"}
        With ``independent``, snapshots of one run lie at least a statistical inefficiency of the
        slowest observable apart.

    Returns
    -------
    Selection
        The drawn snapshots.

    Raises
    ------
    DismaiError
        If there are too few snapshots.
    """
    return _select(runs, report, n, seed, thinning, None)


def select_narrow(
    runs: Sequence[RunSamples],
    report: SamplingReport,
    n: int = DATASET_SIZE,
    seed: np.random.SeedSequence | int = 0,
    thinning: Thinning = "none",
    tolerance: float = NARROW_TOLERANCE,
) -> Selection:
    """Draw snapshots at random among those near the mean short-range order.

    All first- and second-shell Warren-Cowley parameters of a snapshot must lie within `tolerance`
    of their means over all snapshots in use.

    Parameters
    ----------
    runs, report, n, seed, thinning
        See `select_wide`.
    tolerance : float
        Largest distance from the mean.

    Returns
    -------
    Selection
        The drawn snapshots.

    Raises
    ------
    DismaiError
        If too few snapshots pass the filter.
    """
    if not tolerance > 0:
        raise DismaiError(f"the tolerance of the narrow filter must be above 0, got {tolerance}")
    return _select(runs, report, n, seed, thinning, tolerance)


def _select(
    runs: Sequence[RunSamples],
    report: SamplingReport,
    n: int,
    seed: np.random.SeedSequence | int,
    thinning: Thinning,
    tolerance: float | None,
) -> Selection:
    check_alike(runs)
    if n < 1:
        raise DismaiError(f"a dataset needs at least one structure, got {n}")
    if thinning not in ("none", "independent"):
        raise DismaiError(f"unknown thinning {thinning!r}: choose none or independent")
    if len(report.first_used) != len(runs):
        raise DismaiError(
            f"a sampling report of {len(report.first_used)} runs does not belong to {len(runs)}"
        )
    first_used = np.asarray(report.first_used)
    lengths = np.array([len(run) for run in runs])
    run_of = np.repeat(np.arange(len(runs)), lengths - first_used)
    snapshot_of = np.concatenate(
        [np.arange(first, length) for first, length in zip(first_used, lengths, strict=True)]
    )
    sro = np.concatenate([run.sro[first:] for run, first in zip(runs, first_used, strict=True)])
    centre = sro.mean(axis=0)
    passed = np.ones(len(sro), dtype=bool)
    if tolerance is not None:
        # Parameters of absent species are NaN and exclude nothing.
        passed = ~(np.abs(sro - centre) > tolerance).any(axis=1)
    kind: Literal["wide", "narrow"] = "wide" if tolerance is None else "narrow"
    n_passed = np.bincount(run_of[passed], minlength=len(runs)).tolist()
    candidates = np.flatnonzero(passed)
    block_length = max(round(report.inefficiency), 1)
    blocks = _blocks(run_of, snapshot_of - first_used[run_of], block_length)
    # The last block of a run is a broken one, which counts where runs hold but a few.
    most = max(round(report.n_effective), 1)
    available = min(len(np.unique(blocks[candidates])), most)

    order = np.random.default_rng(seed).permutation(candidates)
    if thinning == "independent":
        order = _apart(order, run_of, snapshot_of, lengths, block_length, n)
    if len(order) < n:
        where = f"{kind} selection at {report.temperature:g} K"
        per_run = ", ".join(str(count) for count in n_passed)
        apart = f" {block_length} snapshots apart" if thinning == "independent" else ""
        wider = "" if tolerance is None else f", or a tolerance above {tolerance:g}"
        cure = f"Ask for more passes or runs{wider}"
        if report.agreement == "disagree":
            cure = "The runs do not agree: first anneal longer, or from a higher temperature"
        raise DismaiError(
            f"{where}: {n} snapshots asked for, {len(order)} found{apart}; of {len(sro)} in use "
            f"{len(candidates)} pass the filter (by run: {per_run}). {cure}"
        )
    chosen = order[:n]
    warnings = []
    if available < n:
        warnings.append(
            f"{kind} selection at {report.temperature:g} K: {n} structures are drawn, but the runs "
            f"hold about {available} independent ones ({report.limiting_parameter} is correlated "
            f"over {block_length * report.snapshot_interval} passes); more passes or runs give more"
        )
    run, snapshot = run_of[chosen], snapshot_of[chosen]
    return Selection(
        kind=kind,
        run=run,
        snapshot=snapshot,
        occupations=np.array([runs[r].occupations[s] for r, s in zip(run, snapshot, strict=True)]),
        energies=np.array([runs[r].energies[s] for r, s in zip(run, snapshot, strict=True)]),
        sro=sro[chosen],
        centre=centre,
        tolerance=tolerance,
        thinning=thinning,
        n_candidates=len(sro),
        n_passed=n_passed,
        block_length=block_length,
        n_independent_available=available,
        n_independent=min(len(np.unique(blocks[chosen])), most),
        warnings=warnings,
    )


def _blocks(
    run_of: NDArray[np.int64], position: NDArray[np.int64], block_length: int
) -> NDArray[np.int64]:
    """Return the number of the block of each snapshot, shape (n_snapshots,)."""
    number = position // block_length
    return run_of * (int(number.max()) + 1) + number


def _apart(
    order: NDArray[np.int64],
    run_of: NDArray[np.int64],
    snapshot_of: NDArray[np.int64],
    lengths: NDArray[np.int64],
    distance: int,
    n: int,
) -> NDArray[np.int64]:
    """Keep, in the given order, what lies far enough from all kept before; stop after n."""
    taken = [np.zeros(length, dtype=bool) for length in lengths]
    kept: list[int] = []
    for candidate in order:
        if len(kept) == n:
            break
        near = taken[run_of[candidate]]
        at = int(snapshot_of[candidate])
        if not near[at]:
            near[max(at - distance + 1, 0) : at + distance] = True
            kept.append(int(candidate))
    return np.asarray(kept, dtype=np.int64)
