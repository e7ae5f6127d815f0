"""Several potentials of one kind: where they disagree, none of them knows.

H. S. Seung, M. Opper, H. Sompolinsky, Query by committee, COLT 1992, 287,
doi:10.1145/130385.130417.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.potentials.base import Evaluation, Potential


@dataclass(frozen=True)
class Disagreement:
    """How far the members of a committee are apart for one structure.

    Parameters
    ----------
    force : float
        The largest standard deviation of the force on an atom, over all atoms, eV/Å: the root
        mean square distance of the members' force vectors from their mean.
    mean_force : float
        The root mean square of the same over the atoms, eV/Å.
    energy : float
        Standard deviation of the energies, eV/atom.
    """

    force: float
    mean_force: float
    energy: float


def disagreement(energies: ArrayLike, forces: ArrayLike) -> Disagreement:
    """Return how far evaluations of one structure are apart.

    Parameters
    ----------
    energies : array-like, shape (n_members,)
        eV.
    forces : array-like, shape (n_members, n_atoms, 3)
        eV/Å.
    """
    vectors = np.asarray(forces, dtype=float)
    spread = np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
    return Disagreement(
        force=float(spread.max()),
        mean_force=float(np.sqrt((spread**2).mean())),
        energy=float(np.std(np.asarray(energies, dtype=float)) / vectors.shape[1]),
    )


def committee_disagreements(
    members: Sequence[Potential], structures: Sequence[Atoms], device: str = "cpu"
) -> list[Disagreement]:
    """Let all members of a committee compute structures.

    Parameters
    ----------
    members : sequence of Potential
        At least two.
    structures : sequence of Atoms
        Structures; not changed.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    list of Disagreement
        One for each structure; infinite where a member gives numbers that are not finite.

    Raises
    ------
    DismaiError
        If there are fewer than two members, or one cannot compute batches.
    """
    if len(members) < 2:
        raise DismaiError("a committee needs two potentials at least")
    votes: list[list[Evaluation]] = []
    for member in members:
        evaluator = member.evaluator(device)
        if evaluator is None:
            raise DismaiError(f"potential {member.card.name!r} cannot be a member of a committee")
        votes.append(evaluator.evaluate(structures))
    return [_apart([vote[i] for vote in votes]) for i in range(len(structures))]


def _apart(found: Sequence[Evaluation]) -> Disagreement:
    energies = np.array([one.energy for one in found])
    forces = np.array([one.forces for one in found])
    if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
        return Disagreement(np.inf, np.inf, np.inf)
    return disagreement(energies, forces)


def bootstrap(frames: LabelledFrames, seed: int) -> LabelledFrames:
    """Return as many relaxations as there are, drawn with replacement, with all their frames.

    Frames of one relaxation resemble each other, so relaxations are drawn and not frames.
    """
    parents = list(dict.fromkeys(frames.parents))
    place = {parent: i for i, parent in enumerate(parents)}
    owner: NDArray[np.int64] = np.array([place[parent] for parent in frames.parents])
    drawn = np.random.default_rng(seed).integers(len(parents), size=len(parents))
    return frames.select(np.concatenate([np.flatnonzero(owner == i) for i in drawn]))
