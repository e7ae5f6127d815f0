"""``dismai leaderboard``: what is printed for people and for scripts, from both kinds of store."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from dismaiflow.store import embedded_jobstore
from mongod import HOST, mongod
from report.documents import SYSTEM, make_score, make_several
from store.conftest import server_jobstore
from store.documents import job_document

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Dismai
    from dismaiflow.benchmark.schemas import ScoreDoc

__all__ = ["mongod"]

_numbers = itertools.count()


def several() -> ScoreDoc:
    """Return a score of two files that is comparable."""
    score = make_several()
    published = score.published.model_copy(update={"comparable": True, "why_not": None})
    said = score.provenance.model_copy(update={"model": "a-model-with-a-long-name"})
    return score.model_copy(update={"published": published, "provenance": said})


@pytest.fixture(params=["embedded", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return what --store takes: a store with two scores, of which one is comparable."""
    if request.param == "embedded":
        path = tmp_path / "store.sqlite"
        jobstore = embedded_jobstore(path)
    else:
        port, database = request.getfixturevalue("mongod"), f"board{next(_numbers)}"
        jobstore = server_jobstore(port, database)
        where = {"host": HOST, "port": port, "database": database}
        path = tmp_path / "jobflow.yaml"
        stores = {
            "docs_store": {"type": "MongoStore", "collection_name": "outputs", **where},
            "additional_stores": {
                "data": {"type": "GridFSStore", "collection_name": "outputs_blobs", **where}
            },
        }
        path.write_text(yaml.safe_dump({"JOB_STORE": stores}))
    with jobstore:
        for uuid, score in (("first", make_score()), ("second", several())):
            jobstore.update(job_document(uuid, score.model_dump(mode="json")))
    return path


def test_for_people(dismai: Dismai, store: Path) -> None:
    """Ranks, controls, what is not comparable and the verdicts stand there in 80 columns."""
    ran = dismai("leaderboard", SYSTEM, "--store", store, COLUMNS=80)
    assert max(map(len, ran.out.splitlines())) <= 80
    words = ran.words
    assert words.startswith(f"{SYSTEM}, published-1-fixed")
    assert "in rank" in words
    assert "controls, without rank" in words
    assert "not comparable: this machine has no verified copy" in words
    assert "- *my-model: " in words
    assert "published: Digital Discovery 2024, 3, 1889, Table 3" in words
    assert "Ranks (derived)" in words


def test_all_systems(dismai: Dismai, store: Path) -> None:
    """Each of the six systems has a heading, with or without own scores."""
    lines = dismai("leaderboard", "--store", store).out.splitlines()
    named = [line.split(", ")[0] for line in lines if ", published" in line]
    assert [name for name in named if " " not in name] == [
        "lsc-lco",
        "amorphous-si",
        "alloy-300K-narrow",
        "alloy-300K-wide",
        "alloy-1500K-narrow",
        "alloy-1500K-wide",
    ]


def test_lattice_denoising(dismai: Dismai, store: Path) -> None:
    """The row of Table S1 is a note, typed here from the SI."""
    words = dismai("leaderboard", "alloy-300K-narrow", "--store", store).words
    assert "Table S1, out of rank: DiffCSP with lattice denoising" in words
    assert "d_cluster 0.0824 (0.0621, 0.102)" in words


def test_json(dismai: Dismai, store: Path) -> None:
    """Scripts get the rows with their ranks."""
    (board,) = json.loads(dismai("leaderboard", SYSTEM, "--store", store, "--json").out)
    own = next(row for row in board["ranked"] if row["kind"] == "own")
    # 0.03 on the alloy, beside 0.0604 and more in Table 3
    assert (own["rank"], own["model"], own["n_runs"]) == (1, "a-model-with-a-long-name", 2)
    assert (own["metrics"]["d_cluster"]["min"], own["score"]) == (0.02, "second")
    assert set(own["learning"]) == {"shown", "text"}
    assert [row["model"] for row in board["not_comparable"]] == ["my-model"]
    assert board["lattice_denoising"] is None


def test_protocol(dismai: Dismai, store: Path) -> None:
    """By a protocol without scores the published rows stand there as not comparable."""
    words = dismai("leaderboard", SYSTEM, "--protocol", "corrected", "--store", store).words
    assert "published (not comparable: another protocol)" in words
    assert "my-model" not in words


def test_before_there_is_a_store(dismai: Dismai, tmp_path: Path) -> None:
    """The published rows are shown, and no store is made; one that is named must be there."""
    missing = tmp_path / "none.sqlite"
    shown = dismai("leaderboard", "amorphous-si", DISMAI_STORE_PATH=missing)
    assert "1 CDVAE" in shown.words
    assert not missing.exists()
    assert "there is no store" in dismai("leaderboard", "--store", missing).refusal


def test_an_unknown_system(dismai: Dismai, store: Path) -> None:
    """A misspelt name is mended."""
    ran = dismai("leaderboard", "amorphous-sy", "--store", store)
    assert ran.code == 2
    assert "did you mean amorphous-si?" in ran.err


def test_a_page(dismai: Dismai, store: Path, tmp_path: Path) -> None:
    """Ranks beside the paper's, the boards of all systems, and relaxations as in Table S2."""
    page = tmp_path / "board.html"
    ran = dismai("leaderboard", "--store", store, "--out", page)
    assert ran.code == 0, ran.err
    assert f"wrote {page}" in ran.words
    text = page.read_text()
    assert "Ranks (derived)" in text
    assert "a-model-with-a-long-name" in text
    # Table 1 of the paper, the row of UniMat.
    assert "0.151" in text
    assert "lsc-lco, published" in text
    # Table S2 of the SI, UniMat: 257 steps with a standard deviation of 116.
    assert "257 ± 116" in text
    # No other file is overwritten by a slip.
    other = tmp_path / "system.yaml"
    other.write_text("name: mine")
    assert "ends in .html" in dismai("leaderboard", "--store", store, "--out", other).refusal
    assert other.read_text() == "name: mine"
