"""What one round of active learning does to a committee, against controls.

    python benchmarks/active_learning.py [--teacher toy|chgnet|MODULE:CALLABLE] [--seeds N]
                                         [--relaxations N] [--picked N] [--members N] [--out DIR]

A small interface is labelled by a cheap teacher in the place of DFT. A committee is trained, and
then trained further in three ways: `active` with the structures added on which it disagreed most,
`random` with as many added at random from the same pool, `longer` without new ones for as many
steps as `active`. Reported are the disagreement about held-out random structures, the error of
forces on them, which the teacher knows, and the error on the test set. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import run_locally

from dismaiflow.campaigns.active_learning import ActiveLearningMaker, ActiveRoundMaker
from dismaiflow.campaigns.active_pool import spread
from dismaiflow.campaigns.active_schemas import ActiveLearningDoc
from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, RelaxRandomMaker
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.dft.makers import TwoStageRelaxMaker
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import fetch_potential
from dismaiflow.potentials.training.committee import committee_disagreements
from dismaiflow.potentials.training_flows import PotentialCommitteeMaker
from dismaiflow.potentials.training_jobs import CommitteeDoc, TrainPotentialMaker
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.frames import FramesDoc
from dismaiflow.store.structures import get_structures
from dismaiflow.systems import get_system

SYSTEM = "tiny-li2o-licl"
TOY = "dismaiflow.dft.rehearsal.toy:ToyCalculator"

#: Steps of both stages of a relaxation, and the interval at which they become frames.
REGION, STEPS, INTERVAL = 6, 40, 10

POOL, WATCH, POOL_STEPS = 40, 20, 30

NETWORK = {"units": 16, "blocks": 1, "cutoff": 5.0, "threebody_cutoff": 3.5}


class Bench:
    """One seed: a store, a teacher, a committee."""

    def __init__(self, words: argparse.Namespace, seed: int) -> None:
        self.words, self.seed = words, seed
        self.spec = get_system(SYSTEM)
        self.store = embedded_jobstore(words.out / f"{words.teacher[:6]}-{seed}.sqlite")
        self.store.connect()
        name = TOY if words.teacher == "toy" else words.teacher
        self.teacher = open_potential(name, self.spec.species)
        told = {"potential": name, "harvest_first": words.first, "harvest_interval": INTERVAL}
        self.relax = EngineRelaxMaker(fmax=0.1, steps=STEPS, **told)
        self.stages = TwoStageRelaxMaker(
            region_maker=EngineRelaxMaker.region(potential=name, steps=REGION),
            interface_maker=self.relax,
        )

    def run(self, flow: Any) -> Any:
        """Run a flow and return its output."""
        folder = self.words.out / "jobs"
        folder.mkdir(exist_ok=True)
        run_locally(
            flow, store=self.store, root_dir=folder, log=False, ensure_success=True,
            create_folders=True,
        )  # fmt: skip
        return flow.output.resolve(self.store)

    def committee_maker(self, epochs: int, lr: float) -> PotentialCommitteeMaker:
        """Return what trains a committee."""
        training = {
            "model": NETWORK, "epochs": epochs, "lr": lr, "batch_size": 2, "schedule": "cosine",
            "seed": 100 * self.seed,
        }  # fmt: skip
        train = TrainPotentialMaker(settings=training, device="cpu")
        return PotentialCommitteeMaker(n_members=self.words.members, train_maker=train)

    def start(self) -> tuple[FramesDoc, CommitteeDoc]:
        """Make the first frames, and the first committee."""
        maker = DFTTrainingSetMaker(relax_random_maker=RelaxRandomMaker(relax_maker=self.stages))
        flow = maker.make(self.spec, self.seed, self.words.relaxations, 0)
        frames = FramesDoc.model_validate(self.run(flow))
        first = self.committee_maker(self.words.epochs, self.words.lr)
        found = self.run(first.make(SYSTEM, frames.sets, elements=list(self.spec.species)))
        return frames, CommitteeDoc.model_validate(found)

    def round(self, picks: Any, frames: FramesDoc, committee: CommitteeDoc) -> ActiveLearningDoc:
        """Label once and train further."""
        further = self.committee_maker(self.words.more_epochs, self.words.more_lr)
        maker = ActiveLearningMaker(
            round_maker=ActiveRoundMaker(
                n_pool=POOL,
                n_picked=self.words.picked,
                n_watch=WATCH,
                max_labelled=self.words.picked,
                pool_steps=POOL_STEPS,
                picks=picks,
                committee_maker=further,
                relax_maker=self.relax,
            ),
            committee_maker=further,
        )
        flow = maker.make(self.spec, frames.sets, self.seed, committee)
        return ActiveLearningDoc.model_validate(self.run(flow))

    def longer(self, frames: FramesDoc, committee: CommitteeDoc, grown: int) -> CommitteeDoc:
        """Train further for as many steps, without new frames."""
        epochs = math.ceil(self.words.more_epochs * grown / frames.sets["train"].n_frames)
        maker = self.committee_maker(epochs, self.words.more_lr)
        flow = maker.make(
            SYSTEM, frames.sets, elements=list(self.spec.species), starts=committee.members
        )
        return CommitteeDoc.model_validate(self.run(flow))

    def measure(self, committee: CommitteeDoc, watched: list[Any]) -> dict[str, float]:
        """Return disagreement on, and errors for, held-out structures, and the test set."""
        members = [fetch_potential(self.store, one) for one in committee.members]
        found = committee_disagreements(members, watched)
        apart = spread(found)
        calculator = self.teacher.calculator()
        truth = [calculator.get_forces(atoms) for atoms in watched]
        votes = [member.evaluator().evaluate(watched) for member in members]
        errors = [
            np.abs(one.forces - forces).mean()
            for vote in votes
            for one, forces in zip(vote, truth, strict=True)
        ]
        return {
            "disagreement_force": float(apart.force or 0),
            "median_disagreement_force": float(np.median([one.force for one in found])),
            "disagreement_mean_force": float(apart.mean_force or 0),
            "disagreement_energy_meV": 1e3 * float(apart.energy or 0),
            "held_out_force_mae": float(np.mean(errors)),
            "members_unchanged": sum(one.best_epoch == 0 for one in committee.cards),
            "held_out_no_force_mae": float(np.mean([np.abs(one).mean() for one in truth])),
            "test_force_mae": float(np.mean([one.errors["test"].force for one in committee.cards])),
            "test_energy_mae_meV": 1e3
            * float(np.mean([one.errors["test"].energy for one in committee.cards])),
        }


def one_seed(words: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Measure all ways from one start."""
    began = time.perf_counter()
    bench = Bench(words, seed)
    frames, committee = bench.start()
    rounds = {name: bench.round(name, frames, committee) for name in ("disagreement", "random")}
    active = rounds["disagreement"]
    for name, document in rounds.items():
        if not document.complete:
            raise SystemExit(f"seed {seed}, {name}: {document.stopped_by}")
    longer = bench.longer(frames, committee, active.sets["train"].n_frames)
    assert active.watch is not None, "a round has judged"
    watched = list(get_structures(bench.store, active.watch))
    found = {
        "before": bench.measure(committee, watched),
        "active": bench.measure(active.committee, watched),
        "random": bench.measure(rounds["random"].committee, watched),
        "longer": bench.measure(longer, watched),
    }
    facts = {
        name: document.rounds[0].model_dump(
            mode="json", include={"picked", "by_status", "n_new", "picked_from", "picked_spread"}
        )
        for name, document in rounds.items()
    }
    bench.store.close()
    return {
        "seed": seed,
        "frames": frames.card.counts,
        "committees": found,
        "rounds": facts,
        "seconds": round(time.perf_counter() - began, 1),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the seeds, and the values of each."""
    kinds = runs[0]["committees"]
    names = kinds["before"]
    table = {
        kind: {name: [run["committees"][kind][name] for run in runs] for name in names}
        for kind in kinds
    }
    return {
        kind: {
            name: {
                "mean": round(float(np.mean(values)), 5),
                "by_seed": np.round(values, 5).tolist(),
            }
            for name, values in columns.items()
        }
        for kind, columns in table.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="toy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--relaxations", type=int, default=12)
    parser.add_argument("--first", type=int, default=5, help="ionic step of the first frame")
    parser.add_argument("--picked", type=int, default=6)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--more-epochs", type=int, default=10)
    parser.add_argument("--more-lr", type=float, default=0.005)
    parser.add_argument("--out", type=Path, default=Path("active_learning"))
    words = parser.parse_args()
    words.out = words.out.resolve()  # jobs run in folders of their own
    words.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DISMAI_SCRATCH_DIR", str(words.out / "scratch"))
    runs = []
    for seed in range(words.seeds):
        runs.append(one_seed(words, seed))
        print(f"seed {seed}: {json.dumps(runs[-1]['committees'])}", file=sys.stderr, flush=True)
    asked = {name: value for name, value in vars(words).items() if name != "out"}
    facts = {"system": SYSTEM, "network": NETWORK, "pool": POOL, "held_out": WATCH} | asked
    result = {"benchmark": "active learning", **facts, "summary": summary(runs), "runs": runs}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
