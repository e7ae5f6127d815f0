"""What a relaxation leaves, whatever engine did it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Structure

from dismaiflow.dft.verdict import RunStatus
from dismaiflow.errors import DismaiError
from dismaiflow.store.frames import FramesRef
from dismaiflow.store.structures import get_chunk
from dismaiflow.structures.frames import FrameLabel

if TYPE_CHECKING:
    from jobflow import JobStore


class StoredStructure(BaseModel):
    """A structure of a set in the store, in place of its atoms in the spec of a job.

    Parameters
    ----------
    blob : str
        Chunk of a `StructureSet` that holds it.
    place : int
        Its place in the chunk.
    parent : str
        Its name, which its frames bear.
    free : list of int, optional
        Atoms that a first stage lets move, of the interface region; all if not given.
    moments : list of float, optional
        Initial magnetic moments of the atoms, Bohr magnetons.
    """

    model_config = ConfigDict(frozen=True)

    blob: str
    place: int
    parent: str
    free: tuple[int, ...] | None = None
    moments: tuple[float, ...] | None = None


class RunDoc(BaseModel):
    """A relaxation as a job leaves it; it may stand in the place of a `TaskDoc` in chains of jobs.

    Parameters
    ----------
    kind : str
        Of the document.
    parent : str
        Name of the structure it began with.
    stage : str
        Which relaxation it was (``bulk``, ``region``, ``all``, ...).
    status : str
        `RunStatus`.
    reason : str
        Why it ended so, in one line.
    structure : Structure, optional
        The last structure, its atoms in the order in which they were given; magnetic moments as
        the site property ``magmom`` where they are known. None if there is none.
    energy, initial_energy : float, optional
        Of the last and of the first ionic step, eV.
    max_force : float, optional
        Largest force on an atom that may move, in the last step, eV/Å.
    n_steps : int
        Ionic steps, through all restarts.
    n_restarts : int
        Restarts by custodian.
    n_continuations : int
        Jobs that went on where the walltime had stopped the one before.
    corrections : list of str
        Its handlers that acted, in order.
    frames : FramesRef, optional
        The ionic steps that were taken; None without any.
    n_frames : int
        How many.
    n_unconverged_steps : int
        Ionic steps left out because their electrons did not converge.
    n_absurd_steps : int
        Ionic steps left out because of absurd energies or forces.
    label : FrameLabel, optional
        Where the numbers come from.
    dir_name : str
        Folder of the run.
    task : dict, optional
        What atomate2 would have stored, without ionic steps.
    versions : dict of str to str
        Versions of packages.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: str = "dft_run"
    parent: str = ""
    stage: str = ""
    status: RunStatus
    reason: str = ""
    structure: Structure | None = None
    energy: float | None = None
    initial_energy: float | None = None
    max_force: float | None = None
    n_steps: int = 0
    n_restarts: int = 0
    n_continuations: int = 0
    corrections: list[str] = Field(default_factory=list)
    frames: FramesRef | None = None
    n_frames: int = 0
    n_unconverged_steps: int = 0
    n_absurd_steps: int = 0
    label: FrameLabel | None = None
    dir_name: str = ""
    task: dict[str, Any] | None = None
    versions: dict[str, str] = Field(default_factory=dict)


def resolve_structure(
    jobstore: JobStore, structure: Structure | StoredStructure, region_only: bool = False
) -> tuple[Structure, str]:
    """Return a structure and its name, wherever it is.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    structure : Structure or StoredStructure
        The structure, or where it is. One in the store is given the site property
        ``selective_dynamics`` if only its region is to move, and ``magmom`` if it has moments.
    region_only : bool
        Whether only its region is to move.

    Raises
    ------
    DismaiError
        If its chunk is missing or damaged, or only a region is to move that it does not name.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    if isinstance(structure, dict):
        structure = StoredStructure.model_validate(structure)
    if isinstance(structure, Structure):
        if region_only and "selective_dynamics" not in structure.site_properties:
            raise DismaiError(
                "the first stage frees the interface region only: mark its atoms by the site "
                "property 'selective_dynamics', or give a StoredStructure that names them"
            )
        return structure, str(structure.properties.get("parent", structure.reduced_formula))
    chunk = get_chunk(jobstore, structure.blob)
    atoms = chunk.atoms(structure.place)
    atoms.info.clear()
    found = AseAtomsAdaptor.get_structure(atoms)
    if region_only:
        if structure.free is None:
            raise DismaiError(f"{structure.parent}: no atoms are named that stage 1 is to free")
        mask = np.zeros((len(found), 3), dtype=bool)
        mask[list(structure.free)] = True
        found.add_site_property("selective_dynamics", mask.tolist())
    if structure.moments is not None:
        found.add_site_property("magmom", list(structure.moments))
    return found, structure.parent
