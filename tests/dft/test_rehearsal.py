"""The stand-in for VASP does what its inputs say, and other programs read what it writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp import Incar, Kpoints, Oszicar, Outcar, Poscar, Vasprun

from dft.small_runs import TOY, crystal, make_folder, play
from dismaiflow.dft.rehearsal.command import main, open_calculator
from dismaiflow.dft.rehearsal.failures import Failure
from dismaiflow.dft.rehearsal.geometry import Geometry, parse_poscar, read_poscar
from dismaiflow.dft.rehearsal.inputs import read_inputs
from dismaiflow.dft.rehearsal.toy import CUTOFF, ToyCalculator, pair
from dismaiflow.errors import DismaiError

#: kB of one eV/Å^3: 1 eV/Å^3 is 160.21766208 GPa, 1 GPa is 10 kB.
KILOBAR = 1602.1766208


def vasprun(folder: Path) -> Vasprun:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no POTCAR; unconverged runs are meant
        return Vasprun(folder / "vasprun.xml")


def toy_energy(atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = ToyCalculator()
    return float(atoms.get_potential_energy())


class Moments(ToyCalculator):
    """The toy potential with magnetic moments."""

    implemented_properties = [*ToyCalculator.implemented_properties, "magmoms"]  # noqa: RUF012

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results["magmoms"] = np.arange(8) / 4


# What other programs read.


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_folder(tmp_path_factory.mktemp("relaxed"), ISIF=3)
    assert play(folder) == 0
    return folder


def test_pymatgen_finds_the_numbers_of_the_potential(relaxed: Path) -> None:
    run = vasprun(relaxed)
    assert run.converged
    assert 5 < len(run.ionic_steps) < 60
    for step in run.ionic_steps:
        atoms = AseAtomsAdaptor.get_atoms(step["structure"])
        atoms.calc = ToyCalculator()
        # Positions have eight digits.
        assert step["e_fr_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(step["forces"], atoms.get_forces(), atol=1e-5)
        stress = -KILOBAR * atoms.get_stress(voigt=False)
        np.testing.assert_allclose(step["stress"], stress, atol=1e-3)
        assert step["electronic_steps"][-1]["e_fr_energy"] == step["e_fr_energy"]
    # CONTCAR has the last geometry, with all digits.
    last = AseAtomsAdaptor.get_atoms(Poscar.from_file(relaxed / "CONTCAR").structure)
    assert run.final_energy == pytest.approx(toy_energy(last), abs=2e-8)


def test_ase_reads_the_same_labels_from_both_files(relaxed: Path) -> None:
    """Its readers turn VASP's stress into its own sign and unit."""
    frames = ase.io.read(relaxed / "vasprun.xml", index=":")
    others = ase.io.read(relaxed / "OUTCAR", index=":")
    assert len(frames) == len(others) == len(vasprun(relaxed).ionic_steps)
    for frame, other in zip(frames, others, strict=True):
        atoms = frame.copy()
        atoms.calc = ToyCalculator()
        for read, digits in ((frame, 1e-5), (other, 1e-4)):
            assert read.get_potential_energy() == pytest.approx(toy_energy(atoms), abs=1e-5)
            np.testing.assert_allclose(read.get_forces(), atoms.get_forces(), atol=digits)
            np.testing.assert_allclose(read.get_stress(), atoms.get_stress(), atol=digits)


def test_forces_and_stresses_are_derivatives_of_the_energy(tmp_path: Path) -> None:
    """By finite differences, with VASP's sign (compression positive) and its unit, kB."""
    make_folder(tmp_path, NSW=0, IBRION=-1)
    play(tmp_path)
    (step,) = vasprun(tmp_path).ionic_steps
    atoms = AseAtomsAdaptor.get_atoms(step["structure"])
    size = 1e-4
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * size
            energies.append(toy_energy(moved))
        slope = (energies[0] - energies[1]) / (2 * size)
        assert step["forces"][atom][axis] == pytest.approx(-slope, abs=1e-5)
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * size / 2
            strain[j, i] += sign * size / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(toy_energy(strained))
        slope = (energies[0] - energies[1]) / (2 * size)
        kilobar = -slope / atoms.get_volume() * KILOBAR
        assert step["stress"][i][j] == pytest.approx(kilobar, abs=1e-2)


def test_a_squeezed_crystal_has_positive_pressure(tmp_path: Path) -> None:
    squeezed = crystal(0.0)
    squeezed.scale_lattice(0.6 * squeezed.volume)
    make_folder(tmp_path, squeezed, NSW=0, IBRION=-1)
    play(tmp_path)
    (step,) = vasprun(tmp_path).ionic_steps
    assert np.trace(step["stress"]) > 100
    pressure = next(
        line for line in (tmp_path / "OUTCAR").read_text().splitlines() if "external" in line
    )
    assert float(pressure.split()[3]) == pytest.approx(np.trace(step["stress"]) / 3, abs=0.01)


def test_what_outcar_and_oszicar_say(relaxed: Path) -> None:
    run, outcar, oszicar = (
        vasprun(relaxed),
        Outcar(relaxed / "OUTCAR"),
        Oszicar(relaxed / "OSZICAR"),
    )
    energies = [step["e_fr_energy"] for step in run.ionic_steps]
    assert outcar.final_fr_energy == energies[-1]
    assert not outcar.is_stopped
    assert outcar.spin
    # Without POTCAR, what is beyond the noble gases counts: 2 Li, 2 x 9 of Co, 4 x 6 of O.
    assert outcar.nelect == 44
    assert outcar.total_mag == pytest.approx(4.8)
    assert [moment["tot"] for moment in outcar.magnetization] == [0.6] * 8
    assert outcar.run_stats["Elapsed time (sec)"] > 0
    assert [step["F"] for step in oszicar.ionic_steps] == pytest.approx(energies, abs=1e-5)
    assert [len(step) for step in oszicar.electronic_steps] == [6] * len(energies)
    for steps, energy in zip(oszicar.electronic_steps, energies, strict=True):
        changes = [abs(line["dE"]) for line in steps]
        assert changes == sorted(changes, reverse=True)
        assert changes[-1] < 1e-5
        assert steps[-1]["E"] == pytest.approx(energy, abs=1e-8)


def test_inputs_come_back_as_pymatgen_reads_them(relaxed: Path) -> None:
    run, incar = vasprun(relaxed), Incar.from_file(relaxed / "INCAR")
    assert set(run.incar) == set(incar)
    for name, value in incar.items():
        assert run.incar[name] == value, name
    assert run.parameters["NELM"] == 30
    assert run.parameters["NSW"] == 60
    assert run.run_type == "PBE+U"
    assert run.hubbards == {"Li": 0.0, "Co": 4.0, "O": 0.0}
    assert run.kpoints.kpts == [(2, 2, 1)]
    assert sum(run.actual_kpoints_weights) == pytest.approx(1.0)
    assert run.vasp_version.startswith("6.4.2")
    assert run.eigenvalue_band_properties[0] == 2.0  # make-believe bands


def test_everything_says_that_it_is_no_dft(relaxed: Path) -> None:
    said = "REHEARSAL-not-DFT"
    assert f"{said} (potential toy 0123456789ab)" in (relaxed / "OUTCAR").read_text()[:200]
    head = (relaxed / "vasprun.xml").read_text()[:600]
    assert f'name="subversion">{said} (potential toy 0123456789ab)' in head
    last = (relaxed / "OSZICAR").read_text().splitlines()[-1]
    assert last.endswith(said)


# What inputs ask for.


def test_selective_dynamics_freezes_to_the_last_digit(tmp_path: Path) -> None:
    flags = [[False] * 3] * 2 + [[True, False, True]] * 2 + [[True] * 3] * 4
    make_folder(tmp_path, flags=flags, EDIFFG=-0.2)
    start = read_poscar(tmp_path / "POSCAR")
    play(tmp_path)
    end = read_poscar(tmp_path / "CONTCAR")
    changed = start.scaled != end.scaled
    np.testing.assert_array_equal(changed, flags)
    np.testing.assert_array_equal(Poscar.from_file(tmp_path / "CONTCAR").selective_dynamics, flags)
    # The forces on frozen atoms are written, but do not count.
    forces = np.linalg.norm(vasprun(tmp_path).ionic_steps[-1]["forces"], axis=1)
    assert vasprun(tmp_path).converged
    assert (forces[4:] < 0.2).all()
    assert (forces[:4] > 0.2).any()


def test_cell_settings(tmp_path: Path) -> None:
    ends = {}
    for name, tags in {
        "ions": {"ISIF": 2},
        "all": {"ISIF": 3},
        "shape": {"ISIF": 4},
        "plane": {"ISIF": 3, "LATTICE_CONSTRAINTS": [True, True, False]},
    }.items():
        make_folder(tmp_path / name, EDIFFG=-0.3, **tags)
        start = Poscar.from_file(tmp_path / name / "POSCAR").structure.lattice
        play(tmp_path / name)
        ends[name] = Poscar.from_file(tmp_path / name / "CONTCAR").structure.lattice
    np.testing.assert_array_equal(ends["ions"].matrix, start.matrix)
    assert abs(ends["all"].volume - start.volume) > 1
    assert ends["shape"].volume == pytest.approx(start.volume, abs=1e-6)
    assert not np.allclose(ends["shape"].matrix, start.matrix, atol=1e-2)
    np.testing.assert_array_equal(ends["plane"].matrix[:, 2], start.matrix[:, 2])
    assert abs(ends["plane"].a - start.a) > 0.01
    stress = vasprun(tmp_path / "all").ionic_steps[-1]["stress"]
    # 0.3 eV/Å for each of the eight atoms.
    assert np.abs(stress).max() < 0.3 * 8 / ends["all"].volume * KILOBAR


@pytest.mark.parametrize("ibrion", [1, 2, 3])
def test_forces_are_relaxed(tmp_path: Path, ibrion: int) -> None:
    make_folder(tmp_path, IBRION=ibrion, EDIFFG=-0.3)
    play(tmp_path)
    run = vasprun(tmp_path)
    assert run.converged
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() < 0.3
    assert run.ionic_steps[-1]["e_fr_energy"] < run.ionic_steps[0]["e_fr_energy"]


def test_limits_of_steps(tmp_path: Path) -> None:
    """EDIFFG = 0 never stops, and pymatgen calls that converged; positive is about the energy."""
    for name, tags in {"never": {"EDIFFG": 0, "NSW": 7}, "energy": {"EDIFFG": 0.05}}.items():
        make_folder(tmp_path / name, **tags)
        play(tmp_path / name)
    never, energy = vasprun(tmp_path / "never"), vasprun(tmp_path / "energy")
    assert len(never.ionic_steps) == 7
    assert never.converged
    *_, before, last = (step["e_fr_energy"] for step in energy.ionic_steps)
    assert abs(last - before) < 0.05
    assert energy.converged
    make_folder(tmp_path / "few", NSW=3)
    play(tmp_path / "few")
    assert not vasprun(tmp_path / "few").converged_ionic


@pytest.mark.parametrize(
    ("tag", "word", "electronic"),
    [("LSTOP = .TRUE.", "soft", 6), ("LABORT = .TRUE.", "hard", 1), ("lstop=T", "soft", 6)],
)
def test_stop_files(tmp_path: Path, tag: str, word: str, electronic: int) -> None:
    make_folder(tmp_path)
    (tmp_path / "STOPCAR").write_text(tag)
    assert play(tmp_path) == 0
    (steps,) = Oszicar(tmp_path / "OSZICAR").electronic_steps
    assert len(steps) == electronic
    assert f"{word} stop encountered!  aborting job" in (tmp_path / "OUTCAR").read_text()
    assert Outcar(tmp_path / "OUTCAR").is_stopped == (word == "soft")
    assert not (tmp_path / "STOPCAR").exists()
    assert len(vasprun(tmp_path).ionic_steps) == 1


def test_moments_of_the_potential_win(tmp_path: Path) -> None:
    make_folder(tmp_path, NSW=0)
    play(tmp_path, Moments())
    found = [moment["tot"] for moment in Outcar(tmp_path / "OUTCAR").magnetization]
    assert found == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


@pytest.mark.parametrize(("contcar", "doubled"), [("last", 1), ("next", 0)])
def test_a_restart_finds_the_same_numbers(tmp_path: Path, contcar: str, doubled: int) -> None:
    """To the last bit, from either kind of CONTCAR, and the same way if nothing is remembered."""
    tags = {"ISIF": 3, "EDIFFG": 0}
    make_folder(tmp_path / "whole", NSW=9, **tags)
    play(tmp_path / "whole", memoryless=True)
    whole = vasprun(tmp_path / "whole").ionic_steps
    folder = make_folder(tmp_path / "parts", NSW=4, **tags)
    play(folder, memoryless=True)
    joined = vasprun(folder).ionic_steps
    # Dies in its fifth step, so that its fourth is the last one that was done.
    make_folder(folder, NSW=9, **tags)
    play(folder, memoryless=True, contcar=contcar, failures=[Failure("truncated", 5, False)])
    (folder / "CONTCAR").replace(folder / "POSCAR")
    text = (folder / "INCAR").read_text()
    (folder / "INCAR").write_text(text.replace("NSW = 9", f"NSW = {5 + doubled}"))
    play(folder, memoryless=True, contcar=contcar)
    joined += vasprun(folder).ionic_steps[doubled:]
    assert len(joined) == len(whole) == 9
    for one, other in zip(joined, whole, strict=True):
        for key in ("e_fr_energy", "forces", "stress"):
            np.testing.assert_array_equal(one[key], other[key])
        for part in ("frac_coords", "lattice"):
            assert np.all(getattr(one["structure"], part) == getattr(other["structure"], part))


# What is refused.

#: A POSCAR without its coordinates.
_LITHIUM = "x\n1\n4 0 0\n0 4 0\n0 0 4\nLi\n1\nDirect\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("INCAR", None, "cannot be read"),
        ("INCAR", "NSW 5\n", "'NSW 5' is not TAG = value"),
        ("INCAR", "NSW = 5\nIBRION = 0\n", "IBRION = 0 cannot be rehearsed"),
        ("INCAR", "ISPIN = 2\nMAGMOM = 3*1.0\n", "MAGMOM has 3 values for 8 atoms"),
        ("INCAR", "LATTICE_CONSTRAINTS = .TRUE.\n", "three of"),
        ("INCAR", "NSW = four\n", "INCAR: NSW = four is not a whole number"),
        ("INCAR", "NELM = 2.5\n", "NELM = 2.5 is not a whole number"),
        ("INCAR", "ISIF = 2 3\n", "ISIF = 2 3 is not a whole number"),
        ("INCAR", "ISPIN = .TRUE.\n", "ISPIN = .TRUE. is not a whole number"),
        ("INCAR", "EDIFFG = nan\n", "EDIFFG = nan is not a number"),
        ("INCAR", "EDIFF = 1e999\n", "EDIFF = inf is not a number"),
        ("INCAR", "KSPACING = 0\n", "KSPACING = 0 is not above zero"),
        ("INCAR", "ISPIN = 2\nMAGMOM = 7*1 up\n", "MAGMOM = .* up is not a list of numbers"),
        ("POSCAR", "x\n1\n1 0 0\n0 1 0\n", "not a POSCAR"),
        ("POSCAR", f"{_LITHIUM}0 nan 0\n", "a coordinate or cell length is NaN or infinite"),
        ("POSCAR", f"{_LITHIUM.replace('Li', 'Xx')}0 0 0\n", "no element is called Xx"),
        ("KPOINTS", "x\n0\nGamma\n0 1 1\n", "not a list of k-points"),
        ("POTCAR.spec", "Li_sv\nO\nCo\n", "POTCAR has Li O Co, POSCAR has Li Co O"),
        ("POTCAR.spec", None, "no POTCAR and no POTCAR.spec"),
        ("KPOINTS", "x\n10\nLine mode\nr\n0 0 0\n", "along lines"),
        ("KPOINTS", "x\n0\nAuto\n30\n", "not a list of k-points"),
        ("rehearsal.json", "{}", "damaged"),
    ],
)
def test_clear_ends_for_wrong_inputs(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    make_folder(tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(DismaiError, match=words):
        play(tmp_path)


def test_clear_ends_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(make_folder(tmp_path, NSW=2))
    for arguments, words in (
        (["--fail", "zbrent@0"], "--fail 'zbrent@0': use CASE"),
        (["--fail", "bent"], "zbrent"),
        (["--potential", "tio"], "unknown potential 'tio'"),
        (["--potential", "tio"], "--potential toy needs no package"),
        (["--potential", "dft.test_rehearsal:Broken"], "fails (RuntimeError: no idea)"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert words in said
    # A potential by any of our names.
    assert main(["--potential", "dft.test_rehearsal:Moments"]) == 0
    assert "potential dft.test_rehearsal:Moments" in (tmp_path / "OUTCAR").read_text()[:200]


@pytest.mark.slow
def test_chgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another potential, against what it says without the stand-in."""
    monkeypatch.chdir(make_folder(tmp_path, NSW=3, ISIF=3))
    assert main(["--potential", "chgnet"]) == 0
    step = vasprun(tmp_path).ionic_steps[-1]
    atoms = AseAtomsAdaptor.get_atoms(step["structure"])
    _, atoms.calc = open_calculator("chgnet", ["Li", "Co", "O"])
    assert step["e_fr_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(step["forces"], atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(
        step["stress"], -KILOBAR * atoms.get_stress(voigt=False), atol=KILOBAR * 1e-5
    )


class Broken(Calculator):
    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no idea")


def test_the_hash_of_the_toy_is_that_of_its_source() -> None:
    mark, calculator = open_calculator("toy", ["Li"])
    assert isinstance(calculator, ToyCalculator)
    assert str(mark) == f"REHEARSAL-not-DFT (potential toy {mark.hash[:12]})"
    assert len(mark.hash) == len(TOY.hash)


# Parts.


@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=12).filter(lambda x: not len(x) % 3),
    st.floats(0.5, 40),
)
@settings(max_examples=50)
def test_geometries_survive_their_text(flat: list[float], length: float) -> None:
    """To the last bit, within the cell."""
    start = Geometry(
        "x", ("Li",) * (len(flat) // 3), np.diag([length, 3.7, 5.1]), np.zeros((len(flat) // 3, 3))
    ).moved(np.array(flat).reshape(-1, 3), np.full((3, 3), 1e-3))
    assert (start.scaled >= 0).all()
    assert (start.scaled < 1).all()
    read = parse_poscar(start.text())
    np.testing.assert_array_equal(read.scaled, start.scaled)
    np.testing.assert_array_equal(read.cell, start.cell)


@given(st.floats(0.05, CUTOFF), st.floats(1.2, 3.4), st.floats(-12, 12))
def test_the_toy_is_smooth_and_never_sucks_ions_in(r: float, bond: float, product: float) -> None:
    size = 1e-6
    ends = np.array([r - size, r, r + size])
    energies, slopes = pair(ends, np.full(3, bond), np.full(3, product))
    assert slopes[1] == pytest.approx((energies[2] - energies[0]) / (2 * size), rel=1e-4, abs=1e-4)
    edge, slope = pair(np.array([CUTOFF]), np.array([bond]), np.array([product]))
    assert edge == 0
    assert slope == 0
    near, push = pair(np.array([0.01]), np.array([bond]), np.array([product]))
    assert near > -15
    assert push < 0


@pytest.mark.parametrize(
    ("style", "shift"), [("gamma", (0, 0, 0)), ("monkhorst", (0, 0, 0)), ("gamma", (0.5, 0, 0))]
)
def test_meshes_of_k_points(tmp_path: Path, style: str, shift: tuple[float, ...]) -> None:
    """With k and -k as one, the weighted points are those of the whole mesh."""
    make_folder(tmp_path)
    kinds = {"gamma": Kpoints.gamma_automatic, "monkhorst": Kpoints.monkhorst_automatic}
    kinds[style]((3, 4, 2), shift).write_file(tmp_path / "KPOINTS")
    mesh = read_inputs(tmp_path).kpoints
    offsets = [shift[i] + (0.0 if style == "gamma" else [0, 0.5, 0.5][i]) for i in range(3)]
    full = {}
    for place in np.ndindex(3, 4, 2):
        k = (np.array(place) + offsets) / [3, 4, 2]
        both = sorted(tuple(np.round(x - np.round(x - 1e-9), 6) + 0.0) for x in (k, -k))
        full[both[0]] = full.get(both[0], 0.0) + 1 / 24
    found = {}
    for point, weight in zip(mesh.points, mesh.weights, strict=True):
        both = sorted(tuple(np.round(x - np.round(x - 1e-9), 6) + 0.0) for x in (point, -point))
        assert both[0] not in found
        found[both[0]] = weight
    assert found == pytest.approx(full)


def test_a_potcar_gives_valences(tmp_path: Path) -> None:
    make_folder(tmp_path)
    blocks = [
        ("PAW_PBE Li_sv 10Sep2004", 3),
        ("PAW_PBE Co 02Aug2007", 9),
        ("PAW_PBE O 08Apr2002", 6),
    ]
    text = "".join(
        f"   TITEL  = {title}\n   POMASS = 1.0; ZVAL   = {z:8.3f}    mass and valenz\n"
        for title, z in blocks
    )
    (tmp_path / "POTCAR").write_text(text)
    inputs = read_inputs(tmp_path)
    assert inputs.electrons == 2 * 3 + 2 * 9 + 4 * 6
    assert [potcar.title for potcar in inputs.potcars] == [title for title, _ in blocks]


def test_outputs_of_vasp_itself_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "run")
    (folder / "OUTCAR").write_text(" vasp.6.4.2 20Jul23 (build Aug 01 2023) complex\n")
    (folder / "vasprun.xml").write_text("<modeling/>")
    monkeypatch.chdir(folder)
    assert main(["--potential", "toy"]) == 2
    assert "OUTCAR: is not of a rehearsal" in capsys.readouterr().err
    assert (folder / "vasprun.xml").read_text() == "<modeling/>"
    # A word that is not understood touches nothing either.
    (folder / "OUTCAR").write_text("REHEARSAL-not-DFT")
    with pytest.raises(SystemExit):
        main(["--no-such-option"])
    assert (folder / "OUTCAR").read_text() == "REHEARSAL-not-DFT"
