"""Train an M3GNet on labelled frames: one, the sweep of Table S6, or a committee.

    python workflows/11_train_m3gnet.py FRAMES [--kind one|sweep|committee] [--out FOLDER]
                                        [--rehearsal] [--submit]

FRAMES is a folder with frames.json or an extxyz file with energies, forces and stresses; those of a
rehearsal need `--rehearsal`. Needs the extra `potentials`. Run here it takes the settings QUICK,
which suit a processor; with `--submit` the jobs go to the LaunchPad, to workers of the category
gpu, with those of the paper.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Flow

from dismaiflow.errors import DismaiError
from dismaiflow.launch.places import work_place
from dismaiflow.potentials.training.data import check_sets, read_sets
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker, PotentialSweepMaker
from dismaiflow.potentials.training_jobs import (
    CommitteeDoc,
    SweepDoc,
    TrainedDoc,
    TrainPotentialMaker,
    export_trained,
)
from dismaiflow.store.frames import put_frames
from dismaiflow.structures.files import check_out_folder

if TYPE_CHECKING:
    from dismaiflow.launch.places import WorkPlace
    from dismaiflow.potentials.training.data import TrainingData

#: A small network that learns some hundred frames of 50 atoms in minutes on one core.
QUICK: dict[str, Any] = {"model": {"units": 32, "blocks": 2}, "lr": 0.005, "epochs": 30}

#: Paper, section 4.6: 24 hours; the hyperparameters are the defaults.
PAPER: dict[str, Any] = {"hours": 24.0, "epochs": 1_000_000}


def main(asked: argparse.Namespace) -> None:
    """Check the frames, run or submit the flow, and write what it has trained."""
    sets, split = read_sets([asked.frames])
    data = check_sets(sets, allow_rehearsal=asked.rehearsal)
    check_out_folder(asked.out / "potential")
    with work_place(asked.out, asked.submit) as place:
        flow = build(asked, place, data, split)
        if place.run(flow, ["training"]):
            finish(asked, place, place.result(flow.output))


def build(
    asked: argparse.Namespace, place: WorkPlace, data: TrainingData, split: dict[str, Any]
) -> Flow:
    """Store the frames and build the flow."""
    stored = {name: put_frames(place.store, one) for name, one in data.sets.items()}
    system = asked.frames.stem
    maker = TrainPotentialMaker(
        settings=PAPER if asked.submit else QUICK,
        # A queue of 12 hours: each job stops before and puts itself into the queue again.
        max_seconds=11.5 * 3600 if asked.submit else None,
        allow_rehearsal=asked.rehearsal,
    )
    if asked.kind == "sweep":
        hours = 24.0 if asked.submit else 0.05
        return PotentialSweepMaker(hours=hours, train_maker=maker).make(system, stored, split)
    if asked.kind == "committee":
        return PotentialCommitteeMaker(train_maker=maker).make(system, stored, split)
    job = maker.make(system, stored, split)
    return Flow([job], output=job.output, name="train m3gnet")


def finish(asked: argparse.Namespace, place: WorkPlace, result: Any) -> None:
    """Write the potential and print what its card says."""
    if asked.kind == "committee":
        # Its members stay in the store, where active learning finds them.
        for member in CommitteeDoc.model_validate(result).members:
            print(member.name, member.card.hash)
        return
    if asked.kind == "sweep":
        sweep = SweepDoc.model_validate(result)
        for row in sweep.rows:
            print(row)
        document = sweep.trained
    else:
        document = TrainedDoc.model_validate(result)
    export_trained(place.store, document, asked.out / "potential")
    for name, errors in document.card.errors.items():
        print(f"{name}: {errors}; predicting nothing: {document.card.baselines[name]}")
    for warning in document.card.warnings:
        print(f"- {warning}")
    print(f"use it: --potential matgl:{asked.out / 'potential'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path)
    parser.add_argument("--kind", choices=("one", "sweep", "committee"), default="one")
    parser.add_argument("--out", type=Path, default=Path("m3gnet"))
    parser.add_argument("--rehearsal", action="store_true")
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
