"""Relaxations by other engines than VASP."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.io.ase import AseAtomsAdaptor

from dft.vasp_files import EACH
from dismaiflow.dft.engine_run import EngineSettings, relax_with_engine
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.dft.schemas import RunDoc, StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store.blobs import put_blob
from dismaiflow.store.frames import get_frames
from dismaiflow.store.structures import STRUCTURES_KIND
from dismaiflow.structures.frames import FrameLabel
from dismaiflow.structures.structure_set import StructureSet

EMT_NAME = "ase.calculators.emt:EMT"
LABEL = FrameLabel(engine="emt", functional="none")


def rattled(seed=0):
    """Return four shaken atoms of an alloy."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 4]] = "Pt"
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture
def store():
    """A store that forgets."""
    made = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    made.connect()
    return made


def run(store, job):
    """Run a job, through JSON as a queue does, and return its document."""
    job = json.loads(json.dumps(job, cls=MontyEncoder), cls=MontyDecoder)
    run_locally(Flow([job]), store=store, ensure_success=True)
    return RunDoc.model_validate(store.get_output(job.uuid))


def test_it_relaxes_and_leaves_what_vasp_leaves(store):
    structure = AseAtomsAdaptor.get_structure(rattled())
    structure.properties["parent"] = "slab-7"
    maker = EngineRelaxMaker(potential=EMT_NAME, fmax=0.05, harvest_first=2, harvest_interval=4)
    document = run(store, maker.make(structure))
    assert (document.status, document.reason) == ("converged", "no force above 0.05 eV/Å")
    assert (document.parent, document.stage) == ("slab-7", "all")
    frames = get_frames(store, document.frames)
    assert len(frames) == document.n_frames > 1
    assert frames.steps.tolist()[:-1] == list(range(2, document.n_steps, 4))
    assert frames.final.tolist() == [False] * (len(frames) - 1) + [True]
    assert set(frames.parents) == {"slab-7"}
    for i in range(len(frames)):
        atoms = frames.structures.atoms(i)
        atoms.calc = EMT()
        wanted = atoms.get_potential_energy(force_consistent=True)
        assert frames.energies[i] == pytest.approx(wanted, abs=1e-8)
        np.testing.assert_allclose(frames.forces_of(i), atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(frames.stresses[i], atoms.get_stress(voigt=False), atol=1e-10)
    assert document.max_force <= 0.05
    assert document.energy < document.initial_energy
    np.testing.assert_allclose(document.structure.cart_coords, atoms.positions)


def test_its_label_is_its_own(store):
    structure = AseAtomsAdaptor.get_structure(rattled())
    plain = run(store, EngineRelaxMaker(potential=EMT_NAME, steps=2).make(structure)).label
    assert plain.engine.startswith(EMT_NAME)
    assert (plain.functional, plain.rehearsal) == ("unknown", False)
    assert plain.settings["potential_hash"] == open_potential(EMT_NAME).card.hash
    maker = EngineRelaxMaker(
        potential=EMT_NAME,
        steps=2,
        engine="gpaw 26.7.0",
        functional="PBE",
        settings={"cutoff": 450.0},
    )
    named = run(store, maker.make(structure)).label
    assert (named.engine, named.functional) == ("gpaw 26.7.0", "PBE")
    assert named.settings["cutoff"] == 450.0
    assert named.hash != plain.hash


def test_a_potential_of_the_store_and_two_stages(store):
    """Composed as the stages of VASP are."""
    from dismaiflow.dft.makers import TwoStageRelaxMaker

    opened = open_potential(EMT_NAME)
    reference = put_potential(store, EMT_NAME, opened)
    chunk = StructureSet.from_atoms([rattled(1), rattled(2)])
    blob = put_blob(store, chunk.to_bytes(), STRUCTURES_KIND)
    stored = StoredStructure(blob=blob, place=1, parent="r/1", free=(0, 3))
    flow = TwoStageRelaxMaker(
        region_maker=EngineRelaxMaker.region(potential=reference, steps=4),
        interface_maker=EngineRelaxMaker(potential=reference, fmax=0.05),
    ).make(stored)
    assert [job.name for job in flow.jobs] == ["engine region relax r/1", "engine relax r/1"]
    flow = json.loads(json.dumps(flow, cls=MontyEncoder), cls=MontyDecoder)
    run_locally(flow, store=store, ensure_success=True)
    first, second = (RunDoc.model_validate(store.get_output(job.uuid)) for job in flow.jobs)
    assert (first.stage, first.reason, first.n_steps) == ("region", "ran its 4 steps", 4)
    moved = np.abs(first.structure.cart_coords - rattled(2).positions).max(axis=1) > 1e-6
    assert np.flatnonzero(moved).tolist() == [0, 3]
    assert (second.stage, second.status, second.parent) == ("all", "converged", "r/1")
    assert second.initial_energy == pytest.approx(first.energy, abs=1e-6)


def test_fixed_atoms_keep_their_forces_as_labels():
    free = np.array([True] + [False] * 7)
    settings = EngineSettings(fmax=0.01, rule=EACH)
    found = relax_with_engine(rattled(), EMT(), settings, LABEL, "p", free)
    assert found.status == "converged"
    assert found.max_force <= 0.01
    assert np.linalg.norm(found.frames.forces_of(0), axis=1).max() > 0.1
    assert np.abs(found.frames.forces_of(len(found.frames) - 1)).max() > 0.1


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire", "cg"])
def test_steps_are_counted_from_the_start(optimizer):
    start = rattled()
    settings = EngineSettings(fmax=None, steps=5, optimizer=optimizer, rule=EACH)
    found = relax_with_engine(start, EMT(), settings, LABEL)
    assert (found.status, found.n_steps) == ("converged", 5)
    np.testing.assert_allclose(found.frames.structures.atoms(0).positions, start.positions)
    assert len({round(float(e), 9) for e in found.frames.energies}) == 5
    settings = EngineSettings(fmax=1e-4, steps=3, optimizer=optimizer, rule=EACH)
    found = relax_with_engine(start, EMT(), settings, LABEL)
    assert (found.status, found.n_steps) == ("not_converged", 3)
    assert "ran out of steps" in found.reason


def test_a_structure_at_rest_is_one_step():
    found = relax_with_engine(bulk("Cu"), EMT(), EngineSettings(fmax=0.1), LABEL)
    assert (found.status, found.n_steps, found.frames.steps.tolist()) == ("converged", 1, [1])
    found = relax_with_engine(bulk("Cu"), EMT(), EngineSettings(fmax=None, steps=9), LABEL)
    assert (found.status, found.n_steps) == ("converged", 1)


def test_stresses_that_there_are_not_are_none():
    from dft.teachers import Bare

    found = relax_with_engine(rattled(), Bare(), EngineSettings(rule=EACH), LABEL)
    assert found.status in ("converged", "exploded")
    assert np.isnan(found.frames.stresses).all()
    assert np.isfinite(found.frames.forces).all()


@pytest.mark.parametrize(
    ("name", "status", "reason", "n_frames"),
    [
        ("raises", "not_converged", "the licence server does not answer", 3),
        ("raises_at_once", "failed", "RuntimeError: the licence server does not answer", 0),
        ("nan", "exploded", "numbers that are none", 3),
        ("rises", "exploded", "risen by 9.8", 3),
    ],
)
def test_one_structure_that_fails_is_recorded(store, name, status, reason, n_frames):
    structure = AseAtomsAdaptor.get_structure(rattled())
    maker = EngineRelaxMaker(
        potential=f"dft.teachers:{name}", fmax=1e-3, steps=4, harvest_first=1, harvest_interval=1
    )
    document = run(store, maker.make(structure, parent="p"))
    assert document.status == status
    assert reason in document.reason
    assert (document.n_frames, document.parent) == (n_frames, "p")


def test_after_a_failure_there_is_nothing_to_go_on_from(store):
    earlier = RunDoc(status="failed", reason="no vasprun.xml", parent="p", stage="region")
    document = run(store, EngineRelaxMaker(potential=EMT_NAME).make(earlier))
    assert document.status == "failed"
    assert document.reason == "not run: stage region ended as failed (no vasprun.xml)"
    assert document.parent == "p"


def test_its_category_can_be_chosen():
    structure = AseAtomsAdaptor.get_structure(rattled())
    assert EngineRelaxMaker().make(structure).config.manager_config == {CATEGORY_KEY: "vasp"}
    job = EngineRelaxMaker(category="gpu").make(structure)
    assert job.config.manager_config == {CATEGORY_KEY: "gpu"}
    assert job.config.expose_store


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"optimizer": "newton"}, "take one of bfgs, lbfgs, fire, cg"),
        ({"steps": 0}, "give one step at least"),
        ({"fmax": 0.0}, "a positive force or none"),
    ],
)
def test_settings_that_make_no_sense(fields, said):
    with pytest.raises(DismaiError, match=said):
        EngineSettings(**fields)


@pytest.mark.slow
def test_chgnet_as_a_teacher(store):
    structure = AseAtomsAdaptor.get_structure(bulk("NaCl", "rocksalt", 5.5))
    document = run(store, EngineRelaxMaker(potential="chgnet", fmax=0.1).make(structure))
    assert document.status == "converged"
    assert document.label.engine.split()[0] == "chgnet"
    assert document.label.functional.startswith("PBE and PBE+U mixed")
    frames = get_frames(store, document.frames)
    assert np.isfinite(frames.stresses).all()
