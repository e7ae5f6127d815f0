"""Small systems of free atoms, and the formulas of the published scripts written out in loops."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk
from jobflow import JobStore
from scipy.spatial.distance import cosine, euclidean

from dismaiflow.benchmark.feature_jobs import analyse_structures
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.benchmark.structure_flows import (
    RelaxationPlan,
    ScoreStructuresMaker,
    StructureControlsMaker,
)
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store.structures import StructuresRef, put_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system, new_system_yaml

from .conftest import RanJobs, Run, check_sums

if TYPE_CHECKING:
    from dismaiflow.benchmark.structure_features import StructureFeatures

PUBLISHED = ScoringProtocol.for_kind("amorphous", "published")
CORRECTED = ScoringProtocol.for_kind("amorphous", "corrected")


@cache
def amorphous(**composition: int) -> SystemSpec:
    """Return the spec of an amorphous system without charges."""
    data = get_system("amorphous-si").self_contained().model_dump(exclude={"sources"})
    data |= {"name": "-".join(["tiny", *composition]).lower(), "composition": composition}
    data["block"]["n_atoms"] = sum(composition.values())
    return SystemSpec.from_dict(data)


@cache
def interface() -> SystemSpec:
    """Return the spec of an interface with two kinds of cations."""
    return SystemSpec.from_yaml(new_system_yaml("interface", "mgo-lif"))


def silicon(
    n: int, seed: int, sigma: float = 0.15, germanium: int = 0, side: int = 2
) -> StructureSet:
    """Return shaken crystals, some of whose atoms are germanium."""
    made = []
    for number in range(n):
        atoms = bulk("Si", cubic=True).repeat(side)
        rng = np.random.default_rng([seed, number])
        atoms.positions += rng.normal(0, sigma, atoms.positions.shape)
        atoms.symbols[rng.permutation(len(atoms))[:germanium]] = "Ge"
        made.append(atoms)
    return StructureSet.from_atoms(made)


@cache
def _interfaces() -> RandomInterfaces:
    system = InterfaceSystem.from_spec(interface())
    return RandomInterfaces(system.host, system.spec.interface, system.spec.species)


def interfaces(n: int, seed: int) -> StructureSet:
    """Return random interfaces."""
    made = _interfaces().generate(range(n), seed=seed).structures
    return StructureSet.from_atoms(list(made))


def features(
    structures: StructureSet, spec: SystemSpec, protocol: ScoringProtocol = PUBLISHED
) -> StructureFeatures:
    """Analyse structures."""
    return analyse_structures(structures, np.arange(len(structures)), spec, protocol)


def vectors(found: StructureFeatures, metric: str, atoms: dict[str, int]) -> Any:
    """Return what a metric compares, one row per structure; atoms are the weights of species."""
    if metric in ("d_rdf", "d_angle"):
        return found.arrays[metric.removeprefix("d_")]
    if metric in ("d_all", "d_motif"):
        total = sum(n * found.arrays[f"motif:{symbol}"] for symbol, n in atoms.items())
        return total / sum(atoms.values())
    return found.arrays[f"motif:{metric.removeprefix('d_').title()}"]


def written_out(ours: Any, theirs: Any, formula: Any = euclidean) -> tuple[float, float, float]:
    """Return value and interval: sample after sample, as the published scripts do."""
    target = np.zeros(theirs.shape[1])
    for row in theirs:
        target = target + row
    target = target / len(theirs)
    value = formula(target, sum(list(ours)) / len(ours))
    rng = np.random.default_rng(7)
    samples = []
    for _ in range(1000):
        drawn = rng.choice(np.arange(len(ours)), size=len(ours), replace=True)
        samples.append(formula(target, sum(ours[i] for i in drawn) / len(drawn)))
    high, low = np.percentile(samples, 97.5), np.percentile(samples, 2.5)
    return value, 2 * value - high, 2 * value - low


def similarity(one: Any, other: Any) -> float:
    """Return a cosine."""
    return 1 - cosine(one, other)


def plan(store: JobStore, potential: str, **options: bool) -> RelaxationPlan:
    """Store a potential of the tests, or another, and say that it moves the atoms."""
    name = potential if ":" in potential or potential == "sw" else f"potentials.wilful:{potential}"
    stored = put_potential(store, name, open_potential(name))
    return RelaxationPlan(potential=stored, **options)


def stored_reference(
    store: JobStore, structures: StructureSet, chunk_size: int = 50
) -> StructuresRef:
    """Put a reference into a store."""
    return put_structures(store, structures, chunk_size)


def score(
    run: Run,
    store: JobStore,
    spec: SystemSpec,
    reference: StructureSet,
    *generated: Any,
    protocol: ScoringProtocol = PUBLISHED,
    maker: ScoreStructuresMaker | None = None,
    **options: Any,
) -> ScoreDoc:
    """Run a score, and check that nothing is lost or counted twice."""
    maker = maker or ScoreStructuresMaker()
    ref = stored_reference(store, reference)
    flow = maker.make(spec, protocol, ref, list(generated), **options)
    document = ScoreDoc.model_validate(run(flow, store))
    check_sums(document)
    return document


SI = amorphous(Si=64)

#: A control with few structures.
FEW = StructureControlsMaker(n=6, n_relaxed=2)


def refused(structures: StructureSet, *places: int) -> StructureSet:
    """Shift the first atom of some structures by a cell vector: the potential refuses these."""
    positions = structures.positions.copy()
    for i in places:
        positions[structures.slice_of(i).start] += structures.cells[i, 0]
    atoms = list(structures)
    for i, one in enumerate(atoms):
        one.positions = positions[structures.slice_of(i)]
    return StructureSet.from_atoms(atoms)


def count(ran: RanJobs, beginning: str) -> int:
    """Count the jobs whose names begin like this."""
    return sum(name.startswith(beginning) for name in ran.first_names)
