"""A collection of documents in a table of an SQLite file, with pymongo's methods.

The table has neosqlite's layout: ``_id`` as text, the document as JSON in ``data``, with
neosqlite's tags for dates, object ids and bytes (and MongoDB's ``$numberDouble`` for the numbers
that JSON lacks). A sub-document that looks like such a tag comes back as what the tag means.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import bson
import bson.errors
from neosqlite._sqlite import sqlite3  # the SQLite that neosqlite chose: its errors are ours
from pymongo.errors import DocumentTooLarge, DuplicateKeyError, OperationFailure

from dismaiflow.errors import DismaiError
from dismaiflow.store import queries

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
BUSY_SECONDS = 120.0

_MENDS = {
    "disk is full": "its disk is full: free some space and run again (what was stored is intact)",
    "readonly": "it cannot be written: check the permissions of the file and of its folder",
    "not a database": "it is not a store: name another file, or move this one away",
    "malformed": "it is damaged: restore a copy, or move it away",
    "unable to open": "it cannot be opened: check the permissions of the file and of its folder",
    "locked": f"another process has held it for {BUSY_SECONDS:.0f} s: end that process",
    "disk i/o": "its disk failed to read or write: check that it is local, healthy and not full",
}
_TAGS = frozenset({"$date", "$numberDouble", "__neosqlite_objectid__", "__neosqlite_binary__"})
# names that stand for themselves in a JSON path of SQLite
_PLAIN_PATH = re.compile(r"[A-Za-z_@][\w@:-]*(\.[A-Za-z_@][\w@:-]*)*", re.ASCII)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into one clear line that names the file and the way out."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise DuplicateKeyError(f"{path}: {error}") from error
    except sqlite3.Error as error:
        said = str(error)
        mend = next((text for part, text in _MENDS.items() if part in said.lower()), None)
        msg = f"embedded store {path}: {mend or 'SQLite cannot use it'} [{said}]"
        raise DismaiError(msg) from error


def _to_json(document: Mapping[str, Any]) -> str:
    """Encode a BSON document in neosqlite's JSON, with tags for what JSON lacks."""

    def tag(value: Any) -> dict[str, Any]:
        if isinstance(value, datetime):
            return {"$date": value.isoformat()}
        if isinstance(value, bson.ObjectId):
            return {"__neosqlite_objectid__": True, "id": str(value)}
        if isinstance(value, bytes):
            data, subtype = base64.b64encode(value).decode(), getattr(value, "subtype", 0)
            return {"__neosqlite_binary__": True, "data": data, "subtype": subtype}
        raise TypeError(f"the embedded store does not hold values of type {type(value).__name__}")

    def no_bare_nan(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: no_bare_nan(item) for key, item in value.items()}
        if isinstance(value, list):
            return [no_bare_nan(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {"$numberDouble": str(value)}
        return value

    try:
        return json.dumps(document, default=tag, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(no_bare_nan(document), default=tag, separators=(",", ":"))


def untag(value: dict[str, Any]) -> Any:
    """Return what a tagged value stands for; other dictionaries as they are."""
    if len(value) > 3 or _TAGS.isdisjoint(value):  # nearly all: decoding is made of this
        return value
    with suppress(ValueError, TypeError, KeyError, bson.errors.BSONError):
        if len(value) == 1 and "$date" in value:
            date = datetime.fromisoformat(value["$date"])
            # neosqlite writes the zone where there is one; a server gives none back
            return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date
        if len(value) == 1 and "$numberDouble" in value:
            return float(value["$numberDouble"])
        if "__neosqlite_objectid__" in value:
            return bson.ObjectId(value["id"])
        if "__neosqlite_binary__" in value:
            data, subtype = base64.b64decode(value["data"]), value.get("subtype", 0)
            return bson.Binary(data, subtype) if subtype else data
    return value


def _from_json(text: str) -> dict[str, Any]:
    """Decode a document."""
    document: dict[str, Any] = json.loads(text, object_hook=untag)
    return document


def field_sql(path: str) -> str:
    """Return the SQL of a field, written the same in indexes and queries so that they meet."""
    quoted = ".".join(f'"{part}"' for part in path.split("."))
    return f"json_extract(data, '$.{quoted}')"


def _narrowed(criteria: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return an SQL condition that every document matching the criteria fulfils.

    Only equality with strings and integers is translated; the rest is left to
    `queries.predicate`, which has the last word on every document.
    """
    clauses, parameters = [], []
    for key, condition in criteria.items():
        if key == "$and":
            for part in condition:
                clause, values = _narrowed(part)
                clauses.append(clause)
                parameters += values
            continue
        wanted = [condition]
        if isinstance(condition, Mapping):
            wanted = condition.get("$in", [condition["$eq"]] if "$eq" in condition else [None])
        if key == "_id" and all(isinstance(value, (str, bson.ObjectId)) for value in wanted):
            clauses.append("_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps([str(value) for value in wanted]))
        elif _PLAIN_PATH.fullmatch(key) and all(
            (isinstance(value, str) and "\0" not in value)
            or (isinstance(value, int) and abs(value) < 2**53)
            for value in wanted
        ):
            field = field_sql(key)
            # an array, whose JSON begins with [, may hold the value; so may one on the way
            clause = f"{field} IN (SELECT value FROM json_each(?)) OR {field} BETWEEN '[' AND '\\'"
            clauses.append(f"({clause} OR {field} IS NULL)" if "." in key else f"({clause})")
            parameters.append(json.dumps(wanted))
    return " AND ".join(clauses) or "1", parameters


def _is_text_of_field(key: str, wanted: Any) -> bool:
    """Say whether a criterion asks for a text in a field of the document itself."""
    plain = _PLAIN_PATH.fullmatch(key) and "." not in key and key != "_id"
    return bool(plain) and isinstance(wanted, str) and "\0" not in wanted and wanted[:1] not in "[{"


class Collection:
    """What MongoStore asks of a pymongo collection, on a table of neosqlite.

    Anything else (``insert_one``, ``drop``, ...) is passed on to neosqlite's collection.

    Parameters
    ----------
    raw : neosqlite.Collection
        The collection.
    path : str
        Its file, for messages.
    """

    def __init__(self, raw: Any, path: str) -> None:
        self._raw, self._path, self._db = raw, path, raw.db
        self._lock = threading.RLock()  # one SQLite connection serves one thread at a time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def create(self) -> None:
        """Make the table where it is missing.

        In neosqlite's layout, but with TEXT columns always: where neosqlite chooses JSONB (from
        SQLite 3.45 on) ids made of digits alone are taken for numbers, and can collide.
        """
        name = self._raw.name
        if self._rows("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)):
            return  # without asking for the write lock
        with self._transaction():
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {name} "
                "(id INTEGER PRIMARY KEY AUTOINCREMENT, _id TEXT, data TEXT NOT NULL)"
            )
            self._db.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS idx_{name}_id ON {name}(_id)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._raw.database.close()

    @property
    def name(self) -> str:
        """Name of the collection and of its table."""
        return str(self._raw.name)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement that reads."""
        return self._rows(sql, parameters)

    def execute_all(self, *statements: str) -> None:
        """Run statements that change the layout, all or none."""
        with self._transaction():
            for sql in statements:
                self._db.execute(sql)

    def change(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run one statement that writes, and return how many rows it changed."""
        with self._transaction():
            return int(self._db.execute(sql, parameters).rowcount)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement."""
        with self._lock, explained(self._path):
            rows: list[tuple[Any, ...]] = self._db.execute(sql, parameters).fetchall()
            return rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the file's write lock; all that is written inside is kept, or none of it."""
        with self._lock, explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _matching(self, criteria: Mapping[str, Any] | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield row numbers and documents that match, one document in memory at a time."""
        # through BSON, as a server would get them: dates in UTC, tuples as lists
        criteria = bson.decode(bson.encode(criteria or {}))
        matches = queries.predicate(criteria)
        condition, parameters = _narrowed(criteria)
        # the + keeps SQLite from walking the table in order instead of using an index
        found = f"SELECT id FROM {self._raw.name} WHERE {condition} ORDER BY +id"
        one = f"SELECT data FROM {self._raw.name} WHERE id = ?"
        for (row,) in self._rows(found, parameters):
            for (text,) in self._rows(one, (row,)):
                document = _from_json(text)
                if matches(document):
                    yield row, document

    def find(
        self,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | Iterable[str] | None = None,
        skip: int = 0,
        limit: int = 0,
        sort: Iterable[tuple[str, int]] | None = None,
        **_: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield documents as pymongo's ``find`` does; hints and cursor options are ignored."""
        project = queries.projection(projection)
        documents: Iterable[dict[str, Any]] = (document for _, document in self._matching(filter))
        if sort:
            documents = list(documents)
            queries.sort_documents(documents, sort)
        for number, document in enumerate(documents):
            if limit and number >= skip + abs(limit):
                return
            if number >= skip:
                yield project(document)

    def find_one(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the first document, or None."""
        return next(self.find(*args, **kwargs), None)

    def count_documents(self, filter: Mapping[str, Any], **_: Any) -> int:
        """Return the number of documents that match."""
        if not filter:
            return self.estimated_document_count()
        (key, wanted), *others = filter.items()
        if others or not _is_text_of_field(key, wanted):
            return sum(1 for _ in self._matching(filter))
        # one text in one field needs no document decoded, unless it be in an array
        field, table = field_sql(key), self._raw.name
        arrays = f"SELECT id FROM {table} WHERE {field} BETWEEN '[' AND '\\'"
        if self._rows(f"{arrays} LIMIT 1"):
            return sum(1 for _ in self._matching(filter))
        return int(self._rows(f"SELECT count(*) FROM {table} WHERE {field} = ?", (wanted,))[0][0])

    def estimated_document_count(self) -> int:
        """Return the number of documents."""
        return int(self._rows(f"SELECT count(*) FROM {self._raw.name}")[0][0])

    def distinct(self, key: str, filter: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the different values of a field."""
        return queries.distinct((document for _, document in self._matching(filter)), key)

    def delete_many(self, filter: Mapping[str, Any]) -> None:
        """Remove the documents that match, all or none."""
        with self._transaction():
            rows = [(row,) for row, _ in self._matching(filter)]
            self._db.executemany(f"DELETE FROM {self._raw.name} WHERE id = ?", rows)

    def bulk_write(self, requests: Sequence[Any], ordered: bool = False) -> None:
        """Replace or insert documents, all or none, in one transaction.

        Parameters
        ----------
        requests : sequence of pymongo.ReplaceOne
            As `MongoStore.update` makes them.
        ordered : bool
            Of no consequence here: they are run in order.

        Raises
        ------
        DocumentTooLarge
            If a document has more than `MAX_DOCUMENT_BYTES` as BSON, which a server refuses.
        OperationFailure
            If a document would get another ``_id``, or break a unique index.
        """
        prepared = []
        # what takes long comes before the lock
        for request in requests:
            raw = bson.encode(request._doc)
            if len(raw) > MAX_DOCUMENT_BYTES:
                msg = f"a document has {len(raw)} bytes, more than the {MAX_DOCUMENT_BYTES} allowed"
                raise DocumentTooLarge(msg)
            document = bson.decode(raw)
            key = document.pop("_id", None)
            prepared.append((request._filter, key, _to_json(document)))
        with self._transaction():
            for criteria, key, text in prepared:
                self._replace(criteria, key, text)

    def _replace(self, criteria: Mapping[str, Any], key: Any, text: str) -> None:
        """Replace the first document that matches, or insert; inside a transaction.

        Parameters
        ----------
        criteria : mapping
            What to replace.
        key : Any
            The new ``_id``, or None to keep the old one or make one.
        text : str
            The document without its ``_id``, as JSON.
        """
        row, old = next(self._matching(criteria), (None, {}))
        if key is None:
            key = old.get("_id") if row is not None else bson.ObjectId()
        elif row is not None and queries.order(key) != queries.order(old["_id"]):
            raise OperationFailure("the _id of a stored document cannot be changed", code=66)
        head = _to_json({"_id": key})
        text = head if text == "{}" else f"{head[:-1]},{text[1:]}"
        if row is None:
            values: tuple[Any, ...] = (str(key), text)
            self._db.execute(f"INSERT INTO {self._raw.name}(_id, data) VALUES (?, ?)", values)
        else:
            self._db.execute(f"UPDATE {self._raw.name} SET data = ? WHERE id = ?", (text, row))

    def create_index(self, key: str, unique: bool = False, **_: Any) -> str:
        """Index a field, whose name the index bears."""
        if not _PLAIN_PATH.fullmatch(key):
            raise OperationFailure(f"the embedded store cannot index the field {key!r}")
        name, kind = f"{self._raw.name}:{key}", "UNIQUE INDEX" if unique else "INDEX"
        with self._transaction():
            self._db.execute(
                f'CREATE {kind} IF NOT EXISTS "{name}" ON {self._raw.name}({field_sql(key)})'
            )
        return name

    def index_information(self) -> dict[str, Any]:
        """Return the indexes, as pymongo does."""
        rows = self._rows(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?",
            (self._raw.name,),
        )
        names = [name for (name,) in rows if ":" in name]
        return {name: {"key": [(name.partition(":")[2], 1)]} for name in names}
