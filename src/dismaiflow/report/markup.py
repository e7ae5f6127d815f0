"""HTML in which everything is escaped that was not made here."""

from __future__ import annotations

import html
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dismaiflow.report.figure import Plot

#: Elements without an end.
_VOID = frozenset({"br", "hr", "img", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Return something as HTML: what is HTML stays, None is nothing, all else is escaped."""
    if isinstance(text, Html):
        return text
    return Html("" if text is None else html.escape(str(text)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Return an element.

    Parameters
    ----------
    name : str
        Its tag.
    *children : object
        Its content; what is not `Html` is escaped.
    **attributes : object
        Its attributes: ``class_`` for class, ``data_x`` for data-x. None and False are left out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        plain = key.rstrip("_").replace("_", "-")
        parts.append(plain if value is True else f'{plain}="{escape(value)}"')
    opening = f"<{' '.join(parts)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Return parts one after the other."""
    return Html(separator.join(escape(part) for part in parts))


def table(
    head: Sequence[object] | Html,
    rows: Iterable[Sequence[object] | Html],
    class_: str | None = None,
) -> Html:
    """Return a table, which scrolls by itself where it is too wide.

    Parameters
    ----------
    head : sequence or Html
        Headers, none for a table without; or the whole head.
    rows : iterable
        Sequences of cells, of which the first is the name of the row, or whole rows as `Html`.
    class_ : str, optional
        Class of the table.
    """
    parts = []
    if isinstance(head, Html):
        parts.append(head)
    elif head:
        parts.append(tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))))
    body = [row if isinstance(row, Html) else _row(row) for row in rows]
    parts.append(tag("tbody", *body))
    return tag("div", tag("table", *parts, class_=class_), class_="scroll")


def group_row(text: object, columns: int, class_: str = "group") -> Html:
    """Return a row that heads those below it."""
    return tag("tr", tag("th", text, colspan=columns, scope="colgroup"), class_=class_)


def details(summary: object, *children: object) -> Html:
    """Return something that is folded away at first."""
    return tag("details", tag("summary", summary), *children)


def code(text: object) -> Html:
    """Return a hash or the like, which may break anywhere."""
    return tag("code", text)


def inline_json(data: Any) -> Html:
    """Return JSON that no text in it can end early, for a script element.

    Numbers that are not finite become null.
    """
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _row(cells: Sequence[object]) -> Html:
    name, *rest = cells
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in rest))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


class Page:
    """Collects what the scripts of a page draw, and its headings.

    Attributes
    ----------
    plots : dict of str to dict
        Figures by the id of their element.
    structures : dict of str to dict
        Structures to turn, likewise.
    contents : list of (str, str, int)
        Id, text and level of every heading.
    """

    def __init__(self) -> None:
        self.plots: dict[str, dict[str, Any]] = {}
        self.structures: dict[str, dict[str, Any]] = {}
        self.contents: list[tuple[str, str, int]] = []

    def plot(self, plot: Plot | None, description: str, caption: object = None) -> Html:
        """Return the place of a figure; nothing for None.

        Parameters
        ----------
        plot : Plot or None
            The figure.
        description : str
            What it shows, for those who cannot see it.
        caption : optional
            Stands below it.
        """
        if plot is None:
            return Html("")
        name = f"plot-{len(self.plots) + 1}"
        self.plots[name] = plot.as_dict()
        area = tag(
            "div",
            id=name,
            class_="plot",
            style=f"height:{plot.height}px",
            role="img",
            aria_label=description,
        )
        return tag("figure", area, tag("figcaption", caption) if caption else None)

    def heading(self, level: int, text: str) -> Html:
        """Return a heading that the contents list."""
        name = f"section-{len(self.contents) + 1}"
        self.contents.append((name, text, level))
        return tag(f"h{level}", text, id=name)
