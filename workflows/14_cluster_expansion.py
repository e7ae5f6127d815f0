"""Fit a cluster expansion to relaxed cells, and sample an alloy dataset with it.

    python workflows/14_cluster_expansion.py [SYSTEM] [--out FOLDER] [--cells N] [--structures N]
                                             [--engine POTENTIAL | --rehearse POTENTIAL] [--submit]

VASP relaxes the cells, with their moments; `dismai dft check` tells whether a worker has it. With
`--engine chgnet` a potential does it, at the lattice parameter of the system and without moments;
with `--rehearse toy` or `--rehearse chgnet` a stand-in makes up what VASP would write:

    python workflows/14_cluster_expansion.py alloy-1500K-wide --cells 60 --engine chgnet

takes some minutes. `--structures N` goes on to the Monte Carlo, with the paper's sampling. With
`--submit` VASP runs on workers of category vasp, everything else on cpu.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dismaiflow.alloy.fit_figures import draw_fit
from dismaiflow.alloy.fit_schemas import FittedExpansionDoc
from dismaiflow.campaigns.expansion import ClusterExpansionMaker, SampleExpansionMaker
from dismaiflow.dft.engines import EngineRelaxMaker
from dismaiflow.dft.makers import AlloyCellRelaxMaker, Rehearsal
from dismaiflow.errors import DismaiError
from dismaiflow.launch.places import work_place
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.structures.files import check_out_folder, write_text
from dismaiflow.systems import get_system


def main(asked: argparse.Namespace) -> None:
    """Build the flow, run or submit it, and write terms, figure and dataset."""
    spec = get_system(asked.system)
    maker = ClusterExpansionMaker()
    # Makers hold their parts as fields, e.g. the rule of one standard error:
    #   maker.fit_maker.rule = "one-standard-error"
    if asked.engine:
        maker.relax_cells_maker.relax_maker = EngineRelaxMaker(potential=asked.engine)
        maker.cells_maker.patterns = ("ferromagnetic",)  # moments make no difference to it
        maker.collect_maker.spin = "none"
    else:
        stand_in = Rehearsal(asked.rehearse) if asked.rehearse else None
        maker.relax_cells_maker.relax_maker = AlloyCellRelaxMaker.from_spec(
            spec, rehearsal=stand_in
        )
    if asked.structures:
        maker.sample_maker = SampleExpansionMaker()
    flow = maker.make(spec, asked.cells, seed=0, n_structures=asked.structures)
    check_out_folder(asked.out / "dataset")
    with work_place(asked.out, asked.submit) as place:
        if not place.run(flow, ["cluster-expansion"]):
            return
        found = FittedExpansionDoc.model_validate(place.result(flow.output["fit"]))
        if asked.structures:
            document = DatasetDoc.model_validate(place.result(flow.output["dataset"]))
            dataset = export_dataset(place.store, document, asked.out / "dataset")
            print(f"{dataset.folder}: {dataset.card.counts}")
    # A system takes the file by `cluster_expansion: expansion.json` in its YAML.
    write_text(asked.out / "expansion.json", json.dumps(found.expansion, indent=1) + "\n")
    draw_fit(found, asked.out / "expansion.png")
    fit = found.expansion["fit"]
    print(f"{asked.out / 'expansion.json'}: {len(found.names)} cells; not used: {found.failures}")
    print(f"RMSE held out {1000 * fit['cross_validation']['rmse']:.2f} meV/atom")
    for line in [fit["notes"][-1], *found.warnings]:
        print(f"- {line}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", nargs="?", default="alloy-300K-wide")
    parser.add_argument("--out", type=Path, default=Path("cluster-expansion"))
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--structures", type=int)
    relaxer = parser.add_mutually_exclusive_group()
    relaxer.add_argument("--engine", metavar="POTENTIAL")
    relaxer.add_argument("--rehearse", metavar="POTENTIAL")
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
