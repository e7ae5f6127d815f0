"""What training leaves: a folder that ``matgl:DIR`` opens, with a card, curves and pictures."""

from __future__ import annotations

import csv
import io
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from dismaiflow.potentials.model_card import CARD_NAME, MODEL_FILES, ModelCard, card_versions
from dismaiflow.potentials.training.data import GraphFrames
from dismaiflow.potentials.training.evaluation import Errors, Predictions, baselines, predict
from dismaiflow.potentials.training.plots import draw_curves, draw_parity
from dismaiflow.structures.files import explain_os_error, file_sha256, write_bytes, write_text
from dismaiflow.structures.frames import FrameLabel, LabelledFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.potentials.training.checkpoint import Row
    from dismaiflow.potentials.training.data import TrainingData
    from dismaiflow.potentials.training.loop import TrainedRun
    from dismaiflow.potentials.training.settings import TrainingSettings

CURVES_NAME = "curves.csv"

#: Pictures of a folder: errors by epoch, and predictions against labels.
CURVES_PICTURE, PARITY_PICTURE = "curves.png", "parity.png"


class TrainedCard(ModelCard):
    """The card of a potential that was trained here.

    Parameters
    ----------
    kind, versions, sha256, elements, source
        See `ModelCard`.
    data_hash : str
        SHA-256 of frames and elements.
    content_hashes : dict of str to str
        `LabelledFrames.content_hash` of each set.
    labels : list of FrameLabel
        Where the numbers of the frames come from.
    split : dict
        How the sets were divided.
    settings : dict
        `TrainingSettings`.
    start : str or None
        Hash of the potential that was fine-tuned.
    frames, parents, compositions : dict of str to int
        Frames, relaxations and compositions of each set.
    errors, baselines : dict of str to Errors
        Mean absolute errors of each set; and those of predicting the mean energy per atom of the
        training set, and neither forces nor stresses.
    references : dict of str to float
        Energies of the elements, eV/atom.
    best_epoch, epochs : int
        Epoch of the weights, by the validation set; epochs in all.
    best_loss : float
        MAE_E + MAE_F + 0.1 MAE_S of the validation set at that epoch.
    seconds : float
        Time of all epochs.
    device : str
        On which it was trained.
    warnings : list of str
        What whoever uses it should know.
    created : str
        When, UTC.
    """

    data_hash: str
    content_hashes: dict[str, str]
    labels: list[FrameLabel]
    split: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any]
    start: str | None = None
    frames: dict[str, int]
    parents: dict[str, int]
    compositions: dict[str, int]
    errors: dict[str, Errors]
    baselines: dict[str, Errors]
    references: dict[str, float]
    best_epoch: int
    best_loss: float
    epochs: int
    seconds: float
    device: str
    warnings: list[str] = Field(default_factory=list)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def rehearsal(self) -> bool:
        """Whether it learned numbers of a rehearsal."""
        return any(label.rehearsal for label in self.labels)

    @property
    def done(self) -> str:
        """The last epoch, and how many were asked for if they are more."""
        asked = int(self.settings.get("epochs", self.epochs))
        # With hours, the time decides, and the number of epochs is a bound that nobody chose.
        if self.settings.get("hours") is None and asked > self.epochs:
            return f"{self.epochs} ({asked} were asked for)"
        return str(self.epochs)


def write_trained(
    folder: Path,
    run: TrainedRun,
    data: TrainingData,
    settings: TrainingSettings,
    split: dict[str, Any] | None = None,
    start: str | None = None,
    device: str = "cpu",
) -> TrainedCard:
    """Write the model with its card, curves and pictures into a folder.

    All files are made before the first is put into place, and the card is put there last: a folder
    with a card that fits its files is whole.

    Parameters
    ----------
    folder : Path
        Where the checkpoint is.
    run : TrainedRun
        A training.
    data : TrainingData
        Its frames.
    settings : TrainingSettings
        How it was trained.
    split : dict, optional
        How the frames were divided.
    start : str, optional
        Hash of the potential that was fine-tuned.
    device : str
        On which it was trained.

    Raises
    ------
    DismaiError
        If the folder cannot be written.
    """
    found = {
        name: predict(run.potential, GraphFrames(frames, run.potential.model), settings.batch_size)
        for name, frames in data.sets.items()
    }
    truth = {name: Predictions.labelled(frames) for name, frames in data.sets.items()}
    try:
        with tempfile.TemporaryDirectory(prefix=".model.", dir=folder) as name:
            partial = Path(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run.potential.save(partial)
            draw_curves(partial / CURVES_PICTURE, run.state.history)
            shown = "test" if "test" in found else "val"
            draw_parity(partial / PARITY_PICTURE, truth[shown], found[shown], shown)
            card = _card(run, data, settings, partial)
            card.errors = {key: one.errors(truth[key]) for key, one in found.items()}
            card.split, card.start, card.device = split or {}, start, device
            card.warnings = _warnings(card, run, data)
            (folder / CARD_NAME).unlink(missing_ok=True)
            for path in sorted(partial.iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    write_text(folder / CURVES_NAME, curves_csv(run.state.history))
    write_bytes(folder / CARD_NAME, (card.model_dump_json(indent=1) + "\n").encode())
    return card


def curves_csv(history: Sequence[Row]) -> str:
    """Return the history of a training as a table: a row for each epoch."""
    names = list(dict.fromkeys(key for row in reversed(history) for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return stream.getvalue()


def _card(
    run: TrainedRun, data: TrainingData, settings: TrainingSettings, folder: Path
) -> TrainedCard:
    """Return the card without what the caller knows better."""
    model = run.potential.model
    elements = list(model.element_types)
    offsets = [0.0] * len(elements)
    if run.potential.element_refs is not None:
        offsets = run.potential.element_refs.property_offset.tolist()
    sets = data.sets
    return TrainedCard(
        versions=card_versions(),
        sha256={name: file_sha256(folder / name) for name in MODEL_FILES},
        elements=elements,
        source="trained by dismaiflow",
        data_hash=data.hash,
        content_hashes={name: frames.content_hash for name, frames in sets.items()},
        labels=list({x.hash: x for frames in sets.values() for x in frames.labels}.values()),
        settings=settings.model_dump(mode="json"),
        frames={name: len(frames) for name, frames in sets.items()},
        parents={name: len(set(frames.parents)) for name, frames in sets.items()},
        compositions={name: _n_compositions(frames) for name, frames in sets.items()},
        errors={},
        baselines={name: baselines(sets["train"], frames) for name, frames in sets.items()},
        references=dict(zip(elements, offsets, strict=True)),
        best_epoch=run.state.best_epoch,
        best_loss=run.state.best_loss,
        epochs=run.state.epoch,
        seconds=run.state.seconds,
        device="",
    )


def _n_compositions(frames: LabelledFrames) -> int:
    return len({frames.structures.formula(index) for index in range(len(frames))})


def _warnings(card: TrainedCard, run: TrainedRun, data: TrainingData) -> list[str]:
    """Return what whoever uses the potential should know."""
    found = []
    if card.rehearsal:
        found.append("trained on a rehearsal: for trying out only, its numbers mean nothing")
    if len(card.labels) > 1:
        found.append(f"trained on labels of {len(card.labels)} sources, which need not agree")
    if card.compositions["train"] == 1:
        found.append(
            "trained on one composition: its energies tell structures of that composition apart, "
            "and nothing about other compositions"
        )
    if data.nameless:
        found.append(data.nameless)
    if data.shared_parents:
        found.append(
            f"{data.shared_parents} relaxations have frames in the training set and in another: "
            "the errors tell little of structures that were never seen"
        )
    if run.state.diverged:
        found.append(
            f"the loss was no longer finite after epoch {len(run.state.history) - 1}: take a "
            "smaller learning rate"
        )
    elif not run.finished:
        found.append(f"stopped by its walltime after epoch {card.done}; the training can go on")
    if card.best_epoch == 0:
        found.append("no epoch was better than the start")
    if card.errors and card.errors["train"].stress is None:
        found.append("trained without stresses: those that it computes are not to be trusted")
    judged = "test" if "test" in card.errors else "val"
    for quantity in ("energy", "force"):
        error = getattr(card.errors[judged], quantity)
        if error > getattr(card.baselines[judged], quantity):
            what = "the mean energy per atom" if quantity == "energy" else "no forces"
            found.append(f"its {quantity} error on {judged} is larger than that of guessing {what}")
    return found
