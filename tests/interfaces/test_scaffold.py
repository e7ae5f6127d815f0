"""A first spec from two CIF files."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.io import write
from ase.spacegroup import crystal

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.bulk import bulk_structure
from dismaiflow.interfaces.scaffold import interface_yaml_from_cifs
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.systems import SystemSpec, get_system

ROCK_SALT = [(0, 0, 0), (0.5, 0.5, 0.5)]


@pytest.fixture(scope="module")
def cifs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cifs")
    crystals = {
        "Li2O": crystal(["Li", "O"], [(0.25,) * 3, (0, 0, 0)], spacegroup=225, cellpar=[4.61] * 3),
        "LiCl": crystal(["Li", "Cl"], ROCK_SALT, spacegroup=225, cellpar=[5.14] * 3),
        "MgS": crystal(["Mg", "S"], ROCK_SALT, spacegroup=225, cellpar=[5.20] * 3),
        "Li": crystal(["Li"], [(0, 0, 0)], spacegroup=229, cellpar=[3.437] * 3),
    }
    for name, atoms in crystals.items():
        write(folder / f"{name}.cif", atoms)
    for name, block in get_system("lsc-lco").interface.bulk.items():
        bulk_structure(block, name).to(filename=str(folder / f"{name}.cif"))
    return folder


def made(cifs: Path, substrate: str, film: str, **options) -> SystemSpec:
    text = interface_yaml_from_cifs(
        "mine", cifs / f"{substrate}.cif", cifs / f"{film}.cif", folder=cifs, **options
    )
    path = cifs / f"{substrate}-{film}.yaml"
    path.write_text(text, encoding="utf-8")
    assert text.count("#") > 15
    return SystemSpec.from_file(path)


def test_the_crystals_of_the_paper(cifs: Path):
    spec = made(cifs, "LCO", "LSC", miller=[(1, 1, 0), (1, 0, 0)], layers=[4, 7])
    assert spec.oxidation_states == {"Li": 1, "Co": 3, "Sc": 3, "Cl": -1, "O": -2}
    parts = spec.interface
    assert parts.bulk["Li3ScCl6"].formula == {"Li": 3, "Sc": 1, "Cl": 6}
    assert parts.bulk["Li3ScCl6"].cif == "LSC.cif"
    # Shannon's radii of Li+, Co3+ (low spin), Sc3+, Cl- and O2- with six neighbours.
    radii = {"Li": 0.76, "Co": 0.545, "Sc": 0.745, "Cl": 1.81, "O": 1.40}
    assert parts.region.min_distances.radii == radii
    # The a axis of LiCoO2 links equal cations.
    assert parts.region.min_distances.pairs["Co-Co"] == 2.83
    assert parts.region.formula_units == 3
    assert [(fix.phase, fix.species) for fix in parts.polar_fix] == [("Li3ScCl6", "Cl")]
    system = InterfaceSystem.from_spec(spec)
    assert system.host.cell[0, 0] == pytest.approx(12.46997, abs=0.01)
    assert system.spec.composition == {"Li": 72, "Co": 36, "Sc": 12, "O": 72, "Cl": 72}


@pytest.mark.parametrize(
    ("substrate", "film", "miller"),
    [
        ("Li2O", "LiCl", [(1, 0, 0), (1, 0, 0)]),
        ("Li2O", "LiCl", [(1, 1, 0), (1, 0, 0)]),
        ("MgS", "LiCl", [(1, 1, 1), (1, 1, 1)]),
        ("Li2O", "Li", [(1, 1, 0), (1, 0, 0)]),
    ],
)
def test_scaffolds_build_slabs_without_a_dipole(cifs: Path, substrate, film, miller):
    spec = made(cifs, substrate, film, miller=miller)
    system = InterfaceSystem.from_spec(spec)
    for slab in system.slabs.values():
        assert slab.slab.height > 4.5
        assert slab.dipole is None or abs(slab.dipole) < 1e-4
    # 60 % of the density of the film at 5 Å, as well as whole formula units can.
    formula = spec.interface.bulk[film].formula
    cell = bulk_structure(spec.self_contained().interface.bulk[film], film)
    density = len(cell) / sum(formula.values()) / cell.volume
    exact = 0.6 * density * 5 * system.match.area
    assert abs(spec.interface.region.formula_units - exact) <= 0.5 + 1e-6
    assert f"{system.match.area:.1f} Å^2" in Path(spec.origin).read_text(encoding="utf-8")


def test_metal_and_oxide_agree_on_no_charge(cifs: Path):
    spec = made(cifs, "Li2O", "Li", miller=[(1, 1, 0), (1, 0, 0)])
    assert spec.oxidation_states is None
    assert (spec.cations, spec.anions) == (("Li",), ("O",))


def test_files_are_named_as_seen_from_the_yaml(cifs: Path):
    folder = cifs / "specs"
    folder.mkdir()
    text = interface_yaml_from_cifs("mine", cifs / "MgS.cif", cifs / "LiCl.cif", folder=folder)
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    spec = SystemSpec.from_file(folder / "mine.yaml")
    assert spec.interface.bulk["MgS"].cif == "../MgS.cif"


def test_one_crystal_twice_gets_two_names(cifs: Path):
    spec = made(cifs, "LiCl", "LiCl")
    assert set(spec.interface.bulk) == {"LiCl-below", "LiCl-above"}


def test_unusable_files_get_one_line(cifs: Path):
    with pytest.raises(DismaiError, match=r"--cif: no file .*absent.cif: mend the path"):
        interface_yaml_from_cifs("mine", cifs / "absent.cif", cifs / "LiCl.cif")
    (cifs / "words.cif").write_text("just words", encoding="utf-8")
    with pytest.raises(DismaiError, match=r"--cif: .*words.cif cannot be read as a CIF file"):
        interface_yaml_from_cifs("mine", cifs / "words.cif", cifs / "LiCl.cif")
    with pytest.raises(DismaiError, match="without spaces"):
        interface_yaml_from_cifs("my own", cifs / "MgS.cif", cifs / "LiCl.cif")
