"""What the commands of ``dismai results`` share: options, opening, filtered rows."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import err, one_of, progress_bars
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from dismaiflow.cli.stores import OpenStore
    from dismaiflow.store.results import ResultsStore

#: The collections; ``dismaiflow.store.builders.COLLECTIONS`` without its imports.
COLLECTIONS = ("scores", "datasets", "models", "potentials", "frames", "relaxations", "runs")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="local, launchpad, or the path of a store's file or of a jobflow.yaml; by default "
        "the LaunchPad's store if one is configured, else the local one.",
    ),
]
SystemOption = Annotated[str | None, typer.Option("--system", help="Only this system.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only this model.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", help="published, corrected, or a key like published-1-fixed."),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="From this day or time on (ISO 8601, UTC).")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", help="Up to this day or time, included.")
]
StatusOption = Annotated[
    str | None, typer.Option("--status", help="Only relaxations that ended so, e.g. walltime.")
]
TagOption = Annotated[str | None, typer.Option("--tag", help="Only what bears this tag.")]
RunOption = Annotated[
    str | None, typer.Option("--run", help="Only this run; its beginning will do.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=0, help="At most so many rows; 0 for all.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WhatArgument = Annotated[str, typer.Argument(metavar="[WHAT]", help=" | ".join(COLLECTIONS))]


@contextmanager
def opened_results(choice: str | None) -> Iterator[tuple[OpenStore, ResultsStore]]:
    """Open a store and its results; warnings become lines on the standard error."""
    import warnings

    from dismaiflow.cli.stores import opened
    from dismaiflow.store.results import ResultsStore

    with (
        _bars_when_needed(),
        opened(choice) as found,
        ResultsStore(found.jobstore) as results,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        try:
            yield found, results
        finally:
            for text in dict.fromkeys(
                str(w.message) for w in caught if w.category.__name__ == "StaleResultsWarning"
            ):
                err.print(text, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def _bars_when_needed() -> Iterator[None]:
    """Show progress from the first report on, and nothing at all if there is none."""
    from dismaiflow.progress import listening, report

    with ExitStack() as stack:

        def begin(task: str, done: int, total: int, unit: str) -> None:
            stack.enter_context(progress_bars(False))
            report(task, done, total, unit)

        stack.enter_context(listening(begin))
        yield


def find_rows(results: ResultsStore, what: str, filters: dict[str, Any]) -> list[BaseModel]:
    """Return the rows of a collection that pass filters.

    Parameters
    ----------
    results : ResultsStore
        Where to look.
    what : str
        The collection.
    filters : dict
        As the methods of ResultsStore take them, None where there is none; of ``run_id`` the
        beginning will do.

    Raises
    ------
    DismaiError
        If the collection is unknown or knows no such filter, or there is no such run.
    """
    import inspect

    one_of("results list", what, COLLECTIONS)
    from dismaiflow.cli.results_documents import find_run

    given = {name: value for name, value in filters.items() if value is not None}
    method = getattr(results, what)
    unknown = sorted(set(given) - set(inspect.signature(method).parameters))
    if unknown:
        options = ", ".join(f"--{name.removesuffix('_id')}" for name in unknown)
        raise DismaiError(f"{what} cannot be chosen by {options}")
    if "run_id" in given:
        given["run_id"] = find_run(results, given["run_id"])
    rows: list[BaseModel] = method(**given)
    return rows
