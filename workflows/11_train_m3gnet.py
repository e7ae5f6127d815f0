"""Train an M3GNet on labelled frames: one, the sweep of Table S6, or a committee.

    python workflows/11_train_m3gnet.py FRAMES OUT_FOLDER [one|sweep|committee] [submit]

FRAMES is a folder with frames.json or an extxyz file with energies, forces and stresses. Needs the
extra `potentials`. Run here it takes the settings QUICK, which suit a processor; with `submit` the
jobs go to the LaunchPad, to workers of the category gpu, with those of the paper.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Flow, run_locally

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.store import PotentialRef, fetch_potential
from dismaiflow.potentials.training.data import check_sets, read_sets
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker, PotentialSweepMaker
from dismaiflow.potentials.training_jobs import TrainedDoc, TrainPotentialMaker, export_trained
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.frames import put_frames
from dismaiflow.structures.files import check_out_folder

if TYPE_CHECKING:
    from jobflow import JobStore

#: A small network that learns some hundred frames of 50 atoms in minutes on one core.
QUICK: dict[str, Any] = {"model": {"units": 32, "blocks": 2}, "lr": 0.005, "epochs": 30}

#: Paper, section 4.6: 24 hours; the hyperparameters are the defaults.
PAPER: dict[str, Any] = {"hours": 24.0, "epochs": 1_000_000}


def build(frames: Path, store: JobStore, kind: str, submitted: bool) -> Flow:
    """Check the frames, store them, and build the flow."""
    sets, split = read_sets([frames])
    data = check_sets(sets)
    stored = {name: put_frames(store, one) for name, one in data.sets.items()}
    system = frames.stem
    # A queue of 12 hours: each job stops before and puts itself into the queue again.
    maker = TrainPotentialMaker(
        settings=PAPER if submitted else QUICK, max_seconds=11.5 * 3600 if submitted else None
    )
    if kind == "sweep":
        hours = 24.0 if submitted else 0.05
        return PotentialSweepMaker(hours=hours, train_maker=maker).make(system, stored, split)
    if kind == "committee":
        return PotentialCommitteeMaker(train_maker=maker).make(system, stored, split)
    job = maker.make(system, stored, split)
    return Flow([job], output=job.output, name="train m3gnet")


def run_here(frames: Path, folder: Path, kind: str) -> None:
    """Run the flow, write the potential and print what the card says."""
    check_out_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")
    store.connect()
    flow = build(frames, store, kind, submitted=False)
    run_locally(flow, store=store, ensure_success=True)
    result = flow.output.resolve(store)
    if kind == "committee":
        for member in result["members"]:
            potential = fetch_potential(store, PotentialRef.model_validate(member))
            print(potential.card.name, potential.card.hash)
        return
    if kind == "sweep":
        for row in result["rows"]:
            print(row)
        result = result["trained"]
    document = TrainedDoc.model_validate(result)
    export_trained(store, document, folder / "potential")
    for name, errors in document.card.errors.items():
        print(f"{name}: {errors}; predicting nothing: {document.card.baselines[name]}")
    for warning in document.card.warnings:
        print(f"- {warning}")
    print(f"use it: --potential matgl:{folder / 'potential'}")


def submit(frames: Path, kind: str) -> None:
    """Submit the flow, and say how to follow it."""
    from dismaiflow.launch.check import ready_to_submit
    from dismaiflow.launch.config import load_config
    from dismaiflow.launch.submit import submit as put

    config = load_config()
    ready_to_submit(config)
    store = config.jobstore()
    store.connect()
    submitted = put(build(frames, store, kind, submitted=True), config.launchpad(), (), store)
    print(f"run {submitted.run_id}: {submitted.n_fireworks} jobs for {submitted.categories}")
    print(f"follow it: dismai launchpad status {submitted.run_id}")


if __name__ == "__main__":
    words = sys.argv[1:]
    known = len(words) in (2, 3, 4) and (words[2:3] or ["one"])[0] in ("one", "sweep", "committee")
    if not known or words[3:] not in ([], ["submit"]):
        raise SystemExit(__doc__)
    try:
        if len(words) == 4:
            submit(Path(words[0]), words[2])
        else:
            run_here(Path(words[0]), Path(words[1]), words[2] if len(words) > 2 else "one")
    except DismaiError as error:
        raise SystemExit(str(error)) from None
