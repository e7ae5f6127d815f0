"""What the models that `models.train` trains have in common; torch is imported when needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from dismaiflow.errors import DismaiError, first_problem
from dismaiflow.potentials.cards import installed_versions
from dismaiflow.structures.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult
    from dismaiflow.models.train.learner import Learner

#: What sampling needs besides weights.
MODEL_NAME = "model.json"

_VERSIONED = ("dismaiflow", "torch", "numpy")


class TorchSettings(BaseModel):
    """Settings of every model on torch.

    Parameters
    ----------
    batch_size : int
        Structures of a step.
    epochs : int
        Passes through the training items.
    max_steps : int, optional
        Steps after which training ends, if the epochs are not over before.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    snapshot_epochs, snapshot_seconds : tuple
        Epochs, and seconds of training, after which the weights are kept.
    sample_batch_size : int
        Structures that are generated at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What may change while a training goes on; models add what only sampling reads.
    free: ClassVar[frozenset[str]] = frozenset(
        {
            "epochs",
            "max_steps",
            "device",
            "snapshot_epochs",
            "snapshot_seconds",
            "sample_batch_size",
        }
    )

    batch_size: PositiveInt
    epochs: PositiveInt
    max_steps: PositiveInt | None = None
    device: str = "auto"
    snapshot_epochs: tuple[PositiveInt, ...] = ()
    snapshot_seconds: tuple[float, ...] = ()
    sample_batch_size: PositiveInt = 256

    @property
    def category(self) -> str:
        """Kind of worker that trains and samples the model."""
        return "cpu" if self.device == "cpu" else "gpu"

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights after a step, JSON-able."""
        return self.model_dump(mode="json", exclude=set(self.free))


Settings = TypeVar("Settings", bound=TorchSettings)


def checked_settings(kind: type[Settings], model: str, values: Mapping[str, Any]) -> Settings:
    """Check the settings of a model.

    Parameters
    ----------
    kind : type
        Class of the settings.
    model : str
        Name of the model, for the message.
    values : mapping
        Settings that differ from the defaults.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        known = ""
        if error.errors()[0]["type"] == "extra_forbidden":
            known = f"; known are {', '.join(kind.model_fields)}"
        raise DismaiError(f"{model}: setting {first_problem(error)}{known}") from None


def train_and_describe(
    learner: Learner,
    n_items: int,
    settings: TorchSettings,
    folder: Path,
    seed: int,
    budget: Budget,
    facts: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train, or go on with a training, and leave beside the weights what sampling needs.

    Parameters
    ----------
    learner : Learner
        The model while it is trained.
    n_items : int
        Items of an epoch.
    settings : TorchSettings
        How long, and how.
    folder, seed, budget
        See `GenerativeModel.fit`.
    facts : mapping
        What a training is besides its settings: ``model``, hashes of the data; a checkpoint of
        others is refused. JSON-able.
    more : mapping, optional
        What else sampling needs, JSON-able.
    """
    from dismaiflow.models.train.loop import TrainPlan, train

    plan = TrainPlan(
        n_items=n_items,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        snapshot_epochs=settings.snapshot_epochs,
        snapshot_seconds=settings.snapshot_seconds,
    )
    identity = dict(facts) | {"settings": settings.identity()}
    described = identity | {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "versions": installed_versions(_VERSIONED),
    }
    result = train(learner, plan, folder, seed, budget, identity)
    # After the loop, which refuses a folder of another training.
    write_text(folder / MODEL_NAME, json.dumps(described | dict(more or {}), indent=1))
    return result


def read_described(folder: Path, model: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read what a training has left beside its weights.

    Parameters
    ----------
    folder : Path
        Of the trained model.
    model : str
        Its name.
    keys : sequence of str
        What must be there besides the settings.

    Raises
    ------
    DismaiError
        If it cannot be read, or describes something else.
    """
    path = folder / MODEL_NAME
    try:
        described = json.loads(path.read_text("utf-8"))
        known = described["model"] == model and {"settings", *keys} <= set(described)
    except OSError:
        raise DismaiError(
            f"{path}: cannot be read: give the folder of a trained {model}, or train one"
        ) from None
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise DismaiError(f"{path}: does not describe a trained {model}: train it anew")
    return dict(described)
