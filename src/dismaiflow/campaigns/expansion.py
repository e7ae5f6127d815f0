"""From cells to a cluster expansion fitted to their energies, and on to the Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker, OnMissing, Response

from dismaiflow.alloy.fit_jobs import FitExpansionMaker
from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.campaigns.expansion_jobs import (
    CELLS_PER_DISPATCHER,
    CollectExpansionDataMaker,
    RelaxCellsMaker,
    TrainingCellsMaker,
    vasp_maker,
)
from dismaiflow.jobs import NO_COPIES, dismai_job, replaced_by
from dismaiflow.systems.blocks import ExpansionData

if TYPE_CHECKING:
    from dismaiflow.systems import SystemSpec


@dataclass
class SampleExpansionMaker(Maker):
    """Make an alloy dataset with a fitted expansion in the place of the system's own.

    Parameters
    ----------
    name : str
        The job name.
    dataset_maker : AlloyDatasetMaker
        Makes it.
    """

    name: str = "sample fitted expansion"
    dataset_maker: AlloyDatasetMaker = field(default_factory=AlloyDatasetMaker)

    @dismai_job()
    def make(
        self,
        spec: SystemSpec,
        expansion: dict[str, Any],
        seed: int = 0,
        n_structures: int | None = None,
    ) -> Response[Any]:
        """Send the Monte Carlo jobs; the output has ``dataset``, a `DatasetDoc`.

        Parameters
        ----------
        spec : SystemSpec
            The alloy.
        expansion : dict
            ``expansion`` of a `FittedExpansionDoc`; its spin terms take no part (paper, Fig. S21).
        seed, n_structures
            See `AlloyDatasetMaker.make`.
        """
        flow = self.dataset_maker.make([with_expansion(spec, expansion)], seed, n_structures)
        return replaced_by([flow], {"dataset": flow.output[spec.name]}, f"end of {self.name}")


def with_expansion(spec: SystemSpec, expansion: dict[str, Any]) -> SystemSpec:
    """Return an alloy with another cluster expansion.

    Parameters
    ----------
    spec : SystemSpec
        The alloy.
    expansion : dict
        In the layout of ``fe_ni_cr_eci.json``; further keys are left out.
    """
    terms = {key: expansion[key] for key in ("constant", "monomer", "pair")}
    data = ExpansionData(**terms, source=expansion.get("source", ""))
    return spec.model_copy(update={"cluster_expansion": data})


@dataclass
class ClusterExpansionMaker(Maker):
    """Cells, their relaxation, the fit, and, if wished, a dataset sampled with it.

    Parameters
    ----------
    name : str
        The flow name.
    cells_maker : TrainingCellsMaker
        Makes the cells.
    relax_cells_maker : RelaxCellsMaker
        Relaxes them; its ``relax_maker`` says with what.
    collect_maker : CollectExpansionDataMaker
        Makes the table of formation energies.
    fit_maker : FitExpansionMaker
        Fits.
    sample_maker : SampleExpansionMaker, optional
        Samples a dataset with what was fitted.
    """

    name: str = "cluster expansion"
    cells_maker: TrainingCellsMaker = field(default_factory=TrainingCellsMaker)
    relax_cells_maker: RelaxCellsMaker = field(default_factory=RelaxCellsMaker)
    collect_maker: CollectExpansionDataMaker = field(default_factory=CollectExpansionDataMaker)
    fit_maker: FitExpansionMaker = field(default_factory=FitExpansionMaker)
    sample_maker: SampleExpansionMaker | None = None

    def make(
        self, spec: SystemSpec, n: int = 300, seed: int = 0, n_structures: int | None = None
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            An alloy: its lattice and species.
        n : int
            Cells to calculate.
        seed : int
            Of the cells and of the Monte Carlo.
        n_structures : int, optional
            Structures of the dataset; the spec's by default.

        Returns
        -------
        Flow
            Its output has ``data`` (`ExpansionDataDoc`), ``fit`` (`FittedExpansionDoc`) and, if
            one is sampled, ``dataset`` (`DatasetDoc`).

        Raises
        ------
        DismaiError
            If the system is no alloy, or the cells cannot be made.
        """
        whole = spec.self_contained()
        self.cells_maker.cells(whole, n, seed)  # what is wrong is said before anything is sent
        cells = self.cells_maker.make(whole, n, seed)
        relax = self.relax_cells_maker
        if relax.relax_maker is None:
            # Here already, so that powerups on the flow reach VASP.
            relax = replace(relax, relax_maker=vasp_maker(whole))
        parts = []
        for first in range(0, n, CELLS_PER_DISPATCHER):
            part = relax.make(cells.output, first)
            part.name = f"{relax.name} {first}"
            parts.append(part)
        collect = self.collect_maker.make(cells.output, [part.output for part in parts])
        collect.config.on_missing_references = OnMissing.NONE
        collect.config.manager_config |= NO_COPIES
        fit = self.fit_maker.make(collect.output)
        jobs = [cells, *parts, collect, fit]
        outputs = {"data": collect.output, "fit": fit.output}
        if self.sample_maker is not None:
            sample = self.sample_maker.make(whole, fit.output.expansion, seed, n_structures)
            jobs.append(sample)
            outputs["dataset"] = sample.output["dataset"]
        for job in jobs:
            job.update_metadata({"system": spec.name, "model": "none"})
        return Flow(jobs, output=outputs, name=self.name)
