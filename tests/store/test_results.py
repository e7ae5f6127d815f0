"""Rows follow the documents, whatever clocks say and whoever builds; questions find them."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobflow import JobStore

from dismaiflow.errors import DismaiError
from dismaiflow.store.builders import COLLECTIONS
from dismaiflow.store.filters import between
from dismaiflow.store.results import ResultsStore
from dismaiflow.store.rows import flat
from store.documents import (
    GENERATED,
    REFERENCE,
    dataset_output,
    job_document,
    put,
    score_document,
    score_output,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = dict.fromkeys(COLLECTIONS, 0)


@pytest.fixture
def results(jobstore: JobStore) -> Iterator[ResultsStore]:
    """Yield the results of an empty store."""
    with ResultsStore(jobstore) as results:
        yield results


def uuids(rows: list[Any]) -> list[str]:
    """Return the uuids of rows."""
    return [row.uuid for row in rows]


def test_score_row(jobstore: JobStore, results: ResultsStore) -> None:
    """A row says what the score says."""
    put(jobstore, score_document("a"))
    (row,) = results.scores()
    assert row.model_dump() == {
        "uuid": "a",
        "run_id": "run000000001",
        "date": datetime(2026, 3, 1, 10, tzinfo=UTC),
        "tags": ["first"],
        "dismaiflow": "0.1.0",
        "versions": {"dismaiflow": "0.1.0"},
        "system": "alloy-300K-wide",
        "model": "gen",
        "protocol": "published-1-fixed",
        "protocol_name": "published",
        "n_generated": 100,
        "n_scored": 97,
        "failures": {"unreadable": 2, "wrong_count": 1},
        "metrics": {"d_cluster": 0.0125, "percent_failed": 3.0},
        "ci95": {"d_cluster": (0.012, 0.013), "percent_failed": None},
        "min": {},
        "max": {},
        "distribution": {"w1_sro": 0.25},
        "floor": {"d_cluster": 0.001},
        "comparable": False,
        "why_not": "another reference",
        "reference": "train.extxyz",
        "reference_hash": REFERENCE,
        "generated_hashes": [GENERATED],
    }
    columns = flat(row)
    assert columns["metrics.d_cluster"] == 0.0125
    assert (columns["ci95.d_cluster.low"], columns["ci95.d_cluster.high"]) == (0.012, 0.013)
    assert (columns["ci95.percent_failed.low"], columns["tags"]) == (None, "first")
    assert results.score("a") == score_document("a")["output"]


def test_several_files(jobstore: JobStore, results: ResultsStore) -> None:
    """Of several files there are minima and maxima instead of an interval."""
    metrics = {"d_cluster": {"value": 0.3, "ci95": None, "min": 0.2, "max": 0.4}}
    put(jobstore, job_document("a", score_output(metrics=metrics)))
    (row,) = results.scores()
    assert (row.metrics, row.ci95) == ({"d_cluster": 0.3}, {"d_cluster": None})
    assert (row.min, row.max) == ({"d_cluster": 0.2}, {"d_cluster": 0.4})


def test_dataset_row(jobstore: JobStore, results: ResultsStore) -> None:
    """A row says what the card says."""
    put(jobstore, job_document("d", dataset_output(), metadata={"run_id": "r", "dismaiflow": "9"}))
    (row,) = results.datasets(system="alloy-300K-wide", protocol="corrected")
    assert row.model_dump() == {
        "uuid": "d",
        "run_id": "r",
        "date": datetime(2026, 2, 28, 23, 30, tzinfo=UTC),
        "tags": [],
        "dismaiflow": "9",
        "versions": {"dismaiflow": "0.1.0"},
        "system": "alloy-300K-wide",
        "kind": "alloy",
        "composition": {"Fe": 154, "Ni": 51, "Cr": 51},
        "counts": {"train": 32, "val": 8},
        "content_hashes": {"train": REFERENCE, "val": "ef" * 32},
        "protocol": "corrected",
        "seed": 5,
        "agreement": "agree",
        "n_effective": 20.5,
        "potential": None,
        "yield_percent": None,
        "n_warnings": 1,
    }


def test_row_of_a_relaxed_dataset(jobstore: JobStore, results: ResultsStore) -> None:
    """It names the potential, and the yield of the search."""
    output = dataset_output()
    output["card"]["protocol"]["relaxation"] = {"potential": {"name": "chgnet"}}
    output["card"]["statistics"]["search"] = {"yield_percent": 45.5}
    put(jobstore, job_document("d", output))
    (row,) = results.datasets()
    assert (row.potential, row.yield_percent) == ("chgnet", 45.5)


def test_model_rows(jobstore: JobStore, results: ResultsStore) -> None:
    """Scores and trained models of one name and system make one row."""
    trained = {"kind": "model", "name": "gen", "system": "s", "hash": "ff" * 32}
    put(
        jobstore,
        score_document("a", "gen", "2026-03-01T10:00:00+00:00", 0.5, "s"),
        score_document("b", "gen", "2026-03-02T10:00:00+00:00", 0.7, "s"),
        score_document("c", "gen", "2026-02-02T10:00:00+00:00", None, "s"),
        score_document("d", "gen", value=0.9, system="s", protocol=("corrected", 1, "registered")),
        score_document("e", "other", system="s"),
        job_document("m", trained),
        job_document("n", trained | {"system": "t", "hash": None, "checkpoint": "aa" * 32}),
    )
    rows = {(row.system, row.model): row for row in results.models()}
    assert sorted(rows) == [("s", "gen"), ("s", "other"), ("t", "gen")]
    row = rows["s", "gen"]
    assert (row.n_scores, row.latest_score) == (4, "b")
    assert row.latest == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert row.best == {
        "published-1-fixed": {"d_cluster": 0.5, "percent_failed": 3.0},
        "corrected-1-registered": {"d_cluster": 0.9, "percent_failed": 3.0},
    }
    assert (row.n_trained, row.checkpoints, row.documents) == (1, ["ff" * 32], ["m"])
    assert rows["t", "gen"].checkpoints == ["aa" * 32]
    assert rows["t", "gen"].n_scores == 0
    assert [row.model for row in results.models(protocol="corrected")] == ["gen"]
    assert [row.model for row in results.models(system="s", model="other")] == ["other"]
    jobstore.remove_docs({"uuid": {"$in": ["a", "e"]}})
    assert results.models(model="other") == []
    (row,) = results.models(system="s")
    assert (row.n_scores, row.best["published-1-fixed"]["d_cluster"]) == (3, 0.7)


def test_potential_rows(jobstore: JobStore, results: ResultsStore) -> None:
    """A potential needs a name and nothing else."""
    whole = {"name": "m3gnet", "calculator": "matgl", "hash": "ff" * 32, "systems": ["s"]}
    put(
        jobstore,
        job_document("a", {"kind": "potential", **whole, "metrics": {"mae_energy": 0.01}}),
        job_document("b", {"kind": "potential", "name": "sw"}),
        job_document("c", {"kind": "potential"}),
    )
    (row,) = results.potentials(system="s")
    assert (row.name, row.calculator, row.metrics) == ("m3gnet", "matgl", {"mae_energy": 0.01})
    assert uuids(results.potentials(name="sw")) == ["b"]
    (failed,) = results.query("potentials", {"state": "failed"})
    assert failed["uuid"] == "c"
    assert "name" in failed["error"]


def test_run_rows(jobstore: JobStore, results: ResultsStore) -> None:
    """A run sums up all of its documents, and follows them."""
    before = datetime.now(UTC).replace(microsecond=0)
    metadata = {"run_id": "r1", "system": "s", "model": "gen", "protocol": "published-1-fixed"}
    put(
        jobstore,
        score_document("a", metadata=metadata | {"tags": ["x", "y"]}),
        job_document("b", None, metadata={"run_id": "r1", "system": ["s", "t"], "tags": ["z"]}),
        job_document("c", [{"kind": "no"}], metadata=metadata | {"dismaiflow": "0.2.0"}),
        job_document("d", dataset_output(), metadata={"run_id": "r2"}),
        job_document("e", dataset_output(), metadata={}),
    )
    (row,) = results.runs(tag="y")
    assert row.model_dump(exclude={"first", "last"}) == {
        "run_id": "r1",
        "systems": ["s", "t"],
        "models": ["gen"],
        "protocols": ["published-1-fixed"],
        "tags": ["x", "y", "z"],
        "n_documents": 3,
        "kinds": {"score": 1},
        "dismaiflow": ["0.2.0"],
    }
    assert row.first
    assert row.last
    assert before <= row.first <= row.last <= datetime.now(UTC)
    assert {row.run_id for row in results.runs()} == {"r1", "r2"}
    assert [row.run_id for row in results.runs(protocol="published")] == ["r1"]
    # a job that runs again, on a worker whose clock is years behind
    put(
        jobstore,
        job_document(
            "b", dataset_output(), completed_at="1999-01-01T00:00:00", metadata={"run_id": "r1"}
        ),
    )
    (row,) = results.runs(run_id="r1")
    assert row.kinds == {"score": 1, "dataset": 1}
    jobstore.remove_docs({"metadata.run_id": "r1"})
    assert [row.run_id for row in results.runs()] == ["r2"]


def test_incremental(jobstore: JobStore, results: ResultsStore) -> None:
    """Only what has changed is made again."""
    put(jobstore, score_document("a"), score_document("b", system="t"))
    assert results.build() == NOTHING | {"scores": 2, "models": 2, "runs": 1}
    assert results.build() == NOTHING
    put(jobstore, score_document("c"))
    assert results.build("scores") == {"scores": 1}
    assert results.build() == NOTHING | {"models": 1, "runs": 1}
    # rewritten as it was
    put(jobstore, score_document("a"))
    assert results.build() == NOTHING


@pytest.mark.parametrize("completed_at", ["2030-01-01T00:00:00", "1970-01-01T00:00:00"])
def test_replaced(jobstore: JobStore, results: ResultsStore, completed_at: str) -> None:
    """A document that was written anew counts, whether its clock was ahead or behind."""
    put(jobstore, score_document("a", value=0.5))
    assert results.scores()[0].metrics["d_cluster"] == 0.5
    put(jobstore, score_document("a", value=0.7, completed_at=completed_at))
    assert [row.metrics["d_cluster"] for row in results.scores()] == [0.7]
    assert results.query("models")[0]["best"]["published-1-fixed"]["d_cluster"] == 0.7


def test_higher_index(jobstore: JobStore, results: ResultsStore) -> None:
    """Of one uuid only the highest index counts, also if that is no score."""
    put(jobstore, score_document("a", value=0.5, completed_at="2030-01-01T00:00:00"))
    assert len(results.scores()) == 1
    put(jobstore, score_document("a", value=0.7, index=2, completed_at="2029-01-01T00:00:00"))
    assert [row.metrics["d_cluster"] for row in results.scores()] == [0.7]
    put(jobstore, score_document("a", value=0.9, index=1, completed_at="2031-01-01T00:00:00"))
    assert [row.metrics["d_cluster"] for row in results.scores()] == [0.7]
    put(jobstore, job_document("a", None, index=3))
    assert results.scores() == []
    with pytest.raises(DismaiError, match="no score"):
        results.score("a")


def test_vanished(jobstore: JobStore, results: ResultsStore) -> None:
    """Rows go with their documents; what others keep in the collection stays."""
    put(jobstore, score_document("a"), score_document("b"))
    assert len(results.scores()) == 2
    foreign = {"_id": "theirs", "uuid": "theirs", "system": "alloy-300K-wide"}
    target = results._target("scores")
    target.update(foreign, key="_id")
    jobstore.remove_docs({"uuid": "a"})
    assert uuids(results.scores()) == ["b"]
    jobstore.remove_docs({})
    assert results.scores() == []
    assert target.count() == 1


def test_not_what_it_says(jobstore: JobStore, results: ResultsStore) -> None:
    """A document that is no score stops nothing, and is told apart."""
    broken = score_output()
    del broken["metrics"]
    documents = [
        job_document("none", broken),
        job_document("text", score_output(n_scored="many")),
        job_document("list", [score_output()]),
        job_document("nothing", {"kind": "score"}),
        job_document("odd", score_output(), metadata="no metadata"),
    ]
    put(jobstore, *documents, score_document("good"))
    assert uuids(results.scores()) == ["good"]
    failed = results.query("scores", {"state": "failed"})
    assert sorted(row["uuid"] for row in failed) == ["none", "nothing", "odd", "text"]
    assert results.build() == NOTHING | {"datasets": 0, "models": 1, "runs": 1}
    assert results.build() == NOTHING


def test_filters(jobstore: JobStore, results: ResultsStore) -> None:
    """Rows are chosen by each property and by all together, newest first."""
    put(
        jobstore,
        score_document("a", "x", "2026-03-01T00:00:00+00:00", system="s"),
        score_document("b", "y", "2026-03-01T23:59:59+00:00", system="s"),
        score_document("c", "x", "2026-03-02T01:00:00+02:00", system="t"),
        score_document(
            "d",
            "x",
            "2026-03-02T00:00:00+00:00",
            system="s",
            protocol=("corrected", 1, "registered"),
            metadata={"run_id": "r2", "tags": ["one", "two"]},
        ),
    )
    assert uuids(results.scores()) == ["d", "b", "c", "a"]
    assert uuids(results.scores(limit=2)) == ["d", "b"]
    assert uuids(results.scores(system="s")) == ["d", "b", "a"]
    assert uuids(results.scores(system="s", model="x")) == ["d", "a"]
    assert uuids(results.scores(protocol="published")) == ["b", "c", "a"]
    assert uuids(results.scores(protocol="corrected-1-registered")) == ["d"]
    assert uuids(results.scores(tag="two")) == ["d"]
    assert uuids(results.scores(run_id="r2")) == ["d"]
    assert uuids(results.scores(run_id="r")) == []
    assert uuids(results.scores(since="2026-03-02")) == ["d"]
    assert uuids(results.scores(until="2026-03-01")) == ["b", "c", "a"]
    assert uuids(results.scores(since="2026-03-01", until=date(2026, 3, 1))) == ["b", "c", "a"]
    assert uuids(results.scores(until="2026-03-01T23:00:00")) == ["c", "a"]
    assert uuids(results.scores(since="2026-03-02T00:59:59+01:00")) == ["d", "b"]
    found = results.query("scores", {"metrics.d_cluster": {"$gt": 0.01}}, ["uuid"], {"uuid": 1}, 2)
    assert found == [{"uuid": "a"}, {"uuid": "b"}]
    found = results.query("scores", {"date": {"$gte": "2026-03-02"}}, ["uuid"])
    assert found == [{"uuid": "d"}]
    assert results.query("outputs", {"uuid": "a"}, ["output.n_scored"]) == [
        {"output": {"n_scored": 97}}
    ]


def test_wrong_questions(jobstore: JobStore, results: ResultsStore) -> None:
    """What cannot be asked is said in one line."""
    put(jobstore, score_document("a"))
    for wrong in ("yesterday", "2026-13-01", "", "2026-03-01T25:00"):
        with pytest.raises(DismaiError, match=r"since .*2026-01-31"):
            results.scores(since=wrong)
    with pytest.raises(DismaiError, match="no collection 'score'"):
        results.query("score")
    with pytest.raises(DismaiError, match="limit -1"):
        results.scores(limit=-1)
    with pytest.raises(DismaiError, match="does not understand"):
        results.query("scores", {"n_scored": {"$near": 1}})
    with pytest.raises(DismaiError, match="no dataset"):
        results.document("a", "dataset")


ZONES = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=ZONES)


@given(MOMENTS, MOMENTS)
def test_dates_sort_as_texts(first: datetime, second: datetime) -> None:
    """The texts of dates compare as the moments do, to the second."""
    bounds = between("date", first, second)["date"]
    seconds = [moment.astimezone(UTC).replace(microsecond=0) for moment in (first, second)]
    assert (bounds["$gte"] < bounds["$lte"]) == (seconds[0] < seconds[1])
    assert datetime.fromisoformat(bounds["$gte"]) == seconds[0]


def test_no_warning_for_writers(jobstore: JobStore, results: ResultsStore) -> None:
    """Whoever may write is never told that something is stale."""
    put(jobstore, score_document("a"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        results.scores()
    assert results.stale == set()
