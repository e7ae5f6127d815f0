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
        Structures for which all members give finite numbers; the means are None without one.
    force : float, optional
        Largest standard deviation of the force on an atom, eV/Å.
    mean_force : float, optional
        Root mean square of the same over the atoms, eV/Å.
    energy : float, optional
        Standard deviation of the energy, eV/atom.
    """

    n: int
    force: float | None = None
    mean_force: float | None = None
    energy: float | None = None


class ActiveRound(BaseModel):
    """What a committee was worth, and what it was given to learn next.

    Parameters
    ----------
    n_frames : int
        Frames that its members were trained on.
    n_members : int
        Potentials in it.
    n_labelled : int
        Structures that had been labelled for it.
    test_energy, test_force : float or None
        Mean absolute errors on the test set, eV/atom and eV/Å, mean of the members.
    watched : Spread
        Disagreement on held-out random structures, always the same.
    picked : list of str
        Structures that were labelled next, the largest disagreement first.
    picked_from : Spread, optional
        Disagreement on all that they were picked from.
    picked_spread : Spread, optional
        Disagreement on them.
    by_status : dict of str to int
        How the relaxations that labelled them ended.
    n_new : int
        Frames that these left.
    n_left_out : int
        Frames of other settings than the training set's, which were left out.
    """

    n_frames: int
    n_members: int
    n_labelled: int = 0
    test_energy: float | None = None
    test_force: float | None = None
    watched: Spread
    picked: list[str] = Field(default_factory=list)
    picked_from: Spread | None = None
    picked_spread: Spread | None = None
    by_status: dict[str, int] = Field(default_factory=dict)
    n_new: int = 0
    n_left_out: int = 0


class ActiveState(BaseModel):
    """What active learning hands from one job to the next.

    Parameters
    ----------
    sets : dict of str to FramesRef
        ``train``, ``val`` and ``test``; only the first grows.
    rounds : list of ActiveRound
        Those so far.
    watch : StructuresRef, optional
        Held-out random structures.
    n_labelled : int
        Structures that have been labelled, or were to be.
    committee : CommitteeDoc, optional
        The potentials of the last round.
    """

    sets: dict[str, FramesRef]
    rounds: list[ActiveRound] = Field(default_factory=list)
    watch: StructuresRef | None = None
    n_labelled: int = 0
    committee: CommitteeDoc | None = None


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
    complete : bool
        Whether error or budget ended it, and nothing that went wrong.
    n_labelled : int
        Structures that have been labelled, or were to be.
    committee : CommitteeDoc
        The potentials of the last round.
    sets : dict of str to FramesRef
        All frames; ``train`` holds more than the committee has seen where its training failed.
    watch : StructuresRef, optional
        The held-out random structures.
    settings : dict
        What was asked for.
    """

    kind: str = "active_learning"
    system: str
    rounds: list[ActiveRound]
    stopped_by: str
    complete: bool
    n_labelled: int
    committee: CommitteeDoc
    sets: dict[str, FramesRef]
    watch: StructuresRef | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=package_versions)
