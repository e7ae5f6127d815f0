"""Frames and verdicts from the folders of VASP runs."""

from __future__ import annotations

import gzip
import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.units import GPa
from custodian import Custodian
from custodian.vasp.handlers import VaspErrorHandler
from custodian.vasp.jobs import VaspJob
from hypothesis import given
from hypothesis import strategies as st

from dft.restarted import LIMIT, rehearsed
from dft.small_runs import make_folder
from dft.vasp_files import EACH, Run, Step, steps_of, vasprun_text, write_run
from dismaiflow.dft.attempts import Attempt, join_attempts, unwrapped
from dismaiflow.dft.harvest import HarvestRule, read_run, sampled_steps
from dismaiflow.dft.outcar import Outcar
from dismaiflow.dft.rehearsal.toy import ToyCalculator
from dismaiflow.dft.vasprun import IonicStep, Vasprun

RULE = HarvestRule(first=2, interval=3)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run of the stand-in that nothing interrupts."""
    return rehearsed(tmp_path_factory.mktemp("runs") / "whole")


def assert_same_frames(frames, others, tolerance=1e-6):
    assert frames.parents == others.parents
    assert frames.steps.tolist() == others.steps.tolist()
    assert frames.final.tolist() == others.final.tolist()
    assert frames.structures.ids == others.structures.ids
    for name in ("energies", "forces", "stresses"):
        one, other = getattr(frames, name), getattr(others, name)
        np.testing.assert_allclose(one, other, atol=tolerance)
    for name in ("positions", "cells"):
        one, other = getattr(frames.structures, name), getattr(others.structures, name)
        np.testing.assert_allclose(one, other, atol=tolerance)


# --- which steps


@pytest.mark.parametrize(
    ("n_steps", "wanted"),
    [
        (0, []),
        (1, [1]),
        (4, [4]),
        (5, [5]),
        (6, [5, 6]),
        (15, [5, 15]),
        (42, [5, 15, 25, 35, 42]),
    ],
)
def test_steps_of_the_paper(n_steps, wanted):
    assert sampled_steps(n_steps, HarvestRule(first=5, interval=10)) == wanted


@given(st.integers(1, 500), st.integers(1, 30), st.integers(1, 30))
def test_steps_are_taken_once_and_the_last_always(n_steps, first, interval):
    taken = sampled_steps(n_steps, HarvestRule(first=first, interval=interval))
    assert taken == sorted(set(taken))
    assert taken[-1] == n_steps
    assert all((step - first) % interval == 0 and step >= first for step in taken[:-1])
    assert len(taken) >= 1 + max(0, (n_steps - first) // interval)


# --- restarts


@pytest.mark.parametrize("fail", [("zbrent@4", "edddav@3"), ("brmix@1", "zbrent@2")])
def test_frames_of_a_run_with_two_restarts_are_those_of_the_run_without(whole, tmp_path, fail):
    broken = rehearsed(tmp_path / "broken", *fail)
    expected = read_run(whole, RULE, parent="p")
    found = read_run(broken, RULE, parent="p")
    assert found.n_restarts == 2
    assert found.n_steps == expected.n_steps > 10
    assert (found.status, found.reason) == (expected.status, expected.reason)
    assert_same_frames(found.frames, expected.frames)
    assert found.label == expected.label


def test_custodian_itself_restarts_and_no_frame_is_lost_or_doubled(whole, tmp_path, monkeypatch):
    make_folder(tmp_path, EDIFFG=LIMIT)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "dismaiflow.dft.rehearsal", "--memoryless"]
    command += ["--fail", "zbrent@4", "--fail", "zbrent@6"]
    job = VaspJob(command, auto_npar=False)
    Custodian(
        [VaspErrorHandler()], [job], max_errors=5, polling_time_step=0.05, gzipped_output=True
    ).run()
    expected = read_run(whole, RULE, parent="p")
    found = read_run(tmp_path, RULE, parent="p")
    assert not (tmp_path / "vasprun.xml").exists()
    assert found.n_restarts == 2
    assert len(found.corrections) == 2
    assert found.corrections[0] == "VaspErrorHandler: zbrent"
    assert_same_frames(found.frames, expected.frames)
    # It tightens EDIFF twice, which leaves the numbers what they are within the first one.
    assert "EDIFF = 1e-07" in gzip.decompress((tmp_path / "INCAR.gz").read_bytes()).decode()
    assert found.frames.labels == (found.label,)
    assert found.label.settings == expected.label.settings
    assert found.label.settings["EDIFF"] == 1e-5


def attempt_of(points, cycles=3):
    """Return an attempt with one atom at these places along x."""
    cell, nothing = np.eye(3) * 10.0, np.zeros((1, 3))
    steps = [
        IonicStep(cell, np.array([[x, 0.0, 0.0]]), -abs(x), nothing, np.zeros((3, 3)), cycles)
        for x in points
    ]
    return Attempt(Vasprun(incar={"NELM": 60}, steps=steps), Outcar())


def places(path):
    return [round(float(joined.step.fractions[0, 0]), 6) for joined in path]


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.data())
def test_a_path_cut_anywhere_is_joined_again(repeats, data):
    points = [0.01 * i for i in range(len(repeats))]
    cuts = data.draw(st.sets(st.integers(1, len(points) - 1)))
    attempts, begin = [], 0
    for cut in [*sorted(cuts), len(points)]:
        # A restart begins with the last geometry, or with the next one.
        attempts.append(attempt_of(points[begin:cut]))
        begin = cut - 1 if repeats[cut - 1] else cut
    assert places(join_attempts(attempts)) == [round(x, 6) for x in points]


@pytest.mark.parametrize(
    ("attempts", "joined"),
    [
        # From the start again, on the same way, and farther or less far.
        ([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4]], [0.1, 0.2, 0.3, 0.4]),
        ([[0.1, 0.2, 0.3], [0.1, 0.2]], [0.1, 0.2, 0.3]),
        # Another way from the second step on.
        ([[0.1, 0.2, 0.3], [0.2, 0.25]], [0.1, 0.2, 0.25]),
        # Nothing finished in between.
        ([[0.1, 0.2], [], [0.2, 0.3]], [0.1, 0.2, 0.3]),
        # Elsewhere: both count.
        ([[0.1, 0.2], [0.6, 0.7]], [0.1, 0.2, 0.6, 0.7]),
        # A place that is visited twice within an attempt stays so.
        ([[0.1, 0.2, 0.1, 0.3]], [0.1, 0.2, 0.1, 0.3]),
        # Wrapped into the cell, by the restart and amid an attempt.
        ([[0.1, -0.02], [0.98, 0.97]], [0.1, -0.02, -0.03]),
        ([[0.02, 0.99, 0.98], [0.98, 0.01]], [0.02, -0.01, -0.02, 0.01]),
    ],
)
def test_where_an_attempt_goes_on(attempts, joined):
    def energy_free(points):
        attempt = attempt_of(points)
        steps = [IonicStep(s.cell, s.fractions, -1.0, s.forces, s.stress, 3) for s in
                 attempt.run.steps]  # fmt: skip
        return Attempt(Vasprun(incar={"NELM": 60}, steps=steps), Outcar())

    path = unwrapped(join_attempts([energy_free(points) for points in attempts]))
    assert places(path) == pytest.approx(joined)


def test_another_state_of_the_electrons_is_another_step():
    first, second = attempt_of([0.1, 0.2]), attempt_of([0.2, 0.3])
    late = second.run.steps[0]
    second.run.steps[0] = IonicStep(
        late.cell, late.fractions, late.energy - 0.5, late.forces, late.stress, 3
    )
    assert places(join_attempts([first, second])) == [0.1, 0.2, 0.2, 0.3]


def test_of_a_repeated_step_the_converged_one_is_kept():
    path = join_attempts([attempt_of([0.1, 0.2], 60), attempt_of([0.2, 0.3], 5)])
    assert places(path) == [0.1, 0.2, 0.3]
    assert [joined.converged for joined in path] == [False, True, True]
    path = join_attempts([attempt_of([0.1, 0.2], 5), attempt_of([0.2, 0.3], 60)])
    assert [joined.converged for joined in path] == [True, True, False]


def test_copies_of_one_attempt_are_one(tmp_path):
    run = Run(steps_of(3), finished=False, said="")
    later = Run(steps_of(5)[2:])
    later.steps[0] = run.steps[2]
    found = read_run(write_run(tmp_path / "a", run, run, later), EACH)
    assert found.n_restarts == 1
    assert found.n_steps == 5
    # custodian packs the files once more before it gives up.
    found = read_run(write_run(tmp_path / "b", run, run), EACH)
    assert (found.n_restarts, found.n_steps) == (0, 3)


def test_damaged_archives_leave_what_can_be_read(tmp_path):
    write_run(tmp_path, Run(steps_of(3)), Run(steps_of(5)[3:]))
    archive = tmp_path / "error.1.tar.gz"
    (tmp_path / "error.2.tar.gz").write_bytes(b"nothing")
    (tmp_path / "error.x.tar.gz").write_bytes(b"nothing")
    archive.write_bytes(archive.read_bytes()[:-40])
    assert read_run(tmp_path, EACH).n_steps >= 2


# --- labels


def test_forces_and_stresses_are_derivatives_of_the_energy(whole):
    """Of the calculator's energy, by finite differences: signs and units."""
    frames = read_run(whole, RULE).frames
    atoms = frames.structures.atoms(0)
    atoms.calc = ToyCalculator()
    assert frames.energies[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    h = 1e-4
    for i in range(len(atoms)):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.calc = ToyCalculator()
                moved.positions[i, axis] += sign * h
                energies.append(moved.get_potential_energy())
            slope = (energies[0] - energies[1]) / (2 * h)
            assert frames.forces_of(0)[i, axis] == pytest.approx(-slope, abs=1e-5)
    for row in range(3):
        for column in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[row, column] += sign * h / 2
                strain[column, row] += sign * h / 2
                moved = atoms.copy()
                moved.calc = ToyCalculator()
                moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                energies.append(moved.get_potential_energy())
            slope = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume()
            assert frames.stresses[0, row, column] == pytest.approx(slope, abs=1e-6)


def test_stress_of_a_compressed_crystal_is_negative(tmp_path):
    """VASP: kB, compression positive. Ours: eV/Å^3, as ASE; 1 eV/Å^3 is 160.21766 GPa."""
    steps = steps_of(1)
    steps[0].stress = np.diag([100.0, 0.0, -50.0])
    frames = read_run(write_run(tmp_path, Run(steps)), EACH).frames
    wanted = np.diag([-10.0, 0.0, 5.0]) / 160.2176634
    np.testing.assert_allclose(frames.stresses[0], wanted, rtol=1e-6)


def test_no_stress_is_none(tmp_path):
    text = vasprun_text(Run(steps_of(2)))
    (tmp_path / "vasprun.xml").write_text(text.replace('name="stress"', 'name="other"'))
    frames = read_run(tmp_path, EACH).frames
    assert len(frames) == 2
    assert np.isnan(frames.stresses).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", ["rehearsal", "written"])
def test_pymatgen_reads_the_same(whole, tmp_path, source):
    from pymatgen.io.vasp import Vasprun as Peer

    written = source == "written"
    folder = write_run(tmp_path, Run(steps_of())) if written else whole
    peer = Peer(folder / "vasprun.xml", parse_dos=False, parse_potcar_file=False)
    found = read_run(folder, EACH)
    assert found.n_steps == len(found.frames) == len(peer.ionic_steps)
    for i, step in enumerate(peer.ionic_steps):
        assert found.frames.energies[i] == step["e_fr_energy"]
        np.testing.assert_allclose(found.frames.forces_of(i), step["forces"])
        np.testing.assert_allclose(found.frames.stresses[i], -0.1 * GPa * np.array(step["stress"]))
        atoms = found.frames.structures.atoms(i)
        # pymatgen leaves atoms where they were wrapped to.
        shift = atoms.cell.scaled_positions(atoms.positions) - step["structure"].frac_coords
        np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
        np.testing.assert_allclose(atoms.cell.array, step["structure"].lattice.matrix)
        assert atoms.get_chemical_symbols() == [str(s) for s in step["structure"].species]


def test_label_of_a_real_run(tmp_path):
    hubbard = {"LDAU": True, "LDAUL": [2, -1], "LDAUU": [4.0, 0.0], "LDAUJ": [0.0, 0.0]}
    found = read_run(write_run(tmp_path, Run(steps_of(), hubbard)), EACH)
    label = found.label
    assert found.frames.labels == (label,)
    assert (label.engine, label.functional, label.rehearsal) == ("vasp 6.4.2", "PBE+U", False)
    assert label.settings == {
        "ENCUT": 450.0,
        "EDIFF": 1e-5,
        "PREC": "ACCURATE",
        "ISMEAR": 0,
        "SIGMA": 0.05,
        "ISPIN": 2,
        "LREAL": "AUTO",
        "LASPH": True,
        "GGA": "PE",
        "U": {"Co": {"l": 2, "U": 4.0, "J": 0.0}},
        "kpoints": {"style": "Gamma", "grid": [1, 1, 1], "shift": [0.0, 0.0, 0.0]},
        "potentials": {"Co": "PAW_PBE Co 01Jan2000", "O": "PAW_PBE O 01Jan2000"},
    }
    json.dumps(label.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("tags", "functional"),
    [
        ({"GGA": "PS"}, "PBEsol"),
        ({"GGA": "--"}, "PBE"),  # what the potentials were made with
        ({"METAGGA": "R2SCAN"}, "R2SCAN"),
        ({"LDAU": True, "LDAUL": [2, 2], "LDAUU": [0.0, 0.0], "LDAUJ": [0.0, 0.0]}, "PBE"),
    ],
)
def test_functional(tmp_path, tags, functional):
    assert read_run(write_run(tmp_path, Run(steps_of(), tags)), EACH).label.functional == functional


def test_settings_of_any_spelling_make_one_label(tmp_path):
    spellings = [{"ENCUT": 450}, {"PREC": "accura"}, {"LREAL": "A"}, {"NSW": 7}, {"EDIFFG": -0.3}]
    for number, tags in enumerate([{}, *spellings]):
        write_run(tmp_path / str(number), Run(steps_of(), tags))
    labels = {read_run(tmp_path / str(n), EACH).label.hash for n in range(len(spellings) + 1)}
    assert len(labels) == 1
    write_run(tmp_path / "x", Run(steps_of(), {"ENCUT": 374.3}))
    assert read_run(tmp_path / "x", EACH).label.hash not in labels


def test_settings_that_a_restart_changes_make_two_labels(tmp_path):
    before, after = Run(steps_of(4)), Run(steps_of(6)[3:], {"LREAL": False})
    after.steps[0] = before.steps[-1]
    frames = read_run(write_run(tmp_path, before, after), EACH, parent="p").frames
    assert frames.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert [frames.label(i).settings["LREAL"] for i in range(6)] == ["AUTO"] * 3 + ["FALSE"] * 3


@pytest.mark.parametrize("where", ["subversion", "outcar"])
def test_a_rehearsal_is_known_by_its_mark(tmp_path, where):
    run = Run(steps_of())
    if where == "subversion":
        run.subversion = "REHEARSAL-not-DFT (potential toy 0123)"
    else:
        run.said = " REHEARSAL-not-DFT\n"
    label = read_run(write_run(tmp_path, run), EACH).label
    assert label.rehearsal
    assert label.engine.startswith("rehearsal of vasp 6.4.2")


def test_the_stand_in_bears_the_mark(whole):
    label = read_run(whole, EACH).label
    assert label.rehearsal
    assert "toy" in label.engine


def test_potentials_are_named_where_there_is_no_licence(tmp_path):
    write_run(tmp_path, Run(steps_of(), title=""))
    (tmp_path / "POTCAR.spec").write_text("Co\nO\n")
    assert read_run(tmp_path, EACH).label.settings["potentials"] == {"Co": "Co", "O": "O"}


# --- order, moments, gz


def test_atoms_come_back_in_the_order_that_was_given(tmp_path):
    given_atoms = Atoms(
        "OCoLiOLi", np.arange(15.0).reshape(5, 3) % 7, cell=[7.5, 8.5, 9.5], pbc=True
    )
    order = np.array([2, 4, 1, 0, 3])
    forces = np.arange(15.0).reshape(5, 3)
    forces[2, 0] = 40.0  # Li, which does not move
    step = Step(given_atoms[order], -5.0, forces[order], np.zeros((3, 3)))
    moments = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    folder = write_run(tmp_path, Run([step], {"EDIFFG": -30.0}, moments=list(moments[order])))
    free = np.array([True, True, False, True, True])
    found = read_run(folder, EACH, order=order, parent="p", free=free)
    assert found.last.get_chemical_symbols() == given_atoms.get_chemical_symbols()
    np.testing.assert_allclose(found.last.positions, given_atoms.positions, atol=1e-6)
    np.testing.assert_allclose(found.frames.forces, forces)
    np.testing.assert_allclose(found.frames.structures.positions, given_atoms.positions, atol=1e-6)
    np.testing.assert_allclose(found.moments, moments)
    structure = found.structure
    assert [str(s) for s in structure.species] == given_atoms.get_chemical_symbols()
    assert structure.site_properties["magmom"] == moments.tolist()
    # sqrt(12^2 + 13^2 + 14^2), of the last atom
    assert found.max_force == pytest.approx(22.5610, abs=1e-4)
    assert read_run(folder, EACH, order=order).max_force > 40


def test_an_order_of_another_structure_is_a_failure(tmp_path):
    found = read_run(write_run(tmp_path, Run(steps_of())), EACH, order=np.arange(3))
    assert found.status == "failed"
    assert found.reason == "vasprun.xml holds 2 atoms, not 3"


def test_atoms_that_were_wrapped_go_back_to_where_they_came_from(tmp_path):
    steps = steps_of(3)
    start = steps[0].atoms.get_scaled_positions(wrap=False) - [[0, 0, 1], [0, 0, 0]]
    found = read_run(write_run(tmp_path, Run(steps)), EACH, start=start)
    np.testing.assert_allclose(found.last.positions[0], [0.1, 0, -6], atol=1e-6)
    np.testing.assert_allclose(found.frames.structures.positions[0], [0.1, 0, -6], atol=1e-6)


def test_atoms_that_cross_the_edge_of_the_cell_do_not_jump(tmp_path):
    """The lowest plane of a slab lies on the edge, and its atoms go to and fro across it."""
    steps = steps_of(3)
    heights = (0.001, 0.999, 0.998)
    for step, height in zip(steps, heights, strict=True):
        fractions = step.atoms.get_scaled_positions(wrap=False)
        fractions[0, 2] = height
        step.atoms.set_scaled_positions(fractions)
    found = read_run(write_run(tmp_path, Run(steps)), EACH)
    c = steps[0].atoms.cell[2, 2]
    frames = found.frames.structures
    assert [frames.positions[frames.slice_of(i)][0, 2] for i in range(3)] == pytest.approx(
        [0.001 * c, -0.001 * c, -0.002 * c], abs=1e-6
    )


def test_selective_dynamics_of_the_run_say_what_moves(tmp_path):
    steps = steps_of(1)
    steps[0].forces = np.array([[0.01, 9.0, 0.02], [7.0, 0.0, 0.0]])
    selective = np.array([[True, False, True], [False, False, False]])
    found = read_run(write_run(tmp_path, Run(steps, selective=selective)), EACH)
    assert found.max_force == pytest.approx(np.hypot(0.01, 0.02))
    assert found.status == "converged"
    # All forces are labels, those on atoms at rest too.
    np.testing.assert_allclose(found.frames.forces, steps[0].forces)


def test_gzipped_files_are_the_same(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    found, expected = read_run(tmp_path, RULE), read_run(whole, RULE)
    assert found.frames.content_hash == expected.frames.content_hash
    assert (found.status, found.reason) == (expected.status, expected.reason)
