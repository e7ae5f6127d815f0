"""Make random structures of an interface, before any relaxation.

    python workflows/03_random_interfaces.py [SYSTEM_OR_YAML] [OUT_FOLDER]

Without arguments: 100 structures of Li3ScCl6(100)|LiCoO2(110).
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.interfaces.flows import RandomInterfacesMaker
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(system: str, folder: Path) -> None:
    """Build the flow, run it, and write a dataset folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")
    spec = get_system(system)
    check_out_folder(folder / spec.name)  # before anything is made for it

    maker = RandomInterfacesMaker()
    # The training set of a potential also has exchanges between region and substrate:
    #   maker = RandomInterfacesMaker(exchanges=True)
    flow = maker.make(spec, seed=0, n_structures=100)

    run_locally(flow, store=store, ensure_success=True)

    document = DatasetDoc.model_validate(flow.output.resolve(store))
    dataset = export_dataset(store, document, folder / spec.name)
    print(f"{dataset.folder}: {dataset.card.counts}")


if __name__ == "__main__":
    words = [*sys.argv[1:], *("lsc-lco", "interfaces")[len(sys.argv) - 1 :]]
    main(words[0], Path(words[1]))
