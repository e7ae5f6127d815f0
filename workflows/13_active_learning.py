"""Train a committee of M3GNets, label what it disagrees on by DFT, train further, and so on.

    python workflows/13_active_learning.py SYSTEM FRAMES [--out FOLDER] [--members N] [--pool N]
                                           [--pick N] [--budget N] [--error EV_PER_A]
                                           [--epochs N] [--rehearse POTENTIAL] [--submit]

FRAMES is the folder of frames that workflow 10 has left. Needs the extras `potentials` and `dft`.
Run here it takes the settings QUICK, which suit a processor; with `--submit` VASP runs on workers
of category vasp, trainings with the paper's settings on gpu, the rest on cpu. Frames of a rehearsal
are taken with `--rehearse`, which labels the new ones by the same stand-in for VASP:

    python workflows/10_dft_training_set.py tiny-li2o-licl --without 4 --with 0 --rehearse toy
    python workflows/13_active_learning.py tiny-li2o-licl training-set/frames --members 2 \
        --pool 4 --pick 2 --budget 2 --epochs 4 --rehearse toy

take some minutes. FOLDER/learned gets the members (`matgl:FOLDER/learned/member-0`) and all frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dismaiflow.campaigns.active_export import export_active
from dismaiflow.campaigns.active_learning import ActiveLearningMaker, ActiveRoundMaker
from dismaiflow.campaigns.active_schemas import ActiveLearningDoc
from dismaiflow.campaigns.dft_stage import second_stage
from dismaiflow.dft.makers import Rehearsal
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.launch.places import work_place
from dismaiflow.potentials.training.data import check_sets, read_sets
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker
from dismaiflow.potentials.training_jobs import TrainPotentialMaker
from dismaiflow.store.frames import put_frames
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system

#: A small network that learns some hundred frames of 50 atoms in minutes on one core.
QUICK: dict[str, Any] = {
    "model": {"units": 16, "blocks": 2, "threebody_cutoff": 3.5},
    "lr": 0.01,
    "batch_size": 2,
    # What a constant rate leaves of noise would pass for disagreement.
    "schedule": "cosine",
    "epochs": 24,
}

#: Paper, section 4.6: 24 hours; the hyperparameters are the defaults.
PAPER: dict[str, Any] = {"hours": 24.0, "epochs": 1_000_000}

#: Training that goes on from a member takes a part of the time, and smaller steps.
SHARE = 1 / 2


def learning(asked: argparse.Namespace, relax: Any) -> ActiveLearningMaker:
    """Return the Maker that was asked for."""
    first = dict(PAPER if asked.submit else QUICK)
    if asked.epochs:
        first["epochs"] = asked.epochs
    further = first | {"epochs": max(1, round(SHARE * first["epochs"]))}
    if "hours" in first:
        further["hours"] = SHARE * first["hours"]
    else:
        further["lr"] = SHARE * first["lr"]

    def committee(settings: dict[str, Any]) -> PotentialCommitteeMaker:
        train = TrainPotentialMaker(
            settings=settings,
            # A queue of 12 hours: each job stops before and puts itself into the queue again.
            max_seconds=11.5 * 3600 if asked.submit else None,
            allow_rehearsal=asked.rehearse is not None,
        )
        return PotentialCommitteeMaker(n_members=asked.members, train_maker=train)

    return ActiveLearningMaker(
        committee_maker=committee(first),
        round_maker=ActiveRoundMaker(
            n_pool=asked.pool,
            n_picked=asked.pick,
            max_labelled=asked.budget,
            force_error=asked.error,
            committee_maker=committee(further),
            relax_maker=relax,
        ),
    )


def main(asked: argparse.Namespace) -> None:
    """Check the frames, build the flow, run or submit it, and write potentials and frames."""
    spec = InterfaceSystem.from_spec(get_system(asked.system)).spec
    # Any Maker of the same protocol does: EngineRelaxMaker for GPAW, CP2K, CHGNet, ...
    relax: Any = second_stage(spec)
    if asked.rehearse:
        relax.rehearsal = Rehearsal(asked.rehearse)
    maker = learning(asked, relax)
    sets, split = read_sets([asked.frames])
    data = check_sets(sets, list(spec.species), allow_rehearsal=asked.rehearse is not None)
    check_out_folder(asked.out / "learned")
    with work_place(asked.out, asked.submit) as place:
        stored = {name: put_frames(place.store, one) for name, one in data.sets.items()}
        flow = maker.make(spec, stored, seed=asked.seed)
        if not place.run(flow, ["active-learning"]):
            return
        document = ActiveLearningDoc.model_validate(place.result(flow.output))
        folder = export_active(place.store, document, asked.out / "learned", split)
    tell(document)
    print(f"{folder}: members, frames; use one: --potential matgl:{folder / 'member-0'}")


def tell(document: ActiveLearningDoc) -> None:
    """Print the rounds."""
    print("round  labelled  frames  test meV/Å  held-out meV/Å  picked meV/Å  how runs ended")
    for number, row in enumerate(document.rounds):
        picked = row.picked_spread.force if row.picked_spread else None
        figures = [row.test_force, row.watched.force, picked]
        texts = ["-" if one is None else f"{1e3 * one:.1f}" for one in figures]
        print(
            f"{number:5}{row.n_labelled:10}{row.n_frames:8}{texts[0]:>12}{texts[1]:>16}"
            f"{texts[2]:>14}  {row.by_status or ''}"
        )
    print(f"ended: {document.stopped_by}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system")
    parser.add_argument("frames", type=Path)
    parser.add_argument("--out", type=Path, default=Path("active-learning"))
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--pick", type=int, default=10)
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--error", type=float)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rehearse", metavar="POTENTIAL")
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
