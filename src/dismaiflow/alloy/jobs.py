"""Jobs that sample alloys and assemble datasets from the runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker

from dismaiflow.alloy.archive import run_from_bytes, run_to_bytes
from dismaiflow.alloy.diagnostics import (
    SamplingReport,
    analyse_runs,
    sro_against_temperature,
)
from dismaiflow.alloy.replica_exchange import (
    ExchangeSettings,
    replica_exchange,
    temperature_ladder,
)
from dismaiflow.alloy.sampling import RunSamples, SamplingSettings, child_seed, sample_run
from dismaiflow.alloy.schemas import AlloyRunDoc, OrderCurveDoc
from dismaiflow.alloy.selection import Selection, Thinning, select_narrow, select_wide
from dismaiflow.alloy.system import AlloySystem
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.progress import report as report_progress
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import DatasetCard
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Kind under which the snapshots of a run are stored.
RUN_KIND = "alloy_run"

#: Children of the seed of a temperature.
_RUNS, _WIDE, _NARROW = 0, 1, 2


def temperature_seed(seed: int, temperature: float) -> np.random.SeedSequence:
    """Return the seed of everything at one temperature.

    It does not depend on which datasets are made together.
    """
    return np.random.SeedSequence([seed, round(1000 * temperature)])


@dataclass
class AlloyRunMaker(Maker):
    """Make one Monte Carlo run.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "alloy run"

    @dismai_job(output_schema=AlloyRunDoc)
    def make(self, spec: SystemSpec, settings: dict[str, Any], run: int, seed: int) -> AlloyRunDoc:
        """Sample.

        Parameters
        ----------
        spec : SystemSpec
            The alloy, with its cluster expansion inside.
        settings : dict
            Fields of `SamplingSettings`.
        run : int
            Number of the run.
        seed : int
            Seed of the whole dataset.
        """
        alloy = AlloySystem.from_spec(spec)
        chosen = SamplingSettings(**settings)
        root = child_seed(temperature_seed(seed, chosen.temperature), _RUNS)
        total = chosen.n_runs * chosen.n_passes
        task = f"Monte Carlo at {chosen.temperature:g} K"
        report_progress(task, 0, total, "passes")
        samples = sample_run(
            alloy.hamiltonian,
            alloy.composition,
            chosen,
            child_seed(root, run),
            progress=lambda done: report_progress(task, done, total, "passes"),
        )
        return _store_run(samples, run)


@dataclass
class ReplicaExchangeRunMaker(Maker):
    """Make one run with replica exchange; takes the place of `AlloyRunMaker` in a dataset flow.

    Parameters
    ----------
    name : str
        The job name.
    highest : float
        Top of the temperature ladder in K, above every ordering transition.
    n_temperatures : int
        Temperatures of the ladder, in geometric progression from that of the run.
    """

    name: str = "alloy replica exchange"
    highest: float = 1500.0
    n_temperatures: int = 12

    @dismai_job(output_schema=AlloyRunDoc)
    def make(self, spec: SystemSpec, settings: dict[str, Any], run: int, seed: int) -> AlloyRunDoc:
        """Sample; parameters as for `AlloyRunMaker.make`.

        The run at the lowest temperature of the ladder is kept.
        """
        alloy = AlloySystem.from_spec(spec)
        chosen = SamplingSettings(**settings)
        ladder = temperature_ladder(chosen.temperature, self.highest, self.n_temperatures)
        exchange = ExchangeSettings(
            ladder,
            n_passes=chosen.n_passes,
            snapshot_interval=chosen.snapshot_interval,
            exchange_interval=chosen.snapshot_interval,
            anneal_passes=chosen.anneal_passes,
            equilibration_passes=chosen.equilibration_passes,
        )
        root = child_seed(temperature_seed(seed, chosen.temperature), _RUNS)
        total = chosen.n_runs * chosen.n_passes * len(ladder)
        task = f"replica exchange down to {chosen.temperature:g} K"
        result = replica_exchange(
            alloy.hamiltonian,
            alloy.composition,
            exchange,
            child_seed(root, run),
            record=ladder[:1],
            progress=lambda done: report_progress(task, done, total, "passes"),
        )
        return _store_run(result.runs[ladder[0]], run)


@dataclass
class TemperatureScanMaker(Maker):
    """Sample the short-range order at several temperatures (paper, Fig. S21c).

    Parameters
    ----------
    name : str
        The job name.
    n_runs, n_passes : int
        Independent runs at each temperature, and their length in passes.
    """

    name: str = "alloy order against temperature"
    n_runs: int = 4
    n_passes: int = 10_000

    @dismai_job(output_schema=OrderCurveDoc)
    def make(self, spec: SystemSpec, temperatures: Sequence[float], seed: int = 0) -> OrderCurveDoc:
        """Sample.

        Parameters
        ----------
        spec : SystemSpec
            The alloy, with its cluster expansion inside.
        temperatures : sequence of float
            In K.
        seed : int
            Seed.
        """
        if not temperatures:
            raise DismaiError("name the temperatures to sample at")
        alloy = AlloySystem.from_spec(spec)
        total = len(temperatures) * self.n_runs * self.n_passes
        curve = sro_against_temperature(
            alloy.hamiltonian,
            alloy.composition,
            temperatures,
            SamplingSettings(temperatures[0], n_runs=self.n_runs, n_passes=self.n_passes),
            np.random.SeedSequence(seed),
            progress=lambda done: report_progress("temperature scan", done, total, "passes"),
        )
        return OrderCurveDoc(system=spec.name, seed=seed, **curve.as_dict())


@dataclass
class AssembleAlloyMaker(Maker):
    """Draw a dataset from runs.

    Parameters
    ----------
    name : str
        The job name.
    thinning : {"none", "independent"}
        Whether snapshots of one run are kept a correlation time apart.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "assemble alloy dataset"
    thinning: Thinning = "none"
    chunk_size: int = 50

    @dismai_job(output_schema=DatasetDoc)
    def make(
        self,
        spec: SystemSpec,
        runs: list[AlloyRunDoc | None],
        seed: int,
        n_structures: int | None = None,
    ) -> DatasetDoc:
        """Judge the runs and select.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        runs : list of AlloyRunDoc
            The runs at its temperature; those that failed are None and are reported.
        seed : int
            Seed of the whole dataset.
        n_structures : int, optional
            Structures of training and validation set together; the spec's number by default.
        """
        jobstore = current_jobstore()
        done = [AlloyRunDoc.model_validate(run) for run in runs if run is not None]
        if not done:
            raise DismaiError(f"{spec.name}: no Monte Carlo run has finished")
        samples = [run_from_bytes(get_blob(jobstore, run.samples)) for run in done]
        judged = analyse_runs(samples)
        n = n_structures or spec.dataset.n_structures
        selection = self._select(spec, samples, judged, n, seed)
        alloy = AlloySystem.from_spec(spec)
        labels = {
            "run": np.array([done[r].run for r in selection.run]),
            "snapshot": selection.snapshot,
            "formation_energy": selection.energies,
        }
        structures = alloy.structures(selection.occupations, labels)
        n_train = spec.dataset.split(n)
        # The selection is in random order already.
        sets = {
            "train": structures.select(np.arange(n_train)),
            "val": structures.select(np.arange(n_train, n)),
        }
        settings = samples[0].settings
        card = DatasetCard(
            system=spec.name,
            kind=spec.kind,
            composition=alloy.composition,
            cell=alloy.lattice.cell.tolist(),
            counts={name: len(part) for name, part in sets.items()},
            content_hashes={name: part.content_hash for name, part in sets.items()},
            protocol={
                "name": settings.protocol,
                "pass": "as many attempts to swap unlike atoms as there are sites",
                **settings.as_dict(),
                "start": samples[0].equilibration.start,
                "thinning": self.thinning,
                "runs_missing": len(runs) - len(done),
                "energy_quantum_ev": alloy.hamiltonian.quantum,
            },
            seeds={"seed": seed},
            statistics=_statistics(judged, selection, sets, samples[0].sro_labels),
            warnings=judged.warnings + selection.warnings,
        )
        return DatasetDoc(
            system=spec.name,
            card=card,
            sets={
                name: put_structures(jobstore, part, self.chunk_size) for name, part in sets.items()
            },
        )

    def _select(
        self, spec: SystemSpec, samples: list[Any], judged: SamplingReport, n: int, seed: int
    ) -> Selection:
        root = temperature_seed(seed, samples[0].settings.temperature)
        order_filter = spec.alloy.order_filter
        if order_filter is None:
            return select_wide(samples, judged, n, child_seed(root, _WIDE), self.thinning)
        if tuple(order_filter.shells) != (1, 2):
            raise DismaiError(
                f"{spec.name}: order_filter takes the shells [1, 2], got {order_filter.shells}"
            )
        return select_narrow(
            samples, judged, n, child_seed(root, _NARROW), self.thinning, order_filter.tolerance
        )


def _statistics(
    judged: SamplingReport,
    selection: Selection,
    sets: dict[str, StructureSet],
    labels: list[str],
) -> dict[str, Any]:
    """Collect what the card says of the runs and the structures."""
    n_train = len(sets["train"])
    order = selection.sro[:n_train]
    return {
        "sampling": judged.as_dict(),
        "selection": selection.as_dict()
        | {"n_val_in_blocks_of_train": _shared_blocks(selection, n_train)},
        "formation_energy_ev_per_atom": {
            "mean": float(selection.energies[:n_train].mean()),
            "std": float(selection.energies[:n_train].std()),
        },
        "warren_cowley": {
            label: {"mean": float(order[:, i].mean()), "std": float(order[:, i].std())}
            for i, label in enumerate(labels)
        },
    }


def _shared_blocks(selection: Selection, n_train: int) -> int:
    """Count the validation structures that are correlated with a training structure."""
    blocks = list(
        zip(
            selection.run.tolist(),
            (selection.snapshot // selection.block_length).tolist(),
            strict=True,
        )
    )
    known = set(blocks[:n_train])
    return sum(block in known for block in blocks[n_train:])


def _store_run(samples: RunSamples, run: int) -> AlloyRunDoc:
    """Put the snapshots of a run into the store of the running job."""
    return AlloyRunDoc(
        temperature=samples.settings.temperature,
        run=run,
        samples=put_blob(current_jobstore(), run_to_bytes(samples), RUN_KIND),
        n_snapshots=len(samples),
        acceptance=samples.acceptance,
        equilibration=asdict(samples.equilibration),
        seed=samples.seed,
    )
