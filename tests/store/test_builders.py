"""Builders keep rows in step with documents: alone, together, and run by maggma."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobflow import JobStore
from maggma.stores import GridFSStore, MemoryStore, MongoStore
from monty.json import MontyDecoder

from dismaiflow.errors import DismaiError
from dismaiflow.store import EmbeddedStore, builders, embedded_jobstore
from dismaiflow.store.builders import results_builders, sibling_store
from dismaiflow.store.results import ResultsStore, StaleResultsWarning
from mongod import HOST
from store.documents import dataset_output, job_document, put, score_document, score_output
from store.test_results import NOTHING, uuids

if TYPE_CHECKING:
    from pathlib import Path

STATES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.integers(1, 3), st.sampled_from(["score", "dataset", "", "gone"])
    ),
    max_size=12,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STATES)
def test_any_history(tmp_path_factory: pytest.TempPathFactory, history: list[Any]) -> None:
    """Whatever has happened to documents, rows built on the way are those built anew."""
    outputs = {"score": score_output(), "dataset": dataset_output(), "": None}
    path = tmp_path_factory.mktemp("history") / "run.db"
    with embedded_jobstore(path) as jobstore, ResultsStore(jobstore) as results:
        for step, (uuid, index, kind) in enumerate(history):
            if kind == "gone":
                jobstore.remove_docs({"uuid": uuid, "index": index})
            else:
                # clocks run backwards
                moment = f"{2050 - step}-01-01T00:00:00"
                put(jobstore, job_document(uuid, outputs[kind], index=index, completed_at=moment))
            results.build()
        highest: dict[str, tuple[int, str]] = {}
        for document in jobstore.query():
            kind = (document["output"] or {}).get("kind", "")
            highest[document["uuid"]] = max(
                highest.get(document["uuid"], (0, "")), (document["index"], kind)
            )
        for kind in ("score", "dataset"):
            expected = sorted(uuid for uuid, (_, of) in highest.items() if of == kind)
            assert sorted(row["uuid"] for row in results.query(f"{kind}s")) == expected
        assert results.build() == NOTHING


def test_builders_together(jobstore: JobStore) -> None:
    """Builders that run while documents come leave each row once, and all of them."""
    names = [f"{number:03d}" for number in range(60)]

    def work(worker: int) -> None:
        with ResultsStore(jobstore) as own:
            for name in names[worker::4]:
                put(jobstore, score_document(name))
                own.build()
                assert name in uuids(own.scores())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with ResultsStore(jobstore) as results:
        assert sorted(uuids(results.scores())) == names
        assert results.models()[0].n_scores == 60
        assert results._target("scores").count() == 60
        # a slow builder may leave a sum of what it saw earlier; whoever comes next mends it
        results.build()
        assert results.runs()[0].n_documents == 60
        assert results.build() == NOTHING


def test_maggma_runs_them(jobstore: JobStore) -> None:
    """The builders are builders: they run by themselves, and survive being written down."""
    put(jobstore, score_document("a"), job_document("d", dataset_output()))
    for builder in results_builders(jobstore).values():
        again = MontyDecoder().process_decoded(json.loads(builder.to_json()))
        again.connect()
        items = [again.process_item(item) for item in again.get_items()]
        again.update_targets(items)
        again.finalize()
    jobstore.connect(force_reset=True)
    with ResultsStore(jobstore, build=False) as results:
        assert uuids(results.scores()) == ["a"]
        assert uuids(results.datasets()) == ["d"]
        assert len(results.models()) == len(results.runs()) == 1


def test_mrun(tmp_path: Path) -> None:
    """maggma's own command runs them from a Python file."""
    path = tmp_path / "run.db"
    with embedded_jobstore(path) as jobstore:
        put(jobstore, score_document("a"))
    script = tmp_path / "builders.py"
    script.write_text(
        "from dismaiflow.store import embedded_jobstore\n"
        "from dismaiflow.store.builders import results_builders\n"
        f"__builders__ = list(results_builders(embedded_jobstore({str(path)!r})).values())\n"
    )
    code = "from maggma.cli import run; run()"
    command = [sys.executable, "-c", code, "--no_bars", script.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with embedded_jobstore(path) as jobstore, ResultsStore(jobstore, build=False) as results:
        assert uuids(results.scores()) == ["a"]


def test_names_of_collections() -> None:
    """Two JobStores in one database do not share their rows."""
    assert sibling_store(MongoStore("db", "outputs"), "scores").name.endswith("/db/scores")
    mine = MongoStore("db", "mine", host="h", port=1, username="u", password="p", auth_source="a")
    beside = sibling_store(mine, "scores")
    assert beside.name == "mongo://h/db/mine_scores"
    assert (beside.port, beside.username, beside.password) == (1, "u", "p")
    assert beside.auth_source == "a"
    with pytest.raises(DismaiError, match="GridFSStore"):
        sibling_store(GridFSStore("db", "outputs"), "scores")


def test_memory() -> None:
    """A store in memory answers too."""
    store = JobStore(MemoryStore("outputs"), additional_stores={"data": MemoryStore("blobs")})
    with store, ResultsStore(store) as results:
        put(store, score_document("a"), job_document("b", None))
        assert uuids(results.scores()) == ["a"]
        assert results.runs()[0].n_documents == 2
        assert len(results.models()) == 1
        assert results.build() == NOTHING


def test_server_answers_from_indexes(mongod: int) -> None:
    """What is new is found without reading documents, arrays among the outputs or not."""
    docs = MongoStore("plans", "outputs", host=HOST, port=mongod)
    with JobStore(docs) as jobstore, ResultsStore(jobstore) as results:
        put(jobstore, *(score_document(f"{i}") for i in range(20)))
        put(jobstore, *(job_document(f"x{i}", [{"kind": "score"}]) for i in range(20)))
        results.build()
        found = docs._collection.find(
            {"output.kind": {"$in": ["score"]}},
            {"uuid": 1, "index": 1, "completed_at": 1, "_id": 0},
        ).explain()
        assert found["executionStats"]["totalDocsExamined"] == 0
        assert found["executionStats"]["nReturned"] == 40
        assert len(results.scores()) == 20
        assert results.build() == NOTHING


def test_key_table_follows_every_writer(tmp_path: Path) -> None:
    """The table of keys is right after writes by others, and is not needed by readers."""
    with embedded_jobstore(tmp_path / "run.db") as jobstore, ResultsStore(jobstore) as results:
        put(jobstore, score_document("a"))
        assert uuids(results.scores()) == ["a"]
        collection = jobstore.docs_store._collection
        collection.change("DELETE FROM outputs__keys", ())
        put(jobstore, score_document("b"))
        # by hand, behind the back of this package
        assert uuids(results.scores()) == ["b"]
        collection.execute_all(
            "DROP TABLE outputs__keys",
            *(f'DROP TRIGGER "outputs__keys:{name}"' for name in ("new", "set", "old")),
        )
        results._indexed = False
        assert sorted(uuids(results.scores())) == ["a", "b"]
        collection.execute_all("DELETE FROM outputs")
        assert results.scores() == []
        assert results.runs() == []


def test_odd_documents(jobstore: JobStore) -> None:
    """Documents that lack a key, or are there twice, neither hide others nor are made for ever."""
    bare = {"uuid": "bare", "output": score_output()}
    twice = [score_document("twice", value=value, completed_at=f"200{value}") for value in (1, 2)]
    docs_store = jobstore.docs_store
    docs_store.update([bare, {"uuid": None, "output": score_output()}], key="uuid")
    docs_store.update(twice, key=["uuid", "completed_at"])
    put(jobstore, score_document("a"))
    with ResultsStore(jobstore) as results:
        assert sorted(uuids(results.scores())) == ["a", "bare", "twice"]
        assert results.query("scores", {"uuid": "twice"})[0]["metrics"]["d_cluster"] == 2
        results.build()
        assert results.build() == NOTHING
    with ResultsStore(jobstore) as results:
        assert results.build() == NOTHING


def test_rows_of_other_versions(jobstore: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of older versions are made again, rows of later versions are left alone."""
    put(jobstore, score_document("a"))
    with ResultsStore(jobstore) as results:
        assert results.build("scores") == {"scores": 1}
        monkeypatch.setattr(builders, "ROW_VERSION", builders.ROW_VERSION + 1)
        assert results.build("scores") == {"scores": 1}
        assert results.build("scores") == {"scores": 0}
        monkeypatch.undo()
        assert results.build("scores") == {"scores": 0}


def test_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not write the file gets the rows that are there, and is told."""
    with embedded_jobstore(tmp_path / "run.db") as jobstore:
        put(jobstore, score_document("a"))
        with ResultsStore(jobstore) as results:
            assert uuids(results.scores()) == ["a"]
        put(jobstore, score_document("b"))
        # root may write everything: let the file system say no in its stead
        monkeypatch.setattr("os.access", lambda *_: False)

        def refuse(self: EmbeddedStore, *_: Any, **__: Any) -> None:
            raise DismaiError("it cannot be written")

        monkeypatch.setattr(EmbeddedStore, "update", refuse)
        with ResultsStore(jobstore) as results:
            with pytest.warns(StaleResultsWarning):
                assert uuids(results.scores()) == ["a"]
            with pytest.warns(StaleResultsWarning):
                assert results.runs() == []
            assert results.stale == {"scores", "runs"}
