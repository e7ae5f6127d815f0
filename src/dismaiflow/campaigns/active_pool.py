"""Random structures that a committee is asked about, and which of them it is asked to learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from dismaiflow.campaigns.active_schemas import Spread
from dismaiflow.interfaces.built import built_generator
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from dismaiflow.potentials.base import Potential
    from dismaiflow.potentials.training.committee import Disagreement
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec

#: How structures are picked from a pool.
PickKind = Literal["disagreement", "random"]

#: Index of the first held-out random structure; training sets and datasets begin at 0.
WATCH_FROM = 10_000_000

#: Index of the first structure of the pools.
POOL_FROM = 20_000_000

#: Ends of a relaxation whose last positions are a place that the potential leads to.
_MOVED = ("converged", "not_converged")


def random_structures(
    spec: SystemSpec,
    seed: int,
    indices: range,
    member: Potential,
    steps: int,
    device: str = "cpu",
    journal: Path | None = None,
) -> StructureSet:
    """Return random interfaces after some steps of relaxation.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    seed : int
        Seed of the structures; each depends on it and on its index alone.
    indices : range
        Which structures.
    member : Potential
        What moves the atoms.
    steps : int
        For how long; 0 leaves them where they are.
    device : str
        ``cpu`` or ``cuda``.
    journal : Path, optional
        Keeps what is finished for a job that begins again.

    Returns
    -------
    StructureSet
        Those that could be made. Where the atoms flew apart or together they are where they were.
    """
    made = built_generator(spec).generate(indices, seed, exchanges=False).structures
    if not steps or not len(made):
        return made
    moved = relax_set(
        made,
        member,
        RelaxationSettings(optimizer="fire", max_steps=steps),
        n_processes=load_settings().PROCESSES or None,
        device=device,
        journal=journal,
    )
    positions = [
        one.positions if one.status in _MOVED else made.positions[made.slice_of(i)]
        for i, one in enumerate(moved)
    ]
    return replace(made, positions=np.concatenate(positions))


def pool_names(seed: int, structures: StructureSet) -> list[str]:
    """Return the names that frames of structures of a pool bear."""
    return [f"pool-{seed}-{name}" for name in structures.ids]


def pick(
    found: Sequence[Disagreement], names: Sequence[str], taken: Collection[str], n: int
) -> list[int]:
    """Choose the structures of largest disagreement about forces.

    Parameters
    ----------
    found : sequence of Disagreement
        For each structure; those without finite numbers are not chosen.
    names : sequence of str
        Their names.
    taken : collection of str
        Names of those that are labelled already.
    n : int
        How many are wanted.

    Returns
    -------
    list of int
        Their indices, the largest disagreement first.
    """
    fit = [i for i in judged(found) if names[i] not in taken]
    return sorted(fit, key=lambda i: -found[i].force)[:n]


def pick_any(
    found: Sequence[Disagreement], names: Sequence[str], taken: Collection[str], n: int
) -> list[int]:
    """Choose the first of the structures among which `pick` chooses: they are random already."""
    return [i for i in judged(found) if names[i] not in taken][:n]


def judged(found: Sequence[Disagreement]) -> list[int]:
    """Return the structures for which all members give finite numbers."""
    return [i for i, one in enumerate(found) if np.isfinite(one.force)]


def spread(found: Sequence[Disagreement]) -> Spread:
    """Return the means over the structures for which all members give finite numbers."""
    finite = [found[i] for i in judged(found)]
    if not finite:
        return Spread(n=0)
    return Spread(
        n=len(finite),
        force=float(np.mean([one.force for one in finite])),
        mean_force=float(np.mean([one.mean_force for one in finite])),
        energy=float(np.mean([one.energy for one in finite])),
    )
