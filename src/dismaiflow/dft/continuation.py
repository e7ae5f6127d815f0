"""Relaxations that go on in another job where the walltime stopped them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.dft.harvest import HarvestRule
from dismaiflow.store.frames import get_frames, put_frames
from dismaiflow.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from jobflow import JobStore
    from numpy.typing import NDArray

    from dismaiflow.dft.schemas import RunDoc


def goes_on(earlier: RunDoc | None, stage: str) -> bool:
    """Whether a run continues an earlier one, and is no stage of its own after it.

    A first stage is not continued: its steps are counted, and what it has done is good enough for
    the second to begin with.
    """
    stopped = earlier is not None and earlier.status == "walltime" and earlier.stage == stage
    return stopped and stage != "region"


def steps_before(earlier: RunDoc) -> int:
    """Return how many ionic steps come before the first of the continuation.

    That one computes the last geometry of the earlier run again, and counts once.
    """
    return max(earlier.n_steps - 1, 0)


def shifted_rule(rule: HarvestRule, before: int) -> HarvestRule:
    """Return which steps of a continuation are frames, counted from its own first.

    Parameters
    ----------
    rule : HarvestRule
        Of the whole relaxation.
    before : int
        `steps_before`.
    """
    past = max(before + 1 - rule.first, 0)
    first = rule.first + -(-past // rule.interval) * rule.interval
    return HarvestRule(first=first - before, interval=rule.interval)


def continued(jobstore: JobStore, earlier: RunDoc, document: RunDoc, rule: HarvestRule) -> RunDoc:
    """Return the document of a relaxation that went on, as if it had never stopped.

    Parameters
    ----------
    jobstore : JobStore
        Where frames are.
    earlier : RunDoc
        What was stopped.
    document : RunDoc
        What its continuation has left, with steps counted from 1.
    rule : HarvestRule
        Which steps of the whole are frames.
    """
    before = steps_before(earlier)
    frames = _joined(jobstore, earlier, document, rule, before)
    return document.model_copy(
        update={
            "parent": earlier.parent,
            "initial_energy": earlier.initial_energy,
            "energy": document.energy if document.energy is not None else earlier.energy,
            "structure": document.structure or earlier.structure,
            "n_steps": before + document.n_steps if document.n_steps else earlier.n_steps,
            "n_restarts": earlier.n_restarts + document.n_restarts,
            "n_continuations": earlier.n_continuations + 1,
            "corrections": [*earlier.corrections, *document.corrections],
            "n_unconverged_steps": earlier.n_unconverged_steps + document.n_unconverged_steps,
            "n_absurd_steps": earlier.n_absurd_steps + document.n_absurd_steps,
            "frames": put_frames(jobstore, frames) if len(frames) else None,
            "n_frames": len(frames),
            "label": document.label or earlier.label,
        }
    )


def _joined(
    jobstore: JobStore, earlier: RunDoc, document: RunDoc, rule: HarvestRule, before: int
) -> LabelledFrames:
    """Join frames; what was the end of the earlier run is one only if the rule takes it."""
    after = LabelledFrames.empty()
    if document.frames is not None:
        read = get_frames(jobstore, document.frames)
        after = _renumbered(read, read.steps + before, read.final)
    elif earlier.frames is not None and not document.n_steps:
        return get_frames(jobstore, earlier.frames)
    if earlier.frames is None:
        return after
    first = get_frames(jobstore, earlier.frames)
    taken = np.isin(first.steps, np.arange(rule.first, earlier.n_steps + 1, rule.interval))
    if len(after):
        taken &= first.steps < after.steps.min()
    kept = first.select(np.flatnonzero(taken))
    kept = _renumbered(kept, kept.steps, np.zeros(len(kept), dtype=bool))
    return LabelledFrames.concatenate([kept, after])


def _renumbered(
    frames: LabelledFrames, steps: NDArray[np.int64], final: NDArray[np.bool_]
) -> LabelledFrames:
    ids = tuple(f"{p}/{s}" for p, s in zip(frames.parents, steps.tolist(), strict=True))
    structures = replace(frames.structures, ids=ids)
    return replace(frames, structures=structures, steps=steps, final=final)
