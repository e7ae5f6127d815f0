"""The embedded store answers as a MongoDB server does: the same tests for both."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import bson
import mongomock_ng as mongomock
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jobflow import JobConfig, OnMissing
from maggma.core import StoreError
from maggma.stores import MongoStore
from pymongo import MongoClient
from pymongo.errors import DocumentTooLarge, OperationFailure

from dismaiflow.store import EmbeddedStore
from mongod import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = datetime(2024, 1, 2, 3, 4, 5, 678000)
DOCS: list[dict[str, Any]] = [
    {
        "uuid": "a", "index": 1, "n": 1, "x": 1, "s": "abc", "null": None, "on": True, "t": DAY,
        "out": {"d": 0.5, "v": [1, 2, 3]}, "rows": [{"k": 1, "w": [5, 6]}, {"k": 2}],
        "tags": ["p", "q"], "big": 2**53 + 1,
    },
    {
        "uuid": "a", "index": 2, "n": 2, "x": 2.0, "s": "ABD", "on": False,
        "out": {"d": None, "v": []}, "rows": [], "tags": ["q"], "big": 2**53,
        "t": DAY + timedelta(days=400),
    },
    {
        "uuid": "b", "index": 1, "n": 3, "x": "1", "s": "", "out": {"v": "text"}, "tags": [],
        "rows": [{"k": 1}], "t": None, "id": "7", "metadata": {"system": "lsc-lco"},
    },
    {
        "uuid": "c", "index": 1, "n": 4, "x": [1, 5], "s": None, "out": [{"d": 1}, {"d": 5}],
        "tags": "q", "t": "2024-06-01T00:00:00", "metadata": {"system": "amorphous-si"},
    },
    {"uuid": "d'q\"", "index": 10, "n": 5, "x": {"y": 1}, "out": 5, "tags": [["p"]]},
    {"uuid": "é", "index": 3, "n": 6, "x": True, "s": "a\nb", "m": [[1, 2], [3, 4]]},
]  # fmt: skip

# criteria and the `n` of the documents that MongoDB finds
QUERIES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 5, 6]),
    ({"uuid": "a"}, [1, 2]),
    ({"uuid": "a", "index": 2}, [2]),
    ({"uuid": "d'q\""}, [5]),
    ({"uuid": "é"}, [6]),
    ({"uuid": {"$in": ["a", "c", "z"]}}, [1, 2, 4]),
    ({"uuid": {"$in": []}}, []),
    ({"id": "7"}, [3]),
    # numbers, booleans and strings are different things
    ({"x": 1}, [1, 4]),
    ({"x": 2}, [2]),
    ({"x": "1"}, [3]),
    ({"x": True}, [6]),
    ({"on": 1}, []),
    ({"x": {"$gt": 1}}, [2, 4]),
    ({"x": {"$lt": 2}}, [1, 4]),
    ({"x": {"$gt": 1, "$lt": 3}}, [2, 4]),
    ({"x": {"$ne": 1}}, [2, 3, 5, 6]),
    ({"x": {"$in": [1, "1"]}}, [1, 3, 4]),
    ({"x": {"$nin": [1]}}, [2, 3, 5, 6]),
    ({"big": 2**53 + 1}, [1]),
    ({"big": {"$gt": 2**53}}, [1]),
    # null and missing
    ({"null": None}, [1, 2, 3, 4, 5, 6]),
    ({"null": {"$exists": True}}, [1]),
    ({"s": {"$exists": False}}, [5]),
    ({"s": {"$ne": None}}, [1, 2, 3, 6]),
    ({"nothing": {"$ne": 1}}, [1, 2, 3, 4, 5, 6]),
    ({"nothing": {"$gt": 1}}, []),
    # nested fields and arrays
    ({"metadata.system": "lsc-lco"}, [3]),
    ({"metadata": {"system": "lsc-lco"}}, [3]),
    ({"out.d": 0.5}, [1]),
    ({"out.d": None}, [2, 3, 5, 6]),
    ({"out.d": {"$gt": 0}}, [1, 4]),
    ({"out.v": 2}, [1]),
    ({"out.v.0": 1}, [1]),
    ({"out.v": [1, 2, 3]}, [1]),
    ({"out.v": {"$size": 3}}, [1]),
    ({"rows.k": 1}, [1, 3]),
    ({"rows.0.k": 1}, [1, 3]),
    ({"rows.1.k": 2}, [1]),
    ({"rows.w": 5}, [1]),
    ({"rows": []}, [2]),
    ({"rows": {"$elemMatch": {"k": 1, "w": 5}}}, [1]),
    ({"out.v": {"$elemMatch": {"$gt": 1, "$lt": 3}}}, [1]),
    ({"tags": "q"}, [1, 2, 4]),
    ({"tags": {"$in": ["p"]}}, [1]),
    ({"tags": {"$all": ["p", "q"]}}, [1]),
    ({"tags": {"$ne": "q"}}, [3, 5, 6]),
    ({"tags.0": "q"}, [2]),
    ({"m": [1, 2]}, [6]),
    ({"m.0.1": 2}, [6]),
    # dates are not strings
    ({"t": DAY}, [1]),
    ({"t": {"$gt": DAY}}, [2]),
    ({"t": {"$gte": DAY.replace(tzinfo=timezone(timedelta(hours=1)))}}, [1, 2]),
    ({"t": {"$gt": "2024"}}, [4]),
    # the rest
    ({"s": {"$regex": "^a"}}, [1, 6]),
    ({"s": {"$regex": "^a", "$options": "i"}}, [1, 2, 6]),
    ({"s": re.compile("^a", re.IGNORECASE)}, [1, 2, 6]),
    ({"s": {"$in": [re.compile("b$"), ""]}}, [3, 6]),
    ({"s": {"$not": {"$regex": "a"}}}, [2, 3, 4, 5]),
    ({"index": {"$not": {"$gt": 1}}}, [1, 3, 4]),
    ({"$or": [{"uuid": "c"}, {"rows.0.k": 1}]}, [1, 3, 4]),
    ({"$and": [{"uuid": "a"}, {"index": {"$gt": 1}}]}, [2]),
    ({"$nor": [{"uuid": "a"}, {"x": True}]}, [3, 4, 5]),
    ({"$or": [{"$and": [{"uuid": "a"}, {"x": 1}]}, {"n": 6}]}, [1, 6]),
]


@pytest.fixture
def filled(store: MongoStore) -> MongoStore:
    """Return a store that holds DOCS."""
    store.update(DOCS, key=["uuid", "index"])
    return store


def test_queries(filled: MongoStore) -> None:
    """Filters find what MongoDB finds, with an index on the field and without."""
    for _ in range(2):
        for criteria, expected in QUERIES:
            assert sorted(d["n"] for d in filled.query(criteria)) == expected, criteria
            assert filled.count(criteria) == len(expected), criteria
        for field in ("x", "tags", "out.d", "rows.k", "metadata.system"):
            assert filled.ensure_index(field)


@pytest.mark.parametrize(
    "criteria",
    [
        {"x": {"$nope": 1}},
        {"$nope": [{}]},
        {"x": {"$in": 1}},
        {"$or": []},
        {"x": {"$regex": "("}},
        {"x": {"$not": 1}},
        {"x": {"$elemMatch": 1}},
        {"x": {"$options": "i"}},
        {"$and": [1]},
    ],
)
def test_wrong_filters(filled: MongoStore, criteria: dict[str, Any]) -> None:
    """A filter that cannot be answered is an error, not an empty answer."""
    with pytest.raises(OperationFailure):
        list(filled.query(criteria))


@pytest.mark.parametrize(
    ("n", "properties", "expected"),
    [
        (1, ["uuid", "out.d"], {"uuid": "a", "out": {"d": 0.5}}),
        (3, ["out.d", "nothing"], {"out": {}}),
        (4, ["out.d"], {"out": [{"d": 1}, {"d": 5}]}),
        (5, ["out.d"], {}),
        (1, ["rows.k"], {"rows": [{"k": 1}, {"k": 2}]}),
        (1, {"out.v": 1, "out.d": 1}, {"out": {"d": 0.5, "v": [1, 2, 3]}}),
        (5, {"x": 0, "out": 0, "tags": 0}, {"uuid": "d'q\"", "index": 10, "n": 5}),
        (4, {"out.d": 0, "x": 0, "s": 0, "t": 0, "metadata": 0},
         {"uuid": "c", "index": 1, "n": 4, "out": [{}, {}], "tags": "q"}),
        (6, None, DOCS[5]),
        (6, [], DOCS[5]),
        (6, {"_id": 1}, {}),
    ],
)  # fmt: skip
def test_projections(filled: MongoStore, n: int, properties: Any, expected: Any) -> None:
    """Projections keep the nesting; `_id` comes along unless it is refused."""
    found = filled.query_one({"n": n}, properties=properties)
    assert isinstance(found.pop("_id"), bson.ObjectId)
    assert found == expected
    if isinstance(properties, dict) and "_id" not in properties:
        assert filled.query_one({"n": n}, properties={**properties, "_id": 0}) == expected


def test_wrong_projections(filled: MongoStore) -> None:
    """Projections that contradict themselves are refused."""
    for properties in ({"x": 1, "s": 0}, ["out", "out.d"]):
        with pytest.raises(OperationFailure):
            list(filled.query({}, properties=properties))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ({"n": -1}, [6, 5, 4, 3, 2, 1]),
        ({"uuid": 1, "index": -1}, [2, 1, 3, 4, 5, 6]),
        # missing and null, numbers, strings, documents, booleans; arrays by their extremes
        ({"x": 1, "n": 1}, [1, 4, 2, 3, 5, 6]),
        ({"x": -1, "n": 1}, [6, 5, 3, 4, 2, 1]),
        ({"t": -1, "n": 1}, [2, 1, 4, 3, 5, 6]),
        ({"out.d": 1, "n": 1}, [2, 3, 5, 6, 1, 4]),
        ({"tags": 1, "n": 1}, [3, 6, 1, 2, 4, 5]),
    ],
)
def test_sort(filled: MongoStore, sort: dict[str, int], expected: list[int]) -> None:
    """Sorting follows MongoDB's order of types; skip and limit count sorted documents."""
    assert [d["n"] for d in filled.query(sort=sort)] == expected
    assert [d["n"] for d in filled.query(sort=sort, skip=1, limit=3)] == expected[1:4]
    assert filled.query_one(sort=sort)["n"] == expected[0]
    assert list(filled.query(sort=sort, skip=6)) == []


def test_limits_without_sort(filled: MongoStore) -> None:
    """Skip and limit hold without sorting too, and a default sort is used where given."""
    assert len(list(filled.query(limit=4))) == 4
    assert len(list(filled.query(skip=4))) == 2
    filled.default_sort = {"n": -1}
    assert [d["n"] for d in filled.query(limit=2)] == [6, 5]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("uuid", ["a", "b", "c", "d'q\"", "é"]),
        ("tags", ["p", "q", ["p"]]),
        ("rows.k", [1, 2]),
        ("rows.0.k", [1]),
        ("rows.w", [5, 6]),
        ("out.d", [0.5, 1, 5, None]),
        ("null", [None]),
        ("nothing", []),
        ("on", [False, True]),
        ("x", [1, 2.0, 5, "1", True, {"y": 1}]),
        ("m", [[1, 2], [3, 4]]),
    ],
)
def test_distinct(filled: MongoStore, field: str, expected: list[Any]) -> None:
    """Distinct values go through arrays, and keep their types."""
    found = filled.distinct(field)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_distinct_of_some(filled: MongoStore) -> None:
    """Distinct values may be asked of a part."""
    assert sorted(filled.distinct("index", {"uuid": {"$in": ["a", "é"]}})) == [1, 2, 3]


def test_groupby(filled: MongoStore) -> None:
    """Groups have the nested keys, and documents that lack one are a group without it."""
    groups = {key["uuid"]: sorted(d["n"] for d in docs) for key, docs in filled.groupby("uuid")}
    assert groups == {"a": [1, 2], "b": [3], "c": [4], "d'q\"": [5], "é": [6]}
    nested = [
        (key, sorted(d["n"] for d in docs))
        for key, docs in filled.groupby(["metadata.system", "index"], {"index": {"$lt": 3}})
    ]
    assert len(nested) == 4
    assert ({"metadata": {"system": "lsc-lco"}, "index": 1}, [3]) in nested
    assert ({"metadata": {"system": "amorphous-si"}, "index": 1}, [4]) in nested
    assert ({"index": 1}, [1]) in nested
    assert ({"index": 2}, [2]) in nested
    for key, docs in filled.groupby("out.d", {"n": {"$in": [1, 4]}}, properties=["n"]):
        (doc,) = docs
        assert key == {"out": {"d": {1: 0.5, 4: [1, 5]}[doc["n"]]}}
        assert set(doc) == {"_id", "n", "out"}


def test_update_replaces_by_key(store: MongoStore) -> None:
    """Documents are replaced as wholes by the key given, and keep their `_id`."""
    store.update({"uuid": "a", "index": 1, "old": 1})
    first = store.query_one()["_id"]
    store.update([{"uuid": "a", "index": 1, "new": 1}, {"uuid": "b", "index": 1}])
    assert store.count() == 2
    replaced = store.query_one({"uuid": "a"})
    assert replaced == {"_id": first, "uuid": "a", "index": 1, "new": 1}
    store.update({"uuid": "a", "index": 2}, key=["uuid", "index"])
    assert store.count({"uuid": "a"}) == 2
    store.update(replaced | {"newer": True}, key=["uuid", "index"])
    assert store.query_one({"newer": True})["_id"] == first
    assert store.count() == 3
    with pytest.raises(OperationFailure):
        store.update(replaced | {"_id": bson.ObjectId()}, key=["uuid", "index"])
    with pytest.raises(KeyError):
        store.update({"index": 1})
    assert store.count() == 3


def test_remove_docs(filled: MongoStore) -> None:
    """What matches is removed, the rest stays."""
    filled.remove_docs({"uuid": "nobody"})
    assert filled.count() == 6
    filled.remove_docs({"x": {"$in": [1, True]}})
    assert sorted(d["n"] for d in filled.query()) == [2, 3, 5]
    filled.remove_docs({})
    assert filled.count() == 0
    assert filled.query_one() is None


def test_indexes(filled: MongoStore) -> None:
    """Indexes can be made twice; a unique one is refused or kept."""
    assert filled.ensure_index("index")
    assert filled.ensure_index("index")
    assert not filled.ensure_index("uuid2", unique=True) or filled.count() == 6
    assert filled.ensure_index("n", unique=True)
    with pytest.raises(OperationFailure):
        filled.update({"uuid": "z", "index": 1, "n": 1}, key=["uuid", "index"])
    assert filled.count() == 6
    filled.update({"uuid": "a", "index": 1, "n": 1}, key=["uuid", "index"])


def test_values_come_back(store: MongoStore) -> None:
    """Values of every kind come back as from a server."""
    values: dict[str, Any] = {
        "big": 2**62 + 1, "neg": -(2**63), "float": 0.1 + 0.2, "tiny": 5e-324, "zero": -0.0,
        "text": 'é"\\\n\u2028', "empty": {}, "none": None, "on": True,
        "oid": bson.ObjectId("0123456789abcdef01234567"), "t": [DAY], "a.b": 1, "$key": 1,
        "nested": [[1, [2, {"x": None}]]],
    }  # fmt: skip
    store.update({"uuid": "a", "values": values, "nan": math.nan, "inf": [math.inf, -math.inf]})
    found = store.query_one({"uuid": "a"})
    assert found["values"] == values
    assert [type(v) for v in found["values"].values()] == [
        bson.Int64 if type(v) is int and abs(v) >= 2**31 and not isinstance(store, EmbeddedStore)
        else type(v) for v in values.values()
    ]  # fmt: skip
    assert math.isnan(found["nan"])
    assert found["inf"] == [math.inf, -math.inf]
    assert math.copysign(1, found["values"]["zero"]) == -1
    assert store.count({"nan": math.nan}) == 1
    assert store.count({"inf": math.inf}) == 1


def test_dates_in_utc_and_milliseconds(store: MongoStore) -> None:
    """Dates come back naive, in UTC, cut to milliseconds."""
    zone = timezone(timedelta(hours=5))
    store.update({"uuid": "a", "t": datetime(2024, 1, 1, 3, 0, 0, 1999, tzinfo=zone)})
    assert store.query_one()["t"] == datetime(2023, 12, 31, 22, 0, 0, 1000)


def test_objects_are_sanitized(store: MongoStore) -> None:
    """Numpy arrays, tuples and MSONable objects become plain values."""
    config = JobConfig(on_missing_references=OnMissing.NONE)
    store.update({"uuid": "a", "x": np.arange(3), "y": (1, 2), "config": config})
    found = store.query_one()
    assert found["x"] == [0, 1, 2]
    assert found["y"] == [1, 2]
    assert found["config"]["@class"] == "JobConfig"


def test_what_a_server_refuses(make_store: Callable[..., MongoStore]) -> None:
    """Too large documents and integers are refused, and nothing of the call is kept."""
    store = make_store(key="uuid")
    with pytest.raises(OverflowError):
        store.update([{"uuid": "a"}, {"uuid": "b", "x": 2**63}])
    assert store.count() == 0
    large = {"uuid": "b", "x": "x" * (16 * 1024 * 1024)}
    with pytest.raises((DocumentTooLarge, OperationFailure)):
        store.update(large)
    assert store.count() == 0
    lenient = make_store(key="uuid", safe_update=True)
    lenient.update([{"uuid": "a"}, large, {"uuid": "c"}])
    assert lenient.distinct("uuid") == ["a", "c"]


def test_last_updated_and_newer_in(make_store: Callable[..., MongoStore]) -> None:
    """Builders see what is newer in another store."""
    old, new = make_store(key="uuid"), make_store(key="uuid")
    assert old.last_updated == datetime.min
    for number, name in enumerate("abc"):
        old.update({"uuid": name, "last_updated": DAY + timedelta(days=number)})
        new.update({"uuid": name, "last_updated": DAY + timedelta(days=2 * number)})
    new.update({"uuid": "d", "last_updated": DAY})
    assert old.last_updated == DAY + timedelta(days=2)
    assert sorted(old.newer_in(new)) == ["c"]
    assert sorted(old.newer_in(new, exhaustive=True)) == ["b", "c", "d"]
    assert old.newer_in(old) == []
    old.remove_docs({})
    old.update({"uuid": "x"})
    with pytest.raises(StoreError):
        _ = old.last_updated


def test_connections(store: MongoStore) -> None:
    """A store must be connected, can be closed and connected again, and keeps its documents."""
    store.update({"uuid": "a"})
    store.connect()
    store.connect(force_reset=True)
    assert store.count() == 1
    store.close()
    with pytest.raises(StoreError):
        store.count()
    store.connect()
    assert store.count() == 1
    with store as again:
        assert again.query_one()["uuid"] == "a"


def test_updates_while_reading(filled: MongoStore) -> None:
    """Documents may be written while others are being read."""
    seen = []
    for doc in filled.query():
        seen.append(doc["n"])
        filled.update(doc | {"seen": True}, key=["uuid", "index"])
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    assert filled.count({"seen": True}) == 6


# ---------------------------------------------------------------- the same questions at random

_FIELDS = st.sampled_from(["a", "b", "c"])
_PATHS = st.sampled_from(["a", "b", "c", "a.b", "a.c", "b.a", "a.b.c", "a.0", "b.1.a"])


def _values(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw scalars, and documents and arrays of them."""
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(_FIELDS, inner, max_size=3)
        ),
        max_leaves=5,
    )


def _criteria(
    scalars: st.SearchStrategy[Any], exists: bool = True
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw filters with one or two conditions, or an `$or` of such."""
    conditions = [
        scalars,
        scalars.map(lambda v: {"$ne": v}),
        st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), scalars).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        st.lists(scalars, max_size=3).map(lambda v: {"$in": v}),
    ]
    if exists:
        conditions.append(st.booleans().map(lambda v: {"$exists": v}))
    simple = st.dictionaries(_PATHS, st.one_of(conditions), max_size=2)
    return st.one_of(simple, st.lists(simple, min_size=1, max_size=2).map(lambda v: {"$or": v}))


def _compare(tmp_path: Path, peer: Any, documents: list[Any], criteria: dict[str, Any]) -> None:
    """Write, overwrite and query the same in the embedded store and in a pymongo collection."""
    with EmbeddedStore(tmp_path / "random.db", "random", key="key") as store:
        store.remove_docs({})
        peer.delete_many({})
        for number, document in enumerate(documents):
            whole = {**document, "key": number % 4}
            store.update(dict(whole))
            peer.replace_one({"key": number % 4}, dict(whole), upsert=True)
        ours = sorted(store.query({}, {"_id": 0}), key=lambda d: d["key"])
        assert ours == sorted(peer.find({}, {"_id": 0}), key=lambda d: d["key"])
        found = sorted(d["key"] for d in store.query(criteria))
        assert found == sorted(d["key"] for d in peer.find(criteria))


_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# what mongomock gets right: it takes True for 1, and sees no missing field below a scalar; nor does
# it find a field that exists in an array which holds scalars too
_PLAIN = st.one_of(st.integers(-2, 2), st.sampled_from(["", "a", "b"]), st.just(0.5))
_ANY = st.one_of(
    _PLAIN, st.none(), st.booleans(), st.just(DAY), st.floats(allow_nan=False), st.text(max_size=3)
)


@_SETTINGS
@given(
    documents=st.lists(st.dictionaries(_FIELDS, _values(_PLAIN), max_size=3), max_size=6),
    criteria=_criteria(_PLAIN, exists=False),
)
def test_agrees_with_mongomock(
    tmp_path: Path, documents: list[Any], criteria: dict[str, Any]
) -> None:
    """Random documents and filters give what maggma's MemoryStore would give."""
    _compare(tmp_path, mongomock.MongoClient().db.random, documents, criteria)


@_SETTINGS
@given(
    documents=st.lists(st.dictionaries(_FIELDS, _values(_ANY), max_size=3), max_size=6),
    criteria=_criteria(_ANY),
)
@example(documents=[{"a": [0.5, {"a": 0.5, "c": 0.5}]}], criteria={"a.c": {"$exists": False}})
def test_agrees_with_a_server(
    tmp_path: Path, mongod: int, documents: list[Any], criteria: dict[str, Any]
) -> None:
    """Random documents of all types and filters give what a server gives."""
    with MongoClient[dict](HOST, mongod) as client:
        _compare(tmp_path, client.tests.random, documents, criteria)
