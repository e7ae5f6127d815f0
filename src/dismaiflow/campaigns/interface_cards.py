"""The dataset that a search for low-energy interfaces leaves, and what its card says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.campaigns.dft_check import check_of_potential
from dismaiflow.campaigns.lowest import example_of
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.energy import interface_area
from dismaiflow.interfaces.families import divide
from dismaiflow.interfaces.generator import DECIMALS
from dismaiflow.interfaces.jobs import random_protocol
from dismaiflow.interfaces.ledger import LOST
from dismaiflow.interfaces.rating import DUPLICATE, HIGH, LOW, lowest_rows
from dismaiflow.interfaces.statistics import geometry_facts, set_facts
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import DatasetCard, package_versions
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet
from dismaiflow.systems.blocks import EnergyFilter

if TYPE_CHECKING:
    from jobflow import JobStore
    from numpy.typing import NDArray

    from dismaiflow.campaigns.schemas import DFTSummary
    from dismaiflow.interfaces.ledger import SearchLedger
    from dismaiflow.interfaces.search import Decision, SearchSettings
    from dismaiflow.interfaces.system import InterfaceSystem
    from dismaiflow.potentials.base import PotentialCard
    from dismaiflow.potentials.treatment import RelaxationRequest
    from dismaiflow.systems import SystemSpec

#: Packages whose versions can change the structures.
_VERSIONED = ("dismaiflow", "numpy", "numba", "scipy", "ase", "pymatgen", "jobflow")

#: Structures of lowest energy that the card carries, to be looked at.
N_LOWEST = 3

#: Bins of the distribution of energies, at most.
_BINS = 60

#: Verdicts on structures that no part of the dataset holds, yet are no failures.
_RATED = (LOW, HIGH, DUPLICATE)

#: Columns of the ledger that tell where a structure of a search by mutation comes from.
_DESCENT = ("parent", "root", "second_root", "operator")

#: Columns of the ledger on what DFT did; the label ``energy`` is then that of DFT.
_BY_DFT = ("potential_energy", "first_energy", "n_dft_steps")

#: Share of failed structures above which the card warns.
_MANY = 0.2


@dataclass(frozen=True, eq=False)
class SearchResult:
    """All that is known when a search ends.

    Parameters
    ----------
    spec : SystemSpec
        The interface, self-contained.
    system : InterfaceSystem
        The same, built.
    settings : SearchSettings
        What was asked for.
    potential : PotentialCard
        What relaxed.
    request : RelaxationRequest
        How.
    protocol : str
        ``corrected`` or ``published``.
    ledger : SearchLedger
        What was tried.
    structures : StructureSet
        What relaxed, with the label ``index``.
    decision : Decision
        How the search ended.
    rounds : list of dict
        ``tried`` and ``low`` after each round.
    failed_jobs : int
        Jobs that did not finish.
    n_duplicates : int
        Structures that were left out because they are the same as others.
    dft : DFTSummary, optional
        What DFT did after the potential.
    """

    spec: SystemSpec
    system: InterfaceSystem
    settings: SearchSettings
    potential: PotentialCard
    request: RelaxationRequest
    protocol: str
    ledger: SearchLedger
    structures: StructureSet
    decision: Decision
    rounds: list[dict[str, int]]
    failed_jobs: int
    n_duplicates: int
    dft: DFTSummary | None = None

    @property
    def n_atoms(self) -> int:
        """Atoms of a structure."""
        return sum(self.spec.composition.values())

    @property
    def filter(self) -> EnergyFilter:
        """What counts as low energy."""
        return self.spec.dataset.energy_filter or EnergyFilter()


def interface_dataset(
    jobstore: JobStore, result: SearchResult, ledger: str, chunk_size: int
) -> DatasetDoc:
    """Store the sets of a dataset and write its card.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    result : SearchResult
        What the search found.
    ledger : str
        Blob of its ledger, which is kept as long as the training set is.
    chunk_size : int
        Structures of a stored chunk.

    Raises
    ------
    DismaiError
        If fewer than two structures have low energy; the reasons are counted.
    """
    sets = _sets(result)
    references = {
        name: put_structures(
            jobstore, part, chunk_size, attached=[ledger] if name == "train" else ()
        )
        for name, part in sets.items()
    }
    return DatasetDoc(system=result.spec.name, card=_card(result, sets), sets=references)


def reasons_in_words(counts: dict[str, int]) -> str:
    """Return counted verdicts as a line."""
    return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())


def _sets(result: SearchResult) -> dict[str, StructureSet]:
    rating, settings = result.decision.rating, result.settings
    low = rating.rows(LOW)[: settings.n_structures]
    if len(low) < 2:
        counts = dict(Counter(rating.verdicts).most_common())
        first = _first_reason(result)
        raise DismaiError(
            f"{result.spec.name}: the search with {result.potential.name} ended by "
            f"{result.decision.stopped_by} with {len(low)} structures of low energy, too few for a "
            f"dataset; of {len(result.ledger)} tried: {reasons_in_words(counts)}{first}; "
            f"{_mend(counts)}"
        )
    train, val = divide(result.ledger, low, result.spec.dataset.split(len(low)), settings)
    high = rating.rows(HIGH)
    chosen = {"train": train, "val": val, "high": high[: settings.n_high or len(high)]}
    return {name: _structures(result, rows) for name, rows in chosen.items() if len(rows)}


def _mend(counts: dict[str, int]) -> str:
    """Say what would help a search that found too little."""
    if counts.get(LOW, 0) + counts.get(HIGH, 0) > sum(counts.values()) / 2:
        return "raise the budget, or key 'dataset.energy_filter.window'"
    return "is the potential made for this system, and the region not too dense?"


def _first_reason(result: SearchResult) -> str:
    """Quote the first structure of the most frequent failure."""
    failures = [s for s in result.ledger.counts() if s in _failures(result)]
    return f" ({result.ledger.example(failures[0])})" if failures else ""


def _failures(result: SearchResult) -> dict[str, int]:
    counts = Counter(result.decision.rating.verdicts).most_common()
    return {name: n for name, n in counts if name not in _RATED}


def _structures(result: SearchResult, rows: NDArray[np.int64]) -> StructureSet:
    """Return the structures of some rows, with their interface energy and thickness as labels."""
    places = np.searchsorted(result.structures.labels[INDEX_LABEL], rows)
    chosen = result.structures.select(places)
    # As a file has them, so that the set in the store is the one in the folder.
    chosen = replace(chosen, positions=np.round(chosen.positions, DECIMALS) + 0.0)
    more = {
        "interface_energy": result.decision.rating.energies[rows],
        "relaxed_thickness": result.ledger.columns["relaxed_thickness"][rows],
    }
    if result.dft is not None:
        more |= {name: result.ledger.columns[name][rows] for name in _BY_DFT}
    if result.settings.method == "mutation":
        more |= {name: result.ledger.columns[name][rows] for name in _DESCENT}
    return chosen.with_labels(chosen.labels | more)


def _card(result: SearchResult, sets: dict[str, StructureSet]) -> DatasetCard:
    spec, settings = result.spec, result.settings
    draw = {"sampling": settings.sampling, "exchanges": None}
    limits = result.decision
    reference = limits.history[-1]
    by_dft = " with the potential, then by DFT," if result.dft is not None else ""
    return DatasetCard(
        system=spec.name,
        kind=spec.kind,
        composition=spec.composition,
        cell=result.system.host.cell.tolist(),
        counts={name: len(part) for name, part in sets.items()},
        content_hashes={name: part.content_hash for name, part in sets.items()},
        protocol={
            **random_protocol(spec, draw, result.protocol),
            "stage": f"random structures, relaxed{by_dft} and filtered by interface energy",
            "search": {k: v for k, v in settings.as_dict().items() if k != "seed"},
            "relaxation": {
                "potential": result.potential.model_dump(mode="json"),
                "settings": result.request.settings.as_dict(),
                "push": result.request.push,
            },
            **(
                {"dft": result.dft.model_dump(mode="json", exclude={"frames"})}
                if result.dft
                else {}
            ),
            "filter": {
                **result.filter.model_dump(),
                "reference_energy": reference.value,
            },
        },
        seeds={"seed": settings.seed},
        versions=package_versions(_VERSIONED) | result.potential.versions,
        statistics=_statistics(result, sets),
        warnings=_warnings(result, sets),
    )


def _dft_protocol(result: SearchResult) -> dict[str, Any]:
    """Say what DFT did after the potential, if it did."""
    if result.dft is None:
        return {}
    return {"dft": result.dft.model_dump(mode="json", exclude={"frames"})}


def _statistics(result: SearchResult, sets: dict[str, StructureSet]) -> dict[str, Any]:
    rating, ledger = result.decision.rating, result.ledger
    low, high = rating.rows(LOW), rating.rows(HIGH)
    ended = dict(Counter(rating.verdicts).most_common())
    reference = result.decision.history[-1]
    stands_at = result.filter.max_interface_energy - result.filter.window
    rule = (
        "the system's spec, for the published potential"
        if reference.fixed
        else f"the lowest structure stands at {stands_at:g} J/m²"
    )
    kept = StructureSet.concatenate([sets["train"], sets["val"]])
    return {
        **geometry_facts(result.system),
        "search": {
            "method": result.settings.method,
            "n_tried": len(ledger),
            "n_force_calls": ledger.n_force_calls,
            "stopped_by": result.decision.stopped_by,
            "ended": ended,
            "n_surplus": len(low) - len(kept),
            "yield_percent": 100 * len(low) / len(ledger),
            "rounds": result.rounds,
            "failed_jobs": result.failed_jobs,
        },
        "reference_energy": {
            "value": reference.value,
            "rule": rule,
            "history": [{"after": e.after, "value": e.value} for e in result.decision.history],
        },
        "interface_energy": _energies(result, low, high),
        "relaxation": _relaxations(result, np.concatenate([low, high])),
        **({"dft_check": check_of_potential(ledger, rating, result.n_atoms)} if result.dft else {}),
        "duplicates": {"dropped": result.n_duplicates},
        "thickness": {
            "random": _range(ledger.columns["thickness"][low]),
            "relaxed": _range(ledger.columns["relaxed_thickness"][low]),
        },
        "drawn": set_facts(kept),
        "lowest": [
            example_of(result.structures, int(ledger.columns["index"][row]))
            | {"interface_energy": float(rating.energies[row])}
            for row in lowest_rows(rating, N_LOWEST).tolist()
        ],
    }


def _range(values: NDArray[np.float64]) -> dict[str, float] | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return {"min": float(finite.min()), "mean": float(finite.mean()), "max": float(finite.max())}


def _energies(
    result: SearchResult, low: NDArray[np.int64], high: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the distribution of normalised interface energies (Fig. S4)."""
    energies = result.decision.rating.energies
    cut = result.filter.max_interface_energy
    edges = _edges(energies[np.isfinite(energies)], cut)
    return {
        "unit": "J/m²",
        "area": interface_area(result.system.host.cell),
        "cut": cut,
        "low": _summary(energies[low]),
        "high": _summary(energies[high]),
        "histogram": {
            "edges": edges.tolist(),
            "low": _counts(energies[low], edges),
            "high": _counts(energies[high], edges),
        },
    }


def _edges(energies: NDArray[np.float64], cut: float) -> NDArray[np.float64]:
    """Return bins of a round width that do not reach across the cut, some 2 n^(1/3) of them."""
    low, high = min(float(energies.min()), cut), max(float(energies.max()), cut)
    least = max(high - low, 1e-6) / min(_BINS, np.ceil(3 * len(energies) ** (1 / 3)))
    decade = 10.0 ** np.floor(np.log10(least))
    width = decade * next(step for step in (1, 2, 5, 10) if step * decade >= least * (1 - 1e-9))
    # As many whole bins on either side of the cut as hold all; a low energy may stand on the cut.
    # Rounding must not add an empty bin below the lowest, which stands on an edge as a rule.
    below, above = np.ceil(np.array([cut - low, high - cut]) / width - 1e-6)
    return np.asarray(cut + width * np.arange(-below, above + 1))


def _counts(energies: NDArray[np.float64], edges: NDArray[np.float64]) -> list[int]:
    """Count energies in bins; one on an edge belongs to the bin below, as low ones on the cut."""
    places = np.searchsorted(edges + 1e-9, energies, side="left") - 1
    places = np.clip(places, 0, len(edges) - 2)
    return np.bincount(places, minlength=len(edges) - 1).tolist()


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    return {"n": len(values), **(_range(values) or {})}


def _relaxations(result: SearchResult, rows: NDArray[np.int64]) -> dict[str, float]:
    """Return steps, force calls and energy released by the structures that were rated."""
    columns = result.ledger.columns
    # What the potential released, not what DFT did after it.
    by_potential = columns["potential_energy"][rows]
    relaxed = np.where(np.isfinite(by_potential), by_potential, columns["energy"][rows])
    drop = 1e3 * (columns["initial_energy"][rows] - relaxed) / result.n_atoms
    return {
        "steps_mean": float(columns["n_steps"][rows].mean()),
        "steps_std": float(columns["n_steps"][rows].std()),
        "force_calls_mean": float(columns["n_force_calls"][rows].mean()),
        "drop_mean": float(drop.mean()),
        "drop_std": float(drop.std()),
    }


def _warnings(result: SearchResult, sets: dict[str, StructureSet]) -> list[str]:
    """Say what is not as it should be."""
    found = []
    ledger, rating, asked = result.ledger, result.decision.rating, result.settings
    n_low = len(sets["train"]) + len(sets["val"])
    if n_low < asked.n_structures:
        found.append(
            f"{n_low} of {asked.n_structures} structures: the search ended by "
            f"{result.decision.stopped_by}"
        )
    if "high" not in sets:
        found.append("no structure lies above the cut: there is no high.extxyz")
    failed = _failures(result)
    lost = failed.get(LOST, 0)
    if lost:
        found.append(f"jobs failed: {result.failed_jobs}, with {lost} structures")
    if sum(failed.values()) - lost > _MANY * len(ledger):
        found.append(
            f"{sum(failed.values()) - lost} of {len(ledger)} structures failed "
            f"({reasons_in_words(failed)}){_first_reason(result)}"
        )
    values = [entry.value for entry in result.decision.history]
    if len(values) > 1:
        why = (
            f"a lower structure was found after the pilot set of {asked.n_pilot}"
            if values[-1] < values[0]
            else "the lowest structure of the pilot set lay in a hole of the potential"
        )
        found.append(
            f"{why}: the reference energy moved from {values[0]:.6f} to {values[-1]:.6f} eV/atom, "
            "and the filter was applied again"
        )
    own = result.spec.reference_energy
    if own is not None and not result.decision.history[-1].fixed:
        found.append(
            f"key 'reference_energy' ({own:g} eV/atom) was not used: it holds for the potential "
            "that the paper relaxed this system with; the lowest structure sets it here"
        )
    stray = int(sum(1 for one in rating.verdicts if one == "implausible_energy"))
    if stray:
        found.append(
            f"{stray} structures have energies far below all others, as holes of a potential give "
            "them; they are left out"
        )
    if result.dft is not None and any(label.rehearsal for label in result.dft.labels):
        found.append(
            "a rehearsal: a stand-in for VASP made the energies up; nothing here is a result of DFT"
        )
    if asked.method != "random":
        found.append(
            f"structures were proposed by {asked.method}: they are not independent of each other"
        )
    return found
