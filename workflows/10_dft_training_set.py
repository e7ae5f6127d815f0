"""Make the training set of a potential: random interfaces that VASP relaxes, and their frames.

    python workflows/10_dft_training_set.py [SYSTEM] [--out FOLDER] [--without N] [--with N]
                                            [--rehearse POTENTIAL] [--submit]

The paper's numbers, 350 structures without and 600 with exchanged ions, are the defaults of
lsc-lco; VASP is needed for them, and `dismai dft check` tells whether a worker has it. With
`--rehearse toy` or `--rehearse chgnet` a stand-in makes the numbers up, all the rest being real:

    python workflows/10_dft_training_set.py tiny-li2o-licl --without 3 --with 3 --rehearse toy

takes a minute. With `--submit` VASP runs on workers of category vasp, everything else on cpu.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, RelaxRandomMaker
from dismaiflow.dft.makers import Rehearsal, TwoStageRelaxMaker
from dismaiflow.errors import DismaiError
from dismaiflow.launch.places import work_place
from dismaiflow.store.frames import FramesDoc, export_frames
from dismaiflow.structures.files import check_out_folder
from dismaiflow.systems import get_system


def main(asked: argparse.Namespace) -> None:
    """Build the flow, run or submit it, and write the folder of frames."""
    spec = get_system(asked.system)
    stand_in = Rehearsal(asked.rehearse) if asked.rehearse else None
    maker = DFTTrainingSetMaker(
        # Any Maker of the same protocol does: EngineRelaxMaker for GPAW, CP2K, CHGNet, ...
        relax_random_maker=RelaxRandomMaker(
            relax_maker=TwoStageRelaxMaker.from_spec(spec, rehearsal=stand_in)
        ),
    )
    # The paper's split is by frame; by parent the test set holds structures never seen:
    #   maker.assemble_maker.split = "frame"
    # atomate2's powerups reach VASP: update_user_incar_settings(flow, {"NCORE": 4})
    flow = maker.make(spec, seed=0, n_without=asked.n_without, n_with=asked.n_with)
    check_out_folder(asked.out / "frames")
    with work_place(asked.out, asked.submit) as place:
        if not place.run(flow, ["training-set"]):
            return
        document = FramesDoc.model_validate(place.result(flow.output))
        folder = export_frames(place.store, document, asked.out / "frames")
    print(f"{folder.folder}: {folder.card.counts} frames of {folder.card.parents} relaxations")
    print(f"how they ended: {folder.card.runs}; from {folder.card.labels[0].title}")
    for warning in folder.card.warnings:
        print(f"- {warning}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", nargs="?", default="lsc-lco")
    parser.add_argument("--out", type=Path, default=Path("training-set"))
    parser.add_argument("--without", dest="n_without", type=int)
    parser.add_argument("--with", dest="n_with", type=int)
    parser.add_argument("--rehearse", metavar="POTENTIAL")
    parser.add_argument("--submit", action="store_true")
    try:
        main(parser.parse_args())
    except DismaiError as error:
        raise SystemExit(str(error)) from None
