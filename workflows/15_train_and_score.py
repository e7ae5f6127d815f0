"""Train models with three seeds on a dataset, sample each instance, and score them: a row each.

    python workflows/15_train_and_score.py MODEL DATASET_FOLDER [--out FOLDER] [--seeds N] [--n N]
                                           [--size paper|small] [--set KEY=VALUE ...]
                                           [--potential P] [--max-seconds S] [--submit]

MODEL is a registered name (`dismai models list`), `module:Class`, `FILE.py:Class` or a YAML file
with two command lines; several with commas between; or `all`, the five models of the paper. With
`--submit` trainings and samplings run on workers of category gpu, if the model asks for one, and
the rest on cpu; a training that `--max-seconds` ends puts itself into the queue again. Interfaces
and amorphous systems need a potential that relaxes what is generated.

    dismai dataset alloy-1500K-wide --n 100 --out data
    python workflows/15_train_and_score.py random-occupancy data/alloy-1500K-wide --n 100

takes half a minute. Does what `dismai study` does, as a script to start your own from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dismaiflow.benchmark.question import card_controls
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.campaigns.study import StudyMaker
from dismaiflow.campaigns.study_schemas import StudyDoc
from dismaiflow.campaigns.study_variants import model_variants
from dismaiflow.errors import DismaiError
from dismaiflow.launch.places import work_place
from dismaiflow.models.jobs import TrainModelMaker
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.report.study_folder import export_study
from dismaiflow.store.datasets import store_dataset
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(asked: argparse.Namespace) -> None:
    """Build the flow, run or submit it, and write the row."""
    dataset = open_dataset(asked.dataset)
    spec = get_system(dataset.card.system)
    settings, is_alloy = asked.settings or [], spec.kind == "alloy"
    models = model_variants(asked.model, spec, asked.size, settings, own_alignments=is_alloy)
    maker = StudyMaker(
        n=asked.n,
        n_seeds=asked.seeds,
        train_maker=TrainModelMaker(max_seconds=asked.max_seconds),
    )
    check_out_folder(asked.out / "study")
    with work_place(asked.out, asked.submit) as place:
        potential = None
        if asked.potential:
            opened = open_potential(asked.potential, spec.species)
            potential = put_potential(place.store, asked.potential, opened)
        flow = maker.make(
            spec,
            store_dataset(place.store, dataset),
            models,
            seed=asked.seed,
            controls=card_controls(dataset.card),
            potential=potential,
        )
        if not place.run(flow, ["train-and-score"]):
            return
        study = StudyDoc.model_validate(place.result(flow.output["study"]))
        scores = {
            label: ScoreDoc.model_validate(place.result(one))
            for label, one in flow.output["scores"].items()
        }
        export_study(place.store, study, scores, asked.out / "study", datasets=[dataset.card])
    for row in study.rows:
        print(row.label)
        for name, metric in row.metrics.items():
            print(f"{name}: {metric.value} ({metric.min}, {metric.max})")
        print(row.learning["text"])
    print(f"{asked.out / 'study'}: study.json, score.json, report.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, default=Path("train-and-score"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--size", choices=("paper", "small"), default="paper")
    parser.add_argument("--set", dest="settings", action="append", metavar="KEY=VALUE")
    parser.add_argument("--potential", metavar="P")
    parser.add_argument("--max-seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
