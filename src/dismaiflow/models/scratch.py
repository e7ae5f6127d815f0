"""Folders under the setting SCRATCH_DIR in which models are trained and sampled."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow import __version__
from dismaiflow.errors import DismaiError
from dismaiflow.models.base import FitResult
from dismaiflow.models.registry import source_files
from dismaiflow.settings import load_settings
from dismaiflow.store.stored_files import get_folder
from dismaiflow.structures.files import explain_os_error, write_text

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.models.registry import ModelChoice
    from dismaiflow.store.datasets import DatasetDoc
    from dismaiflow.systems import SystemSpec

#: Tells in a training's folder how many launches before this one it knows of, and what came out.
LAUNCH_NAME = ".launch.json"


def trainings_folder(key: str) -> Path:
    """Return the folder of a training, or of all those of one command."""
    return load_settings().SCRATCH_DIR / "models" / key


def training_word(choice: ModelChoice, spec: SystemSpec, data: DatasetDoc, seed: int) -> str:
    """Return one word for everything that decides a training.

    Parameters
    ----------
    choice : ModelChoice
        The model; the files that it is given by count with their content.
    spec, data, seed
        As for `TrainModelMaker.make`.
    """
    sources = {str(path): _digest(path.read_bytes()) for path in source_files(choice)}
    sets = {name: one.content_hash for name, one in data.sets.items() if name in ("train", "val")}
    asked = [__version__, choice.model_dump_json(), spec.model_dump_json(), sources, sets, seed]
    return _digest(json.dumps(asked, sort_keys=True).encode())[:24]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TrainingFolder:
    """The folder of a training; what a killed launch has left there is kept.

    Parameters
    ----------
    path : Path
        The folder.
    n_launches : int
        Launches before this one.
    shared : bool
        Whether it belongs to a command rather than to a job, so that the first launch goes on with
        what the same command has left, finished or not.

    Raises
    ------
    DismaiError
        If the folder cannot be written.
    """

    def __init__(self, path: Path, n_launches: int = 0, *, shared: bool = False) -> None:
        self.path, self._n_launches, self._shared = path, n_launches, shared

    @property
    def finished(self) -> tuple[FitResult, int] | None:
        """Result and launches of a finished training; None where it is to go on."""
        found = self._noted().get("finished") if self._shared else None
        if found is None:
            return None
        return FitResult(**found["result"]), int(found["n_launches"])

    def prepare(self, jobstore: JobStore, state: dict[str, list[str]] | None) -> None:
        """Fetch what another launch has left, unless this machine knows of it.

        Parameters
        ----------
        jobstore : JobStore
            Connected.
        state : dict of str to list of str, optional
            The folder as an earlier launch has left it in the store.
        """
        known = self._noted().get("n_launches", -1)
        if known == self._n_launches or (self._shared and not self._n_launches and known > 0):
            return
        try:
            # Another launch's folder, perhaps on another machine: the store knows what it came to.
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            get_folder(jobstore, state or {}, self.path)
            self._note({"n_launches": self._n_launches})
        except OSError as error:
            raise DismaiError(
                f"{explain_os_error(error, self.path)} (DISMAI_SCRATCH_DIR)"
            ) from None

    def finish(self, result: FitResult) -> None:
        """Remove the folder of a training that is in the store, or note that it is finished."""
        if not self._shared:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        finished = {"result": asdict(result), "n_launches": self._n_launches + 1}
        self._note({"n_launches": self._n_launches, "finished": finished})

    def _noted(self) -> dict[str, Any]:
        try:
            found = json.loads((self.path / LAUNCH_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _note(self, what: dict[str, Any]) -> None:
        write_text(self.path / LAUNCH_NAME, json.dumps(what))


class scratch_folder:  # noqa: N801 - used like a function
    """A temporary folder under SCRATCH_DIR."""

    def __init__(self, name: str) -> None:
        self._parent = load_settings().SCRATCH_DIR / name
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=self._parent)
        except OSError as error:
            raise explain_os_error(error, self._parent) from None
        return Path(self._folder.name)

    def __exit__(self, *_: object) -> None:
        assert self._folder is not None
        self._folder.cleanup()
