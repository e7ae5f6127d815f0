"""What the results store reads of job documents: keys and single fields, on any kind of store.

On a MongoDB server the keys come from indexes alone, on the embedded store from its key table; on
other stores from the documents.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from maggma.stores import MemoryStore, MongoStore
from pymongo.errors import OperationFailure

from dismaiflow.errors import DismaiError
from dismaiflow.store import columns
from dismaiflow.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from maggma.core import Store

#: Error code of a server for a user who lacks a right.
UNAUTHORIZED = 13

#: Indexes of the documents of jobs on a server: by what queries and builders look for them.
DOCUMENT_INDEXES: tuple[tuple[tuple[str, int], ...], ...] = (
    (("uuid", 1), ("index", -1)),
    (("output.kind", 1), ("uuid", 1), ("index", 1), ("completed_at", 1)),
    (("metadata.run_id", 1), ("completed_at", 1)),
)

#: Values in one question to a store.
_AT_ONCE = 5000

#: What refers to something in the ``data`` store: a SHA-256, or a uuid (in which jobflow itself
#: names what it puts there).
_REFERENCE = re.compile(
    rb"[0-9a-f]{64}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)

#: Uuid, index and completed_at: what tells one state of a job's document from another.
DocumentKey = tuple[str, int, str]


def is_server(store: Store) -> bool:
    """Say whether a store is a collection of a MongoDB server."""
    return isinstance(store, MongoStore) and not isinstance(store, (EmbeddedStore, MemoryStore))


def is_read_only(store: Store) -> bool:
    """Say whether a file lacks the right to be written; a server says so itself."""
    return isinstance(store, EmbeddedStore) and not os.access(store.path, os.W_OK)


def ensure_document_indexes(store: Store) -> None:
    """Make the indexes of the documents of jobs, as far as the user may.

    Parameters
    ----------
    store : Store
        The docs store of a JobStore, connected.
    """
    if isinstance(store, EmbeddedStore):
        for field in ("output.kind", "metadata.run_id"):
            store.ensure_index(field)
        columns.keep_keys(store._collection)
    elif is_server(store):
        for keys in DOCUMENT_INDEXES:
            try:
                store._collection.create_index(list(keys))
            except OperationFailure as error:
                if error.code != UNAUTHORIZED:
                    raise


def latest_keys(store: Store, kind: str) -> set[DocumentKey]:
    """Return the keys of the documents of a kind.

    Of one uuid only the highest index counts, whatever the kind of its document.

    Parameters
    ----------
    store : Store
        The docs store of a JobStore, connected.
    kind : str
        Their ``output.kind``.
    """
    if isinstance(store, EmbeddedStore) and columns.has_keys(store._collection):
        return _whole(columns.latest_keys(store._collection, kind))
    fields = ("uuid", "index", "completed_at")
    found = _whole(read_fields(store, fields, "output.kind", [kind]))
    highest: dict[str, int] = {}
    for uuid, index in _later_indexes(store, [uuid for uuid, _, _ in found]):
        highest[uuid] = max(index or 0, highest.get(uuid, 0))
    return {key for key in found if key[1] >= highest.get(key[0], 0)}


def document_key(uuid: str, index: int | None, completed_at: str | None) -> DocumentKey:
    """Return the key of a document, also of one that lacks a part of it."""
    return uuid, index or 0, completed_at or ""


def _whole(keys: Iterable[Sequence[Any]]) -> set[DocumentKey]:
    return {document_key(*key) for key in keys if isinstance(key[0], str)}


def _later_indexes(store: Store, uuids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the documents of these jobs whose index is above 1, and those of the lowest index."""
    for some in batches(uuids):
        if isinstance(store, EmbeddedStore):
            yield from columns.extract(store._collection, ("uuid", "index"), "uuid", some)  # type: ignore[misc]
            continue
        criteria = {"uuid": {"$in": some}, "index": {"$gt": 1}}
        wanted = {"uuid": 1, "index": 1, "_id": 0} if is_server(store) else ["uuid", "index"]
        for document in store.query(criteria, properties=wanted):
            yield document["uuid"], document["index"]


def run_digests(store: Store) -> dict[str, str]:
    """Return for each run_id a text that changes when its documents do.

    Parameters
    ----------
    store : Store
        The docs store of a JobStore, connected.
    """
    if isinstance(store, EmbeddedStore) and columns.has_keys(store._collection):
        return columns.run_digests(store._collection)
    if is_server(store):
        return dict(_server_digests(store))
    totals: dict[str, list[int]] = {}
    for run, completed in read_fields(store, ("metadata.run_id", "completed_at"), "", None):
        if run is not None:
            total = totals.setdefault(run, [0, 0])
            total[0] += 1
            total[1] += int(re.sub(r"\D", "", str(completed))[:17] or 0)
    return {run: f"{n}:{total}" for run, (n, total) in totals.items()}


def _server_digests(store: Store) -> Iterator[tuple[str, str]]:
    """Let the server add up, from an index, the moments at which a run's documents were written."""
    moment = {"$convert": {"input": "$completed_at", "to": "date", "onError": None}}
    pipeline = [
        {"$match": {"metadata.run_id": {"$type": "string"}}},
        {
            "$group": {
                "_id": "$metadata.run_id",
                "n": {"$sum": 1},
                "total": {"$sum": {"$toLong": moment}},
            }
        },
    ]
    name = "metadata.run_id_1_completed_at_1"
    # without the hint the server reads every document
    hint = {"hint": name} if name in store._collection.index_information() else {}
    for found in store._collection.aggregate(pipeline, **hint):
        yield found["_id"], f"{found['n']}:{found['total']}"


def read_fields(
    store: Store, fields: Sequence[str], key: str, wanted: Iterable[str] | None
) -> Iterator[list[Any]]:
    """Yield fields of the documents that have one of several texts in a field.

    Parameters
    ----------
    store : Store
        Connected.
    fields : sequence of str
        At least two dotted paths of plain names. A path that leads through an array gives None.
    key : str
        The path that selects.
    wanted : iterable of str or None
        Its values; None for all documents.

    Yields
    ------
    list
        The values, None where there is nothing.
    """
    if isinstance(store, EmbeddedStore):
        yield from columns.extract(store._collection, fields, key, wanted)
        return
    criteria = {} if wanted is None else {key: {"$in": list(wanted)}}
    # a query that asks for what an index holds, and no _id, is answered by the index
    projection = dict.fromkeys(fields, 1) | ({} if "_id" in fields else {"_id": 0})
    properties: Any = projection if isinstance(store, MongoStore) else list(fields)
    for document in store.query(criteria, properties=properties):
        yield [_dig(document, field.split(".")) for field in fields]


def _dig(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def batches(items: Iterable[Any], size: int = _AT_ONCE) -> Iterator[list[Any]]:
    """Cut items into lists of at most ``size``."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def references_in(store: Store) -> set[str]:
    """Return everything in the documents of a store that may refer to the ``data`` store.

    Parameters
    ----------
    store : Store
        The docs store of a JobStore, connected.

    Returns
    -------
    set of str
        All texts of 64 hexadecimal digits, and all uuids.
    """
    found: set[bytes] = set()
    for raw in _raw_documents(store):
        found.update(_REFERENCE.findall(raw))
    return {reference.decode() for reference in found}


def references_in_texts(texts: Iterable[str | bytes]) -> set[str]:
    """Return what in these texts may refer to the ``data`` store; see `references_in`."""
    found: set[bytes] = set()
    for text in texts:
        found.update(_REFERENCE.findall(text.encode() if isinstance(text, str) else text))
    return {reference.decode() for reference in found}


def raw_documents(collection: Any, criteria: dict[str, Any]) -> Iterator[bytes]:
    """Yield documents of a server's collection as bytes; searching these needs no decoding."""
    options = collection.codec_options.with_options(document_class=RawBSONDocument)
    for document in collection.with_options(codec_options=options).find(criteria):
        yield document.raw


def _raw_documents(store: Store) -> Iterator[bytes]:
    if isinstance(store, EmbeddedStore):
        yield from (text.encode() for text in columns.texts(store._collection))
    elif is_server(store):
        yield from raw_documents(store._collection, {})
    elif isinstance(store, MongoStore):
        yield from (str(document).encode() for document in store.query())
    else:
        raise DismaiError(f"the documents of a {type(store).__name__} cannot be searched")
