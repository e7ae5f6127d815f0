"""``dismai results`` on training sets, trained potentials, relaxations and fits."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from dismaiflow.campaigns.active_schemas import ActiveLearningDoc, ActiveRound, Spread
from dismaiflow.dft.schemas import RunDoc
from dismaiflow.potentials import training_jobs
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.potentials.training.card import TrainedCard
from dismaiflow.potentials.training.evaluation import Errors
from dismaiflow.potentials.training.sweep import SweepRow
from dismaiflow.potentials.training_jobs import CommitteeDoc, SweepDoc, TrainedDoc
from dismaiflow.store import embedded_jobstore, put_blob
from dismaiflow.store.frames import FramesDoc, put_frames
from dismaiflow.structures.frame_files import FramesCard, counts_of
from dismaiflow.structures.frames import FrameLabel
from potentials.training.toys import frames
from store.documents import job_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Dismai, Ran

LABEL = FrameLabel(engine="vasp 6.4.2", functional="PBE+U", rehearsal=True)
FRAMES, TRAINING, LEARNING = "f0a0e0000001", "f0a0e0000002", "f0a0e0000003"
HASHES = ["1a" * 32, "2b" * 32, "3c" * 32]


def card(force: float) -> TrainedCard:
    """Return the card of a potential with an error."""
    errors = {"train": Errors(energy=0.001, force=0.01), "test": Errors(energy=0.002, force=force)}
    return TrainedCard(
        versions={"matgl": "4.1.2"},
        sha256={},
        elements=["Li"],
        source="trained here",
        data_hash="da" * 32,
        content_hashes={},
        labels=[LABEL],
        settings={"lr": 0.001, "batch_size": 4},
        frames={"train": 10, "test": 2},
        parents={"train": 5, "test": 1},
        compositions={"train": 1, "test": 1},
        errors=errors,
        baselines={name: Errors(energy=0.02, force=0.3) for name in errors},
        references={"Li": -1.9},
        best_epoch=3,
        best_loss=0.1,
        epochs=7,
        seconds=60,
        device="cuda",
        warnings=["trained on a rehearsal"],
        created="2026-02-01T00:00:00+00:00",
    )


def reference(number: int, **files: list[str]) -> PotentialRef:
    """Return a potential of a hash."""
    name = f"matgl:m3gnet-s-{number}"
    known = PotentialCard(name=name, engine="matgl", hash=HASHES[number])
    return PotentialRef(name=name, card=known, files=files)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with runs of DFT, of a sweep, and of active learning."""
    path = tmp_path_factory.mktemp("training") / "store.sqlite"
    documents: list[tuple[str, Any]] = []
    with embedded_jobstore(path) as jobstore:
        sets = frames(label=LABEL).split()
        made = FramesCard(
            system="s",
            **counts_of(sets),
            split={"by": "parent"},
            runs={"converged": 5, "walltime": 1},
            seeds={"seed": 3},
            statistics={"restarts": 2},
            warnings=["a rehearsal"],
        )
        references = {name: put_frames(jobstore, one) for name, one in sets.items()}
        documents.append((FRAMES, FramesDoc(system="s", card=made, sets=references)))
        run = {"parent": "random-000001", "stage": "all", "n_steps": 12, "n_restarts": 2}
        corrections, where = ["ZbrentHandler", "WalltimeHandler"], "node1:/scratch/1"
        ended = RunDoc(
            status="walltime", reason="stopped before the walltime", label=LABEL, dir_name=where,
            corrections=corrections, **run,
        )  # fmt: skip
        documents.append((FRAMES, ended))
        state, curves = (put_blob(jobstore, text, "potential_file") for text in (b"w", b"epoch,"))
        trained = [
            TrainedDoc(
                system="s",
                potential=reference(number, **{"state.pt": [state]}),
                card=card(0.1 * (number + 1)),
                files={"curves.csv": curves},
            )
            for number in range(3)
        ]
        row = SweepRow(
            lr=0.001, batch_size=4, name="lr0.001-batch4", errors=Errors(energy=0.1, force=0.2),
            loss=0.3, best_epoch=3, epochs=7, seconds=7200,
        )  # fmt: skip
        documents += [(TRAINING, one) for one in trained[:2]]
        sweep = SweepDoc(system="s", rows=[row], best=row.name, trained=trained[0], lost=["other"])
        documents.append((TRAINING, sweep))
        documents += [(LEARNING, one) for one in trained]
        last = trained[1:]
        committee = CommitteeDoc(
            system="s", members=[one.potential for one in last], cards=[one.card for one in last]
        )
        spread = Spread(n=4, force=0.25, mean_force=0.1, energy=0.01)
        learned = ActiveLearningDoc(
            system="s",
            rounds=[
                ActiveRound(n_frames=10, n_members=2, watched=spread, picked=["random-000007"])
            ],
            stopped_by="the budget",
            complete=True,
            n_labelled=0,
            committee=committee,
            sets=references,
        )
        documents.append((LEARNING, learned))
        for number, (run_id, document) in enumerate(documents):
            about = {"run_id": run_id, "system": "s"}
            uuid = f"{number:08x}-0000-4000-8000-000000000000"
            output = document.model_dump(mode="json")
            jobstore.update(job_document(uuid, output, metadata=about))
    return path


@pytest.fixture
def results(dismai: Dismai, store: Path) -> Callable[..., Ran]:
    """Return the command on that store."""

    def run(*words: object) -> Ran:
        ran = dismai("results", *words, "--store", store)
        assert ran.code == 0, ran.err
        return ran

    return run


def test_lists(results: Callable[..., Ran]) -> None:
    """Potentials with their errors, training sets, relaxations with what befell them."""
    rows = json.loads(results("list", "potentials", "--run", TRAINING, "--json").out)
    assert {row["hash"] for row in rows} == set(HASHES[:2])
    (first,) = (row for row in rows if row["hash"] == HASHES[0])
    assert first["metrics"] == {"energy": 0.002, "force": 0.1, "stress": None}
    assert (first["errors_on"], first["frames"]) == ("test", {"train": 10, "test": 2})
    assert (first["labels"], first["rehearsal"]) == (["vasp 6.4.2 PBE+U"], True)
    assert (first["epochs"], first["device"], first["systems"]) == (7, "cuda", ["s"])
    assert first["date"] == "2026-02-01T00:00:00Z"
    assert "a rehearsal" in results("list", "potentials").words

    (row,) = json.loads(results("list", "frames", "--json").out)
    assert (row["split"], row["seed"], row["restarts"]) == ("parent", 3, 2)
    assert row["relaxations"] == {"converged": 5, "walltime": 1}
    assert sum(row["counts"].values()) == 12
    assert sum(row["parents"].values()) == 6
    assert "converged 5, walltime 1" in results("list", "frames").words

    (row,) = json.loads(results("list", "relaxations", "--status", "walltime", "--json").out)
    assert (row["parent"], row["system"], row["stage"]) == ("random-000001", "s", "all")
    assert (row["n_restarts"], row["folder"]) == (2, "node1:/scratch/1")
    assert row["corrections"] == ["ZbrentHandler", "WalltimeHandler"]
    assert results("list", "relaxations", "--status", "failed").words == "no relaxations"
    assert "stopped before the walltime" in results("list", "relaxations").words


def test_show(results: Callable[..., Ran]) -> None:
    """Each kind of document has its table, by run or by uuid."""
    assert "converged 5, walltime 1" in results("show", FRAMES).words
    said = results("show", TRAINING).words
    assert "100.0" in said  # force error of the first, meV/Å
    assert "lr0.001-batch4 (best)" in said
    assert "other (failed)" in said
    said = results("show", LEARNING).words
    assert "stopped by the budget" in said
    assert "250" in said  # disagreement, meV/Å
    assert "ZbrentHandler" in results("show", "00000001-0000").words
    (found,) = json.loads(results("show", "00000000-0000", "--json").out)
    assert found["kind"] == "frames"
    assert found["document"]["card"]["seeds"] == {"seed": 3}


def test_export(
    results: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the right kind for each run."""
    opened: list[Path] = []
    monkeypatch.setattr(training_jobs, "open_matgl", opened.append)  # these weights are none

    made = results("export", FRAMES, "--out", tmp_path / "frames")
    assert "1 training set, 1 relaxation" in made.words
    assert (tmp_path / "frames" / "frames" / "frames.json").is_file()
    with (tmp_path / "frames" / "relaxations.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["reason"] == "stopped before the walltime"

    results("export", TRAINING, "--out", tmp_path / "sweep")
    names = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    assert names == [
        "potential-1-m3gnet-s-0", "potential-2-m3gnet-s-1", "training_sweep.json",
    ]  # fmt: skip
    assert (tmp_path / "sweep" / names[0] / "curves.csv").read_text() == "epoch,"
    assert len(opened) == 2

    results("export", LEARNING, "--out", tmp_path / "learned")
    names = sorted(path.name for path in (tmp_path / "learned").iterdir())
    assert names == [
        "active_learning.json", "potential-1-m3gnet-s-1", "potential-2-m3gnet-s-2",
    ]  # fmt: skip
    results("export", "relaxations", "--out", tmp_path / "relaxations.csv")
    assert len((tmp_path / "relaxations.csv").read_text().splitlines()) == 2
