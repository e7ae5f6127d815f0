"""Features of an interface whose region is found, and of one whose slabs cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.structure_analysis import StructureAnalyser, analysis_hash
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems import SystemSpec, get_system


@pytest.fixture(scope="module")
def interface() -> InterfaceSystem:
    return InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))


@pytest.mark.parametrize("with_slabs", [True, False])
def test_only_atoms_of_a_known_region_are_looked_around(
    interface: InterfaceSystem, with_slabs: bool
) -> None:
    """Without a region no atom is in it: neither bonds nor g(r) may take all atoms for it."""
    spec = interface.spec
    generator = RandomInterfaces(interface.host, spec.interface, spec.species)
    atoms = generator.generate([0], 0).structures.atoms(0)
    protocol = ScoringProtocol.for_kind("interface")
    analyser = StructureAnalyser(spec, protocol, interface.host if with_slabs else None)
    found = analyser.analyse(atoms.numbers.astype(np.uint8), atoms.positions, atoms.cell.array)
    assert found["region_found"] == with_slabs
    # The region holds five formula units of Li2O.
    assert found["region:Li"].sum() == (10 if with_slabs else 0)
    for pair in ("Li-O", "Li-Cl", "Li-Li"):
        assert np.isfinite(found[f"pair:{pair}"]).all() == with_slabs
    assert np.isfinite(found["motif:Li"]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"surface_vectors": {name: np.eye(3).tolist() for name in ("LiCl", "Li2O")}},
        {"terminations": {"LiCl": 1}},
        {"matching": {"max_area": 99.0}},
        {"cell": {"matrix": np.diag([9.0, 9.0, 40.0]).tolist()}},
    ],
)
def test_other_slabs_are_another_analysis(change: dict[str, Any]) -> None:
    """The region depends on them: it is not to be taken from an earlier score."""
    spec, protocol = get_system("tiny-li2o-licl"), ScoringProtocol.for_kind("interface")
    other = SystemSpec.from_dict(spec.model_dump(exclude={"area"}) | change)
    assert analysis_hash(other, protocol) != analysis_hash(spec, protocol)
    named = spec.model_copy(update={"description": "the same"})
    assert analysis_hash(named, protocol) == analysis_hash(spec, protocol)
