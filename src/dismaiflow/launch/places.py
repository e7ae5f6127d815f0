"""Where the flow of a script goes: a store in a folder here, or a LaunchPad."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fireworks import LaunchPad
    from jobflow import Flow, JobStore


@dataclass(frozen=True)
class WorkPlace:
    """A store for inputs and results, and who runs flows.

    Parameters
    ----------
    store : JobStore
        Connected.
    launchpad : LaunchPad, optional
        None for runs here.
    """

    store: JobStore
    launchpad: LaunchPad | None = None

    def run(self, flow: Flow, tags: Sequence[str] = ()) -> bool:
        """Run a flow here, or submit it and say how to follow it.

        Parameters
        ----------
        flow : Flow
            What to run.
        tags : sequence of str
            Words to find a submitted run by.

        Returns
        -------
        bool
            Whether it is done and its results can be had.
        """
        if self.launchpad is None:
            from jobflow import run_locally

            run_locally(flow, store=self.store)
            return True
        from dismaiflow.launch.submit import submit

        sent = submit(flow, self.launchpad, tags, self.store)
        print(
            f"run {sent.run_id}: {sent.n_fireworks} jobs for workers of category "
            f"{', '.join(sent.categories)}\nfollow it: dismai launchpad status {sent.run_id}\n"
            f"its results: dismai results show {sent.run_id}"
        )
        return False

    def result(self, output: Any) -> Any:
        """Return an output of a flow that is done, references resolved.

        Raises
        ------
        DismaiError
            If a job that it needs has failed.
        """
        from jobflow.core.reference import find_and_resolve_references

        from dismaiflow.errors import DismaiError

        try:
            found = find_and_resolve_references(output, self.store)
        except (ValueError, KeyError):
            found = None
        if found is None:
            raise DismaiError("a job has failed: its error stands above")
        return found


@contextmanager
def work_place(folder: Path, submitted: bool = False) -> Iterator[WorkPlace]:
    """Open the place where a flow is to run.

    Parameters
    ----------
    folder : Path
        For a run here: its store becomes ``store.sqlite`` in it.
    submitted : bool
        Whether flows go to the LaunchPad of the configuration (`dismai launchpad init`).

    Raises
    ------
    DismaiError
        If store or LaunchPad cannot be used.
    """
    if submitted:
        from dismaiflow.launch.check import ready_to_submit
        from dismaiflow.launch.config import load_config

        config = load_config()
        ready_to_submit(config)
        store = config.jobstore()
        place = WorkPlace(store, config.launchpad())
    else:
        from dismaiflow.store import embedded_jobstore
        from dismaiflow.structures.files import explain_os_error

        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, folder) from error
        store = embedded_jobstore(folder / "store.sqlite")
        store.connect()
        place = WorkPlace(store)
    try:
        yield place
    finally:
        store.close()
