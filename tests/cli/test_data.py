"""``dismai data`` against a server of this test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.structures.record_server import serve, zipped

from dismaiflow.structures import zenodo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Dismai

FILES = {"potentials.zip": zipped({"gap.xml": "<GAP/>", "bad.extxyz": "no"}), "README.md": b"read"}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zenodo, "PAUSE", 0.0)


def test_fetch_and_verify(dismai: Dismai) -> None:
    """Into the folder of the setting, or another one."""
    default = dismai.home / ".dismai" / "data"
    with serve(FILES) as server:
        ran = dismai("data", "fetch", "--url", server.url, "--only", "README*", "--only", "*.pdf")
        assert "not fetched: potentials.zip" in ran.words
        assert (default / "README.md").read_text() == "read"
        ran = dismai("data", "fetch", "--url", server.url)
    assert f"10.5281/zenodo.12710372 is in {default}" in ran.words
    assert "left out: potentials/bad.extxyz: line 1 should be" in ran.err
    assert dismai("data", "verify").words == "all 4 files are whole"


def test_verify_names_each_file(dismai: Dismai, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with serve(FILES) as server:
        assert dismai("data", "fetch", "--url", server.url, "--out", out).code == 0
    (out / "README.md").write_text("else")
    (out / "potentials" / "gap.xml").unlink()
    ran = dismai("data", "verify", out)
    assert ran.code == 2
    assert ran.out == "missing: potentials/gap.xml\nchanged: README.md\n"
    line = f"{out}: 2 of 4 files are missing or changed; `dismai data fetch` brings them again\n"
    assert ran.err.endswith(line)


def test_json(dismai: Dismai, tmp_path: Path) -> None:
    """Nothing but JSON is printed, whole or not."""
    out = tmp_path / "data"
    with serve(FILES) as server:
        ran = dismai("data", "fetch", "--url", server.url, "--out", out, "--json")
    document = json.loads(ran.out)
    assert (document["record"], document["folder"]) == ("12710372", str(out))
    assert list(document["files"]) == list(FILES)
    assert ran.err == ""
    whole = json.loads(dismai("data", "verify", out, "--json").out)
    assert whole == {
        "folder": str(out),
        "n_files": 4,
        "whole": True,
        "missing": [],
        "changed": [],
    }
    (out / "README.md").unlink()
    ran = dismai("data", "verify", out, "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["missing"] == ["README.md"]


def test_refusals(dismai: Dismai, tmp_path: Path) -> None:
    """One line each, and exit code 2."""
    with serve(FILES, checksums={"README.md": "0" * 32}) as server:
        fetch = ("data", "fetch", "--url", server.url, "--out", tmp_path / "data")
        assert "HTTP 404" in dismai(*fetch, "--record", "5").refusal
        assert "--record x: give the number" in dismai(*fetch, "--record", "x").refusal
        assert "fits no file of the record" in dismai(*fetch, "--only", "x").refusal
        assert not (tmp_path / "data").exists()
        ran = dismai(*fetch)
    assert ran.code == 2
    assert "README.md: came with another checksum than that of the record" in ran.err
    assert not (tmp_path / "data" / "README.md").exists()
    assert "cannot be reached" in dismai(*fetch).refusal
    assert "has no dismai-data.json" in dismai("data", "verify", tmp_path).refusal
