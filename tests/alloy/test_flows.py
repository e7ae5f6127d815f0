"""The alloy Makers, run here on a small cell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from jobflow import run_locally

from dismaiflow.alloy import jobs as alloy_jobs
from dismaiflow.alloy.archive import run_from_bytes, run_to_bytes
from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.alloy.jobs import ReplicaExchangeRunMaker, TemperatureScanMaker
from dismaiflow.alloy.sampling import SamplingSettings, sample_run
from dismaiflow.alloy.system import AlloySystem
from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.structures import get_structures
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.systems import SystemSpec, get_system

SMALL = {"Fe": 64, "Ni": 22, "Cr": 22}


@pytest.fixture(scope="module")
def spec():
    """Fe60Ni20Cr20 in 3x3x3 cells: 108 sites."""
    data = get_system("alloy-1500K-wide").self_contained().model_dump(exclude_none=True)
    data |= {"name": "small-1500K", "composition": SMALL}
    data["lattice"]["supercell"] = (3, 3, 3)
    data.pop("sources", None)
    return SystemSpec.from_dict(data)


@pytest.fixture
def store(tmp_path):
    jobstore = embedded_jobstore(tmp_path / "store.sqlite")
    jobstore.connect()
    yield jobstore
    jobstore.close()


def small_maker(**kwargs):
    return AlloyDatasetMaker(n_runs=3, n_passes=400, **kwargs)


def run(flow, store):
    run_locally(flow, store=store, log=False, ensure_success=True)
    return {
        name: DatasetDoc.model_validate(output.resolve(store))
        for name, output in flow.output.items()
    }


def hashes(document):
    return {name: ref.content_hash for name, ref in document.sets.items()}


def test_dataset_holds_what_the_card_says(spec, store, tmp_path):
    document = run(small_maker().make([spec], seed=1, n_structures=50), store)[spec.name]
    assert document.card.counts == {"train": 40, "val": 10}
    dataset = export_dataset(store, document, tmp_path / "out")
    train = open_dataset(dataset.folder).read("train")
    assert train.content_hash == document.card.content_hashes["train"]
    assert len(train) == 40
    for index in range(len(train)):
        assert Counter(train.atoms(index).get_chemical_symbols()) == SMALL
    # Species in the order of the composition, as the spec lists them.
    assert train.atoms(0).get_chemical_symbols()[:64] == ["Fe"] * 64
    assert set(train.labels) >= {"run", "snapshot", "formation_energy"}


def test_same_seed_same_structures_and_other_seed_others(spec, store):
    first = run(small_maker().make([spec], seed=1, n_structures=30), store)[spec.name]
    again = run(small_maker().make([spec], seed=1, n_structures=30), store)[spec.name]
    other = run(small_maker().make([spec], seed=2, n_structures=30), store)[spec.name]
    assert hashes(first) == hashes(again)
    assert hashes(first) != hashes(other)


def test_a_dataset_does_not_depend_on_what_is_made_with_it(spec, store):
    data = spec.model_dump(exclude_none=True)
    data |= {"name": "small-narrow", "order_filter": {"shells": (1, 2), "tolerance": 0.5}}
    narrow = SystemSpec.from_dict(data)
    together = run(small_maker().make([narrow, spec], seed=1, n_structures=20), store)
    alone = run(small_maker().make([spec], seed=1, n_structures=20), store)
    assert hashes(together[spec.name]) == hashes(alone[spec.name])
    assert hashes(together["small-narrow"]) != hashes(alone[spec.name])


def test_datasets_of_one_temperature_share_runs_and_names_are_unique(spec):
    data = spec.model_dump(exclude_none=True) | {"name": "twin"}
    data_hot = spec.model_dump(exclude_none=True) | {"name": "hot", "temperature": 2000.0}
    specs = [spec, SystemSpec.from_dict(data), SystemSpec.from_dict(data_hot)]
    flow = small_maker().make(specs, n_structures=20)
    names = [job.name for job in flow.jobs]
    assert len(names) == len(set(names)) == 3 + 3 + 3


def test_a_lost_run_is_reported_and_the_others_are_used(spec, store, monkeypatch):
    def failing(*args, **kwargs):
        raise RuntimeError("lost")

    flow = small_maker().make([spec], seed=1, n_structures=20)
    whole = alloy_jobs.sample_run
    calls = []

    def second_fails(*args, **kwargs):
        calls.append(1)
        return failing() if len(calls) == 2 else whole(*args, **kwargs)

    monkeypatch.setattr(alloy_jobs, "sample_run", second_fails)
    run_locally(flow, store=store, log=False)
    document = DatasetDoc.model_validate(flow.output[spec.name].resolve(store))
    assert document.card.protocol["runs_missing"] == 1
    assert set(get_structures(store, document.sets["train"]).labels["run"]) <= {0, 2}


def test_published_sampling_starts_at_random_without_burn_in(spec, store):
    flow = small_maker(protocol="published").make([spec], seed=1, n_structures=20)
    card = run(flow, store)[spec.name].card
    assert card.protocol["name"] == "published"
    assert card.protocol["start"] == "random"
    sampling = card.statistics["sampling"]
    assert sampling["first_used"] == [0, 0, 0]


def test_replica_exchange_takes_the_place_of_plain_runs(spec, store):
    maker = small_maker(run_maker=ReplicaExchangeRunMaker(highest=2500.0, n_temperatures=3))
    card = run(maker.make([spec], seed=1, n_structures=20), store)[spec.name].card
    assert card.statistics["sampling"]["equilibration"][0]["start"] == "exchanged"


def test_temperature_scan_finds_more_order_when_cold(store):
    # Notes of the project: alpha of Cr-Cr in the first shell is .47 at 700 K and about .09 at
    # 1500 K in the 256-site cell.
    job = TemperatureScanMaker(n_runs=2, n_passes=1500).make(
        get_system("alloy-300K-wide").self_contained(), [700.0, 1500.0], seed=3
    )
    run_locally(job, store=store, log=False, ensure_success=True)
    curve = job.output.resolve(store)
    cr_cr = [row[curve.labels.index("1NN_Cr-Cr")] for row in curve.mean]
    assert cr_cr == pytest.approx([0.47, 0.09], abs=0.06)


def test_a_run_comes_back_from_its_bytes(spec):
    alloy = AlloySystem.from_spec(spec)
    settings = SamplingSettings(1500.0, n_runs=1, n_passes=50)
    made = sample_run(alloy.hamiltonian, SMALL, settings, np.random.SeedSequence(5))
    back = run_from_bytes(run_to_bytes(made))
    assert back.settings == made.settings
    assert back.seed == made.seed
    for name in ("occupations", "energy_quanta", "energies", "order", "sro"):
        np.testing.assert_array_equal(getattr(back, name), getattr(made, name))
    with pytest.raises(DismaiError, match="not whole"):
        run_from_bytes(run_to_bytes(made)[:-5])


@pytest.mark.parametrize(
    ("specs", "n", "message"),
    [([], None, "name the systems"), (["a", "a"], None, "each once"), (["a"], 1, "two structures")],
)
def test_senseless_requests_are_refused(spec, specs, n, message):
    with pytest.raises(DismaiError, match=message):
        small_maker().make([spec for _ in specs], n_structures=n)
