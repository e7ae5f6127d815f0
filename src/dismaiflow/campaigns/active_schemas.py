"""Documents of active learning."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.potentials.training_jobs import CommitteeDoc
from dismaiflow.store.frames import FramesRef
from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions


class Spread(BaseModel):
    """How far a committee is apart on a set of structures, means over the structures.

    Parameters
    ----------
    n : int
        Structures with finite numbers.
    force : float
        Largest standard deviation of the force on an atom, eV/Å.
    mean_force : float
        Root mean square of the same over the atoms, eV/Å.
    energy : float
        Standard deviation of the energy, eV/atom.
    """

    n: int
    force: float
    mean_force: float
    energy: float


class ActiveRound(BaseModel):
    """What is known at the end of a round.

    Parameters
    ----------
    n_frames : int
        Training frames.
    n_labelled : int
        Structures that have been labelled so far.
    test_energy, test_force : float or None
        Mean absolute errors on the test set, eV/atom and eV/Å, mean of the members.
    watched : Spread
        Disagreement on held-out random structures, always the same.
    picked : list of str
        Structures that are labelled next.
    picked_from : Spread, optional
        Disagreement on all that they were picked from.
    picked_spread : Spread, optional
        Disagreement on them.
    by_status : dict of str to int
        How the relaxations that labelled the structures of the round before ended.
    """

    n_frames: int
    n_labelled: int = 0
    test_energy: float | None = None
    test_force: float | None = None
    watched: Spread
    picked: list[str] = Field(default_factory=list)
    picked_from: Spread | None = None
    picked_spread: Spread | None = None
    by_status: dict[str, int] = Field(default_factory=dict)


class ActiveState(BaseModel):
    """What active learning hands from one round to the next.

    Parameters
    ----------
    sets : dict of str to FramesRef
        ``train``, ``val`` and ``test``; only the first grows.
    rounds : list of ActiveRound
        Those so far.
    watch : StructuresRef, optional
        Held-out random structures.
    n_labelled : int
        Structures that have been labelled.
    by_status : dict of str to int
        How the last relaxations that label structures ended.
    """

    sets: dict[str, FramesRef]
    rounds: list[ActiveRound] = Field(default_factory=list)
    watch: StructuresRef | None = None
    n_labelled: int = 0
    by_status: dict[str, int] = Field(default_factory=dict)


class ActiveLearningDoc(BaseModel):
    """What active learning has come to.

    Parameters
    ----------
    system : str
        Name of the system.
    rounds : list of ActiveRound
        The first before anything was labelled.
    stopped_by : str
        Why it ended.
    committee : CommitteeDoc
        The potentials of the last round.
    sets : dict of str to FramesRef
        All frames.
    """

    kind: str = "active_learning"
    system: str
    rounds: list[ActiveRound]
    stopped_by: str
    committee: CommitteeDoc
    sets: dict[str, FramesRef]
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=package_versions)
