"""What was written before a kill is there after it, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.journal import Journal, journal_key
from dismaiflow.potentials.relaxation import RelaxationResult, RelaxationSettings
from potentials.toys import shaken
from small_disk import mounted


def results(n: int) -> list[RelaxationResult]:
    """Of different sizes, with and without numbers."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(n):
        positions = rng.normal(size=(i + 1, 3))
        made.append(RelaxationResult("converged", positions, i, 2 * i, -0.1, -1 / 3, 1e-2, 0.5))
    made[1] = RelaxationResult("errored", positions[:0], detail="ValueError: ä\n")
    return made


def same(one: RelaxationResult, other: RelaxationResult) -> bool:
    """Whether two results are equal to the last bit."""
    first, second = dataclasses.asdict(one), dataclasses.asdict(other)
    return np.array_equal(first.pop("positions"), second.pop("positions")) and first == second


def filled(path: Path, key: str, n: int) -> list[RelaxationResult]:
    """Write n results, the last one first, and return them."""
    made = results(n)
    with Journal(path, key) as journal:
        for index in reversed(range(n)):
            journal.append(index, made[index])
    return made


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Also by those who open it later, and before it is closed."""
    path = tmp_path / "a" / "b" / "journal"
    made = filled(path, "key", 4)
    with Journal(path, "key") as journal:
        assert list(journal.results) == [3, 2, 1, 0]
        assert all(same(journal.results[i], made[i]) for i in range(4))


def test_every_torn_end_is_dropped(tmp_path: Path) -> None:
    """A kill may leave any number of bytes; the whole records before them count."""
    path = tmp_path / "journal"
    made = filled(path, "key", 3)
    whole = path.read_bytes()
    with Journal(tmp_path / "other", "key"):
        header = (tmp_path / "other").stat().st_size
    seen = set()
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        with Journal(path, "key") as journal:
            held = sorted(journal.results)
            assert held == sorted([2, 1, 0][: len(held)])
            assert all(same(journal.results[i], made[i]) for i in held)
            seen.add(len(held))
            assert (len(held) == 0) or n_bytes > header
            journal.append(7, made[0])
        with Journal(path, "key") as journal:
            assert sorted(journal.results) == [*held, 7]
    assert seen == {0, 1, 2}


def test_damage_is_never_read(tmp_path: Path) -> None:
    """A changed byte of a record ends the reading there; one of the magic is refused."""
    path = tmp_path / "journal"
    made = filled(path, "key", 3)
    whole = path.read_bytes()
    for at in range(20, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        path.write_bytes(bytes(damaged))
        with Journal(path, "key") as journal:
            assert len(journal.results) < 3
            assert all(same(r, made[i]) for i, r in journal.results.items())


def test_a_journal_of_something_else_is_emptied(tmp_path: Path) -> None:
    """Results of other structures, potentials or settings are never mixed."""
    path = tmp_path / "journal"
    filled(path, "key", 3)
    made = results(2)
    with Journal(path, "yek") as journal:
        assert journal.results == {}
        journal.append(0, made[0])
    with Journal(path, "yek") as journal:
        assert sorted(journal.results) == [0]
    with Journal(path, "key") as journal:
        assert journal.results == {}


def test_the_key_knows_all_that_decides() -> None:
    """Structures, potential and settings."""
    how = RelaxationSettings()
    key = journal_key(shaken(2), "a", how)
    others = {
        journal_key(shaken(3), "a", how),
        journal_key(shaken(2, i1="Kr"), "a", how),
        journal_key(shaken(2), "b", how),
        *(
            journal_key(shaken(2), "a", dataclasses.replace(how, **{name: 7.0}))
            for name in json.loads(json.dumps(how.as_dict()))
        ),
    }
    assert key == journal_key(shaken(2), "a", RelaxationSettings())
    assert key not in others
    assert len(others) == 3 + len(dataclasses.fields(how))


def test_another_file_is_refused(tmp_path: Path) -> None:
    """It is not overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text("important")
    with pytest.raises(DismaiError, match=r"notes\.txt: is no journal"):
        Journal(path, "key")
    assert path.read_text() == "important"
    with pytest.raises(DismaiError, match="a file stands in the way"):
        Journal(path / "journal", "key")


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    """The second would write over the records of the first."""
    path = tmp_path / "journal"
    with Journal(path, "key"), pytest.raises(DismaiError, match="another process writes"):
        Journal(path, "key")
    with Journal(path, "key"):
        pass


def test_a_full_disk_is_said_and_costs_nothing(tmp_path: Path) -> None:
    """The folder is named; what was written before stays whole, and goes on with more room."""
    big = RelaxationResult("converged", np.ones((500, 3)))
    with mounted(tmp_path / "disk", "64k") as disk:
        path = disk / "journal"
        with Journal(path, "key") as journal:
            with pytest.raises(DismaiError, match=f"{disk}: no space left") as caught:
                for index in range(9):
                    journal.append(index, big)
            assert "\n" not in str(caught.value)
            n = len(journal.results)
            assert 0 < n < 9
            journal.append(99, RelaxationResult("errored", np.ones((1, 3))))
        with Journal(path, "key") as journal:
            assert sorted(journal.results) == [*range(n), 99]
