"""Jobs that train potentials on stored frames."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, Maker, Response
from pydantic import BaseModel, Field

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.potentials.matgl_folder import open_matgl
from dismaiflow.potentials.model_card import MODEL_FILES, start_hash
from dismaiflow.potentials.store import PotentialRef, fetch_potential, put_potential
from dismaiflow.potentials.training.card import (
    CURVES_NAME,
    CURVES_PICTURE,
    PARITY_PICTURE,
    TrainedCard,
    write_trained,
)
from dismaiflow.potentials.training.checkpoint import CHECKPOINT_NAME, TrainingState
from dismaiflow.potentials.training.committee import bootstrap
from dismaiflow.potentials.training.data import TrainingData, check_sets
from dismaiflow.potentials.training.loop import train
from dismaiflow.potentials.training.network import choose_device
from dismaiflow.potentials.training.settings import TrainingSettings, training_settings
from dismaiflow.potentials.training.sweep import SweepRow, best_row, sweep_row
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import current_jobstore, get_blob, put_blob
from dismaiflow.store.frames import FramesRef, get_frames
from dismaiflow.structures.files import explain_os_error, new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobflow import JobStore

#: Kinds under which checkpoints, and the pictures and curves of a training, are stored.
CHECKPOINT_KIND = "training_checkpoint"
PICTURE_KIND = "training_file"

#: Bytes of a checkpoint in one blob.
_PART_BYTES = 10_000_000


class TrainedDoc(BaseModel):
    """A trained potential in a store.

    Parameters
    ----------
    system : str
        Name of its system.
    potential : PotentialRef
        The potential, for jobs that relax.
    card : TrainedCard
        What it learned and how well.
    files : dict of str to str
        Blobs of curves and pictures by the names of their files.
    """

    kind: str = "trained_potential"
    system: str
    potential: PotentialRef
    card: TrainedCard
    files: dict[str, str] = Field(default_factory=dict)


class CommitteeDoc(BaseModel):
    """Potentials that learned the same frames and differ by chance.

    Parameters
    ----------
    system : str
        Name of their system.
    members : list of PotentialRef
        The potentials.
    cards : list of TrainedCard
        Their cards, in the same order.
    lost : int
        Trainings that failed.
    """

    kind: str = "committee"
    system: str
    members: list[PotentialRef]
    cards: list[TrainedCard]
    lost: int = 0


class SweepDoc(BaseModel):
    """A sweep, as Table S6 of the paper's SI.

    Parameters
    ----------
    system : str
        Name of the system.
    rows : list of SweepRow
        The models.
    best : str
        Name of the row with the smallest loss.
    trained : TrainedDoc
        That model.
    lost : list of str
        Names of models that failed.
    """

    kind: str = "training_sweep"
    system: str
    rows: list[SweepRow]
    best: str
    trained: TrainedDoc
    lost: list[str] = Field(default_factory=list)


@dataclass
class TrainPotentialMaker(Maker):
    """Train a potential, or fine-tune one.

    A job that is killed goes on at the epoch it was at: its checkpoint is under the setting
    SCRATCH_DIR. A job whose time is used up leaves the checkpoint in the store and puts itself
    into the queue again, so that any worker can go on.

    Parameters
    ----------
    name : str
        The job name.
    settings : dict
        Settings of `TrainingSettings` that differ from the defaults.
    device : str
        ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
    max_seconds : float, optional
        Time that one job may train, somewhat below that of its queue.
    allow_mixed, allow_rehearsal : bool
        See `check_sets`.
    """

    name: str = "train potential"
    settings: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    max_seconds: float | None = None
    allow_mixed: bool = False
    allow_rehearsal: bool = False

    @dismai_job("gpu", output_schema=TrainedDoc)
    def make(
        self,
        system: str,
        sets: dict[str, FramesRef],
        split: dict[str, Any] | None = None,
        elements: list[str] | None = None,
        start: PotentialRef | None = None,
        bootstrap_seed: int | None = None,
        checkpoint: list[str] | None = None,
    ) -> TrainedDoc | Response[Any]:
        """Train.

        Parameters
        ----------
        system : str
            Name of the system.
        sets : dict of str to FramesRef
            ``train``, ``val`` and perhaps ``test``.
        split : dict, optional
            How they were divided.
        elements : list of str, optional
            Elements that it is to know; by default those of the frames.
        start : PotentialRef, optional
            A potential with a card that is fine-tuned.
        bootstrap_seed : int, optional
            Draws the relaxations of the training set with replacement.
        checkpoint : list of str, optional
            Blobs of the checkpoint at which an earlier job stopped.
        """
        jobstore = current_jobstore()
        chosen = training_settings(self.settings)
        data = self._data(jobstore, sets, elements, bootstrap_seed)
        folder = _scratch_folder()
        origin = _start_folder(jobstore, start)
        device = choose_device(self.device)
        if checkpoint:
            _unpack_checkpoint(jobstore, checkpoint, folder)
        run = train(data, chosen, folder, origin, device, self.max_seconds)
        if not run.finished:
            parts = _put_checkpoint(jobstore, run.state)
            again = self.make(system, sets, split, elements, start, bootstrap_seed, parts)
            again.name = CURRENT_JOB.job.name
            again.config.manager_config = dict(CURRENT_JOB.job.config.manager_config)
            return Response(replace=again)
        known = start_hash(origin) if origin else None
        card = write_trained(folder, run, data, chosen, split, known, device)
        document = _trained_doc(jobstore, system, folder, card)
        shutil.rmtree(folder, ignore_errors=True)
        return document

    def _data(
        self,
        jobstore: JobStore,
        sets: Mapping[str, FramesRef],
        elements: list[str] | None,
        bootstrap_seed: int | None,
    ) -> TrainingData:
        read = {
            name: get_frames(jobstore, FramesRef.model_validate(ref)) for name, ref in sets.items()
        }
        if bootstrap_seed is not None and "train" in read:
            read["train"] = bootstrap(read["train"], bootstrap_seed)
        return check_sets(read, elements, self.allow_mixed, self.allow_rehearsal)


@dataclass
class CollectCommitteeMaker(Maker):
    """Put the members of a committee together.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect committee"

    @dismai_job(output_schema=CommitteeDoc)
    def make(self, system: str, members: list[TrainedDoc | None]) -> CommitteeDoc:
        """Collect; members are None where a training failed.

        Raises
        ------
        DismaiError
            If fewer than two are left.
        """
        done = [TrainedDoc.model_validate(one) for one in members if one is not None]
        if len(done) < 2:
            raise DismaiError(
                f"{len(done)} of {len(members)} trainings of the committee ended well; two are "
                "needed at least"
            )
        return CommitteeDoc(
            system=system,
            members=[one.potential for one in done],
            cards=[one.card for one in done],
            lost=len(members) - len(done),
        )


@dataclass
class CollectSweepMaker(Maker):
    """Put the models of a sweep together, and choose the best.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect sweep"

    @dismai_job(output_schema=SweepDoc)
    def make(self, system: str, models: dict[str, TrainedDoc | None]) -> SweepDoc:
        """Collect; models are None where a training failed.

        Raises
        ------
        DismaiError
            If all failed.
        """
        done = {k: TrainedDoc.model_validate(one) for k, one in models.items() if one is not None}
        if not done:
            raise DismaiError("no training of the sweep ended well")
        rows = [sweep_row(name, one.card) for name, one in done.items()]
        best = best_row(rows).name
        return SweepDoc(
            system=system,
            rows=rows,
            best=best,
            trained=done[best],
            lost=[name for name in models if name not in done],
        )


def export_trained(jobstore: JobStore, document: TrainedDoc, folder: Path) -> Path:
    """Write a trained potential of a store into a new folder, as `matgl:DIR` opens it.

    Raises
    ------
    DismaiError
        If files are missing from the store, or the folder cannot be written.
    """
    with new_folder(folder) as partial:
        for name, blobs in document.potential.files.items():
            (partial / name).write_bytes(b"".join(get_blob(jobstore, blob) for blob in blobs))
        for name, blob in document.files.items():
            (partial / name).write_bytes(get_blob(jobstore, blob))
        open_matgl(partial)  # compares all with the card
    return folder


def _scratch_folder() -> Path:
    """Return where the running job keeps its checkpoint; the same after a kill."""
    folder = load_settings().SCRATCH_DIR / "trainings" / CURRENT_JOB.job.uuid
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DismaiError(f"{explain_os_error(error, folder)} (DISMAI_SCRATCH_DIR)") from None
    return folder


def _start_folder(jobstore: JobStore, start: PotentialRef | None) -> Path | None:
    if start is None:
        return None
    potential = fetch_potential(jobstore, PotentialRef.model_validate(start))
    if MODEL_FILES[0] not in potential.files:
        raise DismaiError(
            f"potential {potential.card.name} cannot be fine-tuned: it is no folder of matgl"
        )
    return potential.files[MODEL_FILES[0]].parent


def _put_checkpoint(jobstore: JobStore, state: TrainingState) -> list[str]:
    data = state.to_bytes()
    starts = range(0, len(data), _PART_BYTES)
    return [put_blob(jobstore, data[i : i + _PART_BYTES], CHECKPOINT_KIND) for i in starts]


def _unpack_checkpoint(jobstore: JobStore, blobs: list[str], folder: Path) -> None:
    """Write a stored checkpoint into a folder, unless one is there that is further."""
    stored = TrainingState.from_bytes(
        b"".join(get_blob(jobstore, blob) for blob in blobs), "the stored checkpoint"
    )
    path = folder / CHECKPOINT_NAME
    if not path.exists() or TrainingState.read(path).epoch < stored.epoch:
        stored.write(path)


def _trained_doc(jobstore: JobStore, system: str, folder: Path, card: TrainedCard) -> TrainedDoc:
    name = f"matgl:m3gnet-{system}-{card.weights_hash[:8]}"
    potential = open_matgl(folder, name=name)
    pictures = (CURVES_NAME, CURVES_PICTURE, PARITY_PICTURE)
    return TrainedDoc(
        system=system,
        potential=put_potential(jobstore, name, potential),
        card=card,
        files={p: put_blob(jobstore, (folder / p).read_bytes(), PICTURE_KIND) for p in pictures},
    )


def settings_dict(settings: TrainingSettings) -> dict[str, Any]:
    """Return settings as a Maker keeps them."""
    return settings.model_dump(mode="json", exclude_defaults=True)
