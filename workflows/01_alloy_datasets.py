"""Make the four alloy datasets with their controls, here or on your own JobStore.

    python workflows/01_alloy_datasets.py OUT_FOLDER

The flow is an ordinary jobflow Flow: instead of running it here you can hand it to FireWorks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.systems import get_system

ALLOYS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")


def main(folder: Path) -> None:
    """Build the flow, run it, and write one dataset folder per system."""
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")

    maker = AlloyBenchmarkMaker()
    # Makers hold their parts as fields, e.g. twice the passes of the paper:
    #   maker.dataset_maker.n_passes = 100_000
    flow = maker.make([get_system(name) for name in ALLOYS], seed=0)

    run_locally(flow, store=store, ensure_success=True)

    for name, reference in flow.output["datasets"].items():
        document = DatasetDoc.model_validate(reference.resolve(store))
        dataset = export_dataset(store, document, folder / name)
        effective = dataset.card.statistics["sampling"]["n_effective"]
        print(f"{dataset.folder}: {dataset.card.counts}, {effective:.0f} independent snapshots")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "alloys"))
