"""What all jobs of the package share: their category, the version they need, how they dispatch.

A worker of a LaunchPad takes jobs of its category only, so every job names one, those included that
a running job makes. jobflow would hand the category of a dispatcher down to its children; jobs here
keep their own.
"""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any, Literal, get_args

from jobflow import CURRENT_JOB, Flow, JobConfig, OnMissing, Response, job

from dismaiflow import __version__
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobflow import Job

Category = Literal["cpu", "gpu", "vasp"]

#: Kinds of workers.
CATEGORIES: tuple[str, ...] = get_args(Category)

#: Key of a Firework's spec under which FireWorks looks for the category.
CATEGORY_KEY = "_category"

#: Goes into the specs of jobs that do without failed ones. FireWorks would copy each failed parent,
#: its traceback included, into such a spec, which could exceed what a document may hold; it does
#: not where the key is there already.
NO_COPIES: dict[str, Any] = {"_fizzled_parents": []}

#: Metadata of a job that tell the version of the package that made it.
VERSION_KEY = "dismaiflow"


def dismai_job(category: Category = "cpu", **job_kwargs: Any) -> Callable[..., Any]:
    """Turn a function or a Maker's method into a job, as `jobflow.job` does.

    The job sees its store, names its category, and refuses to run under another version of the
    package than it was submitted with: results of two versions must not mix in one run.

    Parameters
    ----------
    category : {"cpu", "gpu", "vasp"}
        Kind of worker that can run it.
    **job_kwargs
        For `jobflow.job`, such as ``output_schema``.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                check_version()
                return function(*args, **kwargs)
            except BaseException:
                # jobflow does so only after success; the next job would see this one's store.
                CURRENT_JOB.reset()
                raise

        config = JobConfig(
            expose_store=True,
            manager_config={CATEGORY_KEY: category},
            pass_manager_config=False,
        )
        return job(config=config, **job_kwargs)(checked)

    return decorate


def label_run(flow: Flow, tags: Sequence[str] = ()) -> str:
    """Give a flow a new run id, which all its jobs and documents bear, later ones too.

    Parameters
    ----------
    flow : Flow
        Labelled in place.
    tags : sequence of str
        Words to find the run by.

    Returns
    -------
    str
        The run id, 12 hexadecimal digits.
    """
    run_id = uuid.uuid4().hex[:12]
    metadata: dict[str, Any] = {"run_id": run_id, VERSION_KEY: __version__}
    if tags:
        metadata["tags"] = sorted(set(tags))
    flow.update_metadata(metadata, dynamic=True)
    return run_id


def check_version() -> None:
    """Refuse to run a job of another version of the package.

    Raises
    ------
    DismaiError
        If the running job was submitted by another version.
    """
    running = CURRENT_JOB.job
    wanted = __version__ if running is None else running.metadata.get(VERSION_KEY, __version__)
    if wanted != __version__:
        raise DismaiError(
            f"this job was submitted by dismaiflow {wanted}, but this worker has {__version__}: "
            f"install {wanted} here, or leave the run to workers that have it; then "
            "`dismai launchpad retry`"
        )


def replaced_by(jobs: Sequence[Job | Flow], output: Any, name: str) -> Response[Any]:
    """Return the response of a dispatcher: jobs that take its place, and what they leave.

    Parameters
    ----------
    jobs : sequence of Job or Flow
        What is to be done; each keeps its category.
    output : Any
        Becomes the output of the dispatcher once they are done; references to a job that failed
        become None.
    name : str
        Name of the job that gathers it.

    Notes
    -----
    jobflow's own way, a flow with an output, ends in a job of its own making, which has no category
    and would wait for ever on a LaunchPad whose workers all have one.
    """
    last = gather(output)
    last.name = name
    return ended_by(jobs, last)


def ended_by(jobs: Sequence[Job | Flow], last: Job) -> Response[Any]:
    """Return the response of a dispatcher: jobs that take its place, and the one that ends them.

    Parameters
    ----------
    jobs : sequence of Job or Flow
        What is to be done; each keeps its category.
    last : Job
        Takes their outputs, None where one failed; its own becomes that of the dispatcher.
    """
    dispatcher = CURRENT_JOB.job
    last.config.on_missing_references = OnMissing.NONE
    last.config.manager_config |= NO_COPIES
    last.set_uuid(dispatcher.uuid)
    last.index = dispatcher.index + 1
    last.metadata = dict(dispatcher.metadata)
    last.output_schema = dispatcher.output_schema
    return Response(replace=Flow([*jobs, last]))


@dismai_job()
def gather(outputs: Any) -> Any:
    """Pass on what jobs have left."""
    return outputs
