"""MongoDB filters from what people ask for."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from dismaiflow.errors import DismaiError
from dismaiflow.store.row_making import utc_text

#: A point in time, as people give it.
Moment = str | date | datetime


def given(**criteria: Any) -> dict[str, Any]:
    """Return the filter for values of fields, those left out that are None."""
    return {name: value for name, value in criteria.items() if value is not None}


def is_of_protocol(key: str, protocol: str) -> bool:
    """Say whether the key of a protocol is the one asked for, by its name or as a whole."""
    return protocol in (key, key.partition("-")[0])


def of_protocol(field: str, protocol: str | None) -> dict[str, Any]:
    """Return the filter for a protocol: its whole key, or its name.

    Parameters
    ----------
    field : str
        The field with one key or several.
    protocol : str or None
        E.g. ``published`` or ``published-1-fixed``; None for all.
    """
    if protocol is None:
        return {}
    if "-" in protocol:
        return {field: protocol}
    return {field: {"$regex": f"^{re.escape(protocol)}-"}}


def between(field: str, since: Moment | None, until: Moment | None) -> dict[str, Any]:
    """Return the filter for a span of time, both ends included.

    Parameters
    ----------
    field : str
        The field with a date, as rows hold it.
    since, until : str, date or datetime, optional
        ISO 8601; without a time zone it is UTC. A day without a time means all of that day.

    Raises
    ------
    DismaiError
        If one is no date.
    """
    bounds = {}
    if since is not None:
        bounds["$gte"] = utc_text(_moment("since", since)[0])
    if until is not None:
        moment, whole_day = _moment("until", until)
        if whole_day:
            moment += timedelta(days=1)
        bounds["$lt" if whole_day else "$lte"] = utc_text(moment)
    return {field: bounds} if bounds else {}


def _moment(name: str, when: Moment) -> tuple[datetime, bool]:
    """Read a point in time, and say whether it is a whole day, of which it is the beginning."""
    if isinstance(when, str):
        text = when.strip()
        try:
            when = date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError as error:
            raise DismaiError(
                f"{name} {text!r}: give a date such as 2026-01-31 or 2026-01-31T09:00"
            ) from error
    if isinstance(when, datetime):
        return (when if when.tzinfo else when.replace(tzinfo=UTC)), False
    return datetime.combine(when, time(), UTC), True
