"""`dismai score` of interfaces and amorphous structures, from YAML alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk, graphene
from ase.spacegroup import crystal

from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from .conftest import Dismai

#: Amorphous silica: 72 atoms a block.
SILICA = """
name: my-silica
kind: amorphous
composition: {Si: 24, O: 48}
oxidation_states: {Si: 4, O: -2}
metrics: [d_motif, d_si, d_rdf, d_angle, percent_failed]
parent: {n_atoms: 3000, density: 2.2}
block: {n_atoms: 72}
"""

#: MgO(100) on LiF(100), with LiF at random between them.
MGO_LIF = """
name: my-mgo-lif
kind: interface
oxidation_states: {Mg: 2, O: -2, Li: 1, F: -1}
bulk:
  MgO:
    formula: {Mg: 1, O: 1}
    cell: {lengths: [4.212, 4.212, 4.212]}
    space_group: Fm-3m
    sites: [{species: Mg, position: [0, 0, 0]}, {species: O, position: [1/2, 1/2, 1/2]}]
  LiF:
    formula: {Li: 1, F: 1}
    cell: {lengths: [4.026, 4.026, 4.026]}
    space_group: Fm-3m
    sites: [{species: Li, position: [0, 0, 0]}, {species: F, position: [1/2, 1/2, 1/2]}]
miller: {MgO: [1, 0, 0], LiF: [1, 0, 0]}
layers: {MgO: 3, LiF: 3}
supercell: {MgO: [[2, 0], [0, 2]], LiF: [[2, 0], [0, 2]]}
region:
  phase: LiF
  formula_units: 4
  thickness: [4.0, 6.0]
  min_distances: {scale: 0.75, radii: {Mg: 0.72, O: 1.40, Li: 0.76, F: 1.33}, \
pairs: {Li-Li: 2.3, Mg-Mg: 2.6, Li-Mg: 2.5}}
"""


def rattled(atoms: Atoms, n: int, sigma: float, seed: int) -> list[Atoms]:
    """Return noisy copies."""
    copies = [atoms.copy() for _ in range(n)]
    for number, one in enumerate(copies):
        one.rattle(sigma, seed=seed + number)
    return copies


def silicon(n: int, sigma: float, seed: int) -> list[Atoms]:
    """Return noisy crystals of 64 atoms."""
    return rattled(bulk("Si", cubic=True) * (2, 2, 2), n, sigma, seed)


def silica(n: int, sigma: float, seed: int) -> list[Atoms]:
    """Return noisy cristobalite of 72 atoms (idealised, P4_12_12)."""
    cell = crystal(
        ("Si", "O"),
        [(0.3004, 0.3004, 0), (0.2392, 0.1044, 0.1787)],
        spacegroup=92,
        cellpar=[4.9717, 4.9717, 6.9223, 90, 90, 90],
    )
    return rattled(cell * (3, 2, 1), n, sigma, seed)


def write(path: Path, structures: list[Atoms]) -> Path:
    """Write structures as extended XYZ."""
    ase.io.write(path, structures, format="extxyz")
    return path


@pytest.fixture
def score(dismai: Dismai, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that scores and returns what score.json says."""

    def run(system: object, generated: Path, reference: Path, *more: object) -> dict[str, Any]:
        out = tmp_path / "score"
        words = ("score", system, generated, "--reference", reference, "--out", out, *more)
        done = dismai(*words, DISMAI_N_CONTROL_RELAXED=2, DISMAI_PROCESSES=1)
        assert done.code == 0, done.err
        assert (out / "report.html").stat().st_size > 1e6
        read: dict[str, Any] = json.loads((out / "score.json").read_text("utf-8"))
        return read

    return run


def test_silicon_is_relaxed_and_scored(
    score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Stillinger-Weber takes noisy crystals back to the crystal; what cannot go on is counted."""
    train = write(tmp_path / "train.extxyz", silicon(6, 0.05, 0))
    generated = silicon(6, 0.05, 50)
    generated[1].positions[3] = np.nan
    generated[4].symbols[0] = "Ge"
    found = score(
        "amorphous-si", write(tmp_path / "gen.extxyz", generated), train, "--potential=sw"
    )
    assert (found["n_generated"], found["n_scored"]) == (6, 4)
    assert found["failures"] == {"not_finite": 1, "foreign_element": 1}
    # All relax to the same crystal, so that nothing sets the two sets apart.
    assert found["metrics"]["d_motif"]["value"] < 0.01
    assert found["metrics"]["percent_failed"]["value"] == pytest.approx(100 / 3)
    relaxed = found["findings"]["relaxations"]
    assert relaxed["potential"]["name"] == "sw"
    assert relaxed["generated"]["by_status"]["converged"] == 4
    # The Stillinger-Weber crystal has -4.3363 eV/atom (in lattices of 5.431 Å).
    edges = found["histograms"]["energy"]["edges"]
    assert (edges[0] + edges[-1]) / 2 == pytest.approx(-4.3363, abs=2e-3)
    assert found["published"]["comparable"] is False
    assert "sw" in found["published"]["why_not"]
    assert set(found["controls"]) == {"train-resample", "rattled"}
    assert {"reference", "generated", "relaxed"} <= set(found["examples"])
    # The maximum of g(r) is the bond of the crystal, 2.351 Å.
    rdf = found["findings"]["curves"]["rdf"]
    assert rdf["x"][int(np.argmax(rdf["generated"]))] == pytest.approx(2.351, abs=0.02)


def test_relaxed_structures_are_taken_as_they_are(
    score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """No potential, no energies, and a mark that says so."""
    train = write(tmp_path / "train.extxyz", silicon(5, 0.02, 0))
    found = score(
        "amorphous-si", write(tmp_path / "gen.extxyz", silicon(4, 0.3, 9)), train, "--relaxed"
    )
    assert found["n_scored"] == 4
    assert found["findings"]["relaxations"] is None
    assert found["distribution"]["w1_energy"] is None
    assert "taken as relaxed" in found["marks"][0]
    floor = found["floor"]["d_motif"]
    assert floor < found["metrics"]["d_motif"]["value"]
    assert {"train-resample", "rattled", "uniform-random"} == set(found["controls"])


@pytest.mark.slow
def test_amorphous_silica_from_yaml_alone(
    score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Silicon is surrounded by oxygen only, four of them, also with another potential."""
    spec = tmp_path / "my-silica.yaml"
    spec.write_text(SILICA, "utf-8")
    train = write(tmp_path / "train.extxyz", silica(4, 0.03, 0))
    generated = write(tmp_path / "gen.extxyz", silica(3, 0.08, 20))
    found = score(spec, generated, train, "--potential", "tersoff")
    assert found["n_scored"] == 3
    assert set(found["metrics"]) == {"d_motif", "d_si", "d_rdf", "d_angle", "percent_failed"}
    assert {bond["neighbour"] for bond in found["findings"]["bonds"]} == {"O"}
    assert 3.6 < found["findings"]["bonds"][0]["generated"] <= 4.1
    assert set(found["findings"]["curves"]) == {"rdf", "angle", "Si-Si", "Si-O", "O-O"}
    (motifs,) = found["findings"]["motifs"]
    assert motifs["motifs"][0]["motif"] == "tetrahedral CN_4"


def test_a_new_interface_from_yaml_alone(
    dismai: Dismai, score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Metrics, region, bonds and pairs follow from the spec."""
    spec = tmp_path / "my-mgo-lif.yaml"
    spec.write_text(MGO_LIF, "utf-8")
    made = dismai("dataset", spec, "--n", 6, "--out", tmp_path / "data")
    assert made.code == 0, made.err
    folder = tmp_path / "data" / "my-mgo-lif"
    found = score(spec, folder / "val.extxyz", folder, "--relaxed")
    assert list(found["metrics"]) == ["d_mg", "d_li", "d_all", "percent_failed"]
    assert list(found["similarity"]) == ["cos_mg", "cos_li", "cos_all"]
    assert all(found["metrics"][name]["value"] > 0 for name in ("d_li", "d_all"))
    pairs = {(b["centre"], b["neighbour"]) for b in found["findings"]["bonds"]}
    assert pairs == {("Mg", "O"), ("Mg", "F"), ("Li", "O"), ("Li", "F")}
    # There is no magnesium in a region of LiF.
    by_pair = {(b["centre"], b["neighbour"]): b["generated"] for b in found["findings"]["bonds"]}
    assert by_pair["Mg", "O"] is None
    assert by_pair["Li", "F"] > 0
    assert "those of the reference are not" in found["marks"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs --potential P to relax the structures"),
        (("--potential", "swu"), "swu"),
        (("--potential", "matgl:nowhere"), "nowhere"),
        (("--potential", "quippy:none.xml"), "none.xml"),
        (("--potential", "command:none.yaml"), "none.yaml"),
        (("--potential", "no_such_module:make"), "no_such_module"),
        (("--relaxed", "--alignment", "fixed"), "--alignment is for alloys"),
        (("--potential", "sw", "--device", "gpu7"), "--device gpu7: RuntimeError"),
    ],
)
def test_bad_potentials_are_refused_before_any_work(
    dismai: Dismai, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """One line, exit code 2, and nothing is written."""
    train = write(tmp_path / "train.extxyz", silicon(2, 0.02, 0))
    out = tmp_path / "score"
    ran = dismai("score", "amorphous-si", train, "--reference", train, "--out", out, *words)
    assert message in ran.refusal
    assert not out.exists()


def test_a_scratch_folder_that_is_none(dismai: Dismai, tmp_path: Path) -> None:
    """What is finished could not be noted: said before any work."""
    train = write(tmp_path / "train.extxyz", silicon(2, 0.02, 0))
    words = ("--reference", train, "--out", tmp_path / "score", "--potential", "sw")
    ran = dismai("score", "amorphous-si", train, *words, DISMAI_SCRATCH_DIR=train)
    assert "DISMAI_SCRATCH_DIR" in ran.refusal


def test_short_bonds_and_forgotten_boundaries(
    score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Graphene's bonds of 1.42 Å are no overlaps where the spec says so; cells are periodic."""
    cell = graphene(a=2.46, size=(3, 3, 1), vacuum=6.0)
    cell.pbc = True
    train = write(tmp_path / "train.extxyz", rattled(cell, 3, 0.01, 0))
    cell.pbc = False
    generated = write(tmp_path / "gen.extxyz", rattled(cell, 2, 0.02, 7))
    text = (
        "name: flat-carbon\nkind: amorphous\ncomposition: {C: 18}\nmetrics: [d_motif]\n"
        "parent: {n_atoms: 200, density: 2.0}\nblock: {n_atoms: 18}\n"
    )
    spec = tmp_path / "flat-carbon.yaml"
    spec.write_text(text + "dataset: {relaxation: {min_distance: 1.2}}\n", "utf-8")
    found = score(spec, generated, train, "--potential", "tersoff", "--no-controls")
    assert found["n_scored"] == 2
    assert found["findings"]["relaxations"]["generated"]["by_status"] == {"converged": 2}


def test_a_potential_must_know_the_elements(dismai: Dismai, tmp_path: Path) -> None:
    """Stillinger-Weber knows silicon only."""
    train = write(tmp_path / "train.extxyz", silicon(2, 0.02, 0))
    words = ("--reference", train, "--out", tmp_path / "score", "--potential", "sw")
    ran = dismai("score", "lsc-lco", train, *words)
    assert "sw" in ran.refusal
    assert "Co" in ran.refusal or "Li" in ran.refusal


@pytest.mark.slow
def test_a_slab_of_the_paper(
    dismai: Dismai, score: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Li72Co36Sc12Cl72O72 is pushed apart, relaxed with CHGNet as far as asked, and scored."""
    spec = get_system("lsc-lco")
    relaxation = spec.dataset.relaxation.model_copy(update={"fmax": 2.5, "max_steps": 300})
    dataset = spec.dataset.model_copy(update={"relaxation": relaxation})
    changed = tmp_path / "lsc-lco.yaml"
    changed.write_text(spec.model_copy(update={"dataset": dataset}).to_yaml(), "utf-8")
    made = dismai("dataset", changed, "--n", 3, "--out", tmp_path / "data")
    assert made.code == 0, made.err
    folder = tmp_path / "data" / "lsc-lco"
    atoms = ase.io.read(folder / "val.extxyz")
    # Two atoms of the vacuum's side that must be pushed apart first.
    atoms.positions[1] = atoms.positions[0] + [0.9, 0.0, 0.0]
    generated = write(tmp_path / "gen.extxyz", [atoms])
    found = score(changed, generated, folder, "--potential", "chgnet", "--no-controls")
    assert found["n_scored"] == 1, found["failed"]
    assert set(found["metrics"]) == {"d_li", "d_co", "d_sc", "d_all", "percent_failed"}
    assert all(found["metrics"][f"d_{x}"]["value"] > 0 for x in ("li", "co", "sc", "all"))
    relaxed = found["findings"]["relaxations"]
    assert relaxed["potential"]["name"] == "chgnet"
    assert relaxed["generated"]["steps_mean"] > 0
    assert relaxed["generated"]["drop_mean"] > 0
    # The lowest structure of the reference stands at -0.4 J/m^2.
    energies = found["findings"]["interface_energies"]
    assert energies["reference_lowest"] == pytest.approx(-0.4, abs=1e-9)
    assert energies["area"] == pytest.approx(207.80, abs=0.01)
    assert energies["potential_hash"] == relaxed["potential"]["hash"]
    before, after = found["examples"]["generated"], found["examples"]["relaxed"]
    close = np.linalg.norm(np.subtract(before["positions"][0], before["positions"][1]))
    apart = np.linalg.norm(np.subtract(after["positions"][0], after["positions"][1]))
    assert close < 1.0 < 1.5 < apart
