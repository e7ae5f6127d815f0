"""Submit the four alloy datasets with their controls to a LaunchPad.

    python workflows/00_submit_to_launchpad.py [TAG ...]

The same flow as in 01_alloy_datasets.py. `dismai launchpad init` says once where the LaunchPad is;
then `rlaunch rapidfire`, here or elsewhere, works on it.
"""

from __future__ import annotations

import sys

from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.launch.check import ready_to_submit
from dismaiflow.launch.config import load_config
from dismaiflow.launch.submit import submit
from dismaiflow.systems import get_system

ALLOYS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")


def main(tags: list[str]) -> None:
    """Build the flow, submit it, and say how to follow it."""
    config = load_config()
    ready_to_submit(config)  # says in one line what would go wrong

    maker = AlloyBenchmarkMaker()
    # Makers hold their parts as fields, e.g. twice the passes of the paper:
    #   maker.dataset_maker.n_passes = 100_000
    flow = maker.make([get_system(name) for name in ALLOYS], seed=0)

    submitted = submit(flow, config.launchpad(), tags, config.jobstore())
    print(f"run {submitted.run_id}: {submitted.n_fireworks} jobs for {submitted.categories}")
    print(f"follow it: dismai launchpad status {submitted.run_id}")
    print(f"export it: dismai results export {submitted.run_id} --out alloys")


if __name__ == "__main__":
    main(sys.argv[1:])
