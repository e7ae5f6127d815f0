"""Flows that make alloy datasets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from jobflow import Flow, Job, Maker, OnMissing

from dismaiflow.alloy.jobs import AlloyRunMaker, AssembleAlloyMaker, ReplicaExchangeRunMaker
from dismaiflow.alloy.sampling import SamplingSettings
from dismaiflow.errors import DismaiError
from dismaiflow.structures.dataset import check_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.systems import SystemSpec


@dataclass
class AlloyDatasetMaker(Maker):
    """Make one or more alloy datasets; those of one temperature share their Monte Carlo runs.

    Parameters
    ----------
    name : str
        The flow name.
    protocol : {"corrected", "published"}
        ``corrected`` equilibrates the runs first, ``published`` starts at random and uses all.
    n_runs, n_passes, snapshot_interval : int, optional
        Sizes of the sampling; the spec's by default.
    anneal_from : float
        Temperature in K from which runs are cooled under ``corrected``; it must lie above every
        ordering transition of the alloy.
    anneal_passes : int
        Length of the anneal.
    run_maker : AlloyRunMaker or ReplicaExchangeRunMaker
        Makes one run.
    assemble_maker : AssembleAlloyMaker
        Draws a dataset from the runs.
    """

    name: str = "alloy datasets"
    protocol: Literal["corrected", "published"] = "corrected"
    n_runs: int | None = None
    n_passes: int | None = None
    snapshot_interval: int | None = None
    anneal_from: float = SamplingSettings.anneal_from
    anneal_passes: int = SamplingSettings.anneal_passes
    run_maker: AlloyRunMaker | ReplicaExchangeRunMaker = field(default_factory=AlloyRunMaker)
    assemble_maker: AssembleAlloyMaker = field(default_factory=AssembleAlloyMaker)

    def make(
        self, specs: Sequence[SystemSpec], seed: int = 0, n_structures: int | None = None
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        specs : sequence of SystemSpec
            Alloys, each once.
        seed : int
            Seed of all randomness; a dataset does not depend on which others are made with it.
        n_structures : int, optional
            Structures of each dataset; the spec's by default.

        Returns
        -------
        Flow
            Its output is a dict of `DatasetDoc` by system.

        Raises
        ------
        DismaiError
            If a system is no alloy, is named twice, or the sizes make no sense.
        """
        names = [spec.name for spec in specs]
        if not names or len(set(names)) < len(names):
            raise DismaiError("name the systems to make, each once")
        check_request(seed, n_structures)
        jobs: list[Job | Flow] = []
        shared: dict[tuple[str, ...], list[object]] = {}
        outputs = {}
        for spec in specs:
            whole = spec.self_contained()
            settings = self._settings(whole)
            n, n_snapshots = n_structures or spec.dataset.n_structures, settings.n_snapshots
            if n > settings.n_runs * n_snapshots:
                raise DismaiError(
                    f"{spec.name}: {n} structures asked for, but {settings.n_runs} runs of "
                    f"{n_snapshots} snapshots hold fewer; ask for more passes or runs"
                )
            top = getattr(self.run_maker, "highest", None)
            if top is not None and top <= settings.temperature:
                raise DismaiError(
                    f"{spec.name}: replica exchange to {top:g} K does not serve at "
                    f"{settings.temperature:g} K; use independent runs"
                )
            key = (
                str(asdict(settings)),
                str(whole.composition),
                str(whole.alloy.lattice),
                str(whole.alloy.cluster_expansion),
            )
            if key not in shared:
                runs = [
                    self.run_maker.make(whole, asdict(settings), run, seed)
                    for run in range(settings.n_runs)
                ]
                for run, run_job in enumerate(runs):
                    run_job.name = f"{self.run_maker.name} {settings.temperature:g} K {run}"
                    run_job.update_metadata(self._metadata(spec))
                    if shared:
                        run_job.name += f" ({spec.name})"
                jobs.extend(runs)
                shared[key] = [run_job.output for run_job in runs]
            assemble = self.assemble_maker.make(whole, shared[key], seed, n_structures)
            assemble.name = f"{self.assemble_maker.name} {spec.name}"
            # A run that failed is reported on the card; it does not take the others along.
            assemble.config.on_missing_references = OnMissing.NONE
            assemble.update_metadata(self._metadata(spec))
            jobs.append(assemble)
            outputs[spec.name] = assemble.output
        return Flow(jobs, output=outputs, name=self.name)

    def _metadata(self, spec: SystemSpec) -> dict[str, str]:
        """Return what jobs are found by; no model takes part in a dataset."""
        return {"system": spec.name, "model": "none", "protocol": self.protocol}

    def _settings(self, spec: SystemSpec) -> SamplingSettings:
        parts = spec.alloy
        return SamplingSettings(
            temperature=parts.temperature,
            n_runs=self.n_runs or parts.sampling.n_runs,
            n_passes=self.n_passes or parts.sampling.n_passes,
            snapshot_interval=self.snapshot_interval or parts.sampling.snapshot_interval,
            protocol=self.protocol,
            anneal_from=self.anneal_from,
            anneal_passes=self.anneal_passes,
        )
