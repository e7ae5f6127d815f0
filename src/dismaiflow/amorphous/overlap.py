"""How much the blocks of one parent have in common.

With c_a the number of blocks that hold atom a of the parent, n blocks of m atoms each:

- coverage = sum c_a / N, how many times the blocks could fill the parent;
- the mean share of its atoms that a block has in common with another one is
  sum c_a (c_a - 1) / (n - 1) / sum c_a;
- the effective number of independent blocks is n sum c_a / sum c_a^2. The mean over all blocks of
  anything that is a mean over atoms, uncorrelated from atom to atom, has the variance of so many
  blocks that share nothing. It is n for blocks that share nothing, 1 for n times the same block,
  and never more than N / m. Atoms are correlated over a few bonds, so that it is an upper bound.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """What blocks share.

    Parameters
    ----------
    n_blocks : int
        Blocks.
    coverage : float
        How many times they could fill the parent.
    covered_fraction : float
        Share of the parent's atoms that lie in at least one.
    mean_shared_fraction : float
        Mean share of atoms in common of two blocks; 0 for a single one.
    n_effective : float
        Effective number of independent blocks.
    """

    n_blocks: int
    coverage: float
    covered_fraction: float
    mean_shared_fraction: float
    n_effective: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def overlap(parent_index: NDArray[np.int64], n_parent: int) -> Overlap:
    """Measure what blocks share.

    Parameters
    ----------
    parent_index : ndarray of int64, shape (n_blocks, n_atoms)
        Atom of the parent that each atom is; negative for atoms that are none.
    n_parent : int
        Atoms of the parent.
    """
    n = len(parent_index)
    counts = _multiplicity(parent_index, n_parent).astype(float)
    total, squares = counts.sum(), (counts**2).sum()
    shared = (squares - total) / (n - 1) / total if n > 1 and total > 0 else 0.0
    return Overlap(
        n_blocks=n,
        coverage=float(total / n_parent),
        covered_fraction=float((counts > 0).mean()),
        mean_shared_fraction=float(shared),
        n_effective=float(n * total / squares) if squares > 0 else float(n),
    )


def shared_between(
    first: NDArray[np.int64], second: NDArray[np.int64], n_parent: int
) -> dict[str, float]:
    """Say what two sets of blocks share.

    Parameters
    ----------
    first, second : ndarray of int64, shape (n_blocks, n_atoms)
        As for `overlap`.
    n_parent : int
        Atoms of the parent.

    Returns
    -------
    dict
        ``atoms``, the atoms of the parent that occur in both, and ``fraction_of_second``, the
        share of the atoms that occur in the second that they are.
    """
    left, right = _multiplicity(first, n_parent) > 0, _multiplicity(second, n_parent) > 0
    both = int((left & right).sum())
    return {"atoms": both, "fraction_of_second": both / max(int(right.sum()), 1)}


def overlap_report(index: Mapping[str, NDArray[np.int64]], n_parent: int) -> dict[str, Any]:
    """Return what the card says: of all blocks, of each set, and between the two.

    Parameters
    ----------
    index : dict of str to ndarray
        Parent atoms of the sets ``train`` and ``val``.
    n_parent : int
        Atoms of the parent.
    """
    whole = np.concatenate(list(index.values()))
    report: dict[str, Any] = {"all": overlap(whole, n_parent).as_dict()}
    report |= {name: overlap(part, n_parent).as_dict() for name, part in index.items()}
    report["train_and_val"] = shared_between(index["train"], index["val"], n_parent)
    return report


def _multiplicity(parent_index: NDArray[np.int64], n_parent: int) -> NDArray[np.int64]:
    """Return how many blocks hold each atom of the parent."""
    kept = parent_index[parent_index >= 0]
    return np.bincount(kept, minlength=n_parent)
