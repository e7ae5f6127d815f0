"""Quality of crystals, of known numbers, and of bad input."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from dismaiflow.amorphous.quality import assess, bond_angles
from dismaiflow.errors import DismaiError


def crystal(rattle=0.0):
    atoms = bulk("Si", "diamond", 5.431, cubic=True) * (3, 3, 3)
    if rattle:
        atoms.rattle(rattle, seed=1)
    return atoms


def test_a_crystal_is_known_for_one():
    atoms = crystal()
    found = assess(atoms.numbers, atoms.positions, atoms.cell.array)
    assert found.coordination == {"4": 1.0}
    assert found.mean_coordination == 4.0
    assert found.first_peak == pytest.approx(2.352, abs=0.03)
    assert found.closest_pair == pytest.approx(2.3517, abs=1e-4)
    assert found.angle_mean == pytest.approx(109.4712, abs=1e-4)
    assert found.angle_width == pytest.approx(0, abs=1e-5)
    # 8 atoms of 28.085 u in 5.431^3 Å^3
    assert found.density == pytest.approx(2.3290, abs=2e-4)
    assert any("crystalline" in text for text in found.warnings)
    assert found.cutoff == 2.85
    assert found.cutoff_from == "silicon"


def test_angles_of_two_bonds_and_of_none():
    vectors = np.array([[1.0, 0, 0], [0, 2.0, 0], [1, 1, 0], [1, 0, 0], [-1, 0, 0]])
    angles = bond_angles(np.array([3, 0, 2]), vectors)
    assert sorted(np.round(angles, 6).tolist()) == [45, 45, 90, 180]
    assert len(bond_angles(np.zeros(3, dtype=int), np.empty((0, 3)))) == 0


def test_vacancies_are_counted():
    """Four atoms lose a bond for each atom taken out: 4 of 215."""
    atoms = crystal()
    del atoms[0]
    found = assess(atoms.numbers, atoms.positions, atoms.cell.array)
    assert found.coordination == pytest.approx({"3": 4 / 215, "4": 211 / 215})


def test_a_random_gas_is_judged_bad_in_plain_words():
    rng = np.random.default_rng(0)
    found = assess([14] * 500, rng.random((500, 3)) * 25, np.eye(3) * 25, 0.5)
    text = " ".join(found.warnings)
    for word in ("four bonds", "bond angles", "0.500 eV/atom", "density 1.492", "apart"):
        assert word in text
    assert found.verdict.startswith("not good")
    assert all("\n" not in warning for warning in found.warnings)


def test_good_numbers_pass():
    """A rattled crystal stands in: every number within the anchors of a-Si."""
    atoms = crystal(0.17)
    atoms.set_cell(atoms.cell * 1.006, scale_atoms=True)
    found = assess(atoms.numbers, atoms.positions, atoms.cell.array, 0.14)
    assert 8 < found.angle_width < 11
    assert found.density == pytest.approx(2.2876, abs=1e-3)


def test_other_materials_get_numbers_and_no_verdict():
    atoms = bulk("SiC", "zincblende", 4.36, cubic=True) * (3, 3, 3)
    found = assess(atoms.numbers, atoms.positions, atoms.cell.array)
    assert found.mean_coordination == 4.0
    assert found.cutoff_from == "first minimum of g(r)"
    assert found.warnings == []
    assert "no anchors" in found.verdict


def test_bad_input_is_refused():
    with pytest.raises(DismaiError, match="NaN"):
        assess([14], [[np.nan, 0, 0]], np.eye(3))
    with pytest.raises(DismaiError, match="nearer than 8"):
        assess([32], [[0.0, 0, 0]], np.eye(3) * 40)


def test_a_material_without_a_gap_is_measured_all_the_same():
    rng = np.random.default_rng(0)
    found = assess([32] * 500, rng.random((500, 3)) * 25, np.eye(3) * 25)
    assert found.cutoff > 0
    assert found.mean_coordination >= 0


def test_a_lone_atom_has_no_angles():
    found = assess([14], [[0.0, 0, 0]], np.eye(3) * 40)
    assert found.angle_mean is None
    assert found.first_peak is None
    assert found.closest_pair is None
    assert found.coordination == {"0": 1.0}
