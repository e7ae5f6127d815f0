"""The flow from random interfaces to a dataset of low energy, with cheap potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from campaigns.soft import SPREAD, soft_energy
from dismaiflow.campaigns.interface_search import SearchMaker, SearchPartMaker
from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.flows import RandomInterfacesMaker
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.structures import get_structures
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.structures.structure_set import StructureSet

SOFT, HOLE = "campaigns.soft:soft", "campaigns.soft:hole"

#: J/m^2 of one eV in the cell of the small interface, 7.27712 Å square.
PER_EV = 16.0218 / 7.277118728**2


def maker(per_job: int = 4, **fields: Any) -> InterfaceDatasetMaker:
    return InterfaceDatasetMaker(search_maker=SearchMaker(structures_per_job=per_job), **fields)


def sets(store: JobStore, document: DatasetDoc) -> dict[str, StructureSet]:
    return {name: get_structures(store, ref) for name, ref in document.sets.items()}


def test_from_random_to_low_energy(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """Energies, cut, split and what is above, recomputed from the structures themselves."""
    spec = get_system("tiny-li2o-licl")
    document = DatasetDoc.model_validate(run(maker().make(spec, potential(SOFT), 3, 10)))
    card, found = document.card, sets(store, document)
    assert {name: len(part) for name, part in found.items()} == card.counts
    assert (card.counts["train"], card.counts["val"]) == (8, 2)
    low = np.concatenate([found[name].labels["energy"] for name in ("train", "val")])
    high = found["high"].labels["energy"]
    everything = np.concatenate([low, high])
    # 0.4 J/m^2 above the lowest of all.
    cut = everything.min() + 0.4 / PER_EV
    assert low.max() <= cut < high.min()
    normalised = found["high"].labels["interface_energy"]
    assert normalised == pytest.approx((high - cut) * PER_EV, abs=1e-6)
    for part in found.values():
        for atoms, energy in zip(part, part.labels["energy"], strict=True):
            assert atoms.get_chemical_formula() == "Cl8Li28O10"
            springs, forces = soft_energy(atoms)
            assert 0 <= energy - springs <= SPREAD
            assert np.linalg.norm(forces, axis=1).max() <= 0.05
    facts = card.statistics
    ended = facts["search"]["ended"]
    assert sum(ended.values()) == facts["search"]["n_tried"]
    assert ended["low"] == 10 + facts["search"]["n_surplus"]
    assert ended["high"] == len(high)
    histogram = facts["interface_energy"]["histogram"]
    # Every structure is in a bin, and none is in one of the other side.
    assert sum(histogram["low"]) == ended["low"]
    assert sum(histogram["high"]) == ended["high"]
    assert all(not (a and b) for a, b in zip(histogram["low"], histogram["high"], strict=True))
    assert any(edge == pytest.approx(0, abs=1e-12) for edge in histogram["edges"])
    assert -0.4 - np.diff(histogram["edges"])[0] < histogram["edges"][0] <= -0.4 + 1e-9
    lowest = facts["lowest"][0]
    assert lowest["interface_energy"] == pytest.approx(-0.4)
    assert len(lowest["symbols"]) == 46
    assert card.protocol["relaxation"]["potential"]["hash"] == potential(SOFT).card.hash


def test_the_starts_are_those_of_the_random_set(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """Structure i begins as structure i of the set of the same seed that is not relaxed."""
    spec = get_system("tiny-li2o-licl")
    document = DatasetDoc.model_validate(run(maker().make(spec, potential(SOFT), 5, 4)))
    relaxed = sets(store, document)["train"]
    raw = sets(store, DatasetDoc.model_validate(run(RandomInterfacesMaker().make(spec, 5, 60))))
    begun = {}
    for part in raw.values():
        begun |= dict(zip(part.labels["index"].tolist(), part.labels["thickness"], strict=True))
    assert [begun[int(i)] for i in relaxed.labels["index"]] == relaxed.labels["thickness"].tolist()


def test_jobs_do_not_change_the_dataset(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Cut into jobs of two or in one: the same files to the last byte."""
    spec = get_system("tiny-li2o-licl")
    folders = []
    for per_job in (2, 50):
        flow = maker(per_job).make(spec, potential(SOFT), 1, 6)
        document = DatasetDoc.model_validate(run(flow))
        folders.append(export_dataset(store, document, tmp_path / str(per_job)))
    for path in folders[0].folder.glob("*.extxyz"):
        assert path.read_bytes() == (folders[1].folder / path.name).read_bytes()
    cards = [one.card.model_dump(exclude={"created"}) for one in folders]
    assert cards[0] == cards[1]


def test_a_budget_gives_what_there_is(
    run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """Eight tries for eight structures, of which some lie above the cut."""
    spec = get_system("tiny-li2o-licl")
    flow = maker(n_pilot=4, max_structures=8).make(spec, potential(SOFT), 0, 8)
    card = DatasetDoc.model_validate(run(flow)).card
    n_low = card.counts["train"] + card.counts["val"]
    assert 2 <= n_low < 8
    assert n_low + card.counts["high"] == 8
    assert card.statistics["search"]["stopped_by"] == "the budget of 8 structures"
    assert any(f"{n_low} of 8 structures" in text for text in card.warnings)


def test_force_calls_are_a_budget(
    run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    spec = get_system("tiny-li2o-licl")
    flow = maker(n_pilot=4, max_force_calls=150).make(spec, potential(SOFT), 0, 500)
    card = DatasetDoc.model_validate(run(flow)).card
    assert card.statistics["search"]["stopped_by"] == "the budget of 150 force calls"
    # A round under way is finished: no more than about one structure's worth beyond it.
    assert 150 <= card.statistics["search"]["n_force_calls"] < 300


def test_a_wrong_potential_leaves_nothing_bad(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """Half of the structures explode; the dataset is made of the others, and says so."""
    spec = get_system("tiny-li2o-licl")
    document = DatasetDoc.model_validate(run(maker().make(spec, potential(HOLE), 0, 6)))
    ended = document.card.statistics["search"]["ended"]
    assert set(ended) == {"low", "high", "exploded"}
    assert ended["exploded"] > 3
    assert any("exploded" in text for text in document.card.warnings)
    for part in sets(store, document).values():
        for atoms in part:
            assert np.abs(atoms.positions).max() < 50
            assert np.linalg.norm(soft_energy(atoms)[1], axis=1).max() <= 0.05


def test_mutated_families_do_not_stand_on_both_sides(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """A search that learns: descendants of one random structure train or validate, never both."""
    spec = get_system("tiny-li2o-licl")
    flow = maker(method="mutation", n_pilot=6).make(spec, potential(SOFT), 0, 12)
    document = DatasetDoc.model_validate(run(flow))
    found = sets(store, document)
    roots = [
        {*found[name].labels["root"].tolist(), *found[name].labels["second_root"].tolist()}
        for name in ("train", "val")
    ]
    assert not roots[0] & roots[1]
    assert document.card.statistics["search"]["method"] == "mutation"
    assert any("not independent" in text for text in document.card.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mutation", "surrogate"])
def test_a_search_that_learns_is_reproducible(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef],
    method: Any,
) -> None:  # fmt: skip
    spec = get_system("tiny-li2o-licl")
    hashes = set()
    for per_job in (3, 50):
        flow = maker(per_job, method=method, n_pilot=5, max_structures=20).make(
            spec, potential(SOFT), 2, 8
        )
        hashes.add(str(DatasetDoc.model_validate(run(flow)).card.content_hashes))
    assert len(hashes) == 1


def test_a_failed_job_costs_its_structures(
    run: Callable[..., Any], potential: Callable[[str], PotentialRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One job of the first round dies: its structures are counted as lost, the rest goes on."""
    from dismaiflow.campaigns import interface_search

    inner = interface_search.treat_structures

    def failing(structures: Any, indices: Any, *rest: Any) -> Any:
        if indices[0] == 2:
            raise OSError("no space left on device")
        return inner(structures, indices, *rest)

    monkeypatch.setattr(interface_search, "treat_structures", failing)
    spec = get_system("tiny-li2o-licl")
    flow = maker(2, n_pilot=6).make(spec, potential(SOFT), 0, 4)
    card = DatasetDoc.model_validate(run(flow, success=False)).card
    assert card.statistics["search"]["ended"]["lost"] == 2
    assert any("jobs failed: 1, with 2 structures" in text for text in card.warnings)


def test_senseless_requests(potential: Callable[[str], PotentialRef]) -> None:
    spec = get_system("tiny-li2o-licl")
    with pytest.raises(DismaiError, match="two structures"):
        maker().make(spec, potential(SOFT), 0, 1)
    with pytest.raises(DismaiError, match="quasi-random"):
        maker(sampling="stratified").make(spec, potential(SOFT), 0, 4)
    with pytest.raises(DismaiError, match="budget of 3"):
        maker(max_structures=3).make(spec, potential(SOFT), 0, 4)


def test_parts_go_to_workers_with_a_gpu() -> None:
    """The device of the parts reaches them through the flow."""
    changed = maker().update_kwargs({"device": "cuda"}, class_filter=SearchPartMaker)
    assert changed.search_maker.part_maker.device == "cuda"
