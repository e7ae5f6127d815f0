"""The leaderboard on the terminal: ranks, controls, and what cannot be ranked."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from dismaiflow.benchmark.learning import LEARNING_RULE, NOT_SHOWN
from dismaiflow.benchmark.ranks import RULE
from dismaiflow.report.grid import MARKED, Block, draw
from dismaiflow.report.rows import Value
from dismaiflow.report.words import NOTHING, metric_label, metric_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dismaiflow.benchmark.boards import Board
    from dismaiflow.benchmark.leaderboard import LeaderboardRow

#: Metrics that fit beside each other in 80 columns.
_ABREAST = 3

_CONTROL, _WARNING = "yellow", "bold red"

#: Digits of a hash that tell references apart.
_HASH = 6


def leaderboard_table(boards: Sequence[Board]) -> RenderableType:
    """Draw boards one below the other.

    Parameters
    ----------
    boards : sequence of Board
        The boards.

    Returns
    -------
    renderable
        To be printed by a console of rich, at least 80 columns wide.
    """
    parts: list[RenderableType] = [part for board in boards for part in _board(board)]
    if not parts:
        return Text("there are no scores of this protocol")
    legend = [
        f"Ranks (derived): {RULE}; controls take no rank.",
        "[ ] 95 % bootstrap interval; ( ) minimum and maximum over trained models; "
        f"* a score of your own; {NOTHING}: none, as of models that could not generate the "
        "structures.",
    ]
    if any(board.own for board in boards):
        legend.append(f"{LEARNING_RULE[0].upper()}{LEARNING_RULE[1:]}.")
    return Group(*parts, *(Text(line, style="dim") for line in legend))


def _board(board: Board) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{board.system}, {board.protocol}", style="bold")]
    for start in range(0, len(board.metrics), _ABREAST):
        shown = board.metrics[start : start + _ABREAST]
        parts += [draw([metric_label(name) for name in shown], _blocks(board, shown)), Text("")]
    if board.own:
        parts += [_facts(board), Text("")]
        parts += [_verdict(board, row) for row in board.own]
        parts.append(Text(""))
    notes = [f"published: {board.source}"] if board.source else []
    if board.note is not None:
        values = ", ".join(
            f"{metric_label(name)} {metric_text(name, numbers['value'])} "
            f"({metric_text(name, numbers['min'])}, {metric_text(name, numbers['max'])})"
            for name, numbers in board.note.metrics.items()
        )
        notes.append(
            f"{board.note.source}, out of rank: {board.note.model} with lattice denoising and "
            f"teacher forcing: {values}"
        )
    return [*parts, *(Text(note, style="dim") for note in notes), Text("")]


def _blocks(board: Board, metrics: Sequence[str]) -> list[Block]:
    blocks = []
    if board.ranked:
        names = [f"{rank} {_named(board, row)}" for rank, row in board.ranked]
        blocks.append(_block("in rank", names, [row for _, row in board.ranked], metrics))
    for why_not, same in groupby(board.apart, key=lambda row: row.why_not):
        rows = list(same)
        names = [_named(board, row) for row in rows]
        heading = f"not comparable: {why_not or 'no reason was noted'}"
        blocks.append(_block(heading, names, rows, metrics, MARKED))
    if board.controls:
        names = [_named(board, row) for row in board.controls]
        blocks.append(_block("controls, without rank", names, board.controls, metrics, _CONTROL))
    if board.published:
        names = [row.model for row in board.published]
        heading = "published (not comparable: another protocol)"
        blocks.append(_block(heading, names, board.published, metrics))
    return blocks


def _block(
    heading: str,
    names: Sequence[str],
    rows: Sequence[LeaderboardRow],
    metrics: Sequence[str],
    style: str = "",
) -> Block:
    values = [
        {name: Value.from_metric(metric) for name, metric in row.metrics.items()} for row in rows
    ]
    empty = Value(None)
    cells = [
        [
            (metric_text(name, of.get(name, empty).value), of.get(name, empty).interval_text(name))
            for name in metrics
        ]
        for of in values
    ]
    return Block(heading, names, cells, style)


def _named(board: Board, row: LeaderboardRow) -> str:
    """Name a row; where there are several references or potentials, with its own."""
    name = f"*{row.model}" if row.kind == "own" else row.model
    others = (*board.own, *board.controls)
    if row.score and len({other.reference_hash for other in others}) > 1:
        name += f" @{row.reference_hash[:_HASH]}"
    if row.score and len({other.potential_hash for other in others}) > 1:
        name += f" ({row.potential or 'not relaxed'})"
    return name


def _facts(board: Board) -> RenderableType:
    """Draw how the own scores were made, and whether their models are shown to learn."""
    headers = ["shown to learn", "scored", "runs", "date (UTC)", "score"]
    cells = [
        [
            ("yes" if row.learning and row.learning.shown else "no", ""),
            (f"{row.n_scored:,} of {row.n_generated:,}", ""),
            (str(row.n_runs), ""),
            ((row.date or NOTHING)[:10], ""),
            ((row.score or NOTHING)[:8], ""),
        ]
        for row in board.own
    ]
    return draw(headers, [Block("", [_named(board, row) for row in board.own], cells)])


def _verdict(board: Board, row: LeaderboardRow) -> Text:
    text = row.learning.text if row.learning else NOT_SHOWN
    shown = row.learning is not None and row.learning.shown
    return Text(f"- {_named(board, row)}: {text}", style="" if shown else _WARNING)
