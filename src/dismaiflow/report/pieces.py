"""Pieces that scores and datasets have in common on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.report.markup import Html, tag
from dismaiflow.report.words import control_meaning, metric_text, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dismaiflow.report.remarks import Remark
    from dismaiflow.report.rows import Row

_ORDER = {"warning": 0, "plain": 1, "note": 2}


def remark_list(remarks: Iterable[Remark]) -> Html:
    """Return remarks as a list, warnings first and notes last."""
    items = [
        tag("li", r.text, " " if r.more else None, r.more or None, class_=r.level)
        for r in sorted(remarks, key=lambda remark: _ORDER[remark.level])
    ]
    return tag("ul", *items, class_="remarks") if items else Html("")


def card(label: object, value: object, below: Sequence[object]) -> Html:
    """Return one headline number with lines below it."""
    lines = [tag("span", line, class_="below") for line in below]
    return tag(
        "div", tag("span", label, class_="label"), tag("strong", value), *lines, class_="card"
    )


def cards(*members: Html) -> Html:
    """Return headline numbers beside each other."""
    return tag("div", *members, class_="cards")


def value_row(row: Row, metrics: Sequence[str], class_: str) -> Html:
    """Return one row of values, with smaller intervals and what a control is."""
    return tag("tr", row_name(row), *value_cells(row, metrics), class_=class_)


def row_name(row: Row, sizes: Sequence[int] = ()) -> Html:
    """Return the first cell of a row, with its numbers of structures where they are known."""
    words = [control_meaning(row.name)] if row.group == "control" else []
    words += [f"({plural(size, 'structure')})" for size in sizes]
    about = " ".join(word for word in words if word)
    return tag("th", row.name, tag("span", about, class_="about") if about else None, scope="row")


def value_cells(row: Row, metrics: Sequence[str]) -> list[Html]:
    """Return the values of a row, each with its interval."""
    cells = []
    for metric in metrics:
        value = row.get(metric)
        interval = value.interval_text(metric)
        small = tag("span", f" {interval}", class_="interval") if interval else None
        cells.append(tag("td", metric_text(metric, value.value), small))
    return cells
