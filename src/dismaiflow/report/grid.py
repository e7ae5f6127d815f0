"""Blocks of rows under common columns, which rich's tables cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

#: Columns that every terminal and every pipe has.
WIDTH = 80

#: Style of the row that stands out.
MARKED = "bold cyan"

#: Names longer than this are folded.
_NAME_WIDTH = 18

#: A value and its interval.
Cell = tuple[str, str]


@dataclass(frozen=True)
class Block:
    """Rows under one heading.

    Parameters
    ----------
    heading : str
        Stands above the rows; nothing if empty.
    names : sequence of str
        Names of the rows.
    cells : sequence of sequence of (str, str)
        Value and interval, by row and column.
    style : str
        Style of rich.
    marked : int, optional
        The row that stands out.
    """

    heading: str
    names: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    style: str = ""
    marked: int | None = None


def draw(headers: Sequence[str], blocks: Sequence[Block], first: str = "") -> RenderableType:
    """Draw blocks one below the other, with aligned columns.

    Intervals stand beside their values where 80 columns allow it, and below them otherwise.

    Parameters
    ----------
    headers : sequence of str
        Headers of the value columns.
    blocks : sequence of Block
        What to draw.
    first : str
        Header of the column of names.
    """
    names = [first, *(name for block in blocks for name in block.names)]
    name_width = min(max(map(len, names)), _NAME_WIDTH)
    gap, separator = 2, " "
    widths = _widths(headers, blocks, separator)
    if _total(name_width, widths, gap) > WIDTH:
        gap = 1
    if _total(name_width, widths, gap) > WIDTH:
        gap, separator = 2, "\n"
        widths = _widths(headers, blocks, separator)
    parts: list[RenderableType] = []
    head = _table(name_width, widths, gap)
    head.add_row(first, *headers, style="bold")
    parts.append(head)
    parts.append(Text("-" * min(_total(name_width, widths, gap), WIDTH), style="dim"))
    for block in blocks:
        if block.heading:
            parts.append(Text(block.heading, style="italic"))
        table = _table(name_width, widths, gap)
        for place, (name, cells) in enumerate(zip(block.names, block.cells, strict=True)):
            style = MARKED if place == block.marked else block.style
            row = [Text(text, style=style) for text in (name, *_joined(cells, separator))]
            table.add_row(*row)
        parts.append(table)
    return Group(*parts)


def _joined(cells: Sequence[Cell], separator: str) -> list[str]:
    return [separator.join(part for part in cell if part) for cell in cells]


def _widths(headers: Sequence[str], blocks: Sequence[Block], separator: str) -> list[int]:
    """Return the width of each value column."""
    widths = [_longest_line(header) for header in headers]
    for block in blocks:
        for cells in block.cells:
            for column, text in enumerate(_joined(cells, separator)):
                widths[column] = max(widths[column], _longest_line(text))
    return widths


def _longest_line(text: str) -> int:
    return max(map(len, text.split("\n")))


def _total(name_width: int, widths: Sequence[int], gap: int) -> int:
    return name_width + sum(widths) + gap * len(widths)


def _table(name_width: int, widths: Sequence[int], gap: int) -> Table:
    """Return an empty table of fixed columns, without any lines."""
    table = Table(
        box=None, show_header=False, pad_edge=False, padding=(0, gap, 0, 0), show_edge=False
    )
    table.add_column(width=name_width, overflow="fold")
    for width in widths:
        table.add_column(width=width, overflow="fold")
    return table
