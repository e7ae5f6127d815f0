"""What lies in the ``data`` store of a JobStore, without reading the payloads.

Stores keep blobs in different ways (a table, a collection, GridFS), and maggma's interface cannot
list them without fetching them, mark them as used, or remove one *unless it was marked since*.
The functions here do, on each kind of store.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from maggma.stores import GridFSStore, MongoStore
from pymongo.errors import OperationFailure

from dismaiflow.errors import DismaiError
from dismaiflow.store.collection import field_sql
from dismaiflow.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maggma.core import Store

#: A blob that is put again keeps its time stamp for so long.
RENEWAL = timedelta(hours=1)

#: Kind of what is left in GridFS of a blob that was removed or written halfway.
REMAINS_KIND = "remains"

#: Files of GridFS that are looked for in one question.
_AT_ONCE = 5000

#: Fields of a blob that say what it is.
_FIELDS = ("blob_uuid", "kind", "n_bytes", "stored_at")


@dataclass(frozen=True)
class BlobEntry:
    """A blob without its payload.

    Parameters
    ----------
    blob_uuid : str
        By what it is found.
    kind : str
        What it is; ``unknown`` where the store does not say.
    n_bytes : int
        What it takes in the store.
    stored_at : datetime or None
        When it was stored or last put again, UTC.
    stamp : str or None
        The time stamp as it stands in the store.
    place : Any
        The ``_id`` by which the store knows it.
    """

    blob_uuid: str
    kind: str
    n_bytes: int
    stored_at: datetime | None
    stamp: str | None
    place: Any


def now_stamp() -> str:
    """Return the present time as blobs carry it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def find_entry(store: Store, blob_uuid: str) -> BlobEntry | None:
    """Return what is known of one blob, or None.

    Parameters
    ----------
    store : Store
        The ``data`` store, connected.
    blob_uuid : str
        By what it is found.
    """
    return next(_entries(store, blob_uuid, exact=True), None)


def list_entries(store: Store, prefix: str = "") -> Iterator[BlobEntry]:
    """Yield what is known of the blobs whose ``blob_uuid`` begins with a text."""
    return _entries(store, prefix, exact=False)


def list_remains(store: Store) -> Iterator[BlobEntry]:
    """Yield what is left of blobs whose writing or removal was interrupted.

    Only GridFS has such: chunks without a file. While a blob is being written it looks the same, so
    that only the old ones are garbage. Their ``blob_uuid`` is empty.

    Parameters
    ----------
    store : Store
        The ``data`` store, connected.
    """
    if not isinstance(store, GridFSStore):
        return
    # the chunks first: what is being written has its file by the time that files are looked for
    known = store._chunks_collection.aggregate([{"$group": {"_id": "$files_id"}}])
    places = [found["_id"] for found in known]
    for start in range(0, len(places), _AT_ONCE):
        yield from _without_file(store, places[start : start + _AT_ONCE])


def _without_file(store: GridFSStore, places: list[Any]) -> Iterator[BlobEntry]:
    """Yield entries for the chunks of those files that are not there."""
    there = {found["_id"] for found in store._files_collection.find({"_id": {"$in": places}}, [])}
    lost = [place for place in places if place not in there]
    size = {"$sum": {"$bsonSize": "$$ROOT"}}
    for found in store._chunks_collection.aggregate(
        [
            {"$match": {"files_id": {"$in": lost}}},
            {"$group": {"_id": "$files_id", "n_bytes": size, "last": {"$max": "$_id"}}},
        ]
    ):
        written = found["last"]
        when = written.generation_time if isinstance(written, ObjectId) else None
        yield BlobEntry("", REMAINS_KIND, int(found["n_bytes"]), when, None, found["_id"])


def renew(store: Store, blob_uuid: str) -> bool:
    """Mark a blob as used now, and say whether it is there.

    Nothing is written when its time stamp is younger than `RENEWAL`.
    """
    entry = find_entry(store, blob_uuid)
    if entry is None:
        return False
    if entry.stored_at and datetime.now(UTC) - entry.stored_at < RENEWAL:
        return True
    return _stamp(store, blob_uuid, now_stamp())


def remove_entry(store: Store, entry: BlobEntry) -> bool:
    """Remove a blob unless it was marked as used since it was listed.

    In GridFS the file goes first and its chunks last: without its chunks a file would still seem to
    be there. Of a removal that was interrupted chunks are left, which `list_remains` finds.

    Returns
    -------
    bool
        Whether it was removed.

    Raises
    ------
    DismaiError
        If the store is of a kind that cannot do this safely.
    """
    if isinstance(store, GridFSStore):
        files = store._files_collection
        wanted = {"_id": entry.place, "metadata.stored_at": entry.stamp}
        if entry.kind == REMAINS_KIND:
            if files.find_one({"_id": entry.place}, {"_id": 1}) is not None:
                return False
        elif files.find_one_and_delete(wanted) is None:
            return False
        store._chunks_collection.delete_many({"files_id": entry.place})
        return True
    if isinstance(store, EmbeddedStore):
        sql = f"DELETE FROM {store.collection_name} WHERE _id = ? AND {field_sql('stored_at')} IS ?"
        return store._collection.change(sql, (str(entry.place), entry.stamp)) > 0
    if isinstance(store, MongoStore):
        done = store._collection.delete_one({"_id": entry.place, "stored_at": entry.stamp})
        return bool(done.deleted_count)
    raise DismaiError(f"blobs of a {type(store).__name__} cannot be removed one by one")


def _stamp(store: Store, blob_uuid: str, stamp: str) -> bool:
    """Write a time stamp, and say whether the blob was there to be stamped."""
    if isinstance(store, GridFSStore):
        done = store._files_collection.update_one(
            {"metadata.blob_uuid": blob_uuid}, {"$set": {"metadata.stored_at": stamp}}
        )
        return bool(done.matched_count)
    if isinstance(store, EmbeddedStore):
        sql = (
            f"UPDATE {store.collection_name} SET data = json_set(data, '$.stored_at', ?) "
            f"WHERE {field_sql('blob_uuid')} = ?"
        )
        return store._collection.change(sql, (stamp, blob_uuid)) > 0
    if isinstance(store, MongoStore):
        done = store._collection.update_one(
            {"blob_uuid": blob_uuid}, {"$set": {"stored_at": stamp}}
        )
        return bool(done.matched_count)
    return True  # another kind of store: nothing is ever removed from it


def _entries(store: Store, text: str, exact: bool) -> Iterator[BlobEntry]:
    """Yield the blobs whose ``blob_uuid`` is a text, or begins with it."""
    wanted: Any = text if exact else {"$regex": f"^{re.escape(text)}"}
    if isinstance(store, GridFSStore):
        for found in store._files_collection.find({"metadata.blob_uuid": wanted}):
            fields = found["metadata"] | {"n_bytes": found["length"]}
            yield _entry(fields, found["_id"], found["uploadDate"])
    elif isinstance(store, EmbeddedStore):
        yield from _embedded_entries(store, text, exact)
    elif isinstance(store, MongoStore):
        for found in _mongo_documents(store, {"blob_uuid": wanted}, sized=not exact):
            yield _entry(found, found["_id"], None)
    else:
        for found in store.query({"blob_uuid": wanted}, properties=[*_FIELDS, "data"]):
            yield _entry(found, None, None)


def _mongo_documents(
    store: MongoStore, criteria: dict[str, Any], sized: bool
) -> Iterator[dict[str, Any]]:
    """Yield the fields of blobs in a collection, with the bytes that each takes if asked."""
    if not sized:
        yield from store._collection.find(criteria, dict.fromkeys(_FIELDS, 1))
        return
    fields: dict[str, Any] = dict.fromkeys(_FIELDS, 1)
    with suppress(NotImplementedError, OperationFailure):
        size = {"$bsonSize": "$$ROOT"}
        yield from store._collection.aggregate(
            [{"$match": criteria}, {"$project": fields | {"n_bytes": size}}]
        )
        return
    yield from store._collection.find(criteria, fields)


def _embedded_entries(store: EmbeddedStore, text: str, exact: bool) -> Iterator[BlobEntry]:
    """Yield blobs of a table, which SQLite finds without decoding them in Python."""
    key = field_sql("blob_uuid")
    picked = ", ".join(f"'$.{name}'" for name in _FIELDS)
    sql = f"SELECT _id, length(data), json_extract(data, {picked}) FROM {store.collection_name}"
    if exact:
        condition, values = f"{key} = ?", [text]
    else:
        # the code points of a hash, a uuid or the name of a manifest lie below U+FFFF
        condition, values = f"{key} >= ? AND {key} < ?", [text, text + "\uffff"]
    for place, length, fields in store._collection.rows(f"{sql} WHERE {condition}", values):
        found = dict(zip(_FIELDS, json.loads(fields), strict=True))
        yield _entry(found | {"n_bytes": length}, place, None)


def _entry(fields: dict[str, Any], place: Any, uploaded: datetime | None) -> BlobEntry:
    """Read a blob's fields; those written by older versions have no time stamp."""
    stamp = fields.get("stored_at")
    stored = uploaded.replace(tzinfo=UTC) if uploaded else None
    if stored is None and ObjectId.is_valid(place):
        stored = ObjectId(place).generation_time
    if isinstance(stamp, str):
        with suppress(ValueError):
            stored = datetime.fromisoformat(stamp)
    kind, size = fields.get("kind") or "unknown", int(fields.get("n_bytes") or 0)
    return BlobEntry(fields["blob_uuid"], kind, size, stored, stamp, place)
