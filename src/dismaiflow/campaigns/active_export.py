"""What active learning has come to, as folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.potentials.training_jobs import TrainedDoc, export_trained
from dismaiflow.store.frames import get_frames
from dismaiflow.structures.files import new_folder, write_text
from dismaiflow.structures.frame_files import FramesCard, counts_of, write_frames_folder

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from jobflow import JobStore

    from dismaiflow.campaigns.active_schemas import ActiveLearningDoc


def export_active(
    jobstore: JobStore, document: ActiveLearningDoc, folder: Path, split: dict[str, Any]
) -> Path:
    """Write potentials, frames and the table of rounds of active learning into a new folder.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    document : ActiveLearningDoc
        What it has come to.
    folder : Path
        To be made: ``member-0``, ... as `matgl:DIR` opens them, ``frames``, and the document as
        ``active_learning.json``.
    split : dict
        How the frames that it began with were divided.

    Raises
    ------
    DismaiError
        If something is missing from the store, or the folder cannot be written.
    """
    sets = {name: get_frames(jobstore, ref) for name, ref in document.sets.items()}
    committee = document.committee
    with new_folder(folder) as partial:
        for number, (member, card) in enumerate(
            zip(committee.members, committee.cards, strict=True)
        ):
            trained = TrainedDoc(system=document.system, potential=member, card=card)
            export_trained(jobstore, trained, partial / f"member-{number}")
        write_frames_folder(partial / "frames", sets, grown_card(document, split, counts_of(sets)))
        write_text(partial / "active_learning.json", document.model_dump_json(indent=1))
    return folder


def grown_card(
    document: ActiveLearningDoc, split: dict[str, Any], counts: dict[str, Any]
) -> FramesCard:
    """Return the card of a training set to which active learning has added.

    Parameters
    ----------
    document : ActiveLearningDoc
        What it has come to.
    split : dict
        How the frames that it began with were divided.
    counts : dict
        Of `counts_of`.
    """
    runs: dict[str, int] = {}
    for row in document.rounds:
        for status, n in row.by_status.items():
            runs[status] = runs.get(status, 0) + n
    card = FramesCard(
        system=document.system,
        **counts,
        split=split,
        protocol={"active_learning": document.settings},
        runs=runs,
        statistics={"n_labelled": document.n_labelled, "stopped_by": document.stopped_by},
    )
    added = sum(row.n_new for row in document.rounds)
    card.warnings = [
        f"{added} training frames were picked where a committee disagreed: they are no random "
        "sample, and `runs` counts their relaxations only"
    ]
    if card.rehearsal:
        card.warnings.append("a rehearsal: nothing here is a result of DFT")
    return card
