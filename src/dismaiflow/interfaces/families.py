"""Training and validation sets of structures some of which descend from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.interfaces.sampling import structure_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.interfaces.search import SearchSettings

#: Stream of a seed by which families are shuffled.
_SPLIT_KEY = 11


def divide(
    ledger: SearchLedger, rows: NDArray[np.int64], n_train: int, settings: SearchSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide structures into a training and a validation set.

    Random structures are independent, and the first ones train. Where a search has learned, later
    structures differ from earlier ones and some descend from the same random one, so families are
    shuffled, and none stands on both sides, unless there is a single one.

    Parameters
    ----------
    ledger : SearchLedger
        With ``root`` and ``second_root`` of every structure that was tried.
    rows : ndarray of int64, shape (n,)
        Rows of the structures to divide, ascending; at least two.
    n_train : int
        Structures that are to train, about.
    settings : SearchSettings
        Method and seed of the search.

    Returns
    -------
    train, val : ndarray of int64
        Rows, ascending; neither is empty.
    """
    if settings.method == "random":
        return rows[:n_train], rows[n_train:]
    family = _families(ledger)[rows]
    names = np.unique(family)
    if len(names) == 1:
        return rows[:n_train], rows[n_train:]
    structure_rng(settings.seed, _SPLIT_KEY, 0).shuffle(names)
    sizes = {int(name): int((family == name).sum()) for name in names}
    chosen: list[int] = []
    filled = 0
    for name in names.tolist():
        if filled + sizes[name] <= n_train:
            chosen.append(name)
            filled += sizes[name]
    # A family larger than the training set still has to stand somewhere.
    if not chosen:
        chosen = [max(sizes, key=lambda name: sizes[name])]
    if len(chosen) == len(names):
        chosen.remove(min(chosen, key=lambda name: sizes[name]))
    trains = np.isin(family, chosen)
    return rows[trains], rows[~trains]


def _families(ledger: SearchLedger) -> NDArray[np.int64]:
    """Return the family of every row: all that are linked by descent, over two parents too."""
    from scipy.sparse import coo_array  # takes long to import
    from scipy.sparse.csgraph import connected_components

    n = len(ledger)
    ends = ledger.columns["root"], ledger.columns["second_root"]
    links = coo_array((np.ones(n), ends), shape=(n, n))
    # Roots are indices of random structures, which are rows of the ledger.
    component = connected_components(links, directed=False)[1]
    return np.asarray(component[ledger.columns["root"]], dtype=np.int64)
