"""From structures with free atoms to their features, one by one: what follows from the spec.

The features of a structure are, by name:

``motif:X``
    Mean CrystalNN fingerprint of the atoms of X, shape (n_features,).
``codes:X``, ``counts:X``
    Most likely motif of each atom of X, shape (n_X,), and its neighbours of each anion,
    shape (n_X, n_anions).
``region:X``
    Which atoms of X lie in the disordered region of an interface, shape (n_X,).
``rdf``, ``angle``
    Radial distribution function and bond-angle distribution of an amorphous structure.
``pair:X-Y``
    Partial radial distribution function; in an interface around the atoms of the region.
``profile``
    Pair-distance profile, by which copies are told.
``region_found``
    Whether region and slabs of an interface could be told apart, a scalar.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.angles import AngleAnalyser, angle_histogram
from dismaiflow.metrics.motifs import MOTIF_NAMES, MotifAnalyser
from dismaiflow.metrics.pair_profiles import profile
from dismaiflow.metrics.published_rdf import published_rdf
from dismaiflow.metrics.rdf import partial_distribution, radial_distribution
from dismaiflow.metrics.voronoi import voronoi_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.interfaces.slab import Host
    from dismaiflow.systems import SystemSpec

#: Rises with every change of a feature, so that stored ones are not taken for it.
FEATURES_VERSION = 1

#: Range and shells of the partial radial distribution functions, Å.
PAIR_RANGE, PAIR_WIDTH = 10.0, 0.1

_RDF_RANGE, _RDF_WIDTH = 10.0, 0.02

#: What the published scripts call an atom without neighbours.
_ALONE = MOTIF_NAMES.index("sgl_bd CN_1")

#: Keys of a spec that decide the slabs of an interface, and with them its region.
_HOST_KEYS = {
    "bulk",
    "miller",
    "layers",
    "terminations",
    "substrate",
    "surface_vectors",
    "supercell",
    "matching",
    "slab_formula_units",
    "polar_fix",
    "region",
    "cell",
}

#: Share of the slabs' sites without an atom above which a structure has no slabs left.
_MOST_MISSING = 0.2


@dataclass(frozen=True)
class AnalysisPlan:
    """What to compute of a structure, as its system's spec says.

    Parameters
    ----------
    kind : {"amorphous", "interface"}
        Kind of the system.
    species : tuple of str
        All elements.
    centres : tuple of str
        Elements whose motifs are looked at: the cations, or all without charges.
    anions : tuple of str
        Neighbours that are counted by element; none without charges.
    oxidation_states : dict of str to float, or None
        Charges.
    pairs : tuple of (str, str)
        Partial radial distribution functions.
    distributions : bool
        Whether radial distribution and bond angles are among the metrics.
    """

    kind: str
    species: tuple[str, ...]
    centres: tuple[str, ...]
    anions: tuple[str, ...]
    oxidation_states: dict[str, float] | None
    pairs: tuple[tuple[str, str], ...]
    distributions: bool

    @classmethod
    def from_spec(cls, spec: SystemSpec) -> AnalysisPlan:
        """Read the plan from a spec.

        Raises
        ------
        DismaiError
            If it is an alloy, whose atoms stand on a lattice.
        """
        if spec.kind == "alloy":
            raise DismaiError(f"{spec.name} is an alloy: its clusters are counted instead")
        cations, anions = spec.cations or (), spec.anions or ()
        states = spec.oxidation_states
        if states is None and cations and anions:
            # Only the signs are known; they decide who bonds to whom.
            states = {**dict.fromkeys(cations, 1.0), **dict.fromkeys(anions, -1.0)}
        centres = cations if states and cations else spec.species
        if spec.kind == "interface":
            pairs = [(c, other) for c in centres for other in (*anions, c)]
        else:
            pairs = list(combinations_with_replacement(spec.species, 2))
            pairs = pairs if len(spec.species) > 1 else []
        return cls(
            kind=spec.kind,
            species=spec.species,
            centres=tuple(centres),
            anions=tuple(anions) if states else (),
            oxidation_states=dict(states) if states else None,
            pairs=tuple(pairs),
            distributions=bool({"d_rdf", "d_angle"} & set(spec.metrics)),
        )


def analysis_hash(spec: SystemSpec, protocol: ScoringProtocol) -> str:
    """Return the SHA-256 of all that decides the features of a structure, but the structure."""
    # Crystals from files count by their content.
    spec = spec.self_contained()
    plan = AnalysisPlan.from_spec(spec)
    said = [
        FEATURES_VERSION,
        protocol.key,
        plan.__dict__,
        spec.model_dump(mode="json", include=_HOST_KEYS) if spec.kind == "interface" else None,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class StructureAnalyser:
    """Computes the features of structures.

    Parameters
    ----------
    spec : SystemSpec
        An interface or an amorphous system.
    protocol : ScoringProtocol
        ``published`` takes the radial distribution function within the minimum image of a doubled
        cell, as the scripts do, ``corrected`` with all images.
    host : Host, optional
        Slabs of an interface, by which its region is found.
    """

    def __init__(
        self, spec: SystemSpec, protocol: ScoringProtocol, host: Host | None = None
    ) -> None:
        self.plan = AnalysisPlan.from_spec(spec)
        self._published = protocol.name == "published"
        self._host = host
        plan = self.plan
        self._motifs = MotifAnalyser(plan.species, plan.centres, plan.oxidation_states, plan.anions)
        self._angles = AngleAnalyser(plan.species, plan.oxidation_states)

    def analyse(
        self,
        numbers: NDArray[np.uint8],
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
    ) -> dict[str, NDArray[Any]]:
        """Return the features of one structure.

        Parameters
        ----------
        numbers : ndarray, shape (n_atoms,)
            Atomic numbers.
        positions : ndarray, shape (n_atoms, 3)
            Å.
        cell : ndarray, shape (3, 3)
            Vectors as rows, Å.

        Raises
        ------
        DismaiError
            If a polyhedron or a distribution cannot be computed.
        """
        plan = self.plan
        found: dict[str, NDArray[Any]] = {}
        region: NDArray[np.bool_] | None = None
        if plan.kind == "interface":
            region = self._region(numbers, positions, cell)
            found["region_found"] = np.array(region is not None)
            if region is None:
                region = np.zeros(len(numbers), dtype=bool)
        cells = voronoi_cells(positions, cell) if plan.distributions else None
        motifs = self._motifs.analyse(numbers, positions, cell, cells)
        codes = motifs.motif
        if self._published:
            # The scripts take the first of equal likelihoods, where an atom has no neighbour.
            codes = np.where(motifs.coordination == 0, _ALONE, codes).astype(codes.dtype)
        for symbol in plan.centres:
            chosen = numbers[motifs.sites] == atomic_numbers[symbol]
            found[f"motif:{symbol}"] = motifs.fingerprints[chosen].mean(axis=0)
            found[f"codes:{symbol}"] = codes[chosen]
            found[f"counts:{symbol}"] = motifs.counts[chosen]
            if region is not None:
                found[f"region:{symbol}"] = region[motifs.sites[chosen]]
        if plan.distributions:
            found["rdf"] = self._rdf(positions, cell)
            angles = self._angles.analyse(numbers, positions, cell, cells)
            found["angle"] = angle_histogram(angles)
        for first, second in plan.pairs:
            found[f"pair:{first}-{second}"] = _partial(
                numbers, positions, cell, region, first, second
            )
        found["profile"] = profile(numbers, positions, cell, plan.species)
        return found

    def _rdf(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self._published:
            return published_rdf(positions, cell)
        return radial_distribution(positions, cell, _RDF_RANGE, _RDF_WIDTH).g

    def _region(
        self,
        numbers: NDArray[np.uint8],
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
    ) -> NDArray[np.bool_] | None:
        """Find the atoms of the disordered region; None where slabs cannot be told from it."""
        from dismaiflow.interfaces.membership import find_regions

        host = self._host
        if host is None:
            return None
        try:
            found = find_regions(numbers, positions, cell, host)
        except ValueError:
            return None
        missing = found.missing_substrate + found.missing_film
        lost = missing > _MOST_MISSING * (len(host.substrate) + len(host.film))
        return None if lost else found.region


def _partial(
    numbers: NDArray[np.uint8],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    region: NDArray[np.bool_] | None,
    first: str,
    second: str,
) -> NDArray[np.float64]:
    """Return g(r) of one species around another; NaN where no atom is to be looked around."""
    pair = atomic_numbers[first], atomic_numbers[second]
    around = numbers == pair[0]
    around = around if region is None else around & region
    if not around.any() or not (numbers == pair[1]).any():
        return np.full(round(PAIR_RANGE / PAIR_WIDTH), np.nan)
    found = partial_distribution(
        numbers, positions, cell, pair, region, r_max=PAIR_RANGE, bin_width=PAIR_WIDTH
    )
    return found.g
