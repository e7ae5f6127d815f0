"""VASP relaxations as Makers: the stages of section 4.5 of the paper and of Supplementary Note 1.

They are atomate2 Makers, so that its powerups reach them; their output is a `RunDoc`, and the
frames are taken in the job that ran.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from atomate2.vasp.jobs.base import BaseVaspMaker
from jobflow import CURRENT_JOB, Flow, Maker, Response
from monty.json import MSONable
from pymatgen.core import Structure

from dismaiflow.dft.continuation import goes_on
from dismaiflow.dft.input_sets import DismaiInputGenerator, generator_for
from dismaiflow.dft.running import run_relaxation
from dismaiflow.dft.schemas import RunDoc, StoredStructure
from dismaiflow.dft.settings_table import Stage, free_cell_warning, last_stage
from dismaiflow.jobs import dismai_job

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import Job, OutputReference

    from dismaiflow.systems import SystemSpec


@dataclass
class Rehearsal(MSONable):
    """That a stand-in runs in the place of VASP, which needs no licence.

    Parameters
    ----------
    potential : str
        What it computes with: ``toy`` or ``chgnet``.
    fail : tuple of str
        Failures that it is to act out, as ``CASE`` or ``CASE@STEP``.
    """

    potential: str = "toy"
    fail: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.fail = tuple(self.fail)


@dataclass
class VaspMaker(BaseVaspMaker):
    """What all of them share.

    Parameters
    ----------
    name : str
        The job name, to which that of the structure is added.
    input_set_generator : DismaiInputGenerator
        The settings.
    rehearsal : Rehearsal, optional
        Run the stand-in for VASP.
    wall_time : int, optional
        Seconds that a run may take; VASP is asked to stop some minutes before they are over.
    max_continuations : int
        Jobs that go on, one after the other, where the walltime stopped the one before. A first
        stage is not continued; the second begins with what it has done.
    harvest_first, harvest_interval : int
        Ionic steps that become frames: this one, from 1, and every so many after it; the last
        one always does (paper, section 4.6).

    Notes
    -----
    The fields of atomate2's `BaseVaspMaker` work as they do there (``run_vasp_kwargs`` with
    handlers, validators, commands; ``write_input_set_kwargs``; ``copy_vasp_kwargs``), but for
    ``stop_children_kwargs``: a run that did not converge is recorded, and stops nothing.
    """

    name: str = "vasp"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "all")
    )
    rehearsal: Rehearsal | None = None
    wall_time: int | None = None
    max_continuations: int = 5
    harvest_first: int = 5
    harvest_interval: int = 10

    #: Which calculation it is.
    stage: ClassVar[Stage] = "all"

    @classmethod
    def from_spec(cls, spec: SystemSpec, **fields: Any) -> Self:
        """Return the Maker with the DFT settings of a system.

        Parameters
        ----------
        spec : SystemSpec
            The system; without a ``dft`` block it gets the paper's settings.
        **fields
            Further fields.

        Raises
        ------
        DismaiError
            If the system does not describe this calculation.
        """
        return cls._built(spec, generator_for(spec, cls.stage), fields)

    @classmethod
    def _built(
        cls, spec: SystemSpec, generator: DismaiInputGenerator, fields: dict[str, Any]
    ) -> Self:
        given: dict[str, Any] = {"input_set_generator": generator}
        if spec.dft is not None:
            rule = spec.dft.harvest
            given |= {"harvest_first": rule.first, "harvest_interval": rule.interval}
        return cls(**(given | fields))

    def make(
        self,
        structure: Structure | StoredStructure | RunDoc | OutputReference,
        prev_dir: str | Path | None = None,
        parent: str | None = None,
    ) -> Job:
        """Return the job.

        Parameters
        ----------
        structure : Structure, StoredStructure, RunDoc or OutputReference
            What is relaxed: atoms, atoms in the store, or what an earlier run has left, as such
            or as the output of its job. If that one failed, VASP is not run, and the job says so.
        prev_dir : path-like, optional
            Folder of an earlier run, from which a WAVECAR is taken, or what ``copy_vasp_kwargs``
            names as ``additional_vasp_files``. What this worker does not see is done without.
        parent : str, optional
            Name of the structure, which its frames bear; by default what it is called itself.
        """
        named = parent or _name_of(structure)
        job = self.run(structure, prev_dir, parent)
        job.name = " ".join(filter(None, (self.name, named)))
        return job

    @dismai_job("vasp", output_schema=RunDoc)
    def run(
        self,
        structure: Structure | StoredStructure | RunDoc,
        prev_dir: str | Path | None = None,
        parent: str | None = None,
    ) -> RunDoc | Response[Any]:
        """Relax; parameters as for `make`."""
        document = run_relaxation(self, structure, prev_dir, parent)
        if self.max_continuations < 1 or not goes_on(document, self.stage):
            return document
        again = replace(self, max_continuations=self.max_continuations - 1)
        job = again.run(document, None, parent)
        job.name = CURRENT_JOB.job.name
        return Response(replace=job)


@dataclass
class BulkRelaxMaker(VaspMaker):
    """Relax cell and atoms of a bulk crystal: 520 eV, 0.001 eV/Å (paper, section 4.5).

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "bulk relax"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "bulk")
    )
    stage: ClassVar[Stage] = "bulk"

    @classmethod
    def from_spec(cls, spec: SystemSpec, phase: str | None = None, **fields: Any) -> Self:
        """Return the Maker for a phase of an interface, whose k-points it takes."""
        fields.setdefault("name", f"bulk relax {phase or ''}".rstrip())
        return cls._built(spec, generator_for(spec, cls.stage, phase), fields)


@dataclass
class RegionRelaxMaker(VaspMaker):
    """First stage of an interface: 374.3 eV, 50 steps of the region alone (paper, section 4.5).

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "region relax"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "region")
    )
    stage: ClassVar[Stage] = "region"


@dataclass
class InterfaceRelaxMaker(VaspMaker):
    """Second stage of an interface: 450 eV, all atoms to 0.1 eV/Å (paper, section 4.5).

    For structures that a potential has relaxed already, it is all there is to do.

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "interface relax"


@dataclass
class TwoStageRelaxMaker(Maker):
    """Both stages of an interface, one after the other.

    Parameters
    ----------
    name : str
        Name of the flow.
    region_maker : RegionRelaxMaker
        The first.
    interface_maker : InterfaceRelaxMaker or FullCellRelaxMaker
        The second.
    """

    name: str = "two-stage relax"
    region_maker: RegionRelaxMaker = field(default_factory=RegionRelaxMaker)
    interface_maker: VaspMaker = field(default_factory=InterfaceRelaxMaker)

    @classmethod
    def from_spec(cls, spec: SystemSpec, **fields: Any) -> Self:
        """Return the Maker with the DFT settings of a system; fields go to both stages."""
        return cls(
            region_maker=RegionRelaxMaker.from_spec(spec, **fields),
            interface_maker=MAKERS[last_stage(spec)].from_spec(spec, **fields),
        )

    def make(
        self,
        structure: Structure | StoredStructure,
        prev_dir: str | Path | None = None,
        parent: str | None = None,
    ) -> Flow:
        """Return the flow, whose output is that of the second stage.

        Parameters
        ----------
        structure : Structure or StoredStructure
            Names the atoms of the region: by ``free``, or by the site property
            ``selective_dynamics``.
        prev_dir, parent
            See `VaspMaker.make`.
        """
        named = parent or _name_of(structure)
        first = self.region_maker.make(structure, prev_dir, named or None)
        second = self.interface_maker.make(first.output, parent=named or None)
        name = " ".join(filter(None, (self.name, named)))
        return Flow([first, second], output=second.output, name=name)


@dataclass
class FullCellRelaxMaker(VaspMaker):
    """Relax an interface with its cell: 450 eV, 0.05 eV/Å (Supplementary Note 1).

    A free cell can close its vacuum; `from_spec` warns.

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "full-cell relax"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "full-cell")
    )
    stage: ClassVar[Stage] = "full-cell"

    @classmethod
    def from_spec(cls, spec: SystemSpec, fixed_c: bool | None = None, **fields: Any) -> Self:
        """Return the Maker with the DFT settings of a system.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        fixed_c : bool, optional
            Whether the third cell vector stays as it is; by default as the system says.
        **fields
            Further fields.
        """
        warning = free_cell_warning(spec, cls.stage, fixed_c)
        if warning:
            warnings.warn(warning, stacklevel=2)
        return cls._built(spec, generator_for(spec, cls.stage, fixed_c=fixed_c), fields)


@dataclass
class AlloyCellRelaxMaker(VaspMaker):
    """Relax a spin-polarised cell of an alloy, for a cluster expansion (paper, section 4.1.1).

    Initial moments are those of the site property ``magmom``, or the table's.

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "alloy relax"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "alloy-cell")
    )
    stage: ClassVar[Stage] = "alloy-cell"


@dataclass
class StaticMaker(VaspMaker):
    """Energy and forces of a structure as it stands, with the settings of the last stage.

    Parameters
    ----------
    name, input_set_generator, rehearsal, wall_time, harvest_first, harvest_interval
        See `VaspMaker`.
    """

    name: str = "static"
    input_set_generator: DismaiInputGenerator = field(
        default_factory=partial(generator_for, None, "static")
    )
    stage: ClassVar[Stage] = "static"


#: The Maker of each calculation.
MAKERS: dict[Stage, type[VaspMaker]] = {
    "bulk": BulkRelaxMaker,
    "region": RegionRelaxMaker,
    "all": InterfaceRelaxMaker,
    "full-cell": FullCellRelaxMaker,
    "alloy-cell": AlloyCellRelaxMaker,
    "static": StaticMaker,
}


def _name_of(structure: Any) -> str:
    """Return what a structure calls itself; nothing for one that is yet to be made."""
    if isinstance(structure, StoredStructure | RunDoc):
        return structure.parent
    if isinstance(structure, Structure):
        return str(structure.properties.get("parent", structure.reduced_formula))
    return ""
