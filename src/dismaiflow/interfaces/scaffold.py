"""A first spec of an interface, filled in from the CIF files of its two crystals."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.lattice_planes import surface_vectors
from dismaiflow.interfaces.matching import Match, find_matches
from dismaiflow.interfaces.slabs import (
    best_termination,
    build_neutral_slab,
    build_slab,
    list_terminations,
)
from dismaiflow.systems.data_files import read_cif
from dismaiflow.systems.interface_blocks import Matching
from dismaiflow.systems.registry import TEMPLATES
from dismaiflow.systems.spec import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Height that a slab is given, Å.
SLAB_HEIGHT = 6.0
#: Density of the region at its middle thickness, as a share of the film's; 0.61 in lsc-lco.
REGION_DENSITY = 0.6
_REGION_THICKNESS = 5.0
#: Dipole per area above which a slab counts as polar, e/Å.
_POLAR = 1e-4
#: Largest area, and tolerance of lengths and angle, that are tried in turn.
_MATCHINGS = tuple(
    Matching(max_area=area, max_area_ratio_tol=0.09, max_length_tol=tol, max_angle_tol=tol)
    for area, tol in ((150.0, 0.03), (230.0, 0.05), (400.0, 0.05), (400.0, 0.08))
)
#: Area below which a cell is too small for disorder if there is a larger one, Å^2.
_LEAST_AREA = 60.0

#: Shortest in-plane period that is sought, Å: in narrower cells the region sees its own images.
_LEAST_PERIOD = 8.0
#: Matches in which slabs without a dipole are sought.
_N_MATCHES = 20


@dataclass(frozen=True, eq=False)
class _Crystal:
    """A crystal, and the surface that is cut from it."""

    name: str
    path: Path
    structure: Structure
    formula: dict[str, int]
    miller: tuple[int, int, int]
    basis: NDArray[np.float64]

    @property
    def surface(self) -> NDArray[np.float64]:
        return (self.basis @ np.asarray(self.structure.lattice.matrix))[:2]

    @property
    def formula_units(self) -> float:
        symbol, n = next(iter(self.formula.items()))
        return float(self.structure.composition[symbol]) / n


@dataclass(frozen=True)
class _Cut:
    """Planes of a slab, the ion that its polar fix moves, and whether it stays polar."""

    layers: int
    moved: str | None = None
    polar: bool = False


@dataclass(frozen=True)
class _Charges:
    """Guessed charges, and the ions they make."""

    states: dict[str, float] | None
    each: dict[str, float]
    cations: list[str]
    anions: list[str]


def interface_yaml_from_cifs(
    name: str,
    substrate_cif: str | Path,
    film_cif: str | Path,
    miller: Sequence[Sequence[int]] = ((1, 0, 0), (1, 0, 0)),
    layers: Sequence[int] | None = None,
    folder: str | Path = ".",
) -> str:
    """Return a commented YAML file of an interface of two crystals.

    Parameters
    ----------
    name : str
        Name of the system.
    substrate_cif, film_cif : path-like
        The crystals. Their cells are taken as they stand; Miller indices refer to them.
    miller : two sequences of 3 int
        Surfaces of substrate and film.
    layers : two int, optional
        Planes of each slab; by default as many as are about 6 Å high and hold whole formula
        units.
    folder : path-like
        Where the YAML will lie: the paths of the CIF files are written as seen from there.

    Returns
    -------
    str
        A valid spec. Oxidation states (pymatgen's guess), minimum distances (Shannon radii, and
        for cations the distances in the crystals), tolerances of the match, a polar fix where a
        slab is polar, and the formula units of the region are filled in, and marked as guessed.

    Raises
    ------
    DismaiError
        If a CIF file cannot be used, the two surfaces have no common supercell within wide
        tolerances, or no slab can be cut.
    """
    folder = Path(folder)
    paths = Path(substrate_cif), Path(film_cif)
    crystals = _crystals(paths, miller)
    charges = _guess_charges(crystals)
    matching, matches = _first_matches(*(crystal.surface for crystal in crystals))
    match, cuts = _first_without_dipole(crystals, matches, charges.states, layers)
    values = _crystal_values(crystals, match, cuts, folder)
    values |= _match_values(matching, match, is_first=match is matches[0])
    values |= _charge_values(charges)
    values["polar_fix"] = _polar_text(crystals, cuts, charges.anions[0])
    values |= _region_values(crystals, charges, match.area)
    values |= {"name": name, "slab_height": f"{SLAB_HEIGHT:g}"}
    template = (TEMPLATES / "interface_from_cifs.yaml").read_text(encoding="utf-8")
    text = Template(template).substitute(values)
    SystemSpec.from_yaml(text, f"new system {name!r}")
    return text


def _crystals(paths: Sequence[Path], miller: Sequence[Sequence[int]]) -> list[_Crystal]:
    """Read the crystals and name them by their formulas."""
    structures = [read_cif(path, "--cif") for path in paths]
    formulas = [_formula(structure) for structure in structures]
    names = ["".join(f"{s}{n if n > 1 else ''}" for s, n in f.items()) for f in formulas]
    if names[0] == names[1]:
        names = [f"{names[0]}-below", f"{names[1]}-above"]
    crystals = []
    for path, structure, formula, name, indices in zip(
        paths, structures, formulas, names, miller, strict=True
    ):
        h, k, m = (int(index) for index in indices)
        basis = surface_vectors(structure, (h, k, m), name)
        crystals.append(_Crystal(name, path, structure, formula, (h, k, m), basis))
    return crystals


def _formula(structure: Structure) -> dict[str, int]:
    """Return the reduced formula, the least electronegative element first."""
    reduced, _ = structure.composition.get_reduced_composition_and_factor()
    elements = sorted(reduced.elements, key=lambda element: (element.X, element.symbol))
    return {element.symbol: round(reduced[element]) for element in elements}


def _guess_charges(crystals: Sequence[_Crystal]) -> _Charges:
    """Guess charges by pymatgen; none where the crystals disagree about an element."""
    from pymatgen.core import Composition, Element

    each: dict[str, float] = {}
    agree = True
    for crystal in crystals:
        guesses = Composition(crystal.formula).oxi_state_guesses(max_sites=-1)
        for symbol, state in (guesses[0] if guesses else {}).items():
            agree = agree and each.get(symbol, state) == state
            each[symbol] = each.get(symbol) or float(state)
    symbols = sorted({s for c in crystals for s in c.formula}, key=lambda s: Element(s).X)
    anions = [s for s in symbols if each.get(s, 0.0) < 0] or symbols[-1:]
    cations = [s for s in symbols if s not in anions]
    complete = agree and all(each.get(symbol) for symbol in symbols)
    states = {s: each[s] for s in [*cations, *anions]} if complete else None
    return _Charges(states, each, cations, anions)


def _first_matches(
    substrate: NDArray[np.float64], film: NDArray[np.float64]
) -> tuple[Matching, list[Match]]:
    """Return the narrowest tolerances that give a match, and its matches."""
    for matching in _MATCHINGS:
        try:
            return matching, find_matches(substrate, film, matching)
        except DismaiError as error:
            last = error
    raise DismaiError(f"{last} (choose other surfaces with --miller)")


def _first_without_dipole(
    crystals: Sequence[_Crystal],
    matches: Sequence[Match],
    charges: Mapping[str, float] | None,
    layers: Sequence[int] | None,
) -> tuple[Match, list[_Cut]]:
    """Return the first match in which no slab stays polar, else the first one."""
    tried = []
    large = [match for match in matches if match.area > _LEAST_AREA]
    wide = [match for match in large if match.lengths[0].min() > _LEAST_PERIOD]
    for match in (wide or large or matches)[:_N_MATCHES]:
        supercells = match.substrate_supercell.tolist(), match.film_supercell.tolist()
        wanted = layers or (None, None)
        cuts = [
            _cut(crystal, supercell, charges, n)
            for crystal, supercell, n in zip(crystals, supercells, wanted, strict=True)
        ]
        if not any(cut.polar for cut in cuts):
            return match, cuts
        tried.append((match, cuts))
    return tried[0]


def _cut(
    crystal: _Crystal,
    supercell: list[list[int]],
    charges: Mapping[str, float] | None,
    wanted: int | None,
) -> _Cut:
    """Choose the planes of a slab: without a dipole if it can be, high enough, and few."""
    formula = crystal.formula
    n_repeat = _planes_of_repeat(crystal)
    polar: _Cut | None = None
    for n in range(2, 20 * n_repeat + 2) if wanted is None else [wanted]:
        if wanted is None and _height(crystal, n) < SLAB_HEIGHT - 0.1:
            continue
        ways = list_terminations(
            crystal.structure, crystal.basis, n, formula=formula, charges=charges, matrix=supercell
        )
        whole = [way for way in ways if way.stoichiometric]
        if whole and abs(best_termination(whole).dipole or 0.0) < _POLAR:
            return _Cut(n)
        polar = polar or (_Cut(n, polar=True) if whole else None)
        moved = _movable(crystal, supercell, charges, n) if charges else None
        if moved is not None:
            return _Cut(n, moved)
        if polar is not None and _height(crystal, n) > 3 * SLAB_HEIGHT:
            break
    if polar is None:
        # Nothing fits: the builder says why, and which numbers of planes would.
        build_slab(crystal.name, crystal.structure, crystal.basis, wanted or 2, supercell)
        raise DismaiError(f"no slab of {crystal.name} holds whole formula units: give layers")
    return polar


def _planes_of_repeat(crystal: _Crystal) -> int:
    """Return how many planes repeat along the normal: as many as there are ways to cut."""
    return len(list_terminations(crystal.structure, crystal.basis, 1, formula=crystal.formula))


def _height(crystal: _Crystal, n: int) -> float:
    """Return the height of n planes at the mean distance of planes, Å."""
    u, v, w = crystal.basis @ np.asarray(crystal.structure.lattice.matrix)
    normal = np.cross(u, v)
    return (n - 1) * float(normal @ w / np.linalg.norm(normal)) / _planes_of_repeat(crystal)


def _movable(
    crystal: _Crystal, supercell: list[list[int]], charges: Mapping[str, float], n: int
) -> str | None:
    """Return the ion whose move neutralises a slab of n planes at the lowest Ewald energy."""
    energies = {}
    for symbol in crystal.formula:
        try:
            move = build_neutral_slab(
                crystal.name,
                crystal.structure,
                crystal.basis,
                n,
                supercell,
                moved=symbol,
                charges=charges,
            )
        except DismaiError:
            continue
        cells = 1 if move.in_supercell else abs(round(float(np.linalg.det(supercell))))
        energies[symbol] = move.energy * cells / len(move.slab)
    return min(energies, key=energies.__getitem__) if energies else None


def _polar_text(crystals: Sequence[_Crystal], cuts: Sequence[_Cut], anion: str) -> str:
    """Return the key ``polar_fix``, as a comment where no slab needs it."""
    lines = [
        f"# The slab of {crystal.name} stays polar: no small supercell takes its dipole away."
        for crystal, cut in zip(crystals, cuts, strict=True)
        if cut.polar
    ]
    fixes = [
        {"phase": crystal.name, "species": cut.moved}
        for crystal, cut in zip(crystals, cuts, strict=True)
        if cut.moved is not None
    ]
    example = {"phase": crystals[1].name, "species": anion}
    lines.append(f"polar_fix: {_flow(fixes)}" if fixes else f"# polar_fix: {_flow(example)}")
    return "\n".join(lines)


def _crystal_values(
    crystals: Sequence[_Crystal], match: Match, cuts: Sequence[_Cut], folder: Path
) -> dict[str, str]:
    values: dict[str, str] = {}
    roles = "substrate", "film"
    supercells = match.substrate_supercell.tolist(), match.film_supercell.tolist()
    for role, crystal, supercell, cut in zip(roles, crystals, supercells, cuts, strict=True):
        cif = os.path.relpath(crystal.path.resolve(), folder.resolve())
        values |= {
            role: _flow(crystal.name),
            f"{role}_title": crystal.name + "(" + "".join(map(str, crystal.miller)) + ")",
            f"{role}_formula": _flow(crystal.formula),
            f"{role}_cif": _flow(Path(cif).as_posix()),
            f"{role}_miller": _flow(list(crystal.miller)),
            f"{role}_layers": str(cut.layers),
            f"{role}_supercell": _flow(supercell),
            f"{role}_source": _flow(f"{crystal.path.name}; say where it comes from"),
        }
    default = all(crystal.miller == (1, 0, 0) for crystal in crystals)
    values["miller_source"] = "guessed" if default else "given by you; say why"
    return values


def _match_values(matching: Matching, match: Match, is_first: bool) -> dict[str, str]:
    strains = " and ".join(f"{100 * strain:+.2f}" for strain in match.principal_strains)
    return {
        "matching": _flow(matching.model_dump()),
        # A cell that a search would not take must be written down.
        "supercell": "# supercell" if is_first else "supercell",
        "match_area": f"{match.area:.1f}",
        "match_lengths": " and ".join(f"{x:.3f}" for x in match.lengths[0]),
        "match_gamma": f"{match.gamma:.2f}",
        "match_mismatch": f"{match.mean_mismatch:.2f}",
        "match_strains": strains,
    }


def _charge_values(charges: _Charges) -> dict[str, str]:
    if charges.states is not None:
        states = {s: int(q) if q == int(q) else q for s, q in charges.states.items()}
        text = (
            "# Charges; each phase must be neutral. Their signs tell cations from anions.\n"
            f"oxidation_states: {_flow(states)}"
        )
        return {"charges": text, "charge_sources": "  oxidation_states: guessed by pymatgen"}
    text = (
        "# No charges were found that leave both crystals neutral. `oxidation_states: {Li: 1}`\n"
        "# would let polar slabs be told and mended; without it, say which ions are which:\n"
        f"cations: {_flow(charges.cations)}\nanions: {_flow(charges.anions)}"
    )
    note = "guessed from electronegativities"
    return {"charges": text, "charge_sources": f"  cations: {note}\n  anions: {note}"}


def _region_values(crystals: Sequence[_Crystal], charges: _Charges, area: float) -> dict[str, str]:
    film = crystals[1]
    per_unit = float(film.structure.volume) / film.formula_units
    at_bulk = area * _REGION_THICKNESS / per_unit
    units = max(1, round(REGION_DENSITY * at_bulk))
    symbols = [*charges.cations, *charges.anions]
    radii = {symbol: _radius(symbol, charges.each.get(symbol, 0.0)) for symbol in symbols}
    pairs = _cation_pairs(crystals, charges, radii)
    substrate = next(s for s in crystals[0].formula if s in symbols)
    return {
        "formula_units": str(units),
        "n_region": str(units * sum(film.formula.values())),
        "density": f"{100 * units / at_bulk:.0f} %",
        "radii": _flow(radii),
        "pairs": _flow(pairs),
        "exchange": f"{next(iter(film.formula))}-{substrate}",
        "radii_source": _flow(
            "guessed; radii of R. D. Shannon, Acta Cryst. A 32, 751 (1976), six neighbours, through"
            " pymatgen (its mean ionic or atomic radius where there is none); of two cations the"
            " shortest distance in the crystals"
        ),
    }


def _radius(symbol: str, charge: float) -> float:
    """Return the Shannon radius of an ion with six neighbours, or pymatgen's next best, Å."""
    from pymatgen.core import Element, Species

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's about missing radii
        for spin in ("", "Low Spin", "High Spin"):
            try:
                radius = Species(symbol, round(charge)).get_shannon_radius(
                    "VI", spin=spin, radius_type="ionic"
                )
            except (KeyError, ValueError):
                continue
            return float(radius)
        element = Element(symbol)
        return float(element.average_ionic_radius or element.atomic_radius or 1.0)


def _cation_pairs(
    crystals: Sequence[_Crystal], charges: _Charges, radii: Mapping[str, float]
) -> dict[str, float]:
    """Return the smallest distance of each pair of cations, Å.

    Radii of cations add up to less than they ever come near each other. The shortest distance in
    the crystals is taken, for a pair that is in neither the mean of those of each kind; at most
    that of two cations on opposite sides of the smallest anion.
    """
    found: dict[tuple[str, str], float] = {}
    for crystal in crystals:
        for pair in combinations_with_replacement(charges.cations, 2):
            distance = _shortest(crystal.structure, *pair)
            if distance is not None:
                found[pair] = min(distance, found.get(pair, distance))
    bridge = 2 * min(radii[symbol] for symbol in charges.anions)
    pairs = {}
    for first, second in combinations_with_replacement(charges.cations, 2):
        own = [found[(s, s)] for s in (first, second)]
        distance = found.get((first, second), sum(own) / 2)
        most = radii[first] + radii[second] + bridge
        pairs[f"{first}-{second}"] = round(min(distance, most), 2)
    return pairs


def _shortest(structure: Structure, first: str, second: str) -> float | None:
    """Return the shortest distance of two kinds in a crystal; None where one is not in it."""
    symbols = [site.specie.symbol for site in structure]
    if first not in symbols or second not in symbols:
        return None
    longest = max(structure.lattice.abc)
    centers, others, _, distances = structure.get_neighbor_list(longest + 0.1)
    kind = np.array(symbols)
    chosen = distances[(kind[centers] == first) & (kind[others] == second)]
    return float(chosen.min()) if len(chosen) else None


def _flow(value: Any) -> str:
    """Return a value as YAML in one line, quoted where YAML needs it."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()
