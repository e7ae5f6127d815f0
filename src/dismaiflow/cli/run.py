"""Running flows on this machine, with the embedded store."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dismaiflow.cli.console import err, progress_bars
from dismaiflow.errors import DismaiError
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobflow import Flow, JobStore


@contextmanager
def open_store() -> Iterator[JobStore]:
    """Connect to the embedded store of the settings; close it after the block.

    Raises
    ------
    DismaiError
        If it cannot be opened or written.
    """
    from dismaiflow.store.embedded import embedded_jobstore

    path = load_settings().STORE_PATH
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DismaiError(
            f"{path}: cannot make the folder of the store ({error.strerror}); set "
            "DISMAI_STORE_PATH to another path"
        ) from error
    store = embedded_jobstore(path)
    try:
        store.connect()
    except DismaiError as error:
        raise DismaiError(f"{error} (DISMAI_STORE_PATH names the store)") from error
    try:
        yield store
    finally:
        store.close()


@dataclass(frozen=True)
class FinishedRun:
    """A flow that has run here.

    Parameters
    ----------
    store : JobStore
        Where its results are.
    errors : list of str
        One line for each job that failed, the first first.
    """

    store: JobStore
    errors: list[str]

    def result(self, output: Any) -> Any:
        """Return an output of the flow, references resolved.

        Raises
        ------
        DismaiError
            If it cannot be had because a job failed; names the first cause.
        """
        from jobflow.core.reference import find_and_resolve_references

        try:
            found = find_and_resolve_references(output, self.store)
        except (ValueError, KeyError) as error:
            first = self.errors[0] if self.errors else f"the run left no result ({error})"
            raise DismaiError(first) from error
        # A job that was to be replaced by others leaves nothing where these failed.
        if found is None:
            raise DismaiError(self.errors[0] if self.errors else "the run left no result")
        return found

    def tell_failures(self) -> None:
        """Print the errors of jobs that the run could do without."""
        for message in self.errors:
            err.print(
                f"a job failed, the rest went on: {message}",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )


def run_flow(
    flow: Flow, store: JobStore, quiet: bool = False, tags: Sequence[str] = ()
) -> FinishedRun:
    """Run a flow here.

    Parameters
    ----------
    flow : Flow
        What to run.
    store : JobStore
        Where results go; every job bears a new ``run_id``.
    quiet : bool
        Show no progress.
    tags : sequence of str
        Words to find the run by.

    Raises
    ------
    DismaiError
        If the store cannot be written.
    """
    from jobflow import run_locally

    from dismaiflow.jobs import label_run

    label_run(flow, tags)
    failures = _Failures()
    with (
        progress_bars(quiet),
        failures.caught(),
        tempfile.TemporaryDirectory(prefix="dismai-") as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            run_locally(flow, store=store, root_dir=folder, log=False)
        except sqlite3.Error as error:
            raise DismaiError(f"the store cannot be written: {error}") from error
    return FinishedRun(store, failures.messages)


class _Failures(logging.Handler):
    """Collects the last line of every error that the local manager logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record if it tells of a failed job."""
        text = record.getMessage()
        if "failed with exception" in text:
            job = text.split(" failed with exception", 1)[0]
            error = text.strip().splitlines()[-1]
            # Our own errors are written for users and need no job name.
            ours = error.startswith("dismaiflow.errors.")
            self.messages.append(error.split(": ", 1)[-1] if ours else f"{job}: {error}")

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Listen to the local manager, and keep its log from the terminal."""
        logger = logging.getLogger("jobflow.managers.local")
        before = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.level, logger.propagate = before
