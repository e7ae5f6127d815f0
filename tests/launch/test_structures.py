"""Random interfaces and slices on a LaunchPad: the local dataset, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
import numpy as np
import pytest
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from benchmark.conftest import MEGABYTE
from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.campaigns.datasets import DatasetsMaker
from dismaiflow.interfaces.flows import RandomInterfacesMaker
from dismaiflow.launch.submit import submit
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system, new_system_yaml

from .toys import work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobflow import Flow, JobStore

    from dismaiflow.launch.config import LaunchConfig


def interfaces(store: JobStore) -> Flow:
    """Return a flow of three jobs that make interfaces, and one that collects them."""
    del store
    spec = SystemSpec.from_yaml(new_system_yaml("interface", "mgo-lif"))
    return RandomInterfacesMaker(structures_per_job=4).make(spec, seed=3, n_structures=10)


def slices(store: JobStore) -> Flow:
    """Return a flow that cuts a given parent, 4,096 atoms at random places."""
    edge = 4096 ** (1 / 3) * 2.7
    rng = np.random.default_rng(0)
    positions = np.round(rng.random((1, 4096, 3)) * edge, 8)
    parent = StructureSet.uniform(np.full((1, 4096), 14), positions, edge * np.eye(3))
    reference = put_structures(store, parent, 1)
    spec = get_system("amorphous-si")
    block = spec.amorphous.block.model_copy(update={"skin": 2.4, "min_distance": 0.3})
    return AmorphousSlicesMaker().make(
        spec.model_copy(update={"block": block}), seed=3, n_structures=8, parent=reference
    )


@pytest.mark.parametrize("build", [interfaces, slices])
def test_a_submitted_dataset_is_the_local_one(
    configured: Callable[..., LaunchConfig], tmp_path: Path, build: Callable[[JobStore], Flow]
) -> None:
    """Files and card, but for the time; and no document or spec exceeds what it may."""
    local = embedded_jobstore(tmp_path / "local.db")
    local.connect()
    flow = build(local)
    run_locally(flow, store=local, root_dir=tmp_path / "jobs", log=False, ensure_success=True)
    here = exported(local, flow, tmp_path / "here")

    config = configured()
    store, launchpad = config.jobstore(), config.launchpad()
    flow = build(store)
    submitted = submit(flow, launchpad)
    fireworks = list(launchpad.fireworks.find({}, {"_id": 0}))
    work(launchpad, store, tmp_path / "work", "cpu")
    there = exported(store, flow, tmp_path / "there")

    assert here == there
    assert len(fireworks) == submitted.n_fireworks
    assert all(len(bson.encode(firework)) < MEGABYTE for firework in fireworks)
    for firework in fireworks:
        assert firework["spec"]["system"] == here["card"]["system"]
        assert firework["spec"]["model"] == "none"
        assert firework["spec"]["protocol"] == here["card"]["protocol"]["name"]
    documents = list(store.docs_store.query({}))
    assert len(documents) == submitted.n_fireworks
    assert all(len(bson.encode(document)) < MEGABYTE for document in documents)
    blobs = store.additional_stores["data"].query({})
    assert all(len(bson.encode(blob)) < 16 * MEGABYTE for blob in blobs)
    store.close()


def exported(store: JobStore, flow: Flow, folder: Path) -> dict[str, Any]:
    """Write a dataset, and return its files and what its card says."""
    document = DatasetDoc.model_validate(find_and_resolve_references(flow.output, store))
    dataset = export_dataset(store, document, folder)
    card = dataset.card.model_dump(mode="json", exclude={"created"})
    files = {path.name: path.read_bytes() for path in folder.glob("*.extxyz")}
    assert len(files) == 2
    return {"card": card, **files}


def test_datasets_side_by_side_are_submitted_in_silence(
    configured: Callable[..., LaunchConfig], recwarn: pytest.WarningsRecorder
) -> None:
    """Jobs that have nothing to do with each other are no reason to warn."""
    config = configured()
    specs = [get_system("tiny-li2o-licl"), get_system("lsc-lco")]
    submitted = submit(DatasetsMaker().make(specs, 0, 4), config.launchpad())
    assert submitted.n_fireworks == 4
    assert not [w for w in recwarn if "not connected" in str(w.message)]
