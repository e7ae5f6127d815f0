"""Flows of random interfaces: how they are cut, what they leave, what they do without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces import jobs
from dismaiflow.interfaces.flows import RandomInterfacesMaker
from dismaiflow.interfaces.generator import FailedPlacement, Generated, RandomInterfaces
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.structures import get_structures
from dismaiflow.systems import SystemSpec, get_system, new_system_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jobflow import Flow, JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    """Return an empty store."""
    store = embedded_jobstore(tmp_path / "store.sqlite")
    store.connect()
    yield store
    store.close()


@pytest.fixture
def run(store: JobStore, tmp_path: Path) -> Callable[..., DatasetDoc]:
    """Return a function that runs a flow and returns its dataset."""

    def runner(flow: Flow, success: bool = True) -> DatasetDoc:
        run_locally(
            flow, store=store, root_dir=tmp_path / "jobs", log=False, ensure_success=success,
            create_folders=True,
        )  # fmt: skip
        return DatasetDoc.model_validate(find_and_resolve_references(flow.output, store))

    return runner


def mgo_lif(**changes: Any) -> SystemSpec:
    """Return the example of the template, MgO(001) and LiF(001)."""
    spec = SystemSpec.from_yaml(new_system_yaml("interface", "mgo-lif"))
    return SystemSpec.from_dict(spec.model_dump() | changes)


def test_a_set_does_not_depend_on_its_jobs(run: Callable[..., DatasetDoc]) -> None:
    """Cut into parts of four or made by one job, at any sampling: the same structures."""
    for sampling in ("random", "stratified", "quasi-random"):
        cut = RandomInterfacesMaker(structures_per_job=4, sampling=sampling)
        whole = RandomInterfacesMaker(sampling=sampling)
        first = run(cut.make(mgo_lif(), seed=1, n_structures=10))
        second = run(whole.make(mgo_lif(), seed=1, n_structures=10))
        assert first.card.content_hashes == second.card.content_hashes
        assert first.card.counts == {"train": 8, "val": 2}


def test_stratified_thickness_falls_into_every_stratum(
    run: Callable[..., DatasetDoc], store: JobStore
) -> None:
    """Ten structures, one in each tenth of the range of 3.5 to 4.5 Å."""
    maker = RandomInterfacesMaker(sampling="stratified")
    document = run(maker.make(mgo_lif(), seed=1, n_structures=10))
    drawn = [
        value
        for name in ("train", "val")
        for value in get_structures(store, document.sets[name]).labels["thickness"].tolist()
    ]
    assert sorted(int((value - 3.5) * 10) for value in drawn) == list(range(10))


def test_exchanges_stand_on_the_card(run: Callable[..., DatasetDoc]) -> None:
    """Off as the spec says, on when asked for; the composition stays."""
    spec = mgo_lif(exchanges={"limits": {"Li-Mg": 1}, "in_dataset": False})
    without = run(RandomInterfacesMaker().make(spec, n_structures=12))
    assert without.card.protocol["exchanges"] is None
    exchanged = run(RandomInterfacesMaker(exchanges=True).make(spec, n_structures=12))
    assert exchanged.card.protocol["exchanges"] == {"Li-Mg": 1}
    counts = exchanged.card.statistics["exchanged_Li_Mg"]
    assert set(counts) == {"0", "1"} and sum(counts.values()) == 12
    assert (
        exchanged.card.composition
        == without.card.composition
        == {"Li": 22, "Mg": 16, "F": 22, "O": 16}
    )
    assert exchanged.card.statistics["invalid"] == 0


def test_what_cannot_be_placed_is_told(
    run: Callable[..., DatasetDoc], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A structure without room is missing from the set, and the card says why."""
    real = RandomInterfaces.generate

    def without_the_third(self: Any, indices: Sequence[int], *args: Any, **words: Any) -> Generated:
        made = real(self, [i for i in indices if i != 2], *args, **words)
        failed = [FailedPlacement(2, "no room, says the test")] if 2 in indices else []
        return made._replace(report=type(made.report)(len(indices), 0, tuple(failed), 0, None))

    monkeypatch.setattr(RandomInterfaces, "generate", without_the_third)
    card = run(RandomInterfacesMaker(structures_per_job=5).make(mgo_lif(), n_structures=10)).card
    assert sum(card.counts.values()) == 9
    assert card.warnings == ["not made: 1 of 10 structures: no room, says the test"]


def test_distances_that_were_shrunk_are_told(run: Callable[..., DatasetDoc]) -> None:
    """A crowded region is filled at smaller distances, which is no secret."""
    spec = mgo_lif()
    region = spec.model_dump()["region"] | {"thickness": (2.9, 2.9)}
    card = run(RandomInterfacesMaker().make(mgo_lif(region=region), n_structures=4)).card
    lowered = {float(scale) for scale in card.statistics["min_distance_scales"]}
    assert min(lowered) < 0.75
    assert any(w.startswith("smaller minimum distances, for want of room: ") for w in card.warnings)


def test_a_job_that_fails_leaves_the_others(
    run: Callable[..., DatasetDoc], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is smaller and the card says so."""
    real = jobs.put_structures

    def full(jobstore: Any, structures: Any, *args: Any) -> Any:
        if structures.ids[0] == "4":
            raise OSError(28, "No space left on device")
        return real(jobstore, structures, *args)

    monkeypatch.setattr(jobs, "put_structures", full)
    flow = RandomInterfacesMaker(structures_per_job=4).make(mgo_lif(), n_structures=10)
    card = run(flow, success=False).card
    assert sum(card.counts.values()) == 6
    assert card.warnings == ["not made: 4 of 10 structures, because jobs failed"]


def test_invalid_structures_and_duplicates_are_told(
    run: Callable[..., DatasetDoc], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assembling job checks what it gets, whoever made it."""
    real = RandomInterfaces.generate

    def careless(self: Any, indices: Sequence[int], *args: Any, **words: Any) -> Generated:
        made = real(self, indices, *args, **words)
        positions = made.structures.positions.reshape(len(made.structures), -1, 3)
        positions[1] = positions[0]  # 1 is the same as 0
        positions[4, :, 2] *= 0.8  # 4 is squeezed
        return made

    monkeypatch.setattr(RandomInterfaces, "generate", careless)
    card = run(RandomInterfacesMaker().make(mgo_lif(), n_structures=10)).card
    assert card.statistics["duplicate_groups"] == 1
    # The label of 1 still tells of the thickness that 1 should have had.
    assert 1 <= card.statistics["invalid"] <= 2
    assert any(w == "structures 0, 1 are the same" for w in card.warnings)
    assert any("not valid" in w and "4: " in w for w in card.warnings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_structures": 1}, "two structures at least"),
        ({"seed": -1}, "a seed is a whole number"),
    ],
)
def test_sizes_that_make_no_sense(words: dict[str, int], message: str) -> None:
    """Told when the flow is built."""
    with pytest.raises(DismaiError, match=message):
        RandomInterfacesMaker().make(mgo_lif(), **words)


def test_another_kind_of_system() -> None:
    """An alloy is no interface."""
    with pytest.raises(DismaiError, match="is of kind alloy, not interface"):
        RandomInterfacesMaker().make(get_system("alloy-300K-wide"))


def test_job_names_are_unique_and_say_what_they_do() -> None:
    """So that a LaunchPad is readable."""
    flow = RandomInterfacesMaker(structures_per_job=4).make(mgo_lif(), n_structures=10)
    names = [job.name for job in flow.jobs]
    assert names == [
        "random interfaces mgo-lif 0-3",
        "random interfaces mgo-lif 4-7",
        "random interfaces mgo-lif 8-9",
        "assemble random interfaces mgo-lif",
    ]
    for job in flow.jobs:
        assert job.metadata["system"] == "mgo-lif"
        assert job.metadata["protocol"] == "corrected"
        assert job.config.manager_config["_category"] == "cpu"
