"""Jobs that evaluate the regions of interfaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Flow, Maker
from pydantic import BaseModel

from dismaiflow.benchmark.feature_jobs import analyse_each, analyse_in_processes, store_features
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.region_analysis import RegionAnalyser, RegionPlan
from dismaiflow.benchmark.region_energies import (
    ENERGY,
    INTERFACE_ENERGY,
    choose,
    energy_cut,
    energy_distribution,
    rate_sets,
)
from dismaiflow.benchmark.region_evaluation import (
    compare_curves,
    compare_fingerprints,
    compare_motifs,
    count_atoms,
    count_bonds,
)
from dismaiflow.benchmark.region_schemas import TRAINING, Choice, RegionEvaluationDoc, RegionSet
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_flows import relaxation_request
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_system
from dismaiflow.jobs import dismai_job
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
    from dismaiflow.potentials.base import PotentialCard

#: The only status with which an energy counts.
_CONVERGED = "converged"

#: Where a chunk of structures is gone.
_LOST = "lost"


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
    potential: Any = None


class SetQuestion(BaseModel):
    """What is asked of a set.

    Parameters
    ----------
    name : str
        What the user calls it.
    choice : {"low", "high", "all"}
        Which of its structures are looked at.
    unreadable : dict of str to int
        Frames of its source that could not be read, by reason.
    """

    name: str
    choice: Choice = "all"
    unreadable: dict[str, int] = {}


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
        bad += [BadFrame(-1, _LOST, message) for message in lost]
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


def evaluate_regions(
    spec: SystemSpec,
    read: Mapping[str, StructureFeatures],
    asked: Mapping[str, SetQuestion],
    sources: Mapping[str, tuple[str, int]],
    card: PotentialCard | None = None,
) -> RegionEvaluationDoc:
    """Choose structures by their energy and compare their regions.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    read : dict of str to StructureFeatures
        Features of each set, the training set among them; energies as `rate_sets` wants them.
    asked : dict of str to SetQuestion
        What is asked of each set.
    sources : dict of str to (str, int)
        Content hash and number of structures of each set.
    card : PotentialCard, optional
        What computed the energies.

    Raises
    ------
    DismaiError
        If no training structure can be analysed, or energies are needed and not known.
    """
    plan = RegionPlan.from_spec(spec)
    training = read[TRAINING]
    if len(training) == 0:
        first = (
            f": structure {training.bad[0].index}: {training.bad[0].detail}" if training.bad else ""
        )
        raise DismaiError(f"no training structure has a region that can be evaluated{first}")
    cut = energy_cut(spec)
    rated = rate_sets(spec, read, card)
    chosen = {
        name: features.select(choose(rated, name, features, asked[name].choice, cut))
        for name, features in read.items()
    }
    energies = energy_distribution(rated, cut)
    missing = {} if energies else {"energies": "no energies are known: give --potential P"}
    for name, features in chosen.items():
        if len(features) == 0:
            missing[name] = "no structure of this set is left"
    return RegionEvaluationDoc(
        system=spec.name,
        centres=list(plan.centres),
        anions=list(plan.anions),
        sets={
            name: _summary(plan, asked[name], sources[name], read[name], features)
            for name, features in chosen.items()
        },
        fingerprints=compare_fingerprints(plan, chosen),
        motifs=compare_motifs(plan, chosen),
        bonds=count_bonds(plan, chosen),
        curves=compare_curves(plan, chosen),
        energies=energies,
        potential=card,
        missing=missing,
    )


def _summary(
    plan: RegionPlan,
    asked: SetQuestion,
    source: tuple[str, int],
    read: StructureFeatures,
    chosen: StructureFeatures,
) -> RegionSet:
    """Say what became of the structures of a set."""
    content, n = source
    failures = Counter(bad.reason for bad in read.bad) + Counter(asked.unreadable)
    # One message stands for all structures of a chunk.
    gone = n - len(read) - sum(bad.reason != _LOST for bad in read.bad)
    if gone > 0:
        failures[_LOST] = gone
    first = f"structure {read.bad[0].index}: {read.bad[0].detail}" if read.bad else ""
    return RegionSet(
        name=asked.name,
        content_hash=content,
        choice=asked.choice,
        n_structures=n + sum(asked.unreadable.values()),
        n_evaluated=len(chosen),
        n_other_energy=len(read) - len(chosen),
        failures=dict(failures),
        example=first,
        atoms=count_atoms(plan, chosen),
        lost=float(chosen.arrays["lost"].mean()) if len(chosen) else None,
    )


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
