"""Jobs that evaluate the regions of interfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Flow, Maker
from pydantic import BaseModel

from dismaiflow.benchmark.feature_jobs import analyse_each, analyse_in_processes, store_features
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.region_analysis import RegionAnalyser, RegionPlan
from dismaiflow.benchmark.region_energies import ENERGY, INTERFACE_ENERGY
from dismaiflow.benchmark.region_evaluation import LOST, evaluate_regions
from dismaiflow.benchmark.region_schemas import TRAINING, RegionEvaluationDoc, SetQuestion
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_flows import relaxation_request
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_system
from dismaiflow.jobs import dismai_job
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.jobs import RelaxSetMaker, expected_like
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.store.blobs import current_jobstore, get_blob
from dismaiflow.store.structures import StructuresRef, read_chunks
from dismaiflow.structures.checks import Expectation, check_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.benchmark.feature_jobs import AnalysisTask

#: The only status with which an energy counts.
_CONVERGED = "converged"


class RegionFeaturesDoc(BaseModel):
    """Features of the regions of a set, in the store.

    Parameters
    ----------
    input_hash : str
        Content hash of the set.
    n_structures : int
        Structures that were given.
    blobs : list of str
        Of `StructureFeatures`.
    potential : PotentialCard, optional
        What computed the energies.
    """

    kind: str = "region_features"
    system: str
    input_hash: str
    n_structures: int
    blobs: list[str]
    potential: PotentialCard | None = None


@dataclass
class AnalyseRegionsMaker(Maker):
    """Find and analyse the regions of a set, on all cores that may be used.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "analyse regions"

    @dismai_job(output_schema=RegionFeaturesDoc)
    def make(
        self,
        spec: SystemSpec,
        structures: StructuresRef,
        like: StructuresRef,
        energies: RelaxedDoc | None = None,
    ) -> RegionFeaturesDoc:
        """Analyse.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        structures : StructuresRef
            The set.
        like : StructuresRef
            To whose first structure all must be alike in composition and cell.
        energies : RelaxedDoc, optional
            Their energies by a potential; structures without one are bad.
        """
        jobstore = current_jobstore()
        found = structures if energies is None else energies.structures
        # Labels of a set tell its places; those of a training set are places in another.
        is_own = energies is not None or structures.content_hash != like.content_hash
        whole, places, lost = read_chunks(jobstore, found.chunks, labelled=is_own)
        kept, bad = check_structures(
            whole, places, Expectation.from_plain(expected_like(jobstore, like))
        )
        features = analyse_in_processes(
            _analyse_task, spec.to_yaml(), whole.select(kept), places[kept], "analysing regions"
        )
        bad += [BadFrame(-1, LOST, message) for message in lost]
        bad += _without_energy(jobstore, energies)
        rows = kept[np.isin(places[kept], features.indices)]
        features = _labelled(features, whole.labels, whole.n_atoms, rows)
        features.bad.extend(bad)
        return RegionFeaturesDoc(
            system=spec.name,
            input_hash=structures.content_hash,
            n_structures=structures.n_structures,
            blobs=[piece.counts for piece in store_features(jobstore, features)],
            potential=energies.potential if energies else None,
        )


@dataclass
class CompareRegionsMaker(Maker):
    """Compare the analysed regions of sets with those of the training set.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "compare regions"

    @dismai_job(output_schema=RegionEvaluationDoc)
    def make(
        self,
        spec: SystemSpec,
        analysed: dict[str, RegionFeaturesDoc],
        asked: dict[str, SetQuestion],
    ) -> RegionEvaluationDoc:
        """Compare.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        analysed : dict of str to RegionFeaturesDoc
            By set, the training set among them.
        asked : dict of str to SetQuestion
            What is asked of each set.

        Raises
        ------
        DismaiError
            If no training structure can be analysed, or energies are needed and not known.
        """
        jobstore = current_jobstore()
        read = {
            name: StructureFeatures.concatenate(
                [StructureFeatures.from_bytes(get_blob(jobstore, blob)) for blob in one.blobs]
            )
            for name, one in analysed.items()
        }
        return evaluate_regions(
            spec,
            read,
            {name: SetQuestion.model_validate(one) for name, one in asked.items()},
            {name: (one.input_hash, one.n_structures) for name, one in analysed.items()},
            analysed[TRAINING].potential,
        )


@dataclass
class RegionEvaluationMaker(Maker):
    """Compare the regions of sets of interfaces with those of training structures (section 2.5).

    Parameters
    ----------
    name : str
        The flow name.
    energy_maker : RelaxSetMaker
        Computes energies, if a potential is given.
    analyse_maker : AnalyseRegionsMaker
        Analyses a set.
    compare_maker : CompareRegionsMaker
        Compares them.
    """

    name: str = "evaluate regions"
    energy_maker: RelaxSetMaker = field(default_factory=RelaxSetMaker)
    analyse_maker: AnalyseRegionsMaker = field(default_factory=AnalyseRegionsMaker)
    compare_maker: CompareRegionsMaker = field(default_factory=CompareRegionsMaker)

    def make(
        self,
        spec: SystemSpec,
        training: StructuresRef,
        sets: dict[str, StructuresRef],
        asked: dict[str, SetQuestion] | None = None,
        potential: PotentialRef | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        training : StructuresRef
            Training structures; all are looked at.
        sets : dict of str to StructuresRef
            Other sets by name, such as ``low`` (generated) and ``high`` (random).
        asked : dict of str to SetQuestion, optional
            Names and choices; by default all structures of each set are looked at. Energies are
            labels of the structures: ``interface_energy`` (J/m^2) or ``energy`` (eV).
        potential : PotentialRef, optional
            Computes the energies of all sets where the structures lie.

        Returns
        -------
        Flow
            Its output is a `RegionEvaluationDoc`.

        Raises
        ------
        DismaiError
            If the system is no interface with cations in its region, or a set is called training.
        """
        RegionPlan.from_spec(spec)
        if TRAINING in sets:
            raise DismaiError(f"a set cannot be called {TRAINING!r}: that is what it stands beside")
        spec = spec.self_contained()
        jobs, analysed = [], {}
        for name, structures in {TRAINING: training, **sets}.items():
            energies = None
            if potential is not None:
                request = relaxation_request(spec, ScoringProtocol.for_kind(spec.kind), move=False)
                job = self.energy_maker.make(
                    spec.name, structures, potential, request.plain(), training, label=name
                )
                job.name = f"energies {name}"
                energies = job.output
                jobs.append(job)
            job = self.analyse_maker.make(spec, structures, training, energies)
            job.name = f"{self.analyse_maker.name} {name}"
            analysed[name] = job.output
            jobs.append(job)
        questions = {name: SetQuestion(name=name) for name in analysed} | (asked or {})
        last = self.compare_maker.make(spec, analysed, questions)
        flow = Flow([*jobs, last], output=last.output, name=f"{self.name} {spec.name}")
        flow.update_metadata({"system": spec.name}, dynamic=True)
        return flow


def _without_energy(jobstore: Any, energies: RelaxedDoc | None) -> list[BadFrame]:
    """Return the structures that a potential could not compute."""
    if energies is None:
        return []
    table = RelaxationTable.from_bytes(get_blob(jobstore, energies.table))
    rows = zip(table.numbers["index"].tolist(), table.statuses, table.details, strict=True)
    return [BadFrame(i, status, text) for i, status, text in rows if status != _CONVERGED]


def _labelled(
    features: StructureFeatures, labels: Mapping[str, Any], n_atoms: Any, rows: Any
) -> StructureFeatures:
    """Add what is known of the energies of structures to their features."""
    nothing = np.full(len(n_atoms), np.nan)
    known = {name: np.asarray(labels.get(name, nothing)) for name in (INTERFACE_ENERGY, ENERGY)}
    more = {name: values[rows].astype(float) for name, values in known.items()}
    arrays = {**features.arrays, **more, "n_atoms": n_atoms[rows].astype(float)}
    return StructureFeatures(features.indices, arrays if len(features) else {}, features.bad)


def _analyse_task(task: AnalysisTask) -> bytes:
    """Analyse some structures in a process."""
    given, data, indices = task
    return analyse_each(_analyser(given).analyse, data, indices)


@lru_cache(maxsize=4)
def _analyser(yaml: str) -> RegionAnalyser:
    """Build an analyser once in a process."""
    spec = SystemSpec.from_yaml(yaml)
    return RegionAnalyser(RegionPlan.from_spec(spec), built_system(spec).host)
