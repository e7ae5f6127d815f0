"""The folder that a study leaves: rows, scores, report, generated structures, trained models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dismaiflow.benchmark.schemas import ScoreDoc
from dismaiflow.campaigns.study_schemas import StudyDoc
from dismaiflow.errors import DismaiError, first_problem
from dismaiflow.models.folder import export_model
from dismaiflow.models.train.log import read_log
from dismaiflow.report.html import write_report
from dismaiflow.report.study_section import StudyParts
from dismaiflow.report.training_curves import curves_of, curves_of_logs, name_trainings
from dismaiflow.store.datasets import export_dataset
from dismaiflow.store.generated import fetch_generated
from dismaiflow.structures.dataset import extxyz_text
from dismaiflow.structures.files import new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.models.schemas import TrainedModelDoc
    from dismaiflow.store.datasets import DatasetDoc
    from dismaiflow.structures.dataset import DatasetCard

STUDY_NAME = "study.json"


def export_study(
    jobstore: JobStore,
    study: StudyDoc,
    scores: Mapping[str, ScoreDoc],
    folder: Path,
    trained: Sequence[TrainedModelDoc] = (),
    datasets: Sequence[DatasetCard] = (),
    made: DatasetDoc | None = None,
) -> Path:
    """Write a study, all of it or nothing.

    Parameters
    ----------
    jobstore : JobStore
        Where its parts are.
    study : StudyDoc
        The study.
    scores : mapping of str to ScoreDoc
        By label.
    folder : Path
        The folder to make: ``study.json``, ``score.json`` (of several variants
        ``scores/LABEL/score.json``), ``report.html``, ``generated`` and ``models``.
    trained : sequence of TrainedModelDoc
        The instances that are kept; controls learn nothing and are not.
    datasets : sequence of DatasetCard
        Cards that the report shows.
    made : DatasetDoc, optional
        The dataset, if the study made it; goes into ``dataset``.

    Raises
    ------
    DismaiError
        If a part is missing from the store, or the folder cannot be written.
    """
    with new_folder(folder) as partial:
        write_study(jobstore, study, partial)
        for label, score in scores.items():
            path = partial / score_place(study, label)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(score.model_dump_json(indent=1), encoding="utf-8")
        if made is not None:
            export_dataset(jobstore, made, partial / "dataset")
        named = {name: trained[i] for name, i in name_trainings(study, trained).items()}
        for name, model in named.items():
            export_model(jobstore, model, partial / "models" / file_name(name))
        write_report(
            partial / "report.html",
            scores=list(scores.values()),
            datasets=datasets,
            studies=[StudyParts(study, scores, curves_of(jobstore, named))],
            title=f"{', '.join(dict.fromkeys(row.model for row in study.rows))} on {study.system}",
        )
    return folder


def write_study(jobstore: JobStore, study: StudyDoc, folder: Path) -> None:
    """Write ``study.json``, and what each instance has generated, as it was generated."""
    folder.mkdir(exist_ok=True)
    (folder / STUDY_NAME).write_text(study.model_dump_json(indent=1), encoding="utf-8")
    runs = [(row.label, i, run) for row in study.rows for i, run in enumerate(row.runs)]
    for label, number, run in runs:
        if run.generated is None:
            continue
        path = folder / "generated" / f"{file_name(label)}-{number}.extxyz"
        path.parent.mkdir(exist_ok=True)
        found = fetch_generated(jobstore, run.generated)
        path.write_text(extxyz_text(found.structures), encoding="utf-8")


def score_place(study: StudyDoc, label: str) -> str:
    """Return where the score of a row lies in the folder of a study."""
    return "score.json" if len(study.rows) == 1 else f"scores/{file_name(label)}/score.json"


def read_study(path: Path) -> StudyParts:
    """Read ``study.json`` and the scores beside it, as far as they are there.

    Raises
    ------
    DismaiError
        If one is none of this version.
    """
    try:
        study = StudyDoc.model_validate_json(path.read_bytes())
        places = {row.label: path.parent / score_place(study, row.label) for row in study.rows}
        scores = {
            label: ScoreDoc.model_validate_json(place.read_bytes())
            for label, place in places.items()
            if place.is_file()
        }
    except ValidationError as error:
        raise DismaiError(f"{path}: not of this version ({first_problem(error)})") from error
    logs = {
        place.parent.name: read_log(place) for place in sorted(path.parent.glob("models/*/log.csv"))
    }
    return StudyParts(study, scores, curves_of_logs(logs))


def file_name(label: str) -> str:
    """Return a label as the name of a file."""
    return re.sub(r"[^\w.=-]+", "-", label).strip("-.") or "model"
