"""From interface structures to the features of their regions (paper, sections 2.5 and 4.4).

What is looked at are the cations of the phase that the region is made of, where they lie in the
region of a structure (Li and Sc of Li3ScCl6 for ``lsc-lco``); those of the slabs do not count.
Which atoms form the region is found anew in every structure, from its geometry.

The features of a structure are, by name:

``mean:X``
    Mean CrystalNN fingerprint of the atoms of X in the region, shape (n_features,); NaN without.
``codes:X``, ``counts:X``
    Most likely motif of each atom of X, shape (n_X,), and its neighbours of each anion,
    shape (n_X, n_anions).
``region:X``
    Which of these atoms lie in the region, shape (n_X,).
``pair:X-Y``
    g(r) of the atoms of Y around those of X in the region; NaN without.
``lost``
    Share of the sites of the slabs that are not found, a scalar.
``area``
    Å^2, a scalar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.energy import interface_area
from dismaiflow.interfaces.membership import RELAXED_RADIUS, find_regions
from dismaiflow.metrics.motifs import MotifAnalyser
from dismaiflow.metrics.rdf import partial_distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Host
    from dismaiflow.systems import SystemSpec

#: Rises with every change of a feature.
REGION_VERSION = 1

#: Range and shells of g(r), Å.
RDF_RANGE, RDF_WIDTH = 10.0, 0.1

#: Share of the slabs' sites that may be lost; beyond it nothing says where the region ends. Of 24
#: structures of ``tiny-li2o-licl`` that CHGNet relaxed for 100 iterations none lost more than 0.32,
#: of 40 structures of it and ``lsc-lco`` with random positions none less than 0.61.
MOST_LOST = 0.5


@dataclass(frozen=True)
class RegionPlan:
    """What is looked at in the region of an interface.

    Parameters
    ----------
    species : tuple of str
        All elements of the system.
    centres : tuple of str
        Cations of the phase of the region.
    anions : tuple of str
        Neighbours that are counted by element: those that the region's phase lacks come first,
        since bonds to them are what holds film and substrate together.
    oxidation_states : dict of str to float
        Charges.
    pairs : tuple of (str, str)
        Radial distribution functions: each centre with the anions and the centres.
    """

    species: tuple[str, ...]
    centres: tuple[str, ...]
    anions: tuple[str, ...]
    oxidation_states: dict[str, float]
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def from_spec(cls, spec: SystemSpec) -> RegionPlan:
        """Read the plan from a spec.

        Raises
        ------
        DismaiError
            If it is no interface, or does not say which elements are cations.
        """
        if spec.kind != "interface":
            raise DismaiError(f"{spec.name} is no interface: it has no region to evaluate")
        cations, anions = spec.cations or (), spec.anions or ()
        formula = spec.interface.region_counts
        centres = tuple(symbol for symbol in cations if formula.get(symbol, 0) > 0)
        if not centres or not anions:
            raise DismaiError(
                f"{spec.origin or spec.name}: the region has no cations with anions around them; "
                "give the key 'oxidation_states'"
            )
        # Where only the signs are known, they decide who bonds to whom.
        signs = {**dict.fromkeys(cations, 1.0), **dict.fromkeys(anions, -1.0)}
        ordered = tuple(sorted(anions, key=lambda symbol: formula.get(symbol, 0) > 0))
        pairs = [(centre, other) for centre in centres for other in (*ordered, centre)]
        pairs += [(a, b) for i, a in enumerate(centres) for b in centres[i + 1 :]]
        return cls(
            species=spec.species,
            centres=centres,
            anions=ordered,
            oxidation_states=dict(spec.oxidation_states or signs),
            pairs=tuple(pairs),
        )


class RegionAnalyser:
    """Computes the features of the regions of structures.

    Parameters
    ----------
    plan : RegionPlan
        What is looked at.
    host : Host
        The slabs, by which the region is found.
    """

    def __init__(self, plan: RegionPlan, host: Host) -> None:
        self.plan = plan
        self._host = host
        self._motifs = MotifAnalyser(plan.species, plan.centres, plan.oxidation_states, plan.anions)

    def analyse(
        self,
        numbers: NDArray[np.uint8],
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
    ) -> dict[str, NDArray[Any]]:
        """Return the features of one structure, which do not depend on the order of its atoms.

        Parameters
        ----------
        numbers : ndarray, shape (n_atoms,)
            Atomic numbers.
        positions : ndarray, shape (n_atoms, 3)
            Å.
        cell : ndarray, shape (3, 3)
            Vectors as rows, Å; the third along the surface normal.

        Raises
        ------
        DismaiError
            If the slabs cannot be told from the region, or an environment cannot be computed.
        """
        # Sums depend on their order in the last digit, and ties are broken by it.
        order = np.lexsort((*positions.T, numbers))
        numbers, positions = numbers[order], positions[order]
        region, lost = self._region(numbers, positions, cell)
        motifs = self._motifs.analyse(numbers, positions, cell)
        found: dict[str, NDArray[Any]] = {
            "lost": np.array(lost),
            "area": np.array(interface_area(cell)),
        }
        for symbol in self.plan.centres:
            chosen = numbers[motifs.sites] == atomic_numbers[symbol]
            inside = region[motifs.sites[chosen]]
            fingerprints = motifs.fingerprints[chosen]
            found[f"mean:{symbol}"] = (
                fingerprints[inside].mean(axis=0)
                if inside.any()
                else np.full(fingerprints.shape[1], np.nan)
            )
            found[f"codes:{symbol}"] = motifs.motif[chosen]
            found[f"counts:{symbol}"] = motifs.counts[chosen]
            found[f"region:{symbol}"] = inside
        for pair in self.plan.pairs:
            found[f"pair:{pair[0]}-{pair[1]}"] = _partial(numbers, positions, cell, region, pair)
        return found

    def _region(
        self,
        numbers: NDArray[np.uint8],
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
    ) -> tuple[NDArray[np.bool_], float]:
        """Find the atoms of the region, and the share of the slabs that is lost."""
        try:
            found = find_regions(numbers, positions, cell, self._host, RELAXED_RADIUS)
        except ValueError as error:
            raise DismaiError(f"no region can be found: {error}") from None
        if found.lost > MOST_LOST:
            raise DismaiError(
                f"no region can be found: {100 * found.lost:.0f} % of the sites of the slabs are "
                "without their atom"
            )
        return found.region, found.lost


def _partial(
    numbers: NDArray[np.uint8],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    region: NDArray[np.bool_],
    pair: tuple[str, str],
) -> NDArray[np.float64]:
    """Return g(r) around the atoms of the region; NaN where no atom is to be looked around."""
    first, second = atomic_numbers[pair[0]], atomic_numbers[pair[1]]
    if not ((numbers == first) & region).any() or not (numbers == second).any():
        return np.full(round(RDF_RANGE / RDF_WIDTH), np.nan)
    return partial_distribution(
        numbers, positions, cell, (first, second), region, r_max=RDF_RANGE, bin_width=RDF_WIDTH
    ).g
