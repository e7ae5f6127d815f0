"""Neighbours of an atom with the likelihood of each coordination number, as CrystalNN finds them.

H. Pan et al., Benchmarking coordination number prediction algorithms on inorganic crystal
structures, Inorg. Chem. 60 (2021) 1590, DOI 10.1021/acs.inorgchem.0c02996. Every face of the
Voronoi cell of an atom is a possible bond. Its weight is the solid angle, times the solid angle
over the area in porous structures, times a factor that grows with the difference of the
electronegativities, and falls to zero beyond the sum of the radii. The neighbours with the k
highest weights make the environment of coordination number k, whose likelihood is the area under
the quarter of a circle between the weights of neighbour k and k + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, ceil, cos, floor, isnan, pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from numba import njit

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.voronoi import SEARCH_CUTOFF, voronoi_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.metrics.voronoi import VoronoiCells

#: Weights are rounded to that many parts of one before they are compared.
_PARTS = 1000.0

#: Greatest difference of two electronegativities on Pauling's scale.
_MAX_DIFFERENCE = 3.3


@dataclass(frozen=True)
class NeighbourSettings:
    """Settings of CrystalNN, under its names and with its defaults.

    Parameters
    ----------
    cation_anion : bool
        Only atoms of opposite or no charge are neighbours; needs oxidation states.
    distance_cutoffs : tuple of float, optional
        Å beyond the sum of the radii; up to the first a bond keeps its weight, and from the second
        on it has none. Without them distances do not count.
    x_diff_weight : float
        How much a difference of the electronegativities counts.
    porous_adjustment : bool
        Whether faces far away from both atoms count less.
    search_cutoff : float
        Å; range of the first search for the Voronoi cell.
    """

    cation_anion: bool = False
    distance_cutoffs: tuple[float, float] | None = (0.5, 1.0)
    x_diff_weight: float = 3.0
    porous_adjustment: bool = True
    search_cutoff: float = SEARCH_CUTOFF


#: For motifs, without charges and between cations and anions; CrystalNN's defaults.
MOTIF_SETTINGS = NeighbourSettings()
ION_MOTIF_SETTINGS = NeighbourSettings(cation_anion=True)

#: For bond angles: the geometry alone decides.
ANGLE_SETTINGS = NeighbourSettings(
    distance_cutoffs=None, x_diff_weight=0.0, porous_adjustment=False
)


@dataclass(frozen=True)
class SiteNeighbours:
    """Neighbours of some atoms, one list after the other, by falling weight.

    Parameters
    ----------
    sites : ndarray of int64, shape (n_sites,)
        The atoms.
    starts : ndarray of int64, shape (n_sites + 1,)
        The neighbours of ``sites[k]`` are those from ``starts[k]`` to ``starts[k + 1]``.
    atoms : ndarray of int64, shape (n_neighbours,)
        Atom of which the neighbour is an image.
    images : ndarray of int64, shape (n_neighbours, 3)
        Which image, in cell vectors from the position as given.
    vectors : ndarray, shape (n_neighbours, 3)
        To the neighbour, Å.
    weights : ndarray, shape (n_neighbours,)
        Rounded to three decimals, above 0.
    likelihoods : ndarray, shape (n_neighbours,)
        That the coordination number is the place of this neighbour in its list, counted from 1.
    bare : ndarray, shape (n_sites,)
        Likelihood of coordination number 0.
    """

    sites: NDArray[np.int64]
    starts: NDArray[np.int64]
    atoms: NDArray[np.int64]
    images: NDArray[np.int64]
    vectors: NDArray[np.float64]
    weights: NDArray[np.float64]
    likelihoods: NDArray[np.float64]
    bare: NDArray[np.float64]

    def coordination_weights(self, k: int) -> dict[int, float]:
        """Return the coordination numbers of ``sites[k]`` that are possible, and how likely."""
        part = self.likelihoods[self.starts[k] : self.starts[k + 1]]
        found = {int(place) + 1: float(part[place]) for place in np.flatnonzero(part)}
        if self.bare[k] > 0:
            found[0] = float(self.bare[k])
        return found


class NeighbourFinder:
    """Finds the neighbours of atoms.

    Parameters
    ----------
    species : sequence of str
        All element symbols that structures may hold.
    settings : NeighbourSettings
        How neighbours are weighted.
    oxidation_states : mapping of str to float, optional
        Of every species; the radii follow the charges. Without it, covalent radii are used.

    Raises
    ------
    DismaiError
        If a species is unknown, has no radius, or an oxidation state is missing.
    """

    def __init__(
        self,
        species: Sequence[str],
        settings: NeighbourSettings,
        oxidation_states: Mapping[str, float] | None = None,
    ) -> None:
        self.species = tuple(dict.fromkeys(species))
        self.settings = settings
        unknown = [symbol for symbol in self.species if atomic_numbers.get(symbol, 0) == 0]
        if unknown or not self.species:
            raise DismaiError(f"not element symbols: {', '.join(unknown) or 'none given'}")
        charges = _charges(self.species, oxidation_states)
        if settings.cation_anion and charges is None:
            raise DismaiError("cations and anions cannot be told apart without oxidation states")
        n = len(self.species)
        self._codes = np.full(max(atomic_numbers.values()) + 1, -1, dtype=np.int64)
        self._codes[[atomic_numbers[symbol] for symbol in self.species]] = np.arange(n)
        self._allowed = np.ones((n, n), dtype=bool)
        if settings.cation_anion and charges is not None:
            self._allowed = np.outer(charges, charges) <= 0
        self._diameters, self._factors = np.zeros((n, n)), np.ones((n, n))
        if settings.distance_cutoffs is not None:
            self._diameters = _diameters(self.species, charges)
        if settings.x_diff_weight > 0:
            self._factors = _factors(self.species, settings.x_diff_weight)

    def codes(self, numbers: ArrayLike) -> NDArray[np.int64]:
        """Return the place in ``species`` of each atomic number; DismaiError if it has none."""
        array = np.asarray(numbers, dtype=np.int64)
        inside = (array >= 0) & (array < len(self._codes))
        codes = np.where(inside, self._codes[np.where(inside, array, 0)], -1)
        if (codes < 0).any():
            raise DismaiError(
                f"atomic number {int(array[codes < 0][0])} is none of {', '.join(self.species)}"
            )
        return codes

    def find(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        sites: ArrayLike | None = None,
        cells: VoronoiCells | None = None,
    ) -> SiteNeighbours:
        """Return the neighbours of the atoms of a structure, periodic in all directions.

        Parameters
        ----------
        numbers : array-like of int, shape (n_atoms,)
            Atomic numbers.
        positions : array-like, shape (n_atoms, 3)
            Å.
        cell : array-like, shape (3, 3)
            Rows are vectors, Å.
        sites : array-like of int, optional
            Atoms whose neighbours are wanted; all by default.
        cells : VoronoiCells, optional
            Of this structure, if they are known already.

        Raises
        ------
        DismaiError
            If the structure has no atom of opposite charge, or `voronoi_cells` raises it.
        """
        codes = self.codes(numbers)
        wanted = np.arange(len(codes)) if sites is None else np.asarray(sites, dtype=np.int64)
        if len(codes) != len(np.asarray(positions, dtype=float).reshape(-1, 3)):
            raise DismaiError(f"{len(codes)} atomic numbers do not fit the positions")
        self._check_partners(codes, wanted)
        if cells is None:
            cells = voronoi_cells(positions, cell, wanted, self.settings.search_cutoff)
        rows = _rows(cells, wanted, self.settings.search_cutoff)
        low, high = self.settings.distance_cutoffs or (0.0, 0.0)
        starts, faces, weights, likelihoods, bare = _weigh(
            wanted,
            rows,
            cells.starts,
            cells.atoms,
            cells.vectors,
            cells.solid_angles,
            cells.areas,
            codes,
            self._allowed,
            self._diameters,
            self._factors,
            self.settings.porous_adjustment,
            self.settings.distance_cutoffs is not None,
            float(low),
            float(high),
        )
        return SiteNeighbours(
            wanted,
            starts,
            cells.atoms[faces],
            cells.images[faces],
            cells.vectors[faces],
            weights,
            likelihoods,
            bare,
        )

    def _check_partners(self, codes: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
        """Raise DismaiError if a wanted atom could not be bonded to any other."""
        present = np.unique(codes)
        for code in np.unique(codes[wanted]):
            if not self._allowed[code, present].any():
                raise DismaiError(
                    f"the structure has no atom that {self.species[code]} could be bonded to: "
                    "all have charges of the same sign"
                )


def _rows(cells: VoronoiCells, wanted: NDArray[np.int64], cutoff: float) -> NDArray[np.int64]:
    """Return the place of each wanted atom among the Voronoi cells."""
    if cells.cutoff != cutoff:
        raise DismaiError(f"Voronoi cells made with {cells.cutoff} Å cannot serve for {cutoff} Å")
    order = np.argsort(cells.sites, kind="stable")
    places = np.searchsorted(cells.sites, wanted, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    if (cells.sites[rows] != wanted).any():
        raise DismaiError("the Voronoi cells do not hold all atoms whose neighbours are wanted")
    return rows


def _charges(
    species: Sequence[str], oxidation_states: Mapping[str, float] | None
) -> NDArray[np.float64] | None:
    if oxidation_states is None:
        return None
    missing = [symbol for symbol in species if symbol not in oxidation_states]
    if missing:
        raise DismaiError(f"no oxidation state of {', '.join(missing)}")
    return np.array([float(oxidation_states[symbol]) for symbol in species])


def _diameters(species: Sequence[str], charges: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Sum the radii of each two species, Å: by charge where both are known, else covalent."""
    n = len(species)
    ionic = [0.0] * n
    if charges is not None:
        ionic = [_radius(symbol, charge) for symbol, charge in zip(species, charges, strict=True)]
    out = np.empty((n, n))
    for a in range(n):
        for b in range(n):
            if ionic[a] > 0 and ionic[b] > 0:
                out[a, b] = ionic[a] + ionic[b]
            else:
                out[a, b] = _covalent_radius(species[a]) + _covalent_radius(species[b])
    return out


def _element(symbol: str) -> Any:
    from pymatgen.core import Element

    return Element(symbol)


def _radius(symbol: str, charge: float) -> float:
    """Return the radius of an ion, Å; 0 if none is known.

    A fractional charge lies between two radii; a charge that has none takes the mean over the
    charges of its sign.
    """
    if charge == 0:
        return _covalent_radius(symbol)
    element = _element(symbol)
    radii = element.ionic_radii
    if charge in radii:
        return float(radii[charge])
    below, above = floor(charge), ceil(charge)
    if below in radii and above in radii:
        part = charge - below
        return float((1 - part) * radii[below] + part * radii[above])
    mean = element.average_cationic_radius if charge > 0 else element.average_anionic_radius
    return max(float(mean), 0.0)


def _covalent_radius(symbol: str) -> float:
    """Return the covalent radius, Å, or the atomic one of elements that have none."""
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

    radius = CovalentRadius.radius.get(symbol) or _element(symbol).atomic_radius
    if radius is None or isnan(radius):
        raise DismaiError(f"no radius of {symbol} is known")
    return float(radius)


def _factors(species: Sequence[str], weight: float) -> NDArray[np.float64]:
    """Return by how much the difference of electronegativities strengthens each pair."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        values = [float(_element(symbol).X) for symbol in species]
    out = np.ones((len(species), len(species)))
    for a, first in enumerate(values):
        for b, second in enumerate(values):
            if not (isnan(first) or isnan(second)):
                out[a, b] = 1 + weight * sqrt(abs(first - second) / _MAX_DIFFERENCE)
    return out


@njit(cache=True, nogil=True)
def _sort_falling(weights: NDArray[np.float64], order: NDArray[np.int64], n: int) -> None:
    """Sort the first n faces by falling weight; equal ones keep their order."""
    for k in range(1, n):
        face, place = order[k], k
        while place > 0 and weights[order[place - 1]] < weights[face]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = face


@njit(cache=True, nogil=True)
def _quarter_circle(x: float) -> float:
    """Return the share of a quarter of the unit circle that lies left of x."""
    if x >= 1:
        return 1.0
    height = sqrt(1 - x * x)
    return 2 / pi * (x * height + atan(x / height))


@njit(cache=True, nogil=True)
def _distance_factor(distance: float, near: float, far: float) -> float:
    """Return 1 up to the first distance, 0 from the second on, and a cosine in between."""
    if distance <= near:
        return 1.0
    if distance >= far:
        return 0.0
    return (cos((distance - near) / (far - near) * pi) + 1) * 0.5


@njit(cache=True, nogil=True)
def _weigh_faces(
    own: int,
    n: int,
    order: NDArray[np.int64],
    raw: NDArray[np.float64],
    atoms: NDArray[np.int64],
    vectors: NDArray[np.float64],
    angles: NDArray[np.float64],
    areas: NDArray[np.float64],
    codes: NDArray[np.int64],
    diameters: NDArray[np.float64],
    factors: NDArray[np.float64],
    porous: bool,
    by_distance: bool,
    low: float,
    high: float,
) -> None:
    """Fill the weights of the first n faces in ``order``, and sort these by falling weight."""
    largest, highest = 0.0, 0.0
    for place in range(n):
        largest = max(largest, angles[order[place]])
    for place in range(n):
        f = order[place]
        raw[f] = angles[f] / largest
        if porous:
            raw[f] *= angles[f] / areas[f] if areas[f] > 0 else 0.0
        raw[f] *= factors[own, codes[atoms[f]]]
        highest = max(highest, raw[f])
    _sort_falling(raw, order, n)
    for place in range(n):
        f = order[place]
        raw[f] = raw[f] / highest if highest > 0 else 0.0
        if by_distance:
            x, y, z = vectors[f, 0], vectors[f, 1], vectors[f, 2]
            diameter = diameters[own, codes[atoms[f]]]
            distance = sqrt(x * x + y * y + z * z)
            raw[f] *= _distance_factor(distance, diameter + low, diameter + high)
    # Sorted twice, so that neighbours whose weights became equal keep the order they had before.
    _sort_falling(raw, order, n)


@njit(cache=True, nogil=True)
def _weigh(
    wanted: NDArray[np.int64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    atoms: NDArray[np.int64],
    vectors: NDArray[np.float64],
    angles: NDArray[np.float64],
    areas: NDArray[np.float64],
    codes: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    diameters: NDArray[np.float64],
    factors: NDArray[np.float64],
    porous: bool,
    by_distance: bool,
    low: float,
    high: float,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Return starts, faces, weights and likelihoods of the neighbours, and the bare likelihood."""
    room = 0
    for k in range(len(rows)):
        room += starts[rows[k] + 1] - starts[rows[k]]
    out_starts = np.zeros(len(wanted) + 1, dtype=np.int64)
    faces, weights = np.empty(room, dtype=np.int64), np.empty(room)
    likelihoods, bare = np.zeros(room), np.ones(len(wanted))
    raw, order = np.empty(len(atoms)), np.empty(len(atoms), dtype=np.int64)
    total = 0
    for k in range(len(wanted)):
        own, n = codes[wanted[k]], 0
        for f in range(starts[rows[k]], starts[rows[k] + 1]):
            if allowed[own, codes[atoms[f]]]:
                order[n] = f
                n += 1
        _weigh_faces(
            own,
            n,
            order,
            raw,
            atoms,
            vectors,
            angles,
            areas,
            codes,
            diameters,
            factors,
            porous,
            by_distance,
            low,
            high,
        )
        begin = total
        for place in range(n):
            weight = np.rint(raw[order[place]] * _PARTS) / _PARTS
            if weight > 0:
                faces[total], weights[total] = order[place], weight
                total += 1
        out_starts[k + 1] = total
        for place in range(begin, total):
            following = weights[place + 1] if place + 1 < total else 0.0
            # Neighbours of equal weight join an environment together.
            if weights[place] != following:
                likelihoods[place] = _quarter_circle(weights[place]) - _quarter_circle(following)
        if total > begin:
            bare[k] = 1 - _quarter_circle(weights[begin])
    return out_starts, faces[:total], weights[:total], likelihoods[:total], bare
