"""Relax and score generated interfaces against a dataset folder.

    python workflows/05_score_interface.py DATASET_FOLDER GENERATED.extxyz [POTENTIAL]

POTENTIAL is chgnet by default; matgl:DIR, command:FILE and others are described in the guide to
potentials. Does what `dismai score --potential` does, as a script to start your own from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.structures.read import read_structures
from dismaiflow.systems import get_system


def main(folder: Path, generated: Path, potential: str) -> None:
    """Put both sides and the potential into a store, relax, score, and print the metrics."""
    dataset = open_dataset(folder)
    spec = get_system(dataset.card.system)
    opened = open_potential(potential, spec.species)  # before anything else is done

    store = embedded_jobstore(Path("score.sqlite"))
    store.connect()
    reference = put_structures(store, dataset.read("train"))
    found = read_structures(generated)
    one_model = store_generated(
        store, generated.name, found.structures, 50, found.indices, found.bad
    )

    # The files of a potential travel through the store too, for workers on other machines.
    plan = RelaxationPlan(potential=put_potential(store, potential, opened))
    flow = BenchmarkMaker().make(
        spec,
        ScoringProtocol.for_kind(spec.kind, "published"),
        reference,
        [one_model],
        reference_name=str(folder),
        model=generated.stem,
        controls=False,
        relaxation=plan,
    )
    run_locally(flow, store=store, ensure_success=True)

    score = ScoreDoc.model_validate(flow.output.resolve(store))
    for name, metric in score.metrics.items():
        print(f"{name}: {metric.value}  95 % interval {metric.ci95}")
    print(f"scored {score.n_scored} of {score.n_generated}; failures: {score.failures}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), [*sys.argv[3:], "chgnet"][0])
