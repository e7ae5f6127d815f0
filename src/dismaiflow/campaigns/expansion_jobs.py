"""Jobs that make cells for a cluster expansion, relax them, and collect their energies."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker, Response

from dismaiflow.alloy.fit_features import FeatureSpace, SpinTerms
from dismaiflow.alloy.fit_jobs import TABLE_KIND
from dismaiflow.alloy.fit_schemas import ExpansionDataDoc
from dismaiflow.alloy.fit_table import ExpansionTable
from dismaiflow.alloy.lattice_cell import OffLatticeError, check_on_lattice
from dismaiflow.alloy.training_cells import (
    PATTERNS,
    Pattern,
    TrainingCells,
    formation_energies,
    training_cells,
)
from dismaiflow.campaigns.dft_runs import JOB_FAILED, RelaxationMaker, relax_each
from dismaiflow.campaigns.expansion_schemas import CellRun, CellRunsDoc, TrainingCellsDoc
from dismaiflow.dft.schemas import RunDoc, StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job, ended_by
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.structures.frames import FrameLabel
    from dismaiflow.systems import SystemSpec

#: Kind under which training cells are stored.
CELLS_KIND = "training_cells"

#: Jobs of a dispatcher, at most: each takes some kB of the launch that sends them.
CELLS_PER_DISPATCHER = 50

#: Settings that differ between cells by their nature.
_OF_THE_CELL = ("kpoints",)

#: Failed cells that a document names.
_NAMED = 100


@dataclass
class TrainingCellsMaker(Maker):
    """Make the cells to calculate.

    Parameters
    ----------
    name : str
        The job name.
    sizes : tuple of int
        Atoms of the random cells, in turn.
    patterns : tuple of str
        Patterns of initial moments, of `dismaiflow.alloy.training_cells.PATTERNS`.
    initial_moments : dict of str to float
        Sizes of initial moments that differ from the default, Bohr magnetons.
    """

    name: str = "training cells"
    sizes: Sequence[int] = (8, 12, 16, 24, 32)
    patterns: Sequence[Pattern] = PATTERNS
    initial_moments: dict[str, float] = field(default_factory=dict)

    @dismai_job(output_schema=TrainingCellsDoc)
    def make(self, spec: SystemSpec, n: int, seed: int) -> TrainingCellsDoc:
        """Make them.

        Parameters
        ----------
        spec : SystemSpec
            An alloy: its lattice, lattice parameter and species.
        n : int
            Cells.
        seed : int
            Of all that is drawn.
        """
        cells = self.cells(spec, n, seed)
        jobstore = current_jobstore()
        names = [one.name for one in cells.cells]
        structures = StructureSet.from_atoms([cells.atoms(i) for i in range(n)], names)
        return TrainingCellsDoc(
            system=spec.name,
            cells=put_blob(jobstore, cells.to_bytes(), CELLS_KIND),
            structures=put_structures(jobstore, structures, CELLS_PER_DISPATCHER),
            n_cells=n,
            n_parents=len({one.parent for one in cells.cells}),
        )

    def cells(self, spec: SystemSpec, n: int, seed: int) -> TrainingCells:
        """Return the cells themselves; a DismaiError if they cannot be made."""
        lattice = spec.alloy.lattice
        return training_cells(
            lattice.type,
            lattice.a,
            sorted(spec.composition),
            n,
            tuple(self.sizes),
            seed,
            tuple(self.patterns),
            self.initial_moments,
        )


def vasp_maker(spec: SystemSpec) -> RelaxationMaker:
    """Return the Maker that relaxes cells of an alloy with VASP."""
    from dismaiflow.dft.makers import AlloyCellRelaxMaker

    return AlloyCellRelaxMaker.from_spec(spec)


@dataclass
class RelaxCellsMaker(Maker):
    """Send cells to relaxations, one job each, and keep what a fit needs of them.

    Parameters
    ----------
    name : str
        The job name.
    relax_maker : RelaxationMaker, optional
        Its ``make(structure)`` returns a job or a flow whose output is a `RunDoc`. In a flow of
        `ClusterExpansionMaker` VASP, as the system's spec says, by default.
    """

    name: str = "relax cells"
    relax_maker: RelaxationMaker | None = None

    @dismai_job(output_schema=CellRunsDoc)
    def make(self, cells: TrainingCellsDoc, first: int) -> Response[Any]:
        """Send a chunk of them.

        Parameters
        ----------
        cells : TrainingCellsDoc
            All cells.
        first : int
            Place of the first of the chunk.

        Raises
        ------
        DismaiError
            If there is no Maker that relaxes.
        """
        if self.relax_maker is None:
            raise DismaiError("nothing relaxes the cells: give RelaxCellsMaker a relax_maker")
        document = TrainingCellsDoc.model_validate(cells)
        known = TrainingCells.from_bytes(get_blob(current_jobstore(), document.cells))
        chunk = document.structures.chunks[first // CELLS_PER_DISPATCHER]
        structures = [
            StoredStructure(
                blob=chunk, place=place, parent=one.name, moments=tuple(one.moments.tolist())
            )
            for place, one in enumerate(known.cells[first : first + CELLS_PER_DISPATCHER])
        ]
        jobs, outputs = relax_each(self.relax_maker, structures)
        last = read_cell_runs(document, first, outputs)
        last.name = f"read {self.name} {first}-{first + len(jobs) - 1}"
        return ended_by(jobs, last)


@dismai_job(output_schema=CellRunsDoc)
def read_cell_runs(cells: TrainingCellsDoc, first: int, runs: list[RunDoc | None]) -> CellRunsDoc:
    """Keep energies and moments of relaxations that went well and left their cells on the lattice.

    Parameters
    ----------
    cells : TrainingCellsDoc
        All cells.
    first : int
        Place of the cell of the first run.
    runs : list of RunDoc
        What the relaxations left; None for those whose job failed.
    """
    document = TrainingCellsDoc.model_validate(cells)
    known = TrainingCells.from_bytes(get_blob(current_jobstore(), document.cells))
    kept = [
        _judge(known, first + i, None if run is None else RunDoc.model_validate(run))
        for i, run in enumerate(runs)
    ]
    return CellRunsDoc(runs=kept)


def _judge(cells: TrainingCells, index: int, run: RunDoc | None) -> CellRun:
    """Say what a relaxation is good for."""
    if run is None:
        return CellRun(index=index, status=JOB_FAILED, reason="its job failed; see its error")
    if run.status != "converged":
        return CellRun(index=index, status=run.status, reason=run.reason)
    if run.structure is None or run.energy is None or not math.isfinite(run.energy):
        return CellRun(index=index, status="failed", reason="it left no structure or no energy")
    structure, cell = run.structure, cells.cells[index]
    symbols = [cells.species[code] for code in cell.occupation]
    if [site.specie.symbol for site in structure] != symbols:
        raise DismaiError(
            f"{cell.name}: the relaxation returned other atoms, or another order of atoms, than it "
            "was given; mend its Maker"
        )
    try:
        moved = check_on_lattice(cell.cell, structure.lattice.matrix, structure.cart_coords)
    except OffLatticeError as error:
        return CellRun(index=index, status=error.reason, reason=str(error))
    moments = structure.site_properties.get("magmom")
    if moments is not None and any(one is None for one in moments):
        moments = None
    return CellRun(
        index=index,
        status=run.status,
        energy=run.energy / cell.cell.n_sites,
        moments=None if moments is None else [float(one) for one in moments],
        displacement=moved,
        label=run.label,
    )


@dataclass
class CollectExpansionDataMaker(Maker):
    """Make the table that an expansion is fitted to.

    Parameters
    ----------
    name : str
        The job name.
    n_shells, n_spin_shells : int
        Shells of chemical and of spin pairs (paper: 7 and 3).
    spin : {"shell", "pair", "none"}
        See `FeatureSpace`.
    """

    name: str = "collect energies"
    n_shells: int = 7
    n_spin_shells: int = 3
    spin: SpinTerms = "shell"

    @dismai_job(output_schema=ExpansionDataDoc)
    def make(self, cells: TrainingCellsDoc, parts: list[CellRunsDoc | None]) -> ExpansionDataDoc:
        """Collect.

        Parameters
        ----------
        cells : TrainingCellsDoc
            All cells.
        parts : list of CellRunsDoc
            What became of them; None for chunks whose jobs failed.
        """
        document = TrainingCellsDoc.model_validate(cells)
        jobstore = current_jobstore()
        known = TrainingCells.from_bytes(get_blob(jobstore, document.cells))
        runs = {
            run.index: run
            for part in parts
            if part is not None
            for run in CellRunsDoc.model_validate(part).runs
        }
        lost = CellRun(index=-1, status=JOB_FAILED, reason="the job that sent it failed")
        judged = [runs.get(i, lost) for i in range(len(known))]
        used = [i for i, run in enumerate(judged) if run.energy is not None]
        failed = {known.cells[i].name: run for i, run in enumerate(judged) if run.energy is None}
        counts = Counter(run.status for run in failed.values())
        if not used:
            raise DismaiError(
                f"{document.system}: none of {len(known)} cells can be used: {dict(counts)}; see "
                "the jobs of the cells"
            )
        label = common_label([run.label for run in judged if run.energy is not None])
        table = self._table(known, judged, used)
        return ExpansionDataDoc(
            system=document.system,
            table=put_blob(jobstore, table.to_bytes(), TABLE_KIND),
            n_cells=len(known),
            n_used=len(used),
            failures=dict(counts),
            failed={
                name: f"{run.status}: {run.reason}" for name, run in list(failed.items())[:_NAMED]
            },
            source=label.title if label else "relaxations that do not say by what",
            rehearsal=label is not None and label.rehearsal,
        )

    def _table(
        self, known: TrainingCells, judged: list[CellRun], used: list[int]
    ) -> ExpansionTable:
        space = FeatureSpace(
            known.species, known.kind, self.n_shells, self.n_spin_shells, self.spin
        )
        rows = []
        for i in used:
            moments = judged[i].moments
            spins = None if moments is None else np.array(moments)
            rows.append(space.row(known.cells[i].cell, known.cells[i].occupation, spins))
        energies = np.array([judged[i].energy for i in used], dtype=float)
        return ExpansionTable(
            space,
            tuple(known.cells[i].name for i in used),
            tuple(known.cells[i].parent for i in used),
            np.array(rows),
            formation_energies(energies, known.fractions()[used], known.species),
        )


def common_label(labels: Sequence[FrameLabel | None]) -> FrameLabel | None:
    """Return the label of energies that may be compared.

    Parameters
    ----------
    labels : sequence of FrameLabel
        Where each energy comes from; None where it is not said.

    Returns
    -------
    FrameLabel, optional
        The first of them; None if none says anything.

    Raises
    ------
    DismaiError
        If two of them differ in engine, functional, being a rehearsal, or a setting other than
        k-points, which follow the cell. Potentials and Hubbard terms are compared by element.
    """
    given = [label for label in labels if label is not None]
    seen: dict[str, Any] = {}
    for label in given:
        for name, value in _facts(label).items():
            if seen.setdefault(name, value) != value:
                raise DismaiError(
                    f"energies of cells were calculated with different {name}: {seen[name]} and "
                    f"{value}; calculate all cells of an expansion alike"
                )
    return given[0] if given else None


def _facts(label: FrameLabel) -> dict[str, Any]:
    """Return what must agree between the energies of two cells."""
    facts: dict[str, Any] = {
        "engine": label.engine,
        "functional": label.functional.removesuffix("+U"),
        "rehearsal": label.rehearsal,
    }
    for name, value in label.settings.items():
        if name in _OF_THE_CELL:
            continue
        by_element = value.items() if isinstance(value, dict) else ()
        facts |= {f"{name} {key}": entry for key, entry in by_element}
        if not isinstance(value, dict):
            facts[name] = value
    return facts
