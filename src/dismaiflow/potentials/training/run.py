"""One training from frames to a folder with a potential."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.devices import threads
from dismaiflow.potentials.model_card import start_hash
from dismaiflow.potentials.training.card import TrainedCard, write_trained
from dismaiflow.potentials.training.checkpoint import CHECKPOINT_NAME
from dismaiflow.potentials.training.loop import TrainedRun, known_state, train
from dismaiflow.potentials.training.network import choose_device
from dismaiflow.structures.files import check_out_folder, explain_os_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dismaiflow.potentials.training.data import TrainingData
    from dismaiflow.potentials.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrainedFolder:
    """A folder with a trained potential.

    Parameters
    ----------
    folder : Path
        Where it lies; ``matgl:FOLDER`` opens it.
    card : TrainedCard
        Its card.
    run : TrainedRun
        The training.
    """

    folder: Path
    card: TrainedCard
    run: TrainedRun


def check_training(
    folder: Path,
    data: TrainingData,
    settings: TrainingSettings,
    start: Path | None = None,
    device: str = "auto",
) -> None:
    """Refuse a training that could not begin or go on; parameters as for `train_to_folder`.

    Raises
    ------
    DismaiError
        If the folder holds something else or cannot be written, the start has no card or is the
        folder itself, or the device is not there.
    """
    if not (folder / CHECKPOINT_NAME).is_file():
        check_out_folder(folder)
    if start is not None and folder.resolve() == start.resolve():
        raise DismaiError(f"{folder}: is the potential to start from; choose another folder")
    choose_device(device)
    known_state(data, settings, folder / CHECKPOINT_NAME, start)


def train_to_folder(
    folder: Path,
    data: TrainingData,
    settings: TrainingSettings,
    start: Path | None = None,
    device: str = "auto",
    max_seconds: float | None = None,
    split: dict[str, Any] | None = None,
) -> TrainedFolder:
    """Train into a folder, or go on with the training in it.

    Parameters
    ----------
    folder : Path
        New or empty, or that of a training of the same frames, settings and start.
    data, settings, start, device, max_seconds
        See `dismaiflow.potentials.training.loop.train`.
    split : dict, optional
        How the frames were divided, for the card.

    Raises
    ------
    DismaiError
        If the folder is that of something else or cannot be written.
    """
    check_training(folder, data, settings, start, device)
    where = choose_device(device)
    origin = start_hash(start) if start else None
    with _made(folder), threads(where):
        run = train(data, settings, folder, start, where, max_seconds)
        card = write_trained(folder, run, data, settings, split, origin, where)
    return TrainedFolder(folder, card, run)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder; remove all folders that were made if nothing came into them."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, folder) from error
        yield
    finally:
        for one in missing:
            with contextlib.suppress(OSError):
                one.rmdir()  # only if it is empty
