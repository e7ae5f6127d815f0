"""The documents of relaxations, whatever engine did them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.dft.schemas import RunDoc
from dismaiflow.store.frames import put_frames
from dismaiflow.structures.dataset import package_versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.dft.harvest import HarvestedRun

#: Ends of a run after which there is nothing to go on from.
DEAD_ENDS = ("failed", "exploded")


def earlier_run(given: Any) -> RunDoc | None:
    """Return an earlier run if that is what was given; a store returns documents as dicts."""
    if isinstance(given, dict) and "status" in given:
        return RunDoc.model_validate(given)
    return given if isinstance(given, RunDoc) else None


def is_dead_end(earlier: RunDoc | None) -> bool:
    """Whether an earlier run leaves nothing to go on from."""
    return earlier is not None and (earlier.status in DEAD_ENDS or earlier.structure is None)


def passed_on(earlier: RunDoc, stage: str, parent: str | None, packages: Sequence[str]) -> RunDoc:
    """Return the document of a run that had nothing to begin with.

    Parameters
    ----------
    earlier : RunDoc
        What was to be gone on from.
    stage : str
        What was to be run.
    parent : str, optional
        Name of the structure, if not that of the earlier run.
    packages : sequence of str
        Packages of which the versions are noted.
    """
    return RunDoc(
        parent=parent or earlier.parent,
        stage=stage,
        status="failed",
        reason=f"not run: stage {earlier.stage} ended as {earlier.status} ({earlier.reason})",
        structure=earlier.structure,
        dir_name=earlier.dir_name,
        versions=package_versions(packages),
    )


def run_document(
    jobstore: JobStore,
    harvested: HarvestedRun,
    parent: str,
    stage: str,
    folder: Path,
    packages: Sequence[str],
) -> RunDoc:
    """Store the frames of a run, and return its document.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    harvested : HarvestedRun
        What was read.
    parent, stage : str
        See `RunDoc`.
    folder : Path
        Where it ran.
    packages : sequence of str
        Packages of which the versions are noted.
    """
    frames = harvested.frames
    return RunDoc(
        parent=parent,
        stage=stage,
        status=harvested.status,
        reason=harvested.reason,
        structure=harvested.structure,
        energy=harvested.energy,
        initial_energy=harvested.initial_energy,
        max_force=harvested.max_force,
        n_steps=harvested.n_steps,
        n_restarts=harvested.n_restarts,
        corrections=harvested.corrections,
        frames=put_frames(jobstore, frames) if len(frames) else None,
        n_frames=len(frames),
        n_unconverged_steps=harvested.n_unconverged_steps,
        n_absurd_steps=harvested.n_absurd_steps,
        label=harvested.label,
        dir_name=str(folder),
        versions=package_versions(packages),
    )
