"""How good an amorphous structure is: density, coordination, g(r), bond angles, energy.

Anchors, for amorphous silicon only:

- density 2.285 g/cm^3: ion-implanted a-Si, 1.8 % less dense than the crystal (J. S. Custer et al.,
  Appl. Phys. Lett. 64, 437 (1994));
- mean coordination 3.88 annealed, 3.79 as implanted: X-ray diffraction (K. Laaziri et al., Phys.
  Rev. Lett. 82, 3460 (1999)); a continuous random network has 4 everywhere;
- bond angles 109.5 degrees with a spread of 9 to 10: relaxed continuous random networks of 1,000
  and 4,096 atoms (G. T. Barkema, N. Mousseau, Phys. Rev. B 62, 4985 (2000)); fast quenches have
  more, and up to 11 is called good here;
- 0.07 to 0.15 eV/atom above the crystal: the range that is usually quoted from calorimetry and
  well-relaxed models, for which no single source is given here. It depends on the potential.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.rdf import RadialDistribution, neighbour_pairs, radial_distribution

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Å. Lies in the gap between the first and second shell of amorphous silicon.
SILICON_CUTOFF = 2.85

#: Å^3 times this, times g/cm^3, is a mass in atomic mass units (CODATA 2018).
GRAMS_PER_CM3 = 1e-24 / 1.66053906660e-24

_R_MAX, _BIN = 8.0, 0.05

#: Longest bond in units of the shortest where g(r) shows no gap.
_WITHOUT_MINIMUM = 1.25

#: Experiment and good models of a-Si, as the module says; the card carries them.
SILICON_ANCHORS: dict[str, Any] = {
    "density": 2.285,
    "mean_coordination": [3.79, 4.0],
    "angle_width": [9.0, 11.0],
    "energy_above_crystal": [0.07, 0.15],
}

#: What a usable parent stays below; beyond it the report warns. The limits are ours: the mean
#: coordination of 3.88 that is measured leaves 12 percent of the atoms without four bonds.
_MOST_DEFECTS, _WIDEST_ANGLE, _HIGHEST_ENERGY = 0.12, 13.0, 0.20

#: Å. Hardly any two atoms of a solid are nearer.
_TOO_NEAR = 1.0

#: Degrees. Hot crystals reach 6, relaxed random networks begin at 9.
_NARROWEST_ANGLE = 7.5


@dataclass(frozen=True)
class Quality:
    """What was measured of one structure.

    Parameters
    ----------
    n_atoms : int
        Its atoms.
    density : float
        g/cm^3.
    cutoff : float
        Å; atoms nearer than this are bonded.
    cutoff_from : str
        Where the cutoff comes from.
    mean_coordination : float
        Bonds of an atom.
    coordination : dict of str to float
        Share of the atoms by their number of bonds.
    angle_mean, angle_width : float or None
        Mean and standard deviation of the bond angles, degrees.
    first_peak : float or None
        Place of the first peak of g(r), Å.
    closest_pair : float or None
        Shortest bond, Å; None without bonds.
    rdf : dict of str to list of float
        ``r`` (Å) and ``g``.
    energy_above_crystal : float or None
        eV per atom, by the potential that made it; None where not known.
    warnings : list of str
        What is wrong with it, in plain words.
    verdict : str
        One line.
    """

    n_atoms: int
    density: float
    cutoff: float
    cutoff_from: str
    mean_coordination: float
    coordination: dict[str, float]
    angle_mean: float | None
    angle_width: float | None
    first_peak: float | None
    closest_pair: float | None
    rdf: dict[str, list[float]]
    energy_above_crystal: float | None
    warnings: list[str]
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def assess(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike,
    energy_above_crystal: float | None = None,
    cutoff: float | None = None,
) -> Quality:
    """Measure a structure.

    Parameters
    ----------
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers.
    positions : array-like, shape (n_atoms, 3)
        Å.
    cell : array-like, shape (3, 3)
        Rows are vectors, Å; periodic in all directions.
    energy_above_crystal : float, optional
        eV per atom.
    cutoff : float, optional
        Longest bond, Å; by default 2.85 for silicon, and the first minimum of g(r) for others.

    Raises
    ------
    DismaiError
        If a number is not finite, the cell has no volume, or no atoms are near each other.
    """
    from ase.data import atomic_masses

    species = np.asarray(numbers, dtype=np.int64)
    silicon = bool((species == 14).all())
    rdf = radial_distribution(positions, cell, _R_MAX, _BIN)
    bond, origin = _cutoff(cutoff, silicon, rdf)
    first, _, vectors = neighbour_pairs(positions, cell, bond)
    bonds = np.bincount(first, minlength=len(species))
    volume = abs(np.linalg.det(np.asarray(cell, dtype=float)))
    angles = bond_angles(bonds, vectors)
    shares = np.bincount(bonds) / len(species)
    quality = Quality(
        n_atoms=len(species),
        density=float(atomic_masses[species].sum() / (volume * GRAMS_PER_CM3)),
        cutoff=bond,
        cutoff_from=origin,
        mean_coordination=float(bonds.mean()),
        coordination={str(k): float(share) for k, share in enumerate(shares) if share > 0},
        angle_mean=float(angles.mean()) if len(angles) else None,
        angle_width=float(angles.std()) if len(angles) else None,
        first_peak=rdf.first_peak(),
        closest_pair=float(np.linalg.norm(vectors, axis=1).min()) if len(vectors) else None,
        rdf={"r": np.round(rdf.r, 4).tolist(), "g": np.round(rdf.g, 4).tolist()},
        energy_above_crystal=energy_above_crystal,
        warnings=[],
        verdict="",
    )
    return _judged(quality, silicon)


def _cutoff(given: float | None, silicon: bool, rdf: RadialDistribution) -> tuple[float, str]:
    if given is not None:
        return given, "given"
    if silicon:
        return SILICON_CUTOFF, "silicon"
    minimum, peak = rdf.first_minimum(), rdf.first_peak()
    if minimum is not None:
        return minimum, "first minimum of g(r)"
    if peak is not None:
        return _WITHOUT_MINIMUM * peak, f"{_WITHOUT_MINIMUM} times the first peak of g(r)"
    raise DismaiError(f"no two atoms of the structure are nearer than {_R_MAX:g} Å: is it empty?")


def bond_angles(bonds: NDArray[np.int64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles between the bonds of each atom.

    Parameters
    ----------
    bonds : ndarray of int64, shape (n_atoms,)
        Number of bonds of each atom.
    vectors : ndarray, shape (sum of bonds, 3)
        Along the bonds, atom after atom.

    Returns
    -------
    ndarray, shape (n_angles,)
        Each pair of bonds once, degrees.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    starts = np.cumsum(bonds) - bonds
    angles = []
    for count in np.unique(bonds):
        i, j = np.triu_indices(int(count), 1)
        rows = starts[bonds == count][:, None]
        cosines = np.einsum("abk,abk->ab", units[rows + i], units[rows + j])
        angles.append(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))).ravel())
    return np.concatenate(angles) if angles else np.empty(0)


def _judged(quality: Quality, silicon: bool) -> Quality:
    """Return the same with warnings and a verdict; only silicon has anchors."""
    if not silicon:
        verdict = "no anchors for this material: judge the numbers yourself"
        near = quality.closest_pair is not None and quality.closest_pair < _TOO_NEAR
        pair = f"two atoms are {quality.closest_pair:.2f} Å apart" if near else ""
        return replace(quality, warnings=[pair] if near else [], verdict=verdict)
    warnings = _silicon_warnings(quality)
    verdict = (
        "close to good amorphous silicon"
        if not warnings
        else f"not good amorphous silicon: {len(warnings)} of its numbers are out of range"
    )
    return replace(quality, warnings=warnings, verdict=verdict)


def _silicon_warnings(quality: Quality) -> list[str]:
    found = []
    defects = 1 - quality.coordination.get("4", 0.0)
    width = quality.angle_width
    energy = quality.energy_above_crystal
    # Only a quench comes with an energy; a parent that is given cannot be quenched more slowly.
    mend = "" if energy is None else ": quench more slowly"
    if width is not None and width < _NARROWEST_ANGLE:
        found.append(
            f"bond angles spread by {width:.1f} degrees only: the structure is crystalline, or "
            "crystallised in part (a-Si: 9 to 11)"
        )
    if defects > _MOST_DEFECTS:
        found.append(
            f"{100 * defects:.1f} % of the atoms do not have four bonds (models: a few percent; "
            f"diffraction: 12 and more){mend}"
        )
    if width is not None and width > _WIDEST_ANGLE:
        found.append(f"bond angles spread by {width:.1f} degrees (good a-Si: 9 to 11){mend}")
    if energy is not None and energy > _HIGHEST_ENERGY:
        found.append(f"{energy:.3f} eV/atom above the crystal (good a-Si: 0.07 to 0.15){mend}")
    if abs(quality.density / SILICON_ANCHORS["density"] - 1) > 0.05:
        found.append(f"density {quality.density:.3f} g/cm^3 (measured a-Si: 2.285)")
    if quality.closest_pair is not None and quality.closest_pair < 1.9:
        found.append(f"two atoms are {quality.closest_pair:.2f} Å apart (bond: 2.35)")
    return found
