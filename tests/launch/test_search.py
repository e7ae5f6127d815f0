"""A search on a LaunchPad: two workers, one killed midway, and the dataset of a run here."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import Dismai
from dismaiflow.systems import SystemSpec, get_system
from potentials.wilful import NOTES, PAUSE, notes

from .test_commands import finish, rlaunch, status, submitted
from .test_relaxation import TESTS, check_documents, wait_for

if TYPE_CHECKING:
    from dismaiflow.launch.config import LaunchConfig


def same_dataset(here: Path, there: Path) -> None:
    """Check that two dataset folders agree to the last byte, but for the date of the card."""
    assert sorted(p.name for p in here.iterdir()) == sorted(p.name for p in there.iterdir())
    for path in here.glob("*.extxyz"):
        assert path.read_bytes() == (there / path.name).read_bytes(), path.name
    assert card(here) == card(there)


def card(folder: Path) -> dict[str, Any]:
    """Return the card without its date."""
    read = dict(json.loads((folder / "dataset.json").read_text()))
    read.pop("created")
    return read


def search(
    dismai: Dismai, config: LaunchConfig, folder: Path, words: tuple[object, ...], begun: int,
    **variables: object,
) -> None:  # fmt: skip
    """Make a dataset here and there, where one of two workers dies, and compare both."""
    few = {"DISMAI_N_CONTROL": 20, "DISMAI_N_CONTROL_RELAXED": 2}
    here = dismai(
        *words, "--out", folder / "here",
        DISMAI_SCRATCH_DIR=folder / "scratch_here", DISMAI_PROCESSES=1, **few,
    )  # fmt: skip
    assert here.code == 0, here.err
    run_id = submitted(dismai, *words, **few)
    log = folder / "notes"
    worker = {
        "DISMAI_SCRATCH_DIR": folder / "scratch_there",
        "DISMAI_PROCESSES": 1,
        "PYTHONPATH": TESTS,
        NOTES: log,
    }
    # They wait for what others are at, and look again after a second.
    workers = [
        rlaunch(dismai, folder / name, "--sleep", "1", **worker, **variables)
        for name in ("first", "second")
    ]
    wait_for(log, begun, 300)
    last = int(notes(log)[-1][0])
    (doomed,) = (one for one in workers if one.pid == last)
    (other,) = (one for one in workers if one.pid != last)
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.wait()
    time.sleep(1.5)
    retried = dismai("launchpad", "retry", run_id, "--lost-after", 1)
    assert retried.code == 0, retried.err
    finish(other, 600)
    # What the retry set free after that one had ended.
    finish(rlaunch(dismai, folder / "third", **worker), 600)
    assert status(dismai, run_id)["is"] == "done"
    done = dismai("results", "export", run_id, "--out", folder / "there")
    assert done.code == 0, done.err
    (there,) = (path.parent for path in (folder / "there").rglob("dataset.json"))
    (whole,) = (path.parent for path in (folder / "here").rglob("dataset.json"))
    same_dataset(whole, there)
    check_documents(config)


@pytest.mark.slow
def test_a_search_with_two_workers_one_of_which_dies(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path
) -> None:
    """Same seed, same dataset, byte for byte; what was finished is not relaxed again."""
    words = (
        "dataset", "tiny-li2o-licl", "--potential", "campaigns.soft:soft", "--n", 6,
        "--pilot", 8, "--per-job", 4, "--seed", 4,
    )  # fmt: skip
    search(dismai, config, tmp_path, words, 4, **{PAUSE: 0.3})
    seen = [structure for _, structure in notes(tmp_path / "notes")]
    # All but the structure that a worker was at when it died.
    assert len(seen) <= len(set(seen)) + 1
    # Two, or three where the one that comes last found something left to do.
    assert len({process for process, _ in notes(tmp_path / "notes")}) in (2, 3)


@pytest.mark.slow
def test_a_search_with_a_real_potential(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path
) -> None:
    """The same with CHGNet, to forces of 1 eV/Å."""
    pytest.importorskip("chgnet")
    spec = get_system("tiny-li2o-licl").model_dump(mode="json")
    spec["dataset"]["relaxation"] |= {"optimizer": "lbfgs", "fmax": 1.0}
    # So far from relaxed the energies differ by more.
    spec["dataset"]["energy_filter"]["window"] = 2.0
    path = tmp_path / "tiny-li2o-licl.yaml"
    path.write_text(SystemSpec.from_dict(spec).to_yaml())
    words = (
        "dataset", path, "--potential", "campaigns.soft:universal", "--n", 4,
        "--pilot", 6, "--per-job", 3, "--no-controls",
    )  # fmt: skip
    search(dismai, config, tmp_path, words, 3)
