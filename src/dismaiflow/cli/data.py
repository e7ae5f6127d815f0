"""``dismai data``: fetch and verify the published datasets and potentials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import err, out, print_json, progress_bars
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.structures.published_manifest import Manifest

app = typer.Typer(help="The published datasets and potentials.", no_args_is_help=True)

#: The record of the paper and the server that has it; its modules take long to import.
_RECORD, _ZENODO = "12710372", "https://zenodo.org"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fetch(
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for them; by default that of the setting DATA_DIR."),
    ] = None,
    record: Annotated[str, typer.Option(help="Number of the Zenodo record.")] = _RECORD,
    url: Annotated[str, typer.Option(help="Address of the Zenodo server.")] = _ZENODO,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Fetch files of such names alone; repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fetch the published data from Zenodo, by their checksums, and unpack them.

    An interrupted fetch goes on where it stopped when it is given again.
    """
    from dismaiflow.structures import published_data

    place = _place(folder)
    plan = published_data.plan_fetch(place, record, url, only or [])
    with progress_bars(json):
        manifest = published_data.fetch(plan)
    if json:
        print_json({"folder": str(place), **manifest.model_dump()})
        return
    _print_fetched(place, manifest)


@app.command()
def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="By default that of the setting DATA_DIR."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare fetched files with their SHA-256, without a network."""
    from dismaiflow.structures import published_manifest

    place = _place(folder)
    manifest = published_manifest.load_manifest(place)
    with progress_bars(json):
        found = published_manifest.verify(place, manifest)
    wrong = {"missing": found.missing, "changed": found.changed}
    if json:
        print_json({"folder": str(place), "n_files": found.n_files, "whole": found.whole, **wrong})
    else:
        for state, paths in wrong.items():
            for path in paths:
                out.print(f"{state}: {path}", markup=False, soft_wrap=True)
    if not found.whole:
        count = len(found.missing) + len(found.changed)
        raise DismaiError(
            f"{place}: {count} of {found.n_files} files are missing or changed; "
            "`dismai data fetch` brings them again"
        )
    if not json:
        out.print(f"all {found.n_files} files are whole")


def _place(folder: Path | None) -> Path:
    from dismaiflow.settings import load_settings

    return folder if folder is not None else load_settings().DATA_DIR


def _print_fetched(place: Path, manifest: Manifest) -> None:
    """Print what is in the folder, and on standard error what is not."""
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("file")
    for column in ("MB", "files in it", "sets of structures"):
        table.add_column(column, justify="right")
    for name, file in manifest.files.items():
        sets = sum(member.structures is not None for member in file.members.values())
        table.add_row(name, f"{file.size / 1e6:,.1f}", f"{len(file.members):,}", str(sets))
        unread = {p: m.unread for p, m in file.members.items() if m.unread}
        for path, reason in (*unread.items(), *file.left_out.items()):
            err.print(f"left out: {path}: {reason}", style="yellow", markup=False, soft_wrap=True)
    out.print(table)
    if manifest.not_fetched:
        out.print(f"not fetched: {', '.join(manifest.not_fetched)}", markup=False, soft_wrap=True)
    out.print(f"{manifest.doi} is in {place}", markup=False, soft_wrap=True)
