"""maggma builders that fill the collections of the results store from the documents of jobs.

What is new is found by comparing keys, not times: every row remembers the uuid, the index and
the completed_at of the document that it was made from, and what differs is made again. The clocks
and the time zones of workers are therefore of no consequence, and a document that is replaced,
superseded or removed is noticed.

Several builders may run at once. A row's ``_id`` is the uuid of its job (or what it sums up), so
that two builders write the same row; and what has gone is found by reading the rows *before* the
documents, so that no builder takes another's new row for an old one.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from maggma.core import Builder
from maggma.stores import MemoryStore, MongoStore
from pydantic import BaseModel, ValidationError

from dismaiflow.errors import DismaiError
from dismaiflow.store.embedded import EmbeddedStore
from dismaiflow.store.reading import (
    DocumentKey,
    batches,
    document_key,
    latest_keys,
    read_fields,
    run_digests,
)
from dismaiflow.store.row_making import (
    COMMON_FIELDS,
    FIELDS,
    make_row,
    stored_text,
    utc_text,
)
from dismaiflow.store.rows import (
    DatasetRow,
    FramesRow,
    ModelRow,
    PotentialRow,
    RelaxationRow,
    RunRow,
    ScoreRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jobflow import JobStore
    from maggma.core import Store

#: The collections, and the rows that they hold.
COLLECTIONS: dict[str, type[BaseModel]] = {
    "scores": ScoreRow,
    "datasets": DatasetRow,
    "models": ModelRow,
    "potentials": PotentialRow,
    "frames": FramesRow,
    "relaxations": RelaxationRow,
    "runs": RunRow,
}

#: The usual name of the collection with the documents of jobs.
DOCUMENTS = "outputs"

#: Bears this mark: every row, so that no builder touches what others keep in the same collection.
MARK = {"built_by": "dismaiflow"}

#: Rises when rows are made differently, so that those of older versions are made again.
ROW_VERSION = 4

#: How a MongoStore finds its server.
_CONNECTION = (
    "database",
    "host",
    "port",
    "username",
    "password",
    "ssh_tunnel",
    "auth_source",
    "uri",
    "mongoclient_kwargs",
)

#: Documents read at a time.
_CHUNK = 500


class RowBuilder(Builder):
    """Keeps a collection of rows in step with what they are made from.

    Parameters
    ----------
    source : Store
        The docs store of a JobStore.
    target : Store
        The collection of rows; its key is ``_id``.
    chunk_size : int
        Rows made at a time.
    """

    def __init__(self, source: Store, target: Store, chunk_size: int = _CHUNK) -> None:
        self.source = source
        self.target = target
        target.key = "_id"
        super().__init__(sources=[source], targets=[target], chunk_size=chunk_size)

    def attach(self, source: Store, collection: Callable[[str], Store]) -> None:
        """Work on stores that are open.

        Parameters
        ----------
        source : Store
            The docs store.
        collection : callable
            Returns the collection of a name beside it.
        """
        self.source = source

    def wanted(self) -> dict[str, Any]:
        """Return, for each row that there should be, what it is to be made from."""
        raise NotImplementedError

    def read(self, names: list[str], wanted: dict[str, Any]) -> Iterator[Any]:
        """Yield what these rows are made from."""
        raise NotImplementedError

    def changes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Compare the rows with what there should be.

        Returns
        -------
        new : dict
            Rows to make, by ``_id``.
        gone : dict
            Rows to remove: their ``made_from`` by ``_id``.
        """
        # in this order; see the module
        there = {
            name: (made_from, version)
            for name, made_from, version, mark in read_fields(
                self.target, ("_id", "made_from", "row_version", "built_by"), "", None
            )
            if mark == MARK["built_by"]
        }
        wanted = self.wanted()
        # rows of a later version stay: two versions would make each other's again and again
        new = {
            name: state
            for name, state in wanted.items()
            if name not in there or there[name][0] != state or (there[name][1] or 0) < ROW_VERSION
        }
        gone = {name: state for name, (state, _) in there.items() if name not in wanted}
        return new, gone

    def get_items(self) -> Iterator[Any]:
        """Remove rows whose documents have gone, and yield what new rows are made from."""
        new, gone = self.changes()
        self.total = len(new)
        for name, state in gone.items():
            # not if another builder has made it anew meanwhile
            self.target.remove_docs({"_id": name, "made_from": state, **MARK})
        for names in batches(new, self.chunk_size):
            yield from self.read(names, new)

    def update_targets(self, items: list[dict[str, Any]]) -> None:
        """Store rows."""
        rows = [row | MARK | {"row_version": ROW_VERSION} for row in items if row]
        if rows:
            self.target.update(rows, key="_id")


class DocumentRowBuilder(RowBuilder):
    """Makes one row of each document of some kinds.

    Parameters
    ----------
    source, target, chunk_size
        See `RowBuilder`.
    kinds : sequence of str
        The ``output.kind`` of the documents.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        kinds: Sequence[str] = ("score",),
        chunk_size: int = _CHUNK,
    ) -> None:
        self.kinds = tuple(kinds)
        super().__init__(source, target, chunk_size)

    def fields(self, kind: str) -> tuple[str, ...]:
        """Return the paths, beside the common ones, that rows of a kind are made from."""
        return FIELDS[kind]

    def make(self, kind: str, values: dict[str, Any]) -> dict[str, Any]:
        """Make a row from what lies at these paths; see `make_row`."""
        return make_row(kind, values)

    def wanted(self) -> dict[str, Any]:
        """Return the key of the document of each row, in words."""
        # sorted, so that of documents with one uuid and index all builders take the same
        keys = {key for kind in self.kinds for key in latest_keys(self.source, kind)}
        return {key[0]: _words(key) for key in sorted(keys)}

    def read(self, names: list[str], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the fields of the documents of these jobs."""
        own = dict.fromkeys(field for kind in self.kinds for field in self.fields(kind))
        fields = (*COMMON_FIELDS, "output.kind", *own)
        for values in read_fields(self.source, fields, "uuid", names):
            found = dict(zip(fields, values, strict=True))
            key = document_key(found["uuid"], found["index"], found["completed_at"])
            if wanted.get(key[0]) == _words(key):
                yield found

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Make a row, or, of a document that is not what it says, one that tells why."""
        key = document_key(item["uuid"], item["index"], item["completed_at"])
        row: dict[str, Any] = {"_id": key[0], "made_from": _words(key)}
        kind = item["output.kind"]
        if kind not in self.kinds:
            # a list of such documents, which a server finds too; noted, so as not to read it again
            return row | {"uuid": key[0], "state": "none"}
        try:
            values = {field: item[field] for field in (*COMMON_FIELDS, *self.fields(kind))}
            return row | {"state": "successful"} | self.make(kind, values)
        except (ValidationError, TypeError, AttributeError, KeyError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}".splitlines()
            return row | {"uuid": key[0], "state": "failed", "error": " ".join(problem)[:500]}


class ModelsBuilder(RowBuilder):
    """Makes one row of each model on a system, from the rows of scores and from model documents.

    Parameters
    ----------
    source : Store
        The docs store, for documents of kind ``model``.
    target : Store
        The collection ``models``.
    scores : Store
        The collection ``scores``, which is to be built first.
    chunk_size : int
        See `RowBuilder`.
    """

    def __init__(
        self, source: Store, target: Store, scores: Store, chunk_size: int = _CHUNK
    ) -> None:
        self.scores = scores
        super().__init__(source, target, chunk_size)
        self.sources = [source, scores]
        self._rows: dict[str, dict[str, Any]] = {}

    def attach(self, source: Store, collection: Callable[[str], Store]) -> None:
        """Work on stores that are open."""
        super().attach(source, collection)
        self.scores = collection("scores")

    def wanted(self) -> dict[str, Any]:
        """Return a digest of each row: they are few, and soon made."""
        rows: dict[str, dict[str, Any]] = {}
        for row in sorted(self._score_rows(), key=lambda row: (row["date"] or "", row["uuid"])):
            _add_score(_model_row(rows, row["system"], row["model"]), row)
        for row in sorted(self._documents(), key=lambda row: (row["date"] or "", row["uuid"])):
            known = _model_row(rows, row["system"], row["name"])
            known["n_trained"] += 1
            known["documents"].append(row["uuid"])
            known["checkpoints"] += [c for c in (row["hash"] or row["checkpoint"],) if c]
        self._rows = rows
        return row_digests(rows)

    def read(self, names: list[str], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield these rows."""
        for name in names:
            yield {"_id": name, "made_from": wanted[name], "state": "successful"} | self._rows[name]

    def _score_rows(self) -> Iterator[dict[str, Any]]:
        fields = ("uuid", "system", "model", "protocol", "date", "metrics", "state")
        for values in read_fields(self.scores, fields, "", None):
            row = dict(zip(fields, values, strict=True))
            if row["state"] == "successful":
                yield row

    def _documents(self) -> Iterator[dict[str, Any]]:
        builder = DocumentRowBuilder(self.source, self.target, ["model"])
        keys = builder.wanted()
        for names in batches(keys):
            for found in builder.read(names, keys):
                row = builder.process_item(found)
                if row["state"] == "successful":
                    yield row


class RunsBuilder(RowBuilder):
    """Makes one row of each run from all of its documents."""

    def wanted(self) -> dict[str, Any]:
        """Return a digest of the documents of each run."""
        return run_digests(self.source)

    def read(self, names: list[str], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the documents of these runs, a run at a time."""
        fields = ("_id", "metadata", "output.kind")
        documents: dict[str, list[list[Any]]] = {name: [] for name in names}
        for values in read_fields(self.source, fields, "metadata.run_id", names):
            run = (values[1] or {}).get("run_id")
            if run in documents:
                documents[run].append(values)
        for name, found in documents.items():
            if found:
                yield {"_id": name, "made_from": wanted[name], "documents": found}

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Sum up a run."""
        documents = item.pop("documents")
        kinds: dict[str, int] = {}
        for _, _, kind in documents:
            if isinstance(kind, str):
                kinds[kind] = kinds.get(kind, 0) + 1
        said = [metadata or {} for _, metadata, _ in documents]
        dates = sorted(filter(None, (stored_text(place) for place, _, _ in documents)))
        return item | {
            "state": "successful",
            "run_id": item["_id"],
            "first": dates[0] if dates else None,
            "last": dates[-1] if dates else None,
            "systems": _distinct(m.get("system") for m in said),
            "models": _distinct(m.get("model") for m in said),
            "protocols": _distinct(m.get("protocol") for m in said),
            "tags": _distinct(tag for m in said for tag in m.get("tags") or []),
            "n_documents": len(documents),
            "kinds": dict(sorted(kinds.items())),
            "dismaiflow": _distinct(m.get("dismaiflow") for m in said),
        }


def sibling_store(docs_store: Store, name: str) -> Store:
    """Return a store for a collection beside the documents of jobs, not yet connected.

    Parameters
    ----------
    docs_store : Store
        The docs store of a JobStore.
    name : str
        One of `COLLECTIONS`, or the name of another.

    Raises
    ------
    DismaiError
        If the documents are in a store of a kind that has no collections beside it.
    """
    documents = getattr(docs_store, "collection_name", "")
    called = name if documents == DOCUMENTS else f"{documents}_{name}"
    if isinstance(docs_store, EmbeddedStore):
        return EmbeddedStore(docs_store.path, called, key="_id")
    if isinstance(docs_store, MemoryStore):
        return MemoryStore(called, key="_id")
    if type(docs_store) is MongoStore or type(docs_store).__name__ == "MongoURIStore":
        how = {key: getattr(docs_store, key) for key in _CONNECTION}
        return MongoStore(collection_name=called, key="_id", **how)
    raise DismaiError(
        f"results cannot be kept beside a {type(docs_store).__name__}: use a MongoStore or the "
        "embedded store for the documents of jobs"
    )


def results_builders(jobstore: JobStore) -> dict[str, RowBuilder]:
    """Return the builders of the collections, in the order to run them.

    They can be run by `ResultsStore.build`, or by maggma's ``mrun`` from a Python file that says
    ``__builders__ = list(results_builders(jobstore).values())``.

    Parameters
    ----------
    jobstore : JobStore
        Connected or not.
    """
    source = jobstore.docs_store
    stores = {name: sibling_store(source, name) for name in COLLECTIONS}
    return {
        "scores": DocumentRowBuilder(source, stores["scores"], ["score"]),
        "datasets": DocumentRowBuilder(source, stores["datasets"], ["dataset"]),
        "models": ModelsBuilder(source, stores["models"], stores["scores"]),
        "potentials": DocumentRowBuilder(
            source, stores["potentials"], ["potential", "trained_potential"]
        ),
        "frames": DocumentRowBuilder(source, stores["frames"], ["frames"]),
        "relaxations": DocumentRowBuilder(source, stores["relaxations"], ["dft_run"]),
        "runs": RunsBuilder(source, stores["runs"]),
    }


def row_digests(rows: Mapping[str, Any]) -> dict[str, str]:
    """Return a text for each row that changes when the row does."""
    texts = {name: json.dumps(row, sort_keys=True) for name, row in rows.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _words(key: DocumentKey) -> str:
    return " ".join(map(str, key))


def _distinct(values: Iterable[Any]) -> list[str]:
    """Return the different texts, those in lists one by one."""
    lists = (value if isinstance(value, list) else [value] for value in values)
    return sorted({text for texts in lists for text in texts if isinstance(text, str)})


def _model_row(rows: dict[str, dict[str, Any]], system: str, model: str) -> dict[str, Any]:
    """Return the row of a model on a system, a new one if there is none."""
    empty = {
        "system": system,
        "model": model,
        "n_scores": 0,
        "latest": None,
        "latest_score": None,
        "best": {},
        "n_trained": 0,
        "checkpoints": [],
        "documents": [],
    }
    return rows.setdefault(json.dumps([system, model]), empty)


def _add_score(row: dict[str, Any], score: dict[str, Any]) -> None:
    """Count a score, which is not older than those counted before."""
    row["n_scores"] += 1
    row["latest"], row["latest_score"] = utc_text(score["date"]) or row["latest"], score["uuid"]
    best = row["best"].setdefault(score["protocol"], {})
    for name, value in (score["metrics"] or {}).items():
        if value is not None:
            best[name] = min(value, best.get(name, value))
