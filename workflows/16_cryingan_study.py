"""The studies of section 2.4 of the paper with CryinGAN: loss weight, architecture, duration.

    python workflows/16_cryingan_study.py WHAT DATASET_FOLDER [--out FOLDER] [--seeds N] [--n N]
                                          [--size paper|small] [--epochs N] [--potential P]
                                          [--max-seconds S] [--submit]

WHAT is one of

- `weights`: the weight of the bond-distance discriminator 0, 0.01, 0.05 and 0.1 (Figs. 7, S12, S15,
  S25);
- `variants`: the combined discriminator, and max and mix pooling (Figs. S30, S32);
- `progress`: one training after a tenth, a fifth, a half and all of its epochs (Fig. S26);
- `equal-time`: without and with the second discriminator after the same time (Fig. S16), set by
  `--equal-time`.

At the paper's size one training takes hours on a GPU; `--size small --epochs 50` shows the whole
flow on a processor in minutes. Figures and rows are in FOLDER/WHAT.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.benchmark.question import card_controls
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.campaigns.study import StudyMaker
from dismaiflow.campaigns.study_schemas import StudyDoc
from dismaiflow.campaigns.study_variants import (
    equal_time_variants,
    named_variant,
    plain_variant,
    progress_variants,
    scan_variants,
)
from dismaiflow.errors import DismaiError
from dismaiflow.launch.places import work_place
from dismaiflow.models.choosing import choose_model
from dismaiflow.models.jobs import TrainModelMaker
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.report.study_folder import export_study
from dismaiflow.store.datasets import store_dataset
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from dismaiflow.campaigns.study_schemas import Variant
    from dismaiflow.models.registry import ModelChoice

#: Section 2.4: weights of the loss of the bond-distance discriminator.
WEIGHTS = [0.0, 0.01, 0.05, 0.1]

#: Supplementary Notes 2 and 3: architectures beside the one of the benchmark.
ARCHITECTURES = {
    "CryinGAN-comb": {"variant": "comb"},
    "CryinGAN-max": {"bond_pooling": "max"},
    "CryinGAN-mix": {"bond_pooling": "mix"},
}

#: Parts of the epochs at which a training is looked at.
PARTS = (0.1, 0.2, 0.5, 1.0)


def variants(asked: argparse.Namespace, choice: ModelChoice) -> list[Variant]:
    """Return what is compared."""
    if asked.what == "weights":
        return scan_variants(choice, "bond_loss_weight", WEIGHTS)
    if asked.what == "variants":
        changed = [named_variant(choice, label, new) for label, new in ARCHITECTURES.items()]
        return [plain_variant(choice), *changed]
    if asked.what == "progress":
        epochs = choice.settings["epochs"]
        return progress_variants(choice, [max(1, round(part * epochs)) for part in PARTS])
    both = scan_variants(choice, "bond_loss_weight", [0.0, choice.settings["bond_loss_weight"]])
    return equal_time_variants(both, asked.equal_time)


def main(asked: argparse.Namespace) -> None:
    """Build the flow, run or submit it, and write its rows."""
    dataset = open_dataset(asked.dataset)
    spec = get_system(dataset.card.system)
    given = [f"epochs={asked.epochs}", "max_steps=null"] if asked.epochs else []
    compared = variants(asked, choose_model("cryingan", spec, asked.size, given))
    maker = StudyMaker(
        n=asked.n,
        n_seeds=asked.seeds,
        train_maker=TrainModelMaker(max_seconds=asked.max_seconds),
    )
    folder = asked.out / asked.what
    check_out_folder(folder)
    with work_place(asked.out, asked.submit) as place:
        potential = None
        if asked.potential:
            opened = open_potential(asked.potential, spec.species)
            potential = put_potential(place.store, asked.potential, opened)
        flow = maker.make(
            spec,
            store_dataset(place.store, dataset),
            compared,
            seed=asked.seed,
            controls=card_controls(dataset.card),
            potential=potential,
        )
        if not place.run(flow, ["cryingan", asked.what]):
            return
        study = StudyDoc.model_validate(place.result(flow.output["study"]))
        scores = {
            label: ScoreDoc.model_validate(place.result(one))
            for label, one in flow.output["scores"].items()
        }
        export_study(place.store, study, scores, folder, datasets=[dataset.card])
    for row in study.rows:
        distances = {k: m.value for k, m in row.metrics.items() if k.startswith("d_")}
        print(f"{row.label}: {distances}, close pairs {row.close_pairs}, {row.seconds:.0f} s")
    print(f"{folder}: study.json, scores, report.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("weights", "variants", "progress", "equal-time"))
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cryingan-study"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--size", choices=("paper", "small"), default="paper")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--equal-time", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--potential", metavar="P")
    parser.add_argument("--max-seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
