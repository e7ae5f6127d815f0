"""The part of ``protocol_effects.py`` on interfaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from effects_sets import (
    across,
    coincident,
    distance,
    floor,
    noted,
    push_summary,
    pushed,
    rattled,
    relaxed,
    uniform,
)

from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.metrics.bootstrap import bootstrap_means, pivotal_interval
from dismaiflow.metrics.crystal_nn import ION_MOTIF_SETTINGS, NeighbourFinder, SiteNeighbours
from dismaiflow.metrics.motifs import MOTIF_NAMES, MotifAnalyser
from dismaiflow.metrics.order_parameters import LARGEST_COORDINATION, MOTIFS
from dismaiflow.metrics.voronoi import voronoi_cells
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

CATIONS = {"Li": 72, "Co": 36, "Sc": 12}
ANIONS = ("Cl", "O")
#: Entries of a fingerprint before the fractions of the anions.
N_PLAIN = LARGEST_COORDINATION + len(MOTIFS)


@dataclass
class Environments:
    """Mean fingerprints of each cation in each structure, made in several ways."""

    rows: dict[str, dict[str, list[np.ndarray]]]
    site_sums: dict[str, np.ndarray]
    codes: dict[str, list[np.ndarray]]

    def of(self, way: str, columns: slice = slice(None)) -> dict[str, np.ndarray]:
        """Return one row per structure for each cation."""
        return {s: np.array(rows)[:, columns] for s, rows in self.rows[way].items()}


class InterfaceAnalysis:
    """Analyses interfaces in several ways at once."""

    def __init__(self) -> None:
        spec = get_system("lsc-lco")
        states = dict(spec.oxidation_states or {})
        signs = {s: float(np.sign(charge)) for s, charge in states.items()}
        kinds = {"charges": states, "signs": signs, "no charges": None}
        self.analysers = {
            way: MotifAnalyser(spec.species, list(CATIONS), charges, ANIONS)
            for way, charges in kinds.items()
        }
        self.finder = NeighbourFinder(spec.species, ION_MOTIF_SETTINGS, states)

    def __call__(self, structures: StructureSet) -> Environments:
        """Analyse all structures of a set."""
        ways = (*self.analysers, "dropped")
        rows: dict[str, Any] = {way: {symbol: [] for symbol in CATIONS} for way in ways}
        sums = {symbol: np.zeros(N_PLAIN + 2 * LARGEST_COORDINATION) for symbol in CATIONS}
        codes: dict[str, list[np.ndarray]] = {symbol: [] for symbol in CATIONS}
        for atoms in structures:
            numbers, places, cell = atoms.numbers, atoms.positions, atoms.cell.array
            sites = np.flatnonzero(np.isin(atoms.symbols, list(CATIONS)))
            cells = voronoi_cells(places, cell, sites)
            lost = _dropped(self.finder.find(numbers, places, cell, sites, cells))
            for way, analyser in self.analysers.items():
                found = analyser.analyse(numbers, places, cell, cells)
                for symbol in CATIONS:
                    chosen = atoms.symbols[found.sites] == symbol
                    prints = found.fingerprints[chosen]
                    rows[way][symbol].append(prints.mean(axis=0))
                    if way == "charges":
                        rows["dropped"][symbol].append(lost[chosen].mean(axis=0))
                        sums[symbol] += prints.sum(axis=0)
                        codes[symbol].append(found.motif[chosen])
        return Environments(rows, sums, codes)


def _dropped(found: SiteNeighbours) -> np.ndarray:
    """Return the likelihoods of CN 0 and of more than 24, which no fingerprint holds."""
    beyond = [
        found.likelihoods[begin + LARGEST_COORDINATION : end].sum()
        for begin, end in zip(found.starts[:-1], found.starts[1:], strict=True)
    ]
    return np.column_stack([found.bare, beyond])


def all_sites(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Weight the species by their atoms, structure by structure."""
    total = sum(CATIONS.values())
    return np.asarray(sum(rows[s] * n for s, n in CATIONS.items()) / total)


def four(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Return d_li, d_co, d_sc and d_all."""
    found = {f"d_{s.lower()}": distance(ours[s], theirs[s]) for s in CATIONS}
    return found | {"d_all": distance(all_sites(ours), all_sites(theirs))}


def four_floors(theirs: dict[str, np.ndarray], n: int) -> dict[str, float]:
    found = {f"d_{s.lower()}": floor(theirs[s], n) for s in CATIONS}
    return found | {"d_all": floor(all_sites(theirs), n)}


def random_interfaces(n: int, name: str = "lsc-lco") -> StructureSet:
    system = InterfaceSystem.from_spec(get_system(name))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    return generator.generate(range(n), 0).structures


def interface_effects(scale: float) -> dict[str, Any]:
    n_train, n_gen = round(60 * scale), round(40 * scale)
    made = random_interfaces(n_train + n_gen)
    # Noise takes from the slabs that they are ideal, which relaxation would do.
    train = rattled(made.select(np.arange(n_train)), 0.1, 0)
    others = made.select(np.arange(n_train, n_train + n_gen))
    sets = {"drawn anew": rattled(others, 0.1, 1), "drawn anew, noisier": rattled(others, 0.15, 2)}
    analyse = InterfaceAnalysis()
    reference = analyse(train)
    noted("reference interfaces")
    found = {name: analyse(one) for name, one in sets.items()}
    noted("generated interfaces")
    ways = {
        "published: 109 features": ("charges", slice(None)),
        "without the fractions of Cl and O: 61": ("charges", slice(0, N_PLAIN)),
        "charges by sign alone": ("signs", slice(None)),
        "CrystalNN without charges": ("no charges", slice(None)),
    }
    result: dict[str, Any] = {"n_train": n_train, "n_generated": n_gen, "fingerprints": {}}
    for title, (way, columns) in ways.items():
        theirs = reference.of(way, columns)
        entry = {name: four(one.of(way, columns), theirs) for name, one in found.items()}
        result["fingerprints"][title] = entry | {"floor": four_floors(theirs, n_gen)}
    theirs = _joined(reference)
    entry = {name: four(_joined(one), theirs) for name, one in found.items()}
    entry["floor"] = four_floors(theirs, n_gen)
    result["fingerprints"]["with CN 0 and CN > 24: 111"] = entry
    result["weight of CN 0, CN > 24 in the reference"] = {
        symbol: np.mean(rows, axis=0).tolist() for symbol, rows in reference.rows["dropped"].items()
    }
    result["combinations"] = {name: _combined(one, reference) for name, one in found.items()}
    result["combinations"]["floor"] = _combined_floor(reference, n_gen)
    result["mean of all rows against mean of structures, d_all"] = _row_means(
        found["drawn anew"], reference
    )
    result["motifs listed"] = {symbol: _listed(reference.codes[symbol]) for symbol in CATIONS}
    return result


def _with_dropped(one: Environments, reference: Environments) -> dict[str, Any]:
    """Say what the entries for CN 0 and more than 24 would add."""
    ours, theirs = all_sites(_joined(one)), all_sites(_joined(reference))
    return {
        "weight of CN 0, CN > 24": all_sites(one.of("dropped")).mean(axis=0).tolist(),
        "d_all with their entries": distance(ours, theirs),
    }


def _joined(one: Environments) -> dict[str, np.ndarray]:
    """Put what is dropped beside the fingerprints."""
    rows, lost = one.of("charges"), one.of("dropped")
    return {symbol: np.hstack([rows[symbol], lost[symbol]]) for symbol in CATIONS}


def _combined_floor(reference: Environments, n: int) -> dict[str, float]:
    theirs = reference.of("charges")
    by_species = {s: floor(theirs[s], n) for s in CATIONS}
    return {
        "of weighted means": floor(all_sites(theirs), n),
        "weighted mean of distances": sum(by_species[s] * share for s, share in CATIONS.items())
        / sum(CATIONS.values()),
        "mean of distances": float(np.mean(list(by_species.values()))),
    }


def _combined(one: Environments, reference: Environments) -> dict[str, Any]:
    """Compare ways to make one number, and one interval, of three species."""
    ours, theirs = one.of("charges"), reference.of("charges")
    distances = four(ours, theirs)
    singles = [distances[f"d_{s.lower()}"] for s in CATIONS]
    weights = list(CATIONS.values())
    target = all_sites(theirs).mean(axis=0)
    mean = all_sites(ours).mean(axis=0)
    cosine = float(mean @ target / np.linalg.norm(mean) / np.linalg.norm(target))
    total = sum(weights)
    intervals = {}
    for title, seeds in {"same draws": (7, 7, 7), "other draws": (7, 8, 9)}.items():
        samples = sum(
            bootstrap_means(ours[s], seed=seed) * n / total
            for (s, n), seed in zip(CATIONS.items(), seeds, strict=True)
        )
        norms = np.linalg.norm(samples - target, axis=1)
        intervals[title] = list(pivotal_interval(distances["d_all"], norms))
    return {
        "of weighted means": distances["d_all"],
        "weighted mean of distances": float(np.average(singles, weights=weights)),
        "mean of distances": float(np.mean(singles)),
        "cosine similarity": cosine,
        "cosine distance": 1 - cosine,
        "interval": intervals,
    }


def _row_means(one: Environments, reference: Environments) -> dict[str, float]:
    """Average the reference over all sites at once, as the scripts do."""
    theirs = reference.of("charges")
    n = len(next(iter(theirs.values())))
    by_rows = {s: reference.site_sums[s] / (n * atoms) for s, atoms in CATIONS.items()}
    total = sum(CATIONS.values())
    target = sum(by_rows[s] * atoms / total for s, atoms in CATIONS.items())
    ours = all_sites(one.of("charges")).mean(axis=0)
    by_structures = float(np.linalg.norm(ours - all_sites(theirs).mean(axis=0)))
    return {
        "by structures": by_structures,
        "difference by rows": abs(float(np.linalg.norm(ours - target)) - by_structures),
    }


def _listed(codes: list[np.ndarray]) -> dict[str, Any]:
    """Count the motifs that pass the limit of 1 %."""
    every = np.concatenate(codes)
    percent = {MOTIF_NAMES[c]: 100 * n / len(every) for c, n in Counter(every.tolist()).items()}
    nearest = min(percent.items(), key=lambda item: abs(item[1] - 1))
    return {
        "at least 1 %": sum(p >= 1 for p in percent.values()),
        "more than 1 %": sum(p > 1 for p in percent.values()),
        "nearest to 1 %": list(nearest),
    }


def push_effects(scale: float) -> dict[str, Any]:
    """Push interfaces apart, and compare without relaxation."""
    n_train, n_gen = round(30 * scale), round(20 * scale)
    made = random_interfaces(n_train + n_gen)
    train, others = made.select(np.arange(n_train)), made.select(np.arange(n_train, len(made)))
    inputs = {
        "noise of 0.3 Å": rattled(others, 0.3, 2),
        "noise of 0.5 Å": rattled(others, 0.5, 2),
        "uniform random": uniform(others, 3),
        "one pair across the boundary": across(others),
        "two atoms at one place": coincident(others),
    }
    analyse = InterfaceAnalysis()
    reference = analyse(train)
    theirs = reference.of("charges")
    result: dict[str, Any] = {"n_train": n_train, "floor": four_floors(theirs, n_gen)}
    for name, structures in inputs.items():
        summary, apart = push_summary(structures)
        for protocol, one in apart.items():
            if len(one):
                found = analyse(one)
                summary[protocol] |= four(found.of("charges"), theirs) | _with_dropped(
                    found, reference
                )
        result[name] = summary
        noted(f"interfaces: {name}")
    return result


def precision_effects(scale: float) -> dict[str, Any]:
    """Relax small interfaces with CHGNet, whose single precision may end a line search."""
    made = random_interfaces(max(round(6 * scale), 1), "tiny-li2o-licl")
    apart, _ = pushed(made, "published")
    return relaxed(apart, "chgnet")[1]
