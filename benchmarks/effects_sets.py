"""Structures, distances and floors of ``protocol_effects.py``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import PUBLISHED_TOLERANCE, RelaxationSettings
from dismaiflow.structures.structure_set import StructureSet

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


def relaxed(structures: StructureSet, potential: str = "sw") -> tuple[StructureSet, dict[str, Any]]:
    """Relax as published; return what converged, and how all ended."""
    results = relax_set(structures, open_potential(potential), RelaxationSettings(), n_processes=1)
    good = np.array([i for i, r in enumerate(results) if r.status == "converged"], dtype=np.int64)
    limit = RelaxationSettings().fmax
    forces = [r.max_force for r in results if r.status == "converged" and r.max_force is not None]
    about = {
        "n": len(results),
        "by status": dict(Counter(r.status for r in results)),
        "mean steps": float(np.mean([r.n_steps for r in results])),
        f"accepted up to {PUBLISHED_TOLERANCE} eV/Å above the limit": sum(
            f > limit for f in forces
        ),
        "ended by loss of precision, not accepted": sum("precision" in r.detail for r in results),
    }
    if len(good) == 0:
        return structures.select(good), about
    places = np.concatenate([results[i].positions for i in good])
    return with_positions(structures.select(good), places), about
