"""The shipped specs against numbers typed from the paper, and what broken specs say."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from ase.data import chemical_symbols
from ase.geometry import cellpar_to_cell
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError

from dismaiflow.errors import DismaiError
from dismaiflow.systems import SystemSpec, get_system
from dismaiflow.systems.blocks import ExpansionData
from dismaiflow.systems.data_files import LIBRARY
from dismaiflow.systems.fields import ELEMENTS, Cell

NAMES = [
    "alloy-300K-narrow",
    "alloy-300K-wide",
    "alloy-1500K-narrow",
    "alloy-1500K-wide",
    "amorphous-si",
    "lsc-lco",
]

SHIPPED = sorted(path.stem for path in LIBRARY.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_has_1500_structures_split_80_20(name: str) -> None:
    spec = get_system(name)
    assert spec.dataset.n_structures == 1500
    assert (spec.dataset.n_train, spec.dataset.n_validation) == (1200, 300)
    assert spec.name == Path(spec.origin).stem == name


@pytest.mark.parametrize("temperature", [300, 1500])
@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_alloys_are_the_papers(temperature: int, width: str) -> None:
    spec = get_system(f"alloy-{temperature}K-{width}")
    assert spec.composition == {"Fe": 154, "Ni": 51, "Cr": 51}
    assert (spec.n_atoms, spec.formula) == (256, "Fe154Ni51Cr51")
    assert spec.species == ("Fe", "Ni", "Cr")
    alloy = spec.alloy
    assert alloy.temperature == temperature
    assert (alloy.lattice.type, alloy.lattice.a) == ("fcc", 3.6)
    assert alloy.lattice.supercell == (4, 4, 4)
    assert spec.cell_vectors == ((14.4, 0, 0), (0, 14.4, 0), (0, 0, 14.4))
    assert alloy.sampling.n_runs == 10
    assert alloy.sampling.n_passes == 50_000
    assert alloy.sampling.snapshot_interval == 10
    assert alloy.sampling.n_snapshots == 50_000
    if width == "wide":
        assert alloy.order_filter is None
    else:
        assert alloy.order_filter is not None
        assert alloy.order_filter.shells == (1, 2)
        assert alloy.order_filter.tolerance == 0.1
    assert spec.metrics == ("d_cluster", "percent_with_vacancies", "percent_failed")


def test_silicon_is_the_papers() -> None:
    spec = get_system("amorphous-si")
    assert (spec.n_atoms, spec.formula) == (256, "Si256")
    assert spec.cell_vectors is None
    assert spec.amorphous.parent.n_atoms == 100_000
    assert spec.amorphous.block.n_atoms == 256
    assert spec.amorphous.block.face_grid == (2, 2)
    relaxation = spec.dataset.relaxation
    assert relaxation is not None
    assert (relaxation.optimizer, relaxation.fmax) == ("cg", 0.05)
    assert not relaxation.relax_cell
    assert spec.metrics == ("d_motif", "d_rdf", "d_angle", "percent_failed")


def test_interface_is_the_papers() -> None:
    spec = get_system("lsc-lco")
    assert (spec.n_atoms, spec.formula) == (264, "Li72Co36Sc12Cl72O72")
    assert spec.cations == ("Li", "Co", "Sc")
    assert spec.anions == ("Cl", "O")
    assert spec.metrics == ("d_li", "d_co", "d_sc", "d_all", "percent_failed")
    assert spec.reference_energy == -4.78
    parts = spec.interface
    assert parts.miller == {"LCO": (1, 1, 0), "LSC": (1, 0, 0)}
    assert parts.layers == {"LCO": 4, "LSC": 7}
    assert (parts.substrate, parts.film) == ("LCO", "LSC")
    assert parts.supercell == {"LCO": ((1, 2), (-3, 3)), "LSC": ((1, 1), (-2, 1))}
    assert parts.vacuum == 14
    region = parts.region
    assert (region.phase, region.formula_units) == ("LSC", 3)
    assert sum(parts.bulk["LSC"].formula.values()) * region.formula_units == 30
    assert region.thickness == (4, 6)
    assert region.lateral_shift == (1, 1)
    (fix,) = parts.polar_fix
    assert (fix.phase, fix.species, fix.fraction) == ("LSC", "Cl", 0.5)
    assert parts.exchanges is not None
    assert parts.exchanges.limits == {"Sc-Co": 3, "Li-Co": 3, "Cl-O": 6}
    assert (parts.exchanges.n_without, parts.exchanges.n_with) == (350, 600)
    assert not parts.exchanges.in_dataset
    assert parts.atom_order[0] == "region"
    relaxation, energy = spec.dataset.relaxation, spec.dataset.energy_filter
    assert relaxation is not None
    assert energy is not None
    assert (relaxation.optimizer, relaxation.fmax) == ("cg", 0.05)
    assert (energy.max_interface_energy, energy.window) == (0, 0.4)


def test_interface_dft_settings_are_the_papers() -> None:
    dft = get_system("lsc-lco").interface.dft
    assert dft is not None
    assert dft.bulk is not None
    assert dft.functional == "PBE"
    assert {symbol: (u.u, u.orbital) for symbol, u in dft.hubbard_u.items()} == {"Co": (4, "d")}
    assert (dft.bulk.encut, dft.bulk.fmax) == (520, 0.001)
    assert dft.bulk.kpoints["LCO"].grid == (9, 9, 1)
    assert dft.bulk.kpoints["LCO"].style == "gamma"
    assert dft.bulk.kpoints["LSC"].grid == (6, 4, 6)
    assert dft.bulk.kpoints["LSC"].style == "monkhorst-pack"
    assert (dft.kpoints.grid, dft.kpoints.style) == ((1, 1, 1), "gamma")
    first, second = dft.stages
    assert (first.relax, first.encut, first.max_steps, first.fmax) == ("region", 374.3, 50, None)
    assert (second.relax, second.encut, second.fmax) == ("all", 450, 0.1)
    assert (dft.harvest.first, dft.harvest.interval) == (5, 10)


def test_interface_cell_follows_from_the_substrate() -> None:
    spec = get_system("lsc-lco")
    parts = spec.interface
    assert spec.cell_vectors is not None
    assert parts.surface_vectors is not None
    assert parts.supercell is not None
    bulk = parts.bulk["LCO"].cell
    assert bulk is not None

    def cartesian(fractional: Any) -> list[float]:
        return [
            sum(f * v[k] for f, v in zip(fractional, bulk.vectors, strict=True)) for k in range(3)
        ]

    u, v = (cartesian(row) for row in parts.surface_vectors["LCO"][:2])
    in_plane = [
        [i * x + j * y for x, y in zip(u, v, strict=True)] for i, j in parts.supercell["LCO"]
    ]
    a, b = (math.hypot(*row) for row in in_plane)
    gamma = math.degrees(math.acos(sum(x * y for x, y in zip(*in_plane, strict=True)) / a / b))
    assert a == pytest.approx(12.46997, abs=1e-5)
    assert b == pytest.approx(17.19967, abs=1e-5)
    assert gamma == pytest.approx(75.6674, abs=1e-4)
    # Lengths, angle and area as the published interface-energy script has them.
    area = 12.46997 * 17.19967 * math.sin(75.6674 / 180 * math.pi)
    assert spec.area == pytest.approx(area, rel=1e-12)
    assert math.hypot(*spec.cell_vectors[1]) == pytest.approx(17.19967)


def test_interface_distances_cover_every_pair() -> None:
    distances = get_system("lsc-lco").interface.region.min_distances
    assert distances.of("Cl", "Cl") == pytest.approx(0.75 * 3.62)
    assert distances.of("Co", "Sc") == distances.of("Sc", "Co") == pytest.approx(0.75 * 3.2)
    assert distances.of("Li", "O") == pytest.approx(0.75 * 2.16)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_has_a_source(name: str) -> None:
    spec = get_system(name)

    def unsourced(key: str, value: Any) -> list[str]:
        if key in spec.sources:
            return []
        if isinstance(value, dict) and any(k.startswith(f"{key}/") for k in spec.sources):
            return [bad for k, v in value.items() for bad in unsourced(f"{key}/{k}", v)]
        return [key]

    data = spec.model_dump(exclude_none=True)
    for key in ("name", "kind", "description", "allow_charged", "sources", "area"):
        data.pop(key, None)
    assert [bad for key, value in data.items() for bad in unsourced(key, value)] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_specs_survive_yaml_and_a_document(name: str) -> None:
    spec = get_system(name)
    assert SystemSpec.from_yaml(spec.to_yaml()) == spec
    document = json.dumps(spec, cls=MontyEncoder)
    again = json.loads(document, cls=MontyDecoder)
    assert type(again) is SystemSpec
    assert again == spec
    assert list(again.composition) == list(spec.composition)


def test_cluster_expansion_file_is_the_published_one() -> None:
    path = get_system("alloy-300K-wide").cluster_expansion_path()
    assert path == LIBRARY / "fe_ni_cr_eci.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    assert "Dismai-Bench repository" in data["source"]
    assert data["multiplicity_pairs_per_atom"] == [6, 3, 12, 6, 12, 4, 24]
    assert data["constant"] == -0.00932958469464057
    assert data["pair"]["2"]["Cr-Cr"] == -0.03477817417403486
    # Of the numbers as they were transcribed, whatever the layout of the file.
    numbers = json.dumps([data["constant"], data["monomer"], data["pair"]])
    assert hashlib.sha256(numbers.encode()).hexdigest()[:16] == "f21a3c18a465bbb8"


def test_cluster_expansion_beside_the_yaml_comes_first(tmp_path: Path) -> None:
    spec = get_system("alloy-300K-wide")
    own = tmp_path / "fe_ni_cr_eci.json"
    own.write_text(spec.cluster_expansion_path().read_text(encoding="utf-8"), encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(spec.to_yaml(), encoding="utf-8")
    assert SystemSpec.from_file(path).cluster_expansion_path() == own


def test_missing_cluster_expansion_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = get_system("alloy-300K-wide").to_yaml().replace("fe_ni_cr_eci", "nothing")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DismaiError, match=r"mine\.yaml: key 'cluster_expansion'.*nothing\.json"):
        SystemSpec.from_file(path)


def test_self_contained_spec_needs_no_file() -> None:
    spec = get_system("alloy-1500K-wide").self_contained()
    assert isinstance(spec.cluster_expansion, ExpansionData)
    assert spec.cluster_expansion.pair["7"]["Fe-Ni"] == -0.0021377444095509075
    assert spec.self_contained() is spec
    assert SystemSpec.from_yaml(spec.to_yaml()) == spec
    with pytest.raises(DismaiError, match="holds the data"):
        spec.cluster_expansion_path()
    assert get_system("lsc-lco").self_contained() == get_system("lsc-lco")


def test_broken_cluster_expansion_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{", encoding="utf-8")
    path = tmp_path / "mine.yaml"
    text = get_system("alloy-300K-wide").to_yaml().replace("fe_ni_cr_eci", "mine")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DismaiError, match=r"mine\.json: cannot be read as JSON"):
        SystemSpec.from_file(path).self_contained()
    (tmp_path / "mine.json").write_text('{"constant": 0, "pairs": {}}', encoding="utf-8")
    with pytest.raises(DismaiError, match=r"expansion\.pairs' is not known: did you mean pair"):
        SystemSpec.from_file(path).self_contained()


#: What is changed in a valid spec, and what the one line must say.
BROKEN = [
    ("alloy-300K-wide", "temperature:", "temprature:", "key 'temprature'", "mean temperature?"),
    ("alloy-300K-wide", "n_runs:", "n_run:", "key 'dataset.sampling.n_run'", "mean n_runs?"),
    ("alloy-300K-wide", "Fe: 154", "fe: 154", "key 'composition.fe'", "did you mean Fe?"),
    ("alloy-300K-wide", "Fe: 154", "Qq: 154", "key 'composition.Qq'", "unknown element"),
    ("alloy-300K-wide", "Fe: 154", "Fe: 0", "key 'composition.Fe'", "greater than 0"),
    ("alloy-300K-wide", "154", "150", "key 'composition'", "252 atoms.*256 sites"),
    ("alloy-300K-wide", "300.0", "-300", "key 'temperature'", "greater than 0 K"),
    ("alloy-300K-wide", "300.0", ".nan", "key 'temperature'", "finite"),
    ("alloy-300K-wide", "300.0", "hot", "key 'temperature'", "valid number.*'hot'"),
    ("alloy-300K-wide", "0.8", "1.2", "key 'dataset.train_fraction'", "less than or equal to 1"),
    ("alloy-300K-wide", "0.8", "0", "key 'dataset.train_fraction'", "greater than 0"),
    ("alloy-300K-wide", "50000", "50", "key 'dataset.n_structures'", "only 50 snapshots"),
    ("alloy-300K-wide", "kind: alloy", "kind: aloy", "key 'kind'", "'alloy', 'amorphous'"),
    ("alloy-300K-wide", "kind: alloy", "kind: amorphous", "key 'lattice'", "of kind alloy"),
    ("alloy-300K-wide", "d_cluster", "d_clustr", "key 'metrics'", "did you mean d_cluster?"),
    ("alloy-300K-wide", "d_cluster", "d_motif", "key 'metrics'", "no metric 'd_motif'"),
    ("alloy-300K-wide", "temperature: 300.0\n", "", "key 'temperature' is missing", "such as"),
    ("alloy-300K-wide", "  a: 3.6\n", "", "key 'lattice.a' is missing", "add it"),
    ("alloy-300K-wide", "lattice:", "cell: {lengths: [1, 1, 1]}\nlattice:", "'cell'", "lattice"),
    ("alloy-300K-wide", "lattice:", "block: {n_atoms: 1}\nlattice:", "key 'block'", "amorphous"),
    ("alloy-300K-wide", "  sampling", "  relaxation: {}\n  sampling", ".relaxation'", "alloy"),
    ("alloy-300K-wide", "name: al", "name: a l", "key 'name'", "without spaces"),
    ("alloy-300K-wide", "  system:", "  sytem: x\n  system:", "key 'sources.sytem'", "no key"),
    ("alloy-300K-wide", "dataset:\n", "dataset: 3\nx:\n", "key 'x'", "not known"),
    ("alloy-300K-wide", "{Fe: 154, Ni: 51, Cr: 51}", "[154]", "key 'composition'", "a mapping"),
    ("alloy-300K-wide", "name:", "name: x\nname:", "line 2, column 1", "key 'name' is given twice"),
    ("alloy-300K-wide", "{Fe: 154,", "{Fe: 154", "line ", "column"),
    ("amorphous-si", "n_atoms: 100000", "n_atoms: 10", "key 'parent.n_atoms'", "larger parent"),
    ("amorphous-si", "Si: 256", "Si: 250", "key 'block.n_atoms'", "250 atoms"),
    ("amorphous-si", "fmax: 0.05", "fmax: 0", "key 'dataset.relaxation.fmax'", "greater than 0"),
    ("lsc-lco", "Cl: -1.0", "Cl: -2.0", "key 'composition' has charge -72", "allow_charged"),
    ("lsc-lco", "Sc: 3.0, ", "", "key 'oxidation_states' lacks Sc", "add"),
    ("lsc-lco", "cations: [Li, ", "cations: [K, ", "key 'cations' names K", "remove"),
    ("lsc-lco", "anions: [Cl", "anions: [Li", "key 'anions' repeats Li", "remove"),
    ("lsc-lco", "LSC: 7", "LSO: 7", "key 'layers': no phase 'LSO'", "did you mean"),
    ("lsc-lco", "layers: {LCO: 4, LSC: 7}", "layers: {LCO: 4}", "key 'layers' lacks", "LSC"),
    ("lsc-lco", "LSC: 9", "LSC: 10", "key 'composition'", "Li: 75"),
    ("lsc-lco", "33.21", "19", "key 'cell' is 19.00", "20.00 Å: lengthen c"),
    ("lsc-lco", "area: 207.8", "area: 217.8", "key 'area'", "remove area"),
    ("lsc-lco", "Sc-Co: 3,", "Co-Sc: 3,", "key 'exchanges.limits.Co-Sc'", "region-layer"),
    ("lsc-lco", "Sc-Co: 3,", "ScCo: 3,", "key 'exchanges.limits.ScCo'", "write it as Li-Co"),
    ("lsc-lco", "[1, 2]", "[-1, 1]", "key 'supercell.LCO'", "determinant 0"),
    ("lsc-lco", "Co: 0.545, ", "", "key 'region.min_distances'", "no distance Co-Cl"),
    ("lsc-lco", "thickness: [4.0, 6.0]", "thickness: [6, 4]", "key 'region'", "swap"),
    ("lsc-lco", "order: [Cl, Sc, Li]", "order: [Cl]", "key 'region.placement.order'", "Li, Sc, Cl"),
    ("lsc-lco", "species: Cl, f", "species: O, f", "key 'polar_fix.species'", "no O"),
    ("lsc-lco", "region, top-", "region, bottom-", "'atom_order[1]'", "should be 'region'"),
    ("lsc-lco", "formula: {Li: 3,", "formula: {Li: 2,", "key 'bulk.LSC.formula'", "charge -1"),
    ("lsc-lco", "encut: 520.0", "encut: 0", "key 'dft.bulk.encut'", "than 0"),
    ("lsc-lco", ", max_steps: 50}", "}", r"key 'dft.stages[0]'", "give fmax or max_steps"),
    ("lsc-lco", "Sc: Sc_sv, ", "", "key 'dft.potentials' lacks Sc", "PAW"),
    ("lsc-lco", "0.3333333333333333", "1/0", "surface_vectors.LCO[1][0]", "not a number"),
    ("lsc-lco", "- species: Sc", "- species: In", "key 'bulk.LSC'", "make them agree"),
    ("lsc-lco", "LCO: [1, 1, 0]", "LCO: [0, 0, 0]", "key 'miller.LCO'", "plane"),
]


@pytest.mark.parametrize(("name", "old", "new", "key", "mend"), BROKEN)
def test_broken_specs_say_what_is_wrong_in_one_line(
    tmp_path: Path, name: str, old: str, new: str, key: str, mend: str
) -> None:
    text = get_system(name).to_yaml()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DismaiError) as caught:
        SystemSpec.from_file(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert key in line
    assert re.search(mend.replace("?", r"\?"), line), line


@pytest.mark.parametrize("text", ["", "- a list", "just words", "3"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DismaiError, match="holds no keys: start from `dismai systems new"):
        SystemSpec.from_file(path)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match="no such file"):
        SystemSpec.from_file(tmp_path / "absent.yaml")
    with pytest.raises(DismaiError, match="cannot be read as a text file"):
        SystemSpec.from_file(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DismaiError, match="cannot be read as a text file"):
        SystemSpec.from_file(binary)
    binary.write_bytes(b"name: \x00")
    with pytest.raises(DismaiError, match=r"binary\.yaml: .*characters are not allowed"):
        SystemSpec.from_file(binary)


def test_yaml_constructs_no_objects(tmp_path: Path) -> None:
    with pytest.raises(DismaiError, match="could not determine a constructor"):
        SystemSpec.from_yaml("name: !!python/object/apply:os.getcwd []")


def test_in_python_a_wrong_value_is_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="key 'nam' is not known: did you mean name"):
        SystemSpec.model_validate({"nam": "x"})


def test_specs_cannot_be_changed_in_place() -> None:
    spec = get_system("amorphous-si")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"
    assert spec.model_copy(update={"name": "other"}) != spec
    assert spec != "amorphous-si"


def test_kinds_give_their_own_blocks_only() -> None:
    spec = get_system("amorphous-si")
    with pytest.raises(DismaiError, match="is of kind amorphous, not alloy"):
        spec.cluster_expansion_path()
    with pytest.raises(DismaiError, match="is of kind amorphous, not interface"):
        _ = spec.interface


def test_charged_systems_need_a_word() -> None:
    text = get_system("lsc-lco").to_yaml().replace("Cl: -1.0", "Cl: -2.0")
    charged = text.replace("allow_charged: false", "allow_charged: true")
    assert SystemSpec.from_yaml(charged).allow_charged


def test_kind_chooses_metrics_and_signs_choose_ions() -> None:
    spec = get_system("lsc-lco")
    data = spec.model_dump(exclude={"metrics", "cations", "anions", "area", "sources"})
    again = SystemSpec.model_validate(data)
    assert (again.metrics, again.cations, again.anions) == (spec.metrics, spec.cations, spec.anions)
    assert again.area == spec.area
    silica = SystemSpec.model_validate(
        {
            "name": "silica",
            "kind": "amorphous",
            "composition": {"Si": 10, "O": 20},
            "oxidation_states": {"Si": 4, "O": -2},
            "parent": {"n_atoms": 3000},
            "block": {"n_atoms": 30},
            "metrics": ["d_si", "d_all", "d_rdf"],
        }
    )
    assert silica.cations == ("Si",)
    assert silica.dataset.relaxation is not None


def test_interface_defaults() -> None:
    keys = {"substrate", "vacuum", "atom_order", "supercell", "cell", "area", "sources"}
    spec = SystemSpec.model_validate(get_system("lsc-lco").model_dump(exclude=keys))
    parts = spec.interface
    assert (parts.substrate, parts.vacuum) == ("LCO", 14)
    assert parts.atom_order == ("region", "top-substrate-layer", "rest")
    assert parts.supercell is None
    assert parts.matching is not None
    assert (spec.area, spec.cell_vectors) == (None, None)


def test_bulk_by_cif_or_sites() -> None:
    data = get_system("lsc-lco").model_dump()
    data["bulk"]["LCO"] = {"formula": {"Li": 1, "Co": 1, "O": 2}, "cif": "LCO.cif"}
    data["sources"] = {}
    assert SystemSpec.model_validate(data).interface.bulk["LCO"].cif == "LCO.cif"
    data["bulk"]["LCO"]["sites"] = [{"species": "Li", "position": [0, 0, 0]}]
    data["bulk"]["LCO"]["cell"] = {"lengths": [3, 3, 3]}
    with pytest.raises(ValidationError, match="either cif, or cell with sites"):
        SystemSpec.model_validate(data)
    del data["bulk"]["LCO"]["cif"]
    data["bulk"]["LCO"]["sites"] += [
        {"species": "Co", "position": ["1/2", 0, 0]},
        {"species": "O", "position": [0, "1/4", 0]},
    ]
    with pytest.raises(ValidationError, match="not in the proportions of the formula"):
        SystemSpec.model_validate(data)


@pytest.mark.parametrize(
    ("lengths", "angles"),
    [([3, 4, 5], [90, 90, 90]), ([3, 4, 5], [80, 95, 110]), ([6, 11, 6.4], [90, 109.89, 90])],
)
def test_cells_agree_with_ase(lengths: list[float], angles: list[float]) -> None:
    cell = Cell(lengths=lengths, angles=angles)  # type: ignore[arg-type]
    expected = cellpar_to_cell([*lengths, *angles])  # type: ignore[no-untyped-call]
    for row, wanted in zip(cell.vectors, expected, strict=True):
        assert row == pytest.approx(list(wanted), abs=1e-12)
    by_matrix = Cell.model_validate([list(row) for row in cell.vectors])
    assert by_matrix.volume == pytest.approx(cell.volume)
    sine = math.sin(math.radians(angles[2]))
    assert by_matrix.area == pytest.approx(lengths[0] * lengths[1] * sine)


@pytest.mark.parametrize(
    "cell",
    [
        {},
        {"angles": [90, 90, 90]},
        {"lengths": [1, 2, 0]},
        {"lengths": [1, 1, 1], "angles": [90, 90, 180]},
        {"lengths": [1, 1, 1], "angles": [30, 30, 90]},
        {"lengths": [1, 1, 1], "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
        [[1, 0, 0], [0, 1, 0], [0, 0, -1]],
        [[1, 0, 0], [2, 0, 0], [0, 0, 1]],
    ],
)
def test_impossible_cells_are_refused(cell: Any) -> None:
    with pytest.raises(ValidationError):
        Cell.model_validate(cell)


def test_elements_are_the_real_ones() -> None:
    assert list(ELEMENTS) == chemical_symbols[1:119]
