"""Sets are relaxed by any number of processes, whatever dies, and never twice."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Potential
from dismaiflow.potentials.journal import Journal, journal_key
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import RelaxationResult, RelaxationSettings, relax
from potentials.toys import Argon, ToyPotential, notes, shaken

HOW = RelaxationSettings(fmax=0.005, tolerance=0.0)


def same(one: RelaxationResult, other: RelaxationResult) -> bool:
    """Whether two results are equal but for the time."""
    first, second = dataclasses.asdict(one), dataclasses.asdict(other)
    times = first.pop("seconds"), second.pop("seconds")
    assert min(times) >= 0
    return np.array_equal(first.pop("positions"), second.pop("positions")) and first == second


def test_results_do_not_depend_on_the_processes(tmp_path: Path) -> None:
    """They are those of each structure alone, in their order; calculators are opened and closed."""
    structures = shaken(5)
    alone = [relax(atoms, Argon(), HOW) for atoms in structures]
    for n_processes in (1, 2):
        folder = tmp_path / str(n_processes)
        folder.mkdir()
        potential = ToyPotential(folder)
        assert isinstance(potential, Potential)
        told: dict[int, RelaxationResult] = {}
        results = relax_set(
            structures, potential, HOW, n_processes=n_processes, on_result=told.__setitem__
        )
        assert len(results) == 5
        assert all(same(*pair) for pair in zip(results, alone, strict=True))
        assert all(told[i] is results[i] for i in range(5))
        counts = Counter(notes(folder))
        assert 1 <= counts["opened"] == counts["closed"] <= n_processes
        assert [counts[str(i)] for i in range(5)] == [1] * 5


def test_what_kills_a_process_costs_one_structure(tmp_path: Path) -> None:
    """The reason is kept; the others are relaxed."""
    structures = shaken(6, i1="Kr", i3="Xe", i4="Rn")
    results = relax_set(structures, ToyPotential(tmp_path), HOW)
    statuses = [result.status for result in results]
    assert statuses == ["converged", "errored", "converged", "errored", "errored", "converged"]
    assert "exit code 3" in results[1].detail
    assert results[3].detail == "RuntimeError: isolated atom"
    assert "NaN" in results[4].detail
    np.testing.assert_array_equal(results[1].positions, structures.atoms(1).positions)


def test_an_errored_calculator_is_made_anew(tmp_path: Path) -> None:
    """One that raised may be in any state."""
    relax_set(shaken(4, i1="Xe"), ToyPotential(tmp_path), HOW, n_processes=1)
    expected = ["opened", "0", "1", "closed", "opened", "2", "3", "closed"]
    assert notes(tmp_path) == expected


def test_a_potential_that_cannot_be_opened_is_no_errored_structure(tmp_path: Path) -> None:
    """The user has to mend it."""
    missing = ToyPotential(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        relax_set(shaken(2), missing, HOW, n_processes=1)
    with pytest.raises(DismaiError, match="at least one process"):
        relax_set(shaken(2), missing, HOW, n_processes=0)


def test_a_journal_saves_what_was_done(tmp_path: Path) -> None:
    """The times are those of then. An error is not taken for the last word."""
    structures = shaken(4, i2="Xe")
    path = tmp_path / "journal"
    first = relax_set(structures, ToyPotential(tmp_path), HOW, n_processes=1, journal=path)
    seen = notes(tmp_path)
    told = []
    again = relax_set(
        structures,
        ToyPotential(tmp_path),
        HOW,
        journal=path,
        on_result=lambda index, _: told.append(index),
    )
    assert [n for n in notes(tmp_path)[len(seen) :] if n.isdigit()] == ["2"]
    assert told == [0, 1, 3, 2]
    assert all(same(*pair) for pair in zip(first, again, strict=True))
    whole = [0, 1, 3]
    assert [first[i].seconds for i in whole] == [again[i].seconds for i in whole]
    # Another potential begins anew.
    relax_set(structures, ToyPotential(tmp_path, hash="b"), HOW, n_processes=1, journal=path)
    assert Counter(notes(tmp_path))["0"] == 2


def test_a_killed_relaxation_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle: what was finished is not repeated, and nothing is missing."""
    path = tmp_path / "journal"
    code = (
        "from pathlib import Path; from potentials.toys import ToyPotential, shaken; "
        "from dismaiflow.potentials.relax_set import relax_set; "
        "from dismaiflow.potentials.relaxation import RelaxationSettings; "
        f"relax_set(shaken(8), ToyPotential(Path({str(tmp_path)!r}), 0.15), "
        f"RelaxationSettings(fmax=0.005, tolerance=0.0), n_processes=2, "
        f"journal=Path({str(path)!r}))"
    )
    tests = Path(__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tests)
    end = time.monotonic() + 180
    while len(set(notes(tmp_path)) - {"opened"}) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    while any(Path("/proc", child).exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.01)
    with Journal(path, journal_key(shaken(8), "a", HOW)) as journal:
        done = sorted(journal.results)
    before = Counter(notes(tmp_path))
    assert 1 <= len(done) < 8
    results = relax_set(shaken(8), ToyPotential(tmp_path), HOW, n_processes=1, journal=path)
    after = Counter(notes(tmp_path))
    for index in range(8):
        repeated = after[str(index)] - before[str(index)]
        assert repeated == (0 if index in done else 1)
    alone = [relax(atoms, Argon(), HOW) for atoms in shaken(8)]
    assert all(same(*pair) for pair in zip(results, alone, strict=True))


def test_devices_relax_in_batches_if_they_can(tmp_path: Path) -> None:
    """Otherwise the CPU does it; both write the journal."""
    structures = shaken(4, i2="Xe")
    alone = [relax(atoms, Argon(), HOW) for atoms in shaken(4)]
    for batched in (True, False):
        folder = tmp_path / str(batched)
        folder.mkdir()
        potential = ToyPotential(folder, batched=batched)
        results = relax_set(
            structures, potential, HOW, device="cuda", journal=folder / "journal", n_processes=1
        )
        assert [r.status for r in results] == ["converged", "converged", "errored", "converged"]
        assert all(same(results[i], alone[i]) for i in (0, 1, 3))
        counts = Counter(notes(folder))
        assert counts["closed"] >= 1
        assert ("opened" in counts) == (not batched)
        n_notes = len(notes(folder))
        relax_set(structures, potential, HOW, device="cuda", journal=folder / "journal")
        assert {n for n in notes(folder)[n_notes:] if n.isdigit()} <= {"2"}


def test_listeners_may_stop_the_work(tmp_path: Path) -> None:
    """What was finished before is kept."""

    def stop(index: int, _: RelaxationResult) -> None:
        if index == 1:
            raise KeyboardInterrupt

    path = tmp_path / "journal"
    potential = ToyPotential(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        relax_set(shaken(4), potential, HOW, n_processes=1, journal=path, on_result=stop)
    assert notes(tmp_path) == ["opened", "0", "1", "closed"]
    with Journal(path, journal_key(shaken(4), "a", HOW)) as journal:
        assert sorted(journal.results) == [0, 1]


def test_an_empty_set_opens_nothing(tmp_path: Path) -> None:
    assert relax_set(shaken(0), ToyPotential(tmp_path), HOW) == []
    assert notes(tmp_path) == []
