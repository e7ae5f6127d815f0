"""Slabs of a crystal: which ways there are to cut one, and the slab itself."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.polar import PolarMove, dipole, neutralise, share_to_move
from dismaiflow.interfaces.stacks import expanded, stack_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

    from dismaiflow.interfaces.slab import Slab
    from dismaiflow.interfaces.stacks import Stack

#: The surface cell itself.
UNIT_MATRIX = ((1, 0), (0, 1))

#: Dipoles per area that differ by no more are alike, e/Å: rounded coordinates leave some.
_DIPOLE_TIE = 0.01

#: Gaps that differ by less are equal, Å.
_GAP_TIE = 1e-4


@dataclass(frozen=True)
class Termination:
    """One way to cut a slab with a given number of planes from a crystal.

    Parameters
    ----------
    index : int
        Number of this way: the plane of the repeat unit that is the lowest of the slab.
    lowest, highest : tuple of str
        Elements of the lowest and of the highest plane, by atomic number.
    formula_units : float or None
        Formula units in the supercell; None where the slab has another composition.
    dipole : float or None
        Dipole along the normal per area, about the middle, e/Å; None without charges.
    gap : float
        Gap between the planes at which the crystal is cut, the smaller of both sides, Å.
    """

    index: int
    lowest: tuple[str, ...]
    highest: tuple[str, ...]
    formula_units: float | None
    dipole: float | None
    gap: float

    @property
    def stoichiometric(self) -> bool:
        """Whether the slab holds a whole number of formula units."""
        return self.formula_units is not None and float(self.formula_units).is_integer()


def list_terminations(
    structure: Structure,
    basis: ArrayLike,
    layers: int,
    *,
    formula: Mapping[str, int] | None = None,
    charges: Mapping[str, float] | None = None,
    matrix: Sequence[Sequence[int]] = UNIT_MATRIX,
    moved: str | None = None,
    phase: str = "",
) -> list[Termination]:
    """Return the ways to cut a slab, in the order of their index.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        Conventional cell of the bulk.
    basis : array_like, shape (3, 3)
        Rows u, v, w as fractional coordinates of this cell, right-handed.
    layers : int
        Planes of the finished slab.
    formula : mapping of str to int, optional
        Atoms of each element in a formula unit; the reduced formula of the bulk by default.
    charges : mapping of str to float, optional
        Charge of each element, e, for the dipole.
    matrix : sequence of sequence of int, shape (2, 2)
        Supercell in the plane.
    moved : str, optional
        Element that a polar fix will move: the ways listed are then those of the slab before the
        move, which has one plane less, and only those whose lowest plane holds this element.
    phase : str, optional
        Name of the phase, for messages.

    Returns
    -------
    list of Termination
        The ways to cut it.
    """
    cut = layers if moved is None else layers - 1
    stack = stack_of(phase, structure, basis, turned_over=_size(matrix) < 0)
    ways = _terminations(
        stack, cut, formula or _reduced(stack.numbers), charges, abs(_size(matrix))
    )
    return [way for way in ways if moved is None or moved in way.lowest]


def build_slab(
    phase: str,
    structure: Structure,
    basis: ArrayLike,
    layers: int,
    matrix: Sequence[Sequence[int]] = UNIT_MATRIX,
    *,
    formula: Mapping[str, int] | None = None,
    charges: Mapping[str, float] | None = None,
    termination: int | None = None,
) -> Slab:
    """Return a slab of a crystal.

    Without a termination the best is taken: a whole number of formula units first, then the
    smallest dipole, then the widest gap.

    Parameters
    ----------
    phase : str
        Name of the phase.
    structure : pymatgen.core.Structure
        Conventional cell of the bulk.
    basis : array_like, shape (3, 3)
        Rows u, v, w as fractional coordinates of this cell, right-handed; the outward normal is
        u x v.
    layers : int
        Number of planes.
    matrix : sequence of sequence of int, shape (2, 2)
        M of (u_s, v_s) = M (u, v). With a negative determinant the slab is turned over, so that
        the supercell is right-handed with the same lengths and angle.
    formula : mapping of str to int, optional
        Atoms of each element in a formula unit; the reduced formula of the bulk by default.
    charges : mapping of str to float, optional
        Charge of each element, e. Without them the dipole is not looked at.
    termination : int, optional
        Index of the way to cut it, as `list_terminations` gives it.

    Returns
    -------
    Slab
        The slab: u_s along x, every atom inside the in-plane cell, the lowest at z = 0; sorted by
        plane, atomic number and position.

    Raises
    ------
    DismaiError
        When the supercell has no area, the termination does not exist, or no slab of this many
        planes holds whole formula units.
    """
    stack, upright = _stack_and_matrix(phase, structure, basis, matrix)
    formula = formula or _reduced(stack.numbers)
    ways = _terminations(stack, layers, formula, charges, _size(upright))
    if termination is not None:
        return expanded(stack.cut(_named(stack, termination, ways).index, layers), upright)
    whole = [way for way in ways if way.stoichiometric]
    if not whole:
        raise _no_whole_formula_units(stack, layers, formula, _size(upright))
    return expanded(stack.cut(best_termination(whole).index, layers), upright)


def build_neutral_slab(
    phase: str,
    structure: Structure,
    basis: ArrayLike,
    layers: int,
    matrix: Sequence[Sequence[int]] = UNIT_MATRIX,
    *,
    moved: str,
    charges: Mapping[str, float],
    fraction: float | None = None,
    termination: int | None = None,
    seed: int = 0,
) -> PolarMove:
    """Return a polar slab made neutral by moving ions of its lowest plane to its upper side.

    Parameters
    ----------
    phase, structure, basis, matrix
        As for `build_slab`.
    layers : int
        Planes of the finished slab, with both parts of the plane that is split: one more than a
        whole number of repeats has.
    moved : str
        Element of the ions that are moved. The slab is cut below a plane that holds it: one of
        which a share can be moved, then one that holds nothing else, then the widest gap.
    charges : mapping of str to float
        Charge of each element, e.
    fraction : float, optional
        Share of that plane which must come out.
    termination : int, optional
        Index of the way to cut it, as `list_terminations` gives it.
    seed : int
        Of the search for the ions, where it is not exhaustive.

    Returns
    -------
    PolarMove
        The slab, arranged as by `build_slab`, and how the ions were chosen.

    Raises
    ------
    DismaiError
        When the number of planes does not fit, no plane holds the element, or the dipole cannot
        be taken away (see `dismaiflow.interfaces.polar.neutralise`).
    """
    stack, upright = _stack_and_matrix(phase, structure, basis, matrix)
    repeats, rest = divmod(layers - 1, stack.n_planes)
    if rest or not repeats:
        near = sorted({max(repeats, 1), repeats + 1})
        fitting = " or ".join(str(n * stack.n_planes + 1) for n in near)
        raise DismaiError(
            f"key 'layers.{phase}' is {layers}, but with its polar fix the slab has one plane "
            f"more than whole repeats of {stack.n_planes}: take {fitting}"
        )
    step = repeats * stack.vectors[2]
    ways = _terminations(stack, layers - 1, _reduced(stack.numbers), charges, _size(upright))
    ways = [way for way in ways if moved in way.lowest]
    if not ways:
        raise DismaiError(
            f"key 'polar_fix.species' is {moved}, which {phase} does not hold: name one of "
            f"{', '.join(_symbols(stack.numbers))}"
        )
    cuts = {way.index: stack.cut(way.index, layers - 1) for way in ways}
    if termination is None:
        # A plane of which a share can be moved, then one of these ions alone, then the widest gap.
        movable = [
            way for way in ways if 0 < share_to_move(cuts[way.index], step[2], moved, charges) < 1
        ]
        fewest = min(len(way.lowest) for way in movable or ways)
        chosen = _widest([way for way in movable or ways if len(way.lowest) == fewest])
    else:
        chosen = _named(stack, termination, ways)
    return neutralise(
        cuts[chosen.index], step, moved, charges, matrix=upright, fraction=fraction, seed=seed
    )


def best_termination(ways: Sequence[Termination]) -> Termination:
    """Return the best way to cut a slab.

    Parameters
    ----------
    ways : sequence of Termination
        The ways.

    Returns
    -------
    Termination
        The one with whole formula units, then the smallest dipole, then the widest gap, then the
        lowest index.
    """
    whole = [way for way in ways if way.stoichiometric] or list(ways)
    least = min(abs(way.dipole or 0.0) for way in whole)
    return _widest([way for way in whole if abs(way.dipole or 0.0) <= least + _DIPOLE_TIE])


def _widest(ways: Sequence[Termination]) -> Termination:
    """Return the way with the widest gap; of equal ones that of the lowest index."""
    widest = max(way.gap for way in ways)
    return min((way for way in ways if way.gap >= widest - _GAP_TIE), key=lambda way: way.index)


def _size(matrix: Sequence[Sequence[int]]) -> int:
    """Return the determinant of a supercell."""
    (a, b), (c, d) = matrix
    return int(a) * int(d) - int(b) * int(c)


def _stack_and_matrix(
    phase: str, structure: Structure, basis: ArrayLike, matrix: Sequence[Sequence[int]]
) -> tuple[Stack, Sequence[Sequence[int]]]:
    """Return the stack and a supercell of positive size, the crystal turned over if need be."""
    size = _size(matrix)
    if size == 0:
        raise DismaiError(
            f"key 'supercell.{phase}' is {[list(row) for row in matrix]}, whose rows are parallel: "
            "give two that span an area"
        )
    stack = stack_of(phase, structure, basis, turned_over=size < 0)
    # Turned over, the surface vectors are (v, u).
    return stack, matrix if size > 0 else [list(row)[::-1] for row in matrix]


def _terminations(
    stack: Stack,
    layers: int,
    formula: Mapping[str, int],
    charges: Mapping[str, float] | None,
    size: int,
) -> list[Termination]:
    """Return the ways to cut this many planes from a stack."""
    return [
        _termination(stack, start, layers, formula, charges, size)
        for start in range(stack.n_planes)
    ]


def _termination(
    stack: Stack,
    start: int,
    layers: int,
    formula: Mapping[str, int],
    charges: Mapping[str, float] | None,
    size: int,
) -> Termination:
    slab = stack.cut(start, layers)
    end = (start + layers) % stack.n_planes
    units = _formula_units(slab, formula, size)
    return Termination(
        index=start,
        lowest=_symbols(slab.numbers[slab.planes == 0]),
        highest=_symbols(slab.numbers[slab.top_plane]),
        formula_units=None if units is None else float(units),
        dipole=None if charges is None else dipole(slab, charges) / slab.area,
        gap=min(stack.gap_below(start), stack.gap_below(end)),
    )


def _named(stack: Stack, index: int, ways: list[Termination]) -> Termination:
    """Return the termination of an index."""
    for way in ways:
        if way.index == index:
            return way
    offered = "; ".join(f"{way.index} ({'+'.join(way.lowest)} below)" for way in ways)
    raise DismaiError(f"key 'terminations.{stack.phase}' is {index}: there are {offered}")


def _symbols(numbers: ArrayLike) -> tuple[str, ...]:
    return tuple(chemical_symbols[number] for number in np.unique(numbers))


def _reduced(numbers: ArrayLike) -> dict[str, int]:
    """Return the reduced formula of a number of atoms."""
    values, counts = np.unique(numbers, return_counts=True)
    divisor = int(np.gcd.reduce(counts))
    return {
        chemical_symbols[value]: int(count) // divisor
        for value, count in zip(values, counts, strict=True)
    }


def _formula_units(slab: Slab, formula: Mapping[str, int], size: int) -> Fraction | None:
    """Return the formula units of a supercell of a slab; None for another composition."""
    counts = [int(np.count_nonzero(slab.numbers == atomic_numbers[s])) for s in formula]
    units = {Fraction(n * size, int(formula[s])) for s, n in zip(formula, counts, strict=True)}
    return units.pop() if len(units) == 1 and sum(counts) == len(slab) else None


def _no_whole_formula_units(
    stack: Stack, layers: int, formula: Mapping[str, int], size: int
) -> DismaiError:
    """Say which numbers of planes near the given one hold whole formula units."""
    reach = range(1, layers + stack.n_planes * max(formula.values()) + 1)
    whole = [
        n
        for n in reach
        if any(way.stoichiometric for way in _terminations(stack, n, formula, None, size))
    ]
    near = [n for n in whole if n < layers][-1:] + [n for n in whole if n > layers][:1]
    written = "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in formula.items())
    mend = " or ".join(map(str, near)) or "another formula"
    return DismaiError(
        f"key 'layers.{stack.phase}' is {layers}, but no slab of that many planes holds a whole "
        f"number of formula units {written}: take {mend}"
    )
