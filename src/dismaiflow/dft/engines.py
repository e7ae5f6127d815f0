"""Relaxations by another engine than VASP, as Makers that fit where those of VASP do.

GPAW, CP2K or whatever has an ASE calculator, named ``module:callable``, and potentials such as
CHGNet as teachers of another potential. What they leave is what VASP leaves, under labels of their
own: energies of two engines never mix. Two of them make a relaxation in two stages::

    TwoStageRelaxMaker(
        region_maker=EngineRelaxMaker.region(potential="mine:gpaw"),
        interface_maker=EngineRelaxMaker(potential="mine:gpaw"),
    )
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jobflow import Maker
from pymatgen.core import Structure

from dismaiflow.dft.documents import earlier_run, is_dead_end, passed_on, run_document
from dismaiflow.dft.engine_run import EngineSettings, OptimizerName, relax_with_engine
from dismaiflow.dft.harvest import HarvestRule
from dismaiflow.dft.schemas import RunDoc, StoredStructure, resolve_structure
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORIES, CATEGORY_KEY, Category, dismai_job
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import PotentialRef, fetch_potential
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.structures.frames import FrameLabel

if TYPE_CHECKING:
    from jobflow import Job
    from numpy.typing import NDArray

    from dismaiflow.potentials.base import Potential, PotentialCard

#: What the weights that come with a potential were trained on.
_TAUGHT_BY = {"chgnet": "PBE and PBE+U mixed, of the Materials Project"}

_VERSIONED = ("dismaiflow", "ase", "pymatgen")


@dataclass
class EngineRelaxMaker(Maker):
    """Relax the atoms of one structure with an ASE calculator, at fixed cell.

    Parameters
    ----------
    name : str
        The job name, to which that of the structure is added.
    potential : PotentialRef or str
        What computes: a potential in the store, or a name that any worker can open (``chgnet``,
        ``module:callable`` for a function that returns an ASE calculator).
    relax : {"region", "all"}
        Which atoms move.
    fmax : float, optional
        Largest force that may be left, eV/Å; without one all ``steps`` are made.
    steps : int
        Ionic steps at most, the start included.
    optimizer : {"bfgs", "lbfgs", "fire", "cg"}
        Of ASE.
    engine, functional : str
        What the label of the frames says, in place of what is known of the potential: its name
        with a version, and ``unknown``.
    settings : dict
        Further facts for the label that decide the numbers, such as a cutoff: the code of a
        ``module:callable`` is part of the label, what it reads is not.
    harvest_first, harvest_interval : int
        Ionic steps that become frames: this one, from 1, and every so many after it; the last
        one always does (paper, section 4.6).
    category : {"vasp", "cpu", "gpu"}
        Kind of worker that runs it.
    """

    name: str = "engine relax"
    potential: PotentialRef | str = "chgnet"
    relax: Literal["region", "all"] = "all"
    fmax: float | None = 0.1
    steps: int = 500
    optimizer: OptimizerName = "bfgs"
    engine: str = ""
    functional: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    harvest_first: int = 5
    harvest_interval: int = 10
    category: Category = "vasp"

    def __post_init__(self) -> None:
        if isinstance(self.potential, dict):
            self.potential = PotentialRef.model_validate(self.potential)
        if self.category not in CATEGORIES:
            raise DismaiError(f"category {self.category!r}: take one of {', '.join(CATEGORIES)}")

    @classmethod
    def region(cls, **fields: Any) -> EngineRelaxMaker:
        """Return the first stage of an interface: 50 steps of the region (paper, section 4.5)."""
        given: dict[str, Any] = {"name": "engine region relax", "fmax": None, "steps": 50}
        return cls(**(given | fields | {"relax": "region"}))

    def make(
        self,
        structure: Structure | StoredStructure | RunDoc,
        prev_dir: str | Path | None = None,
        parent: str | None = None,
    ) -> Job:
        """Return the job, whose output is a `RunDoc`.

        Parameters
        ----------
        structure : Structure, StoredStructure or RunDoc
            What is relaxed: atoms, atoms in the store, or what an earlier run has left.
        prev_dir : path-like, optional
            Not used; there are no files to go on from.
        parent : str, optional
            Name of the structure, which its frames bear; by default what it is called itself.
        """
        named = parent or getattr(structure, "parent", "")
        job = self.run(structure, parent)
        job.name = f"{self.name} {named}" if isinstance(named, str) and named else self.name
        job.config.manager_config = {CATEGORY_KEY: self.category}
        return job

    @dismai_job("vasp", output_schema=RunDoc)
    def run(
        self, structure: Structure | StoredStructure | RunDoc, parent: str | None = None
    ) -> RunDoc:
        """Relax; parameters as for `make`.

        Raises
        ------
        DismaiError
            If the calculator cannot be had at all. What happens to a structure is recorded.
        """
        earlier = earlier_run(structure)
        if earlier is not None and is_dead_end(earlier):
            return passed_on(earlier, self.relax, parent, _VERSIONED)
        jobstore = current_jobstore()
        start: Any = structure if earlier is None else earlier.structure
        found, name = resolve_structure(jobstore, start, self.relax == "region")
        name = parent or (earlier.parent if earlier is not None else name)
        rule = HarvestRule(first=self.harvest_first, interval=self.harvest_interval)
        chosen = EngineSettings(self.fmax, self.steps, self.optimizer, rule)
        potential = self._open(found)
        calculator = potential.calculator()
        try:
            harvested = relax_with_engine(
                _atoms_of(found),
                calculator,
                chosen,
                self._label(potential.card),
                name,
                _free_atoms(found) if self.relax == "region" else None,
            )
        finally:
            close = getattr(calculator, "close", None)
            if close is not None:
                close()
        return run_document(jobstore, harvested, name, self.relax, Path.cwd(), _VERSIONED)

    def _open(self, structure: Structure) -> Potential:
        if isinstance(self.potential, str):
            elements = sorted({site.specie.symbol for site in structure})
            return open_potential(self.potential, elements)
        return fetch_potential(current_jobstore(), self.potential)

    def _label(self, card: PotentialCard) -> FrameLabel:
        version = card.versions.get(card.engine, "")
        return FrameLabel(
            engine=self.engine or " ".join(filter(None, (card.name, version))),
            functional=self.functional or _TAUGHT_BY.get(card.name, "unknown"),
            settings={"potential": card.name, "potential_hash": card.hash} | self.settings,
            rehearsal=False,
        )


def _atoms_of(structure: Structure) -> Any:
    """Return a structure for ASE, with its magnetic moments and without its constraints."""
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.set_constraint()
    atoms.info.clear()
    atoms.calc = None
    return atoms


def _free_atoms(structure: Structure) -> NDArray[np.bool_]:
    flags = np.array(structure.site_properties["selective_dynamics"], dtype=bool)
    return np.any(flags.reshape(len(structure), -1), axis=1)
