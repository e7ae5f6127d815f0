"""Trainings as jobs: cut by their time, swept, in committees, through a store."""

from __future__ import annotations

import numpy as np
import pytest
from jobflow import run_locally

from benchmark.conftest import check_sizes, embedded
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY
from dismaiflow.potentials import training_jobs
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import fetch_potential
from dismaiflow.potentials.training.committee import committee_disagreements
from dismaiflow.potentials.training.run import train_to_folder
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker, PotentialSweepMaker
from dismaiflow.potentials.training_jobs import (
    CommitteeDoc,
    SweepDoc,
    TrainedDoc,
    TrainPotentialMaker,
    export_trained,
)
from dismaiflow.store.frames import put_frames

from .toys import TINY, crystal, frames, tiny

__all__ = ["embedded"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SETTINGS = {"model": TINY, "epochs": 3}


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def sets(embedded, data):
    return {name: put_frames(embedded, one) for name, one in data.sets.items()}


def run(flow, store, output=None):
    """Run a flow; return the output of its last job."""
    run_locally(flow, store=store, ensure_success=True)
    return (output or flow.output).resolve(store)


def test_a_job_that_is_cut_goes_on_anywhere(embedded, sets, data, scratch, tmp_path, monkeypatch):
    """Two jobs of one epoch each, each on a machine with another disk: as one training."""
    machines = iter(range(9))
    folders = training_jobs._scratch_folder

    def elsewhere():
        monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(scratch / str(next(machines))))
        return folders()

    monkeypatch.setattr(training_jobs, "_scratch_folder", elsewhere)
    settings = SETTINGS | {"epochs": 2}
    maker = TrainPotentialMaker(settings=settings, device="cpu", max_seconds=0)
    job = maker.make("toy", sets, {"by": "parent"})
    assert job.config.manager_config == {CATEGORY_KEY: "gpu"}
    responses = run_locally(job, store=embedded, ensure_success=True)
    assert sorted(responses[job.uuid]) == [1, 2]
    again = responses[job.uuid][1].replace.jobs[0]
    assert again.config.manager_config == {CATEGORY_KEY: "gpu"}
    document = TrainedDoc.model_validate(job.output.resolve(embedded))
    whole = train_to_folder(tmp_path / "whole", data, tiny(epochs=2), device="cpu")
    assert document.card.sha256["state.pt"] == whole.card.sha256["state.pt"]
    assert document.card.errors == whole.card.errors
    assert document.card.split == {"by": "parent"}
    check_sizes(embedded)

    atoms = crystal(1)
    energies = []
    for potential in (
        fetch_potential(embedded, document.potential),
        open_potential(f"matgl:{export_trained(embedded, document, tmp_path / 'out')}"),
    ):
        atoms.calc = potential.calculator()
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1]
    assert (tmp_path / "out" / "curves.csv").read_text().startswith("epoch,")


def test_fine_tuning_as_a_job(embedded, sets, trained, scratch):
    from dismaiflow.potentials.store import put_potential

    name = f"matgl:{trained.folder}"
    start = put_potential(embedded, name, open_potential(name))
    maker = TrainPotentialMaker(settings=SETTINGS | {"epochs": 1}, device="cpu")
    document = TrainedDoc.model_validate(run(maker.make("toy", sets, start=start), embedded))
    assert document.card.start == trained.card.weights_hash
    assert not list((scratch / "trainings").iterdir())  # nothing is left behind


def test_refusals_of_a_job(embedded, sets):
    maker = TrainPotentialMaker(settings={"lr": 7.0})
    with pytest.raises(RuntimeError):
        run(maker.make("toy", sets), embedded)
    with pytest.raises(DismaiError, match="two members at least"):
        PotentialCommitteeMaker(n_members=1).make("toy", sets)


def test_a_sweep(embedded, sets):
    train = TrainPotentialMaker(settings={"model": TINY}, device="cpu")
    maker = PotentialSweepMaker(
        pairs=[(0.001, 2), (0.01, 4)], hours=1e-9, category="cpu", train_maker=train
    )
    flow = maker.make("toy", sets)
    kinds = [job.config.manager_config[CATEGORY_KEY] for job in flow.jobs]
    assert kinds == ["cpu", "cpu", "cpu"]
    document = SweepDoc.model_validate(run(flow, embedded))
    assert [(row.lr, row.batch_size, row.epochs) for row in document.rows] == [
        (0.001, 2, 1),
        (0.01, 4, 1),
    ]
    assert document.best == min(document.rows, key=lambda row: row.loss).name
    chosen = document.trained.card
    assert f"lr{chosen.settings['lr']:g}-batch{chosen.settings['batch_size']}" == document.best


@pytest.mark.slow  # active learning trains committees by default
def test_a_committee(embedded, sets):
    train = TrainPotentialMaker(settings=SETTINGS | {"epochs": 1, "seed": 5}, device="cpu")
    maker = PotentialCommitteeMaker(n_members=2, resample=True, train_maker=train)
    document = CommitteeDoc.model_validate(run(maker.make("toy", sets), embedded))
    assert [card.settings["seed"] for card in document.cards] == [5, 6]
    hashes = [card.content_hashes for card in document.cards]
    assert hashes[0]["train"] != hashes[1]["train"]
    assert hashes[0]["val"] == hashes[1]["val"]
    members = [fetch_potential(embedded, one) for one in document.members]
    (found,) = committee_disagreements(members, [crystal(1)])
    assert np.isfinite(found.force)
    assert found.force > 0


def test_a_committee_of_one_that_is_left(embedded):
    maker = training_jobs.CollectCommitteeMaker()
    with pytest.raises(RuntimeError):
        run(maker.make("toy", [None, None]), embedded)


def test_labels_of_a_rehearsal_need_leave(embedded):
    from dismaiflow.structures.frames import FrameLabel

    label = FrameLabel(engine="vasp", functional="PBE", rehearsal=True)
    rehearsed = frames(3, 1, label=label).split()
    sets = {name: put_frames(embedded, one) for name, one in rehearsed.items()}
    settings = SETTINGS | {"epochs": 1}
    with pytest.raises(RuntimeError):
        run(TrainPotentialMaker(settings=settings, device="cpu").make("toy", sets), embedded)
    maker = TrainPotentialMaker(settings=settings, device="cpu", allow_rehearsal=True)
    document = TrainedDoc.model_validate(run(maker.make("toy", sets), embedded))
    assert document.card.rehearsal
