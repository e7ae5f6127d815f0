"""The leaderboard as a page: Tables 1 to 3, S2, S3 and Fig. 10 of the paper, with own models."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dismaiflow.benchmark.ranks import RULE, Rank, order_key, places_of, ranks
from dismaiflow.report.html import page_text
from dismaiflow.report.markup import Html, Page, group_row, join, table, tag
from dismaiflow.report.pieces import value_cells
from dismaiflow.report.relaxation_table import relaxation_rows
from dismaiflow.report.rows import Row, Value
from dismaiflow.report.spider import spider_caption, spider_plot
from dismaiflow.report.words import metric_label, plural
from dismaiflow.structures.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dismaiflow.benchmark.boards import Board
    from dismaiflow.benchmark.leaderboard import LeaderboardRow

_LEGEND = (
    "[ ] 95 % bootstrap interval; ( ) minimum and maximum over trained models. A model without "
    "values could not generate the structures."
)

_OWN_CAPTION = (
    "Ranks of the models of this store among each other, whether or not they may be compared with "
    f"the paper: {RULE}. Of a model that was scored by several "
    "protocols that counts by which it is best."
)


def write_leaderboard(path: Path, boards: Sequence[Board]) -> Path:
    """Write boards as one HTML file that needs nothing else.

    Parameters
    ----------
    path : Path
        The file to write; an older one is replaced as a whole.
    boards : sequence of Board
        The boards.

    Raises
    ------
    DismaiError
        If it cannot be written.
    """
    page = Page()
    own = [row for board in boards for row in board.own]
    lead = f"{plural(len(boards), 'board')}, {plural(len(own), 'row')} of this store."
    parts = [
        tag("p", lead, class_="lead"),
        _paper_ranks(page, boards),
        _own_ranks(page, boards),
        *(_board(page, board) for board in boards),
    ]
    write_text(path, page_text(page, join(parts), "dismaiflow leaderboard"))
    return path


def _paper_ranks(page: Page, boards: Sequence[Board]) -> Html:
    """Return Fig. 10: ranks of the published models, and of own ones that are comparable."""
    found: dict[str, list[Rank]] = {}
    for system, members in groupby(boards, key=lambda board: board.system):
        rows = [row for board in members for _, row in board.ranked]
        if any(row.kind == "published" for row in rows):
            own = {row.model: row.values() for row in rows if row.kind == "own"}
            found[system] = ranks(system, own)
    if not found:
        return Html("")
    plot = page.plot(spider_plot(found), "ranks of the models by dataset", spider_caption(found))
    return tag(
        "section", page.heading(2, "Ranks (derived)"), plot, _rank_table(found), class_="block"
    )


def _own_ranks(page: Page, boards: Sequence[Board]) -> Html:
    """Return ranks of own models among each other, comparable or not."""
    found: dict[str, list[Rank]] = {}
    for system, members in groupby(boards, key=lambda board: board.system):
        keys: dict[str, tuple[int, float]] = {}
        for board in members:
            distances = [name for name in board.metrics if name.startswith("d_")]
            for row in board.own:
                key = order_key(row.values(), distances)
                keys[row.model] = min(key, keys.get(row.model, key))
        places = places_of(list(keys.values()))
        if keys:
            ranked = [Rank(model, place) for model, place in zip(keys, places, strict=True)]
            found[system] = sorted(ranked, key=lambda rank: rank.rank)
    if sum(len(ranked) > 1 for ranked in found.values()) == 0:
        return Html("")
    plot = page.plot(spider_plot(found), "ranks of own models by dataset", _OWN_CAPTION)
    heading = page.heading(2, "Ranks of own models among each other")
    return tag("section", heading, plot, _rank_table(found), class_="block")


def _rank_table(found: dict[str, list[Rank]]) -> Html:
    """Return ranks in words, a row for each system."""
    rows = [
        [system, *(f"{rank.rank}. {rank.model}" for rank in ranked)]
        for system, ranked in found.items()
    ]
    width = max(len(row) for row in rows)
    return table([], [row + [""] * (width - len(row)) for row in rows])


def _board(page: Page, board: Board) -> Html:
    """Return one board: rows in rank, those that are not comparable, controls, relaxations."""
    groups: list[tuple[str, str, list[tuple[str, LeaderboardRow]]]] = []
    if board.ranked:
        ranked = [(f"{rank}. {row.model}", row) for rank, row in board.ranked]
        groups.append(("in rank", "", ranked))
    for why_not, same in groupby(board.apart, key=lambda row: row.why_not):
        heading = f"not comparable: {why_not or 'no reason was noted'}"
        groups.append((heading, "score", _named(same)))
    groups.append(("controls, without rank", "control", _named(board.controls)))
    groups.append(("published, by another protocol", "published", _named(board.published)))
    body: list[Sequence[object] | Html] = []
    for heading, kind, rows in groups:
        if rows:
            body.append(group_row(heading, len(board.metrics) + 1))
            body += [_row(board, name, row, kind) for name, row in rows]
    head = ["", *map(metric_label, board.metrics)]
    source = f" Published: {board.source}." if board.source else ""
    return tag(
        "section",
        page.heading(2, f"{board.system}, {board.protocol}"),
        table(head, body, "values many" if len(board.metrics) > 3 else "values"),
        tag("p", _LEGEND + source, class_="hint"),
        _relaxations(page, board),
        class_="block",
    )


def _named(rows: Iterable[LeaderboardRow]) -> list[tuple[str, LeaderboardRow]]:
    return [(row.model, row) for row in rows]


def _row(board: Board, name: str, row: LeaderboardRow, kind: str) -> Html:
    values = {key: Value.from_metric(metric) for key, metric in row.metrics.items()}
    cells = value_cells(Row(name, "score", values), board.metrics)
    verdict = None
    if row.learning is not None:
        shown = "shown to learn" if row.learning.shown else "not shown to learn"
        verdict = tag("span", shown, class_="verdict", title=row.learning.text)
    chosen = kind or ("score" if row.kind == "own" else "published")
    return tag("tr", tag("th", name, verdict, scope="row"), *cells, class_=chosen)


def _relaxations(page: Page, board: Board) -> Html:
    """Return Table S2 or S3 with own rows; nothing where no structures were relaxed."""
    from dismaiflow.benchmark.published import relaxation_table

    relaxed = [row for row in board.own if row.relaxation is not None]
    if not relaxed and relaxation_table(board.system) is None:
        return Html("")
    potentials = dict.fromkeys(row.potential or "no name" for row in relaxed)
    named = ((row.model, row.relaxation) for row in relaxed)
    rows = relaxation_rows(named, board.system, " and ".join(potentials))
    return join([page.heading(3, f"Relaxation, {board.system}"), rows])
