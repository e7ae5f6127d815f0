"""Training sets, DFT after the potential, and the figures of Table 5, with cheap engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dismaiflow.campaigns.dft_check import check_of_potential
from dismaiflow.campaigns.dft_runs import JOB_FAILED
from dismaiflow.campaigns.dft_schemas import RunsDoc, get_rows
from dismaiflow.campaigns.dft_stage import DFTStageMaker
from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, RelaxRandomMaker, region_atoms
from dismaiflow.campaigns.interface_search import SearchMaker
from dismaiflow.campaigns.interfaces import InterfaceDFTDatasetMaker
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.dft.makers import TwoStageRelaxMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator, built_system
from dismaiflow.interfaces.ledger import INTACT, SearchLedger
from dismaiflow.interfaces.rating import Rater
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.frames import FramesDoc, get_frames
from dismaiflow.store.structures import get_structures
from dismaiflow.systems import get_system
from dismaiflow.systems.blocks import EnergyFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobflow import JobStore

    from dismaiflow.potentials.store import PotentialRef

SOFT = "campaigns.soft:soft"


def two_engines(potential: str = SOFT, steps: int = 60, first: int = 5) -> TwoStageRelaxMaker:
    """Return both stages with an engine, in the place of VASP."""
    return TwoStageRelaxMaker(
        region_maker=EngineRelaxMaker.region(potential=potential, steps=3),
        interface_maker=EngineRelaxMaker(
            potential=potential, fmax=0.1, steps=steps, harvest_first=first
        ),
    )


def training_set(engine: Any, **fields: Any) -> DFTTrainingSetMaker:
    return DFTTrainingSetMaker(
        runs_per_job=2, relax_random_maker=RelaxRandomMaker(relax_maker=engine), **fields
    )


def test_the_region_of_a_random_interface_is_found() -> None:
    """Those atoms that the generator placed, exchanged ions of the substrate among them."""
    for name, n_region in (("tiny-li2o-licl", 15), ("lsc-lco", 30)):
        spec = built_system(get_system(name)).spec
        made = built_generator(spec).generate(range(4), 0, exchanges=True).structures
        host = built_system(spec).host
        for index, free in enumerate(region_atoms(host, made)):
            assert len(free) == n_region
            z = made.positions[made.slice_of(index), 2]
            others = np.delete(z, list(free))
            thickness = made.labels["thickness"][index]
            below = others <= host.substrate.height + 1e-6
            assert (others[~below] >= host.substrate.height + thickness - 1e-6).all()


def test_a_training_set_holds_the_sampled_steps_of_all_runs(
    store: JobStore, run: Callable[..., Any]
) -> None:
    spec = get_system("tiny-li2o-licl")
    flow = training_set(two_engines()).make(spec, seed=1, n_without=3, n_with=2)
    document = FramesDoc.model_validate(run(flow))
    card = document.card
    assert card.parents == {"train": 3, "val": 1, "test": 1}
    frames = {name: get_frames(store, ref) for name, ref in document.sets.items()}
    parents = [p for part in frames.values() for p in dict.fromkeys(part.parents)]
    assert sorted(parents) == [
        "exchanged-000003", "exchanged-000004", "random-000000", "random-000001", "random-000002",
    ]  # fmt: skip
    for part in frames.values():
        for parent in dict.fromkeys(part.parents):
            mine = [i for i, one in enumerate(part.parents) if one == parent]
            steps, final = part.steps[mine], part.final[mine]
            # Section 4.6: from the 5th step at intervals of 10, and the last.
            assert final.tolist() == [False] * (len(mine) - 1) + [True]
            assert steps[:-1].tolist() == list(range(5, int(steps[-1]), 10))
            assert part.structures.formula(mine[0]) == "Cl8Li28O10"
    assert card.runs == {"converged": 5}
    assert card.split == {"by": "parent", "fractions": [0.8, 0.1, 0.1]}
    assert not card.rehearsal
    assert card.protocol["n_with_exchanges"] == 2


def test_the_same_seed_gives_the_same_frames_however_jobs_are_cut(
    store: JobStore, run: Callable[..., Any]
) -> None:
    spec = get_system("tiny-li2o-licl")
    hashes = []
    for per_job in (1, 5):
        maker = training_set(two_engines(steps=7))
        maker.runs_per_job = per_job
        document = FramesDoc.model_validate(run(maker.make(spec, 4, 2, 1)))
        hashes.append(document.card.content_hashes)
    assert hashes[0] == hashes[1]


def test_runs_that_end_badly_are_counted_and_the_rest_goes_on(
    store: JobStore, run: Callable[..., Any]
) -> None:
    """Half of the structures fall apart under this potential, told by their start."""
    spec = get_system("tiny-li2o-licl")
    maker = training_set(two_engines("campaigns.soft:hole", first=1))
    maker.assemble_maker.split = "frame"
    card = FramesDoc.model_validate(run(maker.make(spec, 11, 6, 0))).card
    assert sum(card.runs.values()) == 6
    assert card.runs["converged"] >= 1
    assert card.runs["exploded"] >= 1
    assert any("runs did not end well" in line for line in card.warnings)
    assert any("in several sets, as in the paper" in line for line in card.warnings)
    facts = card.statistics
    assert sum(card.counts.values()) == facts["n_final"] + facts["n_intermediate"]


def test_without_an_engine_there_is_one_line(store: JobStore, run: Callable[..., Any]) -> None:
    spec = get_system("tiny-li2o-licl")
    flow = training_set(two_engines("campaigns.no_such_module:x")).make(spec, 2, 3, 0)
    with pytest.raises(ValueError, match="Could not resolve reference"):
        run(flow, success=False)
    parts = [
        RunsDoc.model_validate(found["output"])
        for found in store.query({"output.kind": "dft_runs"}, properties=["output"])
        if found["output"]["kind"] == "dft_runs"
    ]
    rows = [row for part in parts for row in get_rows(store, part.rows)]
    assert {row.status for row in rows} == {JOB_FAILED}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((1, 1), "too few for a training set"), ((-1, 5), "0 at least")],
)
def test_numbers_that_make_no_sense(sizes: tuple[int, int], words: str) -> None:
    with pytest.raises(DismaiError, match=words):
        training_set(two_engines()).make(get_system("tiny-li2o-licl"), 0, *sizes)


def test_an_alloy_has_no_training_set_of_interfaces() -> None:
    with pytest.raises(DismaiError):
        training_set(two_engines()).make(get_system("alloy-300K-wide"), 0, 3, 3)


def dft_search(engine: str, **fields: Any) -> InterfaceDFTDatasetMaker:
    stage = DFTStageMaker(relax_maker=EngineRelaxMaker(potential=engine, fmax=0.1, harvest_first=1))
    search = SearchMaker(structures_per_job=4, dft_maker=stage)
    return InterfaceDFTDatasetMaker(search_maker=search, **fields)


def test_dft_after_the_potential_gives_both_sets_and_table_5(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    """The engine is the potential, 10 meV/atom higher: each step of Table 5 is known."""
    spec = get_system("tiny-li2o-licl")
    maker = dft_search("campaigns.soft:shifted", n_high=4)
    document = DatasetDoc.model_validate(run(maker.make(spec, potential(SOFT), 3, 5)))
    card = document.card
    assert card.counts == {"train": 4, "val": 1, "high": 4}
    check = card.statistics["dft_check"]
    assert check["all"]["n"] == check["low"]["n"] + check["high"]["n"] >= 9
    for group in ("low", "high", "all"):
        # Forces below 0.05 eV/Å are below 0.1 eV/Å too: DFT stops where it begins.
        assert check[group]["n_steps"] == {"mean": 1.0, "std": 0.0}
        for quantity in ("m_opt", "d_opt"):
            assert check[group][quantity]["mean"] == pytest.approx(10, abs=1e-3)
            assert check[group][quantity]["std"] == pytest.approx(0, abs=1e-3)
    # Energies are those of the engine.
    plain = DatasetDoc.model_validate(
        run(dft_search(SOFT, n_high=4).make(spec, potential(SOFT), 3, 5))
    )
    for name in ("train", "val", "high"):
        mine, other = (get_structures(store, one.sets[name]) for one in (document, plain))
        assert mine.labels["energy"] - other.labels["energy"] == pytest.approx(0.46, abs=1e-4)
    assert card.protocol["dft"]["by_status"] == {"converged": check["all"]["n"]}
    assert "then by DFT" in card.protocol["stage"]


def test_what_dft_cannot_finish_is_out_with_its_reason(
    store: JobStore, run: Callable[..., Any], potential: Callable[[str], PotentialRef]
) -> None:
    spec = get_system("tiny-li2o-licl")
    maker = dft_search("campaigns.soft:lost", max_structures=4)
    maker.search_maker.dft_maker.relax_maker.steps = 3
    assert run(maker.make(spec, potential(SOFT), 3, 2), success=False) is None
    states = [
        found["output"]["by_status"]
        for found in store.query({"output.kind": "interface_search_part"}, properties=["output"])
    ]
    assert {"dft_not_converged"} & {name for one in states for name in one}


def test_table_5_by_hand() -> None:
    """Two low and one high structure of 10 atoms."""
    ledger = SearchLedger.of_indices(range(4), INTACT)
    ledger.columns["energy"][:] = [-100.0, -99.8, -98.0, np.nan]
    ledger.columns["first_energy"][:] = [-99.9, -99.6, -97.0, np.nan]
    ledger.columns["potential_energy"][:] = [-100.1, -99.5, -98.3, -1.0]
    ledger.columns["n_dft_steps"][:] = [3, 5, 20, 7]
    ledger.mark(3, "dft_not_converged")
    rater = Rater(10, 16.0218, EnergyFilter())
    found = check_of_potential(ledger, rater.rate(ledger, rater.reference_energy(ledger)), 10)
    assert [found[name]["n"] for name in ("low", "high", "all")] == [2, 1, 3]
    # Differences to the first energy: 0.2, 0.1, 1.3 eV; to the last: 0.1, 0.3, 0.3 eV.
    assert found["low"]["n_steps"] == {"mean": 4.0, "std": 1.0}
    assert found["low"]["m_opt"]["mean"] == pytest.approx(15)
    assert found["low"]["m_opt"]["std"] == pytest.approx(5)
    assert found["high"]["m_opt"] == pytest.approx({"mean": 130, "std": 0})
    assert found["all"]["d_opt"]["mean"] == pytest.approx(1e3 * 0.7 / 3 / 10)
