"""``dismai results``: ask, export, copy and clean the store of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import err, out, print_json
from dismaiflow.cli.results_export import export
from dismaiflow.cli.results_gc import gc, size_text
from dismaiflow.cli.results_options import (
    COLLECTIONS,
    JsonOption,
    LimitOption,
    ModelOption,
    ProtocolOption,
    RunOption,
    SinceOption,
    StatusOption,
    StoreOption,
    SystemOption,
    TagOption,
    UntilOption,
    WhatArgument,
    find_rows,
    opened_results,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(help="Results in the store: ask, export, copy, clean.", no_args_is_help=True)
app.command("export")(export)

#: Metrics that a table of scores shows.
_METRICS_SHOWN = 3


@app.command("list")
def list_(
    what: WhatArgument = "scores",
    system: SystemOption = None,
    model: ModelOption = None,
    protocol: ProtocolOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    tag: TagOption = None,
    run: RunOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """List scores, datasets, potentials, training sets, relaxations ..., the newest first."""
    filters = {
        "system": system,
        "model": model,
        "protocol": protocol,
        "status": status,
        "since": since,
        "until": until,
        "tag": tag,
        "run_id": run,
    }
    with opened_results(store) as (_, results):
        asked = filters | {"limit": limit + 1 if limit else None}
        rows = find_rows(results, what, asked)
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if more else rows
    if json:
        print_json([row.model_dump(mode="json") for row in rows])
    elif rows:
        _print_wide(_table(what, rows))
    else:
        out.print(f"no {what}")
    if more:
        err.print(f"there are more than {limit}: --limit 0 shows all", style="dim")


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|UUID]",
            help="A run, or one score or dataset by its uuid (beginnings will do); by default the "
            "newest run.",
        ),
    ] = None,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show the scores, datasets and controls of a run as tables."""
    from dismaiflow.cli.results_documents import find_documents, not_yet_explained

    with opened_results(store) as (place, results), not_yet_explained(place, name):
        found = find_documents(results, name)
    if json:
        print_json(found.as_json())
        return
    out.print(found.title, style="bold", markup=False, soft_wrap=True)
    for table in found.tables():
        out.print("")
        out.print(table)


@app.command()
def query(
    collection: Annotated[
        str,
        typer.Argument(metavar="COLLECTION", help=" | ".join((*COLLECTIONS, "outputs"))),
    ],
    filter_: Annotated[
        str,
        typer.Argument(metavar="FILTER", help="A MongoDB filter, e.g. '{\"n_scored\": 1000}'."),
    ] = "{}",
    fields: Annotated[
        str | None, typer.Option(help="Only these fields, separated by commas.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="A field to sort by; -FIELD for the largest first.")
    ] = None,
    limit: LimitOption = 0,
    store: StoreOption = None,
) -> None:
    """Ask with a MongoDB filter; prints JSON."""
    import json

    from dismaiflow.cli.results_documents import plain

    try:
        criteria = json.loads(filter_)
    except ValueError as error:
        raise DismaiError(f"the filter is not JSON: {error}") from error
    if not isinstance(criteria, dict):
        raise DismaiError('the filter must be an object, such as {"model": "gen"}')
    order: dict[str, Any] | None = (
        {sort.removeprefix("-"): -1 if sort.startswith("-") else 1} if sort else None
    )
    wanted = [name.strip() for name in fields.split(",")] if fields else None
    with opened_results(store) as (_, results):
        found = results.query(collection, criteria, wanted, order, limit)
    print_json([plain(document) for document in found])


@app.command()
def build(store: StoreOption = None) -> None:
    """Bring the collections up to date (every question does so too)."""
    with opened_results(store) as (_, results):
        made = results.build()
        stale = sorted(results.stale)
    if stale:
        raise DismaiError(
            f"you may read this store, but not write it: {', '.join(stale)} are not up to date"
        )
    rows = ", ".join(f"{n} {name}" for name, n in made.items() if n)
    out.print(f"made {rows}" if rows else "all collections were up to date", highlight=False)


@app.command()
def copy(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run; its beginning will do.")],
    to: Annotated[str, typer.Option("--to", metavar="STORE", help="Where to: see --store.")],
    store: StoreOption = None,
) -> None:
    """Copy a run with all its structures to another store; hashes stay as they are."""
    from dismaiflow.cli.results_documents import find_run
    from dismaiflow.cli.stores import opened
    from dismaiflow.store.transfer import copy_run

    with opened_results(store) as (source, results), opened(to, make=True) as target:
        if source.place == target.place:
            raise DismaiError(f"--to {to}: is the store that the run is in already")
        run_id = find_run(results, run)
        done = copy_run(source.jobstore, target.jobstore, run_id)
    out.print(
        f"copied run {run_id}: {done.new_documents} of {done.n_documents} documents and "
        f"{done.new_blobs} of {done.n_blobs} blobs were new ({size_text(done.n_bytes)})",
        soft_wrap=True,
    )


app.command("gc")(gc)


def _table(what: str, rows: list[Any]) -> Any:
    """Draw rows for the terminal."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    cells = [_CELLS[what](row) for row in rows]
    names = list(dict.fromkeys(name for row in cells for name in row))
    for name in names:
        is_number = all(isinstance(row.get(name, 0), int | float | None) for row in cells)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(_text(row.get(name)) for name in names))
    return table


def _print_wide(table: Any) -> None:
    """Print a table as wide as it is: uuids and names that are cut in two cannot be copied."""
    from rich.console import Console
    from rich.measure import Measurement

    needed = Measurement.get(out, out.options.update(width=1000), table).maximum
    Console(width=max(needed, out.width), highlight=False).print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _day(date: Any) -> str | None:
    return date.strftime("%Y-%m-%d %H:%M") if date else None


def _primary_first(metrics: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """Put the metric that ranks models, such as d_all, before those that it sums up."""
    from dismaiflow.report.rows import primary_metric

    primary = primary_metric(metrics)
    return sorted(metrics.items(), key=lambda item: item[0] != primary)


def _score_cells(row: Any) -> dict[str, Any]:
    return {
        "date (UTC)": _day(row.date),
        "system": row.system,
        "model": row.model,
        "protocol": row.protocol,
        **dict(_primary_first(row.metrics)[:_METRICS_SHOWN]),
        "scored": f"{row.n_scored}/{row.n_generated}",
        "run": row.run_id,
        "uuid": row.uuid[:8],
    }


def _dataset_cells(row: Any) -> dict[str, Any]:
    # Columns only where a dataset was relaxed, or searched for.
    relaxed = {"potential": row.potential, "yield %": row.yield_percent}
    return {
        "date (UTC)": _day(row.date),
        "system": row.system,
        **row.counts,
        "protocol": row.protocol,
        "seed": row.seed,
        "runs": row.agreement,
        "N_eff": row.n_effective,
        **{name: value for name, value in relaxed.items() if value is not None},
        "train hash": row.content_hashes.get("train", "")[:12],
        "run": row.run_id,
        "uuid": row.uuid[:8],
    }


def _model_cells(row: Any) -> dict[str, Any]:
    best = [(key, *_primary_first(of)[0]) for key, of in row.best.items() if of]
    return {
        "system": row.system,
        "model": row.model,
        "scores": row.n_scores,
        "latest (UTC)": _day(row.latest),
        "best": "; ".join(f"{name} {value:.4g} ({key})" for key, name, value in best),
        "trained": row.n_trained,
    }


def _potential_cells(row: Any) -> dict[str, Any]:
    errors = {
        "E (meV/atom)": _milli(row.metrics.get("energy")),
        "F (meV/Å)": _milli(row.metrics.get("force")),
        "S (GPa)": row.metrics.get("stress"),
        "on": row.errors_on,
        "frames": " ".join(f"{name} {n}" for name, n in row.frames.items()),
        "labels": _labels(row),
    }
    return {
        "date (UTC)": _day(row.date),
        "name": row.name,
        "calculator": row.calculator,
        # Columns only where a potential was trained here.
        **(errors if row.errors_on else {}),
        "hash": (row.hash or "")[:12],
        "systems": " ".join(row.systems),
        "run": row.run_id,
        "uuid": row.uuid[:8],
    }


def _frames_cells(row: Any) -> dict[str, Any]:
    return {
        "date (UTC)": _day(row.date),
        "system": row.system,
        **row.counts,
        "split": row.split,
        "relaxations": ", ".join(f"{name} {n}" for name, n in row.relaxations.items()),
        "restarts": row.restarts,
        "labels": _labels(row),
        "seed": row.seed,
        "run": row.run_id,
        "uuid": row.uuid[:8],
    }


def _relaxation_cells(row: Any) -> dict[str, Any]:
    return {
        "date (UTC)": _day(row.date),
        "system": row.system,
        "structure": row.parent,
        "stage": row.stage,
        "status": row.status,
        "steps": row.n_steps,
        "restarts": row.n_restarts,
        "F max (eV/Å)": row.max_force,
        "run": row.run_id,
        "folder": row.folder,
        "reason": row.reason,
    }


def _labels(row: Any) -> str:
    """Say where the numbers come from, and whether they were made up."""
    return ", ".join(row.labels) + (" (a rehearsal)" if row.rehearsal else "")


def _milli(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


def _run_cells(row: Any) -> dict[str, Any]:
    return {
        "last (UTC)": _day(row.last),
        "run": row.run_id,
        "systems": " ".join(row.systems),
        "models": " ".join(row.models),
        "tags": " ".join(row.tags),
        "jobs": row.n_documents,
        "results": ", ".join(f"{n} {kind}" for kind, n in row.kinds.items()),
    }


_CELLS = {
    "scores": _score_cells,
    "datasets": _dataset_cells,
    "models": _model_cells,
    "potentials": _potential_cells,
    "frames": _frames_cells,
    "relaxations": _relaxation_cells,
    "runs": _run_cells,
}
