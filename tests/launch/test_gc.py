"""What runs need stays while anything can still ask for it, on servers with logins."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from jobflow import Flow

from benchmark.conftest import PUBLISHED, generated_set, random_alloys, reference_set, small_alloy
from dismaiflow.benchmark.flows import ScoreAlloyMaker
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.dft.schemas import StoredStructure
from dismaiflow.launch.submit import submit
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.store import FILE_KIND, PotentialRef
from dismaiflow.potentials.training_jobs import CHECKPOINT_KIND, TrainPotentialMaker
from dismaiflow.store import inventory, put_blob
from dismaiflow.store.frames import put_frames
from dismaiflow.store.inventory import list_entries
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.frames import FrameLabel, LabelledFrames

from .toys import work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobflow import JobStore

    from cli.conftest import Dismai
    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.launch.init import Login


def age(store: JobStore) -> int:
    """Make all blobs three days old, and return how many there are."""
    data = store.additional_stores["data"]
    stamp = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
    entries = list(list_entries(data))
    for entry in entries:
        assert inventory._stamp(data, entry.blob_uuid, stamp)
    return len(entries)


def score(config: LaunchConfig, store: JobStore, seed: int) -> None:
    """Submit the score of structures of which one could not be read."""
    spec = small_alloy()
    reference = reference_set(store, spec, 20 + seed, 10)
    one = generated_set(store, random_alloys(spec, 12, seed=seed), 10, unreadable=(3,))
    flow = ScoreAlloyMaker().make(spec, PUBLISHED, reference, [one])
    submit(flow, config.launchpad(), (), store)


def test_shared_store(
    dismai: Dismai, configured: Callable[..., LaunchConfig], login: Login
) -> None:
    """Two LaunchPads share a store: each spares what the runs of the other need."""
    first = configured("first")
    second = configured("second", launchpad_database=f"{login.launchpad_database}_second")
    with closing(first.jobstore()) as store:
        for seed, config in enumerate((first, second)):
            score(config, store, seed)
        n_blobs = age(store)
    for config in (first, second):
        ran = dismai("results", "gc", "--remove", "--json", DISMAI_LAUNCHPAD_DIR=config.folder)
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        assert (found["n_removed"], found["n_kept"]) == (0, n_blobs)
        names = {place.rpartition("/")[2] for place in found["launchpads"]}
        assert names == {first.launchpad().name, second.launchpad().name}
        assert login.password not in ran.out + ran.err


def test_deleted_workflows(
    dismai: Dismai, configured: Callable[..., LaunchConfig], tmp_path: Path
) -> None:
    """Once the LaunchPad has forgotten a run, its documents alone keep what they speak of."""
    config = configured()
    launchpad = config.launchpad()
    with closing(config.jobstore()) as store:
        score(config, store, 0)
        work(launchpad, store, tmp_path / "work")
        assert store.count({"output.kind": "score"}) == 1
        n_blobs = age(store)
    for collection in (launchpad.workflows, launchpad.fireworks, launchpad.launches):
        collection.delete_many({})
    ran = dismai("results", "gc", "--remove", "--json", DISMAI_LAUNCHPAD_DIR=config.folder)
    found = json.loads(ran.out)
    assert (found["n_removed"], found["n_kept"]) == (0, n_blobs)


def frames(store: JobStore) -> LabelledFrames:
    """Return frames without forces."""
    made = random_alloys(small_alloy(), 4, seed=1)
    n = len(made)
    return LabelledFrames.build(
        made,
        np.zeros(n),
        [np.zeros((size, 3)) for size in made.n_atoms],
        np.zeros((n, 3, 3)),
        FrameLabel(engine="none", functional="none"),
        [f"p{number}" for number in range(n)],
        np.ones(n),
        np.ones(n, dtype=bool),
    )


def test_what_waits_for_vasp_and_gpus(
    dismai: Dismai, configured: Callable[..., LaunchConfig]
) -> None:
    """Frames, checkpoints, potentials and structures that are in specs alone stay; then they go."""
    config = configured()
    with closing(config.jobstore()) as store:
        sets = {name: put_frames(store, one) for name, one in frames(store).split().items()}
        checkpoint = [put_blob(store, b"state", CHECKPOINT_KIND)]
        card = PotentialCard(name="p", engine="matgl", hash="ab" * 32)
        files = {"state.pt": [put_blob(store, b"weights", FILE_KIND)]}
        start = PotentialRef(name="matgl:p", card=card, files=files)
        chunk = put_structures(store, random_alloys(small_alloy(), 2, seed=2)).chunks[0]
        train = TrainPotentialMaker().make("s", sets, start=start, checkpoint=checkpoint)
        relax = EngineRelaxMaker(potential=start).make(
            StoredStructure(blob=chunk, place=1, parent="random-000001")
        )
        launchpad = config.launchpad()
        submit(Flow([train, relax], name="waits"), launchpad, (), store)
        n_blobs = age(store)

    def clean() -> dict[str, int]:
        ran = dismai("results", "gc", "--remove", "--json", DISMAI_LAUNCHPAD_DIR=config.folder)
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        return {name: of["n"] for name, of in found["orphans"].items()}

    # A job knows its chunk; the list by which the whole set is found is in nobody's use.
    assert clean() == {"manifest": 1}
    for collection in (launchpad.workflows, launchpad.fireworks, launchpad.launches):
        collection.delete_many({})
    assert clean() == {
        "frames": 3, "training_checkpoint": 1, "potential_file": 1, "structures": 1,
    }  # fmt: skip
    assert n_blobs == 1 + 3 + 1 + 1 + 1
