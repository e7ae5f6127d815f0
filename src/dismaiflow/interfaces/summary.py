"""Check of an interface spec in plain words and pictures, for ``dismai systems check``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.membership import find_regions
from dismaiflow.interfaces.pictures import draw_side_views
from dismaiflow.interfaces.region import PlacementRow, placement_report
from dismaiflow.interfaces.statistics import geometry_facts
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.structures.files import explain_os_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dismaiflow.interfaces.matching import Match
    from dismaiflow.interfaces.slab import Slab
    from dismaiflow.interfaces.slabs import Termination
    from dismaiflow.systems import SystemSpec

#: Strain of the film, in percent, above which a match is called strained.
_MUCH_STRAIN = 5.0

#: Dipole per area above which a slab is called polar, e/Å.
_POLAR = 0.01

#: Further matches that are listed.
_N_OTHERS = 3

#: In-plane period in Å below which a region sees its own images.
_SHORT_PERIOD = 8.0


@dataclass(frozen=True)
class InterfaceCheck:
    """What was found.

    Parameters
    ----------
    headline : str
        The system in one line.
    lines : list of (str, str)
        Labels with what is to be said.
    warnings : list of str
        What deserves a second thought.
    pictures : list of Path
        The files drawn.
    facts : dict
        The numbers behind the lines.
    """

    headline: str
    lines: list[tuple[str, str]]
    warnings: list[str]
    pictures: list[Path]
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            **self.facts,
            "warnings": self.warnings,
            "pictures": [str(path) for path in self.pictures],
        }


def check_interface(spec: SystemSpec, folder: Path, seed: int = 0) -> InterfaceCheck:
    """Build an interface, try to fill its region, and draw it.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    folder : Path
        Where the pictures go; pictures of an earlier check are written over.
    seed : int
        Seed of the random structure that is drawn.

    Returns
    -------
    InterfaceCheck
        What to tell.

    Raises
    ------
    DismaiError
        If the interface cannot be built or its region not be filled, or the folder not be written.
    """
    system = InterfaceSystem.from_spec(spec)
    region = system.spec.interface.region
    rows = placement_report(system.host, region, system.region_counts, seed=seed)
    if not any(row.success_rate for row in rows):
        raise DismaiError(
            f"{spec.origin or spec.name}: key 'region.thickness': in {rows[0].n_tries} tries each, "
            f"the {sum(system.region_counts.values())} atoms of the region found no places "
            f"({_volumes(rows)}): make the region thicker, or lower region.formula_units or "
            "region.min_distances.scale"
        )
    pictures = _draw(system, folder, seed)
    resolved = system.spec
    facts = {
        "system": spec.name,
        "kind": spec.kind,
        "composition": dict(resolved.composition),
        "n_atoms": resolved.n_atoms,
        **geometry_facts(system),
        "placement": [
            {"thickness": row.thickness, "success": row.success_rate, "scale": row.mean_scale}
            for row in rows
        ],
    }
    warnings = _warnings(system, rows)
    verdict = "can be made; see the warnings" if warnings else "in order"
    what = f"{spec.kind}, {resolved.formula}, {resolved.n_atoms} atoms"
    return InterfaceCheck(
        headline=f"{spec.name}: {what}: {verdict}",
        lines=[
            ("supercell", "given" if spec.supercell else "found with the tolerances of matching"),
            *_match_lines(system),
            *_other_matches(system),
            *_slab_lines(system),
            *_region_lines(system, rows),
        ],
        warnings=warnings,
        pictures=pictures,
        facts=facts,
    )


def _match_lines(system: InterfaceSystem) -> list[tuple[str, str]]:
    match = system.match
    (a, b), (film_a, film_b) = match.lengths.tolist()
    low, high = (100 * float(strain) for strain in match.principal_strains)
    return [
        (
            "cell",
            f"a {a:.3f} Å, b {b:.3f} Å, gamma {match.gamma:.2f}°, area {match.area:.2f} Å², "
            f"c {system.host.cell[2, 2]:.2f} Å",
        ),
        (
            "mismatch",
            f"mean {match.mean_mismatch:.2f} % (the film has {film_a:.3f} and {film_b:.3f} Å, "
            f"{match.angles[1]:.2f}°)",
        ),
        (
            "strain",
            f"of the film: {low:+.2f} % and {high:+.2f} % along its principal axes, area "
            f"{100 * match.area_change:+.2f} %, angle {match.angle_change:+.2f}°",
        ),
    ]


def _other_matches(system: InterfaceSystem) -> list[tuple[str, str]]:
    """List the least strained of further matches, as they are written under ``supercell``."""
    parts = system.spec.interface

    def worst(match: Match) -> float:
        return 100 * float(np.abs(match.principal_strains).max())

    lines: list[tuple[str, str]] = []
    for match in sorted(system.other_matches, key=lambda one: round(worst(one), 6))[:_N_OTHERS]:
        ours, other = match.substrate_supercell.tolist(), match.film_supercell.tolist()
        text = (
            f"{match.area:.1f} Å², strain up to {worst(match):.2f} %: "
            f"{{{parts.substrate}: {ours}, {parts.film}: {other}}}"
        )
        lines.append(("" if lines else "or", text))
    more = len(system.other_matches) - len(lines)
    return [*lines, ("", f"and {more} more")] if more > 0 else lines


def _slab_lines(system: InterfaceSystem) -> list[tuple[str, str]]:
    lines = []
    parts = system.spec.interface
    for role, phase in (("substrate", parts.substrate), ("film", parts.film)):
        built = system.slabs[phase]
        slab = built.slab
        hkl = "".join(map(str, parts.miller[phase]))
        text = (
            f"{phase}({hkl}), {built.formula_units} formula units in {slab.n_planes} planes, "
            f"{len(slab)} atoms, {slab.height:.2f} Å, supercell "
            f"{[list(row) for row in (parts.supercell or {})[phase]]}"
        )
        if built.move is not None:
            text += "; " + _moved(system, phase)
        lines.append((role, text))
        if len(built.terminations) > 1:
            lines.append(("", f"ways to cut it: {_ways(built.terminations)}"))
    return lines


def _moved(system: InterfaceSystem, phase: str) -> str:
    fix = next(fix for fix in system.spec.interface.polar_fix if fix.phase == phase)
    return f"part of its outermost {fix.species} moved to the other side (Tasker 2b)"


def _ways(ways: Sequence[Termination]) -> str:
    """List the ways to cut a slab by their numbers, those that look alike together."""
    alike: dict[str, list[int]] = {}
    for way in ways:
        units = f"{way.formula_units:g} f.u." if way.stoichiometric else "no whole formula units"
        polar = "" if way.dipole is None else f", dipole {round(way.dipole, 3) + 0.0:g} e/Å"
        ends = f"{'+'.join(way.lowest)} to {'+'.join(way.highest)}"
        alike.setdefault(f"{ends}, {units}{polar}", []).append(way.index)
    return "; ".join(f"{', '.join(map(str, n))}: {text}" for text, n in alike.items())


def _region_lines(system: InterfaceSystem, rows: list[PlacementRow]) -> list[tuple[str, str]]:
    region = system.spec.interface.region
    atoms = " ".join(f"{symbol}{n}" for symbol, n in system.region_counts.items())
    low, high = region.thickness
    tries = "; ".join(
        f"at {row.thickness:g} Å {row.success_rate:.0%}"
        + ("" if row.mean_scale is None else f" (distances x {row.mean_scale:.3g})")
        for row in rows
    )
    return [
        (
            "region",
            f"{region.formula_units} formula units of {region.phase}: {atoms}; {low:g} to "
            f"{high:g} Å thick, {_volumes(rows)}",
        ),
        ("filled", f"{tries}, of {rows[0].n_tries} tries each"),
        ("vacuum", f"{system.vacuum:.2f} Å over the thickest region"),
    ]


def _volumes(rows: list[PlacementRow]) -> str:
    return f"{rows[0].volume_per_atom:.1f} to {rows[-1].volume_per_atom:.1f} Å³ per atom"


def _warnings(system: InterfaceSystem, rows: list[PlacementRow]) -> list[str]:
    found = []
    worst = 100 * float(np.abs(system.match.principal_strains).max())
    if worst > _MUCH_STRAIN:
        found.append(
            f"the film is strained by up to {worst:.1f} %: look for a better match (matching: a "
            "larger max_area, smaller tolerances)"
        )
    for phase, built in system.slabs.items():
        if built.dipole is not None and abs(built.dipole) > _POLAR:
            found.append(
                f"the slab of {phase} is polar ({built.dipole:.3g} e/Å): add polar_fix, or another "
                "of its terminations"
            )
    shortest = float(system.match.lengths[0].min())
    if shortest < _SHORT_PERIOD:
        found.append(
            f"the cell is only {shortest:.2f} Å wide: atoms of the region are near their own "
            "images; take a larger supercell"
        )
    full = system.spec.interface.region.min_distances.scale
    lowered = [row for row in rows if row.full_scale_rate < 1]
    if lowered:
        row = lowered[0]
        found.append(
            f"at {row.thickness:g} Å only {row.full_scale_rate:.0%} of the tries keep the minimum "
            f"distances x {full:g}; the others are made with smaller ones (label distance_scale)"
        )
    return found


def _draw(system: InterfaceSystem, folder: Path, seed: int) -> list[Path]:
    """Draw both slabs and one random interface."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    host, parts = system.host, system.spec.interface
    paths = []
    for role, slab in (("substrate", host.substrate), ("film", host.film)):
        paths.append(folder / f"{role}.png")
        _draw_slab(slab, role, paths[-1])
    made = RandomInterfaces(host, parts, system.spec.species).generate([0], seed)
    paths.append(folder / "random-interface.png")
    atoms = made.structures.atoms(0)
    found = find_regions(atoms.numbers, atoms.positions, atoms.cell.array, host)
    top = host.substrate.height
    thickness = float(made.structures.labels["thickness"][0])
    draw_side_views(
        atoms,
        paths[-1],
        f"{system.spec.name}: a random structure (seed {seed}), its region rimmed",
        marked=found.region,
        heights=[(top, parts.substrate), (top + thickness, parts.film)],
    )
    return paths


def _draw_slab(slab: Slab, role: str, path: Path) -> None:
    title = f"{role}: {slab.phase}, {slab.n_planes} planes, {len(slab)} atoms, {slab.height:.2f} Å"
    draw_side_views(slab.atoms(), path, title)
