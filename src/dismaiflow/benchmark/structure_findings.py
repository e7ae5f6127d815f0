"""What stands beside the metrics of structures with free atoms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.benchmark.findings import (
    BondCount,
    Curve,
    Findings,
    InterfaceEnergies,
    MotifShare,
    MotifTable,
    Relaxations,
    RelaxationSummary,
)
from dismaiflow.benchmark.published import is_published_potential
from dismaiflow.benchmark.runs import binned
from dismaiflow.interfaces.energy import (
    interface_area,
    interface_energy,
    reference_energy_from_lowest,
)
from dismaiflow.metrics.angles import ANGLE_EDGES
from dismaiflow.metrics.bonds import mean_bond_counts
from dismaiflow.metrics.comparison import mean_band
from dismaiflow.metrics.motif_distribution import LabelledSites, motif_distribution
from dismaiflow.metrics.motifs import MOTIF_NAMES
from dismaiflow.metrics.published_rdf import RDF_R
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.structures import get_structures
from dismaiflow.systems.blocks import EnergyFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.structure_features import StructureFeatures
    from dismaiflow.benchmark.structure_scoring import StructureScorer
    from dismaiflow.potentials.base import PotentialCard
    from dismaiflow.potentials.schemas import RelaxedDoc
    from dismaiflow.systems import SystemSpec

#: Least percentage of a motif that is listed: the scripts take 1 % too, the paper says more.
_THRESHOLD = {"published": 1.0, "corrected": float(np.nextafter(1.0, 2.0))}

_DIGITS = 6


@dataclass(frozen=True)
class SetEnergies:
    """Energies of the relaxed structures of a set.

    Parameters
    ----------
    per_atom, total : dict of int to float
        eV per atom and eV, by the place of the structure in its source.
    areas : dict of int to float
        Å^2 that the first two cell vectors span, by the place.
    n_atoms : int
        Atoms of a structure.
    table : RelaxationTable, optional
        What became of every structure.
    """

    per_atom: dict[int, float] = field(default_factory=dict)
    total: dict[int, float] = field(default_factory=dict)
    areas: dict[int, float] = field(default_factory=dict)
    n_atoms: int = 0
    table: RelaxationTable | None = None

    @classmethod
    def of_generated(cls, jobstore: Any, relaxed: RelaxedDoc | None) -> SetEnergies:
        """Fetch the energies of a relaxed set; none without a relaxation."""
        if relaxed is None:
            return cls()
        structures = get_structures(jobstore, relaxed.structures)
        table = RelaxationTable.from_bytes(get_blob(jobstore, relaxed.table))
        if len(structures) == 0:
            return cls(table=table)
        return cls._collect(structures, structures.labels["index"].tolist(), table)

    @classmethod
    def of_reference(cls, jobstore: Any, relaxed: RelaxedDoc | None) -> SetEnergies:
        """Fetch those of a reference, whose structures are numbered as they are left."""
        if relaxed is None:
            return cls()
        structures = get_structures(jobstore, relaxed.structures)
        table = RelaxationTable.from_bytes(get_blob(jobstore, relaxed.table))
        return cls._collect(structures, list(range(len(structures))), table)

    @classmethod
    def _collect(cls, structures: Any, places: list[int], table: RelaxationTable) -> SetEnergies:
        totals = dict(zip(places, structures.labels["energy"].tolist(), strict=True))
        atoms = structures.n_atoms.tolist()
        per_atom = {i: e / n for (i, e), n in zip(totals.items(), atoms, strict=True)}
        areas = [interface_area(cell) for cell in structures.cells]
        by_place = dict(zip(places, areas, strict=True))
        return cls(per_atom, totals, by_place, atoms[0] if atoms else 0, table)

    def of(self, places: Iterable[int]) -> SetEnergies:
        """Return the energies of some structures, such as those that could be analysed."""
        kept = set(places)

        def some(values: dict[int, float]) -> dict[int, float]:
            return {i: value for i, value in values.items() if i in kept}

        return replace(
            self, per_atom=some(self.per_atom), total=some(self.total), areas=some(self.areas)
        )


def collect_findings(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    scorer: StructureScorer,
    features: StructureFeatures,
    sets: Sequence[SetEnergies],
    reference_relaxed: RelaxedDoc | None,
    relaxed: Sequence[RelaxedDoc | None],
    reference_energies: SetEnergies,
    cell: NDArray[np.float64],
) -> Findings:
    """Collect curves, motifs, bonds, energies and relaxations.

    Parameters
    ----------
    spec, protocol, scorer
        System, protocol, and the reference.
    features : StructureFeatures
        Of all generated files.
    sets : sequence of SetEnergies
        Energies of each file.
    reference_relaxed, relaxed : RelaxedDoc
        Relaxations, where there were any.
    reference_energies : SetEnergies
        Energies of the reference.
    cell : ndarray, shape (3, 3)
        Of the reference, Å.
    """
    missing: dict[str, str] = {}
    if len(features) == 0:
        missing["curves"] = missing["motifs"] = "no structure could be scored"
        curves, motifs, bonds = {}, [], []
    else:
        curves = _curves(scorer, features)
        motifs = _motifs(scorer, features, _THRESHOLD[protocol.name])
        bonds = _bonds(scorer, features)
    if spec.kind == "interface":
        missing |= _region_reason(scorer, features)
    energies = None
    if spec.kind == "interface":
        energies = _interface_energies(spec, sets, reference_energies, relaxed, cell)
        if energies is None:
            missing["interface_energies"] = "no energies are known: score with --potential"
    return Findings(
        curves=curves,
        motifs=motifs,
        bonds=bonds,
        relaxations=_relaxations(sets, relaxed, reference_relaxed, reference_energies),
        interface_energies=energies,
        missing=missing,
    )


def _curves(scorer: StructureScorer, features: StructureFeatures) -> dict[str, Curve]:
    """Return mean curves with their bands."""
    middles = (ANGLE_EDGES[1:] + ANGLE_EDGES[:-1]) / 2
    known = {
        "rdf": ("Radial distribution function", "distance, Å", "g(r)", RDF_R),
        "angle": ("Bond angles", "angle, degrees", "share of the angles", middles),
    }
    found = {}
    for name in features.arrays:
        if name in known:
            title, x_label, y_label, x = known[name]
        elif name.startswith("pair:"):
            pair = name.removeprefix("pair:")
            around = " around atoms of the region" if scorer.plan.kind == "interface" else ""
            title, x_label, y_label = f"{pair}{around}", "distance, Å", "g(r)"
            n = features.arrays[name].shape[1]
            x = (np.arange(n) + 0.5) * 10.0 / n
        else:
            continue
        curve = _curve(
            features.arrays[name], scorer.reference.arrays[name], title, x_label, y_label, x
        )
        if curve is not None:
            found[name.removeprefix("pair:")] = curve
    return found


def _curve(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    title: str,
    x_label: str,
    y_label: str,
    x: NDArray[np.float64],
) -> Curve | None:
    """Average both sides; None where one has no such pairs."""
    ours = ours[np.isfinite(ours).all(axis=1)]
    theirs = theirs[np.isfinite(theirs).all(axis=1)]
    if len(ours) == 0 or len(theirs) == 0:
        return None
    band = mean_band(ours)
    return Curve(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x=_rounded(x),
        generated=_rounded(band.mean),
        low=_rounded(band.low),
        high=_rounded(band.high),
        reference=_rounded(theirs.mean(axis=0)),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Return numbers for a document, short enough for it to stay small."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]


def _labelled(features: StructureFeatures, symbol: str) -> LabelledSites:
    codes = features.arrays[f"codes:{symbol}"]
    counts = features.arrays[f"counts:{symbol}"]
    n, m = codes.shape
    flat = counts.reshape(n * m, -1)
    return LabelledSites(
        codes.ravel(), np.repeat(np.arange(n), m), n, flat if flat.shape[1] else None
    )


def _motifs(
    scorer: StructureScorer, features: StructureFeatures, threshold: float
) -> list[MotifTable]:
    """Return the most likely motifs of each species."""
    tables = []
    anions = scorer.plan.anions
    for symbol in scorer.plan.centres:
        found = motif_distribution(
            _labelled(features, symbol),
            _labelled(scorer.reference, symbol),
            MOTIF_NAMES,
            threshold=threshold,
        )
        shares = [
            MotifShare(
                motif=name,
                reference=float(found.reference[i]),
                generated=float(found.generated[i]),
                low=float(found.low[i]),
                high=float(found.high[i]),
                reference_by_count=_by_count(found.reference_by_count[i]),
                generated_by_count=_by_count(found.generated_by_count[i]),
            )
            for i, name in enumerate(found.motifs)
        ]
        counted = anions[0] if anions else None
        tables.append(MotifTable(species=symbol, counted=counted, motifs=shares))
    return tables


def _by_count(values: NDArray[np.float64]) -> dict[str, float]:
    return {str(n): round(float(v), 4) for n, v in enumerate(values) if v > 0}


def _bonds(scorer: StructureScorer, features: StructureFeatures) -> list[BondCount]:
    """Return bonds of each cation, in an interface of those of the region."""
    found = []
    for symbol in scorer.plan.centres if scorer.plan.anions else ():
        ours = _bond_means(features, symbol)
        theirs = _bond_means(scorer.reference, symbol)
        for column, anion in enumerate(scorer.plan.anions):
            mine = ours[:, column][np.isfinite(ours[:, column])]
            known = theirs[:, column][np.isfinite(theirs[:, column])]
            band = mean_band(mine[:, None]) if len(mine) else None
            found.append(
                BondCount(
                    centre=symbol,
                    neighbour=anion,
                    generated=float(band.mean[0]) if band else None,
                    low=float(band.low[0]) if band else None,
                    high=float(band.high[0]) if band else None,
                    reference=float(known.mean()) if len(known) else None,
                )
            )
    return found


def _bond_means(features: StructureFeatures, symbol: str) -> NDArray[np.float64]:
    counts = features.arrays[f"counts:{symbol}"]
    n, m = counts.shape[:2]
    region = features.arrays.get(f"region:{symbol}")
    chosen = None if region is None else region.ravel()
    owner = np.repeat(np.arange(n), m)
    return mean_bond_counts(counts.reshape(n * m, -1), owner, n, chosen)


def _region_reason(scorer: StructureScorer, features: StructureFeatures) -> dict[str, str]:
    """Say in how many structures the region could not be found."""
    lost = [
        f"in {int((~found).sum())} of {len(found)} {side} structures"
        for side, one in (("generated", features), ("reference", scorer.reference))
        if len(found := one.arrays.get("region_found", np.ones(0, bool))) and not found.all()
    ]
    if not lost:
        return {}
    return {"region": f"the slabs cannot be told from the region {' and '.join(lost)}"}


def _relaxations(
    sets: Sequence[SetEnergies],
    relaxed: Sequence[RelaxedDoc | None],
    reference: RelaxedDoc | None,
    reference_energies: SetEnergies,
) -> Relaxations | None:
    """Return steps and energies of Tables S2 and S3."""
    first = next((d for d in (*relaxed, reference) if d is not None), None)
    if first is None:
        return None
    tables = [one.table for one in sets if one.table is not None]
    atoms = max([one.n_atoms for one in sets], default=0) or reference_energies.n_atoms
    settings = first.settings["settings"]
    return Relaxations(
        potential=first.potential,
        settings={**settings, "push": first.settings.get("push")},
        generated=_summary(tables, atoms) if tables else None,
        reference=(
            _summary([reference_energies.table], reference_energies.n_atoms)
            if reference_energies.table is not None
            else None
        ),
    )


def _summary(tables: Sequence[RelaxationTable], n_atoms: int) -> RelaxationSummary:
    table = RelaxationTable.concatenate(list(tables))
    done = np.array([status == "converged" for status in table.statuses], dtype=bool)
    summary = RelaxationSummary(n_structures=len(table), by_status=table.counts())
    if not done.any():
        return summary
    steps = table.numbers["n_steps"][done]
    drop = table.numbers["initial_energy"][done] - table.numbers["final_energy"][done]
    drop = 1e3 * drop / n_atoms
    return summary.model_copy(
        update={
            "steps_mean": float(steps.mean()),
            "steps_std": float(steps.std()),
            "drop_mean": float(drop.mean()),
            "drop_std": float(drop.std()),
        }
    )


def _interface_energies(
    spec: SystemSpec,
    sets: Sequence[SetEnergies],
    reference: SetEnergies,
    relaxed: Sequence[RelaxedDoc | None],
    cell: NDArray[np.float64],
) -> InterfaceEnergies | None:
    """Normalise the energies of generated and reference structures (eq. 6)."""
    ours = np.array([e for one in sets for e in one.total.values()], dtype=float)
    theirs = np.array(list(reference.total.values()), dtype=float)
    card = next((d.potential for d in relaxed if d is not None), None)
    n_atoms = reference.n_atoms or max([one.n_atoms for one in sets], default=0)
    if card is None or n_atoms == 0 or len(theirs) == 0:
        return None
    area = interface_area(cell)
    areas = np.array([a for one in sets for a in one.areas.values()], dtype=float)
    filtered = spec.dataset.energy_filter or EnergyFilter()
    zero, rule = _reference_energy(spec, card, theirs, n_atoms, area, filtered)
    mine = interface_energy(ours, n_atoms, zero, areas)
    known = interface_energy(theirs, n_atoms, zero, area)
    low = mine <= filtered.max_interface_energy
    return InterfaceEnergies(
        reference_energy=zero,
        rule=rule,
        potential_hash=card.hash,
        area=area,
        mean=float(mine.mean()) if len(mine) else None,
        std=float(mine.std()) if len(mine) else None,
        lowest=float(mine.min()) if len(mine) else None,
        percent_low=float(100 * low.mean()) if len(mine) else None,
        reference_mean=float(known.mean()),
        reference_lowest=float(known.min()),
        histogram=binned(mine, known, "J/m²"),
    )


def _reference_energy(
    spec: SystemSpec,
    card: PotentialCard,
    energies: NDArray[np.float64],
    n_atoms: int,
    area: float,
    filtered: EnergyFilter,
) -> tuple[float, str]:
    """Return the energy per atom that counts as 0, and where it comes from.

    The spec's value holds for the potential that it was fitted with; with any other the lowest
    reference structure says where the energies of this one lie.
    """
    if spec.reference_energy is not None and is_published_potential(spec.name, card):
        return spec.reference_energy, "the system's spec, for the published potential"
    lowest = filtered.max_interface_energy - filtered.window
    zero = reference_energy_from_lowest(energies, n_atoms, area, lowest)
    return zero, f"the lowest relaxed reference structure stands at {lowest:g} J/m²"
