"""``--submit``: the same flow on the LaunchPad instead of here."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import out, print_json
from dismaiflow.cli.run import open_store
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fireworks import LaunchPad
    from jobflow import Flow, JobStore

    from dismaiflow.launch.config import LaunchConfig

#: How long a command may wait for a server that has gone away meanwhile [s].
_SERVER_SECONDS = 300.0

Submit = Annotated[
    bool,
    typer.Option("--submit", help="Put the flow on the LaunchPad instead of running it here."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A word to find the run by; may be given several times."),
]


@dataclass(frozen=True)
class Place:
    """Where a flow goes: a store for its inputs and results, and a LaunchPad unless it runs here.

    Parameters
    ----------
    store : JobStore
        Connected.
    launchpad : LaunchPad or None
        None for a run here.
    """

    store: JobStore
    launchpad: LaunchPad | None = None


@contextmanager
def open_place(submit: bool) -> Iterator[Place]:
    """Open the embedded store, or the LaunchPad and the store of its workers.

    Raises
    ------
    DismaiError
        If they cannot be used, before any work has started.
    """
    if not submit:
        with open_store() as store:
            yield Place(store)
        return
    from dismaiflow.launch.check import ready_to_submit
    from dismaiflow.launch.config import load_config

    config = load_config()
    ready_to_submit(config)
    store = config.jobstore()
    try:
        with server_errors(config):
            yield Place(store, config.launchpad())
    finally:
        store.close()


@contextmanager
def server_errors(config: LaunchConfig) -> Iterator[None]:
    """Say in one line what the server of a LaunchPad refuses in the block, or that it is gone.

    Raises
    ------
    DismaiError
        For everything that pymongo raises.
    """
    from dismaiflow.launch.config import place_of, user_of
    from dismaiflow.launch.mongo import explained

    settings = config.launchpad_settings()
    file = config.file("my_launchpad.yaml")
    with explained(file, place_of(settings), user_of(settings), _SERVER_SECONDS):
        yield


def check_place(out_dir: Path | None, submit: bool, default: bool = False) -> None:
    """Refuse what cannot work, before anything is imported that would stumble over it.

    Parameters
    ----------
    out_dir : Path, optional
        Needed for a run here, not allowed for a submission.
    submit : bool
        Whether the flow goes to the LaunchPad.
    default : bool
        Whether a run here has a folder by default.

    Raises
    ------
    DismaiError
        One line: the folder, or a wrong configuration of jobflow or the LaunchPad.
    """
    from dismaiflow.launch.config import import_jobflow, load_config
    from dismaiflow.launch.keys import check_keys

    if submit and out_dir is not None:
        raise DismaiError(
            "--out does not go with --submit: the results stay in the store; fetch them with "
            "`dismai results export RUN --out DIR`"
        )
    if not submit and out_dir is None and not default:
        raise DismaiError("Missing option '--out': name a folder for the results, or --submit")
    if submit:
        check_keys(load_config(), thorough=False)
    import_jobflow()


def submit_flow(flow: Flow, place: Place, tags: Sequence[str], json: bool) -> None:
    """Put a flow on the LaunchPad, and say how to follow it."""
    from dismaiflow.launch.submit import submit

    assert place.launchpad is not None
    submitted = submit(flow, place.launchpad, tags, place.store)
    run_id = submitted.run_id
    if json:
        print_json(
            {
                "run_id": run_id,
                "fireworks": submitted.n_fireworks,
                "categories": submitted.categories,
            }
        )
        return
    workers = ", ".join(submitted.categories)
    out.print(
        f"submitted run {run_id}: {flow.name}, {submitted.n_fireworks} jobs for workers of "
        f"category {workers}\n"
        "  work on it:  rlaunch rapidfire   (or qlaunch rapidfire on a cluster)\n"
        "  together:    rlaunch rapidfire --nlaunches infinite --sleep 60   (waits for others)\n"
        f"  follow it:   dismai launchpad status {run_id}\n"
        f"  repair it:   dismai launchpad retry {run_id}\n"
        f"  its results: dismai results show {run_id}",
        soft_wrap=True,
        markup=False,
    )
