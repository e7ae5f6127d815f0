"""Search relaxed interfaces of low energy, with scores of controls, and write folder and report.

    python workflows/07_interface_dataset.py [SYSTEM_OR_YAML] [POTENTIAL] [N] [OUT_FOLDER]

Without arguments: 10 structures of a small Li2O|LiCl with CHGNet (extra `potentials`), a quarter of
an hour on one core. A search that was stopped goes on where it was if it is started again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobflow import run_locally

from dismaiflow.benchmark.schemas import ControlsDoc
from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
from dismaiflow.campaigns.relaxed import RelaxedBenchmarkMaker
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.report.html import write_report
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(system: str, potential: str, n: int, folder: Path) -> None:
    """Build the flow, run it, write a dataset folder with a report and print what the card says."""
    spec = get_system(system)
    if spec.kind != "interface":
        raise DismaiError(f"{spec.name} is no interface but of kind {spec.kind}")
    check_out_folder(folder / spec.name)  # before anything is made for it
    opened = open_potential(potential, spec.species)
    folder.mkdir(parents=True, exist_ok=True)
    store = embedded_jobstore(folder / "store.sqlite")
    store.connect()

    maker = RelaxedBenchmarkMaker(
        # Makers hold their parts as fields. A search that learns, with a budget:
        #   InterfaceDatasetMaker(method="mutation", max_force_calls=50_000)
        interface_maker=InterfaceDatasetMaker(),
    )
    maker.interface_maker.search_maker.structures_per_job = 5
    flow = maker.make(spec, put_potential(store, potential, opened), seed=0, n_structures=n)
    run_locally(flow, store=store, ensure_success=True)

    document = DatasetDoc.model_validate(flow.output["dataset"].resolve(store))
    for key, output in flow.output["controls"].items():
        controls = ControlsDoc.model_validate(output.resolve(store))
        document.card.controls[key] = controls.model_dump(mode="json")
    dataset = export_dataset(store, document, folder / spec.name)
    search = dataset.card.statistics["search"]
    print(f"{dataset.folder}: {dataset.card.counts}")
    print(f"tried {search['n_tried']}, force calls {search['n_force_calls']}: {search['ended']}")
    for warning in dataset.card.warnings:
        print(f"- {warning}")
    print(f"look at it: {write_report(folder / 'report.html', datasets=[dataset.card])}")


if __name__ == "__main__":
    words = [*sys.argv[1:], *("tiny-li2o-licl", "chgnet", "10", "searched")[len(sys.argv) - 1 :]]
    if len(words) != 4 or not words[2].isdigit():
        raise SystemExit(__doc__)
    try:
        main(words[0], words[1], int(words[2]), Path(words[3]))
    except DismaiError as error:
        raise SystemExit(str(error)) from None
