"""The folder that a rehearsal leaves: training set, potential, dataset, score, report, figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dismaiflow.potentials.training_jobs import export_trained
from dismaiflow.store.datasets import export_dataset
from dismaiflow.store.frames import export_frames
from dismaiflow.structures.files import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.campaigns.rehearsal import RehearsalDoc
    from dismaiflow.structures.dataset import Dataset

SUMMARY_NAME = "rehearsal.json"


def rehearsal_summary(document: RehearsalDoc) -> dict[str, Any]:
    """Return the figures of a rehearsal.

    Returns
    -------
    dict
        ``runs`` (how the relaxations of the training set ended), ``frames`` and ``parents`` of its
        sets, ``errors`` and ``baselines`` of the potential on held-out parents (eV/atom, eV/Å,
        GPa), ``force_ratio`` and ``energy_ratio`` of the two, ``dft_check`` (Table 5), ``dataset``
        (structures in each set), ``score``, and ``learned``: whether the potential is better than
        predicting no forces and the mean energy.
    """
    card, trained = document.frames.card, document.trained.card
    errors, plain = trained.errors["test"], trained.baselines["test"]
    force = errors.force / plain.force if plain.force else None
    energy = errors.energy / plain.energy if plain.energy else None
    score = document.score
    return {
        "system": document.system,
        "plan": document.plan,
        "runs": card.runs,
        "frames": card.counts,
        "parents": card.parents,
        "restarts": card.statistics.get("restarts"),
        "errors": errors.model_dump(),
        "baselines": plain.model_dump(),
        "force_ratio": force,
        "energy_ratio": energy,
        "learned": force is not None and force < 1 and energy is not None and energy < 1,
        "training_seconds": trained.seconds,
        "epochs": trained.epochs,
        "dataset": document.dataset.card.counts,
        "dft_check": document.dataset.card.statistics.get("dft_check"),
        "score": None if score is None else {n: m.value for n, m in score.metrics.items()},
        "n_scored": None if score is None else score.n_scored,
        "warning": "a rehearsal: a stand-in for VASP made these numbers up",
    }


def export_rehearsal(jobstore: JobStore, document: RehearsalDoc, folder: Path) -> Dataset:
    """Write ``frames``, ``potential``, ``dataset``, ``score.json`` and ``rehearsal.json``.

    Parameters
    ----------
    jobstore : JobStore
        Where its parts are.
    document : RehearsalDoc
        The rehearsal.
    folder : Path
        The folder to make.

    Returns
    -------
    Dataset
        The dataset, with the scores of its controls.

    Raises
    ------
    DismaiError
        If a part is missing from the store, or the folder cannot be written.
    """
    with new_folder(folder) as partial:
        export_frames(jobstore, document.frames, partial / "frames")
        export_trained(jobstore, document.trained, partial / "potential")
        if document.controls is not None:
            key = document.controls.protocol.key
            document.dataset.card.controls[key] = document.controls.model_dump(mode="json")
        dataset = export_dataset(jobstore, document.dataset, partial / "dataset")
        if document.score is not None:
            text = document.score.model_dump_json(indent=1)
            (partial / "score.json").write_text(text, encoding="utf-8")
        summary = json.dumps(rehearsal_summary(document), indent=1)
        (partial / SUMMARY_NAME).write_text(summary, encoding="utf-8")
    return type(dataset)(folder / "dataset", dataset.card)
