"""A model in another program, for the command adapter: a walk of twenty steps that may be killed.

python walker.py train FOLDER SEED [SECONDS] | generate FOLDER N SEED OUT
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

STEPS, KILLED_IN = 20, 10

#: Steps of one launch whose time is limited, and the exit status that asks for another.
LIMITED, AGAIN = 7, 75

#: Where the walk stands, in its folder.
PLACE = "place.json"


def train(folder: Path, seed: int, is_limited: bool) -> int:
    """Go on to the end, to that of a launch, or into the eleventh step, to be killed there."""
    done = 0
    path = folder / PLACE
    place = json.loads(path.read_text()) if path.exists() else {"step": 0, "at": 0.0}
    while place["step"] < STEPS:
        if is_limited and done == LIMITED:
            return AGAIN
        done += 1
        if place["step"] == KILLED_IN and os.environ.get("WALKER") == "kill":
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        place["at"] += random.Random(f"{seed} {place['step']}").gauss(0, 1)
        place["step"] += 1
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(place))
        partial.rename(path)
    return 0


def generate(folder: Path, n: int, seed: int, out: Path) -> None:
    """Put eight atoms around where the walk ended."""
    at, draw = json.loads((folder / PLACE).read_text())["at"], random.Random(seed)
    lines = []
    for _ in range(n):
        lines += ["8", 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"']
        for symbol in ["Fe"] * 4 + ["Ni"] * 4:
            place = " ".join(f"{(at + draw.uniform(0, 4)) % 4:.6f}" for _ in range(3))
            lines.append(f"{symbol} {place}")
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        sys.exit(train(Path(sys.argv[2]), int(sys.argv[3]), bool(sys.argv[4])))
    else:
        generate(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
