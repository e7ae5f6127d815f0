"""Cards of relaxed datasets, small enough to read."""

from __future__ import annotations

from typing import Any

from dismaiflow.structures.dataset import DatasetCard

#: Hash of the potential.
POTENTIAL_HASH = "9f" * 32

RELAXATION = {
    "potential": {
        "name": "chgnet",
        "engine": "chgnet",
        "hash": POTENTIAL_HASH,
        "weights": {"chgnet.pth": "7a" * 32},
        "elements": None,
        "versions": {"chgnet": "0.4.2", "torch": "2.13.0"},
    },
    "settings": {
        "optimizer": "cg",
        "fmax": 0.05,
        "max_steps": 1000,
        "tolerance": 0.0,
        "max_displacement": 1e4,
    },
    "push": {"min_distance": 1.5},
}


def structure(index: int, **energies: float) -> dict[str, Any]:
    """Return a stack of four atoms in a tall cell."""
    return {
        "index": index,
        **energies,
        "symbols": ["Li", "Cl", "Li", "O"],
        "positions": [[1.0, 1.0, z] for z in (1.0, 3.5, 6.0, 8.0)],
        "cell": [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 22.0]],
    }


def interface_card(**statistics: Any) -> DatasetCard:
    """Return the card of relaxed interfaces; some statistics replaced."""
    return DatasetCard(
        system="tiny-li2o-licl",
        kind="interface",
        composition={"Li": 28, "Cl": 8, "O": 10},
        cell=[[10.3, 0.0, 0.0], [0.0, 10.3, 0.0], [0.0, 0.0, 30.0]],
        counts={"train": 16, "val": 4, "high": 21},
        protocol={
            "name": "corrected",
            "stage": "random structures, relaxed and filtered",
            "exchanges": None,
            "search": {"method": "random", "round_size": 12},
            "relaxation": RELAXATION,
            "filter": {"max_interface_energy": 0.0, "window": 0.4},
        },
        seeds={"seed": 1},
        versions={"dismaiflow": "0.1.0"},
        created="2026-01-01T00:00:00+00:00",
        statistics={
            "slabs": {
                "LiCl": {"atoms": 16, "planes": 2, "height": 2.5728},
                "Li2O": {"atoms": 15, "planes": 3, "height": 2.3233},
            },
            "region_atoms": {"Li": 10, "O": 5},
            "search": {
                "method": "random",
                "n_tried": 48,
                "n_force_calls": 9876,
                "stopped_by": "the number of structures",
                "ended": {"low": 22, "high": 21, "not_converged": 3, "exploded": 0, "detached": 2},
                "n_surplus": 2,
                "yield_percent": 45.8333,
                "rounds": [{"tried": 24, "low": 12}, {"tried": 48, "low": 22}],
            },
            "reference_energy": {
                "value": -3.98765,
                "rule": "the lowest structure stands at -0.4 J/m²",
                "history": [{"after": 24, "value": -3.98}, {"after": 48, "value": -3.98765}],
            },
            "interface_energy": {
                "area": 106.09,
                "cut": 0.0,
                "low": {"n": 22, "min": -0.4, "mean": -0.21, "max": -0.002},
                "high": {"n": 21, "min": 0.01, "mean": 0.35, "max": 0.9},
                "histogram": {
                    "edges": [-0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
                    "low": [12, 10, 0, 0, 0, 0, 0],
                    "high": [0, 0, 8, 6, 4, 2, 1],
                },
            },
            "relaxation": {
                "steps_mean": 71.5,
                "steps_std": 20.25,
                "force_calls_mean": 205.75,
                "drop_mean": 341.0,
                "drop_std": 55.0,
            },
            "duplicates": {"dropped": 1},
            "thickness": {
                "random": {"min": 4.0, "mean": 5.0, "max": 6.0},
                "relaxed": {"min": 4.2, "mean": 5.1, "max": 6.3},
            },
            "lowest": [
                structure(40, interface_energy=-0.4),
                structure(3, interface_energy=-0.383),
                structure(17, interface_energy=-0.35),
            ],
            **statistics,
        },
        warnings=["2 structures were left out because atoms detached"],
    )


def amorphous_card(**statistics: Any) -> DatasetCard:
    """Return the card of relaxed blocks; some statistics replaced."""
    grid = [0.05 * i for i in range(160)]
    return DatasetCard(
        system="amorphous-si",
        kind="amorphous",
        composition={"Si": 64},
        cell=[[10.9, 0.0, 0.0], [0.0, 10.9, 0.0], [0.0, 0.0, 10.9]],
        counts={"train": 16, "val": 4},
        protocol={
            "name": "corrected",
            "stage": "blocks of a parent, relaxed",
            "split": "disjoint",
            "relaxed": True,
            "parent": {"name": "given", "content_hash": "ab" * 32, "composition": {"Si": 1000}},
            "relaxation": RELAXATION,
        },
        seeds={"seed": 1},
        created="2026-01-01T00:00:00+00:00",
        statistics={
            "parent_quality": {
                "n_atoms": 1000,
                "cutoff": 2.85,
                "coordination": {"3": 0.03, "4": 0.94, "5": 0.03},
                "rdf": {"r": grid, "g": [1.0] * 160},
            },
            "overlap": {"most_shared": 0.25},
            "coordination": {
                "cutoff": 2.85,
                "parent": {"3": 0.03, "4": 0.94, "5": 0.03},
                "sliced": {"2": 0.05, "3": 0.15, "4": 0.7, "5": 0.1},
                "relaxed": {"3": 0.04, "4": 0.86, "5": 0.095, "6": 0.005},
                "mean": {"parent": 4.0, "sliced": 3.85, "relaxed": 4.065},
                "usual": {"Si": 4},
                "defects": {"parent": 0.06, "sliced": 0.3, "relaxed": 0.14},
            },
            "relaxation": {
                "n_asked": 20,
                "n_kept": 19,
                "ended": {"converged": 19, "not_converged": 1},
                "steps_mean": 62.0,
                "steps_std": 8.0,
                "force_calls": 3200,
                "drop_mean": 182.0,
            },
            "energy_per_atom": {"min": -4.15, "mean": -4.12, "max": -4.08},
            "lowest": [structure(4, energy_per_atom=-4.15)],
            **statistics,
        },
    )
