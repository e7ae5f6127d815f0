"""Trained models as folders: what `dismai train` writes and `dismai generate` reads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dismaiflow.errors import DismaiError, first_problem
from dismaiflow.models.checks import sample_checked
from dismaiflow.models.registry import open_model
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.models.snapshots import weights_files
from dismaiflow.store.stored_files import get_folder
from dismaiflow.structures.files import new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobflow import JobStore

    from dismaiflow.structures.read import ReadStructures

TRAINED_NAME = "trained.json"


def export_model(jobstore: JobStore, document: TrainedModelDoc, folder: Path) -> Path:
    """Write a trained model of a store into a new folder.

    Raises
    ------
    DismaiError
        If a file is missing from the store, or the folder cannot be written.
    """
    with new_folder(folder) as partial:
        get_folder(jobstore, document.files, partial)
        (partial / TRAINED_NAME).write_text(document.model_dump_json(indent=1), encoding="utf-8")
    return folder


def open_trained(folder: Path) -> TrainedModelDoc:
    """Read what a folder says of its model.

    Raises
    ------
    DismaiError
        If it is no such folder, or a file is missing.
    """
    path = folder / TRAINED_NAME
    try:
        document = TrainedModelDoc.model_validate_json(path.read_text("utf-8"))
    except OSError:
        raise DismaiError(
            f"{folder}: holds no trained model ({TRAINED_NAME} cannot be read); give a folder that "
            "`dismai train` has written"
        ) from None
    except ValidationError as error:
        raise DismaiError(
            f"{path}: is none of this version ({first_problem(error)}); train again"
        ) from None
    missing = [name for name in document.files if not (folder / name).is_file()]
    if missing:
        raise DismaiError(f"{folder / missing[0]}: is missing; copy the whole folder")
    return document


def sampled_with(document: TrainedModelDoc, settings: Mapping[str, Any]) -> TrainedModelDoc:
    """Return a trained model with other settings of sampling.

    Parameters
    ----------
    document : TrainedModelDoc
        The model.
    settings : mapping
        Of those that only sampling reads.

    Raises
    ------
    DismaiError
        If one is not of these, or wrong.
    """
    known: frozenset[str] = getattr(open_model(document.choice), "sampling_settings", frozenset())
    for name in settings:
        if name not in known:
            listed = ", ".join(sorted(known)) or "no setting"
            raise DismaiError(
                f"--set {name}: belongs to the training of {document.model}; sampling reads "
                f"{listed}"
            )
    choice = document.choice.with_settings(settings)
    open_model(choice)
    return document.model_copy(update={"choice": choice})


def sample_folder(
    folder: Path, document: TrainedModelDoc, n: int, seed: int, snapshot: str | None = None
) -> ReadStructures:
    """Sample a trained model in a folder.

    Parameters
    ----------
    folder : Path
        Its folder, which is not changed.
    document : TrainedModelDoc
        What `open_trained` has returned.
    n : int
        Structures.
    seed : int
        Seed.
    snapshot : str, optional
        Weights of an earlier epoch, such as ``epoch-000100``.

    Raises
    ------
    DismaiError
        If it cannot be sampled, or has no such snapshot.
    """
    model = open_model(document.choice)
    with tempfile.TemporaryDirectory() as name:
        target = Path(name)
        for relative, source in weights_files(document, snapshot).items():
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / source, path)
        return sample_checked(model, target, n, seed)
