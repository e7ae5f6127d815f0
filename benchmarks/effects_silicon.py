"""The part of ``protocol_effects.py`` on amorphous silicon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.build import bulk
from effects_sets import (
    across,
    distance,
    floor,
    noted,
    push_summary,
    rattled,
    relaxed,
    uniform,
)

from dismaiflow.amorphous.melt_quench import MeltQuenchSettings, melt_quench
from dismaiflow.amorphous.parent import ParentBox
from dismaiflow.amorphous.slicing import SliceSettings, slice_blocks
from dismaiflow.metrics.angles import ANGLE_EDGES, angle_histogram
from dismaiflow.metrics.crystal_nn import (
    ANGLE_SETTINGS,
    MOTIF_SETTINGS,
    NeighbourFinder,
    SiteNeighbours,
)
from dismaiflow.metrics.motifs import MotifAnalyser
from dismaiflow.metrics.published_rdf import published_rdf
from dismaiflow.metrics.rdf import radial_distribution
from dismaiflow.metrics.voronoi import voronoi_cells
from dismaiflow.structures.structure_set import StructureSet


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


def three(ours: SiliconFeatures, theirs: SiliconFeatures) -> dict[str, float]:
    return {f"d_{k}": distance(ours.rows[k], theirs.rows[k]) for k in ("motif", "rdf", "angle")}


def three_floors(theirs: SiliconFeatures, n: int) -> dict[str, float]:
    return {f"d_{name}": floor(theirs.rows[name], n) for name in ("motif", "rdf", "angle")}


def silicon_effects(scale: float) -> dict[str, Any]:
    n_train, n_gen = round(40 * scale), round(20 * scale)
    settings = MeltQuenchSettings(n_atoms=4096, density=2.285, potential="sw", quench_rate=100.0)
    made = melt_quench({"Si": 1}, settings, np.random.SeedSequence(0))
    parent = ParentBox(made.numbers, made.positions, np.diag(made.cell))
    noted("quenched")
    blocks = _blocks(parent, 256, n_train + n_gen)
    train, ends = relaxed(blocks.select(np.arange(n_train)))
    others, _ = relaxed(blocks.select(np.arange(n_train, len(blocks))))
    noted("relaxed")
    theirs = silicon_features(train)
    result: dict[str, Any] = {
        "n_train": len(train),
        "floor": three_floors(theirs, n_gen),
        "relaxation of the reference": ends,
    }
    result["other blocks of the parent"] = three(silicon_features(others), theirs)
    result["pushed apart and relaxed"] = _push_silicon(others, theirs, round(8 * scale))
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
    result: dict[str, Any] = {"floor": three_floors(theirs, n)}
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
    result: dict[str, Any] = {}
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
