"""What an interface spec may leave open, and the files that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write
from ase.spacegroup import crystal
from pydantic import ValidationError

from dismaiflow.errors import DismaiError
from dismaiflow.systems import SystemSpec, get_system, new_system_yaml
from dismaiflow.systems.interface_blocks import MinDistances, PolarFix


def open_lsc_lco(**changes: Any) -> dict[str, Any]:
    """The plain data of lsc-lco without what follows from its other keys."""
    drop = {"composition", "cell", "area", "slab_formula_units", "cations", "anions", "metrics"}
    data = get_system("lsc-lco").model_dump(exclude={*drop, "sources"}, exclude_none=True)
    return data | changes


def test_an_open_composition_does_not_lie() -> None:
    spec = SystemSpec.from_dict(open_lsc_lco())
    assert spec.composition == {}
    assert spec.n_atoms is None
    # As the formulas LiCoO2 and Li3ScCl6 name them, cations first.
    assert spec.species == ("Li", "Co", "Sc", "O", "Cl")
    assert spec.formula == "Li-Co-Sc-O-Cl"
    assert spec.cations == ("Li", "Co", "Sc")
    assert spec.metrics == ("d_li", "d_co", "d_sc", "d_all", "percent_failed")
    text = spec.to_yaml()
    assert "composition" not in text
    assert SystemSpec.from_yaml(text) == spec
    by_sign = open_lsc_lco(cations=["Li", "Co", "Sc"], anions=["O", "Cl"])
    del by_sign["oxidation_states"]
    assert SystemSpec.from_dict(by_sign).species == spec.species


@pytest.mark.parametrize("kind", ["alloy", "amorphous"])
def test_other_kinds_need_their_composition(kind: str) -> None:
    data = SystemSpec.from_yaml(new_system_yaml(kind, "x")).model_dump(exclude_none=True)
    del data["composition"]
    with pytest.raises(DismaiError, match=r"key 'composition' is missing: add it, such as"):
        SystemSpec.from_dict(data)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"oxidation_states": {"Li": 1, "Co": 3, "O": -2}}, "key 'oxidation_states' lacks Sc"),
        ({"cations": ["K"]}, "key 'cations' names K, which is not in any bulk formula"),
        (
            {"oxidation_states": {"Li": 1, "Co": 2, "Sc": 3, "O": -2, "Cl": -1}},
            r"key 'bulk.LCO.formula' has charge -1: mend it or oxidation_states",
        ),
        ({"terminations": {"LXC": 0}}, "key 'terminations': no phase 'LXC': "),
        ({"terminations": {"LSC": -1}}, r"key 'terminations.LSC' should be greater than or equal"),
        ({"polar_fix": []}, "key 'polar_fix' .*at least 1 item"),
    ],
)
def test_checks_use_the_bulk_formulas(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(DismaiError, match=line):
        SystemSpec.from_dict(open_lsc_lco(**changes))


def test_polar_fix_is_one_mapping_or_a_list() -> None:
    assert SystemSpec.from_dict(open_lsc_lco(polar_fix=None)).interface.polar_fix == ()
    one = SystemSpec.from_dict(open_lsc_lco(polar_fix={"phase": "LSC", "species": "Cl"}))
    assert one.interface.polar_fix == (PolarFix(phase="LSC", species="Cl"),)
    assert one.interface.polar_fix[0].fraction is None
    both = [{"phase": "LSC", "species": "Cl"}, {"phase": "LCO", "species": "O", "fraction": 0.5}]
    two = SystemSpec.from_dict(open_lsc_lco(polar_fix=both))
    assert [fix.phase for fix in two.interface.polar_fix] == ["LSC", "LCO"]
    assert SystemSpec.from_yaml(two.to_yaml()) == two
    with pytest.raises(DismaiError, match=r"key 'polar_fix\[1\].phase' names LSC again"):
        SystemSpec.from_dict(open_lsc_lco(polar_fix=[both[0], both[0]]))
    wrong = [both[0], {"phase": "LCO", "species": "Cl"}]
    with pytest.raises(DismaiError, match=r"key 'polar_fix\[1\].species': LCO has no Cl"):
        SystemSpec.from_dict(open_lsc_lco(polar_fix=wrong))


def test_terminations_may_name_one_slab() -> None:
    spec = SystemSpec.from_dict(open_lsc_lco(terminations={"LSC": 1}))
    assert spec.interface.terminations == {"LSC": 1}
    assert SystemSpec.from_dict(open_lsc_lco()).interface.terminations == {}
    assert SystemSpec.from_yaml(spec.to_yaml()) == spec


def with_cif(folder: Path, cif: str = "MgO.cif") -> SystemSpec:
    """The interface of the template, with MgO from a CIF file."""
    data = SystemSpec.from_yaml(new_system_yaml("interface", "mine")).model_dump()
    data["bulk"]["MgO"] = {"formula": {"Mg": 1, "O": 1}, "cif": cif}
    data["sources"] = {"bulk/MgO/cif": "by hand"}
    path = folder / "mine.yaml"
    path.write_text(SystemSpec.from_dict(data).to_yaml(), encoding="utf-8")
    return SystemSpec.from_file(path)


def test_a_missing_cif_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(DismaiError) as caught:
        with_cif(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'mine.yaml'}: key 'bulk.MgO.cif': no file MgO.cif in ")
    assert line.endswith("put it beside the YAML")
    assert "\n" not in line


def test_self_contained_interface_needs_no_file(tmp_path: Path) -> None:
    mgo = crystal(["Mg", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[4.21] * 3)
    write(tmp_path / "MgO.cif", mgo)
    spec = with_cif(tmp_path)
    assert spec.cif_path("MgO") == tmp_path / "MgO.cif"
    alone = spec.self_contained()
    (tmp_path / "MgO.cif").unlink()
    bulk = SystemSpec.from_dict(json.loads(alone.model_dump_json())).interface.bulk["MgO"]
    assert (bulk.cif, bulk.space_group, len(bulk.sites)) == (None, "P1", 8)
    assert bulk.cell is not None
    assert bulk.cell.volume == pytest.approx(4.21**3)
    scaled = mgo.get_scaled_positions()
    expected = {(s, tuple(p.round(6) % 1)) for s, p in zip(mgo.symbols, scaled, strict=True)}
    found = {(s.species, tuple(round(x, 6) % 1 for x in s.position)) for s in bulk.sites}
    assert found == expected
    assert alone.sources == {"bulk/MgO": "by hand"}
    assert alone.self_contained() is alone
    assert SystemSpec.from_yaml(alone.to_yaml()) == alone
    with pytest.raises(DismaiError, match=r"key 'bulk.MgO' names no CIF file"):
        alone.cif_path("MgO")


def test_cif_and_formula_must_agree(tmp_path: Path) -> None:
    wrong = crystal(["Mg", "S"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[5.2] * 3)
    write(tmp_path / "MgO.cif", wrong)
    line = (
        r"mine.yaml: key 'bulk.MgO.cif': .*MgO.cif holds MgS, but the formula of the phase is MgO"
    )
    with pytest.raises(DismaiError, match=line):
        with_cif(tmp_path).self_contained()
    (tmp_path / "MgO.cif").write_text("no CIF", encoding="utf-8")
    with pytest.raises(DismaiError, match=r"key 'bulk.MgO.cif': .* cannot be read as a CIF file"):
        with_cif(tmp_path).self_contained()


def test_partly_occupied_cif_is_refused(tmp_path: Path) -> None:
    from pymatgen.core import Lattice, Structure

    half = Structure(Lattice.cubic(4.2), [{"Mg": 0.5}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    half.to(filename=str(tmp_path / "MgO.cif"))
    with pytest.raises(DismaiError, match=r"key 'bulk.MgO.cif': .* partly occupied site \(Mg"):
        with_cif(tmp_path).self_contained()


def mgo() -> Atoms:
    """Rocksalt MgO."""
    sites = [(0, 0, 0), (0.5, 0.5, 0.5)]
    return crystal(["Mg", "O"], sites, spacegroup=225, cellpar=[4.2, 4.2, 4.2, 90, 90, 90])


@pytest.mark.parametrize(
    ("pattern", "new", "line"),
    [
        (r"\bMg\b", "Q", "cannot be read as a CIF file"),
        (r"(_cell_length_a\s+)\S+", r"\1nan", "spans no volume"),
        (r"(_cell_length_a\s+)\S+", r"\1-4.2", "spans no volume"),
        (r"(_cell_length_a\s+)\S+", r"\g<1>0", "CIF file|volume"),
    ],
)
def test_cif_of_no_crystal_is_refused(tmp_path: Path, pattern: str, new: str, line: str) -> None:
    path = tmp_path / "MgO.cif"
    write(path, mgo())
    changed = re.sub(pattern, new, path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(DismaiError, match=rf"key 'bulk.MgO.cif': .*({line})"):
        with_cif(tmp_path).self_contained()


def test_cif_of_two_crystals_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "MgO.cif", [mgo(), mgo()])
    with pytest.raises(DismaiError, match=r"MgO\.cif holds 2 crystals: keep one of them"):
        with_cif(tmp_path).self_contained()


def test_a_pair_is_given_once() -> None:
    with pytest.raises(ValidationError, match="pairs holds Li-O and O-Li: keep one of them"):
        MinDistances(pairs={"Li-O": 2.4, "O-Li": 0.8})


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("matching", {"max_area": 1e6}, "key 'matching.max_area' should be less than or equal"),
        ("layers", {"LCO": 6000, "LSC": 7}, "key 'layers.LCO' should be less than or equal"),
    ],
)
def test_sizes_beyond_reason_are_refused(key: str, value: Any, line: str) -> None:
    """They would take hours, or all memory."""
    with pytest.raises(DismaiError, match=line):
        SystemSpec.from_dict(open_lsc_lco(**{key: value}))


def test_fractions_outside_the_plane_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        PolarFix(phase="x", species="Cl", fraction=1.5)


def test_the_small_interface_is_small_and_the_li_row_is_mended() -> None:
    tiny = get_system("tiny-li2o-licl")
    assert tiny.n_atoms is not None
    assert tiny.n_atoms <= 48
    li = get_system("li2o-li-110")
    # Table S4 prints (1 0; 0 3) for both.
    assert li.interface.supercell == {"Li2O": ((1, 0), (0, 3)), "Li": ((1, 0), (0, 4))}
    assert "printed 3" in li.sources["supercell"]
