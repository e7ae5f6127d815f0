"""``dismai leaderboard``: published rows, controls and own scores, in rank where comparable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import out, print_json
from dismaiflow.cli.results_options import JsonOption, ProtocolOption, StoreOption, opened_results
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.benchmark.boards import Board
    from dismaiflow.benchmark.leaderboard import LeaderboardRow

SystemArgument = Annotated[
    str | None, typer.Argument(metavar="[SYSTEM]", help="Name of a system; all by default.")
]


def leaderboard(
    system: SystemArgument = None,
    protocol: ProtocolOption = None,
    json: JsonOption = False,
    store: StoreOption = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write an HTML page as well, with its charts.")
    ] = None,
) -> None:
    """Show published rows, controls and own scores by system, in rank where comparable."""
    if out_file is not None and out_file.suffix.lower() not in (".html", ".htm"):
        raise DismaiError(f"--out {out_file}: is a page; give it a name that ends in .html")
    from dismaiflow.benchmark.boards import boards
    from dismaiflow.benchmark.leaderboard import leaderboard_rows, published_rows
    from dismaiflow.cli.stores import is_made

    if is_made(store):
        with opened_results(store) as (_, results):
            found = boards(leaderboard_rows(results), system, protocol)
    else:
        # the published rows are there before anything was run
        found = boards(published_rows(), system, protocol)
    if out_file is not None:
        from dismaiflow.report.leaderboard_page import write_leaderboard

        write_leaderboard(out_file, found)
    if json:
        print_json([_as_json(board) for board in found])
        return
    from dismaiflow.report.leaderboard_tables import leaderboard_table

    out.print(leaderboard_table(found))
    if out_file is not None:
        out.print(f"wrote {out_file}", soft_wrap=True)


def _as_json(board: Board) -> dict[str, Any]:
    note = board.note
    return {
        "system": board.system,
        "protocol": board.protocol,
        "ranked": [{"rank": rank, **_plain(row)} for rank, row in board.ranked],
        "not_comparable": [_plain(row) for row in board.apart],
        "controls": [_plain(row) for row in board.controls],
        "published_not_comparable": [_plain(row) for row in board.published],
        "lattice_denoising": note.model_dump(mode="json") if note is not None else None,
    }


def _plain(row: LeaderboardRow) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude={"system", "protocol", "protocol_name"})
