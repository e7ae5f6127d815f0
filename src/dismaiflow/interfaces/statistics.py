"""What the card of a set of interfaces says about its geometry and its structures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dismaiflow.interfaces.system import InterfaceSystem
    from dismaiflow.structures.structure_set import StructureSet

#: Labels of structures that are drawn from a range.
_DRAWN = ("thickness", "shift_a", "shift_b")


def geometry_facts(system: InterfaceSystem) -> dict[str, Any]:
    """Return how the two slabs fit on each other.

    Parameters
    ----------
    system : InterfaceSystem
        The interface.

    Returns
    -------
    dict
        ``slabs`` by phase (atoms, planes, height in Å, supercell matrix), and ``match``: area in
        Å^2, lengths in Å, gamma in degrees, and in percent the mean mismatch, and the strain of
        the film as a tensor (a along x) and along its principal axes.
    """
    host, match = system.host, system.match
    a, b = match.lengths[0].tolist()
    supercell = system.spec.interface.supercell or {}
    slabs = {
        slab.phase: {
            "atoms": len(slab),
            "planes": slab.n_planes,
            "height": round(slab.height, 4),
            "supercell": [list(row) for row in supercell[slab.phase]],
        }
        for slab in (host.substrate, host.film)
    }
    return {
        "slabs": slabs,
        "match": {
            "area": round(match.area, 3),
            "a": round(a, 5),
            "b": round(b, 5),
            "gamma": round(match.gamma, 4),
            "mean_mismatch_percent": round(match.mean_mismatch, 3),
            "strain_tensor_percent": np.round(100 * match.strain, 3).tolist(),
            "principal_strains_percent": [
                round(100 * float(strain), 3) for strain in match.principal_strains
            ],
        },
        "region_atoms": dict(system.region_counts),
    }


def set_facts(structures: StructureSet) -> dict[str, Any]:
    """Return what was drawn for the structures of a set.

    Parameters
    ----------
    structures : StructureSet
        As `RandomInterfaces.generate` made it.

    Returns
    -------
    dict
        Range and mean of thickness (Å) and displacement, how many structures have which scale of
        the minimum distances, and how many have how many exchanges of each pair.
    """
    labels = structures.labels
    facts: dict[str, Any] = {
        name: {
            "min": float(labels[name].min()),
            "mean": float(labels[name].mean()),
            "max": float(labels[name].max()),
        }
        for name in _DRAWN
    }
    scales = Counter(f"{scale:.3g}" for scale in labels["distance_scale"].tolist())
    facts["min_distance_scales"] = dict(sorted(scales.items(), reverse=True))
    for name, counts in labels.items():
        if name.startswith("exchanged_"):
            found = Counter(counts.tolist())
            facts[name] = {str(n): found[n] for n in sorted(found)}
    return facts
