"""Documents of calculations for a cluster expansion."""

from __future__ import annotations

from pydantic import BaseModel, Field

from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions
from dismaiflow.structures.frames import FrameLabel


class TrainingCellsDoc(BaseModel):
    """Cells to calculate; the cells are in the ``data`` store.

    Parameters
    ----------
    system : str
        Name of the system.
    cells : str
        Blob of a `dismaiflow.alloy.training_cells.TrainingCells`.
    structures : StructuresRef
        The same as structures, in the same order.
    n_cells, n_parents : int
        Cells, and configurations that differ by more than their moments.
    """

    kind: str = "training_cells"
    system: str
    cells: str
    structures: StructuresRef
    n_cells: int
    n_parents: int
    versions: dict[str, str] = Field(default_factory=package_versions)


class CellRun(BaseModel):
    """What a relaxation of a cell is good for.

    Parameters
    ----------
    index : int
        Place of the cell.
    status : str
        Of the run; or ``job_failed``, ``left_site``, ``cell_distorted``.
    reason : str
        Why it is not used, in one line.
    energy : float, optional
        eV/atom; None for one that is not used.
    moments : list of float, optional
        Magnetic moments in the order of the sites, Bohr magnetons; None if not known.
    displacement : float, optional
        How far an atom moved at most from its ideal place, Å.
    label : FrameLabel, optional
        Where the energy comes from.
    """

    index: int
    status: str
    reason: str = ""
    energy: float | None = None
    moments: list[float] | None = None
    displacement: float | None = None
    label: FrameLabel | None = None


class CellRunsDoc(BaseModel):
    """What became of a chunk of cells.

    Parameters
    ----------
    runs : list of CellRun
        One for each cell.
    """

    kind: str = "cell_runs"
    runs: list[CellRun]
