"""An interface system ready to be made: slabs in one common cell, every open value filled in."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols
from ase.geometry import cellpar_to_cell

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.bulk import bulk_structure
from dismaiflow.interfaces.lattice_planes import check_surface_vectors, surface_vectors
from dismaiflow.interfaces.matching import Match, find_matches, match_supercells
from dismaiflow.interfaces.polar import dipole
from dismaiflow.interfaces.slab import Host, Slab
from dismaiflow.interfaces.slabs import (
    Termination,
    build_neutral_slab,
    build_slab,
    list_terminations,
)
from dismaiflow.systems.fields import split_pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from dismaiflow.interfaces.polar import PolarMove
    from dismaiflow.systems import SystemSpec
    from dismaiflow.systems.interface_blocks import InterfaceParts, PolarFix

#: How far a cell that a spec gives may lie from that of the slabs, Å and degrees.
CELL_TOLERANCE = 0.01
#: Matches that are tried, if the slabs of the first cannot be built.
_N_MATCHES = 10
#: Most atoms of an interface.
MAX_ATOMS = 20_000
#: Share of a volume that spheres fill at most when they are packed at random.
RANDOM_CLOSE_PACKING = 0.64


@dataclass(frozen=True, eq=False)
class BuiltSlab:
    """A slab of an interface before it is strained to the common cell.

    Parameters
    ----------
    slab : Slab
        The finished slab, in its own lattice.
    formula_units : int
        Formula units that it holds.
    terminations : list of Termination
        The ways to cut it, of which ``terminations`` in the spec picks one.
    dipole : float or None
        Dipole per area along the normal, e/Å; None without oxidation states.
    move : PolarMove or None
        How the polar fix chose its ions; None where the spec has none for this slab.
    """

    slab: Slab
    formula_units: int
    terminations: list[Termination]
    dipole: float | None
    move: PolarMove | None


@dataclass(frozen=True, eq=False)
class InterfaceSystem:
    """An interface with its slabs built and its common cell settled.

    Parameters
    ----------
    spec : SystemSpec
        The spec with everything filled in that followed from other keys (composition, cell,
        surface vectors, supercell, formula units of the slabs), free of files.
    host : Host
        The slabs in the common cell.
    match : Match
        The supercells, and the strain of the film.
    slabs : dict of str to BuiltSlab
        By phase, substrate first.
    region_counts : dict of str to int
        Atoms of each element that are placed at random.
    other_matches : tuple of Match
        Further supercells that were found, the smallest first; none where the spec gives one.
    """

    spec: SystemSpec
    host: Host
    match: Match
    slabs: dict[str, BuiltSlab]
    region_counts: dict[str, int]
    other_matches: tuple[Match, ...] = ()

    @classmethod
    def from_spec(cls, spec: SystemSpec) -> InterfaceSystem:
        """Build the slabs of a spec and settle what it leaves open.

        Parameters
        ----------
        spec : SystemSpec
            An interface. Its supercell is taken if it gives one; otherwise the smallest match,
            and of equally large ones the least strained.

        Raises
        ------
        DismaiError
            If a crystal, a match or a slab cannot be made, the cell or the composition does not
            fit what was built, or the region is too thin for its atoms. The line names the key.
        """
        spec = spec.self_contained()
        try:
            return cls._build(spec)
        except DismaiError as error:
            raise DismaiError(f"{spec.origin or spec.name}: {error}") from None

    @classmethod
    def _build(cls, spec: SystemSpec) -> InterfaceSystem:
        parts = spec.interface
        phases = parts.substrate, parts.film
        crystals = {phase: bulk_structure(parts.bulk[phase], phase) for phase in phases}
        bases = {phase: _basis(parts, phase, crystals[phase]) for phase in phases}
        matches = _matches(parts, crystals, bases)
        match, slabs = _matched_slabs(parts, matches, crystals, bases, spec.oxidation_states)
        supercells = dict(
            zip(phases, (match.substrate_supercell, match.film_supercell), strict=True)
        )
        host = _host(spec, match, slabs[parts.substrate].slab, slabs[parts.film].slab)
        counts = parts.region_counts
        _check_size(sum(counts.values()) + len(host.substrate) + len(host.film))
        _check_room(parts, host.area, counts)
        _check_exchanges(parts, host.substrate, counts)
        units = {phase: slabs[phase].formula_units for phase in phases}
        filled: dict[str, Any] = {
            "composition": _composition(spec, slabs, counts),
            "cell": spec.cell or _cell_of(host),
            "surface_vectors": {phase: bases[phase].tolist() for phase in phases},
            "supercell": {phase: supercells[phase].tolist() for phase in phases},
            "slab_formula_units": units,
        }
        others = tuple(other for other in matches if other is not match)
        return cls(_resolved(spec, filled), host, match, slabs, counts, others)

    @property
    def n_atoms(self) -> int:
        """Atoms in a structure."""
        return sum(self.region_counts.values()) + len(self.host.substrate) + len(self.host.film)

    @property
    def vacuum(self) -> float:
        """Vacuum over the thickest region, Å."""
        slabs = self.host.substrate.height + self.host.film.height
        return float(self.host.cell[2, 2]) - slabs - self.spec.interface.region.thickness[1]


def _basis(parts: InterfaceParts, phase: str, crystal: Structure) -> NDArray[np.float64]:
    """Return u, v, w of a slab as rows in its conventional cell: the spec's, or computed."""
    miller = parts.miller[phase]
    if parts.surface_vectors is None:
        return surface_vectors(crystal, miller, phase)
    return check_surface_vectors(crystal, miller, parts.surface_vectors[phase], phase)


def _matched_slabs(
    parts: InterfaceParts,
    matches: Sequence[Match],
    crystals: Mapping[str, Structure],
    bases: Mapping[str, NDArray[np.float64]],
    charges: Mapping[str, float] | None,
) -> tuple[Match, dict[str, BuiltSlab]]:
    """Return the first match of which both slabs can be built: a polar fix needs even cells."""
    first_error: DismaiError | None = None
    for match in matches[:_N_MATCHES]:
        supercells = match.substrate_supercell, match.film_supercell
        try:
            return match, {
                phase: _built(
                    parts, phase, crystals[phase], bases[phase], supercell.tolist(), charges
                )
                for phase, supercell in zip((parts.substrate, parts.film), supercells, strict=True)
            }
        except DismaiError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _matches(
    parts: InterfaceParts,
    crystals: Mapping[str, Structure],
    bases: Mapping[str, NDArray[np.float64]],
) -> list[Match]:
    """Return the given supercell, or all that are found, the smallest first."""
    phases = parts.substrate, parts.film
    surfaces = [(bases[p] @ np.asarray(crystals[p].lattice.matrix))[:2] for p in phases]
    if parts.supercell is not None:
        return [match_supercells(*surfaces, *(parts.supercell[phase] for phase in phases))]
    assert parts.matching is not None
    return find_matches(surfaces[0], surfaces[1], parts.matching)


def _built(
    parts: InterfaceParts,
    phase: str,
    crystal: Structure,
    basis: NDArray[np.float64],
    supercell: list[list[int]],
    charges: Mapping[str, float] | None,
) -> BuiltSlab:
    formula = dict(parts.bulk[phase].formula)
    layers, termination = parts.layers[phase], parts.terminations.get(phase)
    fix = next((fix for fix in parts.polar_fix if fix.phase == phase), None)
    ways = list_terminations(
        crystal,
        basis,
        layers,
        formula=formula,
        charges=charges,
        matrix=supercell,
        moved=fix.species if fix else None,
        phase=phase,
    )
    move = None
    if fix is None:
        slab = build_slab(
            phase,
            crystal,
            basis,
            layers,
            supercell,
            formula=formula,
            charges=charges,
            termination=termination,
        )
    else:
        move = _neutralised(fix, crystal, basis, layers, supercell, charges, termination)
        slab = move.slab
    return BuiltSlab(
        slab=slab,
        formula_units=_formula_units(slab, formula, parts),
        terminations=ways,
        dipole=None if charges is None else dipole(slab, charges) / slab.area,
        move=move,
    )


def _neutralised(
    fix: PolarFix,
    crystal: Structure,
    basis: NDArray[np.float64],
    layers: int,
    supercell: list[list[int]],
    charges: Mapping[str, float] | None,
    termination: int | None,
) -> PolarMove:
    if charges is None:
        raise DismaiError("key 'oxidation_states' is missing: polar_fix needs the charges")
    return build_neutral_slab(
        fix.phase,
        crystal,
        basis,
        layers,
        supercell,
        moved=fix.species,
        charges=charges,
        fraction=fix.fraction,
        termination=termination,
    )


def _formula_units(slab: Slab, formula: Mapping[str, int], parts: InterfaceParts) -> int:
    """Return the formula units of a slab, which must be whole and those that the spec names."""
    counts = _counts(slab)
    units = {counts[symbol] / n for symbol, n in formula.items()}
    if len(units) > 1 or not next(iter(units)).is_integer():
        found = " ".join(f"{symbol}{n}" for symbol, n in counts.items())
        key = "terminations" if slab.phase in parts.terminations else "layers"
        raise DismaiError(
            f"key '{key}.{slab.phase}': the slab holds {found}, which is no whole number of "
            "formula units: choose another termination or number of layers"
        )
    n = round(units.pop())
    wanted = (parts.slab_formula_units or {}).get(slab.phase, n)
    if wanted != n:
        raise DismaiError(
            f"key 'slab_formula_units.{slab.phase}' is {wanted}, but layers and supercell make "
            f"{n}: mend one of them, or leave slab_formula_units out"
        )
    return n


def _counts(slab: Slab) -> Counter[str]:
    return Counter(chemical_symbols[number] for number in slab.numbers)


def _host(spec: SystemSpec, match: Match, substrate: Slab, film: Slab) -> Host:
    """Return the slabs in the common cell, the film strained in the plane."""
    parts = spec.interface
    needed = substrate.height + film.height + parts.region.thickness[1] + parts.vacuum
    cell = np.zeros((3, 3))
    if spec.cell is None:
        cell[:2, :2] = match.substrate
        # Rounded up, but not for the sake of the last bit of the sum.
        cell[2, 2] = math.ceil(100 * needed - 1e-6) / 100
    else:
        cell[:] = _given_cell(np.array(spec.cell.vectors), match, needed)
    return Host(_strained(substrate, cell[:2, :2]), _strained(film, cell[:2, :2]), cell)


def _strained(slab: Slab, vectors: NDArray[np.float64]) -> Slab:
    """Return a slab mapped linearly on other in-plane vectors, its heights kept."""
    in_plane = slab.positions[:, :2] @ np.linalg.solve(slab.vectors, vectors)
    positions = np.column_stack([in_plane, slab.positions[:, 2]])
    return replace(slab, positions=positions, vectors=vectors.copy())


def _given_cell(vectors: NDArray[np.float64], match: Match, needed: float) -> NDArray[np.float64]:
    """Return the cell of the spec in standard orientation, after checks against the slabs."""
    from ase.geometry import cell_to_cellpar

    a, b, c, alpha, beta, gamma = (float(x) for x in cell_to_cellpar(vectors))
    own = {"a": (a, match.lengths[0, 0]), "b": (b, match.lengths[0, 1])}
    own |= {"alpha": (alpha, 90.0), "beta": (beta, 90.0), "gamma": (gamma, match.gamma)}
    for name, (given, made) in own.items():
        if abs(given - made) > CELL_TOLERANCE:
            raise DismaiError(
                f"key 'cell' has {name} = {given:.4f}, but the supercell of the substrate has "
                f"{made:.4f}: mend it, or leave cell out and it is computed"
            )
    if c < needed - 1e-6:
        raise DismaiError(
            f"key 'cell' has c = {c:.2f} Å, but slabs, thickest region and vacuum need "
            f"{needed:.2f} Å: lengthen c, or leave cell out and it is computed"
        )
    return np.asarray(cellpar_to_cell([a, b, c, 90, 90, gamma]), dtype=np.float64)


def _cell_of(host: Host) -> dict[str, list[float]]:
    a, b, c = np.linalg.norm(host.cell, axis=1).tolist()
    gamma = math.degrees(math.acos(float(host.cell[0] @ host.cell[1]) / (a * b)))
    return {"lengths": [a, b, c], "angles": [90.0, 90.0, gamma]}


def _check_room(parts: InterfaceParts, area: float, counts: Mapping[str, int]) -> None:
    """Refuse a region in which not even close packing puts the atoms at their distances."""
    region = parts.region
    spheres = sum(
        n * math.pi / 6 * region.min_distances.of(symbol, symbol) ** 3
        for symbol, n in counts.items()
    )
    low = region.thickness[0]
    if spheres > RANDOM_CLOSE_PACKING * area * low:
        least = spheres / (RANDOM_CLOSE_PACKING * area)
        raise DismaiError(
            f"key 'region.thickness': {low:g} Å is too thin for {sum(counts.values())} atoms, "
            f"which at their minimum distances fill {spheres / (area * low):.2f} of the volume "
            f"({RANDOM_CLOSE_PACKING} is the most of random packing): give much more than "
            f"{math.ceil(10 * least) / 10:g} Å, or lower region.formula_units or "
            "region.min_distances.scale"
        )


def _check_size(n_atoms: int) -> None:
    if n_atoms > MAX_ATOMS:
        raise DismaiError(
            f"key 'supercell' or 'layers': the interface would have {n_atoms:,} atoms, more than "
            f"{MAX_ATOMS:,}: make one of them smaller"
        )


def _check_exchanges(parts: InterfaceParts, substrate: Slab, region: Mapping[str, int]) -> None:
    """Refuse limits beyond the ions that are there: no number up to them would be as likely."""
    layer = Counter(chemical_symbols[z] for z in substrate.numbers[substrate.top_plane])
    for pair, limit in parts.exchanges.limits.items() if parts.exchanges else ():
        inside, outside = split_pair(pair)
        for symbol, n, where in (
            (inside, region.get(inside, 0), "the region"),
            (outside, layer[outside], f"the top plane of {substrate.phase}"),
        ):
            if limit > n:
                raise DismaiError(
                    f"key 'exchanges.limits.{pair}' is {limit}, but {where} has {n} {symbol}: "
                    "lower it to that at most"
                )


def _composition(
    spec: SystemSpec, slabs: Mapping[str, BuiltSlab], region: Mapping[str, int]
) -> dict[str, int]:
    """Return the atoms of each element, which must be those that the spec names, if it does."""
    total = Counter(region)
    for built in slabs.values():
        total.update(_counts(built.slab))
    if spec.composition and dict(total) != dict(spec.composition):
        made = ", ".join(f"{symbol}: {total[symbol]}" for symbol in spec.species)
        pieces = [f"{built.formula_units} {phase} in its slab" for phase, built in slabs.items()]
        pieces.append(f"{spec.interface.region.formula_units} in the region")
        raise DismaiError(
            f"key 'composition' is not what was built, {{{made}}} ({', '.join(pieces)}): mend it, "
            "layers, supercell or region.formula_units, or leave composition out"
        )
    return {symbol: total[symbol] for symbol in spec.species}


def _resolved(spec: SystemSpec, filled: Mapping[str, Any]) -> SystemSpec:
    """Return the spec with these keys, and with a source for those that it had left open."""
    data = spec.model_dump()
    sources = dict(spec.sources)
    for key in filled:
        if not data[key]:
            sources.setdefault(key, "computed by dismaiflow from the other keys")
    return type(spec).from_dict(data | dict(filled) | {"sources": sources}, spec.origin, spec.path)
