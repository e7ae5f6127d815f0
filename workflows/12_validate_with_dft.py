"""See how near to DFT a potential brings interfaces, as Table 5 of the paper does.

    python workflows/12_validate_with_dft.py SYSTEM POTENTIAL [--out FOLDER] [--n N] [--high N]
                                             [--tries N] [--rehearse POTENTIAL] [--submit]

POTENTIAL is `matgl:DIR` with what workflow 11 has left, or any other name. Random interfaces are
relaxed with it, then by the second stage of DFT, until there are N of low and of high energy; the
paper has 1,500 each. Both sets are those of its section 4.4, as a dataset folder. With `--rehearse
toy` or `--rehearse chgnet` a stand-in for VASP makes the numbers up, all the rest being real:

    python workflows/12_validate_with_dft.py tiny-li2o-licl chgnet --n 2 --high 1 --rehearse chgnet

With `--submit` VASP runs on workers of category vasp, the rest on cpu.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dismaiflow.campaigns.dft_stage import DFTStageMaker, second_stage
from dismaiflow.campaigns.interface_search import SearchMaker
from dismaiflow.campaigns.interfaces import InterfaceDFTDatasetMaker
from dismaiflow.dft.makers import Rehearsal
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.launch.places import work_place
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import put_potential
from dismaiflow.report.dft_section import PAPER
from dismaiflow.report.html import write_report
from dismaiflow.store.datasets import DatasetDoc, export_dataset
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(asked: argparse.Namespace) -> None:
    """Build the flow, run or submit it, and write dataset folder and report."""
    spec = InterfaceSystem.from_spec(get_system(asked.system)).spec
    # Any Maker of the same protocol does: EngineRelaxMaker for GPAW, CP2K, CHGNet, ...
    relax: Any = second_stage(spec)
    if asked.rehearse:
        relax.rehearsal = Rehearsal(asked.rehearse)
    maker = InterfaceDFTDatasetMaker(
        n_high=asked.n_high,
        max_structures=asked.tries,
        search_maker=SearchMaker(
            name="judge DFT search", dft_maker=DFTStageMaker(relax_maker=relax)
        ),
    )
    opened = open_potential(asked.potential, spec.species)
    check_out_folder(asked.out / spec.name)
    with work_place(asked.out, asked.submit) as place:
        potential = put_potential(place.store, asked.potential, opened)
        flow = maker.make(spec, potential, seed=asked.seed, n_structures=asked.n)
        if not place.run(flow, ["validation"]):
            return
        document = DatasetDoc.model_validate(place.result(flow.output))
        dataset = export_dataset(place.store, document, asked.out / spec.name)
    print(f"{dataset.folder}: {dataset.card.counts}")
    tell(dataset.card.statistics["dft_check"])
    for warning in dataset.card.warnings:
        print(f"- {warning}")
    print(f"look at it: {write_report(asked.out / 'report.html', datasets=[dataset.card])}")


def tell(check: dict[str, Any]) -> None:
    """Print the figures beside the paper's, which are those of lsc-lco."""
    print(f"{'':8}{'n':>6}{'DFT steps':>16}{'M-opt meV/atom':>18}{'D-opt meV/atom':>18}")
    for group, paper in PAPER.items():
        found = check[group]
        spreads = [found[name] or {"mean": float("nan"), "std": float("nan")} for name in paper]
        texts = [f"{one['mean']:.2f} ± {one['std']:.2f}" for one in spreads]
        print(f"{group:8}{found['n']:>6}{texts[0]:>16}{texts[1]:>18}{texts[2]:>18}")
        texts = [f"{mean} ± {std}" for mean, std in paper.values()]
        print(f"{'  paper':8}{'':6}{texts[0]:>16}{texts[1]:>18}{texts[2]:>18}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system")
    parser.add_argument("potential")
    parser.add_argument("--out", type=Path, default=Path("validation"))
    parser.add_argument("--n", type=int, default=None)
    parser.add_argument("--high", dest="n_high", type=int)
    parser.add_argument("--tries", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rehearse", metavar="POTENTIAL")
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
