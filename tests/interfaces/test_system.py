"""Interfaces built from their specs, and specs that cannot be built."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.data import chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems import SystemSpec, get_system, new_system_yaml


@cache
def built(name: str) -> InterfaceSystem:
    return InterfaceSystem.from_spec(get_system(name))


def opened(name: str, *drop: str, **changes) -> SystemSpec:
    """A shipped spec without its composition and these other keys."""
    data = get_system(name).model_dump(exclude={"composition", "area", "sources", *drop})
    return SystemSpec.from_dict(data | changes, "mine.yaml")


def count(*slabs) -> dict[str, int]:
    return dict(Counter(chemical_symbols[z] for slab in slabs for z in slab.numbers))


def test_lsc_lco_is_the_papers():
    system = built("lsc-lco")
    host = system.host
    # 36 LiCoO2 and 9 Li3ScCl6 (notes on Table S4 and section 4.1.3 of the paper).
    assert count(host.substrate, host.film) == {"Li": 63, "Co": 36, "O": 72, "Sc": 9, "Cl": 54}
    assert (len(host.substrate), len(host.film), system.n_atoms) == (144, 90, 264)
    assert (host.substrate.n_planes, host.film.n_planes) == (4, 7)
    assert system.region_counts == {"Li": 9, "Sc": 3, "Cl": 18}
    assert {phase: slab.formula_units for phase, slab in system.slabs.items()} == {
        "LCO": 36,
        "LSC": 9,
    }
    assert system.spec.composition == {"Li": 72, "Co": 36, "Sc": 12, "Cl": 72, "O": 72}
    # 3 planes of a / 2 apart; and the room that the paper asks for.
    assert host.substrate.height == pytest.approx(3 * 2.82965 / 2, abs=1e-4)
    assert system.vacuum >= 14
    move = system.slabs["LSC"].move
    assert move is not None
    assert (move.fraction, move.n_moved * 2) == (pytest.approx(0.5), move.n_sites)
    assert system.slabs["LSC"].dipole == pytest.approx(0, abs=1e-9)
    assert system.slabs["LCO"].move is None


def test_an_open_spec_is_filled_in():
    spec = opened("lsc-lco", "cell", "slab_formula_units")
    assert spec.composition == {}
    system = InterfaceSystem.from_spec(spec)
    assert system.spec.composition == {"Li": 72, "Co": 36, "Sc": 12, "O": 72, "Cl": 72}
    assert system.spec.slab_formula_units == {"LCO": 36, "LSC": 9}
    cell = system.spec.cell
    assert cell is not None
    assert cell.lengths is not None
    assert cell.angles is not None
    assert cell.lengths[:2] == pytest.approx((12.46997, 17.19967), abs=0.01)
    assert cell.angles == pytest.approx((90, 90, 75.667), abs=0.01)
    # 4.2445 + 8.9610 + 6 + 14 = 33.2055, rounded up.
    assert cell.lengths[2] == pytest.approx(33.21)
    assert "computed" in system.spec.sources["composition"]
    assert SystemSpec.from_yaml(system.spec.to_yaml()) == system.spec
    again = InterfaceSystem.from_spec(system.spec)
    assert again.spec == system.spec
    assert again.host.film.positions == pytest.approx(system.host.film.positions, abs=1e-9)


def test_the_film_takes_the_lattice_of_the_substrate_and_keeps_its_heights():
    system = built("lsc-lco")
    film, own = system.host.film, system.slabs["LSC"].slab
    for slab in (system.host.substrate, film):
        assert slab.vectors == pytest.approx(system.host.cell[:2, :2])
    assert film.positions[:, 2] == pytest.approx(own.positions[:, 2])
    scaled = [s.positions[:, :2] @ np.linalg.inv(s.vectors) for s in (film, own)]
    assert scaled[0] == pytest.approx(scaled[1], abs=1e-9)
    # The given cell, to the last of its digits.
    assert np.linalg.norm(system.host.cell[1]) == pytest.approx(17.19967, abs=1e-12)


def test_the_supercell_is_found_where_none_is_given():
    system = InterfaceSystem.from_spec(
        opened("lsc-lco", "cell", "supercell", "surface_vectors", "slab_formula_units")
    )
    assert system.n_atoms == 264
    assert system.host.cell[0, 0] == pytest.approx(12.46997, abs=0.01)
    assert system.match.gamma == pytest.approx(75.667, abs=0.01)
    assert set(system.spec.interface.supercell or ()) == {"LCO", "LSC"}


@pytest.mark.parametrize(
    ("name", "units", "n_region"),
    [
        # By hand: formula units of a plane times planes times cells; a pair of Li2O(100) planes
        # is one formula unit, and the split plane makes no further one.
        ("li2o-licl-100-li", {"Li2O": 4 * 10, "LiCl": 4 * 8}, 18),
        ("li2o-licl-100-o", {"Li2O": 4 * 10, "LiCl": 4 * 8}, 18),
        ("li2o-li-110", {"Li2O": 4 * 3, "Li": 6 * 4}, 7),
        ("li2o-licl-110", {"Li2O": 4 * 7, "LiCl": 4 * 8}, 16),
        ("li2o-mgs-110", {"Li2O": 4 * 7, "MgS": 4 * 8}, 14),
        ("tiny-li2o-licl", {"LiCl": 2 * 4, "Li2O": 1 * 5}, 15),
        ("lyc-lco", {"LCO": 36, "LYC": 9}, 30),
    ],
)
def test_shipped_interfaces_are_built(name, units, n_region):
    system = built(name)
    assert {phase: slab.formula_units for phase, slab in system.slabs.items()} == units
    assert sum(system.region_counts.values()) == n_region
    assert system.vacuum >= 14
    assert system.spec.composition == get_system(name).composition
    parts = system.spec.interface
    for slab in system.slabs.values():
        assert slab.slab.n_planes == parts.layers[slab.slab.phase]
        assert slab.dipole is None or abs(slab.dipole) < 1e-9
    assert abs(system.match.area_change) < 0.05


def test_terminations_of_li2o():
    for name, outer in (("li2o-licl-100-li", "Li"), ("li2o-licl-100-o", "O")):
        slab = built(name).slabs["Li2O"].slab
        for plane in (0, 8):
            assert {chemical_symbols[z] for z in slab.numbers[slab.planes == plane]} == {outer}
        counts = np.bincount(slab.planes)
        assert counts[0] == counts[8] == counts[2] / 2


def test_crystals_from_files_travel_with_the_spec(tmp_path: Path):
    from pymatgen.core import Lattice, Structure

    for name, a, kinds in (("LiCl", 5.1457, ("Li", "Cl")), ("MgS", 5.2267, ("Mg", "S"))):
        rock_salt = Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(a), list(kinds), [[0, 0, 0], [0.5, 0.5, 0.5]]
        )
        rock_salt.to(filename=str(tmp_path / f"{name}.cif"))
    data = {
        "name": "mine",
        "kind": "interface",
        "oxidation_states": {"Li": 1, "Mg": 2, "Cl": -1, "S": -2},
        "bulk": {
            "MgS": {"formula": {"Mg": 1, "S": 1}, "cif": "MgS.cif"},
            "LiCl": {"formula": {"Li": 1, "Cl": 1}, "cif": "LiCl.cif"},
        },
        "miller": {"MgS": [1, 0, 0], "LiCl": [1, 0, 0]},
        "layers": {"MgS": 2, "LiCl": 2},
        "supercell": {"MgS": [[2, 0], [0, 2]], "LiCl": [[2, 0], [0, 2]]},
        "region": {
            "phase": "LiCl",
            "formula_units": 4,
            "thickness": [4, 6],
            "min_distances": {"radii": {"Li": 0.76, "Mg": 0.72, "Cl": 1.81, "S": 1.84}},
        },
    }
    path = tmp_path / "mine.yaml"
    path.write_text(SystemSpec.from_dict(data).to_yaml(), encoding="utf-8")
    system = InterfaceSystem.from_spec(SystemSpec.from_file(path))
    assert system.spec.composition == {"Mg": 8, "Li": 12, "S": 8, "Cl": 12}
    (tmp_path / "MgS.cif").unlink()
    (tmp_path / "LiCl.cif").unlink()
    text = system.spec.to_yaml()
    again = InterfaceSystem.from_spec(SystemSpec.from_yaml(text))
    assert again.host.film.positions == pytest.approx(system.host.film.positions, abs=1e-9)


TINY = get_system("tiny-li2o-licl").to_yaml()
OPEN = TINY.replace("composition: {Li: 28, Cl: 8, O: 10}\n", "").replace(
    "  composition: from the slabs and the region\n", ""
)
SEARCHED = OPEN.replace(
    OPEN[OPEN.index("supercell:") : OPEN.index("polar_fix:")],
    "matching: {max_area: 120, max_length_tol: 0.002}\n",
).replace("  supercell: the smallest match\n", "")
BY_CIF = OPEN.replace(
    OPEN[OPEN.index("    cell:\n") : OPEN.index("  Li2O:\n")], "    cif: LiCl.cif\n"
)
BY_CIF = re.sub(r"(?m)^  bulk/LiCl/.*\n", "", BY_CIF)
#: What is wrong, the spec, what is changed, and what the one line says of field and mend.
BROKEN = [
    ("element", OPEN, "species: Cl", "species: Qx", "key 'bulk.LiCl.sites[1].species'", "symbol"),
    ("charge", OPEN, "O: -2.0", "O: -1.0", "key 'bulk.Li2O.formula' has charge +1", "mend it or"),
    ("match", SEARCHED, "", "", "key 'matching': no common supercell", "raise max_length_tol to"),
    ("thin", OPEN, "[4.0, 6.0]", "[0.8, 6.0]", "key 'region.thickness': 0.8 Å", "more than 1.6"),
    ("cif", BY_CIF, "", "", "key 'bulk.LiCl.cif': no file LiCl.cif", "put it beside the YAML"),
    ("units", OPEN, "Li2O: 3}", "Li2O: 4}", "key 'layers.Li2O' is 4", "take 3 or 5"),
    (
        "units of a slab",
        OPEN,
        OPEN[OPEN.index("polar_fix:") : OPEN.index("region:")],
        "",
        "key 'layers.Li2O' is 3",
        "take 2 or 4",
    ),
    (
        "units given",
        OPEN,
        "region:",
        "slab_formula_units: {LiCl: 9, Li2O: 5}\nregion:",
        "key 'slab_formula_units.LiCl' is 9",
        "make 8: mend one",
    ),
    ("composition", TINY, "{LiCl: 2,", "{LiCl: 3,", "key 'composition' is not what", "Cl: 12"),
    (
        "in-plane cell",
        OPEN,
        "region:",
        "cell: {lengths: [7.3, 7.277, 25]}\nregion:",
        "key 'cell' has a = 7.3000",
        "leave cell out",
    ),
    (
        "low cell",
        OPEN,
        "region:",
        "cell: {lengths: [7.2771, 7.2771, 24]}\nregion:",
        "key 'cell' has c = 24.00 Å",
        "lengthen c",
    ),
    (
        "termination",
        OPEN,
        "region:",
        "terminations: {LiCl: 5}\nregion:",
        "key 'terminations.LiCl' is 5",
        "there are 0",
    ),
]


@pytest.mark.parametrize(("what", "text", "old", "new", "key", "mend"), BROKEN)
def test_broken_specs_get_one_line(tmp_path: Path, what, text, old, new, key, mend):
    path = tmp_path / "mine.yaml"
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DismaiError) as caught:
        InterfaceSystem.from_spec(SystemSpec.from_file(path))
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert key in line
    assert mend in line


def test_a_polar_fix_needs_charges():
    data = get_system("tiny-li2o-licl").model_dump(exclude={"oxidation_states", "sources"})
    with pytest.raises(DismaiError, match="key 'oxidation_states' is missing: polar_fix needs"):
        InterfaceSystem.from_spec(SystemSpec.from_dict(data))


def test_the_template_is_a_working_example():
    spec = SystemSpec.from_yaml(new_system_yaml("interface", "mine"))
    assert InterfaceSystem.from_spec(spec).n_atoms == spec.n_atoms == 76


def test_a_match_whose_slabs_cannot_be_built_is_passed_over():
    """Half of the O of Li2O(100) move, so its supercell must be even; the smallest is not."""
    tolerances = {
        "max_area": 200,
        "max_area_ratio_tol": 0.1,
        "max_length_tol": 0.06,
        "max_angle_tol": 0.06,
    }
    spec = opened("li2o-licl-100-o", "supercell", "slab_formula_units", "cell", matching=tolerances)
    system = InterfaceSystem.from_spec(spec)
    cells = abs(round(float(np.linalg.det(system.match.substrate_supercell))))
    assert cells % 2 == 0
    assert abs(system.slabs["Li2O"].dipole) < 1e-9


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ({"Sc-Co": 4}, "'exchanges.limits.Sc-Co' is 4, but the region has 3 Sc"),
        ({"Li-Co": 10}, "'exchanges.limits.Li-Co' is 10, but the region has 9 Li"),
    ],
)
def test_exchanges_of_more_ions_than_there_are(limits, line):
    with pytest.raises(DismaiError, match=line):
        InterfaceSystem.from_spec(opened("lsc-lco", exchanges={"limits": limits}))


def test_an_interface_too_large_to_handle():
    spec = opened("tiny-li2o-licl", "slab_formula_units", "cell", layers={"LiCl": 200, "Li2O": 199})
    wide = spec.model_dump() | {"supercell": {"LiCl": [[6, 0], [0, 6]], "Li2O": [[6, -3], [3, 6]]}}
    with pytest.raises(DismaiError, match="more than 20,000"):
        InterfaceSystem.from_spec(SystemSpec.from_dict(wide))
