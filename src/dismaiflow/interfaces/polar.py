"""Polar slabs made neutral by Tasker's reconstruction.

A slab whose repeat unit has a dipole along the normal (type 3 of P. W. Tasker, J. Phys. C 12,
4977 (1979), doi 10.1088/0022-3719/12/22/036) has an energy that grows with its height. Moving a
share of the ions of its lowest plane by whole repeats to its upper side, where they land on sites
of the bulk, takes the dipole away: with mu the dipole of the slab, q_0 the charge of the ions of
that plane and h the height of the move, the share is -mu / (q_0 h). Which of the ions are moved
decides the energy, so the choices are ranked by the Ewald energy of the finished slab.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.stacks import arranged, expanded, turned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.interfaces.slab import Slab

#: Largest number of choices that are all ranked. Beyond it, the search is one of exchanges.
MAX_CHOICES = 5000

#: Random starts of the search by exchanges.
N_STARTS = 100

#: Vacuum above a slab in the Ewald sum, Å.
EWALD_VACUUM = 15.0

#: Ewald energies that differ by less are equal, eV: the first choice in order is then taken.
_ENERGY_TIE = 1e-5

#: Dipole per area below which a slab is not polar, e/Å.
NONPOLAR = 1e-6

#: How far a share or a number of ions may lie from the value it must have.
_SHARE_TOLERANCE = 1e-6

#: How far a share of ions may lie from a whole number of them. Coordinates are often given to
#: three or four digits; the dipole that this leaves is reported.
_WHOLE_TOLERANCE = 0.02

#: How far the share that a spec gives may lie from the one that the charges ask for.
_FRACTION_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class PolarMove:
    """A slab made neutral, and how its ions were chosen.

    Parameters
    ----------
    slab : Slab
        The finished slab.
    fraction : float
        Share of the ions of the lowest plane that was moved.
    n_moved, n_sites : int
        Ions moved and ions to choose from, in the cell in which the choice was made.
    in_supercell : bool
        Whether that was the supercell, because the share is no whole number of ions in the
        surface cell.
    n_choices : int
        Number of ways to choose them.
    exhaustive : bool
        Whether all were ranked; otherwise the best of a seeded search by exchanges was taken.
    energy : float
        Ewald energy of the choice taken, eV, in that cell.
    next_energy : float or None
        Lowest energy of a choice that is not equivalent in energy, eV; None if there was none.
    """

    slab: Slab
    fraction: float
    n_moved: int
    n_sites: int
    in_supercell: bool
    n_choices: int
    exhaustive: bool
    energy: float
    next_energy: float | None


def atom_charges(slab: Slab, charges: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the charge of each atom, e.

    Parameters
    ----------
    slab : Slab
        The slab.
    charges : mapping of str to float
        Charge of each element, e.

    Returns
    -------
    ndarray, shape (n_atoms,)
        Charges.

    Raises
    ------
    DismaiError
        When an element of the slab has no charge.
    """
    symbols = [chemical_symbols[number] for number in slab.numbers]
    missing = sorted(set(symbols) - set(charges))
    if missing:
        raise DismaiError(
            f"key 'oxidation_states' lacks {', '.join(missing)} of {slab.phase}: add the charge "
            "of each element"
        )
    return np.array([charges[symbol] for symbol in symbols], dtype=np.float64)


def dipole(slab: Slab, charges: Mapping[str, float]) -> float:
    """Return the dipole of a slab along its normal, about its middle.

    Parameters
    ----------
    slab : Slab
        The slab.
    charges : mapping of str to float
        Charge of each element, e.

    Returns
    -------
    float
        Dipole of the whole in-plane cell, e Å; divided by ``slab.area`` it is one per area.
    """
    z = slab.positions[:, 2]
    return float(atom_charges(slab, charges) @ (z - (z.min() + z.max()) / 2))


def share_to_move(slab: Slab, height: float, species: str, charges: Mapping[str, float]) -> float:
    """Return the share of the ions in the lowest plane whose move takes the dipole away.

    Parameters
    ----------
    slab : Slab
        Whole repeats of a crystal.
    height : float
        Height of the move, Å.
    species : str
        Element of the ions.
    charges : mapping of str to float
        Charge of each element, e.

    Returns
    -------
    float
        The share; one outside of 0 to 1 cannot be moved. 0 where there is no ion to move.
    """
    movable = len(_sites(slab, species)) * charges.get(species, 0.0)
    return -dipole(slab, charges) / (movable * height) if movable else 0.0


def neutralise(
    slab: Slab,
    step: NDArray[np.float64],
    species: str,
    charges: Mapping[str, float],
    *,
    matrix: Sequence[Sequence[int]] = ((1, 0), (0, 1)),
    fraction: float | None = None,
    seed: int = 0,
) -> PolarMove:
    """Take the dipole of a slab away by moving ions of its lowest plane to its upper side.

    The ions are chosen in the surface cell where their number is whole there, and the surface
    cell is repeated; otherwise in the supercell. All choices are ranked when there are at most
    `MAX_CHOICES`; otherwise `N_STARTS` random ones, each led downhill by the best exchange of a
    moved for an unmoved ion until none lowers the energy.

    Parameters
    ----------
    slab : Slab
        Whole repeats of a crystal, one surface cell wide.
    step : ndarray, shape (3,)
        Lattice vector by which ions are moved, Å: it carries the lowest plane onto the plane that
        follows the highest.
    species : str
        Element of the ions.
    charges : mapping of str to float
        Charge of each element, e.
    matrix : sequence of sequence of int, shape (2, 2)
        Supercell M of (u_s, v_s) = M (u, v), its determinant positive.
    fraction : float, optional
        Share that must come out.
    seed : int
        Of the search by exchanges.

    Returns
    -------
    PolarMove
        The finished supercell and how it was chosen.

    Raises
    ------
    DismaiError
        When the slab is charged or not polar, no share of these ions neutralises it, the share is
        not the one expected, or it is no whole number of ions in the supercell.
    """
    share = _checked_share(slab, float(step[2]), species, charges)
    if fraction is not None and abs(fraction - share) > _FRACTION_TOLERANCE:
        raise DismaiError(
            f"key 'polar_fix.fraction' is {fraction:g}, but the charges of {slab.phase} ask for "
            f"{share:.6g} of the {species} plane: correct it or leave it out"
        )
    ions_per_cell = share * len(_sites(slab, species))
    in_supercell = not _is_whole(ions_per_cell)
    if in_supercell:
        inverse = np.linalg.inv(slab.vectors) @ np.linalg.inv(np.array(matrix, dtype=float))
        step = np.append(step[:2] @ inverse @ turned(slab.vectors, matrix), step[2])
        slab = expanded(slab, matrix)
    sites = _sites(slab, species)
    if not _is_whole(share * len(sites)):
        raise DismaiError(
            f"key 'polar_fix': {share:.6g} of the {len(sites)} {species} in the lowest plane of "
            f"{slab.phase} is no whole number: {_supercell_mend(slab.phase, ions_per_cell)}"
        )
    n_moved = round(share * len(sites))
    constant, linear, pairs = _energies_of_choice(slab, sites, step, charges)
    chosen, energies, exhaustive = _choose(linear, pairs, n_moved, seed)
    best = float(energies.min())
    others = energies[energies > best + _ENERGY_TIE]
    done = _moved(slab, sites[chosen], step)
    return PolarMove(
        slab=done if in_supercell else expanded(done, matrix),
        fraction=share,
        n_moved=n_moved,
        n_sites=len(sites),
        in_supercell=in_supercell,
        n_choices=comb(len(sites), n_moved),
        exhaustive=exhaustive,
        energy=best + constant,
        next_energy=float(others.min()) + constant if len(others) else None,
    )


def _sites(slab: Slab, species: str) -> NDArray[np.intp]:
    """Return the atoms of the lowest plane that may be moved."""
    return np.flatnonzero((slab.planes == 0) & (slab.numbers == atomic_numbers[species]))


def _checked_share(slab: Slab, height: float, species: str, charges: Mapping[str, float]) -> float:
    """Return the share to move, if moving these ions can take the dipole away."""
    net = float(atom_charges(slab, charges).sum())
    if abs(net) > _SHARE_TOLERANCE:
        raise DismaiError(
            f"key 'oxidation_states': a slab of whole repeats of {slab.phase} has the charge "
            f"{net:+g} e: correct them so that its formula is neutral"
        )
    if abs(dipole(slab, charges)) / slab.area < NONPOLAR:
        raise DismaiError(
            f"key 'polar_fix': the slab of {slab.phase} has no dipole to take away: leave it out"
        )
    share = share_to_move(slab, height, species, charges)
    if not _SHARE_TOLERANCE < share < 1 - _SHARE_TOLERANCE:
        raise DismaiError(
            f"key 'polar_fix.species': no share of the {species} in the lowest plane of "
            f"{slab.phase} takes the dipole away (it would be {share:.6g}): name another element "
            "of a surface plane, or choose another termination"
        )
    return share


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < _WHOLE_TOLERANCE


def _supercell_mend(phase: str, ions_per_cell: float) -> str:
    """Say which supercells hold a whole number of moved ions."""
    size = next((n for n in range(2, 101) if _is_whole(ions_per_cell * n)), None)
    if size is None:
        return "choose another termination or move another element"
    return f"take a matrix in 'supercell.{phase}' whose determinant is a multiple of {size}"


def _energies_of_choice(
    slab: Slab, sites: NDArray[np.intp], step: NDArray[np.float64], charges: Mapping[str, float]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return E_0, l and Q of the Ewald energy E_0 + l.s + s.Q.s of moving the sites with s = 1.

    One Ewald sum over the slab with every site occupied both below and above gives the energy of
    each pair, and any choice is a sum over pairs. A choice is neutral, so that the sum over the
    charged whole needs no background.
    """
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Lattice, Species, Structure

    numbers = np.append(slab.numbers, slab.numbers[sites])
    positions = np.vstack([slab.positions, slab.positions[sites] + step])
    cell = np.zeros((3, 3))
    cell[:2, :2] = slab.vectors
    cell[2, 2] = np.ptp(positions[:, 2]) + EWALD_VACUUM
    symbols = [chemical_symbols[number] for number in numbers]
    species = [Species(symbol, charges[symbol]) for symbol in symbols]
    structure = Structure(Lattice(cell), species, positions, coords_are_cartesian=True)
    energy = np.asarray(EwaldSummation(structure).total_energy_matrix)

    above = np.arange(len(slab), len(numbers))
    below_below = energy[np.ix_(sites, sites)]
    below_above = energy[np.ix_(sites, above)]
    fixed = np.setdiff1d(np.arange(len(slab)), sites)
    before = np.arange(len(slab))
    linear = 2 * (
        energy[np.ix_(above, fixed)].sum(axis=1)
        - energy[np.ix_(sites, fixed)].sum(axis=1)
        - below_below.sum(axis=1)
        + below_above.sum(axis=0)
    )
    pairs = below_below + energy[np.ix_(above, above)] - below_above - below_above.T
    return float(energy[np.ix_(before, before)].sum()), linear, pairs


def _choose(
    linear: NDArray[np.float64], pairs: NDArray[np.float64], n_moved: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64], bool]:
    """Return the sites of the lowest energy, the energies seen, and whether these are all."""
    n_sites = len(linear)
    exhaustive = comb(n_sites, n_moved) <= MAX_CHOICES
    if exhaustive:
        choices = list(combinations(range(n_sites), n_moved))
    else:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        starts = (rng.permutation(n_sites)[:n_moved] for _ in range(N_STARTS))
        choices = sorted({_descend(linear, pairs, start) for start in starts})
    moved = np.zeros((len(choices), n_sites))
    np.put_along_axis(moved, np.array(choices), 1.0, axis=1)
    energies = moved @ linear + np.einsum("ni,ij,nj->n", moved, pairs, moved, optimize=True)
    first = int(np.argmax(energies <= energies.min() + _ENERGY_TIE))
    return np.array(choices[first]), energies, exhaustive


def _descend(
    linear: NDArray[np.float64], pairs: NDArray[np.float64], start: NDArray[np.intp]
) -> tuple[int, ...]:
    """Exchange a chosen for a left site, the best pair each time, while that lowers the energy."""
    moved = np.zeros(len(linear))
    moved[start] = 1.0
    diagonal = np.diag(pairs)
    while True:
        slope = linear + 2 * pairs @ moved
        chosen, left = np.flatnonzero(moved), np.flatnonzero(moved == 0)
        change = (
            (slope + diagonal)[left][None]
            - (slope - diagonal)[chosen][:, None]
            - 2 * pairs[np.ix_(chosen, left)]
        )
        i, j = np.unravel_index(np.argmin(change), change.shape)
        if change[i, j] > -_ENERGY_TIE:
            return tuple(chosen.tolist())
        moved[chosen[i]], moved[left[j]] = 0.0, 1.0


def _moved(slab: Slab, chosen: NDArray[np.intp], step: NDArray[np.float64]) -> Slab:
    """Return the slab with these atoms moved into a new highest plane."""
    positions, planes = slab.positions.copy(), slab.planes.copy()
    positions[chosen] += step
    planes[chosen] = slab.n_planes
    return arranged(slab.phase, slab.numbers, positions, slab.vectors, planes)
