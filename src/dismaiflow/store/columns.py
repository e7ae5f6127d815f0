"""Single fields of an embedded collection, read without decoding whole documents.

Two ways: `extract` lets SQLite pick fields out of the JSON of the rows that an index finds, and
the *key table* ``<collection>__keys`` holds the five fields by which jobs are told apart. Triggers
keep it in step with every write, whoever writes, so that "what is new?" is answered for a hundred
thousand documents in a fraction of a second.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dismaiflow.store.collection import Collection, field_sql, untag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: What the key table holds of each document, in the order of its columns.
KEYS = ("uuid", "index", "completed_at", "output.kind", "metadata.run_id")
_COLUMNS = ("uuid", "number", "completed_at", "kind", "run_id")


def _table(collection: Collection) -> str:
    return f"{collection.name}__keys"


def has_keys(collection: Collection) -> bool:
    """Say whether a collection has its key table."""
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(collection.rows(sql, (_table(collection),)))


def keep_keys(collection: Collection) -> None:
    """Make the key table of a collection and the triggers that keep it; once for a file."""
    if has_keys(collection):
        return
    source, table = collection.name, _table(collection)
    values = ", ".join(field_sql(key) for key in KEYS)
    new = values.replace("(data,", "(new.data,")
    put = f"INSERT OR REPLACE INTO {table} VALUES (new.id, {new});"
    drop = f"DELETE FROM {table} WHERE id = old.id;"
    collection.execute_all(
        f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, {', '.join(_COLUMNS)})",
        f"INSERT OR REPLACE INTO {table} SELECT id, {values} FROM {source}",
        f'CREATE INDEX IF NOT EXISTS "{table}:kind" ON {table}(kind, uuid, number, completed_at)',
        f'CREATE INDEX IF NOT EXISTS "{table}:uuid" ON {table}(uuid, number)',
        f'CREATE INDEX IF NOT EXISTS "{table}:run" ON {table}(run_id, completed_at)',
        f'CREATE TRIGGER IF NOT EXISTS "{table}:new" AFTER INSERT ON {source} BEGIN {put} END',
        f'CREATE TRIGGER IF NOT EXISTS "{table}:set" AFTER UPDATE ON {source} BEGIN {put} END',
        f'CREATE TRIGGER IF NOT EXISTS "{table}:old" AFTER DELETE ON {source} BEGIN {drop} END',
    )


def latest_keys(collection: Collection, kind: str) -> list[tuple[str, int, str]]:
    """Return uuid, index and completed_at of the documents of a kind that no later index replaces.

    Needs the key table.
    """
    table, source = _table(collection), collection.name
    # the join leaves out rows that were removed by ways that no trigger sees
    return collection.rows(
        f"SELECT k.uuid, k.number, k.completed_at FROM {table} k JOIN {source} s ON s.id = k.id "
        f"WHERE k.kind = ? AND NOT EXISTS "
        f"(SELECT 1 FROM {table} l WHERE l.uuid = k.uuid AND l.number > k.number)",
        (kind,),
    )


def run_digests(collection: Collection) -> dict[str, str]:
    """Return for each run_id a text that changes when its documents do. Needs the key table."""
    # milliseconds since 2020: whole numbers, whose sum is exact for 10 million documents
    moment = "CAST(round((julianday(k.completed_at) - 2458849.5) * 86400000) AS INTEGER)"
    rows = collection.rows(
        f"SELECT k.run_id, count(*), sum({moment}) FROM {_table(collection)} k "
        f"JOIN {collection.name} s ON s.id = k.id WHERE k.run_id IS NOT NULL GROUP BY k.run_id"
    )
    return {str(run): f"{n}:{total}" for run, n, total in rows}


def extract(
    collection: Collection, fields: Sequence[str], key: str, wanted: Iterable[str] | None
) -> Iterator[list[Any]]:
    """Yield fields of the documents that have one of several texts in a field.

    Parameters
    ----------
    collection : Collection
        Where to look.
    fields : sequence of str
        At least two paths of plain names. A path through an array gives None.
    key : str
        The path that selects; best one that has an index.
    wanted : iterable of str or None
        Its values; None for all documents.

    Yields
    ------
    list
        The values, None where there is nothing.
    """
    paths = ", ".join(field_sql(field).removeprefix("json_extract(data, ")[:-1] for field in fields)
    sql = f"SELECT json_extract(data, {paths}) FROM {collection.name}"
    if wanted is None:
        found = collection.rows(f"{sql} ORDER BY id")
    else:
        sql += f" WHERE {field_sql(key)} IN (SELECT value FROM json_each(?)) ORDER BY +id"
        found = collection.rows(sql, (json.dumps(list(wanted)),))
    for (text,) in found:
        values: list[Any] = json.loads(text, object_hook=untag)
        yield values


def texts(collection: Collection) -> Iterator[str]:
    """Yield the JSON of every document, some at a time; for searching it."""
    sql = f"SELECT id, data FROM {collection.name} WHERE id > ? ORDER BY id LIMIT 200"
    last = 0
    while rows := collection.rows(sql, (last,)):
        yield from (text for _, text in rows)
        last = rows[-1][0]
