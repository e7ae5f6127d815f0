"""Putting flows on the LaunchPad."""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
from pymongo.errors import PyMongoError

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORIES, CATEGORY_KEY, NO_COPIES, VERSION_KEY, label_run
from dismaiflow.store.launchpads import register_launchpad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fireworks import Firework, LaunchPad, Workflow
    from jobflow import Flow, JobStore

#: Largest spec of a Firework [bytes of BSON] (design).
MAX_SPEC_BYTES = 1_000_000

#: Category of jobs that name none: a worker of a category takes no others.
DEFAULT_CATEGORY = CATEGORIES[0]

#: Key of a spec that marks what was submitted, in contrast to what jobs have made since.
SUBMITTED_KEY = "submitted"

#: Metadata that are copied from the first job to the workflow, for queries.
_WORKFLOW_METADATA = ("run_id", VERSION_KEY, "tags")


@dataclass(frozen=True)
class Submission:
    """A flow that was put on a LaunchPad.

    Parameters
    ----------
    run_id : str
        What its jobs and documents bear.
    n_fireworks : int
        Fireworks submitted; jobs may make more.
    categories : list of str
        Categories of workers that it asks for at first.
    """

    run_id: str
    n_fireworks: int
    categories: list[str]


def submit(
    flow: Flow,
    launchpad: LaunchPad,
    tags: Sequence[str] = (),
    jobstore: JobStore | None = None,
) -> Submission:
    """Put a flow on a LaunchPad.

    Every Firework's spec bears run_id, version, tags and what the flow set (system, model,
    protocol), so that the LaunchPad can be queried by them. No store and no login enters a spec:
    each worker uses its own jobflow.yaml.

    Parameters
    ----------
    flow : Flow
        Labelled in place with a new run id.
    launchpad : LaunchPad
        Where it goes.
    tags : sequence of str
        Words to find the run by.
    jobstore : JobStore, optional
        The store of its workers, connected. It notes this LaunchPad, so that `dismai results gc`
        spares what runs on it still need; without it only the LaunchPad of one's own configuration
        is known there.

    Raises
    ------
    DismaiError
        If a spec would exceed 1 MB.
    """
    from jobflow.managers.fireworks import flow_to_workflow

    run_id = label_run(flow, tags)
    with warnings.catch_warnings():
        # Datasets made side by side do not depend on each other, and need not.
        warnings.filterwarnings("ignore", message="Some jobs are not connected")
        for job, _ in flow.iterflow():
            job.config.manager_config.setdefault(CATEGORY_KEY, DEFAULT_CATEGORY)
        # Never with a store: it would be written into every spec, its login included.
        workflow = flow_to_workflow(flow)
    fireworks = list(workflow.id_fw.values())
    workflow.metadata = _metadata(flow, fireworks)
    for firework in fireworks:
        firework.spec[SUBMITTED_KEY] = True
        if firework.spec.get("_allow_fizzled_parents"):
            firework.spec |= NO_COPIES
        _check_size(firework)
    launchpad.fireworks.create_index("spec.run_id")
    if jobstore is not None:
        register_launchpad(jobstore, launchpad.host, launchpad.port, launchpad.name)
    _insert(launchpad, workflow, run_id)
    categories = {str(fw.spec.get(CATEGORY_KEY, "")) for fw in fireworks}
    return Submission(run_id, len(fireworks), sorted(categories))


def _metadata(flow: Flow, fireworks: Sequence[Firework]) -> dict[str, Any]:
    """Return what the workflow as a whole is found by."""
    found = {k: fireworks[0].spec[k] for k in _WORKFLOW_METADATA if k in fireworks[0].spec}
    for key in ("system", "model", "protocol"):
        values = sorted({str(fw.spec[key]) for fw in fireworks if key in fw.spec})
        found[f"{key}s"] = values
    return found | {"flow": flow.name}


def _check_size(firework: Firework) -> None:
    """Refuse a spec that is too large, before any is inserted."""
    size = len(bson.encode(json.loads(json.dumps(firework.to_db_dict(), default=str))))
    if size > MAX_SPEC_BYTES:
        raise DismaiError(
            f"the job {firework.name!r} takes {size} bytes as a spec, more than the "
            f"{MAX_SPEC_BYTES} allowed: pass large inputs by reference (put_blob, put_structures)"
        )


def _insert(launchpad: LaunchPad, workflow: Workflow, run_id: str) -> None:
    """Insert the workflow so that no worker sees a part of it.

    FireWorks inserts Fireworks that are ready before their workflow; a worker that takes one whose
    workflow never came dies of it. Here all wait until the workflow is there; whoever is killed in
    between leaves some that wait for ever, or a run that `dismai launchpad retry` starts.
    """
    fireworks = list(workflow.id_fw.values())
    try:
        workflow._reassign_ids(launchpad._upsert_fws(fireworks, reassign_all=True))
        launchpad.workflows.insert_one(workflow.to_db_dict())
    except BaseException:
        with contextlib.suppress(PyMongoError):
            launchpad.fireworks.delete_many({"spec.run_id": run_id})
        raise
    roots = list(workflow.root_fw_ids)
    states = {f"fw_states.{fw_id}": "READY" for fw_id in roots}
    launchpad.workflows.update_one({"metadata.run_id": run_id}, {"$set": states})
    launchpad.fireworks.update_many({"fw_id": {"$in": roots}}, {"$set": {"state": "READY"}})
