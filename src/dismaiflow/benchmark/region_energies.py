"""Which structures of a set are of low interface energy (paper, sections 2.5 and 4.4; Fig. 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.benchmark.published import is_published_potential
from dismaiflow.benchmark.region_schemas import TRAINING, RegionEnergies, SetEnergies
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.energy import (
    JOULES_PER_EV,
    M2_PER_A2,
    interface_energy,
    reference_energy_from_lowest,
)
from dismaiflow.systems.blocks import EnergyFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dismaiflow.benchmark.region_schemas import Choice
    from dismaiflow.benchmark.structure_features import StructureFeatures
    from dismaiflow.potentials.base import PotentialCard
    from dismaiflow.systems import SystemSpec

#: Labels of structures: J/m^2, and eV.
INTERFACE_ENERGY, ENERGY = "interface_energy", "energy"

_BINS = 40

_NEITHER = (
    "its structures carry neither interface_energy (J/m²) nor, together with the training set, "
    "energy (eV): give --potential P, or --as-is to take all of them"
)


@dataclass(frozen=True)
class RatedSets:
    """Interface energies of sets.

    Parameters
    ----------
    energies : dict of str to ndarray, shape (n,)
        J/m^2, by set; sets without any are left out.
    zero : float or None
        eV/atom that counts as 0, where total energies were given.
    rule : str
        Where they come from.
    """

    energies: dict[str, NDArray[np.float64]]
    zero: float | None
    rule: str


def rate_sets(
    spec: SystemSpec,
    sets: Mapping[str, StructureFeatures],
    card: PotentialCard | None,
) -> RatedSets:
    """Find the interface energies of the structures of each set.

    With a potential, total energies are its own for all sets. Without, labels count: interface
    energies as they are; total energies by the reference energy that the labels of the training
    set tell, or by that of its lowest structure.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    sets : dict of str to StructureFeatures
        With scalars ``interface_energy`` (J/m^2), ``energy`` (eV), ``area`` (Å^2) and ``n_atoms``;
        NaN where there is none.
    card : PotentialCard, optional
        The potential that computed the energies.
    """
    zero, rule = _zero(spec, sets[TRAINING], card)
    energies = {}
    labelled = False
    for name, features in sets.items():
        if len(features) == 0:
            continue
        given = features.arrays[INTERFACE_ENERGY]
        if card is None and np.isfinite(given).all():
            energies[name] = np.asarray(given, dtype=float)
            labelled = True
        elif zero is not None and np.isfinite(features.arrays[ENERGY]).all():
            energies[name] = interface_energy(
                features.arrays[ENERGY],
                features.arrays["n_atoms"],
                zero,
                features.arrays["area"],
            )
    words = ["interface energies of the files"] if labelled else []
    words += [rule] if energies and not (labelled and zero is None) else []
    return RatedSets(energies, zero, "; ".join(words))


def choose(
    rated: RatedSets, name: str, features: StructureFeatures, choice: Choice, cut: float
) -> NDArray[np.int64]:
    """Return which structures of a set are looked at.

    Parameters
    ----------
    rated : RatedSets
        Energies.
    name : str
        The set.
    features : StructureFeatures
        Its structures.
    choice : {"low", "high", "all"}
        Those at or below the cut, those above it, or all.
    cut : float
        J/m^2.

    Raises
    ------
    DismaiError
        If energies are needed and not known.
    """
    if choice == "all" or len(features) == 0:
        return np.arange(len(features))
    if name not in rated.energies:
        raise DismaiError(f"set {name!r} cannot be divided by energy: {_NEITHER}")
    is_low = rated.energies[name] <= cut
    return np.flatnonzero(is_low if choice == "low" else ~is_low)


def energy_cut(spec: SystemSpec) -> float:
    """Return the interface energy up to which it is low, J/m^2."""
    return _filter(spec).max_interface_energy


def energy_distribution(rated: RatedSets, cut: float) -> RegionEnergies | None:
    """Return the distributions of Fig. 8; None if no energy is known."""
    if not rated.energies:
        return None
    every = np.concatenate(list(rated.energies.values()))
    low, high = float(every.min()), float(every.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    sets = {
        name: SetEnergies(
            n=len(values),
            mean=float(values.mean()),
            percent_low=float(100 * (values <= cut).mean()),
            shares=(np.histogram(values, edges)[0] / len(values)).round(6).tolist(),
        )
        for name, values in rated.energies.items()
    }
    return RegionEnergies(
        cut=cut,
        reference_energy=rated.zero,
        rule=rated.rule,
        edges=edges.round(6).tolist(),
        sets=sets,
    )


def _zero(
    spec: SystemSpec, training: StructureFeatures, card: PotentialCard | None
) -> tuple[float | None, str]:
    """Return the energy per atom that counts as 0, and where it comes from."""
    published = card is not None and is_published_potential(spec.name, card)
    if published and spec.reference_energy is not None:
        return spec.reference_energy, "reference energy of the system's spec"
    if len(training) == 0 or not np.isfinite(training.arrays[ENERGY]).all():
        return None, ""
    totals, atoms, areas = (training.arrays[key] for key in (ENERGY, "n_atoms", "area"))
    given = training.arrays[INTERFACE_ENERGY]
    if card is None and np.isfinite(given).all():
        zeros = (totals - given * areas / (JOULES_PER_EV / M2_PER_A2)) / atoms
        return float(np.median(zeros)), "reference energy of the labels of the training set"
    lowest = energy_cut(spec) - _filter(spec).window
    zero = reference_energy_from_lowest(totals, atoms, areas, lowest)
    return zero, f"the lowest training structure stands at {lowest:g} J/m²"


def _filter(spec: SystemSpec) -> EnergyFilter:
    return spec.dataset.energy_filter or EnergyFilter()
