"""``dismai launchpad status`` and ``retry``: runs that were submitted."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import out, print_json
from dismaiflow.cli.submitting import server_errors

if TYPE_CHECKING:
    from dismaiflow.launch.recovery import Retried
    from dismaiflow.launch.status import RunStatus

_LostAfter = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Seconds without a sign of life after which a running job counts as lost; five "
        "times PING_TIME_SECS of FW_config.yaml by default.",
    ),
]

#: Reasons for failures, and lost jobs, that are listed one by one.
_SHOWN = 20


def status(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Run id or its beginning, or `last`; all if none."),
    ] = None,
    lost_after: _LostAfter = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how submitted runs are getting on, what failed and why."""
    from dismaiflow.launch.config import load_config
    from dismaiflow.launch.liveness import default_lost_after
    from dismaiflow.launch.runs import find_run
    from dismaiflow.launch.status import list_runs, run_status

    config = load_config()
    launchpad = config.launchpad()
    if run is None:
        with server_errors(config):
            found = list_runs(launchpad)
        if json:
            print_json([one | {"submitted": str(one["submitted"])} for one in found])
        else:
            _print_runs(found)
        return
    seconds = lost_after or default_lost_after()
    with server_errors(config):
        document = run_status(launchpad, find_run(launchpad, run), seconds)
    if json:
        print_json(asdict(document) | {"submitted": str(document.submitted), "is": document.word})
        return
    _print_status(document, seconds, usual=lost_after is None)


def retry(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run id or its beginning, or `last`.")],
    lost_after: _LostAfter = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rerun what failed or was lost; what lives and what is done stays as it is."""
    from dismaiflow.launch.config import load_config
    from dismaiflow.launch.liveness import default_lost_after
    from dismaiflow.launch.recovery import retry as repair
    from dismaiflow.launch.runs import find_run

    config = load_config()
    launchpad = config.launchpad()
    jobstore = config.jobstore()
    seconds = lost_after or default_lost_after()
    try:
        with server_errors(config):
            done = repair(launchpad, find_run(launchpad, run), seconds, jobstore)
    finally:
        jobstore.close()
    if json:
        print_json(asdict(done))
        return
    for line in _told(done, seconds):
        out.print(line, soft_wrap=True, markup=False)


def _print_runs(found: list[dict[str, object]]) -> None:
    """List runs, the newest first."""
    from rich.table import Table

    if not found:
        out.print("no runs have been submitted to this LaunchPad")
        return
    table = Table("run", "submitted (UTC)", "flow", "systems", "tags", "jobs")
    for column in table.columns[:2]:
        column.no_wrap = True
    for one in found:
        states = one["states"]
        assert isinstance(states, dict)
        table.add_row(
            str(one["run_id"]),
            f"{one['submitted']:%Y-%m-%d %H:%M}",
            str(one["flow"]),
            _joined(one["systems"]),
            _joined(one["tags"]),
            ", ".join(f"{n} {word}" for word, n in states.items()),
        )
    out.print(table)


def _joined(words: object) -> str:
    return ", ".join(map(str, words)) if isinstance(words, list) else ""


def _print_status(document: RunStatus, lost_after: float, usual: bool) -> None:
    """Print a table of the steps, then what there is to say."""
    from rich.table import Table

    from dismaiflow.launch.status import STATES

    words = [word for word in STATES.values() if document.states.get(word)]
    table = Table("job", *words, "seconds each")
    for column in table.columns[1:]:
        column.justify = "right"
    for step in document.steps:
        mean = "" if step.mean_seconds is None else f"{step.mean_seconds:.1f}"
        table.add_row(step.name, *(str(step.states.get(word, "")) for word in words), mean)
    table.add_section()
    table.add_row("all", *(str(document.states[word]) for word in words), "")
    out.print(f"run {document.run_id}: {document.flow}, {document.word}", markup=False)
    out.print(table)
    for line in _said(document, lost_after, usual):
        out.print(line, soft_wrap=True, markup=False)


def _said(document: RunStatus, lost_after: float, usual: bool) -> list[str]:
    """Say what the table does not."""
    lines = [
        f"submitted {document.submitted:%Y-%m-%d %H:%M} UTC with dismaiflow {document.version}"
    ]
    if document.done_per_minute:
        lines.append(f"pace: {document.done_per_minute:.1f} jobs a minute")
    if document.seconds_left is not None:
        left = timedelta(seconds=round(document.seconds_left))
        n = max(1, len(document.workers))
        lines.append(
            f"left: about {left} with {n} worker{'s' if n > 1 else ''}, "
            "without what jobs are still to add"
        )
    if document.workers:
        lines.append(f"running on: {', '.join(document.workers)}")
    for category, number in document.ready_by_category.items():
        lines.append(f"ready for a worker of category {category}: {number}")
    lines += _failures(document)
    lines.extend(
        f"LOST {name}: no sign of life for {lost_after:.0f} s" for name in document.lost[:_SHOWN]
    )
    if document.blocked:
        one = document.blocked == 1
        lines.append(
            f"{document.blocked} job{'' if one else 's'} wait{'s' if one else ''} for these"
        )
    if document.failed or document.lost:
        given = "" if usual else f" --lost-after {lost_after:g}"
        lines.append(f"mend the cause, then: dismai launchpad retry {document.run_id}{given}")
    elif document.word == "done":
        lines.append(f"its results: dismai results show {document.run_id}")
    return lines


def _failures(document: RunStatus) -> list[str]:
    """Say what failed and why; jobs that failed of the same together."""
    jobs: dict[str, list[str]] = {}
    for job in document.failed:
        jobs.setdefault(job.reason, []).append(f"{job.name} (fw_id {job.fw_id})")
    lines = []
    for reason, names in list(jobs.items())[:_SHOWN]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"FAILED {names[0]}{more}: {reason}")
    if len(jobs) > _SHOWN:
        lines.append(f"... and for {len(jobs) - _SHOWN} more reasons (--json lists all)")
    return lines


def _told(done: Retried, lost_after: float) -> list[str]:
    """Say what a retry did."""
    lines = []
    if done.lock_freed:
        lines.append("freed a lock that a dead worker had left")
    if done.orphans:
        lines.append(f"removed {done.orphans} jobs that were only half entered; they come again")
    lines += [f"done, and now entered so: {name}" for name in done.settled]
    lines += [f"lost: {name}" for name in done.lost]
    lines += [f"runs again: {text}" for text in done.rerun]
    if done.rewound:
        lines.append(f"{done.rewound} later jobs had gone on without these and are done again")
    lines += [f"running: {name}" for name in done.running]
    lines += [
        f"left: {name}: something after it is running; retry again later" for name in done.left
    ]
    if len(lines) == len(done.running):
        lines.insert(0, "nothing to mend")
        if done.running:
            lines.append(f"counted as lost after {lost_after:.0f} s (--lost-after)")
    else:
        lines.append(f"start workers if none run; then: dismai launchpad status {done.run_id}")
    return lines
