"""The inputs of VASP, field by field as sections 4.5 and 4.1.1 and Supplementary Note 1 have them.

What is expected is typed from there; what they leave open is marked as ours in the table.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Incar

from dismaiflow.cli.dft_structures import Prepared, prepare
from dismaiflow.dft.input_sets import generator_for, sorted_sites
from dismaiflow.dft.makers import FullCellRelaxMaker
from dismaiflow.dft.settings_table import STAGES, settings_of, stages_of
from dismaiflow.errors import DismaiError
from dismaiflow.systems import SystemSpec, get_system

#: What the paper says of all calculations, and our choices that all share.
SHARED = {
    "GGA": "Pe",
    "PREC": "Accurate",
    "ALGO": "Normal",
    "NELM": 200,
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "LASPH": True,
    "LMAXMIX": 4,
    "LCHARG": False,
    "LWAVE": False,
}
SPIN = {"ISPIN": 2, "LORBIT": 11}
STAGE_1 = SHARED | SPIN | {"ENCUT": 374.3, "EDIFF": 1e-5, "LREAL": "Auto"}
STAGE_1 |= {"ISIF": 2, "IBRION": 2, "NSW": 50, "EDIFFG": 0}
STAGE_2 = SHARED | SPIN | {"ENCUT": 450, "EDIFF": 1e-5, "LREAL": "Auto"}
STAGE_2 |= {"ISIF": 2, "IBRION": 2, "NSW": 500, "EDIFFG": -0.1}
BULK = SHARED | SPIN | {"ENCUT": 520, "EDIFF": 1e-6, "LREAL": False}
BULK |= {"ISIF": 3, "IBRION": 2, "NSW": 200, "EDIFFG": -0.001}
STATIC = SHARED | SPIN | {"ENCUT": 450, "EDIFF": 1e-5, "LREAL": "Auto", "NSW": 0}

#: U of 4 eV on Co d: Li, Sc, Co, Cl, O by electronegativity.
SLAB_U = {
    "LDAU": True,
    "LDAUTYPE": 2,
    "LDAUL": [-1, -1, 2, -1, -1],
    "LDAUU": [0, 0, 4.0, 0, 0],
    "LDAUJ": [0, 0, 0, 0, 0],
    "MAGMOM": [0.6] * 264,
}


@cache
def lsc_lco_slab() -> Prepared:
    """The random interface of 264 atoms."""
    return next(prepare(get_system("lsc-lco"), "region", None, 1, 7))


def crystals(name: str) -> dict[str, Structure]:
    return {p.name: p.structure for p in prepare(get_system(name), "bulk", None, 1, 0)}


def write(generator: Any, structure: Structure, folder: Path) -> dict[str, Any]:
    """Write the four files; return INCAR as read back."""
    generator.get_input_set(structure, potcar_spec=True).write_input(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"]
    return dict(Incar.from_file(folder / "INCAR"))


def words(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("stage", "incar", "n_free"), [("region", STAGE_1, 30), ("all", STAGE_2, 264)]
)
def test_the_slab_of_264_atoms(
    stage: Any, incar: dict[str, Any], n_free: int, tmp_path: Path
) -> None:
    item = lsc_lco_slab()
    assert item.free is not None
    generator = generator_for(get_system("lsc-lco"), stage)
    assert write(generator, item.structure, tmp_path) == incar | SLAB_U
    poscar = words(tmp_path / "POSCAR")
    assert poscar[5] == ["Li", "Sc", "Co", "Cl", "O"]
    assert poscar[6] == ["72", "12", "36", "72", "72"]
    flags = [line[3:6] for line in poscar[8:]]
    if stage == "region":
        assert poscar[7] == ["Selective", "dynamics"]
        region = [line for line in poscar[9:] if line[3:6] == ["T", "T", "T"]]
        assert Counter(line[6] for line in region) == {"Li": 9, "Sc": 3, "Cl": 18}
        assert sum(line[3:6] == ["F", "F", "F"] for line in poscar[9:]) == 264 - n_free
        # On the substrate, which is 4.245 Å thick, in a region of 4 to 6 Å; c is 33.21 Å.
        heights = np.array([float(line[2]) * 33.21 for line in region])
        assert 4.2 < heights.min() < heights.max() < 4.245 + 6.0
    else:
        assert poscar[7] == ["direct"]
        assert len(flags) == n_free
        assert not any("T" in line or "F" in line for line in flags)
    assert words(tmp_path / "POTCAR.spec") == [["Li_sv"], ["Sc_sv"], ["Co"], ["Cl"], ["O"]]
    assert words(tmp_path / "KPOINTS")[1:4] == [["0"], ["Gamma"], ["1", "1", "1"]]


@pytest.mark.parametrize(
    ("phase", "mesh", "hubbard"),
    [
        (
            "LCO",
            [["Gamma"], ["9", "9", "1"]],
            {"LDAU": True, "LDAUTYPE": 2, "LDAUL": [-1, 2, -1], "LDAUU": [0, 4.0, 0]}
            | {"LDAUJ": [0, 0, 0]},
        ),
        # No Co, and not one key of DFT+U.
        ("LSC", [["Monkhorst"], ["6", "4", "6"]], {}),
    ],
)
def test_bulk_crystals(phase: str, mesh: Any, hubbard: dict[str, Any], tmp_path: Path) -> None:
    crystal = crystals("lsc-lco")[phase]
    incar = write(generator_for(get_system("lsc-lco"), "bulk", phase), crystal, tmp_path)
    assert incar.pop("MAGMOM") == [0.6] * len(crystal)
    assert incar == BULK | hubbard
    assert words(tmp_path / "KPOINTS")[2:4] == mesh
    potentials = {"LCO": ["Li_sv", "Co", "O"], "LSC": ["Li_sv", "Sc_sv", "Cl"]}[phase]
    assert words(tmp_path / "POTCAR.spec") == [[name] for name in potentials]


#: Supplementary Note 1: mesh of the interface, and of each crystal.
BINARIES = [
    ("li2o-li-110", (8, 2, 1), {"Li2O": (6, 6, 6), "Li": (8, 8, 8)}),
    ("li2o-licl-110", (3, 2, 1), {"Li2O": (6, 6, 6), "LiCl": (6, 6, 6)}),
    ("li2o-mgs-110", (3, 2, 1), {"Li2O": (6, 6, 6), "MgS": (6, 6, 6)}),
    ("li2o-licl-100-li", (3, 2, 1), {"Li2O": (6, 6, 6), "LiCl": (6, 6, 6)}),
    ("li2o-licl-100-o", (3, 2, 1), {"Li2O": (6, 6, 6), "LiCl": (6, 6, 6)}),
]


@pytest.mark.parametrize(("name", "mesh", "meshes"), BINARIES)
def test_binary_interfaces(
    name: str, mesh: tuple[int, ...], meshes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    spec = get_system(name)
    assert stages_of(spec) == ("bulk", "full-cell", "static")
    found = crystals(name)
    assert set(found) == set(meshes)
    for phase, crystal in found.items():
        inputs = generator_for(spec, "bulk", phase).get_input_set(crystal, potcar_spec=True)
        kpoints = inputs["KPOINTS"]
        assert (kpoints.style.name, kpoints.kpts) == ("Monkhorst", [meshes[phase]])
        assert {k: inputs["INCAR"][k] for k in ("ENCUT", "ISIF", "EDIFFG")} == {
            "ENCUT": 520,
            "ISIF": 3,
            "EDIFFG": -0.001,
        }
    generator = generator_for(spec, "full-cell")
    box = Structure(Lattice.orthorhombic(3, 9, 40), ["Li", "O", "Li"], np.eye(3) * 0.3)
    incar = write(generator, box, tmp_path)
    cell = {"ENCUT": 450, "EDIFFG": -0.05, "ISIF": 3, "ISPIN": 1}
    expected = (STAGE_2 | cell).items()
    assert incar == {key: value for key, value in expected if key != "LORBIT"}
    assert words(tmp_path / "KPOINTS")[2:4] == [["Gamma"], [str(n) for n in mesh]]


def test_meshes_are_fine_along_the_short_vector() -> None:
    item = next(prepare(get_system("li2o-li-110"), "full-cell", None, 1, 0))
    a, b, c = item.structure.lattice.abc
    assert a < b < c
    assert 8 * a == pytest.approx(2 * b, rel=0.5)


def test_the_third_vector_can_be_held(tmp_path: Path) -> None:
    spec = get_system("li2o-li-110")
    with pytest.warns(UserWarning, match="shrink along c until the vacuum is closed"):
        free = FullCellRelaxMaker.from_spec(spec)
    assert "LATTICE_CONSTRAINTS" not in free.input_set_generator.config_dict["INCAR"]
    held = FullCellRelaxMaker.from_spec(spec, fixed_c=True).input_set_generator
    leaning = Lattice.from_parameters(3, 9, 40, 90, 90, 75)
    write(held, Structure(leaning, ["Li", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]), tmp_path)
    assert "LATTICE_CONSTRAINTS = True True False\n" in (tmp_path / "INCAR").read_text()
    away = Structure(Lattice.from_parameters(3, 9, 40, 80, 90, 75), ["Li"], [[0, 0, 0]])
    with pytest.raises(DismaiError, match="only where it lies along z"):
        held.get_input_set(away, potcar_spec=True)
    data = spec.model_dump(exclude_none=True)
    data["dft"]["stages"][0]["cell"] = "fixed-c"
    generator = FullCellRelaxMaker.from_spec(SystemSpec.from_dict(data)).input_set_generator
    assert generator.config_dict["INCAR"]["LATTICE_CONSTRAINTS"] == [True, True, False]


def test_cells_of_an_alloy(tmp_path: Path) -> None:
    spec = get_system("alloy-300K-wide")
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cell = Structure(Lattice.cubic(3.6), ["Fe", "Ni", "Fe", "Cr"], fcc)
    incar = write(generator_for(spec, "alloy-cell"), cell, tmp_path)
    own = {"ENCUT": 520, "EDIFF": 1e-6, "LREAL": False, "ISMEAR": 1, "SIGMA": 0.1}
    own |= {"ISIF": 3, "IBRION": 2, "NSW": 200, "EDIFFG": -0.01}
    # Cr, Fe, Ni by electronegativity.
    assert incar == SHARED | SPIN | own | {"MAGMOM": [2.0, 3.0, 3.0, 1.0]}
    assert words(tmp_path / "POTCAR.spec") == [["Cr_pv"], ["Fe"], ["Ni"]]
    # 12 x 3.6 Å are the first 40.
    assert words(tmp_path / "KPOINTS")[2:4] == [["Gamma"], ["12", "12", "12"]]
    cell.add_site_property("magmom", [2.5, 0.5, -2.4, -1.2])
    inputs = generator_for(spec, "alloy-cell").get_input_set(cell, potcar_spec=True)
    assert inputs["INCAR"]["MAGMOM"] == [-1.2, 2.5, -2.4, 0.5]


def test_single_point(tmp_path: Path) -> None:
    spec = get_system("lsc-lco")
    incar = write(generator_for(spec, "static"), crystals("lsc-lco")["LSC"], tmp_path)
    assert incar == STATIC | {"MAGMOM": [0.6] * 20}


def test_moments_of_the_structure_stand_above_the_table() -> None:
    crystal = crystals("lsc-lco")["LCO"]
    crystal.add_site_property("magmom", [float(n) for n in range(12)])
    inputs = generator_for(get_system("lsc-lco"), "all").get_input_set(crystal, potcar_spec=True)
    order = sorted_sites(crystal)[1]
    assert inputs["INCAR"]["MAGMOM"] == [float(n) for n in order]
    assert inputs["INCAR"]["LDAUU"] == [0, 4.0, 0]


def test_region_must_be_named_and_is_forgotten() -> None:
    bare = crystals("lsc-lco")["LCO"]
    with pytest.raises(DismaiError, match="first stage frees the interface region only"):
        generator_for(None, "region").get_input_set(bare, potcar_spec=True)
    bare.add_site_property("selective_dynamics", [[True] * 3] + [[False] * 3] * 11)
    inputs = generator_for(None, "all").get_input_set(bare, potcar_spec=True)
    assert inputs["POSCAR"].selective_dynamics is None
    assert "selective_dynamics" in bare.site_properties


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["Li", "Sc", "Co", "Cl", "O"]), min_size=1, max_size=12))
def test_sites_are_sorted_and_keep_their_order_within_an_element(symbols: list[str]) -> None:
    points = np.arange(len(symbols))[:, None] * [0.05, 0.03, 0.01]
    structure = Structure(Lattice.cubic(9), symbols, points)
    made, order = sorted_sites(structure)
    assert sorted(order) == list(range(len(symbols)))
    np.testing.assert_allclose(made.frac_coords, points[order])
    names = [site.specie.symbol for site in made]
    assert names == [symbols[i] for i in order]
    by_electronegativity = ["Li", "Sc", "Co", "Cl", "O"]
    assert names == sorted(symbols, key=by_electronegativity.index)
    for symbol in set(symbols):
        places = [i for i in order if symbols[i] == symbol]
        assert places == sorted(places)


@pytest.mark.parametrize("name", ["lsc-lco", "li2o-mgs-110", "alloy-300K-wide", "amorphous-si"])
def test_every_setting_has_a_source(name: str) -> None:
    spec = get_system(name)
    for stage in stages_of(spec):
        for setting in settings_of(spec, stage):
            assert setting.source.startswith(("paper, ", "our choice")), setting


def test_the_paper_says_nothing_of_a_system_of_ones_own() -> None:
    own = get_system("tiny-li2o-licl").model_copy(update={"dft": None, "sources": {}})
    functional = next(s for s in settings_of(own, "all") if s.key == "GGA")
    assert functional.source == "the paper's setting (section 4.5)"


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_hold_what_the_table_says_and_nothing_else(stage: Any) -> None:
    table = {s.key for s in settings_of(None, stage) if s.file == "INCAR"}
    elements = ["Fe", "Ni", "Cr"] if stage == "alloy-cell" else ["Co", "O", "Li"]
    structure = Structure(Lattice.cubic(9), elements, np.eye(3) * 0.4)
    structure.add_site_property("selective_dynamics", [[True] * 3] * 3)
    inputs = generator_for(None, stage).get_input_set(structure, potcar_spec=True)
    assert set(inputs["INCAR"]) == table


def test_a_system_without_settings_gets_those_of_the_paper() -> None:
    data = get_system("lsc-lco").model_dump(exclude_none=True, exclude={"dft", "sources"})
    spec = SystemSpec.from_dict(data)
    for stage in ("region", "all", "static"):
        own = {(s.file, s.key): s.value for s in settings_of(get_system("lsc-lco"), stage)}
        assert {(s.file, s.key): s.value for s in settings_of(spec, stage)} == own
    other = get_system("lyc-lco")
    yttrium = next(s for s in settings_of(other, "all") if s.key == "Y")
    assert (yttrium.value, yttrium.source) == ("Y_sv", "our choice: as in pymatgen")


def test_what_a_system_does_not_describe_is_refused() -> None:
    with pytest.raises(DismaiError, match=r"key 'dft.stages' has none with relax: region"):
        settings_of(get_system("li2o-li-110"), "region")
    with pytest.raises(DismaiError, match=r"no phase 'LOC': did you mean LCO or LSC"):
        settings_of(get_system("lsc-lco"), "bulk", "LOC")
    data = get_system("lsc-lco").model_dump(exclude_none=True)
    data["dft"]["functional"] = "PBEsl"
    with pytest.raises(DismaiError, match=r"no functional 'PBEsl': did you mean PBEsol"):
        settings_of(SystemSpec.from_dict(data), "all")
    data["dft"]["stages"] = data["dft"]["stages"][::-1]
    with pytest.raises(DismaiError, match=r"one with relax: all, and before it one with region"):
        SystemSpec.from_dict(data)
    data["dft"]["functional"] = "PBE"
    data["dft"]["stages"] = [{"relax": "region", "encut": 400, "fmax": 1, "cell": "free"}]
    with pytest.raises(DismaiError, match=r"cell cannot relax while only the region does"):
        SystemSpec.from_dict(data)
