"""MongoDB's query language over plain documents: filters, projections, sorting.

The embedded store evaluates queries with these functions, so that a question gets the same
answer from it as from a MongoDB server. The rules are those of the MongoDB 6.0 manual
("Query and Projection Operators", "Comparison/Sort Order", "Query an Array"); the tests compare
them with a running server. Operators outside the set below raise an error: none is ignored.

Filters: equality, ``$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $options $not $all $size
$elemMatch $and $or $nor``. Projections: inclusion and exclusion, nested. Dates are naive UTC.
One known difference: a server refuses to sort by ``a.0.b`` where ``0`` could be both an item of an
array and a field in its items, here it is the item.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId, Regex
from pydash import set_
from pymongo.errors import OperationFailure

Document = dict[str, Any]
Predicate = Callable[[Any], bool]

_MISSING = object()
# what an empty array and a missing field count as in a sort
_EMPTY, _NULL = (0,), (1,)
_COMPARE = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def order(value: Any) -> tuple[Any, ...]:
    """Return a hashable key by which values of any type compare as in MongoDB.

    Parameters
    ----------
    value : Any
        A BSON value as pymongo returns it.

    Returns
    -------
    tuple
        Equal for values that MongoDB holds equal (1 and 1.0, not 1 and True; sub-documents with
        the same fields in the same order), and ordered first by the kind of value. Its first
        item is the kind.

    Raises
    ------
    OperationFailure
        If the type of the value has no place in a query here.
    """
    if value is None or value is _MISSING:
        return _NULL
    if isinstance(value, bool):
        return (8, value)
    if isinstance(value, (int, float)):
        return (2, 0, 0) if math.isnan(value) else (2, 1, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, Mapping):
        fields = ((key, order(item)) for key, item in value.items())
        return (4, tuple((key_of[0], name, key_of) for name, key_of in fields))
    if isinstance(value, (list, tuple)):
        return (5, tuple(order(item) for item in value))
    if isinstance(value, bytes):
        return (6, len(value), bytes(value))
    if isinstance(value, ObjectId):
        return (7, value.binary)
    if isinstance(value, datetime):
        return (9, value)
    msg = f"the embedded store does not compare values of type {type(value).__name__}"
    raise OperationFailure(msg)


def reach(value: Any, path: Sequence[str], pick: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield what a dotted path leads to in a document, going through arrays on its way.

    Parameters
    ----------
    value : Any
        The document.
    path : sequence of str
        The parts of the path. A number selects an item of an array; any other part passes to
        the sub-documents in it.
    pick : bool
        Whether a number means the item of an array alone (as in sorting and distinct values) and
        not also a field of that name in its sub-documents (as in filters).

    Yields
    ------
    item : Any
        What is there; a marker where the path ends early in a document.
    whole : bool
        False where the last part picked the item out of an array by its number: such an item,
        should it be an array itself, is not searched.
    """
    for depth, part in enumerate(path):
        if isinstance(value, list):
            rest = path[depth:]
            for number, item in enumerate(value):
                if pick and part.isdigit():
                    pass
                elif isinstance(item, dict):
                    yield from reach(item, rest, pick)
                elif pick:
                    yield _MISSING, True
                if part == str(number):
                    if len(rest) == 1:
                        yield item, False
                    elif isinstance(item, (dict, list)):
                        yield from reach(item, rest[1:], pick)
            return
        value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        if value is _MISSING:
            yield _MISSING, True
            return
    yield value, True


def predicate(criteria: Mapping[str, Any]) -> Predicate:
    """Compile a filter.

    Parameters
    ----------
    criteria : mapping
        The filter, with values as BSON gives them back (naive UTC dates, lists).

    Returns
    -------
    callable
        Says whether a document matches.

    Raises
    ------
    OperationFailure
        If an operator is unknown here, or its argument is not what it takes.
    """
    if not isinstance(criteria, Mapping):
        raise OperationFailure(f"a filter is a document, not {type(criteria).__name__}")
    tests: list[Predicate] = []
    for key, condition in criteria.items():
        if key in ("$and", "$or", "$nor"):
            parts = [predicate(part) for part in _array(key, condition)]
            if not parts:
                raise OperationFailure(f"{key} takes an array that is not empty")
            tests.append(_logical(key, parts))
        elif key.startswith("$"):
            raise OperationFailure(f"the embedded store has no operator {key} at this place")
        else:
            tests.append(_field(key.split("."), condition))
    return _all_of(tests)


def _all_of(tests: Sequence[Predicate]) -> Predicate:
    """Return the conjunction of predicates."""
    return tests[0] if len(tests) == 1 else lambda document: all(t(document) for t in tests)


def _logical(key: str, parts: Sequence[Predicate]) -> Predicate:
    """Return the predicate of ``$and``, ``$or`` or ``$nor``."""
    if key == "$and":
        return _all_of(parts)
    wanted = key == "$or"
    return lambda document: any(part(document) for part in parts) is wanted


def _array(name: str, argument: Any) -> list[Any]:
    """Return the argument of an operator that takes an array."""
    if not isinstance(argument, list):
        raise OperationFailure(f"{name} takes an array, not {type(argument).__name__}")
    return argument


def _is_operators(condition: Any) -> bool:
    """Say whether a condition on a field holds operators rather than a value to equal."""
    return isinstance(condition, Mapping) and next(iter(condition), "").startswith("$")


def _field(path: Sequence[str], condition: Any, search: bool = True) -> Predicate:
    """Return the predicate of one condition on one path.

    Parameters
    ----------
    path : sequence of str
        The parts of the path; empty for the value itself.
    condition : Any
        A value, a regular expression or operators.
    search : bool
        Whether an array at the end of the path matches when one of its items does.
    """
    if not _is_operators(condition):
        return _lifted(_equals(condition), path, search)
    if "$options" in condition and "$regex" not in condition:
        raise OperationFailure("$options needs a $regex beside it")
    return _all_of(
        [
            _operator(name, argument, condition, path, search)
            for name, argument in condition.items()
            if name != "$options"
        ]
    )


def _lifted(test: Predicate, path: Sequence[str], search: bool) -> Predicate:
    """Return the predicate that something at the end of a path passes a test."""

    def run(document: Any) -> bool:
        for value, whole in reach(document, path):
            if test(value):
                return True
            if search and whole and isinstance(value, list) and any(map(test, value)):
                return True
        return False

    return run


def _operator(
    name: str, argument: Any, siblings: Mapping[str, Any], path: Sequence[str], search: bool
) -> Predicate:
    """Return the predicate of one operator on one path, with the operators beside it."""

    def some(test: Predicate, search: bool = search) -> Predicate:
        return _lifted(test, path, search)

    if name in ("$ne", "$nin", "$not"):
        if name == "$not" and not (_is_operators(argument) or isinstance(argument, Regex)):
            raise OperationFailure("$not takes operators or a regular expression")
        inner = argument if name == "$not" else {"$eq" if name == "$ne" else "$in": argument}
        positive = _field(path, inner, search)
        return lambda document: not positive(document)
    if name == "$eq":
        return some(_equals(argument))
    if name == "$in":
        return some(_one_of(_array(name, argument)))
    if name in _COMPARE:
        return some(_compares(name, argument))
    if name == "$regex":
        return some(_regex(argument, siblings.get("$options", "")))
    if name == "$exists":
        exists, wanted = some(lambda value: value is not _MISSING, False), bool(argument)
        return lambda document: exists(document) is wanted
    if name == "$size":
        return some(lambda value: isinstance(value, list) and len(value) == argument, False)
    if name == "$all":
        each = [
            _field(path, x if _is_operators(x) else {"$in": [x]}, search)
            for x in _array(name, argument)
        ]
        return _all_of(each) if each else lambda _: False
    if name == "$elemMatch":
        return some(_element(argument), False)
    raise OperationFailure(f"the embedded store has no operator {name}")


def _equals(wanted: Any) -> Predicate:
    """Return the test of equality; null also equals a missing field."""
    if isinstance(wanted, Regex):
        return _regex(wanted, "")
    if wanted is None:
        return lambda value: value is None or value is _MISSING
    if isinstance(wanted, str):  # by far the most frequent, and needs no key
        return lambda value: isinstance(value, str) and value == wanted
    key = order(wanted)
    return lambda value: order(value) == key


def _one_of(wanted: Sequence[Any]) -> Predicate:
    """Return the test of equality with one of several values or regular expressions."""
    keys = {order(item) for item in wanted if not isinstance(item, Regex)}
    patterns = [_regex(item, "") for item in wanted if isinstance(item, Regex)]
    return lambda value: order(value) in keys or any(match(value) for match in patterns)


def _compares(name: str, bound: Any) -> Predicate:
    """Return the test of ``$gt`` and its like, which hold between values of one kind only."""
    key, compare = order(bound), _COMPARE[name]
    if key[:2] == (2, 0):  # not a number: equal to itself, neither above nor below anything
        return lambda value: name in ("$gte", "$lte") and order(value) == key

    def test(value: Any) -> bool:
        found = order(value)
        return found[0] == key[0] and found[:2] != (2, 0) and bool(compare(found, key))

    return test


def _regex(pattern: str | Regex[str], options: str) -> Predicate:
    """Return the test of a regular expression, in Python's dialect."""
    try:
        flags = re.RegexFlag(0)
        for letter in options:
            flags |= _FLAGS[letter]
        if isinstance(pattern, Regex):
            flags |= re.RegexFlag(pattern.flags)
            pattern = pattern.pattern
        search = re.compile(pattern, flags).search
    except (re.error, KeyError, TypeError) as error:
        msg = f"not a regular expression: {pattern!r} with options {options!r} ({error})"
        raise OperationFailure(msg) from error
    return lambda value: isinstance(value, str) and search(value) is not None


def _element(condition: Any) -> Predicate:
    """Return the test of ``$elemMatch``."""
    if not isinstance(condition, Mapping):
        raise OperationFailure("$elemMatch takes a document")
    logical = next(iter(condition), "") in ("$and", "$or", "$nor")
    if _is_operators(condition) and not logical:
        value_test = _field([], condition, search=False)
        return lambda value: isinstance(value, list) and any(map(value_test, value))
    test = predicate(condition)

    def run(value: Any) -> bool:
        if not isinstance(value, list):
            return False
        # an array counts as a document of its numbers, as in `reach`
        as_documents = (
            {str(i): x for i, x in enumerate(item)} if isinstance(item, list) else item
            for item in value
        )
        return any(isinstance(item, dict) and test(item) for item in as_documents)

    return run


def projection(fields: Mapping[str, Any] | Iterable[str] | None) -> Callable[[Document], Document]:
    """Compile a projection.

    Parameters
    ----------
    fields : mapping, iterable of str or None
        Fields to keep, or ``{field: 1}`` to keep or ``{field: 0}`` to drop. ``_id`` is kept
        unless ``{"_id": 0}``.

    Returns
    -------
    callable
        Makes the projected document from a document.

    Raises
    ------
    OperationFailure
        If fields are both kept and dropped, lie inside each other, or use an operator.
    """
    if fields is None:
        return lambda document: document
    spec = dict(fields) if isinstance(fields, Mapping) else dict.fromkeys(fields, 1)
    if any(not isinstance(flag, (bool, int, float)) for flag in spec.values()):
        raise OperationFailure("the embedded store projects by 1 and 0 only")
    if not spec:
        return lambda document: document
    with_id = spec.pop("_id", None)
    kept = {bool(flag) for flag in spec.values()} or {bool(with_id)}
    if len(kept) > 1:
        raise OperationFailure("a projection either keeps fields or drops them")
    keep = kept.pop()
    tree: dict[str, Any] = {}
    for name in spec:
        *parents, last = name.split(".")
        branch: Any = tree
        for parent in parents:
            branch = branch.setdefault(parent, {}) if branch is not None else None
        if branch is None or last in branch:
            raise OperationFailure(f"path collision at {name} in a projection")
        branch[last] = None
    if keep is (with_id is None or bool(with_id)):  # a leaf that is kept, or one that is dropped
        tree["_id"] = None
    return lambda document: _prune(document, tree, keep)


def _prune(value: Any, tree: Mapping[str, Any], keep: bool) -> Any:
    """Return a copy of a value with the leaves of a tree of fields kept, or dropped."""
    if isinstance(value, list):
        return [_prune(x, tree, keep) for x in value if not keep or isinstance(x, (dict, list))]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, item in value.items():
        if name not in tree:
            if not keep:
                result[name] = item
        elif tree[name] is None:
            if keep:
                result[name] = item
        elif not keep or isinstance(item, (dict, list)):
            result[name] = _prune(item, tree[name], keep)
    return result


def sort_documents(documents: list[Document], sort: Iterable[tuple[str, int]]) -> None:
    """Sort documents in place.

    Parameters
    ----------
    documents : list of dict
        What to sort. Documents that compare equal stay in their order.
    sort : iterable of (str, int)
        Paths, the first one leading, with 1 for ascending and -1 for descending. An array
        counts by its least item when ascending and by its greatest when descending.
    """
    for path, direction in reversed(list(sort)):
        parts, extreme = path.split("."), min if direction > 0 else max

        def key(document: Document, parts: list[str] = parts, extreme: Any = extreme) -> Any:
            found: list[tuple[Any, ...]] = []
            for value, whole in reach(document, parts, pick=True):
                if isinstance(value, list) and (whole or not value):
                    found.extend([order(item) for item in value] or [_EMPTY])
                else:
                    found.append(order(value))
            return extreme(found, default=_NULL)

        documents.sort(key=key, reverse=direction < 0)


def distinct(documents: Iterable[Document], path: str) -> list[Any]:
    """Return the different values of a path, those inside arrays one by one.

    Parameters
    ----------
    documents : iterable of dict
        What to look through.
    path : str
        A dotted path.

    Returns
    -------
    list
        In the order of first appearance. Missing fields give nothing.
    """
    parts = path.split(".")
    seen: dict[tuple[Any, ...], Any] = {}
    for document in documents:
        for value, _ in reach(document, parts, pick=True):
            for item in value if isinstance(value, list) else [value]:
                if item is not _MISSING:
                    seen.setdefault(order(item), item)
    return list(seen.values())


def group(
    documents: Iterable[Document], keys: Sequence[str]
) -> Iterator[tuple[Document, list[Document]]]:
    """Group documents by the values of fields.

    Parameters
    ----------
    documents : iterable of dict
        What to group.
    keys : sequence of str
        Dotted paths. Through an array, a path has the array of the values in it.

    Yields
    ------
    (dict, list of dict)
        The values as a nested document, without those that are missing, and the documents.
    """
    groups: dict[tuple[Any, ...], tuple[Document, list[Document]]] = {}
    for document in documents:
        values = [(key, _value(document, key.split("."))) for key in keys]
        found = {key: value for key, value in values if value is not _MISSING}
        members = groups.setdefault(order(found), (found, []))[1]
        members.append(document)
    for found, members in groups.values():
        nested: Document = {}
        for key, value in found.items():
            set_(nested, key, value)
        yield nested, members


def _value(value: Any, path: Sequence[str]) -> Any:
    """Return what an expression ``$path`` stands for in an aggregation."""
    for depth, part in enumerate(path):
        if isinstance(value, list):
            found = (_value(item, path[depth:]) for item in value)
            return [item for item in found if item is not _MISSING]
        value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    return value
