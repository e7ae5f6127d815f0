"""``dismai quickstart`` at a small size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.conftest import contents
from dismaiflow.cli.quickstart import ALLOYS

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Dismai

SMALL = ("--n-passes", "400", "--n", "10", "--n-control", "10")


def test_four_datasets_a_table_and_a_report(
    dismai: Dismai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it into one folder, which is named, with the way on from there."""
    monkeypatch.chdir(tmp_path)
    ran = dismai("quickstart", "--out", "quick", *SMALL)
    assert ran.code == 0, ran.err
    for name in ALLOYS:
        assert name in ran.words
        card = json.loads((tmp_path / "quick" / name / "dataset.json").read_text())
        assert card["counts"] == {"train": 8, "val": 2}
        assert set(card["controls"]) == {"published-1-fixed", "corrected-1-registered"}
    # The paper's table stands beside the controls.
    assert "CryinGAN" in ran.words
    assert "quick/report.html" in ran.words
    assert "dismai score alloy-1500K-wide" in ran.words
    names = [name for name in contents(tmp_path) if name.count("/") == 1]
    assert sorted(names) == sorted(f"quick/{name}" for name in (*ALLOYS, "report.html"))
    page = (tmp_path / "quick" / "report.html").read_text()
    assert all(name in page for name in ALLOYS)


def test_targets_in_the_way(dismai: Dismai, tmp_path: Path) -> None:
    """Told before minutes are spent."""
    (tmp_path / "quick" / ALLOYS[2]).mkdir(parents=True)
    (tmp_path / "quick" / ALLOYS[2] / "mine").write_text("mine")
    before = contents(tmp_path)
    line = dismai("quickstart", "--out", tmp_path / "quick", *SMALL).refusal
    assert f"{ALLOYS[2]}: already holds files" in line
    assert contents(tmp_path) == before
