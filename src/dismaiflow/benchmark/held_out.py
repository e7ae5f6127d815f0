"""Sets of a dataset beside the training set, which are scored as controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dismaiflow.benchmark.flows import VALIDATION_CONTROL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.benchmark.structure_flows import RelaxationPlan

#: Name under which structures above the cut of a search are scored as a control.
HIGH_CONTROL = "high-energy"


class HeldOut(NamedTuple):
    """The beginning of a set of a dataset.

    Parameters
    ----------
    name : str
        The set.
    n : int
        Structures of it, from the first.
    """

    name: str
    n: int


def held_out(
    counts: Mapping[str, int], relaxation: RelaxationPlan | None, n_relaxed: int
) -> dict[str, HeldOut]:
    """Choose which structures of a dataset are scored as controls.

    Parameters
    ----------
    counts : dict of str to int
        Structures in each set of the dataset.
    relaxation : RelaxationPlan, optional
        What a potential does for the score.
    n_relaxed : int
        Structures of a control that must be relaxed first.

    Returns
    -------
    dict of str to HeldOut
        By name of the control. Structures above the cut of the energy are as many as those of the
        validation set, or as other controls have: each costs the potential one evaluation.
    """
    most = {VALIDATION_CONTROL: counts.get("val", 0)}
    most[HIGH_CONTROL] = min(counts.get("high", 0), max(most[VALIDATION_CONTROL], n_relaxed))
    if relaxation is not None and relaxation.reference:
        most = {name: min(n, n_relaxed) for name, n in most.items()}
    sets = {VALIDATION_CONTROL: "val", HIGH_CONTROL: "high"}
    return {name: HeldOut(sets[name], n) for name, n in most.items() if n}
