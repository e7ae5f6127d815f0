"""Active learning with tiny committees and a cheap engine in the place of DFT."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.optimize import FIRE
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from dismaiflow.campaigns import active_learning
from dismaiflow.campaigns.active_export import export_active
from dismaiflow.campaigns.active_learning import ActiveLearningMaker, ActiveRoundMaker
from dismaiflow.campaigns.active_pool import (
    POOL_FROM,
    WATCH_FROM,
    pick,
    pick_any,
    random_structures,
    spread,
)
from dismaiflow.campaigns.active_schemas import ActiveLearningDoc
from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, RelaxRandomMaker
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator
from dismaiflow.jobs import CATEGORY_KEY
from dismaiflow.potentials import training_jobs
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import fetch_potential
from dismaiflow.potentials.training import card
from dismaiflow.potentials.training.committee import Disagreement
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker
from dismaiflow.potentials.training_jobs import CommitteeDoc, TrainPotentialMaker
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.frames import FramesDoc, FramesRef, get_frames
from dismaiflow.store.structures import get_structures
from dismaiflow.structures.frame_files import open_frames_folder
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jobflow import JobStore

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TOY = "dismaiflow.dft.rehearsal.toy:ToyCalculator"

#: A network of some hundred weights.
TINY = {"units": 8, "blocks": 1, "cutoff": 3.0, "threebody_cutoff": 2.2}

SPEC = get_system("tiny-li2o-licl")


def committee_maker(n_members: int = 2, **fields: Any) -> PotentialCommitteeMaker:
    training = {"model": TINY, "epochs": 1, "lr": 0.02}
    trainer = TrainPotentialMaker(settings=training, device="cpu", **fields)
    return PotentialCommitteeMaker(n_members=n_members, train_maker=trainer)


def engine(potential: str = TOY) -> EngineRelaxMaker:
    return EngineRelaxMaker(potential=potential, steps=3, harvest_first=1, harvest_interval=9)


def learning(**fields: Any) -> ActiveLearningMaker:
    """A campaign of tiny rounds; `fields` are those of its rounds."""
    given: dict[str, Any] = {
        "n_pool": 4, "n_picked": 2, "n_watch": 2, "max_labelled": 2, "pool_steps": 2,
        "committee_maker": committee_maker(), "relax_maker": engine(),
    } | fields  # fmt: skip
    return ActiveLearningMaker(
        committee_maker=committee_maker(given["committee_maker"].n_members),
        round_maker=ActiveRoundMaker(**given),
    )


class Place:
    """A store with frames and a committee that was trained on them."""

    def __init__(self, store: JobStore, folder: Path) -> None:
        self.store, self.folder = store, folder

    def run(self, flow: Any) -> Any:
        run_locally(flow, store=self.store, root_dir=self.folder, log=False, create_folders=True)
        return find_and_resolve_references(flow.output, self.store)

    def learn(self, sets: dict[str, FramesRef], **fields: Any) -> ActiveLearningDoc:
        committee = fields.pop("committee", None)
        flow = learning(**fields).make(SPEC, sets, 7, committee)
        return ActiveLearningDoc.model_validate(self.run(flow))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    torch = pytest.importorskip("torch")
    pytest.importorskip("matgl")
    folder = tmp_path_factory.mktemp("active")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISMAI_SCRATCH_DIR", str(folder / "scratch"))
        patch.setenv("DISMAI_PROCESSES", "1")
        # Pictures would take longer than the trainings.
        patch.setattr(card, "draw_curves", lambda path, *_: path.write_bytes(b""))
        patch.setattr(card, "draw_parity", lambda path, *_: path.write_bytes(b""))
        store = embedded_jobstore(folder / "store.sqlite")
        store.connect()
        yield Place(store, folder)
        store.close()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sets(place: Place) -> dict[str, FramesRef]:
    maker = DFTTrainingSetMaker(relax_random_maker=RelaxRandomMaker(relax_maker=engine()))
    return FramesDoc.model_validate(place.run(maker.make(SPEC, 0, 5, 0))).sets


@pytest.fixture(scope="module")
def first(place: Place, sets: dict[str, FramesRef]) -> ActiveLearningDoc:
    """What an error that any potential meets leaves: the first committee."""
    return place.learn(sets, force_error=1e9)


@pytest.fixture(scope="module")
def learned(
    place: Place, sets: dict[str, FramesRef], first: ActiveLearningDoc
) -> ActiveLearningDoc:
    """Two rounds; trainings are cut by their time after each epoch."""
    cut = committee_maker(max_seconds=0)
    return place.learn(sets, max_labelled=3, committee_maker=cut, committee=first.committee)


def test_an_error_that_is_met_ends_it_before_anything_is_labelled(
    first: ActiveLearningDoc, sets: dict[str, FramesRef]
) -> None:
    assert first.complete
    assert "the error of forces" in first.stopped_by
    assert [row.picked for row in first.rounds] == [[]]
    assert (first.n_labelled, first.sets) == (0, sets)
    assert first.rounds[0].test_force == pytest.approx(
        np.mean([one.errors["test"].force for one in first.committee.cards])
    )


def test_rounds_until_the_budget_is_spent(
    place: Place, sets: dict[str, FramesRef], learned: ActiveLearningDoc
) -> None:
    assert learned.complete
    assert learned.stopped_by == "the budget of 3 structures"
    assert [len(row.picked) for row in learned.rounds] == [2, 1, 0]
    assert [row.n_labelled for row in learned.rounds] == [0, 2, 3]
    assert learned.n_labelled == 3
    assert learned.sets["test"] == sets["test"]
    grown = {}
    for name in ("train", "val"):
        before, after = (get_frames(place.store, one[name]) for one in (sets, learned.sets))
        n = len(before)
        assert after.select(range(n)).content_hash == before.content_hash
        # Of three ionic steps the first and the last.
        assert after.steps[n:].tolist() == [1, 3] * (len(after.steps[n:]) // 2)
        assert len(after.labels) == 1
        grown[name] = after.parents[n:]
    n = sets["train"].n_frames
    assert [row.n_frames for row in learned.rounds] == [n, n + 2, n + 4]
    # Of the two of the first round one is to choose epochs by.
    picked = [row.picked for row in learned.rounds]
    assert grown["val"] == (picked[0][1],) * 2
    assert grown["train"] == (picked[0][0],) * 2 + (picked[1][0],) * 2
    assert [row.by_status for row in learned.rounds] == [
        {"not_converged": 2}, {"not_converged": 1}, {},
    ]  # fmt: skip
    assert [one.frames["train"] for one in learned.committee.cards] == [n + 4] * 2


def test_members_are_trained_further_each_from_itself(
    first: ActiveLearningDoc, learned: ActiveLearningDoc, place: Place
) -> None:
    start = {one.start for one in learned.committee.cards}
    assert len(start) == 2
    assert None not in start
    hashes = {one.card.hash for doc in (first, learned) for one in doc.committee.members}
    assert len(hashes) == 4


def test_picks_are_those_of_largest_disagreement(
    place: Place, first: ActiveLearningDoc, learned: ActiveLearningDoc
) -> None:
    """Recomputed with ASE: relaxed by the first member, forces by both."""
    members = [fetch_potential(place.store, one).calculator() for one in first.committee.members]
    made = built_generator(SPEC).generate(range(POOL_FROM, POOL_FROM + 4), 7, exchanges=False)
    apart = {}
    for name, atoms in zip(made.structures.ids, made.structures, strict=True):
        atoms.calc = members[0]
        FIRE(atoms, logfile=None).run(fmax=1e-6, steps=2)
        votes = np.array([one.get_forces(atoms) for one in members])
        variance = ((votes - votes.mean(0)) ** 2).mean(0).sum(1)
        apart[f"pool-7-{name}"] = float(np.sqrt(variance.max()))
    largest = sorted(apart, key=lambda name: -apart[name])
    row = learned.rounds[0]
    assert row.picked == largest[:2]
    assert row.picked_from is not None
    assert row.picked_spread is not None
    assert row.picked_from.force == pytest.approx(np.mean(list(apart.values())), rel=1e-3)
    assert row.picked_spread.force == pytest.approx(
        np.mean([apart[name] for name in largest[:2]]), rel=1e-3
    )


def test_held_out_structures_are_the_same_in_all_rounds_and_in_no_pool(
    place: Place, first: ActiveLearningDoc, learned: ActiveLearningDoc
) -> None:
    assert first.watch is not None
    assert learned.watch == first.watch
    held = [int(name) for name in get_structures(place.store, first.watch).ids]
    assert held == [WATCH_FROM, WATCH_FROM + 1]
    picked = [int(name.rpartition("-")[2]) for row in learned.rounds for name in row.picked]
    assert all(POOL_FROM <= index < POOL_FROM + 8 for index in picked)
    assert [row.watched.n for row in learned.rounds] == [2, 2, 2]
    # The same committee says the same of them.
    assert learned.rounds[0].watched == first.rounds[0].watched


def test_what_it_has_come_to_as_folders(
    place: Place, learned: ActiveLearningDoc, tmp_path: Path
) -> None:
    folder = export_active(place.store, learned, tmp_path / "learned", {"by": "parent"})
    for number, member in enumerate(learned.committee.members):
        opened = open_potential(f"matgl:{folder / f'member-{number}'}")
        assert opened.card.hash == member.card.hash
    frames = open_frames_folder(folder / "frames")
    assert frames.card.runs == {"not_converged": 3}
    assert frames.card.split == {"by": "parent"}
    assert any("6 training frames were picked" in line for line in frames.card.warnings)
    for name, one in frames.read().items():
        assert one.content_hash == learned.sets[name].content_hash
    text = (folder / "active_learning.json").read_text()
    assert ActiveLearningDoc.model_validate_json(text) == learned


def test_names_of_jobs_tell_the_round(place: Place, learned: ActiveLearningDoc) -> None:
    found = place.store.query(
        {"name": {"$regex": "round"}, "index": 1, "metadata.system": SPEC.name},
        properties=["name"],
    )
    names = {one["name"] for one in found}
    for number in (1, 2):
        for name in ("train potential 0", "train potential 1", "collect committee", "collect runs"):
            assert f"{name} round {number}" in names
    assert not [name for name in names if name.count("round") > 1]


@pytest.mark.slow
def test_the_same_seed_picks_and_trains_the_same(
    place: Place,
    sets: dict[str, FramesRef],
    first: ActiveLearningDoc,
    learned: ActiveLearningDoc,
) -> None:
    again = place.learn(sets, committee=first.committee)
    assert again.rounds[0] == learned.rounds[0]
    same = {"n_frames", "n_members", "test_energy", "test_force", "watched"}
    assert again.rounds[1].model_dump(include=same) == learned.rounds[1].model_dump(include=same)


def test_runs_that_fail_are_counted_and_the_rest_goes_on(
    place: Place, sets: dict[str, FramesRef], first: ActiveLearningDoc
) -> None:
    document = place.learn(
        sets,
        n_picked=4,
        max_labelled=4,
        relax_maker=engine("campaigns.fickle:fickle"),
        committee_maker=committee_maker(allow_mixed=True),
        committee=first.committee,
    )
    row = document.rounds[0]
    assert set(row.by_status) == {"failed", "not_converged"}
    assert sum(row.by_status.values()) == 4
    assert row.n_new == 2 * row.by_status["not_converged"]
    assert (len(document.rounds), document.n_labelled, document.complete) == (2, 4, True)


@pytest.mark.parametrize(
    ("potential", "status", "words"),
    [
        ("campaigns.no_such_module:x", "job_failed", "none of the structures could be labelled"),
        ("campaigns.soft:soft", "not_converged", "all 4 new frames come from other settings"),
    ],
)
def test_without_new_frames_it_ends_with_what_there_is(
    place: Place,
    sets: dict[str, FramesRef],
    first: ActiveLearningDoc,
    potential: str,
    status: str,
    words: str,
) -> None:
    document = place.learn(sets, relax_maker=engine(potential), committee=first.committee)
    assert words in document.stopped_by
    assert not document.complete
    assert document.committee == first.committee
    assert document.sets == sets
    assert (document.rounds[0].by_status, document.n_labelled) == ({status: 2}, 2)


def failing(monkeypatch: pytest.MonkeyPatch, *seeds: int) -> None:
    """Let trainings of these seeds fail."""
    train = training_jobs.train

    def fails(data: Any, settings: Any, *args: Any) -> Any:
        if settings.seed in seeds:
            raise DismaiError("no memory")
        return train(data, settings, *args)

    monkeypatch.setattr(training_jobs, "train", fails)


@pytest.mark.slow
def test_a_member_that_is_lost_is_missing_from_there_on(
    place: Place,
    sets: dict[str, FramesRef],
    first: ActiveLearningDoc,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = range(2)
    three = CommitteeDoc(
        system=SPEC.name,
        members=[first.committee.members[i] for i in (one, two, one)],
        cards=[first.committee.cards[i] for i in (one, two, one)],
    )
    failing(monkeypatch, 2)
    fields = {"n_picked": 1, "committee_maker": committee_maker(3), "committee": three}
    document = place.learn(sets, **fields)
    assert [row.n_members for row in document.rounds] == [3, 2, 2]
    assert document.complete


def test_a_committee_that_cannot_be_trained_ends_it(
    place: Place,
    sets: dict[str, FramesRef],
    first: ActiveLearningDoc,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing(monkeypatch, 0, 1)
    document = place.learn(sets, committee=first.committee)
    assert document.stopped_by == "round 1: no committee could be trained"
    assert not document.complete
    assert document.committee == first.committee
    # What was labelled is not lost.
    grown = sum(document.sets[name].n_frames - sets[name].n_frames for name in sets)
    assert grown == document.rounds[0].n_new


def test_a_pool_without_finite_numbers_ends_it(
    place: Place,
    sets: dict[str, FramesRef],
    first: ActiveLearningDoc,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(members: Any, structures: Sequence[Any], device: str) -> list[Disagreement]:
        return [Disagreement(np.inf, np.inf, np.inf)] * len(structures)

    monkeypatch.setattr(active_learning, "committee_disagreements", lost)
    document = place.learn(sets, committee=first.committee)
    assert document.stopped_by == "round 1: no structure of the pool is fit"
    assert document.rounds[0].watched.n == 0
    assert document.rounds[0].watched.force is None


def test_picks_and_means_by_hand() -> None:
    found = [Disagreement(force, 0.1, 0.2) for force in (1.0, np.inf, 3.0, 2.0)]
    names = ["a", "b", "c", "d"]
    assert pick(found, names, {"c"}, 2) == [3, 0]
    assert pick(found, names, (), 9) == [2, 3, 0]
    assert pick_any(found, names, {"a"}, 2) == [2, 3]
    means = spread(found)
    assert (means.n, means.force) == (3, 2.0)
    assert means.energy == pytest.approx(0.2)


def test_structures_that_fly_apart_are_judged_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing comes of half of them with this potential."""
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    indices = range(WATCH_FROM, WATCH_FROM + 6)
    made = built_generator(SPEC).generate(indices, 11, exchanges=False).structures
    moved = random_structures(SPEC, 11, indices, open_potential("campaigns.fickle:fickle"), 3)
    assert moved.ids == made.ids
    same = [
        np.array_equal(moved.positions[made.slice_of(i)], made.positions[made.slice_of(i)])
        for i in range(6)
    ]
    assert 0 < sum(same) < 6
    still = random_structures(SPEC, 11, indices, open_potential("campaigns.fickle:fickle"), 0)
    assert np.array_equal(still.positions, made.positions)


FRAMES = {name: FramesRef(content_hash="", n_frames=1, chunks=[]) for name in ("train", "val")}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"committee_maker": committee_maker(1)}, "one cannot disagree"),
        ({"n_pool": 0}, "one at least each"),
        ({"n_picked": 9}, "9 structures cannot be picked from a pool of 4"),
        ({"max_labelled": -1}, "0 at least"),
        ({"force_error": 0.1}, "needs frames in the set test"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DismaiError, match=words):
        learning(**fields).make(SPEC, FRAMES)


def test_committees_of_two_sizes_frames_and_systems_that_do_not_fit() -> None:
    maker = replace(learning(), committee_maker=committee_maker(3))
    with pytest.raises(DismaiError, match="3 members, but 2 are to be trained further"):
        maker.make(SPEC, FRAMES)
    with pytest.raises(DismaiError, match="frames in the set val"):
        learning().make(SPEC, {"train": FRAMES["train"]})
    with pytest.raises(DismaiError):
        learning().make(get_system("alloy-300K-wide"), FRAMES)


def test_a_device_asks_for_a_worker_that_has_it() -> None:
    for device, category in (("cpu", "cpu"), ("cuda", "gpu")):
        judge = list(learning(device=device).make(SPEC, FRAMES))[-1]
        assert judge.name == "judge committee round 0"
        assert judge.config.manager_config[CATEGORY_KEY] == category
