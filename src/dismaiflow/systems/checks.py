"""What the keys of a spec must say about each other.

Each check raises a ValueError that names the key and the mend.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Any, Literal

from dismaiflow.errors import suggestion
from dismaiflow.systems.blocks import (
    DATASET_BLOCKS,
    DatasetSpec,
    ExpansionData,
    Lattice,
    Parent,
    Slice,
)
from dismaiflow.systems.fields import Cell, Composition, split_pair
from dismaiflow.systems.interface_blocks import InterfaceParts

Kind = Literal["alloy", "amorphous", "interface"]
KINDS: tuple[Kind, ...] = ("alloy", "amorphous", "interface")

#: Keys that only one kind of system has: the required ones with an example, then the others.
REQUIRED_KEYS: dict[str, dict[str, str]] = {
    "alloy": {
        "lattice": "{type: fcc, a: 3.6, supercell: [4, 4, 4]}",
        "cluster_expansion": "fe_ni_cr_eci.json",
        "temperature": "300",
    },
    "amorphous": {"parent": "{n_atoms: 100000}", "block": "{n_atoms: 256}"},
    "interface": {
        "bulk": "{MgO: {formula: {Mg: 1, O: 1}, cif: MgO.cif}, ...}",
        "miller": "{MgO: [1, 0, 0], LiF: [1, 0, 0]}",
        "layers": "{MgO: 4, LiF: 4}",
        "region": "{phase: LiF, formula_units: 3, thickness: [4, 6], min_distances: ...}",
    },
}
OPTIONAL_KEYS: dict[str, tuple[str, ...]] = {
    "alloy": ("order_filter",),
    "amorphous": (),
    "interface": (
        "area",
        "substrate",
        "surface_vectors",
        "supercell",
        "matching",
        "slab_formula_units",
        "terminations",
        "polar_fix",
        "exchanges",
        "vacuum",
        "atom_order",
        "dft",
    ),
}
_KIND_METRICS: dict[str, tuple[str, ...]] = {
    "alloy": ("d_cluster", "percent_with_vacancies", "percent_failed"),
    "amorphous": ("d_motif", "d_rdf", "d_angle", "percent_failed"),
    "interface": ("d_all", "percent_failed"),
}


def check_kind_keys(kind: Kind, keys: Mapping[str, Any], dataset: DatasetSpec) -> None:
    """Check that a spec has the keys of its kind, and none of another.

    Parameters
    ----------
    kind : str
        The kind of the system.
    keys : dict
        All keys of the spec, None where not given.
    dataset : DatasetSpec
        Its dataset block.
    """
    for other in KINDS:
        for key in (*REQUIRED_KEYS[other], *OPTIONAL_KEYS[other]):
            if other != kind and keys[key] is not None:
                raise ValueError(
                    f"key '{key}' belongs to systems of kind {other}, and this one is of kind "
                    f"{kind}: remove it or change kind"
                )
    for key, example in REQUIRED_KEYS[kind].items():
        if keys[key] is None:
            raise ValueError(f"key '{key}' is missing: add it, such as {key}: {example}")
    if kind != "interface" and not keys["composition"]:
        raise ValueError(
            "key 'composition' is missing: add it, such as composition: {Fe: 154, Ni: 51, Cr: 51}"
        )
    if kind == "alloy" and keys["cell"] is not None:
        raise ValueError("key 'cell' follows from lattice in an alloy: remove it")
    for key in ("sampling", "relaxation", "energy_filter"):
        if key not in DATASET_BLOCKS[kind] and getattr(dataset, key) is not None:
            raise ValueError(
                f"key 'dataset.{key}' does not apply to systems of kind {kind}: remove it"
            )


def check_charges(
    kind: Kind,
    species: Sequence[str],
    composition: Composition,
    states: Mapping[str, float] | None,
    cations: Sequence[str] | None,
    anions: Sequence[str] | None,
    allow_charged: bool,
) -> None:
    """Check oxidation states, cations and anions against the species and their counts.

    ``composition`` is empty while it is open; the species of an interface are then those of its
    bulk phases.
    """
    where = "composition" if composition else "any bulk formula"
    for key, symbols in (("oxidation_states", states), ("cations", cations), ("anions", anions)):
        for symbol in symbols or ():
            if symbol not in species:
                raise ValueError(f"key '{key}' names {symbol}, which is not in {where}: remove it")
    both = set(cations or ()) & set(anions or ())
    if both:
        raise ValueError(f"key 'anions' repeats {min(both)} of cations: remove one")
    if kind == "interface" and not (cations and anions):
        raise ValueError(
            "key 'oxidation_states' is missing: an interface needs it, or cations and anions"
        )
    if states is None:
        return
    for symbol in species:
        if symbol not in states:
            raise ValueError(f"key 'oxidation_states' lacks {symbol}: add its charge")
    charge = sum(n * states[symbol] for symbol, n in composition.items())
    if abs(charge) > 1e-6 and not allow_charged:
        raise ValueError(
            f"key 'composition' has charge {charge:+g} with these oxidation_states: mend one "
            "of them, or set allow_charged: true"
        )


def default_metrics(kind: Kind, cations: Sequence[str] | None) -> tuple[str, ...]:
    """Return the metrics of a kind of system, as the paper has them (section 4.3)."""
    by_cation = [f"d_{symbol.lower()}" for symbol in cations or ()] if kind == "interface" else []
    return (*by_cation, *_KIND_METRICS[kind])


def check_metrics(kind: Kind, metrics: Sequence[str], cations: Sequence[str] | None) -> None:
    """Check that each metric exists and applies to the system."""
    known = list(default_metrics(kind, cations))
    if kind == "amorphous" and cations:
        known += [*(f"d_{symbol.lower()}" for symbol in cations), "d_all"]
    for metric in metrics:
        if metric not in known:
            raise ValueError(
                f"key 'metrics': no metric {metric!r} for this system: {suggestion(metric, known)}"
            )


def check_sources(sources: Mapping[str, str], spec: Mapping[str, Any]) -> None:
    """Check that each source is about a key of the spec, nested ones written ``a/b``."""
    for key in sources:
        place: Any = spec
        for part in key.split("/") if key != "system" else ():
            if not isinstance(place, dict) or part not in place:
                known = list(place) if isinstance(place, dict) else []
                raise ValueError(
                    f"key 'sources.{key}' is about no key of the spec: {suggestion(part, known)}"
                )
            place = place[part]


def check_alloy(
    composition: Composition,
    lattice: Lattice,
    temperature: float,
    dataset: DatasetSpec,
    expansion: str | ExpansionData,
) -> None:
    """Check what the parts of an alloy spec say about each other."""
    n_atoms = sum(composition.values())
    if n_atoms != lattice.n_sites:
        cells = " x ".join(map(str, lattice.supercell))
        raise ValueError(
            f"key 'composition' adds up to {n_atoms} atoms, but the {cells} {lattice.type} "
            f"supercell has {lattice.n_sites} sites: change the counts or lattice.supercell"
        )
    if temperature <= 0:
        raise ValueError(f"key 'temperature' should be greater than 0 K, got {temperature}")
    sampling = dataset.sampling
    if sampling is not None and sampling.n_snapshots < dataset.n_structures:
        raise ValueError(
            f"key 'dataset.n_structures' asks for {dataset.n_structures}, but dataset.sampling "
            f"saves only {sampling.n_snapshots} snapshots: raise n_runs or n_passes"
        )
    if isinstance(expansion, ExpansionData):
        for symbol in composition:
            if symbol not in expansion.monomer:
                raise ValueError(
                    f"key 'cluster_expansion.monomer' lacks {symbol}: add its energy (0 if none)"
                )


def check_amorphous(composition: Composition, parent: Parent, block: Slice) -> None:
    """Check what the parts of an amorphous spec say about each other."""
    n_atoms = sum(composition.values())
    if block.n_atoms != n_atoms:
        raise ValueError(
            f"key 'block.n_atoms' is {block.n_atoms}, but composition adds up to {n_atoms} "
            "atoms: make them equal"
        )
    if parent.n_atoms < block.n_atoms:
        raise ValueError(
            f"key 'parent.n_atoms' is {parent.n_atoms}, less than one block of {block.n_atoms} "
            "atoms: take a larger parent"
        )
    quench = parent.quench
    if quench is None:
        return
    if quench.n_atoms is not None and quench.n_atoms < block.n_atoms:
        raise ValueError(
            f"key 'parent.quench.n_atoms' is {quench.n_atoms}, less than one block of "
            f"{block.n_atoms} atoms: take a larger parent"
        )
    named = ("melt_temperature", "quench_from", "quench_to", "final_temperature")
    falling = [(key, getattr(quench, key)) for key in named if getattr(quench, key) is not None]
    for (hot, above), (cold, below) in pairwise(falling):
        if below > above:
            raise ValueError(
                f"key 'parent.quench.{cold}' is {below:g} K, above {hot} of {above:g} K: a quench "
                "cools"
            )


def _check_phase(key: str, phase: str, phases: Sequence[str]) -> None:
    if phase not in phases:
        raise ValueError(f"key '{key}': no phase {phase!r}: {suggestion(phase, phases)}")


def _check_slabs(parts: InterfaceParts) -> None:
    """Check that every entry about the slabs names the same two phases."""
    slabs = list(parts.miller)
    for phase in slabs:
        _check_phase("miller", phase, list(parts.bulk))
    if len(slabs) != 2:
        raise ValueError(f"key 'miller' names {len(slabs)} slabs: an interface has two")
    for phase, indices in parts.miller.items():
        if not any(indices):
            raise ValueError(f"key 'miller.{phase}' is (0 0 0): give the plane of the surface")
    _check_phase("substrate", parts.substrate, slabs)
    named: dict[str, Mapping[str, Any] | None] = {
        "layers": parts.layers,
        "surface_vectors": parts.surface_vectors,
        "supercell": parts.supercell,
        "slab_formula_units": parts.slab_formula_units,
    }
    for key, entries in named.items():
        if entries is None:
            continue
        for phase in entries:
            _check_phase(key, phase, slabs)
        missing = [phase for phase in slabs if phase not in entries]
        if missing:
            raise ValueError(f"key '{key}' lacks the slab {missing[0]}: add it")
    for phase, ((i, j), (k, m)) in (parts.supercell or {}).items():
        if i * m == j * k:
            raise ValueError(f"key 'supercell.{phase}' has determinant 0: its rows are parallel")
    for phase in parts.terminations:
        _check_phase("terminations", phase, slabs)
    if parts.supercell is None and parts.matching is None:
        raise ValueError(
            "key 'supercell' is missing: give the 2 x 2 matrix of each slab, or matching "
            "tolerances to search for one (matching: {max_area: 400})"
        )


def _check_chemistry(
    parts: InterfaceParts, composition: Composition, charges: Mapping[str, float] | None
) -> None:
    """Check formulas, charges and counts of the phases against the composition."""
    wanted = set().union(*(phase.formula for phase in parts.bulk.values()))
    for symbol in sorted(wanted ^ set(composition)) if composition else ():
        where = "composition" if symbol in wanted else "bulk (any formula)"
        raise ValueError(f"{symbol} is missing from {where}: add it, or remove it from the other")
    for name, phase in parts.bulk.items():
        charge = sum(n * (charges or {}).get(symbol, 0) for symbol, n in phase.formula.items())
        if abs(charge) > 1e-6:
            raise ValueError(
                f"key 'bulk.{name}.formula' has charge {charge:+g}: mend it or oxidation_states "
                "(allow_charged: true if it is meant)"
            )
    if parts.slab_formula_units is None or not composition:
        return
    expected: Counter[str] = Counter()
    units = [*parts.slab_formula_units.items(), (parts.region.phase, parts.region.formula_units)]
    for name, count in units:
        for symbol, n in parts.bulk[name].formula.items():
            expected[symbol] += count * n
    if dict(expected) != dict(composition):
        text = ", ".join(f"{symbol}: {expected[symbol]}" for symbol in composition)
        raise ValueError(
            "key 'composition' is not what slab_formula_units and region.formula_units add up to "
            f"({text}): mend one of them"
        )


def _check_region(parts: InterfaceParts, species: Sequence[str]) -> None:
    """Check the region, the exchanges, the polar fix and the order of placement."""
    region = parts.region
    _check_phase("region.phase", region.phase, list(parts.bulk))
    for first, second in combinations_with_replacement(species, 2):
        try:
            region.min_distances.of(first, second)
        except KeyError:
            raise ValueError(
                f"key 'region.min_distances' has no distance {first}-{second}: add it to pairs, "
                "or both radii"
            ) from None
    placed = parts.bulk[region.phase].formula
    if region.placement.order is not None and sorted(region.placement.order) != sorted(placed):
        raise ValueError(f"key 'region.placement.order' must name each of {', '.join(placed)} once")
    fixed: set[str] = set()
    for i, fix in enumerate(parts.polar_fix):
        key = f"polar_fix[{i}]" if len(parts.polar_fix) > 1 else "polar_fix"
        _check_phase(f"{key}.phase", fix.phase, list(parts.miller))
        formula = parts.bulk[fix.phase].formula
        if fix.species not in formula:
            raise ValueError(
                f"key '{key}.species': {fix.phase} has no {fix.species}: use one of "
                f"{', '.join(formula)}"
            )
        if fix.phase in fixed:
            raise ValueError(f"key '{key}.phase' names {fix.phase} again: keep one entry for it")
        fixed.add(fix.phase)
    for pair in parts.exchanges.limits if parts.exchanges else ():
        inside, outside = split_pair(pair)
        layer = parts.bulk[parts.substrate].formula
        if inside not in placed or outside not in layer:
            raise ValueError(
                f"key 'exchanges.limits.{pair}': the region has {', '.join(placed)} and the layer "
                f"of {parts.substrate} has {', '.join(layer)}: write region-layer, as in Sc-Co"
            )


def check_interface(
    parts: InterfaceParts,
    species: Sequence[str],
    composition: Composition,
    charges: Mapping[str, float] | None,
    cell: Cell | None,
) -> None:
    """Check what the parts of an interface spec say about each other.

    Parameters
    ----------
    parts : InterfaceParts
        The blocks.
    species : list of str
        Every element of the interface.
    composition : dict
        Atoms of each element in the whole interface; empty while it is open.
    charges : dict or None
        Oxidation states, for the neutrality of each phase; None skips that check.
    cell : Cell or None
        The common cell, if the spec fixes one.
    """
    _check_slabs(parts)
    _check_region(parts, species)
    _check_chemistry(parts, composition, charges)
    if cell is not None:
        needed = parts.vacuum + parts.region.thickness[1]
        height = cell.volume / cell.area
        if height <= needed:
            raise ValueError(
                f"key 'cell' is {height:.2f} Å high, but vacuum and region alone need "
                f"{needed:.2f} Å: lengthen c"
            )
    if parts.dft is None:
        return
    for symbol in (*parts.dft.hubbard_u, *parts.dft.potentials):
        if symbol not in species:
            raise ValueError(f"key 'dft' names {symbol}, which is not in the system: remove it")
    for symbol in species if parts.dft.potentials else ():
        if symbol not in parts.dft.potentials:
            raise ValueError(f"key 'dft.potentials' lacks {symbol}: add its PAW potential")
    for phase in parts.dft.bulk.kpoints if parts.dft.bulk else ():
        _check_phase("dft.bulk.kpoints", phase, list(parts.bulk))
