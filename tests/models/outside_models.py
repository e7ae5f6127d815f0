"""Models that users would write: files that are copied out of the package and named from there."""

#: A model in thirty lines: how often each species sits near each training site, and a shuffle.
SITES = '''"""Occupies the training sites by how often each species was found there."""

import numpy as np

from dismaiflow.models.base import ModelCard
from dismaiflow.structures.structure_set import StructureSet


class Sites:
    def __init__(self, noise=0.02):
        self.noise = noise

    def fit(self, data, folder, *, seed, budget):
        train = data.train
        n, size = len(train), train.n_atoms[0]
        places = train.positions.reshape(n, size, 3)
        numbers = train.numbers.reshape(n, size)
        np.savez(folder / "sites.npz", places=places[0], numbers=numbers, cell=train.cells[0])

    def sample(self, folder, n, *, seed):
        known = np.load(folder / "sites.npz")
        rng = np.random.default_rng(seed)
        drawn = known["numbers"][rng.integers(len(known["numbers"]), size=n)]
        numbers = rng.permuted(drawn, axis=1)
        shifts = rng.normal(scale=self.noise, size=(n, *known["places"].shape))
        return StructureSet.uniform(numbers, known["places"] + shifts, known["cell"])

    def card(self):
        return ModelCard("sites", "training sites, at random", settings={"noise": self.noise})
'''

#: One that needs several launches: it counts to four, a step per launch.
COUNTER = '''"""Trains for four launches, and can be told to fail."""

import json

from dismaiflow.models.base import FitResult, ModelCard


class Counter:
    def __init__(self, launches=4, broken_seed=-1):
        self.launches, self.broken_seed = launches, broken_seed

    def fit(self, data, folder, *, seed, budget):
        path = folder / "sub" / "count.json"
        path.parent.mkdir(exist_ok=True)
        done = json.loads(path.read_text())["step"] if path.exists() else 0
        if done == 1 and (folder / "broken").exists():
            raise RuntimeError("this seed is broken")
        done += 1
        path.write_text(json.dumps({"step": done}))
        (folder / "train.bin").write_bytes(data.train.to_bytes())
        return FitResult(finished=done >= self.launches, step=done, epoch=done)

    def sample(self, folder, n, *, seed):
        import numpy as np
        from dismaiflow.structures.structure_set import StructureSet

        if json.loads((folder / "sub" / "count.json").read_text())["step"] != self.launches:
            raise RuntimeError("not trained to its end")
        train = StructureSet.from_bytes((folder / "train.bin").read_bytes())
        if seed % 2 == self.broken_seed:
            raise RuntimeError("this seed cannot be sampled")
        return train.select(np.random.default_rng(seed).integers(len(train), size=n))

    def card(self):
        return ModelCard("counter", "counts its launches")
'''

#: A model in a shell script and awk, trained in two launches, in an environment without Python.
SHELL = """#!/bin/sh
# usage: model.sh train|generate ...: draws lines of the training file again
set -eu
case "$1" in
train)
  if [ ! -f "$3/begun" ]; then touch "$3/begun"; exit 75; fi
  cp "$2" "$3/kept.extxyz" ;;
generate)
  lines=$(($(head -n 1 "$2/kept.extxyz") + 2))
  frames=$(($(wc -l < "$2/kept.extxyz") / lines))
  : > "$4"
  i=0
  while [ "$i" -lt "$3" ]; do
    start=$(( (i % frames) * lines + 1 ))
    tail -n "+$start" "$2/kept.extxyz" | head -n "$lines" >> "$4"
    i=$((i + 1))
  done ;;
esac
"""

SHELL_YAML = """\
name: shell-model
description: training structures in their order, from a shell script
train: [./model.sh, train, "{train}", "{folder}"]
generate: [./model.sh, generate, "{folder}", "{n}", "{out}"]
"""

#: One that is interrupted while it trains the seed of the number that a file beside it holds.
INTERRUPTED = '''"""Is interrupted while it trains the seed of the number that a file holds."""

from pathlib import Path

from dismaiflow.models.base import ModelCard
from dismaiflow.structures.structure_set import StructureSet


class Interrupted:
    def fit(self, data, folder, *, seed, budget):
        begun, interrupt = (Path(__file__).with_name(word) for word in ("begun", "interrupt"))
        known = begun.read_text().split() if begun.exists() else []
        begun.write_text(" ".join([*known, str(seed)]))
        number = len(set(known) - {str(seed)})
        if interrupt.exists() and interrupt.read_text() == str(number):
            raise KeyboardInterrupt
        (folder / "train.bin").write_bytes(data.train.to_bytes())

    def sample(self, folder, n, *, seed):
        return StructureSet.from_bytes((folder / "train.bin").read_bytes()).select(range(n))

    def card(self):
        return ModelCard("interrupted", "is interrupted")
'''

#: One that can misbehave in each way that a user's may.
WRONG = '''"""Misbehaves as it is told."""

import numpy as np

from dismaiflow.models.base import ModelCard
from dismaiflow.structures.structure_set import StructureSet


class Wrong:
    def __init__(self, how="empty"):
        self.how = how

    def fit(self, data, folder, *, seed, budget):
        if self.how == "fit":
            raise RuntimeError("no memory")
        (folder / "train.bin").write_bytes(data.train.to_bytes())

    def sample(self, folder, n, *, seed):
        train = StructureSet.from_bytes((folder / "train.bin").read_bytes())
        if self.how == "raises":
            raise ValueError("bad luck")
        if self.how == "list":
            return [1, 2]
        if self.how == "nan":
            train.positions[:] = np.nan
        return train.select([0] * (0 if self.how == "empty" else n))

    def card(self):
        return ModelCard("wrong", "misbehaves")
'''
