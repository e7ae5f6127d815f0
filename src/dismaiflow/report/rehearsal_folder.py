"""The folder that a rehearsal leaves: training set, potential, dataset, score, report, figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dismaiflow.potentials.training_jobs import export_trained
from dismaiflow.report.html import write_report
from dismaiflow.store.datasets import export_dataset
from dismaiflow.store.frames import export_frames
from dismaiflow.structures.files import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.campaigns.rehearsal import RehearsalDoc

SUMMARY_NAME = "rehearsal.json"


def rehearsal_summary(document: RehearsalDoc) -> dict[str, Any]:
    """Return the figures of a rehearsal; None for parts that failed.

    Returns
    -------
    dict
        ``runs`` (how the relaxations of the training set ended), ``frames`` and ``parents`` of its
        sets, ``errors`` and ``baselines`` of the potential on held-out parents (eV/atom, eV/Å,
        GPa), ``force_ratio`` and ``energy_ratio`` of the two, ``dataset`` (structures in each
        set), ``dft_check`` (Table 5), ``score``.
    """
    frames, trained = document.frames, document.trained
    dataset, score = document.dataset, document.score
    found: dict[str, Any] = {"system": document.system, "plan": document.plan}
    if frames is not None:
        card = frames.card
        found |= {"runs": card.runs, "frames": card.counts, "parents": card.parents}
        found["restarts"] = card.statistics.get("restarts")
    if trained is not None:
        errors, plain = trained.card.errors["test"], trained.card.baselines["test"]
        found |= {
            "errors": errors.model_dump(),
            "baselines": plain.model_dump(),
            "force_ratio": errors.force / plain.force if plain.force else None,
            "energy_ratio": errors.energy / plain.energy if plain.energy else None,
            "epochs": trained.card.epochs,
            "training_seconds": trained.card.seconds,
        }
    if dataset is not None:
        found["dataset"] = dataset.card.counts
        found["dft_check"] = dataset.card.statistics.get("dft_check")
    if score is not None:
        found["score"] = {name: metric.value for name, metric in score.metrics.items()}
        found["n_scored"] = score.n_scored
    return found | {"warning": "a rehearsal: a stand-in for VASP made these numbers up"}


def export_rehearsal(jobstore: JobStore, document: RehearsalDoc, folder: Path) -> Path:
    """Write what a rehearsal has left, all of it or nothing.

    Parameters
    ----------
    jobstore : JobStore
        Where its parts are.
    document : RehearsalDoc
        The rehearsal.
    folder : Path
        The folder to make, with ``frames``, ``potential``, ``dataset``, ``score.json``,
        ``rehearsal.json`` and ``report.html``, without those whose part failed.

    Raises
    ------
    DismaiError
        If a part is missing from the store, or the folder cannot be written.
    """
    with new_folder(folder) as partial:
        if document.frames is not None:
            export_frames(jobstore, document.frames, partial / "frames")
        if document.trained is not None:
            export_trained(jobstore, document.trained, partial / "potential")
        cards = []
        if document.dataset is not None:
            if document.controls is not None:
                key = document.controls.protocol.key
                document.dataset.card.controls[key] = document.controls.model_dump(mode="json")
            cards.append(export_dataset(jobstore, document.dataset, partial / "dataset").card)
        scores = [] if document.score is None else [document.score]
        for score in scores:
            (partial / "score.json").write_text(score.model_dump_json(indent=1), encoding="utf-8")
        summary = json.dumps(rehearsal_summary(document), indent=1)
        (partial / SUMMARY_NAME).write_text(summary, encoding="utf-8")
        if cards or scores:
            title = f"rehearsal of {document.system}"
            write_report(partial / "report.html", scores=scores, datasets=cards, title=title)
    return folder
