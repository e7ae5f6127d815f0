"""Starting structures that a search proposes from what it has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.interfaces.generator import Generated, GenerationReport
from dismaiflow.interfaces.mutation import Mutator
from dismaiflow.interfaces.surrogate import Surrogate, equivalent_shifts, unit_points_of
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.interfaces.generator import RandomInterfaces
    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.interfaces.search import SearchSettings
    from dismaiflow.interfaces.system import InterfaceSystem

#: Every so many structures of a search by mutation one is random, so that new families come in.
_FRESH_EVERY = 4


def propose_structures(
    generator: RandomInterfaces,
    system: InterfaceSystem,
    settings: SearchSettings,
    ledger: SearchLedger,
    relaxed: StructureSet,
    good: NDArray[np.bool_],
    indices: Sequence[int],
) -> Generated:
    """Make the structures of some indices, by what was learned from those before.

    Parameters
    ----------
    generator : RandomInterfaces
        Makes random ones.
    system : InterfaceSystem
        The interface.
    settings : SearchSettings
        Seed and method.
    ledger : SearchLedger
        What became of all structures of the rounds before.
    relaxed : StructureSet
        Those that relaxed, with the label ``index``.
    good : ndarray of bool, shape (n_tried,)
        Rows of the ledger that are fit to learn from.
    indices : sequence of int
        Which structures to make. One depends on the rounds before, the seed and its own index,
        not on the other indices.

    Returns
    -------
    Generated
        Those that could be made, sorted by index, with labels as the columns of `SearchLedger`.
    """
    if settings.method == "surrogate":
        return _by_surrogate(generator, settings, ledger, good, indices)
    return _by_mutation(generator, system, settings, ledger, relaxed, good, indices)


def _by_surrogate(
    generator: RandomInterfaces,
    settings: SearchSettings,
    ledger: SearchLedger,
    good: NDArray[np.bool_],
    indices: Sequence[int],
) -> Generated:
    region, columns = generator.parts.region, ledger.columns
    points = unit_points_of(columns, region)
    known = np.isfinite(points).all(axis=1)
    model = Surrogate(
        points[known],
        np.where(good, columns["energy"], np.nan)[known],
        region.lateral_shift,
        equivalent_shifts(generator.host),
    )
    proposed = model.propose(indices, settings.seed)
    return generator.generate(indices, settings.seed, points=proposed)


def _by_mutation(
    generator: RandomInterfaces,
    system: InterfaceSystem,
    settings: SearchSettings,
    ledger: SearchLedger,
    relaxed: StructureSet,
    good: NDArray[np.bool_],
    indices: Sequence[int],
) -> Generated:
    fresh = [i for i in indices if i % _FRESH_EVERY == 0]
    random = generator.generate(fresh, settings.seed, sampling=settings.sampling)
    parents = relaxed.select(np.flatnonzero(good[relaxed.labels[INDEX_LABEL]]))
    rows = parents.labels[INDEX_LABEL]
    parents = parents.with_labels({INDEX_LABEL: rows, "root": ledger.columns["root"][rows]})
    children = Mutator(system).mutate(
        parents,
        ledger.columns["energy"][rows],
        [i for i in indices if i % _FRESH_EVERY],
        settings.seed,
    )
    own = random.structures.labels[INDEX_LABEL].astype(np.int64)
    none = np.full(len(own), -1, dtype=np.int64)
    descent = {"parent": none, "operator": none, "root": own, "second_root": own}
    begun = random.structures.with_labels(random.structures.labels | descent)
    whole = StructureSet.concatenate([begun, children.structures])
    whole = whole.select(np.argsort(whole.labels[INDEX_LABEL], kind="stable"))
    failures = (*random.report.failures, *children.report.failures)
    scales = whole.labels["distance_scale"]
    full = generator.parts.region.min_distances.scale
    report = GenerationReport(
        n_requested=len(indices),
        n_made=len(whole),
        failures=tuple(sorted(failures, key=lambda one: one.index)),
        n_lowered=int((scales != full).sum()),
        lowest_scale=float(scales.min()) if len(whole) else None,
    )
    return Generated(whole, report)
