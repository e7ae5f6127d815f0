"""Ranks of the models on each dataset, derived from the published tables.

Fig. 10 of the paper (Digital Discovery 2024, 3, 1889, section 2.6) shows ranks from 1 to 5 that are
"based on their general performance"; it states no rule and prints no numbers. `RULE` is ours.

It gives what section 2.6 says: CDVAE before DiffCSP on silicon and both alloys at 300 K, DiffCSP
before CDVAE on both alloys at 1500 K and on the interface, CryinGAN before both U-Nets on the
interface, CrysTens before UniMat there, and the graph models best overall. It may differ from
Fig. 10 in these places, of which the text says less:

- The interface has CryinGAN second and CDVAE third, as their distances have it. The paper calls
  CryinGAN "competitive"; it has 9 % of failed structures where CDVAE has none, and its structures
  are farther from relaxed (147 against 10 steps, Table S2), which no distance shows.
- Models without a row, which could not generate the structures, share the last rank; the figure may
  tell them apart by eye.
- On alloy-300K-narrow the intervals of CDVAE and DiffCSP overlap; the text calls them similar, and
  still counts the dataset among those on which CDVAE is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dismaiflow.benchmark.published import MODELS, published_systems, published_table
from dismaiflow.errors import DismaiError, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The rule in one sentence, for captions.
RULE = (
    "models of which at most half of the structures fail come before those of which more fail, "
    "each ordered by the geometric mean of their distances; models that could not generate the "
    "structures share the last rank"
)

#: Above this share of failed structures, in per cent, the paper calls distances small for the
#: wrong reason (section 2.3.1, of the U-Nets).
MAX_FAILED = 50.0


#: Place in the order of a model that has no distances.
_NOT_GENERATED = (2, math.inf)


@dataclass(frozen=True)
class Rank:
    """The rank of a model on one dataset.

    Parameters
    ----------
    model : str
        Its name.
    rank : int
        From 1, the best; equal models share one.
    derived : bool
        That it follows from tables by a rule, and was not published.
    new : bool
        Whether it is a score beside those of the paper.
    """

    model: str
    rank: int
    derived: bool = True
    new: bool = False


def ranks(system: str, extra: Mapping[str, Mapping[str, float | None]] | None = None) -> list[Rank]:
    """Rank the published models on a dataset by `RULE`, and new ones among them.

    Parameters
    ----------
    system : str
        Name of one of the six systems.
    extra : dict of str to dict of str to float, optional
        Metrics of new models, by name. Give only what is comparable with the published values.

    Returns
    -------
    list of Rank
        The best first. A new model moves those that it beats down by one and changes no other
        order, because no model's place in the order depends on who else is there.

    Raises
    ------
    DismaiError
        If the paper has no table for the system.
    """
    table = published_table(system)
    if table is None:
        raise DismaiError(f"no published table: {suggestion(system, published_systems())}")
    distances = [metric for metric in table.metrics if metric.startswith("d_")]
    known = {row.model: {m: v["value"] for m, v in row.metrics.items()} for row in table.rows}
    entries = [(name, False, order_key(known.get(name, {}), distances)) for name in MODELS]
    entries += [
        (name, True, order_key(values, distances)) for name, values in (extra or {}).items()
    ]
    places = places_of([key for *_, key in entries])
    found = [
        Rank(name, rank, new=new) for (name, new, _), rank in zip(entries, places, strict=True)
    ]
    return sorted(found, key=lambda rank: rank.rank)


def places_of(keys: Sequence[tuple[int, float]]) -> list[int]:
    """Return the rank of each `order_key` among them, from 1; equal ones share one.

    What could not be generated shares the last rank.
    """
    return [
        len(keys) if key == _NOT_GENERATED else 1 + sum(other < key for other in keys)
        for key in keys
    ]


def order_key(values: Mapping[str, float | None], distances: Sequence[str]) -> tuple[int, float]:
    """Return what models are ordered by: class of failures, mean logarithm of the distances.

    Parameters
    ----------
    values : mapping of str to float or None
        Metrics of a model.
    distances : sequence of str
        Which of them are distances.
    """
    logarithms = []
    for metric in distances:
        value = values.get(metric)
        if value is None or not math.isfinite(value):
            return _NOT_GENERATED
        logarithms.append(math.log(value) if value > 0 else -math.inf)
    failed = values.get("percent_failed")
    too_many = failed is not None and failed > MAX_FAILED
    return int(too_many), math.fsum(logarithms) / len(logarithms)
