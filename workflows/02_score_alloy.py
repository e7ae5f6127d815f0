"""Score generated alloys against a dataset folder.

    python workflows/02_score_alloy.py DATASET_FOLDER GENERATED.extxyz

Does what `dismai score` does, as a script to start your own from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.benchmark.flows import ScoreAlloyMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.generated import store_generated
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import open_dataset
from dismaiflow.structures.read import read_structures
from dismaiflow.systems import get_system


def main(folder: Path, generated: Path) -> None:
    """Put both sides into a store, score them, and print the metrics."""
    store = embedded_jobstore(Path("score.sqlite"))
    store.connect()

    dataset = open_dataset(folder)
    reference = put_structures(store, dataset.read("train"))

    # Structure sets travel by reference; what cannot be read is counted as failed.
    found = read_structures(generated)
    one_model = store_generated(
        store, generated.name, found.structures, 50, found.indices, found.bad
    )

    flow = ScoreAlloyMaker().make(
        get_system(dataset.card.system),
        ScoringProtocol(name="published", alignment="fixed"),
        reference,
        [one_model],
        reference_name=str(folder),
        model=generated.stem,
    )
    run_locally(flow, store=store, ensure_success=True)

    score = ScoreDoc.model_validate(flow.output.resolve(store))
    for name, metric in score.metrics.items():
        print(f"{name}: {metric.value}  95 % interval {metric.ci95}")
    print(f"scored {score.n_scored} of {score.n_generated}; failures: {score.failures}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
